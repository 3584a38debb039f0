"""Recipes of hybrid models: `kind = "hybrid"` in the TOML file, which names the base model and a folder of spectra.

How one is made from it: `hybrid_learning`.
"""

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..grids.library import Library
from ..networks import residual
from ..networks.residual import Residual
from .recipe_text import content_of, read_text, section

KIND = "hybrid"
SECTIONS = ("name", "kind", "base", "spectra", "residual")


@dataclass(frozen=True)
class Sizes:
    """Of a residual: number of latents, prior sd of the factor and of faint lines (equivalent width, A), what the physics is taken to span.

    Directions that the physics moves by less than `physics` (rms fraction per prior standard deviation) are free.
    """

    latents: int = 4
    factor: float = 0.03
    line_ew_aa: float = 0.5
    physics: float = 0.002
    iterations: int = 15
    held_back: float = 0.2
    seed: int = 1


@dataclass(frozen=True)
class HybridRecipe:
    """What a hybrid model is made from; `folder` holds the spectra, `text` is the file itself."""

    name: str
    base: str
    folder: str
    sizes: Sizes
    text: str


def read_recipe(path: Path) -> HybridRecipe:
    """Read a recipe. Raises InputError where it cannot be read, or holds what there is not."""
    return parse_recipe(read_text(path), Path(path).resolve().parent)


def parse_recipe(text: str, beside: Path = Path()) -> HybridRecipe:
    """The recipe of a TOML text that lies in the folder `beside`."""
    content = content_of(text)
    if unknown := sorted(set(content) - set(SECTIONS)):
        raise InputError(f"{unknown[0]!r} in a recipe", expected=f"one of {', '.join(SECTIONS)}", mend="Mend the recipe.")
    table = content.get("spectra")
    if not isinstance(table, dict) or set(table) != {"folder"} or not isinstance(table["folder"], str):
        raise InputError(f"spectra = {table!r}", expected='[spectra] with folder = "..."', mend="Say where the spectra are.")
    base = content.get("base", "galaxy")
    if not isinstance(base, str):
        raise InputError(f"base = {base!r}", expected="the name of a model of spectra", mend="Choose 'galaxy'.")
    folder = str(beside / Path(table["folder"]).expanduser())
    return HybridRecipe(str(content.get("name", "hybrid")), base, folder, section(Sizes, content, "residual"), text)


def template(recipe: HybridRecipe, library: Library) -> Residual:
    """A residual of the right shapes, to be filled with weights."""
    return residual.blank(library, recipe.sizes.latents)
