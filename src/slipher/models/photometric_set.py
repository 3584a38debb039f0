"""Fresh simulations of photometry as a network meets them: galaxies as numerous as they are, in random bands at random depths.

A chunk shares its bands, their typical depths and the Galactic dust in front; galaxies differ in redshift, in errors and in which bands
they miss. How bright galaxies are relative to the depth is levelled out: as many at a peak S/N of 100 as of 5. That changes no posterior,
for which galaxies are kept depends on the data alone; which redshifts and masses they have there is the prior's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..grids import broad
from ..grids.filters import FilterCurve
from ..grids.library import BroadLibrary
from ..inference.photometric import Assumed
from ..instrument import imaging, photometer
from ..instrument.photometer import LOG_MASS_UNIT, Photometer
from ..networks import bands as bands_
from ..physics import abundance, cosmology, parameters, sed
from ..physics.abundance import RedshiftRange

DRAWN, LEAST_DRAWN = 3, 1024  # galaxies for each that is kept, and in all: of few, weights choose the wrong ones
STRATA = 6  # redshifts at which each is tried
NEARBY = 0.05  # redshift below which those are uniform in redshift, above in its logarithm
SN_BINS = 12
FAINTEST = 0.125  # of the least S/N observed: what is fainter, and more numerous, comes in where noise lifts it up
BATCH = 16
BRIGHTEST = 50.0
SN_5_SIGMA = 5.0


@dataclass(frozen=True)
class BandPopulation:
    """What is simulated: sets of bands, redshifts, observed peak S/N, Galactic E(B-V) at most, and the prior of mass and redshift.

    `counted` as in `slipher.inference.photometric.Assumed`; `lost` is the largest chance of a band to be missing. From a peak S/N of
    `detected` on the model answers for itself: below, noise alone makes such peaks, and what they say of a galaxy depends on how many
    there are that are too faint to be seen, and on how this one was found.
    """

    sets: tuple[str, ...] = tuple(imaging.BAND_SETS)
    redshift: tuple[float, float] = (0.002, 7.0)
    sn: tuple[float, float] = (2.0, 400.0)
    ebv: float = 0.1
    counted: bool = True
    lost: float = 0.3
    detected: float = 5.0


class SimulatedBands(NamedTuple):
    """A chunk: features, truth in u-space (redshift first, without mass), relative log mass, and what calibration wants to know."""

    features: Float[Array, "galaxy feature"]
    u: Float[Array, "galaxy parameter"]
    log_mass: Float[Array, "galaxy"]
    redshift: Float[Array, "galaxy"]
    sn: Float[Array, "galaxy"]
    n_bands: Float[Array, "galaxy"]
    chi2: Float[Array, "galaxy"]


class Campaign(eqx.Module):
    """What a chunk shares: bands (filled up to `imaging.MOST_BANDS` with bands of no weight), their depths, the dust in front."""

    photometer: Photometer
    weights: Float[Array, "band node"]
    sigma: Float[Array, "band"]
    used: Float[Array, "band"]
    ebv: Float[Array, ""]
    lost: Float[Array, ""]
    scatter: Float[Array, ""]
    knee: Float[Array, ""]
    z_max: Float[Array, ""]


@lru_cache(maxsize=64)
def _bands(names: tuple[str, ...]) -> tuple[Photometer, np.ndarray]:
    """The photometer and node weights of a set, filled up by repeating its first band."""
    filled = names + names[:1] * (imaging.MOST_BANDS - len(names))
    curves = photometer.resolve(filled)
    return photometer.photometer(filled), bands_.weights_of(curves)


def draw_campaign(rng: np.random.Generator, population: BandPopulation) -> tuple[Campaign, tuple[str, ...]]:
    """Random bands, depths, dust and losses; and the names of the bands."""
    names, depth = imaging.draw_bands(rng, population.sets)
    camera, weights = _bands(names)
    n, n_all = len(names), imaging.MOST_BANDS
    sigma = np.full(n_all, 1.0)
    sigma[:n] = 10 ** (-0.4 * (depth - 22.5)) / SN_5_SIGMA
    # No galaxy is seen further than this; redshifts beyond would be drawn for nothing.
    reach = 0.8 * 10 ** (0.2 * (np.max(depth) - 19.0))
    campaign = Campaign(
        camera, jnp.asarray(weights, jnp.float32), jnp.asarray(sigma, jnp.float32), jnp.asarray(np.arange(n_all) < n, jnp.float32),
        jnp.float32(population.ebv * rng.random() ** 2), jnp.float32(population.lost * rng.random() ** 2),
        jnp.float32(rng.choice([0.05, 0.1, 0.3])), jnp.float32(np.exp(rng.uniform(np.log(50.0), np.log(5000.0)))),
        jnp.float32(np.clip(reach, 0.1, population.redshift[1])),
    )  # fmt: skip
    return campaign, names


class ObservedGalaxies(NamedTuple):
    """Simulated photometry: nanomaggies, with ivar 0 for bands that are missing; truth in u-space, mass, redshift, observed peak S/N.

    `log_weight`: the logarithm of how many such galaxies there are, up to a constant.
    """

    flux: Array
    ivar: Array
    u: Array
    log_mass: Array
    redshift: Array
    sn: Array
    log_weight: Array


def _drawn(
    key: PRNGKeyArray, campaign: Campaign, library: BroadLibrary, assumed: Assumed, population: BandPopulation, zs: RedshiftRange
) -> ObservedGalaxies:
    """A galaxy of random shape and peak S/N at one of a few redshifts, by how many such galaxies there are; its weight is that of all."""
    k = jax.random.split(key, 4)
    u = jax.random.normal(k[0], (len(assumed.model.parameters) - 1,))
    low, high = np.log(population.sn)
    sn = jnp.exp(jax.random.uniform(k[1], minval=low + np.log(FAINTEST), maxval=high))
    bottom, reach = np.log(zs.low + NEARBY), jnp.log(jnp.minimum(campaign.z_max, zs.high) + NEARBY) - np.log(zs.low + NEARBY)
    place = (jnp.arange(STRATA) + jax.random.uniform(k[2], (STRATA,))) / STRATA
    redshifts = jnp.exp(bottom + reach * place) - NEARBY
    keys = jax.random.split(k[3], STRATA + 1)
    tried = jax.vmap(lambda key, z: _candidate(key, u, sn, z, campaign, library, assumed, population, zs))(keys[1:], redshifts)
    log_weight = tried.log_weight + jnp.log(redshifts + NEARBY)
    chosen = jax.random.categorical(keys[0], jnp.where(jnp.isfinite(log_weight), log_weight, -1e30))
    picked = jax.tree.map(lambda leaf: leaf[chosen], tried)
    return picked._replace(log_weight=jax.nn.logsumexp(log_weight))


def _candidate(
    key: PRNGKeyArray, u: Array, sn: Array, redshift: Array, campaign: Campaign, library: BroadLibrary, assumed: Assumed,
    population: BandPopulation, zs: RedshiftRange,
) -> ObservedGalaxies:  # fmt: skip
    """A galaxy observed; its weight is how many there are per unit of redshift and log mass."""
    k = jax.random.split(key, 5)
    model = assumed.model
    values = parameters.from_normal(model.parameters[:-1], u)
    light = sed.sed(model, values, cosmology.age_gyr(redshift), library)
    unit = photometer.observe(campaign.photometer, light, redshift, campaign.ebv, library)
    kept = campaign.used * (jax.random.uniform(k[0], unit.shape) > campaign.lost)
    kept = jnp.where(jnp.sum(kept) < 2, campaign.used, kept)
    sky = campaign.sigma * jnp.exp(campaign.scatter * jax.random.normal(k[1], unit.shape))
    amplitude = sn / jnp.max(kept * unit / sky)
    flux = amplitude * unit
    fraction = assumed.errors.fraction(campaign.photometer.pivot_aa, redshift)
    off = (jax.random.uniform(k[2], unit.shape) < assumed.errors.outliers) * assumed.errors.outlier_size
    recorded = flux * (1.0 + jnp.hypot(fraction, off) * jax.random.normal(k[3], unit.shape))
    # Photons of the source, once it outshines the sky. The error must not tell the flux better than the flux does.
    sigma = sky * jnp.sqrt(1.0 + jnp.maximum(recorded, 0.0) / sky / campaign.knee)
    seen = recorded + sigma * jax.random.normal(k[4], unit.shape)
    log_mass = LOG_MASS_UNIT + jnp.log10(amplitude)
    prior = model.parameters[-1].prior
    inside = (log_mass > prior.low) & (log_mass < prior.high) & jnp.isfinite(amplitude)
    log_weight = abundance.log_abundance(log_mass, redshift) if population.counted else zs.log_density(redshift)
    return ObservedGalaxies(
        kept * seen, kept / sigma**2, jnp.concatenate([zs.to_normal(redshift)[None], u]), log_mass, redshift,
        jnp.max(kept * seen / sigma), jnp.where(inside, log_weight, -jnp.inf),
    )  # fmt: skip


@partial(jax.jit, static_argnames=("assumed", "population", "n"))
def observed(
    key: PRNGKeyArray, campaign: Campaign, library: BroadLibrary, assumed: Assumed, population: BandPopulation, n: int
) -> ObservedGalaxies:
    """n galaxies of a campaign: fluxes in its bands and the truth behind them."""
    key_draw, key_keep = jax.random.split(key)
    keys, zs = jax.random.split(key_draw, max(DRAWN * n, LEAST_DRAWN)), RedshiftRange(*population.redshift)
    drawn = jax.lax.map(lambda k: _drawn(k, campaign, library, assumed, population, zs), keys, batch_size=BATCH)
    return jax.tree.map(lambda leaf: leaf[_levelled(key_keep, drawn, population, n)], drawn)


@jax.jit
def describe(seen: ObservedGalaxies, campaign: Campaign, prior: bands_.NodePrior) -> SimulatedBands:
    """Galaxies as the network reads them."""

    def one(flux: Array, ivar: Array) -> tuple[Array, bands_.Smooth]:
        found = bands_.smooth(*dereddened(flux, ivar, campaign), campaign.weights, prior)
        return bands_.features(found), found

    features, found = jax.vmap(one)(seen.flux, seen.ivar)
    relative = relative_log_mass(seen.log_mass, found.norm, seen.redshift)
    return SimulatedBands(features, seen.u, relative, seen.redshift, seen.sn, found.n_bands, found.chi2)


def _levelled(key: PRNGKeyArray, drawn: ObservedGalaxies, population: BandPopulation, n: int) -> Array:
    """Indices of n galaxies, by their weights within bins of observed peak S/N.

    Each bin gets an equal share, but no more than its weights can fill with different galaxies: a few heavy ones, many times over, would
    be learnt by heart.
    """
    low, high = np.log(population.sn)
    which = jnp.floor((jnp.log(jnp.maximum(drawn.sn, 1e-3)) - low) / (high - low) * SN_BINS).astype(jnp.int32)
    inside = (which >= 0) & (which < SN_BINS)
    which = jnp.clip(which, 0, SN_BINS - 1)
    log_weight = jnp.where(inside, drawn.log_weight, -jnp.inf)
    peak = jax.ops.segment_max(log_weight, which, SN_BINS)
    weight = jnp.exp(log_weight - jnp.where(jnp.isfinite(peak), peak, 0.0)[which])
    total, square = (jax.ops.segment_sum(weight**power, which, SN_BINS) for power in (1, 2))
    effective = total**2 / jnp.maximum(square, 1e-30)
    share = jnp.minimum(effective, n / SN_BINS)
    return jax.random.choice(key, len(which), (n,), p=(share / jnp.maximum(total, 1e-30))[which] * weight)


def dereddened(flux: Array, ivar: Array, campaign: Campaign) -> tuple[Array, Array]:
    """Fluxes and their weights in front of the Galactic dust, by its extinction at the bands' pivot wavelengths: for the network only."""
    through = photometer.pivot_transmission(campaign.photometer, campaign.ebv)
    return flux / through, ivar * through**2


