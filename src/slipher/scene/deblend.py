"""From an image to its sources: what `slipher deblend` does, and `slipher.deblend` from Python (`slipher.models.deblended`).

image --detect (or a catalogue)--> positions --blend--> scene --catalogue--> fluxes, places, shapes, with errors
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Float

from ..data.detections import Detections
from ..data.image import Cutout
from ..data.one_sky import of_one_sky
from ..errors import Flag, InputError
from ..programs import make_room
from . import blend, catalogue, exposure, hallucination, render
from .annealed import Denoiser
from .blend import Blend
from .detect import detect, gathered
from .hallucination import Score
from .layout import TEXTURE
from .learned_blend import LEARNED, learned_blend

POOR = 2.0  # chi^2 a pixel of a source's own, from which it is no such source
SEEN = 0.01  # of a source's light on pixels with information, below which an image says nothing of its flux
MOSTLY = 0.5  # of the light where a source is, from which others' make it blended
CUT_OFF = 0.1  # of a source's light, from which what is outside the image makes it truncated, and what no pixel shows masked

Shares = Float[np.ndarray, "source band"]


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What one image shows of a scene: of all sources with the background, and of each. float32 [band, y, x] and [source, band, y, x]."""

    image: Cutout
    model: Float[np.ndarray, "band y x"]
    sources: Float[np.ndarray, "source band y x"]

    @property
    def residual(self) -> Float[np.ndarray, "band y x"]:
        """Image less model, zero where there are no data."""
        return np.where(self.image.ivar > 0, self.image.flux - self.model, 0.0)

    @property
    def chi2_per_pixel(self) -> float:
        """Of all pixels with information."""
        return float(np.sum(self.residual**2 * self.image.ivar) / np.sum(self.image.ivar > 0))


@dataclass(frozen=True, eq=False, kw_only=True)
class Deblended:
    """A scene fitted to images of one sky.

    Parameters
    ----------
    table
        A row for each source: `slipher.scene.catalogue.table` with id, ra and dec, magnitudes where the image has a zero point, its own
        chi^2 a pixel, `overlap`, the share of the light where it is that is others', weighted as its own is, and flags. Sources outside of
        the first image have a row and no numbers, and sources have no flux in bands of which no image shows them.
    views
        What each image shows of it; of others than the first the part that shows the first's sky.
    scores
        Of each fitted source that has texture what of it the images say and what the prior makes up (`slipher.scene.hallucination`); the
        table's `made_up` is the share of its light where the prior dominates.
    converged
        Whether no step of the fit promised more.
    """

    table: Table
    views: tuple[View, ...]
    scores: tuple[Score | None, ...]
    converged: bool
    blend: Blend

    @property
    def image(self) -> Cutout:
        """The first, of which the pixels are the frame."""
        return self.views[0].image

    @property
    def chi2_per_pixel(self) -> float:
        """Of all pixels with information."""
        pixels = [np.sum(view.image.ivar > 0) for view in self.views]
        return float(np.average([view.chi2_per_pixel for view in self.views], weights=pixels))


