"""Does a posterior's 90 per cent hold 90 per cent of the truths? Tests on mock galaxies whose truth is known.

Four tests, each blind to something that another sees:

- simulation-based calibration (Talts et al. 2018, arXiv:1804.06788): the rank of the truth among the draws is uniform,
  parameter by parameter. Sees bias and wrong widths; does not see wrong correlations.
- TARP (Lemos et al. 2023, arXiv:2302.03026): the share of draws nearer than the truth to a random point is uniform.
  Sees the joint posterior, correlations included; small biases hide from it, as its points lie on all sides.
- coverage of central intervals, overall;
- and in bins of a covariate (S/N, redshift), where errors of opposite sign that cancel overall show up.

All of them rest on one number in [0, 1] per mock, uniform if the posterior is exact. Draws may carry weights, so that
refined posteriors are judged too. A posterior that passes can still be wide: calibrated is not sharp.
The report's fields, table and verdict are in `calibration_report.py`.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from scipy import stats

from slipher.errors import InputError

Truth = Float[np.ndarray, "mock parameter"] | Float[Array, "mock parameter"]
Draws = Float[np.ndarray, "mock draw parameter"] | Float[Array, "mock draw parameter"]
LogWeights = Float[np.ndarray, "mock draw"] | Float[Array, "mock draw"]
Scale = Float[np.ndarray, "parameter"] | Float[Array, "parameter"]


class Tarp(NamedTuple):
    """Expected coverage of regions around random points, and the chance of a departure from the diagonal as large."""

    credibility: Float[np.ndarray, "level"]
    coverage: Float[np.ndarray, "level"]
    low: Float[np.ndarray, "level"]  # bootstrap 2.5 %
    high: Float[np.ndarray, "level"]  # bootstrap 97.5 %
    pvalue: float


def normalised_ranks(
    key: PRNGKeyArray, truth: Truth, draws: Draws, *, log_weights: LogWeights | None = None
) -> Float[np.ndarray, "mock parameter"]:
    """Rank of each truth among its draws, as a number in (0, 1) that is uniform for an exact posterior.

    With n draws of equal weight, r of them below the truth, this is (r + u) / (n + 1), u uniform: the histogram of
    Talts et al. (2018) without its steps. Draws that equal the truth are ordered at random. Weights are scaled to sum
    to their effective sample size, the truth counting as one draw.

    Parameters
    ----------
    key
        JAX random key, for the order of ties.
    truth, draws
        The parameters that made each mock, and its posterior's draws, in the same units.
    log_weights
        Logarithmic weights of the draws, up to a constant in each mock; None where they are equal.

    Raises
    ------
    InputError
        Shapes that do not fit, no mocks or draws, values that are not finite, weights that all vanish.
    """
    truth, draws = _checked(truth, draws)
    masses = _masses(log_weights, draws.shape[:2])
    uniform = np.asarray(jax.random.uniform(key, truth.shape), dtype=np.float64)
    columns = [
        _randomised_rank(uniform[:, p], draws[:, :, p] < truth[:, None, p], draws[:, :, p] == truth[:, None, p], masses)
        for p in range(truth.shape[1])
    ]
    return np.stack(columns, axis=1)


def ks_pvalues(ranks: Float[np.ndarray, "mock parameter"]) -> Float[np.ndarray, "parameter"]:
    """Kolmogorov-Smirnov p-value of each parameter's ranks (`normalised_ranks`) against uniform, not yet corrected for their number."""
    return np.array([float(stats.kstest(column, "uniform").pvalue) for column in ranks.T])


