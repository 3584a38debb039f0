"""From one checked spectrum to its posterior: what `slipher.fit` does with a `Spectrum`.

    Spectrum --observe--> data --network--> draws --refine--> draws --finish--> Posterior

`finish` draws what is linear (mass, line strengths) from its exact conditional and derives what astronomers quote. Random numbers follow
from (seed, id): the answer depends on nothing else that is fitted in the same run.
"""

import time
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..batches import in_batches
from ..data.observation import Spectrum
from ..errors import Flag
from ..inference import covariance, exact, methods
from ..inference import refine as refinement
from ..inference.covariance import Covariance
from ..inference.exact import Target
from ..inference.posterior import Posterior
from ..inference.prediction import Prediction
from ..instrument import simulate
from ..instrument.systematics import Systematics
from ..physics import cosmology, derived, parameters
from ..physics.galaxy import View
from ..units import FLUX_UNIT, LSUN_ERG_S, MPC_CM
from . import answer, novelty, observed
from .answer import raised, rest_frame, rng_of
from .observed import Observed
from .shipped import Shipped

HOPELESS = 10.0  # chi^2 per pixel of the network's draws beyond which the model does not hold and refinement would take long for nothing
DERIVED_BATCH = 100
POOR = 1.3  # chi^2 per pixel of a poor fit, where the model's card gives no other


def fit(spectrum: Spectrum, made: Shipped, name: str, samples: int, sampler: str, seed: int) -> Posterior:
    """`slipher.fit` of a spectrum by the model called `name`."""
    began = time.perf_counter()
    data = observed.observe(spectrum, made)
    return fit_to(spectrum, data, target(data, made), made, name, samples, sampler, seed, began)[0]


def fit_to(
    spectrum: Spectrum, data: Observed, density: Target, made: Shipped, name: str, samples: int, sampler: str, seed: int, began: float
) -> tuple[Posterior, Float[np.ndarray, "draw parameter"]]:
    """The posterior given prepared data and an exact density, and its draws of u; `began` by `time.perf_counter`."""
    rng, flow = rng_of(seed, spectrum.id), warp(data, made)
    result = methods.draw("amortised", rng, density, flow, samples)
    if sampler != "amortised" and _chi2_per_pixel(result.u[: exact.BATCH], density, data) < HOPELESS:
        result = methods.draw(sampler, rng, density, flow, samples)
    finished = finish(rng, result.u, density, data.redshift, data.norm)
    seconds = time.perf_counter() - began
    return posterior(spectrum, name, made, data, result, finished, density, sampler, seed, seconds), result.u


def _chi2_per_pixel(u: Float[np.ndarray, "draw parameter"], target: Target, data: Observed) -> float:
    """Median over some draws."""
    return float(np.median(exact.evaluate(u, target, lambda draw: draw.chi2))) / data.n_pixels


def _floor(ivar: Array, errors: Covariance) -> Float[np.ndarray, "pixel"]:
    """The independent error that the model allows itself beside the noise; zero where there are no data."""
    ivar, inverse = (np.asarray(x, np.float64) for x in (ivar, errors.inverse_sigma))
    seen = (ivar > 0) & (inverse > 0)
    return np.sqrt(np.maximum(np.where(seen, inverse, 1.0) ** -2 - np.where(seen, ivar, 1.0) ** -1, 0.0))


def target(data: Observed, made: Shipped, extra: Float[Array, "pixel template"] | None = None) -> Target:
    """The exact posterior density, its error model taken about the projected spectrum.

    `extra`: further templates of what the model may lack, in their standard deviations and the unit of the data.
    """
    if extra is None:
        extra = jnp.zeros((len(data.flux), 0))
    errors = _errors(data.view, data.ivar, *reference(data, made), extra, made.recipe.systematics)
    task = exact.Problem(data.view, errors, data.flux, data.t_universe_gyr)
    return Target(task, made.library, made.recipe.preset, made.recipe.systematics)


def warp(data: Observed, made: Shipped) -> refinement.Warp:
    """The flow at this galaxy's context."""
    network = made.trained.network
    return refinement.Warp(network, _context(network, data.features))


@eqx.filter_jit
def _context(network, features: Array) -> Array:
    return network.context(features)


