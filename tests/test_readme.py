"""What the README shows is executed, with the bundled galaxy in the place of the reader's file.

A block that is preceded by `<!-- run -->` is run: python blocks in one namespace, in console blocks the lines that
begin with `$ slipher`, all in one folder and in their order.
"""

import ast
import glob
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import slipher
from slipher import models
from slipher.cli.commands import app
from slipher.data.bundled import FILE

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BUNDLED = Path(slipher.__file__).parent / "data" / FILE
READERS_FILE = "spec-0266-51602-0107.fits"
BLOCK = re.compile(r"(?P<run><!-- run -->\n)?```(?P<language>python|console)\n(?P<text>.*?)```", re.DOTALL)


def slipher_lines(text):
    """The words of each `$ slipher` line of a console block, and the file that its stdout goes to."""
    for line in text.splitlines():
        if line.startswith("$ slipher "):
            words, _, target = line.removeprefix("$ slipher ").partition(" > ")
            yield words, target.strip()


def run_line(words, target):
    arguments = [each for word in shlex.split(words) for each in (sorted(glob.glob(word)) if "*" in word else [word])]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, f"slipher {words}: {result.stderr}{result.exception!r}"
    if target:
        Path(target).write_text(result.stdout)


@pytest.mark.slow  # several refined fits, each with every array annotation checked: minutes
@pytest.mark.skipif(not hasattr(models, "fit"), reason="this checkout has no trained model")
def test_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(BUNDLED, READERS_FILE)
    namespace = {}
    for block in BLOCK.finditer(README):
        if block["run"] and block["language"] == "python":
            exec(compile(block["text"], "README.md", "exec"), namespace)
        elif block["run"]:
            for words, target in slipher_lines(block["text"]):
                run_line(words, target)
    assert (tmp_path / "answers.jsonl").read_text().count("\n") == 2
    assert (tmp_path / "galaxy.png").is_file()
    assert (tmp_path / "answers" / "catalogue.answers.parquet").is_file()


def test_every_block_that_uses_slipher_is_run():
    assert [block["text"] for block in BLOCK.finditer(README) if not block["run"] and "slipher" in block["text"]] == []
    assert sum(bool(block["run"]) for block in BLOCK.finditer(README)) >= 4


def test_every_command_of_the_readme_parses():
    """Without fitting: commands and options exist, python blocks are python."""
    for block in BLOCK.finditer(README):
        if block["language"] == "python":
            ast.parse(block["text"])
        for words, _ in slipher_lines(block["text"]):
            command, *rest = shlex.split(words)
            options = {word.partition("=")[0] for word in rest if word.startswith("-")}
            help_text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
            assert all(option in help_text for option in options), words


def test_links_point_to_files_that_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists() or target == "benchmarks/README.md", target
