"""The figures of `slipher deblend`: an image, its model and what is left over in sigma; and each source, with what its prior made up.

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
    seen = image.ivar > 0
    width = 3.2
    figure = Figure(figsize=(3 * width + 0.6, n * width * rows / columns + 0.9), facecolor="white", layout="constrained")
    panels = figure.subplots(n, 3, squeeze=False, sharex=True, sharey=True)
    for i, band in enumerate(image.bands):
        noise = np.median(image.ivar[i][seen[i]]) ** -0.5 if seen[i].any() else 1.0
        data = np.where(seen[i], image.flux[i], np.nan)
        low, high = (np.nanmedian(data) - 3.0 * noise, np.nanmax(data)) if seen[i].any() else (0.0, 1.0)
        for axes, values in zip(panels[i], (data, view.model[i]), strict=False):
            stretched, brightest = (np.arcsinh((what - low) / (3.0 * noise)) for what in (values, high))
            axes.imshow(stretched, origin="lower", cmap="viridis", vmin=0.0, vmax=brightest)
        sigma = np.where(seen[i], view.residual[i] * np.sqrt(image.ivar[i]), np.nan)
        last = panels[i, 2].imshow(sigma, origin="lower", cmap="RdBu_r", vmin=-SIGMAS, vmax=SIGMAS)
        panels[i, 0].set_ylabel(band, fontsize=12)
    for axes, title in zip(panels[0], ("observed", "model", "left over, sigma"), strict=True):
        axes.set_title(title, fontsize=11)
    _sources(panels[0, 0], found, which)
    figure.colorbar(last, ax=panels[:, 2], shrink=0.6)
    figure.suptitle(f"{image.id}   {len(found.table)} sources   chi2/pixel {view.chi2_per_pixel:.2f}", fontsize=12)
    return figure


def _sources(axes: Axes, found, which: int) -> None:
    """Where they are in the pixels of that image; those beyond its edges are not shown."""
    image = found.views[which].image
    jacobian, origin = (np.eye(2), np.zeros(2)) if which == 0 else _seen(found, which)
    rows, columns = image.flux.shape[1:]
    for row in found.table:
        x, y = jacobian @ (row["x"], row["y"]) + origin
        if -0.5 < x < columns - 0.5 and -0.5 < y < rows - 0.5:
            axes.plot(x, y, "+", color=ORANGE, ms=7)
            axes.annotate(str(row["id"]), (x, y), xytext=(4, 4), textcoords="offset points", color="white", fontsize=8)


def _seen(found, which: int) -> tuple:
    """By which pixels of the first image are those of another (`slipher.scene.exposure`)."""
    one = found.blend.seen[which]
    return np.asarray(one.jacobian), np.asarray(one.origin)


def save_figure(found, path: Path, which: int = 0, *, dpi: float = 110.0) -> None:
    """Write `plot_scene` as PNG."""
    with write_atomically(path) as temporary:
        plot_scene(found, which).savefig(temporary, dpi=dpi, format="png")


def plot_sources(found) -> Figure | None:
    """Draw each source that has texture: as the first image shows it, its light before any PSF, and who says so; None if there is none."""
    shown = [i for i, score in enumerate(found.scores) if score is not None]
    if not shown:
        return None
    ids = [row["id"] for row in found.table if np.isfinite(row["x"])]
    figure = Figure(figsize=(9.6, 2.9 * len(shown) + 0.8), facecolor="white", layout="constrained")
    panels = figure.subplots(len(shown), 3, squeeze=False)
    for row, i in zip(panels, shown, strict=True):
        score, image = found.scores[i], found.views[0].sources[i]
        light = np.maximum(score.light, 1e-4 * score.light.max())
        # dF over its terms' sum: 1 where the prior alone speaks, -1 where the images do.
        part = score.difference / (score.prior + score.likelihood)
        row[0].imshow(np.sqrt(np.maximum(image[image.sum((1, 2)).argmax()], 0.0)), origin="lower", cmap="viridis")
        row[1].imshow(np.log10(light), origin="lower", cmap="viridis")
        last = row[2].imshow(part, origin="lower", cmap="RdBu_r", vmin=-1.0, vmax=1.0)
        row[0].set_ylabel(f"{ids[i]}", fontsize=12)
        row[2].set_xlabel(f"{100 * score.share:.0f} % of the light by the prior", fontsize=9)
    for axes, title in zip(panels[0], ("as seen", "log light before the PSF", "prior (red) or images (blue)"), strict=True):
        axes.set_title(title, fontsize=11)
    figure.colorbar(last, ax=panels[:, 2], shrink=0.6)
    return figure


def save_sources(found, path: Path, *, dpi: float = 110.0) -> None:
    """Write `plot_sources` as PNG, if any source has texture."""
    figure = plot_sources(found)
    if figure is not None:
        with write_atomically(path) as temporary:
            figure.savefig(temporary, dpi=dpi, format="png")
