"""Images: what is wrong with them is an error that says how to mend it, or a flag; and files of every kind are read alike."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from slipher.data.image import Cutout, cutout
from slipher.data.image_files import read_image
from slipher.data.image_noise import sky
from slipher.errors import Flag, InputError, UnreadableFile

RNG = np.random.default_rng(0)
FLUX = RNG.standard_normal((2, 20, 24)) * 0.5 + 3.0
VARIANCE = np.full_like(FLUX, 0.25)
PSF = np.zeros((2, 7, 7))
PSF[:, 2:5, 2:5] = 1 / 9


def made(**how) -> Cutout:
    return cutout(**{"flux": FLUX, "variance": VARIANCE, "psf": PSF, "bands": ("g", "r")} | how)


def pointed() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [12.5, 10.5], [-1e-4, 1e-4]
    return wcs


def test_good_images_pass_as_they_are():
    one = made()
    np.testing.assert_array_equal(one.flux, FLUX.astype(np.float32))
    np.testing.assert_allclose(one.ivar, 4.0)
    assert one.flags == 0
    assert (one.bands, one.id) == (("g", "r"), "image")
    single = cutout(FLUX[0], variance=VARIANCE[0], psf=PSF[0])
    assert single.flux.shape == (1, 20, 24)
    assert single.bands == ("band_0",)


def edited(array: np.ndarray, value: float) -> np.ndarray:
    out = array.copy()
    out[0, 3, 4] = value
    return out


@pytest.mark.parametrize(
    ("how", "flag"),
    {
        "nan": ({"flux": edited(FLUX, np.nan)}, Flag.NON_FINITE_PIXELS),
        "infinite": ({"flux": edited(FLUX, np.inf)}, Flag.NON_FINITE_PIXELS),
        "no variance there": ({"variance": edited(VARIANCE, 0.0)}, Flag.NON_POSITIVE_ERRORS),
        "negative variance": ({"variance": edited(VARIANCE, -1.0)}, Flag.NON_POSITIVE_ERRORS),
        "negative ivar": ({"variance": None, "ivar": edited(4.0 + 0 * FLUX, -1.0)}, Flag.NON_POSITIVE_ERRORS),
        "no ivar there": ({"variance": None, "ivar": edited(4.0 + 0 * FLUX, 0.0)}, Flag(0)),
        "masked": ({"mask": edited(np.zeros(FLUX.shape), 1.0)}, Flag(0)),
        "far brighter than any star": ({"flux": edited(FLUX, 1e8)}, Flag.ABSURD_PIXELS),
        "a number for nothing": ({"flux": edited(FLUX, -9999.0)}, Flag.ABSURD_PIXELS),
        "saturated": ({"flux": edited(FLUX, 900.0), "saturation": 800.0}, Flag.SATURATED_PIXELS),
    }.values(),
)
def test_a_bad_pixel_has_no_information_and_the_others_keep_theirs(how, flag):
    one = made(**how)
    assert one.flags == flag
    assert one.ivar[0, 3, 4] == 0
    assert np.isfinite(one.flux).all()
    assert (one.ivar > 0).sum() == one.ivar.size - 1
    np.testing.assert_allclose(one.ivar[one.ivar > 0], 4.0)


def test_a_sky_about_a_bright_galaxy_is_not_absurd_nor_is_one_below_zero():
    flux = FLUX + np.where(np.arange(24) < 18, 3000.0, 0.0)
    assert made(flux=flux).flags == 0
    assert made(flux=FLUX - 5000.0).flags == 0


def test_without_a_variance_it_is_that_of_the_sky():
    flux = np.random.default_rng(1).normal(3.0, 0.5, (2, 80, 80))
    flux[:, 20:35, 20:35] += 500.0
    one = made(flux=flux, variance=None)
    assert one.flags == Flag.VARIANCE_ESTIMATED
    np.testing.assert_allclose(one.ivar, 4.0, rtol=0.15)


def test_psfs_are_brought_to_one():
    one = made(psf=PSF * 250.0)
    assert one.flags == Flag.PSF_NORMALISED
    np.testing.assert_allclose(one.psf.sum((1, 2)), 1.0, rtol=1e-6)
    wide = made(psf=None, psf_fwhm=3.5).psf[0]
    assert wide.sum() == pytest.approx(1.0)
    middle = len(wide) // 2
    profile = np.interp(np.linspace(0, 4, 401), np.arange(middle + 1), wide[middle, middle:])
    assert 2 * np.linspace(0, 4, 401)[np.argmin(np.abs(profile - wide.max() / 2))] == pytest.approx(3.5, abs=0.1)
    assert made(psf=PSF[0]).psf.shape == PSF.shape


@pytest.mark.parametrize(
    ("how", "words"),
    {
        "other shapes": ({"flux": [FLUX[0], FLUX[1, 1:]]}, r"\(20, 24\), \(19, 24\).*observations of their own"),
        "four axes": ({"flux": FLUX[None]}, "of shapes"),
        "text": ({"flux": np.full((2, 20, 24), "x")}, "numbers"),
        "tiny": ({"flux": FLUX[:, :3], "variance": VARIANCE[:, :3]}, "at least 5"),
        "bands": ({"bands": ("g",)}, "one name each"),
        "twice the same band": ({"bands": ("g", "g")}, "no two alike"),
        "variance of another shape": ({"variance": VARIANCE[:, 1:]}, "Mend the variance"),
        "both": ({"ivar": VARIANCE}, "one of them"),
        "nothing left": ({"mask": np.ones(FLUX.shape, bool)}, "no pixel with information"),
        "no noise": ({"variance": None, "flux": np.zeros_like(FLUX)}, "without noise"),
        "no PSF": ({"psf": None}, "--psf FILE"),
        "dark PSF": ({"psf": 0 * PSF}, "without light"),
        "infinite PSF": ({"psf": edited(PSF, np.nan)}, "not finite"),
        "too few PSFs": ({"psf": np.repeat(PSF, 2, 0)[:3]}, "3 PSFs for 2 bands"),
        "PSF and width": ({"psf_fwhm": 3.0}, "one of them"),
        "absurd width": ({"psf": None, "psf_fwhm": -1.0}, "0.5 to 100 pixels"),
        "too many bands": ({"bands": ("g", "r", "i")}, "image: the bands g, r, i for 2 images; expected one name each"),
        "too many variances": ({"variance": np.repeat(VARIANCE, 2, 0)}, "expected the images' shape.*Mend the variance"),
        "too many zero points": ({"zero_point": [27.0, 26.5, 26.0]}, r"zero points \[27.0, 26.5, 26.0\].*one for each.*AB magnitudes"),
        "zero point of nothing": ({"zero_point": float("nan")}, "a number for all bands"),
        "too many gains": ({"gain": [2.0, 2.0, 2.0]}, r"gains \[2.0, 2.0, 2.0\].*one for each.*electrons"),
        "no gain": ({"gain": 0.0}, "a positive number for all bands"),
        "everything saturated": ({"saturation": -100.0}, "no pixel with information"),
        "units of another world": ({"flux": FLUX * 1e-20, "variance": VARIANCE * 1e-40}, "noise of 5e-21.*power of ten.*zero point"),
        "no positive variance": ({"variance": 0 * VARIANCE}, "no pixel with information.*Check mask and variance"),
        "nothing finite": ({"flux": np.nan * FLUX}, "no pixel with information"),
    }.values(),
)
def test_what_cannot_be_used_is_refused_with_a_mend(how, words):
    with pytest.raises(InputError, match=words):
        made(**how)


def test_zero_points_are_one_for_all_bands_or_one_each():
    np.testing.assert_array_equal(made(zero_point=27.0).zero_point, [27.0, 27.0])
    np.testing.assert_array_equal(made(zero_point=[27.0, 26.5]).zero_point, [27.0, 26.5])
    assert made().zero_point is None


def test_a_psf_may_be_larger_than_the_image():
    large = np.pad(PSF, ((0, 0), (20, 20), (20, 20)))
    one = made(psf=large)
    assert one.flags == 0
    np.testing.assert_array_equal(one.psf, large.astype(np.float32))


def test_fits_cubes_with_extensions(tmp_path):
    header = pointed().to_header()
    header.update(BANDS="gr", MAGZP=22.5)
    beside = {"VARIANCE": VARIANCE, "MASK": edited(np.zeros(FLUX.shape), 4).astype(np.int16), "PSF": PSF}
    path = tmp_path / "field.fits"
    fits.HDUList([fits.PrimaryHDU(FLUX, header), *(fits.ImageHDU(x, name=name) for name, x in beside.items())]).writeto(path)
    one = read_image(path)
    assert (one.bands, one.id, one.flags) == (("g", "r"), "field", Flag(0))
    np.testing.assert_array_equal(one.zero_point, [22.5, 22.5])
    assert one.ivar[0, 3, 4] == 0
    np.testing.assert_allclose(one.wcs.pixel_to_world(11.5, 9.5).ra.deg, 150.0)
    assert len(one.checksum) == 64
    psf = tmp_path / "psf.fits"
    fits.writeto(psf, PSF[0] * 3)
    other = read_image(path, psf=psf, variance=2 * VARIANCE, bands=("a", "b"))
    assert (other.bands, other.flags) == (("a", "b"), Flag.PSF_NORMALISED)
    np.testing.assert_allclose(other.ivar[1], 2.0)


def test_a_zero_point_that_is_no_number_is_refused_unless_one_is_declared(tmp_path):
    header = fits.Header({"MAGZP": "unknown"})
    fits.HDUList([fits.PrimaryHDU(FLUX, header), fits.ImageHDU(PSF, name="PSF")]).writeto(tmp_path / "field.fits")
    with pytest.raises(InputError, match="field: the zero points nan"):
        read_image(tmp_path / "field.fits")
    assert read_image(tmp_path / "field.fits", zero_point=22.5).zero_point[1] == 22.5


@pytest.mark.parametrize(
    ("keywords", "zero_point"),
    [
        ({"MAGZERO": 30.0, "BUNIT": "nJy"}, 30.0),
        ({"FLUXMAG0": 63095734448.0194}, 27.0),
        ({"BUNIT": "nanomaggy"}, 22.5),
        ({"BUNIT": "nJy"}, 31.4),
        ({"BUNIT": "MJy/sr", "PIXAR_SR": 2.31e-14}, 27.99),
        ({"BUNIT": "ELECTRONS/S", "PHOTFLAM": 7.0724e-20, "PHOTPLAM": 8045.0}, 25.94),
        ({"BUNIT": "ELECTRONS", "PHOTFLAM": 7.0724e-20, "PHOTPLAM": 8045.0}, None),
        ({"BUNIT": "MJy/sr"}, None),
        ({"BUNIT": "adu"}, None),
        ({}, None),
    ],
)
def test_zero_points_are_what_observatories_say(tmp_path, keywords, zero_point):
    """In the header of the image or in the first one: 3631 Jy over the unit, and of ACS' F814W what its handbook has."""
    parts = [
        fits.PrimaryHDU(header=fits.Header(keywords)),
        fits.ImageHDU(FLUX[0], name="SCI"),
        fits.ImageHDU(0.5 + 0 * FLUX[0], name="ERR"),
    ]
    parts[0].header["FILTER"] = "F200W"
    fits.HDUList(parts).writeto(tmp_path / "image.fits")
    one = read_image(tmp_path / "image.fits", psf_fwhm=3.0)
    assert one.bands == ("F200W",)
    np.testing.assert_allclose(one.ivar, 4.0)
    if zero_point is None:
        assert one.zero_point is None
    else:
        np.testing.assert_allclose(one.zero_point, zero_point, atol=0.005)


