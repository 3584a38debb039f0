"""The autoencoder on a user's own files: which are used, what is made of each, and that what simulations lack is learnt.

Most tests stand on a basis of four smooth continua and three lines, and on galaxies that it describes but for a planted bump. The
simulator's programs take long to compile: fast tests do without.
"""

import dataclasses
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import slipher
from slipher import data, models
from slipher.errors import Flag, InputError
from slipher.grids import stars
from slipher.grids.library import load_library
from slipher.instrument import surveys
from slipher.models import false_alarms, latent_folder, latent_recipe, latent_set, shipped
from slipher.models.latent_folder import Folder, Galaxy
from slipher.networks import latent_density
from slipher.networks import projection as proj

WAVE = stars.wave_grid()
LINES_AA = np.array([4862.7, 5008.2, 6564.6])
BUMP_AA, BUMP_WIDTH_AA = 5600.0, 14.0
SN = 20.0

TINY = """
name = "tiny"
kind = "latents"
preset = "digs"
[population]
surveys = { sdss = 1.0 }
redshift = [0.002, 0.3]
[network]
latents = 2
width = 8
depth = 1
decoder_width = 8
decoder_depth = 1
[schedule]
seed = 5
chunks = 2
chunk_size = 32
steps = 2
batch = 8
window = 2
checkpoint_every = 1
validation_chunks = 1
validation_size = 32
[spectra]
folder = "files"
extra = 2
held_back = 0.2
"""


