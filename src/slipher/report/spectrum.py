"""The panels of a spectrum: what was observed, what the posterior predicts, and the residuals between them.

Pixels without information are gaps in the data; the prediction runs on through them. Spectrograph arms that overlap are
drawn one after the other, never joined. Noisy spectra are shown averaged over a few pixels, over the pixels themselves.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import AutoMinorLocator
from scipy.ndimage import uniform_filter1d

from slipher.inference.prediction import Prediction

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.45"

LINES = {  # label: vacuum wavelength at rest in angstrom
    "[O II]": 3728.5,
    "Ca H K": 3952.2,
    r"H$\delta$": 4102.9,
    r"H$\gamma$": 4341.7,
    r"H$\beta$": 4862.7,
    "[O III]": 5008.2,
    "Mg b": 5176.6,
    "Na D": 5893.0,
    "[O I]": 6302.0,
    r"H$\alpha$": 6564.6,
    "[S II]": 6725.5,
    "Ca II": 8544.4,
    "[S III]": 9533.2,
}

RESIDUAL_RANGE = 5.5  # sigma
SHOWN_SN = 8.0  # spectra below it are averaged until they reach it
SMOOTHED_PIXELS = 41


def plot_spectrum(axes: Axes, prediction: Prediction, redshift: float) -> None:
    """Observed spectrum with its errors in grey, predicted median and bands in colour, lines and rest wavelengths."""
    width = averaging_width(prediction)
    shown = _plot_observed(axes, prediction, width)
    _plot_predicted(axes, prediction)
    _legend(axes, width)
    axes.set_ylim(*flux_limits(shown, prediction.median))
    axes.set_xlim(*_wave_limits(prediction))
    axes.set_ylabel(r"$f_\lambda$  [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]", fontsize=11)
    axes.tick_params(labelbottom=False, direction="in", labelsize=10, right=True, which="both")
    mark_lines(axes, redshift, labels=True)
    if np.isfinite(redshift):
        _rest_axis(axes, redshift)


def plot_residuals(axes: Axes, prediction: Prediction, redshift: float) -> None:
    """Residuals in units of the total error, and their running mean, whose waves are what the model does not know."""
    residuals = prediction.residuals()
    for piece in pieces(prediction):
        wave = prediction.wave_aa[piece]
        axes.plot(wave, residuals[piece], ".", color=GREY, ms=2.0, alpha=0.7, mew=0, zorder=2, rasterized=True)
        axes.plot(wave, smooth(residuals[piece], SMOOTHED_PIXELS), color=ORANGE, lw=1.5, zorder=4)
    axes.axhspan(-1, 1, color="0.90", lw=0, zorder=0)
    axes.axhline(0, color="0.3", lw=0.7, zorder=1)
    axes.set_ylim(-RESIDUAL_RANGE, RESIDUAL_RANGE)
    axes.set_yticks([-4, -2, 0, 2, 4])
    axes.set_ylabel(r"residual  [$\sigma$]", fontsize=11)
    axes.set_xlabel("observed wavelength in vacuum  [Å]", fontsize=11)
    axes.tick_params(direction="in", labelsize=10, top=True, right=True, which="both")
    axes.xaxis.set_minor_locator(AutoMinorLocator())
    mark_lines(axes, redshift, labels=False)


def _plot_observed(axes: Axes, prediction: Prediction, width: int) -> Float[np.ndarray, "pixel"]:
    """Draw the data; returns the fluxes, averaged or not, whose range the axes should show."""
    flux, sigma = observed(prediction)
    shown = np.full_like(flux, np.nan, dtype=np.float64)
    for piece in pieces(prediction):
        wave, f, s = prediction.wave_aa[piece], flux[piece], sigma[piece]
        shown[piece] = f if width == 1 else smooth(f, width, s**-2)
        if width == 1:
            axes.fill_between(wave, f - s, f + s, color="0.82", lw=0, zorder=1, step="mid")
        else:
            axes.plot(wave, f, color="0.80", lw=0.4, drawstyle="steps-mid", zorder=1)
        axes.plot(wave, shown[piece], color=GREY, lw=0.6, drawstyle="steps-mid", zorder=2)
    return shown


def _plot_predicted(axes: Axes, prediction: Prediction) -> None:
    median, inner, outer = prediction.median, prediction.interval(0.68), prediction.interval(0.95)
    for piece in pieces(prediction):
        wave = prediction.wave_aa[piece]
        axes.fill_between(wave, *outer[:, piece], color=BLUE, alpha=0.25, lw=0, zorder=3)
        axes.fill_between(wave, *inner[:, piece], color=BLUE, alpha=0.45, lw=0, zorder=4)
        axes.plot(wave, median[piece], color=BLUE, lw=0.9, zorder=5)


def averaging_width(prediction: Prediction) -> int:
    """Odd number of pixels to average for the eye: 1 for a good spectrum, 15 at most, so that lines stay lines."""
    flux, sigma = observed(prediction)
    good = np.isfinite(flux)
    sn = float(np.median(np.abs(flux[good]) / sigma[good])) if good.any() else np.inf
    width = min((SHOWN_SN / max(sn, 1e-3)) ** 2, 15.0)
    return 2 * int(width / 2) + 1


def observed(prediction: Prediction) -> tuple[Float[np.ndarray, "pixel"], Float[np.ndarray, "pixel"]]:
    """Flux and its standard deviation, NaN where a pixel carries no information."""
    good = (prediction.ivar > 0) & np.isfinite(prediction.flux)
    sigma = 1.0 / np.sqrt(np.where(good, prediction.ivar, np.nan))
    return np.where(good, prediction.flux, np.nan), sigma


def pieces(prediction: Prediction) -> Iterator[slice]:
    """Runs of pixels to be joined by a line: the segments, broken where wavelengths jump."""
    for start, stop in prediction.segments:
        steps = np.diff(prediction.wave_aa[start:stop])
        jumps = np.flatnonzero(steps > 5 * np.median(steps)) + 1 if steps.size else np.array([], dtype=int)
        limits = [start, *(start + jumps).tolist(), stop]
        yield from (slice(low, high) for low, high in pairwise(limits) if high > low)


def smooth(values: Float[np.ndarray, "pixel"], width: int, weights: Float[np.ndarray, "pixel"] | None = None) -> Float[np.ndarray, "pixel"]:
    """Running mean over `width` pixels of the finite ones; NaN where fewer than a quarter of them are finite."""
    finite = np.isfinite(values)
    w = np.where(finite, 1.0 if weights is None else weights, 0.0)
    total = uniform_filter1d(w * np.where(finite, values, 0.0), width, mode="constant")
    norm = uniform_filter1d(w, width, mode="constant")
    enough = uniform_filter1d(finite.astype(np.float64), width, mode="constant") >= 0.25
    return np.where(enough, total / np.where(enough, norm, 1.0), np.nan)


def flux_limits(flux: Float[np.ndarray, "pixel"], median: Float[np.ndarray, "pixel"]) -> tuple[float, float]:
    """Limits that show the continuum: noise spikes and lines beyond four times its height are cut off."""
    shown = np.concatenate([flux[np.isfinite(flux)], median[np.isfinite(median)]])
    if shown.size == 0:
        return -1.0, 1.0
    low, body, high = np.quantile(shown, (0.005, 0.95, 0.9985))
    peak = float(np.nanmax(median)) if np.isfinite(median).any() else high
    top = max(min(max(1.05 * peak, high), 4.0 * abs(body)), body)
    bottom = min(low, 0.0) if low < 0.25 * top else low - 0.15 * (top - low)
    room = (top - bottom) or 1.0
    return float(bottom - 0.02 * room), float(top + 0.17 * room)


def mark_lines(axes: Axes, redshift: float, *, labels: bool) -> None:
    """Thin lines at the main features inside the axes' range, with their names at the top."""
    low, high = axes.get_xlim()
    right_of_last = -np.inf
    for label, rest in LINES.items():
        wave = rest * (1 + redshift)
        if not low + 0.01 * (high - low) < wave < high - 0.01 * (high - low):
            continue
        axes.axvline(wave, color="0.35", lw=0.6, ls=(0, (1, 3)), zorder=0)
        text_at = max(wave, right_of_last)
        right_of_last = text_at + 0.0165 * (high - low)
        if labels:
            axes.annotate(
                label,
                (text_at, 0.985),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="center",
                va="top",
                fontsize=9,
                color="0.25",
                zorder=6,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
            )


def _legend(axes: Axes, width: int) -> None:
    label = r"observed $\pm 1\sigma$" if width == 1 else f"observed, and its mean over {width} pixels"
    axes.plot([], [], color=GREY, lw=1.2, label=label)
    axes.plot([], [], color=BLUE, lw=1.6, label="posterior prediction: median, 68 %, 95 %")
    axes.legend(loc="lower right", fontsize=9.5, frameon=True, framealpha=0.85, edgecolor="none")


def _wave_limits(prediction: Prediction) -> tuple[float, float]:
    low, high = float(prediction.wave_aa.min()), float(prediction.wave_aa.max())
    air = 0.008 * (high - low) or 1.0
    return low - air, high + air


def _rest_axis(axes: Axes, redshift: float) -> None:
    top = axes.secondary_xaxis("top", functions=(lambda wave: wave / (1 + redshift), lambda rest: rest * (1 + redshift)))
    top.set_xlabel("rest wavelength  [Å]", fontsize=10.5)
    top.tick_params(direction="in", labelsize=10, which="both")
    top.xaxis.set_minor_locator(AutoMinorLocator())
