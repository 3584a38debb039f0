"""Views against brute force: each pixel's own Gaussian on a fine grid, and resolution matrices written out densely."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

from slipher import data
from slipher.errors import InputError
from slipher.grids import stars
from slipher.grids.library import dispersion_coordinate, library_sigma, load_library
from slipher.instrument import spectrograph, surveys
from slipher.physics.galaxy import GALAXY, apply_bands, lagrange_weights, line_windows, spectrum, spread_lines
from slipher.physics.parameters import from_normal
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


def nearest_metallicity(library, log_z):
    """Index of the library's metallicity nearest to log Z/Zsun."""
    return int(np.argmin(np.abs(np.asarray(library.log_z) - log_z)))


def node_weights(library, sigma_star):
    """Weights [node] of the library's dispersion nodes at a stellar dispersion."""
    nodes = dispersion_coordinate(library.sigma_nodes_kms)
    return np.asarray(lagrange_weights(dispersion_coordinate(jnp.float32(sigma_star)), nodes), float)


def excess_variance(instrument, wave, redshift, sigma_star):
    """What the library has to be broadened by, (km/s)^2: negative where it is wider than galaxy and instrument together."""
    return sigma_star**2 + instrument.lsf(wave) ** 2 - library_sigma(wave / (1.0 + redshift)) ** 2


def relative_error(library, survey, redshift, sigma_star):
    """Of old and young populations of solar and of 0.2 solar metallicity, where lines are wider than the library's."""
    instrument = surveys.survey(survey)
    wave = instrument.wavelengths()
    view = spectrograph.view(wave, redshift, library, lsf_kms=instrument.lsf(wave))
    rest = wave / (1.0 + redshift)
    picked = np.arange(40, len(wave) - 40, 11)
    picked = picked[(rest[picked] > 2480.0) & (rest[picked] < 10250.0)]
    variance = excess_variance(instrument, wave[picked], redshift, sigma_star)
    weights = node_weights(library, sigma_star)
    solar_and_poor = [nearest_metallicity(library, z) for z in (np.log10(0.2), 0.0)]
    errors = []
    for tables, seen, cells in (
        (library.old, view.old, np.asarray(library.old_weights, float)[solar_and_poor][:, [0, 12, 28]]),
        (library.young, view.young, np.asarray(library.young_weights, float)[solar_and_poor][:, [1, 8]]),
    ):
        cells = cells.reshape(-1, cells.shape[-1])
        spectra = cells @ np.asarray(tables[0], float).T
        truth = brute_force(spectra, rest[picked], np.sqrt(np.maximum(variance, 0.0)))
        ours = np.einsum("pnk,n,ck->cp", np.asarray(seen[picked], float), weights, cells, optimize=True)
        errors.append(np.abs(ours / truth - 1.0))
    return np.concatenate(errors), variance


@pytest.mark.parametrize("survey", surveys.SURVEYS)
@pytest.mark.parametrize("redshift", [0.02, 0.3])
@pytest.mark.parametrize("sigma_star", [20.0, 60.0, 120.0, 300.0, 450.0])
def test_a_view_is_the_library_convolved_pixel_by_pixel(library, survey, redshift, sigma_star):
    """Within 0.5 % in 99 of 100 pixels. The rest are narrow features near where the spectrograph is as sharp as the
    library: the excess variance, cut at zero, has a kink there, which no polynomial in the dispersion follows. DESI is
    sharper than the library at every pixel, so that at 60 km/s all its features are near the kink: within 1 %."""
    error, _ = relative_error(library, survey, redshift, sigma_star)
    near_kink = sigma_star < 100.0
    assert np.median(error) < 1e-3
    assert np.quantile(error, 0.99) < (1e-2 if survey == "desi" and near_kink else 5e-3)
    assert error.max() < (0.04 if near_kink else 0.01)


@pytest.mark.parametrize("survey", ["sdss", "boss"])
def test_where_the_spectrograph_is_blunter_than_the_library_every_pixel_is_right(library, survey):
    """At z = 0 the surveys' line-spread functions are wider than MILES' over most of the optical."""
    for sigma_star in (20.0, 60.0, 150.0):
        error, variance = relative_error(library, survey, 0.0, sigma_star)
        blunt = variance - sigma_star**2 > 15.0**2
        assert blunt.mean() > 0.3
        assert error[:, blunt].max() < 5e-3


