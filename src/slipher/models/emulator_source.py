"""Where an emulator's spectra come from: a user's table, or a function that is called for drawn parameters; checked row by row.

A function is called once for each row, and what it returns is kept in chunks on disk, so that a killed run calls it for no chunk twice.
Its training rows are a scrambled Sobol' sequence over the prior's box, which fills it more evenly than random points; the rows held back
are random and follow the training rows. Of a table a random selection is held back. All is decided by the seed.
"""

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..data import files as disk
from ..errors import InputError, UnreadableFile
from ..files import write_atomically
from ..physics.parameters import Parameter
from . import emulator_table

CHUNK = 500  # rows
Progress = Callable[[int, int, dict], None]


class Source(NamedTuple):
    """Rows of parameters and what is needed to read their spectra (`chunks`)."""

    name: str
    values: Float[np.ndarray, "row parameter"]
    held_back: Bool[np.ndarray, "row"]
    wave_aa: Float[np.ndarray, "pixel"]
    read: Callable[[int], np.ndarray]


def chunks(source: Source) -> Iterator[tuple[slice, Float[np.ndarray, "row pixel"]]]:
    """The spectra in ln, float64, a few hundred rows at a time, with the rows they are.

    Raises
    ------
    InputError
        If a spectrum is not finite and positive everywhere, naming its row.
    """
    for number in range(-(-len(source.values) // CHUNK)):
        spectra = source.read(number)
        first = number * CHUNK
        check_spectra(spectra, first, source.name, source.wave_aa)
        yield slice(first, first + len(spectra)), np.log(spectra.astype(np.float64))


def check_spectra(spectra: np.ndarray, first: int, name: str, wave_aa: np.ndarray) -> None:
    """Raises InputError unless the fluxes of the rows from `first` on are finite and positive."""
    good = np.isfinite(spectra) & (spectra > 0)
    if not good.all():
        row, pixel = np.argwhere(~good)[0]
        raise InputError(
            f"row {first + row} of {name} with a flux of {spectra[row, pixel]:g} at {wave_aa[pixel]:.1f} A",
            expected="finite fluxes above zero: the emulator learns their logarithm",
            mend="Remove the row, narrow the prior, or leave out wavelengths without light.",
        )


def check_wavelengths(wave_aa: np.ndarray, name: str) -> np.ndarray:
    """Wavelengths as float64. Raises InputError unless they are finite, positive and increasing."""
    wave_aa = np.asarray(wave_aa)
    if wave_aa.ndim != 1 or wave_aa.dtype.kind not in "fiu" or len(wave_aa) < 2:
        raise InputError(f"wavelengths {wave_aa!r:.60} of {name}", expected="a vector of numbers", mend="Vacuum wavelengths, in A.")
    if not (np.isfinite(wave_aa).all() and wave_aa[0] > 0 and (np.diff(wave_aa) > 0).all()):
        raise InputError(f"wavelengths of {name} that do not increase", expected="finite, positive, increasing", mend="Sort them.")
    return wave_aa.astype(np.float64)


def _bounds(parameters: tuple[Parameter, ...]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([p.prior.low for p in parameters], float), np.array([p.prior.high for p in parameters], float)


# --- a table ---------------------------------------------------------------------------------------------------------


def from_table(path: Path, parameters: tuple[Parameter, ...], held_back: int, seed: int) -> Source:
    """The rows of a table, of which `held_back` are not trained on.

    Raises
    ------
    InputError
        If a parameter lies outside of its bounds (naming row, value and bounds), or whatever `emulator_table.read` refuses.
    """
    table = emulator_table.read(path, tuple(p.name for p in parameters))
    emulator_table.check_units(table, {p.name: p.unit for p in parameters}, path)
    values = np.stack([table.columns[p.name].astype(np.float64) for p in parameters], 1)
    _check_values(values, parameters, str(path))
    _check_split(len(values), held_back, str(path))
    held = np.zeros(len(values), bool)
    held[np.random.default_rng(seed).permutation(len(values))[:held_back]] = True
    wave_aa = check_wavelengths(table.wave_aa, str(path))
    return Source(str(path), values, held, wave_aa, lambda number: table.spectra[number * CHUNK : (number + 1) * CHUNK])


def checksum_of_table(path: Path) -> str:
    """sha256 of a table, by which a run knows its own. Raises UnreadableFile where there is none."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        came = f"the table {path} cannot be opened ({error.strerror})"
        raise UnreadableFile(came, expected="a file", mend="Check the path: it is relative to the recipe.") from error


def _check_values(values: np.ndarray, parameters: tuple[Parameter, ...], name: str) -> None:
    low, high = _bounds(parameters)
    # A bound that the table holds in single precision may be off by rounding.
    inside = (values >= low - 1e-6 * (high - low)) & (values <= high + 1e-6 * (high - low))
    if not inside.all():
        row, column = np.argwhere(~inside)[0]
        raise InputError(
            f"row {row} of {name} with {parameters[column].name} = {values[row, column]:g}",
            expected=f"{low[column]:g} to {high[column]:g}, its bounds in the recipe", mend="Remove the row, or widen the bounds.",
        )  # fmt: skip


def _check_split(n: int, held_back: int, name: str) -> None:
    if not 20 <= held_back <= n // 2:
        raise InputError(
            f"held_back = {held_back} of {n} spectra of {name}", expected="at least 20, and at most half of them", mend="Mend the recipe."
        )


# --- a function ------------------------------------------------------------------------------------------------------


def from_function(
    function: str, wave_aa: str, parameters: tuple[Parameter, ...], n: int, held_back: int, seed: int,
    *, beside: Path, folder: Path, progress: Progress | None = None,
) -> Source:  # fmt: skip
    """Spectra of a function for drawn parameters; what is not yet kept in `folder` is made now.

    Parameters
    ----------
    function, wave_aa
        `module:name` of the function (dict of values -> spectrum, Lsun/A per Msun formed) and of its wavelengths (vacuum, A).
    beside
        Folder in which the module may lie, beside those that Python knows.

    Raises
    ------
    InputError
        If the module or a name in it cannot be had, the function raises, or returns a vector of another length.
    """
    _check_split(n, held_back, function)
    with _importable(beside):
        call, grid = _named(function), check_wavelengths(_named(wave_aa), wave_aa)
        values, held = draw(parameters, n, held_back, seed)
        names = [p.name for p in parameters]
        folder.mkdir(parents=True, exist_ok=True)
        for first in range(0, n, CHUNK):
            path = folder / f"{first // CHUNK:05d}.npz"
            if not path.is_file():
                rows = range(first, min(first + CHUNK, n))
                made = np.stack([_one(call, function, row, dict(zip(names, map(float, values[row]))), len(grid)) for row in rows])
                check_spectra(made, first, function, grid)
                _keep(path, made)
            if progress is not None:
                progress(min(first + CHUNK, n), n, {"spectra": min(first + CHUNK, n)})
    return Source(function, values, held, grid, lambda number: _kept(folder / f"{number:05d}.npz"))


def draw(parameters: tuple[Parameter, ...], n: int, held_back: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values [row, parameter] over the prior's box and which rows are held back: the last, at random; the others are Sobol' points."""
    from scipy.stats import qmc  # takes a second, which only those pay who draw

    low, high = _bounds(parameters)
    train = n - held_back
    even = qmc.Sobol(len(parameters), rng=np.random.default_rng(seed)).random_base2(int(np.ceil(np.log2(train))))[:train]
    random = np.random.default_rng([seed, 1]).random((held_back, len(parameters)))
    return low + (high - low) * np.concatenate([even, random]), np.arange(n) >= train


def checksum_of_function(function: str, beside: Path) -> str:
    """sha256 of the file of a function's module, by which a run knows its own; its name where it has no file."""
    with _importable(beside):
        _named(function)
        file = getattr(sys.modules[function.partition(":")[0]], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else function


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules in `folder` can be imported, for as long as this lasts: another recipe may have others of the same names beside it."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "").parent == folder:
                del sys.modules[name]


def _named(text: str) -> Any:
    """What `module:name` names."""
    module, _, name = text.partition(":")
    mend = "Write module:name; the module lies beside the recipe or is installed."
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{text!r} in a recipe ({disk.first_line(error)})", expected="a name in a module", mend=mend) from error


def _one(call: Callable, function: str, row: int, values: dict[str, float], pixels: int) -> np.ndarray:
    where = f"{function} for row {row}, {', '.join(f'{name} = {value:g}' for name, value in values.items())},"
    try:
        spectrum = np.asarray(call(values), np.float32)
    except Exception as error:  # whatever a user's function raises
        came = f"{where} raised {type(error).__name__}: {disk.first_line(error)}"
        raise InputError(came, expected="a spectrum", mend="Mend the function, or narrow the prior.") from error
    if spectrum.shape != (pixels,):
        raise InputError(f"{where} gave shape {spectrum.shape}", expected=f"{pixels} fluxes, one a wavelength", mend="Mend the function.")
    return spectrum


def _keep(path: Path, spectra: np.ndarray) -> None:
    with write_atomically(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, spectra=spectra)


def _kept(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as file:
        return file["spectra"]
