"""Refinement of mocks of the shipped model: two proposals, one posterior; truths; what is linear."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.inference import exact, importance, refine
from slipher.models import shipped


@pytest.mark.slow
def test_a_network_that_is_wrong_leads_to_the_same_posterior(faint, bright):
    """Many draws of the flow, weighted, and those of a mixture learnt from another galaxy's flow: means and widths agree."""
    weights = np.exp(importance.pareto_smooth(faint.log_p - faint.log_q)[0])
    mean = weights @ faint.draws
    sd = np.sqrt(weights @ (faint.draws - mean) ** 2)
    found = refine.refine(np.random.default_rng(2), faint.target, bright.warp, 1000)
    assert refine.holds(found)
    assert found.method == "population"
    error = np.sqrt(np.sum(weights**2) + 1 / found.ess)
    assert (np.abs(found.u.mean(0) - mean) / sd).max() < 4.5 * error
    np.testing.assert_allclose(found.u.std(0), sd, rtol=4.5 * error)


def test_a_bright_galaxy_is_refined_and_its_truth_is_held(bright):
    """All sixteen parameters within four standard deviations or prior edges, jointly as likely as a posterior draw may be."""
    found = bright.refined()
    assert refine.holds(found)
    priors = shipped.load("galaxy").recipe.preset.parameters[:-1]
    truth = np.array([float(p.prior.to_normal(jnp.float32(bright.truth[p.name]))) for p in priors])
    at_truth = bright.target.log_posterior(truth[None].astype(np.float32))[0]
    at_draws = bright.target.log_posterior(found.u[:200])
    assert at_truth > at_draws.min() - 5.0
    assert (np.abs(truth - found.u.mean(0)) / found.u.std(0)).max() < 4.5


@pytest.mark.slow
def test_another_seed_finds_the_same_posterior_and_evidence(bright):
    one, other = bright.refined(), bright.refined(seed=9)
    assert not np.array_equal(one.u, other.u)
    error = np.sqrt(1 / one.ess + 1 / other.ess)
    assert (np.abs(one.u.mean(0) - other.u.mean(0)) / one.u.std(0)).max() < 5 * error
    assert abs(one.log_evidence - other.log_evidence) < 5 * error


def test_as_many_draws_come_as_are_wanted(faint):
    found = refine.refine(np.random.default_rng(5), faint.target, faint.warp, 37)
    assert found.u.shape == (37, faint.draws.shape[1])


def test_the_exact_density_does_not_depend_on_batch_mates(faint):
    some = faint.draws[:60]
    together = faint.target.log_posterior(some)
    alone = np.concatenate([faint.target.log_posterior(some[i : i + 1]) for i in (0, 17, 59)])
    np.testing.assert_allclose(alone, together[[0, 17, 59]], rtol=1e-6)


def test_linear_quantities_scatter_as_their_conditional_says(faint):
    """With noise drawn, masses scatter by a little, and predictions fit better than models of random lines."""
    point = faint.draws[np.argmax(faint.target.log_posterior(faint.draws))][None].repeat(200, 0)
    noise = jax.random.normal(jax.random.key(3), (200, exact.n_linear(faint.target)))
    amplitude, spectrum = exact.evaluate(point, faint.target, lambda d: (d.amplitude, d.spectrum), noise=noise)
    relative = amplitude.std() / amplitude.mean()
    assert 1e-4 < relative < 0.1
    ivar = np.asarray(faint.data.ivar)
    chi2 = ((np.asarray(faint.data.flux) - spectrum) ** 2 * ivar).sum(1) / faint.data.n_pixels
    assert 0.7 < np.median(chi2) < 1.3
