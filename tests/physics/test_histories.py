"""Known answers of each star-formation history, and scipy as a twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammainc
from scipy.stats import beta, kstest, norm, skew

from slipher.physics import histories
from slipher.physics.parameters import BetaOne

T_UNIVERSE = jnp.float32(13.0)
AGE = jnp.concatenate([jnp.zeros(1), jnp.geomspace(1e-3, 13.0, 400)]).at[-1].set(13.0)


def test_equal_rates_are_constant_star_formation():
    formed = histories.continuity(AGE, T_UNIVERSE, log_sfr_ratios=jnp.zeros(histories.N_BINS - 1))
    np.testing.assert_allclose(formed, AGE / 13.0, atol=2e-7)


def test_ratios_are_those_of_neighbouring_bins():
    ratios = jnp.array([0.3, -0.5, 1.0, 0.0, -0.2, 0.7])
    edges = histories.bin_edges(T_UNIVERSE)
    formed = histories.continuity(edges, T_UNIVERSE, log_sfr_ratios=ratios)
    log_rate = np.log10(np.diff(np.asarray(formed, float)) / np.diff(np.asarray(edges, float)))
    np.testing.assert_allclose(log_rate[:-1] - log_rate[1:], ratios, atol=2e-3)


@pytest.mark.parametrize("t_universe", [0.9, 3.0, 5.9, 6.0])
def test_bins_older_than_the_universe_are_empty(t_universe):
    edges = histories.bin_edges(jnp.float32(t_universe))
    assert np.all(np.diff(edges) >= 0)
    assert edges[-1] == jnp.float32(t_universe)


def test_a_burst_is_log_normal():
    formed = histories.burst(AGE, T_UNIVERSE, log_t_burst=jnp.float32(-0.5))
    expected = norm.cdf(np.log10(np.maximum(np.asarray(AGE, float), 1e-9)), -0.5, histories.BURST_WIDTH_DEX)
    np.testing.assert_allclose(formed, expected, atol=3e-6)


def test_the_default_mixes_by_mass():
    ratios, at = jnp.linspace(-0.5, 0.5, 6), jnp.float32(-1.0)
    both = histories.continuity_burst(AGE, T_UNIVERSE, log_sfr_ratios=ratios, log_f_burst=jnp.float32(np.log10(0.25)), log_t_burst=at)
    smooth = histories.continuity(AGE, T_UNIVERSE, log_sfr_ratios=ratios)
    burst = histories.burst(AGE, T_UNIVERSE, log_t_burst=at)
    np.testing.assert_allclose(both, 0.75 * smooth + 0.25 * burst, atol=1e-6)


@pytest.mark.parametrize("start", [0.01, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("log_tau", [-1.0, 0.0, 0.5, 1.0])
def test_delayed_tau_in_float32_against_the_incomplete_gamma_function(start, log_tau):
    """Mass formed by t is P(2, t/tau); down to t/tau = 1e-3 the naive difference loses four digits."""
    got = histories.delayed_tau(AGE, T_UNIVERSE, age_start_gyr=jnp.float32(start), log_tau=jnp.float32(log_tau))
    begin, tau = float(np.float32(start)), 10**log_tau
    since = np.clip(begin - np.asarray(AGE, float), 0.0, None)
    np.testing.assert_allclose(got, 1.0 - gammainc(2, since / tau) / gammainc(2, begin / tau), atol=1e-6)


@pytest.mark.parametrize("log_tau", [-1.0, 0.0, 1.0])
def test_exponential_against_float64(log_tau):
    got = histories.exponential(AGE, T_UNIVERSE, age_start_gyr=jnp.float32(8.0), log_tau=jnp.float32(log_tau))
    since, tau = np.clip(8.0 - np.asarray(AGE, float), 0.0, None), 10**log_tau
    np.testing.assert_allclose(got, 1.0 - np.expm1(-since / tau) / np.expm1(-8.0 / tau), atol=1e-6)


@pytest.mark.parametrize("name", ["constant", "exponential", "delayed_tau"])
def test_nothing_begins_before_the_universe(name):
    shape = {"age_start_gyr": jnp.float32(20.0)} | ({} if name == "constant" else {"log_tau": jnp.float32(0.5)})
    early = histories.HISTORIES[name](AGE, T_UNIVERSE, **shape)
    at_big_bang = histories.HISTORIES[name](AGE, T_UNIVERSE, **{**shape, "age_start_gyr": T_UNIVERSE})
    np.testing.assert_array_equal(early, at_big_bang)


# --- mixtures of bases ------------------------------------------------------------------------------------------------

EDGES, MASSES = jnp.array([0.0, 0.1, 0.5, 1.0]), jnp.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])


@pytest.mark.parametrize("t_universe", [2.0, 13.0])
def test_a_mixture_is_its_shares_of_the_bases_at_every_redshift(t_universe):
    """Steps end at fractions of the age of the universe; within one the rate is constant."""
    at = jnp.array([0.0, 0.05, 0.1, 0.3, 0.5, 1.0, 1.4]) * t_universe
    formed = histories.mixture(at, jnp.float32(t_universe), shares=jnp.array([0.25, 0.75]), age_edges=EDGES, masses=MASSES)
    first, second = np.array([0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0]), np.array([0.0, 0.1, 0.2, 0.35, 0.5, 1.0, 1.0])
    np.testing.assert_allclose(formed, 0.25 * first + 0.75 * second, atol=3e-7)


@pytest.mark.parametrize(("t_burst", "share"), [(0.1, 1.0), (12.7, 1.0), (12.87, 0.5), (13.0, 0.0), (13.27, 0.0)])
def test_a_burst_before_the_big_bang_does_not_happen(t_burst, share):
    kinds = {"shares": jnp.array([0.25, 0.75]), "age_edges": EDGES, "masses": MASSES}
    both = histories.mixture_burst(AGE, T_UNIVERSE, **kinds, f_burst=jnp.float32(0.4), t_burst_gyr=jnp.float32(t_burst))
    burst = histories.burst(AGE, T_UNIVERSE, log_t_burst=jnp.log10(jnp.float32(t_burst)))
    expected = (1.0 - 0.4 * share) * histories.mixture(AGE, T_UNIVERSE, **kinds) + 0.4 * share * burst
    np.testing.assert_allclose(both, expected, atol=2e-6)


def test_broken_sticks_of_beta_lengths_are_a_flat_dirichlet_distribution():
    """100,000 draws: means, covariances and skewness of Dirichlet(1, 1, 1, 1), and each share Beta(1, 3)."""
    u = jax.random.normal(jax.random.key(0), (3, 100_000))
    sticks = jnp.stack([BetaOne(float(3 - i)).from_normal(u[i]) for i in range(3)])
    shares = np.asarray(jax.vmap(histories.stick_breaking, 1)(sticks), float)
    np.testing.assert_allclose(shares.sum(1), 1.0, atol=5e-7)
    assert shares.min() >= 0.0
    np.testing.assert_allclose(shares.mean(0), 0.25, atol=4 * np.sqrt(3 / 80 / 1e5))
    np.testing.assert_allclose(np.cov(shares.T), (np.eye(4) - 0.25) * 0.25 / 5, atol=5e-4)
    np.testing.assert_allclose(skew(shares), beta(1, 3).stats("s"), atol=0.04)
    for share in shares.T:
        assert kstest(share, beta(1, 3).cdf).pvalue > 1e-3
