r"""Mean transmission of the intergalactic medium: the model of Inoue et al. (2014).

Where this stands: after the dust and the redshift, before the instrument, once a model reaches below Lyman alpha (those that ship
begin at 2390 A in the rest frame). Neutral hydrogen between us and a galaxy
absorbs in the Lyman series (Inoue et al. 2014, MNRAS 442, 1805, equations 21 and 22, table 2) and in the Lyman
continuum (equations 25 to 29), both in the Lyman-alpha forest (LAF) and in damped systems (DLA). Every term is a power
of the observed wavelength, switched by where the absorbers along the line of sight lie.

The transmission is a step at the galaxy's own lines: a gradient in redshift describes the pixels, not the moving edge.
At rest-frame wavelengths above Lyman alpha it is exactly one. Below 911.8 A observed, where the Milky Way is opaque and
the paper gives nothing, the continuum's optical depth is held at its value at 911.8 A.

What this does not do: the scatter between lines of sight, the damping wing of a neutral medium at z > 6, and the
circumgalactic medium.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

LYMAN_ALPHA_AA = 1215.67
LYMAN_LIMIT_AA = 911.8

# Inoue et al. (2014), table 2, for the transitions 2-1 to 40-1: wavelength (A), then the coefficients of the forest
# below 1+z = 2.2, below 5.7 and above, then those of the damped systems below 1+z = 3 and above.
_LYMAN_SERIES = np.array(
    [
        (1215.67, 1.690e-02, 2.354e-03, 1.026e-04, 1.617e-04, 5.390e-05),
        (1025.72, 4.692e-03, 6.536e-04, 2.849e-05, 1.545e-04, 5.151e-05),
        (972.537, 2.239e-03, 3.119e-04, 1.360e-05, 1.498e-04, 4.992e-05),
        (949.743, 1.319e-03, 1.837e-04, 8.010e-06, 1.460e-04, 4.868e-05),
        (937.803, 8.707e-04, 1.213e-04, 5.287e-06, 1.429e-04, 4.763e-05),
        (930.748, 6.178e-04, 8.606e-05, 3.752e-06, 1.402e-04, 4.672e-05),
        (926.226, 4.609e-04, 6.421e-05, 2.799e-06, 1.377e-04, 4.590e-05),
        (923.15, 3.569e-04, 4.971e-05, 2.167e-06, 1.355e-04, 4.516e-05),
        (920.963, 2.843e-04, 3.960e-05, 1.726e-06, 1.335e-04, 4.448e-05),
        (919.352, 2.318e-04, 3.229e-05, 1.407e-06, 1.316e-04, 4.385e-05),
        (918.129, 1.923e-04, 2.679e-05, 1.168e-06, 1.298e-04, 4.326e-05),
        (917.181, 1.622e-04, 2.259e-05, 9.847e-07, 1.281e-04, 4.271e-05),
        (916.429, 1.385e-04, 1.929e-05, 8.410e-07, 1.265e-04, 4.218e-05),
        (915.824, 1.196e-04, 1.666e-05, 7.263e-07, 1.250e-04, 4.168e-05),
        (915.329, 1.043e-04, 1.453e-05, 6.334e-07, 1.236e-04, 4.120e-05),
        (914.919, 9.174e-05, 1.278e-05, 5.571e-07, 1.222e-04, 4.075e-05),
        (914.576, 8.128e-05, 1.132e-05, 4.936e-07, 1.209e-04, 4.031e-05),
        (914.286, 7.251e-05, 1.010e-05, 4.403e-07, 1.197e-04, 3.989e-05),
        (914.039, 6.505e-05, 9.062e-06, 3.950e-07, 1.185e-04, 3.949e-05),
        (913.826, 5.868e-05, 8.174e-06, 3.563e-07, 1.173e-04, 3.910e-05),
        (913.641, 5.319e-05, 7.409e-06, 3.230e-07, 1.162e-04, 3.872e-05),
        (913.48, 4.843e-05, 6.746e-06, 2.941e-07, 1.151e-04, 3.836e-05),
        (913.339, 4.427e-05, 6.167e-06, 2.689e-07, 1.140e-04, 3.800e-05),
        (913.215, 4.063e-05, 5.660e-06, 2.467e-07, 1.130e-04, 3.766e-05),
        (913.104, 3.738e-05, 5.207e-06, 2.270e-07, 1.120e-04, 3.732e-05),
        (913.006, 3.454e-05, 4.811e-06, 2.097e-07, 1.110e-04, 3.700e-05),
        (912.918, 3.199e-05, 4.456e-06, 1.943e-07, 1.101e-04, 3.668e-05),
        (912.839, 2.971e-05, 4.139e-06, 1.804e-07, 1.091e-04, 3.637e-05),
        (912.768, 2.766e-05, 3.853e-06, 1.680e-07, 1.082e-04, 3.607e-05),
        (912.703, 2.582e-05, 3.596e-06, 1.568e-07, 1.073e-04, 3.578e-05),
        (912.645, 2.415e-05, 3.364e-06, 1.466e-07, 1.065e-04, 3.549e-05),
        (912.592, 2.263e-05, 3.153e-06, 1.375e-07, 1.056e-04, 3.521e-05),
        (912.543, 2.126e-05, 2.961e-06, 1.291e-07, 1.048e-04, 3.493e-05),
        (912.499, 2.000e-05, 2.785e-06, 1.214e-07, 1.040e-04, 3.466e-05),
        (912.458, 1.885e-05, 2.625e-06, 1.145e-07, 1.032e-04, 3.440e-05),
        (912.42, 1.779e-05, 2.479e-06, 1.080e-07, 1.024e-04, 3.414e-05),
        (912.385, 1.682e-05, 2.343e-06, 1.022e-07, 1.017e-04, 3.389e-05),
        (912.353, 1.593e-05, 2.219e-06, 9.673e-08, 1.009e-04, 3.364e-05),
        (912.324, 1.510e-05, 2.103e-06, 9.169e-08, 1.002e-04, 3.339e-05),
    ]
)


class _Piece(NamedTuple):
    """One power law of the Lyman-series optical depth, valid where lowest <= lambda_obs / lambda_j < highest."""

    column: int
    power: float
    lowest: float
    highest: float


_PIECES = (
    _Piece(1, 1.2, 1.0, 2.2),
    _Piece(2, 3.7, 2.2, 5.7),
    _Piece(3, 5.5, 5.7, np.inf),
    _Piece(4, 2.0, 1.0, 3.0),
    _Piece(5, 3.0, 3.0, np.inf),
)


def transmission(wave_obs_aa: Float[Array, "pixel"], redshift: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
    """Fraction of the light of a source that reaches us past the intergalactic medium, in (0, 1].

    Parameters
    ----------
    wave_obs_aa
        Observed wavelengths, vacuum angstrom.
    redshift
        Redshift of the source.
    """
    tau = lyman_series(wave_obs_aa, redshift) + lyman_continuum(wave_obs_aa, redshift)
    return jnp.exp(-tau)


def lyman_series(wave_obs_aa: Float[Array, "pixel"], redshift: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
    """Optical depth of the Lyman series up to n = 40 (equations 21 and 22)."""
    return sum(_lyman_series_piece(piece, wave_obs_aa, redshift) for piece in _PIECES)


def _lyman_series_piece(piece: _Piece, wave_obs_aa: Float[Array, "pixel"], redshift: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
    """Sum of A_j (lambda_obs / lambda_j)^power over the lines whose absorbers lie within this piece and the redshift.

    The power of the wavelength is common to all lines, and those that absorb at a pixel are consecutive in the series:
    the sum is a difference of two cumulative sums of coefficients.
    """
    scaled = _LYMAN_SERIES[:, piece.column] * (LYMAN_ALPHA_AA / _LYMAN_SERIES[:, 0]) ** piece.power
    cumulative = jnp.asarray(np.append(0.0, np.cumsum(scaled)), wave_obs_aa.dtype)
    first = _lines_above(wave_obs_aa / piece.lowest)
    last = _lines_above(wave_obs_aa / jnp.minimum(piece.highest, 1.0 + redshift))
    coefficient = cumulative[jnp.maximum(first, last)] - cumulative[first]
    return coefficient * (wave_obs_aa / LYMAN_ALPHA_AA) ** piece.power


def _lines_above(wave_aa: Float[Array, "pixel"]) -> Int[Array, "pixel"]:
    """Number of lines, from Lyman alpha on, of longer wavelength."""
    lines = jnp.asarray(_LYMAN_SERIES[::-1, 0], wave_aa.dtype)
    return len(lines) - jnp.searchsorted(lines, wave_aa, side="right")


def lyman_continuum(wave_obs_aa: Float[Array, "pixel"], redshift: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
    """Optical depth of the Lyman continuum (equations 25 to 29).

    The rounded coefficients of equation 28 give up to -0.005 within 0.4 % of the edge: it is raised to zero.
    """
    x = jnp.maximum(wave_obs_aa / LYMAN_LIMIT_AA, 1.0)
    one_plus_z = jnp.asarray(1.0 + redshift)
    tau = jnp.maximum(_continuum_forest(x, one_plus_z), 0.0) + jnp.maximum(_continuum_damped(x, one_plus_z), 0.0)
    return jnp.where(wave_obs_aa < LYMAN_LIMIT_AA * one_plus_z, tau, 0.0)


def _continuum_forest(x: Float[Array, "pixel"], one_plus_z: Float[Array, ""]) -> Float[Array, "pixel"]:
    """Equations 25 to 27, with x = lambda_obs / 911.8 A."""
    near = 0.325 * (x**1.2 - one_plus_z**-0.9 * x**2.1)
    middle = 2.55e-2 * one_plus_z**1.6 * x**2.1
    middle += jnp.where(x < 2.2, 0.325 * x**1.2 - 0.250 * x**2.1, -2.55e-2 * x**3.7)
    far = 5.22e-4 * one_plus_z**3.4 * x**2.1
    far_low = 0.325 * x**1.2 - 3.14e-2 * x**2.1
    far_mid = 0.218 * x**2.1 - 2.55e-2 * x**3.7
    far += jnp.where(x < 2.2, far_low, jnp.where(x < 5.7, far_mid, -5.22e-4 * x**5.5))
    return jnp.where(one_plus_z < 2.2, near, jnp.where(one_plus_z < 5.7, middle, far))


def _continuum_damped(x: Float[Array, "pixel"], one_plus_z: Float[Array, ""]) -> Float[Array, "pixel"]:
    """Equations 28 and 29, with x = lambda_obs / 911.8 A."""
    near = 0.211 * one_plus_z**2 - 7.66e-2 * one_plus_z**2.3 * x**-0.3 - 0.135 * x**2
    far = 4.7e-2 * one_plus_z**3 - 1.78e-2 * one_plus_z**3.3 * x**-0.3
    far += jnp.where(x < 3.0, 0.634 - 0.135 * x**2 - 0.291 * x**-0.3, -2.92e-2 * x**3)
    return jnp.where(one_plus_z < 3.0, near, far)
