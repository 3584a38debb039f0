r"""What astronomers want of a fitted scene: fluxes, places, sizes and shapes of its sources, with errors from draws.

Everything is measured on each draw alike, to first order, and what is stated is the scatter of the draws about the most probable scene; so
a colour's error knows how the errors of its two fluxes hang together. No galaxy's shape is right to better than some per cent: so much of
the brightness counts as noise in each pixel, and by so much its whole profile may be off (`misjudged`). Positions are the middles of
Gaussian windows on the source (as SExtractor's XWIN), sizes radii of half the light, ellipticities those of second moments in the window,
all of the source before any PSF.
"""

from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from . import annealed, exposure, laplace, render
from .blend import Blend
from .exposure import Frequencies
from .layout import RADII
from .learned import half_light_brightness
from .misjudged import misjudged
from .morphology import Gridded, Morphology, Values
from .render import Group, Members, Point, U, values_of
from .source import Light, Source, of_part

DRAWS = 32
# Of the brightness of galaxies, where errors are made, in each pixel and all over: found on simulated blends other than those reported.
PIXEL_ERROR, PROFILE_ERROR = 0.09, 0.04
WINDOWS = 3  # times that a window of twice the half-light radius is centred
PROFILE, FINE = 101, 0.15  # points of the grid on which sources are measured; their distance over a source's size


class Measured(NamedTuple):
    """Of sources [..., source]: positions in reference pixels, fluxes of all lights together, half-light radius, and ellipticity."""

    position: Float[Array, "*draw source 2"]
    flux: Float[Array, "*draw source band"]
    radius: Float[Array, "*draw source"]
    e_1: Float[Array, "*draw source"]
    e_2: Float[Array, "*draw source"]


@eqx.filter_jit
def measured(group: Group, members: Members) -> Measured:
    """The sources of one group."""
    return jax.vmap(lambda start, u: _one(group.source, start, u))(*members)


def _one(source: Source, start, u: dict[str, Array]) -> Measured:
    values = values_of(source, start, u)
    fluxes = source.fluxes(values, start)
    own = [of_part(values, f"light_{i}") for i in range(len(source.lights))]
    share = jnp.mean(fluxes / jnp.sum(fluxes, 0), 1)
    step = FINE * share @ jnp.stack([_size(light, v) for light, v in zip(source.lights, own, strict=True)])
    lights = [_fine(light.morphology, v, step) for light, v in zip(source.lights, own, strict=True)]
    light = jnp.maximum(jnp.tensordot(share, jnp.stack(lights), 1), 0.0)
    light /= jnp.sum(light)
    at = step * (jnp.arange(PROFILE) - 0.5 * (PROFILE - 1))

    def window(middle: Array, _: None) -> tuple[Array, tuple[Array, ...]]:
        dx, dy = at - middle[0], (at - middle[1])[:, None]
        radius = _half(jnp.sqrt(dx**2 + dy**2).ravel(), light.ravel())
        weight = light * jnp.exp(-0.5 * (dx**2 + dy**2) / jnp.maximum(2.0 * radius, step) ** 2)
        moments = tuple(jnp.sum(weight * q) for q in (dx**2, dy**2, dx * dy))
        return middle + jnp.stack([jnp.sum(weight * dx), jnp.sum(weight * dy)]) / jnp.sum(weight), (radius, *moments)

    middle, found = jax.lax.scan(window, jnp.zeros(2), length=WINDOWS)
    radius, xx, yy, xy = (each[-1] for each in found)
    return Measured(start.position + values["offset"] + middle, jnp.sum(fluxes, 0), radius, (xx - yy) / (xx + yy), 2.0 * xy / (xx + yy))


@eqx.filter_jit
def _moved(group: Group, members: Members, u: U) -> tuple[Measured, Measured]:
    """What a group's sources are, and are in draws of u [draw, source, ...], to first order: as Laplace's Gaussian has them.

    Two lights of one source exchange flux, far beyond where that is linear in u; what they have together is not to scatter by that.
    """
    best, moves = jax.linearize(lambda own: measured(group, members._replace(u=own)), members.u)
    each = jax.vmap(lambda some: jax.tree.map(jnp.add, best, moves(jax.tree.map(jnp.subtract, some, members.u))))(u)
    return best, each


def _size(light: Light, values: Values) -> Float[Array, ""]:
    """About how large a light is, in reference pixels."""
    if "log_radius" in values:
        return jnp.exp(values["log_radius"])
    if isinstance(light.morphology, Gridded):
        pixels = light.morphology.light(values)
        return light.morphology.step * jnp.sqrt(0.5 / half_light_brightness(pixels / jnp.sum(pixels)) / np.pi)
    return jnp.ones(())


