"""The rules on what catalogues of photometry hold, for all rows at once: the only place that has them.

Where this stands: `photometry_checks` and `catalogue` bring each band as a column in its own unit; here they become
nanomaggies with inverse variances. What is missing (NaN, masked, a declared sentinel) carries no information and is
nothing to remark on; what is wrong carries none either and sets a bit of `slipher.errors.Flag`. Every rule looks at
one row alone, so that a galaxy's answer does not depend on its catalogue.

Errors of magnitudes are taken to first order, sigma = flux * error / 1.0857, in every size: that is how catalogues
made them, so that the flux's own error comes back even where it exceeds the flux (errors above 1.09 mag). Such a
magnitude exists only where noise made the flux positive: catalogues of fluxes are the better source there.
"""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from slipher.data.photometry_units import MAG_PER_LN, BandUnit, nanomaggies
from slipher.errors import Flag

MAG_RANGE = (-30.0, 60.0)  # AB; the Sun is at -27, and 60 is a photon in the age of the Universe
MAX_FLUX = 1e12  # nanomaggies: AB -7.5, brighter than every star but the Sun
SENTINEL_RTOL = 1e-6  # float32 holds -99.9 as -99.9000015
NINES = tuple(-float(text) for text in ("99", "99.9", "99.99", "999", "999.9", "9999", "9999.9", "99999"))  # never meant as fluxes
NINES_SIGMA = 10.0
# How magnitudes taken for fluxes, and fluxes taken for magnitudes, give themselves away.
MAG_LIKE = (8.0, 32.0)
MAG_LIKE_ERROR = 0.5
MAG_LIKE_RANGE = 8.0
REDDENING_MAG = 0.3  # galaxies are brighter in the red: their magnitudes fall with wavelength, their fluxes do not
NOT_MAGNITUDES = (5.0, 35.0)
WIDEST_COLOUR_MAG = 15.0
BLUEST_COLOUR_MAG = 3.0  # no galaxy is 3 mag brighter in its bluest band than in its reddest one
STARLIGHT_AA = 25000.0  # beyond, f_nu of starlight falls
TOO_DEEP = 1e-6  # nanomaggies: no telescope measures to AB 37.5, but Jy taken for nanomaggies do
TOO_BRIGHT = 1e6  # nanomaggies of starlight: AB 7.5; half a dozen galaxies are brighter, and uJy taken for Jy
SOFTENING = 0.1  # of the errors, in their own unit: one good band does not make a trend


class BandColumn(NamedTuple):
    """One band of all galaxies, as it came: in its own unit, missing entries NaN."""

    values: Float64[np.ndarray, "row"]
    sigma: Float64[np.ndarray, "row"]  # in the unit of `values`; NaN: missing; infinite: no information
    limits: Bool[np.ndarray, "row"]  # whether `values` are upper limits
    unit: BandUnit
    pivot_aa: float


class Rules(NamedTuple):
    """What the user declared about a catalogue."""

    missing: tuple[float, ...] = ()  # values that mean that there is none
    limit_sigma: float = 3.0  # how many sigma an upper limit is
    negative_error_is_limit: bool = False  # LePhare's way of saying that a flux is an upper limit
    is_ivar: bool = False  # whether the errors came as inverse variances
    error_floor: tuple[float, ...] = (0.0,)  # least error as a fraction of the flux: one, or one a band


class Measured(NamedTuple):
    """Bands of all galaxies in slipher's units, as in `slipher.data.photometry.Catalogue`."""

    flux: Float64[np.ndarray, "row band"]
    ivar: Float64[np.ndarray, "row band"]
    censored: Bool[np.ndarray, "row band"]
    flags: Int64[np.ndarray, "row"]


class _Raw(NamedTuple):
    """The columns side by side, with everything missing NaN."""

    values: Float64[np.ndarray, "row band"]
    sigma: Float64[np.ndarray, "row band"]
    limits: Bool[np.ndarray, "row band"]
    magnitude: Bool[np.ndarray, "band"]
    scale: Float64[np.ndarray, "band"]
    pivot_aa: Float64[np.ndarray, "band"]


