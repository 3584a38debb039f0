"""Names of a catalogue's rows: what surveys call their objects, as text that loses no digit."""

import numpy as np
from jaxtyping import Bool, Shaped

from slipher.errors import InputError


def identities(id: object, n_rows: int, named: str) -> Shaped[np.ndarray, "row"]:
    """Ids as text; those that are missing or blank are the row's number, from 1, after the word `named`.

    Raises
    ------
    InputError
        If there is not one for each row, or if they are floating-point numbers that cannot tell integers apart.
    """
    numbered = np.char.add(f"{named}-", np.arange(1, n_rows + 1).astype(str))
    if id is None:
        return numbered
    # Lists one by one: numpy makes floating-point numbers of integers on both sides of 2^63.
    column = id if isinstance(id, np.ndarray) else np.array(["" if each is None else str(each) for each in id])
    if column.shape != (n_rows,):
        raise InputError(f"ids of shape {column.shape}", expected=f"one for each of {n_rows} rows", mend="Check the ids.")
    texts = np.char.strip(_texts(column))
    return np.where(texts == "", numbered, texts)


def _texts(ids: np.ndarray) -> np.ndarray:
    """Ids as text, blank where they are masked or NaN."""
    values, absent = np.asarray(np.ma.getdata(ids)), np.ma.getmaskarray(ids)
    if values.dtype.kind == "f":
        absent = absent | np.isnan(values)
        values = _whole(np.where(absent, 0.0, values))
    return np.where(absent, "", values.astype(str))


def _whole(values: np.ndarray) -> np.ndarray:
    """Floating-point ids as the integers that they are."""
    exact = 2.0 ** (np.finfo(values.dtype).nmant + 1)  # beyond, neighbouring integers are one number
    if np.any((np.abs(values) > exact) | (values != np.round(values))):
        came = "ids that are fractions, or beyond 2^53, as floating-point numbers"
        raise InputError(came, expected="integers or text", mend="Digits are lost: save the ids as 64-bit integers or as text.")
    return values.astype(np.int64)


def twice(ids: np.ndarray) -> Bool[np.ndarray, "row"]:
    """Which come more than once."""
    _, which, count = np.unique(ids, return_inverse=True, return_counts=True)
    return count[which] > 1
