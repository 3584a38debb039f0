"""The exercise of DIGS: a recipe like any other, whose spectra are samples with errors of five per cent and nothing else."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.errors import InputError
from slipher.models import mocks, recipe, shipped, training_set
from slipher.physics import cosmology, galaxy
from slipher.physics.parameters import from_normal

RECIPE = Path(recipe.__file__).parents[3] / "recipes" / "digs.toml"


@pytest.fixture(scope="module")
def made():
    return shipped.load("digs")


@pytest.fixture(scope="module")
def setting(made):
    population, basis = made.recipe.population, made.trained.projection.basis
    return training_set.draw_setting(np.random.default_rng(0), population, made.library, basis)


def test_the_recipe_switches_every_systematic_off():
    read = recipe.read_recipe(RECIPE)
    assert (read.name, read.preset) == ("digs", galaxy.DIGS)
    assert read.population.surveys == {"digs": 1.0}
    amplitudes = dataclasses.asdict(read.systematics)
    for fixed in ("knots_aa", "broad_sigma_kms"):
        del amplitudes[fixed]
    for name in ("line_scatter", "line_ew_aa"):
        amplitudes[name] = tuple(amplitudes[name].values())
    assert all(not np.any(amplitude) for amplitude in amplitudes.values())


def test_the_shipped_model_is_the_recipes(made):
    assert made.recipe.text == RECIPE.read_text()
    assert (shipped.folder_of("digs") / "weights.safetensors").stat().st_size < 1_000_000


def test_spectra_are_sampled_at_points_of_the_rest_frame(setting):
    wave = np.asarray(setting.view.wave_aa)
    np.testing.assert_allclose(wave, np.linspace(3750.0, 9500.0, 138), rtol=6e-5)  # the library's grid
    assert np.all(setting.view.width_kms < 40.0)


def test_what_is_recorded_is_the_galaxy_and_its_errors(made, setting):
    keys = jax.random.split(jax.random.key(4), 64)
    model, systematics = made.recipe.preset, made.recipe.systematics

    def one(key):
        seen = training_set.observe(key, model, setting, made.library, systematics, made.recipe.population.sn)
        values = from_normal(model.parameters[:-1], seen.u)
        return seen, galaxy.spectrum(model, values, cosmology.age_gyr(setting.redshift), setting.view, made.library)

    seen, spectra = jax.jit(jax.vmap(one))(keys)
    np.testing.assert_allclose(np.std(np.log(seen.flux / spectra)), np.log(1.05), rtol=0.05)
    # The reported errors say nothing that the flux does not.
    np.testing.assert_allclose(seen.ivar * (0.05 * seen.flux) ** 2, 1.0, rtol=1e-5)
    features = training_set.describe(seen, setting, made.trained.projection).features
    assert jnp.all(jnp.isfinite(features))


def test_there_are_no_mock_surveys_of_it(made):
    with pytest.raises(InputError, match="'digs'"):
        mocks.mock(0, made, survey=None, seed=0, redshift=None, median_sn=None)
