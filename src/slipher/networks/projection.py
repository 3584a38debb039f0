"""Data as a network sees them: coefficients of a rest-frame basis by ridge regression, with their errors (DESIGN.md, decision 4).

A spectrum of any instrument, mask and noise is projected onto the same K vectors by weighted least squares with the basis' own
Gaussian prior. Masks, gaps and noise are dealt with here, exactly; the network meets a fixed number of coefficients and their
standard deviations, whatever the survey.

The basis is learnt from the physical simulator: principal components of continua, and of the lines of each complex apart (one
set of line components for all would mix what different ions say).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16, Int

from ..units import C_KMS

NORM_WINDOW_AA = (3800.0, 6500.0)  # where spectra are brought to mean one; every survey and redshift covers some of it
# Keep bright pixels from claiming more than the error model allows: fractions of the mean flux, and of what rises above twice that.
WORKING_FLOOR, WORKING_LINE_FLOOR = 0.01, 0.03
# [O II], [Ne III], the Balmer lines, [O III], He I, [O I], [N II], [S II], [S III]; vacuum
STRONG_LINES_AA = (
    3727.1, 3729.9, 3869.9, 3890.2, 3971.2, 4102.9, 4341.7, 4862.7, 4960.3, 5008.2, 5877.2, 6302.0, 6365.5, 6549.9, 6564.6, 6585.3,
    6718.3, 6732.7, 7137.8, 9071.1, 9533.2,
)  # fmt: skip


@dataclass(frozen=True)
class Ranks:
    """Sizes of the basis: components of continua, of lines in all, and of the lines of one complex at most and at least.

    Faint complexes go without components unless they have a least number: three are a line's profile, its width and its shift. Lines are of
    one complex where a neighbour is nearer than the gap: the wider, the better blends are described, and the worse the faint lines beside
    strong ones, which principal components pass over ([O III] 4364 beside H gamma, [S II] 4070 beside H delta).
    """

    continuum: int = 52
    lines: int = 60
    one_complex: int = 8
    least_of_complex: int = 0
    gap_aa: float = 45.0


DEFAULT_RANKS = Ranks()


class Projection(eqx.Module):
    """The basis on the library's grid [grid, component] and the prior mean and variance of its coefficients.

    The basis is held in half precision: that is what ships, and training sees the same rounded numbers. `membership` is 1 where a
    line component belongs to a complex, else 0.
    """

    basis: Float16[Array, "grid component"]
    mean: Float[Array, "component"]
    variance: Float[Array, "component"]
    membership: Float[Array, "complex line"]
    n_continuum: int = eqx.field(static=True)


class Projected(NamedTuple):
    """A projected spectrum: coefficients of the spectrum over `norm`, their sd, residual chi^2, pixels, weight, log evidence.

    `chi2_between_lines` is per pixel, of those far from the strong lines: line profiles, which the basis knows to a few per cent only,
    would drown what else is strange.
    """

    coefficients: Float[Array, "component"]
    sd: Float[Array, "component"]
    norm: Float[Array, ""]
    chi2: Float[Array, ""]
    chi2_between_lines: Float[Array, ""]
    n_pixels: Float[Array, ""]
    log_weight: Float[Array, ""]
    log_evidence: Float[Array, ""]


@jax.jit
def at_pixels(
    basis: Float16[Array, "grid component"], index: Int[Array, "pixel"] | Int[np.ndarray, "pixel"],
    stencil: Float[Array, "pixel tap"] | Float[np.ndarray, "pixel tap"],
) -> Float[Array, "pixel component"]:  # fmt: skip
    """The basis between the library's grid points, given the points and their weights (a stencil of `slipher.instrument.spectrograph`)."""
    return sum(stencil[:, j, None] * basis[index + j].astype(jnp.float32) for j in range(stencil.shape[1]))


def norm_of(flux: Float[Array, "pixel"], weight: Float[Array, "pixel"], wave_aa: Float[Array, "pixel"]) -> Array:
    """Mean flux of the pixels with information inside the window; never below a tenth of its error."""
    low, high = NORM_WINDOW_AA
    inside = ((wave_aa > low) & (wave_aa < high) & (weight > 0)).astype(flux.dtype)
    n = jnp.maximum(jnp.sum(inside), 1.0)
    mean = jnp.sum(inside * flux) / n
    error = jnp.sqrt(jnp.sum(inside / jnp.where(weight > 0, weight, 1.0))) / n
    return jnp.maximum(mean, 0.1 * error + 1e-30)