def relative_log_mass(log_mass: Array, norm: Array, redshift: Array) -> Array:
    """log10 M over what the mean flux and the distance say of it."""
    return log_mass - jnp.log10(norm) - 2.0 * jnp.log10(jax.vmap(cosmology.luminosity_distance_mpc)(redshift))


def simulator(
    assumed: Assumed, population: BandPopulation, library: BroadLibrary, prior: bands_.NodePrior
) -> Callable[[int, int, int], SimulatedBands]:
    """A function (seed, chunk number, galaxies) -> `SimulatedBands`; the same numbers give the same galaxies."""

    def draw(seed: int, number: int, n: int) -> SimulatedBands:
        rng = np.random.default_rng([seed, number])
        campaign, _ = draw_campaign(rng, population)
        seen = observed(jax.random.key(rng.integers(2**31)), campaign, library, assumed, population, n)
        return describe(seen, campaign, prior)

    return draw


def learn_prior(seed: int, assumed: Assumed, population: BandPopulation, library: BroadLibrary, n: int = 4096) -> bands_.NodePrior:
    """The prior of the nodes' values, from noise-free galaxies of the working redshifts, each over its mean from 3800 A to 2.5 um.

    Values are cut at `BRIGHTEST`: dusty galaxies at z = 7, which are millions of times brighter at 20 um than here, would make of a prior
    none at all.
    """
    nodes = np.log(bands_.NODES_AA)
    ends = np.concatenate([[2 * nodes[0] - nodes[1]], nodes, [np.log(0.99 * broad.wave_grid()[-1])]])
    hats = [FilterCurve(f"node-{i}", np.exp(ends[i : i + 3]), np.array([0.0, 1.0, 0.0])) for i in range(len(nodes))]
    camera = photometer.photometer(hats)
    zs = RedshiftRange(*population.redshift)

    def one(key: PRNGKeyArray) -> Array:
        k = jax.random.split(key)
        redshift = zs.from_normal(jax.random.normal(k[0]))
        u = jax.random.normal(k[1], (len(assumed.model.parameters) - 1,))
        values = parameters.from_normal(assumed.model.parameters[:-1], u)
        light = sed.sed(assumed.model, values, cosmology.age_gyr(redshift), library)
        return photometer.observe(camera, light, redshift, jnp.float32(0.0), library)

    flux = np.asarray(jax.jit(partial(jax.lax.map, one, batch_size=BATCH))(jax.random.split(jax.random.key(seed), n)), np.float64)
    near = (bands_.NODES_AA > 3800.0) & (bands_.NODES_AA < 25000.0)
    return bands_.learn(np.minimum(flux / flux[:, near].mean(1, keepdims=True), BRIGHTEST), assumed.errors.zero_point)
