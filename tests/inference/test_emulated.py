"""The likelihood of an emulator: its kernels against convolutions in closed form, its density against a dense covariance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.inference import emulated
from slipher.inference.covariance import covariance
from slipher.networks import emulator
from slipher.physics import parameters
from slipher.physics.galaxy import LOG_MASS
from slipher.physics.parameters import Parameter, Uniform
from slipher.units import C_KMS

STEP_KMS = 60.0
GRID = np.exp(np.arange(np.log(4000.0), np.log(6000.0), STEP_KMS / C_KMS))
PIXELS = np.exp(np.arange(np.log(4400.0), np.log(5500.0), 69.0 / C_KMS)) * 1.00007
MODEL = (Parameter("x", "", "x", Uniform(-1.0, 1.0), ""), Parameter("y", "", "y", Uniform(0.0, 1.0), ""), emulated.DISPERSION, LOG_MASS)


def line(wave_aa: np.ndarray, sigma_kms: float) -> np.ndarray:
    """A Gaussian of unit area in velocity at 5000 A."""
    v = np.log(wave_aa / 5000.0) * C_KMS
    return np.exp(-0.5 * (v / sigma_kms) ** 2) / np.sqrt(2 * np.pi) / sigma_kms


@pytest.mark.parametrize(("dispersion", "lsf", "own"), [(150.0, 70.0, 0.0), (150.0, 70.0, 90.0), (60.0, 69.0, 30.0), (400.0, 100.0, 100.0)])
def test_widths_add_in_quadrature_and_flux_is_kept(dispersion, lsf, own):
    """A line that is as wide as the emulated spectra are comes out as wide as galaxy and instrument."""
    seen = emulated.windows(GRID, PIXELS, np.full(len(PIXELS), lsf), own)
    narrow = max(own, 1.5 * STEP_KMS)  # of a line that the grid resolves
    found = seen.seen(jnp.asarray(line(GRID, narrow), jnp.float32), jnp.float32(dispersion))
    expected = line(PIXELS, np.sqrt(dispersion**2 + lsf**2 - own**2 + narrow**2))
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())


def test_a_smooth_spectrum_stays_as_it_is():
    seen = emulated.windows(GRID, PIXELS, np.full(len(PIXELS), 70.0), 0.0)
    smooth = lambda wave: (wave / 5000.0) ** -1.5  # noqa: E731
    for dispersion in (20.0, 400.0):
        found = seen.seen(jnp.asarray(smooth(GRID), jnp.float32), jnp.float32(dispersion))
        np.testing.assert_allclose(found, smooth(PIXELS), rtol=1e-5)


def test_nothing_is_sharpened_below_the_grid():
    """An instrument sharper than the emulator: kernels as narrow as the grid allows, which leave a line as it is but for their width."""
    seen = emulated.windows(GRID, PIXELS, np.full(len(PIXELS), 20.0), 120.0)
    found = seen.seen(jnp.asarray(line(GRID, 120.0), jnp.float32), jnp.float32(20.0))
    expected = line(PIXELS, np.hypot(120.0, emulated.LEAST_STEPS * STEP_KMS))
    np.testing.assert_allclose(found, expected, atol=3e-3 * expected.max())


def target(seed: int) -> tuple[emulated.EmulatedTarget, dict]:
    """An emulator that nobody has trained, data near one of its spectra, correlated errors."""
    rng = np.random.default_rng(seed)
    blank = emulator.empty(2, [len(GRID)], [3], width=8, depth=2)
    basis = np.stack([np.sin(k * np.arange(len(GRID)) / 40.0) for k in (1, 2, 3)]) * 0.3
    block = emulator.Block(blank.blocks[0].mean, jnp.asarray(basis, jnp.float32))
    made = emulator.Emulator(blank.shift, blank.scale, blank.network, blank.spread, (block,))
    seen = emulated.windows(GRID, PIXELS, np.full(len(PIXELS), 70.0), 0.0)
    ivar = rng.uniform(50.0, 100.0, len(PIXELS))
    ivar[5:9] = 0.0
    floor, templates = np.full(len(PIXELS), 0.002), 0.05 * np.stack([np.ones(len(PIXELS)), np.linspace(-1, 1, len(PIXELS))], 1)
    flux = 1.3 + 0.1 * rng.standard_normal(len(PIXELS))
    errors = covariance(*(jnp.asarray(x, jnp.float32) for x in (ivar, floor, templates)))
    facts = {"ivar": ivar, "floor": floor, "templates": templates, "flux": flux}
    return emulated.EmulatedTarget(emulated.Task(made, seen, errors, jnp.asarray(flux, jnp.float32)), MODEL), facts


def test_the_density_is_that_of_a_dense_covariance():
    """log of the integral over ln A of N(data; A m, C): differences between points, with pixels of no information left out."""
    made, facts = target(0)
    u = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    good = facts["ivar"] > 0
    c = np.diag(1 / facts["ivar"][good] + facts["floor"][good]) + facts["templates"][good] @ facts["templates"][good].T
    precision, data, expected = np.linalg.inv(c), facts["flux"][good], []
    for point in u:
        x, y, log_dispersion = (np.asarray(v) for v in parameters.from_normal(MODEL[:-1], jnp.asarray(point)).values())
        light = jnp.exp(made.task.emulator.ln_flux(jnp.array([x, y])))
        m = np.asarray(made.task.windows.seen(light, jnp.float32(10**log_dispersion)), float)[good]
        centre = (m @ precision @ data) / (m @ precision @ m)
        a = centre + np.linspace(-8, 8, 2001) / np.sqrt(m @ precision @ m)
        left = data - a[:, None] * m
        logs = -0.5 * np.einsum("ai,ij,aj->a", left, precision, left)
        expected.append(np.log(np.trapezoid(np.exp(logs - logs.max()) / a, a)) + logs.max() - 0.5 * point @ point)
    np.testing.assert_allclose(made.log_posterior(u), expected, atol=0.02)


def test_the_pure_density_is_the_same_and_has_a_gradient():
    made, _ = target(2)
    density, data = made.pure()
    u = jnp.array([0.3, -0.5, 0.2])
    np.testing.assert_allclose(density(u, data), made.log_posterior(np.asarray(u)[None])[0], atol=0.02)
    gradient, step = np.asarray(jax.grad(density)(u, data)), 0.02
    for i in range(3):
        up, down = (made.log_posterior(np.asarray(u.at[i].add(sign * step))[None])[0] for sign in (1, -1))
        np.testing.assert_allclose(gradient[i], (up - down) / (2 * step), atol=0.02 * np.abs(gradient).max() + 0.05)


def test_the_prior_as_a_flow_is_the_prior():
    flow, z = emulated.PriorFlow(3), jnp.array([0.1, -2.0, 1.0])
    for way in (flow.from_base, flow.to_base):
        point, log_det = way(z, jnp.zeros(0))
        np.testing.assert_array_equal(point, z)
        assert float(log_det) == 0.0
