"""What `slipher.fit` answers of good and of bad spectra, by the shipped model: flags, masses, residuals. (Readers: tests/badinput.)"""

from dataclasses import replace

import numpy as np
import pytest

import slipher
from slipher.data.vacuum import vacuum_to_air
from slipher.errors import Flag, InputError
from slipher.inference import exact, population
from slipher.models import mocks, observed, shipped, spectra

MODEL_FLAGS = (
    Flag.LOW_SN | Flag.HIGH_SN | Flag.NOVEL | Flag.POOR_FIT | Flag.MASS_OUTSIDE_PRIOR | Flag.REDSHIFT_ADJUSTED | Flag.REDSHIFT_OUTSIDE_MODEL
)


@pytest.fixture(scope="module")
def galaxy():
    """A mock of S/N 10 at z = 0.1, and its truth."""
    return mocks.mock(1, shipped.load("galaxy"), survey="sdss", seed=20, redshift=0.1, median_sn=10.0)


def amortised(spectrum, **changes):
    return slipher.fit(replace(spectrum, **changes), refine=False, samples=50)


def test_a_good_spectrum_is_not_flagged_and_its_residuals_are_of_their_error(galaxy):
    found = amortised(galaxy[0])
    assert not found.flags & MODEL_FLAGS
    assert np.nanstd(found.prediction.residuals()) == pytest.approx(1.0, abs=0.05)
    assert found.provenance["slipher"] == slipher.__version__


def test_the_band_holds_what_the_error_model_leaves_open(galaxy):
    """Calibration and mismatch are drawn: the band is as wide as they are uncertain, not only as the parameters are."""
    made = shipped.load("galaxy")
    data = observed.observe(galaxy[0], made)
    target = spectra.target(data, made)
    u = spectra.warp(data, made).sample(np.random.default_rng(0), 1)[0].repeat(100, 0)
    drawn = spectra.finish(np.random.default_rng(1), u, target, data.redshift, data.norm).predicted
    inside = np.asarray(data.ivar) > 0
    errors = target.task.errors
    of_templates = np.sqrt(np.asarray(errors.vectors) ** 2 @ np.asarray(errors.share))[inside] / np.asarray(errors.inverse_sigma)[inside]
    assert np.median(drawn.std(0)[inside] / of_templates) == pytest.approx(1.0, abs=0.2)


def test_a_flux_in_another_unit_is_noticed(galaxy):
    found = amortised(galaxy[0], flux=galaxy[0].flux * np.float32(1e12), ivar=galaxy[0].ivar / np.float32(1e24))
    assert Flag.MASS_OUTSIDE_PRIOR in found.flags
    assert np.median(found.samples["log_mstar_formed"]) == pytest.approx(galaxy[1]["log_mstar_formed"] + 12, abs=0.5)


def test_negative_light_has_a_finite_small_mass_and_is_not_believed(galaxy):
    found = slipher.fit(replace(galaxy[0], flux=-galaxy[0].flux), samples=50)
    assert found.status == "amortised"
    assert Flag.POOR_FIT | Flag.NOT_REFINED | Flag.LOW_SN in found.flags
    assert np.isfinite(found.samples["log_mstar_formed"]).all()
    assert np.quantile(found.samples["log_mstar_formed"], 0.95) < galaxy[1]["log_mstar_formed"] - 2


def test_noise_alone_has_an_upper_limit(galaxy):
    spectrum, truth = galaxy
    rng = np.random.default_rng(0)
    sigma = np.where(spectrum.ivar > 0, 1 / np.sqrt(np.where(spectrum.ivar > 0, spectrum.ivar, 1)), 0)
    found = amortised(spectrum, flux=(sigma * rng.standard_normal(len(sigma))).astype(np.float32))
    assert Flag.LOW_SN in found.flags
    assert np.isfinite(found.samples["log_mstar_formed"]).all()
    assert np.quantile(found.samples["log_mstar_formed"], 0.975) < truth["log_mstar_formed"] - 1