def deblend(
    images: Cutout | Sequence[Cutout], detections: Detections | None = None, *, seed: int = 0, draws: int = catalogue.DRAWS,
    astrometry: float = exposure.ASTROMETRY, denoiser: Denoiser | None = None,
) -> Deblended:  # fmt: skip
    """Find the sources of an image, or of several of one sky, or take them from a table, and fit them all.

    Parameters
    ----------
    images
        Several need coordinates; pixels of the catalogue are those of the first, beyond the edges of which nothing is fitted. Neighbours
        that share their pixels are bands of one image.
    detections
        Their pixels in the first image, or coordinates where it has some; found where left out.
    draws
        From which errors come.
    astrometry
        Of several images, by how many pixels of the first their coordinates may be off from its own, one sd.
    denoiser
        A learned prior of what galaxies look like (`slipher.scene.annealed`), under which bright ones are fitted once more.

    Raises
    ------
    InputError
        If nothing is found, none of the detections is in the image, coordinates of several are missing or show other skies, `astrometry`
        is negative, or there is less memory than so many sources on so many pixels take.
    """
    image, *others = of_one_sky((images,) if isinstance(images, Cutout) else tuple(images))
    images = (image, *(exposure.same_part(image, other) for other in others))
    ids, position = _found(images) if detections is None else _given(detections, image)
    inside = image.holds(position)
    if not inside.any():
        raise InputError(
            f"{image.id}: none of {len(position)} sources is in the image", expected="positions in its pixels", mend="Check x and y."
        )
    make_room()  # each layout compiles programs of its own
    made = blend.take_apart(images, position[inside], more=detections is None, astrometry=astrometry)
    if denoiser is not None:
        made = learned_blend(made, denoiser)
    later = made.position[inside.sum() :]
    ids, position = ids + [str(len(ids) + 1 + i) for i in range(len(later))], np.concatenate([position, later])
    inside = np.append(inside, np.ones(len(later), bool))
    table = catalogue.table(jax.random.key(seed), made, draws)
    views = tuple(_view(made, i, one) for i, one in enumerate(images))
    shown, seen = _shares(views, table, made.bands)
    _without_unseen(table, seen, made.bands)
    scores = _scores(made)
    table.add_column(_chi2_of_each(views), name="chi2_per_pixel")
    table.add_column(_overlap(views), name="overlap")
    table.add_column([np.nan if one is None else one.share for one in scores], name="made_up")
    whole = _complete(table, ids, position, inside, images)
    whole["flags"][np.flatnonzero(inside)[_outside(views, shown, seen, made.bands) > CUT_OFF]] |= int(Flag.TRUNCATED)
    whole["flags"][np.flatnonzero(inside)[_masked(shown, seen) > CUT_OFF]] |= int(Flag.MASKED)
    whole["flags"][np.asarray(whole["overlap"]) > MOSTLY] |= int(Flag.BLENDED)
    whole["flags"][np.asarray(whole["chi2_per_pixel"]) > POOR] |= int(Flag.POOR_FIT)
    whole["flags"][inside] |= 0 if made.fitted.converged else int(Flag.NOT_CONVERGED)
    whole.meta = {
        "images": [one.id for one in images], "source": [one.source for one in images], "sha256": [one.checksum for one in images],
        "seed": seed, "draws": draws, "prior": "profiles" if denoiser is None else "learned",
    }  # fmt: skip
    return Deblended(table=whole, views=views, scores=scores, converged=bool(made.fitted.converged), blend=made)


# --- positions -------------------------------------------------------------------------------------------------------


def _found(images: tuple[Cutout, ...]) -> tuple[list[str], Float[np.ndarray, "source 2"]]:
    """Sources of any of the images, in pixels of the first."""
    maps = [(np.eye(2), np.zeros(2)) if one is images[0] else exposure.affine(images[0], one) for one in images]
    there = [detect(*(np.asarray(x, np.float64) for x in (one.flux, one.ivar, one.psf))).position for one in images]
    position = gathered(there, images, maps, np.zeros((0, 2)))
    if not len(position):
        raise InputError("nothing is found", expected="a source of 5 sigma", mend="Give a catalogue of positions, or a deeper image.")
    return [str(i) for i in range(1, len(position) + 1)], position


def _given(detections: Detections, image: Cutout) -> tuple[list[str], Float[np.ndarray, "source 2"]]:
    """Identifiers and pixels of a user's rows."""
    if not detections.ids:
        raise InputError("an empty catalogue", expected="a row for each source", mend="Leave it out to have sources found.")
    if not detections.celestial:
        return list(detections.ids), detections.position
    if image.wcs is None:
        raise InputError(f"{image.id} without coordinates, sources by ra and dec", expected="a WCS, or x and y", mend="Give x and y.")
    return list(detections.ids), np.column_stack(image.wcs.world_to_pixel_values(*detections.position.T))


# --- what is told ----------------------------------------------------------------------------------------------------


def _view(made: Blend, which: int, image: Cutout) -> View:
    """What the exposure of that number shows, sources in their order."""
    seen, sight = made.seen[which], made.fitted.point.sights[which]
    both = zip(made.scene.groups, made.fitted.point.members, strict=True)
    groups = [np.asarray(render.each_source(group, members, seen, sight)) for group, members in both]
    each = np.stack([groups[g][i] for g, i in made.order])
    model = each.sum(0) + np.asarray(sight.background)[:, None, None]
    return View(image=image, model=model.astype(np.float32), sources=each)


def _scores(made: Blend) -> tuple[Score | None, ...]:
    """Of each source, where its texture is free."""
    groups = []
    for group, members, mask in zip(made.scene.groups, made.fitted.point.members, made.free[0], strict=True):
        pixels = next((mask[name] for name in (TEXTURE, LEARNED) if name in mask), jnp.zeros((group.n, 1, 1)))
        rough, sights = np.asarray(pixels).any((1, 2)), made.fitted.point.sights
        found = hallucination.of_group(group, members, made.seen, sights, made.denoiser) if rough.any() else [None] * group.n
        groups.append([one if free else None for one, free in zip(found, rough, strict=True)])
    return tuple(groups[g][i] for g, i in made.order)


