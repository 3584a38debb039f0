"""The no-U-turn sampler, with a dense mass matrix, from draws of an approximate posterior.

    start draws --covariance--> whitened space --window adaptation--> step and mass matrix --blocks--> R-hat < 1.01 and enough draws?

Several chains start at different draws, adapt alone and share nothing but the coordinates: those in which the start draws have unit
covariance, so that the adaptation starts from a dense mass matrix and float32 from numbers of order one. Blocks of draws follow until the
chains agree and are worth enough, or none are left: R-hat, ESS and divergences then say so, and nothing is hidden.

Papers: Hoffman & Gelman (2014, JMLR 15, 1593; arXiv:1111.4246) with Betancourt's (2017, arXiv:1701.02434) multinomial trajectories and
the windows of Stan, all as in blackjax (Cabezas et al. 2024, arXiv:2402.10797). What this does not do: the evidence, or jumps between
modes: chains that lie in different ones disagree for ever, and R-hat shows it.
"""

from functools import partial
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.base import get_filter_adapt_info_fn
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from ..errors import InputError
from . import convergence, samplers
from .prediction import ESS_MIN, RHAT_MAX
from .samplers import PARAMETERS, Coordinates, LogDensity, Points, Sampled, Seed

Chained = Float[np.ndarray, "chain draw parameter"]

KEPT = get_filter_adapt_info_fn(info_keys={"num_integration_steps"})


class Settings(NamedTuple):
    """How many chains, how long they adapt, and when they have drawn enough.

    Every chain draws `block` points, and again until R-hat < `rhat` and the bulk ESS reaches `ess`, at most `most` times. Steps are as long
    as the share `acceptance` allows, trajectories at most 2^`doublings` steps.
    """

    chains: int = 4
    warmup: int = 400
    block: int = 250
    most: int = 8
    ess: float = 4 * ESS_MIN
    rhat: float = RHAT_MAX
    acceptance: float = 0.9
    doublings: int = 9


USUAL = Settings()


class Affine(NamedTuple):
    """Whitened space: z = mean + root x."""

    mean: Float[Array, "parameter"]
    root: Float[Array, "parameter parameter"]


class _Chains(NamedTuple):
    """Where each chain is, and how it moves: blackjax's state, step sizes and inverse mass matrices."""

    state: Any
    step_size: Float[Array, "chain"]
    inverse_mass: Float[Array, "chain parameter parameter"]


class _Block(NamedTuple):
    """Draws in base space, and the gradients and divergences that they took."""

    z: Float[Array, "chain draw parameter"]
    steps: Int[Array, "chain draw"]
    divergent: Float[Array, "chain draw"]


def sample(
    seed: Seed, log_density: LogDensity, data: Any, start: Points, *, coordinates: Coordinates = PARAMETERS, settings: Settings = USUAL
) -> Sampled:
    """Draws of a density by NUTS; `ess`, `rhat` and `divergences` say whether to believe them.

    Parameters
    ----------
    log_density, data
        See `samplers.py`.
    start
        Draws of u of an approximate posterior [draw, parameter]: chains start at some of them, where the density is not zero, and their
        covariance is the first mass matrix. A few hundred are enough.
    coordinates
        Where to walk.

    Raises
    ------
    InputError
        If the density vanishes at all start draws, or they are too few or not numbers.
    """
    rng = np.random.default_rng(seed)
    z = samplers.to_base(samplers.checked_start(start), data, coordinates)
    how = settings._replace(most=0, ess=0.0, rhat=0.0)  # what is compiled does not depend on these
    fixed = {"log_density": log_density, "coordinates": coordinates, "settings": how}
    at, looked = _starts(rng, z, data, log_density, coordinates, settings.chains)
    affine = whitening(z)
    x = np.linalg.solve(affine.root, (at - affine.mean).T).T
    keys = jax.random.split(samplers.key_of(rng), settings.chains)
    chains, warmup = _adapt(keys, jnp.asarray(x, jnp.float32), _single(affine), data, **fixed)
    evaluations = settings.chains + _computed(warmup)
    blocks: list[_Block] = []
    for _ in range(settings.most):
        keys = jax.random.split(samplers.key_of(rng), settings.chains)
        chains, block = _draw(keys, chains, _single(affine), data, **fixed)
        blocks.append(jax.tree.map(np.asarray, block))
        evaluations += _computed(blocks[-1].steps)
        u = _parameters(np.concatenate([b.z for b in blocks], 1), data, coordinates)
        rhat, ess = float(convergence.rhat(u).max()), float(convergence.ess(u).min())
        if rhat < settings.rhat and ess >= settings.ess:
            break
    divergences = int(sum(b.divergent.sum() for b in blocks))
    return Sampled(
        u.reshape(-1, u.shape[-1]), "nuts", ess, rhat, evaluations + looked, gradients=evaluations, divergences=divergences
    )  # fmt: skip


