"""Recipes of generative models of spectra: `kind = "latents"` in the TOML file.

    recipe --learn--> projection --simulate, train--> autoencoder --latents of the bright--> density, remainder --mocks--> false alarms
           --pack--> weights.safetensors + card.json

The counterpart of `recipe` for latents; trainer, weights, cards and the reading of TOML are the same. With a section `[spectra]` the
same network is trained on real spectra beside the simulated ones: `latent_folder` puts those into what is simulated, and nothing else.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..errors import InputError
from ..grids import stars
from ..grids.library import Library, load_library
from ..instrument.systematics import Systematics
from ..networks import autoencoder, latent_density, projection, remainder, sufficient, train
from ..networks.autoencoder import Autoencoder, Corrected
from ..networks.autoencoder import Population as Prior
from ..networks.latent_density import Density
from ..networks.remainder import Remainder
from ..networks.sufficient import Statistics
from ..physics.galaxy import GalaxyModel
from . import false_alarms, latent_set, packing
from . import recipe as spectra
from .latent_set import Chunk, Contents, Onto, Physics, Seen, Simulator
from .recipe import Components
from .recipe_text import opened, read_text, section
from .training_set import Population

KIND = "latents"
SECTIONS = ("name", "kind", "preset", "population", "systematics", "contents", "projection", "network", "schedule", "spectra")
CHUNK = 512  # a multiple of the batches in `latent_set`: with a remainder, threads of XLA have waited for each other for ever
BRIGHT_CHUNKS, BRIGHT_SN = 40, (40.0, 80.0)  # galaxies whose latents are the population, and their S/N
REMAINDER_CHUNKS = 6  # galaxies of which it is learnt what latents leave
USUAL_CHUNKS = 24  # galaxies of all S/N, which say what is usual
TASK = train.Task(
    ("read", *latent_set.STATISTICS),
    ("shift", "scale", "projection", "level", "metric"),
    lambda network, chunk: autoencoder.standardise(network, chunk.read[:, 0]),
    lambda network, read, *fields: autoencoder.loss(network, read, jax.vmap(jax.vmap(Statistics))(*fields)),
)


@dataclass(frozen=True)
class Sizes:
    """Sizes of the networks (`slipher.networks.autoencoder.build`)."""

    latents: int = 16
    width: int = 384
    depth: int = 3
    decoder_width: int = 256
    decoder_depth: int = 3


@dataclass(frozen=True)
class RealSpectra:
    """A user's own spectra, in the place of a share of the simulated ones (`latent_folder`).

    Parameters
    ----------
    folder
        A folder, with all that lies beneath it, a file, or a pattern of files with `*`; relative to the recipe.
    simulated
        Share of each chunk that stays simulated: small folders need it; 0 trains on real spectra only.
    lost
        Largest share of a spectrum's pixels that is taken away at random each time it is seen, in stretches.
    fainter
        Largest factor by which noise is added each time.
    extra
        Components by which the basis of the simulations is extended, fewer where spectra are few.
    held_back
        Share of the spectra that is not trained on.
    """

    folder: str = ""
    simulated: float = 0.5
    lost: float = 0.2
    fainter: float = 4.0
    extra: int = 8
    held_back: float = 0.1


LIMITS = {"simulated": (0.0, 0.95), "lost": (0.0, 0.8), "fainter": (1.0, 100.0), "extra": (0, 64), "held_back": (0.0, 0.8)}


@dataclass(frozen=True, eq=False)
class LatentRecipe:
    """What a generative model of spectra is made from; `text` is the file itself, `spectra` None where all are simulated."""

    name: str
    preset: GalaxyModel
    population: Population
    systematics: Systematics
    contents: Contents
    ranks: projection.Ranks
    sizes: Sizes
    schedule: train.Schedule
    text: str
    spectra: RealSpectra | None = None

    def physics(self, library: Library) -> Physics:
        """What simulates its galaxies."""
        return Physics(self.preset, self.systematics, self.contents, library)


class Answered(NamedTuple):
    """A spectrum's corrected latents, and the most likely coefficients in units of its statistics' scale."""

    corrected: Corrected
    coefficients: Float[Array, "component"]


class TrainedLatents(eqx.Module):
    """What the weights file holds: the autoencoder, the density of the population's latents, and what they leave of galaxies."""

    network: Autoencoder
    density: Density
    remainder: Remainder

    @property
    def prior(self) -> Prior:
        """The Gaussian prior of corrections."""
        return Prior(self.density.mean, self.density.covariance)

    def new(self, key: PRNGKeyArray) -> tuple[Float[Array, "latent"], Float[Array, "component"]]:
        """A new galaxy of the population: its latents, and coefficients of a spectrum of level one."""
        own, left = jax.random.split(key)
        latents = self.density.sample(own, 1)[0]
        return latents, self.coefficients(left, latents)

    def coefficients(self, key: PRNGKeyArray, latents: Float[Array, "latent"]) -> Float[Array, "component"]:
        """A spectrum of level one of these latents, with a draw of what they leave."""
        return self.remainder.draw(key, latents, self.network.decode(latents), self.network.projection)

    def answer(self, read: Float[Array, "feature"], statistics: Statistics) -> Answered:
        """The encoder's latents corrected by the likelihood, what the decoder leaves over marginalised about the encoder's spectrum."""
        network = self.network
        first = network.encode(read)
        shape = network.decode(first)
        root = sufficient.amplitude_of(shape, statistics)[0] * self.remainder.at(shape, network.projection)
        found = autoencoder.correct(first, remainder.marginalised(statistics, root), network, self.prior)
        decoded = found.amplitude * network.decode(found.latents)
        return Answered(found, decoded + remainder.expected(decoded, statistics, root))


