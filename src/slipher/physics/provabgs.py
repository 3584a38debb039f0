r"""PROVABGS' galaxy (Hahn et al. 2023, arXiv:2202.01809): its parameters, histories and dust, with bases derived by this project.

| PROVABGS | here | prior |
|---|---|---|
| log M formed | `log_mstar_formed` | uniform, 7 to 12.5 |
| beta_1 - beta_4 | `stick_1` - `stick_3` (`histories.stick_breaking`) | flat Dirichlet |
| f_burst | `f_burst` | uniform, 0 to 1 |
| t_burst | `t_burst_gyr` | uniform, 0.01 to 13.27 Gyr lookback |
| gamma_1, gamma_2 | `log_gamma_1`, `log_gamma_2` | log-uniform, Z = 4.5e-5 to 1.5e-2 |
| tau_BC | `tau_bc`, stars under 10 Myr | uniform, 0 to 3 |
| tau_ISM | `a_v` = 1.0857 tau_ISM | uniform, tau 0 to 3 |
| n_dust | `dust_slope` (Kriek & Conroy 2013) | uniform, -2 to 1 |

`slipher.report.provabgs` writes posteriors in PROVABGS' own parameters and columns.

What differs from PROVABGS:

- The bases are factored from the family of histories that `slipher.grids.history_bases` states, on fractions of the age of the universe:
  betas and gammas have PROVABGS' meaning and priors, but belong to other basis histories.
- The burst is 0.1 dex wide, one age cell of the library, where PROVABGS has a delta function, and takes the metallicity of the
  history at its time.
- Stars are BC03's with the IMF of Kroupa (2001), PROVABGS' are FSPS' with that of Chabrier (2003): masses are 0.03 dex larger here for the
  same light (ratios to Salpeter's of 0.66 and 0.61, Madau & Dickinson 2014, section 3.1), rates as well.
- Distances and ages are slipher's Planck15, not Planck13: 1e-3 in age.

There are no emission lines, no nebular continuum and no dust emission: pixels near emission lines should have no weight. The
dispersion of the stars is held at 150 km/s.

PROVABGS' priors say much about histories. Four shares of a flat Dirichlet distribution rarely leave one basis alone, so that hardly
any galaxy is as old or as quiescent as the extreme basis, and half of the galaxies have less than an 18th of solar metallicity;
`benchmarks/provabgs_priors.py` tabulates it. `provabgs_wide` is the same galaxy under priors without these artefacts: ratios of
neighbouring shares are log-normal, 1.5 dex wide, the burst's fraction and time log-uniform, and gammas log-uniform from 2e-4 up to
where their sum is the library's most metal-rich. Either way a galaxy without a burst is no younger, by mass, than the youngest
basis: 0.14 of the age of the universe.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..grids.history_bases import load_history_bases
from . import histories, metallicities
from .parameters import BetaOne, Parameter, TruncatedNormal, Uniform

Scalar = Float[Array, ""]
Values = dict[str, Array]

N_BASIS, N_METALLICITY_BASIS = 4, 2
TAU_TO_MAG = 1.0857362  # 2.5 log10(e)
FIXED = {"sigma_star": 150.0, "sigma_gas": 150.0}  # the second is read where lines are drawn, which have no light here


def _metals(low: float, high: float) -> tuple[Parameter, ...]:
    """The gammas, log-uniform between two mass fractions."""
    prior, of = Uniform(math.log10(low), math.log10(high)), "largest mass fraction of metals of metallicity basis"
    return tuple(Parameter(f"log_gamma_{i}", "dex", rf"\log \gamma_{{{i}}}", prior, f"{of} {i}") for i in range(1, N_METALLICITY_BASIS + 1))


_DUST_AND_MASS = (
    Parameter("tau_bc", "", r"\tau_{\rm bc}", Uniform(0.0, 3.0), "birth clouds' optical depth at 5500 A"),
    Parameter("a_v", "mag", r"A_V", Uniform(0.0, 3.0 * TAU_TO_MAG), "diffuse attenuation at 5500 A"),
    Parameter("dust_slope", "", r"\delta", Uniform(-2.0, 1.0), "slope of the diffuse curve (Kriek & Conroy 2013)"),
    Parameter("log_mstar_formed", "log(Msun)", r"\log M_{\rm formed}", Uniform(7.0, 12.5), "stellar mass ever formed"),
)

PARAMETERS = (
    *(
        Parameter(f"stick_{i}", "", rf"v_{{{i}}}", BetaOne(float(N_BASIS - i)), f"fraction that basis {i} takes of the mass left to it")
        for i in range(1, N_BASIS)
    ),
    Parameter("f_burst", "", r"f_{\rm burst}", Uniform(0.0, 1.0), "mass fraction of the burst"),
    Parameter("t_burst_gyr", "Gyr", r"t_{\rm burst}", Uniform(0.01, 13.27), "lookback time of the burst"),
    *_metals(4.5e-5, 1.5e-2),
    *_DUST_AND_MASS,
)
PARAMETERS_WIDE = (
    *(
        Parameter(
            f"log_beta_ratio_{i}",
            "dex",
            rf"\log \beta_{{{i}}}/\beta_{{{i + 1}}}",
            TruncatedNormal(0.0, 1.5, -5.0, 5.0),
            f"mass of basis {i} over that of basis {i + 1}",
        )
        for i in range(1, N_BASIS)
    ),
    Parameter("log_f_burst", "dex", r"\log f_{\rm burst}", Uniform(-5.0, -0.05), "mass fraction of the burst"),
    Parameter("log_t_burst", "log(Gyr)", r"\log t_{\rm burst}", Uniform(-2.0, math.log10(13.27)), "lookback time of the burst"),
    *_metals(2e-4, 2.5e-2),
    *_DUST_AND_MASS,
)


def shares(values: Values) -> Float[Array, "basis"]:
    """The betas: shares of mass, without the burst, of the basis histories from the youngest to the oldest."""
    return histories.stick_breaking(jnp.stack([values[f"stick_{i}"] for i in range(1, N_BASIS)]))


def shares_wide(values: Values) -> Float[Array, "basis"]:
    """The same of `provabgs_wide`, from the ratios of neighbours."""
    ratios = jnp.stack([values[f"log_beta_ratio_{i}"] for i in range(1, N_BASIS)])
    log_beta = -jnp.concatenate([jnp.zeros(1), jnp.cumsum(ratios)])
    beta = 10 ** (log_beta - log_beta.max())
    return beta / beta.sum()


def history(values: Values, t_universe_gyr: Scalar, age_gyr: Float[Array, "edge"]) -> Float[Array, "edge"]:
    """Cumulative mass of four bases and a burst."""
    return _mixture(shares(values), values["f_burst"], values["t_burst_gyr"], t_universe_gyr, age_gyr)


def history_wide(values: Values, t_universe_gyr: Scalar, age_gyr: Float[Array, "edge"]) -> Float[Array, "edge"]:
    """The same of `provabgs_wide`."""
    return _mixture(shares_wide(values), 10 ** values["log_f_burst"], 10 ** values["log_t_burst"], t_universe_gyr, age_gyr)


def _mixture(
    beta: Float[Array, "basis"], f_burst: Scalar, t_burst_gyr: Scalar, t_universe_gyr: Scalar, age_gyr: Float[Array, "edge"]
) -> Float[Array, "edge"]:
    bases = load_history_bases()
    return histories.mixture_burst(
        age_gyr,
        t_universe_gyr,
        shares=beta,
        age_edges=jnp.asarray(bases.age_edges),
        masses=jnp.asarray(bases.mass),
        f_burst=f_burst,
        t_burst_gyr=t_burst_gyr,
    )


def metallicity(values: Values, t_universe_gyr: Scalar, age_edges_gyr: Float[Array, "edge"]) -> Float[Array, "cell"]:
    """log10 Z/Zsun by age: the two metallicity bases, gamma_i the maximum of each as a mass fraction."""
    bases = load_history_bases()
    gamma = jnp.stack([10 ** values[f"log_gamma_{i}"] for i in range(1, N_METALLICITY_BASIS + 1)])
    z = metallicities.enrichment(
        age_edges_gyr,
        t_universe_gyr,
        coefficients=gamma / metallicities.Z_SUN,
        knots=jnp.asarray(bases.metallicity_knots),
        bases=jnp.asarray(bases.metallicity),
    )
    return jnp.log10(jnp.maximum(z, 1e-6))
