"""The folder of answers that `slipher fit --out` writes: three files a galaxy, each whole or not at all.

`NAME.posterior.nc` (everything), `NAME.summary.ecsv` (the table) and `NAME.png` (the figure), where NAME is the
galaxy's id with what file names cannot hold replaced.
"""

import re
from pathlib import Path

from slipher.inference.posterior import Posterior
from slipher.report.figure import save_figure

LONGEST = 120  # characters of a name; file systems allow 255 bytes with the suffix
ENDINGS = (".posterior.nc", ".summary.ecsv", ".png")


def file_name(id: str) -> str:
    """The id as a file name: letters, digits and `._+-` stay, the rest becomes `_`; never hidden, never empty."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "_", id).lstrip(".-")
    return name[:LONGEST] or "galaxy"


def distinct_names(ids: list[str]) -> list[str]:
    """A file name for each id, no two alike even where case does not count: later ones get -2, -3 ..."""
    taken: set[str] = set()
    names = []
    for id in ids:
        stem = name = file_name(id)
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def answer_files(folder: Path, name: str) -> list[Path]:
    """The files of one galaxy."""
    return [folder / f"{name}{ending}" for ending in ENDINGS]


def write_answer(posterior: Posterior, folder: Path, name: str) -> list[Path]:
    """Write the three files of one galaxy; returns them.

    Raises
    ------
    InputError
        If there is no such folder.
    OSError
        If the disk does not take them.
    """
    everything, summary, figure = answer_files(folder, name)
    posterior.save(everything)
    posterior.write_summary(summary)
    save_figure(posterior, figure)
    return [everything, summary, figure]
