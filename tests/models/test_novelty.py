"""Novelty: a score in standard deviations of clean simulations of the same weight, which nonsense raises."""

import jax.numpy as jnp
import numpy as np
import pytest
from chunks import Chunk, chunk, describe

from slipher.models import novelty, training_set
from slipher.networks.projection import Projected


def projected(chi2: float, log_weight: float, n_pixels: float = 3000.0) -> Projected:
    """A projection of which only the residuals and the weight are looked at."""
    none, zero = jnp.zeros(1), jnp.zeros(())
    return Projected(
        none, none, zero, jnp.asarray(chi2 * n_pixels), jnp.asarray(chi2), jnp.asarray(n_pixels), jnp.asarray(log_weight), zero
    )


# --- the scale --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known() -> dict:
    """Residuals whose logarithm is normal, its mean and spread growing with the weight."""
    rng = np.random.default_rng(0)
    weight = rng.uniform(4.0, 9.0, 24_000)
    return {"novelty": novelty.statistics(np.exp(rng.normal(0.1 * weight, 0.05 * weight)), weight)}


@pytest.mark.parametrize("weight", [4.5, 6.5, 8.5])
@pytest.mark.parametrize("deviation", [-1.0, 0.0, 3.0])
def test_the_score_is_in_standard_deviations_of_simulations_of_the_same_weight(known, weight, deviation):
    chi2 = np.exp(0.1 * weight + deviation * 0.05 * weight)
    assert novelty.score(projected(chi2, weight), known) == pytest.approx(deviation, abs=0.15 + 0.05 * abs(deviation))


def test_beyond_the_simulated_weights_the_nearest_are_taken(known):
    table = known["novelty"]
    for weight, at in ((-5.0, table["log_weight"][0]), (50.0, table["log_weight"][-1])):
        assert novelty.score(projected(2.0, weight), known) == pytest.approx(novelty.score(projected(2.0, at), known))


def test_larger_residuals_are_more_novel(known):
    scores = [novelty.score(projected(chi2, 6.0), known) for chi2 in (0.5, 1.0, 2.0, 4.0, 1e4)]
    assert np.all(np.diff(scores) > 0)


def test_the_number_of_pixels_does_not_matter(known):
    few, many = (novelty.score(projected(1.7, 6.0, n), known) for n in (300.0, 4000.0))
    assert few == pytest.approx(many)


def test_simulations_that_hardly_scatter_are_no_reason_for_huge_scores():
    weight = np.linspace(4.0, 9.0, 1200)
    card = {"novelty": novelty.statistics(np.ones(1200), weight)}
    assert abs(novelty.score(projected(1.02, 6.0), card)) < 3.0


def test_without_statistics_nothing_is_claimed():
    assert np.isnan(novelty.score(projected(1.0, 6.0), {}))


# --- nonsense ---------------------------------------------------------------------------------------------------------

BAND_HEADS_AA = (4954.0, 5167.0, 5448.0, 5847.0, 6158.0, 6658.0, 7053.0)


def with_a_step(flux: np.ndarray, ivar: np.ndarray, wave_aa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arms that were joined badly: 50 per cent more flux in the red."""
    return flux * np.where(wave_aa > 5500.0, 1.5, 1.0), ivar


def at_a_wrong_redshift(flux: np.ndarray, ivar: np.ndarray, wave_aa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Everything 35 pixels, some 2,400 km/s, to the red of where it is said to be."""
    return np.roll(flux, 35, -1), np.roll(ivar, 35, -1)


def with_the_bands_of_a_cool_star(flux: np.ndarray, ivar: np.ndarray, wave_aa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Titanium oxide: sharp heads that recover to the red."""
    beyond = wave_aa - np.array(BAND_HEADS_AA)[:, None]
    return flux * (1.0 - 0.4 * np.where((beyond > 0) & (beyond < 180.0), 1.0 - beyond / 180.0, 0.0).max(0)), ivar


NONSENSE = [with_a_step, at_a_wrong_redshift, with_the_bands_of_a_cool_star]
MIN_SN = 15.0


@pytest.fixture(scope="module")
def card() -> dict:
    """Statistics of clean simulations, as a recipe makes them."""
    clean = [chunk(1_000_004, i).simulated for i in range(24)]
    return {"novelty": novelty.statistics(*(np.concatenate([getattr(c, k) for c in clean]) for k in ("chi2", "log_weight")))}


@pytest.fixture(scope="module")
def fresh() -> list[Chunk]:
    """Settings that the statistics have not seen."""
    return [chunk(77, i) for i in range(12)]


def scores(simulated: training_set.Simulated, seen: training_set.Observed, card: dict) -> np.ndarray:
    """Scores of a chunk's galaxies that are bright enough for nonsense to show."""
    pairs = zip(np.asarray(simulated.chi2), np.asarray(simulated.log_weight), np.asarray(seen.sn), strict=True)
    return np.array([novelty.score(projected(c, w), card) for c, w, sn in pairs if sn > MIN_SN])


@pytest.fixture(scope="module")
def clean(fresh, card) -> np.ndarray:
    return np.concatenate([scores(c.simulated, c.seen, card) for c in fresh])


@pytest.fixture(scope="module", params=NONSENSE, ids=lambda spoil: spoil.__name__)
def spoilt(request, fresh, card) -> np.ndarray:
    """Scores of the same galaxies, spoilt."""
    found = []
    for c in fresh:
        flux, ivar = request.param(np.asarray(c.seen.flux), np.asarray(c.seen.ivar), np.asarray(c.setting.view.wave_aa))
        seen = c.seen._replace(flux=jnp.asarray(flux, jnp.float32), ivar=jnp.asarray(ivar, jnp.float32))
        found.append(scores(describe(seen, c.setting), seen, card))
    return np.concatenate(found)


def test_clean_galaxies_are_not_novel(clean):
    """Fresh settings scatter like those on the card: the median at zero, and few beyond two."""
    assert len(clean) > 50
    assert abs(np.median(clean)) < 0.5
    assert np.mean(clean > 2.0) < 0.1


def test_nonsense_makes_nearly_every_bright_galaxy_more_novel(clean, spoilt):
    """The exceptions are emitters whose lines leave large residuals anyway."""
    assert np.mean(spoilt > clean) > 0.95


def test_half_of_the_nonsense_is_more_novel_than_nearly_all_clean_galaxies(clean, spoilt):
    assert np.median(spoilt) > np.quantile(clean, 0.95)
