"""`slipher.fit`: from one checked spectrum to its posterior.

    Spectrum --observe--> data --network--> draws --refine--> draws --finish--> Posterior

`finish` draws what is linear (mass, line strengths) from its exact conditional and derives what astronomers quote. Random numbers follow
from (seed, id): the answer depends on nothing else that is fitted in the same run.
"""

import time
from functools import cache, partial
from hashlib import sha256
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..data.observation import Spectrum
from ..errors import Flag, InputError
from ..grids.filters import load_filters
from ..grids.library import Library, load_library
from ..inference import covariance, ensemble_hmc, likelihood, refine
from ..inference.posterior import Posterior
from ..inference.prediction import Diagnostics, Prediction
from ..instrument import simulate, spectrograph
from ..instrument.filters import filter_matrix
from ..instrument.systematics import Systematics
from ..physics import cosmology, derived, histories, parameters
from ..physics.galaxy import GalaxyModel, View
from ..units import FLUX_UNIT, LSUN_ERG_S, MPC_CM
from . import novelty, observed, shipped
from .observed import Observed
from .shipped import Shipped

N_PROPOSAL = 1000
N_PREDICTED = 100
REST_BANDS = ("sdss2010-u", "sdss2010-g", "sdss2010-r")


def fit(
    spectrum: Spectrum, *, model: str = "galaxy", samples: int = 1000, refine: bool = True, seed: int = 0
) -> Posterior:
    """The posterior of a galaxy's physics given its spectrum.

    Parameters
    ----------
    spectrum
        Checked data (`slipher.read`, `slipher.spectrum`), with a redshift.
    model
        Name of a shipped model, or the folder of a trained one.
    samples
        Equal-weight draws wanted.
    refine
        Whether to go on from the network's draws to the exact likelihood.
    seed
        With the spectrum's id, decides all random numbers.

    Raises
    ------
    InputError
        Without a redshift, with one beyond the model, with too few good pixels, or for an unknown model.
    """
    began = time.perf_counter()
    if samples < 1:
        raise InputError(f"samples={samples}", expected="at least 1", mend="Ask for a positive number of draws.")
    made = shipped.load(model)
    data = observed.observe(spectrum, made)
    keys = jax.random.split(key_of(seed, spectrum.id), 4)
    u, log_q = amortised_draws(keys[0], data.features, made, max(N_PROPOSAL, samples))
    task = problem(data, made)
    if refine:
        settings = ensemble_hmc.Settings()
        result = _refine(keys[1], u, log_q, task, made, settings, samples)
    else:
        result = _unrefined(np.asarray(u)[:samples])
    finished = finish(keys[2], jnp.asarray(result.u), task, data.redshift, data.norm, made)
    return _posterior(spectrum, model, made, data, result, finished, refine, seed, time.perf_counter() - began)


def key_of(seed: int, identifier: str) -> PRNGKeyArray:
    """The random key of one galaxy."""
    digest = sha256(f"{seed}:{identifier}".encode()).digest()
    return jax.random.key(int.from_bytes(digest[:4], "big"))


@eqx.filter_jit
def _draw(key: PRNGKeyArray, features: Array, network, n: int):  # noqa: ANN001, ANN202
    return network.sample(key, network.context(features), n)


def amortised_draws(
    key: PRNGKeyArray, features: Float[Array, "feature"], made: Shipped, n: int
) -> tuple[Float[Array, "draw parameter"], Float[Array, "draw"]]:
    """The network's draws of u and their log densities."""
    u, _, log_q = _draw(key, features, made.trained.network, n)
    return u, log_q


def problem(data: Observed, made: Shipped) -> refine.Problem:
    """The exact likelihood's data: whitened about the projected spectrum as reference."""
    white = _whiten(data.view, data.ivar, data.basis, data.projected, made.trained.projection.n_continuum, made.recipe.systematics)
    return refine.problem(data.view, white, data.flux, data.t_universe_gyr)


@partial(jax.jit, static_argnames=("n_continuum", "systematics"))
def _whiten(view: View, ivar: Array, basis: Array, projected, n_continuum: int, systematics: Systematics):  # noqa: ANN001, ANN202
    a = projected.coefficients * projected.norm
    continuum = basis[:, :n_continuum] @ a[:n_continuum]
    lines = basis[:, n_continuum:] @ a[n_continuum:]
    covered = (ivar > 0).astype(jnp.float32)
    floor = simulate.floor_variance(systematics, view.wave_aa, continuum, lines)
    return covariance.whitening(ivar, floor, covariance.templates(systematics, view, continuum, lines, covered))


def _refine(key, u, log_q, task, made, settings, samples) -> refine.Refined:  # noqa: ANN001
    return refine.refine(
        key, u, log_q, task, made.library, made.recipe.preset, made.recipe.systematics, settings, samples
    )


