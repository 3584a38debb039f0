"""The ladder from amortised draws to the exact posterior; each rung is told from the next by its diagnostics.

    flow draws --exact weights--> importance: khat < 0.7 and ESS > 100 (if need be of four times as many)?  yes: done
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
from ..networks.posterior_flow import PosteriorFlow
from ..physics import parameters
from ..physics.galaxy import GalaxyModel
from . import ensemble_hmc, exact, importance, laplace, reduced
from .exact import Target
from .prediction import ESS_MIN, KHAT_MAX, RHAT_MAX

N_PROPOSAL, MORE = 1000, 4  # draws of the flow, and how many times as many if that may be enough
N_CHAIN = 8
N_CLIMB = 16
N_EXACT = 250
N_SNAPSHOT = 450
N_LINE_SNAPSHOT = 50
WITHIN_NATS = 12.0
PASSES = 2
CORRECTION_NATS = 0.3  # scatter of exact over reduced density above which draws are re-weighted


class Refined(NamedTuple):
    """Equal-weight draws of u and how they came to be."""

    u: Float[np.ndarray, "draw parameter"]
    method: str
    ess: float
    khat: float
    rhat: float
    log_evidence: float | None


class Warp(eqx.Module):
    """A flow at one galaxy's context: a map from its base space to u-space."""

    network: PosteriorFlow
    context: Float[Array, "context"]

    @eqx.filter_jit
    def from_base(self, z: Float[Array, "point parameter"]) -> tuple[Array, Array]:
        """Points of the base space in u-space, and log |du/dz|."""
        return jax.vmap(lambda point: self.network.from_base(point, self.context))(z)

    def sample(self, key: PRNGKeyArray, n: int) -> tuple[Float[np.ndarray, "draw parameter"], Float[np.ndarray, "draw"]]:
        """Draws of u, and their log densities under the flow."""
        u, _, log_q = _draw(key, self, n)
        return np.asarray(u), np.asarray(log_q, np.float64)

    @eqx.filter_jit
    def log_density(self, u: Float[Array, "point parameter"]) -> Float[Array, "point"]:
        """The flow's log density at points of u-space."""
        return jax.vmap(lambda point: self.network.log_prob(point, self.context))(u)

    @eqx.filter_jit
    def to_base(self, u: Float[Array, "point parameter"]) -> Float[Array, "point parameter"]:
        """Points of u-space in the base space."""
        return jax.vmap(lambda point: self.network.to_base(point, self.context))(u)


@eqx.filter_jit
def _draw(key: PRNGKeyArray, warp: Warp, n: int) -> tuple[Array, Array, Array]:
    return warp.network.sample(key, warp.context, n)


def refine(key: PRNGKeyArray, target: Target, warp: Warp, settings: ensemble_hmc.Settings, n_draws: int) -> Refined:
    """Climb the ladder; returns the best rung reached, and its diagnostics say whether it holds.

    The flow's draws come first. If their weights are well behaved but too few count, more are drawn; if not, chains are run.
    """
    keys = jax.random.split(key, 4)
    draws, log_q = warp.sample(keys[0], N_PROPOSAL)
    log_p = exact.log_posterior(draws, target)
    weighted = _importance(keys[2], draws, log_q, log_p, n_draws)
    if weighted.khat < KHAT_MAX and ESS_MIN / MORE < weighted.ess <= ESS_MIN:
        more, more_log_q = warp.sample(keys[1], (MORE - 1) * N_PROPOSAL)
        draws, log_q = np.concatenate([draws, more]), np.concatenate([log_q, more_log_q])
        log_p = np.concatenate([log_p, exact.log_posterior(more, target)])
        weighted = _importance(keys[2], draws, log_q, log_p, n_draws)
    if holds(weighted):
        return weighted
    return sample(keys[3], draws, log_p, target, warp, settings, n_draws)


