"""The density of latents against one that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.networks import latent_density, weights

pytestmark = pytest.mark.usefixtures("optimised")

SCALE, SHIFT = np.array([3.0, 0.5]), np.array([10.0, -4.0])


def drawn(rng: np.random.Generator, n: int) -> np.ndarray:
    """A banana, stretched and moved."""
    a, b = rng.standard_normal((2, n))
    return SHIFT + SCALE * np.stack([a, 0.5 * b + 0.3 * (a**2 - 1.0)], 1)


def log_density(x: np.ndarray) -> np.ndarray:
    a, c = ((x - SHIFT) / SCALE).T
    b = (c - 0.3 * (a**2 - 1.0)) / 0.5
    return -0.5 * (a**2 + b**2) - np.log(2 * np.pi * 0.5) - np.log(SCALE).sum()


@pytest.fixture(scope="module")
def learnt() -> latent_density.Density:
    return latent_density.learn(1, drawn(np.random.default_rng(0), 20_000), steps=1200)


def test_it_is_the_density(learnt):
    """Mean log density of fresh points within 0.04 nats of the truth's: that is the Kullback-Leibler divergence."""
    fresh = drawn(np.random.default_rng(1), 4000)
    found = np.asarray(jax.vmap(learnt.log_prob)(jnp.asarray(fresh, jnp.float32)))
    divergence = np.mean(log_density(fresh) - found)
    assert -0.02 < divergence < 0.04


def test_its_draws_are_of_it(learnt):
    draws = np.asarray(learnt.sample(jax.random.key(3), 20_000), np.float64)
    assert np.mean(log_density(draws)) == pytest.approx(np.mean(log_density(drawn(np.random.default_rng(2), 20_000))), abs=0.08)
    np.testing.assert_allclose(draws.mean(0), learnt.mean, atol=0.1)


def test_it_fills_from_a_file(learnt, tmp_path):
    weights.save_arrays(learnt, tmp_path / "w.safetensors")
    again = weights.load_arrays(latent_density.blank(2), tmp_path / "w.safetensors")
    x = jnp.asarray(SHIFT + 0.3, jnp.float32)
    assert float(again.log_prob(x)) == pytest.approx(float(learnt.log_prob(x)), abs=1e-4)
