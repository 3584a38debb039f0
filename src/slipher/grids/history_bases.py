"""Bases of star-formation and metallicity histories: non-negative factors of a stated family of histories.

A history is written as shares of a few fixed histories, `sum_i beta_i S_i`, after PROVABGS (Hahn et al. 2023), whose bases were factored
from a simulation. These are derived here, from a family that anyone can draw again:

- *Star formation*, a third each: log-normal in cosmic time (Gladders et al. 2013), double power law (Carnall et al. 2018) and
  delayed tau, with beginnings, peaks and declines over all of cosmic time. On top, log-normal fluctuations of an Ornstein-Uhlenbeck
  process, 0 to 0.4 dex, that forgets itself in 0.03 to 3 Gyr (the damped random walk of Caplar & Tacchella 2019).
- *Metallicity*: what chemical evolution makes of these histories. With F(t) the share of all stars formed by t, a closed box has
  Z = y ln 1/(1 - s F), one that loses or dilutes its metals nears an equilibrium, Z proportional to 1 - exp(-k F); both begin
  enriched by 0 to 30 per cent of their last metallicity, and wander by 0.1 dex.

Histories live on *fractional age* x = age / age of the universe: 0 today, 1 at the big bang. A share then is a share at every
redshift, every basis has all its mass inside the universe, and mass is conserved without renormalising. (The public PROVABGS code has bases
of absolute age: it cuts them at the age of the universe and renormalises their sum.)

Star formation is factored as light: mass in steps of log age, over the fading of stars (as age^-0.7 in V), each history of unit
sum. Its factors under the Kullback-Leibler divergence, by the multiplicative updates of Lee & Seung (2001), are the maximum-likelihood
parts of a mixture: shares of light, and with the fading undone shares of mass. Unweighted mass would spend every basis on the oldest
stars and none on what makes the spectrum. Run at build time only, from a seed.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .store import load_table

TABLE = "history_bases"
N_STAR_FORMATION, N_METALLICITY_BASIS = 4, 2
AGE_EDGES = np.concatenate([[0.0], 10 ** (np.arange(81) / 20.0 - 4.0)])  # fractional: half the library's step, from 1.3 Myr on
METALLICITY_KNOTS = np.linspace(0.0, 1.0, 41)  # fractional age
FADING, FADES_FROM = -0.7, 1e-3  # of V-band light with age; from 13 Myr on

T_UNIVERSE_GYR = 13.5  # at which times below are times
N_HISTORIES, N_UPDATES, SEED = 4000, 1000, 20230

SUBSTEPS = 4  # fluctuations are drawn this much finer than the edges


class HistoryBases(NamedTuple):
    """`mass` [basis, step]: share of each basis' mass formed between `age_edges`, youngest basis first, each of sum one.

    `metallicity` [basis, knot]: metallicities at `metallicity_knots`, each of maximum one, the one that rises soonest first.
    Ages are fractions of the age of the universe.
    """

    age_edges: Float[np.ndarray, "edge"]
    mass: Float[np.ndarray, "basis step"]
    metallicity_knots: Float[np.ndarray, "knot"]
    metallicity: Float[np.ndarray, "basis_z knot"]


class Family(NamedTuple):
    """Drawn histories: mass formed in steps of fractional age [history, step], of sum one, and metallicity at knots, one today."""

    mass: Float[np.ndarray, "history step"]
    metallicity: Float[np.ndarray, "history knot"]


# --- the family ---------------------------------------------------------------------------------------------------------------


def draw_family(rng: np.random.Generator, n: int) -> Family:
    """n histories of the family that the module's docstring states."""
    fine = np.interp(np.arange(SUBSTEPS * (len(AGE_EDGES) - 1) + 1) / SUBSTEPS, np.arange(len(AGE_EDGES)), AGE_EDGES)
    middle, width = 0.5 * (fine[1:] + fine[:-1]), np.diff(fine)
    rate = np.concatenate([shape(rng, n // 3 + (i < n % 3), T_UNIVERSE_GYR * (1.0 - middle)) for i, shape in enumerate(SHAPES)])
    spread = rng.uniform(0.0, 0.4, n) * np.log(10.0)
    memory = 10 ** rng.uniform(np.log10(0.03), np.log10(3.0), n)
    mass = width * rate * np.exp(spread[:, None] * fluctuations(rng, memory, T_UNIVERSE_GYR * middle))
    mass /= mass.sum(1, keepdims=True)
    return Family(mass.reshape(n, -1, SUBSTEPS).sum(2), draw_metallicities(rng, fine, mass))


def lognormal(rng: np.random.Generator, n: int, t_gyr: Float[np.ndarray, "time"]) -> Float[np.ndarray, "history time"]:
    """Rates log-normal in cosmic time: median 1 to 20 Gyr, width 0.2 to 1.2."""
    t0, tau = np.exp(rng.uniform(0.0, np.log(20.0), (n, 1))), rng.uniform(0.2, 1.2, (n, 1))
    return np.exp(-0.5 * (np.log(t_gyr / t0) / tau) ** 2) / t_gyr


def double_power_law(rng: np.random.Generator, n: int, t_gyr: Float[np.ndarray, "time"]) -> Float[np.ndarray, "history time"]:
    """Rates that rise as t^beta and fall as t^-alpha: turning at 0.5 to 13 Gyr, slopes 0.3 to 30."""
    turn = rng.uniform(0.5, 13.0, (n, 1))
    fall, rise = 10 ** rng.uniform(np.log10(0.3), np.log10(30.0), (2, n, 1))
    log_t = np.log(t_gyr / turn)
    return np.exp(-np.logaddexp(fall * log_t, -rise * log_t))


def delayed_tau(rng: np.random.Generator, n: int, t_gyr: Float[np.ndarray, "time"]) -> Float[np.ndarray, "history time"]:
    """Rates as (t - t0) exp(-(t - t0) / tau): beginning at 0 to 11 Gyr, tau 0.1 to 20 Gyr."""
    begin, tau = rng.uniform(0.0, 11.0, (n, 1)), 10 ** rng.uniform(-1.0, np.log10(20.0), (n, 1))
    since = np.maximum(t_gyr - begin, 0.0)
    return since * np.exp(-since / tau)


SHAPES = (lognormal, double_power_law, delayed_tau)


def fluctuations(
    rng: np.random.Generator, memory_gyr: Float[np.ndarray, "history"], age_gyr: Float[np.ndarray, "time"]
) -> Float[np.ndarray, "history time"]:
    """Ornstein-Uhlenbeck processes of unit variance at increasing ages: exact steps, however uneven."""
    kept = np.exp(-np.diff(age_gyr) / memory_gyr[:, None])
    noise = rng.standard_normal((len(memory_gyr), len(age_gyr)))
    for i in range(1, len(age_gyr)):
        noise[:, i] = kept[:, i - 1] * noise[:, i - 1] + np.sqrt(1.0 - kept[:, i - 1] ** 2) * noise[:, i]
    return noise


def draw_metallicities(
    rng: np.random.Generator, fine: Float[np.ndarray, "edge"], mass: Float[np.ndarray, "history step"]
) -> Float[np.ndarray, "history knot"]:
    """Enrichment that follows the mass formed in steps between the fractional ages `fine`; one today, but for its wandering."""
    n = len(mass)
    since = np.concatenate([np.zeros((n, 1)), np.cumsum(mass, 1)], 1)
    formed = np.stack([np.interp(METALLICITY_KNOTS, fine, 1.0 - row) for row in since]).clip(0.0, 1.0)
    consumed, losing = rng.uniform(0.2, 0.98, (n, 1)), 10 ** rng.uniform(-0.5, 1.0, (n, 1))
    closed = np.log1p(-consumed * formed) / np.log1p(-consumed)
    leaky = np.expm1(-losing * formed) / np.expm1(-losing)
    before = rng.uniform(0.0, 0.3, (n, 1))
    rise = before + (1.0 - before) * np.where(rng.random((n, 1)) < 0.5, closed, leaky)
    wander = fluctuations(rng, 10 ** rng.uniform(0.0, 0.7, n), T_UNIVERSE_GYR * METALLICITY_KNOTS)
    return rise * np.exp(0.1 * np.log(10.0) * wander)


# --- factors ------------------------------------------------------------------------------------------------------------------


def fading() -> Float[np.ndarray, "step"]:
    """Light per mass of stars formed in each step between `AGE_EDGES`, relative."""
    return np.maximum(0.5 * (AGE_EDGES[1:] + AGE_EDGES[:-1]), FADES_FROM) ** FADING


def factor(rng: np.random.Generator, table: Float[np.ndarray, "row column"], rank: int, n_updates: int) -> Float[np.ndarray, "rank column"]:
    """Non-negative factors, each of sum one, of rows of sum one: W and H that bring KL(table | W H) down."""
    parts = rng.random((rank, table.shape[1])) + 0.1
    parts /= parts.sum(1, keepdims=True)
    shares = np.full((len(table), rank), 1.0 / rank)
    for _ in range(n_updates):
        shares = update_shares(shares, table, parts)
        parts = parts * (shares.T @ (table / np.maximum(shares @ parts, 1e-30)))
        parts /= parts.sum(1, keepdims=True)
    return parts


def update_shares(
    shares: Float[np.ndarray, "row rank"], table: Float[np.ndarray, "row column"], parts: Float[np.ndarray, "rank column"]
) -> Float[np.ndarray, "row rank"]:
    """One multiplicative update (Lee & Seung 2001) of shares in `parts`, each of sum one; their sum becomes the row's."""
    return shares * ((table / np.maximum(shares @ parts, 1e-30)) @ parts.T)


def shares_of(mass: Float[np.ndarray, "history step"], bases: Float[np.ndarray, "basis step"], n_updates: int = 1000) -> np.ndarray:
    """Shares of mass [history, basis], of sum one, with which bases come nearest to histories, seen as light."""
    parts, light = bases * fading(), mass * fading()
    per_mass = parts.sum(1)
    shares = np.full((len(mass), len(bases)), 1.0 / len(bases))
    for _ in range(n_updates):
        shares = update_shares(shares, light / light.sum(1, keepdims=True), parts / per_mass[:, None])
    of_mass = shares / per_mass
    return of_mass / of_mass.sum(1, keepdims=True)


def star_formation_bases(mass: Float[np.ndarray, "history step"], rank: int, n_updates: int = N_UPDATES) -> np.ndarray:
    """Shares of mass [basis, step], the youngest basis first, from histories of the family."""
    light = mass * fading()
    parts = factor(np.random.default_rng(SEED), light / light.sum(1, keepdims=True), rank, n_updates) / fading()
    parts /= parts.sum(1, keepdims=True)
    return parts[np.argsort(parts @ (AGE_EDGES[1:] + AGE_EDGES[:-1]))]


def metallicity_bases(metallicity: Float[np.ndarray, "history knot"], rank: int, n_updates: int = N_UPDATES) -> np.ndarray:
    """Metallicities [basis, knot] of maximum one, the one that rises soonest first."""
    parts = factor(np.random.default_rng(SEED), metallicity / metallicity.sum(1, keepdims=True), rank, n_updates)
    return (parts / parts.max(1, keepdims=True))[np.argsort(-parts @ METALLICITY_KNOTS)]


def build() -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and facts of the table `history_bases`."""
    family = draw_family(np.random.default_rng(SEED), N_HISTORIES)
    bases = HistoryBases(
        AGE_EDGES,
        star_formation_bases(family.mass, N_STAR_FORMATION),
        METALLICITY_KNOTS,
        metallicity_bases(family.metallicity, N_METALLICITY_BASIS),
    )
    facts = {
        "origin": "non-negative factors of the family of histories that slipher.grids.history_bases states",
        "n_histories": N_HISTORIES,
        "n_updates": N_UPDATES,
        "seed": SEED,
    }
    return {name: array.astype(np.float32) for name, array in bases._asdict().items()}, facts


@cache
def load_history_bases() -> HistoryBases:
    """The bases that ship with the package.

    Raises
    ------
    ModelFileError
        If the table is missing or cannot be read.
    """
    return HistoryBases(**load_table(TABLE)[0])
