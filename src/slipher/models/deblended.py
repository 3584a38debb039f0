"""Stellar populations of deblended galaxies: a scene's fluxes as photometry, answered by `slipher.fit`.

    Deblended --photometry_of--> Catalogue --fit, a row at a time--> posteriors --columns_of--> columns for the scene's table

Nothing here fits: the door, the model and the diagnostics are those of any catalogue of photometry. What a band is called in an image says
nothing about its filter, which is declared. Fluxes are of whole sources above the atmosphere, in nanomaggies by the zero points; where a
source is not seen in a band they are those of a fit linear in the flux (`linear_fluxes`), as a scene's own cannot be zero.

What neighbours have taken of a source, or given it, they have in all bands: errors of its fluxes have a common part, which its colours
do not have. Fits take errors of bands to be independent. So `populations` takes the common part (`common_errors`) off what is fitted; a
factor of all fluxes is a factor of the mass, and is given back to masses and rates when they are known (`with_common_error`).

What this does not do: tell stars from galaxies. A star has an answer like any other source; that it is no galaxy shows in `novelty`,
`chi2_per_band` and the flags NOVEL and POOR_FIT, or does not show in few bands.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from astropy.table import Table
from jaxtyping import Float

from ..data.detections import Detections
from ..data.image import Cutout
from ..data.photometry import Catalogue
from ..data.photometry_checks import catalogue_from_arrays, curves_of
from ..data.photometry_units import ZERO_POINT_MAG
from ..errors import Flag, InputError
from ..grids.filters import FilterCurve
from ..inference.posterior import Posterior
from ..scene import deblend as scenes
from ..scene.catalogue import DRAWS
from ..scene.deblend import Deblended
from ..scene.exposure import ASTROMETRY
from . import shipped
from .answer import rng_of
from .fitting import fit
from .rows import PERCENTILES, columns_of

PRIORS = ("profiles", "learned")
QUANTITIES = ("redshift", "log_mstar", "log_sfr_100myr", "log_ssfr_100myr", "age_mw_gyr", "age_lw_gyr", "log_zstar", "a_v")
JUDGED = ("chi2_per_band", "novelty", "n_bands", "peak_sn")
RENAMED = {"status": "population_status", "flags": "population_flags"}  # a scene's table has flags of its own
HEAVIER = ("log(Msun)", "log(Msun / yr)")  # units of what a factor of all fluxes moves
UNSEEN = 3.0  # errors of a linear fit below which a flux is taken from it
Filters = Sequence[str | FilterCurve]
Redshifts = float | Float[np.ndarray, "source"] | None


def deblend(
    images: Cutout | Sequence[Cutout], detections: Detections | None = None, *, prior: str = "profiles", astrometry: float = ASTROMETRY,
    seed: int = 0, draws: int = DRAWS,
) -> Deblended:  # fmt: skip
    """Find the sources of an image, or of several of one sky, or take them from a table, and fit them all.

    Parameters
    ----------
    images
        Several need coordinates, and names for their bands; pixels of the catalogue are those of the first, and of the others what
        shows its sky is fitted. Neighbours that share their pixels are bands of one image.
    detections
        Their pixels in the first image, or coordinates where it has some; found where left out.
    prior
        What bright galaxies look like: "profiles" with texture, or, some times slower, as "learned" from simulated galaxies
        (`slipher.scene.annealed`).
    astrometry
        Of several images, by how many pixels of the first their coordinates may be off from its own, one sd: how far is fitted, with
        that for a prior. Faint images of few sources cannot tell; say what is known. With zero coordinates are exact.
    draws
        From which errors come.

    Raises
    ------
    InputError
        For another prior or an `astrometry` that is none; if nothing is found, none of the detections is in the image, or coordinates of
        several are missing or show other skies.
    """
    if prior not in PRIORS:
        raise InputError(f"the prior {prior!r}", expected=" or ".join(PRIORS), mend="Choose one of those.")
    denoiser = shipped.morphology().trained.denoiser if prior == "learned" else None
    return scenes.deblend(images, detections, seed=seed, draws=draws, astrometry=astrometry, denoiser=denoiser)


@dataclass(frozen=True, eq=False, kw_only=True)
class Populations:
    """Posteriors of a scene's sources.

    Parameters
    ----------
    photometry
        Their fluxes as the fit has seen them.
    posteriors
        One for each source, in the table's order; of sources without a usable flux all draws are NaN.
    table
        `id`, and of each of `QUANTITIES` the median and the 16th and 84th percentile (`NAME`, `NAME_p16`, `NAME_p84`; a redshift that was
        given has none); chi^2 a band, novelty, number of bands and S/N of the best; `population_status` and `population_flags`, the bits
        of `slipher.errors.Flag`. What is not known is NaN.
    """

    photometry: Catalogue
    posteriors: tuple[Posterior, ...]
    table: Table

    def joined(self, catalogue: Table) -> Table:
        """A scene's table with these columns behind its own.

        Raises
        ------
        InputError
            If its rows are not these sources in this order.
        """
        if list(catalogue["id"]) != list(self.table["id"]):
            raise InputError("a table of other sources", expected="that of the same scene", mend="Give `Deblended.table`.")
        whole = catalogue.copy()
        for name in self.table.colnames[1:]:
            whole[name] = self.table[name]
        return whole


def photometry_of(
    found: Deblended, filters: Filters, *, zero_point: Float[np.ndarray, "band"] | None = None, redshift: Redshifts = None,
    ebv: float | None = None, apart: bool = False,
) -> Catalogue:  # fmt: skip
    """The fluxes of a scene's sources, a row for each.

    Parameters
    ----------
    filters
        One for each band of the scene, in its order (`bands_of`): names of shipped filters, or curves.
    zero_point
        AB magnitude of a flux of one in each band, in place of the images'.
    redshift
        One for all, one for each source (NaN: not known), or None.
    ebv
        Galactic E(B-V).
    apart
        Whether errors are those of each band alone: without `common_errors`, which masses have to be given later.

    Raises
    ------
    InputError
        If there are not as many filters as bands, one is unknown, there is no zero point, or a redshift cannot be.
    """
    images = tuple(view.image for view in found.views)
    curves, unit = declared(images, filters, zero_point)
    flux, error = linear_fluxes(found, apart=common_errors(found) if apart else None)
    return catalogue_from_arrays(
        flux * unit, error * unit, bands=curves, unit="nanomaggy", redshift=redshift, ebv=ebv, id=[str(one) for one in found.table["id"]],
        survey="scene", source=" ".join(one.source for one in images), checksum=" ".join(one.checksum for one in images),
    )  # fmt: skip


def linear_fluxes(
    found: Deblended, *, apart: Float[np.ndarray, "source"] | None = None
) -> tuple[Float[np.ndarray, "source band"], Float[np.ndarray, "source band"]]:
    """Fluxes and errors of a scene's table, but where a source is not seen: there those of a fit that is linear in its flux.

    A scene's fluxes are positive, and near zero the errors of their logarithms say nothing: 0.002 +- 0.001 where pixels allow +- 1. For
    fluxes of less than `UNSEEN` errors the shape P is taken as it is, and f + sum(w P left) / sum(w P^2), which may be negative, has the
    error sum(w P^2)^-1/2. No error is smaller than that. What is common to all bands as fractions of the flux is kept `apart`.
    """
    bands = bands_of([view.image for view in found.views])
    flux, error = (np.column_stack([np.asarray(found.table[f"flux_{band}{kind}"], np.float64) for band in bands]) for kind in ("", "_err"))
    inside = np.flatnonzero(~(np.asarray(found.table["flags"]) & int(Flag.OUTSIDE_IMAGE)).astype(bool))
    pull, bend = np.zeros((2, *flux.shape))
    for view in found.views:
        weighted, places = view.residual.astype(np.float64) * view.image.ivar, [bands.index(band) for band in view.image.bands]
        for row, shown in zip(inside, view.sources.astype(np.float64), strict=True):
            known = flux[row, places]
            shape = shown / np.where(known > 0, known, np.inf)[:, None, None]
            pull[row, places] += np.sum(shape * weighted, (1, 2))
            bend[row, places] += np.sum(shape**2 * view.image.ivar, (1, 2))
    least = np.where(bend > 0, bend, np.inf) ** -0.5
    unseen = (bend > 0) & (flux < UNSEEN * least)
    if apart is not None:
        error = np.sqrt(np.maximum(error**2 - (apart[:, None] * flux) ** 2, 0.0))
    return np.where(unseen, flux + pull * least**2, flux), np.where(unseen, least, np.maximum(error, least))


def common_errors(found: Deblended) -> Float[np.ndarray, "source"]:
    """By what fraction all fluxes of a source may be off together: no more than any two neighbouring bands have in common.

    The variance of a colour is that of two fluxes less twice their covariance: c = (s_1^2 + s_2^2 - (0.4 ln 10 s_colour)^2) / 2, all of
    them fractions. Bands in which a source is not seen (`UNSEEN`) do not count; zero where there are no two.
    """
    bands = bands_of([view.image for view in found.views])
    least = np.full(len(found.table), np.inf)
    for blue, red in pairwise(bands):
        if f"color_{blue}_{red}_err" not in found.table.colnames:
            continue
        colour = 0.4 * np.log(10.0) * np.asarray(found.table[f"color_{blue}_{red}_err"], np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (np.asarray(found.table[f"flux_{b}_err"] / found.table[f"flux_{b}"], np.float64) for b in (blue, red))
        seen = np.maximum(one, other) < 1.0 / UNSEEN
        least = np.where(seen, np.minimum(least, 0.5 * (one**2 + other**2 - colour**2)), least)
        least = np.where(seen, np.minimum(least, np.minimum(one, other) ** 2), least)
    return np.sqrt(np.maximum(np.where(np.isfinite(least), least, 0.0), 0.0))


def with_common_error(found: Posterior, fraction: float, seed: int) -> Posterior:
    """A posterior whose masses, rates and line fluxes are off by a factor besides, ln of it N(0, fraction^2), a new one for each draw.

    Exact as long as the prior of the mass hardly changes over such a factor: colours say nothing of it.
    """
    if not fraction > 0:
        return found
    factor = np.exp(fraction * rng_of(seed, f"{found.id}: common error").standard_normal(found.n_draws))

    def moved(quantities: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        heavier = {name: draws + np.log10(factor) for name, draws in quantities.items() if found.units.get(name) in HEAVIER}
        return quantities | heavier | {name: draws * factor for name, draws in quantities.items() if name.startswith("flux_")}

    return replace(
        found, samples=moved(found.samples), derived=moved(found.derived), history_sfr=found.history_sfr * factor[:, None],
        provenance=found.provenance | {"common_error": float(fraction)},
    )  # fmt: skip


def bands_of(images: Sequence[Cutout]) -> tuple[str, ...]:
    """Of a scene: those of the first image, then what others have besides."""
    return tuple(dict.fromkeys(band for image in images for band in image.bands))


def declared(
    images: Sequence[Cutout], filters: Filters, zero_point: Float[np.ndarray, "band"] | None = None
) -> tuple[tuple[FilterCurve, ...], Float[np.ndarray, "band"]]:
    """The curves of a scene's bands, and nanomaggies of a flux of one in each; arguments and errors as of `photometry_of`."""
    bands = bands_of(images)
    if isinstance(filters, str) or len(filters) != len(bands):
        came = f"filters {filters!r} for the bands {', '.join(bands)}"
        raise InputError(came, expected="one for each, in their order", mend="Name them: hsc2017-g,hsc2017-r, ...")
    with_zero = [image for image in reversed(images) if image.zero_point is not None]  # of several with a band the first counts
    known = {band: zero for image in with_zero for band, zero in zip(image.bands, image.zero_point, strict=True)}
    missing = [band for band in bands if band not in known]
    if zero_point is None and missing:
        mend = "Declare them: zero_point=27 of an image, --zero-point 27."
        raise InputError(f"no zero points of {', '.join(missing)}", expected="AB magnitudes of a flux of one", mend=mend)
    zero_point = np.array([known[band] for band in bands]) if zero_point is None else zero_point
    return curves_of(filters), np.broadcast_to(10 ** (0.4 * (ZERO_POINT_MAG - zero_point)), len(bands))


