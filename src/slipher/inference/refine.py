"""The ladder from amortised draws to the exact posterior; each rung is told from the next by its diagnostics.

    flow draws --exact weights--> importance: khat < 0.7 and ESS > 100?  yes: done
        no --snapshots--> reduced likelihood --climb, ensemble HMC--> R-hat < 1.01?
            --exact weights of the HMC draws--> khat < 0.7?  no: reduce again about these draws, once

The last step corrects what the reduction left out: the draws that leave here follow the likelihood of every pixel.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..grids.library import Library
from ..instrument.systematics import Systematics
from ..physics.galaxy import GalaxyModel, View
from . import convergence, ensemble_hmc, importance, laplace, likelihood, reduced
from .covariance import Whitening
from .prediction import ESS_MIN, KHAT_MAX, RHAT_MAX

N_CHAIN = 16
N_CLIMB = 16
N_EXACT = 256
N_SNAPSHOT = 448
WITHIN_NATS = 12.0
PASSES = 2
CORRECTION_NATS = 0.3  # scatter of exact over reduced density above which draws are re-weighted


class Problem(eqx.Module):
    """One galaxy's data, ready for the likelihood."""

    view: View
    white: Whitening
    flux: Float[Array, "pixel"]
    whitened: Float[Array, "pixel"]
    t_universe_gyr: Float[Array, ""]


class Refined(NamedTuple):
    """Equal-weight draws of u and how they came to be."""

    u: Float[np.ndarray, "draw parameter"]
    method: str
    ess: float
    khat: float
    rhat: float
    log_evidence: float | None


def problem(view: View, white: Whitening, flux: Float[Array, "pixel"], t_universe_gyr: Array) -> Problem:
    """Whiten the data once."""
    return Problem(view, white, flux, white.apply(flux), t_universe_gyr)


@partial(jax.jit, static_argnames=("model", "systematics"))
def exact_log_posterior(
    u: Float[Array, "draw parameter"], task: Problem, library: Library, model: GalaxyModel, systematics: Systematics
) -> Float[Array, "draw"]:
    """log p(data | u) + log N(u; 0, 1) of draws, from every pixel."""

    def one(point: Array) -> Array:
        return likelihood.log_posterior_at_pixels(
            point, model, task.view, task.white, task.whitened, task.t_universe_gyr, library, systematics
        )

    return jax.lax.map(one, u, batch_size=32)


@partial(jax.jit, static_argnames=("model", "systematics"))
def _snapshots(
    u: Float[Array, "point parameter"], task: Problem, library: Library, model: GalaxyModel, systematics: Systematics
) -> reduced.Snapshots:
    """Continua of all the points, and line groups of a fifth of them at their amplitudes."""

    def smooth(point: Array) -> Array:
        return likelihood.continuum_at_pixels(point, model, task.view, task.t_universe_gyr, library)

    def lines(point: Array) -> Array:
        light = likelihood.light_at_pixels(point, model, task.view, task.t_universe_gyr, library, systematics)
        total = light.continuum + jnp.sum(light.groups, 0)
        weight = task.white.inverse_sigma**2
        amplitude = jnp.sum(weight * total * task.flux) / jnp.sum(weight * total**2)
        return amplitude * jnp.concatenate([light.groups, light.shift[None]])

    some = jax.lax.map(lines, u[::5], batch_size=16)
    return reduced.Snapshots(jax.lax.map(smooth, u, batch_size=64), some.reshape(-1, some.shape[-1]))


