"""Emulators of other population codes: recipe, training, and the forward model that they become.

    recipe --table or function--> spectra --learn_blocks, fit--> emulator --held-back spectra--> error
           --pack--> weights.safetensors + card.json --load--> EmulatedGalaxy

For models that are no sum over a basis of spectra (DESIGN.md, decision 2). A recipe has `kind = "emulator"`, bounds of its parameters, and
either a table of spectra or a function that makes them. The function's module is imported when a recipe that names it is trained, and at no
other time: a trained emulator is data. Between and beyond the wavelengths of its spectra it says nothing; beyond its parameters' bounds its
flux is NaN.
"""

import dataclasses
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError, ModelFileError
from ..files import write_atomically
from ..inference.emulated import DISPERSION
from ..networks import emulator as architecture
from ..networks import emulator_training as training
from ..networks import train, weights
from ..networks.emulator import Emulator
from ..physics.galaxy import LOG_MASS
from ..physics.parameters import Parameter, Uniform
from . import emulator_error, emulator_source
from .emulator_error import ErrorTerms, MeasuredError
from .emulator_source import Source
from .recipe_text import content_of, read_text, section

KIND = "emulator"
UNIFORM_SD = 1 / np.sqrt(12.0)
PARAMETER_FACTS = {"low": 0.0, "high": 0.0, "unit": "", "label": "", "meaning": ""}


