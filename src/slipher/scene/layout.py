"""The layout of a scene that is fitted to images: which kinds of sources, how many places of each, and where they begin.

Sources of one kind and one stamp are a group, and each group costs compiling. Small scenes are therefore one group of which every source
could have texture; in large ones those that are too faint for any are a group apart, and stamps have two sizes at most. Places are more
than sources, by the next number of `PLACES`, so that scenes of about as many sources share what is compiled.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from .exposure import Exposure
from .morphology import Sersic, Textured, radius
from .render import Group, Members, Scene
from .source import Light, Source, Start
from .spectrum import Free
from .starts import Starts

STAMPS = (21, 41, 61, 81, 121, 161)  # sides, points
PLACES = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
TOGETHER = 80_000, 400_000  # points of stamps up to which all sources, or all that have texture, are one group
TEXTURED = 100.0  # significance from which a source gets texture and a second light
ROOM = 1.2  # of a stamp over the region of its source
RADII, TEXTURE = ("light_0.log_radius", "light_1.log_radius"), "light_0.texture"
MIDDLE = radius().prior.loc  # of the prior's ln radius
SHARES, SIZES = (0.7, 0.3), (1.2, 0.5)  # of the flux and of the radius with which the lights of a bright source begin


class Layout(NamedTuple):
    """A scene's groups and their starting points.

    `taken` are the places that have a source, `bright` those of which it may have texture; `order[i]` is the group and place of source i.
    """

    scene: Scene
    members: tuple[Members, ...]
    taken: list[Bool[np.ndarray, "place"]]
    bright: list[Bool[np.ndarray, "place"]]
    order: Int[np.ndarray, "source 2"]


def layout(each: list[Starts], seen: tuple[Exposure, ...], position: Float[np.ndarray, "source 2"], n_bands: int) -> Layout:
    """Of sources as each of the exposures shows them."""
    scales = [float(np.sqrt(abs(np.linalg.det(np.asarray(one.jacobian, np.float64))))) for one in seen]  # pixels a reference pixel
    radii = np.min([one.radius / scale for one, scale in zip(each, scales, strict=True)], axis=0)
    flux = _fluxes(each, seen, n_bands)
    sides, bright = _stamps(each, seen, scales)
    groups, members, taken, rough, order = [], [], [], [], np.zeros((len(position), 2), int)
    for side in np.unique(sides):
        own = np.flatnonzero(sides == side)
        order[own] = np.stack([np.full(len(own), len(groups)), np.arange(len(own))], 1)
        places = next((n for n in PLACES if n >= len(own)), len(own))
        source = kind(int(side), 1.0 / max(scales), n_bands)
        groups.append(Group(source, places))
        members.append(begin(source, places, position[own], flux[own], radii[own], bright[own]))
        taken.append(np.arange(places) < len(own))
        rough.append(np.resize(bright[own], places) & taken[-1])
    return Layout(Scene(tuple(groups), n_bands), tuple(members), taken, rough, order)


def kind(side: int, step: float, n_bands: int) -> Source:
    """A source with a stamp of that many points: a disc with texture and a profile in its middle, each of its own colour; 0: a disc.

    Discs end; what is faint and could have any profile would take up whatever the sky is not flat by.
    """
    if side == 0:
        return Source((Light(Sersic(1.0), Free(n_bands)),))
    return Source((Light(Textured(Sersic(1.0), side, step), Free(n_bands)), Light(Sersic(), Free(n_bands))))


def begin(
    source: Source, places: int, position: Float[np.ndarray, "source 2"], flux: Float[np.ndarray, "source band"],
    radii: Float[np.ndarray, "source"], bright: Bool[np.ndarray, "source"],
) -> Members:  # fmt: skip
    """Sources of one kind at their starting points, priors of their sizes about what images show; places that are left over are dark."""
    n_lights, left = len(source.lights), places - len(position)
    shares = np.where(bright[:, None], SHARES, (1.0, 0.0))[:, :n_lights] if n_lights > 1 else np.ones((len(position), 1))
    whole = np.pad(shares[:, :, None] * flux[:, None], ((0, left), (0, 0), (0, 0)))
    sizes = np.where(bright, np.array(SIZES)[:, None], 1.0)[:n_lights] * radii
    about = {name: np.pad(np.log(size) - MIDDLE, (0, left)) for name, size in zip(RADII, sizes, strict=False)}
    u = {p.name: jnp.zeros((places, *p.shape)) for p in source.parameters}
    start = Start(
        jnp.asarray(np.pad(position, ((0, left), (0, 0)), "edge"), jnp.float32), jnp.asarray(whole, jnp.float32),
        about={name: jnp.asarray(x, jnp.float32) for name, x in about.items()},
    )  # fmt: skip
    return Members(start, u)


def _fluxes(each: list[Starts], seen: tuple[Exposure, ...], n_bands: int) -> Float[np.ndarray, "source band"]:
    """Of each of the scene's bands, by the image of it that shows most: one that a source is outside of has next to none."""
    flux = np.zeros((len(each[0].flux), n_bands))
    for one, like in zip(seen, each, strict=True):
        flux[:, list(one.bands)] = np.maximum(flux[:, list(one.bands)], like.flux)
    return flux


def _stamps(
    each: list[Starts], seen: tuple[Exposure, ...], scales: list[float]
) -> tuple[Int[np.ndarray, "source"], Bool[np.ndarray, "source"]]:
    """Sides of the sources' stamps in points of the finest pixels, 0 for none, and which sources get texture."""
    reach = np.max([one.reach / scale for one, scale in zip(each, scales, strict=True)], axis=0) * max(scales)
    # What is farther beyond an edge than images are padded would come back on the other side.
    padding = [min(np.subtract(one.padded, one.shape)) / scale for one, scale in zip(seen, scales, strict=True)]
    allowed = [n for n in STAMPS if n <= 2.0 * min(padding) * max(scales)] or list(STAMPS[:1])
    needed = np.array([next((n for n in allowed if n >= ROOM * 2.0 * r), allowed[-1]) for r in reach])
    bright = np.max([one.significance for one in each], axis=0) > TEXTURED
    if not bright.any():
        return np.zeros(len(needed), int), bright
    sizes = np.unique(needed[bright])
    if len(needed) * sizes[-1] ** 2 <= TOGETHER[0]:
        return np.full(len(needed), sizes[-1]), bright
    if bright.sum() * sizes[-1] ** 2 <= TOGETHER[1]:
        return np.where(bright, sizes[-1], 0), bright
    # The largest side, and of the others the one that saves most points.
    costs = {n: np.sum(np.where(needed[bright] <= n, n**2, sizes[-1] ** 2)) for n in sizes}
    kept = np.unique([min(costs, key=costs.get), sizes[-1]])
    return np.where(bright, [next((n for n in kept if n >= side), 0) for side in needed], 0), bright
