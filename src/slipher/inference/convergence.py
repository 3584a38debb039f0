"""Have several Markov chains reached, and explored, the same distribution?

Rank-normalised split R-hat and the bulk and tail effective sample sizes of Vehtari, Gelman, Simpson, Carpenter &
Bürkner (2021, Bayesian Analysis 16, 667; arXiv:1903.08008). They compare chains with one another and the first half of
each with the second, so they see chains that stick, drift or disagree; they do not see a mode that no chain found.
Chains with NaN or infinite draws, or that never move, have not converged: R-hat is infinite and the sizes are 0.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float
from scipy import fft, special, stats

from slipher.errors import InputError

Chains = Float[np.ndarray, "chain draw"] | Float[Array, "chain draw"]

MIN_DRAWS = 8  # four in each half: below this the variances mean nothing


class Convergence(NamedTuple):
    """The worst of every parameter's diagnostics."""

    rhat: float
    ess_bulk: float
    ess_tail: float


def diagnose(draws: Float[np.ndarray, "chain draw parameter"]) -> Convergence:
    """Largest R-hat and smallest effective sample sizes over the parameters.

    Parameters
    ----------
    draws
        Any units; each parameter is judged on its own, by ranks.
    """
    each = [draws[:, :, parameter] for parameter in range(draws.shape[2])]
    return Convergence(max(map(rhat, each)), min(map(ess_bulk, each)), min(map(ess_tail, each)))


def rhat(draws: Chains) -> float:
    """Rank-normalised split R-hat: 1 for chains that agree; above 1.01 they do not (yet).

    The larger of two values (section 4.2 of the paper): of the ranks, which sees chains at different places, and of the
    ranks of the distance to the median, which sees chains of different widths.

    Raises
    ------
    InputError
        If the chains have fewer than 8 draws.
    """
    chains = _checked(draws)
    if _undecidable(chains):
        return np.inf
    halves = _split(chains)
    folded = np.abs(halves - np.median(halves))
    return max(_classic_rhat(_rank_normalise(halves)), _classic_rhat(_rank_normalise(folded)))


def ess_bulk(draws: Chains) -> float:
    """Effective sample size of the rank-normalised draws: what means and medians rest on. Errors as for `rhat`."""
    chains = _checked(draws)
    return 0.0 if _undecidable(chains) else _ess(_rank_normalise(_split(chains)))


def ess_tail(draws: Chains) -> float:
    """The smaller effective size of the 5 % and the 95 % quantile: what intervals rest on. Errors as for `rhat`."""
    chains = _checked(draws)
    if _undecidable(chains):
        return 0.0
    return min(_ess(_split((chains <= quantile).astype(float))) for quantile in np.quantile(chains, (0.05, 0.95)))


def _checked(draws: Chains) -> Float[np.ndarray, "chain draw"]:
    chains = np.asarray(draws, dtype=np.float64)
    if chains.shape[0] < 1 or chains.shape[1] < MIN_DRAWS:
        raise InputError(
            f"{chains.shape[0]} chains of {chains.shape[1]} draws",
            expected=f"at least one chain of {MIN_DRAWS} draws",
            mend="Run the sampler for longer.",
        )
    return chains


def _undecidable(chains: Float[np.ndarray, "chain draw"]) -> bool:
    return not np.isfinite(chains).all() or bool(np.ptp(chains) == 0)


def _split(chains: Float[np.ndarray, "chain draw"]) -> Float[np.ndarray, "half draw_of_half"]:
    """First and second halves as chains of their own; an odd draw in the middle is left out."""
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, -half:]])


def _rank_normalise(chains: Float[np.ndarray, "chain draw"]) -> Float[np.ndarray, "chain draw"]:
    """Normal scores of the ranks over all chains (equation 14 of the paper; Blom's offsets)."""
    ranks = stats.rankdata(chains, method="average").reshape(chains.shape)
    return special.ndtri((ranks - 0.375) / (chains.size + 0.25))


def _variances(chains: Float[np.ndarray, "chain draw"]) -> tuple[float, float]:
    """Mean variance within the chains, and the estimate of the marginal variance (equations 1 to 3)."""
    n = chains.shape[1]
    within = float(np.mean(np.var(chains, axis=1, ddof=1)))
    between_over_n = float(np.var(np.mean(chains, axis=1), ddof=1))
    return within, within * (n - 1) / n + between_over_n


def _classic_rhat(chains: Float[np.ndarray, "chain draw"]) -> float:
    """Square root of marginal over within-chain variance (equation 4; Gelman & Rubin 1992)."""
    within, marginal = _variances(chains)
    return float(np.sqrt(marginal / within)) if within > 0 else np.inf


def _autocovariance(chains: Float[np.ndarray, "chain draw"]) -> Float[np.ndarray, "chain draw"]:
    """Autocovariance at every lag, by FFT with enough padding that the ends do not meet."""
    n = chains.shape[1]
    size = fft.next_fast_len(2 * n)
    power = np.abs(fft.rfft(chains - chains.mean(axis=1, keepdims=True), size, axis=1)) ** 2
    return fft.irfft(power, size, axis=1)[:, :n] / n


def _ess(chains: Float[np.ndarray, "chain draw"]) -> float:
    """Effective sample size of split chains (equations 10 to 13).

    The autocorrelations rho_t are summed in pairs, which for a reversible chain are positive and decreasing: noise
    begins where a pair turns negative, and pairs are made monotone before that (Geyer 1992).
    """
    n = chains.shape[1]
    within, marginal = _variances(chains)
    if marginal <= 0:  # an indicator that is the same everywhere
        return float(chains.size)
    covariance = np.mean(_autocovariance(chains), axis=0)
    rho = 1.0 - (within - covariance) / marginal
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(axis=1)
    n_pairs = int(np.argmax(pairs < 0)) if (pairs < 0).any() else pairs.size
    kept = np.minimum.accumulate(pairs[:n_pairs])
    # beyond the last pair, the even lag alone still counts where it is positive: it steadies antithetic chains
    last = max(float(rho[2 * n_pairs]), 0.0) if 2 * n_pairs < n else 0.0
    time = max(-1.0 + 2.0 * float(np.sum(kept)) + last, 1.0 / np.log10(chains.size))
    return chains.size / time
