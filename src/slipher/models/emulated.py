"""From one checked spectrum to a posterior of an emulator's parameters: what `slipher.fit` does where the model is an emulator.

    Spectrum --observe--> data --sampler, from the prior--> draws --finish--> Posterior

An emulator has no network of posteriors, so that every sampler starts from its prior. What only slipher's own galaxies have (line fluxes, a
history, rates) is not derived: an emulator's parameters are what they are to those who made its spectra.
"""

import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.ndimage import median_filter

from ..data.observation import Spectrum
from ..errors import Flag, InputError
from ..inference import covariance, emulated, methods
from ..inference import refine as refinement
from ..inference.covariance import Covariance
from ..inference.emulated import EmulatedTarget, PriorFlow, Task, Windows
from ..inference.posterior import Posterior
from ..instrument import simulate
from ..instrument import systematics as sys_
from ..instrument.spectrograph import pixel_widths
from ..instrument.systematics import Systematics
from ..physics import derived, parameters
from ..physics.galaxy import LOG_MASS
from ..units import C_KMS
from . import answer, observed, spectra
from .emulator import EmulatedGalaxy
from .shipped import ShippedEmulator

SYSTEMATICS = Systematics()
MARGIN_KMS = 1000.0  # at both ends of the emulator's wavelengths, whose neighbours are needed
SMOOTHED = 51  # pixels of the data that stand for a model until there is one
TRIED = 2000  # draws of the prior of which the best is the reference for errors that are fractions of the model
BREAK_AA = (3850.0, 4110.0)
COARSEST = 1.5  # grid steps over the width of the line-spread function (sd) beyond which data are sharper than the emulator


class Seen(NamedTuple):
    """One galaxy's data as an emulator fits them; flux and ivar in units of `norm` (1e-17 erg/s/cm2/A)."""

    wave_aa: Float[Array, "pixel"]
    windows: Windows
    flux: Float[Array, "pixel"]
    ivar: Float[Array, "pixel"]
    redshift: float
    norm: float
    n_pixels: int
    flags: Flag


def fit(spectrum: Spectrum, made: ShippedEmulator, name: str, samples: int, sampler: str, seed: int) -> Posterior:
    """`slipher.fit` of a spectrum by the emulator in the folder `name`.

    Raises
    ------
    InputError
        As for other spectra; and where the sampler is 'amortised', which an emulator has no network for.
    """
    if sampler == "amortised":
        others = ", ".join(method for method in methods.METHODS if method != sampler)
        raise InputError(
            f"sampler {sampler!r} for an emulator", expected=f"one of {others}", mend="An emulator has no network of posteriors."
        )
    began = time.perf_counter()
    data, rng = observe(spectrum, made.galaxy), answer.rng_of(seed, spectrum.id)
    density = target(data, made.galaxy, rng)
    result = methods.draw(sampler, rng, density, refinement.Warp(PriorFlow(density.n_parameter), jnp.zeros(0)), samples)
    return _posterior(spectrum, name, made, data, result, density, rng, sampler, seed, began)


def observe(spectrum: Spectrum, galaxy: EmulatedGalaxy) -> Seen:
    """Prepare a spectrum: Galactic dust taken off, brought to the rest frame, windows on the emulator's grid.

    Raises
    ------
    InputError
        If it has no usable redshift, or fewer than 200 good pixels within the emulator's wavelengths.
    """
    grid = np.asarray(galaxy.wave_aa, np.float64)
    margin = np.exp(MARGIN_KMS / C_KMS)
    made = observed.prepare(spectrum, (grid[0] * margin, grid[-1] / margin))
    lsf = np.hypot(spectrum.lsf_sigma_kms().astype(np.float64), pixel_widths(spectrum.wave_aa, spectrum.segments) / np.sqrt(12.0))
    sharper = np.median(np.diff(np.log(grid))) * C_KMS > COARSEST * np.median(lsf[made.inside])
    rest = made.wave_aa / (1.0 + made.redshift)
    return Seen(
        jnp.asarray(rest, jnp.float32), emulated.windows(grid, rest, observed.padded(lsf, None), galaxy.dispersion_kms),
        jnp.asarray(made.flux), jnp.asarray(made.ivar), made.redshift, made.norm, int(made.inside.sum()),
        answer.raised({Flag.BEYOND_LIBRARY_RESOLUTION: bool(sharper)}),
    )  # fmt: skip


