"""Points of u-space against every pixel: the exact posterior density, and draws of what is linear given the rest.

One compiled function serves the importance weights and the finished draws; it takes points in batches of one size, so that nothing is
compiled twice.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from ..batches import in_batches
from ..grids.library import Library
from ..instrument.systematics import Systematics, groups_of
from ..physics.galaxy import GalaxyModel, View
from ..physics.parameters import Uniform
from . import likelihood
from .covariance import Covariance

BATCH = 25  # arrays of more draws are large enough that each call has the system map fresh memory, which doubles its time

Points = Float[Array, "draw parameter"] | Float[np.ndarray, "draw parameter"]


class Problem(eqx.Module):
    """One galaxy's data, ready for the likelihood."""

    view: View
    errors: Covariance
    flux: Float[Array, "pixel"]
    t_universe_gyr: Float[Array, ""]


class Target(NamedTuple):
    """All that a posterior density depends on, besides the parameters."""

    task: Problem
    library: Library
    model: GalaxyModel
    systematics: Systematics

    @property
    def n_parameter(self) -> int:
        """Dimensions of u-space: the preset's parameters without the mass."""
        return len(self.model.parameters) - 1

    def log_posterior(self, u: Points) -> Float[np.ndarray, "draw"]:
        """log p(data | u) + log N(u; 0, 1) of points from every pixel, up to a constant."""
        return evaluate(u, self, lambda draw: draw.log_posterior).astype(np.float64)

    def pure(self) -> tuple[Callable, tuple]:
        """The same as a pure function of one point and of arrays."""
        return _density(self.model, self.systematics), (self.task, self.library)

    def left_out(self) -> float:
        """What `log_posterior` leaves out of prior and likelihood, with its sign changed; the data's (2 pi)^(-n/2) is no model's."""
        return left_out(self.n_parameter, self.task.errors, self.model.parameters[-1].prior)


def left_out(n_parameter: int, errors: Covariance, mass: Uniform) -> float:
    """What a spectrum's log posterior leaves out of prior and likelihood, with its sign changed."""
    volume = np.log((mass.high - mass.low) * np.log(10))  # flat in log10, while the likelihood integrates over ln A
    return 0.5 * n_parameter * np.log(2 * np.pi) + float(errors.half_log_det) + volume


class Draw(NamedTuple):
    """A point against the data. Spectra are in the data's unit, luminosities per unit amplitude.

    `luminosity` and `spectrum` hold the line strengths drawn; `spectrum` also a draw of calibration and mismatch given the data, of
    which `left` is what remained before it.
    """

    log_posterior: Float[Array, ""]
    chi2: Float[Array, ""]
    amplitude: Float[Array, ""]
    amplitude_sd: Float[Array, ""]
    luminosity: Float[Array, "line"]
    spectrum: Float[Array, "pixel"]
    left: Float[Array, "pixel"]


def n_linear(target: Target) -> int:
    """Standard normal numbers that a draw takes: the amplitude, the line groups, the gas' velocity, the error model's templates."""
    return len(groups_of(target.library)) + 2 + len(target.task.errors.share)


def evaluate(u: Points, target: Target, keep: Callable[[Draw], Any], *, noise: Array | np.ndarray | None = None) -> Any:
    """Points of u-space against every pixel.

    Parameters
    ----------
    keep
        What is wanted of each `Draw`.
    noise
        Standard normal numbers [draw, `n_linear`] for what is linear; the conditional mean without.
    """
    if noise is None:
        noise = np.zeros((len(u), n_linear(target)), np.float32)
    return in_batches(lambda *some: keep(_evaluate(*some, *target)), BATCH, np.asarray(u, np.float32), np.asarray(noise, np.float32))


@cache
def _density(model: GalaxyModel, systematics: Systematics) -> Callable:
    def log_density(u: Array, data: tuple[Problem, Library]) -> Array:
        task, library = data
        nothing = jnp.zeros(len(groups_of(library)) + 2 + len(task.errors.share))
        return at_point(u, nothing, task, library, model, systematics).log_posterior

    return log_density


@partial(jax.jit, static_argnames=("model", "systematics"))
def _evaluate(u: Array, noise: Array, task: Problem, library: Library, model: GalaxyModel, systematics: Systematics) -> Draw:
    return jax.vmap(lambda point, normal: at_point(point, normal, task, library, model, systematics))(u, noise)


def at_point(u: Array, normal: Array, task: Problem, library: Library, model: GalaxyModel, systematics: Systematics) -> Draw:
    """One point of u-space against every pixel; `normal` as in `evaluate`."""
    light = likelihood.light_at_pixels(u, model, task.view, task.t_universe_gyr, library, systematics)
    errors = task.errors
    fit = likelihood.fit_amplitude(likelihood.linear_at_pixels(light, errors), errors.inverse_sigma * task.flux, errors)
    n = len(fit.lines_mean)
    amplitude = fit.amplitude + fit.amplitude_sd * above(-fit.amplitude / fit.amplitude_sd, normal[0])
    scatter = fit.lines_mean + fit.lines_slope * (amplitude - fit.amplitude)
    scatter += jax.scipy.linalg.solve_triangular(fit.lines_factor.T, normal[1 : 1 + n], lower=False)
    factor = 1.0 + light.share * scatter[:-1]
    spectrum = amplitude * (light.continuum + factor @ light.groups + scatter[-1] * light.shift)
    return Draw(
        log_posterior=fit.log_likelihood - 0.5 * jnp.sum(u**2),
        chi2=fit.chi2,
        amplitude=amplitude,
        amplitude_sd=fit.amplitude_sd,
        luminosity=light.luminosity * factor[likelihood.group_index(library)],
        spectrum=spectrum + errors.explained(task.flux - spectrum, normal[1 + n :]),
        left=task.flux - spectrum,
    )


def above(limit: Float[Array, ""], normal: Float[Array, ""]) -> Float[Array, ""]:
    """A standard normal number as one of the part of N(0, 1) above a limit: a mass is positive, and its Gaussian may reach below zero."""
    below = ndtr(limit)
    cut = ndtri(jnp.clip(below + (1.0 - below) * ndtr(normal), 1e-6, 1.0 - 1e-6))
    return jnp.where(limit < -5.0, normal, jnp.maximum(cut, limit + 1e-3))
