"""Recipes: every mistake is named with what was expected, and the same recipe gives the same model, killed or not."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from slipher import models
from slipher.errors import InputError, ModelFileError
from slipher.grids.library import load_library
from slipher.models import recipe, recipe_text, shipped, training_set
from slipher.networks import weights
from slipher.physics.galaxy import DIGS, GALAXY

RECIPES = Path(recipe.__file__).parents[3] / "recipes"

# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_of_the_repository_are_read(path):
    kind = recipe_text.content_of(path.read_text()).get("kind", "galaxy")
    made = models.KINDS[kind].read_recipe(path)
    assert made.name == path.stem
    assert made.text == path.read_text()


def test_what_a_recipe_does_not_say_has_defaults():
    made = recipe.parse_recipe('preset = "galaxy"')
    assert (made.name, made.preset) == ("galaxy", GALAXY)
    assert made.architecture == recipe_text.Architecture()
    assert made.population == training_set.Population()


def test_what_a_recipe_says_is_heeded():
    text = """
name = "mine"
preset = "digs"
[population]
surveys = { sdss = 0.5, desi = 0.5 }
sn = [5, 20]
[systematics]
calibration = 0
mismatch = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
[network]
width = 12
[schedule]
learning_rate = 2e-3
"""
    made = recipe.parse_recipe(text)
    assert (made.name, made.preset) == ("mine", DIGS)
    assert made.population.surveys == {"sdss": 0.5, "desi": 0.5}
    assert made.population.sn == (5.0, 20.0)
    assert made.population.redshift == training_set.Population().redshift
    assert (made.systematics.calibration, made.systematics.mismatch) == (0.0, (0.0,) * 6)
    assert made.architecture == recipe_text.Architecture(width=12)
    assert made.schedule.learning_rate == 2e-3


HEAD = 'preset = "galaxy"\n'
MISTAKES = {
    "no preset": ('name = "x"', "preset None", "galaxy, photometry, joint, digs"),
    "unknown preset": ('preset = "galxy"', "preset 'galxy'", "galaxy, photometry, joint, digs"),
    "two presets": ('preset = ["galaxy", "digs"]', r"preset \['galaxy', 'digs'\]", "galaxy, photometry, joint, digs"),
    "unknown section": (HEAD + "[netwrok]\nwidth = 3", "'netwrok'", "network"),
    "a setting outside of its section": (HEAD + "chunks = 3", "'chunks'", "schedule"),
    "a section that is none": (HEAD + "network = 3", "network = 3", r"a table \[network\]"),
    "unknown setting": (HEAD + "[schedule]\nchunk = 3", r"\[schedule\] chunk", "chunk_size, chunks"),
    "unknown setting of the population": (HEAD + "[population]\nz = [0, 1]", r"\[population\] z", "redshift"),
    "words for a number": (HEAD + '[schedule]\nchunks = "many"', r"\[schedule\] chunks = 'many'", "a whole number"),
    "a fraction of a chunk": (HEAD + "[schedule]\nchunks = 2.5", r"\[schedule\] chunks = 2.5", "a whole number"),
    "yes for a number": (HEAD + "[schedule]\nchunks = true", r"\[schedule\] chunks = True", "a whole number"),
    "a number for a range": (HEAD + "[population]\nsn = 3", r"\[population\] sn = 3", "a list of numbers"),
    "words in a range": (HEAD + '[population]\nsn = [1, "x"]', r"\[population\] sn = \[1, 'x'\]", "a list of numbers"),
    "a list for a table": (HEAD + '[population]\nsurveys = ["sdss"]', r"surveys = \['sdss'\]", "a table of numbers"),
    "unknown survey": (HEAD + "[population]\nsurveys = { sdds = 1.0 }", "survey 'sdds'", "sdss, boss, desi"),
    "shares": (HEAD + "[population]\nsurveys = { sdss = 0.5, desi = 0.4 }", "'desi': 0.4", "add up to 1"),
    "negative shares": (HEAD + "[population]\nsurveys = { sdss = 1.5, desi = -0.5 }", "'desi': -0.5", "add up to 1"),
    "no survey": (HEAD + "[population]\nsurveys = {}", r"surveys = \{\}", "add up to 1"),
    "a line group missing": (HEAD + "[systematics.line_scatter]\nhydrogen = 0.1", "line_scatter] helium", "all of"),
    "no TOML": ("preset = galaxy", "no TOML", "TOML"),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistakes_are_named_with_what_was_expected_and_a_mend(name):
    text, came, expected = MISTAKES[name]
    with pytest.raises(InputError, match=rf"{came}.*; expected .*{expected}") as caught:
        recipe.parse_recipe(text)
    assert caught.value.mend.endswith(".")


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "nowhere.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(InputError, match=r"cannot be read.*expected a TOML file"):
            recipe.read_recipe(path)


# --- making -----------------------------------------------------------------------------------------------------------

TINY = """
name = "tiny"
preset = "digs"
[population]
surveys = { sdss = 1.0 }
[projection]
continuum = 6
lines = 4
one_complex = 2
[network]
context = 4
width = 8
depth = 1
layers = 2
flow_width = 8
knots = 4
[schedule]
seed = 5
chunks = 3
chunk_size = 16
steps = 2
batch = 8
window = 2
checkpoint_every = 1
validation_chunks = 2
validation_size = 16
"""


RECIPE = recipe.parse_recipe(TINY)
SIZES = recipe.Components(n=10, n_continuum=6, n_complex=4)


class Killed(BaseException):
    """Not an error that anything may catch."""


@pytest.fixture(scope="module")
def _small_basis():
    """The basis from 80 galaxies instead of 2,400."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_set, "learn_projection", partial(training_set.learn_projection, n=80))
        yield


