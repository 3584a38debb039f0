"""Spectral resolution: from the ways in which files state it to a Gaussian sigma in km/s at each pixel.

Files give a dispersion in pixels (SDSS), a resolving power R = lambda / FWHM, a FWHM in angstrom, or a banded matrix
(DESI, whose convention `slipher.data.observation.Spectrum` states). The convolution itself belongs to the instrument
layer.
"""

import astropy.units as u
import numpy as np
from jaxtyping import Bool, Float, Float32

from slipher import units
from slipher.errors import Flag, InputError, UnitsError
from slipher.units import C_KMS, FWHM_PER_SIGMA

LSF_RANGE_KMS = (0.1, 3e4)  # R from 4 to more than a million
SDSS_DLOGLAM = 1e-4  # dex a pixel of SDSS and BOSS coadds

# Median sigma (km/s) over wavelength (A). SDSS: 18 fibres of 11 plates; BOSS: two fibres; DESI: one coadd.
TYPICAL_KMS = {
    "sdss": (
        (3800, 4300, 4800, 5300, 5800, 6300, 6800, 7300, 7800, 8300, 8800),
        (86.7, 76.8, 68.8, 62.1, 57.4, 64.9, 59.9, 56.5, 54.4, 52.6, 51.3),
    ),
    "boss": (
        (3800, 4300, 4800, 5300, 5800, 6300, 6800, 7300, 7800, 8300, 8800),
        (105.3, 100.9, 86.8, 72.7, 64.3, 75.4, 69.6, 65.0, 60.6, 55.9, 51.6),
    ),
    "desi": (
        (3600, 3920, 4240, 4560, 4880, 5200, 5520, 5760, 6400, 7040, 7500, 8000, 8500, 9000, 9760),
        (58.6, 54.1, 50.3, 47.1, 44.0, 40.8, 38.2, 32.5, 30.1, 27.6, 26.5, 28.0, 27.0, 25.5, 23.6),
    ),
}


