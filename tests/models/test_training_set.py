"""Fresh simulations: decided by (seed, chunk) alone, finite, without information where nothing was recorded, and of one scale."""

import jax.numpy as jnp
import numpy as np
import pytest
from chunks import N_GALAXY, Chunk, chunk
from scipy import stats

from slipher.grids import stars
from slipher.instrument import surveys
from slipher.models import recipe, shipped, training_set
from slipher.networks import posterior_flow, projection
from slipher.units import C_KMS

SEEN = 8  # settings that are looked into


@pytest.fixture(scope="module", params=range(SEEN))
def one(request) -> Chunk:
    return chunk(11, request.param)


def test_everything_is_finite(one):
    for name, values in one.simulated._asdict().items():
        assert np.all(np.isfinite(values)), name
    for name in ("flux", "ivar", "u"):
        assert np.all(np.isfinite(getattr(one.seen, name))), name


def test_pixels_outside_the_survey_have_no_weight(one):
    wave_obs = np.asarray(one.setting.view.wave_aa) * (1.0 + np.asarray(one.seen.redshift)[:, None])
    inside = (wave_obs > float(one.setting.low_aa)) & (wave_obs < float(one.setting.high_aa))
    ivar = np.asarray(one.seen.ivar)
    assert not np.any(ivar[~inside])
    assert np.all(np.sum(ivar > 0, 1) > 0.7 * np.sum(inside, 1))  # a long gap and both ends may be lost
    assert np.sum(ivar > 0) < np.sum(inside)  # but something always is


def test_where_there_is_no_weight_there_is_no_flux(one):
    flux, ivar = np.asarray(one.seen.flux), np.asarray(one.seen.ivar)
    np.testing.assert_array_equal(flux[ivar == 0], 0.0)
    assert np.all(ivar >= 0)


def test_redshifts_lie_in_the_setting_and_are_what_the_network_is_told(one):
    redshift = np.asarray(one.seen.redshift)
    off = np.abs(redshift - float(one.setting.redshift))
    assert np.all(off <= training_set.REDSHIFT_HALF_WIDTH + 1e-6)
    assert np.all(redshift >= 0.001)
    at = -(4 + len(training_set.LSF_ANCHORS_AA))
    np.testing.assert_allclose(np.asarray(one.simulated.features)[:, at], redshift, rtol=1e-6)
    np.testing.assert_array_equal(one.simulated.redshift, redshift)


def test_noise_is_as_the_stated_signal_to_noise(one):
    """Of the data themselves: the mean of flux over its error, to what noise and error model leave of it."""
    low, high = shipped.load("galaxy").recipe.population.sn
    sn = np.asarray(one.seen.sn)
    assert np.all((sn >= low * 0.999) & (sn <= high * 1.001))
    flux, ivar = np.asarray(one.seen.flux, np.float64), np.asarray(one.seen.ivar, np.float64)
    n = np.sum(ivar > 0, 1)
    measured = np.sum(flux * np.sqrt(ivar), 1) / n
    lines = np.sum(np.clip(flux, 0, None) * np.sqrt(ivar), 1) / n  # the stated one is of the continuum
    assert np.all(measured > 0.8 * sn - 0.3)
    assert np.all(np.median(lines / sn) < 1.5)


def test_masses_are_what_turns_the_flux_into_a_mean_of_one(one):
    wave = one.setting.view.wave_aa
    for i in range(3):
        norm = projection.norm_of(one.seen.flux[i], one.seen.ivar[i], wave)
        assert float(one.simulated.log_mass[i]) == pytest.approx(-np.log10(float(norm)), abs=1e-5)


def test_good_models_leave_a_chi2_of_about_one_behind(one):
    """Where noise is large beside the working floor."""
    faint = np.asarray(one.seen.sn) < 8.0
    chi2 = np.asarray(one.simulated.chi2)[faint]
    assert 0.9 < np.median(chi2) < 1.1


# --- decided by seed and number ---------------------------------------------------------------------------------------


