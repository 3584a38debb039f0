"""Models by name: what ships with slipher, or lies in a folder that `slipher train` wrote."""

import difflib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError, ModelFileError
from ..grids.library import BroadLibrary, Library, load_broad, load_library
from ..networks import weights
from ..networks.residual import Residual
from . import emulator, hybrid_recipe, latent_recipe, morphology_recipe, photometric_recipe
from .emulator import EmulatedGalaxy
from .hybrid_recipe import HybridRecipe
from .latent_recipe import LatentRecipe, TrainedLatents
from .morphology_recipe import MorphologyRecipe, TrainedMorphology
from .photometric_recipe import PhotometricRecipe, TrainedPhotometry
from .recipe import Components, Recipe, TrainedGalaxy, assumptions, parse_recipe, template

FOLDER = Path(__file__).parent.parent / "weights"


class Shipped(NamedTuple):
    """A trained model with its recipe, card and the library it is made on."""

    trained: TrainedGalaxy
    recipe: Recipe
    card: dict
    library: Library


class ShippedPhotometry(NamedTuple):
    """A trained model of photometry with its recipe, card and library."""

    trained: TrainedPhotometry
    recipe: PhotometricRecipe
    card: dict
    library: BroadLibrary


class ShippedLatents(NamedTuple):
    """A trained generative model of spectra with its recipe, card and library."""

    trained: TrainedLatents
    recipe: LatentRecipe
    card: dict
    library: Library


class ShippedHybrid(NamedTuple):
    """A learnt residual with the model of spectra that it belongs to, its recipe and card."""

    residual: Residual
    base: Shipped
    recipe: HybridRecipe
    card: dict


class ShippedEmulator(NamedTuple):
    """A trained emulator with its card."""

    galaxy: EmulatedGalaxy
    card: dict


class ShippedMorphology(NamedTuple):
    """Learned priors of morphologies with their recipe and card."""

    trained: TrainedMorphology
    recipe: MorphologyRecipe
    card: dict


def morphology(name: str = "morphology") -> ShippedMorphology:
    """`load` of priors of morphologies. Raises InputError for a model of another kind."""
    made = load(name)
    if not isinstance(made, ShippedMorphology):
        raise InputError(f"model {name!r}, which has no shapes", expected="priors of morphologies", mend="Choose 'morphology'.")
    return made


def photometric(name: str) -> ShippedPhotometry:
    """`load` of a model of photometry. Raises InputError for one of another kind."""
    made = load(name)
    if not isinstance(made, ShippedPhotometry):
        raise InputError(f"model {name!r}, which is of spectra", expected="a model of photometry", mend="Choose 'photometry'.")
    return made


def names() -> list[str]:
    """Names of the models that ship with slipher."""
    return sorted(path.parent.name for path in FOLDER.glob("*/card.json"))


def folder_of(name: str) -> Path:
    """Folder of a shipped model, or the folder that the name is a path to.

    Raises
    ------
    InputError
        If there is neither; names that come close are listed.
    """
    for folder in (FOLDER / name, Path(name)):
        if (folder / "card.json").is_file():
            return folder
    close = difflib.get_close_matches(name, names(), cutoff=0.4)
    raise InputError(
        f"model {name!r}",
        expected=f"one of {', '.join(names()) or 'none yet'}, or the folder of a trained model",
        mend=f"Did you mean {' or '.join(close)}?" if close else "See: slipher models list",
    )


def card(name: str) -> dict:
    """The card of a model: recipe, seed, version, simulations, training time, calibration, limits, checksum.

    Raises
    ------
    InputError
        If there is no such model.
    ModelFileError
        If the card is damaged, or the weights beside it are not those it describes.
    """
    return weights.read_card(folder_of(name))


@cache
def load(name: str) -> Shipped | ShippedPhotometry | ShippedLatents | ShippedHybrid | ShippedEmulator | ShippedMorphology:
    """A model, checked against the checksum on its card; loaded once a process.

    Raises
    ------
    ModelFileError
        If weights and card do not belong together, or were made with other priors or another error model than this version has.
    """
    folder = folder_of(name)
    facts = weights.read_card(folder)
    if facts.get("kind") == emulator.KIND:
        return ShippedEmulator(emulator.load(folder), facts)
    if facts.get("kind") == hybrid_recipe.KIND:
        return _hybrid(folder, facts)
    if facts.get("kind") == morphology_recipe.KIND:
        recipe = morphology_recipe.parse_recipe(facts["recipe"])
        blank = morphology_recipe.template(recipe)
        return ShippedMorphology(weights.load_arrays(blank, folder / "weights.safetensors"), recipe, facts)
    try:
        if facts.get("kind") == photometric_recipe.KIND:
            recipe, library, kind = photometric_recipe.parse_recipe(facts["recipe"]), load_broad(), ShippedPhotometry
            assumed, blank = photometric_recipe.assumptions(recipe), photometric_recipe.template(recipe)
        elif facts.get("kind") == latent_recipe.KIND:
            recipe, library, kind = latent_recipe.parse_recipe(facts["recipe"]), load_library(), ShippedLatents
            assumed, blank = latent_recipe.assumptions(recipe), latent_recipe.template(recipe, library, Components(**facts["components"]))
        else:
            recipe, library, kind = parse_recipe(facts["recipe"]), load_library(), Shipped
            assumed, blank = assumptions(recipe), template(recipe, library, Components(**facts["components"]))
    except (KeyError, TypeError, InputError) as error:
        raise ModelFileError(
            f"the card of {folder} ({error})", expected="a recipe and the network's sizes", mend="Train again: slipher train RECIPE."
        ) from error
    if changed := [fact for fact, value in assumed.items() if facts.get(fact) != value]:
        raise ModelFileError(
            f"{folder}, trained by slipher {facts.get('slipher')} with other {' and '.join(changed).replace('_', ' ')}",
            expected=f"those of slipher {version('slipher')}",
            mend="Use the version that it was trained by, or train again: slipher train RECIPE.",
        )
    return kind(weights.load_arrays(blank, folder / "weights.safetensors"), recipe, facts, library)


def _hybrid(folder: Path, facts: dict) -> ShippedHybrid:
    """A hybrid model, which was learnt with one base model and holds for no other."""
    recipe = hybrid_recipe.parse_recipe(facts["recipe"])
    base = load(recipe.base)
    if not isinstance(base, Shipped) or base.card["sha256"] != facts.get("base_sha256"):
        raise ModelFileError(
            f"{folder}, learnt with another {recipe.base!r}", expected=f"weights of checksum {str(facts.get('base_sha256'))[:12]}",
            mend="Learn it again: slipher train RECIPE.",
        )  # fmt: skip
    blank = hybrid_recipe.template(recipe, base.library)
    return ShippedHybrid(weights.load_arrays(blank, folder / "weights.safetensors"), base, recipe, facts)
