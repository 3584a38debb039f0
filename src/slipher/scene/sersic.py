r"""Sersic profiles (1963, BAAA 6, 41) as the Fourier transform sees them: no pixels, no cusp to sample, any PSF by a product.

    I(r) = exp(-b_n ((r / r_e)^(1/n) - 1)),   F(k; n) = 2 pi int I(r) J_0(k r) r dr / flux

with r_e the radius that holds half of the light. F depends on k r_e and n alone: it is tabulated once, by Hankel transforms on logarithmic
grids (FFTLog: Hamilton 2000, MNRAS 312, 257), and interpolated by cubics. For n >= 0.5 it is positive, and its logarithm smooth.
"""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import fft, special

N_RANGE = (0.5, 6.5)
N_INDICES = 52  # steps between them, in ln n
LOG_K = (-9.0, 8.0, 0.04)  # ln(k r_e): first, last, step
LEAST = -25.0  # ln F, below which a transform is as good as zero
_FINE = 8192  # points of the logarithmic grid of radii
_LOG_R = 30.0  # half its length, in ln


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray]:
    """ln n, and ln F [n, k]."""
    log_n = np.log(N_RANGE[0]) + np.log(N_RANGE[1] / N_RANGE[0]) / N_INDICES * np.arange(-1, N_INDICES + 2)
    log_k = np.arange(*LOG_K)
    rows = [_log_transform(float(np.exp(x)), log_k) for x in log_n[1:]]
    # Below n = 0.5 transforms change their sign; the row is there for the cubics' slope only.
    return log_n, np.stack([2.0 * rows[0] - rows[1], *rows]).astype(np.float32)


def _log_transform(n: float, log_k: np.ndarray) -> np.ndarray:
    step = 2.0 * _LOG_R / _FINE
    log_r = step * (np.arange(_FINE) - 0.5 * (_FINE - 1))
    b = special.gammaincinv(2.0 * n, 0.5)  # with which half of the light is within r_e
    # Over the total flux, 2 pi n b^(-2n) Gamma(2n) r_e^2.
    log_flux = np.log(2.0 * np.pi * n) - 2.0 * n * np.log(b) + special.gammaln(2.0 * n)
    light = np.exp(-b * np.exp(np.minimum(log_r / n, 50.0)) - log_flux)
    offset = fft.fhtoffset(step, 0.0)
    transform = 2.0 * np.pi * fft.fht(np.exp(log_r) * light, step, 0.0, offset=offset)  # k F(k), on a grid about exp(offset)
    k = log_r + offset
    # Up to where rounding errors make it negative, far below all that can be seen.
    inside = k > LOG_K[0] - 1.0
    positive = np.cumsum(inside & (transform <= 0)) == 0
    usable = inside & positive
    values = np.log(transform[usable]) - k[usable]
    return np.maximum(np.interp(log_k, k[usable], values, right=2.0 * LEAST), 2.0 * LEAST)


def transform(kr: Float[Array, "*shape"], n: Float[Array, ""]) -> Float[Array, "*shape"]:
    """F of k r_e for an index n, one at k = 0."""
    log_n, table = _table()
    row = _cubic(jnp.asarray(table), (jnp.log(n) - log_n[0]) / (log_n[1] - log_n[0]))
    place = (0.5 * jnp.log(kr**2 + 1e-12) - LOG_K[0]) / LOG_K[2]
    return jnp.exp(jnp.maximum(_cubic(row, place), LEAST))


def _cubic(table: Float[Array, "point ..."], place: Float[Array, "..."]) -> Float[Array, "..."]:
    """Catmull-Rom between points of a table, clamped to its ends."""
    place = jnp.clip(place, 1.0, table.shape[0] - 2.001)
    i = jnp.floor(place).astype(jnp.int32)
    t = place - i
    a, b, c, d = (table[i + j] for j in (-1, 0, 1, 2))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
