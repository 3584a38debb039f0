r"""Dust: attenuation curves by name, the screens in front of a galaxy's stars, and the Milky Way's foreground.

Where this stands: between the stars and nebulae, which it dims, and the redshift. A curve is k(lambda) = A_lambda/A_V,
normalised to one at 5500 A; light passes through a screen as 10^(-0.4 A_V k). Wavelengths are vacuum angstrom in the
rest frame (in the observed frame for the foreground). Curves are positive and continuous over 912 A to 5 um and beyond;
below 912 A, where nothing is observed, a curve keeps its value at 912 A.

To add a curve, write a function of (wave_aa, named shape parameters) that is proportional to A_lambda, wrap it in a
`Curve` and register it in `ATTENUATION_CURVES`; the laws in tests/laws/test_attenuation_laws.py then judge it.

What this does not do: emission by dust, scattering, and geometries other than screens.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..errors import InputError
from . import dust_curves as curves
from .dust_curves import V_AA

SHORTEST_AA = 912.0


@dataclass(frozen=True, eq=False)  # jax.jit needs a callable that can be hashed and weakly referenced
class Curve:
    """An attenuation curve: a function proportional to A_lambda, its shape parameters and where it was published."""

    function: Callable[..., Float[Array, "pixel"]]
    shape: Mapping[str, float]
    """Default of each shape parameter, by name."""
    reference: str

    def __call__(self, wave_aa: Float[Array, "pixel"], **shape: Float[ArrayLike, ""]) -> Float[Array, "pixel"]:
        """k(lambda) = A_lambda / A_V at the wavelengths (A) and the shape parameters given, one at 5500 A."""
        shape = {**self.shape, **shape}
        at_v = self.function(jnp.array([V_AA], wave_aa.dtype), **shape)
        return self.function(jnp.maximum(wave_aa, SHORTEST_AA), **shape) / at_v


calzetti = Curve(curves.calzetti, {}, "Calzetti et al. 2000, ApJ 533, 682")
power_law = Curve(curves.power_law, {"slope": 0.7}, "Charlot & Fall 2000, ApJ 539, 718")
kriek_conroy = Curve(curves.kriek_conroy, {"slope": 0.0}, "Kriek & Conroy 2013, ApJ 775, L16")
noll = Curve(curves.noll, {"slope": 0.0, "bump": 0.0}, "Noll et al. 2009, A&A 507, 1793")
salim = Curve(curves.salim, {"slope": 0.0, "bump": 0.0}, "Salim et al. 2018, ApJ 859, 11")
smc = Curve(curves.smc, {}, "Gordon et al. 2003, ApJ 594, 279")
cardelli = Curve(curves.cardelli, {"r_v": 3.1}, "Cardelli et al. 1989, ApJ 345, 245")
fitzpatrick = Curve(curves.fitzpatrick, {"r_v": 3.1}, "Fitzpatrick 1999, PASP 111, 63")

ATTENUATION_CURVES: dict[str, Curve] = {
    "calzetti": calzetti,
    "power_law": power_law,
    "kriek_conroy": kriek_conroy,
    "noll": noll,
    "salim": salim,
    "smc": smc,
    "cardelli": cardelli,
    "fitzpatrick": fitzpatrick,
}


def attenuation_curve(name: str) -> Curve:
    """The curve of that name in `ATTENUATION_CURVES`.

    Raises
    ------
    InputError
        If there is none; the names that come close are listed.
    """
    if name not in ATTENUATION_CURVES:
        close = difflib.get_close_matches(name, ATTENUATION_CURVES, cutoff=0.5)
        mend = f"Did you mean {' or '.join(close)}?" if close else "Choose one of those."
        raise InputError(f"attenuation curve {name!r}", expected=f"one of {', '.join(ATTENUATION_CURVES)}", mend=mend)
    return ATTENUATION_CURVES[name]


def transmission(
    wave_aa: Float[Array, "pixel"],
    a_v: Float[ArrayLike, ""],
    curve: str = "calzetti",
    **shape: Float[ArrayLike, ""],
) -> Float[Array, "pixel"]:
    """Fraction of light that passes a screen of `a_v` magnitudes at 5500 A: 10^(-0.4 a_v k(lambda))."""
    return _through(a_v, attenuation_curve(curve)(wave_aa, **shape))


def _through(a_v: Float[ArrayLike, ""], k: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
    return jnp.exp(-0.4 * np.log(10.0) * a_v * k)


class TwoComponent(NamedTuple):
    """Transmission towards stars inside their birth clouds, and towards all others."""

    young: Float[Array, "pixel"]
    old: Float[Array, "pixel"]


def two_component(
    wave_aa: Float[Array, "pixel"],
    a_v: Float[ArrayLike, ""],
    tau_bc: Float[ArrayLike, ""],
    *,
    diffuse: str = "kriek_conroy",
    diffuse_shape: Mapping[str, Float[ArrayLike, ""]] | None = None,
    birth_cloud: str | None = "power_law",
    birth_cloud_shape: Mapping[str, Float[ArrayLike, ""]] | None = None,
) -> TwoComponent:
    """Dust around young stars and in front of all of them: Charlot & Fall (2000, ApJ 539, 718), section 2.

    Young stars and their nebulae shine through both components, old stars through the diffuse one alone.

    Parameters
    ----------
    wave_aa
        Rest-frame wavelengths, vacuum angstrom.
    a_v
        Attenuation at 5500 A of the diffuse component, magnitudes.
    tau_bc
        Optical depth at 5500 A of the birth clouds.
    diffuse, diffuse_shape
        Name of the diffuse component's curve, and its shape parameters where they differ from the defaults.
    birth_cloud, birth_cloud_shape
        The same of the birth clouds. By default (lambda / 5500 A)^-1; None takes the diffuse component's law and shape.
    """
    k_diffuse = attenuation_curve(diffuse)(wave_aa, **(diffuse_shape or {}))
    if birth_cloud is None:
        k_birth = k_diffuse
    else:
        default = {"slope": 1.0} if birth_cloud == "power_law" else {}
        k_birth = attenuation_curve(birth_cloud)(wave_aa, **(default | dict(birth_cloud_shape or {})))
    old = _through(a_v, k_diffuse)
    return TwoComponent(young=old * jnp.exp(-tau_bc * k_birth), old=old)


SFD_TO_1UM = 1.029  # A(1 um) / E(B-V) of the SFD map: 0.78 x 1.32, of Schlafly & Finkbeiner (2011)


def foreground_transmission(
    wave_obs_aa: Float[Array, "pixel"], ebv: Float[ArrayLike, ""], r_v: Float[ArrayLike, ""] = 3.1
) -> Float[Array, "pixel"]:
    """Fraction of light that passes the dust of the Milky Way, by the curve of Fitzpatrick (1999).

    Parameters
    ----------
    wave_obs_aa
        Observed wavelengths, vacuum angstrom.
    ebv
        E(B-V) as it stands in the map of Schlegel, Finkbeiner & Davis (1998) and as surveys list it: *without* the
        recalibration of Schlafly & Finkbeiner (2011, ApJ 737, 103), which is applied here. It is applied to
        monochromatic extinction, A(1 um) = 1.029 E(B-V), which reproduces their table 6; the factor of 0.86 on
        E(B-V) that is quoted from their abstract is the same correction in broad bands. A colour excess on a true
        scale (of a star, say) has to be divided by 0.88 first: 1.029 over the curve's own A(1 um) / E(B-V).
    r_v
        Ratio of total to selective extinction; the extinction at 1 um does not depend on it.
    """
    at_1um = fitzpatrick(jnp.array([1e4], wave_obs_aa.dtype), r_v=r_v)
    return _through(ebv, SFD_TO_1UM * fitzpatrick(wave_obs_aa, r_v=r_v) / at_1um)
