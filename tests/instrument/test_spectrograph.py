"""Views against brute force: each pixel's own Gaussian on a fine grid, and resolution matrices written out densely."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from slipher import data
from slipher.errors import InputError
from slipher.grids import stars
from slipher.grids.library import library_sigma, load_library
from slipher.instrument import spectrograph, surveys
from slipher.physics.galaxy import apply_bands, lagrange_weights, line_windows, spread_lines
from slipher.units import C_KMS

LOG_WAVE = np.log(stars.wave_grid())


@pytest.fixture(scope="module")
def library():
    return load_library()


def brute_force(spectra, wave_aa, sigma_kms):
    """Spectra [row, grid] at wavelengths, each convolved with its own Gaussian of sigma [pixel] by direct summation."""
    spline = CubicSpline(LOG_WAVE, spectra, axis=1)
    offset = np.linspace(-6.0, 6.0, 241)
    kernel = np.exp(-0.5 * offset**2) / np.exp(-0.5 * offset**2).sum()
    at = np.log(wave_aa)[:, None] + offset * np.maximum(sigma_kms, 0.5)[:, None] / C_KMS
    return spline(np.clip(at, LOG_WAVE[0], LOG_WAVE[-1])) @ kernel


def relative_error(library, survey, redshift, sigma_star):
    """Of old and young populations of solar and of 0.2 solar metallicity, where lines are wider than the library's."""
    instrument = surveys.survey(survey)
    wave = instrument.wavelengths()
    view = spectrograph.view(wave, redshift, library, lsf_kms=instrument.lsf(wave))
    rest = wave / (1.0 + redshift)
    picked = np.arange(40, len(wave) - 40, 11)
    picked = picked[(rest[picked] > 2480.0) & (rest[picked] < 10250.0)]
    variance = sigma_star**2 + instrument.lsf(wave) ** 2 - library_sigma(rest) ** 2
    weights = lagrange_weights(jnp.float32(sigma_star), library.sigma_nodes_kms)
    errors = []
    for tables, seen, cells in (
        (library.old, view.old, np.asarray(library.old_weights)[[2, 4]][:, [0, 12, 28]]),
        (library.young, view.young, np.asarray(library.young_weights)[[2, 4]][:, [1, 8]]),
    ):
        cells = cells.reshape(-1, cells.shape[-1])
        spectra = cells @ np.asarray(tables[0], float).T
        truth = brute_force(spectra, rest[picked], np.sqrt(np.maximum(variance, 0.0))[picked])
        ours = np.asarray(jnp.einsum("pnk,n,ck->cp", seen[picked], weights, jnp.asarray(cells)))
        errors.append(np.abs(ours / truth - 1.0))
    return np.concatenate(errors), variance[picked]


@pytest.mark.parametrize("survey", ["sdss", "boss"])
@pytest.mark.parametrize("redshift", [0.02, 0.3])
@pytest.mark.parametrize("sigma_star", [20.0, 60.0, 120.0, 300.0])
def test_a_view_is_the_library_convolved_pixel_by_pixel(library, survey, redshift, sigma_star):
    """Within 0.5 % in 99 of 100 pixels. The rest are narrow features near where the spectrograph is as sharp as the
    library: the excess variance, cut at zero, has a kink there, which no polynomial in the dispersion follows."""
    error, _ = relative_error(library, survey, redshift, sigma_star)
    assert np.median(error) < 1e-3
    assert np.quantile(error, 0.99) < 5e-3
    assert error.max() < 0.04


@pytest.mark.parametrize("survey", ["sdss", "boss"])
def test_where_the_spectrograph_is_blunter_than_the_library_every_pixel_is_right(library, survey):
    """At z = 0 the surveys' line-spread functions are wider than MILES' over most of the optical."""
    for sigma_star in (20.0, 60.0, 150.0):
        error, variance = relative_error(library, survey, 0.0, sigma_star)
        blunt = variance - sigma_star**2 > 15.0**2
        assert blunt.mean() > 0.3
        assert error[:, blunt].max() < 5e-3


