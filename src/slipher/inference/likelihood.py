"""The exact likelihood of a spectrum, with everything linear marginalised analytically.

    data ~ N(A model(u), C + A^2 design design')

C holds photons, floor and the templates of `covariance.py`; the columns of `design` are the line groups' scatter about Cloudy and a
velocity offset of the gas, which depend on the parameters u. The amplitude A is the mass: Gaussian given u, with a prior flat in log A
over its narrow width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..grids.library import Library
from ..instrument import simulate
from ..instrument.systematics import Systematics, group_amplitudes, group_matrix, groups_of
from ..physics import galaxy, parameters
from ..physics.galaxy import GalaxyModel, View
from ..units import C_KMS
from .covariance import Covariance

VELOCITY_STEP_KMS = 15.0


class Linear(NamedTuple):
    """The model and the design matrix at one point, per unit amplitude, over each pixel's sigma."""

    model: Float[Array, "pixel"]
    design: Float[Array, "pixel column"]


class Fit(NamedTuple):
    """What marginalising leaves: the amplitude's Gaussian, and that of the design's coefficients (units of their sd) given it.

    Their mean is `lines_mean` at the mean amplitude and changes by `lines_slope` per unit of it; `lines_factor` is the lower Cholesky
    factor of their precision.
    """

    log_likelihood: Float[Array, ""]
    chi2: Float[Array, ""]
    amplitude: Float[Array, ""]
    amplitude_sd: Float[Array, ""]
    lines_mean: Float[Array, "column"]
    lines_slope: Float[Array, "column"]
    lines_factor: Float[Array, "column column"]


def fit_amplitude(parts: Linear, data: Float[Array, "pixel"], errors: Covariance) -> Fit:
    """Marginalise amplitude and line strengths, given the data over each pixel's sigma.

    Residuals are formed before squares are taken: with a total S/N of thousands, differences of squares would be lost in float32.
    The design scales with a least-squares amplitude, which differs from A by less than its error. Where data show no light, or less than
    none, a tenth of that error stands for it: a mass is positive.
    """
    square = jnp.maximum(parts.model @ parts.model, 1e-30)
    a0 = jnp.maximum(parts.model @ data / square, 0.1 / jnp.sqrt(square))
    design, model = a0 * parts.design, a0 * parts.model
    n = design.shape[1]
    gram = errors.inner(jnp.concatenate([design, model[:, None], (data - model)[:, None]], 1))
    factor = jnp.linalg.cholesky(jnp.eye(n) + gram[:n, :n])
    absorbed = jax.scipy.linalg.solve_triangular(factor, gram[:n, n:], lower=True)
    left = gram[n:, n:] - absorbed.T @ absorbed  # of model and residual, once lines have followed
    precision, cross = left[0, 0], left[0, 1]
    ratio = jnp.maximum(1.0 + cross / precision, 1e-3)
    change = ratio - 1.0
    chi2 = left[1, 1] - 2.0 * change * cross + change**2 * precision
    log_amplitude = -0.5 * jnp.log(precision) - jnp.log(ratio) + 0.5 * np.log(2 * np.pi)
    log_likelihood = -0.5 * chi2 - jnp.sum(jnp.log(jnp.diagonal(factor))) + log_amplitude
    slope, mean = jax.scipy.linalg.solve_triangular(factor.T, absorbed, lower=False).T
    return Fit(log_likelihood, chi2, a0 * ratio, a0 / jnp.sqrt(precision), mean - change * slope, -slope / a0, factor)


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


def light_at_pixels(
    u: Float[Array, "parameter"], model: GalaxyModel, view: View, t_universe_gyr: Array, library: Library,
    systematics: Systematics,
) -> Light:  # fmt: skip
    """Everything that a galaxy of parameters u sends to the pixels, as light."""
    values = model.complete(parameters.from_normal(model.parameters[:-1], u))
    parts = galaxy.ingredients(model, values, t_universe_gyr, library)
    continuum = galaxy.continuum(model, values, parts, view, library)
    luminosity = galaxy.line_luminosities(model, values, parts, library)
    members = jnp.asarray(group_index(library))

    def windows(velocity_kms: float) -> Float[Array, "line window"]:
        centres = library.line_wave_aa * (1.0 + velocity_kms / C_KMS)
        return luminosity[:, None] * galaxy.line_windows(view, centres, values["sigma_gas"])

    moved = windows(VELOCITY_STEP_KMS) - windows(-VELOCITY_STEP_KMS)
    level = simulate.v_band_light(view.wave_aa, continuum)
    return Light(
        continuum=continuum,
        groups=galaxy.spread_groups(view, windows(0.0), members, len(groups_of(library))),
        shift=systematics.velocity_kms / (2 * VELOCITY_STEP_KMS) * galaxy.spread_lines(view, moved),
        luminosity=luminosity,
        share=line_share(luminosity, level, library, systematics),
    )


def linear_at_pixels(light: Light, errors: Covariance) -> Linear:
    """Model and design at all pixels, over each pixel's sigma."""
    columns = jnp.concatenate([light.groups * light.share[:, None], light.shift[None]]).T
    scale = errors.inverse_sigma
    return Linear(scale * (light.continuum + jnp.sum(light.groups, 0)), scale[:, None] * columns)
