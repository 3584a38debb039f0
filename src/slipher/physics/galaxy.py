"""A galaxy: from named parameters to its rest-frame light.

    parameters --history--> mass in (age, metallicity) cells --library--> ingredients --dust, motions--> spectrum

The *ingredients* (weights of the library's basis spectra, line luminosities) do not know about wavelengths; a *view* is the library
as some set of pixels sees it (`slipher.instrument.spectrograph` makes them: a rest-frame grid, a survey's pixels). The same few lines
therefore render a theorist's spectrum and the expected data of any instrument. Pure functions of one galaxy; luminosities in Lsun
(per A) per Msun formed.

No dust emission, no AGN continuum: the optical and near ultraviolet of galaxies.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..grids.library import Library, dispersion_coordinate
from . import dust, histories, kinematics, metallicities, provabgs
from .interpolation import cubic_weights, lagrange_weights
from .parameters import Parameter, TruncatedNormal, TruncatedStudent2, Uniform

Scalar = Float[Array, ""]
Values = dict[str, Array]


class View(eqx.Module):
    """The library as seen at a set of pixels, whatever the instrument.

    `old` and `young` are the basis spectra at the library's dispersion nodes, the instrument's line-spread function included.
    `line_pixels` are the pixels around each line, `line_lsf_kms` the instrument's sigma there. `resolution` is a banded matrix
    (`apply_bands`) that is still to be applied to emission lines.
    """

    wave_aa: Float[Array, "pixel"]
    width_kms: Float[Array, "pixel"]
    old: Float[Array, "pixel node rank_old"]
    young: Float[Array, "pixel node rank_young"]
    nebular: Float[Array, "pixel rank_nebular"]
    line_pixels: Int[Array, "line window"]
    line_lsf_kms: Float[Array, "line"]
    resolution: Float[Array, "offset pixel"] | None = None


class Ingredients(NamedTuple):
    """What a galaxy is made of, per Msun formed, before dust and motions."""

    mass_cells: Float[Array, "cell"]
    stars: Float[Array, "metallicity cell"]  # mass at the library's metallicities
    metals: Float[Array, ""]  # mean metallicity by mass, Z/Zsun
    old: Float[Array, "rank_old"]
    young: Float[Array, "rank_young"]
    nebular: Float[Array, "rank_nebular"]
    lines: Float[Array, "line"]


@dataclass(frozen=True, eq=False)  # hashed by identity: a static argument of jit
class GalaxyModel:
    """A preset: which history and dust, which parameters are free with which priors, which are fixed or tied to another.

    `metallicity` gives log10 Z/Zsun of the stars by age (`slipher.physics.metallicities`). Without `nebular` there are neither emission
    lines nor the continuum of nebulae, and no parameters of gas.
    """

    name: str
    parameters: tuple[Parameter, ...]
    history: Callable[[Values, Scalar, Float[Array, "edge"]], Float[Array, "edge"]]
    diffuse_curve: str
    diffuse_shape: dict[str, str] = field(default_factory=dict)  # the curve's shape parameter: the model's parameter
    fixed: dict[str, float] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    metallicity: Callable[[Values, Scalar, Float[Array, "edge"]], Float[Array, "#cell"]] = metallicities.constant
    nebular: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters, in the order of u-space."""
        return tuple(p.name for p in self.parameters)

    def complete(self, values: Values) -> Values:
        """The free values with the fixed and tied ones beside them."""
        full = {**{k: jnp.asarray(v) for k, v in self.fixed.items()}, **values}
        return {**full, **{k: full[source] for k, source in self.tied.items()}}


def ingredients(model: GalaxyModel, values: Values, t_universe_gyr: Scalar, library: Library) -> Ingredients:
    """What the galaxy is made of, per Msun formed.

    Parameters
    ----------
    values
        All parameters by name (`GalaxyModel.complete`).
    t_universe_gyr
        Age of the universe at the galaxy's redshift.
    """
    cumulative = model.history(values, t_universe_gyr, library.age_edges_gyr)
    mass = jnp.diff(cumulative)
    log_z = model.metallicity(values, t_universe_gyr, library.age_edges_gyr).clip(library.log_z[0], library.log_z[-1])
    z_star = jax.vmap(cubic_weights, (0, None), 1)(log_z, library.log_z)
    stars = z_star * mass
    n = library.n_young
    lines, continuum = jnp.zeros_like(library.line_wave_aa), jnp.zeros(library.nebular_weights.shape[-1])
    if model.nebular:
        lines, continuum = nebular_emission(mass[:n], z_star[:, :n], values["log_zgas"], values["log_u"], library)
    return Ingredients(
        mass_cells=mass,
        stars=stars,
        metals=jnp.sum(mass * 10**log_z),
        old=_summed(library.old_weights, stars[:, n:]),
        young=_summed(library.young_weights, stars[:, :n]),
        nebular=continuum,
        lines=lines,
    )


