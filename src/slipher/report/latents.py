"""The figure of `slipher outliers`: a spectrum, what its latents predict, and where the two part.

As `figure`, with matplotlib's objects and without pyplot; it reads a `slipher.models.spectrum_latents.Latents` and computes nothing new.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slipher.files import write_atomically
from slipher.report.spectrum import BLUE, GREY, ORANGE, mark_lines

WIDEST = 16  # pixels over which the residuals that are drawn are summed
LEVELS = (-6.0, 6.0)


def plot_latents(found) -> Figure:
    """Draw it: 12 x 7 inches."""
    figure = Figure(figsize=(12, 7), facecolor="white")
    grid = figure.add_gridspec(2, 2, height_ratios=(2.2, 1), width_ratios=(4.2, 1), hspace=0.05, wspace=0.16, left=0.07, right=0.98,
                               top=0.88, bottom=0.09)  # fmt: skip
    top = figure.add_subplot(grid[0, 0])
    bottom = figure.add_subplot(grid[1, 0], sharex=top)
    _spectrum(top, found)
    _residuals(bottom, found)
    _latents(figure.add_subplot(grid[:, 1]), found)
    rate = f"false-alarm rate {found.rates['rate']:.1e}"
    figure.suptitle(f"{found.id}   z = {found.redshift:.4f}   {rate}", fontsize=13, x=0.07, ha="left", y=0.97)
    figure.text(0.07, 0.905, "; ".join(map(str, found.strange)) or "nothing strange", fontsize=9.5, color="0.3")
    return figure


def save_figure(found, path: Path, *, dpi: float = 110.0) -> None:
    """Write `plot_latents` as PNG."""
    with write_atomically(path) as temporary:
        plot_latents(found).savefig(temporary, dpi=dpi, format="png")


def _spectrum(axes: Axes, found) -> None:
    seen = found.ivar > 0
    axes.plot(found.wave_aa[seen], found.flux[seen], ".", color=GREY, ms=1.6, mew=0, rasterized=True, label="observed")
    axes.plot(found.wave_aa, found.predicted, color=BLUE, lw=0.8, label="by its latents")
    low, high = np.quantile(found.flux[seen], (0.005, 0.995))
    top = max(high, np.quantile(found.predicted[seen], 0.999))
    axes.set_ylim(min(low, 0.0) - 0.03 * top, 1.15 * top)
    for strange in found.strange:
        axes.axvspan(strange.low_aa, strange.high_aa, color=ORANGE, alpha=0.25, lw=0)
    mark_lines(axes, found.redshift, labels=True)
    axes.set_ylabel(r"$f_\lambda$  [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]")
    axes.tick_params(labelbottom=False, direction="in", which="both", right=True)
    axes.legend(frameon=False, fontsize=9, loc="upper right", markerscale=5)


def _residuals(axes: Axes, found) -> None:
    from slipher.models.false_alarms import WIDTHS

    for width, colour in ((1, GREY), (WIDEST, ORANGE)):
        values = found.significance[WIDTHS.index(width)]
        axes.plot(found.wave_aa, np.where(found.ivar > 0, values, np.nan), color=colour, lw=0.6 if width == 1 else 1.1)
    for level in LEVELS:
        axes.axhline(level, color="0.7", lw=0.7, ls=":")
    reach = max(8.0, 1.1 * np.abs(found.significance).max())
    axes.set_yscale("symlog", linthresh=8.0)
    axes.set_ylim(-reach, reach)
    axes.set_ylabel(r"left over  [$\sigma$]")
    axes.set_xlabel("observed wavelength in vacuum  [Å]")
    axes.tick_params(direction="in", which="both", right=True, top=True)
    mark_lines(axes, found.redshift, labels=False)


def _latents(axes: Axes, found) -> None:
    index = np.arange(len(found.latents))
    axes.axvspan(-1, 1, color="0.92", lw=0)
    axes.errorbar(found.standard, index, xerr=np.minimum(found.sd_standard, 5.0), fmt="o", color=BLUE, ms=4, lw=1)
    axes.set_yticks(index, [f"s{i}" for i in index])
    axes.invert_yaxis()
    axes.set_xlim(-max(4.0, 1.1 * np.abs(found.standard).max()), max(4.0, 1.1 * np.abs(found.standard).max()))
    axes.set_xlabel("latents, in the population's sd")
    axes.tick_params(direction="in")
