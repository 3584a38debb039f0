"""Small files in each survey's own format, written by astropy alone: what the readers are tested on everywhere."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

N_PIXEL = 1200
TARGETID = 39633345008634465  # > 2^53: float64 cannot hold it
SKY_TARGETID = 616088619186127404
ARMS = {"B": (3600.0, 500), "R": (3990.0, 400), "Z": (4300.0, 450)}


def loglam(n_pixel: int = N_PIXEL) -> np.ndarray:
    return 3.58 + 1e-4 * np.arange(n_pixel)


def flux_and_ivar(n_pixel: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ivar = rng.uniform(0.5, 2.0, n_pixel).astype(np.float32)
    return (10 + rng.normal(size=n_pixel) / np.sqrt(ivar)).astype(np.float32), ivar


def primary(**cards) -> fits.PrimaryHDU:
    hdu = fits.PrimaryHDU()
    hdu.header["PLATEID"], hdu.header["MJD"], hdu.header["FIBERID"] = 266, 51602, 7
    hdu.header["VACUUM"] = True
    hdu.header["REDDEN"] = "0.5155 0.3793 0.2751 0.2086 0.1479"
    hdu.header.update(cards)
    return hdu


def coadd_table(**columns) -> fits.BinTableHDU:
    flux, ivar = flux_and_ivar(N_PIXEL)
    values = {
        "flux": flux,
        "loglam": loglam().astype(np.float32),
        "ivar": ivar,
        "and_mask": np.zeros(N_PIXEL, np.int32),
        "wdisp": np.full(N_PIXEL, 0.9, np.float32),
    } | columns
    kept = {name: value for name, value in values.items() if value is not None}
    return fits.BinTableHDU(Table(kept), name="COADD")


def specobj(**columns) -> fits.BinTableHDU:
    values = {"CLASS": "GALAXY", "SUBCLASS": "STARFORMING", "Z": 0.1, "Z_ERR": 1e-5, "ZWARNING": 0}
    values |= {"VDISP": 120.0, "VDISP_ERR": 6.0, "SN_MEDIAN_ALL": 9.5, "PLUG_RA": 146.7, "PLUG_DEC": -1.0}
    return fits.BinTableHDU(Table([values | columns]), name="SPECOBJ")


def spzline() -> fits.BinTableHDU:
    rows = [
        {"LINENAME": "H_alpha", "LINEAREA": 50.0, "LINEAREA_ERR": 2.0},
        {"LINENAME": "[O_II] 3725", "LINEAREA": 0.0, "LINEAREA_ERR": -1.0},
    ]
    common = {
        "LINEEW": 5.0,
        "LINEEW_ERR": 0.2,
        "LINESIGMA": 90.0,
        "LINESIGMA_ERR": 3.0,
        "LINEZ": 0.1,
        "LINEZ_ERR": 1e-5,
    }
    return fits.BinTableHDU(Table([row | common for row in rows]), name="SPZLINE")


def write_spec(path: Path, *, header=None, coadd=None, obj=None, leave_out=()) -> Path:
    """An SDSS `spec` file; `header`, `coadd` and `obj` change cards and columns, `leave_out` names HDUs."""
    hdus = [primary(**(header or {})), coadd_table(**(coadd or {})), specobj(**(obj or {})), spzline()]
    fits.HDUList([hdu for hdu in hdus if hdu.name not in leave_out]).writeto(path, checksum=True)
    return path


def write_spspec(path: Path, *, dispersion: bool = True, **cards) -> Path:
    """An `spSpec` file of DR7's data model: four rows in the primary image, six tables."""
    flux, ivar = flux_and_ivar(N_PIXEL)
    error = ivar**-0.5
    error[5] = 0.0  # how the format marks a pixel without data
    mask = np.zeros(N_PIXEL, np.float32)
    mask[20] = 1 << 23
    hdu = fits.PrimaryHDU(np.stack([flux, flux - 10, error, mask]).astype(np.float32))
    hdu.header.update({"PLATEID": 266, "MJD": 51602, "FIBERID": 7, "COEFF0": 3.58, "COEFF1": 1e-4, "BUNIT": "1.0E-17 erg/cm/s/Ang"})
    hdu.header.update({"Z": 0.1, "Z_ERR": 1e-5, "Z_WARNIN": 0, "VEL_DIS": 120.0, "VEL_DISE": 6.0, "SPEC_CLN": 2})
    hdu.header.update({"RAOBJ": 146.7, "DECOBJ": -1.0} | cards)
    tables = [fits.BinTableHDU(Table({"x": [1.0]})) for _ in range(5)]
    width = {"dispersion": np.full(N_PIXEL, 0.9, np.float32)} if dispersion else {"x": [1.0]}
    fits.HDUList([hdu, *tables, fits.BinTableHDU(Table(width))]).writeto(path)
    return path


