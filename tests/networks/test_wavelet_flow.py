"""The density of images: invertible, of exact volume, a Gaussian where its networks are silent, and able to learn."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from slipher.networks import wavelet_flow
from slipher.networks.warps import LIMITS, bounded, unwarp, warp
from slipher.networks.wavelet_flow import haar, inverse_haar

KEY = jax.random.key(0)
NOISE = jax.random.normal(jax.random.key(2), (8, 8))


def talking(flow: wavelet_flow.WaveletFlow, factor: float = 30.0) -> wavelet_flow.WaveletFlow:
    """With last layers that say much, and units that are no units."""
    lasts = lambda f: [f.coarsest.networks.layers[-1].weight, *(level.parts.last.weight for level in f.levels)]  # noqa: E731
    flow = eqx.tree_at(lasts, flow, replace_fn=lambda leaf: factor * leaf)
    images = 2.0 + 1.5 * jax.random.normal(jax.random.key(5), (200, flow.size, flow.size))
    return wavelet_flow.standardise(flow, images)


@pytest.fixture(scope="module")
def small() -> wavelet_flow.WaveletFlow:
    return talking(wavelet_flow.build(KEY, (8,), layers=4))


def silent(flow: wavelet_flow.WaveletFlow) -> wavelet_flow.WaveletFlow:
    """With networks that say nothing."""
    lasts = lambda f: [f.coarsest.networks.layers[-1], *(level.parts.last for level in f.levels)]  # noqa: E731
    return eqx.tree_at(lasts, flow, replace_fn=lambda layer: jax.tree.map(jnp.zeros_like, layer))


def test_haar_is_orthonormal():
    x = jax.random.normal(KEY, (8, 8))
    coarse, details = haar(x)
    np.testing.assert_allclose(inverse_haar(coarse, details), x, atol=1e-6)
    assert float(jnp.sum(coarse**2) + jnp.sum(details**2)) == pytest.approx(float(jnp.sum(x**2)), rel=1e-5)
    np.testing.assert_allclose(coarse, 2.0 * x.reshape(4, 2, 4, 2).mean((1, 3)), atol=1e-6)


def test_warps_are_undone_and_their_slope_is_what_they_say():
    by = bounded(jax.random.normal(KEY, (4, 50)) * 2.0)
    z = 2.0 * jax.random.normal(jax.random.key(1), (50,))
    x = warp(z, by)
    back, log_slope = unwarp(x, by)
    np.testing.assert_allclose(back, z, atol=2e-4, rtol=1e-3)
    slopes = jax.vmap(jax.grad(warp), in_axes=(0, 1))(z, by)
    np.testing.assert_allclose(-log_slope, jnp.log(slopes), atol=2e-3)


def test_every_detail_is_in_one_part_and_sees_only_parts_before():
    now, known = wavelet_flow.parts_of(4)
    assert (now.sum(0) == 1).all()
    for i in range(1, len(now)):
        np.testing.assert_array_equal(known[i], now[:i].any(0))
    assert not known[0].any()


class Facts(NamedTuple):
    """A noise's image, the noise it goes back to, ln |d noise / d image|, d image / d noise, and ln p."""

    image: jax.Array
    back: jax.Array
    bend: jax.Array
    jacobian: jax.Array
    log_prob: jax.Array


@eqx.filter_jit
def facts(flow: wavelet_flow.WaveletFlow, noise: jax.Array) -> Facts:
    image = flow(noise)
    return Facts(image, *flow.inverse(image), jax.jacfwd(flow)(noise), flow.log_prob(image))


def test_noise_and_images_are_each_others(small):
    found = facts(small, NOISE)
    assert float(jnp.std(found.image - NOISE)) > 0.3
    np.testing.assert_allclose(found.back, NOISE, atol=2e-3)


def test_the_determinant_is_that_of_the_whole_jacobian(small):
    """With which log_prob, the base being white noise, is a density that integrates to one."""
    found = facts(small, NOISE)
    dense = np.asarray(found.jacobian, np.float64).reshape(NOISE.size, NOISE.size)
    want = -np.linalg.slogdet(dense)[1]
    assert float(found.bend) == pytest.approx(want, abs=0.02)
    assert float(found.log_prob) == pytest.approx(stats.norm.logpdf(np.asarray(NOISE)).sum() + want, abs=0.05)


def test_no_direction_of_noise_is_cramped_however_loud_networks_are(small):
    """Slopes of a warp lie within what its bounds allow, and images stay finite."""
    by = bounded(1e6 * jax.random.normal(KEY, (4, 200)))
    assert all(float(jnp.max(jnp.abs(one))) <= limit for one, limit in zip(by[1:], LIMITS.values(), strict=True))
    assert np.isfinite(facts(talking(small, 1e4), NOISE).image).all()


def test_with_silent_networks_it_is_the_gaussian_of_the_images():
    """Of the blocks' covariance, and of independent details: the twin is scipy's."""
    rng = np.random.default_rng(0)
    field = np.cumsum(np.cumsum(rng.normal(size=(500, 8, 8)), 1), 2) + 3.0
    flow = wavelet_flow.standardise(silent(wavelet_flow.build(KEY, (8,), layers=4)), jnp.asarray(field, jnp.float32))
    coarse, details = (np.asarray(a, np.float64) for a in jax.vmap(haar)(jnp.asarray(field, jnp.float32)))
    rows = coarse.reshape(500, -1)
    base = stats.multivariate_normal(rows.mean(0), np.cov(rows.T) + 1e-4 * np.eye(16))
    want = base.logpdf(rows) + stats.norm.logpdf(details, scale=details.std((0, 2, 3))[:, None, None]).sum((1, 2, 3))
    found = np.asarray(jax.jit(jax.vmap(flow.log_prob))(jnp.asarray(field[:20], jnp.float32)))
    np.testing.assert_allclose(found, want[:20], rtol=1e-3, atol=0.05)


@pytest.mark.slow
def test_it_learns_a_density_that_is_not_gaussian():
    """exp of noise: ln p of fresh images comes close to the truth, of which a Gaussian of the same covariance falls far short."""

    def drawn(key: jax.Array, n: int) -> jax.Array:
        return jnp.exp(0.8 * jax.random.normal(key, (n, 4, 4)))

    flow = wavelet_flow.standardise(wavelet_flow.build(KEY, (), layers=6), drawn(jax.random.key(9), 2000))
    moving, fixed = eqx.partition(flow, eqx.is_inexact_array)
    optimiser = optax.adam(3e-3)

    @eqx.filter_jit
    def many(moving, key):
        def step(carry, key):
            moving, memory = carry
            some = drawn(key, 128)
            gradient = jax.grad(lambda m: -jnp.mean(jax.vmap(eqx.combine(m, fixed).log_prob)(some)))(moving)
            updates, memory = optimiser.update(gradient, memory)
            return (eqx.apply_updates(moving, updates), memory), None

        return jax.lax.scan(step, (moving, optimiser.init(moving)), jax.random.split(key, 500))[0][0]

    learnt = eqx.combine(many(moving, jax.random.key(1)), fixed)
    fresh = drawn(jax.random.key(2), 2000)
    truth = stats.lognorm.logpdf(np.asarray(fresh), 0.8).sum((1, 2)).mean()
    found, gaussian = (float(jnp.mean(jax.vmap(one.log_prob)(fresh))) for one in (learnt, silent(flow)))
    assert truth - 1.5 < found < truth + 0.3
    assert gaussian < truth - 4.0
