"""Spectra in tables: ECSV, FITS tables and delimited text with named columns.

The form is loose where files differ (aliases of column names) and strict where a mistake would be silent: wavelengths
and fluxes without a unit are refused unless the unit is declared by keyword. Metadata (redshift, id, survey, E(B-V),
resolution, air or vacuum) is read by name from the table's header, any case; flags and labels only from files that
slipher wrote. Keywords win over the file, and what they answer is not looked at in it. Missing entries of columns become
NaN, and such pixels carry no information.

`slipher.data.native` writes this form with every column and entry that a `Spectrum` has, and reads nothing of its own.
"""

import json
import warnings
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.io import ascii as text_tables
from astropy.io import fits
from astropy.table import Column, Table

from slipher import units
from slipher.data import checks
from slipher.data import files as disk
from slipher.data.observation import NO_FLAG, SURVEYS, Spectrum
from slipher.errors import Flag, InputError, UnitsError, UnreadableFile

ALIASES = {
    "wave": ("wavelength", "wave", "wave_aa", "lambda", "lam", "wl", "spectral_axis", "wavelength_vac", "wave_vac"),
    "wave_air": ("wavelength_air", "wave_air", "lambda_air"),
    "loglam": ("loglam", "log_wave", "loglambda"),
    "flux": ("flux", "flux_density", "f_lambda", "flam", "flambda", "f_nu", "fnu", "spec", "spectrum"),
    "ivar": ("ivar", "inverse_variance", "invvar", "inv_var"),
    "uncertainty": (
        "uncertainty",
        "error",
        "err",
        "flux_error",
        "flux_err",
        "e_flux",
        "sigma",
        "std",
        "stddev",
        "noise",
    ),
    "mask": ("mask", "and_mask", "bad"),
    "lsf_kms": ("lsf_kms", "lsf_sigma_kms"),
    "resolving_power": ("resolving_power", "specres"),
    "fwhm_aa": ("fwhm_aa", "lsf_fwhm_aa"),
    "resolution_matrix": ("resolution_matrix",),
    "segment": ("segment", "arm"),
}
META = {
    "redshift": ("redshift", "z"),
    "id": ("id", "objid", "object", "targetid", "name"),
    "survey": ("survey",),
    "ebv": ("ebv", "e(b-v)", "mw_ebv"),
    "lsf_kms": ("lsf_kms",),
    "resolving_power": ("resolving_power", "specrp", "spec_rp"),
    "fwhm_aa": ("fwhm_aa",),
    "wave_medium": ("wave_medium", "airorvac", "medium"),
    "flags": ("flags",),
    "labels": ("labels",),
}
# All entries that slipher writes, and no other software together: then flags and labels are slipher's.
OWN_META = {"id", "survey", "redshift", "ebv", "wave_medium", "flags", "labels"}
OBJECT_HDU = "OBJECT"  # one row of metadata beside a FITS table
DECLARE = "Give it in the file, or by keyword: wave_unit='nm', flux_unit='1e-17 erg / (s cm2 Angstrom)'."


class Columns(NamedTuple):
    """A table as plain data: arrays and unit texts by lower-case column name, and metadata by lower-case name."""

    arrays: dict[str, np.ndarray]
    unit_texts: dict[str, str | None]
    meta: dict[str, object]


def is_table(hdus: fits.HDUList) -> bool:
    """Whether a FITS file has a table with a wavelength and a flux column."""
    return _spectral_hdu(hdus) is not None


def _spectral_hdu(hdus: fits.HDUList):
    tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
    wavelengths = {*ALIASES["wave"], *ALIASES["wave_air"], *ALIASES["loglam"]}
    for hdu in tables:
        columns = {name.lower() for name in hdu.columns.names}
        if columns & wavelengths and columns & set(ALIASES["flux"]):
            return hdu
    return None


def read_fits(hdus: fits.HDUList, file: disk.File, **declared) -> Spectrum:
    """The spectrum in the first FITS table that has a wavelength and a flux column. `declared` as in `from_columns`."""
    hdu = _spectral_hdu(hdus)
    meta = {**dict(hdus[0].header), **dict(hdu.header)}
    if OBJECT_HDU in disk.names(hdus):
        described = disk.table(hdus, OBJECT_HDU, file.path)
        meta |= {name: disk.scalar(values[:1]) for name, values in described.items() if len(values)}
    unit_texts = {column.name.lower(): column.unit for column in hdu.columns}
    return from_columns(Columns(_fits_arrays(hdu), unit_texts, _lowered(meta)), file, **declared)


def _fits_arrays(hdu: fits.BinTableHDU) -> dict[str, np.ndarray]:
    """The columns by lower-case name, with NaN where an integer is the one that TNULL declares to be missing."""
    arrays, stored = disk.columns(hdu), hdu.data.view(np.ndarray)
    for column in hdu.columns:
        values, raw = arrays[column.name.lower()], stored[column.name]
        if column.null is not None and raw.dtype.kind in "iu" and values.dtype.kind in "iuf":
            arrays[column.name.lower()] = np.where((raw == column.null).reshape(values.shape), np.nan, values)
    return arrays


