r"""The shapes of published attenuation and extinction curves.

Where this stands: below `slipher.physics.dust`, which normalises these curves, names them and puts them before stars.
Each function takes rest-frame wavelengths (vacuum angstrom, 912 A and longer) and its shape parameters, and returns an
array proportional to A_lambda.

Published curves come in pieces that do not always meet, and stop where their data did. Here every curve is continuous
and positive, so that gradients exist: pieces are blended over a short range where they disagree (Calzetti at 6300 A,
where they are 0.6 % apart; Cardelli at 9091, 3030 and 1250 A), and power laws continue Calzetti below 1200 A and above
2.2 um with the slope that the curve has there.

What this does not do: the normalisation, and the dependence of a curve on the galaxy (priors on shape parameters).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.interpolate import CubicSpline

V_AA = 5500.0


# Calzetti et al. (2000) and the curves built on it


def calzetti(wave_aa: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
    """Local starbursts: Calzetti et al. (2000, ApJ 533, 682), equation 4, with R_V = 4.05."""
    micron = wave_aa * 1e-4
    inner = jnp.clip(micron, 0.12, 2.2)
    blue = -2.156 + 1.509 / inner - 0.198 / inner**2 + 0.011 / inner**3
    red = -1.857 + 1.040 / inner
    curve = 4.05 + 2.659 * _blend(inner, 0.60, 0.66, blue, red)
    below = (jnp.minimum(micron, 0.12) / 0.12) ** _CALZETTI_SLOPE_012
    beyond = (jnp.maximum(micron, 2.2) / 2.2) ** _CALZETTI_SLOPE_220
    return curve * below * beyond


def _log_slope(value: float, minus_x_derivative: float) -> float:
    """d ln k / d ln lambda of k = 4.05 + 2.659 value, of which -d value / d ln lambda is given."""
    return -2.659 * minus_x_derivative / (4.05 + 2.659 * value)


_X = 1.0 / 0.12
_CALZETTI_SLOPE_012 = _log_slope(-2.156 + 1.509 * _X - 0.198 * _X**2 + 0.011 * _X**3, 1.509 * _X - 2 * 0.198 * _X**2 + 3 * 0.011 * _X**3)
_CALZETTI_SLOPE_220 = _log_slope(-1.857 + 1.040 / 2.2, 1.040 / 2.2)


def noll(wave_aa: Float[Array, "pixel"], slope: Float[ArrayLike, ""], bump: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
    """Calzetti with a bump at 2175 A of amplitude `bump`, tilted by (lambda / 5500 A)^slope.

    Noll et al. (2009, A&A 507, 1793), equations 8 to 10: the tilt applies to the bump as well.
    """
    # exp and log are several times faster than a power of an array
    return (calzetti(wave_aa) + bump * _bump_2175(wave_aa)) * jnp.exp(slope * jnp.log(wave_aa / V_AA))


def kriek_conroy(wave_aa: Float[Array, "pixel"], slope: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
    """Noll's curve with the bump that galaxies of that slope have, 0.85 - 1.9 slope (but not below zero).

    Kriek & Conroy (2013, ApJ 775, L16), equations 1 and 3.
    """
    return noll(wave_aa, slope, jnp.maximum(0.85 - 1.9 * slope, 0.0))


def salim(wave_aa: Float[Array, "pixel"], slope: Float[ArrayLike, ""], bump: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
    """Calzetti, tilted, with a bump that the tilt leaves alone: Salim et al. (2018, ApJ 859, 11), equations 3 to 5."""
    r_v = 4.05 / (5.05 * (4400.0 / V_AA) ** slope - 4.05)
    return calzetti(wave_aa) / 4.05 * (wave_aa / V_AA) ** slope + bump * _bump_2175(wave_aa) / r_v


def _bump_2175(wave_aa: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
    """Drude profile of centre 2175 A and width 350 A, one at its centre (Noll et al. 2009, equation 9)."""
    ratio = (wave_aa**2 - 2175.0**2) / (350.0 * wave_aa)
    return 1.0 / (1.0 + ratio**2)


def power_law(wave_aa: Float[Array, "pixel"], slope: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
    """(lambda / 5500 A)^-slope: Charlot & Fall (2000, ApJ 539, 718), who take 0.7."""
    return jnp.exp(-slope * jnp.log(wave_aa / V_AA))


# Extinction along lines of sight: the Milky Way and the Small Magellanic Cloud


def cardelli(wave_aa: Float[Array, "pixel"], r_v: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
    """Milky Way: Cardelli, Clayton & Mathis (1989, ApJ 345, 245), equations 2 to 5."""
    x = 1e4 / wave_aa
    y = x - 1.82
    infrared = (0.574 - 0.527 / r_v) * x**1.61
    optical = _polynomial(_CARDELLI_OPTICAL_A, y) + _polynomial(_CARDELLI_OPTICAL_B, y) / r_v
    near_uv = (
        1.752 - 0.316 * x - 0.104 / ((x - 4.67) ** 2 + 0.341)
        + (-3.090 + 1.825 * x + 1.206 / ((x - 4.62) ** 2 + 0.263)) / r_v
    )  # fmt: skip
    beyond = jnp.maximum(x - 5.9, 0.0)
    mid_uv = near_uv - 0.04473 * beyond**2 - 0.009779 * beyond**3 + (0.2130 * beyond**2 + 0.1207 * beyond**3) / r_v
    far_uv = _polynomial(_CARDELLI_FAR_A, x - 8.0) + _polynomial(_CARDELLI_FAR_B, x - 8.0) / r_v
    red = _blend(x, 1.0, 1.2, infrared, optical)
    return _blend(x, 7.9, 8.1, _blend(x, 3.2, 3.4, red, mid_uv), far_uv)


_CARDELLI_OPTICAL_A = (1.0, 0.17699, -0.50447, -0.02427, 0.72085, 0.01979, -0.77530, 0.32999)
_CARDELLI_OPTICAL_B = (0.0, 1.41338, 2.28305, 1.07233, -5.38434, -0.62251, 5.30260, -2.09002)
_CARDELLI_FAR_A = (-1.073, -0.628, 0.137, -0.070)
_CARDELLI_FAR_B = (13.670, 4.257, -0.420, 0.374)


def fitzpatrick(wave_aa: Float[Array, "pixel"], r_v: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
    """Milky Way: Fitzpatrick (1999, PASP 111, 63), as A_lambda / E(B-V).

    Section 3 and table 4, with the dependence on R_V of the program that accompanies the paper (fm_unred in the IDL
    Astronomy Library): a formula in the ultraviolet, a spline through anchors in the optical and infrared.
    """
    r_v = jnp.asarray(r_v)
    c2 = -0.824 + 4.717 / r_v
    uv = _Ultraviolet(c1=2.030 - 3.007 * c2, c2=c2, c3=3.23, c4=0.41, x0=4.596, gamma=0.99)
    optical = [_polynomial(c, r_v) for c in _FITZPATRICK_OPTICAL]
    anchors = jnp.stack([0.0 * r_v, 0.26469 * r_v / 3.1, 0.82925 * r_v / 3.1, *optical])
    return _spline_and_ultraviolet(1e4 / wave_aa, _FITZPATRICK_SPLINE, anchors, uv, r_v)


_FITZPATRICK_OPTICAL = (  # powers of R_V, at 6000, 5470, 4670 and 4110 A
    (-4.22809e-01, 1.00270, 2.13572e-04),
    (-5.13540e-02, 1.00216, -7.35778e-05),
    (7.00127e-01, 1.00184, -3.32598e-05),
    (1.19456, 1.01707, -5.46959e-03, 7.97809e-04, -4.45636e-05),
)


def smc(wave_aa: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
    """Bar of the Small Magellanic Cloud: Gordon et al. (2003, ApJ 594, 279), tables 3 and 4, with R_V = 2.74.

    At 1.25 and 2.198 um the values are those of Gordon et al. (2016, ApJ 826, 104, appendix), which make it smooth.
    """
    uv = _Ultraviolet(c1=-4.959, c2=2.264, c3=0.389, c4=0.461, x0=4.6, gamma=1.0)
    anchors = 2.74 * jnp.array([0.0, 0.11, 0.169, 0.25, 0.567, 0.801, 1.0, 1.374, 1.672])
    return _spline_and_ultraviolet(1e4 / wave_aa, _SMC_SPLINE, anchors, uv, jnp.asarray(2.74))


class _Ultraviolet(NamedTuple):
    """E(lambda-V) / E(B-V) in the ultraviolet: Fitzpatrick & Massa (1990, ApJS 72, 163), equation 2."""

    c1: Float[ArrayLike, ""]
    c2: Float[ArrayLike, ""]
    c3: Float[ArrayLike, ""]
    c4: Float[ArrayLike, ""]
    x0: float
    gamma: float

    def __call__(self, x: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
        drude = x**2 / ((x**2 - self.x0**2) ** 2 + (self.gamma * x) ** 2)
        beyond = jnp.maximum(x - 5.9, 0.0)
        return self.c1 + self.c2 * x + self.c3 * drude + self.c4 * (0.5392 * beyond**2 + 0.05644 * beyond**3)


class _Spline(NamedTuple):
    """Natural cubic spline through fixed abscissae, as the linear map from ordinates to second derivatives."""

    x: Float[np.ndarray, "anchor"]
    second_derivative: Float[np.ndarray, "anchor anchor"]

    @classmethod
    def through(cls, x: list[float]) -> "_Spline":
        return cls(np.array(x), CubicSpline(x, np.eye(len(x)), bc_type="natural")(x, 2))

    def __call__(self, x: Float[Array, "pixel"], y: Float[Array, "anchor"]) -> Float[Array, "pixel"]:
        """Value at x of the spline through the ordinates y; x is held within the abscissae."""
        knots = jnp.asarray(self.x, x.dtype)
        curvature = jnp.sum(jnp.asarray(self.second_derivative, x.dtype) * y, axis=1)
        x = jnp.clip(x, knots[0], knots[-1])
        right = jnp.clip(jnp.searchsorted(knots, x), 1, len(knots) - 1)
        width = knots[right] - knots[right - 1]
        b = (x - knots[right - 1]) / width
        a = 1.0 - b
        bend = (a**3 - a) * curvature[right - 1] + (b**3 - b) * curvature[right]
        return a * y[right - 1] + b * y[right] + bend * width**2 / 6.0


_ULTRAVIOLET_ANCHORS = np.array([1 / 0.27, 1 / 0.26])
_FITZPATRICK_SPLINE = _Spline.through([0.0, 1 / 2.65, 1 / 1.22, 1 / 0.6, 1 / 0.547, 1 / 0.467, 1 / 0.411, *_ULTRAVIOLET_ANCHORS])
_SMC_SPLINE = _Spline.through([0.0, 1 / 2.198, 1 / 1.65, 1 / 1.25, 1 / 0.81, 1 / 0.65, 1 / 0.55, 1 / 0.44, 1 / 0.37, *_ULTRAVIOLET_ANCHORS])


def _spline_and_ultraviolet(
    x: Float[Array, "pixel"],
    spline: _Spline,
    anchors: Float[Array, "redder"],
    uv: _Ultraviolet,
    r_v: Float[Array, ""],
) -> Float[Array, "pixel"]:
    """A_lambda / E(B-V): the ultraviolet formula below 2700 A, else a spline that joins it (Fitzpatrick 1999)."""
    ordinates = jnp.concatenate([anchors, uv(jnp.asarray(_ULTRAVIOLET_ANCHORS, x.dtype)) + r_v])
    return jnp.where(x > float(_ULTRAVIOLET_ANCHORS[0]), uv(x) + r_v, spline(x, ordinates))


# Shared by the curves


def _polynomial(coefficients: tuple[float, ...], x: Float[Array, "*pixel"]) -> Float[Array, "*pixel"]:
    """Sum of coefficients[i] x^i."""
    return jnp.polyval(jnp.array(coefficients[::-1]), x)


def _blend(
    x: Float[Array, "pixel"],
    start: float,
    stop: float,
    before: Float[Array, "pixel"],
    after: Float[Array, "pixel"],
) -> Float[Array, "pixel"]:
    """`before` up to start, `after` from stop on, and a smooth step from one to the other in between."""
    t = jnp.clip((x - start) / (stop - start), 0.0, 1.0)
    weight = t * t * (3.0 - 2.0 * t)
    return (1.0 - weight) * before + weight * after
