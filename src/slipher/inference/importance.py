"""Pareto-smoothed importance sampling: correct draws by the exact likelihood, and say whether that worked.

Draws from an amortised posterior q are made draws from the exact one p by the weights w = p / q. The mean of a few
thousand weights is trustworthy only where their upper tail is light, so the largest weights are replaced by the
quantiles of a generalised Pareto distribution fitted to them, and its shape, khat, is the diagnostic: below 0.7 the
weighted draws can be used, above it they cannot, however many there are.

Paper: Vehtari, Simpson, Gelman, Yao & Gabry (2024, JMLR 25, 72; arXiv:1507.02646), with the fit of Zhang & Stephens
(2009, Technometrics 51, 316). Everything here is numpy in float64, for one galaxy, after the compiled part is done.
What this does not do: compute the densities, or decide what happens when khat is large (`refine.py` does).
"""

import numpy as np
from jaxtyping import Array, Float, Int

from slipher.errors import InputError

LogWeights = Float[np.ndarray, "draw"] | Float[Array, "draw"]

MIN_TAIL = 5  # fewer draws than this in the tail cannot tell its shape


def pareto_smooth(log_weights: LogWeights) -> tuple[Float[np.ndarray, "draw"], float]:
    """Smooth the largest importance weights by a generalised Pareto distribution.

    Parameters
    ----------
    log_weights
        log p - log q of each draw, up to a constant. -inf is a draw outside the posterior's support.

    Returns
    -------
    log_weights
        Smoothed and normalised: their exponentials sum to 1. No weight exceeds the largest raw one.
    khat
        Shape of the tail. +inf where a few draws dominate so completely that no tail is left to fit;
        -inf where the largest weights are all equal, which is as light as a tail can be.

    Raises
    ------
    InputError
        If no draw is given, one is NaN or +inf, or all are -inf.

    Notes
    -----
    Section 3 of Vehtari et al. (2024): the tail holds min(n / 5, 3 sqrt(n)) draws, replaced by the expected order
    statistics of the fitted distribution.
    """
    shifted = _checked(log_weights)
    order = np.argsort(shifted, kind="stable")
    cutoff = _tail_cutoff(shifted[order])
    tail = order[shifted[order] > cutoff]
    if tail.size < MIN_TAIL:
        return _normalise(shifted), -np.inf if tail.size == 0 else np.inf
    excess = np.exp(shifted[tail]) - np.exp(cutoff)
    khat, scale = fit_generalised_pareto(excess)
    probabilities = (np.arange(tail.size) + 0.5) / tail.size
    smooth = np.log(np.exp(cutoff) + generalised_pareto_quantile(probabilities, khat, scale))
    shifted[tail] = np.minimum(smooth, 0.0)
    return _normalise(shifted), khat


def fit_generalised_pareto(excess: Float[np.ndarray, "tail"]) -> tuple[float, float]:
    """Shape k and scale sigma of a generalised Pareto distribution, from exceedances over its threshold.

    The empirical-Bayes estimate of Zhang & Stephens (2009): the profile likelihood is averaged over a grid in
    theta = -k / sigma. k is then pulled towards 0.5 as by ten more draws (Vehtari et al. 2024, appendix C).

    Parameters
    ----------
    excess
        Positive exceedances, sorted in increasing order.
    """
    n = excess.size
    n_grid = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    steps = 1.0 - np.sqrt(n_grid / (np.arange(1, n_grid + 1) - 0.5))
    theta = 1.0 / excess[-1] + steps / (3.0 * quartile)
    shape = np.mean(np.log1p(-theta[:, None] * excess), axis=1)
    profile = n * (np.log(-theta / shape) - shape - 1.0)
    posterior = np.exp(profile - profile.max())
    theta_mean = float(np.sum(theta * posterior) / np.sum(posterior))
    k = float(np.mean(np.log1p(-theta_mean * excess)))
    return (n * k + 5.0) / (n + 10.0), -k / theta_mean


def generalised_pareto_quantile(probability: Float[np.ndarray, "tail"], k: float, scale: float) -> Float[np.ndarray, "tail"]:
    """Quantiles of the generalised Pareto distribution with threshold 0; exponential where k = 0."""
    survival = -np.log1p(-probability)
    return scale * (survival if abs(k) < 1e-12 else np.expm1(k * survival) / k)


def effective_sample_size(log_weights: LogWeights) -> float:
    """Number of equal-weight draws that a weighted sample is worth: (sum w)^2 / sum w^2 (Kish 1965).

    Parameters
    ----------
    log_weights
        Logarithmic weights, up to a constant; errors as for `pareto_smooth`.
    """
    weights = np.exp(_checked(log_weights))
    return float(weights.sum() ** 2 / np.sum(weights**2))


def log_evidence(log_weights: LogWeights) -> float:
    """log of the mean weight: the evidence, where the weights are joint density over normalised proposal."""
    shifted = _checked(log_weights)
    return float(np.log(np.mean(np.exp(shifted))) + np.max(np.asarray(log_weights, dtype=np.float64)))


def resample(rng: np.random.Generator, log_weights: LogWeights, n: int) -> Int[np.ndarray, "n"]:
    """Indices of n equal-weight draws, by systematic resampling.

    Draw i appears floor(n w_i) or ceil(n w_i) times: less noise than independent choices. The order is shuffled, so
    that the first few indices are a fair sample too. Draws of weight zero never appear; heavy draws repeat.

    Parameters
    ----------
    log_weights
        Logarithmic weights, up to a constant; errors as for `pareto_smooth`.
    n
        Number of draws wanted.
    """
    cumulative = np.cumsum(np.exp(_checked(log_weights)))
    positions = (np.arange(n) + rng.random()) / n
    chosen = np.searchsorted(cumulative / cumulative[-1], positions, side="right")
    return rng.permutation(chosen)


def _checked(log_weights: LogWeights) -> Float[np.ndarray, "draw"]:
    """A float64 copy whose largest value is 0."""
    values = np.array(log_weights, dtype=np.float64)
    mend = "Look at the densities of proposal and target where this happens."
    if values.size == 0:
        raise InputError("no importance weights", expected="at least one draw", mend="Ask for more draws.")
    if np.isnan(values).any() or np.isposinf(values).any():
        bad = int(np.sum(np.isnan(values) | np.isposinf(values)))
        raise InputError(f"{bad} of {values.size} log weights are NaN or +inf", expected="numbers or -inf", mend=mend)
    if np.isneginf(values).all():
        raise InputError(f"all {values.size} log weights are -inf", expected="at least one possible draw", mend=mend)
    return values - values.max()


def _tail_cutoff(ascending: Float[np.ndarray, "draw"]) -> float:
    """The largest log weight below the tail; weights that underflow beside the largest have no tail to tell of."""
    n = ascending.size
    n_tail = int(np.ceil(min(0.2 * n, 3.0 * np.sqrt(n))))
    below = ascending[n - n_tail - 1] if n_tail < n else -np.inf
    return float(max(below, np.log(np.finfo(np.float64).tiny)))


def _normalise(log_weights: Float[np.ndarray, "draw"]) -> Float[np.ndarray, "draw"]:
    """Subtract log sum exp; the input is already near its maximum of 0, so the exponentials do not overflow."""
    return log_weights - np.log(np.sum(np.exp(log_weights)))
