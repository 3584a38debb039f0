"""What the samplers of an exact density take, and what they return.

    log_density(u, data) = log likelihood + log N(u; 0, 1) + constant

`nuts.py`, `nested.py` and `tempered.py` sample such a density, each in its own way, so that one can be the independent twin of another
and of `refine.py`. The density is a pure JAX function of one point; what differs between galaxies is in `data`, any tree of arrays, which
is traced: a function is compiled once for all galaxies of the same shapes, as long as the very same function object is given.

`Coordinates` are where a sampler walks: u-space itself, or the base space of a flow, in which the posterior is nearly N(0, 1). The density
that is sampled is the same. Random numbers follow from the seed or generator that comes first, and from nothing else.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..batches import in_batches
from ..errors import InputError

Point = Float[Array, "parameter"]
Points = Float[np.ndarray, "draw parameter"]
PerDraw = Float[np.ndarray, "draw"]
LogDensity = Callable[[Point, Any], Float[Array, ""]]
Map = Callable[[Point, Any], tuple[Point, Float[Array, ""]]]
Seed = int | np.random.Generator

BATCH = 16  # points that a compiled function takes at once
REACH = 40.0  # of N(0, 1), beyond which there is nothing
LEAST = -1e12  # log density of what is as good as impossible


class Coordinates(NamedTuple):
    """A smooth map of one point and the data from base space to u-space, and back; both also return log |du/dz|."""

    from_base: Map
    to_base: Map


def _itself(point: Point, data: Any) -> tuple[Point, Float[Array, ""]]:
    return point, jnp.zeros((), point.dtype)


PARAMETERS = Coordinates(_itself, _itself)


class Sampled(NamedTuple):
    """Equal-weight draws of a density and what speaks for them.

    `rhat` is the largest over parameters, `ess` the smallest: between and of chains (NUTS), runs (nested) or populations (tempered); where
    one of these has found what another has not, R-hat tells. `evaluations` counts the density at one point, `gradients` those of them
    that come with its gradient. `ancestors` are the particles of the start of which the poorest population still has offspring.
    """

    u: Points
    method: str
    ess: float
    rhat: float
    evaluations: int
    gradients: int = 0
    log_evidence: float | None = None
    log_evidence_error: float = np.nan
    divergences: int = 0
    ancestors: int = 0


def key_of(rng: np.random.Generator) -> PRNGKeyArray:
    """A key that follows from the generator's state."""
    return jax.random.key(int(rng.integers(2**63)))


def in_base(log_density: LogDensity, coordinates: Coordinates) -> LogDensity:
    """The density per unit of base space; -inf, without a slope, where it is not a number and where nothing can be.

    A trajectory that breaks down runs away until its energy overflows, in float32 possibly to -inf, which any sampler would accept.
    """

    def density(z: Point, data: Any) -> Float[Array, ""]:
        near = jnp.all(jnp.abs(z) < REACH)
        u, log_det = coordinates.from_base(jnp.where(near, z, 0.0), data)
        value = log_density(u, data) + log_det
        return jnp.where(near & (value > LEAST), value, -jnp.inf)

    return density


def log_densities(z: Points, data: Any, *, log_density: LogDensity, coordinates: Coordinates = PARAMETERS) -> PerDraw:
    """The density per unit of base space at many points."""
    value = in_batches(lambda some: _densities(some, data, log_density=log_density, coordinates=coordinates), BATCH, _single(z))
    return value.astype(np.float64)


def to_parameters(z: Points, data: Any, coordinates: Coordinates) -> Points:
    """Points of base space in u-space."""
    return in_batches(lambda some: _mapped(some, data, way=coordinates.from_base), BATCH, _single(z)).astype(np.float64)


def to_base(u: Points, data: Any, coordinates: Coordinates) -> Points:
    """Points of u-space in base space."""
    return in_batches(lambda some: _mapped(some, data, way=coordinates.to_base), BATCH, _single(u)).astype(np.float64)


def checked_start(start: Points) -> Points:
    """Start draws in float64.

    Raises
    ------
    InputError
        Unless there are two or more, in two dimensions, and all are numbers.
    """
    start = np.asarray(start, np.float64)
    if start.ndim != 2 or len(start) < 2 or not np.isfinite(start).all():
        raise InputError(
            f"start draws of shape {start.shape}" + ("" if np.isfinite(start).all() else " that are not all numbers"),
            expected="two or more finite points [draw, parameter]",
            mend="Give draws of the amortised posterior, or of the prior.",
        )
    return start


def _single(points: Points) -> Float[np.ndarray, "draw parameter"]:
    return np.asarray(points, np.float32)


@partial(jax.jit, static_argnames=("log_density", "coordinates"))
def _densities(z: Array, data: Any, *, log_density: LogDensity, coordinates: Coordinates) -> Array:
    return jax.vmap(in_base(log_density, coordinates), (0, None))(z, data)


@partial(jax.jit, static_argnames="way")
def _mapped(points: Array, data: Any, *, way: Map) -> Array:
    return jax.vmap(way, (0, None))(points, data)[0]
