"""The real catalogues of the benchmarks: which column is which band, in which unit, and what is known of their zero points.

Used by `masses.py` and `redshifts.py`. Curves that slipher does not ship are given here by a few points of the published ones:

* Subaru Suprime-Cam B, V, g+, r+, i+, z+: response with atmosphere and mirrors (Taniguchi et al. 2007; the COSMOS filter set);
* UKIRT WFCAM J, CFHT WIRCam Ks, VISTA Y, J, H, Ks, Spitzer IRAC 1 and 2: half-power wavelengths (Hewett et al. 2006; Ilbert et al. 2009,
  table 1; Emerson et al. 2006; Fazio et al. 2004), with edges as steep as such filters have.

Errors of what several telescopes have seen get a floor of `FLOOR` in quadrature. The zero points of COSMOS are those of Ilbert et al.
(2009), table 1: what their templates needed at known redshifts, to be subtracted from magnitudes. They were found from spectroscopic
redshifts, some of which are in zcosmos.csv. These numbers have not been compared with the printed table.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

import slipher
from slipher.data.photometry_checks import catalogue_from_arrays
from slipher.grids.filters import FilterCurve

SUBARU = {  # wavelength in A: response
    "b": (
        "3600:0 3750:0.067 3850:0.205 3950:0.395 4050:0.529 4150:0.637 4300:0.744 4450:0.863 4600:0.944 4700:0.933 4790:1 "
        "4850:0.945 4880:0.785 4907:0.548 4930:0.345 4966:0.138 5015:0.035 5100:0.006 5300:0"
    ),
    "v": (
        "4800:0 4860:0.034 4900:0.149 4950:0.368 5000:0.566 5060:0.696 5150:0.809 5300:0.915 5450:0.953 5570:0.986 5650:0.967 "
        "5730:1 5810:0.967 5860:0.917 5898:0.747 5926:0.559 5955:0.38 6000:0.185 6060:0.067 6150:0.014 6400:0"
    ),
    "g": (
        "3850:0 3920:0.05 3980:0.19 4050:0.374 4150:0.537 4300:0.68 4500:0.815 4700:0.882 4880:0.95 5000:0.941 5140:1 "
        "5297:0.999 5336:0.924 5365:0.74 5394:0.477 5424:0.25 5460:0.1 5510:0.029 5600:0.005 5680:0"
    ),
    "r": (
        "5400:0 5470:0.07 5520:0.263 5580:0.506 5650:0.685 5750:0.807 5900:0.878 6050:0.909 6150:0.87 6250:0.937 6350:0.983 "
        "6600:1 6770:0.988 6826:0.929 6880:0.775 6930:0.608 6980:0.376 7030:0.177 7080:0.075 7150:0.025 7240:0"
    ),
    "i": (
        "6750:0 6820:0.068 6880:0.246 6940:0.512 7000:0.733 7070:0.861 7140:0.91 7180:0.867 7240:0.924 7350:0.982 7560:0.985 "
        "7585:0.93 7610:0.551 7640:0.684 7685:0.974 7860:1 8000:0.978 8150:0.88 8330:0.783 8400:0.645 8450:0.425 8500:0.2 "
        "8560:0.057 8700:0.004"
    ),
    "z": (
        "7920:0 8100:0.008 8240:0.031 8340:0.1 8430:0.29 8510:0.607 8570:0.838 8630:0.965 8690:1 8800:0.95 8900:0.918 "
        "9000:0.795 9150:0.729 9260:0.665 9355:0.459 9430:0.475 9540:0.413 9680:0.429 9740:0.385 9800:0.333 9870:0.21 "
        "9940:0.085 10050:0.015 10300:0"
    ),
}
HALF_POWER_AA = {
    "wfcam-J": (11690, 13280), "wircam-Ks": (19900, 23110), "vista-Y": (9740, 10670), "vista-J": (11670, 13380), "vista-H": (14920, 17830),
    "vista-Ks": (19940, 23030), "irac-1": (31790, 39270), "irac-2": (39930, 50170),
}  # fmt: skip
EDGE = 0.01  # of the wavelength: from nothing to full response
FLOOR = 0.03
SHIFT_COSMOS = {"u": 0.054, "b": -0.242, "v": -0.094, "g": 0.024, "r": 0.003, "i": 0.019, "z": -0.037,
                "j": 0.124, "k": 0.022}  # fmt: skip
EBV_COSMOS = 0.018  # Schlafly & Finkbeiner (2011), the field's mean
# AB minus Vega: 2MASS (Blanton & Roweis 2007, table 1).
TWOMASS_AB = {"twomass-J": 0.91, "twomass-H": 1.39, "twomass-Ks": 1.85}
EXTINCTION_R = 2.285  # A_r / E(B-V) of SDSS (Schlafly & Finkbeiner 2011, table 6)
LIGHT_KM_S = 299792.458


class Labelled(NamedTuple):
    """A catalogue, and what others say of its rows: arrays [row] by name."""

    catalogue: slipher.Catalogue
    labels: dict[str, np.ndarray]


def curve(name: str) -> FilterCurve:
    """A curve of those above."""
    if name in HALF_POWER_AA:
        low, high = HALF_POWER_AA[name]
        edges = [low * (1 - EDGE / 2), low * (1 + EDGE / 2), high * (1 - EDGE / 2), high * (1 + EDGE / 2)]
        return FilterCurve.from_arrays(name, np.array(edges), np.array([0.0, 1.0, 1.0, 0.0]))
    points = np.array([[float(x) for x in point.split(":")] for point in SUBARU[name].split()])
    return FilterCurve.from_arrays(f"subaru-{name}", points[:, 0], points[:, 1])


def _columns(path: Path, delimiter: str = ",") -> dict[str, np.ndarray]:
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=delimiter))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _numbers(columns: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    return np.column_stack([_number(columns[name]) for name in names])


def _number(texts: np.ndarray) -> np.ndarray:
    """Blank entries are NaN."""
    return np.where(texts == "", "nan", texts).astype(float)


def zcosmos(folder: Path, *, shift: dict[str, float] | None = None) -> Labelled:
    """zCOSMOS-bright: CFHT u, Subaru, J and K, in apertures of 3 arcsec.

    J is left out where it is more than a magnitude brighter than both neighbours. GALEX is left out: its magnitudes are of more light than
    the others', for NUV is brighter than u (median 0.1 mag) where u is fainter than B (0.4 to 0.7 mag), which no galaxy is.
    """
    columns = _columns(folder / "zcosmos.csv")
    shift = SHIFT_COSMOS if shift is None else shift
    filters = {
        "u": "cfht_megacam-u", **{band: curve(band) for band in SUBARU},
        "j": curve("wfcam-J"), "k": curve("wircam-Ks"),
    }  # fmt: skip
    flux, sigma = _numbers(columns, list(filters)), _numbers(columns, ["e" + band for band in filters])
    missing = ~((flux > 0) & (flux < 90) & (sigma > 0))
    at = {band: i for i, band in enumerate(filters)}
    missing[:, at["j"]] |= flux[:, at["j"]] < np.minimum(flux[:, at["z"]], flux[:, at["k"]]) - 1.0
    moved = flux - np.array([shift.get(band, 0.0) for band in filters])
    made = catalogue_from_arrays(
        np.where(missing, np.nan, moved), bands=list(filters.values()), unit="ABmag", errors=np.where(missing, np.nan, sigma),
        redshift=_number(columns["zspec"]), ebv=np.full(len(moved), EBV_COSMOS), id=columns["surveyID"],
        error_floor=FLOOR,
    )  # fmt: skip
    labels = {"redshift": _number(columns["zspec"]), "log_mass": _number(columns["logmstar_cosmos2015"])}
    return Labelled(made, labels | {"confidence": _number(columns["zconf"])})


def resolve(folder: Path) -> Labelled:
    """RESOLVE: GALEX, SDSS and 2MASS, not corrected for Galactic extinction, which the table has beside them; 2MASS in Vega magnitudes."""
    columns = _columns(folder / "resolve.csv")
    names = {
        "galex-fuv": "fuvmag", "galex-nuv": "nuvmag", **{f"sdss2010-{band}": f"{band}mag" for band in "ugriz"},
        "twomass-J": "2jmag", "twomass-H": "2hmag", "twomass-Ks": "2kmag",
    }  # fmt: skip
    flux, sigma = _numbers(columns, list(names.values())), _numbers(columns, ["e_" + name for name in names.values()])
    missing = ~((flux > 0) & (flux < 90) & (sigma > 0))
    flux = flux + np.array([TWOMASS_AB.get(band, 0.0) for band in names])
    made = catalogue_from_arrays(
        np.where(missing, np.nan, flux), bands=list(names), unit="ABmag", errors=np.where(missing, np.nan, sigma),
        redshift=_number(columns["cz"]) / LIGHT_KM_S, ebv=_number(columns["extr"]) / EXTINCTION_R, id=columns["NAME"],
        error_floor=FLOOR,
    )  # fmt: skip
    labels = {"log_mass": columns["logmstar"], "log_mass_16": columns["logmstar_16"], "log_mass_84": columns["logmstar_84"]}
    labels = {name: _number(values) for name, values in labels.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        labels["log_sfr"] = np.log10(_number(columns["sfr_nuv"]))
    return Labelled(made, labels)


def boss(folder: Path) -> Labelled:
    """BOSS: ugriz. It is not known whether Galactic extinction was corrected; it is taken to be.

    All magnitudes are finite: galaxies without a positive flux in each band are left out, and where u and g are lost in the noise, those
    that are there are too bright.
    """
    lines = (folder / "boss_dr10_train.csv").read_text(encoding="utf-8").splitlines()
    values = np.array([[float(x) for x in line.split(",")] for line in lines[1:]])
    made = catalogue_from_arrays(
        values[:, 0:10:2], bands=[f"sdss2010-{band}" for band in "ugriz"], unit="ABmag", errors=values[:, 1:10:2],
        ebv=np.zeros(len(values)),
    )  # fmt: skip
    return Labelled(made, {"redshift": values[:, 10]})


def cosmos100(folder: Path) -> Labelled:
    """COSMOS-100: 24 of its 30 bands (without the narrow ones, IRAC 3 and 4, and the older of the two u), fluxes in erg/s/cm2/Hz."""
    from astropy.table import Table

    table = Table.read(folder / "cosmos100_30band.fits")
    filters = {"cosmos/u_new.pb": "cfht_megacam-u", **{f"hsc/{band}HSC.pb": f"hsc2017-{band}" for band in "grizy"}}
    filters |= {f"vista/{band}.lowres": curve("vista-" + ("Ks" if band == "K" else band)) for band in "YJHK"}
    medium = (427, 464, 484, 505, 527, 574, 624, 679, 709, 738, 767, 827)
    filters |= {f"cosmos/IB{band}.lowres": f"suprime-IB{band}" for band in medium}
    filters |= {f"cosmos/irac_ch{band}.lowres": curve(f"irac-{band}") for band in (1, 2)}
    flux = np.column_stack([np.asarray(table["f_" + name], float) for name in filters])
    sigma = np.column_stack([np.asarray(table["ferr_" + name], float) for name in filters])
    missing = ~(sigma > 0) | ~np.isfinite(flux)
    made = catalogue_from_arrays(
        np.where(missing, np.nan, flux), bands=list(filters.values()), unit="erg / (s cm2 Hz)", errors=np.where(missing, np.nan, sigma),
        ebv=np.full(len(flux), EBV_COSMOS), error_floor=FLOOR,
    )  # fmt: skip
    return Labelled(made, {"redshift": np.asarray(table["zspec"], float)})
