"""Errors of a fitted scene: Laplace's Gaussian about its most probable point, of all numbers, pixels too."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from . import misjudged
from .exposure import Exposure
from .misjudged import Misjudged
from .normal import Free, Known, bent, free_of, known, placed
from .render import Point, Scene

GRADIENTS = 480  # at most
EXACT = 1e-2, 1e-4  # of a draw's residual, and of a column's, over their right-hand sides


def sample(
    key: PRNGKeyArray, scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free, n: int,
    wrong: tuple[Misjudged, ...] = (), share: float = 0.0,
) -> Point:  # fmt: skip
    """Draws [draw, ...].

    A solution of H x = noise of covariance H has the covariance H^-1 (Papandreou & Yuille 2010): no matrix is made. With `wrong`, one of
    each exposure, profiles are off by that share too, and draws are where the most probable point is drawn by it.
    """
    about = known(scene, point, seen, free)
    return _sample(key, scene, point, seen, free, about, n, wrong, jnp.asarray(share, jnp.float32))


@partial(jax.jit, static_argnames="n")
def _sample(
    key: PRNGKeyArray, scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free, about_pixels: Known, n: int,
    wrong: tuple[Misjudged, ...], share: Float[Array, ""],
) -> Point:  # fmt: skip
    row, unravel = ravel_pytree(free_of(point))
    open_ = ravel_pytree(free)[0]
    about = bent(scene, point, seen, free)

    def one(key: PRNGKeyArray) -> Point:
        pull = about.noise(key)
        if wrong:
            fields, each = jax.random.fold_in(key, 1), zip(wrong, seen, strict=True)
            pull += share * about.pulled([jnp.sqrt(one.ivar) * misjudged.draw(fields, some, one) for some, one in each])
        return placed(point, unravel(row + open_ * about.solve(pull, about_pixels, 0.0, EXACT[0], GRADIENTS).x))

    return jax.lax.map(one, jax.random.split(key, n))


def covariance(scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free) -> Float[Array, "few few"]:
    """Of all parameters that are no pixels (`normal.places_of_few`), whatever the pixels are; zero where they are not free."""
    return _covariance(scene, point, seen, free, known(scene, point, seen, free))


@jax.jit
def _covariance(
    scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free, about_pixels: Known
) -> Float[Array, "few few"]:  # fmt: skip
    about, open_ = bent(scene, point, seen, free), ravel_pytree(free)[0]

    def column(place: Array) -> Array:
        unit = jnp.zeros_like(open_).at[place].set(open_[place])
        return about.solve(unit, about_pixels, 0.0, EXACT[1], GRADIENTS).x[about.places]

    found = jax.lax.map(column, jnp.asarray(about.places))
    return 0.5 * (found + found.T)
