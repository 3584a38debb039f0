"""SDSS and BOSS spectra: `spec-PLATE-MJD-FIBER.fits` (DR8 on) and `spSpec-MJD-PLATE-FIBER.fit` (up to DR7).

Wavelengths are vacuum, heliocentric and log-linear at 1e-4 dex a pixel. `wdisp` is the line-spread sigma in those
pixels. Pixels under bright sky lines (BRIGHTSKY in the AND mask) and around [O I] 5577, whose residuals exceed the
pipeline's errors many times over, lose their weight; all else follows the pipeline's ivar. Galactic E(B-V) is the
plate's median reddening: the header's REDDEN vector holds A_u ... A_z = E(B-V) x the coefficients of Schlegel,
Finkbeiner & Davis (1998, ApJ 500, 525, table 6), and labels say that it is the plate's, not the object's.

File formats: data.sdss.org/datamodel/files/BOSS_SPECTRO_REDUX/RUN2D/spectra/PLATE4/spec.html and
classic.sdss.org/dr7/dm/flatFiles/spSpec.html.
"""

import numpy as np
from astropy.io import fits
from jaxtyping import Bool, Float, Int

from slipher.data import checks
from slipher.data import files as disk
from slipher.data.observation import Spectrum
from slipher.data.resolution import from_wdisp, usable
from slipher.errors import Flag, UnreadableFile

BRIGHTSKY = 1 << 23  # SPPIXMASK: sky level > flux + 10 x error
NO_DATA = 1 << 18 | 1 << 22 | 1 << 24  # FULLREJECT, NOSKY, NODATA
OI_5577_AA = 5578.89  # vacuum
OI_HALF_WIDTH_AA = 7.0  # residuals of up to 12 sigma reach 5 A from the line
FIRST_BOSS_MJD = 55000  # the BOSS spectrographs replaced SDSS's in 2009
REDDEN_PER_EBV = np.array([5.155, 3.793, 2.751, 2.086, 1.479])  # u g r i z
LABELS = ("z", "z_err", "zwarning", "class", "subclass", "vdisp", "vdisp_err", "plug_ra", "plug_dec")
LINE_LABELS = {
    "flux": "linearea",
    "flux_err": "linearea_err",
    "ew": "lineew",
    "ew_err": "lineew_err",
    "sigma_kms": "linesigma",
    "sigma_kms_err": "linesigma_err",
    "z": "linez",
    "z_err": "linez_err",
}
SPSPEC_CLASSES = ("UNKNOWN", "STAR", "GALAXY", "QSO", "QSO", "SKY", "STAR", "GALAXY")  # SPEC_CLN = 0 ... 7
SPSPEC_LABELS = {
    "Z": "Z",
    "Z_ERR": "Z_ERR",
    "ZWARNING": "Z_WARNIN",
    "VDISP": "VEL_DIS",
    "VDISP_ERR": "VEL_DISE",
    "PLUG_RA": "RAOBJ",
    "PLUG_DEC": "DECOBJ",
}


def is_spec(hdus: fits.HDUList) -> bool:
    """Whether this is a `spec` file: it has a COADD table with `loglam`."""
    return "COADD" in disk.names(hdus) and "loglam" in _column_names(hdus["COADD"])


def is_spspec(hdus: fits.HDUList) -> bool:
    """Whether this is an `spSpec` file: an image of at least four rows, log-linear by COEFF0 and COEFF1."""
    data = hdus[0].data
    grid = [hdus[0].header.get(card) for card in ("COEFF0", "COEFF1")]
    log_linear = all(isinstance(value, float) for value in grid)
    return log_linear and data is not None and data.ndim == 2 and data.shape[0] >= 4


def _column_names(hdu) -> list[str]:
    return [name.lower() for name in hdu.columns.names] if isinstance(hdu, fits.BinTableHDU) else []