def test_wavelengths_of_the_grid_are_returned_as_they_are(library):
    index = np.arange(200, stars.N_WAVE - 200, 17)
    _, _, nebular = spectrograph.sample(library, stars.wave_grid()[index], np.zeros(len(index)))
    np.testing.assert_allclose(nebular, library.nebular[index], atol=2e-4 * float(jnp.abs(library.nebular).max()))


def test_stencil_is_exact_for_cubics():
    wave = stars.wave_grid()[5000] * 10 ** (np.linspace(0.0, 30.0, 50) * stars.LOG_WAVE_STEP)
    index, weights = spectrograph.interpolation_stencil(wave)
    x = (np.log10(wave) - stars.LOG_WAVE_START) / stars.LOG_WAVE_STEP - 5000.0
    cubic = np.polynomial.Polynomial([0.3, -0.2, 0.05, 0.01])
    nodes = index[:, None] + np.arange(4) - 5000
    np.testing.assert_allclose(np.sum(weights * cubic(nodes), 1), cubic(x), rtol=2e-4, atol=2e-4)


def test_redshift_only_moves_wavelengths(library):
    wave = np.geomspace(4000.0, 7000.0, 200)
    here = spectrograph.view(wave, 0.0, library, lsf_kms=80.0)
    there = spectrograph.view(wave * 1.3, 0.3, library, lsf_kms=80.0)
    np.testing.assert_allclose(there.wave_aa, here.wave_aa, rtol=1e-6)
    np.testing.assert_allclose(there.old, here.old, atol=1e-4)


# Resolution matrices


def desi_like(rng, n_pixel, n_diagonal=11):
    """Diagonals as DESI stores them, and the same matrix written out: R[j - o, j], the highest offset o first."""
    half = n_diagonal // 2
    stored = rng.random((n_diagonal, n_pixel)) * np.exp(-0.5 * (np.arange(n_diagonal)[:, None] - half) ** 2)
    dense = np.zeros((n_pixel, n_pixel))
    for k in range(n_diagonal):
        for j in range(n_pixel):
            i = j - (half - k)
            if 0 <= i < n_pixel:
                dense[i, j] = stored[k, j]
    return stored, dense


