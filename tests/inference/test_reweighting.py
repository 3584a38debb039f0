"""A posterior under another prior: against the product of two Gaussians, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic_posterior import make_posterior

from slipher.errors import Flag, InputError

N = 4000


@pytest.fixture(scope="module")
def posterior():
    """Redshifts N(0.5, 0.1); a mass that grows with them; a history that tells which draw is which."""
    made = make_posterior(n_draws=N)
    redshift = np.random.default_rng(1).normal(0.5, 0.1, N)
    bins = made.history_sfr.shape[1]
    return replace(
        made,
        samples=made.samples | {"redshift": redshift},
        derived=made.derived | {"log_mstar": 10.0 + redshift},
        history_sfr=np.repeat(redshift[:, None], bins, 1),
        diagnostics=replace(made.diagnostics, ess=2000.0, khat=0.3),
    )


def narrower(draws):
    return -0.5 * ((draws["redshift"] - 0.6) / 0.1) ** 2


def test_the_product_of_two_gaussians(posterior):
    found = posterior.reweighted(narrower)
    redshift = found.samples["redshift"]
    assert redshift.mean() == pytest.approx(0.55, abs=0.005)
    assert redshift.std() == pytest.approx(0.1 / np.sqrt(2), rel=0.05)
    assert found.redshift == np.median(redshift)
    # Weights exp(-(x - 0.6)^2 / 2 s^2) under N(0.5, s^2): ESS / n = E[w]^2 / E[w^2].
    share = (np.exp(-0.25) / np.sqrt(2)) ** 2 / (np.exp(-1 / 3) / np.sqrt(3))
    assert found.diagnostics.ess == pytest.approx(2000 * share, rel=0.05)


def test_what_belongs_to_a_draw_stays_with_it(posterior):
    found = posterior.reweighted(narrower)
    np.testing.assert_array_equal(found.derived["log_mstar"], 10.0 + found.samples["redshift"])
    np.testing.assert_array_equal(found.history_sfr[:, 0], found.samples["redshift"])
    which = np.searchsorted(np.sort(posterior.samples["redshift"]), found.samples["redshift"])
    before = np.argsort(posterior.samples["redshift"])[which]
    np.testing.assert_allclose(found.log_density, (posterior.log_density + narrower(posterior.samples))[before])
    assert found.n_draws == posterior.n_draws
    assert found.provenance["reweighted"] is True


def test_a_prior_may_forbid(posterior):
    found = posterior.reweighted(lambda draws: np.where(draws["redshift"] > 0.65, 0.0, -np.inf))
    assert found.samples["redshift"].min() > 0.65


def test_the_same_prior_changes_nothing_but_the_order(posterior):
    found = posterior.reweighted(lambda draws: np.full(N, -3.0))
    np.testing.assert_array_equal(np.sort(found.samples["redshift"]), np.sort(posterior.samples["redshift"]))
    assert found.diagnostics.ess == pytest.approx(posterior.diagnostics.ess)
    assert found.status == posterior.status


def test_too_few_that_count_are_no_longer_called_refined(posterior):
    assert posterior.status == "refined"
    few = replace(posterior, diagnostics=replace(posterior.diagnostics, ess=120.0)).reweighted(narrower)
    assert (few.status, bool(few.flags & Flag.NOT_REFINED)) == ("amortised", True)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (lambda draws: np.zeros(3), "of shape (3,)"),
        (lambda draws: np.full(N, np.nan), "0 of them finite"),
        (lambda draws: np.full(N, -np.inf), "0 of them finite"),
        (lambda draws: -0.5 * ((draws["redshift"] - 3.0) / 0.01) ** 2, "draws count"),
    ],
)
def test_refused(posterior, ratio, said):
    with pytest.raises(InputError) as caught:
        posterior.reweighted(ratio)
    assert said in str(caught.value)
