"""The ladder on mocks of the shipped model: the reduced likelihood against all pixels, one rung against the other."""

import jax
import jax.numpy as jnp
import numpy as np

from slipher.inference import exact, refine
from slipher.inference.prediction import KHAT_MAX
from slipher.models import shipped


def test_the_reduced_likelihood_is_the_exact_one_up_to_a_constant(bright):
    """Over draws of the posterior; what is left is corrected by the final weights, and has to be small for them to be kind."""
    found = bright.sampled()
    assert found.khat < KHAT_MAX


def test_importance_weights_and_chains_find_the_same_posterior(faint):
    """Two algorithms on one density; means within five standard errors, widths within a fifth."""
    weighted, sampled = faint.importance(), faint.sampled()
    assert refine.holds(weighted)
    assert refine.holds(sampled)
    error = np.sqrt(1 / weighted.ess + 1 / sampled.ess)
    sd = sampled.u.std(0)
    assert np.abs(weighted.u.mean(0) - sampled.u.mean(0)).max() < 5 * (error * sd).max()
    np.testing.assert_allclose(weighted.u.std(0), sd, rtol=0.2)


def test_refined_posteriors_hold_the_truth(bright):
    """All sixteen parameters within four standard deviations or prior edges, jointly as likely as a posterior draw may be."""
    found = bright.sampled()
    assert refine.holds(found)
    priors = shipped.load("galaxy").recipe.preset.parameters[:-1]
    truth = np.array([float(p.prior.to_normal(jnp.float32(bright.truth[p.name]))) for p in priors])
    at_truth = exact.log_posterior(truth[None].astype(np.float32), bright.target)[0]
    at_draws = exact.log_posterior(found.u[:200], bright.target)
    assert at_truth > at_draws.min() - 5.0
    assert (np.abs(truth - found.u.mean(0)) / found.u.std(0)).max() < 4.5


def test_the_exact_density_does_not_depend_on_batch_mates(faint):
    some = faint.draws[:60]
    together = exact.log_posterior(some, faint.target)
    alone = np.concatenate([exact.log_posterior(some[i : i + 1], faint.target) for i in (0, 17, 59)])
    np.testing.assert_allclose(alone, together[[0, 17, 59]], rtol=1e-6)


def test_linear_quantities_scatter_as_their_conditional_says(faint):
    """With noise drawn, masses scatter by a little, and predictions fit better than models of random lines."""
    point = faint.draws[np.argmax(exact.log_posterior(faint.draws, faint.target))][None].repeat(200, 0)
    noise = jax.random.normal(jax.random.key(3), (200, exact.n_linear(faint.target.library)))
    amplitude, spectrum = exact.evaluate(point, faint.target, lambda d: (d.amplitude, d.spectrum), noise=noise)
    relative = amplitude.std() / amplitude.mean()
    assert 1e-4 < relative < 0.1
    ivar = np.asarray(faint.data.ivar)
    chi2 = ((np.asarray(faint.data.flux) - spectrum) ** 2 * ivar).sum(1) / faint.data.n_pixels
    assert 0.7 < np.median(chi2) < 1.3
