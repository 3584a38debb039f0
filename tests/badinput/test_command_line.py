"""Bad spectra at the command line, always between two good ones: named on stderr or flagged, never a traceback.

The answers are faked (`fake_models`): what is tested is what happens to the files. `CASES` has one line for each way in
which a file can be bad: how to write it, and the words that stderr must have, or the flag that the answer must carry.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import survey_files as survey
from astropy.io import fits
from astropy.table import Table
from fake_models import FakeModels
from typer.testing import CliRunner

from slipher import models
from slipher.cli.commands import app
from slipher.data import write_spectrum
from slipher.data.bundled import bundled_spectrum
from slipher.errors import Flag

GOOD = "0945-52652-0470"


@pytest.fixture
def fake(monkeypatch):
    stand_in = FakeModels()
    for name in ("fit", "card"):
        monkeypatch.setattr(models, name, getattr(stand_in, name), raising=False)


def run(*arguments):
    result = CliRunner().invoke(app, ["fit", "--json", "--samples", "50", *map(str, arguments)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert "Traceback" not in result.stderr
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def spec(**changes):
    """A writer of an SDSS file with these changes (see `survey_files.write_spec`)."""
    return lambda path: survey.write_spec(path, **changes)


def pixels(**values):
    """A writer of an SDSS file in which the given pixels of `flux` or `ivar` have the given values."""

    def write(path):
        columns = dict(zip(("flux", "ivar"), survey.flux_and_ivar(survey.N_PIXEL)))
        for name, changes in values.items():
            for pixel, value in changes.items():
                columns[name][pixel] = value
        return survey.write_spec(path, coadd=columns)

    return write


def cut(fraction):
    """A writer of a file that stops early."""

    def write(path):
        whole = survey.write_spec(path).read_bytes()
        path.write_bytes(whole[: int(len(whole) * fraction)])

    return write


def content(data):
    return lambda path: path.write_bytes(data)


def table(*, unit="Angstrom", flux_unit="1e-17 erg / (s cm2 Angstrom)", rows=None, redshift=0.1, **changes):
    """A writer of an ECSV table; `changes` replace or, if None, remove columns."""

    def write(path):
        wave = 10 ** survey.loglam()
        flux, ivar = survey.flux_and_ivar(survey.N_PIXEL)
        columns = {"wavelength": wave, "flux": flux, "error": ivar**-0.5} | changes
        made = Table({name: values for name, values in columns.items() if values is not None})[:rows]
        for name, each in (("wavelength", unit), ("flux", flux_unit)):
            if name in made.colnames:
                made[name].unit = each
        made.meta = {"redshift": redshift, "resolving_power": 2000.0, "id": "bad"}
        made.write(path, format="ascii.ecsv")

    return write


def own(**changes):
    """A writer of the bundled galaxy with these changes."""
    return lambda path: write_spectrum(replace(bundled_spectrum(), id="bad", **changes), path)


def flip(path):
    whole = bytearray(write_spectrum(bundled_spectrum(), path).read_bytes())
    whole[len(whole) // 2] ^= 0x15
    path.write_bytes(bytes(whole))


def image(path):
    fits.PrimaryHDU(np.ones((3, 3))).writeto(path)


def coadd_of_sky(path):
    survey.write_coadd(path, ids=(1, 2), kinds=("SKY", "SKY"))


def big_endian(path):
    flux, ivar = survey.flux_and_ivar(survey.N_PIXEL)
    columns = {"wavelength": 10 ** survey.loglam(), "flux": flux, "error": ivar**-0.5}
    columns = {name: values.astype(values.dtype.newbyteorder(">")) for name, values in columns.items()}
    hdu = fits.BinTableHDU(Table(columns))
    hdu.columns["wavelength"].unit, hdu.columns["flux"].unit = "Angstrom", "10**-17 erg/(s cm2 Angstrom)"
    hdu.header.update({"REDSHIFT": 0.1, "SPECRP": 2000.0})
    hdu.writeto(path)


WAVE = 10 ** survey.loglam()
REFUSED = {
    "missing": (lambda path: None, "cannot be opened"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (content(b""), "is empty"),
    "not a FITS: text": (content(b"Not Found\n"), "bad.fits"),
    "not a FITS: zeros": (content(bytes(5760)), "bad.fits"),
    "truncated": (cut(0.6), "truncated or corrupt"),
    "cut in the header": (cut(0.02), "truncated or corrupt"),
    "corrupt": (flip, "truncated or corrupt"),
    "image": (image, "expected SDSS"),
    "missing HDU": (spec(leave_out=("COADD",)), "HDU"),
    "missing column": (spec(coadd={"ivar": None}), "no column ivar"),
    "no rows": (table(rows=0), "no rows"),
    "everything masked": (spec(coadd={"ivar": np.zeros(survey.N_PIXEL, np.float32)}), "every pixel masked"),
    "negative ivar everywhere": (spec(coadd={"ivar": -np.ones(survey.N_PIXEL, np.float32)}), "every pixel masked"),
    "NaN everywhere": (spec(coadd={"flux": np.full(survey.N_PIXEL, np.nan, np.float32)}), "every pixel masked"),
    "NaN wavelengths": (spec(coadd={"loglam": np.full(survey.N_PIXEL, np.nan, np.float32)}), "NaN"),
    "no errors": (table(error=None), "neither ivar nor uncertainty"),
    "wrong unit": (table(flux_unit="km / s"), "flux in km / s"),
    "missing unit": (table(unit=None), "unit"),
    "nm without a unit": (table(unit=None, wavelength=WAVE / 10), "unit"),
    "wavelength twice": (table(wavelength=np.repeat(WAVE[:600], 2)), "more than once"),
    "redshift missing": (own(redshift=None), "redshift None"),
    "redshift negative": (table(redshift=-0.5), "redshift -0.5"),
    "redshift NaN": (table(redshift=np.nan), "redshift None"),
    "redshift of a failed pipeline": (spec(obj={"Z": np.nan}), "redshift None"),
    "redshift beyond the model": (own(redshift=3.0), "redshift 3.0"),
    "only sky fibres": (coadd_of_sky, "no target"),
}
FLAGGED = {
    "NaN pixel": (pixels(flux={7: np.nan}), Flag.NON_FINITE_PIXELS),
    "infinite ivar": (pixels(ivar={7: np.inf}), Flag.NON_FINITE_PIXELS),
    "negative ivar": (pixels(ivar={7: -1.0}), Flag.NEGATIVE_IVAR),
    "zero ivar": (pixels(ivar=dict.fromkeys(range(1100), 0.0)), Flag.LITTLE_COVERAGE),
    "negative flux": (spec(coadd={"flux": np.full(survey.N_PIXEL, -3.0, np.float32)}), Flag.NEGATIVE_FLUX),
    "reversed": (spec(coadd={"loglam": survey.loglam()[::-1].astype(np.float32)}), Flag.WAVELENGTHS_REORDERED),
    "unsorted": (table(wavelength=np.roll(WAVE, 7)), Flag.WAVELENGTHS_REORDERED),
    "star": (spec(obj={"CLASS": "STAR"}), Flag.NOT_A_GALAXY),
    "quasar": (spec(obj={"CLASS": "QSO"}), Flag.NOT_A_GALAXY),
    "redshift in doubt": (spec(obj={"ZWARNING": 4}), Flag.PIPELINE_WARNING),
    "no resolution": (spec(coadd={"wdisp": None}), Flag.RESOLUTION_ASSUMED),
}


@pytest.fixture
def between(tmp_path):
    """Two good files and the place between them for a bad one."""
    first, last = tmp_path / "first.fits", tmp_path / "last.fits"
    write_spectrum(bundled_spectrum(), first)
    write_spectrum(replace(bundled_spectrum(), id="last"), last)
    return first, tmp_path / "bad.fits", last


@pytest.mark.parametrize("case", REFUSED)
def test_refused_and_named_while_the_good_are_answered(fake, between, case):
    write, words = REFUSED[case]
    path = between[1].with_suffix(".ecsv") if "table" in write.__qualname__ else between[1]
    write(path)
    status, answers, said = run(between[0], path, between[2])
    assert status == 3
    assert [answer["id"] for answer in answers] == [GOOD, "last"]
    (line,) = said.splitlines()
    assert line.startswith(f"slipher: {path}")
    assert words in line
    assert "expected" in line


@pytest.mark.parametrize("case", FLAGGED)
def test_answered_and_flagged(fake, between, case):
    write, flag = FLAGGED[case]
    path = between[1].with_suffix(".ecsv") if "table" in write.__qualname__ else between[1]
    write(path)
    status, answers, said = run(between[0], path, between[2])
    assert (status, said) == (0, "")
    assert len(answers) == 3
    assert flag.name in answers[1]["flags"]
    assert flag.name not in answers[0]["flags"]


def test_big_endian_tables_are_answered(fake, between):
    big_endian(between[1])
    status, answers, said = run(between[1])
    assert (status, len(answers), said) == (0, 1, "")


def test_ids_beyond_the_integers_of_float64_stay_what_they_are(fake, tmp_path):
    coadd = survey.write_coadd(tmp_path / "coadd-x.fits")
    survey.write_redrock(tmp_path / "redrock-x.fits")
    status, answers, _ = run(coadd)
    ids = [answer["id"] for answer in answers]
    assert status == 0
    assert ids == [str(survey.TARGETID), str(survey.TARGETID + 1)]


def test_every_target_without_a_redshift_is_named(fake, tmp_path):
    coadd = survey.write_coadd(tmp_path / "coadd-x.fits")
    status, answers, said = run(coadd)  # no redrock file: no redshift at all
    assert (status, answers) == (3, [])
    for target in (survey.TARGETID, survey.TARGETID + 1):
        assert sum(f"({target})" in line for line in said.splitlines()) == 1


def test_one_redshift_for_many_targets_is_refused(fake, tmp_path):
    status, answers, said = run(survey.write_coadd(tmp_path / "coadd-x.fits"), "--redshift", "0.1")
    assert (status, answers) == (3, [])
    assert "one redshift" in said


def test_declarations_for_a_survey_that_makes_its_own_are_refused(fake, between):
    status, answers, said = run(survey.write_spec(between[1]), "--resolving-power", "2000")
    assert (status, answers) == (3, [])
    assert "resolving_power" in said


def test_a_folder_that_cannot_be_made_is_wrong_before_anything_is_fitted(fake, between, tmp_path):
    status, answers, said = run(between[0], "--out", between[0] / "below")
    assert (status, answers) == (3, [])
    assert said.startswith("slipher: ")


def test_every_real_spectrum_is_answered_or_named(fake, shared_data, tmp_path):
    files = sorted((shared_data / "sdss_spectra").glob("*.fits"))
    damaged = tmp_path / "damaged.fits"
    shutil.copy(files[0], damaged)
    with damaged.open("r+b") as file:
        file.truncate(100_000)
    status, answers, said = run(*files, damaged)
    assert status == 3
    assert len(answers) + len(said.splitlines()) == len(files) + 1
    assert str(damaged) in said
    assert len({answer["id"] for answer in answers}) == len(answers)
    assert Path(files[0]).stem.removeprefix("spec-") in {answer["id"] for answer in answers}
