"""The command: arguments, streams, exit status, files. The answers are faked, except in the tests named `real`."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from astropy.table import Table
from fake_models import FakeModels
from synthetic_posterior import make_posterior
from typer.testing import CliRunner

import slipher
from slipher import models
from slipher.cli import targets, terminal
from slipher.cli.commands import app
from slipher.data.bundled import FILE, bundled_spectrum
from slipher.errors import Flag
from slipher.report.folder import distinct_names, file_name
from slipher.report.table import heading

sys.path.append(str(Path(__file__).parent / "data"))
import survey_files

BUNDLED = Path(slipher.__file__).parent / "data" / FILE
ID = "0945-52652-0470"
# What DESIGN.md promises of `fit --json`.
KEYS = ["id", "redshift", "model", "survey", "status", "samples", "ess", "khat", "rhat", "chi2_per_pixel", "novelty", "flags"]
KEYS += ["seconds", "parameters", "derived", "provenance"]


@pytest.fixture
def fake(monkeypatch):
    stand_in = FakeModels()
    for name in ("fit", "names", "card", "train", "calibrate", "simulate"):
        monkeypatch.setattr(models, name, getattr(stand_in, name), raising=False)
    return stand_in


def run(*arguments):
    """The result of `slipher ARGUMENTS`, which must not be a traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def command(*arguments, **options):
    """`slipher ARGUMENTS` in a process of its own."""
    start = [sys.executable, "-c", "from slipher.cli import main; main()"]
    return subprocess.run([*start, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)


def objects(result):
    """The JSON objects on stdout, which must hold nothing else."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def renamed(id, **changes):
    """The bundled galaxy under another id."""
    return replace(bundled_spectrum(), id=id, **changes)


# Help and wrong usage.


def test_importing_the_command_imports_nothing_heavy():
    code = "import sys, slipher.cli; print([m for m in ('jax', 'matplotlib', 'xarray') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_real_process_helps():
    answer = command("--help")
    assert answer.returncode == 0
    assert not answer.stderr
    for name in ("fit", "demo", "simulate", "train", "calibrate", "models"):
        assert name in answer.stdout


@pytest.mark.parametrize("name", ["fit", "demo", "simulate", "train", "calibrate", "models"])
def test_every_command_helps(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_version():
    assert run("--version").stdout == f"slipher {slipher.__version__}\n"


WRONG = {
    "no command": (),
    "unknown command": ("fti",),
    "no file": ("fit",),
    "unknown option": ("fit", BUNDLED, "--sampels", "3"),
    "no samples": ("fit", BUNDLED, "--samples", "0"),
    "more samples than fit into memory": ("fit", BUNDLED, "--samples", "100001"),
    "survey that nobody knows": ("fit", BUNDLED, BUNDLED, "--survey", "foo"),
    "unit of no language": ("fit", BUNDLED, BUNDLED, "--wave-unit", "foo"),
    "unit of no wavelength": ("fit", BUNDLED, BUNDLED, "--wave-unit", "km / s"),
    "empty unit": ("fit", BUNDLED, "--wave-unit", ""),
    "unit of no flux": ("fit", BUNDLED, BUNDLED, "--flux-unit", "nm"),
    "medium that is neither": ("fit", BUNDLED, BUNDLED, "--wave-medium", "foo"),
    "no resolving power": ("fit", BUNDLED, BUNDLED, "--resolving-power", "0"),
    "negative resolving power": ("fit", BUNDLED, BUNDLED, "--resolving-power", "-2000"),
    "resolving power that is nan": ("fit", BUNDLED, BUNDLED, "--resolving-power", "nan"),
    "redshift that is no number": ("fit", BUNDLED, "--redshift", "z"),
    "redshift that is nan": ("fit", BUNDLED, "--redshift", "nan"),
    "redshift in km/s": ("fit", BUNDLED, "--redshift", "1157"),
    "negative E(B-V)": ("fit", BUNDLED, "--ebv", "-0.1"),
    "one redshift for two files": ("fit", BUNDLED, BUNDLED, "--redshift", "0.1"),
    "unknown model": ("fit", BUNDLED, "--model", "galxy"),
    "folder that is a file": ("fit", BUNDLED, "--out", BUNDLED),
    "unknown model's card": ("models", "show", "galxy"),
    "simulate without a folder": ("simulate",),
    "simulate nothing": ("simulate", "-n", "0", "--out", "x"),
    "recipe that is missing": ("train", "nowhere.toml", "--out", "x"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_status_2(fake, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*WRONG[case])
    assert result.exit_code == 2
    assert result.stderr or "Usage" in result.stdout  # without any argument, the help itself is the answer
    assert not fake.calls


@pytest.mark.parametrize("case", [name for name, arguments in WRONG.items() if arguments[1:3] == (BUNDLED, BUNDLED)])
def test_wrong_usage_is_said_once_and_not_once_a_file(fake, case):
    (line,) = run(*WRONG[case]).stderr.splitlines()
    assert line.startswith("slipher: ")
    assert str(BUNDLED) not in line
    assert "expected" in line


def test_real_process_refuses_magnitudes_once():
    """In a process of its own: the tests' type checks would stop at `units.parse`, which promises no logarithms."""
    answer = command("fit", BUNDLED, BUNDLED, "--flux-unit", "mag(AB)")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert "'mag(AB)'; expected a linear unit" in answer.stderr


@pytest.mark.parametrize("content", [b"{", b"[]", b"[1]", b"null", b'"x"', b"\xff", b"{}"])
@pytest.mark.parametrize("arguments", [("fit", BUNDLED, BUNDLED, "--model"), ("models", "show")])
def test_a_damaged_card_is_one_clear_line(monkeypatch, tmp_path, arguments, content):
    monkeypatch.setattr(models, "fit", FakeModels().fit)
    (tmp_path / "m1").mkdir()
    (tmp_path / "m1" / "card.json").write_bytes(content)
    (tmp_path / "m1" / "weights.safetensors").write_bytes(b"x")
    result = run(*arguments, tmp_path / "m1")
    assert (result.exit_code, result.stdout) == (3, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"slipher: {tmp_path / 'm1'}")
    assert "expected" in line


# fit


def test_json_is_one_object_a_line_and_nothing_else(fake):
    result = run("fit", BUNDLED, "--json", "--samples", "200")
    assert result.exit_code == 0
    assert result.stderr == ""
    (answer,) = objects(result)
    assert list(answer) == KEYS
    assert (answer["id"], answer["samples"], answer["status"]) == (ID, 200, "refined")
    assert set(answer["parameters"]["a_v"]) == {"median", "p16", "p84", "unit"}
    assert answer["derived"]["flux_siii9533"]["median"] is None


def test_table_for_people(fake):
    result = run("fit", BUNDLED)
    assert result.exit_code == 0
    for text in (ID, "refined", "log_mstar", "km / s", "Pareto k 0.43", "flags:"):
        assert text in result.stdout


def test_options_arrive(fake):
    run("fit", BUNDLED, "--redshift", "0.2", "--ebv", "0.05", "--seed", "5", "--samples", "150", "--no-refine")
    ((spectrum, options),) = fake.calls
    assert (spectrum.redshift, spectrum.ebv) == (0.2, 0.05)
    assert options == {"model": None, "samples": 150, "sampler": "amortised", "seed": 5}


def test_tables_are_declared(fake, tmp_path):
    spectrum = bundled_spectrum()
    path = tmp_path / "galaxy.csv"
    columns = {"wave": spectrum.wave_aa / 10, "flux": spectrum.flux, "ivar": spectrum.ivar}
    Table(columns).write(path, format="ascii.csv")
    declared = ("--wave-unit", "nm", "--flux-unit", "1e-17 erg / (s cm2 Angstrom)", "--wave-medium", "air")
    result = run("fit", path, *declared, "--resolving-power", "2000", "--redshift", "0.004", "--json")
    assert result.exit_code == 0, result.stderr
    ((read, _),) = fake.calls
    assert read.wave_aa[0] == pytest.approx(spectrum.wave_aa[0] * 1.00028, rel=1e-5)
    assert read.lsf_kms[0] == pytest.approx(299792.458 / 2000 / 2.3548, rel=1e-4)


def test_folder_of_answers(fake, tmp_path):
    out = tmp_path / "new" / "folder"
    result = run("fit", BUNDLED, "--out", out, "--samples", "200", "--json")
    assert result.exit_code == 0
    assert sorted(os.listdir(out)) == [f"{ID}.png", f"{ID}.posterior.nc", f"{ID}.summary.ecsv"]
    assert slipher.Posterior.load(out / f"{ID}.posterior.nc").id == ID
    assert "log_mstar" in Table.read(out / f"{ID}.summary.ecsv")["name"]
    assert (out / f"{ID}.png").read_bytes().startswith(b"\x89PNG")
    assert "3 files of an earlier run are replaced" in run("fit", BUNDLED, "--out", out).stderr


def test_the_redshift_that_was_given_is_told_where_the_fit_moved_it():
    given = {"redshift_given": 0.12405}
    assert "z = 0.12315 (given 0.12405)" in heading(make_posterior(redshift=0.12315, provenance=given)).plain
    for provenance in ({}, {"redshift_given": None}, {"redshift_given": 0.12315 + 1e-5}):
        assert "given" not in heading(make_posterior(redshift=0.12315, provenance=provenance)).plain


@pytest.mark.parametrize("kinds", [("TGT", "SKY", "", "TGT"), ("TGT", "TGT", "TGT", "TGT")])
def test_fibres_without_a_target_are_counted(fake, tmp_path, kinds):
    left_out = len(kinds) - kinds.count("TGT")
    coadd = survey_files.write_coadd(tmp_path / "coadd-x.fits", ids=(7, 8, 9, 10), kinds=kinds)
    survey_files.write_redrock(tmp_path / "redrock-x.fits", ids=(7, 8, 9, 10))
    result = run("fit", coadd, "--json")
    assert (result.exit_code, len(objects(result))) == (0, kinds.count("TGT"))
    said = f"slipher: {coadd}: {left_out} fibres without a target (sky or unassigned) are left out\n"
    assert result.stderr == (said if left_out else "")


@pytest.mark.parametrize("name", ["desi.fits", "desi.ecsv"])
def test_tables_of_desi_spectra_have_no_fibres(fake, tmp_path, name):
    slipher.write_spectrum(renamed("one", survey="desi"), tmp_path / name)
    assert run("fit", tmp_path / name).stderr == ""


@pytest.fixture
def quick_folder(monkeypatch):
    """`write_answer` without netCDF and figure."""

    def write(posterior, folder, name):
        (folder / name).write_text(posterior.id)
        return [folder / name]

    monkeypatch.setattr("slipher.report.folder.write_answer", write)


def test_duplicates_are_flagged_all_and_lose_no_file(fake, quick_folder, tmp_path):
    other = slipher.write_spectrum(renamed("other"), tmp_path / "other.fits")
    result = run("fit", BUNDLED, other, BUNDLED, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0
    assert [(o["id"], "DUPLICATE_ID" in o["flags"]) for o in objects(result)] == [
        (ID, True),
        ("other", False),
        (ID, True),
    ]
    assert sorted(os.listdir(tmp_path / "out")) == [ID, f"{ID}-2", "other"]


def test_one_galaxy_that_breaks_the_fit_does_not_stop_the_others(fake, monkeypatch, tmp_path):
    works = models.fit

    def breaks(spectrum, **options):
        return 1 / 0 if spectrum.redshift == 0.3 else works(spectrum, **options)

    monkeypatch.setattr(models, "fit", breaks)
    bad = slipher.write_spectrum(renamed("bad", redshift=0.3), tmp_path / "bad.fits")
    result = run("fit", bad, BUNDLED, "--json")
    assert result.exit_code == 3
    assert [o["id"] for o in objects(result)] == [ID]
    expected = f"slipher: {bad} (bad): unexpected ZeroDivisionError: division by zero. Please report this.\n"
    assert result.stderr == expected


def test_a_full_disk_is_named_and_the_answer_is_still_printed(fake, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slipher.report.folder.write_answer", full)
    result = run("fit", BUNDLED, "--json", "--out", tmp_path)
    assert result.exit_code == 3
    assert [o["id"] for o in objects(result)] == [ID]
    assert "No space left" in result.stderr


def test_nothing_is_said_on_stderr_where_it_is_no_terminal(fake):
    assert run("fit", BUNDLED).stderr == ""


def test_waiting_is_shown_on_terminals_and_only_on_stderr(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with terminal.waiting("fitting"), terminal.progress_bar("training") as progress:
        progress(1, 2, {"loss": 3.14159})
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "loss 3.14" in streams.err


def test_results_do_not_depend_on_the_order_of_files(fake, tmp_path):
    files = [slipher.write_spectrum(renamed(f"g{k}"), tmp_path / f"{k}.fits") for k in range(3)]
    forward = objects(run("fit", *files, "--json"))
    assert objects(run("fit", *reversed(files), "--json")) == forward[::-1]


def test_flags_of_duplicates_are_added():
    one = targets.Target(Path("a"), renamed("x", flags=Flag.LOW_SN))
    flagged = targets.flag_duplicates([one, one._replace(path=Path("b")), targets.Target(Path("c"), renamed("y"))])
    both = Flag.LOW_SN | Flag.DUPLICATE_ID
    assert [target.spectrum.flags & both for target in flagged] == [both, both, Flag(0)]


@pytest.mark.parametrize(
    ("id", "name"),
    [
        (ID, ID),
        ("39633345008634465", "39633345008634465"),
        ("NGC 3073 / Mrk 131", "NGC_3073_Mrk_131"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("Größe", "Gr_e"),
        ("...", "galaxy"),
        ("a" * 500, "a" * 120),
    ],
)
def test_ids_become_file_names(id, name):
    assert file_name(id) == name


def test_no_two_galaxies_share_a_file_name():
    ids = ["a/b", "a b", "A_B", "a_b-2", "c", "c"]
    names = distinct_names(ids)
    assert len({name.lower() for name in names}) == len(ids)
    assert names[0] == "a_b"
    assert names[-2:] == ["c", "c-2"]


# The other commands.


def test_demo(fake, tmp_path):
    result = run("demo", "--out", tmp_path / "demo", "--samples", "200")
    assert result.exit_code == 0
    assert "NGC 3073" in result.stdout
    assert "log_mstar" in result.stdout
    assert (tmp_path / "demo" / "slipher-demo.png").read_bytes().startswith(b"\x89PNG")


def test_demo_writes_into_the_current_folder(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("demo", "--samples", "200").exit_code == 0
    assert os.listdir(tmp_path) == ["slipher-demo.png"]


def test_simulate_writes_spectra_that_read_back_and_their_truth(fake, tmp_path):
    result = run("simulate", "-n", "3", "--out", tmp_path, "--redshift", "0.2", "--median-sn", "9")
    assert result.exit_code == 0
    truth = Table.read(tmp_path / "truth.ecsv")
    assert truth.meta["seed"] == 0
    assert list(truth["file"]) == [f"{ID}.fits", f"{ID}-2.fits", f"{ID}-3.fits"]
    assert all(slipher.read(tmp_path / name)[0].id == id for name, id in zip(truth["file"], truth["id"]))
    assert list(truth["redshift"]) == [0.2] * 3


def test_mocks_of_two_calls_do_not_share_a_folder(fake, tmp_path):
    call = ("simulate", "-n", "2", "--seed", "1", "--median-sn", "9.3", "--out", tmp_path)
    assert run(*call).exit_code == 0
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for change in (("--seed", "2"), ("-n", "1"), ("--survey", "boss"), ("--median-sn", "9"), ("--redshift", "0.1")):
        refused = run(*call, *change)
        assert refused.exit_code == 2
        assert f"{tmp_path / 'truth.ecsv'} of another run" in refused.stderr
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
    again = run(*call)
    assert again.exit_code == 0
    assert "3 files of an earlier run are replaced" in again.stderr


def test_a_truth_that_cannot_be_read_is_not_replaced(fake, tmp_path):
    (tmp_path / "truth.ecsv").write_text("mine\n")
    assert run("simulate", "-n", "2", "--out", tmp_path).exit_code == 2
    assert (tmp_path / "truth.ecsv").read_text() == "mine\n"


def test_a_simulation_that_was_stopped_leaves_no_mocks_without_their_call(fake, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slipher.cli.mocks.write_spectrum", full)
    assert run("simulate", "-n", "2", "--out", tmp_path).exit_code == 3
    assert Table.read(tmp_path / "truth.ecsv").meta["n"] == 2


def test_train(fake, tmp_path):
    (tmp_path / "tiny.toml").write_text("")
    result = run("train", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--no-resume")
    assert result.exit_code == 0
    assert (tmp_path / "out" / "card.json").read_text() == "tiny.toml resume=False progress=None"


def test_calibrate(fake):
    (report,) = objects(run("calibrate", "galaxy", "--mocks", "20", "--no-refine", "--json"))
    assert report == {"model": "galaxy", "mocks": 20, "seed": 1, "refine": False, "known_redshift": True, "passes": True}
    assert json.loads(run("calibrate", "galaxy").stdout)["mocks"] == 1000


def test_models(fake):
    assert run("models", "list").stdout == "digs\ngalaxy\n"
    assert json.loads(run("models", "show", "digs").stdout)["name"] == "digs"
    assert "Did you mean galaxy?" in run("models", "show", "galxy").stderr


# The real thing.


@pytest.mark.skipif(not hasattr(models, "fit"), reason="this checkout has no trained model")
def test_real_process_fits_the_bundled_galaxy_and_names_what_it_cannot_read(tmp_path):
    answer = command("fit", "missing.fits", BUNDLED, "--json", "--out", "out", cwd=tmp_path)
    assert answer.returncode == 3
    assert "slipher: missing.fits: cannot be opened" in answer.stderr
    assert "Traceback" not in answer.stderr
    (galaxy,) = [json.loads(line) for line in answer.stdout.splitlines()]
    assert galaxy["id"] == ID
    assert 7.0 < galaxy["derived"]["log_mstar"]["median"] < 10.0
    assert len(os.listdir(tmp_path / "out")) == 3
