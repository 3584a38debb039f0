"""The exact likelihood of a spectrum, with everything linear marginalised analytically.

    data ~ N(A model(u), C + A^2 design design')

C holds photons, floor and the templates of `covariance.py`; the columns of `design` are the line groups' scatter about Cloudy and a
velocity offset of the gas, which depend on the parameters u. The amplitude A is the mass: Gaussian given u, with a prior flat in log A
over its narrow width. Vectors here are whitened by C already, on all pixels (`linear_at_pixels`) or reduced (`reduced.py`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..grids.library import Library
from ..instrument import simulate
from ..instrument.systematics import Systematics, group_amplitudes, group_matrix
from ..physics import galaxy, parameters
from ..physics.galaxy import GalaxyModel, View
from ..units import C_KMS
from .covariance import Whitening

VELOCITY_STEP_KMS = 15.0


class Linear(NamedTuple):
    """The model and the design matrix at one point, per unit amplitude, whitened."""

    model: Float[Array, "component"]
    design: Float[Array, "component column"]


class Fit(NamedTuple):
    """Log marginal likelihood; the amplitude's Gaussian; residual and design at its mean."""

    log_likelihood: Float[Array, ""]
    amplitude: Float[Array, ""]
    amplitude_sd: Float[Array, ""]
    residual: Float[Array, "component"]
    design: Float[Array, "component column"]
    chi2: Float[Array, ""]


def fit_amplitude(parts: Linear, data: Float[Array, "component"]) -> Fit:
    """Marginalise amplitude and line strengths of whitened data.

    Residuals are formed before squares are taken: with a total S/N of thousands, differences of squares would be lost in float32.
    The design scales with a least-squares amplitude, which differs from A by less than its error.
    """
    a0 = jnp.maximum(parts.model @ data / (parts.model @ parts.model), 1e-30)
    design, model = a0 * parts.design, a0 * parts.model
    factor = jnp.linalg.cholesky(jnp.eye(design.shape[1]) + design.T @ design)
    inverse_model = model - design @ jax.scipy.linalg.cho_solve((factor, True), design.T @ model)
    precision = model @ inverse_model
    ratio = jnp.maximum(1.0 + inverse_model @ (data - model) / precision, 1e-3)
    residual = data - ratio * model
    absorbed = jax.scipy.linalg.solve_triangular(factor, design.T @ residual, lower=True)
    chi2 = jnp.sum(residual**2) - jnp.sum(absorbed**2)
    log_det = jnp.sum(jnp.log(jnp.diagonal(factor)))
    log_amplitude = -0.5 * jnp.log(precision) - jnp.log(ratio) + 0.5 * np.log(2 * np.pi)
    log_likelihood = -0.5 * chi2 - log_det + log_amplitude
    return Fit(log_likelihood, a0 * ratio, a0 / jnp.sqrt(precision), residual, design, chi2)


def group_index(library: Library) -> Int[np.ndarray, "line"]:
    """Group number of each line."""
    return np.argmax(group_matrix(library), axis=0)


def line_share(
    luminosity: Float[Array, "line"], level: Float[Array, ""], library: Library, systematics: Systematics
) -> Float[Array, "group"]:
    """Standard deviation of each line group relative to its predicted luminosity (`simulate.scatter_lines` draws it)."""
    scatter, ew = group_amplitudes(systematics, library)
    total = jnp.asarray(group_matrix(library)) @ luminosity
    return jnp.sqrt((scatter * total) ** 2 + (ew * level) ** 2) / jnp.maximum(total, 1e-30)


class Light(NamedTuple):
    """Model light at pixels per unit amplitude: continuum, the line groups, and their share of scatter."""

    continuum: Float[Array, "pixel"]
    groups: Float[Array, "group pixel"]
    shift: Float[Array, "pixel"]
    luminosity: Float[Array, "line"]
    share: Float[Array, "group"]


def continuum_at_pixels(
    u: Float[Array, "parameter"], model: GalaxyModel, view: View, t_universe_gyr: Array, library: Library
) -> Float[Array, "pixel"]:
    """Stars and nebular continuum of a galaxy of parameters u."""
    values = model.complete(parameters.from_normal(model.parameters[:-1], u))
    parts = galaxy.ingredients(model, values, t_universe_gyr, library)
    return galaxy.continuum(model, values, parts, view, library)


def light_at_pixels(
    u: Float[Array, "parameter"], model: GalaxyModel, view: View, t_universe_gyr: Array, library: Library,
    systematics: Systematics,
) -> Light:  # fmt: skip
    """Everything that a galaxy of parameters u sends to the pixels, unwhitened."""
    values = model.complete(parameters.from_normal(model.parameters[:-1], u))
    parts = galaxy.ingredients(model, values, t_universe_gyr, library)
    continuum = galaxy.continuum(model, values, parts, view, library)
    luminosity = galaxy.line_luminosities(model, values, parts, library)
    members = jnp.asarray(group_matrix(library))

    def spread(velocity_kms: float, weights: Float[Array, "line"]) -> Float[Array, "pixel"]:
        centres = library.line_wave_aa * (1.0 + velocity_kms / C_KMS)
        windows = galaxy.line_windows(view, centres, values["sigma_gas"])
        return galaxy.spread_lines(view, weights[:, None] * windows)

    moved = spread(VELOCITY_STEP_KMS, luminosity) - spread(-VELOCITY_STEP_KMS, luminosity)
    level = simulate.v_band_light(view.wave_aa, continuum, jnp.ones_like(continuum))
    return Light(
        continuum=continuum,
        groups=jax.vmap(lambda member: spread(0.0, member * luminosity))(members),
        shift=systematics.velocity_kms * moved / (2 * VELOCITY_STEP_KMS),
        luminosity=luminosity,
        share=line_share(luminosity, level, library, systematics),
    )


def linear_at_pixels(light: Light, white: Whitening) -> Linear:
    """Model and design at all pixels, whitened."""
    columns = jnp.concatenate([light.groups * light.share[:, None], light.shift[None]]).T
    return Linear(white.apply(light.continuum + jnp.sum(light.groups, 0)), white.apply(columns))


def log_posterior_at_pixels(
    u: Float[Array, "parameter"], model: GalaxyModel, view: View, white: Whitening, whitened_data: Float[Array, "pixel"],
    t_universe_gyr: Array, library: Library, systematics: Systematics,
) -> Float[Array, ""]:  # fmt: skip
    """log p(data | u) + log N(u; 0, 1) from every pixel, up to the same constant as the reduced one."""
    light = light_at_pixels(u, model, view, t_universe_gyr, library, systematics)
    fit = fit_amplitude(linear_at_pixels(light, white), whitened_data)
    return fit.log_likelihood - 0.5 * jnp.sum(u**2)
