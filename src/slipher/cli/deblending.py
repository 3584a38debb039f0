"""`slipher deblend`: an image to a catalogue of its sources, the images of model and residual, and a figure.

Where filters are declared, each source's fluxes are fitted as photometry is: columns of the catalogue, and a folder of posteriors.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from slipher.cli import terminal
from slipher.cli.targets import attempt
from slipher.errors import Flag, InputError
from slipher.files import write_atomically

CATALOGUE, FIGURE, POPULATIONS = "catalogue.ecsv", "scene.png", "populations"
SCORES, SOURCES = "hallucination.fits", "sources.png"


def show(found) -> None:
    """Print the catalogue."""
    bands, fluxes = found.blend.bands, [f"flux_{band}" for band in found.blend.bands]
    table = Table("id", "x", "y", *(f"flux {band}" for band in bands), "radius", "chi2/pixel", "flags", box=None)
    for row in found.table:
        numbers = [f"{row[name]:.2f}" for name in ("x", "y")]
        values = [f"{row[name]:.4g} ± {row[name + '_err']:.2g}" for name in fluxes]
        flags = " ".join(Flag(int(row["flags"])).names())
        table.add_row(str(row["id"]), *numbers, *values, f"{row['half_light_radius']:.2f}", f"{row['chi2_per_pixel']:.2f}", flags)
    Console(markup=False, highlight=False).print(table, end="\n\n")
    ended = "converged" if found.converged else "not converged: another step promises more"
    typer.echo(f"{found.image.id}: chi2/pixel {found.chi2_per_pixel:.2f}, {ended}")


def write(found, folder: Path) -> None:
    """The catalogue, the images (model, residual, each source; model-2.fits of a second image), hallucination scores, and the figures."""
    from astropy.io import fits

    from slipher.report.scene import save_figure, save_sources

    with write_atomically(folder / CATALOGUE) as temporary:
        found.table.write(temporary, format="ascii.ecsv")
    for i, view in enumerate(found.views):
        number = "" if i == 0 else f"-{i + 1}"
        header = fits.Header() if view.image.wcs is None else view.image.wcs.to_header()
        parts = {"MODEL": view.model, "RESIDUAL": view.residual.astype(np.float32), "SOURCES": view.sources}
        hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(values, header, name=name) for name, values in parts.items())]
        hdus[0].header["BANDS"] = ",".join(view.image.bands)
        with write_atomically(folder / f"model{number}.fits") as temporary:
            fits.HDUList(hdus).writeto(temporary, checksum=True)
    ids = [str(row["id"]) for row in found.table if np.isfinite(row["x"])]
    scored = [(name, score) for name, score in zip(ids, found.scores, strict=True) if score is not None]
    if scored:
        # Of each source its light before any PSF, and the Fisher terms of likelihood and prior in its logarithm.
        cubes = [fits.ImageHDU(np.stack(score).astype(np.float32), name=f"SOURCE_{name}") for name, score in scored]
        with write_atomically(folder / SCORES) as temporary:
            fits.HDUList([fits.PrimaryHDU(), *cubes]).writeto(temporary, checksum=True)
    save_figure(found, folder / FIGURE)
    save_sources(found, folder / SOURCES)


def show_populations(table) -> None:
    """Print medians and half of their 16 - 84 % ranges."""
    names = {"redshift": "z", "log_mstar": "log M*", "log_sfr_100myr": "log SFR", "age_mw_gyr": "age Gyr", "a_v": "A_V"}
    shown = Table("id", *names.values(), "chi2/band", "flags", box=None)
    for row in table:
        half = [0.5 * (row[f"{name}_p84"] - row[f"{name}_p16"]) for name in names]
        values = [f"{row[name]:.2f}" + (f" ± {width:.2f}" if np.isfinite(width) else "") for name, width in zip(names, half, strict=True)]
        shown.add_row(str(row["id"]), *values, f"{row['chi2_per_band']:.2f}", " ".join(Flag(int(row["population_flags"])).names()))
    Console(markup=False, highlight=False).print(shown, end="\n\n")


def write_populations(made, folder: Path) -> None:
    """The files that `slipher fit` writes, of each source with a usable flux."""
    from slipher.report.folder import answer_files, distinct_names, write_answer

    seen = [found for found, row in zip(made.posteriors, made.photometry, strict=True) if row.good.any()]
    names = distinct_names([found.id for found in seen])
    folder.mkdir(exist_ok=True)
    terminal.say_replaced([path for name in names for path in answer_files(folder, name)], folder)
    for found, name in zip(seen, names, strict=True):
        attempt(lambda: write_answer(found, folder, name), path=folder, id=found.id)  # noqa: B023 (called here)


def redshifts(text: str | None, catalogue: Path | None) -> float | np.ndarray | None:
    """`--redshift 0.35` is of all sources, `--redshift zspec` the column of that name of the catalogue of detections.

    Raises
    ------
    InputError
        If there is no such catalogue or column, or the number cannot be a redshift.
    """
    from slipher.data import catalogue_columns
    from slipher.data import files as disk
    from slipher.data.catalogue_files import open_table
    from slipher.data.checks import redshift_value

    if text is None:
        return None
    try:
        return redshift_value(float(text))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
    if catalogue is None:
        raise InputError(f"--redshift {text}", expected="a number, or a column of --catalog", mend="Add --catalog FILE, or give a number.")
    return catalogue_columns.numbers(open_table(disk.load(catalogue), [text]), text, unreadable=np.inf)


def run(image: Path, catalogue: Path | None, folder: Path | None, declared: dict, physics: dict | None, *, seed: int) -> None:
    """Read, fit, print and write; `physics` are arguments of `slipher.models.deblended.populations`, or None for none.

    `filters` among them are names, and `redshift` is as it was typed (`redshifts`).
    """
    from slipher.data.detections import read_detections
    from slipher.data.image_files import read_image
    from slipher.models import deblended
    from slipher.scene.deblend import deblend

    one = read_image(image, **declared)
    detections = None if catalogue is None else read_detections(catalogue)
    if physics is not None:  # what is declared wrongly is said before the fit, not after
        curves, _ = deblended.declared((one,), physics["filters"])
        physics |= {"filters": curves, "redshift": redshifts(physics["redshift"], catalogue)}
    with terminal.waiting(f"fitting {one.id}"):
        found = deblend(one, detections, seed=seed)
    show(found)
    made = None if physics is None else _populations(found, physics, seed)
    if folder is not None:
        write(found if made is None else replace(found, table=made.joined(found.table)), folder)
        if made is not None:
            write_populations(made, folder / POPULATIONS)


def _populations(found, physics: dict, seed: int):
    from slipher.models import deblended

    with terminal.progress_bar("stellar populations") as progress:
        made = deblended.populations(found, **physics, seed=seed, progress=progress)
    show_populations(made.table)
    return made
