"""Images that cannot be taken apart: `slipher deblend` says what came, what was expected and how to mend it, and fits nothing."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from typer.testing import CliRunner

from slipher.cli import app
from slipher.errors import Flag

SHAPE = (2, 30, 32)
Y, X = np.mgrid[:11, :11]
PSF = np.exp(-0.5 * ((X - 5) ** 2 + (Y - 5) ** 2) / 1.6**2)
PSF /= PSF.sum()


def sky() -> np.ndarray:
    """A star in noise."""
    flux = np.random.default_rng(0).normal(0.0, 0.05, SHAPE)
    flux[:, 10:21, 12:23] += 20.0 * PSF
    return flux


def pointed() -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [16.5, 15.5], [-5e-5, 5e-5]
    return wcs.to_header()


def write(path, flux=None, *, header=None, bands="gr", psf=PSF, **beside) -> str:
    primary = fits.PrimaryHDU(sky() if flux is None else flux, header)
    primary.header["BANDS"] = bands
    planes = {"VARIANCE": np.full(SHAPE, 0.05**2), "PSF": psf} | {name.upper(): values for name, values in beside.items()}
    hdus = [fits.ImageHDU(values, name=name) for name, values in planes.items() if values is not None]
    fits.HDUList([primary, *hdus]).writeto(path)
    return str(path)


def noise() -> np.ndarray:
    return np.random.default_rng(1).normal(0.0, 0.05, SHAPE)


BAD = {
    "no PSF": ({"psf": None}, (), "no PSF", "--psf FILE"),
    "dark PSF": ({"psf": 0 * PSF}, (), "without light", "--psf FILE"),
    "too many PSFs": ({"psf": np.stack([PSF] * 3)}, (), "3 PSFs for 2 bands", "one each, or one for all"),
    "variance of another shape": ({"variance": np.ones((2, 29, 32))}, (), "variance of shape (2, 29, 32)", "Mend the variance"),
    "variance zero": ({"variance": np.zeros(SHAPE)}, (), "no pixel with information", "Check mask and variance"),
    "variance negative": ({"variance": -np.ones(SHAPE)}, (), "no pixel with information", "positive variances"),
    "all masked": ({"mask": np.ones(SHAPE, np.int16)}, (), "no pixel with information", "Check mask and variance"),
    "nothing finite": ({"flux": np.full(SHAPE, np.nan)}, (), "no pixel with information", "finite fluxes"),
    "all saturated": ({}, ("--saturation", "-9"), "no pixel with information", "Check mask"),
    "no source": ({"flux": noise()}, (), "nothing is found", "Give a catalogue of positions"),
    "too many names": ({}, ("--bands", "g,r,i"), "bands g, r, i for 2 images", "one name each"),
    "too many zero points": ({}, ("--zero-point", "27,27,27"), "the zero points [27.0, 27.0, 27.0]", "one for each"),
    "too many options": ({}, ("--psf-fwhm", "3", "--psf-fwhm", "4"), "--psf-fwhm 2 times for 1 images", "once for each"),
}


@pytest.mark.parametrize(("how", "more", "came", "mend"), BAD.values(), ids=list(BAD))
def test_an_image_is_refused_in_one_line(tmp_path, how, more, came, mend):
    refused([write(tmp_path / "field.fits", **how), *more], came, mend)


def refused(call: list[str], came: str, mend: str, status: int = 2) -> None:
    ran = CliRunner().invoke(app, ["deblend", *call])
    said = " ".join(ran.output.split())
    assert ran.exit_code == status, said
    assert came in said
    assert mend in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "came", "status"),
    [("x,y\n", "no rows", 3), ("x,y\n400,-30\n", "none of 1 sources is in the image", 2), ("ra,dec\n150,2\n", "without coordinates", 2)],
)
def test_detections_are_refused(tmp_path, text, came, status):
    (tmp_path / "t.csv").write_text(text)
    refused([write(tmp_path / "field.fits"), "--catalog", str(tmp_path / "t.csv")], came, "", status)


def test_several_images_need_coordinates_names_and_one_unit_a_band(tmp_path):
    good, bare = write(tmp_path / "good.fits", header=pointed()), write(tmp_path / "bare.fits")
    refused([good, bare], "bare without coordinates", "a FITS WCS in each")
    refused([good, good, "--zero-point", "27", "--zero-point", "25"], "zero points 27 and 25 of g", "name the bands of each image")
    unnamed = [write(tmp_path / f"{i}.fits", header=pointed(), bands="") for i in "ab"]
    refused(unnamed, "bands without names in a and b", "--bands")
    refused([good, good, "--filters", "hsc2017-g", "--filters", "-", "--zero-point", "27"], "the filters hsc2017-g", "in their order")


def test_images_of_several_exposures_in_one_array_are_observations_of_their_own(tmp_path):
    np.savez(tmp_path / "field.npz", images=np.ones((1, 2, 30, 32)), psf=PSF)
    refused([str(tmp_path / "field.npz")], "flux of shapes (1, 2, 30, 32)", "observations of their own")


@pytest.mark.slow
def test_what_can_be_used_is_answered_and_flagged(tmp_path):
    """Two images of one sky with about everything that may be wrong with pixels and PSFs, and a detection outside."""
    large = np.pad(250.0 * PSF, 16)  # not of sum one, and larger than the images
    flux, variance = sky(), np.full(SHAPE, 0.05**2)
    flux[0, 3, 4], flux[1, 5, 6], variance[0, 7, 8], variance[1, 9, 9] = np.nan, 900.0, 0.0, -1.0
    first = write(tmp_path / "first.fits", flux, header=pointed(), psf=large, variance=variance)
    second = write(tmp_path / "second.fits", header=pointed())
    (tmp_path / "t.csv").write_text("id,x,y\na,17,15\nout,300,10\n")
    more = ["--catalog", str(tmp_path / "t.csv"), "--saturation", "500", "--saturation", "-", "--out", str(tmp_path / "out")]
    ran = CliRunner().invoke(app, ["deblend", first, second, *more])
    assert ran.exit_code == 0, ran.output
    inside, outside = Table.read(tmp_path / "out" / "catalogue.ecsv")
    noted = Flag.NON_FINITE_PIXELS | Flag.SATURATED_PIXELS | Flag.NON_POSITIVE_ERRORS | Flag.PSF_NORMALISED
    assert Flag(int(inside["flags"])) & ~Flag.UNRESOLVED == noted
    assert Flag(int(outside["flags"])) == noted | Flag.OUTSIDE_IMAGE
    assert np.isnan(outside["flux_g"])
    assert abs(inside["flux_g"] - 20.0) < 5.0 * inside["flux_g_err"] < 5.0
    with fits.open(tmp_path / "out" / "model.fits") as written:
        assert [hdu.ver for hdu in written[1:]] == [1, 1, 1, 2, 2, 2]
        assert all(np.isfinite(hdu.data).all() for hdu in written[1:])
