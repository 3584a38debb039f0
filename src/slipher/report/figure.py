"""The figure of one galaxy: its spectrum and what the posterior predicts for it, its history, its main quantities.

Drawn with matplotlib's objects and without pyplot: no window, no global figure, no changed defaults. Colours are those
of Okabe & Ito (2008), which colour-blind eyes tell apart. The figure reads a `Posterior` and computes nothing new.
"""

from pathlib import Path

import numpy as np
from astropy.units import Unit
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from slipher.files import write_atomically
from slipher.inference.posterior import Posterior
from slipher.report.bands import plot_band_residuals, plot_bands
from slipher.report.corner import plot_corner
from slipher.report.spectrum import BLUE, ORANGE, plot_residuals, plot_spectrum

MAIN = ("redshift", "log_mstar", "log_ssfr_100myr", "log_zstar", "a_v", "sigma_star", "age_mw_gyr")


def plot_posterior(posterior: Posterior, *, quantities: tuple[str, ...] = MAIN) -> Figure:
    """Draw the figure of one galaxy.

    Parameters
    ----------
    posterior
        With whatever derived quantities it has.
    quantities
        Names for the corner plot, derived quantities or parameters; those that the posterior lacks are left out.

    Returns
    -------
    figure
        12 x 13 inches; `savefig` writes it, and a notebook shows it.
    """
    figure = Figure(figsize=(12, 13), facecolor="white")
    halves = figure.add_gridspec(2, 1, height_ratios=(1, 1.15), hspace=0.17, left=0.07, right=0.98, top=0.9, bottom=0.065)
    top = halves[0].subgridspec(2, 1, height_ratios=(3.2, 1), hspace=0.03)
    bottom = halves[1].subgridspec(1, 2, width_ratios=(1, 1.55), wspace=0.24)
    left = bottom[0].subgridspec(2, 1, height_ratios=(2.1, 1), hspace=0.24)
    data = figure.add_subplot(top[0])
    residuals = figure.add_subplot(top[1], sharex=data)
    if posterior.prediction.bands:
        plot_bands(data, posterior.prediction)
        plot_band_residuals(residuals, posterior.prediction)
    else:
        plot_spectrum(data, posterior.prediction, posterior.redshift)
        plot_residuals(residuals, posterior.prediction, posterior.redshift)
    plot_history(figure.add_subplot(left[0]), posterior)
    write_diagnostics(figure.add_subplot(left[1]), posterior)
    plot_corner(figure, bottom[1], main_quantities(posterior, quantities), color=BLUE)
    _title(figure, posterior)
    return figure


def save_figure(posterior: Posterior, path: str | Path, *, dpi: float = 130.0) -> None:
    """Write the figure in the format that the path's suffix names; it appears whole or not at all."""
    with write_atomically(path) as temporary:
        plot_posterior(posterior).savefig(temporary, dpi=dpi)


def main_quantities(posterior: Posterior, names: tuple[str, ...]) -> dict[str, Float[np.ndarray, "draw"]]:
    """Draws of the named quantities that the posterior has and that are defined, by their axis labels."""
    pool = posterior.samples | posterior.derived
    chosen = [name for name in names if name in pool and np.isfinite(pool[name]).any()]
    return {axis_label(posterior, name): pool[name] for name in chosen}


def axis_label(posterior: Posterior, name: str) -> str:
    """LaTeX label and unit; the name itself where there is no label."""
    label = f"${posterior.labels[name]}$" if name in posterior.labels else name.replace("_", " ")
    unit = unit_text(posterior.units.get(name, ""))
    return f"{label}\n[{unit}]" if unit else label


def unit_text(unit: str) -> str:
    """A unit for an axis: of a logarithm the unit of its argument, typeset where astropy knows it."""
    inner = unit.removeprefix("log(").removesuffix(")") if unit.startswith("log(") else unit
    if inner in ("", "dex", "Zsun"):
        return {"Zsun": r"Z$_\odot$"}.get(inner, "")
    try:
        return Unit(inner).to_string("latex_inline")
    except ValueError:
        return inner


