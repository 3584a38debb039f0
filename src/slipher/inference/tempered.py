"""Tempered sequential Monte Carlo from the amortised posterior q to the exact one p, in populations that know nothing of each other.

    p_t ~ q^(1 - t) p^t:  draws of q --raise t: weigh, resample--> move until where they came from is forgotten --> ... --> t = 1

q is N(0, 1) in base space: with a flow's coordinates the amortised posterior, with none the prior. The power t rises so far that a given
share of the particles stays effective. Moves are Hamiltonian trajectories of random length; the inverse mass is the population's
covariance.

A population can collapse on to the offspring of a few particles and still look like a posterior: a likelihood as good as the truth's
proves nothing. So particles keep the number of their first ancestor, the ESS counts the offspring of one as what they are worth, and
R-hat compares the populations.

Papers: Del Moral, Doucet & Jasra (2006, JRSS B 68, 411), with the powers of Jasra et al. (2011, Scand. J. Stat. 38, 1) and moves until
they have forgotten after Fearnhead & Taylor (2013, Bayesian Analysis 8, 411); trajectories as in blackjax. What this does not do: find a
mode that q does not reach with any particle; or an unbiased evidence: of a thousand particles whose moves have learnt from themselves it
comes out some hundredths low, more where they move too little.
"""

from functools import partial
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Int
from scipy.special import logsumexp

from ..batches import in_batches
from . import convergence, importance, samplers
from .population import log_normal
from .samplers import PARAMETERS, Coordinates, LogDensity, PerDraw, Points, Sampled, Seed

QUARTER_PERIOD = 0.5 * np.pi  # of a trajectory in a whitened Gaussian: what it ends on has forgotten what it began with
LONGEST = 32  # steps of a trajectory
BISECTIONS = 50


class Settings(NamedTuple):
    """How many particles, how fast the power rises, and how far they move.

    The power rises until the share `effective` of the particles is left, at most `stages` times: then the rest at once. Particles move
    until the correlation with where they stood is below `forget` in all parameters, at the end below `forget_last`, or `moves` times.
    """

    populations: int = 2
    particles: int = 1024
    effective: float = 0.7
    stages: int = 60
    forget: float = 0.2
    forget_last: float = 0.1
    moves: int = 30
    acceptance: float = 0.8


USUAL = Settings()


class _Population(NamedTuple):
    """Particles in base space, their log density there, the particle that each descends from, and what was learnt and spent.

    `variance` is that of the log evidence, were the particles of each stage independent.
    """

    z: Points
    value: PerDraw
    ancestor: Int[np.ndarray, "draw"]
    step: float
    log_evidence: float = 0.0
    variance: float = 0.0
    evaluations: int = 0
    gradients: int = 0
    divergences: int = 0


class _Problem(NamedTuple):
    """What is sampled, where, and how."""

    log_density: LogDensity
    data: Any
    coordinates: Coordinates
    settings: Settings


def sample(
    seed: Seed, log_density: LogDensity, data: Any, n_parameter: int, *, coordinates: Coordinates = PARAMETERS,
    settings: Settings = USUAL,
) -> Sampled:  # fmt: skip
    """Draws of a density by tempered SMC; `ess`, `rhat` and `ancestors` say whether to believe them.

    Parameters
    ----------
    log_density, data
        See `samplers.py`.
    n_parameter
        Dimension of the space.
    coordinates
        In whose base space the first particles are N(0, 1).

    Raises
    ------
    InputError
        If the density vanishes at all first particles.
    """
    problem = _Problem(log_density, data, coordinates, settings)
    found = [_population(rng, problem, n_parameter) for rng in np.random.default_rng(seed).spawn(settings.populations)]
    u = np.stack([samplers.to_parameters(each.z, data, coordinates) for each in found])
    draws = u.reshape(-1, n_parameter)
    families = np.concatenate([each.ancestor + i * settings.particles for i, each in enumerate(found)])
    evidence = np.array([each.log_evidence for each in found])
    return Sampled(
        draws, "tempered", float(convergence.ess_of_clusters(draws, families).min()), float(convergence.rhat(u).max()),
        evaluations=sum(each.evaluations for each in found),
        gradients=sum(each.gradients for each in found),
        log_evidence=float(logsumexp(evidence) - np.log(len(evidence))),
        log_evidence_error=_error(found),
        divergences=sum(each.divergences for each in found),
        ancestors=min(len(np.unique(each.ancestor)) for each in found),
    )  # fmt: skip


def _error(found: list[_Population]) -> float:
    """Of the mean evidence: the populations' spread, which a few of them tell badly, or what their weights make likely, if that is more."""
    expected = np.sqrt(np.mean([each.variance for each in found]))
    spread = np.std([each.log_evidence for each in found], ddof=1) if len(found) > 1 else 0.0
    return float(max(expected, spread) / np.sqrt(len(found)))