def read_text(file: disk.File, **declared) -> Spectrum:
    """The spectrum in an ECSV file or in delimited text with a header line. `declared` as in `from_columns`.

    Raises
    ------
    UnreadableFile
        If it is not text, or not a table.
    """
    table = _text_table(file)
    columns = {name.lower(): table[name] for name in table.colnames if isinstance(table[name], Column | u.Quantity)}
    unit_texts = {name: None if column.unit is None else str(column.unit) for name, column in columns.items()}
    arrays = {name: _text_array(column) for name, column in columns.items()}
    return from_columns(Columns(arrays, unit_texts, _lowered(table.meta)), file, **declared)


def _text_array(column: Column | u.Quantity) -> np.ndarray:
    """A column as an array: a missing number is NaN, a missing word blank."""
    if column.dtype.kind in "biuf":
        return units.plain(column)
    return np.asarray(np.ma.filled(column, "") if column.dtype.kind in "US" else column)


def _text_table(file: disk.File) -> Table:
    try:
        text = file.content.decode("utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)  # units are parsed, and refused, by slipher.units
            return text_tables.read(text.splitlines(), format=_text_format(text), guess=False)
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, text_tables.InconsistentTableError) as error:
        came = f"{file.path} is neither FITS nor a table that can be read ({disk.first_line(error)})"
        mend = "Save the spectrum as FITS, ECSV, or CSV with a header line."
        raise UnreadableFile(came, expected="FITS, ECSV or delimited text", mend=mend) from error


def _text_format(text: str) -> str:
    if text.startswith("# %ECSV"):
        return "ecsv"
    first = text.lstrip().split("\n", 1)[0]
    if "," in first:
        return "csv"
    return "commented_header" if first.startswith("#") else "basic"


def _lowered(meta: Mapping) -> dict[str, object]:
    return {str(name).lower(): value for name, value in meta.items()}


def from_columns(
    columns: Columns,
    file: disk.File,
    *,
    wave_unit: str | None = None,
    flux_unit: str | None = None,
    **declared,
) -> Spectrum:
    """A checked spectrum from named columns.

    Parameters
    ----------
    columns
        See `ALIASES` for the names of columns and `META` for those of metadata.
    file
        Where they came from; its name is the id if the metadata has none.
    wave_unit, flux_unit
        Units, where the columns have none (or wrong ones). An error column without a unit of its own, or with the one
        that `flux_unit` replaces, takes the flux's unit, ivar its inverse square.
    declared
        Any keyword of `slipher.data.checks.spectrum`; it wins over the metadata.

    Raises
    ------
    UnreadableFile
        If there is no wavelength or flux column, or no rows.
    UnitsError
        If wavelength or flux has no unit, or one that cannot be converted.
    InputError
        Whatever else `slipher.data.checks.spectrum` refuses.
    """
    found = _named(columns, file.path)
    if len(columns.arrays[found["flux"]]) == 0:
        raise UnreadableFile(f"{file.path} has no rows", expected="a spectrum", mend=disk.DOWNLOAD_AGAIN)
    wave, medium = _wave(columns, found, wave_unit, file.path)
    flux_unit_used = _unit(columns, found["flux"], flux_unit, file.path)
    declared = {name: value for name, value in declared.items() if value is not None}
    resolved = bool(set(RESOLUTIONS) & set(declared))
    resolution = {} if resolved else _resolution(columns, found)
    answered = {*declared, *(RESOLUTIONS if resolved or resolution else ())}
    given = {"id": file.stem, "wave_medium": medium} | _metadata(columns.meta, answered)
    given |= _errors(columns, found, flux_unit_used, flux_unit) | _segments(columns, found) | resolution | declared
    flux = u.Quantity(_numbers(columns, found["flux"]), flux_unit_used)
    if resolved:  # what an earlier reader assumed no longer counts
        given["flags"] = given.get("flags", NO_FLAG) & ~Flag.RESOLUTION_ASSUMED
    return checks.spectrum(wave, flux, source=file.path, checksum=file.checksum, **given)


RESOLUTIONS = ("resolution_matrix", "lsf_kms", "resolving_power", "fwhm_aa")  # declared, else a column, else metadata


def _named(columns: Columns, path: str) -> dict[str, str]:
    """The column for each of slipher's names."""
    found = {}
    for name, aliases in ALIASES.items():
        matches = [alias for alias in aliases if alias in columns.arrays]
        if matches:
            found[name] = matches[0]
    if "flux" not in found or not {"wave", "wave_air", "loglam"} & set(found):
        came = f"{path} with the columns {', '.join(columns.arrays) or '(none)'}"
        expected = f"a wavelength ({', '.join(ALIASES['wave'][:4])} ...) and a flux ({', '.join(ALIASES['flux'][:4])} ...)"
        raise UnreadableFile(came, expected=expected, mend="Rename the columns.")
    return found


