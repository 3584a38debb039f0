"""From an image to its sources: what `slipher deblend` does, and `slipher.scene.deblend` from Python.

image --detect (or a catalogue)--> positions --blend--> scene --catalogue--> fluxes, places, shapes, with errors
"""

from dataclasses import dataclass

import jax
import numpy as np
from astropy.table import Table
from jaxtyping import Array, Bool, Float

from ..data.detections import Detections
from ..data.image import Cutout
from ..errors import Flag, InputError
from . import blend, catalogue, exposure, render
from .blend import Blend
from .detect import detect


@dataclass(frozen=True, eq=False, kw_only=True)
class Deblended:
    """A scene fitted to an image.

    Parameters
    ----------
    table
        A row for each source: `slipher.scene.catalogue.table` with id, ra and dec, magnitudes where the image has a zero point, its own
        chi^2 a pixel, and flags. Sources outside of the image have a row and no numbers.
    model, sources
        What the image shows of all of them with the background, and of each. float32 [band, y, x] and [source, band, y, x].
    converged
        Whether no step of the fit promised more.
    """

    image: Cutout
    table: Table
    model: Float[np.ndarray, "band y x"]
    sources: Float[np.ndarray, "source band y x"]
    converged: bool
    blend: Blend

    @property
    def residual(self) -> Float[np.ndarray, "band y x"]:
        """Image less model, zero where there are no data."""
        return np.where(self.image.ivar > 0, self.image.flux - self.model, 0.0)

    @property
    def chi2_per_pixel(self) -> float:
        """Of all pixels with information."""
        return float(np.sum(self.residual**2 * self.image.ivar) / np.sum(self.image.ivar > 0))


def deblend(image: Cutout, detections: Detections | None = None, *, seed: int = 0, draws: int = catalogue.DRAWS) -> Deblended:
    """Find the sources of an image, or take them from a table, and fit them all.

    Parameters
    ----------
    detections
        Their pixels, or coordinates where the image has some; found where left out.
    draws
        From which errors come.

    Raises
    ------
    InputError
        If nothing is found, or none of the detections is in the image.
    """
    ids, position = _found(image) if detections is None else _given(detections, image)
    inside = _inside(position, image)
    if not inside.any():
        raise InputError(
            f"{image.id}: none of {len(position)} sources is in the image", expected="positions in its pixels", mend="Check x and y."
        )
    made = blend.take_apart(image, position[inside])
    table = catalogue.table(jax.random.key(seed), made, image.bands, draws)
    each = _each(made)
    background = np.asarray(made.fitted.point.sights[0].background)[:, None, None]
    model = each.sum(0) + background
    table.add_column(_chi2_of_each(each, model, image), name="chi2_per_pixel")
    whole = _complete(table, ids, position, inside, image)
    whole.meta = {"image": image.id, "source": image.source, "sha256": image.checksum, "seed": seed, "draws": draws}
    return Deblended(
        image=image, table=whole, model=model.astype(np.float32), sources=each.astype(np.float32), blend=made,
        converged=bool(made.fitted.converged),
    )  # fmt: skip


# --- positions -------------------------------------------------------------------------------------------------------


def _found(image: Cutout) -> tuple[list[str], Float[np.ndarray, "source 2"]]:
    position = detect(*(np.asarray(x, np.float64) for x in (image.flux, image.ivar, image.psf))).position
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


def _inside(position: Float[np.ndarray, "source 2"], image: Cutout) -> Bool[np.ndarray, "source"]:
    rows, columns = image.flux.shape[1:]
    return np.all((position > -0.5) & (position < np.array([columns, rows]) - 0.5), axis=1)


# --- what is told ----------------------------------------------------------------------------------------------------


def _each(made: Blend) -> Float[np.ndarray, "source band y x"]:
    """What the exposure shows of each source, in their order."""
    seen = made.seen
    q, shift = exposure.frequencies(seen), made.fitted.point.sights[0].shift
    groups = []
    for group, members in zip(made.scene.groups, made.fitted.point.members, strict=True):

        def one(start, u: dict[str, Array], source=group.source) -> Array:
            return exposure.image(seen, render.one_source(source, start, u, seen, q, shift) * seen.psf)

        groups.append(np.asarray(jax.jit(jax.vmap(one))(*members)))
    return np.stack([groups[g][i] for g, i in made.order])


def _chi2_of_each(each: np.ndarray, model: np.ndarray, image: Cutout) -> Float[np.ndarray, "source"]:
    """chi^2 a pixel of the pixels of which a source is the brightest part, and above the noise."""
    brightest = each.sum(1).argmax(0)
    chi2 = (image.flux - model) ** 2 * image.ivar
    out = np.full(len(each), np.nan)
    for i, one in enumerate(each):
        own = (brightest == i) & (image.ivar > 0) & (one * np.sqrt(image.ivar) > 1.0)
        out[i] = chi2[own].mean() if own.any() else np.nan
    return out


def _complete(table: Table, ids: list[str], position: np.ndarray, inside: np.ndarray, image: Cutout) -> Table:
    """With coordinates, magnitudes and flags, and rows for what could not be fitted."""
    out, where = Table({"id": ids}), np.flatnonzero(inside)
    for name in table.colnames:
        column = np.full(len(ids), np.nan)
        column[where] = table[name]
        out[name] = column
        out[name].unit = table[name].unit
    if image.wcs is not None:
        ra, dec = image.wcs.pixel_to_world_values(out["x"], out["y"])
        out.add_columns([ra, dec], names=["ra", "dec"], indexes=[1, 1])
        out["ra"].unit = out["dec"].unit = "deg"
    if image.zero_point is not None:
        for band, zero in zip(image.bands, image.zero_point, strict=True):
            with np.errstate(invalid="ignore"):
                out[f"mag_{band}"] = zero - 2.5 * np.log10(out[f"flux_{band}"])
                out[f"mag_{band}_err"] = 2.5 / np.log(10) * out[f"flux_{band}_err"] / out[f"flux_{band}"]
    out["flags"] = np.where(inside, int(image.flags), int(image.flags | Flag.OUTSIDE_IMAGE))
    return out