def reference(data: Observed, made: Shipped) -> tuple[Float[Array, "pixel"], Float[Array, "pixel"]]:
    """Continuum and lines as the projection shows them, in the unit of the data."""
    return _reference(data.basis, data.projected.coefficients * data.projected.norm, made.trained.projection.n_continuum)


@partial(jax.jit, static_argnames="n_continuum")
def _reference(basis: Array, coefficients: Array, n_continuum: int) -> tuple[Array, Array]:
    return basis[:, :n_continuum] @ coefficients[:n_continuum], basis[:, n_continuum:] @ coefficients[n_continuum:]


@partial(jax.jit, static_argnames="systematics")
def _errors(view: View, ivar: Array, continuum: Array, lines: Array, extra: Array, systematics: Systematics) -> Covariance:
    covered = (ivar > 0).astype(jnp.float32)
    floor = simulate.floor_variance(systematics, view.wave_aa, continuum, lines)
    templates = covariance.templates(systematics, view, continuum, lines, covered)
    return covariance.covariance(ivar, floor, jnp.concatenate([templates, extra], 1))


class Finished(NamedTuple):
    """Draws with everything linear drawn, derived quantities, predictions."""

    values: dict[str, np.ndarray]
    quantities: dict[str, np.ndarray]
    sfr: Float[np.ndarray, "draw bin"]
    chi2: Float[np.ndarray, "draw"]
    log_density: Float[np.ndarray, "draw"]
    predicted: Float[np.ndarray, "k pixel"]


def finish(rng: np.random.Generator, u: Float[np.ndarray, "draw parameter"], target: Target, redshift: float, norm: float) -> Finished:
    """Draw masses and line strengths given each u, derive quantities, and predict the data for some of the draws.

    `norm` is the flux unit of the task in 1e-17 erg/s/cm2/A.
    """
    noise = rng.standard_normal((len(u), exact.n_linear(target)), np.float32)
    amplitude = exact.evaluate(u, target, lambda d: d.amplitude, noise=noise)
    log_mass = mass_unit(redshift, norm)[0] + np.log10(amplitude.astype(np.float64))
    return finish_at(u, noise, log_mass, target, redshift, norm)


def finish_at(u: np.ndarray, noise: np.ndarray, log_mass: np.ndarray, target: Target, redshift: float, norm: float) -> Finished:
    """As `finish`, for masses (log10 Msun) [draw] and numbers for what is linear [draw, linear] that have been drawn.

    Line fluxes are of what the spectrum shows, whatever the mass is of.
    """
    chi2, amplitude, luminosity, log_density = exact.evaluate(
        u, target, lambda d: (d.chi2, d.amplitude, d.luminosity, d.log_posterior), noise=noise
    )
    scale = mass_unit(redshift, norm)[1] * amplitude
    found, values = _derived(u, log_mass.astype(np.float32), scale, luminosity, target)
    some = answer.shown(len(u))
    predicted = exact.evaluate(u[some], target, lambda d: d.spectrum, noise=noise[some])
    values[target.model.parameters[-1].name] = log_mass
    values, quantities = ({name: x.astype(np.float64) for name, x in of.items()} for of in (values, found.quantities))
    return Finished(values, quantities, found.sfr.astype(np.float64), chi2.astype(np.float64), log_density.astype(np.float64), predicted)


def log_mass(
    rng: np.random.Generator, u: Float[np.ndarray, "draw parameter"], target: Target, redshift: float, norm: float
) -> Float[np.ndarray, "draw"]:
    """Draws of log10 of the mass (Msun) given each u, as in `finish`."""
    noise = rng.standard_normal((len(u), exact.n_linear(target)), np.float32)
    amplitude = exact.evaluate(u, target, lambda draw: draw.amplitude, noise=noise)
    return mass_unit(redshift, norm)[0] + np.log10(amplitude.astype(np.float64))


def mass_unit(redshift: float, norm: float) -> tuple[float, float]:
    """log10 of the mass (Msun) of unit amplitude, and 1e-17 erg/s/cm2 per Lsun/Msun of line luminosity at unit amplitude.

    f_lambda = M L_lambda / (4 pi D_L^2 (1 + z)). NaN for a galaxy that does not recede: its redshift says nothing of its distance.
    """
    if redshift <= 0.0:
        return np.nan, norm * (1.0 + redshift)
    distance = float(cosmology.luminosity_distance_mpc(jnp.float32(redshift))) * MPC_CM
    per_msun = LSUN_ERG_S / (4 * np.pi * distance**2 * (1.0 + redshift)) / FLUX_UNIT
    return float(np.log10(norm / per_msun)), norm * (1.0 + redshift)


