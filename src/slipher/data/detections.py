"""Catalogues of where sources are: identifiers with pixels or coordinates, from any table that `catalogue_files` opens."""

import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from slipher.data import files as disk
from slipher.data.catalogue_columns import RawTable, label, numbers
from slipher.data.catalogue_files import open_table
from slipher.errors import InputError

IDS, X, Y, RA, DEC = ("id", "name"), ("x", "x_image"), ("y", "y_image"), ("ra", "ra_j2000"), ("dec", "dec_j2000")


class Detections(NamedTuple):
    """Sources: `position` [source, 2] in pixels (x, y; zero in the centre of the first), or if `celestial` in degrees (ra, dec)."""

    ids: tuple[str, ...]
    position: Float64[np.ndarray, "source 2"]
    celestial: bool = False


def read_detections(path: str | os.PathLike) -> Detections:
    """The sources of a table with columns x and y, or ra and dec; and id or name, else they are numbered from one.

    Raises
    ------
    UnreadableFile
        A file that is missing, damaged, no table, or without rows.
    InputError
        A table without these columns, or positions that are no numbers.
    """
    table = open_table(disk.load(path), [*X, *Y, *RA, *DEC])
    x, y, ra, dec, id = (_own(table, names) for names in (X, Y, RA, DEC, IDS))
    if not ((x and y) or (ra and dec)):
        came = f"{table.path} with the columns {', '.join(table.names[:30])}"
        raise InputError(came, expected="x and y, or ra and dec", mend="Rename the columns.")
    pixels = bool(x and y)
    position = np.column_stack([numbers(table, name) for name in ((x, y) if pixels else (ra, dec))])
    ids = range(1, table.n_rows + 1) if id is None else label(table, id)
    return Detections(tuple(str(one) for one in ids), position, not pixels)


def _own(table: RawTable, names: tuple[str, ...]) -> str | None:
    return next((own for own in table.names if own.lower() in names), None)
