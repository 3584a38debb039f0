"""Sufficient statistics against dense float64 algebra on the pixels, and what must not matter: units, scale, unseen pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.networks import sufficient
from slipher.networks.projection import Projection

N_PIXEL, N_CONTINUUM, N_LINE = 500, 6, 2
WAVE = np.geomspace(3400.0, 7100.0, N_PIXEL)
X = np.linspace(0.0, 1.0, N_PIXEL)
BASIS = np.stack(
    [np.cos(k * np.pi * X) for k in range(N_CONTINUUM)] + [6.0 * np.exp(-0.5 * ((WAVE - c) / 9.0) ** 2) for c in (4863.0, 6565.0)], 1
)
LEVEL = np.append(BASIS[(WAVE > 3500) & (WAVE < 7000), :N_CONTINUUM].mean(0), np.zeros(N_LINE))
MEAN = np.array([1.0, 0.2, -0.1, 0.05, 0.0, 0.0, 0.0, 0.0])
MEAN = MEAN / (LEVEL @ MEAN)
VARIANCE = np.array([1e-4, 0.05, 0.02, 0.01, 4e-3, 1e-3, 0.2, 0.2])
PROJECTION = Projection(
    jnp.asarray(BASIS, jnp.float16), jnp.asarray(MEAN, jnp.float32), jnp.asarray(VARIANCE, jnp.float32), jnp.ones((1, N_LINE)), N_CONTINUUM
)
LEVEL32 = jnp.asarray(LEVEL, jnp.float32)
NUISANCE = np.stack([np.exp(-0.5 * ((WAVE - 5577.0) / 4.0) ** 2), np.exp(-0.5 * ((WAVE - 6300.0) / 4.0) ** 2)], 1)
MULTIPLIED = 0.03 * np.stack([2 * X - 1, 0.5 * (3 * (2 * X - 1) ** 2 - 1)], 1)


def drawn(seed: int, sn: float, *, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A spectrum of the prior with noise, calibration and nuisances: coefficients of level one, flux, ivar; a gap has no information."""
    rng = np.random.default_rng(seed)
    coefficients = MEAN + np.sqrt(VARIANCE) * rng.standard_normal(len(MEAN))
    coefficients[N_CONTINUUM:] = np.abs(coefficients[N_CONTINUUM:])  # emission
    return recorded(rng, coefficients / (LEVEL @ coefficients), sn, scale)


def recorded(rng: np.random.Generator, coefficients: np.ndarray, sn: float, scale: float = 1.0) -> tuple[np.ndarray, ...]:
    """The same of given coefficients."""
    expected = BASIS @ coefficients
    sigma = (0.6 + 0.8 * rng.random(N_PIXEL)) / sn
    flux = expected * (1.0 + MULTIPLIED @ rng.standard_normal(2)) + sigma.mean() * (NUISANCE @ rng.standard_normal(2))
    flux = flux + sigma * rng.standard_normal(N_PIXEL)
    ivar = np.where((WAVE > 5000) & (WAVE < 5200), 0.0, sigma**-2)
    return coefficients, scale * np.where(ivar > 0, flux, 1e9), ivar / scale**2


@jax.jit
def collect(flux, ivar, nuisance) -> sufficient.Statistics:
    basis, factors = jnp.asarray(BASIS, jnp.float32), jnp.asarray(MULTIPLIED, jnp.float32)
    return sufficient.collect(flux, ivar, basis, nuisance, factors, PROJECTION, LEVEL32)


def statistics(flux: np.ndarray, ivar: np.ndarray) -> sufficient.Statistics:
    seen = ivar > 0
    size = np.mean(ivar[seen] ** -0.5)
    return collect(*(jnp.asarray(x, jnp.float32) for x in (flux, ivar, size * NUISANCE)))


class Dense:
    """chi^2 of coefficients from the pixels' whole covariance, float64; the calibration follows the fit that the statistics made."""

    def __init__(self, flux: np.ndarray, ivar: np.ndarray, found: sufficient.Statistics):
        seen, scale = ivar > 0, float(found.scale)
        self.data, self.basis = flux[seen] / scale, BASIS[seen]
        noise = 1.0 / (ivar[seen] * scale**2)
        floor = 0.01 + 0.03 * np.maximum(self.data - 2.0, 0.0)
        weighted = self.basis / (noise + floor**2)[:, None]
        plain = sufficient.solve(
            jnp.asarray(weighted.T @ self.basis, jnp.float32), jnp.asarray(weighted.T @ self.data, jnp.float32), PROJECTION, LEVEL32
        )
        smooth = float(plain.amplitude) * self.basis @ np.asarray(plain.coefficients, np.float64)
        size = np.mean(ivar[seen] ** -0.5) / scale
        templates = np.concatenate([size * NUISANCE[seen], MULTIPLIED[seen] * np.maximum(smooth, 0.0)[:, None]], 1)
        self.covariance = np.diag(noise + floor**2) + templates @ templates.T

    def chi2(self, coefficients: np.ndarray) -> float:
        left = self.data - self.basis @ coefficients
        return float(left @ np.linalg.solve(self.covariance, left))

    def amplitude(self, shape: np.ndarray) -> tuple[float, float]:
        model = self.basis @ shape
        information = model @ np.linalg.solve(self.covariance, model)
        return float(model @ np.linalg.solve(self.covariance, self.data)) / information, information**-0.5


