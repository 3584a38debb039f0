"""What the command prints: answers on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from slipher.inference.posterior import Posterior

Progress = Callable[[int, int, dict], None]  # steps done, steps in all, the last row of the history


def complain(message: str, *, path: object = None, id: str | None = None) -> None:
    """One line on stderr: `slipher: PATH (ID): message`."""
    message = message.removeprefix(f"{path} ")  # many messages begin with the file that they are about
    place = "" if path is None else f"{path}: " if id is None else f"{path} ({id}): "
    typer.echo(f"slipher: {place}{message}", err=True)


def one_line(error: BaseException) -> str:
    """What an error says, on one line; the type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def say_replaced(paths: list[Path], folder: Path) -> None:
    """Says on stderr how many files of an earlier run are about to be replaced."""
    number = sum(path.exists() for path in paths)
    if number:
        complain(f"{number} files of an earlier run are replaced", path=folder)


def print_json_line(posterior: Posterior) -> None:
    """One JSON object on one line, flushed: whoever reads a pipe gets each galaxy when it is done."""
    typer.echo(json.dumps(posterior.to_json_dict(), allow_nan=False))


def print_table(posterior: Posterior) -> None:
    """The table of one galaxy, as wide as the terminal allows."""
    from slipher.report.table import posterior_table

    Console(markup=False, highlight=False).print(posterior_table(posterior), end="\n\n")


def print_document(document: dict, *, indent: int | None = 2) -> None:
    """A JSON document, indented for readers or (None) on one line."""
    typer.echo(json.dumps(document, indent=indent, allow_nan=False))


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A spinner on stderr while something takes its time; nothing where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(text):
        yield


@contextmanager
def progress_bar(text: str) -> Iterator[Progress | None]:
    """A function that draws a bar on stderr when it is called; None where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as bars

    columns = ("{task.description}", bars.BarColumn(), bars.TimeRemainingColumn(), "{task.fields[row]}")
    with bars.Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task(text, total=None, row="")
        yield lambda done, total, row: bar.update(task, completed=done, total=total, row=_said(row))


def _said(row: dict) -> str:
    """The numbers of a row of training history, by name."""
    return "  ".join(f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, int | float))
