"""From one galaxy's checked photometry to its posterior: what `slipher.fit` does with a `Photometry`.

    Photometry --observe--> bands --network--> draws --refine--> draws --finish--> Posterior

The same steps as for a spectrum (`spectra`), with the photometer for the spectrograph. Where no redshift is given it is the first
parameter; where one is given, the network's second part alone proposes.
"""

import time
from functools import lru_cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..batches import in_batches
from ..data.photometry import Catalogue, Photometry
from ..errors import Flag
from ..grids.filters import FilterCurve
from ..grids.library import BroadLibrary
from ..inference import methods
from ..inference import refine as refinement
from ..inference.photometric import BATCH, Assumed, Bands, PhotometricTarget, at_point, named
from ..inference.posterior import Posterior
from ..inference.prediction import Prediction
from ..instrument import photometer
from ..networks import bands as bands_
from ..networks.photometric_flow import PhotometricFlow
from ..physics import cosmology, derived
from ..physics.abundance import RedshiftRange
from . import answer, novelty
from .shipped import ShippedPhotometry

POOR = 3.0  # chi^2 a band beyond which a fit is poor, for models whose card has no limit
FURTHEST = 4.0  # u of a redshift that the network is told: beyond are a ten-thousandth of its simulations
Rows = np.ndarray  # [row, band], or of one galaxy [band]
LIMIT_SHARE = 0.5  # of an upper limit, which the network reads as a measurement of half of it with an error as large


def fit(photometry: Photometry, made: ShippedPhotometry, name: str, samples: int, sampler: str, seed: int) -> Posterior:
    """`slipher.fit` of photometry by the model called `name`; without a single band all draws are NaN, and flagged."""
    began = time.perf_counter()
    data = observe(photometry, made)
    rng = answer.rng_of(seed, photometry.id)
    density, flow = target(data, made), warp(data, made)
    seen = bool((photometry.ivar > 0).any())
    result = methods.draw(sampler if seen else "amortised", rng, density, flow, samples)
    finished = finish(rng, result.u, density)
    if not seen:
        finished = jax.tree.map(lambda x: np.full_like(x, np.nan), finished)
    return _posterior(photometry, name, made, data, result, finished, sampler, seed, time.perf_counter() - began)


class ObservedBands(NamedTuple):
    """Photometry ready for the likelihood and for the network."""

    task: Bands
    features: Float[Array, "feature"]
    smooth: bands_.Smooth
    known: bool
    flags: Flag


def observe(photometry: Photometry, made: ShippedPhotometry) -> ObservedBands:
    """Prepare photometry; bands that carry no information keep their place."""
    camera, weights = optics(photometry.bands)
    known = photometry.redshift is not None
    low, high = made.recipe.population.redshift
    task = Bands(
        camera,
        jnp.asarray(photometry.flux, jnp.float32),
        jnp.asarray(photometry.ivar, jnp.float32),
        jnp.asarray(photometry.censored) if photometry.censored.any() else None,
        jnp.float32(max(photometry.redshift, low) if known else 0.0),
        jnp.float32(photometry.ebv or 0.0),
    )
    smooth, features = _seen(task, weights, made.trained.prior)
    outside = known and not low <= photometry.redshift <= high
    flags = (Flag.EBV_ASSUMED_ZERO if photometry.ebv is None else Flag(0)) | (Flag.REDSHIFT_OUTSIDE_MODEL if outside else Flag(0))
    return ObservedBands(task, features, smooth, known, flags)


@lru_cache(maxsize=64)
def optics(bands: tuple[FilterCurve, ...]) -> tuple[photometer.Photometer, Array]:
    """The photometer of these bands, and how they weigh the network's nodes."""
    return photometer.photometer(bands), jnp.asarray(bands_.weights_of(bands), jnp.float32)


