"""The panels of photometry: fluxes in bands, what the posterior predicts for them, and the residuals between them.

Fluxes are f_nu in nanomaggies on logarithmic axes; bands that show no light are drawn as arrows at twice their error.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from slipher.inference.prediction import Prediction
from slipher.report.spectrum import BLUE, GREY, ORANGE, RESIDUAL_RANGE

ARROW_SIGMA = 2.0


def plot_bands(axes: Axes, prediction: Prediction) -> None:
    """Observed fluxes with their errors, and the 68 and 95 % ranges that the posterior predicts."""
    order = np.argsort(prediction.wave_aa)
    wave, flux = prediction.wave_aa[order] / 1e4, prediction.flux[order]
    sigma = np.where(prediction.ivar > 0, np.where(prediction.ivar > 0, prediction.ivar, 1.0) ** -0.5, np.nan)[order]
    for mass, alpha, label in ((0.95, 0.22, "95 %"), (0.68, 0.45, "68 %")):
        low, high = prediction.interval(mass)[:, order]
        axes.vlines(wave, np.maximum(low, 1e-12), np.maximum(high, 1e-12), color=BLUE, alpha=alpha, lw=9, label=f"predicted, {label}")
    seen = flux > sigma
    axes.errorbar(wave[seen], flux[seen], sigma[seen], fmt="o", ms=5, color="0.1", mfc=ORANGE, mew=0.6, lw=1, label="observed", zorder=4)
    hidden = ~seen & np.isfinite(sigma)
    axes.plot(wave[hidden], ARROW_SIGMA * sigma[hidden], marker="v", ls="", ms=6, color=GREY, label=f"below {ARROW_SIGMA:g} sigma")
    shown = np.concatenate([flux[seen], prediction.median[prediction.median > 0], ARROW_SIGMA * sigma[hidden]])
    if shown.size and np.isfinite(shown).any():
        axes.set_ylim(0.4 * np.nanmin(shown), 2.5 * np.nanmax(shown))
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(0.8 * wave.min(), 1.25 * wave.max())
    axes.set_ylabel(r"$f_\nu$  [nanomaggy]", fontsize=11)
    axes.tick_params(labelbottom=False, direction="in", labelsize=10, right=True, top=True, which="both")
    axes.legend(loc="best", fontsize=9.5, frameon=False)


def plot_band_residuals(axes: Axes, prediction: Prediction) -> None:
    """Residuals in units of noise and model error together, with the bands' names."""
    wave, residuals = prediction.wave_aa / 1e4, prediction.residuals()
    axes.axhspan(-1, 1, color="0.90", lw=0, zorder=0)
    axes.axhline(0, color="0.3", lw=0.7, zorder=1)
    axes.plot(wave, np.clip(residuals, -RESIDUAL_RANGE, RESIDUAL_RANGE), "o", ms=5, color=ORANGE, mec="0.1", mew=0.6)
    for x, name in zip(wave, prediction.bands, strict=True):
        axes.text(x, -0.96 * RESIDUAL_RANGE, name.rpartition("-")[2], fontsize=7.5, color="0.35", ha="center", va="bottom", rotation=90)
    axes.set_xscale("log")
    axes.set_ylim(-RESIDUAL_RANGE, RESIDUAL_RANGE)
    axes.set_yticks([-4, -2, 0, 2, 4])
    axes.set_ylabel(r"residual  [$\sigma$]", fontsize=11)
    axes.set_xlabel(r"observed wavelength  [$\mu$m]", fontsize=11)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else ""))
    axes.tick_params(direction="in", labelsize=10, top=True, right=True, which="both")
