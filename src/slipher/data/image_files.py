"""Files to images of the sky, by their content: FITS images and cubes with their extensions, and numpy archives.

FITS: the first HDU with an image, [y, x] or [band, y, x]; extensions named VARIANCE or VAR, IVAR or INVVAR, ERR or ERROR or SIGMA, MASK
and PSF belong to it. What its header does not say, the first one says. Bands are BANDS, BAND0, BAND1 ..., BAND or FILTER; the zero point is
MAGZP, MAGZERO or ZEROPOINT, or follows from FLUXMAG0 (HSC), PHOTFLAM and PHOTPLAM (HST) or the unit (JWST's MJy/sr, nJy, nanomaggies).
In a mask anything but zero is bad; in one of LSST's pipeline, whose header names its bits (MP_SAT), those of `LOST`.

Archives (.npz): `images` or `flux`; `variance` or `ivar`; `psfs` or `psf`; `filters` or `bands`; and `mask`, of booleans, or of integers
with the bits of LSST's pipeline.
"""

import io
import math
import os
import warnings
import zipfile
from collections import ChainMap
from collections.abc import Mapping

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from slipher.data import files as disk
from slipher.data.image import Cutout, cutout
from slipher.data.photometry_units import ZERO_POINT_MAG, band_unit
from slipher.errors import InputError, UnitsError, UnreadableFile

VARIANCES, INVERSE, ERRORS = ("VARIANCE", "VAR"), ("IVAR", "INVVAR"), ("ERR", "ERROR", "SIGMA", "STDDEV")
ZERO_POINTS = ("MAGZP", "MAGZERO", "ZEROPOINT", "MAGZPT")
LOST = {"BAD": 0, "SAT": 1, "NO_DATA": 8}  # of LSST's mask planes, with the bits that they have where nobody says
RATES = ("electrons/s", "electron/s", "counts/s", "e-/s")  # units in which HST's PHOTFLAM is of a flux of one
HST_ZERO = 2.5 * math.log10(2.99792458e18) - 48.60  # AB magnitude of 1 erg/s/cm2/A where the pivot wavelength is 1 A
ARCHIVE = b"PK\x03\x04"


def read_image(path: str | os.PathLike, **declared) -> Cutout:
    """The images of a file, checked.

    Parameters
    ----------
    declared
        Arguments of `slipher.data.image.cutout`, which win over the file's; `psf` may be the path of a FITS image too.

    Raises
    ------
    UnreadableFile
        A file that is missing, damaged, or holds no image.
    InputError
        Images that cannot be used.
    """
    file = disk.load(path)
    declared = {name: value for name, value in declared.items() if value is not None}
    if isinstance(declared.get("psf"), str | os.PathLike):
        declared["psf"] = read_psf(declared["psf"])
    if file.is_fits:
        found = _of_fits(disk.open_fits(file), file)
    elif file.content.startswith(ARCHIVE):
        found = _of_archive(file)
    else:
        raise UnreadableFile(f"{file.path} is neither FITS nor a numpy archive", expected="images", mend="Convert it to FITS.")
    if {"variance", "ivar"} & set(declared):
        found = {name: value for name, value in found.items() if name not in ("variance", "ivar")}
    if "psf_fwhm" in declared:
        found.pop("psf", None)
    return cutout(**{"id": file.stem, **found, **declared, "source": file.path, "checksum": file.checksum})


def read_psf(path: str | os.PathLike) -> np.ndarray:
    """The first image of a FITS file: a PSF, or one for each band."""
    file = disk.load(path)
    if not file.is_fits:
        raise UnreadableFile(f"{file.path} is no FITS file", expected="the image of a PSF", mend="Convert it to FITS.")
    return _image(disk.open_fits(file), file).data


def _image(hdus: fits.HDUList, file: disk.File) -> fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU:
    for hdu in hdus:
        if hdu.is_image and hdu.data is not None and hdu.data.ndim in (2, 3):
            return hdu
    came = f"{file.path} with the HDUs {', '.join(disk.names(hdus))}"
    raise UnreadableFile(came, expected="an image of two or three axes", mend="Name the file of the image itself.")


