"""`slipher fit CATALOGUE --bands ...`: what is declared, printed, written and refused. By an untrained network."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from slipher.cli.commands import SAMPLERS, app
from slipher.inference import methods

BANDS = "sdss2010-g=g:eg,sdss2010-r=r:er,sdss2010-z=z:ez"
N = 5


def run(*arguments):
    """The result of `slipher ARGUMENTS`, which must not be a traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def table():
    """Magnitudes with a sentinel, a redshift column with a blank, ids beyond 2^53."""
    rng = np.random.default_rng(2)
    made = Table({"name": 2**60 + np.arange(N), "zz": np.array([0.05, 0.3, 1.2, -99.0, 0.4])})
    for band, mag in (("g", 19.5), ("r", 18.9), ("z", 18.4)):
        made[band] = mag + rng.normal(0, 0.3, N)
        made["e" + band] = np.full(N, 0.03)
    made["g"][2] = -99.0
    return made


def declared(model, *more):
    return ("--bands", BANDS, "--unit", "ABmag", "--missing=-99", "--id-column", "name", "--model", model, "--samples", 20, *more)


def test_the_samplers_that_help_names_are_those_there_are():
    assert SAMPLERS == methods.METHODS


@pytest.mark.parametrize("suffix", ["csv", "fits", "ecsv", "parquet"])
def test_every_format_gives_the_same_answers(table, small_model, tmp_path, suffix):
    path = tmp_path / f"catalogue.{suffix}"
    table.write(path, format={"csv": "ascii.csv", "ecsv": "ascii.ecsv"}.get(suffix, suffix))
    result = run("fit", path, *declared(small_model, "--redshift", "zz", "--ebv", "0.02", "--json"))
    assert result.exit_code == 0
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["id"] for row in found] == [str(2**60 + i) for i in range(N)]
    assert [row["redshift"] for row in found if row["id"] != str(2**60 + 3)] == [0.05, 0.3, 1.2, 0.4]
    assert found[3]["redshift_p16"] < found[3]["redshift"] < found[3]["redshift_p84"]
    assert [row["n_bands"] for row in found] == [3, 3, 2, 3, 3]
    assert all(np.isfinite(row["log_mstar"]) for row in found)


def test_a_file_of_answers_is_written_with_draws_on_demand(table, small_model, tmp_path):
    path = tmp_path / "mine.parquet"
    table.write(path)
    result = run("fit", path, *declared(small_model, "--redshift", "zz", "--out", tmp_path / "out", "--keep-draws", "redshift,log_mstar"))
    assert result.exit_code == 0
    written = pq.read_table(tmp_path / "out" / "mine.answers.parquet")
    assert written.num_rows == N
    assert np.stack(written["log_mstar_draws"].to_numpy()).shape == (N, 20)
    assert f"{N} rows" in result.stdout


def test_lines_of_text_name_what_one_asks_first(table, small_model, tmp_path):
    path = tmp_path / "mine.csv"
    table.write(path, format="ascii.csv")
    result = run("fit", path, *declared(small_model, "--redshift", "0.2"))
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == N
    assert "log_mstar" in result.stdout
    assert "redshift 0.200" in result.stdout
    assert "EBV_ASSUMED_ZERO" in result.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    {
        "an unknown band": (lambda a: (*a[:1], "sdss2010-x=g:eg", *a[2:]), "sdss2010-"),
        "no unit": (lambda a: a[:2] + a[4:], "unit"),
        "a unit of something else": (lambda a: (*a[:3], "km", *a[4:]), "km"),
        "a column that is not there": (lambda a: (*a[:1], "sdss2010-g=gg:eg", *a[2:]), "gg"),
        "an unknown sampler": (lambda a: (*a, "--sampler", "gibbs"), "amortised"),
        "draws of what there is not": (lambda a: (*a, "--keep-draws", "mass_of_the_universe"), "mass_of_the_universe"),
    }.items(),
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_what_is_declared_wrongly_is_said_and_nothing_is_written(table, small_model, tmp_path, change, said):
    how, words = said
    path = tmp_path / "mine.csv"
    table.write(path, format="ascii.csv")
    result = run("fit", path, *how(declared(small_model)), "--out", tmp_path / "out")
    assert result.exit_code in (2, 3)
    assert words in result.output
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_catalogues_are_refused_the_options_of_spectra(table, small_model, tmp_path):
    path = tmp_path / "mine.csv"
    table.write(path, format="ascii.csv")
    result = run("fit", path, *declared(small_model, "--resolving-power", "2000"))
    assert result.exit_code == 2
    assert "--resolving-power" in result.output
