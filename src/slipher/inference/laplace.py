"""Where the posterior peaks and how wide it is there: Levenberg-Marquardt on the reduced likelihood.

The residuals of the whitened, marginalised likelihood and of the prior are a least-squares problem in u-space; its Gauss-Newton matrix is
always positive definite, which the Hessian is not. Used for starting points and for the samplers' first metric, never as an answer.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Whitened = Callable[[Float[Array, "parameter"]], Float[Array, "residual"]]
LogDensity = Callable[[Float[Array, "parameter"]], Float[Array, ""]]


class Peak(NamedTuple):
    """A point near a maximum, its log density and the Gauss-Newton precision matrix there (the prior's identity included)."""

    u: Float[Array, "parameter"]
    log_density: Float[Array, ""]
    precision: Float[Array, "parameter parameter"]


def climb(u: Float[Array, "parameter"], log_density: LogDensity, model: Whitened, n_step: int) -> Peak:
    """Climb from one point.

    Parameters
    ----------
    model
        u -> the model in the metric of the likelihood, its amplitude and noise covariance held at their current values inside
        (`refine.whitened_model`); only its derivative is used.
    n_step
        Steps tried; a step that lowers the density is refused and the damping raised.
    """

    def precision_at(u: Array) -> Array:
        jacobian = jax.jacfwd(model)(u)
        return jacobian.T @ jacobian + jnp.eye(u.shape[0])

    def body(_: Array, carry: tuple) -> tuple:
        u, value, gradient, precision, damping = carry
        damped = precision + damping * jnp.diag(jnp.diagonal(precision))
        step = jnp.linalg.solve(damped, gradient)
        # No step of more than one prior standard deviation in any direction: the far wings of the transforms are flat.
        step = step * jnp.minimum(1.0, 1.0 / jnp.max(jnp.abs(step)))
        trial = jnp.clip(u + step, -4.5, 4.5)
        trial_value, trial_gradient = jax.value_and_grad(log_density)(trial)
        better = trial_value > value
        u = jnp.where(better, trial, u)
        new_precision = precision_at(u)
        return (
            u,
            jnp.where(better, trial_value, value),
            jnp.where(better, trial_gradient, gradient),
            jnp.where(better, new_precision, precision),
            jnp.clip(jnp.where(better, damping / 4.0, damping * 5.0), 1e-4, 1e4),
        )

    value, gradient = jax.value_and_grad(log_density)(u)
    first = (u, value, gradient, precision_at(u), jnp.asarray(0.1))
    u, value, _, precision, _ = jax.lax.fori_loop(0, n_step, body, first)
    return Peak(u, value, precision)
