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


def test_without_a_resolution_the_survey_has_a_typical_one():
    checked = door(resolving_power=None, survey="sdss")
    assert checked.flags == Flag.RESOLUTION_ASSUMED
    assert np.all((checked.lsf_kms > 45) & (checked.lsf_kms < 90))


UNUSABLE = {
    "R of 0": ({"resolving_power": 0.0}, "resolving_power 0;"),
    "negative R": ({"resolving_power": -2000}, "resolving_power -2000;"),
    "R of NaN": ({"resolving_power": np.nan}, "resolving_power nan;"),
    "R of a billion": ({"resolving_power": 1e9}, "resolving_power 1e+09;"),
    "R of 1": ({"resolving_power": 1.0}, "resolving_power 1;"),
    "text": ({"resolving_power": "high"}, "resolving_power 'high'"),
    "sigma of 0": ({"lsf_kms": np.zeros(N)}, "lsf_kms 0 ... 0 (400 values)"),
    "width of 0": ({"fwhm_aa": 0.0 * u.nm}, "fwhm_aa 0 nm"),
    "matrix of NaN": ({"resolution_matrix": np.full((11, N), np.nan)}, "resolution_matrix"),
    "matrix of text": ({"resolution_matrix": np.full((11, N), "a")}, "resolution_matrix"),
    "width in GHz": ({"fwhm_aa": 3.0 * u.GHz}, "fwhm_aa in GHz"),
    "R in km/s": ({"resolving_power": 60.0 * u.km / u.s}, "resolving_power in km / s"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_declared_resolution_that_is_unusable_is_refused_with_its_value(name):
    given, words = UNUSABLE[name]
    with pytest.raises(InputError) as raised:
        door(survey="sdss", **({"resolving_power": None} | given))
    assert words in str(raised.value)


@pytest.mark.parametrize("name", ["ivar", "uncertainty"])
@pytest.mark.parametrize("unit", [u.mJy, FLAMBDA.unit, u.W / u.m**3])
def test_bare_errors_beside_a_flux_in_another_unit_are_ambiguous(name, unit):
    flux = (FLUX * FLAMBDA).to(unit, u.spectral_density(WAVE * u.AA))
    with pytest.raises(UnitsError, match=f"{name} without a unit beside flux in"):
        door(flux=flux, **({"ivar": None} | {name: IVAR}))


def test_bare_errors_beside_a_flux_in_sliphers_own_unit_are_in_it():
    own = u.Unit("1e-17 erg / (s cm2 AA)")
    np.testing.assert_array_equal(door(flux=FLUX * own).ivar, IVAR.astype(np.float32))
    np.testing.assert_array_equal(door(flux=Column(FLUX, unit=own), ivar=None, uncertainty=IVAR**-0.5).ivar, IVAR)


@pytest.mark.parametrize("value", [9.97e36, -9.97e36, 1e20, 2e7])
def test_absurd_pixels_carry_no_information(value):
    checked = door(flux=with_value(FLUX, [7, 8], value))
    assert checked.flags == Flag.ABSURD_PIXELS
    np.testing.assert_array_equal(np.flatnonzero(~checked.good), [7, 8])
    assert checked.flux[7] == 0.0


def test_absurd_pixels_among_many_and_among_padding():
    mostly = np.where(np.arange(N) % 3 == 0, FLUX, 9.97e36)
    assert door(flux=mostly).good.sum() == (N + 2) // 3
    padded = np.where(np.arange(N) < 300, 0.0, FLUX)
    assert door(flux=padded).flags == Flag(0)
    assert door(flux=with_value(padded, 350, 1e9)).flags == Flag.ABSURD_PIXELS


def test_bright_lines_are_not_absurd_and_masked_fill_values_are_no_news():
    assert door(flux=with_value(FLUX, 7, 1e6)).flags == Flag(0)
    masked = door(flux=with_value(FLUX, 7, 9.97e36), ivar=with_value(IVAR, 7, 0.0))
    assert (masked.flags, masked.flux[7]) == (Flag(0), 0.0)


def test_an_empty_fibre_is_refused_or_without_information():
    with pytest.raises(InputError, match="empty fibre"):
        door(flux=0 * FLUX)
    with pytest.raises(InputError, match="400 good pixels") as raised:
        door(flux=0 * FLUX, id="sky")
    assert "'sky'" in str(raised.value)
    empty = door(flux=0 * FLUX, allow_empty=True)
    assert empty.flags == Flag.LITTLE_COVERAGE
    assert not empty.good.any()
    assert door(flux=with_value(0 * FLUX, 3, 1e-3)).flags == Flag(0)


def test_segments_are_all_pixels_or_refused():
    assert door(segments=[]).segments == ((0, N),)
    assert door(segments=[(0, 100), (100, N)]).segments == ((0, 100), (100, N))
    for wrong in ([(0, 100)], [(0, N + 5)], [(0, 200), (100, N)]):
        with pytest.raises(InputError, match="segments"):
            door(segments=wrong)


def test_masks_in_words():
    words = np.where(np.arange(N) == 4, "True", "False")
    for mask in (words, np.char.lower(words), words.astype("S5"), list(np.where(words == "True", " T", "F"))):
        np.testing.assert_array_equal(np.flatnonzero(~door(mask=mask).good), [4])
    with pytest.raises(InputError, match="'maybe'"):
        door(mask=np.where(words == "True", "maybe", "False"))


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