@pytest.fixture(scope="module")
def made(_small_basis, tmp_path_factory) -> Path:
    return recipe.run(RECIPE, tmp_path_factory.mktemp("models") / "tiny")


def without_time(folder: Path) -> dict:
    card = json.loads((folder / "card.json").read_text())
    assert card.pop("training_seconds") >= 0
    return card


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_model_and_another_seed_another(made, tmp_path):
    again = recipe.run(RECIPE, tmp_path / "again")
    assert weights.sha256(again / "weights.safetensors") == weights.sha256(made / "weights.safetensors")
    assert without_time(again) == without_time(made)
    other = recipe.run(recipe.parse_recipe(TINY.replace("seed = 5", "seed = 6")), tmp_path / "other")
    a, b = load_file(made / "weights.safetensors"), load_file(other / "weights.safetensors")
    same = {name for name in a if a[name].size > 1 and np.array_equal(a[name], b[name])}
    assert same <= {"projection.membership"}  # which components are of which lines is no matter of chance


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_model(made, tmp_path):
    """After each chunk, and after the last one before anything is packed."""

    def kill(chunk: int, *_: object) -> None:
        raise Killed

    for chunk in (1, 2, 3):
        with pytest.raises(Killed):
            recipe.run(RECIPE, tmp_path / "run", progress=kill)
        assert json.loads((tmp_path / "run/history.json").read_text())[-1]["chunk"] == chunk
        assert not (tmp_path / "run/card.json").exists()
    folder = recipe.run(RECIPE, tmp_path / "run")
    assert weights.sha256(folder / "weights.safetensors") == weights.sha256(made / "weights.safetensors")
    assert without_time(folder) == without_time(made)


@pytest.mark.slow
def test_a_run_of_another_recipe_is_refused(made, tmp_path):
    folder = Path(shutil.copytree(made, tmp_path / "run"))
    changed = recipe.parse_recipe(TINY.replace("continuum = 6", "continuum = 7"))
    with pytest.raises(InputError, match="holds a run of another configuration"):
        recipe.run(changed, folder)
    assert without_time(folder) == without_time(made)


def changed_prior() -> recipe.Recipe:
    """The same text, read by a version in which metallicities reach a little higher."""
    first, *others = DIGS.parameters
    wider = dataclasses.replace(first, prior=dataclasses.replace(first.prior, high=first.prior.high + 0.01))
    return dataclasses.replace(RECIPE, preset=dataclasses.replace(DIGS, parameters=(wider, *others)))


def changed_error_model() -> recipe.Recipe:
    """The same text, read by a version in which spectra are calibrated a little worse."""
    return dataclasses.replace(RECIPE, systematics=dataclasses.replace(RECIPE.systematics, calibration=0.031))


@pytest.mark.slow
@pytest.mark.parametrize("changed", [changed_prior, changed_error_model])
def test_a_run_of_other_priors_or_another_error_model_is_refused(changed, made, tmp_path):
    """Which the recipe's text does not tell."""
    folder = Path(shutil.copytree(made, tmp_path / "run"))
    with pytest.raises(InputError, match="holds a run of another configuration"):
        recipe.run(changed(), folder)
    assert without_time(folder) == without_time(made)


