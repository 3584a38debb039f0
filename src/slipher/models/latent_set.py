"""Simulated spectra with what real ones hold and the galaxy model lacks, seen twice: what the autoencoder learns from.

    galaxy + nucleus + abundances --two settings--> calibration, sky, noise --collect--> two statistics

A galaxy is drawn once and observed by two surveys (or one, twice), at two redshifts, with two masks and noises. What is the galaxy's own
(lines about Cloudy's, a nucleus, element abundances) is the same in both; what the instrument adds (calibration, residuals of the sky) is
not, nor is what the library's templates get wrong at random. Blends and wrong redshifts, off unless asked for, are for the outliers of
benchmarks. Each cause can be switched off (`Contents`), and what was drawn of each is recorded beside the spectrum (`Truth`).
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ..grids import stars
from ..grids.library import Library
from ..instrument import simulate, sky, spectrograph, surveys
from ..instrument import systematics as sys_
from ..instrument.systematics import Systematics
from ..networks import autoencoder, sufficient
from ..networks import projection as proj
from ..networks.sufficient import Statistics
from ..physics import abundances, agn, cosmology, galaxy, parameters
from ..physics.galaxy import GalaxyModel, View
from . import training_set
from .training_set import Population

LEAST_SHIFT, MOST_SHIFT = 0.004, 0.15  # of wrong redshifts, in ln(1 + z); of blends at most the latter


@dataclass(frozen=True)
class Contents:
    """What spectra hold beside the galaxy model, each switched off by zero.

    `narrow` and `broad`: shares of galaxies with narrow and with broad lines of a nucleus. `abundances`: size of the offsets of absorption
    features (`slipher.physics.abundances`). `calibration`, `mismatch`: factors on the recipe's errors of calibration and of templates.
    `sky`: residuals, in the noise. `blends` and `wrong_redshifts`: shares of spectra with another galaxy in them, and of those taken to
    the wrong rest frame.
    """

    narrow: float = 0.25
    broad: float = 0.04
    abundances: float = 1.0
    calibration: float = 1.0
    mismatch: float = 1.0
    sky: float = 0.7
    blends: float = 0.0
    wrong_redshifts: float = 0.0


class Truth(NamedTuple):
    """What was drawn of a galaxy, whatever observes it.

    `blend`: light of another galaxy over its own, zero for none; `blend_shift`: that galaxy's ln(1 + z) less its own; `redshift_shift`: how
    far the ln(1 + z) that the spectrum is given is off.
    """

    u: Float[Array, "parameter"]
    t_universe_gyr: Float[Array, ""]
    nucleus: agn.Nucleus
    offsets: Float[Array, "family"]
    blend: Float[Array, ""]
    blend_shift: Float[Array, ""]
    redshift_shift: Float[Array, ""]


class Errors(NamedTuple):
    """Templates of what is added to galaxies' light at an observation's pixels, in their standard deviations.

    `sky` is in units of the noise, `mismatch` a fraction of the light; those of calibration depend on what is covered.
    """

    rest_aa: Float[Array, "pixel"]
    sky: Float[Array, "pixel residual"]
    mismatch: Float[Array, "pixel spline"]


class Setting(NamedTuple):
    """What the galaxies of a chunk share in one of their observations."""

    view: View
    basis: Float[Array, "pixel component"]
    errors: Errors
    redshift: Float[Array, ""]
    low_aa: Float[Array, ""]
    high_aa: Float[Array, ""]


class Physics(NamedTuple):
    """What simulates galaxies; the first three are static."""

    model: GalaxyModel
    systematics: Systematics
    contents: Contents
    library: Library


class Observed(NamedTuple):
    """One observation: flux in Lsun/A per Msun formed, zero and without weight where lost; its S/N."""

    flux: Float[Array, "pixel"]
    ivar: Float[Array, "pixel"]
    sn: Float[Array, ""]


class Chunk(NamedTuple):
    """Two observations of each galaxy: what the encoder reads, the arrays of `Statistics`, S/N [galaxy, two, ...], truth [galaxy, ...]."""

    read: Float[Array, "galaxy two feature"]
    gram: Float[Array, "galaxy two pair"]
    centre: Float[Array, "galaxy two component"]
    gradient: Float[Array, "galaxy two component"]
    least: Float[Array, "galaxy two"]
    n_pixels: Float[Array, "galaxy two"]
    scale: Float[Array, "galaxy two"]
    sn: Float[Array, "galaxy two"]
    truth: Truth

    def statistics(self) -> Statistics:
        """Of all observations [galaxy, two, ...]."""
        return Statistics(*(getattr(self, name) for name in STATISTICS))


STATISTICS = ("gram", "centre", "gradient", "least", "n_pixels", "scale")


# --- a galaxy --------------------------------------------------------------------------------------------------------


def draw(key: PRNGKeyArray, physics: Physics, redshifts: tuple[float, float]) -> Truth:
    """A galaxy of the prior, as old as the universe is at a redshift of that range."""
    k = jax.random.split(key, 6)
    (low, high), contents = redshifts, physics.contents
    chance, size = jax.random.uniform(k[4], (2,)), jax.random.uniform(k[5], (3,))
    wrong = jnp.sign(size[2] - 0.5) * (LEAST_SHIFT + (MOST_SHIFT - LEAST_SHIFT) * jnp.abs(2.0 * size[2] - 1.0))
    return Truth(
        jax.random.normal(k[0], (len(physics.model.parameters) - 1,)),
        cosmology.age_gyr(jax.random.uniform(k[1], minval=low, maxval=high)),
        agn.draw(k[2], contents.narrow, contents.broad),
        abundances.draw(k[3], contents.abundances),
        jnp.where(chance[0] < contents.blends, 0.25 + 0.75 * size[0], 0.0),
        MOST_SHIFT * (2.0 * size[1] - 1.0),
        jnp.where(chance[1] < contents.wrong_redshifts, wrong, 0.0),
    )


def emitted(key: PRNGKeyArray, truth: Truth, view: View, physics: Physics) -> simulate.Emitted:
    """Its light at a view's pixels; the key decides how its lines scatter, and is the galaxy's."""
    k = jax.random.split(key, 4)
    model, library = physics.model, physics.library
    values = parameters.from_normal(model.parameters[:-1], truth.u)
    light = simulate.emitted((k[0], k[1], k[2]), model, values, truth.t_universe_gyr, view, library, physics.systematics)
    level = simulate.v_band_light(view.wave_aa, light.continuum)
    members = jnp.asarray(sys_.group_matrix(library))
    narrow = level * agn.narrow_luminosities(k[3], truth.nucleus, members, library)
    windows = galaxy.line_windows(view, library.line_wave_aa, truth.nucleus.narrow_kms)
    complete = model.complete(values)
    continuum = light.continuum * abundances.transmission(truth.offsets, view.wave_aa, complete["sigma_star"])
    continuum += level * agn.broad_light(truth.nucleus, view)
    lines = light.lines + galaxy.spread_lines(view, narrow[:, None] * windows)
    return simulate.Emitted(continuum, lines, light.line_luminosity + narrow)


def mixed(light: simulate.Emitted, truth: Truth, wave_aa: Float[Array, "pixel"]) -> tuple[simulate.Emitted, Float[Array, "galaxy pixel"]]:
    """Galaxies [galaxy, ...] with what is blended into them (the next one of the batch) and at the redshifts that they are given.

    Also 1 where there is light left to see: a spectrum that is shifted leaves an end of the view empty. What is blended into another goes
    on there as bright as at its own end, for a step would give it away.
    """
    log_wave = jnp.log(wave_aa)

    def moved(flux: Array, shift: Array, beyond: float | None) -> Array:
        return jnp.interp(log_wave - shift, log_wave, flux, left=beyond, right=beyond)

    def one(own: simulate.Emitted, other: simulate.Emitted, truth: Truth) -> tuple[simulate.Emitted, Array]:
        level = simulate.v_band_light(wave_aa, own.continuum) / simulate.v_band_light(wave_aa, other.continuum)
        parts = (own.continuum, own.lines), (other.continuum, other.lines)
        blended = [a + truth.blend * level * moved(b, truth.blend_shift, None) for a, b in zip(*parts, strict=True)]
        continuum, lines = (moved(x, truth.redshift_shift, 0.0) for x in blended)
        return simulate.Emitted(continuum, lines, own.line_luminosity), (continuum > 0).astype(wave_aa.dtype)

    return jax.vmap(one)(light, jax.tree.map(lambda leaf: jnp.roll(leaf, 1, 0), light), truth)


# --- an observation --------------------------------------------------------------------------------------------------


def setting_of(
    rng: np.random.Generator, population: Population, systematics: Systematics, library: Library, projection: proj.Projection
) -> Setting:
    """A random survey, redshift and line-spread function."""
    shared = training_set.draw_setting(rng, population, library, projection.basis)
    wave = np.asarray(shared.view.wave_aa, np.float64)
    # The mean of the slice, with no width about it: residuals of the sky lie where they lie.
    redshift = float(shared.redshift)
    lsf = np.exp(np.interp(wave, training_set.LSF_ANCHORS_AA, np.asarray(shared.log_lsf)))
    basis = basis_at(projection, wave, lsf, library)
    errors = errors_at(wave * (1.0 + redshift), redshift, systematics)
    return Setting(shared.view, basis, errors, shared.redshift, shared.low_aa, shared.high_aa)


def errors_at(wave_obs_aa: Float[np.ndarray, "pixel"], redshift: float, systematics: Systematics) -> Errors:
    """What may be wrong at observed wavelengths (vacuum) of a galaxy of that redshift."""
    rest = jnp.asarray(wave_obs_aa / (1.0 + redshift), jnp.float32)
    return Errors(rest, jnp.asarray(sky.templates(wave_obs_aa)), sys_.mismatch_templates(systematics, rest))


def basis_at(projection: proj.Projection, wave_aa: np.ndarray, lsf_kms: np.ndarray, library: Library) -> Float[Array, "pixel component"]:
    """The basis at rest wavelengths through a line-spread function; the stars' part is as broad as the library already."""
    own = np.interp(wave_aa, np.asarray(library.wave_aa), np.asarray(library.sigma_library_kms))
    n = projection.n_continuum
    smooth = spectrograph.smoothing_stencil(wave_aa, np.sqrt(np.maximum(lsf_kms**2 - own**2, 0.0)))
    sharp = spectrograph.smoothing_stencil(wave_aa, lsf_kms)
    return jnp.concatenate([proj.at_pixels(projection.basis[:, :n], *smooth), proj.at_pixels(projection.basis[:, n:], *sharp)], 1)


