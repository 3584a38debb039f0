"""The Gaussian remainder, against dense algebra and a planted covariance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.networks import autoencoder, remainder, sufficient
from slipher.networks.projection import Projection
from slipher.networks.sufficient import Statistics

N, N_CONTINUUM, N_PIXEL = 6, 4, 300


def statistics(basis: np.ndarray, data: np.ndarray, sigma: float) -> Statistics:
    gram = basis.T @ basis / sigma**2
    centre = np.linalg.solve(gram, basis.T @ data / sigma**2)
    left = data - basis @ centre
    values = [gram[np.triu_indices(N)], centre, basis.T @ left / sigma**2, left @ left / sigma**2, float(len(data)), 1.0]
    return Statistics(*(jnp.asarray(x, jnp.float32) for x in values))


@pytest.fixture(scope="module")
def projection() -> Projection:
    return Projection(
        jnp.zeros((10, N), jnp.float16), jnp.zeros(N), jnp.asarray([1.0, 0.25, 0.25, 0.25, 1.0, 1.0]), jnp.ones((1, 2)), N_CONTINUUM
    )


def test_marginalised_statistics_are_those_of_the_dense_covariance():
    rng = np.random.default_rng(1)
    basis, root = rng.normal(size=(N_PIXEL, N)), 0.2 * np.tril(rng.normal(size=(N, N)))
    data, sigma = basis @ rng.normal(size=N) + 0.5 * rng.normal(size=N_PIXEL), 0.5
    found = remainder.marginalised(statistics(basis, data, sigma), jnp.asarray(root, jnp.float32))
    dense = np.linalg.inv(sigma**2 * np.eye(N_PIXEL) + basis @ root @ root.T @ basis.T)
    for shape in rng.normal(size=(3, N)):
        amplitude = (basis @ shape) @ dense @ data / ((basis @ shape) @ dense @ (basis @ shape))
        off = data - max(amplitude, 0.0) * basis @ shape
        assert float(sufficient.chi2(jnp.asarray(shape, jnp.float32), found)) == pytest.approx(off @ dense @ off, rel=2e-3)


def test_the_expected_deviation_is_the_posterior_mean():
    rng = np.random.default_rng(2)
    basis, root, sigma = rng.normal(size=(N_PIXEL, N)), 0.3 * np.tril(rng.normal(size=(N, N))), 2.0
    given = rng.normal(size=N)
    data = basis @ (given + root @ rng.normal(size=N)) + sigma * rng.normal(size=N_PIXEL)
    found = remainder.expected(jnp.asarray(given, jnp.float32), statistics(basis, data, sigma), jnp.asarray(root, jnp.float32))
    prior = root @ root.T
    exact = prior @ basis.T @ np.linalg.solve(sigma**2 * np.eye(N_PIXEL) + basis @ prior @ basis.T, data - basis @ given)
    np.testing.assert_allclose(found, exact, rtol=5e-3, atol=2e-3)


def test_a_planted_covariance_is_found(projection):
    """Of noisy galaxies, whose noise alone would scatter coefficients as much."""
    rng = np.random.default_rng(3)
    network = autoencoder.build(
        jax.random.key(0), projection, jnp.asarray([1.0, 0, 0, 0, 0, 0]), jnp.eye(N), latents=2, width=8, depth=1, decoder_width=8,
        decoder_depth=1,
    )  # fmt: skip
    root = np.diag([0.0, 0.3, 0.2, 0.1, 0.3, 0.1])
    root[2, 1] = 0.2
    latents = jnp.asarray(rng.normal(size=(960, 2)), jnp.float32)
    seen = []
    for s in latents:
        shape = np.asarray(network.decode(s), np.float64)
        scale = np.asarray(remainder.scales(jnp.asarray(shape, jnp.float32), projection), np.float64)
        basis = rng.normal(size=(60, N))
        seen.append(statistics(basis, basis @ (shape + scale * (root @ rng.normal(size=N))) + 0.6 * rng.normal(size=60), 0.6))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seen)
    unknown = jnp.full((960, N), jnp.nan)
    learnt = remainder.learn(jax.random.key(1), network, latents, stacked, unknown)
    found = np.asarray(learnt.root)
    true, got = root @ root.T, found @ found.T
    np.testing.assert_allclose(got[1:4, 1:4], true[1:4, 1:4], atol=0.025)
    # Draws are as wide as galaxies are, where their means would be narrower.
    np.testing.assert_allclose(np.cov(np.asarray(learnt.examples, float).T)[1:4, 1:4], true[1:4, 1:4], atol=0.03)


def test_examples_are_exact_where_galaxies_are_known(projection):
    rng = np.random.default_rng(6)
    network = autoencoder.build(
        jax.random.key(0), projection, jnp.asarray([1.0, 0, 0, 0, 0, 0]), jnp.eye(N), latents=2, width=8, depth=1, decoder_width=8,
        decoder_depth=1,
    )  # fmt: skip
    latents = jnp.asarray(rng.normal(size=(16, 2)), jnp.float32)
    left = rng.normal(size=(16, N))
    shapes = np.asarray(jax.vmap(network.decode)(latents))
    true = shapes + left * np.asarray(jax.vmap(lambda shape: remainder.scales(shape, projection))(jnp.asarray(shapes)))
    basis = rng.normal(size=(60, N))
    seen = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(statistics(basis, basis @ c + rng.normal(size=60), 1.0) for c in true))
    true[8:] = np.nan
    learnt = remainder.learn(jax.random.key(1), network, latents, seen, jnp.asarray(true, jnp.float32))
    np.testing.assert_allclose(learnt.examples[:8], left[:8], rtol=2e-3, atol=2e-3)
    assert np.isfinite(learnt.examples).all()
    assert np.abs(np.asarray(learnt.examples[8:]) - left[8:]).max() > 0.01


def test_new_galaxies_are_like_those_of_their_latents(projection):
    """Two kinds of galaxies, of which one leaves ten times as much as the other."""
    rng = np.random.default_rng(4)
    kind = np.repeat([-1.0, 1.0], 200)
    latents = np.column_stack([kind, 0.1 * rng.normal(size=400)])
    left = rng.normal(size=(400, N)) * np.where(kind > 0, 1.0, 0.1)[:, None]
    made = remainder.Remainder(jnp.eye(N), jnp.asarray(latents, jnp.float16), jnp.asarray(left, jnp.float16))
    shape = jnp.asarray([1.0, 0.0, 0.0, 0.0, 0.5, 0.5])
    keys = jax.random.split(jax.random.key(0), 300)
    for side, spread in ((-1.0, 0.1), (1.0, 1.0)):
        places = jnp.asarray(np.column_stack([np.full(300, side), 0.1 * rng.normal(size=300)]), jnp.float32)
        drawn = jax.vmap(lambda key, s: made.draw(key, s, shape, projection))(keys, places)
        np.testing.assert_allclose((np.asarray(drawn) - shape).std(0), spread * remainder.scales(shape, projection), rtol=0.2)


def test_lines_deviate_by_their_strength(projection):
    faint, strong = (remainder.scales(jnp.asarray([1.0, 0, 0, 0, x, 0.0]), projection) for x in (0.0, 5.0))
    np.testing.assert_allclose(faint[:N_CONTINUUM], np.sqrt(projection.variance[:N_CONTINUUM]))
    assert float(strong[-1]) == pytest.approx(5.0, rel=1e-3)
    assert float(faint[-1]) == pytest.approx(remainder.LEAST_STRENGTH)
