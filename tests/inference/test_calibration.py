"""The calibration tests, tested: exact posteriors pass, and each kind of broken one fails the test meant for it."""

import json
import warnings

import jax
import numpy as np
import pytest
from scipy import stats

from slipher.errors import InputError
from slipher.inference.calibration import (
    chi2_pvalues,
    coverage_pvalue,
    covered,
    ks_pvalues,
    normalised_ranks,
    tarp,
)
from slipher.inference.calibration_report import calibrate, coverage_rows

N_MOCKS, N_DRAWS = 2000, 150
NAMES = ("log_mstar", "a_v", "log_zstar")
KEY = jax.random.key(0)


class Mocks:
    """x ~ N(theta, C) with theta ~ N(0, 1): the posterior is Gaussian, and all about it is known."""

    def __init__(self, seed: int = 0, n: int = N_MOCKS, n_parameters: int = 3):
        self.rng = np.random.default_rng(seed)
        noise = 0.3**2 * (0.8 * np.ones((n_parameters, n_parameters)) + 0.2 * np.eye(n_parameters))
        self.covariance = np.linalg.inv(np.linalg.inv(noise) + np.eye(n_parameters))
        self.truth = self.rng.standard_normal((n, n_parameters))
        data = self.truth + self.rng.multivariate_normal(np.zeros(n_parameters), noise, n)
        self.mean = data @ np.linalg.inv(noise) @ self.covariance
        self.sd = np.sqrt(np.diag(self.covariance))

    def draw(self, covariance: np.ndarray, n_draws: int = N_DRAWS) -> np.ndarray:
        shape = (len(self.truth), n_draws)
        return self.mean[:, None] + self.rng.multivariate_normal(np.zeros(self.sd.size), covariance, shape)


def exact(mocks: Mocks) -> np.ndarray:
    return mocks.draw(mocks.covariance)


def too_wide(mocks: Mocks) -> np.ndarray:
    return mocks.draw(1.25**2 * mocks.covariance)


def too_narrow(mocks: Mocks) -> np.ndarray:
    return mocks.draw(0.8**2 * mocks.covariance)


def biased(mocks: Mocks) -> np.ndarray:
    return exact(mocks) + 0.2 * mocks.sd


def one_parameter_biased(mocks: Mocks) -> np.ndarray:
    return exact(mocks) + np.array([0.0, 0.25 * mocks.sd[1], 0.0])


def uncorrelated(mocks: Mocks) -> np.ndarray:
    return mocks.draw(np.diag(mocks.sd**2))


@pytest.fixture(scope="module")
def mocks() -> Mocks:
    return Mocks()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_exact_posterior_passes(seed):
    mocks = Mocks(seed)
    report = calibrate(KEY, mocks.truth, exact(mocks), names=NAMES, covariates={"median_sn": mocks.mean[:, 0]})
    assert report.failures() == []
    assert report.passes


@pytest.mark.parametrize("broken", [too_wide, too_narrow, biased, one_parameter_biased], ids=lambda f: f.__name__)
def test_broken_margins_fail(mocks, broken):
    ranks = normalised_ranks(KEY, mocks.truth, broken(mocks))
    assert ks_pvalues(ranks).min() < 0.01 / 3
    assert chi2_pvalues(ranks).min() < 0.01 / 3
    assert not calibrate(KEY, mocks.truth, broken(mocks), names=NAMES).passes


def test_the_broken_parameter_is_named(mocks):
    reasons = calibrate(KEY, mocks.truth, one_parameter_biased(mocks), names=NAMES).failures()
    assert any(reason.startswith("a_v: the ranks") for reason in reasons)
    assert not any(reason.startswith(("log_mstar", "log_zstar")) for reason in reasons)


def test_only_tarp_sees_a_wrong_correlation(mocks):
    report = calibrate(KEY, mocks.truth, uncorrelated(mocks), names=NAMES)
    assert min(report.ks_pvalues) > 0.01 / 3
    assert report.tarp.pvalue < 0.01
    assert [reason for reason in report.failures() if not reason.startswith("joint posterior")] == []