def observe(
    key: PRNGKeyArray, light: simulate.Emitted, lit: Float[Array, "pixel"], setting: Setting, physics: Physics,
    sn_range: tuple[float, float],
) -> Observed:  # fmt: skip
    """What an instrument makes of a galaxy's light; `lit`: 1 where there is any to see."""
    k = jax.random.split(key, 3)
    wave_obs = setting.errors.rest_aa * (1.0 + setting.redshift)
    covered = ((wave_obs > setting.low_aa) & (wave_obs < setting.high_aa)).astype(jnp.float32) * surveys.mask(k[0], len(wave_obs)) * lit
    low, high = np.log(sn_range)
    sn = jnp.exp(jax.random.uniform(k[1], minval=low, maxval=high))
    ends = jnp.array([setting.low_aa, setting.high_aa])
    flux, sigma = recorded(k[2], light, covered, wave_obs, sn, ends, setting.errors, physics.systematics, physics.contents)
    return Observed(covered * flux, covered / sigma**2, sn)


def recorded(
    key: PRNGKeyArray, light: simulate.Emitted, covered: Float[Array, "pixel"], wave_obs: Float[Array, "pixel"], sn: Array,
    ends_aa: Float[Array, "two"], errors: Errors, systematics: Systematics, contents: Contents,
) -> tuple[Float[Array, "pixel"], Float[Array, "pixel"]]:  # fmt: skip
    """Flux with all that is wrong with it, and the noise that the instrument reports; `sn` is the mean of what is covered."""
    k = jax.random.split(key, 5)
    calibration = sys_.calibration_templates(systematics, errors.rest_aa, covered)
    factor = 1.0 + contents.calibration * (calibration @ jax.random.normal(k[0], calibration.shape[1:]))
    factor += contents.mismatch * (errors.mismatch @ jax.random.normal(k[1], errors.mismatch.shape[1:]))
    continuum, lines = factor * light.continuum, factor * light.lines
    shape = surveys.noise_shape(k[2], wave_obs, continuum, ends_aa[0], ends_aa[1])
    sigma = shape * jnp.sum(covered * continuum / shape) / jnp.maximum(jnp.sum(covered), 1.0) / sn
    expected = simulate.Light(continuum + lines, continuum, lines, light.line_luminosity)
    flux = simulate.record(k[3], expected, sigma, errors.rest_aa, systematics)
    return flux + sky.residuals(k[4], errors.sky, sigma, contents.sky), sigma


