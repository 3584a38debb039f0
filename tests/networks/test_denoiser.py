"""The denoiser: of any size of stamp, differentiable, and the Wiener filter of what is Gaussian."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slipher.networks import denoiser

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def untrained() -> denoiser.Denoiser:
    made = denoiser.build(KEY, (8, 8), deepest=1)
    return eqx.tree_at(lambda d: d.units, made, denoiser.Units(jnp.float32(-4.0), jnp.float32(2.0)))


@eqx.filter_jit
def denoised(one: denoiser.Denoiser, image: jax.Array, sigma: jax.Array) -> jax.Array:
    return one(image, sigma)


@pytest.mark.parametrize("shape", [(16, 16), (9, 21)])
def test_stamps_are_of_any_size_and_kept_where_there_is_little_noise(untrained, shape):
    image = -4.0 + 2.0 * jax.random.normal(KEY, shape)
    found = denoised(untrained, image, jnp.float32(1e-3))
    assert found.shape == shape
    np.testing.assert_allclose(found, image, atol=3e-3)


def test_the_score_is_tweedies_and_its_derivatives_forward_and_backward_agree(untrained):
    """Hutchinson's estimates of a Hessian need products with the score's Jacobian."""
    image, v, w = jax.random.normal(KEY, (3, 16, 16))
    sigma = jnp.float32(0.5)

    @jax.jit
    def products(image: jax.Array) -> tuple[jax.Array, ...]:
        score, forward = jax.jvp(lambda x: untrained.score(x, sigma), (image,), (v,))
        backward = jax.vjp(lambda x: untrained.score(x, sigma), image)[1](w)[0]
        return score, jnp.sum(forward * w), jnp.sum(backward * v)

    score, forward, backward = products(image)
    np.testing.assert_allclose(image + sigma**2 * score, denoised(untrained, image, sigma), atol=1e-5)
    assert float(forward) == pytest.approx(float(backward), rel=1e-3)


def test_a_squared_error_is_what_the_loss_is(untrained):
    """Weighted by (1 + s^2) / s^2 in units of the scale, at the level and with the noise that the key gives."""
    image, key = -4.0 + 2.0 * jax.random.normal(KEY, (16, 16)), jax.random.key(3)
    k = jax.random.split(key)
    s = jnp.exp(denoiser.LOG_SIGMA[0] + denoiser.LOG_SIGMA[1] * jax.random.normal(k[0]))
    noisy = image + 2.0 * s * jax.random.normal(k[1], image.shape)
    error = jnp.mean((denoised(untrained, noisy, 2.0 * s) - image) ** 2) / 4.0
    assert float(eqx.filter_jit(lambda one: one.loss(key, image))(untrained)) == pytest.approx(float(error * (1 + s**2) / s**2), rel=1e-3)


def smooth_fields(key: jax.Array, n: int) -> jax.Array:
    """A Gaussian process on a torus of 16 pixels."""
    return jnp.fft.irfft2(jnp.fft.rfft2(jax.random.normal(key, (n, 16, 16))) * jnp.sqrt(power()[:, :9]), (16, 16))


def power() -> jax.Array:
    q = 2 * jnp.pi * jnp.fft.fftfreq(16)
    return 12.0 * jnp.exp(-2.0 * (q[:, None] ** 2 + q**2)) + 1e-3


@pytest.mark.slow
def test_of_a_gaussian_process_it_learns_the_wiener_filter():
    moving, fixed = eqx.partition(denoiser.build(KEY, (32, 32), deepest=1), eqx.is_inexact_array)
    optimiser = optax.adam(optax.cosine_decay_schedule(5e-3, 1500, 0.01))

    @eqx.filter_jit
    def step(moving, memory, key):
        k = jax.random.split(key)
        fields = smooth_fields(k[0], 64)

        def loss(m):
            return jnp.mean(jax.vmap(eqx.combine(m, fixed).loss)(jax.random.split(k[1], 64), fields))

        updates, memory = optimiser.update(jax.grad(loss)(moving), memory)
        return eqx.apply_updates(moving, updates), memory

    memory = optimiser.init(moving)
    for key in jax.random.split(jax.random.key(1), 1500):
        moving, memory = step(moving, memory, key)
    learnt, fields = eqx.combine(moving, fixed), smooth_fields(jax.random.key(2), 200)
    for sigma in (0.2, 0.5, 1.5):
        noisy = fields + sigma * jax.random.normal(jax.random.key(3), fields.shape)
        error = jax.vmap(lambda y, sigma=sigma: learnt(y, jnp.float32(sigma)))(noisy) - fields
        # It is told no torus: what lies beyond an edge, only the filter knows.
        found = float(jnp.mean(error[:, 4:12, 4:12] ** 2))
        wiener = float(jnp.mean(power() * sigma**2 / (power() + sigma**2)))
        assert wiener * 0.97 < found < wiener * 1.15
