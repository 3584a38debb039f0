"""Population Monte Carlo on densities whose moments and evidence are known."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from slipher.errors import InputError
from slipher.inference import importance, population
from slipher.inference.population import Mixture, Proposal, Settings, Space

D = 6
SETTINGS = Settings(trial=1000, ess=1500.0)
ONE_TRIAL = Settings(trial=1000, most=1000)
FLAT = Space(lambda x: (x, np.zeros(len(x))), lambda x: (x, np.zeros(len(x))))
STRETCHED = Space(lambda z: (np.sinh(z), np.log(np.cosh(z)).sum(1)), lambda u: (np.arcsinh(u), 0.5 * np.log1p(u**2).sum(1)))


def gaussian(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a Gaussian a few sigma off N(0, 1), and narrow."""
    rng = np.random.default_rng(seed)
    root = np.linalg.qr(rng.normal(size=(D, D)))[0] * np.geomspace(0.05, 0.8, D)
    return rng.normal(0, 1.0, D), root @ root.T


def two_hills(x: np.ndarray) -> np.ndarray:
    """0.3 N(-2 e, 0.3^2) + 0.7 N(+2 e, 0.2^2) along the first axis, with evidence 1."""
    centre = np.zeros(D)
    centre[0] = 2.0
    parts = [
        np.log(share) + stats.multivariate_normal(sign * centre, width**2 * np.eye(D)).logpdf(x)
        for share, sign, width in ((0.3, -1.0, 0.3), (0.7, 1.0, 0.2))
    ]
    return logsumexp(parts, axis=0)


def banana(x: np.ndarray) -> np.ndarray:
    """x0 ~ N(0, 1), x1 given x0 ~ N((x0^2 - 1) / 2, 0.3^2), the rest N(0, 1); evidence 1."""
    rest = stats.norm.logpdf(np.delete(x, 1, axis=1)).sum(1)
    return rest + stats.norm.logpdf(x[:, 1], 0.5 * (x[:, 0] ** 2 - 1.0), 0.3)


def funnel(x: np.ndarray) -> np.ndarray:
    """x0 ~ N(0, 1), x1 given x0 ~ N(0, exp(x0)), the rest N(0, 1); evidence 1."""
    return stats.norm.logpdf(np.delete(x, 1, axis=1)).sum(1) + stats.norm.logpdf(x[:, 1], 0.0, np.exp(x[:, 0] / 2))


def moments(found: population.Population) -> tuple[np.ndarray, np.ndarray]:
    weights = np.exp(found.log_weights)
    mean = weights @ found.u
    return mean, np.sqrt(weights @ (found.u - mean) ** 2)


@pytest.mark.parametrize("seed", range(3))
def test_a_gaussian_and_its_evidence_are_found(seed):
    mean, covariance = gaussian(seed)
    density = stats.multivariate_normal(mean, covariance)
    found = population.adapt(np.random.default_rng(seed), lambda x: density.logpdf(x) + 3.7, FLAT, D, SETTINGS)
    sd = np.sqrt(np.diag(covariance))
    got_mean, got_sd = moments(found)
    assert found.khat < SETTINGS.khat
    assert found.ess > 0.8 * SETTINGS.ess
    assert np.abs((got_mean - mean) / sd).max() < 4.5 / np.sqrt(found.ess)
    np.testing.assert_allclose(got_sd, sd, rtol=4.5 / np.sqrt(found.ess))
    assert found.log_evidence == pytest.approx(3.7, abs=4.5 / np.sqrt(found.ess))


def test_hills_keep_their_shares():
    found = population.adapt(np.random.default_rng(1), two_hills, FLAT, D, SETTINGS)
    right = np.exp(found.log_weights)[found.u[:, 0] > 0].sum()
    assert found.khat < SETTINGS.khat
    assert right == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / found.ess))
    assert found.log_evidence == pytest.approx(0.0, abs=4.5 / np.sqrt(found.ess))