def test_masks_of_lsst_lose_what_is_bad_and_not_what_is_detected(tmp_path):
    mask = np.zeros(FLUX.shape[1:], np.int32)
    mask[3, 4], mask[5, 5], mask[6, 6] = 1 << 3, 1 << 5, 1 << 2
    planes = fits.Header({"MP_BAD": 0, "MP_SAT": 3, "HIERARCH MP_NO_DATA": 2, "HIERARCH MP_DETECTED": 5})
    parts = [fits.PrimaryHDU(), fits.ImageHDU(FLUX[0], name="IMAGE"), fits.ImageHDU(mask, planes, name="MASK")]
    fits.HDUList([*parts, fits.ImageHDU(VARIANCE[0], name="VARIANCE")]).writeto(tmp_path / "calexp.fits")
    one = read_image(tmp_path / "calexp.fits", psf_fwhm=3.0)
    assert np.argwhere(one.ivar[0] == 0).tolist() == [[3, 4], [6, 6]]


def test_archives(tmp_path):
    path = tmp_path / "blend.npz"
    mask = np.zeros(FLUX.shape, np.int32)
    mask[0, 3, 4], mask[0, 5, 5] = 2, 32  # saturated; detected, which is nothing bad
    np.savez(path, images=FLUX, variance=VARIANCE, psfs=PSF, filters=np.array(["g", "r"]), mask=mask, catalog=np.zeros(3))
    one = read_image(path)
    assert (one.bands, one.flags, one.wcs) == (("g", "r"), Flag(0), None)
    assert (one.ivar == 0).sum() == 1


