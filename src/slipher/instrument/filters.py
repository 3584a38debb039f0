r"""Broad-band photometry: many filters as one matrix.

Where this stands: the instrument of imaging surveys. For a spectrum f_lambda sampled at fixed observed wavelengths,

    nanomaggies = matrix @ f_lambda,   maggies = int R f_lambda lambda dlambda / (3631 Jy c int R / lambda dlambda),

the AB system with photon-counting responses (Oke & Gunn 1983; Fukugita et al. 1996, equation 1). Between samples the
spectrum is linear, as the curves are between their points; for such a spectrum the matrix is exact, however coarse or
irregular the sampling: Simpson's rule integrates the cubic lambda R f_lambda without error between all the points of
curve and spectrum.

The matrix is a constant of the wavelengths. For a redshift that varies, tabulate the (linear) photometry of the basis
spectra over redshift, or take wavelengths wide enough for all. Errors and zero-point offsets are not this module's.
"""

from collections.abc import Iterable
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, ArrayLike, Float

from ..errors import InputError
from ..grids.filters import FilterCurve, load_filters
from ..units import C_KMS, FLUX_UNIT

AB_ZERO_POINT = 3631e-23  # erg/s/cm2/Hz
_C_AA_S = C_KMS * 1e13
_NANOMAGGIES = 1e9 * FLUX_UNIT / (AB_ZERO_POINT * _C_AA_S)


def filter_matrix(
    filters: Iterable[str | FilterCurve],
    wave_obs_aa: Float[ArrayLike, "pixel"],
    *,
    uncovered: Literal["raise", "nan"] = "raise",
    min_coverage: float = 0.999,
) -> Float[Array, "filter pixel"]:
    """Matrix that turns f_lambda (1e-17 erg/s/cm2/A) at `wave_obs_aa` into nanomaggies.

    The curves of many surveys have tails far from the band, so that a filter counts as covered where next to all of its
    response to a flat f_nu lies inside the wavelengths; its magnitude is then that of the part inside.

    Parameters
    ----------
    filters
        Names of shipped filters (`GROUP-*` for a whole group), or curves of one's own.
    wave_obs_aa
        Observed wavelengths of the samples, angstrom, strictly increasing.
    uncovered
        What to do with filters that the wavelengths do not cover: "raise", or "nan" for rows of NaN, which make the
        photometry NaN.
    min_coverage
        Fraction of its response to a flat f_nu from which a filter counts as covered. The default costs a smooth
        spectrum two millimagnitudes at most.

    Raises
    ------
    InputError
        If a filter is unknown or not covered, or the wavelengths are not increasing.
    """
    wave = _checked(np.asarray(wave_obs_aa, float))
    curves = resolve(filters)
    covered = [coverage(c, wave) >= min_coverage for c in curves]
    if not all(covered) and uncovered == "raise":
        missing = ", ".join(c.name for c, seen in zip(curves, covered) if not seen)
        raise InputError(
            f"wavelengths from {wave[0]:.0f} to {wave[-1]:.0f} A, which do not cover {missing}",
            expected=f"wavelengths over {100 * min_coverage:g} % of the response of each filter",
            mend="Leave these filters out, extend the spectrum, or ask for uncovered='nan'.",
        )
    rows = [_row(c, wave) if seen else np.full(wave.size, np.nan) for c, seen in zip(curves, covered)]
    return jnp.asarray(np.array(rows).reshape(len(curves), wave.size), jnp.float32)


def synthetic_photometry(matrix: Float[Array, "filter pixel"], flux: Float[Array, "pixel"]) -> Float[Array, "filter"]:
    """Nanomaggies of f_lambda (1e-17 erg/s/cm2/A): the matrix product, in full float32 on accelerators as well."""
    return jnp.matmul(matrix, flux, precision=Precision.HIGHEST)


def line_response(curve: FilterCurve, wave_obs_aa: Float[np.ndarray, "point"]) -> Float[np.ndarray, "point"]:
    """Nanomaggies of unresolved lines of 1e-17 erg/s/cm2 at observed wavelengths (A): lambda R(lambda) where a spectrum is integrated."""
    return _NANOMAGGIES * wave_obs_aa * np.interp(wave_obs_aa, curve.wave_aa, curve.response, left=0.0, right=0.0) / curve.flat_response


def resolve(filters: Iterable[str | FilterCurve]) -> tuple[FilterCurve, ...]:
    """Curves of filters that are given by name, by group (`GROUP-*`) or as curves.

    Raises
    ------
    InputError
        If a name is unknown, or `filters` is a single name instead of a list.
    """
    if isinstance(filters, str):
        raise InputError(f"filters={filters!r}", expected="a list of filters", mend=f"Write [{filters!r}].")
    return tuple(c for f in filters for c in ((f,) if isinstance(f, FilterCurve) else load_filters([f])))


def coverage(curve: FilterCurve, wave_obs_aa: Float[np.ndarray, "pixel"]) -> float:
    """Fraction, 0 to 1, of a filter's response to a flat f_nu that lies inside the wavelengths."""
    inside = curve.within(wave_obs_aa[0], wave_obs_aa[-1])
    return 0.0 if inside is None else inside.flat_response / curve.flat_response


def _checked(wave: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"]:
    if wave.size < 2 or not np.all(np.isfinite(wave)) or wave[0] <= 0 or not np.all(np.diff(wave) > 0):
        raise InputError(
            f"wavelengths [{wave.size}] for photometry",
            expected="at least two positive, finite, strictly increasing wavelengths in angstrom",
            mend="Sort the spectrum by wavelength and join its arms first.",
        )
    return wave


def _row(curve: FilterCurve, wave: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"]:
    """One row of the matrix: Simpson's weights on the joint points, shared out to the two samples around each node."""
    inside = curve.within(wave[0], wave[-1])
    knots = np.union1d(inside.wave_aa, wave[(wave > inside.wave_aa[0]) & (wave < inside.wave_aa[-1])])
    a, b = knots[:-1], knots[1:]
    nodes = np.concatenate([a, (a + b) / 2, b])
    weights = np.repeat([1 / 6, 4 / 6, 1 / 6], a.size) * np.tile(b - a, 3)
    weights *= nodes * np.interp(nodes, inside.wave_aa, inside.response)
    left = np.clip(np.searchsorted(wave, nodes, side="right") - 1, 0, wave.size - 2)
    share = (nodes - wave[left]) / (wave[left + 1] - wave[left])
    row = np.bincount(left, weights * (1 - share), wave.size) + np.bincount(left + 1, weights * share, wave.size)
    return _NANOMAGGIES * row / inside.flat_response
