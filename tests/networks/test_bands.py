"""The spectrum behind bands against the textbook's Gaussian conditioning, in double precision."""

import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids.filters import FilterCurve, load_filters
from slipher.networks import bands

NAMES = ("galex-nuv", "sdss2010-u", "sdss2010-g", "sdss2010-r", "hsc2017-i", "twomass-J", "wise2010-W1")


@pytest.fixture(scope="module")
def prior():
    rng = np.random.default_rng(0)
    smooth = np.exp(np.cumsum(0.2 * rng.standard_normal((500, bands.N_NODES)), 1))
    return bands.learn(smooth / smooth.mean(1, keepdims=True), 0.02)


def seen(flux, sigma):
    ivar = np.where(np.isfinite(sigma), 1.0 / np.asarray(sigma) ** 2, 0.0)
    return jnp.asarray(flux, jnp.float32), jnp.asarray(ivar, jnp.float32)


def weights():
    return jnp.asarray(bands.weights_of(load_filters(NAMES)), jnp.float32)


FLUX, SIGMA = np.array([0.5, 1.0, 3.0, 6.0, 9.0, 15.0, 12.0]), np.array([0.1, 0.1, 0.05, 0.1, 0.2, 1.0, 2.0])


def test_weights_are_means_of_a_spectrum_that_is_linear_between_nodes():
    rows = bands.weights_of(load_filters(NAMES))
    np.testing.assert_allclose(rows.sum(1), 1.0, atol=1e-9)
    narrow = FilterCurve.from_arrays("narrow", [5000.0, 5001.0, 5002.0], [0.0, 1.0, 0.0])
    row = bands.weights_of((narrow,))[0]
    below = np.searchsorted(bands.NODES_AA, 5001.0) - 1
    assert set(np.flatnonzero(row > 1e-6)) == {below, below + 1}


def test_against_gaussian_conditioning(prior):
    found = bands.smooth(*seen(FLUX, SIGMA), weights(), prior)
    norm, h = float(found.norm), np.asarray(weights(), np.float64)
    data = FLUX / norm
    noise = np.diag((SIGMA / norm) ** 2 + (0.02 * data) ** 2 + 1e-6)
    v, m = np.asarray(prior.covariance, np.float64), np.asarray(prior.mean, np.float64)
    gain = v @ h.T @ np.linalg.inv(h @ v @ h.T + noise)
    np.testing.assert_allclose(found.value, m + gain @ (data - h @ m), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found.sd, np.sqrt(np.diag(v - gain @ h @ v)), rtol=5e-3)
    left = data - h @ m
    assert float(found.chi2) == pytest.approx(left @ np.linalg.solve(h @ v @ h.T + noise, left), rel=2e-3)


def test_missing_bands_say_nothing_and_are_counted_out(prior):
    sigma = SIGMA.copy()
    sigma[[1, 5]] = np.inf
    one = bands.smooth(*seen(FLUX, sigma), weights(), prior)
    flux = FLUX.copy()
    flux[[1, 5]] = [1e4, -3e3]
    other = bands.smooth(*seen(flux, sigma), weights(), prior)
    np.testing.assert_allclose(bands.features(one), bands.features(other), rtol=1e-5, atol=1e-5)
    some = [0, 2, 3, 4, 6]
    fewer = bands.smooth(*seen(FLUX[some], SIGMA[some]), weights()[jnp.array(some)], prior)
    np.testing.assert_allclose(bands.features(one), bands.features(fewer), rtol=1e-3, atol=2e-3)
    assert float(one.n_bands) == 5.0


def test_without_information_the_prior_remains(prior):
    found = bands.smooth(*seen(FLUX, np.full(7, np.inf)), weights(), prior)
    np.testing.assert_allclose(found.value, prior.mean, atol=1e-4)
    np.testing.assert_allclose(found.sd, np.sqrt(np.diagonal(prior.covariance)), rtol=1e-3)
    assert np.isfinite(bands.features(found)).all()


def test_features_do_not_know_the_unit_but_for_the_brightness(prior):
    """Twice the flux and error: only the brightness moves."""
    one, two = (np.asarray(bands.features(bands.smooth(*seen(k * FLUX, k * SIGMA), weights(), prior))) for k in (1.0, 2.0))
    place = 3 * bands.N_NODES
    np.testing.assert_allclose(two[place] - one[place], np.log10(2.0), atol=1e-5)
    np.testing.assert_allclose(np.delete(two, place), np.delete(one, place), rtol=1e-3, atol=1e-3)
    assert one.shape == (bands.N_FEATURES,)


def test_negative_and_no_light_are_finite(prior):
    for flux in (-FLUX, np.zeros(7), 1e-9 * FLUX, 1e9 * FLUX):
        assert np.isfinite(bands.features(bands.smooth(*seen(flux, SIGMA), weights(), prior))).all()


def test_at_rest_a_moved_spectrum_is_the_same():
    """Values, errors and information that are lines in log wavelength, seen at two redshifts, are the same where nodes reach."""
    nodes = np.log(bands.NODES_AA)
    at_rest = []
    for redshift in (0.3, 1.0):
        line = (nodes - np.log1p(redshift) - 8.5) / 3.0
        seen = np.concatenate([line, 2.0 * line, 1.0 + line, np.zeros(bands.N_EXTRA)])
        at_rest.append(np.asarray(bands.at_rest(jnp.asarray(seen, jnp.float32), jnp.float32(redshift))).reshape(3, -1))
    reached = (bands.NODES_AA[0] / 1.3 < bands.REST_AA) & (bands.NODES_AA[-1] / 2.0 > bands.REST_AA)
    np.testing.assert_allclose(at_rest[0][:, reached], at_rest[1][:, reached], atol=1e-4)
    scale = np.array(bands.REST_SCALE)
    expected = (np.log(bands.REST_AA[reached]) - 8.5) / 3.0 * np.array([1.0, 2.0, 1.0])[:, None] + np.array([0.0, 0.0, 1.0])[:, None]
    np.testing.assert_allclose(at_rest[0][:, reached], (expected - np.array(bands.REST_CENTRE)[:, None]) / scale[:, None], atol=1e-4)
    assert at_rest[0][2, 0] == pytest.approx(-bands.REST_CENTRE[2] / bands.REST_SCALE[2])  # beyond the nodes: no information