def working_floor(flux: Float[Array, "pixel"], level: Float[Array, ""] | float = 1.0) -> Float[Array, "pixel"]:
    """Error allowed beside the noise: a share of the level, and of what rises above twice that."""
    return WORKING_FLOOR * jnp.abs(level) + WORKING_LINE_FLOOR * jnp.clip(flux - 2.0 * level, 0.0, None)


def project(
    flux: Float[Array, "pixel"],
    ivar: Float[Array, "pixel"],
    wave_aa: Float[Array, "pixel"],
    basis: Float[Array, "pixel component"],
    mean: Float[Array, "component"],
    variance: Float[Array, "component"],
) -> Projected:
    """Ridge-project a spectrum (any flux unit) at rest wavelengths onto the basis sampled at its pixels.

    Solves (B' W B + V^-1) a = B' W d + V^-1 m, with d the flux over its mean, W its weights with a working floor
    that grows in emission lines, where profiles are known to a few per cent only.
    """
    norm = norm_of(flux, ivar, wave_aa)
    scaled_ivar = ivar * norm**2
    data = jnp.where(ivar > 0, flux / norm, 0.0)
    floor = working_floor(data)
    weight = scaled_ivar / (1.0 + floor**2 * scaled_ivar)
    root = jnp.sqrt(weight)
    weighted = basis * root[:, None]
    # Scaling by the prior's sd keeps the system well conditioned in float32.
    sd_prior = jnp.sqrt(variance)
    gram = (weighted.T @ weighted) * sd_prior[:, None] * sd_prior + jnp.eye(len(mean))
    residual = data - basis @ mean
    right = sd_prior * (weighted.T @ (root * residual))
    factor = jax.scipy.linalg.cho_factor(gram, lower=True)
    step = jax.scipy.linalg.cho_solve(factor, right)
    inverse = jax.scipy.linalg.cho_solve(factor, jnp.eye(len(mean)))
    coefficients = mean + sd_prior * step
    left = data - basis @ coefficients
    between = between_lines(wave_aa) * (weight > 0)
    return Projected(
        coefficients=coefficients,
        sd=sd_prior * jnp.sqrt(jnp.diagonal(inverse)),
        norm=norm,
        chi2=jnp.sum(weight * left**2),
        chi2_between_lines=jnp.sum(between * weight * left**2) / jnp.maximum(jnp.sum(between), 1.0),
        n_pixels=jnp.sum(weight > 0),
        log_weight=0.5 * jnp.log(jnp.sum(weight) + 1e-6),
        log_evidence=-0.5 * (jnp.sum(weight * left**2) + jnp.sum(step**2)) - jnp.sum(jnp.log(jnp.diagonal(factor[0]))),
    )


