"""Emulators from recipe to forward model: trained, loaded, measured and marginalised, against a population code in closed form."""

import dataclasses
import json
import shutil
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_spectra
from safetensors.numpy import load_file

from slipher import models
from slipher.errors import InputError, ModelFileError
from slipher.inference.covariance import covariance
from slipher.models import emulator, emulator_error, emulator_source
from slipher.networks import weights

pytestmark = pytest.mark.slow  # two minutes

RECIPES = Path(emulator.__file__).parents[3] / "recipes"
PARAMETERS = """
[parameters]
share = { low = 0.05, high = 0.95, meaning = "of the young" }
tau_v = { low = 0.0, high = 2.0, label = '\\tau_V' }
slope = { low = -1.0, high = 0.5 }
"""
TOY = f"""
name = "toy"
kind = "emulator"
table = "toy.npz"
held_back = 300
{PARAMETERS}
[components]
number = 6
edges_aa = [4500]
[network]
width = 48
depth = 2
[schedule]
epochs = 100
stages = 1
first_batch = 64
last_batch = 64
first_rate = 1e-2
[error]
rank = 3
"""


def write_table(folder: Path, n: int = 2300) -> None:
    values = toy_spectra.draw(np.random.default_rng(3), n)
    np.savez(
        folder / "toy.npz", wave_aa=toy_spectra.WAVE_AA, spectra=toy_spectra.spectra(values), **dict(zip(toy_spectra.BOUNDS, values.T))
    )


def write(folder: Path, text: str) -> Path:
    (folder / "toy.toml").write_text(text)
    return folder / "toy.toml"


# --- reading ---------------------------------------------------------------------------------------------------------


def test_the_recipe_of_the_repository_is_read():
    path = RECIPES / "emulator_bagpipes.toml"
    made = emulator.read_recipe(path)
    assert (made.name, made.text, made.folder) == (path.stem, path.read_text(), RECIPES)
    assert len(made.parameters) == 9
    assert all(p.meaning for p in made.parameters)


def test_what_a_recipe_says_is_heeded_and_the_rest_has_defaults():
    made = emulator.parse_recipe(TOY)
    assert (made.name, made.table, made.function, made.held_back) == ("toy", "toy.npz", "", 300)
    assert [(p.name, p.label, p.prior.low, p.prior.high) for p in made.parameters][1] == ("tau_v", r"\tau_V", 0.0, 2.0)
    assert made.components == emulator.Components(6, (4500.0,))
    assert (made.schedule.first_rate, made.schedule.seed) == (1e-2, 1)
    bare = emulator.parse_recipe(f'kind = "emulator"\ntable = "x.npz"\n{PARAMETERS}')
    assert (bare.held_back, bare.architecture) == (2000, emulator.Architecture())


