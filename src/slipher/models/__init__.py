"""The trained things a user asks for by name: fit a galaxy, simulate galaxies, train, calibrate, look at cards."""

from pathlib import Path

from .calibration import calibrate
from .fitting import fit
from .mocks import simulate
from .recipe import read_recipe, run
from .shipped import card, names

__all__ = ["calibrate", "card", "fit", "names", "simulate", "train"]


def train(recipe: str | Path, out: str | Path, *, resume: bool = True, progress=None) -> Path:
    """Train the model of a recipe (a TOML file) in a folder; see `slipher.models.recipe.run`."""
    return run(read_recipe(Path(recipe)), Path(out), resume=resume, progress=progress)
