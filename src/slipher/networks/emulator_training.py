"""Training of an emulator: principal components from a stream of spectra, then Adam on their coefficients.

    ln flux, chunk by chunk --covariance of each block--> components --a second pass--> coefficients --epochs--> network

The rate falls and the batch grows with the epochs, as in Alsing et al. (2020). Each coefficient counts in units of its standard deviation,
weighted by the root of that: between equal weights, where the faintest component costs as much as the first, and errors of ln flux, where
training hardly sees it. Only parameters and coefficients are held in memory. The seed and the epoch's number decide the order of batches,
so that a run killed at any moment resumes to the weights of the uninterrupted run.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from . import train
from .emulator import Block, Perceptron

ADAM = optax.scale_by_adam()


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: batches grow geometrically over `stages` of equal length, the rate falls as a cosine from epoch to epoch."""

    seed: int = 1
    epochs: int = 400
    stages: int = 3
    first_batch: int = 128
    last_batch: int = 512
    first_rate: float = 5e-3
    last_rate: float = 1e-6
    checkpoint_every: int = 10

    def batch(self, epoch: int) -> int:
        """Rows of each step of an epoch."""
        stage = epoch * self.stages // self.epochs
        return round(self.first_batch * (self.last_batch / self.first_batch) ** (stage / max(1, self.stages - 1)))

    def rate(self, epoch: int) -> float:
        """Adam's step of an epoch."""
        return self.last_rate + 0.5 * (self.first_rate - self.last_rate) * (1.0 + math.cos(math.pi * epoch / self.epochs))


# --- principal components --------------------------------------------------------------------------------------------


class Moments(NamedTuple):
    """Number, mean and scatter (sum of outer products about the mean) of rows that were seen, in double precision."""

    n: int
    mean: Float[np.ndarray, "pixel"]
    scatter: Float[np.ndarray, "pixel pixel"]

    def add(self, rows: Float[np.ndarray, "row pixel"]) -> "Moments":
        """With more rows; means are merged before scatters, so that nothing large cancels (Chan, Golub & LeVeque 1983)."""
        n, mean = len(rows), rows.mean(0)
        left, step = rows - mean, mean - self.mean
        total = self.n + n
        scatter = self.scatter + left.T @ left + np.outer(step, step) * (self.n * n / total)
        return Moments(total, self.mean + step * (n / total), scatter)


def no_moments(pixels: int) -> Moments:
    """Of no rows."""
    return Moments(0, np.zeros(pixels), np.zeros((pixels, pixels)))


def learn_blocks(
    spectra: Iterable[Float[np.ndarray, "_ pixel"]], ranges: list[slice], components: int
) -> tuple[tuple[Block, ...], Float[np.ndarray, "component"]]:
    """Components of the ln flux of each range of pixels, and the standard deviations of their coefficients, block after block.

    A block has fewer components than asked for if it has fewer pixels, or if the rows do not vary in so many directions.
    """
    moments = [no_moments(r.stop - r.start) for r in ranges]
    for rows in spectra:
        if len(rows):
            moments = [m.add(rows[:, r]) for m, r in zip(moments, ranges)]
    blocks, spreads = zip(*(_components(m, components) for m in moments))
    return blocks, np.concatenate(spreads)


def _components(moments: Moments, n: int) -> tuple[Block, np.ndarray]:
    values, vectors = np.linalg.eigh(moments.scatter / max(1, moments.n))
    values, basis = values[::-1][:n], vectors.T[::-1][:n]
    some = values > 1e-14 * max(values[0], 1e-300)  # beyond are directions of rounding alone
    values, basis = values[some], basis[some]
    # A vector's sign is arbitrary: fixed, rounding on another machine does not change what a coefficient means.
    basis = basis * np.sign(basis[np.arange(len(basis)), np.argmax(np.abs(basis), axis=1)])[:, None]
    return Block(jnp.asarray(moments.mean, jnp.float32), jnp.asarray(basis, jnp.float32)), np.sqrt(values)


