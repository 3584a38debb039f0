"""The amortised posterior as a density: it integrates to one, its draws follow it, and its scales cannot blow up."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from small_network import N_FEATURE, SIZES, build

from slipher.networks import posterior_flow as pf
from slipher.networks import weights

FEATURES = jnp.array([0.3, 0.2, 2.5])
GRID = np.linspace(-8.0, 8.0, 641)


def shaken(network: pf.PosteriorFlow, seed: int, size: float) -> pf.PosteriorFlow:
    """Every number moved at random: a flow that is nowhere near the identity."""
    arrays, rest = eqx.partition(network, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(arrays)
    rng = np.random.default_rng(seed)
    moved = [leaf + size * rng.standard_normal(leaf.shape).astype(np.float32) for leaf in leaves]
    return eqx.combine(jax.tree.unflatten(tree, moved), rest)


@pytest.fixture(scope="module")
def network() -> pf.PosteriorFlow:
    made = shaken(build(), 1, 0.2)
    return eqx.tree_at(
        lambda n: (n.shift, n.scale, n.mass_shift, n.mass_scale), made,
        (jnp.arange(3.0), jnp.full(3, 0.7), jnp.float32(2.0), jnp.float32(0.4)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def context(network) -> jax.Array:
    return network.context(FEATURES)


@pytest.fixture(scope="module")
def drawn(network, context) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sample = eqx.filter_jit(lambda n, c: n.sample(jax.random.key(2), c, 20_000))
    return tuple(np.asarray(x, np.float64) for x in sample(network, context))


@eqx.filter_jit
def log_prob(network: pf.PosteriorFlow, u: jax.Array, context: jax.Array) -> jax.Array:
    return jax.vmap(network.log_prob, (0, None))(u, context)


@pytest.fixture(scope="module")
def density(network, context) -> np.ndarray:
    """q(u) on a grid [first, second] that holds all of it."""
    points = np.stack(np.meshgrid(GRID, GRID, indexing="ij"), -1).reshape(-1, 2)
    values = log_prob(network, jnp.asarray(points, jnp.float32), context)
    return np.exp(np.asarray(values, np.float64)).reshape(len(GRID), len(GRID))


def test_the_density_is_no_gaussian_here(drawn):
    """Otherwise the laws below would say little."""
    pvalue = [stats.kstest(column, "norm").pvalue for column in drawn[0].T]
    assert max(pvalue) < 1e-6


def test_the_density_integrates_to_one(density):
    step = GRID[1] - GRID[0]
    assert np.sum(density) * step**2 == pytest.approx(1.0, abs=2e-3)


def test_draws_bring_their_own_density(network, context, drawn):
    u, _, log_q = drawn
    got = log_prob(network, jnp.asarray(u, jnp.float32), context)
    np.testing.assert_allclose(log_q, got, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
def test_draws_follow_the_density(drawn, density, axis):
    marginal = density.sum(1 - axis)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (marginal[1:] + marginal[:-1]))])
    uniform = np.interp(drawn[0][:, axis], GRID, cumulative / cumulative[-1])
    assert stats.kstest(uniform, "uniform").pvalue > 0.01


def test_draws_follow_the_density_jointly(drawn, density):
    """The probability beyond a draw's density is uniform: what joint coverage rests on."""
    values = np.sort(density.ravel())[::-1]
    beyond = np.cumsum(values) / values.sum()
    rank = np.interp(-np.exp(drawn[2]), -values, beyond)
    assert stats.kstest(rank, "uniform").pvalue > 0.01


def test_the_density_depends_on_the_data(network, drawn):
    other = network.context(jnp.array([3.0, -1.0, 0.0]))
    u = jnp.asarray(drawn[0][:100], jnp.float32)
    assert float(jnp.mean(jnp.abs(log_prob(network, u, other) - drawn[2][:100]))) > 0.1


def test_the_density_is_finite_far_out(network, context):
    u = jnp.array([[30.0, -30.0], [-5.0, 5.0], [0.0, 100.0]])
    values = log_prob(network, u, context)
    assert np.all(np.isfinite(values))
    assert np.all(values < -10)


@eqx.filter_jit
def there_and_back(network: pf.PosteriorFlow, z: jax.Array, context: jax.Array) -> tuple[jax.Array, ...]:
    u, log_det = jax.vmap(network.from_base, (0, None))(z, context)
    jacobian = jax.vmap(jax.jacfwd(lambda z: network.from_base(z, context)[0]))(z)
    return u, log_det, jacobian, *jax.vmap(network.to_base, (0, None))(u, context)


def test_the_base_space_is_standard_normal_by_a_change_of_variables(network, context):
    """log q(u) = log N(z) - log |du/dz|, the derivative also by automatic differentiation; and back to the same z."""
    z = jax.random.normal(jax.random.key(3), (500, 2))
    u, log_det, jacobian, back, log_det_back = (np.asarray(x, np.float64) for x in there_and_back(network, z, context))
    np.testing.assert_allclose(back, z, atol=1e-3)
    np.testing.assert_allclose(log_det_back, log_det, atol=2e-3)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=2e-3)
    expected = stats.norm.logpdf(np.asarray(z)).sum(1) - log_det
    np.testing.assert_allclose(log_prob(network, jnp.asarray(u, jnp.float32), context), expected, atol=2e-3)


