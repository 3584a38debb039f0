"""Nested sampling by slices: the evidence, and draws that start from the prior and from nothing that was learnt.

    Z = integral of L dX:  live points of the prior --the worst leave--> slices of the prior above their likelihood --> ... --> nothing left

X is the prior's mass above a likelihood. New points come from slices along directions with the live points' covariance, many at once. Two
runs that know nothing of each other must agree (R-hat): a mode that one has lost, or slices too few to forget their start, show so.

blackjax's sampler was chosen. It is compiled with the density and runs where that does, and it is here for NUTS already. The evidence of a
bent 16-dimensional posterior, 33 nats from its prior, took it nine CPU seconds a run, and was right with four slices a parameter (0.04 with
an error of 0.12; with two it came out 0.6 too large). dynesty 3.1 (random slices) was wrong by 1.8 after 1.3 million densities, one at a
time; ultranest 4.6 had not finished after five million, and is compiled where it is installed; nautilus 1.0.6 had not finished after five
CPU minutes, and needs scikit-learn.

Papers: Skilling (2006, Bayesian Analysis 1, 833); Yallup, Kroupa & Handley (2026, arXiv:2601.23252) on slices in batches; Neal (2003,
arXiv:physics/0009028). With a flow's coordinates the amortised posterior takes the prior's place, which leaves evidence and posterior as
they are and costs less (Chen, Ferroz & Hobson 2023, Bayesian Analysis 18, 947, repartition a posterior likewise): it is then no longer
independent of the flow. What this does not do: judge by itself whether a mode was missed by both runs.
"""

from functools import partial
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.special import logsumexp

from ..errors import InputError
from . import convergence, importance, samplers
from .samplers import PARAMETERS, Coordinates, LogDensity, PerDraw, Points, Sampled, Seed

SIMULATED = 100  # sequences of the prior's mass, to average over and to tell the evidence's error
TRIES = 1000  # batches as large as the live points, of which one point at least must be possible


class Settings(NamedTuple):
    """How many live points, how many leave at once, how many slices per parameter a new one takes, and when to stop.

    A run ends when the live points hold less than the share `left` of the evidence, or after `most` departures per live point, which is
    also the information in nats that it can bridge.
    """

    runs: int = 2
    live: int = 500
    leave: int = 50
    slices: int = 4
    left: float = 0.01
    most: int = 200


USUAL = Settings()


class _Dead(NamedTuple):
    """Points in base space with their log likelihoods, in the order in which they left, and log evidence, its error and their weights."""

    z: Points
    log_weights: PerDraw
    log_evidence: float
    error: float
    evaluations: int


def sample(
    seed: Seed, log_density: LogDensity, data: Any, n_parameter: int, *, coordinates: Coordinates = PARAMETERS,
    settings: Settings = USUAL,
) -> Sampled:  # fmt: skip
    """Draws and evidence of a density by nested sampling; `ess` and `rhat` say whether to believe them.

    As many draws are returned of each run as the poorest run's weights are worth. The evidence is that of the density per unit of u.

    Parameters
    ----------
    log_density, data
        See `samplers.py`.
    n_parameter
        Dimension of the space.
    coordinates
        In whose base space the prior is N(0, 1).

    Raises
    ------
    InputError
        If the density vanishes wherever the prior has mass.
    """
    rngs = np.random.default_rng(seed).spawn(settings.runs)
    found = [_run(rng, log_density, data, n_parameter, coordinates, settings) for rng in rngs]
    worth = [importance.effective_sample_size(run.log_weights) for run in found]
    n = max(int(min(worth)), 1)
    chosen = [run.z[importance.resample(rng, run.log_weights, n)] for rng, run in zip(rngs, found, strict=True)]
    u = np.stack([samplers.to_parameters(z, data, coordinates) for z in chosen])
    evidence = np.array([run.log_evidence for run in found])
    spread = evidence.std(ddof=1) if len(found) > 1 else 0.0
    error = max(float(np.sqrt(np.mean([run.error**2 for run in found]))), float(spread)) / np.sqrt(len(found))
    return Sampled(
        u.reshape(-1, n_parameter), "nested", float(convergence.ess(u).min()), float(convergence.rhat(u).max()),
        evaluations=sum(run.evaluations for run in found),
        log_evidence=float(logsumexp(evidence) - np.log(len(evidence))), log_evidence_error=float(error),
    )  # fmt: skip


