"""Metallicity histories: known answers, and galaxies whose stars have one against those whose stars have a flat history."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids.history_bases import load_history_bases
from slipher.grids.library import load_library
from slipher.physics import derived, galaxy, metallicities
from slipher.physics.interpolation import cubic_weights
from slipher.physics.parameters import from_normal

T_UNIVERSE = jnp.float32(12.0)
KNOTS = jnp.linspace(0.0, 1.0, 11)


def flat(values, t_universe_gyr, age_edges_gyr):
    """One metallicity, by the path of histories: half of it from each of two flat bases."""
    z = metallicities.enrichment(
        age_edges_gyr, t_universe_gyr, coefficients=10 ** values["log_zstar"] * jnp.array([0.5, 0.5]), knots=KNOTS, bases=jnp.ones((2, 11))
    )
    return jnp.log10(z)


def rising(values, t_universe_gyr, age_edges_gyr):
    """Stars of the first half of cosmic time at a tenth of `log_zstar`."""
    edges = jnp.minimum(age_edges_gyr, t_universe_gyr)
    return values["log_zstar"] - (0.5 * (edges[1:] + edges[:-1]) > 0.5 * t_universe_gyr)


@pytest.fixture(scope="module")
def library():
    return load_library()


def values_at(seed, model=galaxy.GALAXY):
    return model.complete(from_normal(model.parameters, jax.random.normal(jax.random.key(seed), (len(model.parameters),))))


@pytest.mark.parametrize("seed", range(5))
def test_a_flat_history_is_one_metallicity(library, seed):
    values = values_at(seed)
    one = galaxy.ingredients(galaxy.GALAXY, values, T_UNIVERSE, library)
    same = galaxy.ingredients(dataclasses.replace(galaxy.GALAXY, metallicity=flat), values, T_UNIVERSE, library)
    for name, expected in one._asdict().items():
        np.testing.assert_allclose(getattr(same, name), expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max(), err_msg=name)


def test_each_cell_shines_at_its_own_metallicity(library):
    """A loop over cells in float64, stars and nebulae; what derives from it too."""
    values = values_at(1) | {"log_zstar": jnp.float32(0.1)}
    parts = galaxy.ingredients(dataclasses.replace(galaxy.GALAXY, metallicity=rising), values, T_UNIVERSE, library)
    log_z = np.asarray(rising(values, T_UNIVERSE, library.age_edges_gyr), float)
    assert len(set(log_z)) == 2
    mass, n = np.asarray(parts.mass_cells, float), library.n_young
    old, live, metals = np.zeros(parts.old.shape), 0.0, 0.0
    for c, z in enumerate(log_z):
        w = np.asarray(cubic_weights(jnp.float32(z), library.log_z), float)
        live += mass[c] * w @ np.asarray(library.live_fraction, float)[:, c]
        metals += mass[c] * 10**z
        if c >= n:
            old += mass[c] * w @ np.asarray(library.old_weights, float)[:, c - n]
    np.testing.assert_allclose(parts.old, old, rtol=2e-4, atol=2e-6 * np.abs(old).max())
    found = derived.stellar(parts, T_UNIVERSE, jnp.float32(10.0), library)
    assert float(found["log_mstar"]) == pytest.approx(10.0 + np.log10(live), abs=1e-5)
    assert float(parts.metals) == pytest.approx(metals, rel=1e-5)
    young = galaxy.ingredients(galaxy.GALAXY, values, T_UNIVERSE, library)
    np.testing.assert_allclose(parts.young, young.young, rtol=1e-5, atol=1e-6 * np.abs(young.young).max())
    np.testing.assert_allclose(parts.lines, young.lines, rtol=1e-5)


def test_ionising_photons_follow_each_young_cells_metallicity(library):
    """Two cells at two metallicities: the sum of either alone."""
    n, at = library.n_young, (1, 4)
    z = jnp.stack([cubic_weights(jnp.float32(-1.0 + 0.2 * c), library.log_z) for c in range(n)], 1)
    gas = (jnp.float32(-0.3), jnp.float32(-2.5), library)
    alone = [galaxy.nebular_emission(jnp.zeros(n).at[c].set(1.0), z[:, c : c + 1], *gas)[0] for c in at]
    both, _ = galaxy.nebular_emission(jnp.zeros(n).at[jnp.array(at)].set(1.0), z, *gas)
    np.testing.assert_allclose(both, alone[0] + alone[1], rtol=1e-5)


@pytest.mark.parametrize("t_universe", [5.0, 9.0, 13.4])
def test_the_middle_of_a_cell_stands_for_its_mean(library, t_universe):
    """In Z/Zsun for gammas of solar metallicity, against means over 200 times within each cell, in float64."""
    bases, edges = load_history_bases(), np.minimum(np.asarray(library.age_edges_gyr, float), t_universe)
    for basis in np.eye(2):
        found = metallicities.enrichment(
            library.age_edges_gyr, jnp.float32(t_universe), coefficients=jnp.asarray(basis, jnp.float32),
            knots=jnp.asarray(bases.metallicity_knots), bases=jnp.asarray(bases.metallicity),
        )  # fmt: skip
        x = (edges[:-1] + (np.arange(200)[:, None] + 0.5) / 200 * np.diff(edges)) / t_universe
        mean = np.interp(x, bases.metallicity_knots, basis @ bases.metallicity).mean(0)
        np.testing.assert_allclose(found, mean, atol=0.02)


def test_metallicities_beyond_the_library_are_held_at_its_ends(library):
    values = values_at(2)
    for shift, end in ((-5.0, 0), (5.0, -1)):
        beyond = dataclasses.replace(galaxy.GALAXY, metallicity=lambda v, t, age, s=shift: v["log_zstar"][None] + s)
        found = galaxy.ingredients(beyond, values, T_UNIVERSE, library)
        expected = galaxy.ingredients(galaxy.GALAXY, values | {"log_zstar": library.log_z[end]}, T_UNIVERSE, library)
        assert float(found.metals) == pytest.approx(10 ** float(library.log_z[end]), rel=1e-5)
        np.testing.assert_allclose(found.old, expected.old, rtol=1e-5, atol=1e-6 * np.abs(expected.old).max())


def test_gradients_in_the_metals_are_finite_differences(library):
    """Through the clipping, the logarithm and the weights."""
    model = galaxy.PROVABGS
    values = values_at(4, model) | {"log_gamma_1": jnp.float32(-2.5), "log_gamma_2": jnp.float32(-2.2)}

    def light(log_gamma, name):
        parts = galaxy.ingredients(model, values | {name: log_gamma}, T_UNIVERSE, library)
        return jnp.log(jnp.sum(parts.stars[:, library.n_young :] * library.light_v[:, library.n_young :]))

    for name in ("log_gamma_1", "log_gamma_2"):
        of = jax.jit(partial(light, name=name))
        step = 0.02
        expected = (of(values[name] + step) - of(values[name] - step)) / (2 * step)
        assert float(jax.grad(of)(values[name])) == pytest.approx(float(expected), rel=0.03, abs=2e-4)