def nuisances(
    ivar: Float[Array, "pixel"], errors: Errors, systematics: Systematics
) -> tuple[Float[Array, "pixel residual"], Float[Array, "pixel factor"]]:
    """Templates of what no galaxy has: residuals of the sky in the flux' unit, and factors of calibration and mismatch less one."""
    seen = ivar > 0
    sigma = jnp.where(seen, 1.0 / jnp.sqrt(jnp.where(seen, ivar, 1.0)), 0.0)
    calibration = sys_.calibration_templates(systematics, errors.rest_aa, seen.astype(jnp.float32))
    return sigma[:, None] * errors.sky, jnp.concatenate([calibration, errors.mismatch], 1)


def collected(seen: Observed, setting: Setting, physics: Physics, projection: proj.Projection, level: Array) -> Statistics:
    """Statistics of one observation; calibration, mismatch and sky are marginalised with their usual sizes."""
    templates = nuisances(seen.ivar, setting.errors, physics.systematics)
    return sufficient.collect(seen.flux, seen.ivar, setting.basis, *templates, projection, level)


# --- chunks ----------------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """One observation of each galaxy [galaxy, ...]: its pixels, and what they say."""

    pixels: Observed
    read: Float[Array, "galaxy feature"]
    statistics: Statistics


class Onto(NamedTuple):
    """A projection and its components' levels (`sufficient.levels`)."""

    projection: proj.Projection
    level: Float[Array, "component"]


