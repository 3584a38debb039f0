r"""Profiles that no model has right: what images show of a galaxy, times a smooth field that is even about its middle.

    image of a galaxy * (1 + epsilon f),      f(p + r) = f(p - r)

f is Gaussian, of variance one away from the middle, the same in all bands, and as smooth as the galaxy is large. How much light there is
and how far it reaches are less certain by it, and with them those of neighbours; of which colour it is and where are not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from . import exposure as exposures
from .exposure import Exposure


class Misjudged(NamedTuple):
    """What an exposure shows of each source; the middle of that (x, y), and the radius of half of it, in its pixels."""

    light: Float[Array, "source band y x"]
    middle: Float[Array, "source 2"]
    radius: Float[Array, "source"]


def misjudged(light: Float[np.ndarray, "source band y x"]) -> Misjudged:
    """Of what an exposure shows of each; of sources without light the middle is anywhere."""
    found = np.array([_extent(np.maximum(one.sum(0), 0.0)) for one in light]).reshape(-1, 3)
    return Misjudged(*(jnp.asarray(x, jnp.float32) for x in (light, found[:, :2], found[:, 2])))


def draw(key: PRNGKeyArray, wrong: Misjudged, seen: Exposure) -> Float[Array, "band y x"]:
    """What all sources together are off by where epsilon is one."""
    squared = seen.ky[:, None] ** 2 + seen.kx**2
    # A half transform stands for both signs of kx; that of zero only for itself.
    twice, points = jnp.where(seen.kx > 0, 2.0, 1.0), seen.padded[0] * seen.padded[1]

    def add(total: Array, each: tuple[PRNGKeyArray, Misjudged]) -> tuple[Array, None]:
        own, one = each
        root = jnp.exp(-0.5 * squared * one.radius**2)
        numbers = jax.random.normal(own, squared.shape) * root * points / jnp.sqrt(jnp.sum(twice * root**2))
        return total + one.light * exposures.image(seen, numbers * exposures.turned(seen, one.middle)), None

    return jax.lax.scan(add, jnp.zeros_like(seen.flux), (jax.random.split(key, len(wrong.light)), wrong))[0]


def _extent(light: Float[np.ndarray, "y x"]) -> tuple[float, float, float]:
    """Mean x and y of the squared light, which an edge or a spiral's arm hardly moves, and the radius about them that holds half of it."""
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    weight = np.maximum(light**2, 1e-30)
    x, y = (float(np.average(at, weights=weight)) for at in (columns, rows))
    distance = np.hypot(columns - x, rows - y).ravel()
    order = np.argsort(distance)
    return x, y, float(distance[order][np.searchsorted(np.cumsum(light.ravel()[order]), 0.5 * light.sum())])