def _population(rng: np.random.Generator, problem: _Problem, n_parameter: int) -> _Population:
    """One population, from t = 0 to t = 1."""
    n, power = problem.settings.particles, 0.0
    z = rng.standard_normal((n, n_parameter))
    now = _Population(z, _log_density(z, problem), np.arange(n), step=0.5, evaluations=n)
    for stage in range(problem.settings.stages):
        ratio = now.value - log_normal(now.z)
        last = stage == problem.settings.stages - 1
        higher = 1.0 if last else raised(ratio, power, problem.settings.effective)
        log_weights = (higher - power) * ratio
        chosen = importance.resample(rng, log_weights, n)
        weights = np.exp(log_weights - logsumexp(log_weights))
        inverse_mass = _covariance(now.z, weights)
        now = now._replace(
            z=now.z[chosen], value=now.value[chosen], ancestor=now.ancestor[chosen],
            log_evidence=now.log_evidence + importance.log_evidence(log_weights),
            variance=now.variance + np.sum(weights**2) - 1.0 / n,
        )  # fmt: skip
        now, power = _moved(rng, now, higher, inverse_mass, problem), higher
        if power == 1.0:
            break
    return now


def raised(ratio: PerDraw, power: float, effective: float) -> float:
    """The power, at most one, at which the share `effective` of the draws that are possible stays effective.

    `ratio` is log p - log q of draws of the density of `power`.
    """
    possible = ratio[np.isfinite(ratio)]
    if not len(possible):
        return 1.0  # the weights will say that none is possible

    def enough(higher: float) -> bool:
        return importance.effective_sample_size((higher - power) * possible) >= effective * len(possible)

    if enough(1.0):
        return 1.0
    low, high = power, 1.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    return high


def _covariance(z: Points, weights: PerDraw) -> Float[np.ndarray, "parameter parameter"]:
    """Weighted covariance; of few draws that count, drawn towards the uncorrelated one."""
    d = z.shape[1]
    centred = z - weights @ z
    found = centred.T @ (centred * weights[:, None])
    share = d / (d + 1.0 / np.sum(weights**2))
    return (1.0 - share) * found + share * np.diag(np.diagonal(found)) + 1e-10 * np.eye(d)


def _moved(
    rng: np.random.Generator, start: _Population, power: float, inverse_mass: Float[np.ndarray, "parameter parameter"], problem: _Problem
) -> _Population:
    """Trajectories until particles have forgotten where they stood, each as long as suits the last ones' acceptance."""
    settings, now = problem.settings, start
    fixed = {"log_density": problem.log_density, "coordinates": problem.coordinates}
    mass = jnp.asarray(inverse_mass, jnp.float32)
    forget = settings.forget_last if power == 1.0 else settings.forget
    for _ in range(settings.moves):
        steps = int(np.clip(np.ceil(QUARTER_PERIOD / now.step), 1, LONGEST))
        keys = np.asarray(jax.random.key_data(jax.random.split(samplers.key_of(rng), settings.particles)))
        how = (jnp.float32(power), jnp.float32(now.step), mass, steps, problem.data)
        z, acceptance, divergent = in_batches(
            lambda key, some, how=how: _trajectories(key, some, *how, **fixed), samplers.BATCH, keys, now.z.astype(np.float32)
        )
        now = now._replace(
            z=z.astype(np.float64),
            step=float(np.clip(now.step * np.exp(acceptance.mean() - settings.acceptance), 1e-3, 1.5)),
            gradients=now.gradients + settings.particles * (steps + 1),
            evaluations=now.evaluations + settings.particles * (steps + 1),
            divergences=now.divergences + int(divergent.sum()),
        )
        if _correlation(start.z, now.z) < forget:
            break
    return now._replace(value=_log_density(now.z, problem), evaluations=now.evaluations + settings.particles)


def _correlation(before: Points, after: Points) -> float:
    """The largest over parameters."""
    a, b = before - before.mean(0), after - after.mean(0)
    scale = np.sqrt(np.sum(a**2, 0) * np.sum(b**2, 0))
    return float(np.max(np.sum(a * b, 0) / np.maximum(scale, 1e-300)))


def _log_density(z: Points, problem: _Problem) -> PerDraw:
    return samplers.log_densities(z, problem.data, log_density=problem.log_density, coordinates=problem.coordinates)


@partial(jax.jit, static_argnames=("log_density", "coordinates"))
def _trajectories(
    keys: Array, z: Array, power: Array, step: Array, inverse_mass: Array, steps: int | Array, data: Any, *, log_density: LogDensity,
    coordinates: Coordinates,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """One Hamiltonian trajectory of each particle; steps are jittered, so that no length is a period."""
    density, kernel = samplers.in_base(log_density, coordinates), blackjax.hmc.build_kernel()

    def tempered(z: Array) -> Array:
        return power * density(z, data) + (1.0 - power) * jnp.sum(norm.logpdf(z))  # -inf where the former is

    def one(key: Array, z: Array) -> tuple[Array, Array, Array]:
        jitter, move = jax.random.split(jax.random.wrap_key_data(key))
        length = step * jax.random.uniform(jitter, minval=0.6, maxval=1.4)
        state, info = kernel(move, blackjax.hmc.init(z, tempered), tempered, length, inverse_mass, steps)
        return state.position, info.acceptance_rate, info.is_divergent

    return jax.vmap(one)(keys, z)
