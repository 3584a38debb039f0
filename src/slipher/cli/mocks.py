"""What `slipher simulate` writes: mock spectra and the truth.ecsv that says how they were called for."""

from pathlib import Path

from slipher.cli.terminal import say_replaced
from slipher.data import Spectrum, survey_files, write_spectrum
from slipher.errors import InputError
from slipher.files import write_atomically

TRUTH = "truth.ecsv"


def refuse_other(folder: Path, call: dict) -> None:
    """Mocks of two calls in one folder would lie beside the truth of one."""
    from astropy.table import Table  # takes a while to import

    truth = folder / TRUTH
    if not truth.exists():
        return
    try:
        found = Table.read(truth, format="ascii.ecsv").meta
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{truth}, which cannot be read", expected="a folder without mocks", mend="Choose another --out.") from error
    other = [f"{name} {found.get(name)}" for name, value in call.items() if found.get(name) != value]
    if other:
        mend = "Choose another --out, or delete those mocks."
        raise InputError(f"{truth} of another run ({', '.join(other)})", expected="a folder without mocks", mend=mend)


def write(mocks: list[tuple[Spectrum, dict]], folder: Path, call: dict, *, own: bool) -> None:
    """Write spectra with their truth: in the survey's own files, or (not `own`) each as a FITS table that slipher reads."""
    from astropy.table import Table

    from slipher.report.folder import distinct_names

    spectra, name = [spectrum for spectrum, _ in mocks], f"slipher-{call['seed']}"
    files = survey_files.names(spectra, name) if own else [f"{each}.fits" for each in distinct_names([s.id for s in spectra])]
    say_replaced([folder / file for file in (*dict.fromkeys(files), TRUTH)], folder)
    rows = [{"file": file, "id": spectrum.id, **truth} for file, (spectrum, truth) in zip(files, mocks)]
    with write_atomically(folder / TRUTH) as temporary:  # first, so that a run that is stopped leaves no mocks without their call
        Table(rows, meta=call).write(temporary, format="ascii.ecsv")
    if own:
        survey_files.write(spectra, folder, name, simulated=True)
        return
    for file, spectrum in zip(files, spectra):
        write_spectrum(spectrum, folder / file)
