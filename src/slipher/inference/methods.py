"""How to draw from a posterior, by name: the one place where a sampler is chosen.

    amortised   the network's draws, as they are
    refined     weighted by the exact likelihood, or drawn from mixtures fitted to such weights (`refine`)
    nuts        four chains from the network's draws, in the parameters (`nuts`)
    nested      nested sampling from the prior, in the parameters: knows nothing of the network (`nested`)
    tempered    sequential Monte Carlo from the network's draws, in the flow's base space (`tempered`)

The last three are twins of the second, and cost a hundred times as much.
"""

from functools import cache

import equinox as eqx
import numpy as np

from ..errors import InputError
from . import nested, nuts, refine, tempered
from .refine import Refined, Target, Warp
from .samplers import PARAMETERS, Coordinates, Sampled

METHODS = ("amortised", "refined", "nuts", "nested", "tempered")
N_START = 400


def checked(method: str) -> str:
    """The method. Raises InputError where there is none of that name."""
    if method not in METHODS:
        raise InputError(f"sampler {method!r}", expected=f"one of {', '.join(METHODS)}", mend="Choose one of those.")
    return method


def draw(method: str, rng: np.random.Generator, target: Target, warp: Warp, n_draws: int) -> Refined:
    """Draws of u by a method of `METHODS`."""
    if method == "amortised":
        return Refined(warp.sample(rng, n_draws)[0], "amortised", np.nan, np.nan, None)
    if method == "refined":
        return refine.refine(rng, target, warp, n_draws)
    return _chosen(rng, _sampled(method, rng, target, warp), target, n_draws)


def _sampled(method: str, rng: np.random.Generator, target: Target, warp: Warp) -> Sampled:
    density, data = target.pure()
    if method == "nuts":
        start = warp.sample(rng, N_START)[0]
        alive = np.isfinite(target.log_posterior(start))
        return nuts.sample(rng, first_of(density), (data, None), start[alive] if alive.sum() > 1 else start, coordinates=PARAMETERS)
    if method == "nested":
        return nested.sample(rng, first_of(density), (data, None), target.n_parameter)
    moving, static = eqx.partition(warp, eqx.is_inexact_array)
    return tempered.sample(rng, first_of(density), (data, moving), target.n_parameter, coordinates=_coordinates(_Held(static)))


class _Held:
    """The parts of a warp that are no numbers; two are the same if their networks have one structure."""

    def __init__(self, static: Warp):
        self.static, self.structure = static, str(eqx.tree_pformat(static))

    def __hash__(self) -> int:
        return hash(self.structure)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self.structure == other.structure


@cache
def _coordinates(held: _Held) -> Coordinates:
    """A flow as coordinates; its numbers are the second part of the data."""

    def network(data: tuple) -> tuple:
        warp = eqx.combine(data[1], held.static)
        return warp.network, warp.context

    def from_base(z, data):
        flow, context = network(data)
        return flow.from_base(z, context)

    def to_base(u, data):
        flow, context = network(data)
        return flow.to_base(u, context)

    return Coordinates(from_base, to_base)


@cache
def first_of(density):
    """The density with data in two parts, of which it takes the first: one function object for one density."""
    return lambda u, data: density(u, data[0])


def _chosen(rng: np.random.Generator, found: Sampled, target: Target, n_draws: int) -> Refined:
    """So many of a sampler's draws, each taken again only once all are."""
    n = len(found.u)
    index = np.concatenate([rng.permutation(n) for _ in range(-(-n_draws // n))])[:n_draws]
    evidence = None if found.log_evidence is None else found.log_evidence - target.left_out()
    return Refined(
        found.u[index], found.method, found.ess, np.nan, evidence, found.evaluations, rhat=found.rhat, divergences=found.divergences
    )
