"""The marginalisation of everything linear, against its definition: an integral over amplitudes, a dense covariance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.inference import likelihood
from slipher.inference.covariance import Covariance, covariance

N, COLUMNS = 60, 4


def problem(seed: int):
    """A model, a design and data at a total S/N of about a hundred, over each pixel's sigma."""
    rng = np.random.default_rng(seed)
    model = 10.0 + rng.normal(0, 3, N)
    design = rng.normal(0, 0.5, (N, COLUMNS))
    data = 1.7 * (model + design @ rng.normal(size=COLUMNS)) + rng.normal(size=N)
    return model, design, data


NO_TEMPLATES = Covariance(jnp.ones(N), jnp.zeros((N, 1)), jnp.zeros(1), jnp.zeros(()))


def fitted(model, design, data, errors=NO_TEMPLATES):
    parts = likelihood.Linear(jnp.asarray(model, jnp.float32), jnp.asarray(design, jnp.float32))
    return likelihood.fit_amplitude(parts, jnp.asarray(data, jnp.float32), errors)


def by_integration(model, design, data, inverse_metric=None):
    """log of the integral over A of N(data; A m, C + a0^2 D D') dA/A, without its (2 pi)^(-n/2); moments of A."""
    metric = np.eye(N) if inverse_metric is None else inverse_metric
    a0 = (model @ data) / (model @ model)
    covariance = np.linalg.inv(metric) + a0**2 * design @ design.T
    precision, sign_log_det = np.linalg.inv(covariance), np.linalg.slogdet(covariance @ metric)[1]
    centre, width = (model @ precision @ data) / (model @ precision @ model), (model @ precision @ model) ** -0.5
    grid = np.linspace(centre - 8 * width, centre + 8 * width, 4001)
    residual = data - grid[:, None] * model
    log_density = -0.5 * np.einsum("gi,ij,gj->g", residual, precision, residual) - 0.5 * sign_log_det
    density = np.exp(log_density - log_density.max()) / grid
    total = np.trapezoid(density, grid)
    mean = np.trapezoid(density * grid**2, grid) / np.trapezoid(density * grid, grid)
    return np.log(total) + log_density.max(), mean, width


@pytest.mark.parametrize("seed", range(4))
def test_the_amplitude_and_the_design_are_integrated_out(seed):
    model, design, data = problem(seed)
    expected, mean, width = by_integration(model, design, data)
    found = fitted(model, design, data)
    np.testing.assert_allclose(found.log_likelihood, expected, atol=2e-3)
    np.testing.assert_allclose(found.amplitude, mean, rtol=1e-5)
    np.testing.assert_allclose(found.amplitude_sd, width, rtol=1e-4)


def test_coefficients_given_the_amplitude_are_those_of_ridge_regression():
    model, design, data = problem(7)
    found = fitted(model, design, data)
    a0 = (model @ data) / (model @ model)
    for change in (0.0, 0.03):
        amplitude = float(found.amplitude) + change
        scaled = a0 * design
        precision = np.eye(COLUMNS) + scaled.T @ scaled
        expected = np.linalg.solve(precision, scaled.T @ (data - amplitude * model))
        np.testing.assert_allclose(found.lines_mean + change * found.lines_slope, expected, atol=2e-3)
    np.testing.assert_allclose(found.lines_factor @ found.lines_factor.T, precision, rtol=1e-4)


def test_templates_enter_through_the_inner_product():
    """Against the dense covariance."""
    rng = np.random.default_rng(3)
    model, design, data = problem(3)
    ivar, templates = rng.uniform(0.5, 2.0, N), rng.normal(0, 1.5, (N, 5))
    errors = covariance(jnp.asarray(ivar, jnp.float32), jnp.zeros(N), jnp.asarray(templates, jnp.float32))
    scale = np.asarray(errors.inverse_sigma)
    found = fitted(scale * model, scale[:, None] * design, scale * data, errors=errors)
    metric = np.linalg.inv(np.eye(N) + (scale[:, None] * templates) @ (scale[:, None] * templates).T)
    expected, *_ = by_integration(scale * model, scale[:, None] * design, scale * data, metric)
    np.testing.assert_allclose(found.log_likelihood, expected, atol=5e-3)


def test_gradients_exist_without_any_line():
    """A galaxy without gas has a design of zeros."""
    model, design, data = problem(1)

    def value(scale):
        parts = likelihood.Linear(scale * jnp.asarray(model, jnp.float32), 0.0 * jnp.asarray(design, jnp.float32))
        return likelihood.fit_amplitude(parts, jnp.asarray(data, jnp.float32), NO_TEMPLATES).log_likelihood

    assert np.isfinite(jax.grad(value)(1.0))
