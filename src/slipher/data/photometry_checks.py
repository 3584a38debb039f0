"""The door of photometry: arrays or quantities in, a checked `Photometry` or `Catalogue` out.

Where this stands: beside `checks`, the door of spectra. Shapes, units and declarations are settled here; what the
numbers may be is in `photometry_rules`, for all rows at once, and one galaxy is a catalogue of one row. What can be
used is used and flagged; what contradicts itself, or leaves open what is meant (no unit, no errors), is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from slipher import units
from slipher.data import photometry_rules as rules_of
from slipher.data import photometry_units
from slipher.data.checks import EBV_RANGE, REDSHIFT_RANGE, ebv_value, redshift_value
from slipher.data.identities import identities, twice
from slipher.data.observation import NO_FLAG
from slipher.data.photometry import Catalogue, Photometry
from slipher.data.photometry_rules import BandColumn, Rules
from slipher.data.photometry_units import MAG_PER_LN, BandUnit
from slipher.errors import Flag, InputError, UnitsError
from slipher.grids.filters import FilterCurve, load_filters

MISSING_MEND = "Name the numbers that stand for missing values: missing=(-99, -99.9)."
ERRORS_MEND = "Photometry without errors cannot be fitted: give its errors, or declare default_error=0.05 for 5 % of each flux."


def photometry(
    fluxes: object,
    errors: object = None,
    *,
    bands: str | FilterCurve | Iterable[str | FilterCurve],
    unit: object = None,
    ivar: object = None,
    missing: object = (),
    limits: object = None,
    limit_sigma: Real = 3.0,
    negative_error_is_limit: bool = False,
    default_error: Real | None = None,
    error_floor: object = 0.0,
    redshift: Real | None = None,
    ebv: Real | None = None,
    id: str = "photometry",
    survey: str = "custom",
    flags: Flag = NO_FLAG,
    labels: Mapping | None = None,
    source: str = "",
    checksum: str = "",
) -> Photometry:
    """The checked photometry of one galaxy: `catalogue_from_arrays` of one row, which see for all that is not said here.

    Parameters
    ----------
    fluxes, errors, ivar, limits
        [band].
    redshift, ebv
        Refused where they are not finite or out of range, as for spectra.
    id, survey, labels, source, checksum
        As in `Photometry`.
    flags
        Added to those found here.

    Raises
    ------
    UnitsError, InputError
        As `catalogue_from_arrays`.
    """
    made = catalogue_from_arrays(
        _one_row(fluxes, "fluxes"),
        _one_row(errors, "errors"),
        bands=bands,
        unit=unit,
        ivar=_one_row(ivar, "ivar"),
        missing=missing,
        limits=None if limits is None else np.ma.asarray(limits)[None],
        limit_sigma=limit_sigma,
        negative_error_is_limit=negative_error_is_limit,
        default_error=default_error,
        error_floor=error_floor,
        redshift=redshift,
        ebv=ebv,
        id=[id],
        survey=survey,
        source=source,
        checksum=checksum,
    )[0]
    return replace(made, flags=made.flags | flags, labels=dict(labels or {}))


def catalogue_from_arrays(
    fluxes: object,
    errors: object = None,
    *,
    bands: str | FilterCurve | Iterable[str | FilterCurve],
    unit: object = None,
    ivar: object = None,
    missing: object = (),
    limits: object = None,
    limit_sigma: Real = 3.0,
    negative_error_is_limit: bool = False,
    default_error: Real | None = None,
    error_floor: object = 0.0,
    redshift: object = None,
    ebv: object = None,
    id: object = None,
    survey: str = "custom",
    labels: Mapping | None = None,
    source: str = "",
    checksum: str = "",
) -> Catalogue:
    """A checked catalogue of galaxies in the same bands.

    Arrays may be numpy arrays, sequences, masked arrays or astropy quantities, of any byte order. NaN and masked entries
    are missing bands. Negative fluxes are kept.

    Parameters
    ----------
    fluxes
        [row, band], in `unit` where bare.
    errors, ivar
        At most one of them [row, band]: standard deviations in the unit of the fluxes (in magnitudes for magnitudes),
        or inverse variances. Infinite errors and an ivar of 0 carry no information; errors that are not positive
        neither, and are flagged.
    bands
        Names of shipped filters (`GROUP-*` for a whole group), or curves of one's own, in the order of the columns.
    unit
        'ABmag', 'nanomaggy', 'uJy' or any unit of f_nu, for all bands or a list with one for each. Quantities have
        their own.
    missing
        Numbers that mean that there is no value, as -99, among fluxes, errors, redshifts and E(B-V).
    limits
        True where a flux is an upper limit [row, band].
    limit_sigma
        How many sigma the limits are. A positive error beside a limit wins.
    negative_error_is_limit
        Whether a negative error says that its flux is an upper limit, as in LePhare's catalogues.
    default_error
        Errors as a fraction of the flux, where neither errors nor ivar are given.
    error_floor
        What is added to the errors in quadrature, as a fraction of the flux: one number, or one for each band. For zero points, apertures
        and calibration that are worse than the model's own allowance (2 %).
    redshift, ebv
        One for all, which is refused where it cannot be, or [row], where such rows lose it and are flagged; NaN: none.
    id
        What the survey calls the objects [row], text or integers; numbers from 1 by default.
    survey, labels, source, checksum
        As in `Catalogue`.

    Raises
    ------
    UnitsError
        No unit, one that is no unit of photometry, or units that contradict each other.
    InputError
        Unknown bands (with the names that come close), disagreeing shapes, no errors, or impossible declarations.
    """
    curves = curves_of(bands)
    values = _table(fluxes, len(curves), "fluxes")
    band_units = _units_of(fluxes, unit, len(curves))
    said = _limits_of(limits, values)
    if errors is None and ivar is None:
        sigma = np.stack([default_sigma(*column, default_error) for column in zip(values.T, said.T, band_units)], axis=1)
    else:
        sigma = _errors_of(errors, ivar, fluxes, values, band_units, unit)
    columns = [BandColumn(values[:, k], sigma[:, k], said[:, k], band_units[k], curve.pivot_aa) for k, curve in enumerate(curves)]
    declared = rules(missing, limit_sigma, negative_error_is_limit, is_ivar=ivar is not None, error_floor=error_floor, n_bands=len(curves))
    origin = {"survey": survey, "labels": labels, "source": source, "checksum": checksum}
    return checked(curves, columns, declared, redshift=redshift, ebv=ebv, id=id, **origin)


def checked(
    curves: tuple[FilterCurve, ...],
    columns: Sequence[BandColumn],
    declared: Rules,
    *,
    redshift: object = None,
    ebv: object = None,
    id: object = None,
    named: str = "photometry",
    survey: str = "custom",
    labels: Mapping | None = None,
    source: str = "",
    checksum: str = "",
) -> Catalogue:
    """The catalogue of columns in their own units: where all doors meet. `named` begins the ids where there are none."""
    made = rules_of.measured(columns, declared)
    n_rows = len(made.flags)
    redshifts, bad_redshift = _per_row(redshift, redshift_value, REDSHIFT_RANGE, n_rows, "redshift", declared)
    ebvs, bad_ebv = _per_row(ebv, ebv_value, EBV_RANGE, n_rows, "ebv", declared)
    ids = identities(id, n_rows, named)
    noticed = {
        Flag.REDSHIFT_UNUSABLE: bad_redshift,
        Flag.EBV_UNUSABLE: bad_ebv,
        Flag.DUPLICATE_ID: twice(ids),
    }
    return Catalogue(
        bands=curves,
        flux=made.flux,
        ivar=made.ivar,
        censored=made.censored,
        redshift=redshifts,
        ebv=ebvs,
        id=ids,
        flags=made.flags | rules_of.bits(noticed, n_rows),
        labels={name: np.asarray(values) for name, values in (labels or {}).items()},
        survey=survey,
        source=source,
        checksum=checksum,
    )


def curves_of(bands: str | FilterCurve | Iterable[str | FilterCurve]) -> tuple[FilterCurve, ...]:
    """The curves of filters given by name, by group (`GROUP-*`) or as curves. Raises InputError for unknown names."""
    listed = [bands] if isinstance(bands, str | FilterCurve) else list(bands)
    if not listed:
        raise InputError("no bands", expected="at least one", mend="Name the filters: bands=['sdss2010-*'].")
    return tuple(curve for band in listed for curve in ((band,) if isinstance(band, FilterCurve) else load_filters([band])))


def rules(
    missing: object, limit_sigma: Real, negative_error_is_limit: bool, *, is_ivar: bool, error_floor: object = 0.0, n_bands: int = 1
) -> Rules:
    """What was declared, checked; words among `missing` are for the readers of text and left out."""
    floor = np.asarray(error_floor, np.float64).reshape(-1)
    if not (np.all((floor >= 0) & (floor < 1)) and len(floor) in (1, n_bands)):
        raise InputError(
            f"error_floor={error_floor!r}", expected=f"a fraction of the flux, 0 to 1, or one for each of {n_bands} bands",
            mend="Give 0.05 for five per cent.",
        )  # fmt: skip
    if not 0 < limit_sigma < np.inf:
        raise InputError(f"limit_sigma={limit_sigma}", expected="a positive number", mend="Give how many sigma the upper limits are.")
    if negative_error_is_limit and is_ivar:
        came = "negative_error_is_limit beside inverse variances"
        raise InputError(came, expected="errors, which may be negative", mend="Give limits= instead.")
    return Rules(sentinels(missing)[0], float(limit_sigma), bool(negative_error_is_limit), is_ivar, tuple(floor.tolist()))


def sentinels(missing: object) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """(numbers, words) of what was declared to mean that there is no value."""
    listed = [missing] if isinstance(missing, str | Real) else list(missing)
    numbers, words = [], []
    for value in listed:
        try:
            numbers.append(float(value))
        except (TypeError, ValueError):
            if not isinstance(value, str):
                raise InputError(f"missing={missing!r}", expected="numbers or words", mend=MISSING_MEND) from None
            words.append(value.strip())
    return tuple(numbers), tuple(words)


def _per_row(value: object, one: object, allowed: tuple, n_rows: int, name: str, declared: Rules):
    """A value for each row, NaN where there is none, and where it was there but not usable; one for all is refused then."""
    if value is None or np.ndim(value) == 0:
        known = one(value)
        return np.full(n_rows, np.nan if known is None else known), np.zeros(n_rows, bool)
    values = _numbers(value, name)
    if values.shape != (n_rows,):
        raise InputError(f"{name} of shape {values.shape}", expected=f"one for each of {n_rows} rows", mend="Check its rows.")
    return rules_of.within(values, allowed, declared.missing)


def _numbers(values: object, name: str) -> np.ndarray:
    try:
        return units.plain(values)
    except (TypeError, ValueError) as error:
        mend = "Give an array with NaN where there is no value."
        raise InputError(f"{name} of {type(values).__name__} ({error})", expected="numbers", mend=mend) from error


class _Given(NamedTuple):
    """Numbers and their unit, which `slipher.units` reads as it reads a quantity."""

    value: np.ndarray
    unit: object


def _one_row(values: object, name: str) -> _Given | None:
    """`values` of one galaxy as one row."""
    if values is None:
        return None
    numbers = _numbers(values, name)
    if numbers.ndim != 1:
        came = f"{name} of shape {numbers.shape}"
        raise InputError(came, expected="one dimension", mend="Give one galaxy at a time, or use catalogue_from_arrays.")
    return _Given(numbers[None], getattr(values, "unit", None))


def _table(values: object, n_bands: int, name: str) -> Float64[np.ndarray, "row band"]:
    array = _numbers(values, name)
    if array.ndim != 2 or array.shape[1] != n_bands:
        came = f"{name} of shape {array.shape} in {n_bands} bands"
        raise InputError(came, expected="one value for each galaxy and band", mend="Name as many bands as there are fluxes.")
    return array


def _units_of(fluxes: object, declared: object, n_bands: int) -> tuple[BandUnit, ...]:
    own = getattr(fluxes, "unit", None)
    said = declared_units(declared, n_bands)
    found = {unit: photometry_units.agreed(own, unit, what="the flux") for unit in set(said)}
    return tuple(found[unit] for unit in said)


def declared_units(unit: object, n_bands: int) -> tuple[object, ...]:
    """The declared unit of each band, None without one. Raises InputError where a list has another length."""
    if not isinstance(unit, list | tuple):
        return (unit,) * n_bands
    if len(unit) != n_bands:
        raise InputError(f"{len(unit)} units for {n_bands} bands", expected="one for all, or one a band", mend="Name one for each band.")
    return tuple(unit)


def _errors_of(errors, ivar, fluxes, values, band_units, unit) -> Float64[np.ndarray, "row band"]:
    """Standard deviations in the units of the fluxes."""
    if errors is not None and ivar is not None:
        raise InputError("both errors and ivar", expected="one of them", mend="Leave one out.")
    given, name, power = (errors, "errors", 1) if ivar is None else (ivar, "ivar", -2)
    own = getattr(given, "unit", None)
    _refuse_bare_errors(own, fluxes, unit, band_units, name)
    table = _same_shape(_numbers(given, name), values, name)
    factors = [photometry_units.error_factor(own, band_unit, power=power, what=name) for band_unit in band_units]
    return table * factors if ivar is None else sigma_of_ivar(table * factors)


def default_sigma(
    values: Float64[np.ndarray, "row"], limits: Bool[np.ndarray, "row"], unit: BandUnit, fraction: Real | None
) -> Float64[np.ndarray, "row"]:
    """Errors that are a declared fraction of the flux, in the unit of `values`; NaN for upper limits, which need none.

    Raises
    ------
    InputError
        If no fraction was declared for measured fluxes, or one that is not positive.
    """
    if fraction is None and not limits.all():
        raise InputError("fluxes without errors", expected="errors or ivar", mend=ERRORS_MEND)
    if fraction is not None and not 0 < fraction < np.inf:
        raise InputError(f"default_error={fraction}", expected="a positive fraction of the flux", mend=ERRORS_MEND)
    share = np.nan if fraction is None else float(fraction)
    return np.where(limits, np.nan, MAG_PER_LN * share if unit.is_magnitude else np.abs(values) * share)


def sigma_of_ivar(ivar: np.ndarray) -> np.ndarray:
    """Standard deviations; infinite for an ivar of 0, 0 for an infinite one, negative for a negative one."""
    with np.errstate(divide="ignore"):
        return np.where(ivar == 0, np.inf, np.copysign(np.abs(ivar) ** -0.5, ivar))


def _refuse_bare_errors(own: object, fluxes: object, declared: object, band_units: tuple[BandUnit, ...], name: str) -> None:
    """Errors without a unit beside fluxes with another one than slipher's could be in either; magnitudes' cannot."""
    if own is not None or declared is not None or not units.has_unit(fluxes):
        return
    if band_units and not band_units[0].is_magnitude and not np.isclose(band_units[0].nanomaggies, 1.0):
        came = f"{name} without a unit beside fluxes in {band_units[0].name}"
        raise UnitsError(came, expected="a unit for both", mend=f"Give {name} a unit, or declare unit= for both.")


def _limits_of(limits: object, values: np.ndarray) -> Bool[np.ndarray, "row band"]:
    if limits is None:
        return np.zeros(values.shape, bool)
    said = np.ma.filled(np.ma.asarray(limits), False)
    if said.dtype.kind not in "biu":
        raise InputError(f"limits of type {said.dtype}", expected="True and False", mend="Give True where a flux is an upper limit.")
    return _same_shape(said != 0, values, "limits")


def _same_shape(array: np.ndarray, values: np.ndarray, name: str) -> np.ndarray:
    if array.shape != values.shape:
        came = f"{name} of shape {array.shape} and fluxes of shape {values.shape}"
        raise InputError(came, expected="the same shape", mend="Check that both come from the same galaxies.")
    return array
