"""Writing a checked spectrum as FITS or ECSV so that it reads back identically.

The file is a plain table (wavelength, flux, ivar, resolution, segment) that any table software opens, with the rest in
the metadata: in FITS a one-row table OBJECT, since header cards cut float64 short. `slipher.data.table` reads it.
"""

import json
import math
import os
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import Table

from slipher.data.observation import Spectrum
from slipher.data.table import OBJECT_HDU
from slipher.errors import InputError
from slipher.files import write_atomically
from slipher.units import FLUX_DENSITY

# As the FITS standard spells them (4.0, section 4.3).
FITS_UNITS = {
    "wavelength": "Angstrom",
    "flux": "10**-17 erg/(s cm2 Angstrom)",
    "ivar": "10**34 s2 cm4 Angstrom2/erg2",
    "lsf_kms": "km/s",
}


def to_table(spectrum: Spectrum) -> Table:
    """The spectrum as an astropy table with units; metadata in `meta`, labels in it as JSON.

    Labels that JSON cannot hold (NaN, infinity) are left out. ORIGIN and ORIGIN_SHA256 are added to the labels: the
    file that the spectrum first came from.
    """
    number = np.concatenate([np.full(stop - start, k, np.int16) for k, (start, stop) in enumerate(spectrum.segments)])
    table = Table({"wavelength": spectrum.wave_aa, "flux": spectrum.flux, "ivar": spectrum.ivar})
    table["wavelength"].unit = u.AA
    table["flux"].unit = FLUX_DENSITY
    table["ivar"].unit = FLUX_DENSITY**-2
    if spectrum.lsf_kms is not None:
        table["lsf_kms"] = spectrum.lsf_kms
        table["lsf_kms"].unit = u.km / u.s
    else:
        table["resolution_matrix"] = np.ascontiguousarray(spectrum.resolution_matrix.T)
    table["segment"] = number
    table.meta = _meta(spectrum)
    return table


def _meta(spectrum: Spectrum) -> dict:
    origin = {"ORIGIN": spectrum.source, "ORIGIN_SHA256": spectrum.checksum} if spectrum.source else {}
    return {
        "id": spectrum.id,
        "survey": spectrum.survey,
        "redshift": spectrum.redshift,
        "ebv": spectrum.ebv,
        "wave_medium": "vacuum",
        "flags": int(spectrum.flags),
        "labels": json.dumps(_without_nan(origin | spectrum.labels), sort_keys=True),
    }


def _without_nan(labels: dict) -> dict:
    kept = {name: _without_nan(value) if isinstance(value, dict) else value for name, value in labels.items()}
    return {name: v for name, v in kept.items() if not (isinstance(v, float) and not math.isfinite(v))}


def write_spectrum(spectrum: Spectrum, path: str | os.PathLike, *, comments: tuple[str, ...] = ()) -> Path:
    """Writes `spectrum` to `path`, as FITS (`.fits`) or ECSV (`.ecsv`); `comments` say what else a reader should know.

    Raises
    ------
    InputError
        If the suffix is another one, if the folder does not exist, or if the id cannot be written to FITS, whose text
        is ASCII.
    """
    path = Path(path)
    writers = {".fits": _write_fits, ".ecsv": _write_ecsv}
    if path.suffix not in writers:
        raise InputError(f"the file name {path.name}", expected=".fits or .ecsv", mend="Choose one of these suffixes.")
    with write_atomically(path) as temporary:
        writers[path.suffix](spectrum, temporary, comments)
    return path


def _write_ecsv(spectrum: Spectrum, path: Path, comments: tuple[str, ...]) -> None:
    table = to_table(spectrum)
    table.meta |= {"comments": list(comments)} if comments else {}
    table.write(path, format="ascii.ecsv", overwrite=True)


def _write_fits(spectrum: Spectrum, path: Path, comments: tuple[str, ...]) -> None:
    table = to_table(spectrum)
    if not spectrum.id.isascii():
        raise InputError(f"id {spectrum.id!r}", expected="ASCII text, as FITS holds", mend="Write it as .ecsv.")
    columns = [_fits_column(table[name]) for name in table.colnames]
    described = {name: np.nan if value is None else value for name, value in table.meta.items()}
    primary = fits.PrimaryHDU()
    for comment in comments:
        primary.header["COMMENT"] = comment
    hdus = [
        primary,
        fits.BinTableHDU.from_columns(columns, name="SPECTRUM"),
        fits.BinTableHDU(Table([described]), name=OBJECT_HDU),
    ]
    fits.HDUList(hdus).writeto(path, checksum=True, overwrite=True)


def _fits_column(column) -> fits.Column:
    codes = {"float64": "D", "float32": "E", "int16": "I"}
    count = column.shape[1] if column.ndim == 2 else ""
    code = f"{count}{codes[column.dtype.name]}"
    return fits.Column(name=column.name, format=code, unit=FITS_UNITS.get(column.name), array=column.data)