def _run(
    rng: np.random.Generator, log_density: LogDensity, data: Any, n_parameter: int, coordinates: Coordinates, settings: Settings
) -> _Dead:
    """One run, from the prior to the peak."""
    fixed = {"log_density": log_density, "coordinates": coordinates, "settings": settings}
    z, log_share, evaluations = _possible(rng, log_density, data, n_parameter, coordinates, settings.live)
    live = _begun(jnp.asarray(z, jnp.float32), data, **fixed)
    dead, value = [], []
    for _ in range(settings.most * settings.live // settings.leave):
        live, gone, computed = _step(samplers.key_of(rng), live, data, **fixed)
        order = np.argsort(gone.loglikelihood)
        dead.append(np.asarray(gone.position)[order])
        value.append(np.asarray(gone.loglikelihood)[order])
        evaluations += int(computed)
        if float(live.integrator.logZ_live - live.integrator.logZ) < np.log(settings.left):
            break
    order = np.argsort(live.particles.loglikelihood)
    dead.append(np.asarray(live.particles.position)[order])
    value.append(np.asarray(live.particles.loglikelihood)[order])
    log_mass = shells(rng, len(dead) - 1, settings.live, settings.leave)
    log_weights = np.concatenate(value).astype(np.float64)[:, None] + log_mass
    evidence = logsumexp(log_weights, axis=0)
    mean = logsumexp(log_weights - evidence, axis=1)
    return _Dead(np.concatenate(dead).astype(np.float64), mean, float(evidence.mean() + log_share), float(evidence.std()), evaluations)


def shells(rng: np.random.Generator, steps: int, live: int, leave: int) -> Float[np.ndarray, "point simulated"]:
    """Log of the prior's mass between each point that left and the one before; the live points leave last.

    The mass above the worst of n points is that above the one before times the largest of n uniform numbers, and n falls within a step.
    """
    left = np.concatenate([np.tile(live - np.arange(leave), steps), live - np.arange(live)])
    shrink = np.log(rng.random((len(left), SIMULATED))) / left[:, None]
    above = np.cumsum(shrink, axis=0) - shrink
    return above + np.log(-np.expm1(shrink))


def _possible(
    rng: np.random.Generator, log_density: LogDensity, data: Any, n_parameter: int, coordinates: Coordinates, n: int
) -> tuple[Points, float, int]:
    """Draws of the prior at which the density does not vanish, the log share of such, and how many were looked at.

    Points without likelihood are all as bad: which of them left first would not be known, nor the mass that each leaves behind.
    """
    found, tried = np.empty((0, n_parameter)), 0
    while len(found) < n:
        z = rng.standard_normal((n, n_parameter))
        value = samplers.log_densities(z, data, log_density=log_density, coordinates=coordinates)
        found, tried = np.concatenate([found, z[np.isfinite(value)]]), tried + n
        if tried >= TRIES * max(len(found), 1):
            raise InputError(
                f"a density that vanishes at {tried - len(found)} of {tried} draws of the prior",
                expected="one in a thousand where it does not",
                mend="Look at the data's errors, or give a flow's coordinates.",
            )  # fmt: skip
    return found[:n], float(np.log(len(found) / tried)), tried


def _algorithm(data: Any, log_density: LogDensity, coordinates: Coordinates, settings: Settings, n_parameter: int):
    """blackjax's sampler of the density over the prior in base space."""
    density = samplers.in_base(log_density, coordinates)

    def log_prior(z: Array) -> Array:
        return jnp.sum(norm.logpdf(z))

    return blackjax.nss(
        logprior_fn=log_prior, loglikelihood_fn=lambda z: density(z, data) - log_prior(z), num_inner_steps=settings.slices * n_parameter,
        num_delete=settings.leave,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("log_density", "coordinates", "settings"))
def _begun(z: Array, data: Any, *, log_density: LogDensity, coordinates: Coordinates, settings: Settings):
    return _algorithm(data, log_density, coordinates, settings, z.shape[1]).init(z)


@partial(jax.jit, static_argnames=("log_density", "coordinates", "settings"))
def _step(key: PRNGKeyArray, live, data: Any, *, log_density: LogDensity, coordinates: Coordinates, settings: Settings):
    """Replace the worst; also what left, and the densities computed: all slices of a round wait for the longest."""
    live, info = _algorithm(data, log_density, coordinates, settings, live.particles.position.shape[1]).step(key, live)
    slices = info.update_info
    longest = 2 + slices.num_expansions.max(0) + slices.num_shrink.max(0)
    return live, info.particles, settings.leave * jnp.sum(longest)