class Keys(NamedTuple):
    """Of a galaxy's parameters, of its own scatter about them, and of two observations."""

    galaxy: Key[Array, "galaxy"]
    scatter: Key[Array, "galaxy"]
    first: Key[Array, "galaxy"]
    second: Key[Array, "galaxy"]


class _Fixed(NamedTuple):
    """What is static in a chunk."""

    model: GalaxyModel
    systematics: Systematics
    contents: Contents
    redshifts: tuple[float, float]
    sn_range: tuple[float, float]


def _side(keys: Array, scatter: Array, truth: Truth, setting: Setting, library: Library, onto: Onto, fixed: _Fixed) -> Seen:
    """Galaxies as one setting shows them."""
    physics = Physics(fixed.model, fixed.systematics, fixed.contents, library)
    light = jax.vmap(lambda scatter, truth: emitted(scatter, truth, setting.view, physics))(scatter, truth)
    lit = jnp.ones_like(light.continuum)
    if fixed.contents.blends or fixed.contents.wrong_redshifts:
        light, lit = mixed(light, truth, setting.view.wave_aa)
    seen = jax.vmap(lambda key, light, lit: observe(key, light, lit, setting, physics, fixed.sn_range))(keys, light, lit)
    # One after the other in small batches: all at once they take more memory than time.
    found = jax.lax.map(lambda some: collected(some, setting, physics, *onto), seen, batch_size=16)
    read = jax.lax.map(lambda some: autoencoder.features(some, *onto), found, batch_size=16)
    return Seen(seen, read, found)


@partial(jax.jit, static_argnames="fixed")
def _drawn(keys: Array, library: Library, fixed: _Fixed) -> Truth:
    physics = Physics(fixed.model, fixed.systematics, fixed.contents, library)
    return jax.vmap(lambda key: draw(key, physics, fixed.redshifts))(keys)


@partial(jax.jit, static_argnames="fixed")
def _once(keys: Keys, setting: Setting, library: Library, onto: Onto, fixed: _Fixed) -> tuple[Seen, Truth]:
    truth = _drawn(keys.galaxy, library, fixed)
    return _side(keys.first, keys.scatter, truth, setting, library, onto, fixed), truth


@partial(jax.jit, static_argnames="fixed")
def _again(keys: Array, scatter: Array, truth: Truth, setting: Setting, library: Library, onto: Onto, fixed: _Fixed) -> Seen:
    return _side(keys, scatter, truth, setting, library, onto, fixed)


@partial(jax.jit, static_argnames="fixed")
def _exact(scatter: Array, truth: Truth, view: View, inverses: tuple[Array, Array], library: Library, fixed: _Fixed) -> Array:
    physics = Physics(fixed.model, fixed.systematics, fixed.contents, library)

    def one(some: tuple[Array, Truth]) -> Array:
        light = emitted(*some, view, physics)
        return jnp.concatenate([inverses[0] @ light.continuum, inverses[1] @ light.lines])

    return jax.lax.map(one, (scatter, truth), batch_size=16)


