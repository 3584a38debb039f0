"""What astronomers quote of a galaxy, derived from its parameters: masses, rates, ages, colours, indices, line fluxes.

Everything is per draw and needs no data. Masses and rates are of what the spectrum shows: for a fibre spectrum, of the fibre.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..grids.library import Library
from . import galaxy, histories
from .galaxy import GalaxyModel, Ingredients, Values, View

Scalar = Float[Array, ""]

# Lines whose fluxes and equivalent widths are reported, with the library's lines that make them up.
REPORTED_LINES = {
    "halpha": ("halpha",),
    "hbeta": ("hbeta",),
    "oii3727": ("oii3726", "oii3729"),
    "oiii5007": ("oiii5007",),
    "nii6583": ("nii6583",),
    "sii6716": ("sii6716",),
    "sii6731": ("sii6731",),
}

# Name: (unit, LaTeX label).
QUANTITIES = {
    "log_mstar_formed": ("log(Msun)", r"\log M_{\rm formed}"),
    "log_mstar": ("log(Msun)", r"\log M_\star"),
    "log_sfr_10myr": ("log(Msun / yr)", r"\log {\rm SFR}_{10}"),
    "log_sfr_100myr": ("log(Msun / yr)", r"\log {\rm SFR}_{100}"),
    "log_ssfr_100myr": ("log(1 / yr)", r"\log {\rm sSFR}_{100}"),
    "age_mw_gyr": ("Gyr", r"t_{\rm mass}"),
    "age_lw_gyr": ("Gyr", r"t_{\rm light}"),
    "t50_gyr": ("Gyr", r"t_{50}"),
    "log_zstar": ("log(Zsun)", r"\log Z_\star"),
    "log_zgas": ("log(Zsun)", r"\log Z_{\rm gas}"),
    "log_u": ("dex", r"\log U"),
    "a_v": ("mag", r"A_V"),
    "tau_bc": ("", r"\tau_{\rm bc}"),
    "dust_slope": ("", r"\delta"),
    "sigma_star": ("km / s", r"\sigma_\star"),
    "sigma_gas": ("km / s", r"\sigma_{\rm gas}"),
    "dn4000": ("", r"D_n(4000)"),
    "colour_ug": ("mag", r"(u-g)_0"),
    "colour_gr": ("mag", r"(g-r)_0"),
    **{f"flux_{name}": ("1e-17 erg / (s cm2)", rf"F_{{\rm {name}}}") for name in REPORTED_LINES},
    **{f"ew_{name}": ("Angstrom", rf"{{\rm EW}}_{{\rm {name}}}") for name in REPORTED_LINES},
}
FLOOR = 1e-13  # mass fraction below which a rate is reported as this: its logarithm has to be finite


class Derived(NamedTuple):
    """Quantities by name, and the star-formation rate [bin] in Msun/yr over `histories.bin_edges`."""

    quantities: dict[str, Scalar]
    sfr: Float[Array, "bin"]


def stellar(values: Values, parts: Ingredients, log_mass: Scalar, library: Library) -> dict[str, Scalar]:
    """Masses, rates and ages. `log_mass`: log10 of the mass formed, Msun."""
    edges = library.age_edges_gyr
    cumulative = jnp.concatenate([jnp.zeros(1), jnp.cumsum(parts.mass_cells)])
    centres = 0.5 * (edges[1:] + edges[:-1])
    surviving = jnp.einsum("c,z,zc->", parts.mass_cells, parts.z_weights, library.live_fraction)
    light = parts.mass_cells * jnp.maximum(parts.z_weights @ library.light_v, 0.0)
    recent = jnp.interp(jnp.array([0.01, 0.1]), edges, cumulative)
    log_mstar = log_mass + jnp.log10(surviving)
    log_sfr = log_mass + jnp.log10(jnp.maximum(recent, FLOOR) / jnp.array([1e7, 1e8]))
    return {
        "log_mstar_formed": log_mass,
        "log_mstar": log_mstar,
        "log_sfr_10myr": log_sfr[0],
        "log_sfr_100myr": log_sfr[1],
        "log_ssfr_100myr": log_sfr[1] - log_mstar,
        "age_mw_gyr": parts.mass_cells @ centres,
        "age_lw_gyr": (light @ centres) / jnp.sum(light),
        "t50_gyr": jnp.interp(0.5, cumulative + 1e-7 * jnp.arange(len(edges)), edges),
    }


def rates(parts: Ingredients, t_universe_gyr: Scalar, log_mass: Scalar, library: Library) -> Float[Array, "bin"]:
    """Star-formation rate in Msun/yr in the bins of the non-parametric history."""
    cumulative = jnp.concatenate([jnp.zeros(1), jnp.cumsum(parts.mass_cells)])
    edges = histories.bin_edges(t_universe_gyr)
    formed = jnp.diff(jnp.interp(edges, library.age_edges_gyr, cumulative))
    return 10**log_mass * formed / (jnp.diff(edges) * 1e9)


def dn4000(wave_aa: Float[Array, "pixel"], flux: Float[Array, "pixel"]) -> Scalar:
    """Narrow 4000 A break: mean f_nu over 4000-4100 A over that of 3850-3950 A (Balogh et al. 1999; air wavelengths)."""
    f_nu = flux * wave_aa**2

    def band(low: float, high: float) -> Scalar:
        inside = (wave_aa > low * 1.000281) & (wave_aa < high * 1.000281)
        return jnp.sum(jnp.where(inside, f_nu, 0.0)) / jnp.sum(inside)

    return band(4000.0, 4100.0) / band(3850.0, 3950.0)


def derive(
    model: GalaxyModel, values: Values, log_mass: Scalar, flux_scale: Scalar, line_luminosity: Float[Array, "line"],
    t_universe_gyr: Scalar, rest: View, bands: Float[Array, "band pixel"], library: Library,
) -> Derived:  # fmt: skip
    """All derived quantities of one draw.

    Parameters
    ----------
    values
        Parameters by name, complete.
    flux_scale
        1e-17 erg/s/cm2 per Lsun/Msun: what turns `line_luminosity` (after dust, per Msun formed) into observed fluxes.
    rest
        View of the rest frame at about 1 A, 2950 - 8000 A.
    bands
        Matrix from spectra on it to maggies in u, g, r.
    """
    parts = galaxy.ingredients(model, values, t_universe_gyr, library)
    smooth = galaxy.continuum(model, values, parts, rest, library)
    windows = galaxy.line_windows(rest, library.line_wave_aa, values["sigma_gas"])
    whole = smooth + galaxy.spread_lines(rest, jnp.maximum(line_luminosity, 0.0)[:, None] * windows)
    magnitude = -2.5 * jnp.log10(jnp.maximum(bands @ whole, 1e-30))
    found = stellar(values, parts, log_mass, library)
    found.update({name: values[name] for name in QUANTITIES if name in values and name not in found})
    found["dn4000"] = dn4000(rest.wave_aa, smooth)
    found["colour_ug"], found["colour_gr"] = magnitude[0] - magnitude[1], magnitude[1] - magnitude[2]
    members = [[library.line_names.index(member) for member in lines] for lines in REPORTED_LINES.values()]
    sums = np.array([[float(i in of) for i in range(len(library.line_names))] for of in members], np.float32)
    luminosity = jnp.asarray(sums) @ line_luminosity
    beside = jnp.interp(library.line_wave_aa[np.array([of[0] for of in members])], rest.wave_aa, smooth)
    for i, name in enumerate(REPORTED_LINES):
        found[f"flux_{name}"], found[f"ew_{name}"] = flux_scale * luminosity[i], luminosity[i] / beside[i]
    return Derived(found, rates(parts, t_universe_gyr, log_mass, library))
