"""The generative model that ships: real and simulated spectra in, latents and false alarms out; and new galaxies from it."""

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

import slipher
from slipher import models
from slipher.cli import app
from slipher.data import read
from slipher.errors import Flag, InputError
from slipher.models import generated, latent_set, shipped


def changed(spectrum: slipher.Spectrum, **arrays: np.ndarray) -> slipher.Spectrum:
    """With other arrays, in single precision as they are held."""
    return dataclasses.replace(spectrum, **{name: np.asarray(values, np.float32) for name, values in arrays.items()})


@pytest.fixture(scope="module")
def mock() -> slipher.Spectrum:
    """A galaxy of the physical model, at S/N 25, seen by SDSS."""
    return models.simulate(1, model="galaxy", survey="sdss", seed=4, redshift=0.1, median_sn=25.0)[0][0]


@pytest.fixture(scope="module")
def usual(mock) -> models.Latents:
    return models.latents(mock)


def test_an_ordinary_galaxy_is_ordinary(usual):
    assert usual.rates["rate"] > 1e-3
    assert 0.8 < usual.chi2_per_pixel < 1.3
    assert Flag.NOVEL not in usual.flags
    assert usual.latents.shape == usual.sd.shape == usual.standard.shape
    assert np.all(np.linalg.eigvalsh(usual.covariance) > 0)
    assert np.median(usual.sd_standard) < 0.5


def test_units_and_lost_pixels_do_not_matter(mock, usual):
    brighter = changed(mock, flux=1e3 * mock.flux, ivar=mock.ivar / 1e6)
    garbage = changed(mock, flux=np.where(mock.ivar > 0, mock.flux, -50.0 * np.abs(mock.flux).max()))
    for other in (brighter, garbage):
        found = models.latents(other)
        np.testing.assert_allclose(found.latents, usual.latents, atol=0.05 * usual.sd.max())
        assert found.rates["rate"] == pytest.approx(usual.rates["rate"], rel=0.1)


def test_what_is_broken_is_found(mock):
    """A step in the calibration, a redshift that is off, and a line where no galaxy has one."""
    step = np.where(mock.wave_aa > 6100, 1.35, 1.0)
    line = 1.0 + 3.0 * np.exp(-0.5 * ((mock.wave_aa - 5000.0) / 4.0) ** 2)
    broken = {
        "step": changed(mock, flux=mock.flux * step),
        "redshift": dataclasses.replace(mock, redshift=0.16),
        "line": changed(mock, flux=mock.flux * line),
    }
    found = {name: models.latents(spectrum) for name, spectrum in broken.items()}
    for one in found.values():
        assert one.rates["rate"] < 1e-3
        assert Flag.NOVEL in one.flags
    strangest = found["line"].strange[0]
    assert strangest.sigma > 0
    assert strangest.low_aa < 5000.0 < strangest.high_aa


def test_little_coverage_is_flagged_with_wide_latents(mock, usual):
    little = changed(mock, ivar=np.where(np.abs(mock.wave_aa - 7600) < 200, mock.ivar, 0.0))
    found = models.latents(little)
    assert Flag.LITTLE_COVERAGE in found.flags
    assert np.median(found.sd_standard) > 2.0 * np.median(usual.sd_standard)


@pytest.mark.slow
def test_two_surveys_agree_on_a_galaxy():
    """The same new galaxy at two redshifts through two instruments: latents within their errors, most of the time."""
    made = shipped.load("spectrum_latents")
    off = []
    for seed in range(6):
        seen = [generated.generate(1, made, survey=s, seed=seed, redshift=z, median_sn=20.0) for s, z in (("sdss", 0.05), ("sdss", 0.2))]
        (one, truth), (two, same) = seen[0][0], seen[1][0]
        assert truth["latent_0"] == same["latent_0"]
        a, b = models.latents(one), models.latents(two)
        off.append((a.latents - b.latents) / np.hypot(a.sd, b.sd))
        assert a.rates["rate"] > 1e-4
    assert np.sqrt(np.mean(np.square(off))) < 1.6


