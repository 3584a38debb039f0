"""The marginalisation of everything linear against its definition: an integral over amplitudes, a dense covariance.

And its design, of line strengths and gas velocity, against the simulator's draws.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids.library import load_library
from slipher.inference import likelihood
from slipher.inference.covariance import Covariance, covariance
from slipher.instrument import simulate, spectrograph
from slipher.instrument.systematics import Systematics, groups_of
from slipher.physics.galaxy import GALAXY
from slipher.physics.parameters import from_normal

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


# --- the design, against the simulator --------------------------------------------------------------------------------

N_DRAWS, N_SEEN = 4000, 1534
LINES_ONLY = dataclasses.replace(Systematics(), calibration=0.0, mismatch=(0.0,) * 6, broad_ew_aa=0.0, sodium_ew_aa=0.0)


def coefficients(systematics):
    """What draws of the simulator's lines are in units of the likelihood's design, at a point of many young stars.

    Coefficients [draw, column] by least squares, without columns that vanish; the rms of what they leave over, over that of the draws;
    the names of the columns. The view is of 3650 - 7400 A in pixels of 138 km/s: lines of all groups but Mg II.
    """
    library, t_universe = load_library(), jnp.float32(12.0)
    view = spectrograph.view(np.geomspace(3650.0, 7400.0, N_SEEN), 0.0, library, lsf_kms=70.0)
    u = jnp.zeros(len(GALAXY.parameters) - 1).at[0].set(1.0)
    values = from_normal(GALAXY.parameters[:-1], u)
    unweighted = Covariance(jnp.ones(N_SEEN), jnp.zeros((N_SEEN, 1)), jnp.zeros(1), jnp.zeros(()))

    @jax.jit
    def by_likelihood(u):
        light = likelihood.light_at_pixels(u, GALAXY, view, t_universe, library, systematics)
        made = likelihood.linear_at_pixels(light, unweighted)
        return made.model - light.continuum, made.design

    @jax.jit
    @jax.vmap
    def by_simulator(key):
        return simulate.light(key, GALAXY, values, t_universe, view, library, systematics, jnp.ones(N_SEEN)).lines

    mean, design = (np.asarray(x, np.float64) for x in by_likelihood(u))
    change = np.asarray(by_simulator(jax.random.split(jax.random.key(0), N_DRAWS)), np.float64) - mean
    kept = np.linalg.norm(design, axis=0) > 0
    found = change @ np.linalg.pinv(design[:, kept]).T
    left = np.linalg.norm(change - found @ design[:, kept].T) / np.linalg.norm(change)
    return found, left, [name for name, keep in zip((*groups_of(library), "velocity"), kept) if keep]


def test_simulated_lines_scatter_by_the_designs_columns_alone():
    """Without a velocity both are linear: the simulator's lines are the model and the design times standard normal numbers."""
    found, left, names = coefficients(dataclasses.replace(LINES_ONLY, velocity_kms=0.0))
    assert names == [group for group in groups_of(load_library()) if group != "mgii"]
    assert left < 1e-5
    np.testing.assert_allclose(found.mean(0), 0.0, atol=5 / np.sqrt(N_DRAWS))
    np.testing.assert_allclose(np.cov(found.T), np.eye(len(names)), atol=5 * np.sqrt(2.0 / N_DRAWS))


def test_simulated_lines_move_by_the_designs_velocity():
    """By 20 km/s, where lines are 145 km/s wide: but for second orders, the velocity squared and times the scatter."""
    found, left, names = coefficients(LINES_ONLY)
    assert names[-1] == "velocity"
    assert left < 0.1
    spread = np.cov(found.T)
    np.testing.assert_allclose(spread[-1], np.eye(len(names))[-1], atol=5 * np.sqrt(2.0 / N_DRAWS))
    np.testing.assert_allclose(spread, np.eye(len(names)), atol=0.2)