def target(data: Seen, galaxy: EmulatedGalaxy, rng: np.random.Generator) -> EmulatedTarget:
    """The exact posterior density.

    Errors that are fractions of the model need a model: first the smoothed data, then the best of some draws of the prior.
    """
    model = (*galaxy.parameters, emulated.DISPERSION, LOG_MASS)
    smooth = median_filter(np.asarray(data.flux), SMOOTHED, mode="nearest")
    floor = jnp.zeros((len(galaxy.wave_aa),))
    first = EmulatedTarget(_task(data, galaxy, jnp.asarray(np.maximum(smooth, 0.0)), floor, floor[:, None]), model)
    u = rng.standard_normal((TRIED, first.n_parameter)).astype(np.float32)
    best = u[int(np.nanargmax(first.log_posterior(u)))][None]
    light, amplitude = (np.asarray(x[0]) for x in first.evaluate(best, lambda draw: (draw.light, draw.amplitude)))
    dispersion = 10 ** float(parameters.from_normal(model[:-1], jnp.asarray(best[0]))[emulated.DISPERSION.name])
    reference = jnp.asarray(amplitude * light)
    terms = galaxy.error_covariance(reference)
    seen = data.windows.seen(reference, jnp.float32(dispersion))
    return EmulatedTarget(_task(data, galaxy, seen, terms.floor, terms.templates, jnp.float32(dispersion)), model)


def _task(data: Seen, galaxy: EmulatedGalaxy, reference: Array, floor: Array, templates: Array, dispersion: Array | None = None) -> Task:
    """The likelihood's arrays; `reference` is at the pixels, the emulator's own error (`floor`, `templates`) on its grid."""
    at = jnp.float32(100.0) if dispersion is None else dispersion
    own = jnp.stack([data.windows.seen(column, at) for column in templates.T], 1)
    columns = [own, reference[:, None] * sys_.calibration_templates(SYSTEMATICS, data.wave_aa, (data.ivar > 0).astype(jnp.float32))]
    columns += [reference[:, None] * sys_.mismatch_templates(SYSTEMATICS, data.wave_aa)]
    columns += [SYSTEMATICS.velocity_kms * sys_.velocity_derivative(reference, data.wave_aa)[:, None]]
    independent = simulate.floor_variance(SYSTEMATICS, data.wave_aa, reference, jnp.zeros_like(reference))
    errors: Covariance = covariance.covariance(data.ivar, independent + data.windows.seen(floor, at), jnp.concatenate(columns, 1))
    return Task(galaxy.emulator, data.windows, errors, data.flux)


def _posterior(spectrum, name, made, data, result, density, rng, wanted, seed, began) -> Posterior:
    """The answer: masses drawn, what can be derived, predictions, flags."""
    galaxy, n = made.galaxy, len(result.u)
    noise = rng.standard_normal((n, emulated.n_linear(density.task)), np.float32)
    broken = jax.vmap(partial(derived.dn4000, galaxy.wave_aa))
    amplitude, chi2, log_density, dn4000 = density.evaluate(
        result.u, lambda d: (d.amplitude, d.chi2, d.log_posterior, broken(d.light)), noise=noise
    )
    values = parameters.from_normal(density.model[:-1], jnp.asarray(result.u.T, jnp.float32))
    values = {key: np.asarray(value, np.float64) for key, value in values.items()}
    log_mass = spectra.mass_unit(data.redshift, data.norm)[0] + np.log10(amplitude.astype(np.float64))
    covered = galaxy.wave_aa[0] < BREAK_AA[0] and galaxy.wave_aa[-1] > BREAK_AA[1]
    some = answer.shown(n)
    predicted = density.evaluate(result.u[some], lambda d: d.spectrum, noise=noise[some])
    per_pixel = float(np.median(chi2)) / data.n_pixels
    mass = density.model[-1].prior
    rules = {
        Flag.EBV_ASSUMED_ZERO: spectrum.ebv is None,
        Flag.POOR_FIT: not per_pixel <= spectra.POOR,
        Flag.MASS_OUTSIDE_PRIOR: not mass.low <= float(np.median(log_mass)) <= mass.high,
    }
    return answer.posterior(
        spectrum, name=name, model=density.model, card=made.card, redshift=data.redshift, history_edges_gyr=np.zeros(1),
        values=values | {LOG_MASS.name: log_mass}, quantities={"dn4000": dn4000.astype(np.float64)} if covered else {},
        sfr=np.zeros((n, 0)), log_density=log_density, result=result, chi2=per_pixel, novelty=np.nan, n_pixels=data.n_pixels,
        median_sn=spectra.median_sn(data.ivar, data.flux),
        prediction=spectra.prediction(spectrum, data.flux, data.ivar, data.norm, predicted, density.task.errors),
        flags=spectrum.flags | data.flags | answer.raised(rules),
        wanted=wanted, seed=seed, seconds=time.perf_counter() - began,
    )  # fmt: skip
