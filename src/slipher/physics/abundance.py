r"""How many galaxies there are: the joint prior of stellar mass and redshift for galaxies whose redshift is not known.

    p(log M, z) ~ Phi(log M, z) dV/dz

Phi is the mass function of Leja et al. (2020, ApJ 893, 111, appendix B): two Schechter functions whose parameters are parabolas in
redshift through values at z = 0.2, 1.6 and 3.0. Beyond z = 3, where it was not measured, densities fall by 0.4 dex per unit of redshift,
about as those of luminous galaxies do (Bouwens et al. 2021, AJ 162, 47); below 0.2 the values at 0.2 hold. Without this prior a
faint blue galaxy is as likely a giant at z = 3 as a dwarf at z = 0.3, and there is more room at z = 3.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from ..units import C_KMS
from . import cosmology
from .parameters import U_MAX

SURVIVING = -0.2  # log10 of the share of the mass formed that is still in stars; the mass function counts those
DECLINE_DEX = 0.4  # per unit redshift beyond 3
_ANCHORS = np.array([0.2, 1.6, 3.0])
_LOG_PHI_1, _LOG_PHI_2, _LOG_M_STAR = (-2.44, -3.08, -4.14), (-2.89, -3.29, -3.51), (10.79, 10.88, 10.84)
_ALPHA_1, _ALPHA_2 = -0.28, -1.48
_PARABOLAS = np.array([np.polyfit(_ANCHORS, values, 2) for values in (_LOG_PHI_1, _LOG_PHI_2, _LOG_M_STAR)])

Scalar = Float[Array, "*#shape"]


def log_mass_function(log_mass_formed: Scalar, redshift: Scalar) -> Scalar:
    """ln Phi, galaxies per comoving Mpc^3 and dex of mass; the argument is log10 of the mass formed, Msun."""
    z = jnp.clip(redshift, _ANCHORS[0], _ANCHORS[-1])
    log_phi_1, log_phi_2, log_m_star = (jnp.polyval(jnp.asarray(c, jnp.float32), z) for c in _PARABOLAS)
    x = (log_mass_formed + SURVIVING - log_m_star) * np.log(10.0)
    first = log_phi_1 * np.log(10.0) + (_ALPHA_1 + 1.0) * x
    second = log_phi_2 * np.log(10.0) + (_ALPHA_2 + 1.0) * x
    decline = DECLINE_DEX * np.log(10.0) * jnp.maximum(redshift - _ANCHORS[-1], 0.0)
    return jnp.logaddexp(first, second) - jnp.exp(jnp.minimum(x, 5.0)) + np.log(np.log(10.0)) - decline


def log_volume(redshift: Scalar) -> Scalar:
    """ln dV/dz of the whole sky, comoving Mpc^3 per unit of redshift."""
    distance = cosmology.comoving_distance_mpc(redshift)
    return jnp.log(4 * np.pi * C_KMS) + 2.0 * jnp.log(distance) - jnp.log(cosmology.hubble_kms_mpc(redshift))


def log_abundance(log_mass_formed: Scalar, redshift: Scalar) -> Scalar:
    """ln of galaxies on the sky per dex of mass formed and unit of redshift."""
    return log_mass_function(log_mass_formed, redshift) + log_volume(redshift)


END = 1e-6  # share of a range of redshifts beyond which u says no more, in single precision


@dataclass(frozen=True)
class RedshiftRange:
    """Redshifts from `low` to `high`, uniform in ln(1 + z): the coordinate in which a free redshift is written as a normal variable u.

    It spreads nearby and distant galaxies evenly; the prior proper, which would crowd nearby ones at the edge of u-space, enters as a
    density over this one.
    """

    low: float
    high: float

    def from_normal(self, u: Scalar) -> Scalar:
        """Redshift of u."""
        reach = np.log1p(self.high) - np.log1p(self.low)
        return jnp.expm1(np.log1p(self.low) + reach * ndtr(jnp.clip(u, -U_MAX, U_MAX)))

    def to_normal(self, redshift: Scalar) -> Scalar:
        """u of a redshift; of one outside, that of the end it is beyond."""
        share = (jnp.log1p(redshift) - np.log1p(self.low)) / (np.log1p(self.high) - np.log1p(self.low))
        return ndtri(jnp.clip(share, END, 1.0 - END))

    def log_density(self, redshift: Scalar) -> Scalar:
        """ln of the density per unit of redshift."""
        return -jnp.log1p(redshift) - np.log(np.log1p(self.high) - np.log1p(self.low))
