"""Several images of one sky: which can be fitted together, and which are bands of one."""

import numpy as np
import pytest
from astropy.wcs import WCS
from test_image import FLUX, PSF, made, pointed

from slipher.data.image import Cutout
from slipher.data.one_sky import of_one_sky
from slipher.errors import Flag, InputError


@pytest.mark.parametrize(
    ("first", "second", "words"),
    {
        "no coordinates": ({"wcs": pointed()}, {"wcs": None}, "b without coordinates.*Add the keywords"),
        "no names": ({"wcs": pointed(), "bands": None}, {"wcs": pointed(), "bands": None}, "bands without names in a and b.*--bands"),
        "two units": ({"wcs": pointed(), "zero_point": 27.0}, {"wcs": pointed(), "zero_point": 25.9}, "27 and 25.9 of g in a and b"),
    }.values(),
)
def test_images_that_cannot_be_fitted_together_are_refused(first, second, words):
    with pytest.raises(InputError, match=words):
        of_one_sky([made(id="a", **first), made(id="b", **second)])


def test_of_no_images_there_is_nothing_to_fit():
    with pytest.raises(InputError, match="no images"):
        of_one_sky([])


def moved(pixels: float) -> WCS:
    wcs = pointed()
    wcs.wcs.crpix = np.add(wcs.wcs.crpix, [0.0, pixels])
    return wcs


def band(name: str, which: int, **how) -> Cutout:
    """One band of an image."""
    parts = {"flux": FLUX[which], "variance": np.full(FLUX.shape[1:], 0.25), "psf": PSF[which], "bands": (name,), "id": name}
    return made(**parts | {"wcs": pointed()} | how)


def test_images_of_one_sky_may_share_bands_or_have_others():
    """They stay apart where bands come twice; where one pixel is a hundredth off the other; and one alone needs no coordinates."""
    twice = [made(wcs=pointed(), zero_point=27.0), made(wcs=pointed(), zero_point=[27.0, 27.004])]
    assert list(of_one_sky(twice)) == twice
    shifted = [made(wcs=pointed()), made(wcs=moved(0.02), bands=("F814W", "i"))]
    assert list(of_one_sky(shifted)) == shifted
    alone = made(wcs=None)
    assert of_one_sky([alone]) == (alone,)


def test_bands_in_files_of_their_own_are_one_image():
    """Whatever the sizes of their PSFs, with the flags of all; a band that comes again begins another."""
    flux = FLUX[1].copy()
    flux[3, 4] = np.nan
    wide = np.pad(PSF[1], 2)
    files = [band("g", 0, zero_point=27.0), band("r", 1, flux=flux, psf=wide, zero_point=26.0, wcs=moved(0.005))]
    (one,) = of_one_sky(files)
    assert (one.bands, one.id, one.flags) == (("g", "r"), "g+r", Flag.NON_FINITE_PIXELS)
    np.testing.assert_array_equal(one.flux[0], files[0].flux[0])
    np.testing.assert_array_equal(one.ivar[1], files[1].ivar[0])
    np.testing.assert_array_equal(one.psf, np.stack([np.pad(PSF[0], 2), wide]).astype(np.float32))
    np.testing.assert_array_equal(one.zero_point, [27.0, 26.0])
    assert of_one_sky([one]) == (one,)
    assert [each.bands for each in of_one_sky([*files, band("g", 0, zero_point=27.0)])] == [("g", "r"), ("g",)]


@pytest.mark.parametrize(
    "how", [{"zero_point": 27.0}, {"psf": np.pad(PSF[1], ((0, 1), (0, 1)))}, {"flux": FLUX[1, 1:], "variance": FLUX[1, 1:] * 0 + 1}]
)
def test_bands_that_one_image_cannot_hold_stay_apart(how):
    assert len(of_one_sky([band("g", 0), band("r", 1, **how)])) == 2