def chi2_pvalues(ranks: Float[np.ndarray, "mock parameter"], *, n_bins: int = 20) -> Float[np.ndarray, "parameter"]:
    """chi^2 p-value of each parameter's rank histogram: a twin of `ks_pvalues` that is sharper at the ends.

    The bins are fewer where there are fewer than ten mocks in each.
    """
    n_bins = int(np.clip(len(ranks) // 10, 2, n_bins))
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    return np.array([float(stats.chisquare(np.histogram(column, edges)[0]).pvalue) for column in ranks.T])


def covered(ranks: Float[np.ndarray, "mock"], level: float) -> int:
    """How many truths lie inside the central interval that should hold the fraction `level` of them."""
    return int(np.sum(np.abs(ranks - 0.5) <= 0.5 * level))


def coverage_pvalue(n_covered: int, n: int, level: float) -> float:
    """Two-sided binomial p-value of a coverage."""
    return float(stats.binomtest(n_covered, n, level).pvalue)


def tarp(
    key: PRNGKeyArray,
    truth: Truth,
    draws: Draws,
    *,
    log_weights: LogWeights | None = None,
    prior_sd: Scale | None = None,
    references: Truth | None = None,
    n_bootstrap: int = 200,
) -> Tarp:
    """Tests of accuracy with random points (Lemos et al. 2023, algorithm 2).

    Distances are Euclidean after division by the prior's standard deviation, so that no parameter's unit decides. The
    reference point of a mock is the truth of another mock, which is a draw of the prior and knows nothing of this one.

    Parameters
    ----------
    key
        JAX random key: references, ties, bootstrap.
    truth, draws, log_weights
        As in `normalised_ranks`; errors too.
    prior_sd
        Standard deviation of the prior, in the parameters' units; None takes that of the truths.
    references
        Points to use instead. They must not know the truths; they may know the data.
    n_bootstrap
        Resamplings of the mocks behind the band.
    """
    reference_key, tie_key, bootstrap_key = jax.random.split(key, 3)
    truth, draws = _checked(truth, draws)
    scale = np.std(truth, axis=0) if prior_sd is None else np.asarray(prior_sd, dtype=np.float64)
    if references is None:
        references = _other_truths(reference_key, truth)
    nearer, equal = _compare_distances(truth, draws, np.asarray(references), np.where(scale > 0, scale, 1.0))
    uniform = np.asarray(jax.random.uniform(tie_key, (len(truth),)), dtype=np.float64)
    shares = _randomised_rank(uniform, nearer, equal, _masses(log_weights, draws.shape[:2]))
    return _tarp_curve(bootstrap_key, shares, n_bootstrap)


def _tarp_curve(key: PRNGKeyArray, shares: Float[np.ndarray, "mock"], n_bootstrap: int) -> Tarp:
    """Cumulative distribution of the shares on a grid, with the scatter of resampled mocks."""
    credibility = np.linspace(0.0, 1.0, 51)
    picks = np.asarray(jax.random.randint(key, (n_bootstrap, shares.size), 0, shares.size))
    curves = np.stack([_cumulative(shares[pick], credibility) for pick in picks])
    low, high = np.quantile(curves, (0.025, 0.975), axis=0)
    return Tarp(credibility, _cumulative(shares, credibility), low, high, float(stats.kstest(shares, "uniform").pvalue))


def _cumulative(values: Float[np.ndarray, "mock"], grid: Float[np.ndarray, "level"]) -> Float[np.ndarray, "level"]:
    return np.searchsorted(np.sort(values), grid, side="right") / values.size


def _other_truths(key: PRNGKeyArray, truth: Float[np.ndarray, "mock parameter"]) -> Float[np.ndarray, "mock parameter"]:
    """Each mock gets the truth of another one: along a random circle, so that none gets its own."""
    order = np.asarray(jax.random.permutation(key, len(truth)))
    others = np.empty_like(truth)
    others[order] = truth[np.roll(order, 1)]
    return others


def _compare_distances(
    truth: Float[np.ndarray, "mock parameter"],
    draws: Float[np.ndarray, "mock draw parameter"],
    references: Float[np.ndarray, "mock parameter"],
    scale: Float[np.ndarray, "parameter"],
) -> tuple[Bool[np.ndarray, "mock draw"], Bool[np.ndarray, "mock draw"]]:
    """Which draws are nearer to the reference than the truth is, and which just as near.

    Summed one parameter after another, in the same order for both, so that equal points get equal distances.
    """
    of_truth = np.zeros(len(truth))
    of_draws = np.zeros(draws.shape[:2])
    for p in range(truth.shape[1]):
        of_truth += ((truth[:, p] - references[:, p]) / scale[p]) ** 2
        of_draws += ((draws[:, :, p] - references[:, None, p]) / scale[p]) ** 2
    return of_draws < of_truth[:, None], of_draws == of_truth[:, None]


def _randomised_rank(
    uniform: Float[np.ndarray, "mock"],
    below: Bool[np.ndarray, "mock draw"],
    tied: Bool[np.ndarray, "mock draw"],
    masses: Float[np.ndarray, "mock draw"],
) -> Float[np.ndarray, "mock"]:
    """Share of the mass below the truth, which has mass 1 itself and stands at random among its ties."""
    before = np.sum(masses * below, axis=1)
    among = 1.0 + np.sum(masses * tied, axis=1)
    return (before + uniform * among) / (1.0 + np.sum(masses, axis=1))


def _masses(log_weights: LogWeights | None, shape: tuple[int, int]) -> Float[np.ndarray, "mock draw"]:
    """Weights of each mock's draws, summing to their effective number."""
    if log_weights is None:
        return np.ones(shape)
    values = np.asarray(log_weights, dtype=np.float64)
    largest = values.max(axis=1, keepdims=True) if values.shape == shape else np.array([[np.nan]])
    if not np.isfinite(largest).all():
        raise InputError(
            f"log weights of shape {values.shape} with NaN, +inf, or nothing but -inf in a mock",
            expected=f"shape {shape} and at least one finite weight in each mock",
            mend="Leave out the mocks whose refinement failed, and say how many they were.",
        )
    weights = np.exp(values - largest)
    return weights * (weights.sum(axis=1) / np.sum(weights**2, axis=1))[:, None]


def _checked(truth: np.ndarray | Array, draws: np.ndarray | Array) -> tuple[np.ndarray, np.ndarray]:
    """Both as they are, numpy and in the same precision (so that ties are seen), once shapes and values are fine."""
    truth, draws = np.asarray(truth), np.asarray(draws)
    if (truth.shape[0], truth.shape[1]) != (draws.shape[0], draws.shape[2]) or 0 in draws.shape or len(truth) < 2:
        raise InputError(
            f"truths of shape {truth.shape} and draws of shape {draws.shape}",
            expected="(mock, parameter) and (mock, draw, parameter), with two mocks or more",
            mend="Put mocks first and parameters last.",
        )
    if not (np.isfinite(truth).all() and np.isfinite(draws).all()):
        bad = int(np.sum(~np.isfinite(draws)) + np.sum(~np.isfinite(truth)))
        raise InputError(
            f"{bad} truths or draws that are NaN or infinite",
            expected="finite numbers",
            mend="A posterior with such draws has failed: count it as failed, and leave it out here.",
        )
    precision = np.promote_types(truth.dtype, draws.dtype)
    return truth.astype(precision), draws.astype(precision)