def read_recipe(path: Path) -> LatentRecipe:
    """Read a recipe; errors as for `slipher.models.recipe.read_recipe`."""
    return parse_recipe(read_text(path), Path(path).resolve().parent)


def parse_recipe(text: str, beside: Path = Path()) -> LatentRecipe:
    """The recipe of a TOML text that lies in the folder `beside`; no spectrum that it names is opened."""
    content, preset = opened(text, SECTIONS)
    population, systematics = section(Population, content, "population"), section(Systematics, content, "systematics")
    spectra.check(population, systematics)
    return LatentRecipe(
        name=str(content.get("name", content["preset"])),
        preset=preset,
        population=population,
        systematics=systematics,
        contents=section(Contents, content, "contents"),
        ranks=section(projection.Ranks, content, "projection"),
        sizes=section(Sizes, content, "network"),
        schedule=section(train.Schedule, content, "schedule"),
        text=text,
        spectra=_real_spectra(content["spectra"], beside) if "spectra" in content else None,
    )


def _real_spectra(table: object, beside: Path) -> RealSpectra:
    """The section `[spectra]`. Raises InputError where it names no folder, or a number is out of range."""
    numbers = {key: value for key, value in table.items() if key != "folder"} if isinstance(table, dict) else table
    made = section(RealSpectra, {"spectra": numbers}, "spectra")
    folder = table.get("folder")
    if not isinstance(folder, str) or not folder.strip():
        came = f"[spectra] folder = {folder!r}" if "folder" in table else "[spectra] without folder"
        raise InputError(came, expected="a folder of spectra, or a pattern of files such as 'spectra/*.fits'", mend="Mend the recipe.")
    for name, (low, high) in LIMITS.items():
        if not low <= getattr(made, name) <= high:
            raise InputError(f"[spectra] {name} = {getattr(made, name)!r}", expected=f"{low} to {high}", mend="Mend the recipe.")
    return dataclasses.replace(made, folder=str(beside / Path(folder).expanduser()))


def assumptions(recipe: LatentRecipe) -> dict:
    """Priors, error model and contents as JSON values: what the simulated spectra rest on, beside the library."""
    facts = {
        "priors": packing.priors_of(recipe.preset), "error_model": dataclasses.asdict(recipe.systematics),
        "contents": dataclasses.asdict(recipe.contents),
    }  # fmt: skip
    return json.loads(json.dumps(facts))


def template(recipe: LatentRecipe, library: Library, sizes: Components) -> TrainedLatents:
    """A model of the right shapes, to be filled with weights."""
    basis = spectra.empty_projection(library, sizes)
    build = eqx.filter_eval_shape(lambda: _network(recipe, basis, jnp.zeros(sizes.n), jnp.eye(sizes.n)))
    left = remainder.blank(sizes.n, recipe.sizes.latents, CHUNK * REMAINDER_CHUNKS)
    return TrainedLatents(build, latent_density.blank(recipe.sizes.latents), left)


def _network(recipe: LatentRecipe, basis: projection.Projection, level: Array, metric: Array) -> Autoencoder:
    key = jax.random.key(recipe.schedule.seed)
    return autoencoder.build(key, basis, level, metric, **dataclasses.asdict(recipe.sizes))


def metric_of(basis: projection.Projection, wave_aa: np.ndarray) -> Float[np.ndarray, "component component"]:
    """Mean product of components over the rest wavelengths of a spectrum's level."""
    inside = (wave_aa > sufficient.LEVEL_AA[0]) & (wave_aa < sufficient.LEVEL_AA[1])
    some = np.asarray(basis.basis, np.float64)[inside]
    return (some.T @ some / len(some)).astype(np.float32)


class Simulations(NamedTuple):
    """Where a recipe's spectra come from: the simulator alone. `latent_folder.Mixture` answers the same with real ones among them."""

    recipe: LatentRecipe
    simulator: Simulator

    def identity(self) -> dict:
        """What decides the spectra, beside the recipe."""
        return {}

    def twice(self, seed: int, number: int, n: int) -> Chunk:
        """A chunk to learn from."""
        return self.simulator.twice(seed, number, n)

    def population(self, network: Autoencoder) -> Float[np.ndarray, "galaxy latent"]:
        """Latents of which the density is learnt."""
        return population_of(network, self.recipe, self.simulator)

    def remainder(self, network: Autoencoder) -> Remainder:
        """What latents leave."""
        return remainder_of(network, well_observed(self.recipe, self.simulator))

    def facts(self, model: TrainedLatents) -> dict:
        """What the card says of usual spectra."""
        return {"usual": usual(model, self.recipe, self.simulator)}


