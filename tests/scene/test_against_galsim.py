"""Images by GalSim, which makes them in its own way from the profiles' own transforms; `pip install galsim`, or these are skipped."""

import numpy as np
import pytest
from test_render import SHAPE, START, image, kind, seen

from slipher.scene.morphology import Gaussian, Point, Sersic

galsim = pytest.importorskip("galsim", reason="GalSim is not installed")
G = (0.25, -0.15)  # conformal shears
RADIUS = 2.2


def psf():
    """A Moffat profile of four pixels, a little elliptical, that ends inside its stamp."""
    return galsim.Moffat(beta=3.5, fwhm=4.0, trunc=14.0).shear(g1=0.02, g2=-0.01)


def drawn(profile) -> np.ndarray:
    """Where the sources of `test_render` are, with the PSF and the pixel."""
    off = np.array(START) - 0.5 * (np.array(SHAPE[::-1]) - 1.0)
    whole = galsim.Convolve(profile, psf(), real_space=False)
    return whole.drawImage(nx=SHAPE[1], ny=SHAPE[0], scale=1.0, offset=galsim.PositionD(*off), dtype=np.float64).array


PROFILES = {
    "star": (Point(), lambda: galsim.DeltaFunction(), {}),
    "gaussian": (Gaussian(), lambda: galsim.Gaussian(half_light_radius=RADIUS), {}),
    "disc": (Sersic(1.0), lambda: galsim.Exponential(half_light_radius=RADIUS), {}),
    "between": (Sersic(), lambda: galsim.Sersic(n=2.5, half_light_radius=RADIUS), {"log_index": np.log(2.5)}),
    "bulge": (Sersic(), lambda: galsim.DeVaucouleurs(half_light_radius=RADIUS), {"log_index": np.log(4.0)}),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # GalSim's, of how it convolves
@pytest.mark.parametrize("name", PROFILES)
def test_profiles_are_seen_as_galsim_sees_them(name):
    morphology, profile, values = PROFILES[name]
    pixels = psf().drawImage(nx=33, ny=33, scale=1.0, dtype=np.float64).array
    # GalSim's conformal shear is the logarithm of the axis ratio, twice slipher's.
    want = drawn(profile().shear(eta1=2.0 * G[0], eta2=2.0 * G[1]))
    shape = {"log_radius": np.log(RADIUS), "shear_1": G[0], "shear_2": G[1]}
    got = image(kind(morphology), seen(pixels), **({} if name == "star" else shape), **values)[0]
    assert np.abs(got - want).max() < 2e-4 * want.max()
    assert got.sum() == pytest.approx(want.sum(), rel=2e-3)  # what GalSim folds back of a bulge's wings
