"""Filter curves of one's own, from a file of two columns: wavelength and photon-counting response.

ECSV files say the unit of their wavelengths. Plain text (blanks or commas, `#` before comments) is in angstrom unless
the file has a line of names whose first one ends in `_nm`, `_um` or `_aa`. Wavelengths that put the band beyond the
Lyman limit are refused: they are nanometres or microns that nobody declared.
"""

import os
import warnings

import astropy.units as u
import numpy as np
from astropy.io import ascii as text_tables
from jaxtyping import Float64

from slipher import units
from slipher.data import files as disk
from slipher.errors import UnitsError, UnreadableFile
from slipher.grids.filters import FilterCurve

SUFFIXES = {"nm": u.nm, "um": u.um, "aa": u.AA}
MIN_PIVOT_AA = 912.0
MEND = "Save two columns, wavelength in angstrom and response, or an ECSV file with the unit of the wavelengths."


def read_curve(path: str | os.PathLike) -> FilterCurve:
    """The filter curve in a file, named after it.

    Raises
    ------
    UnreadableFile
        If it is missing, or not a table of two columns of numbers.
    UnitsError
        If the wavelengths are not lengths, or plainly not in angstrom.
    InputError
        If the two columns are not a curve.
    """
    file = disk.load(path)
    wave_aa, response = _columns(file)
    curve = FilterCurve.from_arrays(file.stem, wave_aa, response)
    if curve.pivot_aa < MIN_PIVOT_AA:
        came = f"{file.path}, whose band is at {curve.pivot_aa:.4g} A"
        raise UnitsError(came, expected=f"a pivot wavelength above {MIN_PIVOT_AA:g} A", mend="Name the first column wave_nm or wave_um.")
    return curve


def _columns(file: disk.File) -> tuple[Float64[np.ndarray, "point"], Float64[np.ndarray, "point"]]:
    try:
        text = file.content.decode("utf-8")
        return _ecsv(text, file.path) if text.startswith("# %ECSV") else _plain(text)
    except UnitsError:
        raise
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, IndexError, text_tables.InconsistentTableError) as error:
        came = f"{file.path} is not a filter curve ({disk.first_line(error)})"
        raise UnreadableFile(came, expected="two columns of numbers", mend=MEND) from error


def _ecsv(text: str, path: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)
        table = text_tables.read(text.splitlines(), format="ecsv", guess=False)
    wave, response = (table[name] for name in table.colnames[:2])
    if units.has_unit(wave):
        return units.wavelength_aa(units.quantity(wave)), units.plain(response)
    return _in_angstrom(units.plain(wave), table.colnames[0]), units.plain(response)


def _plain(text: str):
    lines = [line.replace(",", " ").split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    names, rows = ([], lines) if _is_number(lines[0][0]) else (lines[0], lines[1:])
    wave, response = np.array([[float(word) for word in row[:2]] for row in rows]).T
    return _in_angstrom(wave, names[0] if names else ""), response


def _in_angstrom(wave: np.ndarray, name: str) -> np.ndarray:
    unit = SUFFIXES.get(name.lower().rpartition("_")[2], u.AA)
    return units.wavelength_aa(u.Quantity(wave, unit))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
