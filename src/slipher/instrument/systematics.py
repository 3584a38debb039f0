"""What neither galaxies' parameters nor photons explain: the error model, the same in the simulator and in the likelihood.

Real residuals of stellar-population fits are correlated and larger in the near ultraviolet, and emission lines scatter about any grid of
photoionisation models. Each cause is a set of templates with standard normal coefficients, so that all of it is marginalised
analytically as a low-rank covariance:

- calibration: Legendre polynomials over the observed range, times the spectrum;
- template mismatch: cubic B-splines of 0.03 in ln(wavelength) (150 A at 5000 A), times the spectrum;
- lines: each group (one element, one ionisation zone) scatters about Cloudy by a fraction of its flux and by an equivalent width
  (ionisation by old stars, shocks, active nuclei); a velocity offset of the gas; broad Balmer lines; interstellar Na D;
- a small independent floor, a fraction of the continuum and a larger one of lines (their profiles are not Gaussian).

Amplitudes as functions of rest wavelength are facts of `Systematics`, part of a model's card. They were chosen by hand after an earlier
experiment's residuals of SDSS spectra; `benchmarks/real_spectra.py` checks them only as a whole, by chi^2 per pixel.
"""

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..grids.library import Library
from ..physics.galaxy import View
from ..physics.kinematics import line_profile
from ..units import C_KMS

SPLINE_STEP = 0.03
SPLINE_CENTRES = np.arange(np.log(2390.0), np.log(10500.0) + 2 * SPLINE_STEP, SPLINE_STEP)
N_CALIBRATION, N_MISMATCH = 3, len(SPLINE_CENTRES)
_MEAN_SQUARE = 151.0 / 315.0  # of a sum of squares of unit-spaced cubic B-splines


@dataclass(frozen=True, eq=False)
class Systematics:
    """Amplitudes of the error model; the knots of `mismatch` and `floor` are at rest wavelengths `knots_aa`."""

    calibration: float = 0.03
    knots_aa: tuple[float, ...] = (3000.0, 3800.0, 4200.0, 7000.0, 8000.0, 9000.0)
    mismatch: tuple[float, ...] = (0.04, 0.03, 0.015, 0.015, 0.02, 0.03)
    floor: tuple[float, ...] = (0.03, 0.02, 0.008, 0.008, 0.012, 0.02)
    line_floor: float = 0.03
    line_scatter: dict[str, float] = field(
        default_factory=lambda: {
            "hydrogen": 0.10, "helium": 0.2, "oi": 0.4, "oii": 0.3, "oiii": 0.3, "nii": 0.3, "sii": 0.3, "siii": 0.3,
            "neiii": 0.3, "mgii": 0.5, "other": 0.4,
        }
    )  # fmt: skip
    line_ew_aa: dict[str, float] = field(
        default_factory=lambda: {
            "hydrogen": 1.0, "helium": 0.3, "oi": 1.0, "oii": 4.0, "oiii": 4.0, "nii": 3.0, "sii": 2.0, "siii": 1.0,
            "neiii": 1.0, "mgii": 4.0, "other": 0.3,
        }
    )  # fmt: skip
    velocity_kms: float = 20.0
    broad_ew_aa: float = 2.0
    broad_sigma_kms: float = 1200.0
    sodium_ew_aa: float = 0.3

    def mismatch_at(self, wave_aa: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
        """Fractional amplitude of template mismatch at rest wavelengths."""
        return jnp.interp(wave_aa, jnp.asarray(self.knots_aa), jnp.asarray(self.mismatch))

    def floor_at(self, wave_aa: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
        """Fractional independent error of the continuum at rest wavelengths."""
        return jnp.interp(wave_aa, jnp.asarray(self.knots_aa), jnp.asarray(self.floor))


def groups_of(library: Library) -> tuple[str, ...]:
    """The line groups, in order."""
    return tuple(dict.fromkeys(library.line_groups))


def group_matrix(library: Library) -> np.ndarray:
    """Membership [group, line] of lines in groups, 0 or 1."""
    return np.array([[float(g == of) for of in library.line_groups] for g in groups_of(library)], np.float32)


def group_amplitudes(systematics: Systematics, library: Library) -> tuple[np.ndarray, np.ndarray]:
    """Fractional scatter [group] and additional equivalent width [group] in A of each line group."""
    groups = groups_of(library)
    return (
        np.array([systematics.line_scatter[g] for g in groups], np.float32),
        np.array([systematics.line_ew_aa[g] for g in groups], np.float32),
    )


def calibration_templates(
    systematics: Systematics, wave_aa: Float[Array, "pixel"], covered: Float[Array, "pixel"]
) -> Float[Array, "pixel calibration"]:
    """Fractional templates of calibration, in units of their standard deviation: Legendre polynomials of order 1 to 3.

    They span the pixels where `covered` is positive, those where the instrument recorded something.
    """
    log_wave = jnp.log(wave_aa)
    low = jnp.min(jnp.where(covered > 0, log_wave, jnp.inf))
    high = jnp.max(jnp.where(covered > 0, log_wave, -jnp.inf))
    x = jnp.clip(2.0 * (log_wave - low) / (high - low) - 1.0, -1.0, 1.0)
    return systematics.calibration * jnp.stack([x, 0.5 * (3 * x**2 - 1), 0.5 * (5 * x**3 - 3 * x)], -1)


def mismatch_templates(systematics: Systematics, wave_aa: Float[Array, "pixel"]) -> Float[Array, "pixel spline"]:
    """Fractional templates of mismatch between library and galaxies, in units of their standard deviation: B-splines."""
    x = (jnp.log(wave_aa)[:, None] - jnp.asarray(SPLINE_CENTRES, jnp.float32)) / SPLINE_STEP
    return systematics.mismatch_at(wave_aa)[:, None] * _bspline(x) / np.sqrt(_MEAN_SQUARE)


def _bspline(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Cardinal cubic B-spline, support [-2, 2]."""
    a = jnp.abs(x)
    return jnp.where(a < 1, 2 / 3 - a**2 + a**3 / 2, jnp.where(a < 2, (2 - a) ** 3 / 6, 0.0))


def broad_template(view: View, systematics: Systematics) -> Float[Array, "pixel"]:
    """Broad H alpha and H beta (3:1) of unit equivalent-width amplitude, 1/A."""
    sigma = jnp.asarray(systematics.broad_sigma_kms)
    return 0.75 * line_profile(view.wave_aa, view.width_kms, jnp.asarray(6564.6), sigma) + 0.25 * line_profile(
        view.wave_aa, view.width_kms, jnp.asarray(4862.7), sigma
    )


def sodium_template(view: View) -> Float[Array, "pixel"]:
    """Interstellar Na D (5891.6, 5897.6 A, vacuum) of unit equivalent width, 1/A."""
    return 0.6 * line_profile(view.wave_aa, view.width_kms, jnp.asarray(5891.58), jnp.asarray(110.0)) + 0.4 * line_profile(
        view.wave_aa, view.width_kms, jnp.asarray(5897.56), jnp.asarray(110.0)
    )


def velocity_derivative(flux: Float[Array, "pixel"], wave_aa: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
    """Change of a spectrum for +1 km/s, central differences in ln(wavelength)."""
    return -jnp.gradient(flux) / jnp.gradient(jnp.log(wave_aa)) / C_KMS