class Simulator(NamedTuple):
    """Chunks of galaxies; the same seed, number and size give the same spectra.

    One observation after the other, each waited for: a batch of triangular systems keeps a thread of XLA's waiting for others, and two at
    once wait for each other for ever where there are two threads.
    """

    physics: Physics
    population: Population
    onto: Onto

    def twice(self, seed: int, number: int, n: int) -> Chunk:
        """Galaxies that are seen twice."""
        rng, keys = self._keys(seed, number, n)
        truth = self._truth(keys)
        sides = [self._again(some, keys.scatter, truth, self._setting(rng)) for some in (keys.first, keys.second)]
        both = jax.tree.map(lambda *leaves: jnp.stack(leaves, 1), *((s.read, s.statistics, s.pixels.sn) for s in sides))
        return Chunk(both[0], *(getattr(both[1], name) for name in STATISTICS), both[2], truth)

    def once(self, seed: int, number: int, n: int) -> tuple[Setting, Seen, Truth]:
        """Galaxies that are seen once, with their pixels and the setting that they share."""
        rng, keys = self._keys(seed, number, n)
        setting = self._setting(rng)
        return setting, *jax.block_until_ready(_once(keys, setting, self.physics.library, self.onto, self._fixed()))

    def exact(self, seed: int, number: int, n: int) -> Float[Array, "galaxy component"]:
        """Coefficients over their level of the galaxies of `once`: of all their light, before any instrument or noise."""
        keys = self._keys(seed, number, n)[1]
        wave = stars.wave_grid()
        basis, k = np.asarray(self.onto.projection.basis, np.float64), self.onto.projection.n_continuum
        inverses = tuple(jnp.asarray(np.linalg.pinv(some), jnp.float32) for some in (basis[:, :k], basis[:, k:]))
        view = spectrograph.view(wave, 0.0, self.physics.library, lsf_kms=0.0)
        found = _exact(keys.scatter, self._truth(keys), view, inverses, self.physics.library, self._fixed())
        return jax.block_until_ready(found / (found @ self.onto.level)[:, None])

    def often(self, seed: int, number: int, n: int, times: int) -> tuple[list[tuple[Setting, Seen]], Truth]:
        """The galaxies of `once`, seen so many times, each time by another setting."""
        rng, keys = self._keys(seed, number, n)
        truth, seen = self._truth(keys), []
        for some in jax.random.split(keys.first[0], (times, n)):
            setting = self._setting(rng)
            seen.append((setting, self._again(some, keys.scatter, truth, setting)))
        return seen, truth

    def _truth(self, keys: Keys) -> Truth:
        return jax.block_until_ready(_drawn(keys.galaxy, self.physics.library, self._fixed()))

    def _again(self, keys: Array, scatter: Array, truth: Truth, setting: Setting) -> Seen:
        return jax.block_until_ready(_again(keys, scatter, truth, setting, self.physics.library, self.onto, self._fixed()))

    def _setting(self, rng: np.random.Generator) -> Setting:
        return setting_of(rng, self.population, self.physics.systematics, self.physics.library, self.onto.projection)

    def _keys(self, seed: int, number: int, n: int) -> tuple[np.random.Generator, Keys]:
        rng = np.random.default_rng([seed, number])
        each = jax.random.split(jax.random.key(rng.integers(2**31)), (4, n))
        return rng, Keys(*each)

    def _fixed(self) -> _Fixed:
        p = self.physics
        return _Fixed(p.model, p.systematics, p.contents, self.population.redshift, self.population.sn)


def learn_projection(seed: int, physics: Physics, population: Population, ranks: proj.Ranks, n: int = 3000) -> proj.Projection:
    """A basis of such galaxies, noise-free, over the whole range of the library and as sharp as it is."""
    wave = stars.wave_grid()
    level = (wave > sufficient.LEVEL_AA[0]) & (wave < sufficient.LEVEL_AA[1])
    view = spectrograph.view(wave, 0.0, physics.library, lsf_kms=0.0)

    @jax.jit
    def one(key: PRNGKeyArray, view: View, library: Library) -> tuple[Array, Array]:
        k = jax.random.split(key)
        made = physics._replace(library=library)
        light = emitted(k[1], draw(k[0], made, population.redshift), view, made)
        norm = jnp.mean(light.continuum, where=jnp.asarray(level))
        return light.continuum / norm, light.lines / norm

    keys = jax.random.split(jax.random.key(seed), n)
    drawn = jax.lax.map(lambda key: one(key, view, physics.library), keys, batch_size=50)
    return proj.learn(*(np.asarray(x) for x in drawn), wave, np.asarray(physics.library.line_wave_aa), ranks)
