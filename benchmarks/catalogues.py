"""The real catalogues of the benchmarks: which column is which band, in which unit, and what is known of their zero points.

Used by `masses.py` and `redshifts.py`. Curves that slipher does not ship are given here by a few points of the published ones:

* Subaru Suprime-Cam B, V, g+, r+, i+, z+: response with atmosphere and mirrors (Taniguchi et al. 2007; the COSMOS filter set);
* UKIRT WFCAM J, CFHT WIRCam Ks, VISTA Y, J, H, Ks, Spitzer IRAC 1 and 2: half-power wavelengths (Hewett et al. 2006; Ilbert et al. 2009,
  table 1; Emerson et al. 2006; Fazio et al. 2004), with edges as steep as such filters have.

The zero points of COSMOS are those of Ilbert et al. (2009), table 1: what their templates needed at known redshifts, to be subtracted from
magnitudes. They were found from spectroscopic redshifts, some of which are in zcosmos.csv.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

import slipher
from slipher.data.photometry_checks import catalogue_from_arrays
from slipher.grids.filters import FilterCurve

SUBARU = {
    "b": ([3600, 3750, 3850, 3950, 4050, 4150, 4300, 4450, 4600, 4700, 4790, 4850, 4880, 4907, 4930, 4966, 5015, 5100, 5300],
          [0, 0.067, 0.205, 0.395, 0.529, 0.637, 0.744, 0.863, 0.944, 0.933, 1.0, 0.945, 0.785, 0.548, 0.345, 0.138, 0.035, 0.006, 0]),
    "v": ([4800, 4860, 4900, 4950, 5000, 5060, 5150, 5300, 5450, 5570, 5650, 5730, 5810, 5860, 5898, 5926, 5955, 6000, 6060, 6150, 6400],
          [0, 0.034, 0.149, 0.368, 0.566, 0.696, 0.809, 0.915, 0.953, 0.986, 0.967, 1.0, 0.967, 0.917, 0.747, 0.559, 0.38, 0.185, 0.067, 0.014, 0]),
    "g": ([3850, 3920, 3980, 4050, 4150, 4300, 4500, 4700, 4880, 5000, 5140, 5297, 5336, 5365, 5394, 5424, 5460, 5510, 5600, 5680],
          [0, 0.05, 0.19, 0.374, 0.537, 0.68, 0.815, 0.882, 0.95, 0.941, 1.0, 0.999, 0.924, 0.74, 0.477, 0.25, 0.1, 0.029, 0.005, 0]),
    "r": ([5400, 5470, 5520, 5580, 5650, 5750, 5900, 6050, 6150, 6250, 6350, 6600, 6770, 6826, 6880, 6930, 6980, 7030, 7080, 7150, 7240],
          [0, 0.07, 0.263, 0.506, 0.685, 0.807, 0.878, 0.909, 0.87, 0.937, 0.983, 1.0, 0.988, 0.929, 0.775, 0.608, 0.376, 0.177, 0.075, 0.025, 0]),
    "i": ([6750, 6820, 6880, 6940, 7000, 7070, 7140, 7180, 7240, 7350, 7560, 7585, 7610, 7640, 7685, 7860, 8000, 8150, 8330, 8400, 8450, 8500, 8560, 8700],
          [0, 0.068, 0.246, 0.512, 0.733, 0.861, 0.91, 0.867, 0.924, 0.982, 0.985, 0.93, 0.551, 0.684, 0.974, 1.0, 0.978, 0.88, 0.783, 0.645, 0.425, 0.2, 0.057, 0.004]),
    "z": ([7920, 8100, 8240, 8340, 8430, 8510, 8570, 8630, 8690, 8800, 8900, 9000, 9150, 9260, 9355, 9430, 9540, 9680, 9740, 9800, 9870, 9940, 10050, 10300],
          [0, 0.008, 0.031, 0.1, 0.29, 0.607, 0.838, 0.965, 1.0, 0.95, 0.918, 0.795, 0.729, 0.665, 0.459, 0.475, 0.413, 0.429, 0.385, 0.333, 0.21, 0.085, 0.015, 0]),
}  # fmt: skip
HALF_POWER_AA = {
    "wfcam-J": (11690, 13280), "wircam-Ks": (19900, 23110), "vista-Y": (9740, 10670), "vista-J": (11670, 13380), "vista-H": (14920, 17830),
    "vista-Ks": (19940, 23030), "irac-1": (31790, 39270), "irac-2": (39930, 50170),
}  # fmt: skip
EDGE = 0.01  # of the wavelength: from nothing to full response
SHIFT_COSMOS = {"fuv": 0.314, "nuv": 0.128, "u": 0.054, "b": -0.242, "v": -0.094, "g": 0.024, "r": 0.003, "i": 0.019, "z": -0.037,
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
    wave, response = SUBARU[name]
    return FilterCurve.from_arrays(f"subaru-{name}", np.array(wave, float), np.array(response))


def _columns(path: Path, delimiter: str = ",") -> dict[str, np.ndarray]:
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=delimiter))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _numbers(columns: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    return np.column_stack([columns[name].astype(float) for name in names])


def zcosmos(folder: Path, *, shift: dict[str, float] | None = None) -> Labelled:
    """zCOSMOS-bright: GALEX, CFHT u, Subaru, J and K. J is left out where it is more than a magnitude off both neighbours."""
    columns = _columns(folder / "zcosmos.csv")
    shift = SHIFT_COSMOS if shift is None else shift
    filters = {
        "fuv": "galex-fuv", "nuv": "galex-nuv", "u": "cfht_megacam-u", **{band: curve(band) for band in SUBARU},
        "j": curve("wfcam-J"), "k": curve("wircam-Ks"),
    }  # fmt: skip
    flux, sigma = _numbers(columns, list(filters)), _numbers(columns, ["e" + band for band in filters])
    missing = (flux < 0) | (flux > 90) | (sigma <= 0)
    at = {band: i for i, band in enumerate(filters)}
    missing[:, at["j"]] |= flux[:, at["j"]] < np.minimum(flux[:, at["z"]], flux[:, at["k"]]) - 1.0
    moved = flux - np.array([shift.get(band, 0.0) for band in filters])
    made = catalogue_from_arrays(
        np.where(missing, np.nan, moved), bands=list(filters.values()), unit="ABmag", errors=np.where(missing, np.nan, sigma),
        redshift=columns["zspec"].astype(float), ebv=np.full(len(moved), EBV_COSMOS), id=columns["surveyID"],
    )  # fmt: skip
    labels = {"redshift": columns["zspec"].astype(float), "log_mass": columns["logmstar_cosmos2015"].astype(float)}
    return Labelled(made, labels | {"confidence": columns["zconf"].astype(float)})


def resolve(folder: Path) -> Labelled:
    """RESOLVE: GALEX, SDSS and 2MASS, not corrected for Galactic extinction, which the table has beside them; 2MASS in Vega magnitudes."""
    columns = _columns(folder / "resolve.csv")
    names = {
        "galex-fuv": "fuvmag", "galex-nuv": "nuvmag", **{f"sdss2010-{band}": f"{band}mag" for band in "ugriz"},
        "twomass-J": "2jmag", "twomass-H": "2hmag", "twomass-Ks": "2kmag",
    }  # fmt: skip
    flux, sigma = _numbers(columns, list(names.values())), _numbers(columns, ["e_" + name for name in names.values()])
    missing = (flux <= 0) | (flux > 90) | (sigma <= 0)
    flux = flux + np.array([TWOMASS_AB.get(band, 0.0) for band in names])
    made = catalogue_from_arrays(
        np.where(missing, np.nan, flux), bands=list(names), unit="ABmag", errors=np.where(missing, np.nan, sigma),
        redshift=columns["cz"].astype(float) / LIGHT_KM_S, ebv=columns["extr"].astype(float) / EXTINCTION_R, id=columns["NAME"],
    )  # fmt: skip
    labels = {"log_mass": columns["logmstar"], "log_mass_16": columns["logmstar_16"], "log_mass_84": columns["logmstar_84"]}
    labels = {name: values.astype(float) for name, values in labels.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        labels["log_sfr"] = np.log10(columns["sfr_nuv"].astype(float))
    return Labelled(made, labels)


def boss(folder: Path) -> Labelled:
    """BOSS: ugriz, corrected for Galactic extinction."""
    lines = (folder / "boss_dr10_train.csv").read_text(encoding="utf-8").splitlines()
    values = np.array([[float(x) for x in line.split(",")] for line in lines[1:]])
    made = catalogue_from_arrays(
        values[:, 0:10:2], bands=[f"sdss2010-{band}" for band in "ugriz"], unit="ABmag", errors=values[:, 1:10:2], ebv=np.zeros(len(values)),
    )  # fmt: skip
    return Labelled(made, {"redshift": values[:, 10]})


def cosmos100(folder: Path) -> Labelled:
    """COSMOS-100: 26 of its 30 bands (without the narrow ones, IRAC 3 and 4, and the older of the two u), fluxes in erg/s/cm2/Hz."""
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
        ebv=np.full(len(flux), EBV_COSMOS),
    )  # fmt: skip
    return Labelled(made, {"redshift": np.asarray(table["zspec"], float)})
