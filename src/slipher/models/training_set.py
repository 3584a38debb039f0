"""Fresh simulations as a network meets them: drawn, observed and projected, chunk by chunk, from a seed.

No training set is stored: the seed is the data set. A chunk shares one survey, one narrow slice of redshift and one line-spread
function (drawn at random for the chunk), so that its view of the library is built once; training mixes many chunks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ..grids import stars
from ..grids.library import Library
from ..instrument import simulate, spectrograph, surveys
from ..instrument.surveys import Survey
from ..instrument.systematics import Systematics
from ..networks import projection as proj
from ..physics import cosmology, galaxy, parameters
from ..physics.galaxy import GalaxyModel, View
from ..units import C_KMS

N_PIXEL = 4736  # BOSS' range on the grid of 1e-4 dex, and a little more
STRIDE = 2  # of the library's grid
REDSHIFT_HALF_WIDTH = 0.006
LSF_ANCHORS_AA = (4000.0, 5200.0, 7000.0)  # rest wavelengths at which the network is told the resolution


@dataclass(frozen=True)
class Population:
    """What is simulated: surveys with their shares, redshifts, S/N (log-uniform, mean of the pixels)."""

    surveys: dict[str, float] = field(default_factory=lambda: {"sdss": 0.4, "boss": 0.25, "desi": 0.35})
    redshift: tuple[float, float] = (0.002, 0.45)
    sn: tuple[float, float] = (1.3, 110.0)
    lsf_scatter: float = 0.12


class Simulated(NamedTuple):
    """A chunk: features, truth in u-space (without mass), relative log mass, and what calibration wants to know."""

    features: Float[Array, "galaxy feature"]
    u: Float[Array, "galaxy parameter"]
    log_mass: Float[Array, "galaxy"]
    redshift: Float[Array, "galaxy"]
    sn: Float[Array, "galaxy"]
    chi2: Float[Array, "galaxy"]
    log_weight: Float[Array, "galaxy"]


class Setting(NamedTuple):
    """What a chunk shares: the view, the basis at its pixels, the survey's range and the redshift's centre.

    `fraction` is the error of each pixel over its flux for a survey that has such a law (`slipher.instrument.surveys`).
    """

    view: View
    basis: Float[Array, "pixel component"]
    redshift: Float[Array, ""]
    low_aa: Float[Array, ""]
    high_aa: Float[Array, ""]
    log_lsf: Float[Array, "three"]
    fraction: Float[Array, ""] | None = None


def draw_setting(rng: np.random.Generator, population: Population, library: Library, basis: Array) -> Setting:
    """A random survey, redshift slice and line-spread function, with the library and the projection as seen there."""
    names = list(population.surveys)
    survey = surveys.survey(names[rng.choice(len(names), p=np.array(list(population.surveys.values())))])
    low_z, high_z = population.redshift
    # Half uniform, half log-uniform: nearby galaxies are bright and often asked for.
    redshift = rng.uniform(low_z, high_z) if rng.random() < 0.5 else np.exp(rng.uniform(*np.log([low_z, high_z])))
    return setting_of(rng, survey, redshift, population, library, basis)


def setting_of(
    rng: np.random.Generator, survey: Survey, redshift: float, population: Population, library: Library, basis: Array
) -> Setting:
    """What a survey sees of a redshift slice through a random line-spread function about its typical one."""
    low, high = survey.wave_range_aa
    if survey.n_samples is None:
        # Where pixels lie under a line is chance.
        wave = stretch(low / (1.0 + redshift + REDSHIFT_HALF_WIDTH)) * 10 ** (-rng.random() * STRIDE * stars.LOG_WAVE_STEP)
        width = survey.pixel_kms(wave * (1.0 + redshift))
    else:
        wave, width = nearest(survey.wavelengths()), stars.LOG_WAVE_STEP * np.log(10.0) * C_KMS
    tilt = rng.normal(0.0, population.lsf_scatter)
    scale = np.exp(rng.normal(0.0, population.lsf_scatter) + tilt * np.log(wave / 5000.0))

    def lsf(at_aa: np.ndarray) -> np.ndarray:
        return survey.lsf(at_aa * (1.0 + redshift)) * np.interp(at_aa, wave, scale)

    view = spectrograph.view(wave, 0.0, library, lsf_kms=lsf(wave), width_kms=width)
    return Setting(
        view, proj.at_pixels(basis, *spectrograph.interpolation_stencil(wave)), jnp.float32(redshift), jnp.float32(low), jnp.float32(high),
        jnp.asarray(np.log(lsf(np.array(LSF_ANCHORS_AA))), jnp.float32),
        None if survey.fraction is None else jnp.float32(survey.fraction),
    )  # fmt: skip


def stretch(low_aa: float) -> np.ndarray:
    """Every second wavelength [pixel] of the library's grid from a rest wavelength on, as far as there are points."""
    first = np.log10(low_aa) - stars.LOG_WAVE_START
    start = int(np.clip(np.floor(first / stars.LOG_WAVE_STEP / STRIDE), 0, stars.N_WAVE // STRIDE - N_PIXEL)) * STRIDE
    return stars.wave_grid()[start + STRIDE * np.arange(N_PIXEL)]


def nearest(wave_aa: np.ndarray) -> np.ndarray:
    """The wavelengths [pixel] of the library's grid nearest to rest wavelengths."""
    return stars.wave_grid()[np.rint((np.log10(wave_aa) - stars.LOG_WAVE_START) / stars.LOG_WAVE_STEP).astype(int)]


class Observed(NamedTuple):
    """One simulated galaxy on a chunk's pixels."""

    flux: Float[Array, "pixel"]
    ivar: Float[Array, "pixel"]
    u: Float[Array, "parameter"]
    redshift: Float[Array, ""]
    sn: Float[Array, ""]


def observe(
    key: PRNGKeyArray, model: GalaxyModel, setting: Setting, library: Library, systematics: Systematics, sn_range: tuple
) -> Observed:
    """Draw a galaxy from the prior and observe it: flux in Lsun/A per Msun formed, zero and without weight where lost."""
    k = jax.random.split(key, 7)
    u = jax.random.normal(k[0], (len(model.parameters) - 1,))
    values = parameters.from_normal(model.parameters[:-1], u)
    if setting.fraction is not None:
        everywhere = jnp.ones_like(setting.view.wave_aa)
        t_universe = cosmology.age_gyr(setting.redshift)
        expected = simulate.light(k[3], model, values, t_universe, setting.view, library, systematics, everywhere)
        flux, sigma = simulate.record_fraction(k[6], expected, setting.fraction)
        return Observed(flux, 1.0 / sigma**2, u, setting.redshift, 1.0 / setting.fraction)
    redshift = setting.redshift + REDSHIFT_HALF_WIDTH * jax.random.uniform(k[1], minval=-1.0, maxval=1.0)
    redshift = jnp.maximum(redshift, 0.001)
    wave_obs = setting.view.wave_aa * (1.0 + redshift)
    covered = (wave_obs > setting.low_aa) & (wave_obs < setting.high_aa)
    covered = covered.astype(jnp.float32) * surveys.mask(k[2], len(wave_obs))
    t_universe = cosmology.age_gyr(redshift)
    expected = simulate.light(k[3], model, values, t_universe, setting.view, library, systematics, covered)
    shape = surveys.noise_shape(k[4], wave_obs, expected.continuum, setting.low_aa, setting.high_aa)
    low, high = np.log(sn_range)
    sn = jnp.exp(jax.random.uniform(k[5], minval=low, maxval=high))
    mean_ratio = jnp.sum(covered * expected.continuum / shape) / jnp.sum(covered)
    sigma = shape * mean_ratio / sn
    flux = simulate.record(k[6], expected, sigma, setting.view.wave_aa, systematics)
    return Observed(covered * flux, covered / sigma**2, u, redshift, sn)


@partial(jax.jit, static_argnames=("model", "systematics", "sn_range"))
def _chunk(
    keys: Key[Array, "galaxy"], setting: Setting, library: Library, projection: proj.Projection, model: GalaxyModel,
    systematics: Systematics, sn_range: tuple[float, float],
) -> Simulated:  # fmt: skip
    seen = jax.vmap(lambda key: observe(key, model, setting, library, systematics, sn_range))(keys)
    return describe(seen, setting, projection)


def describe(seen: Observed, setting: Setting, projection: proj.Projection) -> Simulated:
    """Simulated galaxies, batched, as the network reads them."""

    def one(flux: Array, ivar: Array) -> proj.Projected:
        return proj.project(flux, ivar, setting.view.wave_aa, setting.basis, projection.mean, projection.variance)

    projected = jax.lax.map(lambda galaxy: one(*galaxy), (seen.flux, seen.ivar), batch_size=32)
    features = jax.vmap(proj.features, (0, None, 0, None))(projected, projection, seen.redshift, setting.log_lsf)
    chi2 = projected.chi2_between_lines
    return Simulated(features, seen.u, -jnp.log10(projected.norm), seen.redshift, seen.sn, chi2, projected.log_weight)


def simulator(
    model: GalaxyModel, population: Population, systematics: Systematics, library: Library, projection: proj.Projection
) -> Callable[[int, int, int], Simulated]:
    """A function (seed, chunk number, galaxies) -> `Simulated`; the same numbers give the same galaxies."""

    def draw(seed: int, number: int, n: int) -> Simulated:
        rng = np.random.default_rng([seed, number])
        setting = draw_setting(rng, population, library, projection.basis)
        keys = jax.random.split(jax.random.key(rng.integers(2**31)), n)
        return _chunk(keys, setting, library, projection, model, systematics, population.sn)

    return draw


def learn_projection(
    seed: int,
    model: GalaxyModel,
    library: Library,
    systematics: Systematics,
    population: Population,
    ranks: proj.Ranks = proj.DEFAULT_RANKS,
    n: int = 2400,
) -> proj.Projection:
    """The projection's basis, from noise-free galaxies of the prior over the whole library range."""
    wave = stars.wave_grid()

    def one(key: PRNGKeyArray, view: View) -> tuple[Array, Array]:
        k = jax.random.split(key, 3)
        values = model.complete(parameters.from_normal(model.parameters[:-1], jax.random.normal(k[0], (len(model.parameters) - 1,))))
        low, high = population.redshift
        t_universe = cosmology.age_gyr(jax.random.uniform(k[1], minval=low, maxval=high))
        parts = galaxy.ingredients(model, values, t_universe, library)
        smooth = galaxy.continuum(model, values, parts, view, library)
        level = simulate.v_band_light(view.wave_aa, smooth)
        predicted = galaxy.line_luminosities(model, values, parts, library)
        scattered = simulate.scatter_lines(k[2], predicted, level, library, systematics)
        windows = galaxy.line_windows(view, library.line_wave_aa, values["sigma_gas"])
        lines = galaxy.spread_lines(view, scattered[:, None] * windows)
        norm = proj.norm_of(smooth, jnp.full_like(smooth, 1e30), view.wave_aa)
        return smooth / norm, lines / norm

    draw = jax.jit(jax.vmap(one, (0, None)))
    widths = (40.0, 55.0, 65.0, 80.0)
    keys = jax.random.split(jax.random.key(seed), (len(widths), n // len(widths)))
    drawn = [draw(k, spectrograph.view(wave, 0.0, library, lsf_kms=w)) for k, w in zip(keys, widths, strict=True)]
    continua, lines = (np.concatenate([np.asarray(d[i]) for d in drawn]) for i in (0, 1))
    return proj.learn(continua, lines, wave, np.asarray(library.line_wave_aa), ranks)