@pytest.mark.parametrize("density", [banana, funnel])
def test_curved_densities_are_followed(density):
    found = population.adapt(np.random.default_rng(2), density, FLAT, D, SETTINGS)
    assert found.khat < 0.7
    assert found.log_evidence == pytest.approx(0.0, abs=0.15)
    mean, sd = moments(found)
    assert np.abs(mean / sd).max() < 0.15  # what is asked of slipher's posteriors against an independent sampler's
    np.testing.assert_allclose(sd[[0, 2, 3, 4, 5]], 1.0, atol=0.15)


def test_draws_that_do_not_suffice_are_not_called_good():
    """A needle of a thousandth of the space's width in each direction, and one trial to find it."""
    density = stats.multivariate_normal(np.full(D, 1.5), 1e-6 * np.eye(D))
    found = population.adapt(np.random.default_rng(0), density.logpdf, FLAT, D, ONE_TRIAL)
    assert found.khat > 0.7 or found.ess < 10


def test_the_best_population_is_kept():
    """It learns on until draws run out if no trial is good enough; what is returned is no worse than the first."""
    first = population.adapt(np.random.default_rng(3), funnel, FLAT, D, ONE_TRIAL)
    last = population.adapt(np.random.default_rng(3), funnel, FLAT, D, Settings(most=5000, ess=1e9))
    assert last.ess >= first.ess


def test_where_the_density_is_as_first_proposed_one_trial_is_enough():
    found = population.adapt(np.random.default_rng(0), lambda x: -0.5 * np.sum(x**2, 1), FLAT, D, Settings())
    assert found.made == 500
    assert not found.learnt
    assert found.ess == pytest.approx(500.0)


def test_points_outside_have_no_weight():
    def half(x: np.ndarray) -> np.ndarray:
        return np.where(x[:, 0] > 0, -0.5 * np.sum(x**2, 1), np.nan)

    found = population.adapt(np.random.default_rng(0), half, FLAT, D, SETTINGS)
    assert np.exp(found.log_weights)[found.u[:, 0] <= 0].sum() == 0.0
    assert moments(found)[0][0] == pytest.approx(np.sqrt(2 / np.pi), abs=0.06)


def test_a_density_that_is_nowhere_finite_is_refused():
    with pytest.raises(InputError, match="all 500 log weights are -inf"):
        population.adapt(np.random.default_rng(0), lambda x: np.full(len(x), np.nan), FLAT, D, Settings())


# --- mixtures ---------------------------------------------------------------------------------------------------------


def mixture() -> Mixture:
    rng = np.random.default_rng(5)
    roots = np.linalg.cholesky(np.stack([np.cov(rng.normal(size=(D, 20))) for _ in range(3)]))
    return Mixture(np.array([0.5, 0.2, 0.3]), rng.normal(0, 2, (3, D)), roots)


def test_a_mixture_has_the_density_of_its_parts():
    made, x = mixture(), np.random.default_rng(6).normal(0, 3, (50, D))
    parts = [
        share * stats.multivariate_t(mean, root @ root.T, population.FREEDOM).pdf(x)
        for share, mean, root in zip(made.share, made.mean, made.root, strict=True)
    ]
    np.testing.assert_allclose(made.log_density(x), np.log(sum(parts)), rtol=1e-9)


def test_a_mixture_draws_what_its_density_says():
    """Draws of one mixture weighted to another give the other's mean, and weights of mean one."""
    made, other = mixture(), mixture()._replace(share=np.array([0.1, 0.6, 0.3]))
    x = made.sample(np.random.default_rng(7), 200_000)
    weights = np.exp(other.log_density(x) - made.log_density(x))
    error = weights.std() / np.sqrt(len(x))
    assert weights.mean() == pytest.approx(1.0, abs=4 * error)
    expected = other.share @ other.mean
    np.testing.assert_allclose((weights[:, None] * x).mean(0), expected, atol=0.05)


def test_the_first_proposal_is_the_standard_normal():
    first = population.standard_normal(D)
    draws = first.sample(np.random.default_rng(8), 20_000, STRETCHED)
    assert stats.kstest(draws.z.ravel(), "norm").pvalue > 1e-3
    np.testing.assert_allclose(draws.u, np.sinh(draws.z))
    np.testing.assert_allclose(first.log_density(draws), stats.multivariate_normal(np.zeros(D)).logpdf(draws.z))