@dataclass(frozen=True)
class Components:
    """Principal components of each block of wavelengths, and the edges (A) between the blocks; none: one block."""

    number: int = 32
    edges_aa: tuple[float, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network (`slipher.networks.emulator.build`)."""

    width: int = 256
    depth: int = 4


@dataclass(frozen=True)
class ErrorModel:
    """Templates of the measured error's covariance."""

    rank: int = 24


SECTIONS = {"components": Components, "network": Architecture, "schedule": training.Schedule, "error": ErrorModel}
SETTINGS = {"name": "", "kind": "", "table": "", "function": "", "wave_aa": "", "spectra": 0, "held_back": 0, "dispersion_kms": 0.0}


@dataclass(frozen=True, eq=False)
class Recipe:
    """What an emulator is made from; `text` is the file itself, to whose folder the table and the function's module are relative."""

    name: str
    parameters: tuple[Parameter, ...]
    table: str
    function: str
    wave_aa: str
    spectra: int
    held_back: int
    dispersion_kms: float
    components: Components
    architecture: Architecture
    schedule: training.Schedule
    error: ErrorModel
    text: str
    folder: Path


class EmulatedGalaxy(eqx.Module):
    """A trained emulator as a forward model: named parameters to rest-frame light, differentiable, one galaxy at a time (`jax.vmap`).

    `dispersion_kms` is by how much its spectra are broadened already (sd, km/s).
    """

    wave_aa: Float[Array, "pixel"]
    emulator: Emulator
    error: MeasuredError
    parameters: tuple[Parameter, ...] = eqx.field(static=True)
    dispersion_kms: float = eqx.field(static=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of u-space."""
        return tuple(p.name for p in self.parameters)

    def spectrum(self, values: dict[str, Any]) -> Float[Array, "pixel"]:
        """Luminosity at `wave_aa`, Lsun/A per Msun formed; NaN where a value lies outside of its bounds.

        Raises
        ------
        InputError
            If a parameter is missing, or one is named that the emulator does not have.
        """
        if wrong := sorted(set(values) ^ set(self.names)):
            came = f"{'a value of' if wrong[0] in values else 'no value of'} {wrong[0]}"
            raise InputError(came, expected=f"values of {', '.join(self.names)}", mend="Name all of those, and no other.")
        point = jnp.stack([jnp.asarray(values[name], jnp.float32) for name in self.names])
        low, high = (jnp.array([getattr(p.prior, end) for p in self.parameters]) for end in ("low", "high"))
        inside = jnp.all(jnp.abs(point - (low + high) / 2) <= (high - low) * (0.5 + 1e-5))
        return jnp.where(inside, jnp.exp(self.emulator.ln_flux(point)), jnp.nan)

    def check(self, values: dict[str, float]) -> None:
        """Raises InputError where a value lies outside of its bounds, naming it: for those who would rather not meet NaN."""
        for p in self.parameters:
            if not p.prior.low <= values[p.name] <= p.prior.high:
                expected = f"{p.prior.low:g} to {p.prior.high:g}"
                raise InputError(f"{p.name} = {values[p.name]:g}", expected=expected, mend="The emulator knows nothing beyond its spectra.")

    def error_covariance(self, reference: Float[Array, "pixel"]) -> ErrorTerms:
        """The emulator's own error about a spectrum at `wave_aa`: floor and templates for `slipher.inference.covariance.covariance`.

        In the unit of `reference`. What resamples spectra to an instrument's pixels resamples the templates, column by column.
        """
        return self.error.about(reference)


# --- recipes ---------------------------------------------------------------------------------------------------------


def read_recipe(path: Path) -> Recipe:
    """Read an emulator's recipe; nothing that it names is opened or imported.

    Raises
    ------
    InputError
        If the file is missing or no TOML, or a setting in it is missing, unknown or of the wrong kind.
    """
    return parse_recipe(read_text(path), Path(path).resolve().parent)


def parse_recipe(text: str, folder: Path = Path()) -> Recipe:
    """The recipe of a TOML text that lies in `folder`; errors as for `read_recipe`."""
    content = content_of(text)
    known = [*SETTINGS, "parameters", *SECTIONS]
    if unknown := sorted(set(content) - set(known)):
        raise InputError(f"{unknown[0]!r} in a recipe", expected=f"one of {', '.join(known)}", mend="Mend the recipe.")
    if content.get("kind") != KIND:
        raise InputError(f"kind = {content.get('kind')!r}", expected="'emulator'", mend="See recipes/emulator_bagpipes.toml.")
    made = {**{"name": "emulator", "spectra": 20000, "held_back": 2000}, **content}
    given = {key: _plain(key, made.get(key, default), default) for key, default in SETTINGS.items() if key != "kind"}
    _check_origin(given)
    sizes, network, schedule, error = (section(kind, content, key) for key, kind in SECTIONS.items())
    _check_positive(sizes, network, schedule, error)
    return Recipe(
        **given, parameters=_parameters(content.get("parameters")), components=sizes, architecture=network,
        schedule=schedule, error=error, text=text, folder=folder,
    )  # fmt: skip


def _plain(what: str, value: Any, default: Any) -> Any:
    """A word, or a number, as its default is."""
    kinds, expected = {str: ((str,), "a text"), int: ((int,), "a whole number"), float: ((int, float), "a number")}[type(default)]
    if type(value) not in kinds:
        raise InputError(f"{what} = {value!r}", expected=expected, mend="Mend the recipe.")
    return type(default)(value)


def _check_origin(given: dict[str, Any]) -> None:
    if bool(given["table"]) == bool(given["function"]):
        came = "a recipe with both table and function" if given["table"] else "a recipe without table or function"
        raise InputError(came, expected="one of them, where the spectra come from", mend="Mend the recipe.")
    if bool(given["function"]) != bool(given["wave_aa"]):
        raise InputError(
            "a function without wave_aa" if given["function"] else "wave_aa for a table", expected="wave_aa with a function, only",
            mend="wave_aa = 'module:NAME', vacuum A, is where a function's wavelengths are; a table has its own.",
        )  # fmt: skip


def _check_positive(*sections: Any) -> None:
    """All sizes and rates but the seed, and edges that increase."""
    for part in sections:
        for key, value in dataclasses.asdict(part).items():
            if key != "seed" and not isinstance(value, tuple) and value <= 0:
                raise InputError(f"{key} = {value!r}", expected="more than 0", mend="Mend the recipe.")
            if isinstance(value, tuple) and any(b <= a for a, b in pairwise(value)):
                raise InputError(f"{key} = {list(value)}", expected="edges that increase", mend="Mend the recipe.")


def _parameters(content: Any) -> tuple[Parameter, ...]:
    if not isinstance(content, dict) or not content:
        raise InputError(f"parameters = {content!r}", expected="a table [parameters] with bounds for each", mend="Mend the recipe.")
    if taken := sorted(set(content) & {DISPERSION.name, LOG_MASS.name}):
        came, expected = f"[parameters] {taken[0]}", "a name that fits do not use for the galaxy's mass or dispersion"
        raise InputError(came, expected=expected, mend="Spectra are per Msun formed; give it another name.")
    return tuple(_parameter(name, facts) for name, facts in content.items())


def _parameter(name: str, facts: Any) -> Parameter:
    what = f"[parameters] {name}"
    if not isinstance(facts, dict) or not {"low", "high"} <= set(facts):
        raise InputError(f"{what} = {facts!r}", expected="low and high, its bounds", mend="Mend the recipe.")
    if unknown := sorted(set(facts) - set(PARAMETER_FACTS)):
        raise InputError(f"{what} {unknown[0]}", expected=f"one of {', '.join(PARAMETER_FACTS)}", mend="Mend the recipe.")
    f = {key: _plain(f"{what} {key}", facts.get(key, default), default) for key, default in PARAMETER_FACTS.items()}
    if not (np.isfinite(f["low"]) and np.isfinite(f["high"]) and f["low"] < f["high"]):
        raise InputError(f"{what} from {f['low']} to {f['high']}", expected="finite bounds, low below high", mend="Mend the recipe.")
    return Parameter(name, f["unit"], f["label"] or name.replace("_", r"\_"), Uniform(f["low"], f["high"]), f["meaning"])


# --- training --------------------------------------------------------------------------------------------------------


def run(recipe: Recipe, out: Path, *, resume: bool = True, progress: Callable | None = None) -> Path:
    """Train a recipe's emulator in the folder `out`, which then holds weights.safetensors and card.json; returns it.

    Raises
    ------
    InputError
        If the folder holds a run of another recipe, table or function, or the spectra cannot be used (`emulator_source`).
    """
    began = time.time()
    out.mkdir(parents=True, exist_ok=True)
    origin = _origin(recipe)
    train.claim(out, {"recipe": recipe.text, "slipher": version("slipher"), **origin}, resume)
    source = _source(recipe, out / "spectra", progress)
    ranges = _ranges(recipe, source.wave_aa)
    trained = _fit(recipe, source, ranges, out, progress)
    residuals = _residuals(trained, source)
    error = emulator_error.measure(residuals, recipe.error.rank)
    made = EmulatedGalaxy(jnp.asarray(source.wave_aa, jnp.float32), trained, error, recipe.parameters, recipe.dispersion_kms)
    measured = emulator_error.summary(residuals, source.wave_aa, recipe.error.rank)
    facts = {
        **origin,
        "trained_on": int(np.sum(~source.held_back)),
        "training_seconds": round(time.time() - began),
    }
    _pack(made, recipe, {**facts, "error": measured}, out)
    return out


def _origin(recipe: Recipe) -> dict:
    """What the spectra come from, and its checksum."""
    if recipe.table:
        return {"table": emulator_source.checksum_of_table(recipe.folder / recipe.table)}
    return {"function": emulator_source.checksum_of_function(recipe.function, recipe.folder)}


def _source(recipe: Recipe, folder: Path, progress: Callable | None) -> Source:
    seed = recipe.schedule.seed
    if recipe.table:
        return emulator_source.from_table(recipe.folder / recipe.table, recipe.parameters, recipe.held_back, seed)
    return emulator_source.from_function(
        recipe.function, recipe.wave_aa, recipe.parameters, recipe.spectra, recipe.held_back, seed,
        beside=recipe.folder, folder=folder, progress=progress,
    )  # fmt: skip


def _ranges(recipe: Recipe, wave_aa: np.ndarray) -> list[slice]:
    """The pixels of each block."""
    edges = [0, *np.searchsorted(wave_aa, recipe.components.edges_aa), len(wave_aa)]
    if any(b <= a for a, b in pairwise(edges)):
        came = f"edges_aa = {list(recipe.components.edges_aa)}"
        raise InputError(came, expected=f"edges within {wave_aa[0]:g} to {wave_aa[-1]:g} A, pixels between them", mend="Mend the recipe.")
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def _fit(recipe: Recipe, source: Source, ranges: list[slice], out: Path, progress: Callable | None) -> Emulator:
    """Components from the rows that are not held back, then the network."""
    learnt_from = (ln_flux[~source.held_back[rows]] for rows, ln_flux in emulator_source.chunks(source))
    blocks, spread = training.learn_blocks(learnt_from, ranges, recipe.components.number)
    shift, scale = _standard(recipe.parameters)
    x = (source.values - shift) / scale
    z = np.concatenate([training.coefficients(ln_flux, blocks, ranges) for _, ln_flux in emulator_source.chunks(source)]) / spread
    seen, held = (training.Rows(*(jnp.asarray(a[pick], jnp.float32) for a in (x, z))) for pick in (~source.held_back, source.held_back))
    sizes = dataclasses.asdict(recipe.architecture)
    network = architecture.build(jax.random.key(recipe.schedule.seed), len(recipe.parameters), len(spread), **sizes)
    network, _ = training.fit(network, seen, held, spread, recipe.schedule, out, progress=progress)
    return Emulator(*(jnp.asarray(a, jnp.float32) for a in (shift, scale)), network, jnp.asarray(spread, jnp.float32), blocks)


def _standard(parameters: tuple[Parameter, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the priors."""
    low, high = (np.array([getattr(p.prior, end) for p in parameters]) for end in ("low", "high"))
    return (low + high) / 2, (high - low) * UNIFORM_SD


def _residuals(trained: Emulator, source: Source) -> np.ndarray:
    """ln true less ln emulated flux [row, pixel] of the rows held back."""
    parts = []
    for rows, ln_flux in emulator_source.chunks(source):
        held = source.held_back[rows]
        if held.any():
            parts.append(ln_flux[held] - np.asarray(_ln_flux(trained, jnp.asarray(source.values[rows][held], jnp.float32))))
    return np.concatenate(parts).astype(np.float32)


@eqx.filter_jit
def _ln_flux(trained: Emulator, values: Float[Array, "row parameter"]) -> Float[Array, "row pixel"]:
    return jax.vmap(trained.ln_flux)(values)


def _pack(made: EmulatedGalaxy, recipe: Recipe, facts: dict, out: Path) -> None:
    """Write weights and card."""
    with write_atomically(out / "weights.safetensors") as temporary:
        checksum = weights.save_arrays(made, temporary)
    card = {
        "name": recipe.name,
        "kind": KIND,
        "recipe": recipe.text,
        "seed": recipe.schedule.seed,
        "slipher": version("slipher"),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "pixels": [len(b.mean) for b in made.emulator.blocks],
        "components": [len(b.basis) for b in made.emulator.blocks],
        "error_rank": made.error.templates.shape[1],
        **facts,
        "sha256": checksum,
    }
    with write_atomically(out / "card.json") as temporary:
        temporary.write_text(json.dumps(card, indent=1))


# --- loading ---------------------------------------------------------------------------------------------------------


def load(folder: str | Path) -> EmulatedGalaxy:
    """The emulator that `slipher train` wrote to a folder, checked against the checksum on its card; nothing is imported or executed.

    Raises
    ------
    ModelFileError
        If weights or card are missing, altered, or do not belong together.
    """
    folder = Path(folder)
    card = weights.read_card(folder)
    try:
        recipe = parse_recipe(card["recipe"], folder)
        made = weights.load_arrays(_template(recipe, card), folder / "weights.safetensors")
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        came = f"the card of {folder} ({error})"
        raise ModelFileError(came, expected="an emulator's recipe and sizes", mend="Train again: slipher train RECIPE.") from error
    if not all(np.allclose(a, b, rtol=1e-5) for a, b in zip((made.emulator.shift, made.emulator.scale), _standard(recipe.parameters))):
        raise ModelFileError(
            f"the card of {folder} with other bounds of parameters", expected="those that the weights were trained with",
            mend="The card was altered: train again.",
        )  # fmt: skip
    return made


def _template(recipe: Recipe, card: dict) -> EmulatedGalaxy:
    """An emulator of the right shapes, to be filled with weights."""
    pixels, components, rank = card["pixels"], card["components"], card["error_rank"]
    empty = partial(architecture.empty, len(recipe.parameters), pixels, components, **dataclasses.asdict(recipe.architecture))

    def shapes() -> EmulatedGalaxy:
        error = MeasuredError(*(jnp.zeros(s) for s in ((len(emulator_error.PERCENTILES), sum(pixels)), (sum(pixels), rank), sum(pixels))))
        return EmulatedGalaxy(jnp.zeros(sum(pixels)), empty(), error, recipe.parameters, recipe.dispersion_kms)

    return eqx.filter_eval_shape(shapes)
