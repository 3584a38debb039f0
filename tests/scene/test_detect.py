"""Detection: planted sources are found where they are, noise is not, and neither masks nor a background matter."""

import numpy as np
import pytest
from scipy import spatial
from test_render import moffat

from slipher.scene import detect

SHAPE, NOISE = (80, 90), 0.05
STARS = np.array([(20.3, 30.6, 40.0), (26.8, 31.2, 12.0), (60.0, 55.4, 6.0), (70.7, 20.2, 3.0)])  # x, y, flux


def images(seed: int = 0, background: float = 0.0, stars: np.ndarray = STARS) -> np.ndarray:
    """Two bands of point sources, the second half as bright."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sky = np.zeros(SHAPE)
    norm = moffat().max()
    for px, py, flux in stars:
        r = np.hypot(x - px, y - py)
        sky += flux * norm * (1.0 + (2.0 * r / 3.6) ** 2 * (2.0 ** (1 / 3) - 1)) ** -3.0
    noise = NOISE * np.random.default_rng(seed).standard_normal((2, *SHAPE))
    return np.stack([sky, 0.5 * sky]) + noise + background


def found(flux: np.ndarray, ivar: np.ndarray | None = None) -> detect.Detections:
    ivar = np.full_like(flux, NOISE**-2) if ivar is None else ivar
    return detect.detect(flux, ivar, np.stack([moffat()] * 2))


@pytest.mark.parametrize("background", [0.0, 3.0])
def test_stars_are_found_where_they_are_the_brightest_first(background):
    got = found(images(background=background))
    np.testing.assert_allclose(got.position, STARS[:, :2], atol=0.4)
    np.testing.assert_allclose(got.background, background, atol=0.02)
    assert np.all(np.diff(got.significance) < 0)


def test_significance_is_that_of_a_matched_filter():
    """Of a star alone: its flux over the error of the best linear estimate, in both bands."""
    star = np.array([(45.0, 40.0, 10.0)])
    got = found(images(1, stars=star))
    want = np.sum([f * 10.0 for f in (1.0, 0.5)]) * np.sum(moffat() ** 2) / NOISE / np.sqrt(2 * np.sum(moffat() ** 2))
    assert got.significance[0] == pytest.approx(want, rel=0.08)


def test_noise_alone_is_no_source():
    assert sum(len(found(images(seed, stars=STARS[:0])).position) for seed in range(20)) <= 1


def test_masked_pixels_hide_nothing_else():
    flux = images(2)
    ivar = np.full_like(flux, NOISE**-2)
    ivar[:, :, 40:44], flux[:, :, 40:44] = 0.0, 1e6
    ivar[0, 10:12] = 0.0
    tree = spatial.cKDTree(found(flux, ivar).position)
    assert tree.query(STARS[:, :2])[0].max() < 0.5
    assert len(tree.data) == len(STARS)


def test_the_sky_is_what_most_pixels_are():
    rng = np.random.default_rng(3)
    pixels = np.concatenate([5.0 + rng.standard_normal(5000), rng.uniform(6.0, 200.0, 1500)])
    assert detect.sky(pixels) == pytest.approx(5.0, abs=0.25)
    assert detect.sky(np.zeros(0)) == 0.0
