r"""Simulated galaxies that learned priors of morphologies are trained on.

    profiles, arms, bars, clumps, texture, bends --points finer than pixels--> light --smoothed--> x = ln(I + e^-8)

Everything is drawn for each galaxy: which of seven kinds it is, its size, how it is turned and what is in it. Light is summed at points a
third of a pixel apart and smoothed by a Gaussian, so that pixels hold it without ringing; x is that of `slipher.scene.learned`. Real
galaxies, where a recipe names some, take the place of a share of them (`real_stamps`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..scene.learned import log_brightness

SIZE = 32  # pixels on a side
FINER, MARGIN = 3, 2  # points in a pixel, pixels of light beyond the edge that are smoothed into it
SOFT = 0.1  # pixels, in which the cusps of profiles end
CLUMPS = 6
BATCH = 16
KINDS = ("one profile", "bulge and disc", "spiral", "clumpy", "rough", "on edge", "irregular")


@dataclass(frozen=True)
class Galaxies:
    """What is simulated: share of each of `KINDS`, half-light radii in pixels, the smoothing's standard deviation in pixels."""

    shares: tuple[float, ...] = (0.14, 0.18, 0.24, 0.14, 0.1, 0.1, 0.1)
    radius: tuple[float, float] = (1.2, 9.0)
    smoothing: float = 0.7


class Images(NamedTuple):
    """A chunk: x, and a number of each galaxy's own from which its noises are drawn."""

    x: Float[Array, "galaxy y x"]
    seed: Array


class Plane(NamedTuple):
    """Points of a stamp in a galaxy's plane: along the two axes of its ellipse, and from its centre, all in half-light radii."""

    along: Float[Array, "y x"]
    across: Float[Array, "y x"]

    @property
    def r(self) -> Float[Array, "y x"]:
        return jnp.hypot(self.along, self.across)


def _points() -> Float[np.ndarray, "point"]:
    """Places of the finer points along an axis, in pixels from the stamp's middle."""
    n = (SIZE + 2 * MARGIN) * FINER
    return ((np.arange(n) - 0.5 * (n - 1)) / FINER).astype(np.float32)


def _smoother(sd: float) -> Float[np.ndarray, "pixel point"]:
    """From finer points to pixels, along one axis."""
    pixels = np.arange(SIZE) - 0.5 * (SIZE - 1)
    return (np.exp(-0.5 * ((pixels[:, None] - _points()) / sd) ** 2) / (sd * np.sqrt(2.0 * np.pi) * FINER)).astype(np.float32)


def _uniform(key: PRNGKeyArray, low: float, high: float, shape: tuple[int, ...] = ()) -> Array:
    return jax.random.uniform(key, shape, minval=low, maxval=high)


def _log_uniform(key: PRNGKeyArray, low: float, high: float, shape: tuple[int, ...] = ()) -> Array:
    return jnp.exp(_uniform(key, np.log(low), np.log(high), shape))


def _plane(centre: Array, radius: Array, angle: Array, ratio: Array, bend: Array) -> Plane:
    """About a centre, turned by an angle, of an axis ratio; `bend` lifts both ends of the long axis to one side."""
    x, y = _points() - centre[0], _points()[:, None] - centre[1]
    along = (jnp.cos(angle) * x + jnp.sin(angle) * y) * jnp.sqrt(ratio) / radius
    across = (jnp.cos(angle) * y - jnp.sin(angle) * x) / jnp.sqrt(ratio) / radius
    return Plane(along, across - bend * along**2)


def _profile(r: Float[Array, "y x"], index: Array, soft: Array) -> Float[Array, "y x"]:
    """Sersic's, of unit sum over the points; b_n of Ciotti & Bertin (1999)."""
    b = 2.0 * index - 1.0 / 3.0 + 4.0 / (405.0 * index)
    light = jnp.exp(-b * ((r**2 + soft**2) ** (0.5 / index) - 1.0))
    return light / jnp.sum(light)


def _arms(key: PRNGKeyArray, plane: Plane) -> Float[Array, "y x"]:
    """ln of what logarithmic spirals make of a disc, fading towards the centre."""
    k = jax.random.split(key, 5)
    number = jax.random.choice(k[0], jnp.array([2.0, 3.0, 4.0]), p=jnp.array([0.6, 0.2, 0.2]))
    pitch, strength = jnp.deg2rad(_uniform(k[1], 10.0, 35.0)), _uniform(k[2], 0.3, 1.5)
    hand, phase = 2.0 * jax.random.bernoulli(k[3]) - 1.0, _uniform(k[4], 0.0, 2.0 * np.pi)
    wound = hand * jnp.arctan2(plane.across, plane.along) - jnp.log(plane.r + 1e-3) / jnp.tan(pitch)
    inner = plane.r**2 / (plane.r**2 + 0.3**2)
    return strength * inner * jnp.cos(number * wound + phase)


def _clumps(key: PRNGKeyArray, plane: Plane, size: tuple[float, float], radius: Array) -> Float[Array, "y x"]:
    """Gaussians scattered over a disc, of unit sum; none is smaller than half a pixel."""
    k = jax.random.split(key, 3)
    places, shares = 0.8 * jax.random.normal(k[0], (CLUMPS, 2)), _log_uniform(k[1], 0.1, 1.0, (CLUMPS,))
    sizes = jnp.maximum(_log_uniform(k[2], *size, (CLUMPS,)), 0.5 / radius)

    def one(place: Array, size: Array, share: Array) -> Array:
        d2 = (plane.along - place[0]) ** 2 + (plane.across - place[1]) ** 2
        return share / size**2 * jnp.exp(-0.5 * d2 / size**2)

    light = sum(one(*each) for each in zip(places, sizes, shares, strict=True))
    return light / jnp.sum(light)