def seen(task: Bands, weights: Float[Array, "band node"], prior: bands_.NodePrior) -> tuple[bands_.Smooth, Array]:
    """The smooth spectrum behind the bands, Galactic dust taken off, and what the network reads of it."""
    through = photometer.pivot_transmission(task.photometer, task.ebv)
    flux, ivar = task.flux, task.ivar
    if task.censored is not None:
        limit = 1.0 / jnp.maximum(task.flux, 1e-12) ** 2
        flux, ivar = jnp.where(task.censored, LIMIT_SHARE * flux, flux), jnp.where(task.censored & (ivar > 0), limit, ivar)
    found = bands_.smooth(flux / through, ivar * through**2, weights, prior)
    return found, bands_.features(found)


_seen = jax.jit(seen)


def target(data: ObservedBands, made: ShippedPhotometry) -> PhotometricTarget:
    """The exact posterior density."""
    assumed = made.recipe.assumed
    return PhotometricTarget(data.task, made.library, assumed._replace(redshift=None) if data.known else assumed)


def warp(data: ObservedBands, made: ShippedPhotometry) -> refinement.Warp:
    """The flow at this galaxy's features: of redshift and galaxy, or of the galaxy at its redshift."""
    network = made.trained.network
    if not data.known:
        return refinement.Warp(network, data.features)
    return refinement.Warp(network.galaxy, _context_at(network, data.features, data.task.redshift, made.recipe.assumed.redshift))


def context_at(network: PhotometricFlow, features: Array, redshift: Array, redshifts: RedshiftRange) -> Array:
    """What the galaxy's flow is told of photometry at a known redshift."""
    return network.galaxy_context(features, jnp.clip(redshifts.to_normal(redshift), -FURTHEST, FURTHEST))


_context_at = eqx.filter_jit(context_at)


class Finished(NamedTuple):
    """Draws with their masses and redshifts, derived quantities, and fluxes predicted in the bands: of one draw, or [draw, ...] of many."""

    values: dict[str, Any]
    quantities: dict[str, Any]
    redshift: Any
    sfr: Any
    chi2: Any
    log_density: Any
    flux: Any
    sigma: Any


def finish(rng: np.random.Generator, u: Float[np.ndarray, "draw parameter"], target: PhotometricTarget) -> Finished:
    """Draw masses given each u, and derive what astronomers quote."""
    uniform = rng.random(len(u)).astype(np.float32)
    colours = photometer.rest_bands(answer.REST_BANDS, target.library)
    found = in_batches(lambda *some: _finish(*some, colours, *target), BATCH, u.astype(np.float32), uniform)
    return jax.tree.map(lambda x: x.astype(np.float64), found)


@partial(jax.jit, static_argnames="assumed")
def _finish(u: Array, uniform: Array, colours: derived.RestBands, task: Bands, library: BroadLibrary, assumed: Assumed) -> Finished:
    return jax.vmap(lambda point, number: finish_point(point, number, colours, task, library, assumed))(u, uniform)


def finish_point(
    u: Float[Array, "parameter"], uniform: Array, colours: derived.RestBands, task: Bands, library: BroadLibrary, assumed: Assumed
) -> Finished:
    """One draw: its mass by a uniform number, and what follows."""
    model, draw = assumed.model, at_point(u, uniform, task, library, assumed)
    redshift, values = named(u, task, assumed)
    scale = 10 ** (draw.log_mass - photometer.LOG_MASS_UNIT) * photometer.flux_of_luminosity(redshift)
    made = derived.derive_from_sed(
        model, model.complete(values), draw.light, draw.log_mass, scale, cosmology.age_gyr(redshift), colours, library.light
    )
    free = {} if assumed.redshift is None else {"redshift": redshift}
    samples = free | values | {model.parameters[-1].name: draw.log_mass}
    return Finished(samples, made.quantities, redshift, made.sfr, draw.chi2, draw.log_posterior, draw.flux, draw.sigma)