def typical_kms(survey: str, wave_aa: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"] | None:
    """The survey's typical line-spread sigma (km/s) at `wave_aa` (A); None for a survey without one."""
    if survey not in TYPICAL_KMS:
        return None
    return np.interp(wave_aa, *TYPICAL_KMS[survey])


def from_resolving_power(resolving_power: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Sigma in km/s of R = lambda / FWHM. A resolving power of zero or less gives infinity or a negative value."""
    with np.errstate(divide="ignore"):
        return C_KMS / (FWHM_PER_SIGMA * resolving_power)


def from_fwhm_aa(fwhm_aa: Float[np.ndarray, "..."], wave_aa: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"]:
    """Sigma in km/s of a full width at half maximum in angstrom at `wave_aa` (A)."""
    return C_KMS * fwhm_aa / (FWHM_PER_SIGMA * wave_aa)


def from_wdisp(wdisp: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"]:
    """Sigma in km/s of SDSS's `wdisp`, a Gaussian sigma in pixels of 1e-4 dex."""
    return C_KMS * np.log(10.0) * SDSS_DLOGLAM * np.asarray(wdisp, np.float64)


def usable(sigma: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"] | None:
    """`sigma` (km/s) of a survey's own file, or None where no pixel has a usable one: the file did not measure it."""
    return sigma if _in_range(sigma).any() else None


def _in_range(sigma: Float[np.ndarray, "pixel"]) -> Bool[np.ndarray, "pixel"]:
    low, high = LSF_RANGE_KMS
    return (sigma >= low) & (sigma <= high)


def declared(given: dict, matrix: object, wave_aa: Float[np.ndarray, "pixel"], survey: str):
    """The resolution that a caller or a file declares, checked: (sigma in km/s, matrix, flag), one of the two None.

    Entries that are not usable take the nearest usable one; where none is, what was declared is refused. Where nothing
    was declared, the survey's typical resolution is assumed and flagged.

    Parameters
    ----------
    given
        `lsf_kms`, `resolving_power` and `fwhm_aa`, at most one of them not None; each a scalar or [pixel].
    matrix
        DESI's diagonals [diagonal, pixel], or None.
    wave_aa
        Wavelengths (A).
    survey
        Whose typical resolution to assume.

    Raises
    ------
    InputError
        If more than one is given, if it is not numbers, if shapes do not match, if no entry is usable (zero, negative,
        NaN, beyond `LSF_RANGE_KMS`), or if none is given and the survey has no typical one.
    UnitsError
        If a quantity has the wrong unit.
    """
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) + (matrix is not None) > 1:
        came = f"a resolution given as {', '.join([*named, *(['resolution_matrix'] if matrix is not None else [])])}"
        raise InputError(came, expected="one of them", mend="Give only the most exact one.")
    if matrix is not None:
        return None, _filled_matrix(_numbers("resolution_matrix", matrix), wave_aa.size), Flag(0)
    for name, value in named.items():
        return _filled_sigma(name, value, wave_aa), None, Flag(0)
    return _typical(survey, wave_aa), None, Flag.RESOLUTION_ASSUMED


def _sigma_kms(name: str, value: object, wave_aa: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"]:
    array = _numbers(name, value)
    if array.ndim > 1 or array.size not in (1, wave_aa.size):
        came = f"{name} of shape {array.shape} for {wave_aa.size} pixels"
        raise InputError(came, expected="one value, or one a pixel", mend="Check that both are of the same spectrum.")
    if units.has_unit(value):
        array = _converted(name, units.quantity(value))
    array = np.broadcast_to(array, wave_aa.shape)
    if name == "resolving_power":
        return from_resolving_power(array)
    return from_fwhm_aa(array, wave_aa) if name == "fwhm_aa" else array


def _numbers(name: str, value: object) -> np.ndarray:
    try:
        return units.plain(value)
    except (TypeError, ValueError) as error:
        mend = "Give a number, or one a pixel."
        raise InputError(f"{name} {str(value)[:40]!r}", expected="numbers", mend=mend) from error


def _converted(name: str, value: u.Quantity) -> np.ndarray:
    if name == "lsf_kms":
        return units.velocity_kms(value)
    unit = {"fwhm_aa": u.AA, "resolving_power": u.one}[name]  # a width has no equivalence with a frequency
    try:
        return np.asarray(value.to_value(unit))
    except u.UnitConversionError as error:
        expected = {"fwhm_aa": "a unit of length", "resolving_power": "a number without a unit"}[name]
        mend = "Give lsf_kms for a velocity, fwhm_aa for a length, resolving_power for a ratio."
        raise UnitsError(f"{name} in {value.unit}", expected=expected, mend=mend) from error


def _filled_sigma(name: str, value: object, wave_aa: Float[np.ndarray, "pixel"]) -> Float32[np.ndarray, "pixel"]:
    """Sigma (km/s) of what was given, unusable entries replaced by the nearest usable one."""
    sigma = _sigma_kms(name, value, wave_aa)
    good = _in_range(sigma)
    if not good.any():
        low, high = LSF_RANGE_KMS
        power = from_resolving_power(np.array([high, low]))  # R and sigma take each other's place
        expected = f"a resolution with sigma from {low:g} to {high:g} km/s, which is R from {power[0]:.2g} to {power[1]:.2g}"
        mend = "Correct it; a survey's typical resolution is assumed only where none is given."
        raise InputError(f"{name} {_shown(value)}", expected=expected, mend=mend)
    return nearest_good(sigma, good).astype(np.float32)


def _shown(value: object) -> str:
    """A value in an error: the number, or the first and the last of several, with the unit."""
    array = units.plain(value).reshape(-1)
    numbers = f"{array[0]:g}" if array.size == 1 else f"{array[0]:g} ... {array[-1]:g} ({array.size} values)"
    return f"{numbers} {value.unit}".rstrip() if units.has_unit(value) else numbers


def _filled_matrix(matrix: np.ndarray, n_pixel: int) -> Float32[np.ndarray, "diagonal pixel"]:
    if matrix.ndim != 2 or matrix.shape[1] != n_pixel or matrix.shape[0] % 2 == 0:
        mend = "Give DESI's diagonals, the highest offset first."
        came = f"resolution_matrix of shape {matrix.shape} for {n_pixel} pixels"
        raise InputError(came, expected="(an odd number of diagonals, one column a pixel)", mend=mend)
    good = np.isfinite(matrix).all(0) & (matrix.sum(0) > 0)
    if not good.any():
        mend = "Correct it, or leave it out for the survey's typical resolution."
        raise InputError("resolution_matrix without a usable column", expected="finite columns of positive sum", mend=mend)
    return nearest_good(matrix, good).astype(np.float32)


def _typical(survey: str, wave_aa: Float[np.ndarray, "pixel"]) -> Float32[np.ndarray, "pixel"]:
    sigma = typical_kms(survey, wave_aa)
    if sigma is None:
        mend = "Give lsf_kms, resolving_power or fwhm_aa, or the survey that it comes from."
        raise InputError("a spectrum without a usable resolution", expected="a resolution", mend=mend)
    return sigma.astype(np.float32)


def nearest_good(values: Float[np.ndarray, "*row pixel"], good: Bool[np.ndarray, "pixel"]) -> Float[np.ndarray, "*row pixel"]:
    """`values` with each pixel that is not good replaced by the nearest good one (there must be one)."""
    index = np.flatnonzero(good)
    right = np.clip(np.searchsorted(index, np.arange(good.size)), 0, index.size - 1)
    left = np.clip(right - 1, 0, None)
    pixel = np.arange(good.size)
    nearest = np.where(np.abs(index[left] - pixel) <= np.abs(index[right] - pixel), index[left], index[right])
    return values[..., nearest]


def matrix_rows(matrix: Float[np.ndarray, "diagonal pixel"]) -> Float[np.ndarray, "diagonal pixel"]:
    """The weights of each row of one segment's R: `[k, i]` is R[i, i + o[k]], 0 beyond the segment.

    The stored diagonals are aligned by column; a row is the line-spread function of one recorded pixel.
    """
    half = matrix.shape[0] // 2
    padded = np.pad(matrix, ((0, 0), (half, half)))
    n_pixel = matrix.shape[1]
    return np.stack([row[2 * half - k : 2 * half - k + n_pixel] for k, row in enumerate(padded)])


def matrix_sigma_kms(
    matrix: Float32[np.ndarray, "diagonal pixel"],
    wave_aa: Float[np.ndarray, "pixel"],
    segments: tuple[tuple[int, int], ...],
) -> Float32[np.ndarray, "pixel"]:
    """Root second central moment of each row of a resolution matrix, in km/s.

    Variances add under convolution whatever the kernel's shape, so this is the Gaussian that broadens alike. Rows that
    the segment's edge cuts, or whose moment is not positive, take the nearest complete row's width in pixels.
    """
    parts = [_segment_sigma_kms(matrix[:, start:stop], wave_aa[start:stop]) for start, stop in segments]
    return np.concatenate(parts).astype(np.float32)


def _segment_sigma_kms(matrix, wave_aa):
    variance = _row_variance(matrix_rows(matrix.astype(np.float64)))
    good = np.isfinite(variance) & (variance > 0)
    half = matrix.shape[0] // 2
    if wave_aa.size > 2 * half:
        good &= (np.arange(wave_aa.size) >= half) & (np.arange(wave_aa.size) < wave_aa.size - half)
    if not good.any():
        return np.zeros_like(wave_aa)
    return C_KMS * np.sqrt(nearest_good(variance, good)) * np.gradient(wave_aa) / wave_aa


def _row_variance(rows: Float[np.ndarray, "diagonal pixel"]) -> Float[np.ndarray, "pixel"]:
    half = rows.shape[0] // 2
    offset = (half - np.arange(rows.shape[0]))[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (rows * offset).sum(0) / rows.sum(0)
        return (rows * offset**2).sum(0) / rows.sum(0) - mean**2
