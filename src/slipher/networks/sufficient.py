"""What a spectrum says of a linear basis, and no more: its sufficient statistics, nuisances marginalised.

    flux = B c + T t + noise,   t ~ N(0, 1)     --->     chi^2(c) = chi^2_0 - 2 (c - c_0)' g + (c - c_0)' G (c - c_0)

B is a rest-frame basis at the spectrum's own pixels, through its own line-spread function; T what the instrument adds and no galaxy has
(calibration, residuals of the sky), of known size. With W = (N + T T')^-1, G = B' W B and g = B' W (d - B c_0) this is the exact Gaussian
likelihood of any spectrum in the span of the basis, for any amplitude: what is fitted afterwards never touches a pixel, and does not know
masks, gaps, redshifts or instruments but by what they leave unsaid. About c_0, a fit of the data: the bare products of bright spectra would
differ by less than single precision holds. N has a floor beside the noise, which grows in emission lines: decoders are not
perfect, and the brightest pixels must not claim that they are.
"""

from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .projection import Projection, working_floor

ROUNDS = 3  # in which scale and coefficients of a spectrum settle
LEVEL_AA = (3500.0, 7000.0)  # rest wavelengths over which spectra have mean one, whether they were seen there or not


class Statistics(eqx.Module):
    """Of a spectrum in units of `scale` (its own flux unit): c_0, g, G, chi^2_0, and how many pixels it has.

    `gram` is the upper triangle of G, row by row.
    """

    gram: Float[Array, "pair"]
    centre: Float[Array, "component"]
    gradient: Float[Array, "component"]
    least: Float[Array, ""]
    n_pixels: Float[Array, ""]
    scale: Float[Array, ""]

    def matrix(self) -> Float[Array, "component component"]:
        """G in full."""
        return self.gram[_places(self.centre.shape[-1])]


