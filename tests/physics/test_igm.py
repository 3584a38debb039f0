"""Intergalactic transmission against bagpipes' own numerics, and what has to hold at any redshift."""

import importlib.metadata
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.physics import igm

REDSHIFTS = [0.1, 0.8, 1.19, 1.5, 1.99, 2.5, 3.5, 4.69, 5.2, 6.5, 8.0]


@pytest.fixture(scope="module")
def bagpipes_transmission():
    """bagpipes' function, from its file alone: importing the package would write a table into its folder."""
    try:
        files = importlib.metadata.files("bagpipes")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("bagpipes is not installed")
    path = next(f.locate() for f in files if f.name == "igm_inoue2014.py")
    spec = importlib.util.spec_from_file_location("igm_inoue2014_twin", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_Inoue14_trans


transmission = jax.jit(igm.transmission)
slope_in_redshift = jax.jit(jax.jacfwd(igm.transmission, argnums=1))
slope_in_wave = jax.jit(jax.grad(lambda wave, redshift: igm.transmission(wave, redshift).sum()))


def pixels_away_from_edges(redshift):
    """Rest-frame wavelengths, and which of them are beyond float32's rounding of a line or a border between pieces."""
    wave = np.linspace(950.0 / (1 + redshift), 1300.0, 4001)
    lines = igm._LYMAN_SERIES[:, 0]
    borders = np.concatenate([lines * f for f in (1.0, 2.2, 3.0, 5.7, 1 + redshift)])
    borders = np.concatenate([borders, igm.LYMAN_LIMIT_AA * np.array([1.0, 2.2, 3.0, 5.7, 1 + redshift])])
    near = np.abs(wave[:, None] * (1 + redshift) / borders - 1).min(axis=1) < 1e-6
    return wave, ~near


@pytest.mark.parametrize("redshift", REDSHIFTS)
def test_agrees_with_bagpipes(bagpipes_transmission, redshift):
    rest, keep = pixels_away_from_edges(redshift)
    ours = np.asarray(transmission(jnp.asarray(rest * (1 + redshift), jnp.float32), redshift))[keep]
    rest = rest[keep]
    theirs = bagpipes_transmission(rest, redshift)
    # bagpipes keeps the negative optical depths that equation 28 has just below the Lyman limit
    negative = (rest > 0.996 * igm.LYMAN_LIMIT_AA) & (rest < igm.LYMAN_LIMIT_AA) & (redshift < 2.0)
    np.testing.assert_allclose(ours[~negative], theirs[~negative], atol=2e-5, rtol=2e-4)
    np.testing.assert_allclose(ours[negative], theirs[negative], atol=6e-3)


@pytest.mark.parametrize("redshift", REDSHIFTS)
def test_laws(redshift):
    wave = jnp.linspace(500.0, 1400.0 * (1 + redshift), 3000)
    result = igm.transmission(wave, redshift)
    assert result.dtype == jnp.float32
    assert np.all((result > 0) & (result <= 1))
    assert np.all(result[wave > 1.0001 * igm.LYMAN_ALPHA_AA * (1 + redshift)] == 1.0)
    np.testing.assert_allclose(transmission(wave, redshift), result, rtol=1e-5)
    assert np.all(np.isfinite(slope_in_redshift(wave, redshift)))
    assert np.all(np.isfinite(slope_in_wave(wave, redshift)))


def test_nothing_is_absorbed_at_redshift_zero():
    assert np.all(igm.transmission(jnp.linspace(100.0, 1e4, 500), 0.0) == 1.0)


def test_a_pixel_loses_light_as_the_source_recedes():
    wave = jnp.array([1000.0, 2000.0, 3000.0, 4000.0])
    falling = jnp.stack([transmission(wave, z) for z in np.linspace(0.5, 8.0, 40)])
    assert np.all(np.diff(falling, axis=0) < 2e-3)  # the pieces of the paper meet to a tenth of a per cent


def test_gradient_in_redshift_is_the_finite_difference_in_the_continuum():
    wave, z, step = jnp.array([2500.0, 3000.0, 3400.0]), 3.0, 1e-2
    expected = (igm.transmission(wave, z + step) - igm.transmission(wave, z - step)) / (2 * step)
    np.testing.assert_allclose(slope_in_redshift(wave, z), expected, rtol=5e-3)


def test_lyman_alpha_forest_just_below_lyman_alpha():
    """Equations 21 and 22 written out for Lyman alpha, at 0.9999 of its observed wavelength."""
    x3, x5 = 4 * 0.9999, 6 * 0.9999
    expected = {3.0: 2.354e-3 * x3**3.7 + 5.390e-5 * x3**3, 5.0: 1.026e-4 * x5**5.5 + 5.390e-5 * x5**3}
    for redshift, tau in expected.items():
        wave = jnp.array([igm.LYMAN_ALPHA_AA * (1 + redshift) * 0.9999])
        np.testing.assert_allclose(igm.lyman_series(wave, redshift), tau, rtol=1e-4)
