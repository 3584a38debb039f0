"""Photometric catalogues from disk: which column is which band, and what the numbers in it mean.

Where this stands: after `catalogue_files` (tables), `catalogue_columns` (columns) and `photometry_checks` (the door).
No catalogue says all that is needed, so that it is declared: the bands as

    galex-fuv=fuv:efuv, sdss2010-u=u:eu, cfht_megacam-r=r:er:r_is_limit

FILTER=FLUX:ERROR or FILTER=FLUX:ERROR:LIMIT, where FILTER is the name of a shipped filter or the path of a curve of
one's own (`slipher.data.curve`) and LIMIT a column that says where the flux is an upper limit; and the unit, where the
table has none. Nothing is guessed from the names of columns.
"""

import os
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from slipher.data import catalogue_columns as columns_of
from slipher.data import files as disk
from slipher.data import photometry_checks as door
from slipher.data import photometry_units
from slipher.data.catalogue_columns import RawTable
from slipher.data.catalogue_files import open_table
from slipher.data.checks import ebv_value, redshift_value
from slipher.data.curve import read_curve
from slipher.data.photometry import Catalogue
from slipher.data.photometry_rules import BandColumn, Rules
from slipher.errors import InputError
from slipher.grids.filters import FilterCurve, filter_names, load_filters

BANDS_MEND = "Write bands='sdss2010-g=g:eg,sdss2010-r=r:er': FILTER=FLUX:ERROR, with commas between the bands."


class BandColumns(NamedTuple):
    """A filter and the names of its columns; `error` and `limit` are None where there is no such column."""

    curve: FilterCurve
    flux: str
    error: str | None
    limit: str | None


def read_catalogue(
    path: str | os.PathLike,
    bands: str | Mapping,
    *,
    unit: object = None,
    id_column: str | None = None,
    redshift_column: str | None = None,
    redshift: Real | None = None,
    ebv_column: str | None = None,
    ebv: Real | None = None,
    label_columns: Sequence[str] = (),
    missing: object = (),
    errors: Literal["sigma", "ivar"] = "sigma",
    default_error: Real | None = None,
    error_floor: object = 0.0,
    limit_sigma: Real = 3.0,
    negative_error_is_limit: bool = False,
    survey: str = "custom",
    delimiter: str | None = None,
    column_names: Sequence[str] | str | None = None,
) -> Catalogue:
    """A checked catalogue from FITS (gzip or not), Parquet, ECSV, or delimited text.

    Every row of the file is a row of the catalogue, in the same order; what is wrong with one is in its flags.

    Parameters
    ----------
    path
        The file; its format is known by its content.
    bands
        As above; or a mapping from filters (names, paths or curves) to 'FLUX:ERROR:LIMIT' or to (FLUX, ERROR, LIMIT),
        for names of columns with a comma or colon in them.
    unit
        'ABmag', 'nanomaggy', 'uJy' or any unit of f_nu, for all bands or a list with one for each. Needed where the table
        has no units; where it has, both have to mean the same.
    id_column
        Text or integers of up to 64 bits, which are kept to the last digit. By default the file's name and the row's
        number, from 1.
    redshift_column, ebv_column
        Rows whose value cannot be are kept without it and flagged.
    redshift, ebv
        One for all rows, in place of a column.
    label_columns
        Columns to keep for comparison, in `labels`.
    missing
        Numbers (and, for text, words) that mean that there is no value, as -99.
    errors
        Whether the columns of errors hold standard deviations or inverse variances.
    default_error
        Errors of the bands that have no column of errors, as a fraction of the flux.
    error_floor, limit_sigma, negative_error_is_limit
        As in `slipher.data.photometry_checks.catalogue_from_arrays`.
    survey
        Where it is from, in the user's words.
    delimiter, column_names
        For text: what stands between the values, where that is not seen from the first line, and the names of the
        columns for a file without a line of names (a list, or text with commas).

    Raises
    ------
    UnreadableFile
        A file that is missing, damaged, of no format known here, or without rows.
    UnitsError
        No unit, or units that contradict each other.
    InputError
        Unknown filters or columns (with the names that come close), entries that are no numbers, and declarations that
        contradict each other.
    """
    _refuse_twice(redshift=(redshift, redshift_column), ebv=(ebv, ebv_column))
    if errors not in ("sigma", "ivar"):
        raise InputError(f"errors={errors!r}", expected="'sigma' or 'ivar'", mend="Say what the columns of errors hold.")
    chosen = band_columns(bands)
    floor = {"error_floor": error_floor, "n_bands": len(chosen)}
    declared = door.rules(missing, limit_sigma, negative_error_is_limit, is_ivar=errors == "ivar", **floor)
    names = column_names.split(",") if isinstance(column_names, str) else column_names
    file = disk.load(path)
    table = open_table(file, _wanted(chosen), delimiter=delimiter, column_names=names)
    words = door.sentinels(missing)[1]
    units = door.declared_units(unit, len(chosen))
    columns = [_column(table, band, said, (declared, words), default_error) for band, said in zip(chosen, units)]
    return door.checked(
        tuple(band.curve for band in chosen),
        columns,
        declared,
        redshift=redshift_value(redshift) if redshift_column is None else _values(table, redshift_column, words),
        ebv=ebv_value(ebv) if ebv_column is None else _values(table, ebv_column, words),
        id=None if id_column is None else columns_of.column(table, id_column),
        named=file.stem,
        survey=survey,
        labels={name: columns_of.label(table, name) for name in label_columns},
        source=file.path,
        checksum=file.checksum,
    )


