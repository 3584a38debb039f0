"""Population Monte Carlo: importance sampling by a proposal that learns from weighted draws.

    N(0, 1) --try--> weights well behaved?  yes: done
        no --learn: draws --log weights--> temper --fit--> mixtures --draws--> ... --try--> well behaved?  no: learn on

A proposal is fixed before the draws that are returned are made from it, so that their weights are exact. It is learnt from draws that are
weighed as draws of the common mixture of all latest proposals (Cornuet et al. 2012, arXiv:0907.1254); while few of them count, with
tempered weights: it is drawn towards the mass, and not on to one point (Cappé et al. 2008, arXiv:0710.4242). Draws that a proposal has
been fitted to are never returned: where it fits them too closely their weights are too small, and the posterior comes out too narrow.

There are two sets of coordinates: base space, where the posterior was expected to be N(0, 1), and the parameters themselves. A proposal
has Student-t distributions in both. Broad posteriors are simple in the first; narrow ones that lie at the edge of it, in the second.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln

from . import importance
from .prediction import KHAT_MAX

Points = Float[np.ndarray, "draw parameter"]
PerDraw = Float[np.ndarray, "draw"]
FREEDOM = 10.0  # of the Student-t distributions: tails heavier than those of most posteriors
DEFENCE = 0.1  # share of N(0, 1) in a proposal: no weight grows far beyond what it alone would give, and a mode that it covers is not lost
STRENGTH = 1.5  # draws per parameter that the common covariance is worth when a component's is fitted
EM_STEPS = 10
ENOUGH = 0.5  # share of the effective draws wanted; with fewer a proposal is drawn from again, as a trial only guesses how many it takes
NEGLIGIBLE = 1e-2  # of all weights: what the draws that a fit leaves out have at most together


class Settings(NamedTuple):
    """How many draws, when they suffice, and how many have to count in a fit.

    A proposal is tried with `trial` draws; if their Pareto k < `khat` and the share `efficiency` of them is effective, more follow until
    `ess` are. If not, it learns: from `each` draws a round, of which the latest `memory` are remembered, until `learnt` are effective in
    what it has learnt from (half as many again after each failed trial) or as many draws as it remembers are made. A fit is to at least
    `least` that count, with a component for every `apiece` of them up to `components`. At most about `most` draws are made.
    """

    trial: int = 500
    each: int = 150
    most: int = 40_000
    memory: int = 7000
    khat: float = 0.6
    efficiency: float = 0.04
    ess: float = 500.0
    learnt: float = 400.0
    least: float = 100.0
    apiece: float = 150.0
    components: int = 4


class Mixture(NamedTuple):
    """Student-t components: shares, means, lower Cholesky factors of the scale matrices."""

    share: Float[np.ndarray, "component"]
    mean: Float[np.ndarray, "component parameter"]
    root: Float[np.ndarray, "component parameter parameter"]

    def sample(self, rng: np.random.Generator, n: int) -> Points:
        """Draws."""
        normal = rng.standard_normal((n, self.mean.shape[1]))
        which = rng.choice(len(self.share), n, p=self.share)
        stretch = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, n))
        return self.mean[which] + stretch[:, None] * np.einsum("nij,nj->ni", self.root[which], normal)

    def log_density(self, x: Points) -> PerDraw:
        """Normalised log density."""
        return np.logaddexp.reduce(self.by_component(x), axis=1)

    def by_component(self, x: Points) -> Float[np.ndarray, "draw component"]:
        """Log share times density of each component."""
        k, d = self.mean.shape
        inverse = np.linalg.inv(self.root)
        scaled = x @ inverse.reshape(k * d, d).T - np.einsum("kij,kj->ki", inverse, self.mean).ravel()
        distance = np.sum(scaled.reshape(-1, k, d) ** 2, 2)
        constant = gammaln((FREEDOM + d) / 2) - gammaln(FREEDOM / 2) - 0.5 * d * np.log(FREEDOM * np.pi)
        height = np.log(self.share) + constant - np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(1)
        return height - 0.5 * (FREEDOM + d) * np.log1p(distance / FREEDOM)


class Space(NamedTuple):
    """Two sets of coordinates of one space: both functions take points of one and return those of the other and log |du/dz|."""

    from_base: Callable[[Points], tuple[Points, PerDraw]]
    to_base: Callable[[Points], tuple[Points, PerDraw]]


class Draws(NamedTuple):
    """Points in base space (z) and as parameters (u), and log |du/dz|; densities are per unit of z."""

    z: Points
    u: Points
    log_det: PerDraw


def log_normal(z: Points) -> PerDraw:
    """Log density of N(0, 1)."""
    return -0.5 * np.sum(z**2, 1) - 0.5 * z.shape[1] * np.log(2 * np.pi)


class Proposal(NamedTuple):
    """A mixture in base space, one of the parameters, and N(0, 1) in base space; their shares add up to one."""

    base: Mixture
    direct: Mixture
    shares: tuple[float, float, float]

    def sample(self, rng: np.random.Generator, n: int, space: Space) -> Draws:
        """Draws."""
        of_base, of_direct, of_normal = (int(i) for i in rng.multinomial(n, self.shares))
        z = np.concatenate([self.base.sample(rng, of_base), rng.standard_normal((of_normal, self.base.mean.shape[1]))])
        u, log_det = space.from_base(z) if len(z) else (z, z[:, 0])
        if not of_direct:
            return Draws(z, u, log_det)
        more = self.direct.sample(rng, of_direct)
        back, log_det_back = space.to_base(more)
        return joined(Draws(z, u, log_det), Draws(back, more, log_det_back))

    def log_density(self, draws: Draws) -> PerDraw:
        """Normalised log density."""
        normal = log_normal(draws.z)
        if self.shares[2] == 1.0:
            return normal
        parts = (self.base.log_density(draws.z), self.direct.log_density(draws.u) + draws.log_det, normal)
        with np.errstate(divide="ignore"):
            return np.logaddexp.reduce([part + np.log(share) for part, share in zip(parts, self.shares, strict=True)])


def joined(*draws: Draws) -> Draws:
    """One after the other."""
    return Draws(*map(np.concatenate, zip(*draws, strict=True)))


def standard_normal(n_parameter: int) -> Proposal:
    """N(0, 1) in base space alone."""
    unused = Mixture(np.ones(1), np.zeros((1, n_parameter)), np.eye(n_parameter)[None])
    return Proposal(unused, unused, (0.0, 0.0, 1.0))


class Population(NamedTuple):
    """Draws (parameters) with their smoothed, normalised log weights and how these behave.

    `learnt` says whether they are draws of a proposal that had to be learnt; `made` counts all draws, also those learnt from.
    """

    u: Points
    log_weights: PerDraw
    khat: float
    ess: float
    log_evidence: float
    learnt: bool
    made: int


class _Rounds(NamedTuple):
    """The latest rounds: their proposals and numbers of draws, all draws, their log density, and that under each of the proposals."""

    proposals: list[Proposal]
    count: list[int]
    draws: Draws
    value: PerDraw
    proposed: Float[np.ndarray, "round draw"]

    def and_then(self, proposal: Proposal, draws: Draws, value: PerDraw) -> "_Rounds":
        """With one more round."""
        below = np.concatenate([self.proposed, proposal.log_density(self.draws)[None]])
        beside = np.stack([p.log_density(draws) for p in (*self.proposals, proposal)])
        return _Rounds(
            [*self.proposals, proposal], [*self.count, len(value)], joined(self.draws, draws), np.concatenate([self.value, value]),
            np.concatenate([below, beside], 1),
        )  # fmt: skip

    def latest(self, most: int) -> "_Rounds":
        """Without the oldest rounds, so that at most `most` draws are left, or one round."""
        if len(self.value) <= most or len(self.count) == 1:
            return self
        n = self.count[0]
        kept = Draws(*(x[n:] for x in self.draws))
        return _Rounds(self.proposals[1:], self.count[1:], kept, self.value[n:], self.proposed[1:, n:]).latest(most)

    def log_weights(self) -> PerDraw:
        """Of the draws as draws of the rounds' common mixture."""
        share = np.log(self.count) - np.log(len(self.value))
        return self.value - np.logaddexp.reduce(self.proposed + share[:, None], axis=0)