def nebular_emission(
    mass_young: Float[Array, "cell_young"],
    z_star: Float[Array, "metallicity #cell_young"],
    log_zgas: Scalar,
    log_u: Scalar,
    library: Library,
) -> tuple[Float[Array, "line"], Float[Array, "rank_nebular"]]:
    """Line luminosities in Lsun and weights of the nebular continuum, per Msun formed in total.

    The stars' metallicity sets the ionising photons (through H beta), the gas' metallicity and ionisation parameter the rest. `z_star`:
    weights of the library's metallicities, cell by cell or for all cells.
    """
    w_z, w_u = cubic_weights(log_zgas, library.log_z), cubic_weights(log_u, library.log_u)
    hbeta = mass_young * 10 ** jnp.sum(z_star * jnp.einsum("zuc,u->zc", library.log_hbeta, w_u), 0)
    gas = jnp.outer(w_z, w_u)
    return hbeta @ 10 ** _summed(library.log_line_ratio, gas), hbeta @ _summed(library.nebular_weights, gas)


def _summed(table: Float[Array, "a b *rest"], weights: Float[Array, "a b"]) -> Float[Array, "*rest"]:
    """A table summed over its first two axes with weights: one product of matrices in a batch."""
    return (weights.ravel() @ table.reshape(weights.size, -1)).reshape(table.shape[2:])


def attenuation(model: GalaxyModel, values: Values, wave_aa: Float[Array, "pixel"]) -> dust.TwoComponent:
    """Transmission of dust for stars under 10 Myr and their nebulae (`young`) and for all others (`old`): Charlot & Fall (2000).

    The birth clouds' optical depth `tau_bc` (at 5500 A) falls as 1/wavelength; the diffuse `a_v` follows the model's curve.
    """
    shape = {name: values[parameter] for name, parameter in model.diffuse_shape.items()}
    return dust.two_component(wave_aa, values["a_v"], values["tau_bc"], diffuse=model.diffuse_curve, diffuse_shape=shape)


def continuum(model: GalaxyModel, values: Values, parts: Ingredients, view: View, library: Library) -> Float[Array, "pixel"]:
    """Stars and nebular continuum through dust at the view's pixels, Lsun/A per Msun formed."""
    weights = lagrange_weights(dispersion_coordinate(values["sigma_star"]), dispersion_coordinate(library.sigma_nodes_kms))
    old = _at_dispersion(weights, parts.old, view.old)
    young = _at_dispersion(weights, parts.young, view.young) + parts.nebular @ view.nebular.T
    dust_in_front = attenuation(model, values, view.wave_aa)
    return dust_in_front.old * old + dust_in_front.young * young


def _at_dispersion(
    weights: Float[Array, "node"], coefficients: Float[Array, "rank"], table: Float[Array, "pixel node rank"]
) -> Float[Array, "pixel"]:
    """Sum of basis spectra between the dispersion nodes.

    Coefficients come first: over a batch of galaxies this is then one matrix product that leaves pixels last, as the
    dust needs them, and twice as fast as the product that has to be transposed.
    """
    return (weights[:, None] * coefficients).ravel() @ table.reshape(table.shape[0], -1).T


def line_luminosities(model: GalaxyModel, values: Values, parts: Ingredients, library: Library) -> Float[Array, "line"]:
    """Luminosities of the emission lines after dust, Lsun per Msun formed."""
    return attenuation(model, values, library.line_wave_aa).young * parts.lines


def line_windows(view: View, centre_aa: Float[Array, "line"], sigma_kms: Scalar) -> Float[Array, "line window"]:
    """Profiles (1/A) of unit lines at the pixels `view.line_pixels`, before the view's resolution matrix."""
    width = jnp.sqrt(sigma_kms**2 + view.line_lsf_kms**2)[:, None]
    at = view.line_pixels
    return kinematics.line_profile(view.wave_aa[at], view.width_kms[at], centre_aa[:, None], width)