# --- the mass ---------------------------------------------------------------------------------------------------------


def test_masses_scatter_about_the_heads_mean_by_its_sd(network, context, drawn):
    u, log_mass, _ = drawn
    mean, sd = jax.vmap(network.mass, (0, None))(jnp.asarray(u, jnp.float32), context)
    assert stats.kstest((log_mass - np.asarray(mean)) / np.asarray(sd), "norm").pvalue > 0.01
    assert np.std(mean) > 0.01  # it does depend on u


def test_the_loss_is_the_joint_log_density(network, context, drawn):
    """log q(u) + log N(log M), in units in which the mass was standardised."""
    u = jnp.asarray(drawn[0][0], jnp.float32)
    mean, sd = (float(x) for x in network.mass(u, context))
    loss = eqx.filter_jit(lambda m: network.loss(u, m, FEATURES))
    for log_mass in (mean - 3 * sd, mean, mean + sd):
        expected = drawn[2][0] + stats.norm.logpdf(log_mass, mean, sd) + np.log(np.sqrt(2 * np.pi) * 0.4)
        assert -float(loss(jnp.float32(log_mass))) == pytest.approx(expected, abs=2e-3)


def test_no_head_can_claim_an_absurd_certainty(network, context):
    """The standard deviation stays between exp(-7) and exp(3) of the simulations'."""
    for bias in (-1e6, 1e6):
        absurd = eqx.tree_at(lambda n: n.head.layers[-1].bias, network, jnp.array([0.0, bias]))
        _, sd = absurd.mass(jnp.zeros(2), context)
        assert 0.4 * np.exp(-7.001) <= float(sd) <= 0.4 * np.exp(3.001)


# --- scales of the input ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated() -> np.ndarray:
    """Features of many settings: the second never varies, the third a little in one of thirty."""
    rng = np.random.default_rng(3)
    features = rng.standard_normal((600, N_FEATURE)) * [5.0, 0.0, 0.0] + [3.0, 0.25, 0.0]
    features[:20, 2] = 0.1 * rng.standard_normal(20)
    return features


def test_inputs_and_masses_are_brought_to_mean_zero_and_variance_one(network, simulated):
    made = pf.standardise(network, jnp.asarray(simulated, jnp.float32), jnp.linspace(8.0, 11.0, 600))
    scaled = (simulated - np.asarray(made.shift)) / np.asarray(made.scale)
    np.testing.assert_allclose(scaled.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0)[0], 1.0, rtol=1e-4)
    np.testing.assert_allclose([made.mass_shift, made.mass_scale], [9.5, np.linspace(8, 11, 600).std()], rtol=1e-5)


def test_features_that_hardly_ever_vary_are_not_blown_up(network, simulated):
    """One of the prior's standard deviations off the simulations' constant is no reason to be twelve sd out."""
    made = pf.standardise(network, jnp.asarray(simulated, jnp.float32), jnp.zeros(600))
    for off in (-1.0, 1.0):
        new = np.array([3.0, 0.25 + off, off])
        assert np.all(np.abs((new - np.asarray(made.shift)) / np.asarray(made.scale)) <= pf.FEATURE_LIMIT)


@pytest.mark.parametrize("far", [50.0, 1e6, np.float32(np.finfo(np.float32).max)])
def test_beyond_the_simulations_the_network_sees_their_edge(network, far):
    edge = network.shift + network.scale * pf.FEATURE_LIMIT
    beyond = network.context(jnp.full(N_FEATURE, far))
    np.testing.assert_allclose(beyond, network.context(edge), rtol=1e-5, atol=1e-6)
    inside = network.context(network.shift + network.scale * 0.5 * pf.FEATURE_LIMIT)
    assert not np.allclose(inside, beyond, atol=1e-3)


def test_the_same_key_builds_the_same_network_and_another_key_another():
    def numbers(seed: int) -> np.ndarray:
        built = eqx.filter(build(seed), eqx.is_array)
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(built)])

    np.testing.assert_array_equal(numbers(0), numbers(0))
    assert np.mean(numbers(0) != numbers(1)) > 0.9  # all but the scales


def test_a_skeleton_filled_with_numbers_is_the_network(network, drawn, context, tmp_path):
    """Shapes alone, filled from a file, answer as the network that was drawn and saved."""
    weights.save_arrays(network, tmp_path / "weights.safetensors")
    filled = weights.load_arrays(pf.skeleton(N_FEATURE, 2, **SIZES), tmp_path / "weights.safetensors")
    u = jnp.asarray(drawn[0][:200], jnp.float32)
    np.testing.assert_array_equal(filled.context(FEATURES), context)
    np.testing.assert_allclose(log_prob(filled, u, context), log_prob(network, u, context), atol=1e-5)