@pytest.mark.slow
def test_the_card_says_what_made_the_model(made):
    card = without_time(made)
    assert card["recipe"] == TINY
    assert (card["name"], card["seed"], card["simulations"], card["steps"]) == ("tiny", 5, 48, 6)
    stored = load_file(made / "weights.safetensors")
    assert (stored["projection.mean"].shape, stored["projection.membership"].shape) == ((10,), (4, 4))
    assert card["components"] == {"n": 10, "n_continuum": 6, "n_complex": 4}
    assert {name: (prior["low"], prior["high"]) for name, prior in card["priors"].items()} == {
        p.name: (p.prior.low, p.prior.high) for p in DIGS.parameters
    }
    assert card["error_model"]["calibration"] == 0.03
    assert card["sha256"] == weights.sha256(made / "weights.safetensors")
    assert card["slipher"]
    assert np.isfinite(card["validation_loss_nats"])
    assert np.all(np.isfinite(card["novelty"]["log_chi2"]))


@pytest.mark.slow
def test_a_model_that_was_made_is_loaded_by_its_folder(made):
    loaded = shipped.load(str(made))
    stored = load_file(made / "weights.safetensors")
    named = weights.named_leaves(loaded.trained)
    assert set(named) == set(stored)
    for name, leaf in named.items():
        np.testing.assert_array_equal(leaf, stored[name])
    assert loaded.recipe.name == "tiny"


@pytest.mark.slow
def test_a_loaded_model_answers_as_the_one_that_was_trained(made):
    """What is filled into shapes alone is the network that `build` would have made."""
    loaded = shipped.load(str(made)).trained
    built = weights.load_arrays(recipe.TrainedGalaxy(loaded.projection, recipe._network(RECIPE, SIZES)), made / "weights.safetensors")
    features = jnp.linspace(-1.0, 1.0, recipe.n_features(SIZES))
    u = jnp.array([0.1, -0.4, 0.8, 1.2])
    np.testing.assert_array_equal(loaded.network.context(features), built.network.context(features))
    context = built.network.context(features)
    np.testing.assert_allclose(loaded.network.log_prob(u, context), built.network.log_prob(u, context), rtol=1e-6)


@pytest.mark.slow
def test_altered_weights_are_refused(made, tmp_path):
    folder = Path(shutil.copytree(made, tmp_path / "altered"))
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-3] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(ModelFileError, match="has checksum"):
        shipped.load(str(folder))


@pytest.mark.slow
def test_weights_of_another_architecture_are_refused(made):
    wider = recipe.parse_recipe(TINY.replace("width = 8\n", "width = 9\n", 1))
    with pytest.raises(ModelFileError, match="does not fit this architecture"):
        weights.load_arrays(recipe.template(wider, load_library(), SIZES), made / "weights.safetensors")


# --- loading ----------------------------------------------------------------------------------------------------------


def with_card(folder: Path, change: Callable[[dict], object]) -> str:
    """A copy of the shipped model of DIGS whose card is changed; its name for `shipped.load`."""
    shutil.copytree(shipped.FOLDER / "digs", folder)
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))
    return str(folder)


def test_a_copy_of_a_model_is_that_model(tmp_path):
    copy, original = shipped.load(with_card(tmp_path / "copy", lambda card: None)), shipped.load("digs")
    assert copy.card == original.card
    for name, leaf in weights.named_leaves(original.trained).items():
        np.testing.assert_array_equal(weights.named_leaves(copy.trained)[name], leaf)


STALE = {
    "another bound": (lambda card: card["priors"]["log_tau"].update(high=1.5), "priors"),
    "another kind of prior": (lambda card: card["priors"]["a_v"].update(prior="TruncatedNormal"), "priors"),
    "another unit": (lambda card: card["priors"]["age_start_gyr"].update(unit="log(Gyr)"), "priors"),
    "a parameter more": (lambda card: card["priors"].update(log_u={}), "priors"),
    "no priors": (lambda card: card.pop("priors"), "priors"),
    "another error model": (lambda card: card["error_model"].update(calibration=0.03), "error model"),
    "both": (lambda card: (card.pop("priors"), card.pop("error_model")), "priors and error model"),
}


@pytest.mark.parametrize("name", list(STALE))
def test_models_of_other_priors_or_another_error_model_are_refused(name, tmp_path):
    """Their weights would be taken for answers to a question that they were not asked."""
    change, what = STALE[name]
    with pytest.raises(ModelFileError, match=rf"trained by slipher .* with other {what}; expected") as caught:
        shipped.load(with_card(tmp_path / "stale", change))
    assert caught.value.mend.endswith("slipher train RECIPE.")


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card.pop("recipe"),
        lambda card: card.pop("components"),
        lambda card: card.update(components=[24, 12]),
        lambda card: card["components"].pop("n_complex"),
        lambda card: card.update(recipe='preset = "galxy"'),
    ],
)
def test_cards_that_do_not_say_what_the_model_is_are_refused(change, tmp_path):
    """As those of versions that wrote other cards."""
    with pytest.raises(ModelFileError, match=r"the card of .*expected a recipe and the network's sizes"):
        shipped.load(with_card(tmp_path / "old", change))