def test_the_same_seed_and_number_give_the_same_galaxies():
    first = chunk(11, 3)
    again = chunk.__wrapped__(11, 3)
    for a, b in zip(first.simulated, again.simulated, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("other", [(11, 4), (12, 3)])
def test_another_seed_or_number_gives_other_galaxies(other):
    a, b = chunk(11, 3).simulated, chunk(*other).simulated
    assert not np.any(np.asarray(a.u) == np.asarray(b.u))
    assert float(chunk(11, 3).setting.redshift) != float(chunk(*other).setting.redshift)


def test_galaxies_of_a_chunk_differ():
    u = np.asarray(chunk(11, 3).simulated.u)
    assert len(np.unique(u[:, 0])) == len(u)


def test_truths_follow_the_prior():
    """u ~ N(0, 1), all parameters of all galaxies together and their correlations."""
    u = np.concatenate([np.asarray(chunk(11, i).simulated.u) for i in range(SEEN)])
    assert stats.kstest(u.ravel(), "norm").pvalue > 0.01
    correlation = np.corrcoef(u.T)[np.triu_indices(u.shape[1], 1)]
    assert np.abs(correlation).max() < 5.0 / np.sqrt(len(u))


# --- the scale of features --------------------------------------------------------------------------------------------

N_VALIDATION, N_NEW = 24, 12


@pytest.fixture(scope="module")
def scaled() -> np.ndarray:
    """Features of new settings in the scale that training takes from its validation settings: [galaxy, feature]."""
    validation = [chunk(1_000_004, i).simulated for i in range(N_VALIDATION)]
    features, log_mass = (jnp.concatenate([getattr(c, k) for c in validation]) for k in ("features", "log_mass"))
    network = posterior_flow.standardise(shipped.load("galaxy").trained.network, features, log_mass)
    new = np.concatenate([np.asarray(chunk(77, i).simulated.features) for i in range(N_NEW)])
    return (new - np.asarray(network.shift)) / np.asarray(network.scale)


def test_the_schedule_validates_on_as_many_settings():
    assert recipe.parse_recipe('preset = "galaxy"').schedule.validation_chunks >= N_VALIDATION


def test_no_feature_is_far_outside_the_scale_of_the_validation_set(scaled):
    """But strengths of lines, whose tails are long; the reddest are seen in the nearest galaxies alone: few settings set their scale."""
    made = shipped.load("galaxy").trained.projection
    n = len(made.mean)
    number = np.arange(scaled.shape[1])
    of_lines = ((number >= made.n_continuum) & (number < n)) | ((number >= n + made.n_continuum) & (number < 2 * n))
    assert np.abs(scaled[:, ~of_lines]).max() <= posterior_flow.FEATURE_LIMIT
    assert np.mean(np.abs(scaled[:, of_lines]) > posterior_flow.FEATURE_LIMIT) < 0.005


def test_every_feature_says_something(scaled):
    """None is constant over settings, none is hidden by another's scale."""
    assert scaled.std(0).min() > 0.05


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings() -> list[training_set.Setting]:
    """Many settings, without the views that take their time."""
    made = shipped.load("galaxy")
    basis = jnp.zeros((stars.N_WAVE, 1), jnp.float16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_set.spectrograph, "view", lambda wave, *_, **__: wave)
        return [
            training_set.draw_setting(np.random.default_rng([7, i]), training_set.Population(), made.library, basis) for i in range(400)
        ]


def test_surveys_have_their_shares(settings):
    shares = training_set.Population().surveys
    ranges = {surveys.SURVEYS[name].wave_range_aa: share for name, share in shares.items()}
    drawn = [next(r for r in ranges if np.isclose(r[0], float(s.low_aa))) for s in settings]
    counts = [drawn.count(r) for r in ranges]
    assert stats.chisquare(counts, 400 * np.array(list(ranges.values()))).pvalue > 0.01


def test_redshifts_are_half_uniform_and_half_log_uniform(settings):
    low, high = training_set.Population().redshift
    redshift = np.array([float(s.redshift) for s in settings])

    def cdf(z: np.ndarray) -> np.ndarray:
        return 0.5 * (z - low) / (high - low) + 0.5 * np.log(z / low) / np.log(high / low)

    assert stats.kstest(redshift, cdf).pvalue > 0.01


def test_pixels_cover_what_the_survey_sees_of_the_slice(settings):
    """From the blue end at the highest redshift of the slice; BOSS fits, and so does everything narrower."""
    for setting in settings:
        wave, z = setting.view, float(setting.redshift)
        assert wave[0] <= max(float(setting.low_aa) / (1 + z + training_set.REDSHIFT_HALF_WIDTH), stars.wave_grid()[0])
        red = float(setting.high_aa) / (1 + max(z - training_set.REDSHIFT_HALF_WIDTH, 0.001))
        assert wave[-1] >= min(red, stars.wave_grid()[-training_set.STRIDE])


@pytest.mark.parametrize("low_aa", [1000.0, 2469.3, 3580.0, 3800.0, 1e5])
def test_a_stretch_stays_on_the_grid(low_aa):
    index = np.searchsorted(stars.wave_grid(), training_set.stretch(low_aa))
    np.testing.assert_array_equal(stars.wave_grid()[index], training_set.stretch(low_aa))
    np.testing.assert_array_equal(np.diff(index), training_set.STRIDE)


def test_the_nearest_points_are_the_nearest():
    wave = np.linspace(3750.0, 9500.0, 138)
    distance = np.abs(np.log(stars.wave_grid()) - np.log(wave)[:, None])
    np.testing.assert_array_equal(training_set.nearest(wave), stars.wave_grid()[distance.argmin(1)])


def test_where_pixels_lie_is_chance(settings):
    """Under a line of fixed wavelength, over settings: uniform in a pixel's width."""
    step = training_set.STRIDE * stars.LOG_WAVE_STEP
    phase = [(np.log10(s.view[0]) - stars.LOG_WAVE_START) / step % 1.0 for s in settings]
    assert stats.kstest(phase, "uniform").pvalue > 0.01


@pytest.mark.parametrize("name", ["sdss", "boss", "desi"])
def test_pixels_are_as_wide_as_the_surveys(name):
    """Lines are averaged over them: wider ones would pass for hotter gas."""
    made, survey, redshift = shipped.load("galaxy"), surveys.survey(name), 0.2
    rng = np.random.default_rng(0)
    made = training_set.setting_of(rng, survey, redshift, training_set.Population(), made.library, made.trained.projection.basis)
    native = survey.wavelengths()
    expected = np.interp(np.asarray(made.view.wave_aa) * (1 + redshift), native, np.gradient(np.log(native)) * C_KMS)
    np.testing.assert_allclose(made.view.width_kms[500:-500], expected[500:-500], rtol=2e-3)


@pytest.mark.slow
def test_a_chunk_compiled_as_one_is_its_two_steps():
    """The tests above take it apart."""
    made = shipped.load("galaxy")
    parts = (made.recipe.preset, made.recipe.population, made.recipe.systematics, made.library, made.trained.projection)
    whole, expected = training_set.simulator(*parts)(11, 3, N_GALAXY), chunk(11, 3).simulated
    np.testing.assert_array_equal(whole.u, expected.u)
    for name in ("log_mass", "chi2", "log_weight", "redshift", "sn"):
        np.testing.assert_allclose(getattr(whole, name), getattr(expected, name), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(whole.features, expected.features, atol=0.02)
