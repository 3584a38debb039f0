"""The trained things a user asks for by name: fit a galaxy, simulate galaxies, train, calibrate, look at cards."""

from pathlib import Path

from ..errors import InputError
from . import emulator, hybrid_learning, latent_recipe, morphology_recipe, photometric_recipe, recipe_text
from . import recipe as galaxy
from .calibration import calibrate
from .deblended import deblend
from .fitting import fit
from .mocks import simulate
from .rows import fit_rows
from .shipped import card, names
from .spectrum_latents import Latents, latents, neighbours
from .zero_points import zero_points

__all__ = [
    "Latents",
    "calibrate",
    "card",
    "deblend",
    "fit",
    "fit_rows",
    "latents",
    "names",
    "neighbours",
    "simulate",
    "train",
    "zero_points",
]

KINDS = {
    "galaxy": galaxy, "photometry": photometric_recipe, "latents": latent_recipe, "hybrid": hybrid_learning, "emulator": emulator,
    "morphology": morphology_recipe,
}  # fmt: skip


def train(recipe: str | Path, out: str | Path, *, resume: bool = True, progress=None) -> Path:
    """Train the model of a recipe (a TOML file) in a folder: see `run` of `recipe`, `photometric_recipe` and `emulator` in this folder.

    Raises
    ------
    InputError
        If the recipe is of no kind that there is; what else is refused, `run` and `read_recipe` say.
    """
    kind = recipe_text.content_of(recipe_text.read_text(Path(recipe))).get("kind", "galaxy")
    if kind not in list(KINDS):
        raise InputError(f"kind = {kind!r} in {recipe}", expected=f"one of {', '.join(KINDS)}", mend="Choose one of those.")
    return KINDS[kind].run(KINDS[kind].read_recipe(Path(recipe)), Path(out), resume=resume, progress=progress)