def _texture(key: PRNGKeyArray, length: Array) -> Float[Array, "y x"]:
    """A Gaussian random field of unit variance and of a correlation length in pixels, as in `slipher.scene.morphology.Textured`."""
    n = len(_points())
    qy, qx = (2.0 * np.pi * FINER * f(n).astype(np.float32) for f in (np.fft.fftfreq, np.fft.rfftfreq))
    root = 1.0 / (1.0 + (qy[:, None] ** 2 + qx**2) * length**2)
    field = jnp.fft.irfft2(jnp.fft.rfft2(jax.random.normal(key, (n, n))) * root, (n, n))
    return (field - jnp.mean(field)) / jnp.std(field)


def galaxy(key: PRNGKeyArray, shares: Float[Array, "kind"], radii: tuple[float, float]) -> Float[Array, "point point"]:
    """Light of one galaxy at the finer points, of unit sum."""
    k = jax.random.split(key, 24)
    kind = jax.random.choice(k[0], len(KINDS), p=shares)
    single, twin, spiral, clumpy, rough, edge, wild = (kind == i for i in range(len(KINDS)))
    radius, angle = _log_uniform(k[1], *radii), _uniform(k[2], 0.0, np.pi)
    ratio = jnp.where(edge, _uniform(k[3], 0.08, 0.3), jnp.where(spiral, _uniform(k[4], 0.45, 1.0), _uniform(k[5], 0.25, 1.0)))
    centre = _uniform(k[6], -0.5, 0.5, (2,))
    plane = _plane(centre, radius, angle, ratio, wild * 0.15 * jax.random.normal(k[7]))
    index = jnp.where(single, jnp.clip(jnp.exp(0.5 + 0.6 * jax.random.normal(k[8])), 0.5, 6.0), _uniform(k[9], 0.7, 1.3))
    disc = _profile(plane.r, index, SOFT / radius) * jnp.exp(spiral * _arms(k[10], plane))
    disc /= jnp.sum(disc)

    small = radius * _log_uniform(k[11], 0.12, 0.5)
    round_ = _plane(centre, small, angle, jnp.maximum(ratio, _uniform(k[12], 0.6, 1.0)), jnp.zeros(()))
    bulge = _profile(round_.r, _uniform(k[13], 1.5, 4.5), SOFT / small)
    share = jnp.where(twin, _uniform(k[14], 0.05, 0.7), (spiral | edge | clumpy) * _uniform(k[15], 0.0, 0.25))
    light = share * bulge + (1.0 - share) * disc

    length = radius * _uniform(k[16], 0.3, 0.8)
    barred = _plane(centre, length, angle + _uniform(k[17], 0.0, np.pi), _uniform(k[18], 0.15, 0.4), jnp.zeros(()))
    share = spiral * jax.random.bernoulli(k[19], 0.4) * _uniform(k[20], 0.05, 0.3)
    light = (1.0 - share) * light + share * _profile(barred.r, jnp.asarray(0.5), SOFT / length)

    share = clumpy * _uniform(k[21], 0.1, 0.5) + wild * _uniform(k[21], 0.4, 0.9)
    lumps = jnp.where(wild, _clumps(k[22], plane, (0.2, 0.7), radius), _clumps(k[22], plane, (0.06, 0.25), radius))
    light = (1.0 - share) * light + share * lumps
    own = jax.random.split(k[23], 5)
    roughness = jnp.where(rough | wild, _uniform(own[0], 0.3, 0.9), (spiral | clumpy | edge) * _uniform(own[1], 0.0, 0.35))
    roughness = jnp.where(twin & jax.random.bernoulli(own[2]), _uniform(own[1], 0.0, 0.3), roughness)
    light = light * jnp.exp(roughness * _texture(own[3], radius * _log_uniform(own[4], 0.1, 0.5)))
    return light / jnp.sum(light)


def image(key: PRNGKeyArray, shares: Float[Array, "kind"], galaxies: Galaxies) -> Float[Array, "y x"]:
    """x of one galaxy."""
    smoother = jnp.asarray(_smoother(galaxies.smoothing))
    return log_brightness(smoother @ galaxy(key, shares, galaxies.radius) @ smoother.T)


@partial(jax.jit, static_argnames=("galaxies", "n"))
def simulated(key: PRNGKeyArray, galaxies: Galaxies, n: int) -> Float[Array, "galaxy y x"]:
    """x of n galaxies."""
    shares = jnp.asarray(galaxies.shares) / sum(galaxies.shares)
    return jax.lax.map(lambda one: image(one, shares, galaxies), jax.random.split(key, n), batch_size=BATCH)


def simulator(galaxies: Galaxies) -> Callable[[int, int, int], Images]:
    """A function (seed, chunk number, galaxies) -> `Images`; the same numbers give the same galaxies."""

    def draw(seed: int, number: int, n: int) -> Images:
        rng = np.random.default_rng([seed, number])
        x = simulated(jax.random.key(rng.integers(2**31)), galaxies, n)
        return Images(x, jnp.asarray(rng.integers(0, 2**31, n), jnp.uint32))

    return draw
