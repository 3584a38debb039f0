"""A corner plot: every pair of quantities as filled 68 and 95 per cent regions, every quantity as a histogram."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from scipy.ndimage import gaussian_filter

MASSES = (0.95, 0.68)
N_GRID = 60


def plot_corner(
    figure: Figure,
    place: SubplotSpec,
    quantities: dict[str, Float[np.ndarray, "draw"]],
    *,
    color: str,
    fontsize: float = 9.0,
) -> list[list[Axes]]:
    """Draw the lower triangle into a place of a figure.

    Parameters
    ----------
    quantities
        Draws of each quantity by its axis label; those that are not finite are left out. There may be no quantity.
    color
        Of histograms and regions.

    Returns
    -------
    axes
        Row by row.
    """
    n = len(quantities)
    if n == 0:
        return []
    grid = place.subgridspec(n, n, wspace=0.08, hspace=0.08)
    limits = {label: _limits(draws) for label, draws in quantities.items()}
    rows = [[figure.add_subplot(grid[row, column]) for column in range(row + 1)] for row in range(n)]
    for row, (y_label, y) in enumerate(quantities.items()):
        for column, (x_label, x) in enumerate(list(quantities.items())[: row + 1]):
            axes = rows[row][column]
            if row == column:
                _histogram(axes, x, limits[x_label], color, fontsize)
            else:
                _regions(axes, x, y, limits[x_label], limits[y_label], color)
            _dress(axes, x_label if row == n - 1 else "", y_label if column == 0 < row else "", fontsize)
    return rows


def density_levels(density: Float[np.ndarray, "y x"], masses: tuple[float, ...]) -> list[float]:
    """Densities whose contours hold the given fractions of the total, for decreasing fractions."""
    ordered = np.sort(density, axis=None)[::-1]
    cumulative = np.cumsum(ordered) / ordered.sum()
    return [float(ordered[min(np.searchsorted(cumulative, mass), ordered.size - 1)]) for mass in masses]


def _limits(draws: Float[np.ndarray, "draw"]) -> tuple[float, float]:
    """Nearly all draws with some air around; something around the value where they are all equal."""
    low, high = np.quantile(draws[np.isfinite(draws)], (0.002, 0.998))
    air = 0.12 * (high - low) or 0.05 * max(abs(high), 1.0)
    return float(low - air), float(high + air)


def _histogram(axes: Axes, draws: Float[np.ndarray, "draw"], limits: tuple[float, float], color: str, fontsize: float) -> None:
    finite = draws[np.isfinite(draws)]
    axes.hist(finite, bins=28, range=limits, histtype="stepfilled", color=color, alpha=0.35, lw=0)
    axes.hist(finite, bins=28, range=limits, histtype="step", color=color, lw=1.1)
    axes.set_xlim(*limits)
    if finite.size == draws.size:  # percentiles of a part of the draws would be a number nobody asked for
        low, median, high = np.quantile(draws, (0.16, 0.5, 0.84))
        axes.axvline(median, color="0.15", lw=1.0)
        axes.axvspan(low, high, color=color, alpha=0.12, lw=0)
        axes.set_title(_value(low, median, high), fontsize=fontsize, pad=3)


def _value(low: float, median: float, high: float) -> str:
    """Median with its 68 % interval, to two digits of the smaller error."""
    error = float(min(high - median, median - low))
    decimals = int(np.clip(1 - np.floor(np.log10(error)), 0, 6)) if error > 0 else 2
    return rf"${median:.{decimals}f}_{{-{median - low:.{decimals}f}}}^{{+{high - median:.{decimals}f}}}$"


def _regions(
    axes: Axes,
    x: Float[np.ndarray, "draw"],
    y: Float[np.ndarray, "draw"],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    color: str,
) -> None:
    axes.set_xlim(*x_limits)
    axes.set_ylim(*y_limits)
    both = np.isfinite(x) & np.isfinite(y)
    if not both.any():
        return
    counts, x_edges, y_edges = np.histogram2d(x[both], y[both], bins=N_GRID, range=(x_limits, y_limits))
    density = gaussian_filter(counts.T, _bandwidth(int(both.sum())), mode="constant")
    outer, inner = density_levels(density, MASSES)
    if density.max() > inner > outer > 0:
        centres = [0.5 * (edges[1:] + edges[:-1]) for edges in (x_edges, y_edges)]
        axes.contourf(*centres, density, levels=[outer, inner], colors=[color], alpha=0.30)
        axes.contourf(*centres, density, levels=[inner, 1.01 * density.max()], colors=[color], alpha=0.75)
    axes.plot(np.median(x[both]), np.median(y[both]), "+", color="white", ms=6, mew=1.3)


def _bandwidth(n_draws: int) -> float:
    """Scott's (1992) rule in cells of the grid, on which one standard deviation is about an eighth."""
    return N_GRID / 8.0 * n_draws ** (-1.0 / 6.0)


def _dress(axes: Axes, x_label: str, y_label: str, fontsize: float) -> None:
    """Ticks and labels on the outer axes only."""
    axes.tick_params(direction="in", top=False, right=False, labelsize=fontsize - 1.5, length=3)
    for axis, label in ((axes.xaxis, x_label), (axes.yaxis, y_label)):
        axis.set_major_locator(MaxNLocator(3, prune="both"))
        axis.set_major_formatter(ScalarFormatter(useOffset=False))
        if label:
            axis.set_label_text(label, fontsize=fontsize + 0.5, math_fontfamily="stixsans")
        else:
            axis.set_tick_params(labelleft=False, labelbottom=False)
    if not y_label:
        axes.tick_params(left=False)
    axes.tick_params(axis="x", labelrotation=35)
    axes.xaxis.set_label_coords(0.5, -0.48)
    axes.yaxis.set_label_coords(-0.52, 0.5)
