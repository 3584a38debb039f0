"""Files to checked observations, and back.

`read` opens any spectrum that slipher knows, by its content and not by its name: SDSS and BOSS (`sdss`), DESI (`desi`),
tables in FITS, ECSV or delimited text (`table`). `spectrum` makes one from arrays; `write_spectrum` writes one. All
rules on bad input are in `checks`; damage to files is noticed in `files`.

Photometry comes the same two ways: `photometry` and `catalogue_from_arrays` from arrays, `read_catalogue` from files;
`Galaxy` joins one galaxy's spectrum and photometry.
"""

import os
from dataclasses import replace
from numbers import Real

from slipher.data import desi, sdss, table
from slipher.data import files as disk
from slipher.data.catalogue import read_catalogue
from slipher.data.checks import ebv_value, redshift_value, spectrum
from slipher.data.galaxy import Aperture, Galaxy
from slipher.data.native import to_table, write_spectrum
from slipher.data.observation import Spectrum
from slipher.data.photometry import Catalogue, Photometry
from slipher.data.photometry_checks import catalogue_from_arrays, photometry
from slipher.data.specutils import from_specutils
from slipher.errors import Flag, InputError, UnreadableFile

__all__ = [
    "Aperture",
    "Catalogue",
    "Galaxy",
    "Photometry",
    "Spectrum",
    "catalogue_from_arrays",
    "from_specutils",
    "photometry",
    "read",
    "read_catalogue",
    "spectrum",
    "to_table",
    "write_spectrum",
]


def read(
    path: str | os.PathLike,
    *,
    redshift: Real | None = None,
    ebv: Real | None = None,
    redrock: str | os.PathLike | None = None,
    keep_sky: bool = False,
    **declared,
) -> list[Spectrum]:
    """Every spectrum in a file, checked: one for SDSS and for tables, one a target for DESI.

    Parameters
    ----------
    path
        FITS (gzip or not), ECSV, or delimited text with a header line.
    redshift, ebv
        Win over the file's; only for files of one spectrum.
    redrock, keep_sky
        For DESI coadds, see `slipher.data.desi.read_coadd`.
    declared
        For tables: `survey`, `id`, `wave_unit`, `flux_unit`, `wave_medium`, `lsf_kms`, `resolving_power`, `fwhm_aa`
        (`slipher.data.table.from_columns`). SDSS and DESI files say these themselves.

    Raises
    ------
    UnreadableFile
        A file that is missing, damaged, or of no format known here.
    UnitsError, InputError
        A spectrum that cannot be used.
    """
    file = disk.load(path)
    given = {"redshift": redshift, "ebv": ebv}  # tables are told, so that what is wrong in the file is not looked at
    if file.is_fits:
        spectra = _from_fits(file, redrock, keep_sky, given, declared)
    else:
        spectra = [table.read_text(file, **given, **declared)]
    return _overridden(spectra, redshift, ebv, file.path)


def _from_fits(file: disk.File, redrock, keep_sky: bool, given: dict, declared: dict) -> list[Spectrum]:
    hdus = disk.open_fits(file)
    if table.is_table(hdus) and not (sdss.is_spec(hdus) or desi.is_coadd(hdus)):
        return [table.read_fits(hdus, file, **given, **declared)]
    _refuse_declared(declared, file)
    if sdss.is_spec(hdus):
        return [sdss.read_spec(hdus, file)]
    if sdss.is_spspec(hdus):
        return [sdss.read_spspec(hdus, file)]
    if desi.is_coadd(hdus):
        return list(desi.read_coadd(hdus, file, redrock=redrock, keep_sky=keep_sky))
    raise _unknown(hdus, file)


def _refuse_declared(declared: dict, file: disk.File) -> None:
    named = [name for name, value in declared.items() if value is not None]
    if named:
        came = f"{', '.join(named)} for {file.path}"
        raise InputError(came, expected="a table, the only format that needs it", mend="Leave it out.")


def _unknown(hdus, file: disk.File) -> UnreadableFile:
    came = f"{file.path} with the HDUs {', '.join(disk.names(hdus))}"
    if desi.is_redrock(hdus):
        mend = "This is a redrock file: name the coadd beside it."
    else:
        mend = "If this should be one of these, the file is cut short: download it again."
    expected = "SDSS (COADD), spSpec, DESI (FIBERMAP, B_WAVELENGTH ...), or a table with wavelength and flux columns"
    return UnreadableFile(came, expected=expected, mend=mend)


def _overridden(spectra: list[Spectrum], redshift: Real | None, ebv: Real | None, path: str) -> list[Spectrum]:
    """The spectra with the user's redshift and E(B-V); the pipeline's warning was about its own redshift."""
    if (redshift is not None or ebv is not None) and len(spectra) != 1:
        came = f"one redshift or E(B-V) for the {len(spectra)} spectra of {path}"
        raise InputError(came, expected="a file of one spectrum", mend="Leave it out: the redrock file has them.")
    if redshift is not None:
        flags = spectra[0].flags & ~Flag.PIPELINE_WARNING
        labels = {name: value for name, value in spectra[0].labels.items() if name != "NO_REDSHIFT"}
        spectra = [replace(spectra[0], redshift=redshift_value(redshift), flags=flags, labels=labels)]
    return spectra if ebv is None else [replace(spectra[0], ebv=ebv_value(ebv))]