def test_resolution_bands_against_a_dense_matrix_of_each_arm():
    rng = np.random.default_rng(0)
    (blue, dense_blue), (red, dense_red) = desi_like(rng, 50), desi_like(rng, 37)
    bands = spectrograph.resolution_bands(np.concatenate([blue, red], 1), ((0, 50), (50, 87)))
    flux = rng.random(87)
    expected = np.concatenate([dense_blue @ flux[:50], dense_red @ flux[50:]])
    got = apply_bands(jnp.asarray(bands, jnp.float32), jnp.asarray(flux, jnp.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_resolution_bands_against_scipys_sparse_diagonals():
    from scipy.sparse import dia_array

    stored, dense = desi_like(np.random.default_rng(1), 60, 5)
    np.testing.assert_allclose(dia_array((stored, [2, 1, 0, -1, -2]), shape=(60, 60)).toarray(), dense)
    bands = spectrograph.resolution_bands(stored)
    rows = [[dense[i, i + o - 2] if 0 <= i + o - 2 < 60 else 0.0 for i in range(60)] for o in range(5)]
    np.testing.assert_array_equal(bands, rows)


def test_real_desi_resolution_makes_the_line_that_the_data_layer_measures(shared_data, library):
    """A narrow line through bands has the width that `Spectrum.lsf_sigma_kms` finds by moments."""
    files = sorted((shared_data / "desi").glob("coadd*.fits"))
    if not files:
        pytest.skip(f"no DESI coadd in {shared_data / 'desi'}")
    observed = next(s for s in data.read(files[0]) if s.resolution_matrix is not None)
    bands = spectrograph.resolution_bands(observed.resolution_matrix, observed.segments)
    for start, stop in observed.segments:
        pixel = (start + stop) // 2
        spike = jnp.zeros(len(observed.wave_aa)).at[pixel].set(1.0)
        seen = np.asarray(apply_bands(jnp.asarray(bands, jnp.float32), spike), float)[start:stop]
        wave = observed.wave_aa[start:stop]
        mean = np.average(wave, weights=seen)
        width = np.sqrt(np.average((wave - mean) ** 2, weights=seen)) / mean * C_KMS
        np.testing.assert_allclose(width, observed.lsf_sigma_kms()[pixel], rtol=0.05)


def test_a_gaussian_matrix_does_what_a_gaussian_line_spread_function_does(library):
    """Stars already wider than the library: both ways of telling the instrument's resolution agree."""
    wave = np.arange(5000.0, 5800.0, 0.8)
    sigma_aa = 0.9
    offset = np.arange(-5, 6)[:, None]
    rows = np.exp(-0.5 * (offset * 0.8 / sigma_aa) ** 2) * np.ones((1, len(wave)))
    bands = rows / rows.sum(0)
    by_matrix = spectrograph.view(wave, 0.1, library, resolution_matrix=bands)
    by_sigma = spectrograph.view(wave, 0.1, library, lsf_kms=sigma_aa / wave * C_KMS)
    weights = lagrange_weights(jnp.float32(180.0), library.sigma_nodes_kms)
    old = library.old_weights[4, [0, 12, 28]]
    one, two = (jnp.einsum("pnk,n,ck->cp", v.old, weights, old)[:, 20:-20] for v in (by_matrix, by_sigma))
    np.testing.assert_allclose(one, two, rtol=4e-3)
    shapes = [spread_lines(v, line_windows(v, library.line_wave_aa, jnp.float32(150.0))) for v in (by_matrix, by_sigma)]
    np.testing.assert_allclose(shapes[0], shapes[1], atol=6e-3 * float(shapes[1].max()))


def test_a_view_needs_a_line_spread_function(library):
    with pytest.raises(InputError, match="line-spread function"):
        spectrograph.view(np.geomspace(4000.0, 5000.0, 50), 0.0, library)


# Windows


def test_windows_hold_the_nearest_pixels_also_where_arms_overlap(library):
    """DESI's arms share 40 to 150 A: a line there is seen by both."""
    arms = (np.arange(3600.0, 5800.0, 0.8), np.arange(5760.0, 7620.0, 0.8), np.arange(7520.0, 9824.0, 0.8))
    edges = np.cumsum([0, *map(len, arms)])
    segments = tuple(zip(edges[:-1].tolist(), edges[1:].tolist()))
    wave = np.concatenate(arms)
    view = spectrograph.view(wave, 0.0, library, lsf_kms=40.0, segments=segments)
    line = 5780.0
    windows = spectrograph.line_windows(wave, np.array([line]), view.line_pixels.shape[1])[0]
    assert {int(np.argmin(np.abs(arms[0] - line))), edges[1] + int(np.argmin(np.abs(arms[1] - line)))} <= set(windows)
    assert np.all(np.diff(np.sort(windows)) > 0)
    np.testing.assert_allclose(view.width_kms[:2], 0.8 / 3600.0 * C_KMS, rtol=1e-3)
    np.testing.assert_allclose(view.width_kms[edges[1]], 0.8 / 5760.0 * C_KMS, rtol=1e-3)


def test_window_sizes_come_in_few_shapes():
    sizes = {spectrograph.window_size(np.full(4000, width)) for width in np.linspace(60.0, 75.0, 30)}
    assert all(size % 16 == 0 for size in sizes)
    assert len(sizes) <= 2
    assert spectrograph.window_size(np.full(10, 69.0)) == 10
