"""Pareto-smoothed importance sampling: an independent twin, known tails, weights broken on purpose."""

import warnings

import jax
import numpy as np
import pytest
from scipy import special, stats

from slipher.errors import InputError
from slipher.inference.importance import (
    effective_sample_size,
    fit_generalised_pareto,
    generalised_pareto_quantile,
    log_evidence,
    pareto_smooth,
    resample,
)


@pytest.fixture(scope="module")
def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("arviz")


def gaussian_weights(rng: np.random.Generator, n: int, target_sd: float, shift: float = 0.0) -> np.ndarray:
    """log p - log q for q = N(0, 1), p = N(shift, target_sd)."""
    x = rng.standard_normal(n)
    return stats.norm.logpdf(x, shift, target_sd) - stats.norm.logpdf(x)


@pytest.mark.parametrize("n", [40, 1000, 5000])
@pytest.mark.parametrize("target_sd", [0.5, 1.3, 3.0])
def test_agrees_with_arviz(arviz, n, target_sd):
    log_weights = gaussian_weights(np.random.default_rng(n), n, target_sd)
    ours, khat = pareto_smooth(log_weights)
    theirs, their_khat = arviz.psislw(log_weights)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)
    assert khat == pytest.approx(float(their_khat), abs=1e-8)


@pytest.mark.parametrize("k", [-0.3, 0.1, 0.5, 0.9])
def test_recovers_the_shape_of_a_generalised_pareto(k):
    rng = np.random.default_rng(3)
    fits = [fit_generalised_pareto(np.sort(stats.genpareto.rvs(k, scale=2.0, size=2000, random_state=rng))) for _ in range(10)]
    assert np.mean([fit[0] for fit in fits]) == pytest.approx(k, abs=0.04)
    assert np.mean([fit[1] for fit in fits]) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("k", [0.2, 0.6, 1.0])
def test_khat_of_weights_with_a_known_tail(k):
    weights = stats.genpareto.rvs(k, loc=1.0, size=(40, 4000), random_state=np.random.default_rng(7))
    pulled = (190 * k + 5) / 200  # the prior is worth ten of the tail's 190 draws
    assert np.mean([pareto_smooth(np.log(row))[1] for row in weights]) == pytest.approx(pulled, abs=0.05)


@pytest.mark.parametrize("k", [-0.4, 0.0, 0.7])
def test_quantiles_agree_with_scipy(k):
    probability = np.linspace(0.01, 0.99, 9)
    np.testing.assert_allclose(generalised_pareto_quantile(probability, k, 1.7), stats.genpareto.ppf(probability, k, scale=1.7), rtol=1e-10)


def test_an_almost_exact_proposal_is_recognised():
    log_weights = 0.02 * np.random.default_rng(0).standard_normal(1000)
    _, khat = pareto_smooth(log_weights)
    assert khat < 0.3
    assert effective_sample_size(log_weights) > 990


def test_a_proposal_that_is_too_narrow_is_recognised():
    log_weights = gaussian_weights(np.random.default_rng(1), 1000, target_sd=3.0)
    assert pareto_smooth(log_weights)[1] > 0.7


def test_smoothing_repairs_the_mean_of_a_heavy_tail():
    """E[x^2] under N(0, 1.5) from draws of N(0, 1): the scatter of the estimate falls."""
    rng = np.random.default_rng(5)
    raw, smoothed = [], []
    for _ in range(100):
        x = rng.standard_normal(500)
        log_weights = stats.norm.logpdf(x, 0, 1.5) - stats.norm.logpdf(x)
        raw.append(np.sum(special.softmax(log_weights) * x**2))
        smoothed.append(np.sum(np.exp(pareto_smooth(log_weights)[0]) * x**2))
    rms = [np.sqrt(np.mean((np.array(each) - 2.25) ** 2)) for each in (raw, smoothed)]
    assert rms[1] < rms[0]


def test_weights_are_normalised_and_keep_their_order():
    log_weights = gaussian_weights(np.random.default_rng(2), 800, target_sd=1.6)
    smoothed, _ = pareto_smooth(log_weights)
    assert np.exp(smoothed).sum() == pytest.approx(1.0)
    assert np.all(np.diff(smoothed[np.argsort(log_weights)]) >= -1e-12)