def test_a_proposal_draws_what_its_density_says_in_both_coordinates():
    """Draws of one weighted to another have weights of mean one, and the other's mean."""
    narrow = Mixture(np.ones(1), np.full((1, D), 0.5), 0.3 * np.eye(D)[None])
    made, other = Proposal(mixture(), narrow, (0.3, 0.3, 0.4)), Proposal(mixture(), narrow, (0.1, 0.6, 0.3))
    draws = made.sample(np.random.default_rng(11), 200_000, STRETCHED)
    np.testing.assert_allclose(draws.log_det, np.log(np.cosh(draws.z)).sum(1), atol=1e-9)
    weights = np.exp(other.log_density(draws) - made.log_density(draws))
    assert weights.mean() == pytest.approx(1.0, abs=4 * weights.std() / np.sqrt(len(weights)))
    mean = 0.6 * narrow.mean[0]  # of arcsinh(u) within the parameters' mixture, to first order
    for part, share in ((other.base.mean.T @ other.base.share, 0.1), (0.0, 0.3)):
        mean = mean + share * part
    np.testing.assert_allclose((weights[:, None] * draws.z).mean(0), mean, atol=0.05)


@pytest.mark.parametrize("edge", ["base", "direct"])
def test_it_learns_in_the_coordinates_where_the_density_is_simple(edge):
    """A narrow Gaussian far out, either in base space or in the parameters: shares follow."""
    density = stats.multivariate_normal(np.full(D, 2.0 if edge == "base" else 3.5), 0.2**2 * np.eye(D))

    def log_density(u: np.ndarray) -> np.ndarray:
        z, log_det = STRETCHED.to_base(u)
        return density.logpdf(z) - log_det if edge == "base" else density.logpdf(u)

    found = population.adapt(np.random.default_rng(12), log_density, STRETCHED, D, Settings(ess=2000.0))
    assert found.khat < 0.7
    assert found.log_evidence == pytest.approx(0.0, abs=4.5 / np.sqrt(found.ess))
    x = STRETCHED.to_base(found.u)[0] if edge == "base" else found.u
    np.testing.assert_allclose(np.exp(found.log_weights) @ x, density.mean, atol=0.03)


def test_draws_that_were_learnt_from_do_not_count():
    """Bent ridges in sixteen dimensions, learnt from few draws: were those counted, the evidence would come out too small."""

    def bananas(x: np.ndarray) -> np.ndarray:
        return (stats.norm.logpdf(x[:, ::2]) + stats.norm.logpdf(x[:, 1::2], 0.1 * (x[:, ::2] ** 2 - 1.0), 0.5)).sum(1)

    settings = Settings(learnt=300.0)
    evidence = [np.exp(population.adapt(np.random.default_rng(s), bananas, FLAT, 16, settings).log_evidence) for s in range(8)]
    assert np.mean(evidence) == pytest.approx(1.0, abs=0.1)


def test_fitting_finds_clusters():
    rng = np.random.default_rng(9)
    x = np.concatenate([rng.normal(-3, 0.2, (600, 2)), rng.normal(3, 0.5, (200, 2))])
    weights = np.concatenate([np.full(600, 1.0), np.full(200, 3.0)])
    found = population.fit(rng, x, weights / weights.sum(), 2)
    order = np.argsort(found.mean[:, 0])
    np.testing.assert_allclose(found.mean[order], [[-3, -3], [3, 3]], atol=0.1)
    np.testing.assert_allclose(found.share, 0.5, atol=0.02)


@pytest.mark.parametrize("width", [0.1, 5.0])
def test_tempering_keeps_enough_draws(width):
    log_weights = np.random.default_rng(10).normal(0, width, 2000)
    found = population.tempered(log_weights, 100.0)
    assert found.sum() == pytest.approx(1.0)
    ess = importance.effective_sample_size(np.log(found))
    if width < 1.0:
        np.testing.assert_allclose(found, np.exp(log_weights - logsumexp(log_weights)))
    else:
        assert ess == pytest.approx(100.0, rel=1e-3)