def read_spec(hdus: fits.HDUList, file: disk.File) -> Spectrum:
    """The spectrum of a `spec-PLATE-MJD-FIBER.fits` file.

    Raises
    ------
    UnreadableFile
        If COADD or SPECOBJ (SPALL) or one of their columns is missing.
    InputError
        If the spectrum itself is of no use (`slipher.data.checks`).
    """
    header = hdus[0].header
    coadd = disk.table(hdus, "COADD", file.path)
    disk.require(coadd, ("flux", "loglam", "ivar"), f"COADD of {file.path}")
    described = disk.table(hdus, "SPALL" if "SPALL" in disk.names(hdus) else "SPECOBJ", file.path)
    disk.require(described, ("z",), f"SPECOBJ of {file.path}")
    labels = {name.upper(): disk.scalar(described[name][0]) for name in LABELS if name in described}
    labels |= _signal_to_noise(described) | _identifiers(header, described) | _lines(hdus)
    wave_aa = _wavelengths(coadd["loglam"])
    return _spectrum(
        wave_aa,
        coadd["flux"],
        labels,
        file,
        ivar=np.where(_sky_residual(wave_aa, coadd.get("and_mask")), 0, coadd["ivar"]),
        lsf_kms=usable(from_wdisp(coadd["wdisp"])) if "wdisp" in coadd else None,
        header=header,
    )


def read_spspec(hdus: fits.HDUList, file: disk.File) -> Spectrum:
    """The spectrum of an `spSpec-MJD-PLATE-FIBER.fit` file: rows of flux, flux less continuum, error and mask.

    The header's BUNIT leaves out a square (`erg/cm/s/Ang`); the data model gives 1e-17 erg/cm2/s/A. The dispersion is
    looked for in the sixth extension.

    Raises
    ------
    UnreadableFile
        If the header lacks PLATEID, MJD or FIBERID.
    InputError
        If the spectrum itself is of no use (`slipher.data.checks`).
    """
    header, rows = hdus[0].header, disk.native(hdus[0].data)
    labels = {name: header[card] for name, card in SPSPEC_LABELS.items() if card in header}
    labels["CLASS"] = _spspec_class(header.get("SPEC_CLN"))
    labels |= _identifiers(header, {})
    wave_aa = _wavelengths(header["COEFF0"] + header["COEFF1"] * np.arange(rows.shape[1]))
    bits = rows[3].astype(np.int64)
    return _spectrum(
        wave_aa,
        rows[0],
        labels,
        file,
        uncertainty=rows[2],
        mask=_sky_residual(wave_aa, bits) | ((bits & NO_DATA) != 0),
        lsf_kms=_spspec_dispersion(hdus, rows.shape[1]),
        header=header,
    )


def _spectrum(wave_aa, flux, labels: dict, file: disk.File, *, header, **given) -> Spectrum:
    ebv = plate_ebv(header)
    labels |= {} if ebv is None else {"EBV_ORIGIN": "plate median (REDDEN)"}
    redshift, reason = checks.pipeline_redshift(labels.get("Z"), "the pipeline's Z")
    return checks.spectrum(
        wave_aa,
        flux,
        redshift=redshift,
        wave_medium="vacuum" if header.get("VACUUM", True) else "air",
        id=f"{labels['PLATE']:04d}-{labels['MJD']:05d}-{labels['FIBERID']:04d}",
        survey="boss" if labels["MJD"] >= FIRST_BOSS_MJD else "sdss",
        ebv=ebv,
        flags=_flags(labels) | (Flag.PIPELINE_WARNING if reason else Flag(0)),
        labels=labels | reason,
        source=file.path,
        checksum=file.checksum,
        **given,
    )


def _flags(labels: dict) -> Flag:
    """What the pipeline says of its redshift."""
    flags = Flag.PIPELINE_WARNING if labels.get("ZWARNING", 0) else Flag(0)
    return flags | (Flag.NOT_A_GALAXY if labels.get("CLASS", "GALAXY") != "GALAXY" else Flag(0))


