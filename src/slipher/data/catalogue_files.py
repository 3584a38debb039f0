"""Tables of many objects from disk: delimited text, ECSV, FITS and Parquet, known by their content.

Where this stands: below `catalogue`, which says what the columns mean. The bytes come through `slipher.data.files`, so
that they are read once and have their checksum. Text is read as text: numbers are made of it only where numbers are
wanted, since an id of 19 digits does not survive as a floating-point number.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import yaml
from astropy.io import fits
from astropy.table.meta import YamlParseError, get_header_from_yaml

from slipher.data import files as disk
from slipher.data.catalogue_columns import RawTable
from slipher.errors import InputError, UnreadableFile

PARQUET = b"PAR1"  # at both ends
DELIMITERS = (",", ";", "\t", "|")
BLANKS = "blanks"  # any run of them
FORMATS = "FITS, Parquet, ECSV or delimited text"
TEXT_MEND = "Save the catalogue as FITS, Parquet, ECSV, or CSV with a line of names."
ASTROPY_META = b"table_meta_yaml"  # where astropy keeps units in Parquet files


def open_table(
    file: disk.File, wanted: Sequence[str], *, delimiter: str | None = None, column_names: Sequence[str] | None = None
) -> RawTable:
    """The table in a file.

    Parameters
    ----------
    file
        As `slipher.data.files.load` gives it.
    wanted
        The columns that will be asked for: they choose among the tables of a FITS file.
    delimiter, column_names
        For text: what stands between the values (default: seen from the first line; " " for any run of blanks), and
        names for a file whose own are not to be used: all lines but the comments (#) are rows then.

    Raises
    ------
    UnreadableFile
        If it is damaged, of no format known here, or has no rows.
    InputError
        If text was declared of a format that says these things itself.
    """
    is_ecsv = file.content.startswith(b"# %ECSV")
    if (delimiter or column_names) and (file.is_fits or is_ecsv or file.content.startswith(PARQUET)):
        came = f"delimiter or column_names for {file.path}"
        raise InputError(came, expected="delimited text, the only format that needs it", mend="Leave it out.")
    if file.is_fits:
        table = _fits(file, wanted)
    elif file.content.startswith(PARQUET):
        table = _parquet(file)
    else:
        table = _ecsv(file) if is_ecsv else _text(file, delimiter, column_names)
    if table.n_rows == 0:
        raise UnreadableFile(f"{file.path} has no rows", expected="at least one galaxy", mend=disk.DOWNLOAD_AGAIN)
    return table


# FITS


def _fits(file: disk.File, wanted: Sequence[str]) -> RawTable:
    hdus = disk.open_fits(file)
    tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
    if not tables:
        came = f"{file.path} with the HDUs {', '.join(disk.names(hdus))}"
        raise UnreadableFile(came, expected="a binary table", mend=TEXT_MEND)
    lowered = {name.lower() for name in wanted}
    hdu = max(tables, key=lambda hdu: len(lowered & {name.lower() for name in hdu.columns.names}))
    unit_texts = {column.name: column.unit for column in hdu.columns if column.unit}
    return RawTable(file.path, tuple(hdu.columns.names), unit_texts, len(hdu.data), lambda name: _fits_column(hdu, name, file.path))


def _fits_column(hdu: fits.BinTableHDU, name: str, path: str) -> np.ma.MaskedArray:
    """A column, masked where an integer is the one that TNULL declares to be missing."""
    with disk.damage(path):
        values = disk.native(hdu.data[name])
        null = hdu.columns[name].null
        stored = hdu.data.view(np.ndarray)[name]
    if null is None or stored.dtype.kind not in "iu":
        return np.ma.asarray(values)
    return np.ma.array(values, mask=stored == null)


# Parquet


def _parquet(file: disk.File) -> RawTable:
    with _arrow_damage(file.path, "a whole Parquet file"):
        opened = pq.ParquetFile(io.BytesIO(file.content), page_checksum_verification=True)
        schema, n_rows = opened.schema_arrow, opened.metadata.num_rows
    described = (schema.metadata or {}).get(ASTROPY_META)
    unit_texts = {} if described is None else _units_in(described.decode("utf-8", "replace").splitlines())
    fields = {name: schema.field(k) for k, name in enumerate(schema.names)}
    unit_texts |= {name: field.metadata[b"unit"].decode() for name, field in fields.items() if b"unit" in (field.metadata or {})}
    return RawTable(file.path, tuple(schema.names), unit_texts, n_rows, lambda name: _parquet_column(opened, name, file.path))


def _parquet_column(opened: pq.ParquetFile, name: str, path: str) -> np.ma.MaskedArray:
    masks = [f"{name}.mask"] if f"{name}.mask" in opened.schema_arrow.names else []  # where astropy keeps masks
    with _arrow_damage(path, "a whole Parquet file"):
        table = opened.read(columns=[name, *masks])
    values = _from_arrow(table.column(name), name, path)
    if masks:
        values[table.column(masks[0]).to_numpy()] = np.ma.masked
    return values


def _from_arrow(values: pa.ChunkedArray, name: str, path: str) -> np.ma.MaskedArray:
    """Integers, floating-point numbers and booleans as they are, everything else as text; nulls masked."""
    kind = values.type
    try:
        if pa.types.is_decimal(kind):
            values = values.cast(pa.float64())
        elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            values = values.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        came = f"the column {name} of {path}, of type {kind}"
        raise InputError(came, expected="one number or word a row", mend="Write the value that is meant to a column of its own.") from error
    mask = values.is_null().to_numpy()
    filled = values.fill_null("" if pa.types.is_string(values.type) else False if pa.types.is_boolean(values.type) else 0)
    return np.ma.array(filled.to_numpy(), mask=mask)


@contextmanager
def _arrow_damage(path: str, expected: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, UnicodeDecodeError) as error:
        came = f"{path} is truncated or corrupt ({disk.first_line(error)})"
        raise UnreadableFile(came, expected=expected, mend=disk.DOWNLOAD_AGAIN) from error


# Text


def _ecsv(file: disk.File) -> RawTable:
    lines = [line for line in _lines(file) if line]
    header = [line[2:] for line in lines if line.startswith("#")]
    try:
        delimiter = get_header_from_yaml(header[1:]).get("delimiter", " ")
    except (YamlParseError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise _no_table(file, disk.first_line(error)) from error
    table = _delimited(file, [line for line in lines if not line.startswith("#")], delimiter, None)
    return table._replace(unit_texts=_units_in(header[1:]))


def _units_in(header: list[str]) -> dict[str, str]:
    """The units in astropy's description of a table; none where it cannot be read."""
    try:
        columns = get_header_from_yaml(header)["datatype"]
        return {column["name"]: str(column["unit"]) for column in columns if "unit" in column}
    except (YamlParseError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return {}


def _text(file: disk.File, delimiter: str | None, column_names: Sequence[str] | None) -> RawTable:
    lines = [line for line in _lines(file) if line.strip()]
    start = next((k for k, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comments, rows = lines[:start], lines[start:]
    if not rows and not comments:
        raise UnreadableFile(f"{file.path} is blank", expected="a table", mend=disk.DOWNLOAD_AGAIN)
    separator = (BLANKS if delimiter == " " else delimiter) or _delimiter((rows or comments)[0])
    rows = rows[:1] + [line for line in rows[1:] if not _is_comment(line, rows[0], separator)]
    if column_names is None and comments and (not rows or _has_numbers(_cells(rows[0], separator))):
        rows = [comments[-1].lstrip("# "), *rows]  # the names are in the last comment
    return _delimited(file, rows, separator, column_names)


def _lines(file: disk.File) -> list[str]:
    try:
        text = file.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_table(file, disk.first_line(error)) from error
    if "\0" in text:
        raise _no_table(file, "it is binary")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # splitlines would also split at form feeds


def _no_table(file: disk.File, reason: str) -> UnreadableFile:
    return UnreadableFile(f"{file.path} is no catalogue that can be read ({reason})", expected=FORMATS, mend=TEXT_MEND)


def _delimiter(line: str) -> str:
    most = max(DELIMITERS, key=line.count)
    return most if most in line else BLANKS


def _cells(line: str, delimiter: str) -> list[str]:
    return line.split() if delimiter == BLANKS else next(csv.reader([line], delimiter=delimiter))


def _is_comment(line: str, first: str, delimiter: str) -> bool:
    """Whether a line among the rows is none: an object may be called #12, and no row may be lost."""
    return line.startswith("#") and len(_cells(line, delimiter)) != len(_cells(first, delimiter))


def _has_numbers(cells: list[str]) -> bool:
    """Whether this is a row and no line of names: no column is called 0.25."""
    return any(re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", cell) for cell in cells)


def _delimited(file: disk.File, lines: list[str], delimiter: str, column_names: Sequence[str] | None) -> RawTable:
    """A table whose first line has the names, or the given ones."""
    if column_names is None:
        names, lines = [name.strip() for name in _cells(lines[0], delimiter)] if lines else [], lines[1:]
        if _has_numbers(names):
            raise UnreadableFile(f"{file.path} begins with a row of numbers", expected="a line of names", mend="Give column_names=[...].")
    else:
        names = list(column_names)
    if len(names) < 2:
        came = f"{file.path} with one column, {', '.join(names)[:60]!r}"
        raise UnreadableFile(
            came, expected=FORMATS, mend="Declare delimiter= and column_names=, or " + TEXT_MEND[0].lower() + TEXT_MEND[1:]
        )
    table = _arrow_table(file, lines, names, delimiter)
    return RawTable(file.path, tuple(names), {}, len(lines), lambda name: _words(table, names.index(name)))


def _words(table: pa.Table | None, index: int) -> np.ma.MaskedArray:
    values = np.array([], object) if table is None else table.column(index).to_numpy()
    return np.ma.asarray(values)


def _arrow_table(file: disk.File, lines: list[str], names: list[str], delimiter: str) -> pa.Table | None:
    """All columns as text; None without a row."""
    if not lines:
        return None
    if delimiter == BLANKS:
        lines, delimiter = [" ".join(line.split()) for line in lines], " "
    places = [str(place) for place in range(len(names))]  # names may come twice
    reading = pa.csv.ReadOptions(column_names=places, use_threads=False)
    parsing = pa.csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False)
    converting = pa.csv.ConvertOptions(column_types=dict.fromkeys(places, pa.string()), strings_can_be_null=False)
    with _arrow_damage(file.path, f"{len(names)} values in every row"):
        return pa.csv.read_csv(io.BytesIO("\n".join(lines).encode()), reading, parsing, converting)
