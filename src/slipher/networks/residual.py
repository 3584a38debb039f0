"""What galaxies show and a model of their physics leaves out, as a few latents: a small factor on its light, and faint lines.

    spectrum = galaxy(theta) (1 + B (r_0 + R s)) + level P (l_0 + L s),   s ~ N(0, 1)

B are cubic B-splines in ln of the rest wavelength, P the profiles of faint emission lines, `level` the galaxy's light at 5300 - 5900 A.
The factor is exp(residual) to first order: residuals are a few per cent. All galaxies share r_0 and l_0 (the library's own errors) and
differ in s, whose prior makes R and L standard deviations. The strong lines are left to the physics: their ratios say what dust and gas
are.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import sparse

from ..grids.library import Library
from ..units import C_KMS
from .projection import STRONG_LINES_AA

STEP = 0.0025  # of splines in ln(wavelength), 12 A at 5000 A
KNOTS = np.arange(np.log(2600.0), np.log(10_300.0), STEP)
NEAR_STRONG_KMS = 250.0  # a line of the library so near a strong one is that one


class Residual(eqx.Module):
    """Coefficients of splines [knot, 1 + latent] and equivalent widths of lines in A [line, 1 + latent]: means, then factors of s."""

    factor: Float[Array, "knot column"]
    line_ew_aa: Float[Array, "line column"]

    @property
    def n_latent(self) -> int:
        """Number of latents s."""
        return self.factor.shape[1] - 1

    def at(self, rest_aa: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel column"]:
        """Mean and factors of the fractional residual at rest wavelengths; zero beyond the splines."""
        return splines(rest_aa) @ np.asarray(self.factor, np.float64)


def splines(rest_aa: Float[np.ndarray, "pixel"]) -> sparse.csr_matrix:
    """Values of all splines [pixel, knot] at rest wavelengths; rows beyond the knots are empty."""
    x = (np.log(rest_aa) - KNOTS[0]) / STEP
    first = np.floor(x).astype(int) - 1
    at = first[:, None] + np.arange(4)
    a = np.abs(x[:, None] - at)
    value = np.where(a < 1, 2 / 3 - a**2 + a**3 / 2, np.where(a < 2, (2 - a) ** 3 / 6, 0.0))
    inside = (at >= 0) & (at < len(KNOTS))
    rows = np.broadcast_to(np.arange(len(x))[:, None], at.shape)
    return sparse.csr_matrix((value[inside], (rows[inside], at[inside])), shape=(len(x), len(KNOTS)))


def faint_lines(line_wave_aa: Float[np.ndarray, "line"]) -> np.ndarray:
    """Indices of the lines that a residual may change."""
    wave = np.asarray(line_wave_aa)
    nearest = np.min(np.abs(np.log(wave[:, None] / np.array(STRONG_LINES_AA))), 1) * C_KMS
    return np.flatnonzero(nearest > NEAR_STRONG_KMS)


def blank(library: Library, n_latent: int) -> Residual:
    """The shapes of a residual, to be filled; all zero."""
    return Residual(jnp.zeros((len(KNOTS), 1 + n_latent)), jnp.zeros((len(faint_lines(np.asarray(library.line_wave_aa))), 1 + n_latent)))
