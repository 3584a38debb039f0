"""`slipher deblend`: an image to a catalogue of its sources, the images of model and residual, and a figure."""

from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from slipher.cli import terminal
from slipher.errors import Flag
from slipher.files import write_atomically

CATALOGUE, IMAGES, FIGURE = "catalogue.ecsv", "model.fits", "scene.png"


def show(found) -> None:
    """Print the catalogue."""
    bands, fluxes = found.image.bands, [f"flux_{band}" for band in found.image.bands]
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
    """The catalogue, the images (model, residual, each source), and the figure."""
    from astropy.io import fits

    from slipher.report.scene import save_figure

    with write_atomically(folder / CATALOGUE) as temporary:
        found.table.write(temporary, format="ascii.ecsv")
    header = fits.Header() if found.image.wcs is None else found.image.wcs.to_header()
    parts = {"MODEL": found.model, "RESIDUAL": found.residual.astype(np.float32), "SOURCES": found.sources}
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(values, header, name=name) for name, values in parts.items())]
    hdus[0].header["BANDS"] = ",".join(found.image.bands)
    with write_atomically(folder / IMAGES) as temporary:
        fits.HDUList(hdus).writeto(temporary, checksum=True)
    save_figure(found, folder / FIGURE)


def run(image: Path, catalogue: Path | None, folder: Path | None, declared: dict, *, seed: int) -> None:
    """Read, fit, print and write."""
    from slipher.data.detections import read_detections
    from slipher.data.image_files import read_image
    from slipher.scene.deblend import deblend

    one = read_image(image, **declared)
    detections = None if catalogue is None else read_detections(catalogue)
    with terminal.waiting(f"fitting {one.id}"):
        found = deblend(one, detections, seed=seed)
    show(found)
    if folder is not None:
        write(found, folder)
