r"""From parameters to pixels: what exposures show of a scene.

    Y_b = sum_k S_kb * psf_b + background_b

A scene is what kinds of sources there are and how many of each; all else is numbers (`Point`): sources of one kind are mapped over, so that
their number costs no compilation, and scenes of one layout can be mapped over as well. Free parameters are in u-space, where their prior is
standard normal (`slipher.physics.parameters`).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from . import exposure as exposures
from .exposure import Exposure, Frequencies
from .morphology import Values
from .source import Source, Start

U = dict[str, Array]


class Group(eqx.Module):
    """So many sources of one kind."""

    source: Source
    n: int = eqx.field(static=True)


class Scene(eqx.Module):
    """The layout: groups of sources in the scene's bands."""

    groups: tuple[Group, ...]
    n_bands: int = eqx.field(static=True)


class Members(NamedTuple):
    """The sources of one group [source, ...]: where they start, and u by name."""

    start: Start
    u: U


class Sight(NamedTuple):
    """What is free of an exposure by band: shifts in its own unit (`exposure.shifts`), and backgrounds in that of its flux."""

    shift: Float[Array, "band 2"]
    background: Float[Array, "band"]


class Point(NamedTuple):
    """All numbers of a scene."""

    members: tuple[Members, ...]
    sights: tuple[Sight, ...]


def values_of(source: Source, start: Start, u: U) -> Values:
    """Physical values of one source: those that are free, and those that are given."""
    given, about = start.given or {}, start.about or {}
    found = {p.name: p.prior.from_normal(u[p.name]) + about.get(p.name, 0.0) for p in source.parameters if p.name not in given}
    return found | given


def one_source(source: Source, start: Start, u: U, seen: Exposure, q: Frequencies) -> Complex[Array, "band ky kx"]:
    """Transform of what an exposure's bands show of one source, before the PSF."""
    values = values_of(source, start, u)
    whole = source.transform(values, start, q)[jnp.asarray(seen.bands)]
    return whole * exposures.phase(seen, start.position + values["offset"])


@eqx.filter_jit
def each_source(group: Group, members: Members, seen: Exposure, sight: Sight) -> Float[Array, "source band y x"]:
    """What an exposure shows of each source of a group alone."""
    q, response = exposures.frequencies(seen), exposures.response(seen, sight.shift)
    return jax.lax.map(lambda each: exposures.image(seen, one_source(group.source, *each, seen, q) * response), tuple(members))


def transform(scene: Scene, point: Point, which: int, seen: Exposure) -> Complex[Array, "band ky kx"]:
    """Of all sources together as the exposure of number `which` shows them, PSF included."""
    q = exposures.frequencies(seen)
    total = jnp.zeros_like(seen.psf)
    for group, members in zip(scene.groups, point.members, strict=True):
        each = jax.vmap(lambda start, u, source=group.source: one_source(source, start, u, seen, q))
        total += jnp.sum(each(*members), 0)
    return total * exposures.response(seen, point.sights[which].shift)


def draw(scene: Scene, point: Point, which: int, seen: Exposure) -> Float[Array, "band y x"]:
    """What the exposure of number `which` shows."""
    return exposures.image(seen, transform(scene, point, which, seen)) + point.sights[which].background[:, None, None]