def _numbers(columns: Columns, name: str) -> np.ndarray:
    try:
        return columns.arrays[name].astype(np.float64)
    except (TypeError, ValueError) as error:
        mend = "Check the column, and that missing entries are blank or NaN."
        raise InputError(f"the column {name} with {disk.first_line(error)}", expected="numbers", mend=mend) from error


def _unit(columns: Columns, name: str, declared: str | None, path: str) -> u.UnitBase:
    text = declared or columns.unit_texts.get(name)
    if not text:
        raise UnitsError(f"the column {name} of {path} has no unit", expected="a declared unit", mend=DECLARE)
    return units.parse(text, what=f"the column {name} of {path}")


def _wave(columns: Columns, found: dict[str, str], declared: str | None, path: str):
    """(wavelengths as a quantity, "air" or "vacuum" as the column's name has it)."""
    name = next(name for name in ("wave", "wave_air", "loglam") if name in found)
    values = _numbers(columns, found[name])
    medium = "air" if name == "wave_air" else "vacuum"
    if name == "loglam":  # its name says the unit: log10 of angstrom
        with np.errstate(over="ignore"):  # infinite wavelengths are refused at the door
            return 10.0**values * u.AA, medium
    return u.Quantity(values, _unit(columns, found[name], declared, path)), medium


def _errors(columns: Columns, found: dict[str, str], flux_unit: u.UnitBase, declared: str | None) -> dict:
    """ivar or uncertainty, ivar first."""
    given = {"mask": columns.arrays[found["mask"]]} if "mask" in found else {}
    for name, power in (("ivar", -2), ("uncertainty", 1)):
        if name in found:
            unit = _error_unit(columns, found[name], found["flux"], power, declared) or flux_unit**power
            return given | {name: u.Quantity(_numbers(columns, found[name]), unit)}
    return given


def _error_unit(columns: Columns, name: str, flux: str, power: int, declared: str | None) -> u.UnitBase | None:
    """The error column's own unit; None without a readable one, or if it is the one that a declared flux unit replaces."""
    text, replaced = columns.unit_texts.get(name), columns.unit_texts.get(flux)
    if not text:
        return None
    if not (declared and replaced):
        return units.parse(text, what=f"the column {name}")
    own, other = _readable(text), _readable(replaced)
    return None if other is not None and own == other**power else own


def _readable(text: str) -> u.UnitBase | None:
    try:
        return units.parse(text, what="a column")
    except UnitsError:
        return None


def _resolution(columns: Columns, found: dict[str, str]) -> dict:
    """The resolution's column, if there is one (a matrix is stored with one row a pixel)."""
    if "resolution_matrix" in found:
        return {"resolution_matrix": columns.arrays[found["resolution_matrix"]].T}
    name = next((name for name in RESOLUTIONS if name in found), None)
    if name is None:
        return {}
    values, text = _numbers(columns, found[name]), columns.unit_texts.get(found[name])
    return {name: u.Quantity(values, units.parse(text, what=f"the column {found[name]}")) if text else values}


def _segments(columns: Columns, found: dict[str, str]) -> dict:
    """Segments from a column that numbers or names them: a new one wherever its value changes."""
    if "segment" not in found:
        return {}
    values = columns.arrays[found["segment"]].astype(str)
    edges = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    if len(edges) - 1 > np.unique(values).size:
        came = f"the column {found['segment']}, whose values come back after others ({len(edges) - 1} changes)"
        raise InputError(came, expected="the rows of each arm together", mend="Sort the rows by this column, or remove it.")
    return {"segments": tuple(pairwise(edges))}


def _metadata(meta: dict[str, object], answered: set[str]) -> dict:
    """Keywords of `checks.spectrum` that the table's metadata answers; NaN and blanks are no answers."""
    given = {}
    foreign = set() if set(meta) >= OWN_META else {"flags", "labels"}
    for name, aliases in META.items():
        if name in answered | foreign:
            continue
        alias = next((alias for alias in aliases if alias in meta and not _is_blank(meta[alias])), None)
        if alias is not None:
            given[name] = _read_entry(name, meta[alias])
    return given


def _read_entry(name: str, value: object) -> object:
    try:
        return _READ_AS[name](value)
    except (TypeError, ValueError) as error:
        mend = "Correct it in the file, or declare it by keyword."
        raise InputError(f"{name} = {value!r} in the metadata", expected="a usable value", mend=mend) from error


def _is_blank(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and bool(np.isnan(value)))


def _survey(value: object) -> str:
    return str(value).lower() if str(value).lower() in SURVEYS else "custom"


def _labels(value: object) -> dict:
    return dict(value) if isinstance(value, Mapping) else json.loads(str(value))


def _medium(value: object) -> str:
    return {"air": "air", "vac": "vacuum", "vacuum": "vacuum"}.get(str(value).strip().lower(), str(value))


_READ_AS = {
    "redshift": float,
    "id": lambda value: str(value).strip(),
    "survey": _survey,
    "ebv": float,
    "lsf_kms": float,
    "resolving_power": float,
    "fwhm_aa": float,
    "wave_medium": _medium,
    "flags": lambda value: Flag(int(value)),
    "labels": _labels,
}