def _chi2_of_each(views: tuple[View, ...]) -> Float[np.ndarray, "source"]:
    """chi^2 a pixel of the pixels of which a source is the brightest part, and above the noise."""
    total, pixels = np.zeros((2, len(views[0].sources)))
    for view in views:
        brightest = view.sources.sum(1).argmax(0)
        chi2, ivar = view.residual**2 * view.image.ivar, view.image.ivar
        for i, one in enumerate(view.sources):
            own = (brightest == i) & (ivar > 0) & (one * np.sqrt(ivar) > 1.0)
            total[i], pixels[i] = total[i] + chi2[own].sum(), pixels[i] + own.sum()
    return np.where(pixels > 0, total / np.maximum(pixels, 1), np.nan)


def _overlap(views: tuple[View, ...]) -> Float[np.ndarray, "source"]:
    """1 - <m, m> / <m, all sources>, <a, b> the sum of a b / variance: 0 where nothing else is, 1 where all else is brighter."""
    own, met = np.zeros((2, len(views[0].sources)))
    for view in views:
        weighed = view.sources * view.image.ivar
        own += np.einsum("sbyx,sbyx->s", weighed, view.sources)
        met += np.einsum("sbyx,byx->s", weighed, view.sources.sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(1.0 - own / met, 0.0, 1.0)


def _shares(views: tuple[View, ...], table: Table, bands: tuple[str, ...]) -> tuple[Shares, Shares]:
    """Of each source's light in each band, the share on pixels, and on pixels with information, of the image that shows most of it."""
    flux = np.stack([table[f"flux_{band}"] for band in bands], 1)
    shown, seen = np.zeros((2, *flux.shape))
    for view in views:
        places = [bands.index(band) for band in view.image.bands]
        for share, pixels in ((shown, np.ones_like(view.image.ivar)), (seen, view.image.ivar > 0)):
            here = np.einsum("sbyx,byx->sb", view.sources, pixels, dtype=np.float64) / flux[:, places]
            share[:, places] = np.maximum(share[:, places], here)
    return shown, seen


def _without_unseen(table: Table, seen: Shares, bands: tuple[str, ...]) -> None:
    """No numbers where they would be the prior's alone."""
    dark = seen < SEEN
    each = {f"flux_{band}": dark[:, i] for i, band in enumerate(bands)}
    each |= {f"color_{blue}_{red}": dark[:, i] | dark[:, i + 1] for i, (blue, red) in enumerate(pairwise(bands))}
    for name, unknown in each.items():
        for column in (name, f"{name}_err"):
            table[column][unknown] = np.nan


def _outside(views: tuple[View, ...], shown: Shares, seen: Shares, bands: tuple[str, ...]) -> Float[np.ndarray, "source"]:
    """The share of each source's light that an image's edge cuts off, in the band where it is the least; bands that nobody sees apart."""
    beyond = np.where(seen < SEEN, np.inf, 1.0 - shown)
    least = np.stack([beyond[:, [bands.index(band) for band in view.image.bands]].min(1) for view in views])
    return np.max(np.where(np.isfinite(least), least, 0.0), axis=0)


def _masked(shown: Shares, seen: Shares) -> Float[np.ndarray, "source"]:
    """The share of what pixels show of each source that is on those without information, in the band where it is the most."""
    return np.max(1.0 - seen / np.where(shown > 0, shown, np.inf), axis=1, where=shown > 0, initial=0.0)


def _complete(table: Table, ids: list[str], position: np.ndarray, inside: np.ndarray, images: tuple[Cutout, ...]) -> Table:
    """With coordinates, magnitudes and flags, and rows for what could not be fitted."""
    image, out, where = images[0], Table({"id": ids}), np.flatnonzero(inside)
    for name in [name for name in table.colnames if name != "point"]:
        column = np.full(len(ids), np.nan)
        column[where] = table[name]
        out[name] = column
        out[name].unit = table[name].unit
    if image.wcs is not None:
        ra, dec = image.wcs.pixel_to_world_values(out["x"], out["y"])
        out.add_columns([ra, dec], names=["ra", "dec"], indexes=[1, 1])
        out["ra"].unit = out["dec"].unit = "deg"
    known = [pair for one in reversed(images) if one.zero_point is not None for pair in zip(one.bands, one.zero_point, strict=True)]
    for band, zero in dict(known).items():
        with np.errstate(invalid="ignore"):
            out[f"mag_{band}"] = zero - 2.5 * np.log10(out[f"flux_{band}"])
            out[f"mag_{band}_err"] = 2.5 / np.log(10) * out[f"flux_{band}_err"] / out[f"flux_{band}"]
    noted = int(np.bitwise_or.reduce([int(one.flags) for one in images]))
    out["flags"] = np.where(inside, noted, noted | int(Flag.OUTSIDE_IMAGE))
    out["flags"][where[table["point"]]] |= int(Flag.UNRESOLVED)
    return out