def plot_history(axes: Axes, posterior: Posterior) -> None:
    """Star-formation rate against lookback time, both logarithmic: median and bands as steps; bins without a rate are gaps."""
    bands = rate_bands(posterior.history_sfr)
    if not (np.isfinite(bands).any() and np.isfinite(posterior.history_edges_gyr).all()):
        axes.axis("off")
        axes.text(0.5, 0.5, "no star-formation history", transform=axes.transAxes, fontsize=11, color="0.35", ha="center")
        return
    edges, (floor, top) = drawn_edges(posterior.history_edges_gyr), rate_limits(bands)
    low95, low68, median, high68, high95 = np.maximum(bands, floor)
    axes.stairs(high95, edges, baseline=low95, fill=True, color=BLUE, alpha=0.18, lw=0, label="95 %")
    axes.stairs(high68, edges, baseline=low68, fill=True, color=BLUE, alpha=0.38, lw=0, label="68 %")
    axes.stairs(median, edges, baseline=None, color=BLUE, lw=1.8, label="median")
    axes.set(xscale="log", yscale="log", xlim=(edges[0], edges[-1]), ylim=(floor, top))
    axes.set_xlabel("lookback time  [Gyr]", fontsize=11)
    axes.set_ylabel(r"star-formation rate  [M$_\odot$ yr$^{-1}$]", fontsize=11)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(direction="in", labelsize=10, top=True, right=True, which="both")
    axes.legend(loc="lower left", fontsize=9.5, frameon=False, ncols=3)


def drawn_edges(edges_gyr: Float[np.ndarray, "edge"]) -> Float[np.ndarray, "edge"]:
    """Edges for a logarithmic axis, on which the first bin, that begins now, is drawn half a decade wide."""
    edges = edges_gyr.copy()
    edges[0] = max(edges[0], edges[1] / np.sqrt(10.0))
    return edges


def rate_bands(sfr: Float[np.ndarray, "draw bin"]) -> Float[np.ndarray, "5 bin"]:
    """Median and 68 and 95 % limits of the rates that are finite; NaN in a bin where none is."""
    finite = np.where(np.isfinite(sfr), sfr, np.nan)
    known = np.isfinite(sfr).any(axis=0)
    bands = np.full((5, known.size), np.nan)
    bands[:, known] = np.nanquantile(finite[:, known], (0.025, 0.16, 0.5, 0.84, 0.975), axis=0)
    return bands


def rate_limits(bands: Float[np.ndarray, "5 bin"]) -> tuple[float, float]:
    """Limits of a logarithmic axis that holds the 68 % band, but no more than five decades of it."""
    top = 2.0 * max(float(np.nanmax(bands[4])), 1e-12)
    lowest = float(np.nanmin(bands[1]))
    return max(0.3 * lowest, 1e-5 * top), top


def write_diagnostics(axes: Axes, posterior: Posterior) -> None:
    """The numbers by which to judge the answer, as a small table."""
    axes.axis("off")
    for row, (name, value) in enumerate(diagnostic_lines(posterior).items()):
        height = 0.93 - 0.125 * row
        axes.text(0.0, height, name, transform=axes.transAxes, fontsize=10, color="0.35", va="center")
        axes.text(0.46, height, value, transform=axes.transAxes, fontsize=10, color="0.05", va="center")


def diagnostic_lines(posterior: Posterior) -> dict[str, str]:
    """Name and value of the diagnostics that apply."""
    d, each = posterior.diagnostics, "band" if posterior.prediction.bands else "pixel"
    lines = {
        "method": f"{d.method}, {posterior.n_draws} draws",
        "effective draws": f"{d.ess:.0f}",
        "Pareto k": f"{d.khat:.2f}",
        "R-hat": f"{d.rhat:.3f}" + (f", {d.divergences} divergences" if d.divergences else ""),
        rf"$\chi^2$ per {each}": f"{d.chi2_per_pixel:.2f}",
        "novelty": f"{d.novelty:.2f}",
        f"good {each}s": f"{d.n_pixels}",
        f"{'peak' if posterior.prediction.bands else 'median'} S/N": f"{d.median_sn:.1f}",
        "wall time": f"{posterior.seconds:.1f} s",
    }
    return {name: value for name, value in lines.items() if not value.startswith("nan")}


def _title(figure: Figure, posterior: Posterior) -> None:
    """Who and how far, whether to believe it, and what was noticed."""
    refined = posterior.status == "refined"
    figure.text(0.07, 0.972, _shorten(posterior.id, 40), fontsize=17, fontweight="bold", va="center", parse_math=False)
    subtitle = f"z = {posterior.redshift:.4f}    {posterior.survey.upper()}    model: {posterior.model}"
    figure.text(0.07, 0.949, subtitle, fontsize=11.5, color="0.3", va="center", parse_math=False)
    figure.text(
        0.98,
        0.972,
        posterior.status,
        fontsize=12.5,
        color="white",
        ha="right",
        va="center",
        bbox={"boxstyle": "round,pad=0.35", "facecolor": BLUE if refined else ORANGE, "edgecolor": "none"},
    )
    # the highest bits speak of the fit itself: they come first, in case there are too many
    names = [name.lower().replace("_", " ") for name in reversed(posterior.flags.names())]
    flags = "flags: " + ", ".join(names) if names else "no flags"
    figure.text(0.98, 0.949, _shorten(flags, 95), fontsize=10, color=ORANGE if names else "0.4", ha="right", va="center")


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
