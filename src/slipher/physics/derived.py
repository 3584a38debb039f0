"""What astronomers quote of a galaxy, derived from its parameters: masses, rates, ages, colours, indices, line fluxes.

Everything is per draw and needs no data. Masses and rates are of what the spectrum shows: for a fibre spectrum, of the fibre. Stellar
masses are of living stars, without their remnants (about 0.1 dex less than with them in old galaxies). The metallicity of stars is the
mean by mass formed where a model gives them a history of metallicities. Equivalent widths are of the rest frame, emission positive, over
the stars' and nebulae's continuum in side bands. A model without nebulae leaves all that is of gas undefined: NaN.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..grids.library import Library
from . import galaxy, histories
from .galaxy import GalaxyModel, Ingredients, Values, View
from .sed import Sed

Scalar = Float[Array, ""]


class Line(NamedTuple):
    """A reported line: the library's lines that make it up, and where its continuum is measured, blue and red (vacuum A)."""

    members: tuple[str, ...]
    bands_aa: tuple[tuple[float, float], tuple[float, float]]


# Bands of the MaNGA Data Analysis Pipeline (Westfall et al. 2019; its list ELBMPL8).
_AROUND_HALPHA, _AROUND_SII = ((6483.0, 6513.0), (6623.0, 6653.0)), ((6673.0, 6703.0), (6748.0, 6778.0))
REPORTED_LINES = {
    "halpha": Line(("halpha",), _AROUND_HALPHA),
    "hbeta": Line(("hbeta",), ((4798.9, 4838.9), (4885.6, 4925.6))),
    "oii3727": Line(("oii3726", "oii3729"), ((3696.3, 3716.3), (3738.3, 3758.3))),
    "oiii5007": Line(("oiii5007",), ((4978.2, 4998.2), (5018.2, 5038.2))),
    "nii6583": Line(("nii6583",), _AROUND_HALPHA),
    "sii6716": Line(("sii6716",), _AROUND_SII),
    "sii6731": Line(("sii6731",), _AROUND_SII),
}