def _unrefined(u: np.ndarray) -> refine.Refined:
    return refine.Refined(u, "amortised", np.nan, np.nan, np.nan, None)


class Finished(NamedTuple):
    """Draws with everything linear drawn, derived quantities, predictions."""

    log_mass: Float[np.ndarray, "draw"]
    quantities: dict[str, np.ndarray]
    sfr: Float[np.ndarray, "draw bin"]
    chi2: Float[np.ndarray, "draw"]
    predicted: Float[np.ndarray, "k pixel"]


@cache
def rest_frame() -> tuple[View, Array]:
    """A view of the rest frame (1.15 A at 5000 A) and the matrix to maggies in u, g, r on it, for derived quantities."""
    wave = 10 ** np.arange(np.log10(2960.0), np.log10(8000.0), 2.5e-4)
    view = spectrograph.view(wave, 0.0, load_library(), lsf_kms=80.0)
    bands = filter_matrix(load_filters(REST_BANDS), jnp.asarray(wave, jnp.float32), min_coverage=0.99)
    return view, bands


def finish(key: PRNGKeyArray, u: Array, task: refine.Problem, redshift: float, norm: float, made: Shipped) -> Finished:
    """Draw masses and line strengths given each u, derive quantities, and predict the data for some of the draws.

    `norm` is the flux unit of the task in 1e-17 erg/s/cm2/A.
    """
    rest, bands = rest_frame()
    model, systematics = made.recipe.preset, made.recipe.systematics
    keys = jax.random.split(key, len(u))
    log_mass_unit, flux_scale = mass_unit(redshift, norm)
    found, chi2, log_mass = _finish(
        keys, u, task, jnp.float32(log_mass_unit), jnp.float32(flux_scale), rest, bands, made.library, model, systematics
    )
    some = np.linspace(0, len(u) - 1, min(N_PREDICTED, len(u))).astype(int)
    predicted = _predict(keys[some], u[some], task, made.library, model, systematics)
    quantities = {name: np.asarray(value, np.float64) for name, value in found.quantities.items()}
    return Finished(
        np.asarray(log_mass, np.float64), quantities, np.asarray(found.sfr, np.float64), np.asarray(chi2, np.float64),
        np.asarray(predicted, np.float64),
    )  # fmt: skip


def mass_unit(redshift: float, norm: float) -> tuple[float, float]:
    """log10 of the mass (Msun) of unit amplitude, and 1e-17 erg/s/cm2 per Lsun/Msun of line luminosity at unit amplitude.

    f_lambda = M L_lambda / (4 pi D_L^2 (1 + z)).
    """
    distance = float(cosmology.luminosity_distance_mpc(jnp.float32(max(redshift, 1e-4)))) * MPC_CM
    per_msun = LSUN_ERG_S / (4 * np.pi * distance**2 * (1.0 + redshift)) / FLUX_UNIT
    return float(np.log10(norm / per_msun)), norm * (1.0 + redshift)


def _conditional(
    key: PRNGKeyArray, u: Array, task: refine.Problem, library: Library, model: GalaxyModel, systematics: Systematics
) -> tuple[likelihood.Light, likelihood.Fit, Array, Array]:
    """Light at one draw, its fit, a drawn amplitude and drawn line coefficients (units of their sd)."""
    light = likelihood.light_at_pixels(u, model, task.view, task.t_universe_gyr, library, systematics)
    found = likelihood.fit_amplitude(likelihood.linear_at_pixels(light, task.white), task.whitened)
    key_amplitude, key_lines = jax.random.split(key)
    amplitude = found.amplitude + found.amplitude_sd * jax.random.normal(key_amplitude)
    precision = jnp.eye(found.design.shape[1]) + found.design.T @ found.design
    factor = jnp.linalg.cholesky(precision)
    mean = jax.scipy.linalg.cho_solve((factor, True), found.design.T @ found.residual)
    noise = jax.scipy.linalg.solve_triangular(factor.T, jax.random.normal(key_lines, mean.shape), lower=False)
    return light, found, jnp.maximum(amplitude, 1e-3 * found.amplitude), mean + noise


@partial(jax.jit, static_argnames=("model", "systematics"))
def _finish(keys, u, task, log_mass_unit, flux_scale, rest, bands, library, model, systematics):  # noqa: ANN001, ANN202
    members = jnp.asarray(likelihood.group_index(library))

    def one(item: tuple) -> tuple:
        key, point = item
        light, found, amplitude, coefficients = _conditional(key, point, task, library, model, systematics)
        luminosity = light.luminosity * (1.0 + (light.share * coefficients[:-1])[members])
        log_mass = log_mass_unit + jnp.log10(amplitude)
        values = model.complete(parameters.from_normal(model.parameters[:-1], point))
        quantities = derived.derive(
            model, values, log_mass, flux_scale * amplitude, luminosity, task.t_universe_gyr, rest, bands, library
        )
        return quantities, found.chi2, log_mass

    return jax.lax.map(one, (keys, u), batch_size=16)


