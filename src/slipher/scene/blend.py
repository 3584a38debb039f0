r"""A blend taken apart: from images and positions to a fitted scene, in two steps.

First every source is two smooth profiles, and images are believed to no better than a tenth of their brightness, for no profiles are: what
belongs to whom is found while nothing can be explained by pixels. What is left over then shows sources that nobody had found. In the second
step those that are bright enough to show any get texture, and images count in full. Both are one scene of one layout, so that it is
compiled once: what is not free in a step is held, and there is room for a few sources more than there are.

The two lights of a bright source have a colour each: a galaxy's middle is redder than what is about it, and with one colour it would take
from its neighbours what it lacks. Sources that are no wider than the PSF are points.

Several images of one sky are fitted together: positions are those of the first, and by how much others are off is free, as is how much
the bands of each are.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy import ndimage

from .. import programs
from ..data.image import Cutout
from ..errors import InputError
from . import exposure, fit, layout, normal
from .annealed import Denoiser
from .detect import detect, full_width, gathered
from .exposure import Exposure
from .fit import Fitted
from .layout import RADII, TEXTURE, Layout
from .render import Members, Point, Scene, Sight, values_of
from .starts import Starts, starts

UNRESOLVED = 0.12  # half-light radius over the PSF's width up to which a source is a point
POINT = 0.02  # pixels, the radius of one
MODEL_ERROR = 0.1  # of the brightness, while sources are smooth
BELIEVED = 0.3  # of the weight, at least, where sources are looked for in what is left over
APART = 0.7  # of the PSF's width, between sources and what is found between them
SHAPES = ("log_radius", "shear_1", "shear_2", "log_index")


class Blend(NamedTuple):
    """A fitted scene, the exposures that it was fitted to, and which of its numbers its errors know to be free.

    `position` are those where sources started, in pixels of the first image, `order[i]` the group and place of source i, and `bands` the
    scene's. Groups may have places that no source has: they are dark. `denoiser` is the learned prior of its pixels, if it has one.
    """

    scene: Scene
    fitted: Fitted
    seen: tuple[Exposure, ...]
    free: normal.Free
    position: Float[np.ndarray, "source 2"]
    order: Int[np.ndarray, "source 2"]
    bands: tuple[str, ...]
    denoiser: Denoiser | None = None


def take_apart(
    images: tuple[Cutout, ...], position: Float[np.ndarray, "source 2"], *, more: bool = False, astrometry: float = exposure.ASTROMETRY
) -> Blend:
    """The scene of sources at these positions of the first image; with `more`, also of those that only what is left over shows.

    Raises
    ------
    InputError
        If there is less memory than a scene of so many takes.
    """
    bands = tuple(dict.fromkeys(band for image in images for band in image.bands))
    seen = tuple(exposure.of_cutout(image, images[0], bands, astrometry=astrometry) for image in images)
    made, each, first = _smooth(images, seen, bands, position)
    missed = _missed(images, seen, made, each, first, position) if more else position[:0]
    if len(missed):
        position = np.concatenate([position, missed])
        made, each, first = _smooth(images, seen, bands, position)
    point, free = _settled(images, made, first.point)
    # Texture about a shape that moves is far from linear: shapes of bright sources rest while it is found. They are free again in errors.
    resting = _closed(free, made, lambda name, rough: (name.rpartition(".")[2] in SHAPES) & rough)
    return Blend(made.scene, fit.fit(made.scene, point, seen, resting), seen, free, position, made.order, bands)


# --- the first step --------------------------------------------------------------------------------------------------


def _smooth(
    images: tuple[Cutout, ...], seen: tuple[Exposure, ...], bands: tuple[str, ...], position: Float[np.ndarray, "source 2"]
) -> tuple[Layout, list[Starts], Fitted]:
    each = [starts(image, position @ np.asarray(one.jacobian).T + np.asarray(one.origin)) for image, one in zip(images, seen, strict=True)]
    made = layout.layout(each, seen, position, len(bands))
    sights = tuple(Sight(jnp.zeros((len(s.background), 2)), jnp.asarray(s.background, jnp.float32)) for s in each)
    point = Point(made.members, sights)
    _affordable(point, seen, len(position))
    free = _closed(
        normal.opened(point, sources=lambda name: name != TEXTURE), made, lambda name, rough: name.startswith("light_1") & ~rough
    )
    believed = tuple(_believed(one, s) for one, s in zip(seen, each, strict=True))
    return made, each, fit.fit(made.scene, point, believed, free)


def _affordable(point: Point, seen: tuple[Exposure, ...], n: int) -> None:
    """Raises InputError if the machine has not the memory that a fit takes, for systems end such processes without a word."""
    need, there = normal.memory(point, seen), programs.memory()
    if need > there:
        bands, height, width = max((one.flux.shape for one in seen), key=np.prod)
        raise InputError(
            f"{n} sources on {width} x {height} pixels in {bands} bands, as one scene of {need / 1e9:.1f} GB",
            expected=f"no more than the {there / 1e9:.1f} GB of memory here", mend="Cut the image into pieces that overlap.",
        )  # fmt: skip


def _believed(seen: Exposure, like: Starts) -> Exposure:
    """An exposure with errors of no less than `MODEL_ERROR` of its brightness."""
    dark = np.asarray(seen.flux) - like.background[:, None, None]
    return exposure.doubted(seen, ndimage.gaussian_filter(dark, (0, 1, 1)), MODEL_ERROR)


def _missed(
    images: tuple[Cutout, ...], seen: tuple[Exposure, ...], made: Layout, each: list[Starts], first: Fitted,
    position: Float[np.ndarray, "source 2"],
) -> Float[np.ndarray, "missed 2"]:  # fmt: skip
    """Sources in what smooth profiles leave of any image, where it is not so bright that they may be the profiles' fault."""
    there, maps = [], []
    for image, one, like, rest in zip(images, seen, each, normal.residuals(made.scene, first.point, seen), strict=True):
        ivar = np.asarray(_believed(one, like).ivar, np.float64)
        ivar = np.where(ivar > BELIEVED * np.asarray(image.ivar), ivar, 0.0)
        found = detect(np.asarray(rest, np.float64), ivar, np.asarray(image.psf, np.float64)).position
        column, row = np.clip(np.rint(found).astype(int), 0, np.array(ivar.shape[:0:-1]) - 1).T
        there.append(found[(ivar[:, row, column] > 0).any(0)])
        maps.append((np.asarray(one.jacobian, np.float64), np.asarray(one.origin, np.float64)))
    return gathered(there, images, maps, position, APART)[len(position) :]