def light(rng: np.random.Generator, wave_aa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Continuum and lines of a toy galaxy at rest wavelengths, of mean about one."""
    x, (slope, bend, strength) = np.log(wave_aa / 5500.0), rng.normal(0.0, [0.4, 0.3, 0.5])
    break_ = 1.0 - 0.2 * rng.random() / (1.0 + np.exp((wave_aa - 4000.0) / 30.0))
    profiles = np.exp(-0.5 * ((wave_aa - LINES_AA[:, None]) / 4.0) ** 2)
    return (1.0 + slope * x + bend * x**2) * break_, np.exp(strength) * rng.uniform(0.2, 1.0, 3) @ profiles


@pytest.fixture(scope="module")
def basis() -> proj.Projection:
    rng = np.random.default_rng(1)
    continua, lines = (np.array(part) for part in zip(*(light(rng, WAVE) for _ in range(200)), strict=True))
    return proj.learn(continua, lines, WAVE, LINES_AA, proj.Ranks(4, 3, 1))


def galaxy(number: int, *, bump: float = 0.0, sn: float = SN, redshift: float | None = None) -> slipher.Spectrum:
    """A toy galaxy as SDSS sees it; `bump` is the height of a feature that the basis has not."""
    rng = np.random.default_rng([3, number])
    wave, z = surveys.survey("sdss").wavelengths(), 0.02 + 0.2 * rng.random()
    z = z if redshift is None else redshift
    rest = wave / (1.0 + z)
    flux = sum(light(rng, rest)) + bump * np.exp(-0.5 * ((rest - BUMP_AA) / BUMP_WIDTH_AA) ** 2)
    noisy = flux + rng.standard_normal(len(flux)) / sn
    return data.spectrum(
        wave, 3.0 * noisy, ivar=np.full(len(wave), (sn / 3.0) ** 2), redshift=z, survey="sdss", id=f"toy-{number}", ebv=0.0
    )


def bumpy(number: int) -> slipher.Spectrum:
    """With a bump of its own height."""
    return galaxy(number, bump=0.4 * np.random.default_rng([4, number]).random())


def recipe(folder: Path | str = "files", **settings) -> latent_recipe.LatentRecipe:
    made = latent_recipe.parse_recipe(TINY)
    return dataclasses.replace(made, spectra=dataclasses.replace(made.spectra, folder=str(folder), **settings))


def prepared(spectra: list[slipher.Spectrum]) -> list[Galaxy]:
    return [latent_folder._galaxy(s, recipe().population) for s in spectra]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve galaxies with bumps, in a folder beneath the one that is named."""
    (tmp_path / "files/plate").mkdir(parents=True)
    for i in range(12):
        slipher.write_spectrum(bumpy(i), tmp_path / f"files/plate/toy-{i}.fits")
    return tmp_path / "files"


# --- recipes ----------------------------------------------------------------------------------------------------------


def test_the_folder_is_relative_to_the_recipe(tmp_path):
    (tmp_path / "mine.toml").write_text(TINY)
    made = latent_recipe.read_recipe(tmp_path / "mine.toml").spectra
    assert Path(made.folder) == tmp_path / "files"
    assert made == latent_recipe.RealSpectra(str(tmp_path / "files"), 0.5, 0.2, 4.0, 2, 0.2)
    assert latent_recipe.parse_recipe(TINY.split("[spectra]")[0]).spectra is None


MISTAKES = {
    "no folder": ("[spectra]\nextra = 3", "without folder", "a folder of spectra"),
    "a number for the folder": ("[spectra]\nfolder = 3", "folder = 3", "a folder of spectra"),
    "no table": ('spectra = "here"', "spectra = 'here'", "a table"),
    "unknown setting": ('[spectra]\nfolder = "x"\nlots = 0.1', "lots", "fainter, folder, held_back"),
    "more than all": ('[spectra]\nfolder = "x"\nsimulated = 1.5', "simulated = 1.5", "0.0 to 0.95"),
    "brighter": ('[spectra]\nfolder = "x"\nfainter = 0.5', "fainter = 0.5", "1.0 to 100.0"),
    "no number": ('[spectra]\nfolder = "x"\nlost = nan', "lost = nan", "0.0 to 0.8"),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistakes_are_named_with_what_was_expected(name):
    text, came, expected = MISTAKES[name]
    with pytest.raises(InputError, match=rf"{came}.*; expected .*{expected}"):
        latent_recipe.parse_recipe('kind = "latents"\npreset = "digs"\n' + text)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_folder_a_pattern_or_a_file(folder):
    (folder / ".hidden").mkdir()
    (folder / ".hidden/toy.fits").write_text("")
    assert [name for name, _ in latent_folder.files(str(folder))] == sorted(f"plate/toy-{i}.fits" for i in range(12))
    assert len(latent_folder.files(str(folder / "*/toy-1*.fits"))) == 3
    assert latent_folder.files(str(folder / "plate/toy-3.fits")) == [("toy-3.fits", folder / "plate/toy-3.fits")]


def test_what_is_left_out_is_listed_with_its_reason(folder, caplog):
    few = galaxy(20)
    few = dataclasses.replace(few, ivar=np.where(np.arange(len(few.ivar)) < 150, few.ivar, 0.0).astype(np.float32))
    unfit = {
        "nowhere": (dataclasses.replace(galaxy(21), redshift=None), "has no redshift"),
        "far": (galaxy(22, redshift=0.5), "redshift 0.5; expected 0.002 to 0.3"),
        "few": (few, "150 good pixels"),
        "faint": (galaxy(23, sn=0.7), "S/N of"),
    }
    for name, (each, _) in unfit.items():
        slipher.write_spectrum(each, folder / f"{name}.fits")
    (folder / "notes.txt").write_text("not a spectrum")
    (folder / "cut.fits").write_bytes((folder / "far.fits").read_bytes()[:5000])
    read = latent_folder.read(recipe(folder))
    assert (len(read.trained_on), len(read.held_back)) == (10, 2)
    reasons = {each["file"]: each["reason"] for each in read.left_out}
    assert set(reasons) == {*(f"{name}.fits" for name in unfit), "notes.txt", "cut.fits"}
    for name, (_, reason) in unfit.items():
        assert reason in reasons[f"{name}.fits"]
    assert "truncated or corrupt" in reasons["cut.fits"]
    assert [each.get("id") for each in read.left_out if each["file"] == "far.fits"] == ["toy-22"]
    assert "12 spectra of" in caplog.text
    assert "6 files or spectra are left out" in caplog.text


def test_a_redshift_that_the_pipeline_warns_about_is_not_learnt_from():
    with pytest.raises(InputError, match="pipeline warns"):
        prepared([dataclasses.replace(galaxy(1), flags=Flag.PIPELINE_WARNING)])


def test_without_a_usable_spectrum_nothing_is_trained(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty, which is empty; expected files of spectra"):
        latent_folder.read(recipe(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"names no file; expected files of spectra"):
        latent_folder.read(recipe(tmp_path / "*.fits"))
    slipher.write_spectrum(galaxy(1, redshift=0.5), tmp_path / "far.fits")
    with pytest.raises(
        InputError, match=r"without a usable spectrum \(the first of 1: far.fits: redshift 0.5; .*expected spectra of galaxies"
    ):
        latent_folder.read(recipe(tmp_path))


# --- components -------------------------------------------------------------------------------------------------------


def knots(n: int, height: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise with errors of their own and gaps, a feature of random strength in it; and the feature."""
    rng, size = np.random.default_rng(2), 2000
    feature = np.exp(-0.5 * ((np.arange(size) - 900) / 6.0) ** 2)
    weight = np.zeros((n, size))
    for row in weight:
        first = rng.integers(0, 500)
        row[first : first + 1400] = rng.uniform(5.0, 30.0) ** 2
    noise = rng.standard_normal((n, size)) / np.sqrt(np.maximum(weight, 1e-9))
    return np.where(weight > 0, height * rng.standard_normal((n, 1)) * feature + noise, 0.0), weight, feature


@pytest.mark.parametrize("n", [12, 200])
def test_components_are_those_of_a_planted_feature(n):
    values, weight, feature = knots(n, 0.2)
    shapes, variance = latent_folder.components(values, weight, 3)
    assert len(shapes) == 1
    unit = feature / np.sqrt(np.mean(feature**2))
    assert abs(shapes[0] @ unit) / len(unit) > 0.97
    assert np.sqrt(variance[0]) == pytest.approx(0.2 * np.sqrt(np.mean(feature**2)), rel=0.4 if n < 100 else 0.15)


def test_noise_has_no_components():
    values, weight, _ = knots(60, 0.0)
    assert len(latent_folder.components(values, weight, 6)[0]) == 0


def bump_left_over(galaxies: list[Galaxy], projection: proj.Projection) -> list[float]:
    """chi^2 a pixel of what is left over about the bump, of each galaxy."""
    out, onto = [], latent_folder._onto(projection)
    for one, left in zip(galaxies, latent_folder.left_over(galaxies, onto, recipe().physics(load_library())), strict=True):
        rest = one.seen.wave_aa / (1.0 + one.seen.redshift)
        near = (np.abs(rest - BUMP_AA) < BUMP_WIDTH_AA) & (np.asarray(left.weight) > 0)
        out.append(float(np.mean((np.asarray(left.weight) * np.asarray(left.flux) ** 2)[near])))
    return out


@pytest.mark.slow
def test_what_the_basis_lacks_is_reconstructed_after_its_extension(basis):
    """Of galaxies that the components were not learnt from: the bump is left over before, and not after."""
    settings, physics = recipe(extra=2), recipe().physics(load_library())
    learnt_from, others = prepared([bumpy(i) for i in range(24)]), prepared([galaxy(i, bump=0.3) for i in range(30, 38)])
    made, facts = latent_folder.extend(basis, Folder(learnt_from, [], []), settings, physics)
    assert facts["extra"] >= 1
    assert (made.n_continuum, made.basis.shape[1], made.basis.dtype) == (4 + facts["extra"], 7 + facts["extra"], jnp.float16)
    np.testing.assert_array_equal(made.basis[:, made.n_continuum :], basis.basis[:, 4:])
    assert facts["basis_chi2_per_pixel"]["extended"] < facts["basis_chi2_per_pixel"]["simulated"]
    before, after = (bump_left_over(others, projection) for projection in (basis, made))
    assert min(before) > 8.0
    assert np.mean(after) < 1.3


def test_few_spectra_mean_few_components(basis, caplog):
    physics, few = recipe().physics(load_library()), prepared([bumpy(i) for i in range(2)])
    made, facts = latent_folder.extend(basis, Folder(few, [], []), recipe(extra=2), physics)
    assert made is basis
    assert facts["extra"] == 0
    assert "0 components of 2: 2 spectra are enough for 0" in caplog.text


# --- two observations of one ------------------------------------------------------------------------------------------


def test_augmentation_keeps_the_noise_right():
    """About the truth chi^2 is one a pixel in both, whatever was lost and added; errors of the two do not go together."""
    rng, n = np.random.default_rng(0), 4000
    truth, ivar = 1.0 + 0.5 * np.sin(np.arange(n) / 300.0), np.where(np.arange(n) % 50 == 0, 0.0, rng.uniform(50.0, 400.0, n))
    chi2, shared, factors, lost = [], [], [], []
    for i in range(40):
        flux = np.where(ivar > 0, truth + rng.standard_normal(n) / np.sqrt(np.maximum(ivar, 1e-9)), 0.0)
        made = latent_folder.augmented(jax.random.key(i), jnp.asarray(flux, jnp.float32), jnp.asarray(ivar, jnp.float32), 0.3, 4.0)
        seen, weight = (np.asarray(x, np.float64) for x in made)
        assert not weight[:, ivar == 0].any()
        assert not seen[weight == 0].any()
        off = (seen - truth) * np.sqrt(weight)
        chi2 += [np.mean(one[w > 0] ** 2) for one, w in zip(off, weight, strict=True)]
        lost += [1.0 - np.mean(w[ivar > 0] > 0) for w in weight]
        both = (weight > 0).all(0)
        r, s = (np.sqrt(np.median((ivar / np.where(w > 0, w, np.inf))[both])) for w in weight)
        factors += [r, s]
        if (r**2 - 1) * (s**2 - 1) > 1:
            shared.append(np.mean(off[0][both] * off[1][both]))
    np.testing.assert_allclose(chi2, 1.0, atol=0.15)
    assert np.mean(chi2) == pytest.approx(1.0, abs=0.01)
    assert len(shared) > 10
    assert np.mean(shared) == pytest.approx(0.0, abs=0.01)
    assert 1.0 <= min(factors) < 1.2
    assert 3.0 < max(factors) <= 4.001
    assert 0.0 <= min(lost) < 0.05
    assert 0.15 < max(lost) <= 0.3


def test_nothing_lost_and_nothing_added_is_the_spectrum_twice():
    flux, ivar = jnp.linspace(1.0, 2.0, 512), jnp.full(512, 4.0).at[100].set(0.0)
    seen, weight = latent_folder.augmented(jax.random.key(0), flux, ivar, 0.0, 1.0)
    for one in zip(seen, weight, strict=True):
        np.testing.assert_array_equal(one, (np.where(ivar > 0, flux, 0.0), ivar))


@pytest.fixture(scope="module")
def mixture(basis) -> latent_folder.Mixture:
    """Real galaxies only: twelve, and three that are held back."""
    made, physics = recipe(simulated=0.0), recipe().physics(load_library())
    folder = Folder(prepared([galaxy(i) for i in range(12)]), prepared([galaxy(i) for i in range(40, 43)]), [])
    return latent_folder.Mixture(made, latent_recipe.simulator_of(made, physics, basis), folder, {})


def test_a_chunk_is_what_the_trainer_takes_and_follows_from_its_number(mixture):
    one, same, other = (mixture.twice(5, number, 16) for number in (0, 0, 1))
    assert set(latent_recipe.TASK.fields) <= set(one._fields)
    assert one.centre.shape == (16, 2, 7)
    for a, b, c in zip(one, same, other, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    assert np.mean(one.least / one.n_pixels) == pytest.approx(1.0, abs=0.1)
    assert not np.allclose(one.n_pixels[:, 0], one.n_pixels[:, 1])


class Simulated:
    """In the place of the simulator: chunks that can be told from real ones, and how many galaxies were asked for."""

    def __init__(self, mixture: latent_folder.Mixture):
        self.physics, self.onto, self.asked, self._some = mixture.simulator.physics, mixture.simulator.onto, [], mixture.twice(5, 9, 1)

    def twice(self, seed: int, number: int, n: int) -> latent_set.Chunk:
        self.asked.append(n)
        columns = (jnp.asarray(-np.ones((n, *column.shape[1:]), np.float32)) for column in self._some)
        return latent_set.Chunk(*columns, truth=None)


def test_simulated_galaxies_keep_their_share_in_whole_batches(mixture):
    simulator = Simulated(mixture)
    for share, asked in {0.0: [], 0.4: [32], 0.95: [64]}.items():
        simulator.asked.clear()
        mixed = mixture._replace(recipe=recipe(simulated=share), simulator=simulator).twice(5, 0, 64)
        assert simulator.asked == asked
        assert len(mixed.read) == 64
        assert np.sum(np.asarray(mixed.scale[:, 0]) < 0) == sum(asked)


def test_validation_is_of_spectra_held_back(mixture, monkeypatch):
    pools, pairs = [], latent_folder.Mixture.pairs

    def watched(self, rng, pool, *rest):
        pools.append(len(pool))
        return pairs(self, rng, pool, *rest)

    monkeypatch.setattr(latent_folder.Mixture, "pairs", watched)
    mixture.twice(5, 0, 2)
    mixture.twice(5 + 1_000_003, 0, 2)
    assert pools == [12, 3]


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def _small(basis, monkeypatch):
    """A basis that is there, few galaxies, and a small density that is hardly trained."""
    monkeypatch.setattr(latent_set, "learn_projection", lambda *_, **__: basis)
    monkeypatch.setattr(latent_density, "LAYERS", 1)
    monkeypatch.setattr(latent_density, "learn", partial(latent_density.learn, steps=5))
    for name, value in {"CHUNK": 32, "BRIGHT_CHUNKS": 1, "REMAINDER_CHUNKS": 1, "USUAL_CHUNKS": 1}.items():
        monkeypatch.setattr(latent_recipe, name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("simulated", [0.0, 0.5])
def test_a_run_ends_in_a_model_that_answers(folder, simulated, monkeypatch):
    """Real spectra only, what is usual learnt from two held back; and half of them simulated, as what is usual then is, too."""
    if not simulated:  # nothing that sees simulated galaxies has to be compiled
        monkeypatch.setattr(latent_folder, "LEAST_USUAL", 2)
        monkeypatch.setattr(false_alarms, "N_BINS", 1)
        monkeypatch.setattr(latent_recipe, "population_of", lambda *_: np.random.default_rng(0).normal(size=(32, 2)))
    (folder.parent / "mine.toml").write_text(TINY + f"simulated = {simulated}\n")
    (folder / "notes.txt").write_text("not a spectrum")
    made = models.train(folder.parent / "mine.toml", folder.parent / "run")
    card = json.loads((made / "card.json").read_text())
    told = card["spectra"]
    assert (told["trained_on"], told["held_back"], told["left_out"][0]["file"]) == (10, 2, "notes.txt")
    assert told["extra"] == card["components"]["n_continuum"] - 4 >= 1
    assert told["usual_of"] == ("simulations: 2 spectra are held back, 500 are needed" if simulated else "2 spectra held back")
    assert len(card["usual"]["log_sn"]) == (10 if simulated else 1)
    assert 0.0 < told["population_real"] <= 1.0 - simulated
    assert all(np.isfinite(list(told["chi2_per_pixel"].values())))
    answer = models.latents(galaxy(50), model=str(made))
    assert answer.latents.shape == (2,)
    assert 0.0 < answer.rates["rate"] <= 1.0
    if simulated:
        ((mock, truth),) = models.simulate(1, model=str(made), survey="sdss", redshift=0.1, median_sn=10.0)
        assert np.isfinite(mock.flux).all()
        assert "latent_1" in truth
    loaded = shipped.load(str(made)).trained.network.projection
    assert loaded.n_continuum == 4 + told["extra"]
    # The same spectra resume, others are refused.
    slipher.write_spectrum(galaxy(60), folder / "another.fits")
    with pytest.raises(InputError, match="holds a run of another configuration"):
        models.train(folder.parent / "mine.toml", folder.parent / "run")


# --- real spectra -----------------------------------------------------------------------------------------------------


def test_real_spectra_are_read_and_described(shared_data):
    """By the basis of the galaxy model that ships: eight of ten, and their residuals are about noise."""
    made = dataclasses.replace(recipe(shared_data / "sdss_spectra", held_back=0.0), population=latent_recipe.Population(sn=(2.0, 100.0)))
    folder = latent_folder.read(made)
    assert len(folder.trained_on) == 8
    reasons = {each["file"]: each["reason"] for each in folder.left_out}
    assert "redshift 2.2138" in reasons["spec-0548-51986-0020.fits"]
    assert "redshift 0.68146" in reasons["spec-10000-57346-0003.fits"]
    physics, projection = made.physics(load_library()), shipped.load("galaxy").trained.projection
    extended, facts = latent_folder.extend(projection, folder, made, physics)
    chi2 = facts["basis_chi2_per_pixel"]
    assert 0.8 < chi2["extended"] <= chi2["simulated"] < 1.2
    assert extended.n_continuum == projection.n_continuum + facts["extra"]