def far_off(mocks: Mocks) -> np.ndarray:
    return exact(mocks) + mocks.sd


@pytest.mark.parametrize("broken", [too_wide, too_narrow, far_off], ids=lambda f: f.__name__)
def test_tarp_sees_broken_margins(mocks, broken):
    """Of biases only large ones: reference points on all sides let a small one cancel."""
    assert tarp(KEY, mocks.truth, broken(mocks)).pvalue < 0.01


def test_tarp_curves_bend_the_right_way(mocks):
    """A posterior that is too narrow covers too little beyond the half, one that is too wide too much."""
    at = np.searchsorted(tarp(KEY, mocks.truth, exact(mocks)).credibility, 0.9)
    curves = {f.__name__: tarp(KEY, mocks.truth, f(mocks)) for f in (too_narrow, exact, too_wide)}
    assert curves["too_narrow"].coverage[at] < curves["exact"].coverage[at] < curves["too_wide"].coverage[at]
    inside = (curves["exact"].low <= curves["exact"].credibility) & (curves["exact"].credibility <= curves["exact"].high)
    assert inside.mean() > 0.8


def test_tarp_does_not_depend_on_units(mocks):
    """Solar masses or grams, kpc or cm: distances are in prior standard deviations."""
    draws, units = exact(mocks), np.array([1.0, 1e-6, 1e9])
    expected = tarp(KEY, mocks.truth, draws)
    np.testing.assert_allclose(tarp(KEY, mocks.truth * units, draws * units).coverage, expected.coverage, atol=2e-3)
    stretched = tarp(KEY, mocks.truth * units, draws * units, prior_sd=np.std(mocks.truth, axis=0) * units)
    np.testing.assert_allclose(stretched.coverage, expected.coverage, atol=2e-3)


def test_tarp_takes_other_references(mocks):
    """Random points near the data, as the paper allows."""
    near = mocks.mean + 0.3 * np.random.default_rng(8).standard_normal(mocks.mean.shape)
    assert tarp(KEY, mocks.truth, exact(mocks), references=near).pvalue > 0.01
    assert tarp(KEY, mocks.truth, uncorrelated(mocks), references=near).pvalue < 0.01


def test_the_prior_is_calibrated_too():
    """A posterior that ignores the data passes: calibration says nothing of sharpness."""
    rng = np.random.default_rng(4)
    assert calibrate(KEY, rng.standard_normal((1000, 2)), rng.standard_normal((1000, 100, 2)), names=("a", "b")).passes


def test_ranks_agree_with_counting(mocks):
    """A brute-force twin: with n draws, r of them below, the rank lies in [r, r + 1] / (n + 1)."""
    draws = exact(mocks)
    ranks = normalised_ranks(KEY, mocks.truth, draws)
    for mock in range(0, N_MOCKS, 100):
        for p in range(3):
            below = sum(value < mocks.truth[mock, p] for value in draws[mock, :, p])
            assert below <= ranks[mock, p] * (N_DRAWS + 1) <= below + 1


def test_ties_are_broken_at_random():
    """Draws and truth of the same few values, as a bounded or discrete parameter gives."""
    rng = np.random.default_rng(5)
    truth, draws = rng.integers(0, 2, (2000, 1)).astype(float), rng.integers(0, 2, (2000, 100, 1)).astype(float)
    assert ks_pvalues(normalised_ranks(KEY, truth, draws))[0] > 0.01


def test_constant_draws_that_equal_the_truth_pass_and_others_fail():
    constant, truth = np.full((1000, 50, 2), 3.0), np.full((1000, 2), 3.0)
    assert ks_pvalues(normalised_ranks(KEY, truth, constant)).min() > 0.01
    assert tarp(KEY, truth, constant).pvalue > 0.01
    scattered = truth + np.random.default_rng(0).standard_normal(truth.shape)
    assert ks_pvalues(normalised_ranks(KEY, scattered, constant)).max() < 1e-10


def test_a_tie_is_seen_across_precisions():
    truth = np.full((500, 1), 0.1, dtype=np.float32)
    ranks = normalised_ranks(KEY, truth, np.tile(truth[:, None], (1, 40, 1)))
    assert ks_pvalues(ranks)[0] > 0.01