def measured(columns: Sequence[BandColumn], rules: Rules) -> Measured:
    """Nanomaggies, inverse variances, upper limits and flags [row] of columns of one length."""
    raw = _side_by_side(columns, rules)
    infinite = np.isinf(raw.values)
    finite = np.isfinite(raw.values)
    flux = nanomaggies(np.where(finite, raw.values, 0.0), raw.scale, raw.magnitude)
    sigma = _sigma(raw, flux, rules.limit_sigma)
    absurd = finite & _absurd(raw, flux, sigma)
    floor = np.where(raw.limits | ~np.isfinite(flux), 0.0, np.array(rules.error_floor)) * np.where(np.isfinite(flux), np.abs(flux), 0.0)
    known = finite & ~absurd
    with np.errstate(invalid="ignore"):
        wrong = known & (sigma <= 0)
    endless = wrong & (raw.sigma == 0) & rules.is_ivar
    ivar, overflown = _inverse_variance(np.where(known & ~wrong, np.hypot(sigma, floor), np.nan))
    found = {
        Flag.NON_FINITE_PIXELS: infinite | overflown | endless,
        Flag.NEGATIVE_IVAR if rules.is_ivar else Flag.NON_POSITIVE_ERRORS: wrong & ~endless,
        Flag.ABSURD_PIXELS: absurd,
    }
    flags = {flag: where.any(axis=1) for flag, where in found.items()}
    flags |= _flags_of_rows(np.where(known, flux, 0.0), ivar > 0)
    flags[Flag.UNIT_SUSPECTED] = _unit_suspected(raw) | _unit_off_by_powers_of_ten(raw, flux, sigma)
    return Measured(np.where(known, flux, 0.0), ivar, raw.limits & (ivar > 0), bits(flags, len(flux)))


def within(
    values: Float64[np.ndarray, "row"], allowed: tuple[float, float], missing: tuple[float, ...]
) -> tuple[Float64[np.ndarray, "row"], Bool[np.ndarray, "row"]]:
    """`values` with NaN where they are missing or outside of `allowed`, and where they are there but outside."""
    low, high = allowed
    there = ~np.isnan(values) & ~_is_sentinel(values, missing)
    usable = there & (values >= low) & (values <= high)
    return np.where(usable, values, np.nan), there & ~usable


def bits(flags: dict[Flag, Bool[np.ndarray, "row"]], n_rows: int) -> Int64[np.ndarray, "row"]:
    """The flags of each row as one integer."""
    return reduce(np.bitwise_or, (np.where(where, int(flag), 0) for flag, where in flags.items()), np.zeros(n_rows, np.int64))


def _side_by_side(columns: Sequence[BandColumn], rules: Rules) -> _Raw:
    values = np.stack([column.values for column in columns], axis=1)
    sigma = np.stack([column.sigma for column in columns], axis=1)
    limits = np.stack([column.limits for column in columns], axis=1)
    values = np.where(_is_sentinel(values, rules.missing), np.nan, values)
    sigma = np.where(_is_sentinel(sigma, rules.missing), np.nan, sigma)
    if rules.negative_error_is_limit:
        limits |= sigma < 0
    magnitude = np.array([column.unit.is_magnitude for column in columns])
    scale = np.array([column.unit.nanomaggies for column in columns])
    return _Raw(values, sigma, limits, magnitude, scale, np.array([column.pivot_aa for column in columns]))


def _is_sentinel(values: np.ndarray, missing: tuple[float, ...]) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        near = [np.abs(values - sentinel) <= SENTINEL_RTOL * abs(sentinel) for sentinel in missing]
    return reduce(np.logical_or, near, np.zeros(values.shape, bool))


def _sigma(raw: _Raw, flux: np.ndarray, limit_sigma: float) -> np.ndarray:
    """The errors in nanomaggies; an upper limit without a positive one has its share of the limit."""
    with np.errstate(over="ignore", invalid="ignore"):
        sigma = raw.sigma * np.where(raw.magnitude, flux / MAG_PER_LN, raw.scale)
        measured_error = (raw.sigma > 0) & np.isfinite(raw.sigma)
        return np.where(raw.limits & ~measured_error, flux / limit_sigma, sigma)