def refine(
    key: PRNGKeyArray, draws: Float[Array, "draw parameter"], log_q: Float[Array, "draw"], task: Problem, library: Library,
    model: GalaxyModel, systematics: Systematics, settings: ensemble_hmc.Settings, n_draws: int,
) -> Refined:  # fmt: skip
    """Climb the ladder from the flow's draws of u (with their log densities under the flow).

    Returns the best rung reached; its diagnostics say whether it holds.
    """
    fixed = _Fixed(task, library, model, systematics)
    keys = jax.random.split(key, 3 + PASSES)
    weighted = _importance(keys[0], draws, log_q, fixed, n_draws)
    if weighted.khat < KHAT_MAX and weighted.ess > ESS_MIN:
        return weighted
    tables = reduced.line_profiles(task.view, library)
    # A first reduction about the flow's draws is good enough to climb by; a second one about the peak is good enough to sample.
    peaks = _peaks(_reduce(_spread(keys[1], draws), fixed, tables), draws, fixed)
    around = _around(keys[2], peaks, draws)
    for i in range(PASSES):
        small = _reduce(around, fixed, tables)
        found = _sampled(keys[3 + i], small, _peaks(small, peaks.u, fixed), fixed, settings, n_draws)
        if found.khat < KHAT_MAX:
            break
        around = jnp.concatenate([jnp.asarray(found.u)[: N_SNAPSHOT // 2], around[: N_SNAPSHOT - N_SNAPSHOT // 2]])
    return found


class _Fixed(NamedTuple):
    """What does not change while one galaxy is refined."""

    task: Problem
    library: Library
    model: GalaxyModel
    systematics: Systematics


def _importance(key: PRNGKeyArray, draws: Array, log_q: Array, fixed: _Fixed, n_draws: int) -> Refined:
    log_weights = np.asarray(exact_log_posterior(draws, *fixed) - log_q, np.float64)
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    smooth, khat = importance.pareto_smooth(log_weights)
    chosen = importance.resample(key, smooth, n_draws)
    log_evidence = importance.log_evidence(log_weights) - 0.5 * draws.shape[1] * np.log(2 * np.pi)
    ess = importance.effective_sample_size(smooth)
    return Refined(np.asarray(draws)[chosen], "importance", ess, khat, np.nan, float(log_evidence))


def _spread(key: PRNGKeyArray, draws: Float[Array, "draw parameter"]) -> Float[Array, "point parameter"]:
    """Points whose continua span where the posterior may lie: the flow's draws, and the same spread out."""
    near = draws[: N_SNAPSHOT // 2]
    return jnp.concatenate([near, near + 0.3 * jax.random.normal(key, near.shape)])


def _around(key: PRNGKeyArray, peaks: laplace.Peak, draws: Float[Array, "draw parameter"]) -> Float[Array, "point parameter"]:
    """Points whose continua span the posterior: Gaussians about the peaks, wider than they are, and some of the flow's draws."""
    n_flow = N_SNAPSHOT // 7
    n_each = (N_SNAPSHOT - n_flow) // len(peaks.u)
    noise = 1.3 * jax.random.normal(key, (len(peaks.u), n_each, peaks.u.shape[1]))
    root = jnp.linalg.cholesky(jnp.linalg.inv(peaks.precision))
    cloud = peaks.u[:, None] + jnp.einsum("pij,pnj->pni", root, noise)
    return jnp.concatenate([jnp.clip(cloud.reshape(-1, noise.shape[-1]), -4.5, 4.5), draws[: N_SNAPSHOT - n_each * len(peaks.u)]])


def _reduce(points: Array, fixed: _Fixed, tables: tuple[Array, Array]) -> reduced.Reduced:
    task = fixed.task
    return reduced.build(task.view, task.white, task.whitened, _snapshots(points, *fixed), *tables, task.t_universe_gyr)


def _peaks(small: reduced.Reduced, points: Array, fixed: _Fixed) -> laplace.Peak:
    """Climb from the best of some points; those that end on a much lower hill move to the highest one."""
    values = _reduced_log_posterior(points, small, *fixed[1:])
    start = points[jnp.argsort(-jnp.where(jnp.isfinite(values), values, -jnp.inf))[:N_CHAIN]]
    peaks = _climb(start, small, *fixed[1:])
    best = jnp.argmax(peaks.log_density)
    lost = peaks.log_density < peaks.log_density[best] - WITHIN_NATS
    return jax.tree.map(lambda leaf: jnp.where(lost.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf[best], leaf), peaks)


@partial(jax.jit, static_argnames=("model", "systematics"))
def _climb(start: Array, small: reduced.Reduced, library: Library, model: GalaxyModel, systematics: Systematics) -> laplace.Peak:
    def log_density(u: Array) -> Array:
        return reduced.log_posterior(u, model, small, library, systematics)

    def whitened(u: Array) -> Array:
        return reduced.whitened_model(u, model, small, library, systematics)

    return jax.vmap(lambda u: laplace.climb(u, log_density, whitened, N_CLIMB))(start)


@partial(jax.jit, static_argnames=("model", "systematics"))
def _begin(start: Array, small: reduced.Reduced, library: Library, model: GalaxyModel, systematics: Systematics):  # noqa: ANN202
    return ensemble_hmc.begin(lambda u: reduced.log_posterior(u, model, small, library, systematics), start)


@partial(jax.jit, static_argnames=("model", "systematics"))
def _advance(key, state, root, tuning, adapt, small, library, model, systematics) -> ensemble_hmc.Block:  # noqa: ANN001
    return ensemble_hmc.block(
        key, state, root, tuning, adapt, lambda u: reduced.log_posterior(u, model, small, library, systematics)
    )


@partial(jax.jit, static_argnames=("model", "systematics"))
def _reduced_log_posterior(
    u: Array, small: reduced.Reduced, library: Library, model: GalaxyModel, systematics: Systematics
) -> Array:
    return jax.lax.map(lambda p: reduced.log_posterior(p, model, small, library, systematics), u, batch_size=64)


def _sampled(
    key: PRNGKeyArray, small: reduced.Reduced, peaks: laplace.Peak, fixed: _Fixed, settings: ensemble_hmc.Settings, n_draws: int
) -> Refined:
    """Sample the reduced posterior, and correct it by the exact one."""
    key_start, key_sample, key_pick, key_final = jax.random.split(key, 4)
    covariance = np.linalg.inv(np.asarray(peaks.precision[int(jnp.argmax(peaks.log_density))], np.float64))
    root = jnp.asarray(np.linalg.cholesky(covariance), jnp.float32)
    start = peaks.u + jax.random.normal(key_start, peaks.u.shape) @ root.T

    def advance(key, state, root, tuning, adapt) -> ensemble_hmc.Block:  # noqa: ANN001
        return _advance(key, state, root, tuning, adapt, small, *fixed[1:])

    chains = ensemble_hmc.sample(key_sample, advance, _begin(start, small, *fixed[1:]), covariance, settings)
    flat, values = chains.draws.reshape(-1, chains.draws.shape[-1]), chains.values.ravel()
    pick = np.asarray(jax.random.choice(key_pick, len(flat), (min(N_EXACT, len(flat)),), replace=False))
    correction = np.asarray(exact_log_posterior(jnp.asarray(flat[pick]), *fixed), np.float64) - values[pick]
    smooth, khat = importance.pareto_smooth(correction)
    if np.std(correction) > CORRECTION_NATS:
        chosen = pick[importance.resample(key_final, smooth, n_draws)]
        ess = min(chains.convergence.ess_bulk, importance.effective_sample_size(smooth))
    else:
        chosen = np.asarray(jax.random.choice(key_final, len(flat), (n_draws,), replace=n_draws > len(flat)))
        ess = chains.convergence.ess_bulk
    return Refined(flat[chosen], "hmc", float(ess), float(khat), float(chains.convergence.rhat), None)


def holds(result: Refined) -> bool:
    """Whether the draws may be called refined."""
    if result.method == "hmc":
        return result.rhat < RHAT_MAX and result.khat < KHAT_MAX
    return result.khat < KHAT_MAX and result.ess > ESS_MIN
