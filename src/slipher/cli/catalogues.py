"""Catalogues of photometry on the command line: read one, answer its rows, print or write them.

Rows are answered some at a time and leave at once, so that memory does not grow with the catalogue. A file of answers appears whole or
not at all.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import typer

from slipher.cli.targets import attempt
from slipher.cli.terminal import complain, print_document, progress_bar
from slipher.data import read_catalogue
from slipher.data.photometry import Catalogue
from slipher.errors import Flag, InputError

SAMPLES = 300
SHOWN = ("redshift", "log_mstar", "log_sfr_100myr", "a_v")  # of each row, in text


def number_or_column(name: str, text: str | None) -> dict:
    """`--redshift 0.1` is a number, `--redshift zspec` the column of that name: as keywords of `read_catalogue`."""
    if text is None:
        return {}
    try:
        return {name: float(text)}
    except ValueError:
        return {f"{name}_column": text}


def answer(path: Path, declared: dict, how: dict, folder: Path | None, *, as_json: bool) -> bool:
    """Read and answer one catalogue; whether that went well. What is declared wrongly raises; a file that cannot be read is named."""
    catalogue = attempt(lambda: _read(path, declared), path=path)
    if catalogue is None:
        return False
    if suspect := int(np.sum((catalogue.flags & Flag.ABSURD_PIXELS) > 0)):
        complain(f"{suspect} rows have values that no galaxy has: declare numbers that mean no value by --missing", path=path)
    if suspect := int(np.sum((catalogue.flags & Flag.UNIT_SUSPECTED) > 0)):
        complain(f"{suspect} rows look as if --unit were another", path=path)
    return attempt(lambda: _answer(catalogue, path, how, folder, as_json), path=path) is not None


def _read(path: Path, declared: dict) -> Catalogue:
    try:
        return read_catalogue(path, **declared)
    except InputError as error:
        if isinstance(error, OSError):  # the file, not what was said of it
            raise
        complain(" ".join(str(error).split()), path=path)
        raise typer.Exit(2) from error


def _answer(catalogue: Catalogue, path: Path, how: dict, folder: Path | None, as_json: bool) -> bool:
    if how["table"] == "provabgs":
        return _as_provabgs(catalogue, path, how, folder)
    with progress_bar(f"fitting {path.name}") as progress:
        rows = _counted(_rows(catalogue, how), len(catalogue), progress)
        printed = _printed(rows, as_json, quiet=folder is not None)
        if folder is None:
            for _ in printed:
                pass
        else:
            from slipher.report.answers import write_answers

            target = folder / f"{path.stem}.answers.parquet"
            if target.exists():
                complain("is replaced", path=target)
            write_answers(printed, target, {"input": catalogue.source, "input_sha256": catalogue.checksum, **how})
            if not as_json:
                typer.echo(f"{len(catalogue)} rows in {target}")
    return True


def _as_provabgs(catalogue: Catalogue, path: Path, how: dict, folder: Path) -> bool:
    """The columns of PROVABGS' own catalogue, in FITS; rows are fitted one by one, and leave their draws alone behind."""
    from astropy.table import vstack

    from slipher import models
    from slipher.files import write_atomically
    from slipher.report.provabgs import N_SAMPLES, provabgs_table, target_ids

    samples, parts = how["samples"] or SAMPLES, []
    with progress_bar(f"fitting {path.name}") as progress:
        for i, row in enumerate(catalogue):
            found = models.fit(row, model=how["model"], samples=samples, sampler=how["sampler"], seed=how["seed"])
            part = provabgs_table([found], n_samples=min(samples, N_SAMPLES))
            part["TARGETID"] = 0
            parts.append(part)
            if progress is not None:
                progress(i + 1, len(catalogue), {})
    target = folder / f"{path.stem}.provabgs.fits"
    table = vstack(parts, metadata_conflicts="silent")
    table["TARGETID"] = target_ids(list(catalogue.id))  # of one kind for all rows
    with write_atomically(target) as temporary:
        table.write(temporary, format="fits")
    typer.echo(f"{len(catalogue)} rows in {target}")
    return True


def _rows(catalogue: Catalogue, how: dict) -> Iterator[dict]:
    from slipher import models

    samples = how["samples"] or SAMPLES
    return models.fit_rows(catalogue, model=how["model"], samples=samples, sampler=how["sampler"], seed=how["seed"], keep=how["keep"])


def _counted(parts: Iterator[dict], n: int, progress) -> Iterator[dict]:
    done = 0
    for part in parts:
        done += len(part["id"])
        if progress is not None:
            progress(done, n, {})
        yield part


def _printed(parts: Iterator[dict], as_json: bool, *, quiet: bool) -> Iterator[dict]:
    """The same parts, printed on their way: JSON lines, or short lines where nothing is written."""
    for part in parts:
        for i in range(len(part["id"])):
            if as_json:
                print_document({name: _plain(name, values[i]) for name, values in part.items()}, indent=None)
            elif not quiet:
                shown = "  ".join(f"{name} {_interval(part, name, i)}" for name in SHOWN if name in part)
                typer.echo(f"{part['id'][i]}  {shown}  {' '.join(Flag(int(part['flags'][i])).names())}".rstrip())
        yield part


def _interval(part: dict, name: str, i: int) -> str:
    value, low, high = (float(part.get(name + suffix, part[name])[i]) for suffix in ("", "_p16", "_p84"))
    return f"{value:.3f}" if low == value == high else f"{value:.3f} ({low:.3f} - {high:.3f})"


def _plain(name: str, value: object) -> object:
    if name == "flags":
        return Flag(int(value)).names()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.ndarray):
        return [float(x) if np.isfinite(x) else None for x in value]
    return None if not np.isfinite(value) else value.item()