def coefficients(
    ln_flux: Float[np.ndarray, "row pixel"], blocks: tuple[Block, ...], ranges: list[slice]
) -> Float[np.ndarray, "row component"]:
    """Of spectra in the blocks' components."""
    parts = [(ln_flux[:, r] - np.asarray(b.mean, float)) @ np.asarray(b.basis, float).T for b, r in zip(blocks, ranges)]
    return np.concatenate(parts, 1)


# --- the network -----------------------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """What a network learns from: standardised parameters and standardised coefficients."""

    x: Float[Array, "row parameter"]
    z: Float[Array, "row component"]


class State(NamedTuple):
    """What a run is at one moment: network, Adam's moments, epochs done."""

    network: Perceptron
    optimiser: Any
    epochs_done: Array


def fit(
    network: Perceptron, training: Rows, held_back: Rows, spread: Float[np.ndarray, "component"], schedule: Schedule, folder: Path,
    *, progress: Callable[[int, int, dict], None] | None = None,
) -> tuple[Perceptron, list[dict]]:  # fmt: skip
    """Train (or go on training) a network; returns it and the history: losses, and errors of the rows held back (`rms_error`).

    Parameters
    ----------
    spread
        Standard deviations of the coefficients.
    folder
        Where checkpoint and history are kept; the caller has made sure that it holds no other run (`train.claim`).
    """
    weight = jnp.asarray(np.sqrt(spread) / np.sum(np.sqrt(spread)), jnp.float32)
    state = State(network, ADAM.init(eqx.filter(network, eqx.is_inexact_array)), jnp.array(0))
    state, history = train.kept(state, folder)
    history = [row for row in history if row["epoch"] <= int(state.epochs_done)]
    for epoch in range(int(state.epochs_done), schedule.epochs):
        order = _order(schedule, epoch, len(training.x))
        loss, state = _run_epoch(state, training, weight, order, jnp.float32(schedule.rate(epoch)))
        row = {"epoch": epoch + 1, "loss": float(loss)}
        if (epoch + 1) % schedule.checkpoint_every == 0 or epoch + 1 == schedule.epochs:
            row["validation"] = rms_error(state.network, held_back, spread)
            history.append(row)
            train.keep(state, history, folder)
        if progress is not None:
            progress(epoch + 1, schedule.epochs, row)
    return state.network, history


def _order(schedule: Schedule, epoch: int, n: int) -> Int[np.ndarray, "step batch"]:
    """Each row once an epoch, but for the few that fill no batch."""
    batch = min(schedule.batch(epoch), n)
    shuffled = np.random.default_rng([schedule.seed, epoch]).permutation(n)
    return shuffled[: n // batch * batch].reshape(-1, batch)


def _mean_square(network: Perceptron, rows: Rows, weight: Array) -> Array:
    return jnp.mean((jax.vmap(network)(rows.x) - rows.z) ** 2 @ weight)


def rms_error(network: Perceptron, rows: Rows, spread: Float[np.ndarray, "component"]) -> float:
    """Root of the summed square error of ln flux of a spectrum, what the components leave out not counted."""
    return float(_root(network, rows, jnp.asarray(spread**2, jnp.float32)))


@eqx.filter_jit
def _root(network: Perceptron, rows: Rows, weight: Array) -> Array:
    return jnp.sqrt(_mean_square(network, rows, weight))


@eqx.filter_jit
def _run_epoch(state: State, rows: Rows, weight: Array, order: Array, rate: Array) -> tuple[Array, State]:
    """The root mean loss of an epoch's batches, and the state after them."""
    start, rest = eqx.partition(state.network, eqx.is_inexact_array)

    def step(carry: tuple, index: Array) -> tuple[tuple, Array]:
        moving, memory = carry
        some = Rows(rows.x[index], rows.z[index])
        loss, gradient = jax.value_and_grad(lambda m: _mean_square(eqx.combine(m, rest), some, weight))(moving)
        updates, memory = ADAM.update(gradient, memory)
        return (jax.tree.map(lambda p, u: p - rate * u, moving, updates), memory), loss

    (moved, memory), losses = jax.lax.scan(step, (start, state.optimiser), order)
    return jnp.sqrt(jnp.mean(losses)), State(eqx.combine(moved, rest), memory, state.epochs_done + 1)