# --- the second step -------------------------------------------------------------------------------------------------


def _settled(images: tuple[Cutout, ...], made: Layout, point: Point) -> tuple[Point, normal.Free]:
    """Where the second step begins and what is free in it: of points neither shapes nor texture, of faint sources no texture."""
    width = full_width(images[0].psf)
    groups, members = [], []
    free = _closed(
        normal.opened(point), made, lambda name, rough: (name == TEXTURE or name.startswith("light_1")) & ~rough
    )  # fmt: skip
    for group, mask, some in zip(made.scene.groups, free[0], point.members, strict=True):
        values = jax.vmap(lambda start, u, source=group.source: values_of(source, start, u))(*some)
        fluxes = jax.vmap(lambda v, start, source=group.source: source.fluxes(v, start))(values, some.start)
        share = np.asarray(fluxes.sum(-1) / fluxes.sum((-2, -1))[:, None])
        radius = np.stack([np.exp(np.asarray(values[name])) for name in RADII[: share.shape[1]]], 1)
        points = np.sum(share * radius, 1) < UNRESOLVED * width
        groups.append({name: jnp.where(_like(points & _shaped(name), leaf), 0.0, leaf) for name, leaf in mask.items()})
        members.append(_as_points(some, points, fluxes))
    return point._replace(members=tuple(members)), (groups, free[1])


def _shaped(name: str) -> bool:
    """Whether a parameter is none of a point."""
    return name == TEXTURE or name.startswith("light_1") or name.rpartition(".")[2] in SHAPES


def _as_points(members: Members, points: Bool[np.ndarray, "source"], fluxes: Float[Array, "source light band"]) -> Members:
    """Sources of which those that are points have all their flux in one light as small as can be."""
    start, u = members
    whole = jnp.zeros_like(fluxes).at[:, 0].set(fluxes.sum(1))
    about = start.about | {RADII[0]: jnp.where(points, np.log(POINT) - layout.MIDDLE, start.about[RADII[0]])}
    flux = jnp.where(points[:, None, None], whole, start.flux)
    reset = {name: jnp.where(_like(points & (_shaped(name) | name.endswith("log_flux")), leaf), 0.0, leaf) for name, leaf in u.items()}
    return Members(start._replace(flux=flux, about=about), reset)


def _closed(free: normal.Free, made: Layout, held: Callable[[str, np.ndarray], np.ndarray]) -> normal.Free:
    """A mask without what `held(name, bright)` says, and without places that no source has."""
    groups = []
    for mask, bright, taken in zip(free[0], made.bright, made.taken, strict=True):
        groups.append({name: jnp.where(_like(held(name, bright) | ~taken, leaf), 0.0, leaf) for name, leaf in mask.items()})
    return groups, free[1]


def _like(some: Bool[np.ndarray, "source"], leaf: Float[Array, "source *rest"]) -> Bool[np.ndarray, "..."]:
    """Of sources, in the shape of a parameter of theirs."""
    return np.asarray(some).reshape(-1, *(1,) * (leaf.ndim - 1))