@pytest.mark.parametrize("what", ["text", "spectrum", "objects", "cut short", "no images"])
def test_what_is_no_image_is_refused(tmp_path, what):
    path = tmp_path / "file"
    if what == "text":
        path.write_text("ra dec\n1 2\n")
    elif what == "spectrum":
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.ones(3))])]).writeto(path)
    elif what == "no images":
        np.savez(tmp_path / "x.npz", something=FLUX)
        path.write_bytes((tmp_path / "x.npz").read_bytes())
    else:
        np.savez(tmp_path / "x.npz", images=np.array([{}], object) if what == "objects" else FLUX)
        content = (tmp_path / "x.npz").read_bytes()
        path.write_bytes(content if what == "objects" else content[: len(content) // 2])
    with pytest.raises(UnreadableFile):
        read_image(path)


def test_the_real_images(shared_data):
    folder = shared_data / "images"
    hsc = read_image(folder / "hsc_cosmos_35.npz")
    assert (hsc.flux.shape, hsc.bands, hsc.flags) == ((5, 58, 48), tuple("grizy"), Flag(0))
    legacy = read_image(folder / "rs0010_legacy_grz.fits", psf_fwhm=4.5)
    assert (legacy.bands, legacy.flags) == (tuple("grz"), Flag.VARIANCE_ESTIMATED)
    assert legacy.wcs.pixel_to_world(127.5, 127.5).ra.deg == pytest.approx(135.213, abs=1e-3)
    field = folder / "hsc_hst"
    for name, side in (("HSC", 50), ("HST", 250)):
        one = read_image(field / f"Cut_{name}1.fits", psf=field / f"PSF_{name}.fits")
        assert one.flux.shape[1:] == (side, side)
        assert one.wcs is not None


def test_the_noise_of_a_crowded_image_is_not_its_sources():
    """Light everywhere, so that there is no sky: 0.05 is what pixels scatter by."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:60, :60]
    places, widths = rng.uniform(0, 60, (40, 2)), rng.uniform(2.0, 6.0, 40)
    light = sum(np.exp(-0.5 * ((x - a) ** 2 + (y - b) ** 2) / s**2) for (a, b), s in zip(places, widths, strict=True))
    image = light + 0.05 * rng.standard_normal(light.shape)
    assert np.sqrt(1.0 / cutout(image, psf_fwhm=4.0).ivar.max()) == pytest.approx(0.05, rel=0.2)


def test_the_sky_is_what_most_pixels_are():
    rng = np.random.default_rng(3)
    pixels = np.concatenate([5.0 + rng.standard_normal(5000), rng.uniform(6.0, 200.0, 1500)])
    assert sky(pixels) == pytest.approx(5.0, abs=0.25)
    assert sky(np.zeros(0)) == 0.0


def test_a_gain_adds_the_shot_noise_of_sources():
    """Counts over a sky of 100 electrons a pixel; weights do not know which of them came by chance."""
    y, x = np.mgrid[:80, :80]
    light = 3000.0 * np.exp(-0.5 * ((x - 40) ** 2 + (y - 38) ** 2) / 8.0**2) / 4.0  # in units of four electrons
    bright, chi2, bias = light > 40.0, [], []
    for seed in range(8):
        flux = np.random.default_rng(seed).poisson(4.0 * light + 100.0) / 4.0
        one = cutout(np.stack([flux, flux]), variance=np.full((2, 80, 80), 100.0 / 16.0), psf_fwhm=4.0, gain=[4.0, 1e12])
        off = flux - light - 25.0
        np.testing.assert_allclose(one.ivar[1], 16.0 / 100.0, rtol=1e-4)
        chi2.append(np.mean((off**2 * one.ivar[0])[bright]))
        bias.append(np.sum((off * one.ivar[0])[bright]) / np.sqrt(np.sum(one.ivar[0][bright])))
    assert np.mean(chi2) == pytest.approx(1.0, abs=0.05)
    assert abs(np.mean(bias)) < 0.8  # by their own counts it would be -1.7