HEAD = 'kind = "emulator"\ntable = "x.npz"\n'
MISTAKES = {
    "no TOML": ("kind", "a recipe that is no TOML"),
    "another kind": ('kind = "emulater"', "kind = 'emulater'; expected 'emulator'"),
    "unknown key": (HEAD + "tabel = 3", "'tabel' in a recipe; expected one of name, kind, table"),
    "unknown section": (HEAD + "[netwrok]", "'netwrok' in a recipe"),
    "unknown setting": (HEAD + "[schedule]\nepoch = 3" + PARAMETERS, r"\[schedule\] epoch; expected one of .*epochs"),
    "words for a number": (HEAD + 'held_back = "some"', "held_back = 'some'; expected a whole number"),
    "a number for words": ('kind = "emulator"\ntable = 3', "table = 3; expected a text"),
    "no origin": ('kind = "emulator"' + PARAMETERS, "without table or function"),
    "two origins": (HEAD + 'function = "a:b"\nwave_aa = "a:c"', "both table and function"),
    "no wavelengths": ('kind = "emulator"\nfunction = "a:b"' + PARAMETERS, "a function without wave_aa"),
    "wavelengths of a table": (HEAD + 'wave_aa = "a:b"' + PARAMETERS, "wave_aa for a table"),
    "no parameters": (HEAD, r"parameters = None; expected a table \[parameters\]"),
    "a parameter without bounds": (HEAD + "[parameters]\nx = 3", r"\[parameters\] x = 3; expected low and high"),
    "a name that is taken": (
        HEAD + "[parameters]\nlog_mstar_formed = { low = 3, high = 4 }",
        "log_mstar_formed; expected a name that fits",
    ),
    "half of the bounds": (HEAD + "[parameters]\nx = { low = 3 }", r"x = \{'low': 3\}; expected low and high"),
    "bounds reversed": (HEAD + "[parameters]\nx = { low = 3, high = 2 }", r"x from 3\.0 to 2\.0; expected finite bounds"),
    "an infinite bound": (HEAD + "[parameters]\nx = { low = 3, high = inf }", "expected finite bounds"),
    "words for a bound": (HEAD + '[parameters]\nx = { low = "a", high = 2 }', r"x low = 'a'; expected a number"),
    "an unknown fact": (HEAD + "[parameters]\nx = { low = 1, high = 2, prior = 3 }", r"x prior; expected one of low, high, unit"),
    "no epochs": (HEAD + "[schedule]\nepochs = 0" + PARAMETERS, "epochs = 0; expected more than 0"),
    "edges that fall": (HEAD + "[components]\nedges_aa = [5, 4]" + PARAMETERS, r"edges_aa = \[5\.0, 4\.0\]; expected edges that increase"),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistakes_of_a_recipe_are_named(name):
    text, message = MISTAKES[name]
    with pytest.raises(InputError, match=message):
        emulator.parse_recipe(text)


def test_reading_a_recipe_imports_nothing(tmp_path):
    (tmp_path / "explosive.py").write_text("raise RuntimeError('imported')\n")
    text = f'kind = "emulator"\nfunction = "explosive:f"\nwave_aa = "explosive:W"\n{PARAMETERS}'
    made = emulator.read_recipe(write(tmp_path, text))
    assert made.function == "explosive:f"
    with pytest.raises(RuntimeError, match="imported"):  # training is what imports it
        models.train(tmp_path / "toy.toml", tmp_path / "run")


def test_recipes_of_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"kind = 'galxy' in .*; expected one of galaxy, .*emulator"):
        models.train(write(tmp_path, 'kind = "galxy"'), tmp_path / "run")


# --- a trained one ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Trained by the public function."""
    place = tmp_path_factory.mktemp("emulator")
    write_table(place)
    return models.train(write(place, TOY), place / "run")


@pytest.fixture(scope="module")
def made(folder) -> emulator.EmulatedGalaxy:
    return emulator.load(folder)


@pytest.fixture(scope="module")
def card(folder) -> dict:
    return json.loads((folder / "card.json").read_text())


FRESH = toy_spectra.draw(np.random.default_rng(77), 400)
TRUTH = toy_spectra.spectra(FRESH)


@eqx.filter_jit
def emulate(made: emulator.EmulatedGalaxy, values: jax.Array) -> jax.Array:
    return jax.vmap(lambda v: made.spectrum(dict(zip(made.names, v))))(values)


@pytest.fixture(scope="module")
def emulated(made) -> np.ndarray:
    return np.asarray(emulate(made, jnp.asarray(FRESH, jnp.float32)), float)


def test_fresh_spectra_are_emulated_to_a_fifth_of_a_per_cent(emulated):
    """Of which the population code alone knows; they vary by a factor of 4000 at the shortest wavelength."""
    off = np.abs(emulated / TRUTH - 1)
    assert np.median(off) < 0.002
    assert np.percentile(off, 99) < 0.015


def test_training_lowers_the_error_of_spectra_held_back(folder):
    history = json.loads((folder / "history.json").read_text())
    errors = [row["validation"] for row in history]
    assert [row["epoch"] for row in history] == list(range(10, 101, 10))
    assert errors[-1] < 0.2 * errors[0]


def test_the_forward_model_says_what_it_is(made):
    assert made.names == tuple(toy_spectra.BOUNDS)
    assert [(p.prior.low, p.prior.high) for p in made.parameters] == list(toy_spectra.BOUNDS.values())
    assert made.parameters[0].meaning == "of the young"
    np.testing.assert_allclose(made.wave_aa, toy_spectra.WAVE_AA, rtol=1e-6)


