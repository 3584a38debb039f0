r"""Distances and ages in a flat Lambda-CDM universe with photons and massive neutrinos.

Where this stands: the first step of the forward model. A luminosity per angstrom becomes a flux through the luminosity
distance; the age of the universe at the galaxy's redshift bounds its star-formation history.

The expansion rate is E^2(z) = Omega_m (1+z)^3 + Omega_gamma (1 + f_nu(z)) (1+z)^4 + Omega_Lambda, with Omega_Lambda
from flatness. Massive neutrinos follow the fit of Komatsu et al. (2011, ApJS 192, 18, equation 26), as in
astropy.cosmology, from which the results differ by less than 1e-4 for 0 <= z <= 10. The integrals are Gauss-Legendre
sums of fixed order over variables in which the integrands are smooth, so everything is differentiable in redshift and
in the parameters, and keeps its relative precision in float32 down to z = 0.

What this does not do: curvature, dark energy other than a constant, and peculiar velocities.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..units import C_KMS

HUBBLE_TIME_GYR = 977.7922216807892  # (1 km/s/Mpc)^-1 in Gyr, with a Julian year
_ARCSEC = np.pi / (180.0 * 3600.0)
_RHO_PHOTON = 4.4816200892973e-7  # Omega_gamma h^2 for a temperature of 1 K: 8 pi G a_B T^4 / (3 c^2 (100 km/s/Mpc)^2)
_KELVIN_EV = 8.617333262e-5
_T_NU_RATIO = 0.7137658555036082  # (4/11)^(1/3)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_UNIT_NODES, _UNIT_WEIGHTS = (_NODES + 1.0) / 2.0, _WEIGHTS / 2.0


class Cosmology(NamedTuple):
    """Parameters of a flat Lambda-CDM universe; a pytree, so results can be differentiated in any of them."""

    h0: Float[ArrayLike, ""]
    """Hubble constant, km/s/Mpc."""
    omega_m: Float[ArrayLike, ""]
    """Density of baryons and cold dark matter at z = 0, in critical densities; without neutrinos, as in astropy."""
    t_cmb: Float[ArrayLike, ""] = 2.7255
    """Temperature of the microwave background at z = 0, kelvin; 0 for a universe without radiation."""
    n_eff: Float[ArrayLike, ""] = 3.046
    """Effective number of neutrino species."""
    m_nu: tuple[Float[ArrayLike, ""], Float[ArrayLike, ""], Float[ArrayLike, ""]] = (0.0, 0.0, 0.06)
    """Masses of the three neutrino species, eV."""


PLANCK15 = Cosmology(h0=67.74, omega_m=0.3075)
"""Planck 2015 results XIII (A&A 594, A13), table 4, last column: astropy's Planck15 and slipher's default."""
PLANCK13 = Cosmology(h0=67.77, omega_m=0.30712)
"""Planck 2013 results XVI (A&A 571, A16), table 5, last column: astropy's Planck13."""
CONCORDANCE = Cosmology(h0=70.0, omega_m=0.3, t_cmb=0.0, m_nu=(0.0, 0.0, 0.0))
"""H0 = 70, Omega_m = 0.3 and no radiation: what bagpipes and much of the literature assume."""


def _neutrinos_per_photon(scale: Float[Array, "node"], cosmology: Cosmology) -> Float[Array, "node"]:
    """Energy density of neutrinos over that of photons (Komatsu et al. 2011, equation 26)."""
    warm = jnp.where(cosmology.t_cmb > 0, cosmology.t_cmb, 1.0)  # without photons the ratio multiplies zero
    mass = jnp.stack([jnp.asarray(m) for m in cosmology.m_nu])
    y = mass[:, None] * scale / (_KELVIN_EV * _T_NU_RATIO * warm)
    power = 1.83
    massless = 0.22710731766  # 7/8 (4/11)^(4/3)
    heavier = (1.0 + (0.3173 * y) ** power) ** (1.0 / power)
    return massless * cosmology.n_eff / 3.0 * jnp.sum(heavier, axis=0)


