"""Writing spectra in the files of the surveys themselves, for pipelines that read nothing else.

`spec-PLATE-MJD-FIBER.fits` for SDSS and BOSS, one a spectrum; `coadd-NAME.fits` with `redrock-NAME.fits` for DESI, one for all. They hold
what slipher's readers and common tools look for, not all columns of the surveys' data models: no photometry, no positions, no models.
Simulated spectra say so in the primary header (SIMULATD).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from jaxtyping import Float

from slipher.data.observation import Spectrum
from slipher.data.sdss import REDDEN_PER_EBV
from slipher.errors import InputError
from slipher.files import write_atomically
from slipher.units import C_KMS

DIAGONALS = 11  # of DESI's resolution matrices
PIXEL_DEX = 1e-4
BUNIT = "1E-17 erg/cm^2/s/Ang"


def names(spectra: Sequence[Spectrum], name: str) -> list[str]:
    """The file of each spectrum as `write` names it."""
    return [f"coadd-{name}.fits" if s.survey == "desi" else f"spec-{s.id}.fits" for s in spectra]


def write(spectra: Sequence[Spectrum], folder: Path, name: str, *, simulated: bool) -> None:
    """Write spectra of SDSS, BOSS and DESI in their own files; `name` is for what DESI holds in one. Errors as below."""
    of_desi = [s for s in spectra if s.survey == "desi"]
    if of_desi:
        write_desi(of_desi, folder, name, simulated=simulated)
    for spectrum in spectra:
        if spectrum.survey != "desi":
            write_sdss(spectrum, folder, simulated=simulated)


def write_sdss(spectrum: Spectrum, folder: Path, *, simulated: bool) -> Path:
    """Write one spectrum on SDSS' grid as `spec-PLATE-MJD-FIBER.fits`, named by its id; returns the path.

    Raises
    ------
    InputError
        If the id is not PLATE-MJD-FIBER, or pixels are not 1e-4 dex apart.
    """
    plate, mjd, fibre = _identified(spectrum.id)
    loglam = np.log10(spectrum.wave_aa)
    steps = np.diff(loglam) / PIXEL_DEX
    if not np.allclose(steps, np.rint(steps), atol=0.01) or (np.rint(steps) < 1).any():
        raise InputError(f"pixels of {spectrum.id}", expected="whole steps of 1e-4 dex, as SDSS has", mend="Write it by `write_spectrum`.")
    wdisp = spectrum.lsf_sigma_kms() / (PIXEL_DEX * np.log(10.0) * C_KMS)
    coadd = Table({
        "flux": spectrum.flux.astype(np.float32), "loglam": loglam.astype(np.float32), "ivar": spectrum.ivar.astype(np.float32),
        "and_mask": np.zeros(len(loglam), np.int32), "or_mask": np.zeros(len(loglam), np.int32), "wdisp": wdisp.astype(np.float32),
    })  # fmt: skip
    z = np.nan if spectrum.redshift is None else spectrum.redshift
    described = {
        "PLATE": plate,
        "MJD": mjd,
        "FIBERID": fibre,
        "Z": np.float32(z),
        "Z_ERR": np.float32(0.0),
        "ZWARNING": 0,
        "CLASS": "GALAXY",
    }
    primary = _primary(simulated)
    primary.header.update({"PLATEID": plate, "MJD": mjd, "FIBERID": fibre, "VACUUM": True, "BUNIT": BUNIT})
    for i, value in enumerate((spectrum.ebv or 0.0) * REDDEN_PER_EBV, start=1):
        primary.header[f"REDDEN{i:02d}"] = float(value)
    hdus = [primary, fits.BinTableHDU(coadd, name="COADD"), fits.BinTableHDU(Table([described]), name="SPECOBJ")]
    return _written(hdus, folder / f"spec-{spectrum.id}.fits")


def _identified(identifier: str) -> tuple[int, int, int]:
    parts = identifier.split("-")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise InputError(f"id {identifier!r}", expected="PLATE-MJD-FIBER", mend="Write it by `write_spectrum`.")
    return int(parts[0]), int(parts[1]), int(parts[2])


def write_desi(spectra: Sequence[Spectrum], folder: Path, name: str, *, simulated: bool) -> Path:
    """Write spectra of three arms as `coadd-NAME.fits`, their redshifts as `redrock-NAME.fits` beside it; returns the first path.

    Raises
    ------
    InputError
        If there are none, their ids are no numbers, or their wavelengths are not the same three arms.
    """
    if not spectra:
        raise InputError("no spectra", expected="one or more", mend="Give some.")
    first = spectra[0]
    alike = all(len(s.segments) == 3 and s.segments == first.segments and np.array_equal(s.wave_aa, first.wave_aa) for s in spectra)
    if not alike or not all(s.id.isdigit() for s in spectra):
        raise InputError("spectra that are not DESI's", expected="numbers as ids, and the same three arms", mend="Use `write_spectrum`.")
    ids = np.array([int(s.id) for s in spectra], np.int64)
    fibermap = Table({"TARGETID": ids, "OBJTYPE": ["TGT"] * len(ids), "COADD_FIBERSTATUS": np.zeros(len(ids), np.int32),
                      "EBV": np.array([s.ebv or 0.0 for s in spectra], np.float32)})  # fmt: skip
    hdus = [_primary(simulated), fits.BinTableHDU(fibermap, name="FIBERMAP")]
    for arm, (start, stop) in zip("BRZ", first.segments, strict=True):
        some = slice(start, stop)
        hdus += [
            fits.ImageHDU(first.wave_aa[some], name=f"{arm}_WAVELENGTH"),
            fits.ImageHDU(np.stack([s.flux[some] for s in spectra]).astype(np.float32), name=f"{arm}_FLUX"),
            fits.ImageHDU(np.stack([s.ivar[some] for s in spectra]).astype(np.float32), name=f"{arm}_IVAR"),
            fits.ImageHDU(np.zeros((len(ids), stop - start), np.int32), name=f"{arm}_MASK"),
            fits.ImageHDU(np.stack([_diagonals(s, some) for s in spectra]), name=f"{arm}_RESOLUTION"),
        ]
    z = np.array([np.nan if s.redshift is None else s.redshift for s in spectra])
    redshifts = Table({"TARGETID": ids, "Z": z, "ZERR": np.zeros(len(ids)), "ZWARN": np.zeros(len(ids), np.int64),
                       "SPECTYPE": ["GALAXY"] * len(ids), "DELTACHI2": np.full(len(ids), 1e4)})  # fmt: skip
    _written([_primary(simulated), fits.BinTableHDU(redshifts, name="REDSHIFTS")], folder / f"redrock-{name}.fits")
    return _written(hdus, folder / f"coadd-{name}.fits")


def _diagonals(spectrum: Spectrum, some: slice) -> Float[np.ndarray, "diagonal pixel"]:
    """The resolution matrix of an arm: its own, or of the Gaussian that its line-spread function is."""
    if spectrum.resolution_matrix is not None:
        return spectrum.resolution_matrix[:, some].astype(np.float32)
    wave = spectrum.wave_aa[some]
    sigma = spectrum.lsf_sigma_kms()[some] / C_KMS * wave
    return gaussian_diagonals(wave, sigma)


def gaussian_diagonals(wave_aa: Float[np.ndarray, "pixel"], sigma_aa: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "diagonal pixel"]:
    """Diagonals as DESI stores them, highest offset first, aligned by column: element [k, j] is R[j - offset_k, j]; rows add up to one."""
    n, half = len(wave_aa), DIAGONALS // 2
    rows = np.zeros((n, DIAGONALS))
    for k, offset in enumerate(range(-half, half + 1)):
        column = np.arange(n) + offset
        inside = (column >= 0) & (column < n)
        rows[inside, k] = np.exp(-0.5 * ((wave_aa[column[inside]] - wave_aa[inside]) / sigma_aa[inside]) ** 2)
    rows /= rows.sum(1, keepdims=True)
    out = np.zeros((DIAGONALS, n), np.float32)
    for k, offset in enumerate(range(half, -half - 1, -1)):
        row = np.arange(n) - offset
        inside = (row >= 0) & (row < n)
        out[k, inside] = rows[row[inside], offset + half]
    return out


def _primary(simulated: bool) -> fits.PrimaryHDU:
    primary = fits.PrimaryHDU()
    primary.header["SIMULATD"] = (simulated, "made by slipher, not observed")
    return primary


def _written(hdus: list, path: Path) -> Path:
    with write_atomically(path) as temporary:
        fits.HDUList(hdus).writeto(temporary, checksum=True, overwrite=True)
    return path