def test_one_galaxy_is_answered_as_in_a_batch(made, emulated):
    for values, batch in zip(FRESH[:5], emulated):
        np.testing.assert_allclose(made.spectrum(dict(zip(made.names, values))), batch, rtol=1e-5)


def test_the_order_of_names_does_not_matter(made):
    values = {"share": 0.4, "tau_v": 0.7, "slope": -0.2}
    np.testing.assert_array_equal(made.spectrum(dict(reversed(values.items()))), made.spectrum(values))


def test_gradients_are_finite_and_those_of_the_population_code(made):
    """Against finite differences of its closed form, in the middle of the prior: what a sampler is pushed by."""
    point = {"share": 0.5, "tau_v": 1.0, "slope": -0.3}
    jacobian = jax.jacfwd(made.spectrum)({name: jnp.float32(v) for name, v in point.items()})
    for name, (low, high) in toy_spectra.BOUNDS.items():
        step = 1e-4 * (high - low)
        up, down = (toy_spectra.spectrum({**point, name: point[name] + sign * step}) for sign in (1, -1))
        expected = (up - down) / (2 * step)
        assert np.all(np.isfinite(jacobian[name]))
        assert np.abs(np.asarray(jacobian[name]) - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(("name", "end"), [(name, end) for name in toy_spectra.BOUNDS for end in (0, 1)])
def test_beyond_its_bounds_the_emulator_says_nothing(made, name, end):
    low, high = toy_spectra.BOUNDS[name]
    edge, beyond = (low, low - 0.01 * (high - low)) if end == 0 else (high, high + 0.01 * (high - low))
    middle = {"share": 0.5, "tau_v": 1.0, "slope": -0.3}
    assert np.all(np.isfinite(made.spectrum({**middle, name: edge})))
    assert np.all(np.isnan(made.spectrum({**middle, name: beyond})))
    made.check({**middle, name: edge})
    with pytest.raises(InputError, match=rf"{name} = .*; expected {low:g} to {high:g}"):
        made.check({**middle, name: beyond})


def test_wrong_names_of_parameters_are_refused(made):
    with pytest.raises(InputError, match="no value of slope; expected values of share, tau_v, slope"):
        made.spectrum({"share": 0.5, "tau_v": 1.0})
    with pytest.raises(InputError, match="a value of a_v; expected"):
        made.spectrum({"share": 0.5, "tau_v": 1.0, "slope": 0.0, "a_v": 1.0})


# --- its error -------------------------------------------------------------------------------------------------------


def test_the_measured_percentiles_are_those_of_fresh_spectra(made, emulated, card):
    off = np.abs(emulated / TRUTH - 1)
    for percentile, at_pixels in zip(emulator_error.PERCENTILES, made.error.percentiles):
        covered = np.mean(off <= np.asarray(at_pixels))
        share = percentile / 100
        # Three standard deviations, were all pixels of a spectrum wrong together.
        assert covered == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) * (1 / 300 + 1 / len(FRESH))))
        assert np.percentile(off, percentile) == pytest.approx(card["error"]["all"][f"p{percentile}"], rel=0.3)
    low, high = card["error"]["by_wavelength"][0]["low_aa"], card["error"]["by_wavelength"][-1]["high_aa"]
    assert (low, high) == pytest.approx((toy_spectra.WAVE_AA[0], toy_spectra.WAVE_AA[-1]), abs=0.1)


def chi2(made: emulator.EmulatedGalaxy, emulated: np.ndarray, sn: float, marginalised: bool) -> np.ndarray:
    """Per pixel, of noisy fresh spectra under the noise and, or not, the emulator's measured error."""
    noise = TRUTH / sn
    data = TRUTH + noise * np.random.default_rng(4).standard_normal(TRUTH.shape)

    @jax.jit
    def one(data: jax.Array, ivar: jax.Array, reference: jax.Array) -> jax.Array:
        terms = made.error_covariance(reference)
        templates, floor = terms.templates * marginalised, terms.floor * marginalised
        c = covariance(ivar, floor, templates)
        return c.inner(((data - reference) * c.inverse_sigma)[:, None])[0, 0]

    # Near one, as everywhere in slipher: 1/flux^2 of these luminosities is beyond single precision.
    scaled = [jnp.asarray(x, jnp.float32) for x in (data * 1e4, (noise * 1e4) ** -2, emulated * 1e4)]
    return np.asarray(jax.vmap(one)(*scaled)) / TRUTH.shape[1]