@pytest.mark.parametrize("redshift", [0.02, 0.1, 0.3])
def test_stars_are_fitted_best_at_their_own_dispersion(library, redshift):
    """Rounding the cut of the excess variance off broadens every star, by the more the rounder: no dispersion from 40 km/s
    on may move by more than 2 km/s, where a noise-free spectrum of SDSS is fitted by the view."""
    instrument = surveys.survey("sdss")
    wave = instrument.wavelengths()
    wave = wave[(wave > 3800.0 * (1.0 + redshift)) & (wave < 6800.0 * (1.0 + redshift))][::3]
    rest, lsf = wave / (1.0 + redshift), instrument.lsf(wave)
    cells = np.asarray(library.old_weights, float)[nearest_metallicity(library, 0.0), [0, 12, 28]]
    old, _, _ = spectrograph.sample(library, rest, lsf)
    at_nodes = np.einsum("pnk,ck->cpn", np.asarray(old, float), cells)
    for sigma_star in (40.0, 60.0, 100.0, 200.0):
        variance = excess_variance(instrument, wave, redshift, sigma_star)
        truth = brute_force(cells @ np.asarray(library.old[0], float).T, rest, np.sqrt(np.maximum(variance, 0.0)))

        def mismatch(sigma, truth=truth):
            return np.mean((at_nodes @ node_weights(library, sigma) / truth - 1.0) ** 2)

        fitted = minimize_scalar(mismatch, bounds=(0.3 * sigma_star, 2.0 * sigma_star), method="bounded").x
        assert abs(fitted - sigma_star) < 2.0


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


