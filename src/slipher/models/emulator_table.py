"""A user's table of spectra: parameters, one wavelength grid, one spectrum a row, from Parquet, FITS, npz or safetensors.

    npz, safetensors   arrays `wave_aa` [pixel], `spectra` [row, pixel], and one array [row] for each parameter, by its name
    FITS               a table HDU SPECTRA with a column for each parameter and `spectra`; an HDU WAVE_AA (image, or table of one column)
    Parquet            a column for each parameter and `spectra` (lists); the wavelengths as JSON in the schema's metadata, `wave_aa`

Tables are read whole. What the numbers have to be is checked where they are used (`emulator_source`): here it is their form.
"""

import json
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from ..data import files as disk
from ..errors import InputError, UnitsError, UnreadableFile


class Table(NamedTuple):
    """Spectra (Lsun/A per Msun formed) at vacuum wavelengths (A), the columns of parameters, and units where the file has them."""

    columns: dict[str, np.ndarray]
    wave_aa: Float[np.ndarray, "pixel"]
    spectra: Float[np.ndarray, "row pixel"]
    units: dict[str, str]


def read(path: Path, names: tuple[str, ...]) -> Table:
    """The table at `path`, with columns for the parameters `names`.

    Raises
    ------
    UnreadableFile
        If the file is missing, damaged or of another form, or lacks a column.
    InputError
        If its columns, spectra and wavelengths are not of matching lengths.
    """
    if path.suffix not in _READERS:
        raise UnreadableFile(f"the table {path}", expected=f"a file {', '.join(_READERS)}", mend="Write it in one of those formats.")
    arrays, units = _READERS[path.suffix](path)
    if missing := [name for name in ("wave_aa", "spectra", *names) if name not in arrays]:
        held = ", ".join(sorted(arrays)) or "nothing"
        raise UnreadableFile(f"{path} without {missing[0]} (it has {held})", expected=", ".join(names), mend="Rename or add it.")
    table = Table({name: _numbers(arrays[name], name, path) for name in names}, *_grid(arrays, path), units)
    _check_lengths(table, path)
    return table


def check_units(table: Table, units: dict[str, str], path: Path) -> None:
    """Raises UnitsError where the file gives a parameter another unit than the recipe."""
    for name, unit in units.items():
        if name in table.units and table.units[name].replace(" ", "") != unit.replace(" ", ""):
            came = f"{name} in {table.units[name]!r} in {path}"
            raise UnitsError(came, expected=f"{unit!r}, as in the recipe", mend="Convert the column, or mend the recipe.")


def _grid(arrays: dict[str, np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray]:
    wave = _numbers(arrays["wave_aa"], "wave_aa", path).astype(np.float64)
    return wave, _numbers(arrays["spectra"], "spectra", path, dimensions=2)


def _numbers(values: np.ndarray, name: str, path: Path, dimensions: int = 1) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "fiu" or values.ndim != dimensions:
        came = f"{name} of {path}, {values.dtype} of shape {values.shape}"
        raise InputError(came, expected=f"numbers in {dimensions} dimension{'s' * (dimensions > 1)}", mend="Mend the table.")
    return values.astype(np.result_type(values.dtype, np.float32), copy=False)


def _check_lengths(table: Table, path: Path) -> None:
    n, pixels = table.spectra.shape
    if pixels != len(table.wave_aa):
        came = f"{path} with spectra of {pixels} pixels"
        raise InputError(came, expected=f"{len(table.wave_aa)}, as many as wavelengths", mend="Mend the table.")
    for name, column in table.columns.items():
        if len(column) != n:
            raise InputError(f"{path} with {len(column)} values of {name}", expected=f"{n}, one a spectrum", mend="Mend the table.")


def _npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        # Opened here: numpy leaves a damaged file open.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}, {}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error


def _safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, {}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _fits(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    hdus = disk.open_fits(disk.load(path))
    arrays = disk.table(hdus, "SPECTRA", str(path))
    if "WAVE_AA" not in disk.names(hdus):
        raise UnreadableFile(f"{path} without an HDU WAVE_AA", expected="the wavelengths of all spectra", mend="Add it.")
    grid = hdus["WAVE_AA"]
    wave = disk.native(grid.data if grid.is_image else next(iter(disk.columns(grid).values())))
    units = {column.name.lower(): column.unit for column in hdus["SPECTRA"].columns if column.unit}
    return {**arrays, "wave_aa": wave}, units


def _parquet(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    import pyarrow.compute  # not by those who have no Parquet
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        metadata = table.schema.metadata or {}
        arrays = {"wave_aa": np.array(json.loads(metadata[b"wave_aa"]), np.float64)} if b"wave_aa" in metadata else {}
        for name in table.column_names:
            column = table[name].combine_chunks()
            if not (pyarrow.types.is_list(column.type) or pyarrow.types.is_fixed_size_list(column.type)):
                arrays[name] = column.to_numpy(zero_copy_only=False)
                continue
            lengths = pyarrow.compute.list_value_length(column).to_numpy(zero_copy_only=False)
            if len(set(lengths)) > 1:
                row = int(np.flatnonzero(lengths != lengths[0])[0])
                came = f"row {row} of {path} with {lengths[row]} values of {name}"
                raise InputError(came, expected=f"{lengths[0]}, as in row 0", mend="Mend the table.")
            arrays[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    except (OSError, pyarrow.ArrowException, json.JSONDecodeError) as error:
        raise _damaged(path, error) from error
    return arrays, {}


def _damaged(path: Path, error: Exception) -> UnreadableFile:
    return UnreadableFile(f"the table {path} cannot be read ({disk.first_line(error)})", expected="a whole file", mend="Write it again.")


_READERS = {".parquet": _parquet, ".fits": _fits, ".npz": _npz, ".safetensors": _safetensors}
