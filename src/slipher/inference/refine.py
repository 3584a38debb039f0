"""From amortised draws to the exact posterior.

    flow draws --every pixel--> weights: khat < 0.6?  yes: as many as it takes for an ESS of 500, done
        no --learn a mixture--> its draws --every pixel--> weights?  no: learn on, up to forty thousand draws

All densities are exact, and all draws that leave here follow the likelihood of every pixel: they are draws of the flow, or of a mixture
that was fixed before they were made, with their weights. The mixture has parts in the flow's base space, as Hoffman et al. (2019,
arXiv:1903.03704) proposed for chains: what the flow has learnt of funnels and curved ridges (a burst's age matters only if there is a
burst) is straightened out there. The posteriors of the brightest galaxies lie at the edge of that space and are simpler in the
parameters, where the mixture has its other part.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..batches import in_batches
from ..errors import InputError
from . import importance, population
from .prediction import chains_hold, weights_hold

BATCH = 50
N_WANTED = 1000  # draws that the settings of `population` are for, or fewer

Points = Float[np.ndarray, "draw parameter"]


class Refined(NamedTuple):
    """Equal-weight draws of u and how they came to be.

    Draws of the flow by its weights ('importance'), of a mixture by theirs ('population'), or, where neither weights hold, the flow's as
    they are ('amortised'): ESS and Pareto k are then those of the weights that failed; or a sampler's, which R-hat speaks for.
    `evaluations` counts likelihoods of every pixel.
    """

    u: Float[np.ndarray, "draw parameter"]
    method: str
    ess: float
    khat: float
    log_evidence: float | None
    evaluations: int = 0
    rhat: float = np.nan
    divergences: int = 0


@runtime_checkable
class Target(Protocol):
    """A posterior density of u: of a spectrum (`exact`), of photometry (`photometric`), or of both.

    `pure` gives the same log density as a pure function of one point and a tree of arrays, for `samplers`.
    """

    @property
    def n_parameter(self) -> int: ...

    def log_posterior(self, u: Points) -> Float[np.ndarray, "draw"]: ...

    def left_out(self) -> float: ...

    def pure(self) -> tuple[Callable, Any]: ...


@runtime_checkable
class Flow(Protocol):
    """A density of u given a context, as a map from N(0, 1): of spectra, of photometry, or of both."""

    @property
    def n_parameter(self) -> int: ...

    def from_base(self, z: Float[Array, "parameter"], context: Array) -> tuple[Array, Array]: ...

    def to_base(self, u: Float[Array, "parameter"], context: Array) -> tuple[Array, Array]: ...


class Warp(eqx.Module):
    """A flow at one galaxy's context: a map from its base space, where the posterior is nearly N(0, 1), to u-space."""

    network: Flow
    context: Float[Array, "context"]

    def from_base(self, z: Points) -> tuple[Points, Float[np.ndarray, "draw"]]:
        """Points of the base space in u-space, and log |du/dz|."""
        u, log_det = in_batches(lambda some: _from_base(some, self), BATCH, z.astype(np.float32))
        return u.astype(np.float64), log_det.astype(np.float64)

    def to_base(self, u: Points) -> tuple[Points, Float[np.ndarray, "draw"]]:
        """Points of u-space in the base space, and log |du/dz| there."""
        z, log_det = in_batches(lambda some: _to_base(some, self), BATCH, u.astype(np.float32))
        return z.astype(np.float64), log_det.astype(np.float64)

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Points, Float[np.ndarray, "draw"]]:
        """Draws of u, and their log densities under the flow."""
        u, log_det = self.from_base(z := rng.standard_normal((n, self.network.n_parameter)))
        return u, population.log_normal(z) - log_det

    def log_density(self, u: Points) -> Float[np.ndarray, "draw"]:
        """The flow's log density at points of u-space."""
        z, log_det = self.to_base(u)
        return population.log_normal(z) - log_det


@eqx.filter_jit
def _from_base(z: Float[Array, "point parameter"] | Points, warp: Warp) -> tuple[Array, Array]:
    return jax.vmap(lambda point: warp.network.from_base(point, warp.context))(z)


@eqx.filter_jit
def _to_base(u: Float[Array, "point parameter"] | Points, warp: Warp) -> tuple[Array, Array]:
    return jax.vmap(lambda point: warp.network.to_base(point, warp.context))(u)


def refine(rng: np.random.Generator, target: Target, warp: Warp, n_draws: int) -> Refined:
    """Draws of the exact posterior, if the diagnostics hold (`holds`); else the flow's.

    Parameters
    ----------
    n_draws
        Equal-weight draws wanted. The more, the more are made before the best of them are chosen.
    """
    more = max(1.0, n_draws / N_WANTED)
    settings = population.Settings()
    settings = settings._replace(ess=more * settings.ess, most=int(more * settings.most))
    space = population.Space(warp.from_base, warp.to_base)
    try:
        found = population.adapt(rng, target.log_posterior, space, target.n_parameter, settings)
    except InputError:  # the density vanishes at every draw
        return Refined(warp.sample(rng, n_draws)[0], "amortised", 0.0, np.inf, None)
    if not weights_hold(found.khat, found.ess):
        return Refined(warp.sample(rng, n_draws)[0], "amortised", found.ess, found.khat, None, found.made)
    method = "population" if found.learnt else "importance"
    u = found.u[importance.resample(rng, found.log_weights, n_draws)]
    return Refined(u, method, found.ess, found.khat, found.log_evidence - target.left_out(), found.made)


def holds(result: Refined) -> bool:
    """Whether the draws may be called refined."""
    return weights_hold(result.khat, result.ess) or chains_hold(result.rhat, result.ess)
