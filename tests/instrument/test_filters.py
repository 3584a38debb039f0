"""Photometry through filters: speclite, quadrature and closed forms as twins; coverage; curves of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.errors import InputError
from slipher.grids import store
from slipher.grids.filters import SPACE, FilterCurve, filter_names, load_filters
from slipher.instrument.filters import coverage, filter_matrix, synthetic_photometry

C_AA_S = 2.99792458e18
OPTICAL = [n for n in filter_names() if n.rpartition("-")[0] in ("sdss2010", "BASS", "hsc2017", "lsst2023", "panstarrs")]


@pytest.fixture(scope="module")
def populations():
    """Wavelengths (A) and spectra [population, pixel] of the shipped library, from 3 Myr to 12 Gyr, at 35 km/s."""
    arrays, facts = store.load_table("stars")
    wave = 10 ** (facts["log_wave_start"] + facts["log_wave_step"] * np.arange(facts["n_wave"]))
    old, young = arrays["old_weights"][4] @ arrays["old_basis"], arrays["young_weights"][4] @ arrays["young_basis"]
    spectra = np.concatenate([young[::4], old[::6]]).astype(float)
    return wave, spectra / spectra.mean(axis=1, keepdims=True)


def test_magnitudes_of_stellar_populations_are_those_of_speclite(populations):
    speclite = pytest.importorskip("speclite.filters", reason="speclite is not installed")
    wave, spectra = populations
    for redshift in (0.0, 0.3, 0.7):
        observed = wave * (1 + redshift)
        twins = {name: speclite.load_filter(name) for name in OPTICAL}
        names = [n for n, t in twins.items() if observed[0] < t.wavelength[0] and t.wavelength[-1] < observed[-1]]
        assert len(names) >= 10
        ours = np.asarray(filter_matrix(names, observed), float) @ spectra.T
        theirs = [1e-8 * twins[name].get_ab_maggies(spectra, observed) for name in names]
        np.testing.assert_allclose(2.5 * np.log10(ours / theirs), 0.0, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in filter_names() if not name.startswith(f"{SPACE}-")])
def test_magnitudes_of_a_smooth_spectrum_are_those_of_speclite(name):
    speclite = pytest.importorskip("speclite.filters", reason="speclite is not installed")
    twin = speclite.load_filter(name)
    wave = np.linspace(float(twin.wavelength[0]) - 1.0, float(twin.wavelength[-1]) + 1.0, 9001)
    spectra = np.array([wave**-5 / np.expm1(1.4388e8 / (wave * kelvin)) for kelvin in (3000.0, 6000.0, 20000.0)])
    spectra /= spectra.max(axis=1, keepdims=True)
    ours = np.asarray(filter_matrix([name], wave), float)[0] @ spectra.T
    # speclite's own zero point is a trapezoidal sum over the curve's points: 1 mmag off where those are coarse
    atol = 1e-3 if twin.wavelength.size > 25 else 1.1e-3
    np.testing.assert_allclose(2.5 * np.log10(ours / (1e-8 * twin.get_ab_maggies(spectra, wave))), 0.0, atol=atol)


@pytest.mark.parametrize("name", ["sdss2010-g", "decam2014-z", "galex-fuv", "wise2010-W2"])
def test_a_source_of_constant_f_nu_has_its_ab_magnitude(name):
    """f_nu = 3631e-9 Jy is one nanomaggie in every filter."""
    (curve,) = load_filters([name])
    wave = np.linspace(curve.wave_aa[0], curve.wave_aa[-1], 20000)
    f_lambda = 3631e-32 * C_AA_S / wave**2 / 1e-17
    np.testing.assert_allclose(filter_matrix([name], wave) @ f_lambda, 1.0, rtol=3e-6)


def test_exact_for_a_piecewise_linear_spectrum_however_coarse():
    """Against brute-force integration of lambda R f on a dense grid that holds every point of curve and spectrum."""
    rng = np.random.default_rng(3)
    wave = np.sort(np.concatenate([[3000.0, 9000.0], rng.uniform(3000.0, 9000.0, 12)]))
    flux = rng.uniform(0.1, 2.0, wave.size)
    for curve in load_filters(["sdss2010-g", "galex-nuv", "bessell-V"])[::2]:
        dense = np.union1d(np.linspace(curve.wave_aa[0], curve.wave_aa[-1], 400001), np.concatenate([wave, curve.wave_aa]))
        dense = dense[(dense >= curve.wave_aa[0]) & (dense <= curve.wave_aa[-1])]
        response = np.interp(dense, curve.wave_aa, curve.response)
        photons = np.trapezoid(response * np.interp(dense, wave, flux) * dense, dense)
        flat = np.trapezoid(response / dense, dense) * 3631e-23 * C_AA_S
        expected = 1e9 * 1e-17 * photons / flat
        np.testing.assert_allclose(np.asarray(filter_matrix([curve], wave), float)[0] @ flux, expected, rtol=2e-6)


def test_resampling_a_spectrum_linearly_changes_nothing():
    wave = np.linspace(3500.0, 8000.0, 200)
    flux = 1.0 + np.sin(wave / 300.0) ** 2
    finer = np.union1d(wave, np.linspace(3500.0, 8000.0, 1777))
    coarse, fine = (
        filter_matrix(["sdss2010-r"], wave) @ flux,
        filter_matrix(["sdss2010-r"], finer) @ np.interp(finer, wave, flux),
    )
    np.testing.assert_allclose(coarse, fine, rtol=2e-6)


def test_a_filter_between_two_samples_reads_their_line():
    narrow = FilterCurve("narrow", np.array([5000.0, 5001.0, 5002.0]), np.array([0.0, 1.0, 0.0]))
    row = np.asarray(filter_matrix([narrow], np.array([4000.0, 6002.0])))[0]
    np.testing.assert_allclose(row[0] / row.sum(), 0.5, atol=1e-4)
    np.testing.assert_allclose(row.sum(), 1e9 * 1e-17 * 5001**2 / (3631e-23 * C_AA_S), rtol=1e-5)


def test_shape_dtype_and_order():
    wave = np.arange(3000.0, 11500.0, 5.0)
    matrix = filter_matrix(["sdss2010-*", "BASS-g"], wave)
    assert matrix.shape == (6, wave.size)
    assert matrix.dtype == jnp.float32
    assert np.all(matrix >= 0)
    np.testing.assert_array_equal(filter_matrix(["BASS-g"], wave)[0], matrix[5])
    assert filter_matrix([], wave).shape == (0, wave.size)


def test_synthetic_photometry_is_linear_and_differentiable():
    wave = np.arange(3000.0, 11500.0, 5.0)
    matrix, flux = filter_matrix(["sdss2010-*"], wave), jnp.ones(wave.size)
    np.testing.assert_allclose(synthetic_photometry(matrix, 3.0 * flux), 3.0 * matrix.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(jax.jacrev(lambda f: synthetic_photometry(matrix, f))(flux), matrix, rtol=1e-6)


def test_filters_that_the_wavelengths_miss_are_named():
    with pytest.raises(InputError, match="3800 to 9200 A, which do not cover sdss2010-u, sdss2010-z;"):
        filter_matrix(["sdss2010-*"], np.arange(3800.0, 9201.0, 1.0))
    with pytest.raises(InputError, match="do not cover wise2010-W1"):
        filter_matrix(["wise2010-W1"], np.arange(3800.0, 9201.0, 1.0))


def test_filters_that_the_wavelengths_miss_may_be_nan():
    matrix = filter_matrix(["sdss2010-*"], np.arange(3800.0, 9201.0, 1.0), uncovered="nan")
    np.testing.assert_array_equal(np.isnan(matrix).all(axis=1), [True, False, False, False, True])
    np.testing.assert_array_equal(np.isnan(matrix).any(axis=1), [True, False, False, False, True])


def test_far_tails_may_be_missing_at_the_cost_of_two_millimagnitudes():
    full, cut = np.arange(3300.0, 11010.0, 2.0), np.arange(3600.0, 9824.0, 2.0)
    names = ["decam2014-g", "decam2014-r", "decam2014-i"]
    assert all(0.999 < coverage(c, cut) < 1.0 for c in load_filters(names))
    for slope in (-2.0, 0.0, 1.0):
        magnitude = [-2.5 * np.log10(filter_matrix(names, w) @ (w / 6000.0) ** slope) for w in (full, cut)]
        np.testing.assert_allclose(magnitude[0], magnitude[1], atol=2.5e-3)
    with pytest.raises(InputError, match="over 100 %"):
        filter_matrix(names, cut, min_coverage=1.0)


@pytest.mark.parametrize("wave", [[5000.0], [5000.0, 4000.0, 3000.0], [3000.0, 4000.0, 4000.0], [3000.0, np.nan, 5000.0], [-1.0, 0.0, 1.0]])
def test_wavelengths_that_do_not_increase_are_refused(wave):
    with pytest.raises(InputError, match="strictly increasing"):
        filter_matrix(["sdss2010-r"], np.array(wave))


def test_a_single_name_is_not_taken_for_a_list_of_letters():
    with pytest.raises(InputError, match=r"Write \['sdss2010-r'\]"):
        filter_matrix("sdss2010-r", np.arange(3000.0, 9000.0))


def test_missing_pixels_are_not_hidden():
    """NaN in the spectrum reaches every filter: slipher has no second meaning of a mask here."""
    wave = np.arange(3000.0, 11500.0, 5.0)
    flux = jnp.ones(wave.size).at[10].set(jnp.nan)
    assert np.all(np.isnan(synthetic_photometry(filter_matrix(["sdss2010-g"], wave), flux)))
