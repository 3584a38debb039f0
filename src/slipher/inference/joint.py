"""The exact likelihood of a spectrum and photometry together: one galaxy, two amplitudes, and the aperture between them.

    log p(both | u) = log p(spectrum | u) + log of int p(bands | u, M) p(M) N(log M_aperture - log M; mean, sd) dlog M

The spectrum measures the mass in its aperture given u, the photometry that of the whole; their ratio, the share of the light that the
aperture caught, has a Gaussian prior in log10. Galaxies are bluer outside than inside, and spectra are calibrated to several per cent:
the ratio may change with wavelength, as a power with a prior of its own (`aperture_slope`). Else the galaxy is alike inside and outside.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..batches import in_batches
from ..grids.library import BroadLibrary, Library
from ..instrument.systematics import Systematics
from ..networks.posterior_flow import PosteriorFlow
from ..physics.galaxy import GalaxyModel
from . import exact, photometric
from .exact import Problem
from .photometric import Assumed, Bands

Points = Float[Array, "draw parameter"] | Float[np.ndarray, "draw parameter"]


class Both(eqx.Module):
    """A spectrum and photometry ready for the likelihood; `log_mass_unit` is log10 Msun of the spectrum's unit amplitude.

    `aperture` holds mean and standard deviation of log10 of the share of light inside.
    """

    spectrum: Problem
    bands: Bands
    log_mass_unit: Float[Array, ""]
    aperture: Float[Array, "two"]


class Preset(NamedTuple):
    """What is static: the spectrum's preset and systematics, and what photometry assumes, whose preset has the same parameters first."""

    model: GalaxyModel
    systematics: Systematics
    assumed: Assumed


class JointDraw(NamedTuple):
    """A point against both; log10 of the whole mass and of the aperture's share."""

    log_posterior: Float[Array, ""]
    spectrum: exact.Draw
    bands: photometric.Draw
    log_share: Float[Array, ""]


class JointTarget(NamedTuple):
    """All that the posterior density of a galaxy with both depends on, besides the parameters."""

    task: Both
    library: Library
    broad: BroadLibrary
    preset: Preset

    @property
    def of_spectrum(self) -> exact.Target:
        """The spectrum alone."""
        return exact.Target(self.task.spectrum, self.library, self.preset.model, self.preset.systematics)

    @property
    def n_parameter(self) -> int:
        """Dimensions of u-space: those of the spectrum's preset, then what only bands see."""
        return len(self.preset.assumed.model.parameters) - 1

    def log_posterior(self, u: Points) -> Float[np.ndarray, "draw"]:
        """log p(data | u) + log N(u; 0, 1) of points, up to a constant."""
        return self.evaluate(u, lambda draw: draw.log_posterior).astype(np.float64)

    def pure(self) -> tuple[Callable, tuple]:
        """The same as a pure function of one point and of arrays."""
        return _density(self.preset), (self.task, self.library, self.broad)

    def left_out(self) -> float:
        """What `log_posterior` leaves out of prior and likelihood, with its sign changed."""
        return self.of_spectrum.left_out() + 0.5 * (self.n_parameter - self.of_spectrum.n_parameter) * np.log(2 * np.pi)

    def evaluate(
        self, u: Points, keep: Callable[[JointDraw], Any], *, noise: np.ndarray | None = None, uniform: np.ndarray | None = None
    ) -> Any:
        """What `keep` takes of the `JointDraw` of each point; `noise` as for a spectrum, `uniform` as for bands."""
        noise = np.zeros((len(u), exact.n_linear(self.of_spectrum)), np.float32) if noise is None else noise
        uniform = np.full(len(u), 0.5, np.float32) if uniform is None else uniform
        return in_batches(lambda *some: keep(_evaluate(*some, *self)), exact.BATCH, np.asarray(u, np.float32), noise, uniform)


@partial(jax.jit, static_argnames="preset")
def _evaluate(u: Array, noise: Array, uniform: Array, task: Both, library: Library, broad: BroadLibrary, preset: Preset) -> JointDraw:
    return jax.vmap(lambda point, normal, number: at_point(point, normal, number, task, library, broad, preset))(u, noise, uniform)


def at_point(
    u: Float[Array, "parameter"], noise: Float[Array, "linear"], uniform: Float[Array, ""], task: Both, library: Library,
    broad: BroadLibrary, preset: Preset,
) -> JointDraw:  # fmt: skip
    """One point of u-space against both; numbers for what is linear and for the mass as for each alone."""
    seen = u[: len(preset.model.parameters) - 1]
    spectrum = exact.at_point(seen, noise, task.spectrum, library, preset.model, preset.systematics)
    inside = task.log_mass_unit + jnp.log10(jnp.maximum(spectrum.amplitude, 1e-30))
    mean, sd = task.aperture
    wide = jnp.hypot(sd, spectrum.amplitude_sd / jnp.maximum(spectrum.amplitude, 1e-30) / np.log(10.0))

    def share(log_mass: Float[Array, "node"]) -> Float[Array, "node"]:
        return -0.5 * ((inside - log_mass - mean) / wide) ** 2 - jnp.log(wide)

    bands = photometric.at_point(u, uniform, task.bands, broad, preset.assumed, share)
    together = spectrum.log_posterior + 0.5 * jnp.sum(seen**2) + bands.log_posterior
    return JointDraw(together, spectrum, bands, inside - bands.log_mass)


@cache
def _density(preset: Preset) -> Callable:
    def log_density(u: Array, data: tuple[Both, Library, BroadLibrary]) -> Array:
        task, library, broad = data
        n = exact.n_linear(exact.Target(task.spectrum, library, preset.model, preset.systematics))
        return at_point(u, jnp.zeros(n), jnp.float32(0.5), task, library, broad, preset).log_posterior

    return log_density


class WiderFlow(eqx.Module):
    """A spectrum's flow, with `n_more` parameters that only bands see beside it as they are in the prior."""

    inner: PosteriorFlow
    n_more: int = eqx.field(static=True)

    @property
    def n_parameter(self) -> int:
        """Dimensions of u-space."""
        return self.inner.n_parameter + self.n_more

    def from_base(self, z: Float[Array, "parameter"], context: Float[Array, "context"]) -> tuple[Array, Array]:
        """u of a point of base space, and log |du/dz|."""
        u, log_det = self.inner.from_base(z[: -self.n_more], context)
        return jnp.concatenate([u, z[-self.n_more :]]), log_det

    def to_base(self, u: Float[Array, "parameter"], context: Float[Array, "context"]) -> tuple[Array, Array]:
        """The inverse of `from_base`: z of a point, and log |du/dz| there."""
        z, log_det = self.inner.to_base(u[: -self.n_more], context)
        return jnp.concatenate([z, u[-self.n_more :]]), log_det