def _derived(u: np.ndarray, log_mass: np.ndarray, flux_scale: np.ndarray, luminosity: np.ndarray, target: Target) -> tuple:
    """Derived quantities and parameters of all draws."""
    fixed = (*rest_frame(), target.task.t_universe_gyr, target.library, target.model)
    return in_batches(lambda *some: _derive(*some, *fixed), DERIVED_BATCH, u, log_mass, flux_scale, luminosity)


@partial(jax.jit, static_argnames="model")
def _derive(u, log_mass, flux_scale, luminosity, rest, bands, t_universe_gyr, library, model):
    def one(point: Array, mass: Array, scale: Array, lines: Array) -> tuple[derived.Derived, dict[str, Array]]:
        values = parameters.from_normal(model.parameters[:-1], point)
        full = model.complete(values)
        return derived.derive(model, full, mass, scale, lines, t_universe_gyr, rest, bands, library), values

    return jax.vmap(one)(u, log_mass, flux_scale, luminosity)


def posterior(spectrum, name, made, data, result, finished, target, wanted, seed, seconds) -> Posterior:
    """The answer, from draws of the target and what `finish` made of them."""
    chi2 = float(np.median(finished.chi2)) / data.n_pixels
    strange = novelty.score(data.projected, made.card)
    log_mass = float(np.median(finished.values[made.recipe.preset.parameters[-1].name]))
    shown = prediction(spectrum, data.flux, data.ivar, data.norm, finished.predicted, target.task.errors)
    return answer.posterior(
        spectrum, name=name, model=made.recipe.preset.parameters, card=made.card, redshift=data.redshift,
        history_edges_gyr=answer.history_edges(float(data.t_universe_gyr)),
        values=finished.values, quantities=finished.quantities, sfr=finished.sfr, log_density=finished.log_density, result=result,
        chi2=chi2, novelty=strange, n_pixels=data.n_pixels, median_sn=median_sn(data.ivar, data.flux), prediction=shown,
        flags=spectrum.flags | data.flags | _judge(spectrum, data, made, chi2, strange, log_mass), wanted=wanted, seed=seed,
        seconds=seconds,
    )  # fmt: skip


def prediction(spectrum: Spectrum, flux: Array, ivar: Array, norm: float, predicted: np.ndarray, errors: Covariance) -> Prediction:
    """What was fitted (in units of `norm`, padded) and what was predicted for it, in the spectrum's unit."""
    n = len(spectrum.wave_aa)
    return Prediction(
        wave_aa=spectrum.wave_aa,
        flux=np.asarray(flux[:n], np.float64) * norm,
        ivar=np.asarray(ivar[:n], np.float64) / norm**2,
        draws=(predicted[:, :n] * norm).astype(np.float32),
        sigma_model=_floor(ivar, errors)[:n] * norm,
        segments=spectrum.segments,
    )


def median_sn(ivar: Array, flux: Array) -> float:
    """Of pixels with information."""
    seen = np.asarray(ivar) > 0
    return float(np.median(np.asarray(flux)[seen] * np.sqrt(np.asarray(ivar)[seen])))


def _judge(spectrum, data, made, chi2, strange, log_mass) -> Flag:
    """Flags that the fit adds. What is not a number is not within its limits."""
    mass = made.recipe.preset.parameters[-1].prior
    limits, low_sn, high_sn = made.card.get("limits", {}), *made.recipe.population.sn
    low_z, high_z = made.recipe.population.redshift
    sn = median_sn(data.ivar, data.flux)
    rules = {
        Flag.EBV_ASSUMED_ZERO: spectrum.ebv is None,
        Flag.REDSHIFT_OUTSIDE_MODEL: not low_z <= data.redshift <= high_z,
        Flag.LOW_SN: sn < low_sn,
        Flag.HIGH_SN: sn > high_sn,
        Flag.NOVEL: not answer.LEAST_NOVELTY < strange <= limits.get("novelty", 4.0),
        Flag.POOR_FIT: not chi2 <= limits.get("chi2_per_pixel", POOR),
        Flag.MASS_OUTSIDE_PRIOR: not mass.low <= log_mass <= mass.high,
    }
    return raised(rules)
