"""Star-formation histories, each written as the cumulative mass fraction formed more recently than a lookback time.

A history is a function `cumulative(age_gyr, t_universe_gyr, **parameters)`: 0 at age 0, 1 at the age of the universe, never
decreasing. The mass in any age cell is a difference of it, so that mass is conserved exactly and nothing depends on how finely
the stellar library is sampled. `HISTORIES` is the registry; every entry passes the same laws in the tests.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float

# Lookback edges of the non-parametric history; the last bin ends at the age of the universe.
BIN_EDGES_GYR = (0.0, 0.01, 0.1, 0.3, 1.0, 3.0, 6.0)
N_BINS = len(BIN_EDGES_GYR)
BURST_WIDTH_DEX = 0.1
BURST_FADES = 0.02

_DELAYED_SERIES = tuple((-1) ** k * (k - 1) / math.factorial(k) for k in range(9, 1, -1))

Cumulative = Float[Array, "age"]
Scalar = Float[Array, ""]


def bin_edges(t_universe_gyr: Scalar) -> Float[Array, "edge"]:
    """Lookback edges in Gyr of the non-parametric bins at a redshift where the universe has the given age.

    Bins older than the universe (z > 0.95) are empty.
    """
    return jnp.append(jnp.minimum(jnp.asarray(BIN_EDGES_GYR), t_universe_gyr), t_universe_gyr)


def continuity(age_gyr: Cumulative, t_universe_gyr: Scalar, *, log_sfr_ratios: Float[Array, "ratio"]) -> Cumulative:
    """Constant star formation in bins; `log_sfr_ratios[i]` = log10 SFR(bin i) - log10 SFR(bin i + 1), bin 0 the youngest.

    The parameterisation of Leja et al. (2019), section 2.3 ("continuity").
    """
    edges = bin_edges(t_universe_gyr)
    widths = jnp.diff(edges)
    log_sfr = -jnp.concatenate([jnp.zeros(1), jnp.cumsum(log_sfr_ratios)])
    mass = 10 ** (log_sfr - log_sfr.max()) * widths
    share = jnp.clip((age_gyr[:, None] - edges[:-1]) / jnp.maximum(widths, 1e-9), 0.0, 1.0)  # of each bin, formed since
    return share @ (mass / mass.sum())


def burst(age_gyr: Cumulative, t_universe_gyr: Scalar, *, log_t_burst: Scalar) -> Cumulative:
    """One burst, log-normal in lookback time: median 10**log_t_burst Gyr, width 0.1 dex."""
    x = (jnp.log10(jnp.maximum(age_gyr, 1e-6)) - log_t_burst) / BURST_WIDTH_DEX
    end = norm.cdf((jnp.log10(t_universe_gyr) - log_t_burst) / BURST_WIDTH_DEX)
    return jnp.where(age_gyr >= t_universe_gyr, 1.0, norm.cdf(x) / end)


def continuity_burst(
    age_gyr: Cumulative,
    t_universe_gyr: Scalar,
    *,
    log_sfr_ratios: Float[Array, "ratio"],
    log_f_burst: Scalar,
    log_t_burst: Scalar,
) -> Cumulative:
    """The default: non-parametric bins, and a burst that formed the fraction 10**log_f_burst of all the mass."""
    f = 10**log_f_burst
    smooth = continuity(age_gyr, t_universe_gyr, log_sfr_ratios=log_sfr_ratios)
    return (1.0 - f) * smooth + f * burst(age_gyr, t_universe_gyr, log_t_burst=log_t_burst)


def mixture(
    age_gyr: Cumulative,
    t_universe_gyr: Scalar,
    *,
    shares: Float[Array, "basis"],
    age_edges: Float[Array, "step"],
    masses: Float[Array, "basis step-1"],
) -> Cumulative:
    """Shares of basis histories, each of constant star formation between `age_edges`: fractions of the age of the universe, 0 to 1.

    `masses`: share of each basis' mass formed in each step (`slipher.grids.history_bases`).
    """
    mass = shares @ masses
    x = age_gyr / t_universe_gyr
    share = jnp.clip((x[:, None] - age_edges[:-1]) / jnp.diff(age_edges), 0.0, 1.0)  # of each step, formed since
    return share @ (mass / mass.sum())


def mixture_burst(
    age_gyr: Cumulative,
    t_universe_gyr: Scalar,
    *,
    shares: Float[Array, "basis"],
    age_edges: Float[Array, "step"],
    masses: Float[Array, "basis step-1"],
    f_burst: Scalar,
    t_burst_gyr: Scalar,
) -> Cumulative:
    """A mixture of bases and a burst of the mass fraction `f_burst`, unless it would lie before the big bang.

    The burst fades out over the last 2 per cent of the age of the universe: at an edge there would be no gradients.
    """
    f = f_burst * jnp.clip((1.0 - t_burst_gyr / t_universe_gyr) / BURST_FADES, 0.0, 1.0)
    smooth = mixture(age_gyr, t_universe_gyr, shares=shares, age_edges=age_edges, masses=masses)
    log_t = jnp.log10(jnp.minimum(t_burst_gyr, t_universe_gyr))
    return (1.0 - f) * smooth + f * burst(age_gyr, t_universe_gyr, log_t_burst=log_t)


def stick_breaking(sticks: Float[Array, "stick"]) -> Float[Array, "share"]:
    """Shares of sum one, one more than `sticks`: each takes its fraction of what the ones before it left.

    Flat Dirichlet where stick i of n is Beta(1, n - i), counted from 0 (`parameters.BetaOne`).
    """
    left = jnp.concatenate([jnp.ones(1), jnp.cumprod(1.0 - sticks)])
    return left * jnp.append(sticks, 1.0)


def delayed_tau(age_gyr: Cumulative, t_universe_gyr: Scalar, *, age_start_gyr: Scalar, log_tau: Scalar) -> Cumulative:
    """SFR proportional to t exp(-t/tau), t since the beginning `age_start_gyr` ago; tau = 10**log_tau Gyr."""
    start, tau = jnp.minimum(age_start_gyr, t_universe_gyr), 10**log_tau

    t = jnp.clip(start - age_gyr, 0.0, None)
    return 1.0 - _delayed_mass(t / tau) / _delayed_mass(start / tau)


def _delayed_mass(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 - (1 + x) exp(-x), by its series where the difference would cancel in float32."""
    near_zero = jnp.minimum(x, 0.5)
    series = near_zero**2 * jnp.polyval(jnp.array(_DELAYED_SERIES), near_zero)
    return jnp.where(x < 0.5, series, -jnp.expm1(-x) - x * jnp.exp(-x))


def constant(age_gyr: Cumulative, t_universe_gyr: Scalar, *, age_start_gyr: Scalar) -> Cumulative:
    """Constant star formation since `age_start_gyr` ago."""
    return jnp.clip(age_gyr / jnp.minimum(age_start_gyr, t_universe_gyr), 0.0, 1.0)


def exponential(age_gyr: Cumulative, t_universe_gyr: Scalar, *, age_start_gyr: Scalar, log_tau: Scalar) -> Cumulative:
    """SFR proportional to exp(-t/tau), t since the beginning `age_start_gyr` ago."""
    start, tau = jnp.minimum(age_start_gyr, t_universe_gyr), 10**log_tau
    t = jnp.clip(start - age_gyr, 0.0, None)
    return 1.0 - jnp.expm1(-t / tau) / jnp.expm1(-start / tau)


HISTORIES: dict[str, Callable[..., Cumulative]] = {
    "continuity": continuity,
    "continuity_burst": continuity_burst,
    "burst": burst,
    "mixture": mixture,
    "mixture_burst": mixture_burst,
    "delayed_tau": delayed_tau,
    "exponential": exponential,
    "constant": constant,
}
