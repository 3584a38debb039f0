"""Models by name: what ships with slipher, or lies in a folder that `slipher train` wrote."""

import difflib
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..grids.library import Library, load_library
from ..networks import weights
from .recipe import Components, Recipe, TrainedGalaxy, parse_recipe, template

FOLDER = Path(__file__).parent.parent / "weights"


class Shipped(NamedTuple):
    """A trained model with its recipe, card and the library it is made on."""

    trained: TrainedGalaxy
    recipe: Recipe
    card: dict
    library: Library


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
    """The card of a model: recipe, seed, version, simulations, training time, calibration, limits, checksum."""
    folder = folder_of(name)
    return json.loads((folder / "card.json").read_text())


@cache
def load(name: str) -> Shipped:
    """A model, checked against the checksum on its card; loaded once a process.

    Raises
    ------
    ModelFileError
        If weights and card do not belong together.
    """
    folder = folder_of(name)
    facts = weights.read_card(folder)
    recipe, library = parse_recipe(facts["recipe"]), load_library()
    empty = template(recipe, library, Components(**facts["components"]))
    return Shipped(weights.load_arrays(empty, folder / "weights.safetensors"), recipe, facts, library)
