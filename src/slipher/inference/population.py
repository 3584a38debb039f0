"""Population Monte Carlo: importance sampling by a proposal that learns from its own weights.

    N(0, 1) --draws--> log weights --temper--> fit a mixture --draws--> log weights --> ... until the weights are well behaved

Each round draws from the latest mixture of Student-t distributions, weighs all draws of the latest rounds together, as draws of the
rounds' common mixture (Cornuet et al. 2012, arXiv:0907.1254), and fits the next one to them (Cappé et al. 2008, arXiv:0710.4242). While
few draws count, the fit takes tempered weights: it is drawn towards the mass, and not on to one point. A share of every mixture is N(0, 1),
so that no weight grows far beyond what the first proposal would give, and a mode that it covers is not lost.

Chains would have to cross between modes and along ridges; here draws are independent, and whether they suffice is told by their weights.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln

from . import importance
from .prediction import KHAT_MAX

Points = Float[np.ndarray, "draw parameter"]
LogDensity = Callable[[Points], Float[np.ndarray, "draw"]]
FREEDOM = 10.0  # of the Student-t distributions: tails heavier than those of most posteriors
DEFENCE = 0.1  # share of N(0, 1) in a mixture
STRENGTH = 1.5  # draws per parameter that the common covariance is worth when a component's is fitted
EM_STEPS = 10
NEGLIGIBLE = 1e-2  # of all weights: what the draws that a fit leaves out have at most together


class Settings(NamedTuple):
    """How many draws, when they suffice, and how many have to count in a fit.

    `first` are drawn from N(0, 1), then `each` a round, `most` in all, of which the latest `memory` are remembered. They suffice at Pareto
    k < `khat` and more than `ess` of them effective. A fit is to at least `least` that count, with a component for every `apiece` of them
    up to `components`.
    """

    first: int = 1000
    each: int = 150
    most: int = 30_000
    memory: int = 7000
    khat: float = 0.6
    ess: float = 600.0
    least: float = 100.0
    apiece: float = 100.0
    components: int = 4

    def times(self, factor: float) -> "Settings":
        """For so many times as many draws; a fit needs no more for it."""
        first, each, most, memory = (int(np.ceil(factor * n)) for n in self[:4])
        return self._replace(first=first, each=each, most=most, memory=memory, ess=factor * self.ess)


class Mixture(NamedTuple):
    """Student-t components (shares, means, lower Cholesky factors of the scale matrices), and a share `defence` of N(0, 1)."""

    share: Float[np.ndarray, "component"]
    mean: Float[np.ndarray, "component parameter"]
    root: Float[np.ndarray, "component parameter parameter"]
    defence: float = DEFENCE

    def sample(self, rng: np.random.Generator, n: int) -> Points:
        """Draws."""
        normal = rng.standard_normal((n, self.mean.shape[1]))
        which = rng.choice(len(self.share), n, p=self.share)
        stretch = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, n))
        apart = self.mean[which] + stretch[:, None] * np.einsum("nij,nj->ni", self.root[which], normal)
        return np.where(rng.random((n, 1)) < self.defence, normal, apart)

    def log_density(self, x: Points) -> Float[np.ndarray, "draw"]:
        """Normalised log density."""
        base = -0.5 * np.sum(x**2, 1) - 0.5 * x.shape[1] * np.log(2 * np.pi)
        if self.defence == 1.0:
            return base
        return np.logaddexp(np.log1p(-self.defence) + np.logaddexp.reduce(self.by_component(x), axis=1), np.log(self.defence) + base)

    def by_component(self, x: Points) -> Float[np.ndarray, "draw component"]:
        """Log share times density of each Student-t component."""
        k, d = self.mean.shape
        inverse = np.linalg.inv(self.root)
        scaled = x @ inverse.reshape(k * d, d).T - np.einsum("kij,kj->ki", inverse, self.mean).ravel()
        distance = np.sum(scaled.reshape(-1, k, d) ** 2, 2)
        constant = gammaln((FREEDOM + d) / 2) - gammaln(FREEDOM / 2) - 0.5 * d * np.log(FREEDOM * np.pi)
        height = np.log(self.share) + constant - np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(1)
        return height - 0.5 * (FREEDOM + d) * np.log1p(distance / FREEDOM)


def standard_normal(n_parameter: int) -> Mixture:
    """N(0, 1) alone."""
    return Mixture(np.ones(1), np.zeros((1, n_parameter)), np.eye(n_parameter)[None], 1.0)


class Population(NamedTuple):
    """Draws remembered with their smoothed, normalised log weights, how these behave, and how many draws were made."""

    draws: Points
    log_weights: Float[np.ndarray, "draw"]
    khat: float
    ess: float
    log_evidence: float
    made: int


class _Rounds(NamedTuple):
    """The latest rounds: their mixtures and numbers of draws, all draws, their log density, and that under each of the mixtures."""

    mixtures: list[Mixture]
    count: list[int]
    draws: Points
    value: Float[np.ndarray, "draw"]
    proposed: Float[np.ndarray, "round draw"]

    def and_then(self, mixture: Mixture, draws: Points, value: Float[np.ndarray, "draw"]) -> "_Rounds":
        """With one more round."""
        below = np.concatenate([self.proposed, mixture.log_density(self.draws)[None]])
        beside = np.stack([m.log_density(draws) for m in (*self.mixtures, mixture)])
        return _Rounds(
            [*self.mixtures, mixture], [*self.count, len(draws)], np.concatenate([self.draws, draws]),
            np.concatenate([self.value, value]), np.concatenate([below, beside], 1),
        )  # fmt: skip

    def latest(self, most: int) -> "_Rounds":
        """Without the oldest rounds, so that at most `most` draws are left."""
        if len(self.draws) <= most:
            return self
        n = self.count[0]
        return _Rounds(self.mixtures[1:], self.count[1:], self.draws[n:], self.value[n:], self.proposed[1:, n:]).latest(most)

    def log_weights(self) -> Float[np.ndarray, "draw"]:
        """Of the draws as draws of the rounds' common mixture."""
        share = np.log(self.count) - np.log(len(self.draws))
        return self.value - np.logaddexp.reduce(self.proposed + share[:, None], axis=0)