def prediction(photometry: Photometry, flux: Float[np.ndarray, "draw band"], sigma: Float[np.ndarray, "draw band"]) -> Prediction:
    """Observed and predicted fluxes in nanomaggies, band by band, from those of all draws and their total errors."""
    noise = 1.0 / np.where(photometry.ivar > 0, photometry.ivar, 1.0)
    some = answer.shown(len(flux))
    return Prediction(
        wave_aa=np.array([band.pivot_aa for band in photometry.bands]),
        flux=photometry.flux,
        ivar=photometry.ivar,
        draws=flux[some].astype(np.float32),
        sigma_model=np.sqrt(np.maximum(np.median(sigma, 0).astype(np.float64) ** 2 - noise, 0.0)),
        bands=tuple(band.name for band in photometry.bands),
    )


def peak_sn(flux: Rows, ivar: Rows, censored: Rows) -> Float[np.ndarray, "*row"]:
    """The best band's signal-to-noise ratio; NaN without one."""
    sn = np.where((ivar > 0) & ~censored, flux * np.sqrt(ivar), -np.inf).max(axis=-1)
    return np.where(np.isfinite(sn), sn, np.nan)


def strangeness(sn: np.ndarray, smooth: bands_.Smooth, made: ShippedPhotometry) -> Float[np.ndarray, "*row"]:
    """Novelty: how far from smooth the bands are, compared with simulations of the same S/N; NaN without a positive S/N."""
    n, chi2 = np.asarray(smooth.n_bands, np.float64), np.asarray(smooth.chi2, np.float64)
    usable = (n > 0) & (sn > 0)
    score = novelty.score_of(chi2 / np.maximum(n, 1.0), np.log(np.where(usable, sn, 1.0)), made.card)
    return np.where(usable, score, np.nan)


class Verdict(NamedTuple):
    """What one looks at before believing an answer, of each galaxy [row]; NaN where there is nothing to judge by. `flags` are bits."""

    chi2_per_band: np.ndarray
    novelty: np.ndarray
    peak_sn: np.ndarray
    flags: np.ndarray


def verdict(photometry: Photometry | Catalogue, smooth: bands_.Smooth, chi2: np.ndarray, made: ShippedPhotometry) -> Verdict:
    """Diagnostics of fits with these chi^2, and the flags that follow. What is not a number is not within its limits."""
    measured = np.sum((photometry.ivar > 0) & ~photometry.censored, axis=-1)
    sn = peak_sn(photometry.flux, photometry.ivar, photometry.censored)
    chi2, strange = np.where(measured > 0, chi2 / np.maximum(measured, 1), np.nan), strangeness(sn, smooth, made)
    limits, population = made.card.get("limits", {}), made.recipe.population
    rules = {
        Flag.LOW_SN: ~(sn >= population.detected),
        Flag.HIGH_SN: sn > population.sn[1],
        Flag.NOVEL: ~((strange > answer.LEAST_NOVELTY) & (strange <= limits.get("novelty", 4.0))),
        Flag.POOR_FIT: (measured > 0) & ~(chi2 <= limits.get("chi2_per_band", POOR)),
    }
    return Verdict(chi2, strange, sn, sum(np.where(holds, int(flag), 0) for flag, holds in rules.items()))


def _posterior(photometry, name, made, data, result, finished, wanted, seed, seconds) -> Posterior:
    found = verdict(photometry, data.smooth, np.asarray(np.median(finished.chi2)), made)
    redshift = float(np.median(finished.redshift))
    edges = answer.history_edges(float(cosmology.age_gyr(jnp.float32(redshift))))
    return answer.posterior(
        photometry, name=name, model=made.recipe.preset.parameters, card=made.card, redshift=redshift,
        history_edges_gyr=edges, values=finished.values, quantities=finished.quantities, sfr=finished.sfr, log_density=finished.log_density,
        result=result, chi2=float(found.chi2_per_band), novelty=float(found.novelty), n_pixels=int((photometry.ivar > 0).sum()),
        median_sn=float(found.peak_sn), prediction=prediction(photometry, finished.flux, finished.sigma),
        flags=photometry.flags | data.flags | Flag(int(found.flags)), wanted=wanted, seed=seed, seconds=seconds,
    )  # fmt: skip