def gaussian_bands(wave_aa, sigma_aa, n_offset=11):
    """Bands of a Gaussian line-spread function on evenly spaced pixels."""
    offset = (np.arange(n_offset)[:, None] - n_offset // 2) * (wave_aa[1] - wave_aa[0])
    rows = np.exp(-0.5 * (offset / sigma_aa) ** 2) * np.ones((1, len(wave_aa)))
    return rows / rows.sum(0)


def test_a_gaussian_matrix_does_what_a_gaussian_line_spread_function_does(library):
    """To emission lines, wide enough for the pixels to sample them: the matrix once, and the Gaussian beside it not again."""
    wave = np.arange(5000.0, 5800.0, 0.8)
    sigma_aa = 0.9
    lsf = sigma_aa / wave * C_KMS
    by_matrix = spectrograph.view(wave, 0.1, library, lsf_kms=lsf, resolution_matrix=gaussian_bands(wave, sigma_aa))
    by_sigma = spectrograph.view(wave, 0.1, library, lsf_kms=lsf)
    shapes = [spread_lines(v, line_windows(v, library.line_wave_aa, jnp.float32(150.0))) for v in (by_matrix, by_sigma)]
    np.testing.assert_allclose(shapes[0], shapes[1], atol=6e-3 * float(shapes[1].max()))


def test_a_matrix_leaves_the_stars_to_its_gaussian_equivalent(library):
    """Through the matrix itself the stars would get the instrument on top of the library's own width."""
    wave = np.arange(5000.0, 5800.0, 0.8)
    lsf = 0.9 / wave * C_KMS
    by_matrix = spectrograph.view(wave, 0.1, library, lsf_kms=lsf, resolution_matrix=gaussian_bands(wave, 0.9))
    by_sigma = spectrograph.view(wave, 0.1, library, lsf_kms=lsf)
    for name in ("old", "young", "nebular"):
        np.testing.assert_array_equal(getattr(by_matrix, name), getattr(by_sigma, name))


def test_stars_through_a_real_desi_matrix_are_as_wide_as_through_its_gaussian_equivalent(shared_data, library):
    """What the view's Gaussian costs: DESI's matrix applied to stars that are convolved at high resolution, in its blue arm."""
    files = sorted((shared_data / "desi").glob("coadd*.fits"))
    if not files:
        pytest.skip(f"no DESI coadd in {shared_data / 'desi'}")
    observed = next(s for s in data.read(files[0]) if s.resolution_matrix is not None)
    start, stop = observed.segments[0]
    bands = spectrograph.resolution_bands(observed.resolution_matrix[:, start:stop])
    rest, lsf = observed.wave_aa[start:stop] / 1.1, np.asarray(observed.lsf_sigma_kms(), float)[start:stop]
    cells = np.asarray(library.old_weights, float)[nearest_metallicity(library, 0.0), [0, 12, 28]]
    stars_of = cells @ np.asarray(library.old[0], float).T
    sharp = jnp.asarray(brute_force(stars_of, rest, np.full(len(rest), 80.0)), jnp.float32)
    through = np.asarray([apply_bands(jnp.asarray(bands, jnp.float32), spectrum) for spectrum in sharp], float)
    error = np.abs(through / brute_force(stars_of, rest, np.hypot(80.0, lsf)) - 1.0)[:, 20:-20]
    assert np.median(error) < 2e-3
    assert np.quantile(error, 0.99) < 5e-3


def test_a_view_needs_a_line_spread_function(library):
    with pytest.raises(InputError, match="line-spread function"):
        spectrograph.view(np.geomspace(4000.0, 5000.0, 50), 0.0, library)


def test_spectra_coarser_than_the_library_can_be_made_are_refused(library):
    """R = C / (FWHM per sigma) / 1000 km/s = 127. A few pixels that say so are no reason."""
    wave = np.geomspace(4000.0, 5000.0, 50)
    for lsf in (1000.0, np.full(50, 1000.0)):
        with pytest.raises(InputError, match=r"1000 km/s \(R = 127\); expected at most 600 km/s"):
            spectrograph.view(wave, 0.1, library, lsf_kms=lsf)
    spectrograph.view(wave, 0.1, library, lsf_kms=np.where(np.arange(50) < 5, 1000.0, 70.0))


# Pixels and windows


def with_gaps(n, seed=0):
    """Indices of n pixels that remain when stretches of 1 to 40 are cut out; none is left alone."""
    rng, cut = np.random.default_rng(seed), np.zeros(n, bool)
    for start in rng.integers(5, n - 45, n // 60):
        cut[start : start + rng.integers(1, 41)] = True
    alone = ~cut & np.append(cut[1:], False) & np.append(False, cut[:-1])
    return np.flatnonzero(~(cut | alone))


# Pixels of one wavelength step get narrower to the red, by 0.8 A in 3600 A each.
@pytest.mark.parametrize(
    ("wave", "rtol"), [(np.geomspace(3800.0, 9200.0, 3800), 1e-9), (np.arange(3600.0, 5800.0, 0.8), 3e-4)], ids=["log", "linear"]
)
def test_pixels_are_as_wide_as_the_nearer_neighbour_is_far(wave, rtol):
    widths = spectrograph.pixel_widths(wave)
    step = np.diff(np.log(wave)) * C_KMS
    np.testing.assert_allclose(widths[:-1], np.append(step[0], np.minimum(step[1:], step[:-1])), rtol=1e-9)
    assert widths[-1] == pytest.approx(step[-1], rel=1e-9)
    kept = with_gaps(len(wave))
    assert 0.3 < len(kept) / len(wave) < 0.9
    np.testing.assert_allclose(spectrograph.pixel_widths(wave[kept]), widths[kept], rtol=rtol)


def test_widths_are_the_segments_own():
    """Where arms overlap, the nearest pixel is the other arm's."""
    blue, red = np.geomspace(5000.0, 6000.0, 100), np.geomspace(5990.0, 7000.0, 50)
    widths = spectrograph.pixel_widths(np.concatenate([blue, red]), ((0, 100), (100, 150)))
    np.testing.assert_allclose(widths[:100], np.log(1.2) / 99 * C_KMS, rtol=1e-9)
    np.testing.assert_allclose(widths[100:], np.log(7000.0 / 5990.0) / 49 * C_KMS, rtol=1e-9)


@pytest.mark.parametrize("sigma_gas", [25.0, 150.0, 400.0])
def test_pixels_that_are_cut_out_change_no_other(library, sigma_gas):
    """A survey's masked pixels may be left out of a file: lines and stars in what remains are as before."""
    wave = np.geomspace(3900.0, 7500.0, 2840)
    kept = with_gaps(len(wave), seed=1)
    u = jax.random.normal(jax.random.key(0), (len(GALAXY.parameters),))
    values = GALAXY.complete(from_normal(GALAXY.parameters, u) | {"sigma_gas": jnp.float32(sigma_gas)})
    seen = []
    for pixels in (wave, wave[kept]):
        view = spectrograph.view(pixels, 0.05, library, lsf_kms=70.0)
        lines = spread_lines(view, line_windows(view, library.line_wave_aa, jnp.float32(sigma_gas)))
        seen.append((view.width_kms, lines, spectrum(GALAXY, values, jnp.float32(12.0), view, library)))
    for all_pixels, remaining in zip(*seen):
        np.testing.assert_allclose(remaining, all_pixels[kept], rtol=2e-5, atol=1e-6 * float(all_pixels.max()))
    assert float(seen[0][1][kept].max()) > 0.1 * float(seen[0][1].max())  # some lines were left


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


@pytest.mark.parametrize("sigma_kms", [0.0, 12.0, 40.0, 130.0])
def test_a_smoothing_stencil_is_a_gaussian(sigma_kms):
    """Waves in ln(wavelength) keep their phase and lose exp(-k^2 sigma^2 / 2); without width it is the interpolation."""
    wave = np.geomspace(4000.0, 7000.0, 300)
    first, weights = spectrograph.smoothing_stencil(wave, np.full(300, sigma_kms))
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-5)
    for period_kms in (700.0, 2000.0):
        k = 2 * np.pi * C_KMS / period_kms
        table = np.cos(k * LOG_WAVE)
        found = np.sum(weights * table[first[:, None] + np.arange(weights.shape[1])], 1)
        want = np.exp(-0.5 * (k * sigma_kms / C_KMS) ** 2) * np.cos(k * np.log(wave))
        np.testing.assert_allclose(found, want, atol=5e-3)
    if sigma_kms == 0:
        index, plain = spectrograph.interpolation_stencil(wave)
        np.testing.assert_array_equal(first, index)
        np.testing.assert_allclose(weights, plain, atol=1e-6)


def test_a_smoothing_stencil_stays_on_the_grid():
    wave = stars.wave_grid()[[0, 1, -2, -1]]
    first, weights = spectrograph.smoothing_stencil(wave, np.full(4, 150.0))
    assert first.min() >= 0
    assert (first + weights.shape[1]).max() <= stars.N_WAVE
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-5)
