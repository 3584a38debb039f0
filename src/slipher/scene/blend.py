r"""A blend taken apart: from images and positions to a fitted scene, in two steps.

First every source is a smooth profile; then those that are bright enough to show any get texture, on a stamp as large as they are. The
first step finds what belongs to whom while nothing can be explained by pixels, and the second explains the rest. Sources of one stamp size
are one group, so that a scene of many small galaxies and one large costs what they cost.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from ..data.image import Cutout
from . import fit
from .detect import full_width, significance, sky
from .exposure import Exposure, of_cutout
from .fit import Fitted, Held
from .morphology import Sersic, Textured
from .render import Group, Members, Point, Scene, Sight
from .source import Light, Source, Start
from .spectrum import Free

HELD = (Held(),)  # backgrounds are free, shifts of the only exposure are not
STAMPS = (21, 41, 81, 161)  # sides, pixels
TEXTURED = 60.0  # significance from which a source gets texture
FAINTEST = 1.5  # significance of what belongs to a source, a pixel
ROOM = 1.5  # of a stamp over the region of its source
DARK = 1e-3  # of a source's flux in its brightest band: the least it starts with in another


class Blend(NamedTuple):
    """A fitted scene and the exposure that it was fitted to; `order[i]` is the group and place of source i as it came in."""

    scene: Scene
    fitted: Fitted
    seen: Exposure
    order: Int[np.ndarray, "source 2"]


def starting_fluxes(
    flux: Float[np.ndarray, "band y x"], psf: Float[np.ndarray, "band v u"], position: Float[np.ndarray, "source 2"]
) -> Float[np.ndarray, "source band"]:
    """Of point sources as bright as the pixels where they are; none dark."""
    rows, columns = flux.shape[1:]
    x, y = (np.clip(np.rint(p).astype(int), 0, n - 1) for p, n in zip(position.T, (columns, rows), strict=True))
    peak = flux[:, y, x].T / psf.max((1, 2))
    return np.maximum(peak, DARK * np.maximum(peak.max(1, keepdims=True), DARK * np.abs(flux).max()))


def stamps(
    flux: Float[np.ndarray, "band y x"], ivar: Float[np.ndarray, "band y x"], psf: Float[np.ndarray, "band v u"],
    position: Float[np.ndarray, "source 2"],
) -> Int[np.ndarray, "source"]:  # fmt: skip
    """The stamp that each source needs: of the pixels that are significant and nearer to it than to others, the farthest.

    Zero for sources that are too faint for texture.
    """
    nu = significance(flux, ivar, psf)
    rows, columns = nu.shape
    y, x = np.mgrid[:rows, :columns]
    distance = np.hypot(x - position[:, :1, None], y - position[:, 1:, None])
    own = distance.argmin(0)
    bright = nu > FAINTEST * np.sqrt(np.pi / 4) * full_width(psf)
    connected, _ = ndimage.label(bright)
    sides = []
    for i, (px, py) in enumerate(np.rint(position).astype(int)):
        here = np.clip(py, 0, rows - 1), np.clip(px, 0, columns - 1)
        inside = (own == i) & (connected == connected[here]) & bright
        reach = np.quantile(distance[i][inside], 0.98) if inside.any() else 0.0
        side = next((n for n in STAMPS if n >= ROOM * 2.0 * reach), STAMPS[-1])
        sides.append(side if nu[here] > TEXTURED else 0)
    return np.array(sides)


def begin(source: Source, position: np.ndarray, flux: np.ndarray) -> Members:
    """Sources of one kind at their starting point."""
    u = {p.name: jnp.zeros((len(position), *p.shape)) for p in source.parameters}
    return Members(Start(jnp.asarray(position, jnp.float32), jnp.asarray(flux[:, None], jnp.float32)), u)


def take_apart(image: Cutout, position: Float[np.ndarray, "source 2"]) -> Blend:
    """The scene of sources at these positions in an image."""
    flux, ivar, psf = (np.asarray(x, np.float64) for x in (image.flux, image.ivar, image.psf))
    seen = of_cutout(image)
    background = np.array([sky(image[weight > 0]) for image, weight in zip(flux, ivar, strict=True)])
    dark = flux - background[:, None, None]
    n_bands, sides = len(flux), stamps(dark, ivar, psf, position)
    smooth = Source((Light(Sersic(), Free(n_bands)),))
    members = begin(smooth, position, starting_fluxes(dark, psf, position))
    sight = Sight(jnp.zeros(2), jnp.asarray(background, jnp.float32))
    first = fit.fit(Scene((Group(smooth, len(position)),), n_bands), Point((members,), (sight,)), (seen,), HELD)
    groups, some, order = [], [], np.zeros((len(position), 2), int)
    for side in np.unique(sides):
        own = np.flatnonzero(sides == side)
        kind = smooth if side == 0 else Source((Light(Textured(Sersic(), int(side)), Free(n_bands)),))
        order[own] = np.column_stack([np.full(len(own), len(groups)), np.arange(len(own))])
        found = first.point.members[0]
        fresh = begin(kind, position[own], np.asarray(found.start.flux)[own, 0])
        groups.append(Group(kind, len(own)))
        some.append(fresh._replace(u=fresh.u | {name: leaf[own] for name, leaf in found.u.items()}))
    scene = Scene(tuple(groups), n_bands)
    return Blend(scene, fit.fit(scene, Point(tuple(some), first.point.sights), (seen,), HELD), seen, order)
