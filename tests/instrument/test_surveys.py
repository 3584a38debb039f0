"""Surveys: published pixels and resolutions, and noise that is positive, reproducible and shaped like the sky's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.data.resolution import typical_kms
from slipher.errors import InputError
from slipher.instrument import surveys

every_survey = pytest.mark.parametrize("name", [name for name, made in surveys.SURVEYS.items() if made.n_samples is None])


@every_survey
def test_wavelengths_increase_within_the_range(name):
    survey = surveys.survey(name)
    wave = survey.wavelengths()
    assert np.all(np.diff(wave) > 0)
    low, high = survey.wave_range_aa
    assert low <= wave[0] < low + 2
    assert high - 4 < wave[-1] <= high


def test_pixels_are_those_of_the_files():
    step = np.diff(np.log10(surveys.survey("sdss").wavelengths()))
    np.testing.assert_allclose(step, 1e-4, rtol=1e-6)
    np.testing.assert_allclose(np.diff(surveys.survey("desi").wavelengths()), 0.8)


@every_survey
def test_resolution_is_near_that_of_real_spectra(name):
    wave = np.linspace(3900.0, 8800.0, 50)
    np.testing.assert_allclose(surveys.survey(name).lsf(wave), typical_kms(name, wave), rtol=0.3)


def test_digs_samples_its_range_at_138_points_with_errors_of_five_per_cent():
    survey = surveys.survey("digs")
    wave = survey.wavelengths()
    assert len(wave) == 138
    assert (wave[0], wave[-1]) == survey.wave_range_aa == (3750.0, 9500.0)
    np.testing.assert_allclose(np.diff(wave), 5750.0 / 137)
    assert survey.fraction == 0.05
    assert survey.lsf(wave).max() < 100.0  # the galaxies' dispersion of 350 km/s is none of the instrument's


def test_unknown_survey():
    with pytest.raises(InputError, match=r"'euclid'.*sdss, boss, desi"):
        surveys.survey("euclid")


@every_survey
def test_noise_is_finite_positive_and_the_keys(name):
    survey = surveys.survey(name)
    wave = jnp.asarray(survey.wavelengths(), jnp.float32)
    low, high = (jnp.float32(x) for x in survey.wave_range_aa)
    flux = jnp.ones_like(wave)
    shape = jax.jit(surveys.noise_shape)
    draws = [shape(jax.random.key(i), wave, flux, low, high) for i in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.allclose(draws[0], draws[2])
    for draw in draws:
        assert np.all(np.isfinite(draw))
        assert np.all(draw > 0)


def test_sky_lines_and_the_oh_forest_stand_out():
    wave = jnp.asarray(surveys.survey("boss").wavelengths(), jnp.float32)
    keys = jax.random.split(jax.random.key(2), 40)
    ends = jnp.float32(3580.0), jnp.float32(10330.0)
    noise = jax.vmap(lambda k: surveys.noise_shape(k, wave, jnp.zeros_like(wave) + 1e-3, *ends))(keys)
    relative = np.median(np.asarray(noise / jnp.median(noise, axis=1, keepdims=True)), axis=0)

    def near(a, b):
        return relative[(wave > a) & (wave < b)]

    assert near(5576.0, 5582.0).max() > 1.5 * np.median(near(5500.0, 5560.0))
    assert np.std(near(8760.0, 9100.0)) > 3 * np.std(near(5600.0, 5800.0))


def test_negative_flux_does_not_break_the_noise():
    wave = jnp.linspace(4000.0, 9000.0, 500)
    noise = surveys.noise_shape(jax.random.key(0), wave, -jnp.ones_like(wave), jnp.float32(4e3), jnp.float32(9e3))
    assert np.all(np.isfinite(noise))


def test_masks_are_zeros_and_ones_and_lose_a_little():
    masks = jax.vmap(lambda k: surveys.mask(k, 3800))(jax.random.split(jax.random.key(0), 300))
    assert set(np.unique(masks)) == {0.0, 1.0}
    kept = np.asarray(masks).mean(1)
    assert 0.95 < np.median(kept) <= 1.0
    assert kept.min() > 0.5
    assert (kept < 0.97).any()
