"""What `slipher train` leaves: weights.safetensors, and a card that says what they are."""

import dataclasses
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax

from ..files import write_atomically
from ..networks import weights
from ..networks.train import Schedule
from ..physics.galaxy import GalaxyModel

N_NOVELTY_CHUNKS = 6  # of simulations, for the statistics of novelty


@runtime_checkable
class AnyRecipe(Protocol):
    """What every recipe has."""

    name: str
    text: str
    schedule: Schedule


def priors_of(preset: GalaxyModel) -> dict:
    """The priors of a preset's parameters, by name."""
    return {p.name: {"unit": p.unit, "prior": type(p.prior).__name__, **dataclasses.asdict(p.prior)} for p in preset.parameters}


def write_model(model: eqx.Module, recipe: AnyRecipe, history: list[dict], out: Path, seconds: float, facts: dict) -> None:
    """Write weights and card; `facts` are what this kind of model has to say besides."""
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
        **facts,
        "simulations": schedule.chunks * schedule.chunk_size,
        "steps": schedule.total_steps,
        "training_seconds": round(seconds),
        "validation_loss_nats": history[-1]["validation"] if history else None,
        "sha256": checksum,
    }
    with write_atomically(out / "card.json") as temporary:
        temporary.write_text(json.dumps(card, indent=1))
