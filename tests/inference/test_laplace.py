"""Climbing to a peak: exact on Gaussians, as good as a float64 optimiser beyond them, and never downhill."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from slipher.inference import laplace

N, N_DATA = 5, 30
RNG = np.random.default_rng(0)
DESIGN = RNG.standard_normal((N_DATA, N)) @ np.diag([3.0, 1.0, 0.3, 10.0, 1.0])
BEND = 0.3 * RNG.standard_normal((N_DATA, N))
TRUTH = np.array([0.5, -1.0, 0.8, 0.2, 1.5])


def model(u, bend: float):
    """Linear in u for bend = 0; residuals have unit variance."""
    return DESIGN @ u + bend * BEND @ u**2


def data_of(bend: float) -> np.ndarray:
    return model(TRUTH, bend) + np.random.default_rng(1).standard_normal(N_DATA)


def expansion(bend: float, data: np.ndarray) -> Callable[[jax.Array], laplace.Expansion]:
    """A least-squares likelihood and the prior N(0, 1), with the Gauss-Newton precision."""
    design, curve, data = (jnp.asarray(a, jnp.float32) for a in (DESIGN, BEND, data))

    def expand(u: jax.Array) -> laplace.Expansion:
        jacobian = design + 2.0 * bend * curve * u
        left = data - design @ u - bend * curve @ u**2
        return laplace.Expansion(
            value=-0.5 * jnp.sum(left**2) - 0.5 * jnp.sum(u**2),
            gradient=jacobian.T @ left - u,
            precision=jacobian.T @ jacobian + jnp.eye(N),
        )

    return expand


def twin(bend: float, data: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The same peak by scipy in float64."""
    return optimize.least_squares(lambda u: np.concatenate([data - model(u, bend), u]), start, xtol=1e-12).x


@partial(jax.jit, static_argnames=("n_step", "bend"))
def _climb(start: jax.Array, n_step: int, bend: float) -> laplace.Peak:
    return laplace.climb(start, expansion(bend, data_of(bend)), n_step)


def climb(start: np.ndarray, bend: float, n_step: int) -> laplace.Peak:
    return _climb(jnp.asarray(start, jnp.float32), n_step, bend)


def starts() -> list[np.ndarray]:
    return [np.zeros(N), np.full(N, 3.0), np.array([-4.0, 4.0, -4.0, 4.0, -4.0]), TRUTH]


@pytest.mark.parametrize("start", starts(), ids=["centre", "aside", "far", "truth"])
def test_the_peak_of_a_gaussian_is_found_with_its_precision(start):
    data = data_of(0.0)
    precision = DESIGN.T @ DESIGN + np.eye(N)
    peak = climb(start, 0.0, 20)
    sd = np.sqrt(np.diagonal(np.linalg.inv(precision)))
    np.testing.assert_allclose((peak.u - np.linalg.solve(precision, DESIGN.T @ data)) / sd, 0.0, atol=0.01)
    np.testing.assert_allclose(peak.precision, precision, rtol=1e-4, atol=1e-2)
    left = data - DESIGN @ np.asarray(peak.u, np.float64)
    assert float(peak.log_density) == pytest.approx(-0.5 * (left @ left + np.sum(np.asarray(peak.u) ** 2)), rel=1e-4)


@pytest.mark.parametrize("start", starts(), ids=["centre", "aside", "far", "truth"])
def test_the_peak_of_a_bent_target_is_the_optimisers(start):
    data = data_of(1.0)
    peak = climb(start, 1.0, 30)
    best = twin(1.0, data, TRUTH)
    jacobian = DESIGN + 2.0 * BEND * best
    precision = jacobian.T @ jacobian + np.eye(N)
    sd = np.sqrt(np.diagonal(np.linalg.inv(precision)))
    np.testing.assert_allclose((peak.u - best) / sd, 0.0, atol=0.02)
    np.testing.assert_allclose(peak.precision, precision, rtol=0.02, atol=0.02 * np.diagonal(precision).min())


def test_more_steps_never_end_lower():
    start = np.array([-4.0, 4.0, -4.0, 4.0, -4.0])
    heights = [float(climb(start, 1.0, n).log_density) for n in (0, 1, 2, 4, 8, 16)]
    assert np.all(np.diff(heights) >= 0)
    assert heights[-1] > heights[0] + 10


def test_steps_that_overshoot_are_refused():
    """The precision is ten times too small: full steps would throw the climber about, ever farther."""

    def expand(u: jax.Array) -> laplace.Expansion:
        return laplace.Expansion(-5.0 * jnp.sum(u**2), -10.0 * u, jnp.eye(2))

    peaks = [laplace.climb(jnp.array([0.3, -0.05]), expand, n) for n in (0, 1, 2, 3, 5, 30)]
    assert np.all(np.diff([peak.log_density for peak in peaks]) >= 0)
    np.testing.assert_allclose(peaks[-1].u, 0.0, atol=0.01)


def test_no_step_is_no_move():
    data, start = data_of(1.0), np.full(N, 0.7)
    peak = climb(start, 1.0, 0)
    at = expansion(1.0, data)(jnp.asarray(start, jnp.float32))
    np.testing.assert_array_equal(peak.u, start.astype(np.float32))
    np.testing.assert_allclose(peak.log_density, at.value, rtol=1e-6)
    np.testing.assert_allclose(peak.precision, at.precision, rtol=1e-5, atol=1e-5)


def test_a_peak_beyond_the_limit_is_approached_to_the_limit():
    def expand(u: jax.Array) -> laplace.Expansion:
        off = u - jnp.array([9.0, 0.5])
        return laplace.Expansion(-0.5 * jnp.sum(off**2), -off, jnp.eye(2))

    peak = jax.jit(lambda u: laplace.climb(u, expand, 30))(jnp.zeros(2))
    np.testing.assert_allclose(peak.u, [laplace.U_LIMIT, 0.5], atol=1e-2)  # of one sd


def test_a_cliff_of_nan_is_not_stepped_over():
    """The density is not defined beyond one: climbers stay where it is."""

    def expand(u: jax.Array) -> laplace.Expansion:
        inside = u[0] < 1.0
        value = jnp.where(inside, 3.0 * jnp.log(jnp.where(inside, 1.0 - u[0], 1.0)) - 0.5 * u[0] ** 2, jnp.nan)
        slope = jnp.where(inside, -3.0 / (1.0 - u[0]) - u[0], jnp.nan)
        return laplace.Expansion(value, slope[None], (1.0 + 3.0 / (1.0 - u[:, None]) ** 2))

    for start in (0.9, 0.0, -4.0):
        peak = jax.jit(lambda u: laplace.climb(u, expand, 40))(jnp.array([start]))
        assert float(peak.u[0]) == pytest.approx((1.0 - np.sqrt(13.0)) / 2.0, abs=1e-2)  # -3/(1-u) = u
        assert np.isfinite(float(peak.log_density))


def test_climbers_in_a_batch_climb_as_they_would_alone():
    data = data_of(1.0)
    start = jnp.asarray(np.stack(starts()), jnp.float32)
    together = jax.jit(jax.vmap(lambda u: laplace.climb(u, expansion(1.0, data), 12)))(start)
    for i, alone in enumerate(starts()):
        np.testing.assert_allclose(together.u[i], climb(alone, 1.0, 12).u, atol=2e-3)
