r"""The most probable scene: damped Gauss-Newton steps on all parameters of all sources at once.

    (H + lambda 1) du = grad ln p

The damping is in the prior's own units: lambda = 1 is as if the prior were twice as sharp about where the scene is now. It follows from
what a step promised and what it gave (Levenberg 1944; Marquardt 1963), so that shapes which are far from linear cannot run away.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from .exposure import Exposure
from .normal import Free, Known, bent, free_of, known, log_posterior, placed
from .render import Point, Scene

STEPS = 60
GRADIENTS = 60  # conjugate gradients a step, at most
EXACT = 0.1  # of a step's residual over its right-hand side
CONVERGED = 1e-4, 0.1  # of ln p a pixel that a step still promises; of ln p, where there are few pixels
DAMPING = (1e-3, 1e8)  # at least, and from which on nothing moves
SOFTER, HARDER = 0.2, 4.0  # what damping is multiplied by
PATIENCE = 5  # damped steps in a row that promise too little; one that is hardly damped is enough
GOOD, BAD = 0.75, 0.25  # of what was promised


class Fitted(NamedTuple):
    """A scene at its most probable point, ln p up to a constant, whether no step promises more, and how many were taken."""

    point: Point
    log_posterior: Float[Array, ""]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]


def fit(
    scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free, damping: Float[Array, ""] | float = 1.0, steps: int = STEPS
) -> Fitted:
    """The most probable point from a starting point.

    Parameters
    ----------
    free
        Which numbers are (`slipher.scene.normal.opened`).
    damping
        Of the first step.
    """
    # A program of its own, which errors share: half of what there is to compile is how H acts.
    return _fit(scene, point, seen, free, known(scene, point, seen, free), jnp.asarray(damping, jnp.float32), steps)


@partial(jax.jit, static_argnames="steps")
def _fit(
    scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free, about_pixels: Known, damping: Float[Array, ""], steps: int
) -> Fitted:  # fmt: skip
    unravel = ravel_pytree(free_of(point))[1]
    enough = jnp.maximum(CONVERGED[0] * sum(jnp.sum(one.ivar > 0) for one in seen), CONVERGED[1])

    def at(row: Array) -> Point:
        return placed(point, unravel(row))

    def one(state: tuple) -> tuple:
        row, _, damping, quiet, n = state
        about = bent(scene, at(row), seen, free)
        step = about.solve(about.pull, about_pixels._replace(few=about.few), damping, EXACT, GRADIENTS)
        # H du is what the damped equations leave of the gradient.
        bend = about.pull - step.left - damping * about.prior * step.x
        promised = step.x @ about.pull - 0.5 * step.x @ bend
        gained = log_posterior(scene, at(row + step.x), seen) - about.value
        gained = jnp.where(jnp.isfinite(gained), gained, -jnp.inf)
        factor = jnp.where(gained > GOOD * promised, SOFTER, jnp.where(gained < BAD * promised, HARDER, 1.0))
        better = gained > 0.0
        return (
            jnp.where(better, row + step.x, row), jnp.where(better, about.value + gained, about.value),
            jnp.maximum(damping * factor, DAMPING[0]),
            jnp.where(promised > enough, 0, quiet + jnp.where(damping <= 1.0, PATIENCE, 1)), n + 1,
        )  # fmt: skip

    def going(state: tuple) -> Array:
        _, _, damping, quiet, n = state
        return (quiet < PATIENCE) & (damping < DAMPING[1]) & (n < steps)

    start = ravel_pytree(free_of(point))[0], jnp.asarray(-jnp.inf), damping, jnp.asarray(0), 0
    row, value, _, quiet, n = jax.lax.while_loop(going, one, start)
    return Fitted(at(row), value, quiet >= PATIENCE, jnp.asarray(n))
