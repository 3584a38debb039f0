"""Many files, many galaxies: read all that can be read, answer each on its own, and lose none in silence.

All spectra of a run are read before the first is fitted, so that unreadable files are named at once and every object
with a duplicate id is flagged, whatever the order. Thousands of galaxies are work for a catalogue, not for one command.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from astropy.io import fits

from slipher.cli.terminal import complain, one_line, waiting
from slipher.data import Spectrum, read
from slipher.errors import Flag, SlipherError
from slipher.inference.posterior import Posterior

Result = TypeVar("Result")


class Target(NamedTuple):
    """A galaxy that is to be fitted, and the file that it came from."""

    path: Path
    spectrum: Spectrum

    @property
    def id(self) -> str:
        """What the survey calls it."""
        return self.spectrum.id


def read_targets(files: Sequence[Path], options: dict) -> tuple[list[Target], bool]:
    """Every galaxy in the files, duplicates flagged, and whether all files could be read; `options` as in `read`."""
    by_file = [(path, attempt(lambda path=path: _read(path, options), path=path)) for path in files]
    targets = [Target(path, spectrum) for path, spectra in by_file for spectrum in spectra or ()]
    return flag_duplicates(targets), all(spectra is not None for _, spectra in by_file)


def _read(path: Path, options: dict) -> list[Spectrum]:
    spectra = read(path, **options)
    if left_out := _fibres_left_out(path, spectra):
        complain(f"{left_out} fibres without a target (sky or unassigned) are left out", path=path)
    return spectra


def _fibres_left_out(path: Path, spectra: list[Spectrum]) -> int:
    """Rows of a DESI coadd that are no galaxies: the reader counts them, but `read` returns spectra alone."""
    if spectra[0].survey != "desi":
        return 0
    try:
        return int(fits.getval(path, "NAXIS2", "FIBERMAP")) - len(spectra)
    except (OSError, KeyError):  # a table of a DESI spectrum
        return 0


def flag_duplicates(targets: list[Target]) -> list[Target]:
    """The same targets; all that share an id carry DUPLICATE_ID."""
    count = Counter(target.id for target in targets)
    return [_flagged(target, Flag.DUPLICATE_ID) if count[target.id] > 1 else target for target in targets]


def _flagged(target: Target, flag: Flag) -> Target:
    return target._replace(spectrum=replace(target.spectrum, flags=target.spectrum.flags | flag))


def answers(targets: list[Target], fit: Callable[[Spectrum], Posterior]) -> Iterator[Posterior | None]:
    """The posterior of each target, in order; None for one that cannot be fitted, which is named on stderr."""
    for number, target in enumerate(targets, start=1):
        with waiting(f"fitting {target.id} ({number} of {len(targets)})"):
            posterior = attempt(lambda: fit(target.spectrum), path=target.path, id=target.id)  # noqa: B023 (called here)
        yield posterior


def attempt(action: Callable[[], Result], *, path: Path, id: str | None = None) -> Result | None:
    """What `action` returns, or None where it fails, which is said on stderr: one galaxy must not stop the others."""
    try:
        return action()
    except (SlipherError, OSError) as error:
        complain(one_line(error), path=path, id=id)
    except Exception as error:
        complain(f"unexpected {type(error).__name__}: {one_line(error)}. Please report this.", path=path, id=id)
    return None
