"""The autoencoder of spectra on a user's own files: what a recipe with a section `[spectra]` puts in the place of simulations.

    files --read, choose--> galaxies --what the simulations' basis leaves of them--> extended basis
    a galaxy --mask, add noise, twice--> two statistics, beside those of simulated galaxies --> `latent_recipe`, as without files

A real galaxy is observed once. The two observations that the losses compare are made of it: other stretches are lost in each, and noise is
added. Where enough is added, that of the one is so correlated with that of the other that their errors, the survey's own included, are
independent (as in data thinning, Neufeld et al. 2024, JMLR 25, 57), as far as its ivar is right: no latent can come to tell of noise.

What real galaxies have and simulated ones lack is learnt first: principal components of residuals, found by expectation maximisation for
data with errors of their own and gaps (Roweis 1998, NIPS 10, 626; Bailey 2012, PASP 124, 1015) and shrunk to nothing where noise alone
would leave as much. What the nuisances of `latent_set` explain is not among it.

All spectra are held in memory, 0.15 MB each for SDSS, 0.3 MB for DESI. Galaxies are dealt with one by one, and each program is waited for.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.ndimage import gaussian_filter1d

from .. import data
from ..data.observation import Spectrum
from ..errors import Flag, InputError
from ..grids import stars
from ..instrument.systematics import Systematics
from ..networks import autoencoder, sufficient
from ..networks import projection as proj
from ..networks.autoencoder import Autoencoder
from ..networks.remainder import Remainder
from ..networks.sufficient import Statistics
from . import false_alarms, latent_recipe, latent_set, observed, spectrum_latents
from .false_alarms import Explained
from .latent_recipe import LatentRecipe, RealSpectra, TrainedLatents
from .latent_set import Chunk, Errors, Onto, Physics, Simulator
from .observed import Prepared
from .shipped import ShippedLatents
from .training_set import STRIDE, Population

BATCH = 16  # simulated galaxies come in multiples of it: the batches of `latent_set`
SPECTRA_A_COMPONENT = 3  # fewest
MOST_SPECTRA = 4000  # that components are learnt from
ROUNDS = 30  # of expectation maximisation
SMOOTH, NEARBY = 1.0, 8.0  # sd of the smoothing of components, and of what is near, in knots of 69 km/s
CLEARLY = 2.0  # of the noise' variance
LEAST_USUAL = 500  # spectra held back from which it is learnt what is usual
MOST_VIEWS = 4  # of one spectrum in the population, and in what latents leave
N_SHOWN = 200  # spectra of which the card says how well they are reproduced
LOSSES = 4  # stretches that are lost

log = logging.getLogger(__name__)


class Galaxy(NamedTuple):
    """A real galaxy: as it was read, and ready for the model."""

    spectrum: Spectrum
    seen: Prepared


class Folder(NamedTuple):
    """Spectra that are trained on, spectra held back, and for each that is left out its file, id and the reason."""

    trained_on: list[Galaxy]
    held_back: list[Galaxy]
    left_out: list[dict[str, str]]


class Pairs(NamedTuple):
    """Two observations of each galaxy: a `latent_set.Chunk` without truth, which real galaxies lack."""

    read: Float[Array, "galaxy two feature"]
    gram: Float[Array, "galaxy two pair"]
    centre: Float[Array, "galaxy two component"]
    gradient: Float[Array, "galaxy two component"]
    least: Float[Array, "galaxy two"]
    n_pixels: Float[Array, "galaxy two"]
    scale: Float[Array, "galaxy two"]
    sn: Float[Array, "galaxy two"]


# --- files -----------------------------------------------------------------------------------------------------------


def read(recipe: LatentRecipe) -> Folder:
    """The spectra of a recipe's folder.

    Raises
    ------
    InputError
        If there are no files, or no spectrum among them can be used: with the first reason.
    """
    settings = recipe.spectra
    found, left_out = usable(settings.folder, recipe.population)
    found = [_light(one) for one in found]
    # At random, for neighbours in the list are neighbours on the sky.
    order = np.random.default_rng([recipe.schedule.seed, 0]).permutation(len(found))
    held = int(settings.held_back * len(found))
    return Folder([found[i] for i in sorted(order[held:])], [found[i] for i in sorted(order[:held])], left_out)


def usable(folder: str, population: Population) -> tuple[list[Galaxy], list[dict[str, str]]]:
    """All spectra of a folder or pattern that a population is about; of each other its file, id and the reason.

    Raises
    ------
    InputError
        As `read`.
    """
    found, left_out = [], []
    for name, path in files(folder):
        try:
            spectra = data.read(path)
        except (InputError, OSError) as error:
            left_out.append({"file": name, "reason": _reason(error, path)})
            continue
        for spectrum in spectra:
            try:
                found.append(_galaxy(spectrum, population))
            except InputError as error:
                left_out.append({"file": name, "id": spectrum.id, "reason": _reason(error, f"{spectrum.id}:")})
    if not found:
        why = f" (the first of {len(left_out)}: {left_out[0]['file']}: {left_out[0]['reason']})"
        raise InputError(
            f"{folder} without a usable spectrum{why}", expected="spectra of galaxies with redshifts in the recipe's range",
            mend="Check folder and redshift in the recipe.",
        )  # fmt: skip
    if left_out:
        first = left_out[0]
        came = f"{len(found)} spectra of {folder} are used, {len(left_out)} files or spectra are left out, each named on the card"
        log.warning("%s; the first: %s: %s", came, first["file"], first["reason"])
    return found, left_out


def files(pattern: str) -> list[tuple[str, Path]]:
    """The files of a folder and all beneath it, or of a pattern, by name; hidden ones apart. Raises InputError where there are none."""
    path = Path(pattern)
    magic = next((i for i, part in enumerate(path.parts) if "*" in part or "?" in part or "[" in part), None)
    if magic is not None:
        root, inside = Path(*path.parts[:magic]), str(Path(*path.parts[magic:]))
    else:
        root, inside = (path, "**/*") if path.is_dir() else (path.parent, path.name)
    found = sorted((file.relative_to(root).as_posix(), file) for file in root.glob(inside) if file.is_file())
    found = [(name, file) for name, file in found if not any(part.startswith(".") for part in Path(name).parts)]
    if not found:
        came = f"{pattern}, which {'is empty' if path.is_dir() else 'names no file'}"
        raise InputError(came, expected="files of spectra", mend="Check folder in [spectra]: it is relative to the recipe.")
    return found


def _galaxy(spectrum: Spectrum, population: Population) -> Galaxy:
    """A spectrum made ready. Raises InputError where it is none that the recipe is about.

    A quasar at a redshift of the recipe is kept: nuclei are what simulated galaxies have, too.
    """
    seen = observed.prepare(spectrum, spectrum_latents.EDGE_AA)
    (low, high), least = population.redshift, population.sn[0]
    if not low <= seen.redshift <= high:
        raise InputError(f"redshift {seen.redshift:.5g}", expected=f"{low} to {high}, as in the recipe", mend="Mend either.")
    if Flag.PIPELINE_WARNING in spectrum.flags:
        raise InputError("a redshift that its pipeline warns about", expected="sure ones", mend="Give it, or leave it out.")
    if spectrum.median_sn() < least:
        came = f"a median S/N of {spectrum.median_sn():.2g}"
        raise InputError(came, expected=f"at least {least:g}, as in the recipe", mend="Leave it out, or lower sn.")
    return Galaxy(spectrum, seen)


def _light(galaxy: Galaxy) -> Galaxy:
    """Without what is not needed any more and takes more memory than the rest."""
    spectrum = galaxy.spectrum
    return galaxy._replace(spectrum=replace(spectrum, lsf_kms=spectrum.lsf_sigma_kms(), resolution_matrix=None, labels={}))


def _reason(error: Exception, about: object) -> str:
    """One line of what came and what was expected; what it is about stands beside it."""
    text = f"{error.what}; expected {error.expected}" if isinstance(error, InputError) else str(error)
    return " ".join(text.split()).removeprefix(f"{about} ")


def checksum(folder: Folder) -> str:
    """sha256 over the files and ids of all spectra that are used."""
    every = sorted(f"{g.spectrum.checksum} {g.spectrum.id}" for g in (*folder.trained_on, *folder.held_back))
    return hashlib.sha256("\n".join(every).encode()).hexdigest()


# --- what the simulations' basis lacks -------------------------------------------------------------------------------


class LeftOver(NamedTuple):
    """Of a spectrum over its level [pixel]: what basis and instrument leave of it, and its weight; chi^2 a pixel of that."""

    flux: Float[Array, "pixel"]
    weight: Float[Array, "pixel"]
    chi2: Float[Array, ""]


@partial(jax.jit, static_argnames="systematics")
def _left_over(flux: Array, ivar: Array, basis: Array, errors: Errors, onto: Onto, systematics: Systematics) -> LeftOver:
    templates = latent_set.nuisances(ivar, errors, systematics)
    found = sufficient.collect(flux, ivar, basis, *templates, *onto)
    predicted = found.scale * (basis @ found.centre)
    predicted += sufficient.instrumental(flux, ivar, predicted, *templates)
    seen, level = ivar > 0, found.scale * jnp.maximum(onto.level @ found.centre, 1e-6)
    floor = proj.working_floor(predicted, sufficient.mean_of(predicted, seen))
    weight = jnp.where(seen, ivar / (1.0 + floor**2 * ivar), 0.0)
    return LeftOver(jnp.where(seen, flux - predicted, 0.0) / level, weight * level**2, found.least / jnp.maximum(found.n_pixels, 1.0))


def left_over(galaxies: Sequence[Galaxy], onto: Onto, physics: Physics) -> Iterator[LeftOver]:
    """`LeftOver` of galaxies, one by one."""
    for galaxy in galaxies:
        args = _arrays(galaxy, onto, physics)
        yield jax.block_until_ready(_left_over(*args, onto, physics.systematics))


def _arrays(galaxy: Galaxy, onto: Onto, physics: Physics) -> tuple[Array, Array, Array, Errors]:
    """Flux, ivar, basis at the pixels, and what may be wrong there; waited for."""
    seen, lsf = galaxy.seen, observed.padded(galaxy.spectrum.lsf_kms.astype(np.float64), None)
    basis = latent_set.basis_at(onto.projection, seen.wave_aa / (1.0 + seen.redshift), lsf, physics.library)
    errors = latent_set.errors_at(seen.wave_aa, seen.redshift, physics.systematics)
    return jax.block_until_ready((jnp.asarray(seen.flux), jnp.asarray(seen.ivar), basis, errors))


def at_knots(galaxy: Galaxy, left: LeftOver) -> tuple[Float[np.ndarray, "knot"], Float[np.ndarray, "knot"]]:
    """Weighted means of what is left over at every second wavelength of the library, as wide as SDSS' pixels, and their weights."""
    n = -(-stars.N_WAVE // STRIDE)
    rest = galaxy.seen.wave_aa / (1.0 + galaxy.seen.redshift)
    nearest = np.rint((np.log10(rest) - stars.LOG_WAVE_START) / (STRIDE * stars.LOG_WAVE_STEP))
    index, weight = np.clip(nearest, 0, n - 1).astype(int), np.asarray(left.weight, np.float64)
    total = np.bincount(index, weight, n)
    summed = np.bincount(index, weight * np.asarray(left.flux, np.float64), n)
    # As if the errors were as large as what is left over: or a few strange galaxies would have the components for themselves.
    return summed / np.maximum(total, 1e-30), total / max(float(left.chi2), 1.0)


def components(
    values: Float[np.ndarray, "galaxy knot"], weight: Float[np.ndarray, "galaxy knot"], rank: int
) -> tuple[Float[np.ndarray, "component knot"], Float[np.ndarray, "component"]]:
    """Principal components of data with errors and gaps (weight 0), of unit mean square, and the variance of their coefficients.

    Expectation maximisation of values = E a + noise with a ~ N(0, 1) and known noise, E smooth and shrunk where noise alone would do.
    """
    usual = np.median(weight[weight > 0])
    vectors, sizes = proj.principal(values * weight / (weight + usual), rank)
    e = (vectors * (sizes / np.sqrt(values.size))[:, None]).T  # [knot, component]
    weighted = values * weight
    for _ in range(ROUNDS):
        outer = (e[:, :, None] * e[:, None, :]).reshape(len(e), -1)
        covariance = np.linalg.inv(np.eye(rank) + (weight @ outer).reshape(-1, rank, rank))
        mean = np.einsum("gij,gj->gi", covariance, weighted @ e)
        second = covariance + mean[:, :, None] * mean[:, None, :]
        bend = (weight.T @ second.reshape(len(mean), -1)).reshape(-1, rank, rank)
        variance = np.linalg.inv(bend + 1e-6 * usual * np.eye(rank))
        e = np.einsum("kij,kj->ki", variance, weighted.T @ mean)
        e = gaussian_filter1d(_shrunk(e, np.diagonal(variance, axis1=1, axis2=2)), SMOOTH, axis=0)
        # Coefficients have unit covariance at the end, which plain EM would take hundreds of rounds for (Liu, Rubin & Wu 1998).
        e = e @ np.linalg.cholesky(second.mean(0))
    shapes, sizes, _ = np.linalg.svd(e, full_matrices=False)
    kept = sizes > 1e-6 * np.sqrt(len(e))
    return shapes[:, kept].T * np.sqrt(len(e)), sizes[kept] ** 2 / len(e)


def _shrunk(e: Float[np.ndarray, "knot component"], variance: Float[np.ndarray, "knot component"]) -> Float[np.ndarray, "knot component"]:
    """Towards zero as noise of that variance asks for (Wiener), by what there is of signal nearby: none, unless clearly above noise."""
    signal = gaussian_filter1d(e**2 - CLEARLY * variance, NEARBY, axis=0)
    signal = np.maximum(signal, 0.0)
    return e * signal / (signal + variance)


def extended(
    projection: proj.Projection, shapes: Float[np.ndarray, "component knot"], variance: Float[np.ndarray, "component"]
) -> proj.Projection:
    """A projection with further components of the continuum, from their values at knots; their coefficients have mean zero."""
    n, grid = projection.n_continuum, np.arange(stars.N_WAVE)
    new = np.stack([np.interp(grid, STRIDE * np.arange(len(shape)), shape) for shape in shapes], 1).astype(np.float16)

    def put(old: Array, new: np.ndarray) -> Array:
        return jnp.concatenate([old[..., :n], jnp.asarray(new, old.dtype), old[..., n:]], -1)

    # Twice the variance, as all components have it (`projection.learn`): a population to come may scatter more.
    basis, mean, wide = put(projection.basis, new), put(projection.mean, np.zeros(len(shapes))), put(projection.variance, 2.0 * variance)
    return proj.Projection(basis, mean, jnp.maximum(wide, 1e-8), projection.membership, n + len(shapes))


def extend(projection: proj.Projection, folder: Folder, recipe: LatentRecipe, physics: Physics) -> tuple[proj.Projection, dict]:
    """The simulations' basis with what real spectra have besides; and what the card says of that."""
    asked, n = recipe.spectra.extra, len(folder.trained_on)
    rank = min(asked, n // SPECTRA_A_COMPONENT)
    pick = np.random.default_rng([recipe.schedule.seed, 1]).permutation(n)[:MOST_SPECTRA]
    some = [folder.trained_on[i] for i in sorted(pick)]
    left = list(zip(some, left_over(some, _onto(projection), physics), strict=True))
    found = 0
    if rank > 0:
        values, weight = (np.stack(x).astype(np.float32) for x in zip(*(at_knots(*each) for each in left), strict=True))
        shapes, variance = components(values, weight, rank)
        found = len(shapes)
    why = ""
    if found < asked:
        why = f"{found} components of {asked}: {n} spectra are enough for {n // SPECTRA_A_COMPONENT}, of which residuals show {found}"
        log.warning(why)
    chi2 = {"simulated": _median([float(each.chi2) for _, each in _evenly(left)])}
    facts = {"extra": found, "extra_why": why, "basis_chi2_per_pixel": chi2}
    if found == 0:
        return projection, facts
    made = extended(projection, shapes, variance)
    chi2["extended"] = _median([float(each.chi2) for each in left_over(_evenly(some), _onto(made), physics)])
    return made, {**facts, "extra_sd": [round(float(x), 5) for x in np.sqrt(variance)]}


def _onto(projection: proj.Projection) -> Onto:
    return Onto(projection, jnp.asarray(sufficient.levels(projection, stars.wave_grid())))


def _evenly(some: Sequence) -> Sequence:
    """As many of them as the card tells of."""
    return some[:: max(len(some) // N_SHOWN, 1)][:N_SHOWN]


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 4) if len(values) else None


# --- two observations of one -----------------------------------------------------------------------------------------


def augmented(
    key: PRNGKeyArray, flux: Float[Array, "pixel"], ivar: Float[Array, "pixel"], lost: float, fainter: float
) -> tuple[Float[Array, "two pixel"], Float[Array, "two pixel"]]:
    """Flux and ivar of a spectrum as if it had been observed twice: stretches lost, noise of the survey's shape added.

    S/N falls by factors r and s, log-uniform from 1 to `fainter`. Where (r^2 - 1)(s^2 - 1) >= 1 the errors of the two are independent,
    else as little correlated as they can be.
    """
    k = jax.random.split(key, 3)
    factor = jnp.exp(jax.random.uniform(k[0], (2,), maxval=np.log(fainter)))
    added = jnp.sqrt(jnp.maximum(factor**2 - 1.0, 0.0))  # in units of the noise that there is
    correlation = -1.0 / jnp.maximum(added[0] * added[1], 1.0)
    one, other = jax.random.normal(k[1], (2, len(flux)))
    noise = jnp.stack([one, correlation * one + jnp.sqrt(1.0 - correlation**2) * other])
    kept = jax.vmap(lambda key: _kept(key, ivar > 0, lost))(jax.random.split(k[2]))
    sigma = jnp.where(ivar > 0, 1.0 / jnp.sqrt(jnp.where(ivar > 0, ivar, 1.0)), 0.0)
    return kept * (flux + added[:, None] * sigma * noise), kept * ivar / factor[:, None] ** 2


def _kept(key: PRNGKeyArray, seen: Array, lost: float) -> Float[Array, "pixel"]:
    """1 where a pixel that was seen still is, not lost in one of a few stretches, which together are at most that share of them."""
    k = jax.random.split(key, 3)
    index = jnp.arange(len(seen))
    low, high = jnp.min(jnp.where(seen, index, len(seen))), jnp.max(jnp.where(seen, index, -1)) + 1
    share = lost * jax.random.uniform(k[0]) * jax.random.dirichlet(k[1], jnp.ones(LOSSES))
    length = share * (high - low)
    start = low + jax.random.uniform(k[2], (LOSSES,)) * (high - low - length)
    gone = jnp.any((index >= start[:, None]) & (index < (start + length)[:, None]), 0)
    return (seen & ~gone).astype(jnp.float32)


@partial(jax.jit, static_argnames=("systematics", "settings"))
def _twice(
    key: Array, flux: Array, ivar: Array, basis: Array, errors: Errors, onto: Onto, systematics: Systematics, settings: RealSpectra
) -> tuple[Array, Statistics, Array]:
    """What the encoder reads, statistics and mean S/N of two observations made of one [two, ...]."""

    def one(pixels: tuple[Array, Array]) -> tuple[Array, Statistics, Array]:
        flux, ivar = pixels
        found = sufficient.collect(flux, ivar, basis, *latent_set.nuisances(ivar, errors, systematics), *onto)
        return autoencoder.features(found, *onto), found, sufficient.mean_of(flux * jnp.sqrt(ivar), ivar > 0)

    return jax.lax.map(one, augmented(key, flux, ivar, settings.lost, settings.fainter))


class Mixture(NamedTuple):
    """Real galaxies among simulated ones; answers what `latent_recipe.Simulations` does. `extension`: the card's facts of the basis."""

    recipe: LatentRecipe
    simulator: Simulator
    folder: Folder
    extension: dict

    def identity(self) -> dict:
        """What decides the spectra, beside the recipe: a run is not resumed on others."""
        return {"spectra": {"used": len(self.folder.trained_on) + len(self.folder.held_back), "sha256": checksum(self.folder)}}

    def twice(self, seed: int, number: int, n: int) -> Pairs:
        """A chunk of galaxies that are seen twice.

        Real ones are drawn with replacement: of those trained on for the seed of training, for any other (validation) of those held back.
        """
        training = seed == self.recipe.schedule.seed or not self.folder.held_back
        pool = self.folder.trained_on if training else self.folder.held_back
        simulated = BATCH * round(self.recipe.spectra.simulated * n / BATCH)
        rng = np.random.default_rng([seed, number, 1])
        parts = [] if simulated == 0 else [_without_truth(self.simulator.twice(seed, number, simulated))]
        if simulated < n:
            parts.append(self.pairs(rng, pool, np.sort(rng.integers(0, len(pool), n - simulated)), self.recipe.spectra))
        return Pairs(*(jnp.concatenate(columns) for columns in zip(*parts, strict=True)))

    def pairs(self, rng: np.random.Generator, pool: Sequence[Galaxy], drawn: np.ndarray, settings: RealSpectra) -> Pairs:
        """Two observations of each real galaxy whose place in the pool is drawn; in order, for the basis of each is made once."""
        physics, onto, found, last = self.simulator.physics, self.simulator.onto, [], None
        for place, key in zip(drawn, jax.random.split(jax.random.key(rng.integers(2**31)), len(drawn)), strict=True):
            if place != last:
                arrays, last = _arrays(pool[place], onto, physics), place
            made = jax.block_until_ready(_twice(key, *arrays, onto, physics.systematics, settings))
            found.append(jax.tree.map(np.asarray, made))
        read, statistics, sn = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *found)
        return Pairs(read, *(getattr(statistics, name) for name in latent_set.STATISTICS), sn)

    def real_views(self, every: int) -> int:
        """How many of so many well-observed galaxies are real: as many as the recipe has it, but few views of each spectrum."""
        return 2 * (min(round((1.0 - self.recipe.spectra.simulated) * every), MOST_VIEWS * len(self._better_half())) // 2)

    def _well_observed(self, every: int, stream: int) -> latent_recipe.WellObserved:
        """The better half of the real spectra in S/N [view, ...]; what they are without noise is not known.

        No noise is added, which is no part of a population; what is lost makes several views of one spectrum.
        """
        some, rng = self._better_half(), np.random.default_rng([self.recipe.schedule.seed, stream])
        drawn = np.sort(np.arange(self.real_views(every) // 2) % len(some))
        made = self.pairs(rng, some, drawn, replace(self.recipe.spectra, fainter=1.0))
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), made)
        statistics = jax.vmap(Statistics)(*(getattr(flat, name) for name in latent_set.STATISTICS))
        return latent_recipe.WellObserved(flat.read, statistics, jnp.full_like(statistics.centre, jnp.nan))

    def population(self, network: Autoencoder) -> Float[np.ndarray, "galaxy latent"]:
        """Latents of which the density is learnt: of well-observed real spectra, and of simulated ones."""
        simulated = latent_recipe.population_of(network, self.recipe, self.simulator)
        read = self._well_observed(len(simulated), 2).read
        kept = np.random.default_rng([self.recipe.schedule.seed, 3]).permutation(simulated)[: len(simulated) - len(read)]
        return np.concatenate([kept, np.asarray(latent_recipe.encoded(network, read))])

    def remainder(self, network: Autoencoder) -> Remainder:
        """What latents leave of well-observed galaxies, real and simulated: the components besides are of real ones only."""
        simulated = latent_recipe.well_observed(self.recipe, self.simulator)
        every = len(simulated.read)
        real = self._well_observed(every, 4)
        both = jax.tree.map(lambda a, b: jnp.concatenate([a[: every - len(b)], b]), simulated, real)
        return latent_recipe.remainder_of(network, both)

    def _better_half(self) -> list[Galaxy]:
        order = np.argsort([-galaxy.spectrum.median_sn() for galaxy in self.folder.trained_on], kind="stable")
        return [self.folder.trained_on[i] for i in order[: -(-len(order) // 2)]]

    def facts(self, model: TrainedLatents) -> dict:
        """What the card says of the spectra, and of usual ones: of those held back, if they are many enough."""
        folder, held = self.folder, len(self.folder.held_back)
        real = held >= LEAST_USUAL
        usual = self._usual(model) if real else latent_recipe.usual(model, self.recipe, self.simulator)
        every = latent_recipe.CHUNK * latent_recipe.BRIGHT_CHUNKS
        told = {
            "sha256": checksum(folder), "trained_on": len(folder.trained_on), "held_back": held,
            "chi2_per_pixel": {"trained_on": self._chi2(model, folder.trained_on), "held_back": self._chi2(model, folder.held_back)},
            "population_real": round(self.real_views(every) / every, 4),
            "usual_of": f"{held} spectra held back" if real else f"simulations: {held} spectra are held back, {LEAST_USUAL} are needed",
            **self.extension, "left_out": folder.left_out,
        }  # fmt: skip
        return {"usual": usual, "spectra": told}

    def _usual(self, model: TrainedLatents) -> dict:
        found = [self._explained(model, galaxy).measured for galaxy in self.folder.held_back]
        return false_alarms.statistics([false_alarms.Measured(*(np.asarray(x, np.float64) for x in zip(*found, strict=True)))])

    def _chi2(self, model: TrainedLatents, galaxies: Sequence[Galaxy]) -> float | None:
        """Median chi^2 a pixel of spectra by their latents."""
        found = ((one, self._explained(model, one).corrected.chi2) for one in _evenly(galaxies))
        return _median([float(chi2) / int(one.seen.inside.sum()) for one, chi2 in found])

    def _explained(self, model: TrainedLatents, galaxy: Galaxy) -> Explained:
        """As `slipher.latents` will."""
        made = ShippedLatents(model, self.recipe, {}, self.simulator.physics.library)
        return jax.block_until_ready(spectrum_latents._explained(*galaxy, made))


def _without_truth(chunk: Chunk) -> Pairs:
    return Pairs(*(getattr(chunk, name) for name in Pairs._fields))


def mixture(recipe: LatentRecipe, physics: Physics) -> Mixture:
    """The spectra of a recipe with a section `[spectra]`. Raises InputError as `read`."""
    folder = read(recipe)
    basis = latent_set.learn_projection(recipe.schedule.seed, physics, recipe.population, recipe.ranks)
    basis, facts = extend(basis, folder, recipe, physics)
    return Mixture(recipe, latent_recipe.simulator_of(recipe, physics, basis), folder, facts)
