"""The exact likelihood of a spectrum whose model is an emulator.

    u --emulator--> light on its grid --dispersion, line-spread function--> pixels --amplitude marginalised--> log p(data | u)

An emulator's light is no sum over a basis, so that it is broadened and brought to the pixels anew at every point: by Gaussian weights over
the grid points about each pixel, as wide as the galaxy's dispersion and the instrument together, less the width that the emulated spectra
have already. Amplitude and covariance are those of all spectra (`likelihood`, `covariance`); the emulator's measured error is among the
covariance's templates.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..batches import in_batches
from ..networks.emulator import Emulator
from ..physics import parameters
from ..physics.parameters import Parameter, Uniform
from ..units import C_KMS
from . import exact, likelihood
from .covariance import Covariance

MOST_KMS = 450.0  # widest dispersion of a galaxy
DISPERSION = Parameter(
    "log_dispersion", "log(km/s)", r"\log \sigma", Uniform(1.3, np.log10(MOST_KMS)), "velocity dispersion of stars and gas together"
)
REACH = 4.0  # standard deviations of the widest kernel that a window holds
LEAST_STEPS = 0.7  # of the grid: a narrower kernel would see its points; this one leaves a ripple of 1e-4

Points = Float[Array, "draw parameter"] | Float[np.ndarray, "draw parameter"]


class Windows(eqx.Module):
    """Grid points about each pixel: the first, their distances (km/s) and their own widths; what the instrument adds in quadrature.

    `added` is the variance of the line-spread function less that of the emulated spectra, km/s squared, and may be negative; `least` is
    the narrowest kernel (km/s).
    """

    first: Int[Array, "pixel"]
    distance: Float[Array, "pixel window"]
    width: Float[Array, "pixel window"]
    added: Float[Array, "pixel"]
    least: Float[Array, "pixel"]

    def seen(self, light: Float[Array, "grid"], dispersion_kms: Float[Array, ""]) -> Float[Array, "pixel"]:
        """Light on the grid as the pixels see it."""
        variance = jnp.maximum(dispersion_kms**2 + self.added, self.least**2)
        weights = self.width * jnp.exp(-0.5 * self.distance**2 / variance[:, None])
        points = light[self.first[:, None] + jnp.arange(self.distance.shape[1])]
        return jnp.sum(weights * points, 1) / jnp.sum(weights, 1)


def windows(grid_aa: np.ndarray, wave_aa: np.ndarray, lsf_kms: np.ndarray, own_kms: float) -> Windows:
    """Windows on a grid of rest wavelengths [grid] for pixels at others [pixel] with a line-spread function [pixel].

    Pixels that the grid does not hold see its ends: give them no weight (`reach_aa`).
    """
    grid, x = np.log(grid_aa) * C_KMS, np.log(wave_aa) * C_KMS
    step = np.gradient(grid)
    n = min(int(np.ceil(2 * REACH * np.hypot(MOST_KMS, np.median(lsf_kms)) / np.median(step))) | 1, len(grid))
    nearest = np.clip(np.searchsorted(grid, x), 0, len(grid) - 1)
    first = np.clip(nearest - n // 2, 0, len(grid) - n)
    members = first[:, None] + np.arange(n)
    return Windows(
        jnp.asarray(first, jnp.int32), jnp.asarray(grid[members] - x[:, None], jnp.float32),
        jnp.asarray(step[members] / np.median(step), jnp.float32), jnp.asarray(lsf_kms**2 - own_kms**2, jnp.float32),
        jnp.asarray(LEAST_STEPS * step[nearest], jnp.float32),
    )  # fmt: skip


class Task(eqx.Module):
    """One galaxy's data and its emulator, ready for the likelihood."""

    emulator: Emulator
    windows: Windows
    errors: Covariance
    flux: Float[Array, "pixel"]


class Draw(NamedTuple):
    """A point against the data; spectra in the data's unit, `spectrum` with a draw of the templates given the data."""

    log_posterior: Float[Array, ""]
    chi2: Float[Array, ""]
    amplitude: Float[Array, ""]
    light: Float[Array, "grid"]
    spectrum: Float[Array, "pixel"]


