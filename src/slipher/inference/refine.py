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
N_CLIMB = 20
N_EXACT = 256
WITHIN_NATS = 12.0
PASSES = 2


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
def continua(u: Array, task: Problem, library: Library, model: GalaxyModel, systematics: Systematics) -> Array:
    """Continua [draw, pixel] of draws: the snapshots of the reduction."""

    def one(point: Array) -> Array:
        return likelihood.continuum_at_pixels(point, model, task.view, task.t_universe_gyr, library)

    return jax.lax.map(one, u, batch_size=64)


def refine(
    key: PRNGKeyArray, draws: Float[Array, "draw parameter"], log_q: Float[Array, "draw"], task: Problem, library: Library,
    model: GalaxyModel, systematics: Systematics, settings: ensemble_hmc.Settings, n_draws: int,
) -> Refined:  # fmt: skip
    """Climb the ladder from the flow's draws of u (with their log densities under the flow).

    Returns the best rung reached; its diagnostics say whether it holds.
    """
    keys = jax.random.split(key, 2 + PASSES)
    weighted = _importance(keys[0], draws, log_q, task, library, model, systematics, n_draws)
    if weighted.khat < KHAT_MAX and weighted.ess > ESS_MIN:
        return weighted
    snapshots = _snapshot_points(keys[1], draws)
    for i in range(PASSES):
        found = _sampled(keys[2 + i], snapshots, draws, task, library, model, systematics, settings, n_draws)
        if found.khat < KHAT_MAX:
            break
        snapshots = jnp.concatenate([jnp.asarray(found.u[:: max(1, len(found.u) // 300)])[:300], snapshots[:150]])
    return found


def _importance(key, draws, log_q, task, library, model, systematics, n_draws) -> Refined:  # noqa: ANN001
    log_weights = np.asarray(exact_log_posterior(draws, task, library, model, systematics) - log_q, np.float64)
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    smooth, khat = importance.pareto_smooth(log_weights)
    chosen = importance.resample(key, smooth, n_draws)
    n = 0.5 * draws.shape[1] * np.log(2 * np.pi)
    return Refined(
        np.asarray(draws)[chosen], "importance", importance.effective_sample_size(smooth), khat, np.nan,
        float(importance.log_evidence(log_weights) - n),
    )  # fmt: skip


def _snapshot_points(key: PRNGKeyArray, draws: Float[Array, "draw parameter"]) -> Float[Array, "point parameter"]:
    """Points whose continua span what the posterior may hold: the flow's draws, the same spread out, and the prior."""
    k = jax.random.split(key, 2)
    near = draws[:300]
    spread = near[:100] + 0.5 * jax.random.normal(k[0], near[:100].shape)
    return jnp.concatenate([near, spread, jax.random.normal(k[1], (100, draws.shape[1]))])


@partial(jax.jit, static_argnames=("model", "systematics", "settings"))
def _climb_and_sample(
    key: PRNGKeyArray, start: Array, small: reduced.Reduced, library: Library, model: GalaxyModel, systematics: Systematics,
    settings: ensemble_hmc.Settings,
) -> ensemble_hmc.Chains:  # fmt: skip
    def log_density(u: Array) -> Array:
        return reduced.log_posterior(u, model, small, library, systematics)

    def whitened(u: Array) -> Array:
        return reduced.whitened_model(u, model, small, library, systematics)

    peaks = jax.vmap(lambda u: laplace.climb(u, log_density, whitened, N_CLIMB))(start)
    best = jnp.argmax(peaks.log_density)
    # Points that climbed to a much lower hill start at the best one instead.
    lost = peaks.log_density < peaks.log_density[best] - WITHIN_NATS
    u = jnp.where(lost[:, None], peaks.u[best], peaks.u)
    key_start, key_hmc = jax.random.split(key)
    covariance = jnp.linalg.inv(peaks.precision[best])
    u = u + jax.random.normal(key_start, u.shape) @ jnp.linalg.cholesky(covariance).T
    return ensemble_hmc.sample(key_hmc, log_density, u, covariance, settings)


@partial(jax.jit, static_argnames=("model", "systematics"))
def _reduced_log_posterior(
    u: Array, small: reduced.Reduced, library: Library, model: GalaxyModel, systematics: Systematics
) -> Array:
    return jax.lax.map(lambda p: reduced.log_posterior(p, model, small, library, systematics), u, batch_size=64)


def _sampled(key, snapshots, draws, task, library, model, systematics, settings, n_draws) -> Refined:  # noqa: ANN001
    spanned = continua(snapshots, task, library, model, systematics)
    small = reduced.build(task.view, task.white, task.flux, spanned, library, task.t_universe_gyr)
    key_sample, key_pick, key_final = jax.random.split(key, 3)
    first = _reduced_log_posterior(draws, small, library, model, systematics)
    start = draws[jnp.argsort(-jnp.where(jnp.isfinite(first), first, -jnp.inf))[:N_CHAIN]]
    chains = _climb_and_sample(key_sample, start, small, library, model, systematics, settings)
    by_chain = np.asarray(chains.draws).transpose(1, 0, 2)
    found = convergence.diagnose(by_chain)
    flat, log_density = by_chain.reshape(-1, by_chain.shape[-1]), np.asarray(chains.log_density).T.ravel()
    pick = np.asarray(jax.random.choice(key_pick, len(flat), (N_EXACT,), replace=False))
    exact = np.asarray(exact_log_posterior(jnp.asarray(flat[pick]), task, library, model, systematics), np.float64)
    _, khat = importance.pareto_smooth(exact - log_density[pick])
    correction = exact - log_density[pick]
    if np.std(correction) > 0.3:  # worth the loss of draws: follow every pixel
        smooth, khat = importance.pareto_smooth(correction)
        chosen = pick[importance.resample(key_final, smooth, n_draws)]
        ess = min(found.ess_bulk, importance.effective_sample_size(smooth))
    else:
        chosen = np.asarray(jax.random.choice(key_final, len(flat), (n_draws,), replace=n_draws > len(flat)))
        ess = found.ess_bulk
    return Refined(flat[chosen], "hmc", float(ess), float(khat), float(found.rhat), None)


def holds(result: Refined) -> bool:
    """Whether the draws may be called refined."""
    if result.method == "hmc":
        return result.rhat < RHAT_MAX and result.khat < KHAT_MAX
    return result.khat < KHAT_MAX and result.ess > ESS_MIN
