"""The bases of histories: what was drawn is what is stated, factors find what was mixed, and held-back histories are near their span."""

import numpy as np
import pytest
from scipy.special import gammainc

from slipher.grids import history_bases as hb

N = 400


@pytest.fixture(scope="module")
def bases():
    return hb.load_history_bases()


@pytest.fixture(scope="module")
def held_back():
    return hb.draw_family(np.random.default_rng(99), N)


def test_the_table_holds_what_the_docstring_says(bases):
    assert bases.mass.shape == (4, len(bases.age_edges) - 1)
    assert bases.metallicity.shape == (2, len(bases.metallicity_knots))
    for array in bases:
        assert np.all(array >= 0.0)
    for grid in (bases.age_edges, bases.metallicity_knots):
        assert grid[0] == 0.0
        assert grid[-1] == 1.0
        assert np.all(np.diff(grid) > 0)
    np.testing.assert_allclose(bases.mass.sum(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(bases.metallicity.max(1), 1.0)
    assert np.all(bases.metallicity.max(0) > 0.1)  # no time at which all stars would be without metals
    np.testing.assert_allclose(np.diff(bases.metallicity_knots), 1.0 / (len(bases.metallicity_knots) - 1), rtol=1e-5)
    ages = bases.mass @ (bases.age_edges[1:] + bases.age_edges[:-1]) / 2
    assert np.all(np.diff(ages) > 0.1)


def test_a_table_is_its_seeds(monkeypatch):
    monkeypatch.setattr(hb, "N_HISTORIES", 60)
    monkeypatch.setattr(hb, "N_UPDATES", 5)
    (one, facts), (same, _) = hb.build(), hb.build()
    assert facts["seed"] == hb.SEED
    for name, array in one.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, same[name])


# --- the family ---------------------------------------------------------------------------------------------------------------


def test_histories_are_masses_and_metallicities(held_back):
    np.testing.assert_allclose(held_back.mass.sum(1), 1.0, rtol=1e-12)
    assert np.all(held_back.mass >= 0.0)
    assert np.all(held_back.metallicity > 0.0)
    assert np.median(held_back.metallicity[:, 0]) == pytest.approx(1.0, abs=0.05)
    # Old, young, forming and quiescent ones: over most of cosmic time, and of rates.
    ages = hb.T_UNIVERSE_GYR * held_back.mass @ (hb.AGE_EDGES[1:] + hb.AGE_EDGES[:-1]) / 2
    assert np.quantile(ages, 0.03) < 2.0
    assert np.quantile(ages, 0.97) > 11.5
    recent = held_back.mass[:, hb.AGE_EDGES[1:] * hb.T_UNIVERSE_GYR < 0.1].sum(1) / 1e8
    assert np.mean(recent < 1e-12) > 0.1
    assert np.mean(recent > 1e-10) > 0.1


def test_double_power_law_turns_between_its_slopes():
    t = np.array([1e-6, 1e-5, 1e4, 1e5])
    log_rate = np.log10(hb.double_power_law(np.random.default_rng(0), 50, t))
    rise, fall = log_rate[:, 1] - log_rate[:, 0], log_rate[:, 3] - log_rate[:, 2]
    assert np.all((rise > 0.29) & (rise < 31))
    assert np.all((fall < -0.29) & (fall > -31))


@pytest.mark.parametrize("shape", hb.SHAPES)
def test_shapes_are_finite_rates(shape):
    rate = shape(np.random.default_rng(0), 300, np.linspace(1e-3, 13.5, 500))
    assert rate.shape == (300, 500)
    assert np.all(np.isfinite(rate))
    assert np.all(rate >= 0)
    assert np.all(rate.sum(1) > 0)


def test_delayed_tau_integrates_to_the_incomplete_gamma_function():
    """Drawn by the same seed: beginnings, then time scales."""
    rng = np.random.default_rng(3)
    begin, tau = rng.uniform(0.0, 11.0, (20, 1)), 10 ** rng.uniform(-1.0, np.log10(20.0), (20, 1))
    t = np.linspace(0.0, 13.5, 40001)
    rate = hb.delayed_tau(np.random.default_rng(3), 20, t)
    formed = np.sum(0.5 * (rate[:, 1:] + rate[:, :-1]), 1) * t[1]
    np.testing.assert_allclose(formed, (tau**2 * gammainc(2, (13.5 - begin) / tau))[:, 0], rtol=1e-4)


def test_fluctuations_have_unit_variance_and_forget():
    age = np.array([0.0, 0.01, 0.3, 1.0, 5.0])
    drawn = hb.fluctuations(np.random.default_rng(0), np.full(40000, 0.7), age)
    expected = np.exp(-np.abs(age[:, None] - age) / 0.7)
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.03)