def gaussian_diagonals(n_pixel: int, sigma_pixel: float, n_diagonal: int = 11) -> np.ndarray:
    """DESI's diagonals of a Gaussian whose width grows by a tenth over the segment; rows sum to one."""
    half = n_diagonal // 2
    sigma = sigma_pixel * np.linspace(1.0, 1.1, n_pixel)
    matrix = np.exp(-0.5 * ((np.arange(n_pixel)[:, None] - np.arange(n_pixel)) / sigma[:, None]) ** 2)
    matrix *= np.abs(np.subtract.outer(np.arange(n_pixel), np.arange(n_pixel))) <= half
    matrix /= matrix.sum(1, keepdims=True)
    diagonals = np.zeros((n_diagonal, n_pixel), np.float32)
    for k, offset in enumerate(range(half, -half - 1, -1)):
        band = np.diagonal(matrix, offset)
        diagonals[k, max(offset, 0) : max(offset, 0) + band.size] = band
    return diagonals


def write_coadd(path: Path, *, ids=(TARGETID, SKY_TARGETID, -5, TARGETID + 1), kinds=("TGT", "SKY", "", "TGT"), **opts):
    """A DESI coadd. `empty` names rows without a good pixel; `resolution=False` and `leave_out` drop HDUs."""
    n_row = len(ids)
    fibermap = Table({"TARGETID": np.array(ids, np.int64), "OBJTYPE": np.array(kinds, "U3")})
    fibermap["EBV"] = np.where(np.array(kinds) == "TGT", 0.03, 0.0).astype(np.float32)
    fibermap["TARGET_RA"], fibermap["TARGET_DEC"] = np.arange(n_row, dtype=float), 1.0
    fibermap["COADD_FIBERSTATUS"] = np.zeros(n_row, np.int32)
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(fibermap, name="FIBERMAP")]
    for arm, (first, n_pixel) in ARMS.items():
        hdus += _arm(arm, first, n_pixel, n_row, opts.get("empty", ()), opts.get("resolution", True))
    hdus = [hdu for hdu in hdus if hdu.name not in opts.get("leave_out", ())]
    fits.HDUList(hdus).writeto(path, checksum=True)
    return path


def _arm(arm, first, n_pixel, n_row, empty, resolution):
    both = [flux_and_ivar(n_pixel, seed=row) for row in range(n_row)]
    ivar = np.stack([np.where(row in empty, 0, both[row][1]) for row in range(n_row)]).astype(np.float32)
    mask = np.zeros((n_row, n_pixel), np.int32)
    mask[:, 3] = 8
    images = {"WAVELENGTH": first + 0.8 * np.arange(n_pixel), "FLUX": np.stack([flux for flux, _ in both])}
    images |= {"IVAR": ivar, "MASK": mask}
    if resolution:
        images["RESOLUTION"] = np.stack([gaussian_diagonals(n_pixel, 0.85)] * n_row)
    return [fits.ImageHDU(data, name=f"{arm}_{name}") for name, data in images.items()]


def write_redrock(path: Path, *, ids=(TARGETID + 1, SKY_TARGETID, TARGETID), **columns) -> Path:
    """A redrock file whose rows are, on purpose, not in the coadd's order: z grows with TARGETID."""
    n_row = len(ids)
    rank = np.argsort(np.argsort(np.array(ids, np.int64)))
    values = {"TARGETID": np.array(ids, np.int64), "Z": 0.1 * (1 + rank), "ZERR": np.full(n_row, 1e-5)}
    values |= {
        "ZWARN": np.zeros(n_row, np.int64),
        "SPECTYPE": np.full(n_row, "GALAXY"),
        "DELTACHI2": np.full(n_row, 50.0),
    }
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(Table(values | columns), name="REDSHIFTS")]).writeto(path)
    return path


def write_ecsv(path: Path, **meta) -> Path:
    """A plain ECSV table with units and a resolving power."""
    flux, ivar = flux_and_ivar(N_PIXEL)
    table = Table({"wavelength": 10 ** loglam() / 10, "flux": flux, "error": ivar**-0.5})
    table["wavelength"].unit, table["flux"].unit = "nm", "1e-17 erg / (s cm2 Angstrom)"
    table.meta = {"redshift": 0.1, "id": "NGC 1", "resolving_power": 2000.0} | meta
    table.write(path, format="ascii.ecsv")
    return path