def _fine(morphology: Morphology, values: Values, step: Float[Array, ""]) -> Float[Array, "v u"]:
    """A shape on a grid that is as fine as the source is small."""
    q = 2.0 * np.pi * np.fft.fftfreq(PROFILE)
    y, x = (jnp.asarray(a, jnp.float32) / step for a in np.meshgrid(q, q[: PROFILE // 2 + 1], indexing="ij"))
    moved = morphology.transform(values, Frequencies(x, y, separable=True)) * jnp.exp(-0.5j * (PROFILE - 1) * step * (x + y))
    return jnp.fft.irfft2(moved, (PROFILE, PROFILE))


def _half(radius: Float[Array, "pixel"], light: Float[Array, "pixel"]) -> Float[Array, ""]:
    """Radius within which half of the light is."""
    order = jnp.argsort(radius)
    return jnp.interp(0.5, jnp.cumsum(light[order]), radius[order])


def table(key: PRNGKeyArray, blend: Blend, n: int = DRAWS) -> Table:
    """A row for each source, in the order in which they came: x, y, flux_BAND, color_BAND_NEXT, half_light_radius, e_1, e_2,
    each with its `_err`, colors in magnitudes of the images' own units; and `point`, of which there is no size or shape."""
    draws = _draws(key, blend, n)
    groups = zip(blend.scene.groups, blend.fitted.point.members, draws.members, strict=True)
    best, each = (_in_order(blend, list(some)) for some in zip(*(_moved(g, m, d.u) for g, m, d in groups), strict=True))
    errors = Measured(*(np.sqrt(np.mean((a - b) ** 2, 0)) for a, b in zip(each, best, strict=True)))
    columns = {}
    for axis, name in enumerate("xy"):
        columns |= {name: best.position[:, axis], f"{name}_err": errors.position[:, axis]}
    for i, band in enumerate(blend.bands):
        columns |= {f"flux_{band}": best.flux[:, i], f"flux_{band}_err": errors.flux[:, i]}
    relative = each.flux / best.flux - 1.0
    for i, (blue, red) in enumerate(pairwise(blend.bands)):
        color = -2.5 * np.log10(best.flux[:, i] / best.flux[:, i + 1])
        scatter = np.sqrt(np.mean((relative[..., i] - relative[..., i + 1]) ** 2, 0))
        columns |= {f"color_{blue}_{red}": color, f"color_{blue}_{red}_err": 2.5 / np.log(10.0) * scatter}
    for name, label in (("radius", "half_light_radius"), ("e_1", "e_1"), ("e_2", "e_2")):
        columns |= {label: getattr(best, name), f"{label}_err": getattr(errors, name)}
    found = Table(columns)
    found["point"] = points(blend)
    for label in ("half_light_radius", "e_1", "e_2"):
        for name in (label, f"{label}_err"):
            found[name][found["point"]] = np.nan
    for name in ("x", "x_err", "y", "y_err", "half_light_radius", "half_light_radius_err"):
        found[name].unit = "pixel"
    return found


def _draws(key: PRNGKeyArray, blend: Blend, n: int) -> Point:
    """Scenes [draw, ...] about the most probable one: Laplace's, of galaxies that may be misjudged, or those of the learned prior."""
    scene = blend.scene, blend.fitted.point
    if blend.denoiser is not None:
        return annealed.sample(key, *scene, blend.seen, blend.free, blend.denoiser, n)
    light = [_galaxies(blend, i) for i in range(len(blend.seen))]
    doubted = tuple(exposure.doubted(one, each.sum(0), PIXEL_ERROR) for one, each in zip(blend.seen, light, strict=True))
    return laplace.sample(key, *scene, doubted, blend.free, n, misjudged(light, blend.seen), PROFILE_ERROR)


def _galaxies(blend: Blend, which: int) -> Float[np.ndarray, "place band y x"]:
    """What the exposure of that number shows in each place of a source that has a shape; of points, of which it is known, nothing."""
    seen, both = blend.seen[which], zip(blend.scene.groups, blend.fitted.point.members, strict=True)
    shown = [np.array(render.each_source(group, members, seen, blend.fitted.point.sights[which])) for group, members in both]
    for g, i in blend.order[points(blend)]:
        shown[g][i] = 0.0
    return np.concatenate(shown)


def points(blend: Blend) -> Bool[np.ndarray, "source"]:
    """Which sources are no wider than the PSF, and have no shape therefore."""
    return np.array([RADII[0] in blend.free[0][g] and float(blend.free[0][g][RADII[0]][i]) == 0.0 for g, i in blend.order])


def _in_order(blend: Blend, groups: list[Measured]) -> Measured:
    """Sources [..., source, ...] in the order in which they came; places that no source has are left out."""
    ends = np.cumsum([0, *(group.n for group in blend.scene.groups)])
    places = ends[blend.order[:, 0]] + blend.order[:, 1]
    axis = groups[0].radius.ndim - 1
    whole = (np.concatenate([np.asarray(x, np.float64) for x in leaves], axis) for leaves in zip(*groups, strict=True))
    return Measured(*(np.take(leaf, places, axis) for leaf in whole))