@pytest.mark.parametrize(("sn", "least"), [(300.0, 1.2), (3000.0, 20.0)])
def test_marginalised_the_error_covers_fresh_spectra(made, emulated, sn, least):
    """Chi^2 per pixel is one on average; the emulator's error taken for none, it is far from it."""
    covered, bare = chi2(made, emulated, sn, True), chi2(made, emulated, sn, False)
    assert np.mean(covered) == pytest.approx(1.0, abs=0.1)
    assert np.percentile(covered, 95) < 2.5
    assert np.mean(bare) > least


def test_the_card_says_how_well_the_covariance_covers(card):
    found = card["error"]["chi2_per_pixel"]
    assert found["mean"] == pytest.approx(1.0, abs=0.3)
    assert found["p50"] < found["p68"] < found["p95"] < found["p99"]


def test_templates_and_variance_have_each_pixels_mean_square():
    rng = np.random.default_rng(0)
    residuals = 0.01 * rng.standard_normal((300, 3)) @ rng.standard_normal((3, 20)) + 1e-3 * rng.standard_normal((300, 20)) + 0.004
    templates, variance = emulator_error.low_rank(residuals, 4)
    # To the share at least that is left to a pixel's own variance.
    np.testing.assert_allclose((templates**2).sum(1) + variance, (residuals**2).mean(0), rtol=2e-4)
    # And across pixels: three directions, and the bias, are all there is but noise.
    dense = residuals.T @ residuals / 300
    np.testing.assert_allclose(templates @ templates.T + np.diag(variance), dense, atol=4e-7)
    expected = np.einsum("ri,ij,rj->r", residuals, np.linalg.inv(templates @ templates.T + np.diag(variance)), residuals) / 20
    np.testing.assert_allclose(emulator_error.chi2_per_pixel(residuals, templates, variance), expected, rtol=1e-8)


def test_error_terms_follow_the_reference(made):
    reference = jnp.linspace(1.0, 2.0, len(made.wave_aa))
    floor, templates = made.error_covariance(reference)
    np.testing.assert_allclose(floor, made.error.variance * reference**2, rtol=1e-6)
    np.testing.assert_allclose(templates, made.error.templates * reference[:, None], rtol=1e-6)


# --- files -----------------------------------------------------------------------------------------------------------


def test_the_card_says_what_made_the_emulator(folder, card):
    assert (card["name"], card["kind"], card["recipe"], card["seed"]) == ("toy", "emulator", TOY, 1)
    assert card["table"] == emulator_source.checksum_of_table(folder.parent / "toy.npz")
    assert (card["trained_on"], card["error"]["spectra"]) == (2000, 300)
    assert card["components"] == [6, 6]
    assert sum(card["pixels"]) == 150
    assert card["sha256"] == weights.sha256(folder / "weights.safetensors")
    assert card["slipher"]


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def test_altered_weights_are_refused(folder, tmp_path):
    other = copy(folder, tmp_path)
    content = bytearray((other / "weights.safetensors").read_bytes())
    content[-3] ^= 1
    (other / "weights.safetensors").write_bytes(content)
    with pytest.raises(ModelFileError, match="has checksum"):
        emulator.load(other)


ALTERED = {
    "other bounds": (lambda c: c.update(recipe=c["recipe"].replace("high = 2.0", "high = 2.5")), "with other bounds of parameters"),
    "another network": (lambda c: c.update(recipe=c["recipe"].replace("width = 48", "width = 47")), "does not fit this architecture"),
    "other components": (lambda c: c.update(components=[6, 5]), "does not fit this architecture"),
    "no sizes": (lambda c: c.pop("pixels"), r"the card of .* \('pixels'\)"),
    "sizes of another kind": (lambda c: c.update(pixels="many"), "the card of"),
    "a recipe of another kind": (lambda c: c.update(recipe='preset = "galaxy"'), "'preset' in a recipe"),
}