def adapt(
    rng: np.random.Generator, log_density: Callable[[Points], PerDraw], space: Space, n_parameter: int, settings: Settings
) -> Population:
    """Try a proposal, and learn a better one until its weights are well behaved, or draws run out; returns the best population met.

    Parameters
    ----------
    log_density
        Unnormalised log density of the parameters at a batch of points; anything not finite is a point outside.
    n_parameter
        Dimension of the space; the first proposal is N(0, 1) in base space.

    Raises
    ------
    InputError
        If no draw of a trial has a finite density.
    """

    def drawn(proposal: Proposal, n: int) -> tuple[Draws, PerDraw]:
        draws = proposal.sample(rng, n, space)
        value = log_density(draws.u) + draws.log_det
        return draws, np.where(np.isfinite(value), value, -np.inf)

    nothing = np.empty((0, n_parameter))
    rounds = _Rounds([], [], Draws(nothing, nothing, nothing[:, 0]), nothing[:, 0], nothing.reshape(0, 0))
    proposal, best, made, learnt = standard_normal(n_parameter), None, 0, settings.learnt
    while True:
        draws, value = drawn(proposal, settings.trial)
        found, wanted = _judged(proposal, draws, value), settings.ess
        while found.khat < settings.khat and settings.efficiency * len(value) < found.ess < wanted:
            missing = min(int(len(value) * (settings.ess / found.ess - 1.0)) + 1, settings.most - made - len(value))
            if missing <= 0:
                break
            more, its_value = drawn(proposal, missing)
            draws, value = joined(draws, more), np.concatenate([value, its_value])
            found, wanted = _judged(proposal, draws, value), ENOUGH * settings.ess
        made += len(value)
        # A tail that can be used comes first, then the more draws that count the better.
        if best is None or (found.khat < KHAT_MAX, found.ess) > (best.khat < KHAT_MAX, best.ess):
            best = found
        if (found.khat < KHAT_MAX and found.ess > ENOUGH * settings.ess) or made >= settings.most:
            return best._replace(made=made)
        rounds = rounds.and_then(proposal, draws, value).latest(settings.memory)
        for _ in range(settings.memory // settings.each):
            proposal, ess = _learn(rng, rounds, settings)
            if ess > learnt or made >= settings.most:
                break
            rounds = rounds.and_then(proposal, *drawn(proposal, settings.each)).latest(settings.memory)
            made += settings.each
        learnt *= 1.5


def _judged(proposal: Proposal, draws: Draws, value: PerDraw) -> Population:
    log_weights = value - proposal.log_density(draws)
    smooth, khat = importance.pareto_smooth(log_weights)
    ess, log_evidence = importance.effective_sample_size(smooth), importance.log_evidence(log_weights)
    return Population(draws.u, smooth, khat, ess, log_evidence, proposal.shares[2] < 1.0, len(value))


def _learn(rng: np.random.Generator, rounds: _Rounds, settings: Settings) -> tuple[Proposal, float]:
    """The proposal that the rounds suggest, and how many of their draws count."""
    log_weights = rounds.log_weights()
    ess = importance.effective_sample_size(log_weights)
    weights = tempered(log_weights, settings.least)
    components = int(np.clip(ess // settings.apiece, 1, settings.components))
    draws = rounds.draws
    base, direct = fit(rng, draws.z, weights, components), fit(rng, draws.u, weights, components)
    apart = direct.log_density(draws.u) + draws.log_det - base.log_density(draws.z)
    share = 0.5  # of the second; by expectation maximisation
    for _ in range(EM_STEPS):
        share = float(np.clip(weights @ (share / (share + (1.0 - share) * np.exp(-np.clip(apart, -700, 700)))), 0.01, 0.99))
    return Proposal(base, direct, ((1.0 - DEFENCE) * (1.0 - share), (1.0 - DEFENCE) * share, DEFENCE)), ess


def tempered(log_weights: Float[np.ndarray, "draw"], least: float) -> Float[np.ndarray, "draw"]:
    """Normalised weights, to the power (at most one) at which `least` draws count."""
    shifted = log_weights - log_weights.max()

    def weights(power: float) -> np.ndarray:
        w = np.exp(power * shifted)
        return w / w.sum()

    def enough(power: float) -> bool:
        return bool(1.0 / np.sum(weights(power) ** 2) >= least)

    if enough(1.0):
        return weights(1.0)
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    return weights(low)


def fit(rng: np.random.Generator, x: Points, weights: Float[np.ndarray, "draw"], components: int) -> Mixture:
    """Expectation maximisation from cells about points far apart; covariances are drawn towards the common one by `STRENGTH`."""
    d, counts = x.shape[1], weights > NEGLIGIBLE / len(weights)
    x, weights = x[counts], weights[counts] / weights[counts].sum()
    centred = x - weights @ x
    common = centred.T @ (centred * weights[:, None]) + 1e-6 * np.eye(d)
    belongs = _cells(rng, np.linalg.solve(np.linalg.cholesky(common), centred.T).T, weights, components)
    for _ in range(EM_STEPS):
        mixture = _maximised(x, belongs * weights[:, None], common)
        by = mixture.by_component(x)
        belongs = np.exp(by - np.logaddexp.reduce(by, axis=1)[:, None])
    return mixture


def _maximised(x: Points, weights: Float[np.ndarray, "draw component"], common: Float[np.ndarray, "parameter parameter"]) -> Mixture:
    """The mixture of components that have these weights in the draws."""
    d = x.shape[1]
    total = weights.sum(0) + 1e-12
    mean = weights.T @ x / total[:, None]
    worth = total**2 / (np.sum(weights**2, 0) + 1e-30)  # draws that count in each component
    roots = []
    for k in range(len(total)):
        apart = x - mean[k]
        own = apart.T @ (apart * weights[:, k : k + 1]) / total[k]
        shrink = STRENGTH * d / (worth[k] + STRENGTH * d)
        roots.append(np.linalg.cholesky((1.0 - shrink) * own + shrink * common + 1e-9 * np.eye(d)))
    share = total + 0.01
    return Mixture(share / share.sum(), mean, np.stack(roots))


def _cells(rng: np.random.Generator, x: Points, weights: Float[np.ndarray, "draw"], n: int) -> Float[np.ndarray, "draw component"]:
    """One where a draw is nearest to one of n of them, each chosen in proportion to its weight and squared distance from those before.

    (The start of k-means++.)
    """
    distances = np.empty((len(x), n))
    chance = weights
    for k in range(n):
        distances[:, k] = np.sum((x - x[rng.choice(len(x), p=chance / chance.sum())]) ** 2, 1)
        chance = weights * distances[:, : k + 1].min(1)
    return np.eye(n)[distances.argmin(1)]
