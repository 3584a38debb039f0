"""Hamiltonian Monte Carlo by an ensemble of chains that share what they learn.

A handful of chains advance in step (one vectorised gradient), with one step size and one dense metric for all. During warm-up
the metric is the covariance of all chains together, re-estimated block by block, and the step size follows the acceptance rate (dual
averaging, Hoffman & Gelman 2014, section 3.2). Trajectories have a fixed length in the metric's units, jittered uniformly (Neal 2011,
section 3.2). After warm-up nothing adapts. Sampling stops when split R-hat says that the chains agree, or at a limit.

The density enters through `advance`, a compiled block of transitions that the caller makes from `block`: one compilation serves
warm-up and sampling of every galaxy.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from . import convergence

LogDensity = Callable[[Float[Array, "parameter"]], Float[Array, ""]]
TARGET_ACCEPTANCE = 0.8
TRAJECTORY = 1.6  # in the metric's standard deviations: a quarter of a Gaussian's period
LONGEST = 32
CAREFUL_SHARE, CAREFUL = 0.15, 0.2  # how many transitions take small steps, and how small
LOST_NATS = 15.0  # a chain that stays that far below the best one has not found the posterior
BLOCK = 48


class Settings(NamedTuple):
    """Blocks of warm-up, fewest and most blocks of sampling, restarts allowed, and the R-hat to stop at."""

    warm_up: int = 3
    fewest: int = 3
    most: int = 20
    restarts: int = 1
    rhat: float = 1.008


class State(NamedTuple):
    """Where the chains are: positions [chain, parameter], log densities, gradients."""

    position: Float[Array, "chain parameter"]
    value: Float[Array, "chain"]
    gradient: Float[Array, "chain parameter"]


class Tuning(NamedTuple):
    """Dual averaging of the log step size."""

    log_step: Float[Array, ""]
    log_step_mean: Float[Array, ""]
    error: Float[Array, ""]
    count: Float[Array, ""]


class Block(NamedTuple):
    """A block of transitions: final state and tuning; draws [draw, chain, parameter], values and acceptance."""

    state: State
    tuning: Tuning
    draws: Float[Array, "draw chain parameter"]
    values: Float[Array, "draw chain"]
    acceptance: Float[Array, ""]


class Chains(NamedTuple):
    """Draws [chain, draw, parameter] after warm-up with their log densities, and their convergence."""

    draws: Float[np.ndarray, "chain draw parameter"]
    values: Float[np.ndarray, "chain draw"]
    convergence: convergence.Convergence
    step_size: float
    acceptance: float


Advance = Callable[[PRNGKeyArray, State, Array, Tuning, bool], Block]


def begin(start: Float[Array, "chain parameter"]) -> State:
    """The state of chains at their starting points, of which nothing is known yet: the first transition stays there to look."""
    return State(start, jnp.full(len(start), -jnp.inf), jnp.zeros_like(start))


def first_tuning(step_size: float = 0.3) -> Tuning:
    """Tuning that starts at a step size."""
    # Numbers of a fixed type: a weak one would make JAX compile the first block apart.
    log_step, zero = jnp.log(jnp.float32(step_size)), jnp.float32(0.0)
    return Tuning(log_step, log_step, zero, zero)


def block(
    key: PRNGKeyArray, state: State, root: Float[Array, "parameter parameter"], tuning: Tuning, adapt: Bool[Array, ""],
    log_density: LogDensity,
) -> Block:  # fmt: skip
    """Forty-eight transitions of all chains, with the metric `root root'`; the step size follows if `adapt`."""
    value_and_grad = jax.vmap(jax.value_and_grad(log_density))

    def body(carry: tuple, key: PRNGKeyArray) -> tuple:
        state, tuning = carry
        step = jnp.exp(jnp.where(adapt, tuning.log_step, tuning.log_step_mean))
        state, accept = _transition(key, state, root, step, value_and_grad)
        tuned = _tune(tuning, accept.mean())
        tuning = jax.tree.map(lambda new, old: jnp.where(adapt, new, old), tuned, tuning)
        return (state, tuning), (state.position, state.value, accept.mean())

    (state, tuning), (draws, values, accept) = jax.lax.scan(body, (state, tuning), jax.random.split(key, BLOCK))
    return Block(state, tuning, draws, values, accept.mean())


def sample(
    key: PRNGKeyArray, advance: Advance, state: State, covariance: Float[np.ndarray, "parameter parameter"],
    settings: Settings,
) -> Chains:  # fmt: skip
    """Run chains to agreement.

    Parameters
    ----------
    advance
        `block` of the density, compiled.
    state
        From `begin`.
    covariance
        A first guess of the target's covariance, for the metric.
    """
    tuning = first_tuning()
    for restart in range(settings.restarts + 1):
        for i in range(settings.warm_up):
            key, now = jax.random.split(key)
            done = advance(now, state, _root(covariance), _fresh(tuning), True)
            key, now = jax.random.split(key)
            state, tuning = rescued(now, done), done.tuning
            covariance = pooled(np.asarray(done.draws[BLOCK // 3 :]), covariance, shrink=1.0 / (1 + i + restart))
        key, now = jax.random.split(key)
        done = advance(now, state, _root(covariance), _fresh(tuning), True)  # the step size for the final metric
        state, tuning, blocks = done.state, done.tuning, []
        for n in range(settings.most):
            key, now = jax.random.split(key)
            done = advance(now, state, _root(covariance), tuning, False)
            state = done.state
            blocks.append(done)
            draws = np.concatenate([np.asarray(b.draws) for b in blocks]).transpose(1, 0, 2)
            found = convergence.diagnose(draws.astype(np.float64))
            hopeless = n + 1 == settings.fewest and found.rhat > 1.15 and restart < settings.restarts
            if hopeless or (n + 1 >= settings.fewest and found.rhat < settings.rhat):
                break
        if not hopeless:
            break
        covariance = pooled(draws.transpose(1, 0, 2), covariance, shrink=0.2)
    values = np.concatenate([np.asarray(b.values) for b in blocks]).T
    return Chains(draws, values, found, float(jnp.exp(tuning.log_step_mean)), float(done.acceptance))


def rescued(key: PRNGKeyArray, block: Block) -> State:
    """The state after a block of warm-up, with chains that are stuck or far below the best one moved to where others are."""
    draws, values = np.asarray(block.draws), np.median(np.asarray(block.values), axis=0)
    stuck = np.all(draws[-BLOCK // 3 :] == draws[-1], axis=(0, 2))
    lost = stuck | ~(values > np.nanmax(values) - LOST_NATS)
    if not lost.any() or lost.all():
        return block.state
    chosen = np.arange(len(lost))
    chosen[lost] = np.asarray(jax.random.choice(key, np.flatnonzero(~lost), (int(lost.sum()),)))
    return jax.tree.map(lambda leaf: leaf[chosen], block.state)


def pooled(draws: Float[np.ndarray, "draw chain parameter"], metric: np.ndarray, *, shrink: float) -> np.ndarray:
    """Covariance of all chains' draws, shrunk towards the last metric in that metric's own coordinates.

    Deviations from the common mean are taken: chains that have not met yet make the metric wide, and meet sooner. `shrink` is how
    many draws per parameter the last metric is worth.
    """
    root = np.linalg.cholesky(metric)
    flat = draws.reshape(-1, draws.shape[-1]).astype(np.float64)
    z = np.linalg.solve(root, (flat - flat.mean(0)).T)
    n, strength = z.shape[1] / 8.0, shrink * len(z)  # draws of a chain are correlated
    within = (n * (z @ z.T) / z.shape[1] + strength * np.eye(len(z))) / (n + strength)
    return root @ within @ root.T


def _root(covariance: np.ndarray) -> Array:
    return jnp.asarray(np.linalg.cholesky(covariance), jnp.float32)


def _fresh(tuning: Tuning) -> Tuning:
    return Tuning(tuning.log_step_mean, tuning.log_step_mean, jnp.zeros(()), jnp.zeros(()))


def _tune(tuning: Tuning, acceptance: Array) -> Tuning:
    """Dual averaging; early mistakes are forgotten (t0 = 8), and steps stay within sane bounds."""
    count = tuning.count + 1.0
    rate = 1.0 / (count + 8.0)
    error = (1 - rate) * tuning.error + rate * (TARGET_ACCEPTANCE - acceptance)
    anchor = jnp.where(tuning.count == 0, tuning.log_step, tuning.log_step_mean)
    log_step = jnp.clip(anchor - jnp.sqrt(count) / 0.4 * error, -6.0, 0.3)
    weight = count**-0.75
    return Tuning(log_step, weight * log_step + (1 - weight) * tuning.log_step_mean, error, count)


def _transition(key: PRNGKeyArray, state: State, root: Array, step: Array, value_and_grad: Callable) -> tuple[State, Array]:
    """One trajectory of every chain; momenta live in the metric's own space, x = root z, with unit mass."""
    key_momentum, key_accept, key_length, key_careful = jax.random.split(key, 4)
    momentum = jax.random.normal(key_momentum, state.position.shape)
    wanted = jax.random.uniform(key_length, minval=0.4, maxval=1.6) * TRAJECTORY / step
    length = jnp.clip(jnp.ceil(wanted), 1, LONGEST).astype(int)
    # Now and then a chain takes small steps, or it would never leave a place that is narrower than the others.
    careful = jax.random.uniform(key_careful, state.value.shape) < CAREFUL_SHARE
    step = jnp.where(jnp.isneginf(state.value), 0.0, jnp.where(careful, CAREFUL * step, step))[:, None]

    def leapfrog(_: Array, carry: tuple) -> tuple:
        x, p, v, g = carry
        p = p + 0.5 * step * g @ root
        x = x + step * p @ root.T
        v, g = value_and_grad(x)
        return x, p + 0.5 * step * g @ root, v, g

    x, p, v, g = jax.lax.fori_loop(0, length, leapfrog, (state.position, momentum, state.value, state.gradient))
    energy = (v - 0.5 * jnp.sum(p**2, -1)) - (state.value - 0.5 * jnp.sum(momentum**2, -1))
    accept = jnp.exp(jnp.minimum(jnp.where(jnp.isnan(energy), -jnp.inf, energy), 0.0))
    take = jax.random.uniform(key_accept, accept.shape) < accept
    moved = State(jnp.where(take[:, None], x, state.position), jnp.where(take, v, state.value), jnp.where(take[:, None], g, state.gradient))
    return moved, accept
