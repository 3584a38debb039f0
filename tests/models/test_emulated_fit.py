"""Spectra fitted by an emulator that a user has trained: a toy population code whose truth is known."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import toy_spectra

import slipher
from slipher import models
from slipher.errors import InputError
from slipher.models.spectra import mass_unit
from slipher.units import C_KMS

pytestmark = pytest.mark.slow  # trains an emulator, three minutes

OWN_KMS, LSF_KMS, LINE_AA = 100.0, 70.0, 5200.0
STEP = 2.3e-4
GRID = np.exp(np.arange(np.log(3300.0), np.log(7600.0), STEP))
RECIPE = f"""
name = "lines"
kind = "emulator"
table = "lines.npz"
held_back = 200
dispersion_kms = {OWN_KMS}
[parameters]
share = {{ low = 0.05, high = 0.95 }}
tau_v = {{ low = 0.0, high = 2.0 }}
slope = {{ low = -1.0, high = 0.5 }}
[components]
number = 6
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
REDSHIFT, LOG_MASS, MOCKS = 0.05, 10.3, 8


def with_line(values: np.ndarray, wave_aa: np.ndarray, sigma_kms: float) -> np.ndarray:
    """The toy's spectra with a line of 3 A equivalent width."""
    v = np.log(wave_aa / LINE_AA) * C_KMS
    profile = np.exp(-0.5 * (v / sigma_kms) ** 2) / np.sqrt(2 * np.pi) / (sigma_kms / C_KMS * LINE_AA)
    return toy_spectra.spectra(values, wave_aa) * (1 + 3.0 * profile)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("emulator")
    values = toy_spectra.draw(np.random.default_rng(3), 1500)
    np.savez(place / "lines.npz", wave_aa=GRID, spectra=with_line(values, GRID, OWN_KMS), **dict(zip(toy_spectra.BOUNDS, values.T)))
    (place / "lines.toml").write_text(RECIPE)
    return models.train(place / "lines.toml", place / "run")


def mock(number: int) -> tuple[slipher.Spectrum, dict[str, float]]:
    """A spectrum of S/N 20 with its truth: parameters, dispersion and mass."""
    rng = np.random.default_rng(number)
    values, dispersion = toy_spectra.draw(rng, 1), rng.uniform(100.0, 300.0)
    wave = np.exp(np.arange(np.log(3800.0), np.log(7500.0), STEP))
    log_unit, _ = mass_unit(REDSHIFT, 1.0)
    flux = 10 ** (LOG_MASS - log_unit) * with_line(values, wave / (1 + REDSHIFT), np.hypot(dispersion, LSF_KMS))[0]
    sigma = flux.mean() / 20.0
    spectrum = slipher.spectrum(
        wave, flux + sigma * rng.standard_normal(len(wave)), uncertainty=np.full(len(wave), sigma), redshift=REDSHIFT,
        resolving_power=C_KMS / LSF_KMS / 2.3548, wave_medium="vacuum", survey="custom", id=f"toy-{number}", ebv=0.0,
    )  # fmt: skip
    truth = dict(zip(toy_spectra.BOUNDS, values[0])) | {"log_dispersion": np.log10(dispersion), "log_mstar_formed": LOG_MASS}
    return spectrum, truth


@pytest.fixture(scope="module")
def fits(folder) -> list:
    return [(slipher.fit(spectrum, model=str(folder), samples=500), truth) for spectrum, truth in map(mock, range(MOCKS))]


def test_every_fit_is_refined_and_good(fits):
    for posterior, _ in fits:
        assert posterior.status == "refined"
        assert posterior.diagnostics.chi2_per_pixel == pytest.approx(1.0, abs=0.1)
        assert posterior.flags.names() == []


def test_truths_lie_where_posteriors_say(fits):
    """Within four standard deviations each; and of all of them, two thirds or more in the central 68 % (systematics allow for more)."""
    inside = []
    for posterior, truth in fits:
        for name, value in truth.items():
            draws = posterior.samples[name]
            assert abs(np.median(draws) - value) < 4 * draws.std(), name
            inside.append(0.16 < np.mean(draws < value) < 0.84)
    assert np.mean(inside) > 0.55


def test_the_dispersion_is_measured(fits):
    """Where it is wider than instrument and emulated spectra; below, there is only a limit."""
    wide = [posterior for posterior, truth in fits if truth["log_dispersion"] > np.log10(170.0)]
    assert len(wide) >= 3
    for posterior in wide:
        assert posterior.samples["log_dispersion"].std() < 0.12


def test_answers_are_written_and_read(fits, tmp_path):
    posterior, _ = fits[0]
    posterior.save(tmp_path / "a.nc")
    again = slipher.Posterior.load(tmp_path / "a.nc")
    np.testing.assert_array_equal(again.samples["share"], posterior.samples["share"])
    assert again.history_sfr.shape == (500, 0)
    assert set(posterior.summary()["name"]) == {*toy_spectra.BOUNDS, "log_dispersion", "log_mstar_formed", "dn4000"}
    from slipher.report.figure import save_figure

    save_figure(posterior, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_what_an_emulator_cannot_do_is_said(folder):
    spectrum, _ = mock(0)
    with pytest.raises(InputError, match="sampler 'amortised' for an emulator; expected one of refined"):
        slipher.fit(spectrum, model=str(folder), refine=False)
    with pytest.raises(InputError, match="good pixels between 3311 and 75"):
        slipher.fit(dataclasses.replace(spectrum, ivar=np.where(spectrum.wave_aa > 7490, spectrum.ivar, 0)), model=str(folder))
    with pytest.raises(InputError, match=r"calibration of .*, an emulator"):
        models.calibrate(str(folder), mocks=2)
    with pytest.raises(InputError, match="mock spectra by model"):
        models.simulate(1, model=str(folder))
