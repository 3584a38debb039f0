"""Air to vacuum wavelengths, for spectra that declare themselves in air; SDSS and DESI are in vacuum.

The refractive index of standard air (15 C, 101325 Pa, 450 ppm CO2) is that of Ciddor (1996, Applied Optics 35, 1566,
equation 1). At the lines of galaxies Morton (1991, ApJS 77, 119), which SDSS quotes, agrees with it to 3 mA.
"""

import numpy as np
from jaxtyping import Float

SHORTEST_AIR_AA = 2000.0  # shortwards, wavelengths are quoted in vacuum by convention


def refractive_index(wave_aa: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Refractive index of standard air at vacuum wavelengths in angstrom (Ciddor 1996, eq. 1), held below 2000 A."""
    sigma2 = (1e4 / np.maximum(wave_aa, SHORTEST_AIR_AA)) ** 2  # wave number squared, 1/um^2
    return 1.0 + 0.05792105 / (238.0185 - sigma2) + 0.00167917 / (57.362 - sigma2)


def vacuum_to_air(wave_aa: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Air wavelengths (A) of vacuum wavelengths (A); unchanged below 2000 A."""
    return np.where(wave_aa < SHORTEST_AIR_AA, wave_aa, wave_aa / refractive_index(wave_aa))


def air_to_vacuum(wave_aa: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Vacuum wavelengths (A) of air wavelengths (A); unchanged below 2000 A.

    Inverts `vacuum_to_air` by iterating on the index, which varies so slowly that three rounds reach float64.
    """
    vacuum = np.asarray(wave_aa, np.float64)
    for _ in range(3):
        vacuum = wave_aa * refractive_index(vacuum)
    return np.where(wave_aa < SHORTEST_AIR_AA, wave_aa, vacuum)