@pytest.mark.slow
def test_simulated_galaxies_are_known_without_noise():
    """Coefficients without an instrument are what a very bright spectrum of the same galaxies is fitted by, where it has pixels."""
    made = shipped.load("spectrum_latents")
    network, recipe = made.trained.network, made.recipe
    bright = dataclasses.replace(recipe.population, sn=(2000.0, 3000.0), surveys={"desi": 1.0})
    physics = recipe.physics(made.library)
    clean = physics._replace(contents=latent_set.Contents(calibration=0.0, mismatch=0.0, sky=0.0))
    simulator = latent_set.Simulator(clean, bright, latent_set.Onto(network.projection, network.level))
    exact = np.asarray(simulator.exact(5, 0, 16))
    setting, seen, _ = simulator.once(5, 0, 16)
    np.testing.assert_allclose(exact @ np.asarray(network.level), 1.0, rtol=1e-3)
    shown = np.asarray(setting.basis) @ exact.T
    for flux, ivar, want in zip(np.asarray(seen.pixels.flux), np.asarray(seen.pixels.ivar), shown.T, strict=True):
        there = ivar > 0
        scale = np.sum(flux[there] * want[there]) / np.sum(want[there] ** 2)
        off = flux[there] / scale - want[there]
        assert np.median(np.abs(off) / np.abs(want[there])) < 0.01


def test_real_galaxies_are_answered(shared_data):
    """The ten SDSS spectra; the quasar among them has a redshift that no galaxy of the model has."""
    paths = sorted((shared_data / "sdss_spectra").glob("spec-*.fits"))
    spectra = [read(path)[0] for path in paths]
    quasars = [s for s in spectra if s.redshift > 1.0]
    assert len(spectra) - len(quasars) >= 9
    for quasar in quasars:
        with pytest.raises(InputError, match="redshift"):
            models.latents(quasar)
    answered = [models.latents(s) for s in spectra if s.redshift <= 1.0]
    assert np.median([one.chi2_per_pixel for one in answered]) < 1.6
    assert all(np.isfinite(one.latents).all() for one in answered)


def test_neighbours_are_the_nearest(usual):
    others = [dataclasses.replace(usual, id=str(i), standard=usual.standard + 0.1 * i) for i in (3, 1, 2)]
    near = models.neighbours([usual, *others], n=2)
    assert [name for name, _ in near[0]] == ["1", "2"]
    assert near[0][0][1] == pytest.approx(0.1)


def test_the_commands(tmp_path, mock):
    path = tmp_path / "galaxy.fits"
    slipher.write_spectrum(mock, path)
    runner = CliRunner()
    out = runner.invoke(app, ["outliers", str(path), "--json", "--out", str(tmp_path / "out")])
    assert out.exit_code == 0, out.output
    document = json.loads(out.stdout)
    assert document["id"] == mock.id
    assert len(document["latents"]) == len(document["latents_sd"])
    assert 0 < document["false_alarm_rate"] <= 1
    assert (tmp_path / "out" / "outliers.ecsv").is_file()
    assert list((tmp_path / "out").glob("*.outlier.png"))
    for survey, files in (("desi", {"coadd-slipher-3.fits", "redrock-slipher-3.fits"}), ("boss", None)):
        folder = tmp_path / survey
        call = ["simulate", "--model", "spectrum_latents", "--survey", survey, "-n", "2", "--seed", "3", "--out", str(folder)]
        made = runner.invoke(app, call)
        assert made.exit_code == 0, made.output
        found = [s for p in sorted(folder.glob("[cs]*.fits")) for s in read(p)]
        assert [s.survey for s in found] == [survey, survey]
        assert files is None or files <= {p.name for p in folder.iterdir()}
        assert "latent_0" in (folder / "truth.ecsv").read_text()


def test_models_of_another_kind_are_refused(mock):
    with pytest.raises(InputError, match="a generative model of spectra"):
        models.latents(mock, model="galaxy")
    with pytest.raises(InputError, match=r"expected 0\.002 to 0\.45"):
        models.simulate(1, model="spectrum_latents", redshift=2.0)
    with pytest.raises(InputError, match="expected one of sdss"):
        models.simulate(1, model="spectrum_latents", survey="rubin")
