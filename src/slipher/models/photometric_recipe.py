"""Recipes of models of photometry: `kind = "photometry"` in the TOML file.

    recipe --learn--> node prior --simulate, train--> network --pack--> weights.safetensors + card.json

The counterpart of `recipe` for bands; trainer, weights, cards and the reading of TOML are the same.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..grids.library import load_broad
from ..inference.photometric import Assumed
from ..instrument import imaging
from ..instrument.band_errors import BandErrors
from ..networks import bands, photometric_flow, train
from ..physics.abundance import RedshiftRange
from ..physics.galaxy import GalaxyModel
from . import novelty, packing, photometric_set
from .photometric_set import BandPopulation
from .recipe_text import Architecture, opened, read_text, section

KIND = "photometry"
SECTIONS = ("name", "kind", "preset", "population", "errors", "network", "schedule")


@dataclass(frozen=True, eq=False)
class PhotometricRecipe:
    """What a model of photometry is made from; `text` is the file itself."""

    name: str
    preset: GalaxyModel
    population: BandPopulation
    errors: BandErrors
    architecture: Architecture
    schedule: train.Schedule
    text: str

    @property
    def assumed(self) -> Assumed:
        """What the exact likelihood takes for granted where the redshift is free."""
        return Assumed(self.preset, RedshiftRange(*self.population.redshift), self.population.counted, self.errors)


class TrainedPhotometry(eqx.Module):
    """What the weights file holds: the prior of the nodes, and the network that reads them."""

    prior: bands.NodePrior
    network: photometric_flow.PhotometricFlow


def read_recipe(path: Path) -> PhotometricRecipe:
    """Read a recipe; errors as for `slipher.models.recipe.read_recipe`."""
    return parse_recipe(read_text(path))


def parse_recipe(text: str) -> PhotometricRecipe:
    """The recipe of a TOML text."""
    content, preset = opened(text, SECTIONS)
    table = dict(content.get("population", {}))
    sets = tuple(table.pop("sets", BandPopulation().sets))
    if unknown := [name for name in sets if name not in list(imaging.BAND_SETS)]:
        raise InputError(f"[population] sets {unknown[0]!r}", expected=f"some of {', '.join(imaging.BAND_SETS)}", mend="Mend the recipe.")
    population = dataclasses.replace(section(BandPopulation, {"population": table}, "population"), sets=sets)
    return PhotometricRecipe(
        name=str(content.get("name", content["preset"])),
        preset=preset,
        population=population,
        errors=section(BandErrors, content, "errors"),
        architecture=section(Architecture, content, "network"),
        schedule=section(train.Schedule, content, "schedule"),
        text=text,
    )


def assumptions(recipe: PhotometricRecipe) -> dict:
    """Priors and error model as JSON values: what a model's answers rest on, beside the library."""
    mass = "mass function of Leja et al. (2020) and comoving volume" if recipe.population.counted else "log mass and ln(1 + z) uniform"
    facts = {"priors": packing.priors_of(recipe.preset), "mass_and_redshift": mass, "error_model": dataclasses.asdict(recipe.errors)}
    return json.loads(json.dumps(facts))


def template(recipe: PhotometricRecipe) -> TrainedPhotometry:
    """A model of the right shapes, to be filled with weights."""
    n = bands.N_NODES
    return TrainedPhotometry(bands.NodePrior(jnp.zeros(n), jnp.eye(n), jnp.zeros(())), _network(recipe, blank=True))


def _network(recipe: PhotometricRecipe, *, blank: bool = False) -> photometric_flow.PhotometricFlow:
    key, architecture = jax.random.key(recipe.schedule.seed), dataclasses.asdict(recipe.architecture)
    redshifts = RedshiftRange(*recipe.population.redshift)
    return photometric_flow.build_photometric(key, len(recipe.preset.parameters) - 1, redshifts, blank=blank, **architecture)


def run(recipe: PhotometricRecipe, out: Path, *, resume: bool = True, progress: Callable | None = None) -> Path:
    """Train a recipe's model in the folder `out`, which then holds weights.safetensors and card.json; returns it.

    Raises
    ------
    InputError
        If the folder holds a run of another recipe.
    """
    library = load_broad()
    prior = photometric_set.learn_prior(recipe.schedule.seed, recipe.assumed, recipe.population, library)
    simulate = photometric_set.simulator(recipe.assumed, recipe.population, library, prior)
    network, history = train.train(
        _network(recipe), simulate, recipe.schedule, Path(out),
        {"recipe": recipe.text, "slipher": version("slipher"), **assumptions(recipe)}, resume=resume, progress=progress,
    )  # fmt: skip
    pack(TrainedPhotometry(prior, network), recipe, history, Path(out), history[-1]["seconds"], novelty_of(simulate, recipe))
    return Path(out)


def novelty_of(simulate: Callable, recipe: PhotometricRecipe) -> dict:
    """Statistics of fresh simulations with which the smoothness of photometry is compared."""
    chunks = [simulate(recipe.schedule.seed + 2_000_003, i, recipe.schedule.chunk_size) for i in range(packing.N_NOVELTY_CHUNKS)]
    chi2 = np.concatenate([np.asarray(c.chi2 / c.n_bands) for c in chunks])
    sn = np.concatenate([np.log(np.asarray(c.sn)) for c in chunks])
    return novelty.statistics(np.maximum(chi2, 1e-3), sn)


def pack(model: TrainedPhotometry, recipe: PhotometricRecipe, history: list[dict], out: Path, seconds: float, statistics: dict) -> None:
    """Write weights and card."""
    packing.write_model(model, recipe, history, out, seconds, {"kind": KIND, **assumptions(recipe), "novelty": statistics})
