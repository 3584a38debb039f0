r"""Profiles that no model has right: what images show of a galaxy, times a smooth field that is even about its middle.

    image of a galaxy * (1 + epsilon f),      f(p + r) = f(p - r) = sum_m a_m cos(q_m r)

f is about Gaussian, of variance one away from the middle, as smooth as the galaxy is large, and the same in all bands and images of a sky:
q_m are drawn from the power spectrum of a Gaussian. How much light there is and how far it reaches are less certain by it, and with them
those of neighbours; of which colour it is and where are not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .exposure import Exposure

WAVES = 48  # that make up a field


class Misjudged(NamedTuple):
    """What an exposure shows of each source, the middle of that (x, y) in its pixels, and in reference pixels how large the source is."""

    light: Float[Array, "source band y x"]
    middle: Float[Array, "source 2"]
    radius: Float[Array, "source"]


def misjudged(light: list[Float[np.ndarray, "source _ _ _"]], seen: tuple[Exposure, ...]) -> tuple[Misjudged, ...]:
    """Of each exposure, of what it shows of each source; sources are as large as half of their light in the sharpest image is."""
    extents = [np.array([_extent(np.maximum(one.sum(0, dtype=np.float64), 0.0)) for one in each]).reshape(-1, 3) for each in light]
    scales = [np.sqrt(abs(np.linalg.det(np.asarray(one.jacobian, np.float64)))) for one in seen]  # pixels a reference pixel
    radius = np.min([extent[:, 2] / scale for extent, scale in zip(extents, scales, strict=True)], axis=0)
    radius = np.where(np.isfinite(radius), radius, 1.0)
    return tuple(
        Misjudged(*(jnp.asarray(x, jnp.float32) for x in (each, extent[:, :2], radius)))
        for each, extent in zip(light, extents, strict=True)
    )


def draw(key: PRNGKeyArray, wrong: Misjudged, seen: Exposure) -> Float[Array, "band y x"]:
    """What an exposure is off by where epsilon is one, all sources together; the same key gives the same fields in all exposures."""

    def add(total: Array, each: tuple[PRNGKeyArray, Misjudged]) -> tuple[Array, None]:
        own, one = each
        return total + one.light * _field(own, one.middle, one.radius, seen), None

    return jax.lax.scan(add, jnp.zeros_like(seen.flux), (jax.random.split(key, len(wrong.light)), wrong))[0]


def _field(key: PRNGKeyArray, middle: Float[Array, "2"], radius: Float[Array, ""], seen: Exposure) -> Float[Array, "y x"]:
    """f at an exposure's pixels; smoothing white noise by a Gaussian of that radius makes such a one."""
    rows, columns = seen.shape
    waves, amplitudes = (jax.random.normal(k, (WAVES, n)) for k, n in zip(jax.random.split(key), (2, 1), strict=True))
    k = waves / (np.sqrt(2.0) * radius) @ jnp.linalg.inv(seen.jacobian)  # radians a pixel
    x, y = k[:, :1] * (jnp.arange(columns) - middle[0]), k[:, 1:] * (jnp.arange(rows) - middle[1])
    amplitudes *= np.sqrt(2.0 / WAVES)
    return (amplitudes * jnp.cos(y)).T @ jnp.cos(x) - (amplitudes * jnp.sin(y)).T @ jnp.sin(x)


def _extent(light: Float[np.ndarray, "y x"]) -> tuple[float, float, float]:
    """Mean x and y of the squared light, which an edge or a spiral's arm hardly moves, and the radius about them that holds half of it;
    infinite where there is no light."""
    if not light.any():
        return 0.0, 0.0, np.inf
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    x, y = (float(np.average(at, weights=light**2)) for at in (columns, rows))
    distance = np.hypot(columns - x, rows - y).ravel()
    order = np.argsort(distance)
    return x, y, max(float(distance[order][np.searchsorted(np.cumsum(light.ravel()[order]), 0.5 * light.sum())]), 0.5)
