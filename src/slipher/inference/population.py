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
from scipy.special import gammaln, logsumexp

from . import importance
from .prediction import KHAT_MAX

Points = Float[np.ndarray, "draw parameter"]
LogDensity = Callable[[Points], Float[np.ndarray, "draw"]]
FREEDOM = 10.0  # of the Student-t distributions: tails heavier than those of most posteriors
DEFENCE = 0.1  # share of N(0, 1) in a mixture
STRENGTH = 1.5  # draws per parameter that the common covariance is worth when a component's is fitted
EM_STEPS = 25


class Settings(NamedTuple):
    """Draws a round, most rounds, rounds remembered; when to stop; draws that have to count in a fit and per component; most components."""

    n_draw: int = 1000
    rounds: int = 30
    memory: int = 7
    khat: float = 0.6
    ess: float = 300.0
    least: float = 100.0
    each: float = 100.0
    components: int = 4


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
        return np.logaddexp(np.log1p(-self.defence) + logsumexp(self.by_component(x), axis=1), np.log(self.defence) + base)

    def by_component(self, x: Points) -> Float[np.ndarray, "draw component"]:
        """Log share times density of each Student-t component."""
        d = x.shape[1]
        constant = gammaln((FREEDOM + d) / 2) - gammaln(FREEDOM / 2) - 0.5 * d * np.log(FREEDOM * np.pi)
        columns = []
        for share, mean, root in zip(self.share, self.mean, self.root, strict=True):
            distance = np.sum(((x - mean) @ np.linalg.inv(root).T) ** 2, 1)
            tail = 0.5 * (FREEDOM + d) * np.log1p(distance / FREEDOM)
            columns.append(np.log(share) + constant - np.log(np.diag(root)).sum() - tail)
        return np.stack(columns, 1)


def standard_normal(n_parameter: int) -> Mixture:
    """N(0, 1) alone."""
    return Mixture(np.ones(1), np.zeros((1, n_parameter)), np.eye(n_parameter)[None], 1.0)


class Population(NamedTuple):
    """Draws of the latest rounds with their smoothed, normalised log weights, how these behave, and how many rounds there were."""

    draws: Points
    log_weights: Float[np.ndarray, "draw"]
    khat: float
    ess: float
    log_evidence: float
    rounds: int


class _Round(NamedTuple):
    mixture: Mixture
    draws: Points
    log_density: Float[np.ndarray, "draw"]


def adapt(rng: np.random.Generator, log_density: LogDensity, n_parameter: int, settings: Settings) -> Population:
    """Draw, weigh and fit until the weights are well behaved, or to the last round; returns the best population met.

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
    mixture, rounds, best = standard_normal(n_parameter), [], None
    for number in range(1, settings.rounds + 1):
        draws = mixture.sample(rng, settings.n_draw)
        value = log_density(draws)
        value = np.where(np.isfinite(value), value, -np.inf)
        rounds = [*rounds[1 - settings.memory :], _Round(mixture, draws, value)]
        draws, log_weights = _weighed(rounds)
        found = _judged(draws, log_weights, number)
        # A tail that can be used comes first, then the more draws that count the better.
        if best is None or (found.khat < KHAT_MAX, found.ess) > (best.khat < KHAT_MAX, best.ess):
            best = found
        if found.khat < settings.khat and found.ess > settings.ess:
            break
        components = int(np.clip(found.ess // settings.each, 1, settings.components))
        mixture = fit(rng, draws, tempered(log_weights, settings.least), components)
    return best


def _weighed(rounds: list[_Round]) -> tuple[Points, Float[np.ndarray, "draw"]]:
    """All draws, and their log weights as draws of the rounds' common mixture."""
    draws = np.concatenate([r.draws for r in rounds])
    proposed = logsumexp([r.mixture.log_density(draws) for r in rounds], axis=0) - np.log(len(rounds))
    return draws, np.concatenate([r.log_density for r in rounds]) - proposed


def _judged(draws: Points, log_weights: Float[np.ndarray, "draw"], number: int) -> Population:
    smooth, khat = importance.pareto_smooth(log_weights)
    return Population(draws, smooth, khat, importance.effective_sample_size(smooth), importance.log_evidence(log_weights), number)


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
    """Expectation maximisation from starting means far apart; covariances are drawn towards the common one by `STRENGTH`."""
    d = x.shape[1]
    centred = x - weights @ x
    common = centred.T @ (centred * weights[:, None]) + 1e-6 * np.eye(d)
    root = np.linalg.cholesky(common)
    mean = x[_apart(rng, np.linalg.solve(root, centred.T).T, weights, components)]
    mixture = Mixture(np.full(components, 1.0 / components), mean, np.repeat(root[None], components, 0))
    for _ in range(EM_STEPS):
        by = mixture.by_component(x)
        responsible = np.exp(by - logsumexp(by, axis=1, keepdims=True)) * weights[:, None]
        total = responsible.sum(0) + 1e-12
        mean = responsible.T @ x / total[:, None]
        worth = total**2 / (np.sum(responsible**2, 0) + 1e-30)  # draws that count in each component
        roots = []
        for k in range(components):
            apart = x - mean[k]
            own = apart.T @ (apart * responsible[:, k : k + 1]) / total[k]
            shrink = STRENGTH * d / (worth[k] + STRENGTH * d)
            roots.append(np.linalg.cholesky((1.0 - shrink) * own + shrink * common + 1e-9 * np.eye(d)))
        share = total + 0.01
        mixture = Mixture(share / share.sum(), mean, np.stack(roots))
    return mixture


def _apart(rng: np.random.Generator, x: Points, weights: Float[np.ndarray, "draw"], n: int) -> list[int]:
    """Indices of n draws, each chosen in proportion to its weight and squared distance from those before (k-means++)."""
    chosen = [int(rng.choice(len(x), p=weights))]
    nearest = np.full(len(x), np.inf)
    while len(chosen) < n:
        nearest = np.minimum(nearest, np.sum((x - x[chosen[-1]]) ** 2, 1))
        chance = weights * nearest
        chosen.append(int(rng.choice(len(x), p=chance / chance.sum())))
    return chosen
