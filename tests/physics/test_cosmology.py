"""Distances and ages against astropy.cosmology, in float32 and down to redshift zero."""

import astropy.cosmology
import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.physics import cosmology

TWINS = {
    "planck15": (cosmology.PLANCK15, astropy.cosmology.Planck15),
    "planck13": (cosmology.PLANCK13, astropy.cosmology.Planck13),
    "concordance": (cosmology.CONCORDANCE, astropy.cosmology.FlatLambdaCDM(H0=70.0, Om0=0.3)),
    "heavy neutrinos": (
        cosmology.Cosmology(h0=68.0, omega_m=0.3, m_nu=(0.1, 0.2, 0.3)),
        astropy.cosmology.FlatLambdaCDM(H0=68.0, Om0=0.3, Tcmb0=2.7255, Neff=3.046, m_nu=[0.1, 0.2, 0.3] * u.eV),
    ),
}
QUANTITIES = {
    cosmology.luminosity_distance_mpc: lambda c, z: c.luminosity_distance(z).to_value("Mpc"),
    cosmology.comoving_distance_mpc: lambda c, z: c.comoving_distance(z).to_value("Mpc"),
    cosmology.distance_modulus: lambda c, z: c.distmod(z).value,
    cosmology.kpc_per_arcsec: lambda c, z: 1.0 / c.arcsec_per_kpc_proper(z).value,
    cosmology.lookback_time_gyr: lambda c, z: c.lookback_time(z).to_value("Gyr"),
    cosmology.age_gyr: lambda c, z: c.age(z).to_value("Gyr"),
}
by_quantity = pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda f: f.__name__)
REDSHIFTS = np.concatenate([[1e-5, 1e-3], np.linspace(0.01, 10.0, 60)]).astype(np.float32)


@by_quantity
@pytest.mark.parametrize("name", TWINS)
def test_agrees_with_astropy(quantity, name):
    ours, theirs = TWINS[name]
    result = jax.vmap(lambda z: quantity(z, ours))(jnp.asarray(REDSHIFTS))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, QUANTITIES[quantity](theirs, REDSHIFTS.astype(float)), rtol=3e-5)


@by_quantity
@pytest.mark.parametrize("redshift", [0.01, 0.5, 3.0, 9.0])
def test_derivative_in_redshift_agrees_with_a_finite_difference_of_astropy(quantity, redshift):
    step = 1e-4 * redshift
    above, below = (QUANTITIES[quantity](astropy.cosmology.Planck15, redshift + s) for s in (step, -step))
    np.testing.assert_allclose(jax.grad(quantity)(redshift), (above - below) / (2 * step), rtol=5e-4)


@by_quantity
@pytest.mark.parametrize("start", [cosmology.PLANCK15, cosmology.CONCORDANCE], ids=["planck15", "concordance"])
def test_every_parameter_has_a_finite_gradient(quantity, start):
    start = jax.tree.map(jnp.asarray, start)
    gradient = jax.grad(lambda c: quantity(0.7, c))(start)
    assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(gradient))
    assert gradient.h0 != 0.0


def test_hubble_constant_scales_every_distance_where_there_is_no_radiation():
    gradient = jax.grad(lambda c: cosmology.luminosity_distance_mpc(0.7, c))(cosmology.CONCORDANCE)
    distance = cosmology.luminosity_distance_mpc(0.7, cosmology.CONCORDANCE)
    np.testing.assert_allclose(gradient.h0, -distance / 70.0, rtol=1e-5)


@pytest.mark.parametrize("quantity", [cosmology.luminosity_distance_mpc, cosmology.lookback_time_gyr, cosmology.kpc_per_arcsec])
def test_zero_at_redshift_zero_with_a_finite_derivative(quantity):
    assert quantity(0.0) == 0.0
    assert np.isfinite(jax.grad(quantity)(0.0))


def test_hubble_law_at_small_redshift():
    np.testing.assert_allclose(cosmology.comoving_distance_mpc(1e-6), 299792.458 * 1e-6 / 67.74, rtol=2e-6)


def test_einstein_de_sitter_has_its_closed_form():
    flat = cosmology.Cosmology(h0=70.0, omega_m=1.0, t_cmb=0.0)
    np.testing.assert_allclose(cosmology.age_gyr(1.0, flat), 2 / 3 * 977.7922 / 70.0 * 2**-1.5, rtol=2e-6)
    closed = 2 * 299792.458 / 70.0 * (1 - 3.0**-0.5)
    np.testing.assert_allclose(cosmology.comoving_distance_mpc(2.0, flat), closed, rtol=2e-6)


def test_age_and_lookback_time_add_up():
    today = cosmology.age_gyr(0.0)
    for redshift in (0.01, 1.0, 8.0):
        np.testing.assert_allclose(cosmology.age_gyr(redshift) + cosmology.lookback_time_gyr(redshift), today, rtol=3e-6)


def test_jit_equals_eager():
    for quantity in QUANTITIES:
        np.testing.assert_allclose(jax.jit(quantity)(0.3), quantity(0.3), rtol=1e-6)