# Name: (unit, LaTeX label).
QUANTITIES = {
    "log_mstar_formed": ("log(Msun)", r"\log M_{\rm formed}"),
    "log_mstar": ("log(Msun)", r"\log M_\star"),  # living stars
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
OF_GAS = ("log_zgas", "log_u", "sigma_gas", *(f"{kind}_{name}" for kind in ("flux", "ew") for name in REPORTED_LINES))
OF_GAS_IN_BANDS = tuple(name for name in OF_GAS if name != "sigma_gas" and not name.startswith("ew_"))
FLOOR = 1e-13  # mass fraction below which a rate is reported as this: its logarithm has to be finite


class Derived(NamedTuple):
    """Quantities by name, and the star-formation rate [bin] in Msun/yr over `histories.bin_edges`."""

    quantities: dict[str, Scalar]
    sfr: Float[Array, "bin"]


def stellar(parts: Ingredients, t_universe_gyr: Scalar, log_mass: Scalar, library: Library) -> dict[str, Scalar]:
    """Masses, rates and ages. `log_mass`: log10 of the mass formed, Msun."""
    edges = jnp.minimum(library.age_edges_gyr, t_universe_gyr)
    cumulative = jnp.concatenate([jnp.zeros(1), jnp.cumsum(parts.mass_cells)])
    centres = 0.5 * (edges[1:] + edges[:-1])
    surviving = jnp.sum(parts.stars * library.live_fraction)
    light = jnp.maximum(jnp.sum(parts.stars * library.light_v, 0), 0.0)
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


def rates(model: GalaxyModel, values: Values, t_universe_gyr: Scalar, log_mass: Scalar) -> Float[Array, "bin"]:
    """Mean star-formation rate in Msun/yr in the bins of the non-parametric history, whatever the model's own; 0 in empty bins."""
    edges = histories.bin_edges(t_universe_gyr)
    formed, years = jnp.diff(model.history(values, t_universe_gyr, edges)), jnp.diff(edges) * 1e9
    return jnp.where(years > 0, 10**log_mass * formed / jnp.maximum(years, 1.0), 0.0)


def dn4000(wave_aa: Float[Array, "pixel"], flux: Float[Array, "pixel"]) -> Scalar:
    """Narrow 4000 A break: mean f_nu over 4000-4100 A over that of 3850-3950 A (Balogh et al. 1999; air wavelengths)."""
    f_nu = flux * wave_aa**2

    def band(low: float, high: float) -> Scalar:
        inside = (wave_aa > low * 1.000281) & (wave_aa < high * 1.000281)
        return jnp.sum(jnp.where(inside, f_nu, 0.0)) / jnp.sum(inside)

    return band(4000.0, 4100.0) / band(3850.0, 3950.0)


def beside_lines(wave_aa: Float[Array, "pixel"], flux: Float[Array, "pixel"]) -> Float[Array, "line"]:
    """Continuum at each reported line, from a straight line through the means of its side bands."""

    def mean(low: float, high: float) -> Scalar:
        inside = (wave_aa > low) & (wave_aa < high)
        return jnp.sum(jnp.where(inside, flux, 0.0)) / jnp.sum(inside)

    levels = []
    for line in REPORTED_LINES.values():
        (a, b), (c, d) = line.bands_aa
        blue, red = mean(a, b), mean(c, d)
        share = (0.5 * (b + c) - 0.5 * (a + b)) / (0.5 * (c + d) - 0.5 * (a + b))  # the middle of the gap: lines are within 20 A of it
        levels.append(blue + share * (red - blue))
    return jnp.stack(levels)


class RestBands(NamedTuple):
    """u, g and r in the rest frame: matrix from spectra on a grid to maggies, and the response to the library's lines (if apart)."""

    matrix: Float[Array, "band pixel"]
    lines: Float[Array, "band line"]


def derive_from_sed(
    model: GalaxyModel, values: Values, light: Sed, log_mass: Scalar, flux_scale: Scalar, t_universe_gyr: Scalar, bands: RestBands,
    library: Library,
) -> Derived:  # fmt: skip
    """Derived quantities of one draw of a galaxy seen in bands: what needs no spectrum (no break, no equivalent widths).

    Parameters as for `derive`; `light` is on the broad library's grid, with its ingredients.
    """
    magnitude = -2.5 * jnp.log10(jnp.maximum(bands.matrix @ light.continuum + bands.lines @ light.lines, 1e-30))
    found = _named(model, values, light.parts, log_mass, t_universe_gyr, library)
    found["colour_ug"], found["colour_gr"] = magnitude[0] - magnitude[1], magnitude[1] - magnitude[2]
    luminosity = jnp.asarray(line_sums(library)) @ light.lines
    found |= {f"flux_{name}": flux_scale * luminosity[i] for i, name in enumerate(REPORTED_LINES)}
    return Derived(_of_model(model, found, log_mass, OF_GAS_IN_BANDS), rates(model, values, t_universe_gyr, log_mass))


def _named(model: GalaxyModel, values: Values, parts: Ingredients, log_mass: Scalar, t_universe_gyr: Scalar, library: Library) -> dict:
    """Parameters that are reported as they are, and what the ingredients say."""
    found = {"log_zstar": jnp.log10(parts.metals)} | {name: values[name] for name in QUANTITIES if name in values}
    return found | stellar(parts, t_universe_gyr, log_mass, library)


def _of_model(model: GalaxyModel, found: dict, log_mass: Scalar, undefined: tuple[str, ...]) -> dict:
    """The quantities; for a model without gas, those that are `undefined` besides."""
    return found if model.nebular else found | dict.fromkeys(undefined, jnp.full_like(log_mass, jnp.nan))


def line_sums(library: Library) -> np.ndarray:
    """Which of the library's lines make up each reported one [reported, line]."""
    return np.array([[float(name in line.members) for name in library.line_names] for line in REPORTED_LINES.values()], np.float32)


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
    found = _named(model, values, parts, log_mass, t_universe_gyr, library)
    found["dn4000"] = dn4000(rest.wave_aa, smooth)
    found["colour_ug"], found["colour_gr"] = magnitude[0] - magnitude[1], magnitude[1] - magnitude[2]
    luminosity, beside = jnp.asarray(line_sums(library)) @ line_luminosity, beside_lines(rest.wave_aa, smooth)
    for i, name in enumerate(REPORTED_LINES):
        found[f"flux_{name}"], found[f"ew_{name}"] = flux_scale * luminosity[i], luminosity[i] / beside[i]
    return Derived(_of_model(model, found, log_mass, OF_GAS), rates(model, values, t_universe_gyr, log_mass))
