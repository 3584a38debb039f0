"""The emulator's network: its activation, its gradient, and that one galaxy is answered as in a batch, against plain numpy in float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.networks import emulator, weights

X = jnp.linspace(-3.0, 3.0, 13)


def gate(a: float, b: float) -> np.ndarray:
    full = jnp.ones_like(X)
    return np.asarray(emulator.Gate(a * full, b * full)(X))


# --- activation (Alsing et al. 2020, equation 8) ---------------------------------------------------------------------

LIMITS = {
    "a to infinity: a rectifier that leaks b": (1e6, 0.3, np.where(X > 0, X, 0.3 * X)),
    "a to minus infinity: the same, reflected": (-1e6, 0.3, np.where(X > 0, 0.3 * X, X)),
    "a = 0: a line of slope (1 + b) / 2": (0.0, 0.3, 0.65 * X),
    "b = 1: the identity": (2.7, 1.0, X),
    "b = 0, a = 1: x sigmoid(x)": (1.0, 0.0, X / (1 + np.exp(-X))),
    "anything else": (0.8, -0.4, (-0.4 + 1.4 / (1 + np.exp(-0.8 * np.asarray(X, float)))) * X),
}


@pytest.mark.parametrize("name", list(LIMITS))
def test_the_activation_has_its_limits(name):
    a, b, expected = LIMITS[name]
    np.testing.assert_allclose(gate(a, b), expected, rtol=1e-5, atol=1e-6)


def test_each_unit_has_its_own_gate_and_each_can_be_learnt():
    made = emulator.Gate(jnp.array([1e6, 0.0]), jnp.array([0.0, 0.0]))
    np.testing.assert_allclose(made(jnp.array([-2.0, -2.0])), [0.0, -1.0], atol=1e-6)
    gradient = jax.grad(lambda g: jnp.sum(g(jnp.array([1.0, -1.0]))))(emulator.Gate(jnp.ones(2), jnp.zeros(2)))
    assert np.all(np.asarray(gradient.a) != 0)
    assert np.all(np.asarray(gradient.b) != 0)


# --- the whole -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> emulator.Emulator:
    """Untrained, of two unequal blocks, with gates of every kind."""
    rng = np.random.default_rng(2)

    def some(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    network = emulator.build(jax.random.key(0), 3, 5, width=7, depth=2)
    gates = tuple(emulator.Gate(some(7), some(7)) for _ in range(2))
    network = eqx.tree_at(lambda n: n.gates, network, gates)
    blocks = (emulator.Block(some(6), some(2, 6)), emulator.Block(some(4), some(3, 4)))
    return emulator.Emulator(some(3), jnp.array([0.5, 2.0, 30.0]), network, jnp.abs(some(5)), blocks)


def twin(made: emulator.Emulator, parameters: np.ndarray) -> np.ndarray:
    """The same in numpy and double precision, written out."""
    w = {name: np.asarray(leaf, float) for name, leaf in weights.named_leaves(made).items()}
    x = (parameters - w["shift"]) / w["scale"]
    for i in range(2):
        y = w[f"network.layers[{i}].weight"] @ x + w[f"network.layers[{i}].bias"]
        a, b = w[f"network.gates[{i}].a"], w[f"network.gates[{i}].b"]
        x = (b + (1 - b) / (1 + np.exp(-a * y))) * y
    z = w["spread"] * (w["network.last.weight"] @ x + w["network.last.bias"])
    return np.concatenate([w["blocks[0].mean"] + z[:2] @ w["blocks[0].basis"], w["blocks[1].mean"] + z[2:] @ w["blocks[1].basis"]])


POINTS = np.array([[0.3, -1.0, 20.0], [1.2, 2.0, -40.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("point", POINTS)
def test_ln_flux_is_that_of_the_written_out_twin(made, point):
    np.testing.assert_allclose(made.ln_flux(jnp.asarray(point, jnp.float32)), twin(made, point), rtol=1e-5, atol=1e-5)


def test_a_batch_is_its_galaxies_one_by_one(made):
    points = jnp.asarray(POINTS, jnp.float32)
    one_by_one = np.stack([made.ln_flux(p) for p in points])
    np.testing.assert_allclose(eqx.filter_jit(lambda m, x: jax.vmap(m.ln_flux)(x))(made, points), one_by_one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("point", POINTS)
def test_the_gradient_is_that_of_finite_differences(made, point):
    jacobian = np.asarray(jax.jacfwd(made.ln_flux)(jnp.asarray(point, jnp.float32)))
    reverse = np.asarray(jax.jacrev(made.ln_flux)(jnp.asarray(point, jnp.float32)))
    steps = 1e-5 * np.diag(np.asarray(made.scale, float))
    finite = np.stack([(twin(made, point + s) - twin(made, point - s)) / (2 * s.sum()) for s in steps], 1)
    np.testing.assert_allclose(jacobian, finite, rtol=1e-4, atol=1e-4 * np.abs(finite).max())
    np.testing.assert_allclose(reverse, jacobian, rtol=1e-4, atol=1e-5 * np.abs(finite).max())


def test_an_empty_one_has_the_shapes_of_the_network_and_takes_its_weights(made, tmp_path):
    shapes = eqx.filter_eval_shape(lambda: emulator.empty(3, [6, 4], [2, 3], width=7, depth=2))
    weights.save_arrays(made, tmp_path / "w.safetensors")
    loaded = weights.load_arrays(shapes, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(loaded.ln_flux(jnp.ones(3)), made.ln_flux(jnp.ones(3)))