def whitening(z: Points) -> Affine:
    """Mean and root of the covariance of points; few of them are drawn towards uncorrelated ones."""
    n, d = z.shape
    covariance = np.cov(z.T).reshape(d, d)
    share = d / (n + d)
    spread = np.diag(np.diagonal(covariance)) + 1e-8 * np.eye(d)
    return Affine(z.mean(0), np.linalg.cholesky((1.0 - share) * covariance + share * spread))


def _starts(
    rng: np.random.Generator, z: Points, data: Any, log_density: LogDensity, coordinates: Coordinates, n: int
) -> tuple[Float[np.ndarray, "chain parameter"], int]:
    """Some points at which the density is not zero, no two the same if there are enough, and how many were looked at."""
    order = rng.permutation(len(z))
    found = np.empty(0, int)
    for first in range(0, len(z), samplers.BATCH):
        some = order[first : first + samplers.BATCH]
        value = samplers.log_densities(z[some], data, log_density=log_density, coordinates=coordinates)
        found = np.concatenate([found, some[np.isfinite(value)]])
        if len(found) >= n:
            break
    if not len(found):
        raise InputError(
            f"a density that vanishes at all {len(z)} start draws", expected="some at which it is finite",
            mend="Start from the prior, or look at the data's errors.",
        )  # fmt: skip
    return z[np.resize(found, n)], first + len(some)


def _computed(steps: Int[Array, "chain draw"] | Int[np.ndarray, "chain draw"]) -> int:
    """Gradients computed, also those of a chain while it waited for the longest trajectory: all move in one vectorised program."""
    steps = np.asarray(steps, np.int64)
    return int(len(steps) * steps.max(0).sum())


def _parameters(
    z: Float[np.ndarray, "chain draw parameter"], data: Any, coordinates: Coordinates
) -> Float[np.ndarray, "chain draw parameter"]:
    return samplers.to_parameters(z.reshape(-1, z.shape[-1]), data, coordinates).reshape(z.shape)


def _single(affine: Affine) -> Affine:
    return Affine(*(jnp.asarray(part, jnp.float32) for part in affine))


def _whitened(affine: Affine, data: Any, log_density: LogDensity, coordinates: Coordinates):
    """The density as a function of whitened points alone."""
    density = samplers.in_base(log_density, coordinates)
    return lambda x: density(affine.mean + affine.root @ x, data)


@partial(jax.jit, static_argnames=("log_density", "coordinates", "settings"))
def _adapt(
    keys: Key[Array, "chain"], x: Array, affine: Affine, data: Any, *, log_density: LogDensity, coordinates: Coordinates, settings: Settings
) -> tuple[_Chains, Array]:
    """Window adaptation of each chain, and the steps that it took."""
    adaptation = blackjax.window_adaptation(
        blackjax.nuts, _whitened(affine, data, log_density, coordinates), is_mass_matrix_diagonal=False, initial_step_size=0.5,
        target_acceptance_rate=settings.acceptance, adaptation_info_fn=KEPT, max_num_doublings=settings.doublings,
    )  # fmt: skip

    def one(key: PRNGKeyArray, start: Array) -> tuple[_Chains, Array]:
        (state, found), info = adaptation.run(key, start, settings.warmup)
        return _Chains(state, found["step_size"], found["inverse_mass_matrix"]), info.info.num_integration_steps

    return jax.vmap(one)(keys, x)


@partial(jax.jit, static_argnames=("log_density", "coordinates", "settings"))
def _draw(
    keys: Key[Array, "chain"],
    chains: _Chains,
    affine: Affine,
    data: Any,
    *,
    log_density: LogDensity,
    coordinates: Coordinates,
    settings: Settings,
) -> tuple[_Chains, _Block]:
    """A block of draws of each chain."""
    density, kernel = _whitened(affine, data, log_density, coordinates), blackjax.nuts.build_kernel()

    def one(key: PRNGKeyArray, chain: _Chains) -> tuple[_Chains, _Block]:
        def step(state, key):
            state, info = kernel(key, state, density, chain.step_size, chain.inverse_mass, settings.doublings)
            z = affine.mean + affine.root @ state.position
            return state, _Block(z, info.num_integration_steps, info.is_divergent)

        state, block = jax.lax.scan(step, chain.state, jax.random.split(key, settings.block))
        return chain._replace(state=state), block

    return jax.vmap(one)(keys, chains)
