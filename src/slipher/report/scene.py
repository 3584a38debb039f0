"""The figure of `slipher deblend`: an image, its model, what is left over in sigma, and the sources.

As `figure`, with matplotlib's objects and without pyplot; it reads a `slipher.scene.deblend.Deblended` and computes nothing new.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slipher.files import write_atomically
from slipher.report.spectrum import ORANGE

SIGMAS = 5.0  # of the residuals' colours


def plot_scene(found, which: int = 0) -> Figure:
    """Draw it as one of its images shows it: a row for each band."""
    view = found.views[which]
    image = view.image
    n, (rows, columns) = len(image.bands), image.flux.shape[1:]
    width = 3.2
    figure = Figure(figsize=(3 * width + 0.6, n * width * rows / columns + 0.9), facecolor="white", layout="constrained")
    panels = figure.subplots(n, 3, squeeze=False, sharex=True, sharey=True)
    for i, band in enumerate(image.bands):
        noise = np.median(image.ivar[i][image.ivar[i] > 0]) ** -0.5
        shown = [np.where(image.ivar[i] > 0, image.flux[i], np.nan), view.model[i]]
        low = np.nanmedian(shown[0]) - 3.0 * noise
        for axes, values in zip(panels[i], shown, strict=False):
            stretched = np.arcsinh((values - low) / (3.0 * noise))
            axes.imshow(stretched, origin="lower", cmap="viridis", vmin=0.0, vmax=np.nanmax(np.arcsinh((shown[0] - low) / (3.0 * noise))))
        sigma = np.where(image.ivar[i] > 0, view.residual[i] * np.sqrt(image.ivar[i]), np.nan)
        last = panels[i, 2].imshow(sigma, origin="lower", cmap="RdBu_r", vmin=-SIGMAS, vmax=SIGMAS)
        panels[i, 0].set_ylabel(band, fontsize=12)
    for axes, title in zip(panels[0], ("observed", "model", "left over, sigma"), strict=True):
        axes.set_title(title, fontsize=11)
    _sources(panels[0, 0], found)
    figure.colorbar(last, ax=panels[:, 2], shrink=0.6)
    figure.suptitle(f"{image.id}   {len(found.table)} sources   chi2/pixel {view.chi2_per_pixel:.2f}", fontsize=12)
    return figure


def _sources(axes: Axes, found) -> None:
    for row in found.table:
        if np.isfinite(row["x"]):
            axes.plot(row["x"], row["y"], "+", color=ORANGE, ms=7)
            axes.annotate(str(row["id"]), (row["x"], row["y"]), xytext=(4, 4), textcoords="offset points", color="white", fontsize=8)


def save_figure(found, path: Path, which: int = 0, *, dpi: float = 110.0) -> None:
    """Write `plot_scene` as PNG."""
    with write_atomically(path) as temporary:
        plot_scene(found, which).savefig(temporary, dpi=dpi, format="png")
