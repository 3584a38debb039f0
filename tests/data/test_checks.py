"""The door: each rule of the second promise that concerns spectra, by its answer."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Column, MaskedColumn

from slipher.data import spectrum
from slipher.errors import Flag, InputError, UnitsError

N = 400
WAVE = np.linspace(4000.0, 7000.0, N)
FLUX = np.full(N, 10.0)
IVAR = np.full(N, 4.0)
FLAMBDA = 1e-17 * u.erg / u.s / u.cm**2 / u.AA


def door(wave=WAVE, flux=FLUX, **given):
    given = {"ivar": IVAR, "resolving_power": 2000} | given
    return spectrum(wave, flux, **{name: value for name, value in given.items() if value is not None})


def with_value(array, index, value):
    changed = np.array(array, dtype=float)
    changed[index] = value
    return changed


def test_a_clean_spectrum_has_no_flags():
    clean = door(redshift=0.1, ebv=0.02)
    assert clean.flags == Flag(0)
    assert (clean.redshift, clean.ebv, clean.survey) == (0.1, 0.02, "custom")
    np.testing.assert_array_equal(clean.wave_aa, WAVE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("where", ["flux", "ivar"])
def test_pixels_that_are_not_finite_carry_no_information(where, value):
    broken = {where: with_value({"flux": FLUX, "ivar": IVAR}[where], 7, value)}
    checked = door(**broken)
    assert Flag.NON_FINITE_PIXELS in checked.flags
    assert (checked.flux[7], checked.ivar[7]) == (0.0, 0.0)
    assert checked.good.sum() == N - 1


def test_negative_ivar_carries_no_information():
    checked = door(ivar=with_value(IVAR, 3, -1.0))
    assert checked.flags == Flag.NEGATIVE_IVAR
    assert checked.ivar[3] == 0.0


def test_zero_ivar_stays_without_a_flag():
    checked = door(ivar=with_value(IVAR, 3, 0.0))
    assert checked.flags == Flag(0)
    assert checked.good.sum() == N - 1


@pytest.mark.parametrize(("sigma", "flag"), [(0.0, 0), (np.inf, 0), (np.nan, 1), (-0.5, 2)])
def test_standard_deviations(sigma, flag):
    checked = door(ivar=None, uncertainty=with_value(np.full(N, 0.5), 9, sigma))
    assert checked.flags == Flag(flag)
    assert checked.ivar[9] == 0.0
    np.testing.assert_allclose(checked.ivar[checked.good], 4.0)


def test_negative_flux_is_kept():
    checked = door(flux=with_value(FLUX, 3, -20.0))
    assert checked.flux[3] == -20.0
    assert checked.flags == Flag(0)
    assert door(flux=-FLUX).flags == Flag.NEGATIVE_FLUX


def test_masks_and_masked_arrays():
    bad = np.zeros(N, bool)
    bad[4] = True
    assert not door(mask=bad).good[4]
    assert not door(mask=bad.astype(int) * 64).good[4]
    assert not door(flux=np.ma.array(FLUX, mask=bad)).good[4]
    assert not door(flux=MaskedColumn(FLUX, mask=bad, unit="1e-17 erg / (s cm2 Angstrom)")).good[4]


@pytest.mark.parametrize("order", [np.arange(N)[::-1], np.random.default_rng(0).permutation(N)], ids=["reversed", "any"])
def test_wavelengths_are_put_in_order_with_all_that_goes_with_them(order):
    flux, lsf = np.arange(N) + 1.0, np.linspace(50, 60, N)
    straight = door(flux=flux, ivar=flux, resolving_power=None, lsf_kms=lsf)
    turned = door(WAVE[order], flux[order], ivar=flux[order], resolving_power=None, lsf_kms=lsf[order])
    assert turned.flags == Flag.WAVELENGTHS_REORDERED
    for name in ("wave_aa", "flux", "ivar", "lsf_kms"):
        np.testing.assert_array_equal(getattr(turned, name), getattr(straight, name))


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", ">i4", "f2"])
def test_any_byte_order_and_type(dtype):
    checked = door(flux=FLUX.astype(dtype), ivar=IVAR.astype(dtype))
    assert checked.flux.dtype == np.float32
    assert checked.flux.dtype.isnative
    np.testing.assert_array_equal(checked.flux, 10.0)


def test_too_few_pixels_are_flagged():
    assert Flag.LITTLE_COVERAGE in spectrum(WAVE[:50], FLUX[:50], ivar=IVAR[:50], resolving_power=2000).flags
    narrow = np.linspace(6500, 6600, N)
    assert Flag.LITTLE_COVERAGE in door(narrow).flags


# Units: what each gives is known, against astropy or arithmetic.

UNITS = {
    "nm": (WAVE / 10 * u.nm, FLUX * FLAMBDA),
    "um": (WAVE * 1e-4 * u.um, FLUX * FLAMBDA),
    "cgs": (WAVE * u.AA, FLUX * 1e-17 * u.erg / u.s / u.cm**2 / u.AA),
    "SI": (WAVE * u.AA, (FLUX * FLAMBDA).to(u.W / u.m**3)),
    "Jy": (WAVE * u.AA, (FLUX * FLAMBDA).to(u.mJy, u.spectral_density(WAVE * u.AA))),
    "columns": (Column(WAVE, unit="AA"), Column(FLUX, unit="10**-17 erg/(s cm2 Angstrom)")),
}


@pytest.mark.parametrize("name", UNITS)
def test_units_are_converted(name):
    wave, flux = UNITS[name]
    checked = door(wave, flux, ivar=None, uncertainty=0.1 * flux)
    np.testing.assert_allclose(checked.wave_aa, WAVE, rtol=1e-12)
    np.testing.assert_allclose(checked.flux, 10.0, rtol=1e-6)
    np.testing.assert_allclose(checked.ivar, 1.0, rtol=1e-5)
    if isinstance(flux, u.Quantity):
        np.testing.assert_allclose(door(wave, flux, ivar=(0.1 * flux) ** -2).ivar, 1.0, rtol=1e-5)


def test_frequencies_are_wavelengths_in_reverse():
    frequency = (WAVE * u.AA).to(u.GHz, u.spectral())
    checked = door(frequency)
    assert checked.flags == Flag(0)
    np.testing.assert_allclose(checked.wave_aa, WAVE, rtol=1e-12)


def test_resolutions_agree_however_given():
    sigma = door(resolving_power=2000).lsf_kms
    np.testing.assert_allclose(sigma, 299792.458 / 2000 / 2.3548200450309493, rtol=1e-6)
    for given in ({"lsf_kms": sigma}, {"fwhm_aa": WAVE / 2000}, {"fwhm_aa": WAVE / 20000 * u.nm}):
        np.testing.assert_allclose(door(resolving_power=None, **given).lsf_kms, sigma, rtol=1e-6)
    np.testing.assert_allclose(door(resolving_power=None, lsf_kms=60e3 * u.m / u.s).lsf_kms, 60.0)


def test_unusable_resolution_takes_the_nearest_usable_one():
    lsf = np.linspace(50, 60, N)
    broken = with_value(with_value(lsf, 0, 0.0), N - 1, np.nan)
    checked = door(resolving_power=None, lsf_kms=broken)
    assert checked.flags == Flag(0)
    assert checked.lsf_kms[0] == np.float32(lsf[1])
    assert checked.lsf_kms[-1] == np.float32(lsf[-2])


def test_without_a_usable_resolution_the_survey_has_a_typical_one():
    for given in ({}, {"lsf_kms": np.zeros(N)}):
        checked = door(resolving_power=None, survey="sdss", **given)
        assert checked.flags == Flag.RESOLUTION_ASSUMED
        assert np.all((checked.lsf_kms > 45) & (checked.lsf_kms < 90))


def test_air_wavelengths_when_declared():
    assert door(wave_medium="air").wave_aa[0] == pytest.approx(4001.13, abs=0.01)


# What is refused: the arguments, the error, and a word that its message must have.

BAD = {
    "everything masked": ({"ivar": 0 * IVAR}, InputError, "masked"),
    "everything NaN": ({"flux": np.nan * FLUX}, InputError, "masked"),
    "no errors": ({"ivar": None}, InputError, "ivar nor uncertainty"),
    "both errors": ({"uncertainty": FLUX}, InputError, "both ivar"),
    "length of flux": ({"flux": FLUX[:-1]}, InputError, "399"),
    "length of ivar": ({"ivar": IVAR[:-1]}, InputError, "399"),
    "length of mask": ({"mask": np.zeros(3)}, InputError, "mask"),
    "length of lsf": ({"resolving_power": np.full(3, 2000.0)}, InputError, "resolving_power"),
    "two-dimensional": ({"flux": FLUX[None]}, InputError, "one dimension"),
    "scalar": ({"flux": 3.0}, InputError, "one dimension"),
    "text": ({"flux": ["a"] * N}, InputError, "numbers"),
    "no pixels": ({"wave": [], "flux": [], "ivar": []}, InputError, "0 pixels"),
    "nm undeclared": ({"wave": WAVE / 10}, UnitsError, "nm"),
    "micron undeclared": ({"wave": WAVE / 1e4}, UnitsError, "micron"),
    "log undeclared": ({"wave": np.log10(WAVE)}, UnitsError, "log10"),
    "wavelengths in kg": ({"wave": WAVE * u.kg}, UnitsError, "kg"),
    "wavelengths without dimension": ({"wave": WAVE * u.one}, UnitsError, "dimensionless"),
    "wavelengths absurd": ({"wave": WAVE * u.m}, UnitsError, "100 to 1e"),
    "negative wavelengths": ({"wave": WAVE - 6000}, UnitsError, "-2000"),
    "NaN wavelength": ({"wave": with_value(WAVE, 5, np.nan)}, InputError, "NaN"),
    "duplicate wavelengths": ({"wave": with_value(WAVE, 5, WAVE[6])}, InputError, "more than once"),
    "flux in counts": ({"flux": FLUX * u.ct}, UnitsError, "ct"),
    "flux in metres": ({"flux": FLUX * u.m}, UnitsError, "flux in m"),
    "flux unscaled": ({"flux": FLUX * 1e-17}, UnitsError, "1e-17"),
    "errors in another unit": ({"ivar": None, "uncertainty": FLUX * u.s}, UnitsError, "flux in s"),
    "medium": ({"wave_medium": "water"}, InputError, "water"),
    "survey": ({"survey": "lamost"}, InputError, "lamost"),
    "id": ({"id": " "}, InputError, "id"),
    "no resolution": ({"resolving_power": None}, InputError, "resolution"),
    "two resolutions": ({"lsf_kms": 60.0}, InputError, "lsf_kms, resolving_power"),
    "resolution of nothing": ({"resolving_power": 0.0}, InputError, "resolution"),
    "matrix of another length": ({"resolving_power": None, "resolution_matrix": np.ones((11, 5))}, InputError, "11, 5"),
    "matrix without middle": ({"resolving_power": None, "resolution_matrix": np.ones((10, N))}, InputError, "odd"),
    "negative redshift": ({"redshift": -0.5}, InputError, "redshift -0.5"),
    "velocity as redshift": ({"redshift": 3500.0}, InputError, "cz"),
    "NaN redshift": ({"redshift": np.nan}, InputError, "nan"),
    "negative ebv": ({"ebv": -0.1}, InputError, "E"),
    "NaN ebv": ({"ebv": np.nan}, InputError, "nan"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_refused_with_a_mend(name):
    given, error, word = BAD[name]
    with pytest.raises(error) as raised:
        door(**given)
    assert word in str(raised.value)
    assert raised.value.expected
    assert raised.value.mend
