"""Opening files so that damage is noticed: the one place where `data` reads a disk.

astropy opens a truncated FITS file with a warning and leaves the damaged HDUs out. Here a file is read whole, its
sha256 taken, and every such warning, a wrong CHECKSUM included, becomes an `UnreadableFile`.
"""

import gzip
import hashlib
import io
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError, VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning

from slipher.errors import InputError, UnreadableFile

FITS_BLOCK = 2880  # bytes; FITS 4.0, section 3.1
DOWNLOAD_AGAIN = "Download or copy the file again."


class File(NamedTuple):
    """A file's bytes as they were read: its path, the (decompressed) content and the sha256 of the bytes on disk."""

    path: str
    content: bytes
    checksum: str

    @property
    def stem(self) -> str:
        """The file's name without folder, suffix and compression suffix."""
        return Path(Path(self.path).name.removesuffix(".gz")).stem

    @property
    def is_fits(self) -> bool:
        """Whether the content starts as every FITS file does."""
        return self.content.startswith(b"SIMPLE  =")


def load(path: str | os.PathLike) -> File:
    """Reads a file whole. Raises UnreadableFile where it is missing, a folder, empty, or not permitted."""
    path = Path(path)
    if path.is_dir():
        mend = "Name the files in it."
        raise UnreadableFile(f"{path} is a folder", expected="a file", mend=mend)
    try:
        stored = path.read_bytes()
    except OSError as error:
        came = f"{path} cannot be opened ({error.strerror or error})"
        raise UnreadableFile(came, expected="a readable file", mend="Check the path and its permissions.") from error
    if not stored:
        raise UnreadableFile(f"{path} is empty", expected="a spectrum", mend=DOWNLOAD_AGAIN)
    return File(str(path), _decompressed(stored, path), hashlib.sha256(stored).hexdigest())


def _decompressed(stored: bytes, path: Path) -> bytes:
    if not stored.startswith(b"\x1f\x8b"):
        return stored
    try:
        return gzip.decompress(stored)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"{path} is a damaged gzip file", expected="a whole one", mend=DOWNLOAD_AGAIN) from error


def open_fits(file: File) -> fits.HDUList:
    """All HDUs of a FITS file, with all data loaded, where damage shows, and checksums verified.

    Raises UnreadableFile on any damage.
    """
    with damage(file.path):
        if len(file.content) % FITS_BLOCK:
            raise OSError(f"{len(file.content)} bytes are not a whole number of {FITS_BLOCK}-byte blocks")
        hdus = fits.open(io.BytesIO(file.content), checksum=True, lazy_load_hdus=False, memmap=False)
        for hdu in hdus:
            list(hdu.header.values())  # cards are parsed when first asked for
            if hdu.data is not None and isinstance(hdu, fits.BinTableHDU):
                columns(hdu)
        return hdus


@contextmanager
def damage(path: str) -> Iterator[None]:
    """Turns what astropy raises or warns of on a damaged file into UnreadableFile."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            warnings.simplefilter("ignore", VerifyWarning)  # cards against the standard that can still be read
            yield
    except InputError:
        raise
    except (*_DAMAGE, AstropyUserWarning) as error:
        came = f"{path} is truncated or corrupt ({first_line(error)})"
        raise UnreadableFile(came, expected="a whole FITS file", mend=DOWNLOAD_AGAIN) from error


_DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError, VerifyError)


def first_line(error: Exception) -> str:
    """What an error says, in one line without the full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def names(hdus: fits.HDUList) -> list[str]:
    """The names of the HDUs, upper case."""
    return [hdu.name.upper() for hdu in hdus]


def table(hdus: fits.HDUList, name: str, path: str) -> dict[str, np.ndarray]:
    """The columns of a table HDU by lower-case name, native byte order. Raises UnreadableFile where it is missing."""
    hdu = hdus[name] if name in names(hdus) else None
    if not isinstance(hdu, fits.BinTableHDU):
        came = f"{path} has no table {name} (its HDUs: {', '.join(names(hdus))})"
        raise UnreadableFile(came, expected=f"an HDU named {name}", mend=DOWNLOAD_AGAIN)
    return columns(hdu)


def columns(hdu: fits.BinTableHDU) -> dict[str, np.ndarray]:
    """The columns of a table HDU by lower-case name, in native byte order."""
    return {name.lower(): native(hdu.data[name]) for name in hdu.columns.names}


def require(table: dict[str, np.ndarray], wanted: tuple[str, ...], what: str) -> None:
    """Raises UnreadableFile where columns of numbers are missing or there are no rows."""
    missing = [name for name in wanted if name not in table or table[name].dtype.kind not in "fiu"]
    if missing:
        came = f"{what} has no column {', '.join(missing)} of numbers"
        raise UnreadableFile(came, expected=f"the columns {', '.join(wanted)}", mend=DOWNLOAD_AGAIN)
    if len(table[wanted[0]]) == 0:
        raise UnreadableFile(f"{what} has no rows", expected="at least one", mend=DOWNLOAD_AGAIN)


def native(values: np.ndarray) -> np.ndarray:
    """The same values in this machine's byte order."""
    values = np.asarray(values)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def scalar(value: object) -> object:
    """A table's entry as a plain int, float or stripped str (the first one of several)."""
    item = np.asarray(value).reshape(-1)[0].item()
    item = item.decode("ascii", "replace") if isinstance(item, bytes) else item
    return item.strip() if isinstance(item, str) else item
