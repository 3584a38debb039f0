"""The spectrograph as an operator on the library: any wavelengths, any line-spread function, any pixel width.

The library is linear, so that what an instrument does to a galaxy it can do to the basis spectra once: the result is a
`slipher.physics.galaxy.View`, and a spectrum costs the same whatever the instrument. Two line-spread functions: a Gaussian width per
pixel (SDSS' `wdisp`, a constant, a resolving power) enters through the dispersion nodes, less the stellar library's own width; a DESI
resolution matrix is applied to emission lines as it is.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import ive

from ..data.resolution import matrix_rows
from ..errors import InputError
from ..grids import stars
from ..grids.library import Library, dispersion_coordinate
from ..physics.galaxy import View
from ..physics.interpolation import lagrange_weights
from ..units import C_KMS, FWHM_PER_SIGMA

SIGMA_MAX_KMS = 600.0  # widest line that a window has to hold, gas and instrument together
WINDOW_SIGMAS = 4.0
# Of the smooth cut at zero excess width. The cut adds up to 0.7 of it in quadrature to stars as sharp as the library; sharper
# cuts gain nothing, for then the interpolation between dispersion nodes rings by as much.
SOFT_KMS = 15.0


def pixel_widths(wave_aa: np.ndarray, segments: tuple[tuple[int, int], ...] | None = None) -> np.ndarray:
    """Pixel widths [pixel] in km/s: the distance to the nearer neighbour (where pixels were cut out, the other is far), by segments."""
    widths = np.empty(len(wave_aa))
    for start, stop in segments or ((0, len(wave_aa)),):
        steps = np.abs(np.diff(np.log(wave_aa[start:stop])))
        widths[start:stop] = np.minimum(np.append(steps, np.inf), np.append(np.inf, steps)) * C_KMS
    return widths


def line_windows(wave_aa: np.ndarray, line_wave_aa: np.ndarray, n_window: int) -> np.ndarray:
    """Indices [line, window] of the pixels nearest to each line; lines outside get the nearest end, where they vanish."""
    order = np.argsort(wave_aa, kind="stable")
    centre = np.searchsorted(wave_aa[order], line_wave_aa)
    start = np.clip(centre - n_window // 2, 0, max(len(wave_aa) - n_window, 0))
    return order[start[:, None] + np.arange(n_window)[None, :]]


def window_size(width_kms: np.ndarray) -> int:
    """Pixels that hold the widest line on both sides, rounded up to a multiple of 16 (fewer shapes to compile)."""
    reach = 2 * WINDOW_SIGMAS * SIGMA_MAX_KMS / np.median(width_kms)
    return int(min(16 * np.ceil(reach / 16), len(width_kms)))


def view(
    wave_obs_aa: np.ndarray,
    redshift: float,
    library: Library,
    *,
    lsf_kms: np.ndarray | float | None = None,
    resolution_matrix: np.ndarray | None = None,
    segments: tuple[tuple[int, int], ...] | None = None,
    width_kms: np.ndarray | float | None = None,
) -> View:
    """The library as seen by a spectrograph at pixels `wave_obs_aa` (vacuum) of a galaxy at a redshift.

    Parameters
    ----------
    lsf_kms
        Gaussian sigma of the line-spread function, km/s: a number or one for each pixel. Emission lines are averaged over the pixel
        besides; stars are not (at SDSS that would be 20 km/s, in quadrature).
    resolution_matrix
        Bands [offset, pixel]: row o multiplies the pixel at i + o - n (`resolution_bands` makes them of DESI's). It is applied to
        emission lines as it is; stars, whose library is as broad as the instrument, take its Gaussian equivalent from `lsf_kms`,
        so that the library's width can be taken off in quadrature.
    segments
        Stretches of increasing wavelength (the arms of DESI).
    width_kms
        Width of each pixel, where pixels do not touch (a number or one for each); else it follows from their spacing.

    Raises
    ------
    InputError
        Without `lsf_kms`, or where it is wider than the library can be made.

    Pixels outside the library's range repeat its ends; give them no weight.
    """
    if lsf_kms is None:
        mend = "Give lsf_kms (0 for a perfect instrument), also beside a resolution_matrix."
        raise InputError("a view without a line-spread function", expected="one", mend=mend)
    if (typical := np.median(lsf_kms)) > SIGMA_MAX_KMS:
        raise InputError(
            f"a line-spread function of {typical:.0f} km/s (R = {C_KMS / FWHM_PER_SIGMA / typical:.0f})",
            expected=f"at most {SIGMA_MAX_KMS:.0f} km/s (sigma)", mend="slipher has no model of spectra as coarse as these.",
        )  # fmt: skip
    wave = np.asarray(wave_obs_aa, np.float64) / (1.0 + redshift)
    width = pixel_widths(wave, segments)
    lsf = np.broadcast_to(lsf_kms, wave.shape).astype(np.float64)
    old, young, nebular = sample(library, wave, lsf)
    bands = None if resolution_matrix is None else jnp.asarray(resolution_matrix, jnp.float32)
    lsf_of_lines = np.zeros(len(wave)) if resolution_matrix is not None else lsf
    order = np.argsort(wave, kind="stable")
    lines = np.asarray(library.line_wave_aa)
    return View(
        wave_aa=jnp.asarray(wave, jnp.float32),
        width_kms=jnp.asarray(width if width_kms is None else np.broadcast_to(width_kms, width.shape), jnp.float32),
        old=old,
        young=young,
        nebular=nebular,
        line_pixels=jnp.asarray(line_windows(wave, lines, window_size(width))),
        line_lsf_kms=jnp.asarray(np.interp(lines, wave[order], lsf_of_lines[order]), jnp.float32),
        resolution=bands,
    )


def resolution_bands(matrix: np.ndarray, segments: tuple[tuple[int, int], ...] | None = None) -> Float[np.ndarray, "offset pixel"]:
    """Bands of `view` from the diagonals of `slipher.data.observation.Spectrum.resolution_matrix`.

    DESI's diagonals are aligned by column, the highest offset first, and each segment has a matrix of its own; bands are
    aligned by row, the lowest offset first, and zero where a row would reach into another segment:
    bands[o, i] = R[i, i + o - n].
    """
    parts = [matrix_rows(matrix[:, start:stop])[::-1] for start, stop in segments or ((0, matrix.shape[1]),)]
    return np.concatenate(parts, axis=1)


def sample(library: Library, wave_aa: np.ndarray, lsf_kms: np.ndarray) -> tuple[Array, Array, Array]:
    """The library's tables `old`, `young` [pixel, node, rank] and `nebular` [pixel, rank] at rest-frame wavelengths.

    Four-point interpolation in log wavelength; at each dispersion node and pixel the stars are as wide as that dispersion and the
    line-spread function together, less the library's own width (never less than zero: nothing can be sharpened).
    """
    index, weights = interpolation_stencil(wave_aa)
    library_kms = np.interp(wave_aa, np.asarray(library.wave_aa), np.asarray(library.sigma_library_kms))
    nodes = np.asarray(library.sigma_nodes_kms)
    variance = nodes[:, None] ** 2 + lsf_kms**2 - library_kms**2
    positive = 0.5 * (variance + np.sqrt(variance**2 + SOFT_KMS**4))  # a smooth max(variance, 0): kinks do not interpolate
    sigma = np.minimum(np.sqrt(positive), nodes[-1]).astype(np.float32)
    return _sample(library, index, weights, sigma)


def interpolation_stencil(wave_aa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cubic Lagrange stencil on the library's grid: first index [pixel] and weights [pixel, 4]."""
    x = (np.log10(wave_aa) - stars.LOG_WAVE_START) / stars.LOG_WAVE_STEP
    x = np.clip(x, 1.0, stars.N_WAVE - 2.001)
    first = np.floor(x).astype(np.int32) - 1
    t = x - first - 1.0
    weights = np.stack(
        [-t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2, -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6], -1
    )
    return first, weights.astype(np.float32)


def smoothing_stencil(wave_aa: np.ndarray, sigma_kms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `interpolation_stencil`, through a Gaussian of a width per pixel: first index [pixel] and weights [pixel, tap].

    The kernel is the one whose variance on a grid is exact however narrow it is, exp(-t) I_n(t) (Lindeberg 1990, IEEE Trans. PAMI 12, 234):
    of no width it leaves interpolation alone.
    """
    first, cubic = interpolation_stencil(wave_aa)
    step_kms = stars.LOG_WAVE_STEP * np.log(10.0) * C_KMS
    t = (np.broadcast_to(sigma_kms, first.shape) / step_kms) ** 2
    reach = int(np.ceil(WINDOW_SIGMAS * np.sqrt(t.max()))) + (t.max() > 0)
    kernel = ive(np.abs(np.arange(-reach, reach + 1)), t[:, None])
    kernel /= kernel.sum(1, keepdims=True)
    weights = np.zeros((len(first), 2 * reach + 4))
    for j in range(4):
        weights[:, j : j + 2 * reach + 1] += cubic[:, j, None] * kernel
    start = first - reach
    # At the ends the taps beyond the grid fall on its last points.
    inside = np.clip(start, 0, stars.N_WAVE - weights.shape[1])
    for shift in np.unique(start - inside):
        some = start - inside == shift
        weights[some] = _folded(weights[some], int(shift))
    return inside.astype(np.int32), weights.astype(np.float32)


def _folded(weights: np.ndarray, shift: int) -> np.ndarray:
    """Weights moved by `shift` taps, what falls off either end added to the last."""
    out, n = np.zeros_like(weights), weights.shape[1]
    np.add.at(out, (slice(None), np.clip(np.arange(n) + shift, 0, n - 1)), weights)
    return out


@jax.jit
def _sample(library: Library, index: Array, weights: Array, sigma_kms: Array) -> tuple[Array, Array, Array]:
    mix = lagrange_weights(dispersion_coordinate(sigma_kms), dispersion_coordinate(library.sigma_nodes_kms))

    def gather(table: Float[Array, "grid rank"]) -> Float[Array, "pixel rank"]:
        return sum(weights[:, j, None] * table[index + j] for j in range(4))

    def at_nodes(table: Float[Array, "node grid rank"]) -> Float[Array, "pixel node rank"]:
        return jnp.einsum("mnp,mpk->pnk", mix, jax.vmap(gather)(table))

    return at_nodes(library.old), at_nodes(library.young), gather(library.nebular)
