"""Training on fresh simulations: a chunk is simulated, a few steps are taken on the latest chunks, and so on.

    chunk n --> window of the latest chunks --> steps on random batches --> averaged weights

Everything follows from the seed and the chunk number, and the window is kept on disk beside the checkpoint, so that a run killed at any
moment resumes to the weights of the uninterrupted run. A run is refused if its configuration changed under it.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ..errors import InputError
from ..files import write_atomically
from . import weights
from .posterior_flow import standardise


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: `chunks` of `chunk_size` galaxies, `steps` of `batch` after each, on the `window` latest chunks."""

    seed: int = 1
    chunks: int = 800
    chunk_size: int = 1024
    steps: int = 32
    batch: int = 512
    window: int = 256
    learning_rate: float = 1e-3
    average: float = 0.999
    checkpoint_every: int = 20
    validation_chunks: int = 24
    validation_size: int = 128

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.chunks * self.steps


class State(NamedTuple):
    """What a run is at one moment: network, optimiser, averaged network, chunks done."""

    network: eqx.Module
    optimiser: Any
    averaged: eqx.Module
    chunks_done: Array


class Task(NamedTuple):
    """What is learnt.

    The arrays of a chunk that the loss takes, the network's leaves that are constants of a run, how they are set from first simulations,
    and the mean loss of a batch.
    """

    fields: tuple[str, ...]
    constants: tuple[str, ...]
    standardise: Callable[[eqx.Module, Any], eqx.Module]
    loss: Callable[..., Array]


def _mean_of_galaxies(network: eqx.Module, features: Array, u: Array, log_mass: Array) -> Array:
    return jnp.mean(jax.vmap(network.loss)(u, log_mass, features))


POSTERIOR = Task(
    ("features", "u", "log_mass"),
    ("shift", "scale", "mass_shift", "mass_scale"),
    lambda network, chunk: standardise(network, chunk.features, chunk.log_mass),
    _mean_of_galaxies,
)

Simulator = Callable[[int, int, int], Any]
Progress = Callable[[int, int, dict], None]


def optimiser_of(schedule: Schedule) -> optax.GradientTransformation:
    """Adam with clipped gradients and a cosine schedule after a short warm-up."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0, schedule.learning_rate, min(500, schedule.total_steps // 10), schedule.total_steps, 1e-2 * schedule.learning_rate
    )
    return optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rate))


def train(
    network: eqx.Module, simulate: Simulator, schedule: Schedule, folder: Path, configuration: dict,
    *, task: Task = POSTERIOR, resume: bool = True, progress: Progress | None = None,
) -> tuple[eqx.Module, list[dict]]:  # fmt: skip
    """Train (or go on training) a network; returns the averaged network and the history of losses.

    Each row of the history says how many seconds the run had taken, with those of earlier processes up to the checkpoint they left.

    Parameters
    ----------
    simulate
        (seed, chunk number, galaxies) -> a named tuple with the fields of `task` [galaxy, ...].
    folder
        Where checkpoint, window and history are kept.
    configuration
        Everything that decides the result; kept in the folder and compared on resumption.

    Raises
    ------
    InputError
        If the folder holds a run of another configuration.
    """
    began = time.time()
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, {**configuration, "schedule": asdict(schedule)}, resume)
    validation = _validation(simulate, schedule, folder)
    network = task.standardise(network, validation)
    optimiser = optimiser_of(schedule)
    state = State(network, optimiser.init(_learnt(network, task)), network, jnp.array(0))
    state, history = kept(state, folder)
    history = [row for row in history if row["chunk"] <= int(state.chunks_done)]
    began -= history[-1]["seconds"] if history else 0.0
    window = _Window(folder / "window", schedule, simulate, task.fields)
    step = _make_step(optimiser, schedule.average, task)
    for chunk in range(int(state.chunks_done), schedule.chunks):
        loss, state = _one_chunk(window, chunk, state, schedule, step)
        row = {"chunk": chunk + 1, "loss": loss}
        if (chunk + 1) % schedule.checkpoint_every == 0 or chunk + 1 == schedule.chunks:
            row |= {"validation": float(_mean_loss(state.averaged, validation, task)), "seconds": time.time() - began}
            history.append(row)
            keep(state, history, folder)
        if progress is not None:
            progress(chunk + 1, schedule.chunks, row)
    return state.averaged, history


def claim(folder: Path, configuration: dict, resume: bool) -> None:
    """Write the configuration, or refuse a folder that holds another run."""
    path = folder / "configuration.json"
    text = json.dumps(configuration, sort_keys=True, indent=1)
    if path.is_file() and (not resume or path.read_text() != text):
        raise InputError(
            f"{folder} holds a run" + ("" if not resume else " of another configuration"),
            expected="an empty folder, or the same recipe to resume",
            mend="Choose another --out, or remove the folder.",
        )
    with write_atomically(path) as temporary:
        temporary.write_text(text)


def keep(state: Any, history: list[dict], folder: Path) -> None:
    """Write a checkpoint; the history first, for what it has beyond the checkpoint is dropped on resumption."""
    with write_atomically(folder / "history.json") as temporary:
        temporary.write_text(json.dumps(history))
    with write_atomically(folder / "checkpoint.safetensors") as temporary:
        weights.save_arrays(state, temporary)


def kept(state: Any, folder: Path) -> tuple[Any, list[dict]]:
    """The state and history of a folder's last checkpoint; the state as it came and no history where there is none."""
    checkpoint, log = folder / "checkpoint.safetensors", folder / "history.json"
    if checkpoint.is_file():
        state = weights.load_arrays(state, checkpoint)
    return state, json.loads(log.read_text()) if log.is_file() else []