def _of_fits(hdus: fits.HDUList, file: disk.File) -> dict:
    """Arguments for `cutout`."""
    hdu = _image(hdus, file)
    beside = {h.name.upper(): h.data for h in hdus if h is not hdu and h.is_image and h.data is not None}
    found = {"flux": np.asarray(hdu.data), "wcs": _coordinates(hdu.header)}
    said = ChainMap(hdu.header, hdus[0].header)
    for names, key, change in ((VARIANCES, "variance", lambda x: x), (INVERSE, "ivar", lambda x: x), (ERRORS, "variance", np.square)):
        name = next((name for name in names if name in beside), None)
        if name is not None and not {"variance", "ivar"} & set(found):
            found[key] = change(np.asarray(beside[name], np.float64))
    if "MASK" in beside:
        header = hdus["MASK"].header
        planes = {name: header[f"MP_{name}"] for name in LOST if f"MP_{name}" in header}
        found["mask"] = _lost(np.asarray(beside["MASK"]), planes) if planes else np.asarray(beside["MASK"]) != 0
    if "PSF" in beside:
        found["psf"] = np.asarray(beside["PSF"])
    bands, zero = _bands(said, 1 if hdu.data.ndim == 2 else len(hdu.data)), _zero_point(said)
    return found | ({"bands": bands} if bands else {}) | ({} if zero is None else {"zero_point": zero})


def _lost(mask: np.ndarray, planes: dict[str, int]) -> np.ndarray:
    """Where one of these planes is set."""
    return (mask.astype(np.int64) & int(np.bitwise_or.reduce([1 << bit for bit in planes.values()]))) != 0


def _zero_point(said: Mapping) -> float | None:
    """AB magnitude of a flux of one, if keywords say it; NaN of what is no number, which is refused unless another is declared."""
    unit = str(said.get("BUNIT", "")).strip()
    try:
        for name in ZERO_POINTS:
            if name in said:
                return float(said[name])
        if "FLUXMAG0" in said:
            return 2.5 * math.log10(said["FLUXMAG0"])
        if {"PHOTFLAM", "PHOTPLAM"} <= set(said) and unit.lower().replace(" ", "") in RATES:
            return HST_ZERO - 2.5 * math.log10(said["PHOTFLAM"]) - 5.0 * math.log10(said["PHOTPLAM"])
        area = said["PIXAR_SR"] if unit.endswith("/sr") and "PIXAR_SR" in said else 1.0
        one = band_unit(unit.removesuffix("/sr") if "PIXAR_SR" in said else unit, what="BUNIT")
        return None if one.is_magnitude else ZERO_POINT_MAG - 2.5 * math.log10(area * one.nanomaggies)
    except UnitsError:
        return None
    except (TypeError, ValueError):
        return float("nan")


def _bands(header: Mapping, n: int) -> tuple[str, ...]:
    """Names of n bands, or none."""
    each = tuple(str(header[f"BAND{i}"]).strip() for i in range(n) if f"BAND{i}" in header)
    if len(each) == n:
        return each
    together = str(header.get("BANDS", "")).strip()
    if len(together) == n:
        return tuple(together)
    name = str(header.get("FILTER", header.get("BAND", ""))).strip()
    return (name,) if n == 1 and name else ()


def _coordinates(header: fits.Header) -> WCS | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # what it mends, it mends rightly
        try:
            found = WCS(header).celestial
        except Exception as error:  # wcslib raises kinds of its own
            raise InputError(
                f"coordinates that cannot be read ({error})", expected="a FITS WCS", mend="Mend or remove the keywords."
            ) from error
    return found if found.naxis == 2 else None


def _of_archive(file: disk.File) -> dict:
    """Arguments for `cutout`."""
    try:
        with np.load(io.BytesIO(file.content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name in _ARCHIVED}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        came = f"{file.path} is damaged or holds objects ({disk.first_line(error)})"
        raise UnreadableFile(came, expected="a numpy archive of arrays", mend=disk.DOWNLOAD_AGAIN) from error
    found = {_ARCHIVED[name]: array for name, array in arrays.items()}
    if "flux" not in found:
        raise UnreadableFile(f"{file.path} without images", expected="an array `images`", mend="Name it so.")
    if "mask" in found and found["mask"].dtype != bool:
        found["mask"] = _lost(found["mask"], LOST)
    return found | ({"bands": tuple(str(name) for name in found["bands"])} if "bands" in found else {})


_ARCHIVED = {
    "images": "flux", "flux": "flux", "variance": "variance", "ivar": "ivar", "psfs": "psf", "psf": "psf", "filters": "bands",
    "bands": "bands", "mask": "mask",
}  # fmt: skip
