"""Where the posterior peaks and how wide it is there: Levenberg-Marquardt on the reduced likelihood.

The residuals of the whitened, marginalised likelihood and of the prior are a least-squares problem in u-space; its Gauss-Newton matrix is
always positive definite, which the Hessian is not. Used for starting points and for the samplers' first metric, never as an answer.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

U_LIMIT = 4.5  # beyond it the transforms are flat


class Expansion(NamedTuple):
    """A log density at a point, its gradient and its Gauss-Newton precision (positive definite), exact or nearly so."""

    value: Float[Array, ""]
    gradient: Float[Array, "parameter"]
    precision: Float[Array, "parameter parameter"]


class Peak(NamedTuple):
    """A point near a maximum, its log density and the Gauss-Newton precision matrix there (the prior's identity included)."""

    u: Float[Array, "parameter"]
    log_density: Float[Array, ""]
    precision: Float[Array, "parameter parameter"]


def climb(u: Float[Array, "parameter"], expand: Callable[[Array], Expansion], n_step: int) -> Peak:
    """Climb from one point; a step that lowers the density is refused and the damping raised.

    Parameters
    ----------
    expand
        The density about a point.
    n_step
        Steps tried.
    """

    def body(_: Array, carry: tuple) -> tuple:
        u, at, damping = carry
        damped = at.precision + damping * jnp.diag(jnp.diagonal(at.precision))
        step = jnp.linalg.solve(damped, at.gradient)
        # No step of more than one prior standard deviation in any direction.
        step = step * jnp.minimum(1.0, 1.0 / jnp.maximum(jnp.max(jnp.abs(step)), 1e-6))
        trial = jnp.clip(u + step, -U_LIMIT, U_LIMIT)
        there = expand(trial)
        better = there.value > at.value
        kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), (trial, there), (u, at))
        return *kept, jnp.clip(jnp.where(better, damping / 4.0, damping * 5.0), 1e-4, 1e4)

    # The first step is no step: it only evaluates the start, so that `expand` is compiled once.
    nowhere = Expansion(jnp.asarray(-jnp.inf), jnp.zeros_like(u), jnp.eye(len(u)))
    u, at, _ = jax.lax.fori_loop(0, n_step + 1, body, (u, nowhere, jnp.asarray(0.4)))
    return Peak(u, at.value, at.precision)