class EmulatedTarget(NamedTuple):
    """All that the posterior density depends on, besides the parameters: the emulator's, then `DISPERSION`, then (linear) the mass."""

    task: Task
    model: tuple[Parameter, ...]

    @property
    def n_parameter(self) -> int:
        """Dimensions of u-space: all parameters without the mass."""
        return len(self.model) - 1

    def log_posterior(self, u: Points) -> Float[np.ndarray, "draw"]:
        """log p(data | u) + log N(u; 0, 1) of points from every pixel, up to a constant."""
        return self.evaluate(u, lambda draw: draw.log_posterior).astype(np.float64)

    def pure(self) -> tuple[Callable, tuple]:
        """The same as a pure function of one point and of arrays."""
        return _density(self.model), (self.task,)

    def left_out(self) -> float:
        """What `log_posterior` leaves out of prior and likelihood, with its sign changed; the data's (2 pi)^(-n/2) is no model's."""
        return exact.left_out(self.n_parameter, self.task.errors, self.model[-1].prior)

    def evaluate(self, u: Points, keep: Callable[[Draw], Any], *, noise: np.ndarray | None = None) -> Any:
        """What `keep` takes of the `Draw` of each point; `noise` [draw, 1 + template] is for what is linear, its mean without."""
        noise = np.zeros((len(u), n_linear(self.task)), np.float32) if noise is None else noise
        batched = (np.asarray(u, np.float32), np.asarray(noise, np.float32))
        return in_batches(lambda *some: keep(_evaluate(*some, *self)), exact.BATCH, *batched)


def n_linear(task: Task) -> int:
    """Standard normal numbers that a draw takes: the amplitude and the templates."""
    return 1 + len(task.errors.share)


@cache
def _density(model: tuple[Parameter, ...]) -> Callable:
    def log_density(u: Array, data: tuple[Task]) -> Array:
        return at_point(u, jnp.zeros(n_linear(data[0])), data[0], model).log_posterior

    return log_density


@partial(jax.jit, static_argnames="model")
def _evaluate(u: Array, noise: Array, task: Task, model: tuple[Parameter, ...]) -> Draw:
    return jax.vmap(lambda point, normal: at_point(point, normal, task, model))(u, noise)


def at_point(u: Float[Array, "parameter"], normal: Float[Array, "linear"], task: Task, model: tuple[Parameter, ...]) -> Draw:
    """One point of u-space against every pixel; `normal` as in `EmulatedTarget.evaluate`."""
    *values, log_dispersion = parameters.from_normal(model[:-1], u).values()
    light = jnp.exp(task.emulator.ln_flux(jnp.stack(values)))
    seen = task.windows.seen(light, 10**log_dispersion)
    errors, scale = task.errors, task.errors.inverse_sigma
    fit = likelihood.fit_amplitude(likelihood.Linear(scale * seen, jnp.zeros((len(seen), 0))), scale * task.flux, errors)
    amplitude = fit.amplitude + fit.amplitude_sd * exact.above(-fit.amplitude / fit.amplitude_sd, normal[0])
    spectrum = amplitude * seen
    return Draw(
        log_posterior=fit.log_likelihood - 0.5 * jnp.sum(u**2),
        chi2=fit.chi2,
        amplitude=amplitude,
        light=light,
        spectrum=spectrum + errors.explained(task.flux - spectrum, normal[1:]),
    )


class PriorFlow(eqx.Module):
    """The prior as a flow, for models without a network of posteriors: u-space is its own base space."""

    n_parameter: int = eqx.field(static=True)

    def from_base(self, z: Float[Array, "parameter"], context: Float[Array, "context"]) -> tuple[Array, Array]:
        """The point itself."""
        return z, jnp.zeros(())

    def to_base(self, u: Float[Array, "parameter"], context: Float[Array, "context"]) -> tuple[Array, Array]:
        """The point itself."""
        return u, jnp.zeros(())