def spread_lines(view: View, windows: Float[Array, "line window"]) -> Float[Array, "pixel"]:
    """Sum of line windows on the view's pixels, through its resolution matrix if it has one."""
    total = jnp.zeros_like(view.wave_aa).at[view.line_pixels].add(windows)
    return total if view.resolution is None else apply_bands(view.resolution, total)


def spread_groups(view: View, windows: Float[Array, "line window"], group: Int[Array, "line"], n_group: int) -> Float[Array, "group pixel"]:
    """Line windows on the view's pixels as `spread_lines` has them, each group of lines by itself."""
    total = jnp.zeros((n_group, len(view.wave_aa))).at[group[:, None], view.line_pixels].add(windows)
    return total if view.resolution is None else jax.vmap(apply_bands, (None, 0))(view.resolution, total)


def apply_bands(bands: Float[Array, "offset pixel"], flux: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
    """Banded matrix times spectrum; row o of `bands` multiplies the pixel at i + o - n, zero beyond the ends."""
    n = bands.shape[0] // 2
    padded = jnp.pad(flux, n)
    return sum(bands[o] * padded[o : o + flux.shape[0]] for o in range(bands.shape[0]))


def spectrum(model: GalaxyModel, values: Values, t_universe_gyr: Scalar, view: View, library: Library) -> Float[Array, "pixel"]:
    """The whole spectrum at the view's pixels, Lsun/A per Msun formed."""
    values = model.complete(values)
    parts = ingredients(model, values, t_universe_gyr, library)
    lines = line_luminosities(model, values, parts, library)[:, None] * line_windows(view, library.line_wave_aa, values["sigma_gas"])
    return continuum(model, values, parts, view, library) + spread_lines(view, lines)


# --- presets -----------------------------------------------------------------------------------------------------------------


def _continuity_burst(values: Values, t_universe_gyr: Scalar, age_gyr: Float[Array, "edge"]) -> Float[Array, "edge"]:
    ratios = jnp.stack([values[f"log_sfr_ratio_{i}"] for i in range(1, histories.N_BINS)])
    return histories.continuity_burst(
        age_gyr,
        t_universe_gyr,
        log_sfr_ratios=ratios,
        log_f_burst=values["log_f_burst"],
        log_t_burst=values["log_t_burst"],
    )


def _delayed_tau(values: Values, t_universe_gyr: Scalar, age_gyr: Float[Array, "edge"]) -> Float[Array, "edge"]:
    return histories.delayed_tau(age_gyr, t_universe_gyr, age_start_gyr=values["age_start_gyr"], log_tau=values["log_tau"])


LOG_MASS = Parameter("log_mstar_formed", "log(Msun)", r"\log M_{\rm formed}", Uniform(6.0, 13.0), "stellar mass ever formed")
_RATIO_PRIOR = TruncatedStudent2(scale=0.3, limit=3.0)

GALAXY = GalaxyModel(
    name="galaxy",
    parameters=(
        *(
            Parameter(
                f"log_sfr_ratio_{i}",
                "dex",
                rf"\log {{\rm SFR}}_{{{i}}}/{{\rm SFR}}_{{{i + 1}}}",
                _RATIO_PRIOR,
                f"step of the star-formation rate between lookback bins {i} and {i + 1} (Leja et al. 2019)",
            )
            for i in range(1, histories.N_BINS)
        ),
        Parameter("log_f_burst", "dex", r"\log f_{\rm burst}", TruncatedNormal(-3.0, 1.0, -5.0, -0.05), "mass fraction of the burst"),
        Parameter("log_t_burst", "log(Gyr)", r"\log t_{\rm burst}", Uniform(-2.0, 0.5), "lookback time of the burst"),
        Parameter("log_zstar", "log(Zsun)", r"\log Z_\star", Uniform(-2.0, 0.4), "stellar metallicity"),
        Parameter("log_zgas", "log(Zsun)", r"\log Z_{\rm gas}", Uniform(-2.0, 0.4), "gas metallicity"),
        Parameter("log_u", "dex", r"\log U", Uniform(-4.0, -1.0), "ionisation parameter"),
        Parameter("a_v", "mag", r"A_V", TruncatedNormal(0.3, 1.0, 0.0, 4.0), "diffuse attenuation at 5500 A"),
        Parameter("tau_bc", "", r"\tau_{\rm bc}", TruncatedNormal(0.5, 1.0, 0.0, 4.0), "birth clouds' optical depth at 5500 A"),
        Parameter("dust_slope", "", r"\delta", TruncatedNormal(-0.2, 0.4, -1.2, 0.4), "slope of the diffuse curve (Kriek & Conroy 2013)"),
        Parameter("sigma_star", "km / s", r"\sigma_\star", TruncatedNormal(120.0, 120.0, 10.0, 450.0), "stellar dispersion"),
        Parameter("sigma_gas", "km / s", r"\sigma_{\rm gas}", TruncatedNormal(80.0, 120.0, 20.0, 450.0), "dispersion of the ionised gas"),
        LOG_MASS,
    ),
    history=_continuity_burst,
    diffuse_curve="kriek_conroy",
    diffuse_shape={"slope": "dust_slope"},
)

_WARM_DUST = (
    Parameter("q_pah", "%", r"q_{\rm PAH}", TruncatedNormal(2.5, 1.2, 0.47, 4.58), "share of PAHs in the dust's mass (Draine & Li 2007)"),
    Parameter("log_umin", "dex", r"\log U_{\rm min}", Uniform(-1.0, 1.398), "least starlight intensity that heats dust"),
    Parameter("log_gamma", "dex", r"\log \gamma", TruncatedNormal(-2.0, 0.6, -4.0, -0.5), "share of dust heated by more than it"),
)
_APERTURE = Parameter(
    "aperture_slope",
    "",
    r"\beta_{\rm aperture}",
    TruncatedNormal(0.0, 0.15, -0.6, 0.6),
    "of the whole light over the aperture's, in wavelength",
)
_SEEN_BY_NO_BAND = {"sigma_star": 150.0, "sigma_gas": 100.0}

PHOTOMETRY = GalaxyModel(  # `galaxy` as bands see it
    name="photometry",
    parameters=(*(p for p in GALAXY.parameters[:-1] if p.name not in _SEEN_BY_NO_BAND), *_WARM_DUST, LOG_MASS),
    history=_continuity_burst,
    diffuse_curve="kriek_conroy",
    diffuse_shape={"slope": "dust_slope"},
    fixed=_SEEN_BY_NO_BAND,
)

JOINT = GalaxyModel(  # `galaxy` as a spectrum and bands see it together
    name="joint",
    parameters=(*GALAXY.parameters[:-1], *_WARM_DUST, _APERTURE, LOG_MASS),
    history=_continuity_burst,
    diffuse_curve="kriek_conroy",
    diffuse_shape={"slope": "dust_slope"},
)

DIGS = GalaxyModel(
    name="digs",
    parameters=(
        Parameter("log_zstar", "log(Zsun)", r"\log Z", Uniform(-2.0, 0.2), "metallicity of stars and gas"),
        Parameter("age_start_gyr", "Gyr", r"t_{\rm age}", Uniform(0.01, 4.0), "time since star formation began"),
        Parameter("log_tau", "log(Gyr)", r"\log \tau", Uniform(-1.0, 1.0), "time scale of the delayed tau history"),
        Parameter("a_v", "mag", r"A_V", Uniform(0.1 * 1.0857362, 1.0 * 1.0857362), "attenuation at 5500 A"),
        Parameter("log_mstar_formed", "log(Msun)", r"\log M_{\rm formed}", Uniform(8.0, 13.0), "stellar mass ever formed"),
    ),
    history=_delayed_tau,
    diffuse_curve="power_law",
    diffuse_shape={"slope": "dust_slope"},
    fixed={"log_u": -2.0, "dust_slope": 0.7, "tau_bc": 0.0, "sigma_star": 350.0, "sigma_gas": 350.0},
    tied={"log_zgas": "log_zstar"},
)

PROVABGS = GalaxyModel(  # what it is and where it differs: `slipher.physics.provabgs`
    name="provabgs",
    parameters=provabgs.PARAMETERS,
    history=provabgs.history,
    metallicity=provabgs.metallicity,
    nebular=False,
    diffuse_curve="kriek_conroy",
    diffuse_shape={"slope": "dust_slope"},
    fixed=provabgs.FIXED,
)
PROVABGS_WIDE = replace(PROVABGS, name="provabgs_wide", parameters=provabgs.PARAMETERS_WIDE, history=provabgs.history_wide)

MODELS = {model.name: model for model in (GALAXY, PHOTOMETRY, JOINT, DIGS, PROVABGS, PROVABGS_WIDE)}
