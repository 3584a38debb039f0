"""From a spectrum and photometry of one galaxy to their joint posterior: what `slipher.fit` does with a `Galaxy`.

    Galaxy --observe--> spectrum, bands --network of spectra--> draws --refine by both--> draws --finish--> Posterior

The spectrum's network proposes; what only bands see (warm dust) starts from its prior. Masses and rates are of the whole galaxy, line
fluxes of what the aperture shows; `log_aperture_share` is log10 of the share of the light that the aperture caught.
"""

import time

import jax.numpy as jnp
import numpy as np

from ..data.galaxy import Galaxy
from ..errors import Flag
from ..grids.library import load_broad
from ..inference import exact, methods
from ..inference.joint import Both, JointTarget, Preset, WiderFlow
from ..inference.photometric import Assumed, Bands
from ..inference.posterior import Posterior
from ..inference.refine import Warp
from ..instrument import photometer
from ..instrument.band_errors import BandErrors
from ..physics import parameters
from ..physics.galaxy import JOINT
from . import answer, observed, photometry, spectra
from .observed import Observed
from .shipped import Shipped

SHARE = "log_aperture_share"
ASSUMED = Assumed(JOINT, None, False, BandErrors())


def target(galaxy: Galaxy, data: Observed, made: Shipped) -> JointTarget:
    """The exact posterior density of both."""
    bands = galaxy.photometry
    task = Both(
        spectra.target(data, made).task,
        Bands(
            photometer.photometer(bands.bands), jnp.asarray(bands.flux, jnp.float32), jnp.asarray(bands.ivar, jnp.float32),
            jnp.asarray(bands.censored) if bands.censored.any() else None, jnp.float32(data.redshift), jnp.float32(bands.ebv or 0.0),
        ),
        jnp.float32(spectra.mass_unit(data.redshift, data.norm)[0]),
        jnp.array([galaxy.aperture.log10_fraction, galaxy.aperture.sd_dex], jnp.float32),
    )  # fmt: skip
    return JointTarget(task, made.library, load_broad(), Preset(made.recipe.preset, made.recipe.systematics, ASSUMED))


def warp(data: Observed, made: Shipped) -> Warp:
    """The spectrum's flow, and the prior of what it does not know of."""
    alone = spectra.warp(data, made)
    return Warp(WiderFlow(alone.network, len(JOINT.parameters) - len(made.recipe.preset.parameters)), alone.context)


def fit(galaxy: Galaxy, made: Shipped, name: str, samples: int, sampler: str, seed: int) -> Posterior:
    """`slipher.fit` of both, by the model of spectra called `name`."""
    began = time.perf_counter()
    spectrum = galaxy.spectrum
    data = observed.observe(spectrum, made)
    rng = answer.rng_of(seed, galaxy.id)
    density = target(galaxy, data, made)
    result = methods.draw(sampler, rng, density, warp(data, made), samples)
    noise = rng.standard_normal((samples, exact.n_linear(density.of_spectrum)), np.float32)
    uniform = rng.random(samples).astype(np.float32)
    log_mass, share, flux, sigma, chi2, log_density = density.evaluate(
        result.u,
        lambda d: (d.bands.log_mass, d.log_share, d.bands.flux, d.bands.sigma, d.bands.chi2, d.log_posterior),
        noise=noise,
        uniform=uniform,
    )
    seen = result.u[:, : density.of_spectrum.n_parameter]
    finished = spectra.finish_at(seen, noise, log_mass.astype(np.float64), density.of_spectrum, data.redshift, data.norm)
    warm = parameters.from_normal(JOINT.parameters[seen.shape[1] : -1], jnp.asarray(result.u[:, seen.shape[1] :].T, jnp.float32))
    values = {**finished.values, **{k: np.asarray(v, np.float64) for k, v in warm.items()}, SHARE: share.astype(np.float64)}
    alone = spectra.posterior(
        spectrum, name, made, data, result, finished._replace(values=values, log_density=log_density), density.of_spectrum, sampler, seed,
        time.perf_counter() - began,
    )  # fmt: skip
    measured = max(int(((galaxy.photometry.ivar > 0) & ~galaxy.photometry.censored).sum()), 1)
    poor = answer.raised({Flag.POOR_FIT: float(np.median(chi2)) / measured > photometry.POOR})
    return answer.with_bands(alone, photometry.prediction(galaxy.photometry, flux, sigma), flags=galaxy.flags | poor)