def band_columns(bands: str | Mapping) -> tuple[BandColumns, ...]:
    """The filters and the names of their columns, from text or a mapping as in `read_catalogue`.

    Raises
    ------
    InputError
        If the text cannot be understood, or names a filter that does not exist.
    UnreadableFile
        If a curve's file cannot be read.
    """
    pairs = [_pair(part) for part in bands.split(",") if part.strip()] if isinstance(bands, str) else list(bands.items())
    if not pairs:
        raise InputError("no bands", expected="at least one", mend=BANDS_MEND)
    return tuple(BandColumns(_curve(band), *_names(columns, band)) for band, columns in pairs)


def _pair(part: str) -> tuple[str, str]:
    band, equals, columns = part.rpartition("=")
    if not equals:
        raise InputError(f"the band {part.strip()!r}", expected="FILTER=FLUX:ERROR", mend=BANDS_MEND)
    return band.strip(), columns


def _names(columns: object, band: object) -> tuple[str, str | None, str | None]:
    """Names of the columns of flux, error and limit."""
    listed = columns.split(":") if isinstance(columns, str) else list(columns)
    named = [str(name).strip() or None if name is not None else None for name in listed]
    if not 1 <= len(named) <= 3 or named[0] is None:
        label = band.name if isinstance(band, FilterCurve) else band
        raise InputError(f"the columns {columns!r} of {label}", expected="FLUX, FLUX:ERROR or FLUX:ERROR:LIMIT", mend=BANDS_MEND)
    return tuple(named + [None] * (3 - len(named)))


def _curve(band: object) -> FilterCurve:
    if isinstance(band, FilterCurve):
        return band
    if band in filter_names():
        return load_filters([band])[0]
    if band.endswith("-*"):
        raise InputError(f"the group {band}", expected="one filter for each column", mend=BANDS_MEND)
    looks_like_a_path = Path(band).suffix or Path(band).is_file() or "/" in band or os.sep in band
    return read_curve(band) if looks_like_a_path else load_filters([band])[0]


def _refuse_twice(**given: tuple[object, object]) -> None:
    for name, (value, column) in given.items():
        if value is not None and column is not None:
            came = f"both {name}={value} and {name}_column={column!r}"
            raise InputError(came, expected="one of them", mend="Leave one out.")


def _wanted(chosen: tuple[BandColumns, ...]) -> list[str]:
    return [name for band in chosen for name in (band.flux, band.error, band.limit) if name]


def _values(table: RawTable, name: str, words: tuple[str, ...]) -> np.ndarray:
    """A column of redshifts or E(B-V); what is no number is out of every range, and flagged as that."""
    return columns_of.numbers(table, name, words=words, unreadable=np.inf)


def _column(
    table: RawTable, band: BandColumns, unit: object, missing: tuple[Rules, tuple[str, ...]], default_error: Real | None
) -> BandColumn:
    """A band's values, errors and limits in its own unit."""
    rules, words = missing
    values = columns_of.numbers(table, band.flux, words=words)
    own = columns_of.unit_text(table, band.flux)
    found = photometry_units.agreed(own, unit, what=f"the column {band.flux} of {table.path}")
    limits = np.zeros(values.size, bool)
    if band.limit is not None:
        limits = columns_of.answers(table, band.limit, missing=rules.missing, words=words)
    if band.error is None:
        sigma = _default(values, limits, found, default_error, band)
    else:
        sigma = _sigma(table, band.error, found, words, is_ivar=rules.is_ivar)
    return BandColumn(values, sigma, limits, found, band.curve.pivot_aa)


def _default(values, limits, unit, default_error, band: BandColumns) -> np.ndarray:
    if default_error is None and not limits.all():
        came = f"the band {band.curve.name} without a column of errors"
        mend = f"Name it: {band.curve.name}={band.flux}:ERROR, or declare default_error=0.05 for 5 % of each flux."
        raise InputError(came, expected="errors", mend=mend)
    return door.default_sigma(values, limits, unit, default_error)


def _sigma(table: RawTable, name: str, unit: photometry_units.BandUnit, words: tuple[str, ...], *, is_ivar: bool) -> np.ndarray:
    """Standard deviations in the unit of the flux; the column's own unit counts where it has one."""
    own = columns_of.unit_text(table, name)
    what = f"the column {name} of {table.path}"
    factor = photometry_units.error_factor(own, unit, power=-2 if is_ivar else 1, what=what)
    given = columns_of.numbers(table, name, words=words)
    return door.sigma_of_ivar(given * factor) if is_ivar else given * factor
