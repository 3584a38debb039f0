"""Hamiltonian Monte Carlo by an ensemble of chains that share what they learn.

Many short chains advance in step (one vectorised gradient), with one step size and one dense metric for all. During warm-up the
metric is the covariance of all chains together, re-estimated in stages, the step size follows the acceptance rate (dual averaging,
Hoffman & Gelman 2014, section 3.2). Trajectory lengths are jittered uniformly (Neal 2011, section 3.2; halting on no condition keeps the
chains in step). After warm-up nothing adapts, so that the draws follow the target exactly.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

LogDensity = Callable[[Float[Array, "parameter"]], Float[Array, ""]]
TARGET_ACCEPTANCE = 0.80


class Settings(NamedTuple):
    """Lengths of the stages, all static."""

    warmup_stages: tuple[int, ...] = (30, 40, 60)
    draws: int = 200
    steps_low: int = 4
    steps_high: int = 10


class Chains(NamedTuple):
    """Draws [draw, chain, parameter], their log densities, acceptance rate, and the final step size."""

    draws: Float[Array, "draw chain parameter"]
    log_density: Float[Array, "draw chain"]
    acceptance: Float[Array, ""]
    step_size: Float[Array, ""]


class _Tuning(NamedTuple):
    """Dual averaging of the log step size."""

    log_step: Array
    log_step_mean: Array
    error: Array
    count: Array


def sample(
    key: PRNGKeyArray, log_density: LogDensity, start: Float[Array, "chain parameter"],
    covariance: Float[Array, "parameter parameter"], settings: Settings,
) -> Chains:  # fmt: skip
    """Draw from a density by an ensemble of chains.

    Parameters
    ----------
    log_density
        Of one point, differentiable.
    start
        One point for each chain.
    covariance
        A first guess of the target's covariance.
    """
    value_and_grad = jax.vmap(jax.value_and_grad(log_density))
    n_chain, n_dim = start.shape
    value, gradient = value_and_grad(start)
    state = (start, value, gradient)
    step_size = jnp.asarray(0.5 / n_dim**0.25)
    keys = jax.random.split(key, len(settings.warmup_stages) + 1)
    for i, length in enumerate(settings.warmup_stages):
        advance = partial(_transition, value_and_grad, jnp.linalg.cholesky(covariance), settings)
        state, step_size, positions = _warm_up(keys[i], advance, state, step_size, length)
        covariance = _pooled(positions[length // 3 :], covariance)
    advance = partial(_transition, value_and_grad, jnp.linalg.cholesky(covariance), settings)

    def body(state: tuple, key: PRNGKeyArray) -> tuple:
        state, accept = advance(key, state, step_size)
        return state, (state[0], state[1], accept.mean())

    _, (draws, log_density_, accept) = jax.lax.scan(body, state, jax.random.split(keys[-1], settings.draws))
    return Chains(draws, log_density_, accept.mean(), step_size)


def _warm_up(key: PRNGKeyArray, advance: Callable, state: tuple, step_size: Array, length: int) -> tuple:
    start = _Tuning(jnp.log(step_size), jnp.log(step_size), jnp.zeros(()), jnp.zeros(()))
    anchor = jnp.log(10.0 * step_size)

    def body(carry: tuple, key: PRNGKeyArray) -> tuple:
        state, tuning = carry
        state, accept = advance(key, state, jnp.exp(tuning.log_step))
        return (state, _tune(tuning, accept.mean(), anchor)), state[0]

    (state, tuning), positions = jax.lax.scan(body, (state, start), jax.random.split(key, length))
    return state, jnp.exp(tuning.log_step_mean), positions


def _tune(tuning: _Tuning, acceptance: Array, anchor: Array) -> _Tuning:
    count = tuning.count + 1.0
    rate = 1.0 / (count + 8.0)
    error = (1 - rate) * tuning.error + rate * (TARGET_ACCEPTANCE - acceptance)
    log_step = anchor - jnp.sqrt(count) / 0.1 * error
    log_step = jnp.clip(log_step, -7.0, 0.6)
    weight = count**-0.75
    return _Tuning(log_step, weight * log_step + (1 - weight) * tuning.log_step_mean, error, count)


def _pooled(positions: Float[Array, "draw chain parameter"], metric: Array) -> Array:
    """Covariance of all chains' recent draws, shrunk towards the last metric's shape in that metric's own coordinates.

    Deviations from the common mean are taken: chains that have not met yet make the metric wide, and meet sooner.
    """
    root = jnp.linalg.cholesky(metric)
    flat = positions.reshape(-1, positions.shape[-1])
    z = jax.scipy.linalg.solve_triangular(root, (flat - flat.mean(0)).T, lower=True).T
    n, strength = flat.shape[0] / 8.0, 0.25 * flat.shape[1]  # draws of a chain are correlated
    within = (n * (z.T @ z) / flat.shape[0] + strength * jnp.eye(z.shape[1])) / (n + strength)
    return root @ within @ root.T


def _transition(
    value_and_grad: Callable, root: Float[Array, "parameter parameter"], settings: Settings,
    key: PRNGKeyArray, state: tuple, step_size: Array,
) -> tuple:  # fmt: skip
    """One trajectory of every chain; momenta live in the metric's own space: x = root z, mass one."""
    position, value, gradient = state
    key_momentum, key_accept, key_length = jax.random.split(key, 3)
    momentum = jax.random.normal(key_momentum, position.shape)
    length = jax.random.randint(key_length, (), settings.steps_low, settings.steps_high + 1)

    def leapfrog(_: Array, carry: tuple) -> tuple:
        x, p, v, g = carry
        p = p + 0.5 * step_size * g @ root
        x = x + step_size * p @ root.T
        v, g = value_and_grad(x)
        return x, p + 0.5 * step_size * g @ root, v, g

    x, p, v, g = jax.lax.fori_loop(0, length, leapfrog, (position, momentum, value, gradient))
    energy = (v - 0.5 * jnp.sum(p**2, -1)) - (value - 0.5 * jnp.sum(momentum**2, -1))
    accept = jnp.exp(jnp.minimum(jnp.where(jnp.isfinite(energy), energy, -jnp.inf), 0.0))
    take = jax.random.uniform(key_accept, accept.shape) < accept
    pick = lambda new, old: jnp.where(take.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)  # noqa: E731
    return (pick(x, position), pick(v, value), pick(g, gradient)), accept
