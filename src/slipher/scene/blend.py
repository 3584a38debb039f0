r"""A blend taken apart: from images and positions to a fitted scene, in two steps.

First every source is a smooth profile, and images are believed to no better than a tenth of their brightness, for no profile is: what
belongs to whom is found while nothing can be explained by pixels. Then those sources that are bright enough to show any get texture about
the profile that was found, and images count in full. Both are one scene of one layout, so that it is compiled once: what is not free in a
step is held.

Several images of one sky are fitted together: positions are those of the first, and by how much others are off is
free, as is how much the bands of each are.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from ..data.image import Cutout
from . import exposure, fit, normal
from .exposure import Exposure
from .fit import Fitted
from .morphology import Sersic, Textured
from .render import Group, Members, Point, Scene, Sight
from .source import Light, Source, Start
from .spectrum import Free
from .starts import Starts, starts

STAMPS = (21, 31, 41, 61, 81, 121, 161)  # sides, points
TOGETHER = 60_000, 400_000  # points of stamps up to which all sources, or all that have texture, are one group: each costs compiling
TEXTURED = 60.0  # significance from which a source gets texture
ROOM = 1.3  # of a stamp over the region of its source
MODEL_ERROR = 0.1  # of the brightness, while sources are smooth
RADIUS, TEXTURE = "light_0.log_radius", "light_0.texture"
SHAPES = (RADIUS, "light_0.shear_1", "light_0.shear_2", "light_0.log_index")


class Blend(NamedTuple):
    """A fitted scene, the exposures that it was fitted to, and which of its numbers are free.

    `order[i]` is the group and place of source i as it came in; `bands` are the scene's.
    """

    scene: Scene
    fitted: Fitted
    seen: tuple[Exposure, ...]
    free: normal.Free
    order: Int[np.ndarray, "source 2"]
    bands: tuple[str, ...]


def take_apart(images: tuple[Cutout, ...], position: Float[np.ndarray, "source 2"]) -> Blend:
    """The scene of sources at these positions of the first image."""
    bands = tuple(dict.fromkeys(band for image in images for band in image.bands))
    seen = tuple(exposure.of_cutout(image, images[0], bands) for image in images)
    scales = [float(np.sqrt(abs(np.linalg.det(np.asarray(one.jacobian, np.float64))))) for one in seen]  # pixels a reference pixel
    each = [starts(image, position @ np.asarray(one.jacobian).T + np.asarray(one.origin)) for image, one in zip(images, seen, strict=True)]
    flux = _fluxes(each, seen, len(bands))
    sides, bright = _stamps(each, seen, scales)
    radius = np.min([one.radius / scale for one, scale in zip(each, scales, strict=True)], axis=0)
    groups, members, order = [], [], np.zeros((len(position), 2), int)
    for side in np.unique(sides):
        own = np.flatnonzero(sides == side)
        order[own] = np.stack([np.full(len(own), len(groups)), np.arange(len(own))], 1)
        shape = Sersic() if side == 0 else Textured(Sersic(), int(side), 1.0 / max(scales))
        kind = Source((Light(shape, Free(len(bands))),))
        groups.append(Group(kind, len(own)))
        members.append(begin(kind, position[own], flux[own], radius[own]))
    scene = Scene(tuple(groups), len(bands))
    sights = tuple(Sight(jnp.zeros((len(one.background), 2)), jnp.asarray(one.background, jnp.float32)) for one in each)
    point = Point(tuple(members), sights)
    smooth = normal.opened(point, sources=lambda name: name != TEXTURE)
    first = fit.fit(scene, point, tuple(_believed(one, like) for one, like in zip(seen, each, strict=True)), smooth)
    free = _settled(normal.opened(point), [bright[sides == side] for side in np.unique(sides)])
    return Blend(scene, fit.fit(scene, first.point, seen, free), seen, free, order, bands)


def begin(source: Source, position: np.ndarray, flux: np.ndarray, radius: np.ndarray) -> Members:
    """Sources of one kind at their starting point; the priors of their sizes are about what images show."""
    u = {p.name: jnp.zeros((len(position), *p.shape)) for p in source.parameters}
    middle = next(p.prior.loc for p in source.parameters if p.name == RADIUS)
    about = {RADIUS: jnp.asarray(np.log(radius) - middle, jnp.float32)}
    return Members(Start(jnp.asarray(position, jnp.float32), jnp.asarray(flux[:, None], jnp.float32), about=about), u)


def _fluxes(each: list[Starts], seen: tuple[Exposure, ...], n_bands: int) -> Float[np.ndarray, "source band"]:
    """Of each of the scene's bands, by the first image that has it."""
    flux = np.zeros((len(each[0].flux), n_bands))
    for one, like in reversed(list(zip(seen, each, strict=True))):
        flux[:, list(one.bands)] = like.flux
    return flux


def _stamps(
    each: list[Starts], seen: tuple[Exposure, ...], scales: list[float]
) -> tuple[Int[np.ndarray, "source"], Bool[np.ndarray, "source"]]:
    """Sides of the sources' stamps in points of the finest pixels, 0 for none, and which sources get texture.

    Sources of one side are one group, so that there are as few sides as their points allow.
    """
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


def _believed(seen: Exposure, like: Starts) -> Exposure:
    """An exposure with errors of no less than `MODEL_ERROR` of its brightness."""
    dark = np.asarray(seen.flux) - like.background[:, None, None]
    bright = MODEL_ERROR * np.maximum(ndimage.gaussian_filter(dark, (0, 1, 1)), 0.0)
    ivar = np.asarray(seen.ivar)
    return eqx.tree_at(lambda one: one.ivar, seen, jnp.asarray(ivar / (1.0 + ivar * bright**2), jnp.float32))


def _settled(free: normal.Free, bright: list[Bool[np.ndarray, "source"]]) -> normal.Free:
    """What is free once profiles are found: of bright sources texture and not shape, of others shape and not texture."""
    groups = []
    for mask, rough in zip(free[0], bright, strict=True):
        held = dict.fromkeys(SHAPES, rough) | ({TEXTURE: ~rough[:, None, None]} if TEXTURE in mask else {})
        groups.append(mask | {name: jnp.where(hold, 0.0, mask[name]) for name, hold in held.items()})
    return groups, free[1]