def between_lines(wave_aa: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
    """1 at rest wavelengths that are further than 900 km/s from each strong line, else 0."""
    distance = jnp.abs(jnp.log(wave_aa)[:, None] - jnp.log(jnp.asarray(STRONG_LINES_AA)))
    return jnp.all(distance > 900.0 / C_KMS, axis=1).astype(jnp.float32)


def features(projected: Projected, projection: Projection, redshift: Array, log_lsf: Float[Array, "three"]) -> Float[Array, "feature"]:
    """What the network reads: standardised coefficients (linear and compressed), log errors, redshift, weight, resolution.

    And for each complex of lines its strength and its shape: how a profile's components compare with each other says how wide it is,
    whether the line is faint or a thousand times brighter.
    """
    sd_prior = jnp.sqrt(projection.variance)
    a = (projected.coefficients - projection.mean) / sd_prior
    sd = jnp.log(projected.sd / sd_prior)
    chi2 = projected.chi2 / jnp.maximum(projected.n_pixels, 1.0)
    rest = jnp.stack([redshift, jnp.log(redshift + 0.003), projected.log_weight - 5.0, jnp.log(chi2 + 1e-3)])
    line, line_sd = (x[projection.n_continuum :] for x in (projected.coefficients, projected.sd))
    strength = jnp.sqrt(projection.membership @ (line**2 + line_sd**2))
    shape = line / (strength @ projection.membership)
    return jnp.concatenate([jnp.clip(a, -8, 8), jnp.arcsinh(6.0 * a), sd, shape, jnp.log(strength), rest, log_lsf - 4.0])


def complexes(line_wave_aa: np.ndarray, gap_aa: float) -> list[np.ndarray]:
    """Indices of lines that lie within the gap of a neighbour, complex by complex."""
    order = np.argsort(line_wave_aa)
    breaks = np.flatnonzero(np.diff(line_wave_aa[order]) > gap_aa) + 1
    return np.split(order, breaks)


def complex_masks(wave_aa: np.ndarray, line_wave_aa: np.ndarray, gap_aa: float) -> list[np.ndarray]:
    """The grid's pixels that belong to each complex: halfway to its neighbours."""
    spans = [line_wave_aa[c] for c in complexes(line_wave_aa, gap_aa)]
    between = [(a.max() + b.min()) / 2 for a, b in pairwise(spans)]
    edges = [-np.inf, *between, np.inf]
    return [(wave_aa > low) & (wave_aa <= high) for low, high in pairwise(edges)]


def principal(spectra: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Leading right singular vectors [component, pixel], of unit mean square, and their singular values.

    From the smaller of the two Gram matrices: only leading vectors are wanted.
    """
    spectra = np.asarray(spectra, np.float64)
    by_row = spectra.shape[0] < spectra.shape[1]
    values, vectors = np.linalg.eigh(spectra @ spectra.T if by_row else spectra.T @ spectra)
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    leading = spectra.T @ vectors if by_row else vectors
    unit = leading / np.linalg.norm(leading, axis=0)
    # A vector's sign is arbitrary: fixed, rounding on another machine does not change what a coefficient means.
    unit *= np.sign(unit[np.argmax(np.abs(unit), axis=0), np.arange(unit.shape[1])])
    return unit.T * np.sqrt(spectra.shape[1]), np.sqrt(np.maximum(values, 0.0))


def learn(
    continua: np.ndarray, lines: np.ndarray, wave_aa: np.ndarray, line_wave_aa: np.ndarray, ranks: Ranks = DEFAULT_RANKS
) -> Projection:
    """A projection from simulated, noise-free continua and lines [galaxy, grid], both over the continuum's mean."""
    continuum_basis = principal(continua, ranks.continuum)[0]
    strength = np.abs(lines).sum(1, keepdims=True)
    strength = np.where(strength > 0, strength, 1.0)  # galaxies without young stars have no lines
    shapes = lines / np.sqrt(strength * np.median(strength))  # so that a few extreme emitters do not decide
    blocks, importance, owner = [], [], []
    for number, inside in enumerate(complex_masks(wave_aa, line_wave_aa, ranks.gap_aa)):
        vectors, singular = principal(shapes[:, inside], ranks.one_complex)
        block = np.zeros((len(vectors), len(wave_aa)))
        block[:, inside] = vectors
        blocks.append(block)
        importance.append(np.where(np.arange(len(singular)) < ranks.least_of_complex, np.inf, singular))
        owner.extend([number] * len(vectors))
    strongest = np.sort(np.argsort(np.concatenate(importance))[::-1][: ranks.lines])
    owner = np.array(owner)[strongest]
    basis = np.concatenate([continuum_basis, np.concatenate(blocks)[strongest]]).T.astype(np.float16)
    n_continuum = len(continuum_basis)
    a_continuum = np.linalg.lstsq(basis[:, :n_continuum].astype(np.float64), continua.T, rcond=None)[0]
    a_lines = np.linalg.lstsq(basis[:, n_continuum:].astype(np.float64), lines.T, rcond=None)[0]
    coefficients = np.concatenate([a_continuum, a_lines])
    mean, variance = coefficients.mean(1), 2.0 * coefficients.var(1)
    mean[n_continuum:] = 0.0
    variance[n_continuum:] = 2.0 * (coefficients[n_continuum:] ** 2).mean(1)
    variance = np.maximum(variance, 1e-8)
    membership = (np.unique(owner)[:, None] == owner).astype(np.float32)
    mean, variance = (jnp.asarray(x, jnp.float32) for x in (mean, variance))
    return Projection(jnp.asarray(basis), mean, variance, jnp.asarray(membership), n_continuum)
