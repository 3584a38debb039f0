"""A galaxy's ingredients and light against plain loops in float64 and dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids.library import dispersion_coordinate, load_library
from slipher.instrument import spectrograph
from slipher.physics import galaxy
from slipher.physics.interpolation import cubic_weights, lagrange_weights
from slipher.physics.parameters import from_normal

T_UNIVERSE = jnp.float32(12.0)
WAVE = np.geomspace(3700.0, 7000.0, 300)


@pytest.fixture(scope="module")
def library():
    return load_library()


@pytest.fixture(scope="module")
def view(library):
    return spectrograph.view(WAVE, 0.0, library, lsf_kms=70.0)


@pytest.fixture(scope="module")
def values():
    u = jax.random.normal(jax.random.key(3), (len(galaxy.GALAXY.parameters),))
    return galaxy.GALAXY.complete(from_normal(galaxy.GALAXY.parameters, u))


@pytest.fixture(scope="module")
def parts(values, library):
    return galaxy.ingredients(galaxy.GALAXY, values, T_UNIVERSE, library)


def as64(array):
    return np.asarray(array, np.float64)


def test_stars_are_the_sum_over_cells_and_metallicities(values, parts, library):
    old = np.zeros(library.old_weights.shape[2])
    w_zs = as64(cubic_weights(values["log_zstar"], library.log_z))
    for z, w_z in enumerate(w_zs):
        for c, mass in enumerate(as64(parts.mass_cells)[library.n_young :]):
            old += w_z * mass * as64(library.old_weights)[z, c]
    np.testing.assert_allclose(parts.old, old, rtol=2e-4, atol=2e-6 * np.abs(old).max())


def test_nebulae_at_the_nodes_are_cloudys(library):
    """One cell, both metallicities and log U at a node: the table's own lines."""
    mass = jnp.zeros(library.n_young).at[4].set(1.0)
    z_star = cubic_weights(library.log_z[4], library.log_z)[:, None]
    lines, continuum = galaxy.nebular_emission(mass, z_star, library.log_z[4], library.log_u[3], library)
    hbeta = 10 ** as64(library.log_hbeta)[4, 3, 4]
    np.testing.assert_allclose(lines, hbeta * 10 ** as64(library.log_line_ratio)[4, 3, 4], rtol=1e-4)
    expected = hbeta * as64(library.nebular_weights)[4, 3, 4]
    np.testing.assert_allclose(continuum, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_hydrogen_lines_follow_the_stars_and_metal_lines_the_gas(library):
    mass = jnp.zeros(library.n_young).at[2].set(1.0)
    rich, poor = (cubic_weights(jnp.float32(z), library.log_z)[:, None] for z in (0.0, -1.0))
    log_u = jnp.float32(-3.0)
    at_rich, _ = galaxy.nebular_emission(mass, rich, jnp.float32(-0.5), log_u, library)
    at_poor, _ = galaxy.nebular_emission(mass, poor, jnp.float32(-0.5), log_u, library)
    ratio = as64(at_poor / at_rich)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    assert abs(ratio[0] - 1.0) > 0.03


def test_continuum_against_float64(values, parts, view, library):
    nodes = dispersion_coordinate(library.sigma_nodes_kms)
    weights = as64(lagrange_weights(dispersion_coordinate(values["sigma_star"]), nodes))
    old = np.einsum("pnk,n,k->p", as64(view.old), weights, as64(parts.old))
    young = np.einsum("pnk,n,k->p", as64(view.young), weights, as64(parts.young))
    through = galaxy.attenuation(galaxy.GALAXY, values, view.wave_aa)
    nebular = as64(view.nebular) @ as64(parts.nebular)
    expected = as64(through.old) * old + as64(through.young) * (young + nebular)
    np.testing.assert_allclose(galaxy.continuum(galaxy.GALAXY, values, parts, view, library), expected, rtol=2e-4)


def test_young_stars_lines_and_nebulae_are_behind_more_dust(values, view, library):
    through = galaxy.attenuation(galaxy.GALAXY, {**values, "tau_bc": jnp.float32(1.0)}, view.wave_aa)
    np.testing.assert_allclose(through.young / through.old, np.exp(-5500.0 / WAVE), rtol=1e-5)


def test_batches_give_what_single_galaxies_give(view, library):
    u = jax.random.normal(jax.random.key(5), (7, len(galaxy.GALAXY.parameters)))

    def spectrum(u):
        return galaxy.spectrum(galaxy.GALAXY, from_normal(galaxy.GALAXY.parameters, u), T_UNIVERSE, view, library)

    batch = jax.jit(jax.vmap(spectrum))(u)
    np.testing.assert_allclose(batch[3], jax.jit(spectrum)(u[3]), rtol=1e-4)


@pytest.mark.parametrize("n_offset", [1, 3, 11])
def test_apply_bands_against_a_dense_matrix(n_offset):
    rng = np.random.default_rng(0)
    bands, flux = rng.normal(size=(n_offset, 40)), rng.normal(size=40)
    dense = np.zeros((40, 40))
    for i in range(40):
        for o in range(n_offset):
            j = i + o - n_offset // 2
            if 0 <= j < 40:
                dense[i, j] = bands[o, i]
    got = galaxy.apply_bands(jnp.asarray(bands, jnp.float32), jnp.asarray(flux, jnp.float32))
    np.testing.assert_allclose(got, dense @ flux, atol=1e-5)


def test_tied_and_fixed_values_stand_beside_the_free_ones():
    free = {name: jnp.float32(0.1) for name in galaxy.DIGS.names}
    full = galaxy.DIGS.complete(free)
    assert full["log_zgas"] == full["log_zstar"] == free["log_zstar"]
    assert full["sigma_star"] == 350.0
