"""Whether chains agree, and how many independent draws they are worth.

    R-hat: between chains against within them, 1 where they cannot be told apart
    ESS: independent draws that would say as much of the bulk of the distribution

Both are taken of the draws' ranks, so that a heavy tail cannot hide a disagreement, and each chain counts as two halves, so that a drift
within it shows. R-hat is the larger of that of the places and that of the widths.

Papers: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021, Bayesian Analysis 16, 667; arXiv:1903.08008), the autocorrelations summed as
by Geyer (1992, Statistical Science 7, 473). Particles with common ancestors are no chain: `ess_of_clusters` counts them after Lee &
Whiteley (2018, Biometrika 105, 609; arXiv:1509.00394). What this does not do: tell whether chains that agree have found everything.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri
from scipy.stats import rankdata

Chains = Float[np.ndarray, "chain draw parameter"]
PerParameter = Float[np.ndarray, "parameter"]

RHAT_LEAST_DRAWS = 4  # in a chain: with fewer its halves have no variance


def rhat(chains: Chains) -> PerParameter:
    """Rank-normalised split R-hat of each parameter: the larger of that of places and of widths.

    +inf where a chain does not move, is not finite, or holds fewer than four draws: nothing speaks for it.
    """
    if chains.shape[1] < RHAT_LEAST_DRAWS or not np.isfinite(chains).all():
        return np.full(chains.shape[2], np.inf)
    halves = split(chains)
    folded = np.abs(halves - np.median(halves, axis=(0, 1)))
    return np.maximum(_rhat(normal_scores(halves)), _rhat(normal_scores(folded)))


def ess(chains: Chains) -> PerParameter:
    """Bulk effective sample size of each parameter; 0 where R-hat would be +inf."""
    if chains.shape[1] < RHAT_LEAST_DRAWS or not np.isfinite(chains).all():
        return np.zeros(chains.shape[2])
    return _ess(normal_scores(split(chains)))


def ess_of_clusters(draws: Float[np.ndarray, "draw parameter"], cluster: Int[np.ndarray, "draw"]) -> PerParameter:
    """Effective sample size of each parameter where draws of one cluster, such as the offspring of one particle, may be alike.

    n^2 times the variance over the sum of squares of the clusters' summed deviations, of ranks. At most n; 0 for a single cluster, of
    which nothing can be said.
    """
    _, member = np.unique(cluster, return_inverse=True)
    n, clusters = len(draws), member.max() + 1
    if clusters < 2:
        return np.zeros(draws.shape[1])
    scores = normal_scores(draws[None])[0]
    scores = scores - scores.mean(0)
    sums = np.zeros((clusters, draws.shape[1]))
    np.add.at(sums, member, scores)
    noise = np.sum(sums**2, 0) * clusters / (clusters - 1)
    return np.minimum(n, n * np.sum(scores**2, 0) / np.maximum(noise, 1e-300))


def split(chains: Chains) -> Float[np.ndarray, "half half_draw parameter"]:
    """Each chain as two; the middle draw of an odd number is left out."""
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, -half:]])


def normal_scores(chains: Chains) -> Chains:
    """Quantiles of N(0, 1) at the ranks among all chains (Vehtari et al. 2021, equation 14)."""
    ranks = rankdata(chains.reshape(-1, chains.shape[-1]), axis=0).reshape(chains.shape)
    return ndtri((ranks - 0.375) / (chains.shape[0] * chains.shape[1] + 0.25))


def _variances(chains: Chains) -> tuple[PerParameter, PerParameter]:
    """Within chains, and of all together as if they had mixed (equations 1 to 3)."""
    n = chains.shape[1]
    within = chains.var(1, ddof=1).mean(0)
    return within, (n - 1) / n * within + chains.mean(1).var(0, ddof=1)


def _rhat(chains: Chains) -> PerParameter:
    within, total = _variances(chains)
    stuck = (np.ptp(chains, axis=1) == 0.0).any(0)
    return np.where(stuck, np.inf, np.sqrt(total / np.where(within > 0.0, within, 1.0)))


def _ess(chains: Chains) -> PerParameter:
    """Equations 10 to 13: chains' autocorrelations combined, summed in pairs while these are positive, and made to fall."""
    m, n, _ = chains.shape
    within, total = _variances(chains)
    covariance = _autocovariance(chains).mean(0)
    stuck = (np.ptp(chains, axis=1) == 0.0).any(0)
    rho = 1.0 - (within - covariance) / np.where(total > 0.0, total, 1.0)
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(-1, 2, rho.shape[1]).sum(1)
    positive = np.cumprod(pairs > 0.0, axis=0).astype(bool)
    falling = np.minimum.accumulate(np.where(positive, pairs, 0.0), axis=0)
    # The first negative pair's even term is kept where it is positive: an antithetic chain may be worth more than its length.
    last = np.minimum(positive.sum(0), len(pairs) - 1)
    even = np.take_along_axis(rho[::2], last[None], 0)[0]
    tau = -1.0 + 2.0 * falling.sum(0) + np.where(positive.all(0), 0.0, np.maximum(even, 0.0))
    return np.where(stuck, 0.0, m * n / np.maximum(tau, 1.0 / np.log10(m * n)))


def _autocovariance(chains: Chains) -> Chains:
    """Of each chain at all lags, over n."""
    n = chains.shape[1]
    centred = chains - chains.mean(1, keepdims=True)
    power = np.abs(np.fft.rfft(centred, 2 * n, axis=1)) ** 2
    return np.fft.irfft(power, 2 * n, axis=1)[:, :n] / n
