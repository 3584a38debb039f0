"""Line profiles against numerical integration, and the flux that they keep."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from slipher.physics.kinematics import line_profile
from slipher.units import C_KMS


def pixels(step_kms, centre=5008.24, reach_kms=4000.0):
    wave = centre * np.exp(np.arange(-reach_kms, reach_kms, step_kms) / C_KMS + 0.3 * step_kms / C_KMS)
    return jnp.asarray(wave, jnp.float32), jnp.full(len(wave), step_kms, jnp.float32)


@pytest.mark.parametrize("sigma", [1.0, 20.0, 70.0, 300.0])
@pytest.mark.parametrize("step", [20.0, 69.0])
def test_flux_is_one_however_narrow_the_line(sigma, step):
    wave, width = pixels(step)
    profile = line_profile(wave, width, jnp.float32(5008.24), jnp.float32(sigma))
    assert profile.min() > -1e-6
    np.testing.assert_allclose(jnp.sum(profile * wave * width / C_KMS), 1.0, rtol=5e-4)  # float32 wavelengths are good to 0.02 km/s


@pytest.mark.parametrize("sigma", [40.0, 150.0])
def test_pixel_means_against_quadrature(sigma):
    wave, width = pixels(69.0, reach_kms=500.0)
    profile = line_profile(wave, width, jnp.float32(5008.24), jnp.float32(sigma))
    for w, mean in zip(np.asarray(wave, float), profile):
        velocity = C_KMS * np.log(w / 5008.24)
        flux, _ = quad(lambda v: np.exp(-0.5 * (v / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma), velocity - 34.5, velocity + 34.5)
        np.testing.assert_allclose(mean, flux / (w * 69.0 / C_KMS), rtol=2e-3, atol=1e-6)


def test_mean_and_dispersion_of_the_profile():
    wave, width = pixels(20.0)
    profile = np.asarray(line_profile(wave, width, jnp.float32(5008.24), jnp.float32(120.0)), float)
    velocity = C_KMS * np.log(np.asarray(wave, float) / 5008.24)
    weight = profile * np.asarray(wave, float)
    mean = np.average(velocity, weights=weight)
    assert abs(mean) < 0.2
    spread = np.sqrt(np.average((velocity - mean) ** 2, weights=weight))
    np.testing.assert_allclose(spread, np.hypot(120.0, 20.0 / np.sqrt(12.0)), rtol=1e-3)