def simulator_of(recipe: LatentRecipe, physics: Physics, basis: projection.Projection) -> Simulator:
    """What simulates a recipe's spectra, seen on a basis."""
    return Simulator(physics, recipe.population, Onto(basis, jnp.asarray(sufficient.levels(basis, stars.wave_grid()))))


def _source(recipe: LatentRecipe, physics: Physics):
    """`Simulations`, or a `latent_folder.Mixture`."""
    if recipe.spectra is None:
        basis = latent_set.learn_projection(recipe.schedule.seed, physics, recipe.population, recipe.ranks)
        return Simulations(recipe, simulator_of(recipe, physics, basis))
    # Not above: spectra are made ready by `observed`, which needs the models that ship, and those need this module.
    from . import latent_folder

    return latent_folder.mixture(recipe, physics)


def run(recipe: LatentRecipe, out: Path, *, resume: bool = True, progress: Callable | None = None) -> Path:
    """Train a recipe's model in the folder `out`, which then holds weights.safetensors and card.json; returns it.

    Raises
    ------
    InputError
        If the folder holds a run of another recipe or of other spectra; of a recipe with `[spectra]` also if none of those is usable.
    """
    source = _source(recipe, recipe.physics(load_library()))
    basis, level = source.simulator.onto
    network, history = train.train(
        _network(recipe, basis, level, jnp.asarray(metric_of(basis, stars.wave_grid()))), source.twice, recipe.schedule, Path(out),
        {"recipe": recipe.text, "slipher": version("slipher"), **assumptions(recipe), **source.identity()},
        task=TASK, resume=resume, progress=progress,
    )  # fmt: skip
    trained = time.time()
    density = latent_density.learn(recipe.schedule.seed, source.population(network))
    model = TrainedLatents(network, density, source.remainder(network))
    facts = source.facts(model)
    pack(model, recipe, history, Path(out), history[-1]["seconds"] + time.time() - trained, facts)
    return Path(out)


def population_of(network: Autoencoder, recipe: LatentRecipe, simulator: Simulator) -> Float[np.ndarray, "galaxy latent"]:
    """Latents of simulated galaxies that are well observed."""
    return np.concatenate([np.asarray(encoded(network, seen.read)) for seen in _bright(recipe, simulator, 3_000_003, BRIGHT_CHUNKS)])


class WellObserved(NamedTuple):
    """Galaxies [galaxy, ...] of which it is learnt what latents leave: what the encoder reads, statistics, coefficients (or NaN)."""

    read: Float[Array, "galaxy feature"]
    statistics: Statistics
    exact: Float[Array, "galaxy component"]


def well_observed(recipe: LatentRecipe, simulator: Simulator) -> WellObserved:
    """Simulated ones."""
    seed, chunks = 4_000_003, _bright(recipe, simulator, 4_000_003, REMAINDER_CHUNKS)
    exact = (simulator.exact(recipe.schedule.seed + seed, i, CHUNK) for i in range(REMAINDER_CHUNKS))
    parts = [WellObserved(seen.read, seen.statistics, true) for seen, true in zip(chunks, exact, strict=True)]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def remainder_of(network: Autoencoder, seen: WellObserved) -> Remainder:
    """What latents leave of galaxies that are well observed."""
    return remainder.learn(jax.random.key(0), network, encoded(network, seen.read), seen.statistics, seen.exact)


def _bright(recipe: LatentRecipe, simulator: Simulator, seed: int, n: int) -> Iterator[Seen]:
    bright = simulator._replace(population=dataclasses.replace(recipe.population, sn=BRIGHT_SN))
    return (bright.once(recipe.schedule.seed + seed, i, CHUNK)[1] for i in range(n))


@eqx.filter_jit
def encoded(network: Autoencoder, read: Float[Array, "galaxy feature"]) -> Float[Array, "galaxy latent"]:
    """Latents of spectra by the encoder alone."""
    return jax.vmap(network.encode)(read)


def usual(model: TrainedLatents, recipe: LatentRecipe, simulator: Simulator) -> dict:
    """What `false_alarms` has to know of spectra like those of training, at all S/N."""
    chunks = (simulator.once(recipe.schedule.seed + 2_000_003, i, CHUNK) for i in range(USUAL_CHUNKS))
    return false_alarms.statistics([false_alarms.measured(model, seen, setting, recipe.systematics) for setting, seen, _ in chunks])


def pack(model: TrainedLatents, recipe: LatentRecipe, history: list[dict], out: Path, seconds: float, facts: dict) -> None:
    """Write weights and card."""
    sizes = spectra.components_of(model.network.projection)._asdict()
    packing.write_model(model, recipe, history, out, seconds, {"kind": KIND, **assumptions(recipe), "components": sizes, **facts})
