"""What photometry is allowed to be off beside its noise: zero points, and the models' own errors by rest wavelength.

Independent from band to band, as fractions of the model's flux, and the same in the simulator and in the likelihood. Zero points of
different surveys agree to one or two per cent; matched apertures to a few. Templates err most where stars are least known: below
2000 A, and where dust shines (Brammer et al. 2008, section 2.2, measure such a function of rest wavelength: 5 % in the visible, 20 % at
its ends, for seven templates).
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclass(frozen=True)
class BandErrors:
    """Fractions of the flux: of the zero points, and of the templates at rest wavelengths (A), log-linear between them.

    A measurement in a hundred is off by more (a blend, a wrong match, a bad pixel): `outliers` of them, by `outlier_size` of the flux.
    """

    zero_point: float = 0.02
    outliers: float = 0.01
    outlier_size: float = 2.0
    template_wave_aa: tuple[float, ...] = (1000.0, 1500.0, 2500.0, 3600.0, 5000.0, 20000.0, 35000.0, 80000.0, 250000.0)
    template: tuple[float, ...] = (0.15, 0.08, 0.05, 0.03, 0.02, 0.02, 0.05, 0.15, 0.15)

    def fraction(self, pivot_aa: Float[Array, "band"], redshift: Float[Array, ""]) -> Float[Array, "band"]:
        """Standard deviation over flux of each band of a galaxy at a redshift."""
        at = jnp.log(pivot_aa / (1.0 + redshift))
        return jnp.hypot(jnp.interp(at, jnp.log(jnp.array(self.template_wave_aa)), jnp.array(self.template)), self.zero_point)
