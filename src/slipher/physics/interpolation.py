"""Smooth interpolation in small tables, written as weights: a table value is `weights @ table`.

Cubic Hermite segments with three-point slopes: continuous first derivatives, which gradient-based samplers need (linear
interpolation in metallicity has kinks at the grid's nodes), and exact at the nodes. Beyond the ends the last value holds.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def cubic_weights(x: Float[Array, ""], nodes: np.ndarray | Float[Array, "node"]) -> Float[Array, "node"]:
    """Weights of the nodes' values at x; they sum to one.

    Parameters
    ----------
    x
        Where the table is wanted, in the nodes' unit; held at the first and last node outside.
    nodes
        Increasing abscissae.
    """
    nodes = jnp.asarray(nodes)
    n = nodes.shape[0]
    x = jnp.clip(x, nodes[0], nodes[-1])
    i = jnp.clip(jnp.sum(x >= nodes) - 1, 0, n - 2)
    h = nodes[i + 1] - nodes[i]
    t = (x - nodes[i]) / h
    value_left, value_right = (1 + 2 * t) * (1 - t) ** 2, t**2 * (3 - 2 * t)
    slope_left, slope_right = t * (1 - t) ** 2 * h, t**2 * (t - 1) * h
    slopes = _slope_matrix(nodes)
    unit = jnp.eye(n, dtype=nodes.dtype)
    return value_left * unit[i] + value_right * unit[i + 1] + slope_left * slopes[i] + slope_right * slopes[i + 1]


def _slope_matrix(nodes: Float[Array, "node"]) -> Float[Array, "node node"]:
    """Row i: the three-point derivative at node i as weights of the values (one-sided at the ends)."""
    n = nodes.shape[0]
    h = jnp.diff(nodes)
    secant = (jnp.eye(n, dtype=nodes.dtype)[1:] - jnp.eye(n, dtype=nodes.dtype)[:-1]) / h[:, None]
    left, right = h[:-1, None], h[1:, None]
    inner = (right * secant[:-1] + left * secant[1:]) / (left + right)
    return jnp.concatenate([secant[:1], inner, secant[-1:]])


def piecewise_linear(x: Float[Array, "x"], nodes: Float[Array, "node"], values: Float[Array, "node"]) -> Float[Array, "x"]:
    """`jnp.interp` for nodes that do not decrease, as a sum over all segments: no search, of which many small ones are slow."""
    step = jnp.maximum(jnp.diff(nodes), 1e-30)
    return values[0] + jnp.clip((x[:, None] - nodes[:-1]) / step, 0.0, 1.0) @ jnp.diff(values)


def lagrange_weights(x: Float[Array, "*shape"], nodes: Float[Array, "node"]) -> Float[Array, "node *shape"]:
    """Weights of the polynomial through all the nodes, evaluated at each x (for well-spaced nodes such as Chebyshev's).

    Running products from both sides, unrolled: this is evaluated at every pixel. Differences are scaled by the nodes' range, so
    that products stay near one in float32.
    """
    n = nodes.shape[0]
    span = (nodes[-1] - nodes[0]) / 4.0
    gaps = jnp.where(jnp.eye(n, dtype=bool), 1.0, (nodes[:, None] - nodes[None, :]) / span)
    scale = 1.0 / jnp.prod(gaps, axis=1)
    differences = [(x - nodes[j]) / span for j in range(n)]
    below, above = [jnp.ones_like(x)], [jnp.ones_like(x)]
    for j in range(n - 1):
        below.append(below[-1] * differences[j])
        above.append(above[-1] * differences[n - 1 - j])
    return jnp.stack([below[j] * above[n - 1 - j] * scale[j] for j in range(n)])
