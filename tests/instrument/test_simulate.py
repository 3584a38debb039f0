"""Simulated observations: nothing added where nothing is asked for, the stated variances, and the key's alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids.library import load_library
from slipher.instrument import simulate, spectrograph, surveys
from slipher.instrument.systematics import Systematics
from slipher.physics import cosmology, galaxy
from slipher.physics.parameters import from_normal

DEFAULT = Systematics()
NONE = Systematics(
    calibration=0.0,
    mismatch=(0.0,) * 6,
    floor=(0.0,) * 6,
    line_floor=0.0,
    line_scatter=dict.fromkeys(DEFAULT.line_scatter, 0.0),
    line_ew_aa=dict.fromkeys(DEFAULT.line_ew_aa, 0.0),
    velocity_kms=0.0,
    broad_ew_aa=0.0,
    sodium_ew_aa=0.0,
)
MODEL = galaxy.GALAXY
T_UNIVERSE = cosmology.age_gyr(0.1)


@pytest.fixture(scope="module")
def library():
    return load_library()


@pytest.fixture(scope="module")
def view(library):
    survey = surveys.survey("sdss")
    wave = survey.wavelengths()[::2]
    return spectrograph.view(wave, 0.1, library, lsf_kms=survey.lsf(wave))


@pytest.fixture(scope="module")
def light(view, library):
    covered = jnp.ones_like(view.wave_aa)

    def draw(key, u, systematics):
        return simulate.light(key, MODEL, from_normal(MODEL.parameters, u), T_UNIVERSE, view, library, systematics, covered)

    by_model = {name: jax.jit(lambda k, u, s=s: draw(k, u, s)) for name, s in (("none", NONE), ("default", DEFAULT))}
    return lambda key, u, name: by_model[name](key, u)


def test_without_systematics_light_is_the_galaxys(light, view, library):
    u = jax.random.normal(jax.random.key(0), (len(MODEL.parameters),))
    drawn = light(jax.random.key(1), u, "none")
    spectrum = galaxy.spectrum(MODEL, from_normal(MODEL.parameters, u), T_UNIVERSE, view, library)
    np.testing.assert_allclose(drawn.flux, spectrum, rtol=1e-4)
    np.testing.assert_allclose(drawn.continuum + drawn.lines, drawn.flux, rtol=1e-5)


def test_light_is_the_keys_alone(light):
    u = jax.random.normal(jax.random.key(0), (len(MODEL.parameters),))
    one, same, other = (light(jax.random.key(i), u, "default").flux for i in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other, rtol=1e-3)


def test_light_stays_within_a_few_per_cent_of_the_galaxy(light):
    u = jnp.zeros(len(MODEL.parameters))
    drawn = np.stack([light(jax.random.key(i), u, "default").continuum for i in range(60)])
    plain = np.asarray(light(jax.random.key(0), u, "none").continuum)
    ratio = drawn / plain
    assert np.all(np.isfinite(ratio))
    np.testing.assert_allclose(np.median(ratio), 1.0, atol=0.01)
    assert 0.02 < np.std(ratio) < 0.12


def test_finite_over_the_prior(light):
    for i in range(20):
        u = jax.random.normal(jax.random.key(100 + i), (len(MODEL.parameters),))
        drawn = light(jax.random.key(i), u, "default")
        assert all(np.all(np.isfinite(part)) for part in drawn)


def test_v_band_light_is_the_mean_of_its_window_or_of_all_pixels_where_none_is_in_it():
    wave, flux = jnp.array([5000.0, 5400.0, 5500.0, 5800.0, 6000.0]), jnp.array([9.0, 1.0, 2.0, 6.0, 10.0])
    assert simulate.v_band_light(wave, flux) == 3.0
    assert simulate.v_band_light(wave + 1000.0, flux) == 5.6
    assert simulate.v_band_light(wave + 350.0, flux) == 4.0  # 5350, 5750 and 5850 A


def test_lines_scatter_by_an_equivalent_width_also_where_v_is_not_seen(library):
    """A spectrum that ends at 5000 A: the level is that of its own pixels, and no zero."""
    seen = spectrograph.view(np.geomspace(3700.0, 5000.0, 400), 0.0, library, lsf_kms=70.0)
    systematics = dataclasses.replace(NONE, line_ew_aa=DEFAULT.line_ew_aa)
    values = from_normal(MODEL.parameters, jnp.zeros(len(MODEL.parameters)))

    oii = jnp.array([group == "oii" for group in library.line_groups])

    def equivalent_width(key):
        drawn = simulate.light(key, MODEL, values, T_UNIVERSE, seen, library, systematics, jnp.ones(400))
        return jnp.sum(drawn.line_luminosity, where=oii) / jnp.mean(drawn.continuum)

    drawn = jax.jit(jax.vmap(equivalent_width))(jax.random.split(jax.random.key(0), 3000))
    np.testing.assert_allclose(jnp.std(drawn), DEFAULT.line_ew_aa["oii"], rtol=0.05)


def test_recorded_flux_scatters_by_the_reported_noise_and_the_floor():
    n = 400
    wave = jnp.linspace(4300.0, 6900.0, n)
    continuum, lines = jnp.full(n, 2.0), jnp.where(wave > 6000.0, 5.0, 0.0)
    expected = simulate.Light(continuum + lines, continuum, lines, jnp.zeros(1))
    sigma = jnp.linspace(0.01, 0.05, n)
    keys = jax.random.split(jax.random.key(0), 3000)
    drawn = jax.vmap(lambda k: simulate.record(k, expected, sigma, wave, DEFAULT))(keys)
    floor = np.asarray(DEFAULT.floor_at(wave)) * 2.0
    variance = np.asarray(sigma) ** 2 + floor**2 + (DEFAULT.line_floor * np.asarray(lines)) ** 2
    np.testing.assert_allclose(np.var(drawn, axis=0), variance, rtol=0.15)
    np.testing.assert_allclose(np.mean(np.var(drawn, axis=0) / variance), 1.0, rtol=0.01)
    np.testing.assert_allclose(np.mean(drawn, axis=0), expected.flux, atol=5 * np.sqrt(variance.max() / 3000))


def test_errors_of_a_fraction_are_normal_in_the_logarithm_and_told_of_the_recorded_flux():
    bright = jnp.geomspace(1e-6, 1e-2, 20_000)
    expected = simulate.Light(bright, bright, 0 * bright, jnp.zeros(1))
    flux, sigma = simulate.record_fraction(jax.random.key(3), expected, jnp.float32(0.05))
    scatter = np.log(np.asarray(flux / bright, float))
    np.testing.assert_allclose([scatter.mean(), scatter.std()], [0.0, np.log(1.05)], atol=1.5e-3)
    assert np.abs(scatter).max() < 6 * np.log(1.05)
    np.testing.assert_allclose(sigma, 0.05 * flux, rtol=1e-6)