def adapt(rng: np.random.Generator, log_density: LogDensity, n_parameter: int, settings: Settings) -> Population:
    """Draw, weigh and fit until the weights are well behaved or draws run out; returns the best population met.

    Parameters
    ----------
    log_density
        Unnormalised log density of a batch of points; anything not finite is a point outside.
    n_parameter
        Dimension of the space; the first round draws from N(0, 1) in it.

    Raises
    ------
    InputError
        If no remembered draw has a finite density.
    """
    none = np.empty((0, n_parameter))
    rounds, mixture, best, made = _Rounds([], [], none, none[:, 0], none.reshape(0, 0)), standard_normal(n_parameter), None, 0
    while made < settings.most:
        draws = mixture.sample(rng, settings.each if made else settings.first)
        made += len(draws)
        value = log_density(draws)
        rounds = rounds.and_then(mixture, draws, np.where(np.isfinite(value), value, -np.inf)).latest(settings.memory)
        log_weights = rounds.log_weights()
        found = _judged(rounds.draws, log_weights, made)
        # A tail that can be used comes first, then the more draws that count the better.
        if best is None or (found.khat < KHAT_MAX, found.ess) > (best.khat < KHAT_MAX, best.ess):
            best = found
        if found.khat < settings.khat and found.ess > settings.ess:
            break
        components = int(np.clip(found.ess // settings.apiece, 1, settings.components))
        mixture = fit(rng, rounds.draws, tempered(log_weights, settings.least), components)
    return best


def _judged(draws: Points, log_weights: Float[np.ndarray, "draw"], made: int) -> Population:
    smooth, khat = importance.pareto_smooth(log_weights)
    return Population(draws, smooth, khat, importance.effective_sample_size(smooth), importance.log_evidence(log_weights), made)


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
