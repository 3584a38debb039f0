"""The prior of mass and redshift against astropy's volumes and published densities."""

from itertools import pairwise

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.cosmology import Planck15

from slipher.physics import abundance


@pytest.mark.parametrize("redshift", [0.02, 0.5, 2.0, 6.0])
def test_volume_against_astropy(redshift):
    twin = 4 * np.pi * Planck15.differential_comoving_volume(redshift).to_value(u.Mpc**3 / u.sr)
    assert float(abundance.log_volume(jnp.float32(redshift))) == pytest.approx(np.log(twin), abs=1e-3)


@pytest.mark.parametrize(
    ("redshift", "first", "second", "knee"), [(0.2, -2.44, -2.89, 10.79), (1.6, -3.08, -3.29, 10.88), (3.0, -4.14, -3.51, 10.84)]
)
def test_mass_function_at_the_published_redshifts(redshift, first, second, knee):
    """Both Schechter functions written out, at a dwarf, at the knee and at a giant."""
    for log_mass in (8.5, knee, 11.6):
        x = 10 ** (log_mass - knee)
        phi = np.log(10) * np.exp(-x) * (10**first * x ** (1 - 0.28) + 10**second * x ** (1 - 1.48))
        got = float(abundance.log_mass_function(jnp.float32(log_mass - abundance.SURVIVING), jnp.float32(redshift)))
        assert got == pytest.approx(np.log(phi), abs=2e-3)


def test_density_beyond_the_measurements():
    """Constant below z = 0.2; 0.4 dex fewer at z = 4 than at z = 3."""
    phi = {z: float(abundance.log_mass_function(jnp.float32(10.5), jnp.float32(z))) for z in (0.01, 0.2, 3.0, 4.0)}
    assert phi[0.01] == pytest.approx(phi[0.2], abs=1e-6)
    assert (phi[3.0] - phi[4.0]) / np.log(10) == pytest.approx(0.4, abs=1e-5)


def test_redshift_coordinate():
    """To u-space and back; its density is that of 200,000 draws."""
    zs = abundance.RedshiftRange(0.002, 7.0)
    redshift = jnp.array([0.003, 0.1, 1.0, 6.9])
    np.testing.assert_allclose(zs.from_normal(zs.to_normal(redshift)), redshift, rtol=2e-4)
    beyond = zs.to_normal(jnp.array([-0.5, 0.0, 9.0, 1000.0]))
    assert np.isfinite(np.asarray(beyond)).all()
    np.testing.assert_allclose(zs.from_normal(beyond), [0.002, 0.002, 7.0, 7.0], atol=1e-4)
    drawn = np.asarray(zs.from_normal(jnp.asarray(np.random.default_rng(1).standard_normal(200_000), jnp.float32)))
    counts, edges = np.histogram(drawn, np.array([0.01, 0.1, 0.3, 1.0, 2.0, 4.0, 7.0]))
    grid = [np.linspace(a, b, 400) for a, b in pairwise(edges)]
    expected = [len(drawn) * np.trapezoid(np.exp(np.asarray(zs.log_density(jnp.asarray(g)))), g) for g in grid]
    np.testing.assert_allclose(counts, expected, atol=5 * np.sqrt(np.max(expected)))