@partial(jax.jit, static_argnames=("model", "systematics"))
def _predict(keys, u, task, library, model, systematics):  # noqa: ANN001, ANN202
    """Spectra of draws with their line strengths and with the templates that the data ask for (calibration, mismatch)."""

    def one(item: tuple) -> Array:
        key, point = item
        light, _, amplitude, coefficients = _conditional(key, point, task, library, model, systematics)
        lines = jnp.sum(light.groups * (1.0 + light.share * coefficients[:-1])[:, None], 0) + light.shift * coefficients[-1]
        spectrum = amplitude * (light.continuum + lines)
        return spectrum + task.white.explained(task.flux - spectrum)

    return jax.lax.map(one, (keys, u), batch_size=16)


def _posterior(spectrum, name, made, data, result, finished, wanted, seed, seconds) -> Posterior:  # noqa: ANN001, PLR0913
    model = made.recipe.preset
    n = len(spectrum.wave_aa)
    values = parameters.from_normal(model.parameters[:-1], jnp.asarray(result.u).T)
    samples = {key: np.asarray(value, np.float64) for key, value in values.items()}
    samples[model.parameters[-1].name] = finished.log_mass
    chi2 = float(np.median(finished.chi2)) / data.n_pixels
    strange = novelty.score(data.projected, made.card)
    held = result.method != "amortised" and refine.holds(result)
    flags = spectrum.flags | data.flags | _judge(spectrum, data, made, chi2, strange, wanted and not held)
    inside = data.kept > 0
    sigma = np.asarray(1.0 / np.maximum(np.asarray(task_sigma(data, made)), 1e-30))[:n]
    norm = data.norm
    return Posterior(
        id=spectrum.id,
        redshift=float(data.redshift),
        model=name,
        survey=spectrum.survey,
        status="refined" if held else "amortised",
        samples=samples,
        derived=finished.quantities,
        history_edges_gyr=np.asarray(histories.bin_edges(data.t_universe_gyr), np.float64),
        history_sfr=finished.sfr,
        diagnostics=Diagnostics(
            method=result.method, ess=float(result.ess), khat=float(result.khat), rhat=float(result.rhat), chi2_per_pixel=chi2,
            novelty=strange, n_pixels=data.n_pixels, median_sn=_median_sn(data), log_evidence=result.log_evidence,
        ),
        prediction=Prediction(
            wave_aa=spectrum.wave_aa,
            flux=np.asarray(data.flux[:n], np.float64) * norm,
            ivar=np.where(inside, np.asarray(data.ivar[:n], np.float64), 0.0) / norm**2,
            draws=(finished.predicted[:, :n] * norm).astype(np.float32),
            sigma_model=np.where(inside, sigma, 0.0) * norm,
            segments=spectrum.segments,
        ),
        units={**{p.name: p.unit for p in model.parameters}, **{k: u for k, (u, _) in derived.QUANTITIES.items()}},
        labels={**{p.name: p.label for p in model.parameters}, **{k: s for k, (_, s) in derived.QUANTITIES.items()}},
        flags=flags,
        seconds=seconds,
        provenance={
            "slipher": made.card["slipher"], "model": name, "model_sha256": made.card["sha256"], "seed": seed,
            "configuration": {"samples": len(result.u), "refine": wanted}, "input": spectrum.source,
            "input_sha256": spectrum.checksum, "ebv": spectrum.ebv, "redshift_given": spectrum.redshift,
        },
    )  # fmt: skip


def task_sigma(data: Observed, made: Shipped) -> Array:
    """1/sigma of each pixel with the floor, in the task's units."""
    return problem(data, made).white.inverse_sigma


def _median_sn(data: Observed) -> float:
    seen = np.asarray(data.ivar) > 0
    return float(np.median(np.asarray(data.flux)[seen] * np.sqrt(np.asarray(data.ivar)[seen])))


def _judge(spectrum, data, made, chi2, strange, unrefined) -> Flag:  # noqa: ANN001
    """Flags that the fit adds."""
    limits, low_sn, high_sn = made.card.get("limits", {}), *made.recipe.population.sn
    low_z, high_z = made.recipe.population.redshift
    sn = _median_sn(data)
    rules = {
        Flag.EBV_ASSUMED_ZERO: spectrum.ebv is None,
        Flag.REDSHIFT_OUTSIDE_MODEL: not low_z <= data.redshift <= high_z,
        Flag.LOW_SN: sn < low_sn,
        Flag.HIGH_SN: sn > high_sn,
        Flag.NOVEL: strange > limits.get("novelty", 4.0),
        Flag.POOR_FIT: chi2 > limits.get("chi2_per_pixel", 1.3),
        Flag.NOT_REFINED: unrefined,
    }
    flags = Flag(0)
    for flag, holds in rules.items():
        flags |= flag if holds else Flag(0)
    return flags