def test_enrichment_follows_star_formation():
    """All mass formed at once: metals as at the beginning before, as today after, but for the wandering of 0.1 dex."""
    mass = np.zeros((500, 100))
    mass[:, 50] = 1.0
    z = hb.draw_metallicities(np.random.default_rng(0), np.linspace(0.0, 1.0, 101), mass)
    wander = np.std(np.log10(z[:, hb.METALLICITY_KNOTS < 0.49]))
    assert wander == pytest.approx(0.1, abs=0.01)
    before = z[:, hb.METALLICITY_KNOTS > 0.53] / z[:, :1]
    assert np.median(before) == pytest.approx(0.15, abs=0.03)
    assert np.quantile(before, 0.95) < 0.6


# --- factors ------------------------------------------------------------------------------------------------------------------


def planted(rng):
    """Mixtures of three parts of which each has a column of its own: there is but one way to factor them."""
    parts = rng.random((3, 30)) + 0.05
    parts[:, :3] = np.eye(3)
    parts /= parts.sum(1, keepdims=True)
    shares = rng.dirichlet(np.full(3, 0.4), 300)
    return shares, parts


def test_factors_are_the_parts_that_were_mixed():
    shares, parts = planted(np.random.default_rng(0))
    found = hb.factor(np.random.default_rng(1), shares @ parts, 3, 4000)
    order = [int(np.argmax(found @ part)) for part in parts]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(found[order], parts, atol=3e-3)


def test_every_update_brings_the_divergence_down():
    rng = np.random.default_rng(0)
    table = rng.random((50, 20))
    table /= table.sum(1, keepdims=True)

    def divergence(n):
        parts = hb.factor(np.random.default_rng(2), table, 3, n)
        shares = np.full((50, 3), 1 / 3)
        for _ in range(500):
            shares = hb.update_shares(shares, table, parts)
        np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-9)
        return np.sum(table * np.log(table / (shares @ parts)))

    values = [divergence(n) for n in (1, 5, 20, 100, 400)]
    assert np.all(np.diff(values) < 0)


def test_shares_of_sums_of_bases_are_their_shares(bases):
    mass = bases.mass.astype(float) / bases.mass.sum(1, keepdims=True)
    shares = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    found = hb.shares_of(shares @ mass, mass)
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-9)
    np.testing.assert_allclose(found @ mass, shares @ mass, atol=5e-3)


# --- what they span -----------------------------------------------------------------------------------------------------------


def test_held_back_star_formation_is_near_the_span(bases, held_back):
    """Figures of benchmarks/README.md: median 0.11 in the cumulative mass, 0.17 Gyr in age, 0.11 dex in the rate."""
    found = hb.shares_of(held_back.mass, bases.mass.astype(float)) @ bases.mass
    cumulative = np.abs(np.cumsum(found, 1) - np.cumsum(held_back.mass, 1)).max(1)
    assert np.median(cumulative) < 0.14
    assert np.quantile(cumulative, 0.84) < 0.42
    middle = hb.T_UNIVERSE_GYR * (hb.AGE_EDGES[1:] + hb.AGE_EDGES[:-1]) / 2
    age = np.abs((found - held_back.mass) @ middle)
    assert np.median(age) < 0.22
    assert np.quantile(age, 0.84) < 0.7
    recent = hb.AGE_EDGES[1:] * hb.T_UNIVERSE_GYR < 0.1
    rates = np.stack([found[:, recent].sum(1), held_back.mass[:, recent].sum(1)]) / 1e8
    forming = rates[1] > 10**-11.5
    assert np.median(np.abs(np.log10(rates[0] / rates[1]))[forming]) < 0.15


def test_held_back_metallicities_are_near_the_span(bases, held_back):
    parts = bases.metallicity.astype(float) / bases.metallicity.sum(1, keepdims=True)
    rows, shares = held_back.metallicity / held_back.metallicity.sum(1, keepdims=True), np.full((N, 2), 0.5)
    for _ in range(500):
        shares = hb.update_shares(shares, rows, parts)
    error = np.abs(shares @ parts - rows).sum(1)
    assert np.median(error) < 0.22
    one = np.abs(rows.mean(0) / rows.mean() / rows.shape[1] - rows).sum(1)
    assert np.median(error) < 0.7 * np.median(one)