def _inverse_variance(sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse variances, 0 for NaN and infinite errors, and where they are beyond all numbers (then 0 as well)."""
    with np.errstate(over="ignore", divide="ignore"):
        ivar = np.where(np.isnan(sigma), 0.0, sigma**-2.0)
    return np.where(np.isinf(ivar), 0.0, ivar), np.isinf(ivar)


def _absurd(raw: _Raw, flux: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Values that no galaxy has: impossible magnitudes and fluxes, and sentinels that nobody declared."""
    low, high = MAG_RANGE
    nines = ~raw.magnitude & _is_sentinel(raw.values, NINES)
    with np.errstate(invalid="ignore"):
        impossible = raw.magnitude & ((raw.values < low) | (raw.values > high))
        return impossible | (np.abs(flux) > MAX_FLUX) | (nines & (flux < -NINES_SIGMA * sigma))


def _flags_of_rows(flux: np.ndarray, good: np.ndarray) -> dict[Flag, np.ndarray]:
    return {Flag.NO_DATA: ~good.any(axis=1), Flag.NEGATIVE_FLUX: _median(flux, good) < 0}


def _unit_suspected(raw: _Raw) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        usable = np.isfinite(raw.values) & np.isfinite(raw.sigma) & (raw.sigma > 0) & ~raw.limits
        return _fluxes_like_magnitudes(raw, usable & ~raw.magnitude) | _magnitudes_like_fluxes(raw, usable & raw.magnitude)


def _fluxes_like_magnitudes(raw: _Raw, usable: np.ndarray) -> np.ndarray:
    """Rows of at least three fluxes whose numbers are magnitudes', errors too, and fall towards the red as those do."""
    low, high = MAG_LIKE
    inside = np.all(~usable | ((raw.values >= low) & (raw.values <= high)), axis=1)
    rise, error = _trend(raw, usable)
    alike = inside & (_range(raw.values, usable) < MAG_LIKE_RANGE) & (_median(raw.sigma, usable) < MAG_LIKE_ERROR)
    return (usable.sum(axis=1) >= 3) & alike & (rise < -np.maximum(REDDENING_MAG, 3 * error))


def _magnitudes_like_fluxes(raw: _Raw, usable: np.ndarray) -> np.ndarray:
    """Rows of magnitudes whose median, range or colour no galaxy's magnitudes have."""
    low, high = NOT_MAGNITUDES
    middle = _median(raw.values, usable)
    precise = usable & (raw.sigma < 1) & (raw.values > MAG_RANGE[0]) & (raw.values < MAG_RANGE[1])
    rise, error = _trend(raw, usable)
    wide = _range(raw.values, precise) > WIDEST_COLOUR_MAG
    blue = (usable.sum(axis=1) >= 3) & (rise > np.maximum(BLUEST_COLOUR_MAG, 3 * error))
    return (middle < low) | (middle > high) | wide | blue


def _unit_off_by_powers_of_ten(raw: _Raw, flux: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Rows of fluxes that are all measured too well, or too bright, for a galaxy."""
    with np.errstate(invalid="ignore"):
        usable = ~raw.magnitude & np.isfinite(raw.values) & (sigma > 0) & np.isfinite(sigma)
        deep = np.all(~usable | (sigma < TOO_DEEP), axis=1)
        bright = _median(flux, usable & (raw.pivot_aa < STARLIGHT_AA)) > TOO_BRIGHT
    return (usable.any(axis=1) & deep) | bright


def _trend(raw: _Raw, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much a straight line through the starlight rises from each row's bluest to its reddest band, and its error.

    The line is in the values against the logarithm of wavelength, weighted by the errors; NaN for less than two bands.
    """
    usable = usable & (raw.pivot_aa < STARLIGHT_AA)
    log_wave = np.log(raw.pivot_aa)
    weights = np.where(usable, 1 / (raw.sigma**2 + SOFTENING**2), 0.0)
    offset = log_wave - (weights @ log_wave / weights.sum(axis=1))[:, None]
    spread = np.sum(weights * offset**2, axis=1)
    slope = np.sum(weights * offset * np.where(usable, raw.values, 0.0), axis=1) / spread
    length = _range(np.broadcast_to(log_wave, usable.shape), usable)
    return slope * length, length / np.sqrt(spread)


def _range(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Largest minus smallest of the values used in each row; minus infinity where there is none."""
    return np.where(used, values, -np.inf).max(axis=1) - np.where(used, values, np.inf).min(axis=1)


def _median(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The median of the values used in each row; NaN where there is none."""
    ordered = np.sort(np.where(used, values, np.inf), axis=1)
    count = used.sum(axis=1)
    rows = np.arange(len(values))
    middle = (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, values.shape[1] - 1)]) / 2
    return np.where(count > 0, middle, np.nan)
