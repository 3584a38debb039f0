"""A population code for tests: three parameters, in closed form, and no sum over a basis of spectra.

ln of a young and an old population's mixture behind dust whose curve bends with its slope, and a line.
"""

import numpy as np

WAVE_AA = np.geomspace(2500.0, 9000.0, 150)
BOUNDS = {"share": (0.05, 0.95), "tau_v": (0.0, 2.0), "slope": (-1.0, 0.5)}


def spectra(values: np.ndarray, wave_aa: np.ndarray = WAVE_AA) -> np.ndarray:
    """Fluxes [row, pixel] of values [row, parameter]."""
    share, tau_v, slope = (np.asarray(values, float)[:, i, None] for i in range(3))
    x = wave_aa / 5500.0
    mixture = share * x**-2.0 * (1 + 0.3 * np.exp(-0.5 * ((wave_aa - 6563.0) / 60.0) ** 2)) + (1 - share) * x**2 / (1 + x**3)
    return 1e-4 * mixture * np.exp(-tau_v * x ** (-0.7 + slope))


def spectrum(values: dict[str, float]) -> np.ndarray:
    """Of one galaxy by name, as a recipe's function is called."""
    return spectra(np.array([[values[name] for name in BOUNDS]]))[0]


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """Values [row, parameter] over the bounds."""
    low, high = np.array(list(BOUNDS.values())).T
    return rng.uniform(low, high, (n, len(BOUNDS)))
