"""Recipes: one TOML file says everything that a shipped model was made from, and this module makes it.

    recipe --learn--> projection --simulate, train--> network --pack--> weights.safetensors + card.json

The same recipe, seed and package version give the same weights on the same machine, and a killed run resumes to those of the
uninterrupted one.
"""

import dataclasses
import json
import platform
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..files import write_atomically
from ..grids.library import Library, load_library
from ..instrument import surveys
from ..instrument.systematics import Systematics
from ..networks import posterior_flow, projection, train, weights
from ..physics.galaxy import MODELS, GalaxyModel
from . import novelty, training_set
from .training_set import LSF_ANCHORS_AA, Population

N_NOVELTY_CHUNKS = 6
SECTIONS = ("name", "preset", "population", "systematics", "projection", "network", "schedule")


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network (`slipher.networks.posterior_flow.build`)."""

    context: int = 96
    width: int = 320
    depth: int = 3
    layers: int = 6
    flow_width: int = 128
    knots: int = 8


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


def read_text(path: Path) -> str:
    """The text of a recipe's file. Raises InputError where it cannot be read."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "it is no text")
        raise InputError(f"recipe {path} cannot be read ({why})", expected="a TOML file", mend="Check the path.") from error


def content_of(text: str) -> dict:
    """What a recipe's text says. Raises InputError where it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"a recipe that is no TOML ({error})", expected="TOML", mend="See recipes/galaxy.toml.") from error


def parse_recipe(text: str) -> Recipe:
    """The recipe of a TOML text; errors as for `read_recipe`."""
    content = content_of(text)
    if unknown := sorted(set(content) - set(SECTIONS)):
        raise InputError(f"{unknown[0]!r} in a recipe", expected=f"one of {', '.join(SECTIONS)}", mend="Mend the recipe.")
    preset = content.get("preset")
    if preset not in list(MODELS):
        raise InputError(f"preset {preset!r}", expected=f"one of {', '.join(MODELS)}", mend="Choose one of those.")
    population, systematics = section(Population, content, "population"), section(Systematics, content, "systematics")
    _check(population, systematics)
    return Recipe(
        name=str(content.get("name", preset)),
        preset=MODELS[preset],
        population=population,
        systematics=systematics,
        ranks=section(projection.Ranks, content, "projection"),
        architecture=section(Architecture, content, "network"),
        schedule=section(train.Schedule, content, "schedule"),
        text=text,
    )


def section(kind: type, content: dict, name: str) -> Any:
    """A dataclass from a TOML table."""
    table, defaults = content.get(name, {}), dataclasses.asdict(kind())
    if not isinstance(table, dict):
        raise InputError(f"{name} = {table!r}", expected=f"a table [{name}] of settings", mend="Mend the recipe.")
    if unknown := sorted(set(table) - set(defaults)):
        raise InputError(f"[{name}] {unknown[0]}", expected=f"one of {', '.join(sorted(defaults))}", mend="Mend the recipe.")
    return kind(**{key: _setting(f"[{name}] {key}", value, defaults[key]) for key, value in table.items()})


def _setting(what: str, value: Any, default: Any) -> Any:
    """A TOML value as its default is: lists become tuples, whole numbers real ones where those are meant."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    kinds, expected = {
        int: ((int,), "a whole number"), float: ((int, float), "a number"),
        tuple: ((list,), "a list of numbers"), dict: ((dict,), "a table of numbers"), bool: ((bool,), "true or false"),
    }[type(default)]  # fmt: skip
    if type(value) not in kinds or any(type(x) not in (int, float, *(kinds if bool in kinds else ())) for x in inside):
        raise InputError(f"{what} = {value!r}", expected=f"{expected}, as in {default!r}", mend="Mend the recipe.")
    if isinstance(value, dict):
        return {key: float(x) for key, x in value.items()}
    return tuple(map(float, value)) if isinstance(value, list) else type(default)(value)


def _check(population: Population, systematics: Systematics) -> None:
    """What their tables have to hold: surveys that exist, with shares; all line groups."""
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
    priors = {p.name: {"unit": p.unit, "prior": type(p.prior).__name__, **dataclasses.asdict(p.prior)} for p in recipe.preset.parameters}
    return json.loads(json.dumps({"priors": priors, "error_model": dataclasses.asdict(recipe.systematics)}))


def template(recipe: Recipe, library: Library, sizes: Components) -> TrainedGalaxy:
    """A model of the right shapes, to be filled with weights."""
    basis = jnp.zeros((len(library.wave_aa), sizes.n), jnp.float16)
    membership = jnp.zeros((sizes.n_complex, sizes.n - sizes.n_continuum))
    empty = projection.Projection(basis, jnp.zeros(sizes.n), jnp.ones(sizes.n), membership, sizes.n_continuum)
    return TrainedGalaxy(empty, posterior_flow.skeleton(*_ends(recipe, sizes), **dataclasses.asdict(recipe.architecture)))


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
    began = time.time()
    library = load_library()
    basis = training_set.learn_projection(recipe.schedule.seed, recipe.preset, library, recipe.systematics, recipe.population, recipe.ranks)
    simulate = training_set.simulator(recipe.preset, recipe.population, recipe.systematics, library, basis)
    network, history = train.train(
        _network(recipe, components_of(basis)), simulate, recipe.schedule, Path(out),
        {"recipe": recipe.text, "slipher": version("slipher"), **assumptions(recipe)}, resume=resume, progress=progress,
    )  # fmt: skip
    pack(TrainedGalaxy(basis, network), recipe, history, Path(out), time.time() - began, novelty_of(simulate, recipe))
    return Path(out)


def novelty_of(simulate: Callable, recipe: Recipe) -> dict:
    """Statistics of fresh simulations that `slipher.models.novelty` compares spectra with."""
    chunks = [simulate(recipe.schedule.seed + 2_000_003, i, recipe.schedule.chunk_size) for i in range(N_NOVELTY_CHUNKS)]
    chi2, log_weight = (np.concatenate([np.asarray(getattr(c, name)) for c in chunks]) for name in ("chi2", "log_weight"))
    return novelty.statistics(chi2, log_weight)


def pack(model: TrainedGalaxy, recipe: Recipe, history: list[dict], out: Path, seconds: float, novelty_statistics: dict) -> None:
    """Write weights and card."""
    with write_atomically(out / "weights.safetensors") as temporary:
        checksum = weights.save_arrays(model, temporary)
    schedule = recipe.schedule
    card = {
        "name": recipe.name,
        "recipe": recipe.text,
        "seed": schedule.seed,
        "slipher": version("slipher"),
        "jax": jax.__version__,
        "python": platform.python_version(),
        **assumptions(recipe),
        "components": components_of(model.projection)._asdict(),
        "simulations": schedule.chunks * schedule.chunk_size,
        "steps": schedule.total_steps,
        "training_seconds": round(seconds),
        "validation_loss_nats": history[-1]["validation"] if history else None,
        "novelty": novelty_statistics,
        "sha256": checksum,
    }
    with write_atomically(out / "card.json") as temporary:
        temporary.write_text(json.dumps(card, indent=1))