@pytest.mark.parametrize("shift_kms", [-800.0, 400.0, 3000.0])
def test_a_redshift_that_is_off_is_moved_and_flagged(galaxy, shift_kms):
    given = 1.1 * (1 + shift_kms / 299792.458) - 1
    found = amortised(galaxy[0], redshift=given)
    assert Flag.REDSHIFT_ADJUSTED in found.flags or Flag.POOR_FIT in found.flags
    if abs(shift_kms) < 1200:
        assert (found.redshift - 0.1) * 299792.458 / 1.1 == pytest.approx(0.0, abs=40.0)
    assert found.provenance["redshift_given"] == given


def test_a_galaxy_that_comes_nearer_has_no_mass(galaxy):
    near = mocks.mock(2, shipped.load("galaxy"), survey="sdss", seed=20, redshift=0.003, median_sn=20.0)[0]
    blue = replace(near, wave_aa=near.wave_aa * (1 - 0.001) / 1.003, redshift=-0.001)
    found = amortised(blue)
    assert np.isnan(found.samples["log_mstar_formed"]).all()
    assert np.isfinite(found.derived["age_lw_gyr"]).all()
    assert Flag.MASS_OUTSIDE_PRIOR in found.flags


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"redshift": None}, "no redshift"),
        ({"redshift": 3.0}, "redshift 3; expected -0.005 to"),
        ({"redshift": -0.5}, "redshift -0.5"),
    ],
)
def test_a_redshift_that_cannot_be_used_is_refused(galaxy, changes, words):
    with pytest.raises(InputError, match=words):
        amortised(galaxy[0], **changes)


def test_wavelengths_in_nanometres_are_recognised(galaxy):
    with pytest.raises(InputError, match="unit of the wavelengths"):
        amortised(galaxy[0], wave_aa=galaxy[0].wave_aa / 10)


def test_a_constant_spectrum_is_novel(galaxy):
    found = amortised(galaxy[0], flux=np.full_like(galaxy[0].flux, 10.0))
    assert found.flags & (Flag.NOVEL | Flag.POOR_FIT)


def test_where_refinement_fails_the_networks_draws_are_returned(galaxy, monkeypatch):
    """All distinct, and spread as the network's are: not a few points of weights that failed."""

    def failed(rng, density, space, n_parameter, settings):
        u = space.from_base(rng.standard_normal((5, n_parameter)))[0]
        return population.Population(u, np.log([0.99, 0.01, 1e-9, 1e-9, 1e-9]), 1.3, 1.02, -3.0, True, 5)

    monkeypatch.setattr(population, "adapt", failed)
    found = slipher.fit(galaxy[0], samples=200)
    assert found.status == "amortised"
    assert found.diagnostics.method == "amortised"
    assert found.diagnostics.khat == 1.3
    assert found.diagnostics.log_evidence is None
    assert Flag.NOT_REFINED in found.flags
    assert len(np.unique(found.samples["log_zstar"])) > 190


def test_a_density_that_vanishes_everywhere_is_an_amortised_answer(galaxy, monkeypatch):
    monkeypatch.setattr(exact.Target, "log_posterior", lambda target, u: np.full(len(u), -np.inf))
    found = slipher.fit(galaxy[0], samples=50)
    assert found.diagnostics.method == "amortised"
    assert Flag.NOT_REFINED in found.flags


def test_air_wavelengths_taken_for_vacuum_are_suspected(galaxy):
    """At S/N 10 the shift of 83 km/s is seen beyond doubt; a redshift that is off by another amount is not taken for it."""
    spectrum = galaxy[0]
    assert Flag.AIR_SUSPECTED in amortised(spectrum, wave_aa=vacuum_to_air(spectrum.wave_aa)).flags
    assert Flag.AIR_SUSPECTED not in amortised(spectrum).flags
    assert Flag.AIR_SUSPECTED not in amortised(spectrum, redshift=1.1 * (1 + 200.0 / 299792.458) - 1).flags