@pytest.mark.parametrize("name", list(ALTERED))
def test_cards_that_do_not_fit_are_refused(name, folder, tmp_path):
    change, message = ALTERED[name]
    other = copy(folder, tmp_path)
    card = json.loads((other / "card.json").read_text())
    change(card)
    (other / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelFileError, match=message):
        emulator.load(other)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="holds no model"):
        emulator.load(tmp_path)


# --- killed and resumed, from a function ------------------------------------------------------------------------------

TINY = f"""
kind = "emulator"
function = "toy_code:spectrum"
wave_aa = "toy_code:WAVE_AA"
spectra = 90
held_back = 30
{PARAMETERS}
[components]
number = 3
[network]
width = 6
depth = 1
[schedule]
epochs = 3
stages = 1
first_batch = 20
checkpoint_every = 1
[error]
rank = 3
"""


class Killed(BaseException):
    """Not an error that anything may catch."""


@pytest.fixture
def function(tmp_path, monkeypatch) -> Path:
    """A recipe of a function whose module lies beside it, called in chunks of 40."""
    monkeypatch.setattr(emulator_source, "CHUNK", 40)
    shutil.copy(toy_spectra.__file__, tmp_path / "toy_code.py")
    return write(tmp_path, TINY)


def facts(folder: Path) -> dict:
    card = json.loads((folder / "card.json").read_text())
    assert card.pop("training_seconds") >= 0
    return card


def test_a_run_killed_at_any_report_resumes_to_the_identical_model(function, tmp_path):
    """While spectra are made, and while they are learnt."""
    whole = models.train(function, tmp_path / "whole")
    stops = [("spectra", 40), ("spectra", 80), ("spectra", 90), ("epoch", 1), ("epoch", 3)]
    for what, done in stops:

        def kill(now: int, total: int, row: dict, what=what, done=done) -> None:
            if what in row and now == done:
                raise Killed

        with pytest.raises(Killed):
            models.train(function, tmp_path / "run", progress=kill)
        assert not (tmp_path / "run/card.json").exists()
    run = models.train(function, tmp_path / "run")
    a, b = load_file(whole / "weights.safetensors"), load_file(run / "weights.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert facts(run) == facts(whole)


def test_runs_of_another_recipe_or_another_function_are_refused(function, tmp_path):
    models.train(function, tmp_path / "run")
    before = facts(tmp_path / "run")
    write(tmp_path, TINY.replace("epochs = 3", "epochs = 4"))
    with pytest.raises(InputError, match="holds a run of another configuration"):
        models.train(function, tmp_path / "run")
    write(tmp_path, TINY)
    with open(tmp_path / "toy_code.py", "a") as stream:
        stream.write("# better now\n")
    with pytest.raises(InputError, match="holds a run of another configuration"):
        models.train(function, tmp_path / "run")
    with pytest.raises(InputError, match="holds a run; expected an empty folder"):
        models.train(function, tmp_path / "run", resume=False)
    assert facts(tmp_path / "run") == before


def test_another_seed_gives_another_emulator(function, tmp_path):
    recipe = emulator.read_recipe(function)
    first = emulator.load(emulator.run(recipe, tmp_path / "first"))
    text = TINY.replace("stages = 1", "stages = 1\nseed = 2")
    other = emulator.load(emulator.run(dataclasses.replace(emulator.read_recipe(write(tmp_path, text))), tmp_path / "other"))
    assert np.any(np.asarray(first.emulator.network.last.weight) != np.asarray(other.emulator.network.last.weight))


def test_a_loaded_emulator_needs_no_function(function, tmp_path):
    folder = models.train(function, tmp_path / "run")
    (tmp_path / "toy_code.py").unlink()
    assert np.all(np.isfinite(emulator.load(folder).spectrum({"share": 0.5, "tau_v": 1.0, "slope": 0.0})))


@pytest.mark.parametrize("edges", ["[2000]", "[9500]", "[4000, 4000.1]"])
def test_blocks_without_pixels_are_refused(edges, function, tmp_path):
    write(tmp_path, TINY.replace("number = 3", f"number = 3\nedges_aa = {edges}"))
    with pytest.raises(InputError, match=r"edges_aa = .*; expected edges within 2500 to 9000 A, pixels between them"):
        models.train(function, tmp_path / "run")