@pytest.mark.parametrize("sn", [3.0, 30.0, 100.0])
def test_chi2_and_amplitude_are_those_of_the_pixels(sn):
    truth, flux, ivar = drawn(1, sn)
    found = statistics(flux, ivar)
    dense, rng = Dense(flux, ivar, found), np.random.default_rng(2)
    for shape in (truth, MEAN, truth + 0.02 * rng.standard_normal(len(truth))):
        shape32 = jnp.asarray(shape, jnp.float32)
        amplitude, error = sufficient.amplitude_of(shape32, found)
        want, its_error = dense.amplitude(shape)
        assert float(amplitude) == pytest.approx(want, rel=2e-4)
        assert float(error) == pytest.approx(its_error, rel=2e-3)
        assert float(sufficient.chi2(shape32, found)) == pytest.approx(dense.chi2(want * shape), rel=3e-3, abs=0.5)


def test_the_unit_of_the_flux_and_lost_pixels_do_not_matter():
    _, flux, ivar = drawn(3, 20.0)
    one = statistics(flux, ivar)
    two = statistics(7.0 * flux, ivar / 49.0)
    garbage = statistics(np.where(ivar > 0, flux, -3e4), ivar)
    assert float(two.scale) == pytest.approx(7.0 * float(one.scale), rel=1e-5)
    for other in (two, garbage):
        # The gram matrix holds ten thousand products in single precision.
        np.testing.assert_allclose(other.gram, one.gram, rtol=2e-4, atol=2e-4 * float(jnp.max(jnp.abs(one.gram))))
        np.testing.assert_allclose(other.centre, one.centre, atol=1e-4)


def test_the_ridge_finds_level_and_coefficients():
    """Within its errors, and at a level of one whatever part of the spectrum is seen."""
    off = []
    for seed in range(40):
        truth, flux, ivar = drawn(seed, 40.0)
        found = sufficient.ridge(statistics(flux, ivar), PROJECTION, LEVEL32)
        assert float(LEVEL32 @ found.coefficients) == pytest.approx(1.0, abs=5e-3)
        off.append((np.asarray(found.coefficients) - truth) / np.asarray(found.sd))
    rms = np.sqrt(np.mean(np.square(off), 0))[1:]  # the first is bound by the level
    assert np.all(rms < 1.5)
    _, flux, ivar = drawn(5, 40.0)
    red = sufficient.ridge(statistics(flux, np.where(WAVE > 5600, ivar, 0.0)), PROJECTION, LEVEL32)
    assert float(LEVEL32 @ red.coefficients) == pytest.approx(1.0, abs=0.02)


def test_symmetric_from_its_triangle():
    _, flux, ivar = drawn(1, 10.0)
    matrix = np.asarray(statistics(flux, ivar).matrix())
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(matrix[np.triu_indices(len(MEAN))], statistics(flux, ivar).gram)


def test_what_the_instrument_added_is_found():
    """Against dense algebra in float64: the mean of templates with unit priors given the residuals."""
    truth, flux, ivar = drawn(9, 30.0)
    predicted = BASIS @ truth
    seen = ivar > 0
    size = np.mean(ivar[seen] ** -0.5)
    arrays = (jnp.asarray(x, jnp.float32) for x in (flux, ivar, predicted, size * NUISANCE, MULTIPLIED))
    found = np.asarray(sufficient.instrumental(*arrays))
    level = predicted[seen].sum() / seen.sum()
    floor = 0.01 * level + 0.03 * np.maximum(predicted - 2.0 * level, 0.0)
    templates = np.concatenate([size * NUISANCE, MULTIPLIED * predicted[:, None]], 1)
    noise = 1.0 / ivar[seen] + floor[seen] ** 2
    inside = templates[seen]
    covariance = np.diag(noise) + inside @ inside.T
    want = templates @ inside.T @ np.linalg.solve(covariance, (flux - predicted)[seen])
    np.testing.assert_allclose(found, want, atol=2e-4)
    assert np.std((flux - predicted - found)[seen]) < np.std((flux - predicted)[seen])
