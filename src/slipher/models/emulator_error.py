"""How far an emulator is off: measured on spectra that it was not trained on, and marginalised as a covariance.

    r = ln(true flux) - ln(emulated flux),   C = <r r'> ~ T T' + diag(v)

T are the leading directions of the residuals (about zero, so that a bias counts as error), v what they leave of each pixel's variance. In
flux, columns of T times a reference spectrum are templates as `slipher.inference.covariance` marginalises them, and v times its square the
floor. The covariance is an average over the prior: where the emulator is worse than elsewhere, it is too small. How unequal that is, the
card says: the distribution of chi^2 of spectra that took no part in C.
"""

from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PERCENTILES = (50, 68, 95, 99)
N_RANGES = 12  # of wavelength, on the card
LEAST_SHARE = 1e-4  # of each pixel's mean square that is left to its own variance


class ErrorTerms(NamedTuple):
    """The error of emulated flux about a reference spectrum: variance of each pixel and templates in units of their sd."""

    floor: Float[Array, "pixel"]
    templates: Float[Array, "pixel template"]


class MeasuredError(eqx.Module):
    """Percentiles 50, 68, 95 and 99 of |emulated / true - 1| at each pixel; templates and variance of ln flux."""

    percentiles: Float[Array, "percentile pixel"]
    templates: Float[Array, "pixel template"]
    variance: Float[Array, "pixel"]

    def about(self, reference: Float[Array, "pixel"]) -> ErrorTerms:
        """In the unit of a reference spectrum at the emulator's wavelengths, for `slipher.inference.covariance.covariance`."""
        return ErrorTerms(self.variance * reference**2, self.templates * reference[:, None])


def measure(residuals: Float[np.ndarray, "row pixel"], rank: int) -> MeasuredError:
    """The error that residuals of ln flux show."""
    difference = np.abs(np.expm1(-np.asarray(residuals, np.float64)))
    templates, variance = low_rank(residuals, rank)
    percentiles = np.percentile(difference, PERCENTILES, axis=0)
    return MeasuredError(*(jnp.asarray(x, jnp.float32) for x in (percentiles, templates, variance)))


def low_rank(residuals: Float[np.ndarray, "row pixel"], rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Templates [pixel, template] and remaining variance [pixel]; together they have each pixel's mean square."""
    residuals = np.asarray(residuals, np.float64)
    mean_square = (residuals**2).mean(0)
    # From the Gram matrix of rows: a few thousand are held back at most.
    values, vectors = np.linalg.eigh(residuals @ residuals.T / len(residuals))
    values, vectors = np.maximum(values[::-1][:rank], 0.0), vectors[:, ::-1][:, :rank]
    templates = residuals.T @ vectors / np.sqrt(len(residuals))
    # A pixel that the templates explain in full keeps some error of its own: they are known from few spectra.
    return templates, np.maximum(mean_square - (templates**2).sum(1), LEAST_SHARE * mean_square + 1e-14)


def chi2_per_pixel(
    residuals: Float[np.ndarray, "row pixel"], templates: Float[np.ndarray, "pixel template"], variance: Float[np.ndarray, "pixel"]
) -> Float[np.ndarray, "row"]:
    """r' C^-1 r over the number of pixels, by Woodbury's identity."""
    sigma = np.sqrt(variance)
    scaled, columns = residuals / sigma, templates / sigma[:, None]
    across = scaled @ columns
    inner = np.linalg.solve(np.eye(columns.shape[1]) + columns.T @ columns, across.T).T
    return ((scaled**2).sum(1) - (across * inner).sum(1)) / residuals.shape[1]


def summary(residuals: Float[np.ndarray, "row pixel"], wave_aa: Float[np.ndarray, "pixel"], rank: int) -> dict:
    """For the card: percentiles of |emulated / true - 1| by range of wavelength, and of chi^2 of one half under the other's covariance."""
    difference = np.abs(np.expm1(-np.asarray(residuals, np.float64)))
    edges = np.geomspace(wave_aa[0], wave_aa[-1] * (1 + 1e-9), N_RANGES + 1)
    ranges = []
    for low, high in pairwise(edges):
        inside = (wave_aa >= low) & (wave_aa < high)
        if inside.any():
            found = np.percentile(difference[:, inside], PERCENTILES)
            ranges.append({"low_aa": round(float(low), 1), "high_aa": round(float(high), 1), **_named(found)})
    half = len(residuals) // 2
    chi2 = chi2_per_pixel(np.asarray(residuals[half:], float), *low_rank(residuals[:half], rank))
    return {
        "spectra": len(residuals),
        "all": _named(np.percentile(difference, PERCENTILES)),
        "by_wavelength": ranges,
        "chi2_per_pixel": {"mean": float(chi2.mean()), **_named(np.percentile(chi2, PERCENTILES))},
    }


def _named(values: np.ndarray) -> dict[str, float]:
    return {f"p{p}": float(f"{value:.4g}") for p, value in zip(PERCENTILES, values)}