def test_a_constant_and_the_type_do_not_matter():
    log_weights = gaussian_weights(np.random.default_rng(2), 500, target_sd=1.3).astype(np.float32)
    smoothed, khat = pareto_smooth(log_weights)
    for other in (log_weights.astype(float) - 1e5, log_weights.astype(float) + 3e3, jax.numpy.asarray(log_weights)):
        np.testing.assert_allclose(pareto_smooth(other)[0], smoothed, atol=1e-6)
        assert pareto_smooth(other)[1] == pytest.approx(khat, abs=1e-6)


def test_the_input_is_left_alone():
    log_weights = gaussian_weights(np.random.default_rng(2), 500, target_sd=1.3)
    before = log_weights.copy()
    pareto_smooth(log_weights)
    np.testing.assert_array_equal(log_weights, before)


def test_one_draw_that_dominates():
    log_weights = np.append(np.full(999, -2000.0), 0.0)
    smoothed, khat = pareto_smooth(log_weights)
    assert khat == np.inf
    assert np.exp(smoothed).sum() == pytest.approx(1.0)
    assert effective_sample_size(log_weights) == pytest.approx(1.0)


def test_equal_weights_have_no_tail():
    smoothed, khat = pareto_smooth(np.full(1000, -7.5))
    assert khat == -np.inf
    np.testing.assert_allclose(smoothed, -np.log(1000))
    assert effective_sample_size(np.full(1000, -7.5)) == pytest.approx(1000)


def test_impossible_draws_keep_no_weight():
    log_weights = gaussian_weights(np.random.default_rng(4), 1000, target_sd=1.2)
    log_weights[::2] = -np.inf
    smoothed, khat = pareto_smooth(log_weights)
    assert np.isneginf(smoothed[::2]).all()
    assert np.isfinite(smoothed[1::2]).all()
    assert khat < 0.7


@pytest.mark.parametrize("n", [1, 2, 10])
def test_few_draws_cannot_tell_their_tail(n):
    log_weights = np.linspace(-3.0, 0.0, n)
    smoothed, khat = pareto_smooth(log_weights)
    assert khat == np.inf
    np.testing.assert_allclose(smoothed, special.log_softmax(log_weights))


@pytest.mark.parametrize(
    ("log_weights", "says"),
    [
        (np.array([]), "no importance weights"),
        (np.full(10, -np.inf), "all 10 log weights are -inf"),
        (np.array([0.0, np.nan]), "1 of 2 log weights are NaN"),
        (np.array([0.0, np.inf]), "1 of 2 log weights are NaN or \\+inf"),
    ],
)
@pytest.mark.parametrize("function", [pareto_smooth, effective_sample_size, log_evidence])
def test_unusable_weights_are_refused(function, log_weights, says):
    with pytest.raises(InputError, match=says):
        function(log_weights)


def test_evidence_of_a_gaussian():
    """A likelihood N(0.5 | x, 0.8) under the prior N(0, 1), sampled from the prior."""
    x = np.random.default_rng(6).standard_normal(200_000)
    expected = stats.norm.logpdf(0.5, 0, np.hypot(1, 0.8))
    assert log_evidence(stats.norm.logpdf(0.5, x, 0.8)) == pytest.approx(expected, abs=0.01)


def test_resampling_follows_the_weights():
    weights = np.array([0.0, 0.07, 0.53, 0.1, 0.3])
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights) + 40.0
    counts = np.bincount(resample(np.random.default_rng(0), log_weights, 1000), minlength=5)
    assert counts[0] == 0
    assert np.all(np.abs(counts - 1000 * weights) <= 1)


def test_resampling_is_unbiased_and_shuffled():
    weights = np.array([0.45, 0.25, 0.2, 0.1])
    chosen = np.stack([resample(np.random.default_rng(seed), np.log(weights), 3) for seed in range(500)])
    np.testing.assert_allclose(np.bincount(chosen.ravel(), minlength=4) / chosen.size, weights, atol=0.03)
    np.testing.assert_allclose(np.bincount(chosen[:, 0], minlength=4) / 500, weights, atol=0.07)


def test_resampling_repeats_with_its_key():
    log_weights = np.random.default_rng(0).standard_normal(50)
    first, second, other = (resample(np.random.default_rng(seed), log_weights, 200) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