def test_weighted_draws_of_the_prior_are_a_calibrated_posterior():
    """Importance sampling from the prior N(0, 1) for data with unit errors, weights the likelihood."""
    rng = np.random.default_rng(6)
    truth = rng.standard_normal((1500, 2))
    data = truth + rng.standard_normal(truth.shape)
    draws = rng.standard_normal((1500, 300, 2))
    log_weights = stats.norm.logpdf(draws, data[:, None]).sum(axis=2) - 1e4
    ks = ks_pvalues(normalised_ranks(KEY, truth, draws, log_weights=log_weights))
    unweighted = ks_pvalues(normalised_ranks(KEY, truth, draws * 0.8, log_weights=None))
    assert ks.min() > 0.01
    assert unweighted.max() < 0.01
    assert tarp(KEY, truth, draws, log_weights=log_weights).pvalue > 0.01
    assert tarp(KEY, truth, draws, log_weights=2 * log_weights).pvalue < 0.01


def test_equal_weights_are_no_weights(mocks):
    draws = exact(mocks)
    np.testing.assert_allclose(
        normalised_ranks(KEY, mocks.truth, draws, log_weights=np.full(draws.shape[:2], -3.0)),
        normalised_ranks(KEY, mocks.truth, draws),
        atol=1e-12,
    )


def test_coverage_is_that_of_quantiles(mocks):
    """A twin by numpy's percentiles of the draws."""
    draws = too_narrow(mocks)
    ranks = normalised_ranks(KEY, mocks.truth, draws)
    for level in (0.5, 0.9):
        low, high = np.quantile(draws[:, :, 0], (0.5 - level / 2, 0.5 + level / 2), axis=1)
        by_quantiles = np.mean((low <= mocks.truth[:, 0]) & (mocks.truth[:, 0] <= high))
        assert covered(ranks[:, 0], level) / N_MOCKS == pytest.approx(by_quantiles, abs=0.02)


def test_errors_that_cancel_overall_show_in_bins():
    """Too narrow at low S/N, too wide at high S/N: the 68 % interval covers 68 % of all."""
    rng = np.random.default_rng(7)
    median_sn = rng.uniform(2, 40, 4000)
    widths = np.where(median_sn < np.median(median_sn), 0.8, 1.285)
    truth = rng.standard_normal((4000, 1))
    draws = widths[:, None, None] * rng.standard_normal((4000, 200, 1))
    report = calibrate(KEY, truth, draws, names=("a_v",), covariates={"median_sn": median_sn}, levels=(0.68,))
    rows = {(row.covariate, i): row for i, row in enumerate(report.coverage)}
    assert rows["", 0].coverage == pytest.approx(0.68, abs=0.02)
    assert [row.pvalue < 1e-4 for row in report.coverage] == [False, True, True, True, True]
    assert sum("at median_sn" in reason for reason in report.failures()) == 4


def test_every_mock_is_in_one_bin():
    values = np.repeat(np.arange(10.0), 30)
    ranks = np.random.default_rng(0).uniform(size=(300, 1))
    rows = coverage_rows(ranks, ("a",), {"redshift": values}, levels=(0.5,), n_bins=3)
    assert sum(row.n_mocks for row in rows if row.covariate) == 300
    assert rows[0].error == pytest.approx(np.sqrt(0.25 / 300))


def test_a_covariate_that_never_changes_is_one_bin():
    rows = coverage_rows(np.full((50, 1), 0.5), ("a",), {"redshift": np.full(50, 0.1)}, levels=(0.5,))
    assert [row.n_mocks for row in rows] == [50, 50]


def test_coverage_pvalue_is_binomial():
    assert coverage_pvalue(680, 1000, 0.68) == pytest.approx(1.0)
    assert coverage_pvalue(640, 1000, 0.68) == pytest.approx(stats.binomtest(640, 1000, 0.68).pvalue)
    assert coverage_pvalue(1000, 1000, 0.95) < 1e-6