def _expansion_times_a_three_halves(scale: Float[Array, "node"], cosmology: Cosmology) -> Float[Array, "node"]:
    """E(a) a^(3/2), which is of order one from the first stars to today."""
    today = jnp.ones_like(scale)
    photons = _RHO_PHOTON * cosmology.t_cmb**4 / (cosmology.h0 / 100.0) ** 2
    radiation = photons * (1.0 + _neutrinos_per_photon(scale, cosmology))
    radiation_today = photons * (1.0 + _neutrinos_per_photon(today, cosmology))
    dark_energy = 1.0 - cosmology.omega_m - radiation_today
    return jnp.sqrt(cosmology.omega_m + radiation / scale + dark_energy * scale**3)


def _integrate_log1pz(
    integrand: Callable[[Float[Array, "node"]], Float[Array, "node"]], redshift: Float[ArrayLike, ""]
) -> Float[Array, ""]:
    """Integral of a function of the scale factor over ln(1+z), from 0 to `redshift`."""
    span = jnp.log1p(redshift)
    return span * jnp.sum(_UNIT_WEIGHTS * integrand(jnp.exp(-span * _UNIT_NODES)))


def hubble_kms_mpc(redshift: Float[ArrayLike, ""], cosmology: Cosmology = PLANCK15) -> Float[Array, ""]:
    """Expansion rate at `redshift`, km/s/Mpc."""
    scale = 1.0 / (1.0 + jnp.asarray(redshift))
    return cosmology.h0 * _expansion_times_a_three_halves(scale[None], cosmology)[0] / scale**1.5


def comoving_distance_mpc(redshift: Float[ArrayLike, ""], cosmology: Cosmology = PLANCK15) -> Float[Array, ""]:
    """Line-of-sight comoving distance, Mpc: c/H0 times the integral of dz/E = a^(1/2) dln(1+z) / (E a^(3/2))."""

    def integrand(scale):
        return jnp.sqrt(scale) / _expansion_times_a_three_halves(scale, cosmology)

    return C_KMS / cosmology.h0 * _integrate_log1pz(integrand, redshift)


@jax.jit
def luminosity_distance_mpc(redshift: Float[ArrayLike, ""], cosmology: Cosmology = PLANCK15) -> Float[Array, ""]:
    """Luminosity distance, Mpc: (1+z) times the comoving distance. Zero at z = 0."""
    return (1.0 + redshift) * comoving_distance_mpc(redshift, cosmology)


def distance_modulus(redshift: Float[ArrayLike, ""], cosmology: Cosmology = PLANCK15) -> Float[Array, ""]:
    """Apparent minus absolute bolometric magnitude; minus infinity at z = 0."""
    return 5.0 * jnp.log10(luminosity_distance_mpc(redshift, cosmology)) + 25.0


def kpc_per_arcsec(redshift: Float[ArrayLike, ""], cosmology: Cosmology = PLANCK15) -> Float[Array, ""]:
    """Proper transverse size of one arcsecond, kpc."""
    return 1e3 * _ARCSEC * comoving_distance_mpc(redshift, cosmology) / (1.0 + redshift)


def lookback_time_gyr(redshift: Float[ArrayLike, ""], cosmology: Cosmology = PLANCK15) -> Float[Array, ""]:
    """Time since light left `redshift`, Gyr: the integral of dln(1+z) / H(z)."""

    def integrand(scale):
        return scale**1.5 / _expansion_times_a_three_halves(scale, cosmology)

    return HUBBLE_TIME_GYR / cosmology.h0 * _integrate_log1pz(integrand, redshift)


@jax.jit
def age_gyr(redshift: Float[ArrayLike, ""], cosmology: Cosmology = PLANCK15) -> Float[Array, ""]:
    """Age of the universe at `redshift`, Gyr: the integral of da / (a H) from the Big Bang.

    With a = s^2 / (1+z) the integrand is 2 s^2 over a function of order one: nothing diverges at s = 0.
    """
    scale_now = 1.0 / (1.0 + jnp.asarray(redshift))
    scale = scale_now * _UNIT_NODES**2
    integrand = 2.0 * _UNIT_NODES**2 * scale_now**1.5 / _expansion_times_a_three_halves(scale, cosmology)
    return HUBBLE_TIME_GYR / cosmology.h0 * jnp.sum(_UNIT_WEIGHTS * integrand)
