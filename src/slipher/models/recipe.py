"""Recipes: one TOML file says everything that a shipped model was made from, and this module makes it.

    recipe --learn--> projection --simulate, train--> network --pack--> weights.safetensors + card.json

The same recipe, seed and package version give the same weights on the same machine, and a killed run resumes to those of the
uninterrupted one.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..grids.library import Library, load_library
from ..instrument import surveys
from ..instrument.systematics import Systematics
from ..networks import posterior_flow, projection, train
from ..physics.galaxy import GalaxyModel
from . import novelty, packing, training_set
from .recipe_text import Architecture, opened, read_text, section
from .training_set import LSF_ANCHORS_AA, Population

SECTIONS = ("name", "preset", "population", "systematics", "projection", "network", "schedule")


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a model is made from; `text` is the file itself."""

    name: str
    preset: GalaxyModel
    population: Population
    systematics: Systematics
    ranks: projection.Ranks
    architecture: Architecture
    schedule: train.Schedule
    text: str


class TrainedGalaxy(eqx.Module):
    """What a model's weights file holds: the projection of spectra and the network that reads it."""

    projection: projection.Projection
    network: posterior_flow.PosteriorFlow


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    InputError
        If the file is missing or no TOML, names a preset, section or setting that does not exist, or one of the wrong kind.
    """
    return parse_recipe(read_text(path))


def parse_recipe(text: str) -> Recipe:
    """The recipe of a TOML text; errors as for `read_recipe`."""
    content, preset = opened(text, SECTIONS)
    population, systematics = section(Population, content, "population"), section(Systematics, content, "systematics")
    check(population, systematics)
    return Recipe(
        name=str(content.get("name", content["preset"])),
        preset=preset,
        population=population,
        systematics=systematics,
        ranks=section(projection.Ranks, content, "projection"),
        architecture=section(Architecture, content, "network"),
        schedule=section(train.Schedule, content, "schedule"),
        text=text,
    )


def check(population: Population, systematics: Systematics) -> None:
    """Raises InputError unless the tables hold what they have to: surveys that exist, with shares; all line groups."""
    for name in population.surveys:
        surveys.survey(name)
    shares = population.surveys
    if min(shares.values(), default=0.0) < 0.0 or not np.isclose(sum(shares.values()), 1.0):
        raise InputError(f"[population] surveys = {shares}", expected="shares that add up to 1", mend="Mend the recipe.")
    for setting, groups in (("line_scatter", systematics.line_scatter), ("line_ew_aa", systematics.line_ew_aa)):
        if wrong := sorted(set(groups) ^ set(getattr(Systematics(), setting))):
            every = ", ".join(Systematics().line_scatter)
            raise InputError(f"[systematics.{setting}] {wrong[0]}", expected=f"all of {every}", mend="Mend the recipe.")


class Components(NamedTuple):
    """Sizes of a projection: components in all, those of the continuum, complexes of lines."""

    n: int
    n_continuum: int
    n_complex: int


def components_of(made: projection.Projection) -> Components:
    """The sizes of a projection."""
    return Components(made.mean.shape[0], made.n_continuum, made.membership.shape[0])


def n_features(sizes: Components) -> int:
    """Length of `slipher.networks.projection.features` for a projection of those sizes."""
    return 4 * sizes.n - sizes.n_continuum + sizes.n_complex + 4 + len(LSF_ANCHORS_AA)


def assumptions(recipe: Recipe) -> dict:
    """Priors and error model as JSON values: what a model's answers rest on, beside the library."""
    return json.loads(json.dumps({"priors": packing.priors_of(recipe.preset), "error_model": dataclasses.asdict(recipe.systematics)}))


def template(recipe: Recipe, library: Library, sizes: Components) -> TrainedGalaxy:
    """A model of the right shapes, to be filled with weights."""
    empty = empty_projection(library, sizes)
    return TrainedGalaxy(empty, posterior_flow.skeleton(*_ends(recipe, sizes), **dataclasses.asdict(recipe.architecture)))


def empty_projection(library: Library, sizes: Components) -> projection.Projection:
    """A projection of the right shapes."""
    basis = jnp.zeros((len(library.wave_aa), sizes.n), jnp.float16)
    membership = jnp.zeros((sizes.n_complex, sizes.n - sizes.n_continuum))
    return projection.Projection(basis, jnp.zeros(sizes.n), jnp.ones(sizes.n), membership, sizes.n_continuum)


def _network(recipe: Recipe, sizes: Components) -> posterior_flow.PosteriorFlow:
    key, architecture = jax.random.key(recipe.schedule.seed), dataclasses.asdict(recipe.architecture)
    return posterior_flow.build(key, *_ends(recipe, sizes), **architecture)


def _ends(recipe: Recipe, sizes: Components) -> tuple[int, int]:
    """Numbers that go into a network and that come out."""
    return n_features(sizes), len(recipe.preset.parameters) - 1


def run(recipe: Recipe, out: Path, *, resume: bool = True, progress: Callable | None = None) -> Path:
    """Train a recipe's model in the folder `out`, which then holds weights.safetensors and card.json; returns it.

    Raises
    ------
    InputError
        If the folder holds a run of another recipe.
    """
    library = load_library()
    basis = training_set.learn_projection(recipe.schedule.seed, recipe.preset, library, recipe.systematics, recipe.population, recipe.ranks)
    simulate = training_set.simulator(recipe.preset, recipe.population, recipe.systematics, library, basis)
    network, history = train.train(
        _network(recipe, components_of(basis)), simulate, recipe.schedule, Path(out),
        {"recipe": recipe.text, "slipher": version("slipher"), **assumptions(recipe)}, resume=resume, progress=progress,
    )  # fmt: skip
    pack(TrainedGalaxy(basis, network), recipe, history, Path(out), history[-1]["seconds"], novelty_of(simulate, recipe))
    return Path(out)


def novelty_of(simulate: Callable, recipe: Recipe) -> dict:
    """Statistics of fresh simulations that `slipher.models.novelty` compares spectra with."""
    chunks = [simulate(recipe.schedule.seed + 2_000_003, i, recipe.schedule.chunk_size) for i in range(packing.N_NOVELTY_CHUNKS)]
    chi2, log_weight = (np.concatenate([np.asarray(getattr(c, name)) for c in chunks]) for name in ("chi2", "log_weight"))
    return novelty.statistics(chi2, log_weight)


def pack(model: TrainedGalaxy, recipe: Recipe, history: list[dict], out: Path, seconds: float, novelty_statistics: dict) -> None:
    """Write weights and card."""
    facts = {**assumptions(recipe), "components": components_of(model.projection)._asdict(), "novelty": novelty_statistics}
    packing.write_model(model, recipe, history, out, seconds, facts)
