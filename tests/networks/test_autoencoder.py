"""The autoencoder: its correction against brute force, and losses that know no units."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from test_sufficient import BASIS, LEVEL, LEVEL32, PROJECTION, drawn, recorded, statistics

from slipher.networks import autoencoder
from slipher.networks.autoencoder import Population

N_LATENT = 3
METRIC = (BASIS.T @ BASIS / len(BASIS)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> autoencoder.Autoencoder:
    made = autoencoder.build(
        jax.random.key(2), PROJECTION, LEVEL32, jnp.asarray(METRIC), latents=N_LATENT, width=16, depth=1, decoder_width=16, decoder_depth=1
    )
    return eqx.tree_at(lambda n: n.decoder.last.weight, made, 3.0 * made.decoder.last.weight)


POPULATION = Population(jnp.zeros(N_LATENT), jnp.diag(jnp.array([1.0, 2.0, 0.5])))


def test_decoded_spectra_have_level_one(network):
    for s in np.random.default_rng(0).standard_normal((5, N_LATENT)):
        assert float(LEVEL @ np.asarray(network.decode(jnp.asarray(s, jnp.float32)))) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("sn", [4.0, 40.0])
def test_the_correction_ends_where_brute_force_does(network, sn):
    """Of spectra that the decoder can make, from half way: the same minimum of chi^2 + prior, and its curvature's inverse."""
    truth = np.array([0.8, -1.0, 0.4])
    shape = np.asarray(network.decode(jnp.asarray(truth, jnp.float32)), np.float64)
    seen = statistics(*recorded(np.random.default_rng(3), shape, sn)[1:])

    def objective(s: np.ndarray) -> float:
        s = jnp.asarray(s, jnp.float32)
        return float(0.5 * network.chi2(s, seen) + 0.5 * jnp.sum(s**2 / jnp.diagonal(POPULATION.covariance)))

    found = autoencoder.correct(jnp.asarray(0.5 * truth, jnp.float32), seen, network, POPULATION)
    best = minimize(objective, truth, method="Nelder-Mead", options={"xatol": 1e-4})
    sd = np.sqrt(np.diagonal(found.covariance))
    assert objective(np.asarray(found.latents)) <= best.fun + 0.05
    np.testing.assert_array_less(np.abs(np.asarray(found.latents) - best.x), 0.3 * sd)
    np.testing.assert_array_less(np.abs(np.asarray(found.latents) - truth), 4.5 * sd)
    assert float(found.chi2) == pytest.approx(float(network.chi2(found.latents, seen)), rel=1e-5)
    step = 0.5 * sd
    bend = [(objective(best.x + d) + objective(best.x - d) - 2 * best.fun) for d in np.diag(step)]
    np.testing.assert_allclose(np.array(bend) / step**2, np.diagonal(np.linalg.inv(found.covariance)), rtol=0.35)


def test_a_correction_never_makes_it_worse(network):
    for seed in range(5):
        _, flux, ivar = drawn(seed, 60.0)
        seen = statistics(flux, ivar)
        start = jnp.asarray(np.random.default_rng(seed).standard_normal(N_LATENT), jnp.float32)
        value = [
            float(0.5 * network.chi2(s, seen) + 0.5 * jnp.sum(s**2 / jnp.diagonal(POPULATION.covariance)))
            for s in (start, autoencoder.correct(start, seen, network, POPULATION).latents)
        ]
        assert value[1] <= value[0] * (1 + 1e-6)


def test_without_data_latents_are_the_populations(network):
    _, flux, ivar = drawn(1, 10.0)
    seen = statistics(flux, ivar * 1e-12)
    found = autoencoder.correct(jnp.ones(N_LATENT), seen, network, POPULATION)
    np.testing.assert_allclose(found.covariance, POPULATION.covariance, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.latents, POPULATION.mean, atol=1e-2)


def test_losses_know_no_units():
    rng = np.random.default_rng(4)
    one = jnp.asarray(rng.standard_normal((40, 3)), jnp.float32)
    two = one + 0.1 * jnp.asarray(rng.standard_normal((40, 3)), jnp.float32)
    shapes = jnp.asarray(rng.standard_normal((40, len(LEVEL))), jnp.float32)
    metric = jnp.asarray(METRIC)
    usual = float(autoencoder.consistency(one, two))
    assert usual == pytest.approx(0.01 / 2, rel=0.4)
    for factor in (1e-3, 50.0):
        assert float(autoencoder.consistency(factor * one, factor * two)) == pytest.approx(
            float(autoencoder.consistency(one, two)), rel=1e-4
        )
        assert float(autoencoder.similarity(factor * one, shapes, metric)) == pytest.approx(
            float(autoencoder.similarity(one, factor * shapes, metric)), rel=1e-3
        )


def test_similarity_vanishes_where_distances_agree():
    rng = np.random.default_rng(5)
    shapes = jnp.asarray(rng.standard_normal((30, len(LEVEL))), jnp.float32)
    root = jnp.linalg.cholesky(jnp.asarray(METRIC) + 1e-6 * jnp.eye(len(LEVEL)))
    assert float(autoencoder.similarity(4.0 * shapes @ root, shapes, jnp.asarray(METRIC))) < 1e-5


def test_fidelity_is_of_both_observations_by_both_latents(network):
    """A batch of galaxies each seen twice: a worse second observation makes the loss worse though the first is the same."""
    pairs = []
    for seed in range(6):
        sides = [statistics(*drawn(seed, 30.0)[1:]), statistics(*drawn(seed, 30.0, scale=2.0)[1:])]
        pairs.append(jax.tree.map(lambda *leaves: jnp.stack(leaves), *sides))
    seen = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pairs)
    read = jax.vmap(jax.vmap(lambda s: autoencoder.features(s, PROJECTION, LEVEL32)))(seen)
    assert read.shape == (6, 2, autoencoder.n_features(PROJECTION))
    usual = float(autoencoder.loss(network, read, seen))
    other = jax.tree.map(lambda leaf: leaf.at[:, 1].set(jnp.roll(leaf[:, 1], 1, 0)), seen)
    assert float(autoencoder.loss(network, read, other)) > usual + 1e-3
    assert np.isfinite(usual)


def test_standardised_features(network):
    read = jnp.asarray(5.0 + 3.0 * np.random.default_rng(0).standard_normal((500, autoencoder.n_features(PROJECTION))), jnp.float32)
    made = autoencoder.standardise(network, read)
    np.testing.assert_allclose(made.shift, 5.0, atol=0.6)
    np.testing.assert_allclose(made.scale, 3.0, rtol=0.15)
