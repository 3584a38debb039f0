"""`slipher outliers`: spectra to latents, false-alarm rates and what is strange; all are read before the first is looked at."""

import json
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from slipher.cli import terminal
from slipher.cli.targets import attempt, read_targets
from slipher.files import write_atomically

TABLE = "outliers.ecsv"


def answer(files: list[Path], declared: dict, model: str, folder: Path | None, *, as_json: bool) -> bool:
    """Look at all spectra of files, print and write; whether all were answered."""
    from slipher import models

    targets, complete = read_targets(files, declared)
    found = []
    for number, target in enumerate(targets, start=1):
        with terminal.waiting(f"looking at {target.id} ({number} of {len(targets)})"):
            one = attempt(lambda: models.latents(target.spectrum, model=model), path=target.path, id=target.id)  # noqa: B023
        found.append((target, one))
    answered = [one for _, one in found if one is not None]
    alike = models.neighbours(answered)
    if as_json:
        for one, near in zip(answered, alike, strict=True):
            document = one.to_dict() | {"neighbours": [{"id": id, "distance": distance} for id, distance in near]}
            typer.echo(json.dumps(document, allow_nan=False))
    else:
        Console(markup=False, highlight=False).print(_table(answered, alike), end="\n\n")
    if folder is not None:
        _write(answered, alike, folder)
    return complete and len(answered) == len(found)


def _table(answered: list, alike: list) -> Table:
    """The most unusual first."""
    table = Table("id", "z", "S/N", "chi2/pixel", "false-alarm rate", "what is strange", "most alike", "flags", box=None)
    for one, near in sorted(zip(answered, alike, strict=True), key=lambda pair: pair[0].rates["rate"]):
        table.add_row(
            one.id, f"{one.redshift:.4f}", f"{one.median_sn:.1f}", f"{one.chi2_per_pixel:.2f}", f"{one.rates['rate']:.1e}",
            "; ".join(map(str, one.strange)), ", ".join(id for id, _ in near[:1]), " ".join(one.flags.names()),
        )  # fmt: skip
    return table


def _write(answered: list, alike: list, folder: Path) -> None:
    """A table of all, and a figure of each."""
    from astropy.table import Table as AstropyTable

    from slipher.report.folder import distinct_names
    from slipher.report.latents import save_figure

    names = distinct_names([one.id for one in answered])
    rows = [
        {
            "id": one.id, "redshift": one.redshift, "median_sn": one.median_sn, "n_pixels": one.n_pixels,
            "chi2_per_pixel": one.chi2_per_pixel, "log_density": one.log_density, "false_alarm_rate": one.rates["rate"],
            **{f"false_alarm_rate_{name}": rate for name, rate in one.rates.items() if name != "rate"},
            "strange": "; ".join(map(str, one.strange)), "neighbours": " ".join(id for id, _ in near), "flags": int(one.flags),
            "latents": one.latents, "latents_sd": one.sd,
        }
        for one, near in zip(answered, alike, strict=True)
    ]  # fmt: skip
    if rows:
        with write_atomically(folder / TABLE) as temporary:
            AstropyTable(rows, meta={"model": answered[0].model, "sha256": answered[0].checksum}).write(temporary, format="ascii.ecsv")
    for one, name in zip(answered, names, strict=True):
        save_figure(one, folder / f"{name}.outlier.png")