def sample(
    key: PRNGKeyArray, draws: Float[np.ndarray, "draw parameter"], log_p: Float[np.ndarray, "draw"], target: Target, warp: Warp,
    settings: ensemble_hmc.Settings, n_draws: int,
) -> Refined:  # fmt: skip
    """Reduce the likelihood about the posterior, sample it, and correct the draws by the exact one.

    A first reduction about the flow's draws (with their exact log posteriors) is good enough to climb by; a second one about the peak is
    good enough to sample. Chains move in the flow's base space, as Hoffman et al. (2019, arXiv:1903.03704) proposed: what the flow has
    learnt of funnels and curved ridges (a burst's age matters only if there is a burst) is straightened out there.
    """
    keys = jax.random.split(key, 2 + PASSES)
    best = np.argsort(-np.where(np.isfinite(log_p), log_p, -np.inf))
    peaks = _peaks(_reduce(_spread(keys[0], draws), target), draws[best[:N_CHAIN]], target)
    around = _around(keys[1], peaks, draws)
    for i in range(PASSES):
        small = _reduce(around, target)
        found = _sampled(keys[2 + i], small, _peaks(small, peaks.u, target), target, warp, settings, n_draws)
        if found.khat < KHAT_MAX:
            break
        around = np.concatenate([found.u[: N_SNAPSHOT // 2], around[: N_SNAPSHOT - N_SNAPSHOT // 2]])
    return found


def _importance(key: PRNGKeyArray, draws: np.ndarray, log_q: np.ndarray, log_p: np.ndarray, n_draws: int) -> Refined:
    log_weights = np.where(np.isfinite(log_p - log_q), log_p - log_q, -np.inf)
    smooth, khat = importance.pareto_smooth(log_weights)
    chosen = importance.resample(key, smooth, n_draws)
    log_evidence = importance.log_evidence(log_weights) - 0.5 * draws.shape[1] * np.log(2 * np.pi)
    ess = importance.effective_sample_size(smooth)
    return Refined(draws[chosen], "importance", ess, khat, np.nan, float(log_evidence))


def _spread(key: PRNGKeyArray, draws: Float[np.ndarray, "draw parameter"]) -> Float[np.ndarray, "point parameter"]:
    """Points whose continua span where the posterior may lie: the flow's draws, and the same spread out."""
    near = draws[: N_SNAPSHOT // 2]
    return np.concatenate([near, near + 0.3 * np.asarray(jax.random.normal(key, near.shape))])


def _around(key: PRNGKeyArray, peaks: laplace.Peak, draws: Float[np.ndarray, "draw parameter"]) -> Float[np.ndarray, "point parameter"]:
    """Points whose continua span the posterior: Gaussians about the peaks, wider than they are, and some of the flow's draws."""
    n_flow = N_SNAPSHOT // 7
    n_each = (N_SNAPSHOT - n_flow) // len(peaks.u)
    noise = 1.3 * np.asarray(jax.random.normal(key, (len(peaks.u), n_each, peaks.u.shape[1])))
    root = np.linalg.cholesky(np.linalg.inv(np.asarray(peaks.precision, np.float64)))
    cloud = np.asarray(peaks.u)[:, None] + np.einsum("pij,pnj->pni", root, noise)
    inside = np.clip(cloud.reshape(-1, noise.shape[-1]), -laplace.U_LIMIT, laplace.U_LIMIT)
    return np.concatenate([inside, draws[: N_SNAPSHOT - len(inside)]]).astype(np.float32)


def _reduce(points: np.ndarray, target: Target) -> reduced.Reduced:
    """The reduced likelihood about points: continua of all of them, line groups of every few at their amplitudes."""
    some = np.linspace(0, len(points) - 1, N_LINE_SNAPSHOT).astype(int)
    rest = np.setdiff1d(np.arange(len(points)), some)
    continua, lines = exact.evaluate(points[some], target, lambda draw: (draw.continuum, draw.lines))
    others = exact.evaluate(points[rest], target, lambda draw: draw.continuum)
    shots = reduced.Snapshots(np.concatenate([continua, others]), lines.reshape(-1, lines.shape[-1]))
    nodes = reduced.gas_nodes(np.asarray(_gas_dispersion(points, target.model)))
    task = target.task
    return reduced.build(task.view, task.white, task.whitened, shots, nodes, target.library, task.t_universe_gyr)


@partial(jax.jit, static_argnames="model")
def _gas_dispersion(u: Float[Array, "point parameter"], model: GalaxyModel) -> Float[Array, "*point"]:
    return model.complete(parameters.from_normal(model.parameters[:-1], u.T))["sigma_gas"]


def _peaks(small: reduced.Reduced, start: Array | np.ndarray, target: Target) -> laplace.Peak:
    """Climb from some points; those that end on a much lower hill move to the highest one."""
    peaks = _climb(jnp.asarray(start), small, *target[1:])
    best = jnp.argmax(peaks.log_density)
    lost = peaks.log_density < peaks.log_density[best] - WITHIN_NATS
    return jax.tree.map(lambda leaf: jnp.where(lost.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf[best], leaf), peaks)


@partial(jax.jit, static_argnames=("model", "systematics"))
def _climb(start: Array, small: reduced.Reduced, library: Library, model: GalaxyModel, systematics: Systematics) -> laplace.Peak:
    def expand(u: Array) -> laplace.Expansion:
        return reduced.expand(u, model, small, library, systematics)

    return jax.vmap(lambda u: laplace.climb(u, expand, N_CLIMB))(start)


@eqx.filter_jit
def _advance(key, state, root, tuning, adapt, warp, small, library, model, systematics) -> ensemble_hmc.Block:
    def log_density(z: Float[Array, "parameter"]) -> Float[Array, ""]:
        u, log_det = warp.network.from_base(z, warp.context)
        return reduced.log_posterior(u, model, small, library, systematics) + log_det

    return ensemble_hmc.block(key, state, root, tuning, adapt, log_density)


def _metric(z: Float[Array, "parameter"], precision: Float[Array, "parameter parameter"], warp: Warp) -> Float[np.ndarray, "p p"]:
    """The covariance in base space of a Gaussian at z whose precision in u-space is given."""
    steps = np.concatenate([np.zeros((1, len(z))), reduced.DIFFERENCE * np.eye(len(z))]).astype(np.float32)
    u = np.asarray(warp.from_base(z + steps)[0], np.float64)
    jacobian = (u[1:] - u[0]).T / reduced.DIFFERENCE
    return np.linalg.inv(jacobian.T @ np.asarray(precision, np.float64) @ jacobian + 0.1 * np.eye(len(z)))


def _sampled(
    key: PRNGKeyArray, small: reduced.Reduced, peaks: laplace.Peak, target: Target, warp: Warp, settings: ensemble_hmc.Settings,
    n_draws: int,
) -> Refined:  # fmt: skip
    """Sample the reduced posterior, and correct it by the exact one."""
    key_start, key_sample, key_pick, key_final = jax.random.split(key, 4)
    best = int(jnp.argmax(peaks.log_density))
    z = warp.to_base(peaks.u)
    covariance = _metric(z[best], peaks.precision[best], warp)
    start = z + jax.random.normal(key_start, z.shape) @ jnp.asarray(np.linalg.cholesky(covariance).T, jnp.float32)

    def advance(key, state, root, tuning, adapt) -> ensemble_hmc.Block:
        return _advance(key, state, root, tuning, jnp.asarray(adapt), warp, small, *target[1:])

    chains = ensemble_hmc.sample(key_sample, advance, ensemble_hmc.begin(start), covariance, settings)
    flat, log_det = map(np.asarray, warp.from_base(jnp.asarray(chains.draws.reshape(-1, chains.draws.shape[-1]))))
    pick = np.asarray(jax.random.choice(key_pick, len(flat), (min(N_EXACT, len(flat)),), replace=False))
    correction = exact.log_posterior(flat[pick], target) - (chains.values.ravel() - log_det)[pick]
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
