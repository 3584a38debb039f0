"""A physical model with a learnt residual: physics where the model holds, data for what it leaves out, and posteriors that know of both.

    Spectrum --mean residual taken off--> base model's network --draws--> refined by the likelihood with the residual marginalised
            --> Posterior of the physics, and of the residual's latents s

The base model is one that `slipher.fit` knows, its network and its error model as they are. What is learnt (`networks.residual`) adds a
mean, which is taken off the data, and a few templates to the covariance: s is Gaussian given the physics, so that the exact likelihood
still has no more parameters than the physics. How the two share the work is decided in learning (`residual_learning`).
"""

import dataclasses
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..data.observation import Spectrum
from ..grids.library import Library
from ..inference.exact import Target, evaluate, n_linear
from ..inference.posterior import Posterior
from ..inference.prediction import Prediction
from ..instrument import simulate
from ..networks import residual as res
from ..networks.residual import Residual
from ..physics import galaxy
from ..physics.galaxy import View
from . import observed, spectra
from .answer import rng_of
from .observed import Observed
from .shipped import Shipped, ShippedHybrid

GAS_KMS = 100.0  # dispersion of the learnt lines, which are faint


class At(NamedTuple):
    """A residual at a galaxy's pixels, padded: mean and factors of the fraction, and of the faint lines in the unit of the data."""

    fraction: Float[np.ndarray, "pixel column"]
    lines: Float[np.ndarray, "pixel column"]

    @property
    def gain(self) -> Float[np.ndarray, "pixel"]:
        """By which the mean residual multiplies a galaxy's light."""
        return 1.0 + self.fraction[:, 0]


def at_pixels(residual: Residual, data: Observed, base: Shipped) -> At:
    """The residual at the pixels of prepared data."""
    continuum, _ = spectra.reference(data, base)
    level = float(simulate.v_band_light(data.view.wave_aa, continuum))
    profiles = line_profiles(data.view, base.library)
    return At(residual.at(np.asarray(data.view.wave_aa, np.float64)), level * profiles @ np.asarray(residual.line_ew_aa, np.float64))


def line_profiles(view: View, library: Library) -> Float[np.ndarray, "pixel line"]:
    """Profiles (1/A) of the faint lines."""
    return np.asarray(_profiles(view, library.line_wave_aa), np.float64)[:, res.faint_lines(np.asarray(library.line_wave_aa))]


@jax.jit
def _profiles(view: View, centre_aa: Array) -> Float[Array, "pixel line"]:
    windows = galaxy.line_windows(view, centre_aa, jnp.asarray(GAS_KMS))
    n = windows.shape[0]
    return galaxy.spread_groups(view, windows, jnp.arange(n), n).T


def fit(spectrum: Spectrum, made: ShippedHybrid, name: str, samples: int, sampler: str, seed: int) -> Posterior:
    """`slipher.fit` of a spectrum by a hybrid model: as by its base, and the posterior of the residual's latents among the derived."""
    began, base = time.perf_counter(), made.base
    first = observed.observe(spectrum, base)
    mean = at_pixels(made.residual, first, base)
    data = observed.observe(without_mean(spectrum, first, mean), base)
    data = data._replace(flags=first.flags | data.flags)
    extra = templates(made.residual, data, base)
    density = spectra.target(data, base, jnp.asarray(extra, jnp.float32))
    named = base._replace(card={**base.card, "sha256": made.card["sha256"]})
    found, u = spectra.fit_to(spectrum, data, density, named, name, samples, sampler, seed, began)
    latents = drawn_latents(rng_of(seed + 1, spectrum.id), u, density, extra)
    labels = {f"residual_{i + 1}": rf"s_{{{i + 1}}}" for i in range(latents.shape[1])}
    return dataclasses.replace(
        found,
        derived={**found.derived, **{label: latents[:, i] for i, label in enumerate(labels)}},
        units=found.units | dict.fromkeys(labels, ""),
        labels=found.labels | labels,
        prediction=with_mean(found.prediction, mean, first.norm),
        seconds=time.perf_counter() - began,
    )


def without_mean(spectrum: Spectrum, data: Observed, mean: At) -> Spectrum:
    """The spectrum as the base model expects it: dust of the Milky Way and the mean residual taken off, its redshift polished."""
    n = len(spectrum.wave_aa)
    flux, ivar = (np.asarray(x, np.float64)[:n] for x in (data.flux, data.ivar))
    gain, lines = mean.gain[:n], mean.lines[:n, 0]
    return dataclasses.replace(
        spectrum,
        flux=((flux - lines) / gain * data.norm).astype(np.float32),
        ivar=(ivar * gain**2 / data.norm**2).astype(np.float32),
        redshift=data.redshift,
        ebv=None if spectrum.ebv is None else 0.0,
    )


def with_mean(shown: Prediction, mean: At, norm: float) -> Prediction:
    """A prediction for the spectrum as it was observed."""
    n = len(shown.wave_aa)
    gain, lines = mean.gain[:n], norm * mean.lines[:n, 0]
    return dataclasses.replace(
        shown, flux=shown.flux * gain + lines, ivar=shown.ivar / gain**2, draws=(shown.draws * gain + lines).astype(np.float32),
        sigma_model=shown.sigma_model * gain,
    )  # fmt: skip


def templates(residual: Residual, data: Observed, base: Shipped) -> Float[np.ndarray, "pixel latent"]:
    """What the latents add to a spectrum without the mean, in their standard deviations and the unit of the data."""
    light = np.asarray(sum(spectra.reference(data, base)), np.float64)
    at = at_pixels(residual, data, base)
    return (light[:, None] * at.fraction[:, 1:] + at.lines[:, 1:]) / at.gain[:, None]


def drawn_latents(
    rng: np.random.Generator, u: Float[np.ndarray, "draw parameter"], density: Target, extra: Float[np.ndarray, "pixel latent"]
) -> Float[np.ndarray, "draw latent"]:
    """Draws of s given the data and each u: Gaussian, with the rest of the error model marginalised."""
    noise = rng.standard_normal((len(u), n_linear(density)), np.float32)
    left = np.asarray(evaluate(u, density, lambda draw: draw.left, noise=noise), np.float64)
    errors = density.task.errors
    inverse, vectors, share = (np.asarray(x, np.float64) for x in (errors.inverse_sigma, errors.vectors, errors.share))
    scaled, white = extra * inverse[:, None], left * inverse
    across = vectors.T @ scaled
    mean = white @ scaled - ((white @ vectors) * share) @ across
    covariance = np.eye(extra.shape[1]) - (scaled.T @ scaled - (across * share[:, None]).T @ across)
    values, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(np.clip(values, 0.0, 1.0))
    return mean + rng.standard_normal(mean.shape) @ root.T
