"""`slipher deblend`: images of one sky to a catalogue of their sources, the images of model and residual, and figures.

Where filters are declared, each source's fluxes are fitted as photometry is: columns of the catalogue, and a folder of posteriors.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from slipher.cli import terminal
from slipher.cli.of_images import filters_of
from slipher.cli.targets import attempt
from slipher.errors import Flag, InputError
from slipher.files import write_atomically

CATALOGUE, MODEL, POPULATIONS = "catalogue.ecsv", "model.fits", "populations"
WIDE = 1000  # characters that a line of the table may have: many bands are no reason to leave digits out
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
    Console(markup=False, highlight=False, width=WIDE).print(table, end="\n\n")
    ended = "converged" if found.converged else "not converged: another step promises more"
    for view in found.views if len(found.views) > 1 else ():
        typer.echo(f"{view.image.id} ({','.join(view.image.bands)}): chi2/pixel {view.chi2_per_pixel:.2f}")
    whole = found.image.id if len(found.views) == 1 else "together"
    typer.echo(f"{whole}: chi2/pixel {found.chi2_per_pixel:.2f}, {ended}")


def write(found, folder: Path) -> None:
    """The catalogue, the images of all views (`_hdus`), hallucination scores, and the figures."""
    from astropy.io import fits

    from slipher.report.scene import save_figure, save_sources

    with write_atomically(folder / CATALOGUE) as temporary:
        found.table.write(temporary, format="ascii.ecsv")
    first = fits.PrimaryHDU()
    first.header["BANDS"] = ",".join(found.image.bands)
    first.header["IMAGES"] = (len(found.views), "their HDUs have the number in EXTVER")
    hdus = [hdu for number, view in enumerate(found.views, start=1) for hdu in _hdus(view, number)]
    with write_atomically(folder / MODEL) as temporary:
        fits.HDUList([first, *hdus]).writeto(temporary, checksum=True)
    ids = [str(row["id"]) for row in found.table if np.isfinite(row["x"])]
    scored = [(name, score) for name, score in zip(ids, found.scores, strict=True) if score is not None]
    if scored:
        # Of each source its light before any PSF, and the Fisher terms of likelihood and prior in its logarithm.
        cubes = [fits.ImageHDU(np.stack(score).astype(np.float32), name=f"SOURCE_{name}") for name, score in scored]
        with write_atomically(folder / SCORES) as temporary:
            fits.HDUList([fits.PrimaryHDU(), *cubes]).writeto(temporary, checksum=True)
    for which in range(len(found.views)):
        save_figure(found, folder / (f"scene-{which + 1}.png" if which else "scene.png"), which)
    save_sources(found, folder / SOURCES)


def _hdus(view, number: int) -> list:
    """MODEL, RESIDUAL and SOURCES of what one image shows, with its coordinates, bands and name; the image's number is their EXTVER."""
    from astropy.io import fits

    header = fits.Header() if view.image.wcs is None else view.image.wcs.to_header()
    header["BANDS"] = ",".join(view.image.bands)
    header["IMAGE"] = view.image.id.encode("ascii", "replace").decode()
    parts = {"MODEL": view.model, "RESIDUAL": view.residual.astype(np.float32), "SOURCES": view.sources}
    return [fits.ImageHDU(values, header, name=name, ver=number) for name, values in parts.items()]


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


def run(
    files: Sequence[Path], catalogue: Path | None, folder: Path | None, declared: Sequence[dict], physics: dict | None, *,
    prior: str, seed: int, astrometry: float | None = None,
) -> None:  # fmt: skip
    """Read, fit, print and write; `physics` are arguments of `slipher.models.deblended.populations`, or None for none.

    `declared` is what is said of each image (`of_images.declarations`); in `physics` `filters` and `redshift` are as they were typed
    (`of_images.filters_of`, `redshifts`).
    """
    from slipher.data.detections import read_detections
    from slipher.data.image_files import read_image
    from slipher.data.one_sky import of_one_sky

    apart = tuple(read_image(file, **said) for file, said in zip(files, declared, strict=True))
    images = of_one_sky(apart)
    detections = None if catalogue is None else read_detections(catalogue)

    from slipher.models import deblended  # what is wrong with files is said before anything heavy is imported

    if physics is not None:  # what is declared wrongly is said before the fit, not after
        names = filters_of(physics["filters"], apart, deblended.bands_of(images))
        curves, _ = deblended.declared(images, names)
        physics |= {"filters": curves, "redshift": redshifts(physics["redshift"], catalogue)}
    known = {} if astrometry is None else {"astrometry": astrometry}
    with terminal.waiting(f"fitting {' and '.join(one.id for one in images)}"):
        found = deblended.deblend(images, detections, prior=prior, seed=seed, **known)
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
