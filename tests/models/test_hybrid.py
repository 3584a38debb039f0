"""A hybrid model whose residual is known: what was planted comes out, and the physics is that of the galaxy without it."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import slipher
from slipher import models
from slipher.errors import InputError, ModelFileError
from slipher.models import hybrid, hybrid_learning, hybrid_recipe, observed, shipped
from slipher.models.hybrid_learning import Learnt
from slipher.networks import residual
from slipher.networks.residual import Residual

S = 1.5  # of the planted latent
LINE_AA, EW_AA = 4687.0, 4.0
RECIPE = 'kind = "hybrid"\nname = "known"\n[spectra]\nfolder = "."\n[residual]\nlatents = 1\n'


def bump(wave: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((wave - centre) / width) ** 2)


@pytest.fixture(scope="module")
def known() -> Residual:
    """A mean dip, one factor, and a line of He II in all galaxies."""
    base, wave = shipped.load("galaxy"), np.exp(residual.KNOTS)
    lines = np.asarray(base.library.line_wave_aa)
    ew = np.zeros((len(residual.faint_lines(lines)), 2))
    ew[np.argmin(np.abs(lines[residual.faint_lines(lines)] - LINE_AA)), 0] = EW_AA
    factor = np.column_stack([-0.10 * bump(wave, 4750.0, 25.0), 0.06 * bump(wave, 5500.0, 40.0)])
    return Residual(jnp.asarray(factor, jnp.float32), jnp.asarray(ew, jnp.float32))


@pytest.fixture(scope="module")
def folder(known, tmp_path_factory) -> str:
    """The model as `slipher train` leaves it."""
    out = tmp_path_factory.mktemp("hybrid")
    recipe = hybrid_recipe.parse_recipe(RECIPE)
    hybrid_learning.pack(Learnt(known, {"spectra": 0}), recipe, shipped.load("galaxy"), out, 1.0, [])
    return str(out)


@pytest.fixture(scope="module")
def clean() -> slipher.Spectrum:
    return models.simulate(1, survey="sdss", seed=8, redshift=0.08, median_sn=40.0)[0][0]


@pytest.fixture(scope="module")
def planted(clean, known) -> slipher.Spectrum:
    base = shipped.load("galaxy")
    data = observed.observe(clean, base)
    at, n = hybrid.at_pixels(known, data, base), len(clean.wave_aa)
    flux = clean.flux * (at.gain + S * at.fraction[:, 1])[:n] + data.norm * at.lines[:n, 0]
    return dataclasses.replace(clean, flux=flux.astype(np.float32))


def test_the_residual_is_found_and_the_physics_is_as_without_it(clean, planted, folder):
    without = models.fit(clean, refine=False, samples=300)
    plain, both = (models.fit(planted, model=name, refine=False, samples=300) for name in ("galaxy", folder))
    assert both.diagnostics.chi2_per_pixel < plain.diagnostics.chi2_per_pixel - 0.05
    assert both.diagnostics.chi2_per_pixel == pytest.approx(without.diagnostics.chi2_per_pixel, abs=0.05)
    s = both.derived["residual_1"]
    assert s.std() < 0.5
    assert abs(s.mean() - S) < 3.0 * s.std()
    for name in ("log_mstar_formed", "log_zstar", "a_v"):
        assert abs(both.samples[name].mean() - without.samples[name].mean()) < without.samples[name].std(), name


def test_predictions_are_of_what_was_observed(planted, folder):
    found = models.fit(planted, model=folder, refine=False, samples=100).prediction
    seen = planted.ivar > 0
    np.testing.assert_allclose(found.flux[seen], planted.flux[seen], rtol=2e-4, atol=2e-4 * np.abs(planted.flux).max())
    rest = planted.wave_aa / 1.08
    near = seen & (np.abs(rest - LINE_AA) < 4.0)
    left = (planted.flux - found.draws.mean(0))[near] * np.sqrt(planted.ivar[near])
    assert abs(left.mean()) < 2.0


def test_the_card_says_what_it_belongs_to(folder):
    card = models.card(folder)
    assert card["base_sha256"] == models.card("galaxy")["sha256"]
    assert isinstance(shipped.load(folder), shipped.ShippedHybrid)


def test_another_base_is_refused(known, tmp_path):
    recipe = hybrid_recipe.parse_recipe(RECIPE)
    hybrid_learning.pack(Learnt(known, {}), recipe, shipped.load("galaxy"), tmp_path, 1.0, [])
    card = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**card, "base_sha256": "0" * 64}))
    with pytest.raises(ModelFileError, match="learnt with another 'galaxy'"):
        shipped.load(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('kind = "hybrid"', "spectra = None"),
        ('kind = "hybrid"\nsize = 3\n[spectra]\nfolder = "x"', "'size' in a recipe"),
        ('kind = "hybrid"\nbase = 3\n[spectra]\nfolder = "x"', "base = 3"),
        ('kind = "hybrid"\n[spectra]\nfolder = "x"\n[residual]\nlatent = 3', r"\[residual\] latent"),
    ],
)
def test_bad_recipes(text, match):
    with pytest.raises(InputError, match=match):
        hybrid_recipe.parse_recipe(text)


def test_too_few_spectra(planted):
    with pytest.raises(InputError, match="at least 5"):
        hybrid_learning.learn([planted], shipped.load("galaxy"), hybrid_recipe.Sizes())


@pytest.mark.slow
def test_a_pattern_that_all_galaxies_share_is_learnt():
    """Wiggles of 6 % in twelve mocks: their mean comes out, and held-back galaxies are better explained."""

    def wiggle(rest: np.ndarray) -> np.ndarray:
        return 0.06 * np.sin(np.log(rest) / 0.008) * bump(rest, 4700.0, 300.0)

    mocks = [models.simulate(1, survey="sdss", seed=50 + i, redshift=0.04 + 0.01 * i, median_sn=30.0)[0][0] for i in range(12)]
    bent = [dataclasses.replace(m, flux=(m.flux * (1.0 + wiggle(m.wave_aa / (1.0 + m.redshift)))).astype(np.float32)) for m in mocks]
    made = hybrid_learning.learn(bent, shipped.load("galaxy"), hybrid_recipe.Sizes(latents=1, iterations=10))
    wave = np.linspace(4300.0, 5100.0, 400)
    found = made.residual.at(wave)[:, 0]
    assert np.corrcoef(found, wiggle(wave))[0, 1] > 0.9
    assert made.facts["gain_nats_held_back"] > 3.0
