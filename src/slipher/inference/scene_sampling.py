"""Samples of a scene by NUTS: of any of its numbers, those of the exposures included, with fluxes integrated out where that is wanted.

    most probable scene --Laplace's draws--> starts and mass matrix --NUTS--> samples of the numbers chosen --> samples of the catalogue

What is not chosen stays where it is. The sampler is that of galaxies (`nuts`), with its tests of convergence.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..errors import InputError
from ..scene import amplitudes, laplace, normal
from ..scene.exposure import Exposure
from ..scene.normal import Free
from ..scene.render import Point, Scene
from . import nuts
from .samplers import Sampled

STARTS = 256


class ScenePosterior(NamedTuple):
    """Samples [sample, ...] of all numbers of a scene, and what speaks for them."""

    points: Point
    sampled: Sampled


class _Data(NamedTuple):
    """What the density is a function of beside the numbers sampled: a tree of arrays and their layout."""

    scene: Scene
    point: Point
    seen: tuple[Exposure, ...]
    places: Array


def _density(row: Float[Array, "parameter"], data: _Data) -> Float[Array, ""]:
    return normal.log_posterior(data.scene, _placed(row, data), data.seen)


def _marginal_density(row: Float[Array, "parameter"], data: _Data) -> Float[Array, ""]:
    return amplitudes.log_marginal_posterior(data.scene, _placed(row, data), data.seen)


def _placed(row: Float[Array, "parameter"], data: _Data) -> Point:
    whole, unravel = ravel_pytree(normal.free_of(data.point))
    return normal.placed(data.point, unravel(whole.at[data.places].set(row)))


def sample(
    seed: int, scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free, *, marginal: bool = False,
    settings: nuts.Settings = nuts.USUAL,
) -> ScenePosterior:  # fmt: skip
    """Samples about a most probable point.

    Parameters
    ----------
    point
        Where `slipher.scene.fit.fit` ended with the same numbers free.
    free
        The numbers that are sampled (`slipher.scene.normal.opened`); a few hundred of them at most.
    marginal
        Whether fluxes and backgrounds are integrated out (`slipher.scene.amplitudes`): they must not be among the numbers then, and what
        is returned of them is what they were.

    Raises
    ------
    InputError
        If nothing is free, or amplitudes are both sampled and integrated out.
    """
    row, unravel = ravel_pytree(normal.free_of(point))
    places = np.flatnonzero(np.asarray(ravel_pytree(free)[0]) > 0)
    if not len(places):
        raise InputError("no number that is free", expected="some to sample", mend="Open some (slipher.scene.normal.opened).")
    if marginal and _any_amplitude(free):
        raise InputError("fluxes or backgrounds that are free and integrated out", expected="one of both", mend="Close them.")
    start = laplace.sample(jax.random.key(seed), scene, point, seen, free, STARTS)
    starts = np.asarray(jax.vmap(lambda p: ravel_pytree(normal.free_of(p))[0])(start), np.float64)[:, places]
    density: Callable[[Array, Any], Array] = _marginal_density if marginal else _density
    found = nuts.sample(seed, density, _Data(scene, point, seen, jnp.asarray(places)), starts, settings=settings)
    u = jnp.asarray(found.u, jnp.float32)
    points = jax.vmap(lambda some: normal.placed(point, unravel(row.at[places].set(some))))(u)
    return ScenePosterior(points, found)


def _any_amplitude(free: Free) -> bool:
    fluxes = [mask for group in free[0] for name, mask in group.items() if amplitudes.of_flux(name)]
    return any(bool(jnp.any(mask > 0)) for mask in [*fluxes, *(sight.background for sight in free[1])])