@cache
def _places(n: int) -> Int[np.ndarray, "component component"]:
    """Where in the upper triangle the elements of a symmetric matrix are."""
    out = np.zeros((n, n), np.int32)
    out[np.triu_indices(n)] = np.arange(n * (n + 1) // 2)
    return np.maximum(out, out.T)


class Ridge(NamedTuple):
    """Coefficients of a spectrum over its own level, their sd, and that level in units of the statistics' scale."""

    coefficients: Float[Array, "component"]
    sd: Float[Array, "component"]
    amplitude: Float[Array, ""]

    def spectrum(self, basis: Float[Array, "pixel component"]) -> Float[Array, "pixel"]:
        """In units of the statistics' scale."""
        return self.amplitude * (basis @ self.coefficients)


def levels(projection: Projection, wave_aa: np.ndarray) -> Float[np.ndarray, "component"]:
    """Of each component over `LEVEL_AA`, emission lines left out: the functional that a spectrum's level is."""
    inside = (wave_aa > LEVEL_AA[0]) & (wave_aa < LEVEL_AA[1])
    mean = np.asarray(projection.basis, np.float64)[inside].mean(0)
    mean[projection.n_continuum :] = 0.0
    return mean.astype(np.float32)


def collect(
    flux: Float[Array, "pixel"],
    ivar: Float[Array, "pixel"],
    basis: Float[Array, "pixel component"],
    nuisance: Float[Array, "pixel template"],
    multiplied: Float[Array, "pixel factor"],
    projection: Projection,
    level: Float[Array, "component"],
) -> Statistics:
    """Statistics of one spectrum (any flux unit); `ivar` 0 is no information.

    Parameters
    ----------
    nuisance
        Additive templates in the flux' unit, in their standard deviations.
    multiplied
        Factors on the spectrum less one, in their standard deviations: calibration.
    """
    mean = basis @ projection.mean
    seen = ivar > 0
    data = jnp.where(seen, flux, 0.0)
    first = jnp.sum(ivar * mean * data) / jnp.maximum(jnp.sum(ivar * mean**2), 1e-30)
    least = 0.1 / jnp.sqrt(jnp.maximum(jnp.sum(ivar * mean**2), 1e-30))
    scale = jnp.maximum(first, least)
    data, scaled = data / scale, ivar * scale**2
    floor = working_floor(data)
    weight = scaled / (1.0 + floor**2 * scaled)
    root = jnp.sqrt(weight)[:, None]
    # A smooth estimate of the spectrum carries the calibration: templates that followed the noise would take it for calibration.
    weighted = root * basis
    product = weighted.T @ weighted
    plain = solve(product, weighted.T @ (root[:, 0] * data), projection, level)
    templates = jnp.concatenate([nuisance / scale, multiplied * jnp.maximum(plain.spectrum(basis), 0.0)[:, None]], 1) * root
    factor = jax.scipy.linalg.cho_factor(templates.T @ templates + jnp.eye(templates.shape[1]), lower=True)
    cross = weighted.T @ templates
    gram = product - cross @ jax.scipy.linalg.cho_solve(factor, cross.T)

    def left_of(column: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
        """A column that has the weights' root already, nuisances taken off."""
        return column - templates @ jax.scipy.linalg.cho_solve(factor, templates.T @ column)

    found = solve(gram, weighted.T @ left_of(root[:, 0] * data), projection, level)
    centre = found.amplitude * found.coefficients
    left = root[:, 0] * (data - basis @ centre)
    clean = left_of(left)
    n = jnp.sum(seen).astype(flux.dtype)
    return Statistics(gram[np.triu_indices(len(centre))], centre, weighted.T @ clean, left @ clean, n, scale)


def mean_of(flux: Float[Array, "pixel"], seen: Bool[Array, "pixel"]) -> Float[Array, ""]:
    """Mean of the pixels that were seen."""
    return jnp.sum(jnp.where(seen, flux, 0.0)) / jnp.maximum(jnp.sum(seen), 1)


def solve(
    gram: Float[Array, "component component"], right: Float[Array, "component"], projection: Projection, level: Float[Array, "component"]
) -> Ridge:
    """Coefficients a and amplitude A of d = A B a with a ~ N(mean, variance) and the level of a being one.

    The level is that of the whole range as the prior continues it, so that it depends on no window that has to be covered.
    """
    sd_prior = jnp.sqrt(projection.variance)
    scaled = gram * sd_prior[:, None] * sd_prior
    eye = jnp.eye(len(right))

    def once(amplitude: Array) -> tuple[Array, Array]:
        factor = jax.scipy.linalg.cho_factor(amplitude**2 * scaled + eye, lower=True)
        step = jax.scipy.linalg.cho_solve(factor, amplitude * sd_prior * (right - amplitude * (gram @ projection.mean)))
        return projection.mean + sd_prior * step, factor[0]

    amplitude = jnp.ones(())
    for _ in range(ROUNDS):
        coefficients, _ = once(amplitude)
        amplitude = amplitude * jnp.clip(level @ coefficients, 0.3, 3.0)
    coefficients, factor = once(amplitude)
    inverse = jax.scipy.linalg.cho_solve((factor, True), eye)
    return Ridge(coefficients, sd_prior * jnp.sqrt(jnp.diagonal(inverse)), amplitude)


def ridge(statistics: Statistics, projection: Projection, level: Float[Array, "component"]) -> Ridge:
    """`solve` of a spectrum's statistics."""
    gram = statistics.matrix()
    return solve(gram, statistics.gradient + gram @ statistics.centre, projection, level)


def amplitude_of(shape: Float[Array, "component"], statistics: Statistics) -> tuple[Array, Array]:
    """The likeliest amplitude of a spectrum of these coefficients, never negative, and its standard error."""
    along = statistics.matrix() @ shape
    information = jnp.maximum(shape @ along, 1e-30)
    return jnp.maximum(shape @ statistics.gradient + along @ statistics.centre, 0.0) / information, 1.0 / jnp.sqrt(information)


def chi2(shape: Float[Array, "component"], statistics: Statistics) -> Float[Array, ""]:
    """Of the data about a spectrum of these coefficients and the likeliest amplitude."""
    off = amplitude_of(shape, statistics)[0] * shape - statistics.centre
    return statistics.least - 2.0 * (off @ statistics.gradient) + off @ statistics.matrix() @ off


def instrumental(
    flux: Float[Array, "pixel"],
    ivar: Float[Array, "pixel"],
    predicted: Float[Array, "pixel"],
    nuisance: Float[Array, "pixel template"],
    multiplied: Float[Array, "pixel factor"],
) -> Float[Array, "pixel"]:
    """What the instrument most likely added to a predicted spectrum: the marginalised nuisances at the peak of their posterior."""
    seen = ivar > 0
    floor = working_floor(predicted, mean_of(predicted, seen))
    weight = jnp.where(seen, ivar, 0.0) / (1.0 + floor**2 * ivar)
    templates = jnp.concatenate([nuisance, multiplied * jnp.maximum(predicted, 0.0)[:, None]], 1)
    weighted = templates * weight[:, None]
    bend = templates.T @ weighted + jnp.eye(templates.shape[1])
    left = jnp.where(seen, flux - predicted, 0.0)
    return templates @ jax.scipy.linalg.solve(bend, weighted.T @ left, assume_a="pos")
