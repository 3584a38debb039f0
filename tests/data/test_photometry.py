"""The door of photometry: conversions against independent twins, every rule with a way to fail, and `Galaxy`."""

import time

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from astropy.utils.masked import Masked

from slipher.data import Aperture, Catalogue, Galaxy, Photometry, catalogue_from_arrays, photometry, spectrum
from slipher.errors import Flag, InputError, UnitsError
from slipher.grids.filters import FilterCurve, load_filters

UGRIZ = "sdss2010-*"
MAGS = [20.1, 19.2, 18.5, 18.1, 17.9]
MAG_ERRORS = [0.1, 0.05, 0.03, 0.03, 0.05]
FLUXES = [9.0, 21.0, 40.0, 57.0, 69.0]
ARRAYS = ("flux", "ivar", "censored")


def made(fluxes=FLUXES, errors=None, *, bands=UGRIZ, unit="nanomaggy", **more) -> Photometry:
    if errors is None and "ivar" not in more and "default_error" not in more:
        errors = 0.05 * np.abs(np.asarray(fluxes, float))
    return photometry(fluxes, errors, bands=bands, unit=unit, **more)


def changed(value, at=1, values=FLUXES):
    return [value if k == at else one for k, one in enumerate(values)]


def assert_identical(first, second):
    for name in ARRAYS:
        assert getattr(first, name).dtype == getattr(second, name).dtype
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    for name in ("redshift", "ebv", "id", "survey", "flags"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


# Units


def test_magnitudes_become_nanomaggies():
    galaxy = made(MAGS, MAG_ERRORS, unit="ABmag")
    expected = 10 ** ((22.5 - np.array(MAGS)) / 2.5)
    np.testing.assert_allclose(galaxy.flux, expected, rtol=1e-13)
    np.testing.assert_allclose(galaxy.ivar**-0.5, expected * np.log(10) / 2.5 * MAG_ERRORS, rtol=1e-12)
    assert (galaxy.flags, galaxy.n_bands, galaxy.good.all()) == (Flag(0), 5, True)
    assert not galaxy.censored.any()


UNITS = {
    "nanomaggy": 1.0,
    "nanomaggies": 1.0,
    "nMgy": 1.0,
    "maggies": 1e9,
    "uJy": 1 / 3.631,
    "microJansky": 1 / 3.631,
    "mJy": 1e3 / 3.631,
    "erg / (s cm2 Hz)": 1e9 / 3631e-23,
    "1e-29 erg/s/cm2/Hz": 1 / 3.631,
    u.nJy: 1e-3 / 3.631,
}


@pytest.mark.parametrize("unit", UNITS)
def test_linear_units_against_their_definitions(unit):
    scale = UNITS[unit]
    galaxy = made(np.array(FLUXES) / scale, np.full(5, 0.5) / scale, unit=unit)
    np.testing.assert_allclose(galaxy.flux, FLUXES, rtol=1e-12)
    np.testing.assert_allclose(galaxy.ivar, 4.0, rtol=1e-12)
    assert galaxy.flags == Flag(0)


def test_nanomaggies_are_those_of_the_instrument():
    """A flat spectrum of 1 uJy through the instrument's own matrix."""
    from slipher.instrument.filters import filter_matrix

    wave = np.linspace(2000.0, 12000.0, 20001)
    f_lambda = 1e-29 * 2.99792458e18 / wave**2 / 1e-17
    matrix = np.asarray(filter_matrix([UGRIZ], wave), np.float64)
    np.testing.assert_allclose(made(np.ones(5), np.full(5, 0.1), unit="uJy").flux, matrix @ f_lambda, rtol=1e-5)


@pytest.mark.parametrize("unit", ["ABmag", "mag(AB)", "AB mag", "abmag", u.ABmag])
def test_spellings_of_ab_magnitudes(unit):
    np.testing.assert_array_equal(made(MAGS, MAG_ERRORS, unit=unit).flux, made(MAGS, MAG_ERRORS, unit="ABmag").flux)


@pytest.mark.parametrize("unit", [None, "", "mag", u.mag, "Vegamag", "erg/s/cm2/AA", "parrot", "count", u.STmag, u.Unit("mag(Jy)")])
def test_units_that_are_none_of_photometry(unit):
    with pytest.raises(UnitsError) as raised:
        made(MAGS, MAG_ERRORS, unit=unit)
    assert "ABmag" in raised.value.mend or "keyword" in raised.value.mend


def test_quantities_have_their_own_units():
    expected = made(FLUXES, [0.5] * 5)
    flux, error = np.array(FLUXES) * 3.631 * u.uJy, np.full(5, 0.5) * 3.631e-6 * u.Jy
    for galaxy in (made(flux, error, unit=None), made(flux, error, unit="uJy"), made(flux, unit=None, ivar=error**-2)):
        np.testing.assert_allclose(galaxy.flux, expected.flux, rtol=1e-12)
        np.testing.assert_allclose(galaxy.ivar, expected.ivar, rtol=1e-12)
    mags = made(MAGS * u.ABmag, MAG_ERRORS * u.mag, unit=None)
    np.testing.assert_array_equal(mags.ivar, made(MAGS, MAG_ERRORS, unit="ABmag").ivar)
    np.testing.assert_array_equal(made(MAGS * u.mag, MAG_ERRORS, unit="ABmag").ivar, mags.ivar)


@pytest.mark.parametrize(
    ("fluxes", "errors", "unit"),
    [
        (FLUXES * u.uJy, [1.0] * 5, None),
        (FLUXES * u.uJy, [1.0] * 5 * u.uJy, "nJy"),
        (FLUXES * u.uJy, [1.0] * 5 * u.uJy, "ABmag"),
        (FLUXES * u.uJy, [0.1] * 5 * u.mag, None),
        (MAGS * u.ABmag, [1.0] * 5 * u.uJy, None),
        (MAGS * u.mag, [1.0] * 5, "uJy"),
        (FLUXES * u.ct, [1.0] * 5, "uJy"),
    ],
)
def test_units_that_contradict_each_other(fluxes, errors, unit):
    with pytest.raises(UnitsError):
        made(fluxes, errors, unit=unit)


def test_one_unit_for_each_band():
    galaxy = made([*MAGS[:3], 57.0, 69.0], [*MAG_ERRORS[:3], 1.0, 2.0], unit=["ABmag"] * 3 + ["nanomaggy"] * 2)
    np.testing.assert_array_equal(galaxy.flux[3:], [57.0, 69.0])
    np.testing.assert_array_equal(galaxy.flux[:3], made(MAGS, MAG_ERRORS, unit="ABmag").flux[:3])
    with pytest.raises(InputError, match="2 units for 5 bands"):
        made(unit=["uJy", "uJy"])


def test_errors_above_a_magnitude_are_taken_to_first_order():
    """The error of a catalogue that made it as 1.0857 sigma / flux comes back, however large."""
    flux, sigma = np.array([0.05, 0.2, 1.0, 3.0, 9.0]), np.array([0.69, 0.4, 0.3, 0.3, 0.5])
    galaxy = made(22.5 - 2.5 * np.log10(flux), 2.5 / np.log(10) * sigma / flux, unit="ABmag")
    np.testing.assert_allclose(galaxy.flux, flux, rtol=1e-12)
    np.testing.assert_allclose(galaxy.ivar**-0.5, sigma, rtol=1e-12)


def test_ivar_of_magnitudes():
    galaxy = made(MAGS, unit="ABmag", ivar=np.array(MAG_ERRORS) ** -2)
    np.testing.assert_allclose(galaxy.ivar, made(MAGS, MAG_ERRORS, unit="ABmag").ivar, rtol=1e-12)


# Missing and wrong entries, each against what the other bands keep.


MASKED = np.ma.array(FLUXES, mask=[False, True, False, False, False])
MISSING = {
    "NaN flux": ({"fluxes": changed(np.nan)}, Flag(0)),
    "masked flux": ({"fluxes": MASKED, "errors": [1.0] * 5}, Flag(0)),
    "masked column": ({"fluxes": MaskedColumn(FLUXES, mask=MASKED.mask), "errors": [1.0] * 5}, Flag(0)),
    "masked quantity": ({"fluxes": Masked(FLUXES * u.nmgy, mask=MASKED.mask), "errors": [1.0] * 5}, Flag(0)),
    "NaN error": ({"errors": changed(np.nan, values=[1.0] * 5)}, Flag(0)),
    "masked error": ({"errors": MASKED}, Flag(0)),
    "infinite error": ({"errors": changed(np.inf, values=[1.0] * 5)}, Flag(0)),
    "zero ivar": ({"ivar": changed(0.0, values=[1.0] * 5)}, Flag(0)),
    "NaN ivar": ({"ivar": changed(np.nan, values=[1.0] * 5)}, Flag(0)),
    "declared sentinel": ({"fluxes": changed(-99.0), "missing": -99}, Flag(0)),
    "declared sentinel in float32": ({"fluxes": np.float32(changed(-99.9)), "missing": (-99, -99.9)}, Flag(0)),
    "declared sentinel of the error": ({"errors": changed(-1.0, values=[1.0] * 5), "missing": (-1,)}, Flag(0)),
    "infinite flux": ({"fluxes": changed(np.inf), "errors": [1.0] * 5}, Flag.NON_FINITE_PIXELS),
    "minus infinite flux": ({"fluxes": changed(-np.inf), "errors": [1.0] * 5}, Flag.NON_FINITE_PIXELS),
    "infinite ivar": ({"ivar": changed(np.inf, values=[1.0] * 5)}, Flag.NON_FINITE_PIXELS),
    "error too small for numbers": ({"errors": changed(1e-200, values=[1.0] * 5)}, Flag.NON_FINITE_PIXELS),
    "zero error": ({"errors": changed(0.0, values=[1.0] * 5)}, Flag.NON_POSITIVE_ERRORS),
    "negative error": ({"errors": changed(-1.0, values=[1.0] * 5)}, Flag.NON_POSITIVE_ERRORS),
    "negative ivar": ({"ivar": changed(-1.0, values=[1.0] * 5)}, Flag.NEGATIVE_IVAR),
    "flux beyond all galaxies": ({"fluxes": changed(2e12), "errors": [1.0] * 5}, Flag.ABSURD_PIXELS),
    "negative flux beyond all galaxies": ({"fluxes": changed(-2e12), "errors": [1.0] * 5}, Flag.ABSURD_PIXELS),
    "undeclared -999": ({"fluxes": changed(-999.0), "errors": [1.0] * 5}, Flag.ABSURD_PIXELS),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_band_without_information(name):
    given, flag = MISSING[name]
    galaxy = made(**given)
    assert galaxy.flags == flag
    np.testing.assert_array_equal(galaxy.good, [True, False, True, True, True])
    assert np.all(np.isfinite(galaxy.flux) & np.isfinite(galaxy.ivar))
    np.testing.assert_allclose(galaxy.flux[galaxy.good], np.array(FLUXES)[galaxy.good], rtol=1e-6)


@pytest.mark.parametrize(("mag", "flag"), [(-99, 1), (99, 1), (-31, 1), (61, 1), (-9.99, 1), (59.0, 0), (33.0, 0), (np.inf, 2)])
def test_absurd_magnitudes(mag, flag):
    galaxy = made(changed(mag, values=MAGS), MAG_ERRORS, unit="ABmag")
    # Only the widest range of colours is remarked on beside it.
    assert galaxy.flags & ~Flag.UNIT_SUSPECTED == [Flag(0), Flag.ABSURD_PIXELS, Flag.NON_FINITE_PIXELS][flag]
    assert galaxy.good[1] == (flag == 0)
    assert galaxy.good[[0, 2, 3, 4]].all()


def test_negative_fluxes_are_kept():
    galaxy = made(changed(-5.0), [0.1] * 5)
    assert (galaxy.flux[1], galaxy.flags) == (-5.0, Flag(0))
    assert made(changed(-99.0), [40.0] * 5).flux[1] == -99.0  # no sentinel: as noise has it
    mostly = made([-3.0, -2.0, 1.0, -1.0, 2.0], [1.0] * 5)
    assert (mostly.flags, mostly.good.all()) == (Flag.NEGATIVE_FLUX, True)


def test_nothing_at_all_is_an_answer_with_a_flag():
    for fluxes, errors in ((np.full(5, np.nan), np.ones(5)), (FLUXES, np.full(5, np.nan)), (np.full(5, -99.0), np.full(5, -99.0))):
        galaxy = made(fluxes, errors, missing=(-99,))
        assert galaxy.flags == Flag.NO_DATA
        assert not galaxy.good.any()
    assert made([np.inf] * 5, np.ones(5)).flags == Flag.NO_DATA | Flag.NON_FINITE_PIXELS


# Upper limits


def test_upper_limits_have_the_sigma_that_they_are_multiples_of():
    limits = changed(True, values=[False] * 5)
    for k, expected in ((3.0, 7.0), (5.0, 4.2)):
        galaxy = made(FLUXES, changed(np.nan, values=[1.0] * 5), limits=limits, limit_sigma=k)
        assert (galaxy.flux[1], galaxy.ivar[1] ** -0.5) == (21.0, pytest.approx(expected))
        np.testing.assert_array_equal(galaxy.censored, limits)
    mags = made(MAGS, changed(-99.0, values=MAG_ERRORS), unit="ABmag", limits=limits, missing=(-99,))
    assert mags.ivar[1] ** -0.5 == pytest.approx(10 ** (0.4 * 3.3) / 3)


@pytest.mark.parametrize("error", [2.0, 0.0, -1.0, np.inf])
def test_a_positive_error_beside_a_limit_wins(error):
    galaxy = made(FLUXES, changed(error, values=[1.0] * 5), limits=changed(True, values=[False] * 5))
    assert galaxy.ivar[1] ** -0.5 == pytest.approx(2.0 if error == 2.0 else 7.0)
    assert (galaxy.flags, galaxy.censored[1]) == (Flag(0), True)


def test_limits_without_information():
    limits = [False, True, True, False, False]
    galaxy = made([9.0, np.nan, -4.0, 57.0, 69.0], [1.0, np.nan, np.nan, 1.0, 1.0], limits=limits)
    assert not galaxy.censored.any()
    assert galaxy.flags == Flag.NON_POSITIVE_ERRORS  # a negative limit says nothing without an error
    assert made([9.0, 21.0, -4.0, 57.0, 69.0], limits=limits).censored.tolist() == limits


def test_negative_errors_as_limits():
    errors = [1.0, -1.0, -99.0, 0.0, 1.0]
    galaxy = made(FLUXES, errors, negative_error_is_limit=True, missing=(-99,))
    assert galaxy.censored.tolist() == [False, True, False, False, False]
    assert galaxy.good.tolist() == [True, True, False, False, True]
    assert (galaxy.ivar[1] ** -0.5, galaxy.flags) == (pytest.approx(7.0), Flag.NON_POSITIVE_ERRORS)
    with pytest.raises(InputError, match="negative_error_is_limit"):
        made(ivar=[1.0] * 5, negative_error_is_limit=True)


def test_default_errors():
    np.testing.assert_allclose(made(default_error=0.1).ivar ** -0.5, 0.1 * np.array(FLUXES))
    mags = made(MAGS, unit="ABmag", default_error=0.1)
    np.testing.assert_allclose(mags.ivar**-0.5, 0.1 * mags.flux)
    limited = made(default_error=0.1, limits=changed(True, values=[False] * 5))
    assert limited.ivar[1] ** -0.5 == pytest.approx(7.0)  # of the limit, not of the fraction
    with pytest.raises(InputError, match="without errors"):
        photometry(FLUXES, bands=UGRIZ, unit="uJy")
    assert photometry(FLUXES, bands=UGRIZ, unit="uJy", limits=[True] * 5).censored.all()


def test_error_floors_are_added_in_quadrature():
    """To measurements of either sign, not to limits; missing bands stay so."""
    fluxes = np.array([9.0, -3.0, 40.0, 57.0, np.nan])
    galaxy = photometry(
        fluxes, [1.0, 2.0, 3.0, 4.0, 5.0], bands=UGRIZ, unit="nanomaggy", error_floor=0.1, limits=changed(True, at=3, values=[False] * 5)
    )
    np.testing.assert_allclose(galaxy.ivar[:3] ** -0.5, np.hypot([1.0, 2.0, 3.0], 0.1 * np.abs(fluxes[:3])))
    assert galaxy.ivar[3] ** -0.5 == pytest.approx(4.0)
    assert galaxy.ivar[4] == 0
    each = made(error_floor=[0.0, 0.0, 0.5, 0.0, 0.0])
    np.testing.assert_allclose(each.ivar**-0.5 / FLUXES, np.hypot(0.05, [0, 0, 0.5, 0, 0]))
    mags = made(MAGS, MAG_ERRORS, unit="ABmag", error_floor=0.1)
    np.testing.assert_allclose(mags.ivar**-0.5 / mags.flux, np.hypot(np.array(MAG_ERRORS) * np.log(10) / 2.5, 0.1), rtol=1e-6)


@pytest.mark.parametrize("floor", [-0.1, 1.0, np.nan, [0.1, 0.1]])
def test_impossible_error_floors_are_refused(floor):
    with pytest.raises(InputError, match="error_floor"):
        made(error_floor=floor)


# Suspected units


SUSPECTED = {
    "magnitudes as nanomaggies": (MAGS, MAG_ERRORS, "nanomaggy"),
    "magnitudes as uJy": (MAGS, MAG_ERRORS, "uJy"),
    "magnitudes as erg/s/cm2/Hz": (MAGS, MAG_ERRORS, "erg / (s cm2 Hz)"),
    "nanomaggies as magnitudes": (FLUXES, [1.0] * 5, "ABmag"),
    "nanomaggies that could be magnitudes but for their colours": ([12.0, 15.0, 18.0, 20.0, 22.0], [0.5] * 5, "ABmag"),
    "faint uJy as magnitudes": ([0.5, 0.7, 1.1, 1.5, 1.8], [0.1] * 5, "ABmag"),
    "bright uJy as magnitudes": ([900.0, 2100.0, 4000.0, 5700.0, 6900.0], [10.0] * 5, "ABmag"),
    "erg/s/cm2/Hz as magnitudes": (np.array(FLUXES) * 3.6e-29, [1e-29] * 5, "ABmag"),
    "erg/s/cm2/Hz as nanomaggies": (np.array(FLUXES) * 3.6e-29, [1e-29] * 5, "nanomaggy"),
    "Jy as nanomaggies": (np.array(FLUXES) * 3.6e-6, np.full(5, 1e-7), "nanomaggy"),
    "uJy as Jy": (FLUXES, [1.0] * 5, "Jy"),
}


@pytest.mark.parametrize("name", SUSPECTED)
def test_a_wrong_unit_is_suspected(name):
    fluxes, errors, unit = SUSPECTED[name]
    assert Flag.UNIT_SUSPECTED in made(fluxes, errors, unit=unit).flags


UNSUSPICIOUS = {
    "fluxes with the numbers of magnitudes": ([10.0, 15.0, 20.0, 25.0, 28.0], [0.3] * 5, "nanomaggy"),
    "a flat f_nu": ([20.0, 20.1, 19.9, 20.0, 20.05], [0.1] * 5, "uJy"),
    "magnitudes": (MAGS, MAG_ERRORS, "ABmag"),
    "blue magnitudes": ([18.0, 18.1, 18.4, 18.5, 18.6], [0.05] * 5, "ABmag"),
    "a drop-out": ([29.5, 28.0, 24.0, 23.5, 23.4], [2.0, 0.8, 0.1, 0.1, 0.1], "ABmag"),
    "a bright galaxy": ([9e4, 3e5, 6e5, 9e5, 1e6], [1e3] * 5, "nanomaggy"),
    "a very deep field": ([4e-3, 4e-3, 5e-3, 5e-3, 6e-3], [2e-4] * 5, "nanomaggy"),
    "noise": ([0.02, -0.3, 0.1, -0.2, 0.4], [0.2] * 5, "nanomaggy"),
}


@pytest.mark.parametrize("name", UNSUSPICIOUS)
def test_a_right_unit_is_not_suspected(name):
    fluxes, errors, unit = UNSUSPICIOUS[name]
    assert made(fluxes, errors, unit=unit).flags == Flag(0)


# Bands


def test_bands_by_name_group_and_curve():
    own = FilterCurve.from_arrays("mine", [5000.0, 5500.0, 6000.0], [0.0, 1.0, 0.0])
    galaxy = made([1.0, 2.0, 3.0, 4.0], bands=["galex-*", own, "twomass-J"])
    assert [curve.name for curve in galaxy.bands] == ["galex-fuv", "galex-nuv", "mine", "twomass-J"]
    twice = made([1.0, 2.0], bands=["sdss2010-r", "sdss2010-r"])
    np.testing.assert_array_equal(twice.flux, [1.0, 2.0])
    assert made([1.0], bands="sdss2010-r").n_bands == made([1.0], bands=own).n_bands == 1


def test_unknown_bands_list_the_close_ones():
    with pytest.raises(InputError, match="sdss2010-r"):
        made([1.0], bands=["sdss2010_r"])
    with pytest.raises(InputError, match="group"):
        made([1.0], bands="sdss1999-*")


@pytest.mark.parametrize(
    "given",
    [
        {"fluxes": FLUXES[:4]},
        {"fluxes": [FLUXES]},
        {"fluxes": 3.0},
        {"fluxes": ["a", "b", "c", "d", "e"], "errors": [1.0] * 5},
        {"errors": [1.0] * 4},
        {"errors": [1.0] * 5, "ivar": [1.0] * 5},
        {"limits": [True]},
        {"limits": ["yes"] * 5},
        {"limit_sigma": 0.0},
        {"limit_sigma": -3.0},
        {"default_error": -0.1},
        {"default_error": 0.0},
        {"missing": (None,)},
        {"bands": [], "fluxes": [], "errors": []},
        {"id": "a", "redshift": -0.5},
        {"redshift": 10.5},
        {"redshift": np.nan},
        {"ebv": -0.1},
        {"ebv": np.inf},
    ],
    ids=str,
)
def test_what_is_refused(given):
    with pytest.raises(InputError) as raised:
        made(**given)
    assert raised.value.mend


def test_what_travels_along():
    galaxy = made(redshift=0.3, ebv=0.02, id=" NGC 1 ", survey="mine", labels={"logm": 10.0}, flags=Flag.PIPELINE_WARNING)
    assert (galaxy.redshift, galaxy.ebv, galaxy.id, galaxy.survey) == (0.3, 0.02, "NGC 1", "mine")
    assert (galaxy.labels, galaxy.flags) == ({"logm": 10.0}, Flag.PIPELINE_WARNING)
    assert (made().redshift, made().ebv) == (None, None)


def test_arrays_of_one_length():
    arrays = {"flux": np.ones(2), "ivar": np.ones(2), "censored": np.zeros(2, bool)}
    for names in ((), ("sdss2010-g",), ("sdss2010-*",)):
        with pytest.raises(InputError, match=r"bands|shape"):
            Photometry(bands=load_filters(names), **arrays)


# Catalogues from arrays


def random_catalogue(n_rows, **more) -> tuple[np.ndarray, np.ndarray, Catalogue]:
    """Fluxes and errors with everything in them that can go wrong, and their catalogue."""
    rng = np.random.default_rng(5)
    fluxes, errors = 10 ** rng.uniform(-1, 3, (n_rows, 5)), 10 ** rng.uniform(-2, 1, (n_rows, 5))
    for array in (fluxes, errors):
        for value in (np.nan, np.inf, -99.0, -999.0, 0.0, -1.0, 1e13):
            array[rng.random(array.shape) < 0.02] = value
    return fluxes, errors, catalogue_from_arrays(fluxes, errors, bands=UGRIZ, **more)


@pytest.mark.parametrize("unit", ["nanomaggy", "ABmag"])
def test_one_galaxy_is_a_row_of_the_catalogue(unit):
    rules = {"unit": unit, "missing": (-99,), "limit_sigma": 5.0, "negative_error_is_limit": True}
    rng = np.random.default_rng(0)
    redshift, ids = rng.uniform(0, 1, 300), [f"galaxy {k}" for k in range(300)]
    fluxes, errors, catalogue = random_catalogue(300, redshift=redshift, id=ids, ebv=0.1, **rules)
    assert len(np.unique(catalogue.flags)) > 5
    for k, galaxy in enumerate(catalogue):
        alone = made(fluxes[k], errors[k], redshift=redshift[k], id=ids[k], ebv=0.1, **rules)
        assert_identical(galaxy, alone)


def test_rules_against_a_loop():
    """Every band of every row by plain Python."""
    fluxes, errors, catalogue = random_catalogue(400, unit="nanomaggy", missing=(-99,))
    for (k, band), value in np.ndenumerate(fluxes):
        error = errors[k, band]
        usable = np.isfinite(value) and abs(value) <= 1e12 and value != -99 and error > 0 and np.isfinite(error)
        usable = usable and not (value == -999 and error < 99.9)
        assert catalogue.ivar[k, band] == (pytest.approx(error**-2) if usable else 0.0)
        if usable:
            assert catalogue.flux[k, band] == value


def test_slices_are_catalogues():
    redshift = np.linspace(0.1, 0.5, 20)
    _, _, catalogue = random_catalogue(20, unit="uJy", redshift=redshift, labels={"n": np.arange(20)})
    assert (len(catalogue), len(catalogue[5:10]), len(list(catalogue[::4]))) == (20, 5, 5)
    for part, first in (
        (catalogue[7:], 7),
        (catalogue[catalogue.redshift > 0.3], 10),
        (catalogue[np.array([3, 4])], 3),
        (catalogue[[4]], 4),
    ):
        assert isinstance(part, Catalogue)
        assert_identical(part[0], catalogue[first])
        assert part[0].labels == {"n": first}
    assert_identical(catalogue[-1], catalogue[np.int64(19)])
    for outside in (20, -21):
        with pytest.raises(IndexError):
            catalogue[outside]


def test_duplicate_ids_are_flagged():
    _, _, catalogue = random_catalogue(4, unit="uJy", id=["a", "b", "a ", "c"])
    assert [bool(flags & Flag.DUPLICATE_ID) for flags in catalogue.flags] == [True, False, True, False]
    assert catalogue.id.tolist() == ["a", "b", "a", "c"]


LARGE = 39633345008634465


@pytest.mark.parametrize(
    "ids",
    [
        np.array([LARGE, LARGE + 1, 3]),
        np.array([2**64 - 1, 2**64 - 2, 3], np.uint64),
        np.array([LARGE, LARGE + 1, 3], ">i8"),
        [2**64 - 1, -3, 2**63 + 1],
        ["x1", "x2", "x3"],
        np.array([b"x1", b"x2", b"x3"]),
        np.array([1.0, 2.0, 2.0**53]),
    ],
    ids=str,
)
def test_ids_survive_to_the_last_digit(ids):
    _, _, catalogue = random_catalogue(3, unit="uJy", id=ids)
    expected = [one.decode() if isinstance(one, bytes) else one if isinstance(one, str) else str(int(one)) for one in ids]
    assert [galaxy.id for galaxy in catalogue] == expected
    assert not np.any(catalogue.flags & int(Flag.DUPLICATE_ID))


def test_ids_that_are_missing_are_numbered():
    _, _, catalogue = random_catalogue(3, unit="uJy", id=np.ma.array([1, 2, 3], mask=[False, True, False]))
    assert catalogue.id.tolist() == ["1", "photometry-2", "3"]
    assert random_catalogue(2, unit="uJy")[2].id.tolist() == ["photometry-1", "photometry-2"]
    assert random_catalogue(2, unit="uJy", id=["", "b"])[2].id.tolist() == ["photometry-1", "b"]
    assert random_catalogue(2, unit="uJy", id=np.array([np.nan, 7.0]))[2].id.tolist() == ["photometry-1", "7"]


@pytest.mark.parametrize("ids", [np.array([1.5, 2.0]), np.array([float(LARGE), 2.0]), np.float32([2**24 + 2, 1]), ["one"]], ids=str)
def test_ids_that_cannot_be_told_apart_are_refused(ids):
    with pytest.raises(InputError, match="id"):
        random_catalogue(2, unit="uJy", id=ids)


def test_impossible_redshifts_and_reddenings_keep_their_rows():
    redshift = np.array([0.5, -0.5, 10.5, np.inf, np.nan, -99.0, -0.005, 10.0])
    fluxes = np.tile(FLUXES, (8, 1))
    catalogue = catalogue_from_arrays(fluxes, 0.05 * fluxes, bands=UGRIZ, unit="nanomaggy", redshift=redshift, ebv=redshift, missing=(-99,))
    bad = [False, True, True, True, False, False, False, False]
    np.testing.assert_array_equal((catalogue.flags & int(Flag.REDSHIFT_UNUSABLE)) != 0, bad)
    np.testing.assert_array_equal(catalogue.redshift, np.where([*bad[:4], True, True, False, False], np.nan, redshift))
    assert [galaxy.redshift for galaxy in catalogue[3:7]] == [None, None, None, -0.005]
    np.testing.assert_array_equal((catalogue.flags & int(Flag.EBV_UNUSABLE)) != 0, [*bad[:2], False, True, False, False, True, False])


def test_a_table_of_astropy_is_accepted():
    table = Table({"f": np.float32([[1, 2]]), "e": np.array([[0.1, 0.2]], ">f4")})
    catalogue = catalogue_from_arrays(table["f"], table["e"], bands=["sdss2010-g", "sdss2010-r"], unit="uJy")
    assert catalogue.flux.dtype == catalogue.ivar.dtype == np.float64
    np.testing.assert_allclose(catalogue.ivar[0] ** -0.5, np.array([0.1, 0.2]) / 3.631, rtol=1e-6)


def test_a_hundred_thousand_rows_take_seconds():
    rng = np.random.default_rng(1)
    fluxes = 10 ** rng.uniform(-1, 3, (100_000, 12))
    start = time.process_time()
    catalogue = catalogue_from_arrays(
        fluxes, 0.1 * fluxes, bands=["galex-*", UGRIZ, UGRIZ], unit="uJy", id=np.arange(100_000) + LARGE, redshift=np.ones(100_000)
    )
    assert time.process_time() - start < 5.0
    assert catalogue.id[-1] == str(LARGE + 99_999)


# A galaxy of both


def spectrum_of(**more):
    wave = np.linspace(4000.0, 7000.0, 300)
    return spectrum(wave, np.ones(300), ivar=np.full(300, 4.0), lsf_kms=60.0, id="spec-1", **more)


APERTURE = Aperture(-0.4, 0.1)


def test_a_galaxy_carries_one_redshift_and_one_reddening():
    for first, second in (({"redshift": 0.1, "ebv": 0.02}, {}), ({}, {"redshift": 0.1, "ebv": 0.02}), ({"redshift": 0.1}, {"ebv": 0.02})):
        galaxy = Galaxy(spectrum=spectrum_of(**first), photometry=made(**second), aperture=APERTURE)
        for part in (galaxy, galaxy.spectrum, galaxy.photometry):
            assert (part.redshift, part.ebv) == (0.1, 0.02)
        assert galaxy.id == "spec-1"
    close = Galaxy(spectrum=spectrum_of(redshift=0.1), photometry=made(redshift=0.1109, id="other"), aperture=APERTURE)
    assert (close.redshift, close.photometry.redshift, close.id) == (0.1, 0.1, "spec-1")
    assert Galaxy(spectrum=spectrum_of(), photometry=made(), aperture=APERTURE).redshift is None


def test_a_galaxy_of_two_redshifts_is_refused():
    with pytest.raises(InputError, match=r"redshift 0\.1 .* 0\.1112"):
        Galaxy(spectrum=spectrum_of(redshift=0.1), photometry=made(redshift=0.1112), aperture=APERTURE)
    with pytest.raises(InputError, match=r"ebv 0\.1 .* 0\.13"):
        Galaxy(spectrum=spectrum_of(ebv=0.1), photometry=made(ebv=0.13), aperture=APERTURE)


def test_flags_of_a_galaxy_are_those_of_both():
    galaxy = Galaxy(spectrum=spectrum_of(flags=Flag.NOT_A_GALAXY), photometry=made(changed(np.inf), [1.0] * 5), aperture=APERTURE)
    assert galaxy.flags == Flag.NOT_A_GALAXY | Flag.NON_FINITE_PIXELS


def test_apertures_from_fluxes():
    one = Aperture.from_fluxes(10.0, 40.0)
    assert (one.log10_fraction, one.sd_dex) == (pytest.approx(np.log10(0.25)), 0.05)
    ratio = np.array([0.2, 0.3, 0.25])
    several = Aperture.from_fluxes([*ratio, 1.0, -1.0, np.nan], [1.0, 1.0, 1.0, -5.0, 3.0, 1.0], sd_dex=0.03)
    assert several.log10_fraction == pytest.approx(np.log10(ratio).mean())
    assert several.sd_dex == pytest.approx(np.hypot(0.03, np.log10(ratio).std(ddof=1)))
    assert Aperture.from_fluxes(1.1, 1.0).log10_fraction == 0.0  # noise: no more light than there is


@pytest.mark.parametrize(("inside", "total"), [(-1.0, 4.0), (1.0, 0.0), (2.0, 1.0), (np.nan, 1.0), ([1.0, 2.0], 4.0), ("a", "b")])
def test_apertures_that_cannot_be(inside, total):
    with pytest.raises(InputError):
        Aperture.from_fluxes(inside, total)


@pytest.mark.parametrize(("mean", "sd"), [(np.nan, 0.1), (0.0, 0.0), (0.0, -1.0), (0.0, np.inf)])
def test_priors_of_apertures_that_cannot_be(mean, sd):
    with pytest.raises(InputError, match="aperture"):
        Aperture(mean, sd)
