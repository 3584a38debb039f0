"""Laws that the prior of every parameter of every model obeys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from slipher.physics.galaxy import MODELS
from slipher.physics.parameters import BetaOne, Normal, TruncatedNormal, TruncatedStudent2, Uniform, from_normal, to_normal

PRIORS = [(f"{m.name}-{p.name}", p.prior) for m in MODELS.values() for p in m.parameters]
every_prior = pytest.mark.parametrize("prior", [p for _, p in PRIORS], ids=[name for name, _ in PRIORS])


def bounds(prior):
    if isinstance(prior, BetaOne):
        return 0.0, 1.0
    return (-prior.limit, prior.limit) if isinstance(prior, TruncatedStudent2) else (prior.low, prior.high)


def stated(prior):
    """The distribution function that the prior's docstring states, by scipy."""
    if isinstance(prior, Uniform):
        return stats.uniform(prior.low, prior.high - prior.low).cdf
    if isinstance(prior, BetaOne):
        return stats.beta(1, prior.k).cdf
    if isinstance(prior, TruncatedNormal):
        a, b = (prior.low - prior.loc) / prior.scale, (prior.high - prior.loc) / prior.scale
        return stats.truncnorm(a, b, prior.loc, prior.scale).cdf
    low, high = stats.t(2, scale=prior.scale).cdf(bounds(prior))
    return lambda x: (stats.t(2, scale=prior.scale).cdf(x) - low) / (high - low)


@every_prior
def test_draws_follow_the_stated_distribution(prior):
    x = prior.from_normal(jax.random.normal(jax.random.key(0), (20000,)))
    assert stats.kstest(np.asarray(x, float), stated(prior)).pvalue > 1e-3


@every_prior
def test_quantiles_are_scipys(prior):
    u = np.linspace(-4.0, 4.0, 33)
    x = np.asarray(prior.from_normal(jnp.asarray(u, jnp.float32)), float)
    np.testing.assert_allclose(stated(prior)(x), stats.norm.cdf(u), atol=2e-6)


@every_prior
def test_round_trip(prior):
    """Closely within three sigma; beyond, float32 keeps fewer digits of a probability near one than near zero."""
    u = jnp.linspace(-3.0, 3.0, 61)
    np.testing.assert_allclose(prior.to_normal(prior.from_normal(u)), u, atol=3e-3)
    low, high = bounds(prior)
    x = jnp.linspace(low + 0.01 * (high - low), high - 0.01 * (high - low), 50)
    np.testing.assert_allclose(prior.from_normal(prior.to_normal(x)), x, atol=1e-4 * (high - low))


@every_prior
def test_within_bounds_and_increasing_wherever_u_is(prior):
    low, high = bounds(prior)
    x = prior.from_normal(jnp.array([-jnp.inf, -30.0, *np.linspace(-6.0, 6.0, 201), 30.0, jnp.inf]))
    rounding = 2e-4 * (high - low)
    assert np.all(np.isfinite(x))
    assert low - rounding <= x.min()
    assert x.max() <= high + rounding
    assert np.diff(x).min() >= -1e-6 * (high - low)


@every_prior
def test_finite_positive_gradients_to_five_sigma(prior):
    slope = jax.vmap(jax.grad(prior.from_normal))(jnp.linspace(-5.0, 5.0, 101))
    assert np.all(np.isfinite(slope))
    assert np.all(slope >= 0)
    assert np.all(slope[20:81] > 0)


@every_prior
def test_density_integrates_to_one(prior):
    """dx = (dx/du) du with the normal density is a distribution over the whole range."""
    low, high = bounds(prior)
    u = np.linspace(-5.0, 5.0, 2001)
    slope = np.asarray(jax.vmap(jax.grad(prior.from_normal))(jnp.asarray(u, jnp.float32)), float)
    np.testing.assert_allclose(integrate.trapezoid(slope, u), high - low, rtol=2e-2)


def test_a_normal_prior_is_normal_without_bounds():
    prior, u = Normal(-0.7, 2.0), np.linspace(-40.0, 40.0, 33)
    x = np.asarray(prior.from_normal(jnp.asarray(u, jnp.float32)), float)
    np.testing.assert_allclose(stats.norm(-0.7, 2.0).logcdf(x), stats.norm.logcdf(u), rtol=1e-4)
    np.testing.assert_allclose(prior.to_normal(jnp.asarray(x, jnp.float32)), u, atol=1e-4)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_named_values_and_back(model):
    u = jnp.linspace(-1.5, 1.5, len(model.parameters))
    values = from_normal(model.parameters, u)
    assert tuple(values) == model.names
    np.testing.assert_allclose(to_normal(model.parameters, values), u, atol=1e-3)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_names_are_unique_and_nothing_is_both_free_and_fixed(model):
    assert len(set(model.names)) == len(model.names)
    assert not set(model.names) & (set(model.fixed) | set(model.tied))
    complete = model.complete({name: jnp.float32(0.5) for name in model.names})
    assert set(complete) == set(model.names) | set(model.fixed) | set(model.tied)