def _validation(simulate: Simulator, schedule: Schedule, folder: Path) -> Any:
    """Galaxies that no step sees: chunks of another seed, small and many, for a chunk has one redshift and one survey only."""
    chunks = [simulate(schedule.seed + 1_000_003, i, schedule.validation_size) for i in range(schedule.validation_chunks)]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *chunks)


class _Window:
    """The latest chunks, in memory and on disk."""

    def __init__(self, folder: Path, schedule: Schedule, simulate: Simulator, fields: tuple[str, ...]):
        folder.mkdir(exist_ok=True)
        self.folder, self.schedule, self.simulate, self.fields = folder, schedule, simulate, fields
        self.chunks: dict[int, tuple[np.ndarray, ...]] = {}

    def get(self, number: int) -> tuple[np.ndarray, ...]:
        """The fields of one chunk: from memory, disk, or simulated anew."""
        if number not in self.chunks:
            path = self.folder / f"{number}.npz"
            if path.is_file():
                with np.load(path, allow_pickle=False) as file:
                    self.chunks[number] = tuple(file[name] for name in self.fields)
            else:
                new = self.simulate(self.schedule.seed, number, self.schedule.chunk_size)
                arrays = {name: np.asarray(getattr(new, name)) for name in self.fields}
                with write_atomically(path) as temporary, open(temporary, "wb") as stream:
                    np.savez(stream, **arrays)
                self.chunks[number] = tuple(arrays.values())
        return self.chunks[number]

    def drop(self, number: int) -> None:
        """Forget a chunk that has left the window (one checkpoint later, so that a resumed run still finds it)."""
        self.chunks.pop(number, None)
        (self.folder / f"{number - self.schedule.checkpoint_every}.npz").unlink(missing_ok=True)

    def batch(self, latest: int, step: int) -> tuple[np.ndarray, ...]:
        """A random batch from the window that ends with the chunk `latest`."""
        s = self.schedule
        rng = np.random.default_rng([s.seed, latest, step])
        first = max(0, latest + 1 - s.window)
        chunk, row = rng.integers(first, latest + 1, s.batch), rng.integers(0, s.chunk_size, s.batch)
        picked = [self.get(int(c)) for c in chunk]
        return tuple(np.stack([p[j][r] for p, r in zip(picked, row, strict=True)]) for j in range(len(self.fields)))


def _one_chunk(window: _Window, chunk: int, state: State, schedule: Schedule, step: Callable) -> tuple[float, State]:
    window.get(chunk)
    window.drop(chunk - schedule.window)
    losses = []
    for i in range(schedule.steps):
        loss, state = step(state, *window.batch(chunk, i))
        losses.append(loss)
    return float(jnp.mean(jnp.stack(losses))), state._replace(chunks_done=jnp.array(chunk + 1))


@eqx.filter_jit
def _mean_loss(network: eqx.Module, validation: Any, task: Task) -> Array:
    return task.loss(network, *(getattr(validation, name) for name in task.fields))


def _learnt(network: eqx.Module, task: Task) -> eqx.Module:
    """The network's weights; None where a leaf is none, or is a constant of the run."""
    without = eqx.tree_at(lambda n: tuple(getattr(n, f) for f in task.constants), network, replace_fn=lambda _: None)
    return eqx.filter(without, eqx.is_inexact_array)


def _make_step(optimiser: optax.GradientTransformation, average: float, task: Task) -> Callable:
    @eqx.filter_jit(donate="all-except-first")
    def step(state: State, *batch: Array) -> tuple[Array, State]:
        def objective(learnt: eqx.Module) -> Array:
            return task.loss(eqx.combine(learnt, state.network), *batch)

        learnt = _learnt(state.network, task)
        loss, gradient = eqx.filter_value_and_grad(objective)(learnt)
        updates, memory = optimiser.update(gradient, state.optimiser, learnt)
        new = eqx.apply_updates(learnt, updates)
        averaged = jax.tree.map(lambda a, b: average * a + (1 - average) * b, _learnt(state.averaged, task), new)
        network, mean = eqx.combine(new, state.network), eqx.combine(averaged, state.averaged)
        return loss, State(network, memory, mean, state.chunks_done)

    return step