def test_a_tenth_of_a_sigma_is_noticed(mocks):
    assert not calibrate(KEY, mocks.truth, exact(mocks) + 0.1 * mocks.sd, names=NAMES).passes


def test_pvalues_are_uniform_for_exact_posteriors():
    """The size of the tests is right: over many experiments their p-values are uniform."""
    rng = np.random.default_rng(9)
    pvalues = []
    for i in range(60):
        truth, draws = rng.standard_normal((200, 2)), rng.standard_normal((200, 60, 2))
        key = jax.random.key(i)
        ranks = normalised_ranks(key, truth, draws)
        pvalues.append([ks_pvalues(ranks)[0], chi2_pvalues(ranks)[1], tarp(key, truth, draws, n_bootstrap=2).pvalue])
    assert stats.kstest(np.array(pvalues).ravel(), "uniform").pvalue > 1e-3
    assert np.mean(np.array(pvalues) < 0.05, axis=0).max() < 0.15


def test_the_answer_repeats_with_its_key(mocks):
    draws = exact(mocks)
    first, second = (calibrate(jax.random.key(3), mocks.truth, draws, names=NAMES).to_dict() for _ in range(2))
    assert first == second


def test_jax_arrays_are_welcome(mocks):
    truth, draws = jax.numpy.asarray(mocks.truth[:50]), jax.numpy.asarray(exact(mocks)[:50])
    assert normalised_ranks(KEY, truth, draws).shape == (50, 3)


def test_the_report_is_json_and_tables(mocks):
    report = calibrate(KEY, mocks.truth, biased(mocks), names=NAMES, covariates={"redshift": mocks.mean[:, 0]})
    loaded = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert loaded["passes"] is False
    assert loaded["failures"]
    assert loaded["coverage"][0]["low"] is None  # all mocks: no bounds
    assert len(loaded["tarp"]["coverage"]) == 51
    table = report.to_table()
    assert list(table["parameter"]) == list(NAMES)
    assert np.all((table["coverage_90"] > 0) & (table["coverage_90"] < 1))
    assert len(report.coverage_table()) == 3 * 4 * 5


@pytest.mark.parametrize(
    ("truth", "draws", "says"),
    [
        (np.zeros((5, 2)), np.zeros((4, 10, 2)), "truths of shape"),
        (np.zeros((5, 2)), np.zeros((5, 10, 3)), "truths of shape"),
        (np.zeros((5, 2)), np.zeros((5, 0, 2)), "truths of shape"),
        (np.zeros((1, 2)), np.zeros((1, 10, 2)), "truths of shape"),
        (np.full((5, 2), np.nan), np.zeros((5, 10, 2)), "10 truths or draws"),
        (np.zeros((5, 2)), np.full((5, 10, 2), np.inf), "100 truths or draws"),
    ],
)
@pytest.mark.parametrize("test", [normalised_ranks, tarp])
def test_unusable_input_is_refused(test, truth, draws, says):
    # plain functions, without the test suite's own check of shapes
    with pytest.raises(InputError, match=says):
        test.__wrapped__(KEY, truth, draws)


@pytest.mark.parametrize("bad", [np.full((5, 10), -np.inf), np.full((5, 10), np.nan), np.zeros((5, 9))])
def test_unusable_weights_are_refused(bad):
    with pytest.raises(InputError, match="log weights of shape"):
        normalised_ranks.__wrapped__(KEY, np.zeros((5, 1)), np.zeros((5, 10, 1)), log_weights=bad)


def test_lengths_are_checked():
    truth, draws = np.zeros((5, 2)), np.zeros((5, 10, 2))
    with pytest.raises(InputError, match="1 names for 2 parameters"):
        calibrate(KEY, truth, draws, names=("a",))
    with pytest.raises(InputError, match="covariate 'median_sn'"):
        calibrate(KEY, truth, draws, names=("a", "b"), covariates={"median_sn": np.full(5, np.nan)})


def test_nothing_warns_on_few_mocks():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrate(KEY, np.zeros((2, 1)), np.zeros((2, 3, 1)), names=("a",), covariates={"z": np.array([0.1, 0.2])})