def plate_ebv(header: fits.Header) -> float | None:
    """E(B-V) from the plate's REDDEN vector of extinctions in ugriz (mag); None where absent, zero, absurd or no number."""
    if "REDDEN" in header:
        text = str(header["REDDEN"]).split()
    else:
        text = [header[name] for name in (f"REDDEN{band:02d}" for band in range(1, 6)) if name in header]
    if len(text) != REDDEN_PER_EBV.size:
        return None
    try:
        ebv = np.array(text, dtype=np.float64) / REDDEN_PER_EBV
    except (TypeError, ValueError):
        return None
    measured = np.all(ebv > 0) and np.mean(ebv) <= checks.EBV_RANGE[1]
    return float(np.mean(ebv)) if measured else None


def _wavelengths(loglam: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"]:
    """Wavelengths (A) of log10 wavelengths, put back on the grid of 1e-4 dex where float32 moved them."""
    steps = np.asarray(loglam, np.float64) * 1e4
    if np.all(np.abs(steps - np.rint(steps)) < 0.01):
        steps = np.rint(steps)
    with np.errstate(over="ignore"):  # infinite wavelengths are refused at the door
        return 10.0 ** (1e-4 * steps)


def _sky_residual(wave_aa: Float[np.ndarray, "pixel"], and_mask: Int[np.ndarray, "pixel"] | None) -> Bool[np.ndarray, "pixel"]:
    near_oi = np.abs(wave_aa - OI_5577_AA) < OI_HALF_WIDTH_AA
    return near_oi if and_mask is None else near_oi | ((and_mask & BRIGHTSKY) != 0)


def _identifiers(header: fits.Header, described: dict) -> dict[str, int]:
    """PLATE, MJD and FIBERID from the primary header, or from the description where it lacks them."""
    found = {}
    for name, card in {"PLATE": "PLATEID", "MJD": "MJD", "FIBERID": "FIBERID"}.items():
        value = header.get(card, described[name.lower()][0] if name.lower() in described else None)
        if not isinstance(value, int | np.integer):
            came = f"a header with {card} = {value!r}"
            raise UnreadableFile(came, expected="PLATEID, MJD and FIBERID, integers", mend=disk.DOWNLOAD_AGAIN)
        found[name] = int(value)
    return found


def _signal_to_noise(described: dict) -> dict[str, float]:
    """SN_MEDIAN over all wavelengths (the column of that name holds one value a band)."""
    return {"SN_MEDIAN": disk.scalar(described["sn_median_all"][0])} if "sn_median_all" in described else {}


def _lines(hdus: fits.HDUList) -> dict[str, dict]:
    """The pipeline's emission lines by name (1e-17 erg/s/cm2, A, km/s): those that it measured."""
    hdu = hdus["SPZLINE"] if "SPZLINE" in disk.names(hdus) else None
    lines = disk.columns(hdu) if isinstance(hdu, fits.BinTableHDU) else {}
    numbers = {name for name, values in lines.items() if values.dtype.kind == "f"}
    if "linename" not in lines or not numbers >= set(LINE_LABELS.values()):
        return {}
    values = [{label: float(lines[name][k]) for label, name in LINE_LABELS.items()} for k in range(len(lines["linename"]))]
    names = [disk.scalar(name) for name in lines["linename"]]
    return {"LINES": {name: line for name, line in zip(names, values, strict=True) if line["flux_err"] > 0}}


def _spspec_class(code: int | None) -> str:
    return SPSPEC_CLASSES[code] if isinstance(code, int) and 0 <= code < len(SPSPEC_CLASSES) else "UNKNOWN"


def _spspec_dispersion(hdus: fits.HDUList, n_pixel: int) -> Float[np.ndarray, "pixel"] | None:
    """Line-spread sigma (km/s) from a dispersion column in the sixth extension, in pixels; None without one."""
    if len(hdus) < 7 or not isinstance(hdus[6], fits.BinTableHDU):
        return None
    columns = {name: values.reshape(-1) for name, values in disk.columns(hdus[6]).items() if "disp" in name}
    return next((usable(from_wdisp(values)) for values in columns.values() if values.size == n_pixel), None)