def populations(
    found: Deblended, filters: Filters, *, zero_point: Float[np.ndarray, "band"] | None = None, redshift: Redshifts = None,
    ebv: float | None = None, model: str = "photometry", samples: int = 1000, sampler: str = "refined", seed: int = 0,
    progress: Callable[[int, int, dict], None] | None = None,
) -> Populations:  # fmt: skip
    """Posteriors of the stellar populations of a scene's sources, each as `slipher.fit` of its photometry.

    Parameters
    ----------
    filters, zero_point, redshift, ebv
        As in `photometry_of`.
    model, samples, sampler, seed
        As in `slipher.fit`.
    progress
        Called with the number of sources done, of all, and nothing else.

    Raises
    ------
    InputError
        As `photometry_of` and `slipher.fit`.
    """
    catalogue = photometry_of(found, filters, zero_point=zero_point, redshift=redshift, ebv=ebv, apart=True)
    posteriors = []
    for row, fraction in zip(catalogue, common_errors(found), strict=True):
        posteriors.append(with_common_error(fit(row, model=model, samples=samples, sampler=sampler, seed=seed), float(fraction), seed))
        if progress is not None:
            progress(len(posteriors), len(catalogue), {})
    return Populations(photometry=catalogue, posteriors=tuple(posteriors), table=summary(posteriors))


def summary(posteriors: Sequence[Posterior]) -> Table:
    """The table of `Populations`: a row for each posterior."""
    rows = [columns_of(posterior) for posterior in posteriors]
    wanted = [name + suffix for name in QUANTITIES for suffix in PERCENTILES]
    columns = {"id": [row["id"] for row in rows]}
    columns |= {name: np.array([row.get(name, np.nan) for row in rows], np.float64) for name in (*wanted, *JUDGED)}
    columns |= {new: [row[old] for row in rows] for old, new in RENAMED.items()}
    table = Table(columns)
    table["n_bands"] = table["n_bands"].astype(int)
    for name in QUANTITIES:
        for suffix in PERCENTILES:
            table[name + suffix].unit = posteriors[0].units.get(name) or None if posteriors else None
    return table
