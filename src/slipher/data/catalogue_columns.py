"""Columns of catalogues as numbers, answers and ids, whatever their files hold them as.

Where this stands: between `catalogue_files`, which gives masked arrays of numbers or of words (text files give nothing
but words, so that no digit of an id is lost), and the door in `photometry_checks`.
"""

import difflib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64

from slipher.errors import InputError

NOTHING = ("", "nan", "null", "none", "n/a", "na", "--", "-", "masked", '""')  # how software writes a missing number
FLOAT_DIGITS = 15  # of decimal integers, that float64 holds all of
TRUE, FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
WORDS_MEND = "Correct it, or declare it as missing: missing=('{word}',)."


class RawTable(NamedTuple):
    """A table as a file has it: names in its own spelling, units as text where it has any, and columns on demand."""

    path: str
    names: tuple[str, ...]
    unit_texts: dict[str, str]
    n_rows: int
    read: Callable[[str], np.ma.MaskedArray]  # by the file's own name


def exact_name(table: RawTable, name: str) -> str:
    """The file's own spelling of a column's name: the same one, or else the only one that differs in case alone.

    Raises
    ------
    InputError
        If there is none (the names that come close are listed), or more than one.
    """
    alike = [own for own in table.names if own == name] or [own for own in table.names if own.lower() == name.lower()]
    if len(alike) > 1:
        came = f"{table.path} with {len(alike)} columns {', '.join(alike)}"
        raise InputError(came, expected=f"one column {name}", mend="Rename all but one.")
    if not alike:
        raise _no_column(table, name)
    return alike[0]


def _no_column(table: RawTable, name: str) -> InputError:
    by_lower = {own.lower(): own for own in table.names}
    close = [by_lower[own] for own in difflib.get_close_matches(name.lower(), by_lower, n=4, cutoff=0.5)]
    listed = ", ".join(table.names[:30]) + (" ..." if len(table.names) > 30 else "")
    mend = f"Did you mean {' or '.join(close)}?" if close else "Name one of these; for a file without a line of names give column_names."
    return InputError(f"no column {name!r} in {table.path}", expected=f"one of its {len(table.names)} columns ({listed})", mend=mend)


def column(table: RawTable, name: str) -> np.ma.MaskedArray:
    """A column [row] by its name. Raises InputError where there is none, or where it holds more than one value a row."""
    own = exact_name(table, name)
    values = table.read(own)
    if values.ndim != 1:
        came = f"the column {own} of {table.path} with {values.shape[1:]} values a row"
        raise InputError(came, expected="one value a row", mend="Write the value that is meant to a column of its own.")
    return values


def unit_text(table: RawTable, name: str) -> str | None:
    """The unit that the file gives a column, or None."""
    return table.unit_texts.get(exact_name(table, name))


def numbers(table: RawTable, name: str, *, words: tuple[str, ...] = (), unreadable: float | None = None) -> Float64[np.ndarray, "row"]:
    """A column as float64, NaN where it is masked, blank, or one of `words`.

    Raises
    ------
    InputError
        If an entry is not a number; with `unreadable`, that is its value instead.
    """
    values = column(table, name)
    if values.dtype.kind in "biuf":
        return np.where(np.ma.getmaskarray(values), np.nan, np.ma.getdata(values).astype(np.float64))
    texts = pc.utf8_trim_whitespace(pa.array(np.ma.filled(values, "").tolist(), pa.string()))
    absent = pc.or_(pc.is_in(pc.utf8_lower(texts), pa.array(NOTHING)), pc.is_in(texts, pa.array(words, pa.string())))
    given = pc.if_else(absent, pa.scalar(None, pa.string()), texts)
    try:
        parsed = pc.cast(given, pa.float64())
    except pa.ArrowInvalid:
        parsed = _one_by_one(given, table, name, unreadable)
    return pc.fill_null(parsed, np.nan).to_numpy(zero_copy_only=False)


def _one_by_one(texts: pa.Array, table: RawTable, name: str, unreadable: float | None) -> pa.Array:
    """Numbers of texts of which some are none: `unreadable` in their place, or the error that names the first one."""
    found = []
    for row, text in enumerate(texts.to_pylist()):
        value = None if text is None else _number(text)
        if text is not None and value is None:
            if unreadable is None:
                came = f"{text!r} in row {row + 1} of the column {name} of {table.path}"
                raise InputError(came, expected="a number", mend=WORDS_MEND.format(word=text))
            value = unreadable
        found.append(value)
    return pa.array(found, pa.float64())


def _number(text: str) -> float | None:
    try:
        return pa.scalar(text).cast(pa.float64()).as_py()
    except pa.ArrowInvalid:
        return None


def answers(table: RawTable, name: str, *, missing: tuple[float, ...] = (), words: tuple[str, ...] = ()) -> Bool[np.ndarray, "row"]:
    """A column of true and false, as such, as numbers (not 0: true) or as words; False where there is no answer.

    Raises
    ------
    InputError
        If a word is neither, nor declared as missing.
    """
    values = column(table, name)
    if values.dtype.kind not in "biuf":
        values = _answers_in_words(values, table, name, words)
    said = np.where(np.ma.getmaskarray(values), 0.0, np.ma.getdata(values).astype(np.float64))
    return (said != 0) & ~np.isnan(said) & ~np.isin(said, missing)


def _answers_in_words(values: np.ma.MaskedArray, table: RawTable, name: str, words: tuple[str, ...]) -> Float64[np.ndarray, "row"]:
    """Words as 1 (true), 0 (false or nothing) or the numbers that they spell."""
    texts = np.char.strip(np.ma.filled(values, "").astype(str))
    different, which = np.unique(texts, return_inverse=True)
    meaning = [_meaning(text, words) for text in different.tolist()]
    if None in meaning:
        came = f"{str(different[meaning.index(None)])!r} in the column {name} of {table.path}"
        raise InputError(came, expected="true or false", mend="Name a column that says which fluxes are upper limits.")
    return np.array(meaning, np.float64)[which]


def _meaning(text: str, words: tuple[str, ...]) -> float | None:
    plain = text.lower()
    if plain in TRUE:
        return 1.0
    return 0.0 if plain in FALSE + NOTHING or text in words else _number(text)


def label(table: RawTable, name: str) -> np.ndarray:
    """A column to look at later: numbers where all of it are (NaN: missing), else words, as are integers beyond 2^53."""
    values = column(table, name)
    masked = np.ma.getmaskarray(values)
    if values.dtype.kind in "biu" and not masked.any():
        return np.ma.getdata(values)
    texts = np.where(masked, "", np.ma.getdata(values).astype(str))
    if any(text.strip().lstrip("+-").isdigit() and len(text.strip()) > FLOAT_DIGITS for text in np.unique(texts).tolist()):
        return texts
    try:
        return numbers(table, name)
    except InputError:
        return texts
