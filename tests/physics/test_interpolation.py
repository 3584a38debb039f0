"""Interpolation weights against scipy and against what they promise: exact at nodes, smooth, held outside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import BarycentricInterpolator, CubicHermiteSpline

from slipher.grids import sources
from slipher.grids.library import sigma_nodes
from slipher.physics.interpolation import cubic_weights, lagrange_weights, piecewise_linear

LOG_Z = np.log10(sources.METALLICITIES)
GRIDS = {"metallicity": LOG_Z, "log_u": sources.LOG_U, "three": np.array([0.0, 1.0, 5.0])}
every_grid = pytest.mark.parametrize("nodes", GRIDS.values(), ids=GRIDS)


def weights(x, nodes):
    return np.asarray(jax.vmap(lambda at: cubic_weights(at, jnp.asarray(nodes, jnp.float32)))(jnp.asarray(x)))


@every_grid
def test_cubic_is_exact_at_the_nodes(nodes):
    np.testing.assert_allclose(weights(nodes.astype(np.float32), nodes), np.eye(len(nodes)), atol=1e-5)


@every_grid
def test_cubic_weights_sum_to_one_and_hold_outside(nodes):
    x = np.linspace(nodes[0] - 1, nodes[-1] + 1, 101, dtype=np.float32)
    np.testing.assert_allclose(weights(x, nodes).sum(1), 1.0, atol=1e-5)
    np.testing.assert_allclose(weights(x[[0, -1]], nodes), np.eye(len(nodes))[[0, -1]], atol=1e-6)


@every_grid
def test_cubic_against_scipys_hermite_spline(nodes):
    """Slopes by hand: the derivative of the parabola through three nodes; secants at the ends."""
    values = np.random.default_rng(0).normal(size=len(nodes))
    inner = [np.polyval(np.polyder(np.polyfit(nodes[i - 1 : i + 2], values[i - 1 : i + 2], 2)), nodes[i])
             for i in range(1, len(nodes) - 1)]  # fmt: skip
    secant = np.diff(values) / np.diff(nodes)
    spline = CubicHermiteSpline(nodes, values, [secant[0], *inner, secant[-1]])
    x = np.linspace(nodes[0], nodes[-1], 203)
    np.testing.assert_allclose(weights(x.astype(np.float32), nodes) @ values, spline(x), atol=2e-5)


@every_grid
def test_cubic_gradient_is_continuous_across_nodes(nodes):
    values = jnp.asarray(np.random.default_rng(1).normal(size=len(nodes)), jnp.float32)
    slope = jax.grad(lambda x: cubic_weights(x, jnp.asarray(nodes, jnp.float32)) @ values)
    for node in nodes[1:-1]:
        before, after = slope(jnp.float32(node - 1e-4)), slope(jnp.float32(node + 1e-4))
        assert abs(before - after) < 0.02 * (1 + abs(before))


def test_lagrange_against_scipy():
    nodes = sigma_nodes()
    values = np.exp(-((nodes / 200.0) ** 2))
    x = np.linspace(0.0, 500.0, 77)
    ours = values @ np.asarray(lagrange_weights(jnp.asarray(x, jnp.float32), jnp.asarray(nodes, jnp.float32)))
    np.testing.assert_allclose(ours, BarycentricInterpolator(nodes, values)(x), atol=3e-6)


def test_lagrange_is_exact_at_nodes_and_sums_to_one():
    nodes = jnp.asarray(sigma_nodes(), jnp.float32)
    np.testing.assert_allclose(lagrange_weights(nodes, nodes), np.eye(len(nodes)), atol=1e-6)
    x = jnp.linspace(0.0, 500.0, 60).reshape(3, 20)
    assert lagrange_weights(x, nodes).shape == (len(nodes), 3, 20)
    np.testing.assert_allclose(lagrange_weights(x, nodes).sum(0), 1.0, atol=5e-6)


def test_lagrange_with_one_node_is_the_constant():
    assert lagrange_weights(jnp.float32(120.0), jnp.array([150.0])) == 1.0


def test_piecewise_linear_is_numpy_s_and_steps_where_nodes_repeat():
    nodes = jnp.array([0.0, 0.1, 0.1, 0.7, 1.0])
    values = jnp.array([3.0, 4.0, 6.0, 6.5, 9.0])
    x = jnp.linspace(-0.2, 1.2, 57) + 0.0123
    np.testing.assert_allclose(piecewise_linear(x, nodes, values), np.interp(x, nodes, values), rtol=1e-5)
    assert float(jax.grad(lambda at: piecewise_linear(at[None], nodes, values)[0])(0.4)) == pytest.approx(0.5 / 0.6, rel=1e-5)
