"""Figures of a simulated blend: the image, truth, each code's model and what it leaves, and below each source alone; `blends` calls it."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from blend_scores import scores, truth

COLOURS = (3, 2, 0)  # bands shown red, green, blue
SOFT = 0.05  # of the brightest: where the scale turns from linear to logarithmic
LEFT = 5.0  # sigma at which residuals are saturated


def draw(folder: Path, told: dict[str, dict[str, np.ndarray]]) -> Path:
    """FOLDER.png beside the folder."""
    with np.load(folder / "blend.npz") as file:
        blend = dict(file)
    told = {code: one for code, one in told.items() if "sources" in one}
    known, n = truth(blend), len(blend["position"])
    scored = {code: scores(one["sources"], blend, known) for code, one in told.items()}
    figure, axes = plt.subplots(1 + n, 2 + 2 * len(told), figsize=(2.3 * (2 + 2 * len(told)), 2.4 * (1 + n)), squeeze=False)
    whole = blend["true_images"].sum(0)
    show = _shower(whole)
    sd = np.sqrt(blend["variance"])
    _panel(axes[0, 0], show(blend["images"]), f"{folder.name}", blend["true_position"])
    _panel(axes[0, 1], show(whole), "truth")
    for k, (code, one) in enumerate(told.items()):
        model = one["model"] if "model" in one else one["sources"].sum(0)
        left = (blend["images"] - model) / sd
        _panel(axes[0, 2 + 2 * k], show(model), code)
        _residual(axes[0, 3 + 2 * k], left.sum(0) / np.sqrt(len(left)), f"left, chi2 {np.mean(left**2):.3f}")
    for i in range(n):
        own = _shower(blend["true_images"][i])
        axes[1 + i, 0].axis("off")
        axes[1 + i, 0].text(
            0.0, 0.5, f"{i + 1}: {blend['true_kind'][i]}\nS/N {known.sn[i]:.0f}\noverlap {known.overlap[i]:.2f}", va="center"
        )
        _panel(axes[1 + i, 1], own(blend["true_images"][i]), "")
        for k, (code, one) in enumerate(told.items()):
            of = scored[code]
            _panel(axes[1 + i, 2 + 2 * k], own(one["sources"][i]), f"df {100 * np.median(of.flux[i]):+.1f} %, off {of.distance[i]:.2f}")
            off = ((one["sources"][i] - blend["true_images"][i]) / sd).sum(0) / np.sqrt(len(sd))
            _residual(axes[1 + i, 3 + 2 * k], off, f"lost {of.lost[i]:+.2f}, gained {of.gained[i]:+.2f}")
    figure.tight_layout(pad=0.3, h_pad=1.2)
    path = folder.with_suffix(".png")
    figure.savefig(path, dpi=70)
    plt.close(figure)
    return path


def _shower(like: np.ndarray):
    """From fluxes [band, y, x] to colours, on the scale of an image."""
    soft = SOFT * np.maximum(like[list(COLOURS)].max((1, 2)), 1e-9)[:, None, None]
    top = np.arcsinh(1.0 / SOFT)
    return lambda image: np.clip(np.arcsinh(image[list(COLOURS)] / soft) / top, 0.0, 1.0).transpose(1, 2, 0)


def _panel(axis, image: np.ndarray, title: str, places: np.ndarray | None = None) -> None:
    axis.imshow(image, origin="lower", interpolation="nearest")
    if places is not None:
        for i, (x, y) in enumerate(places):
            axis.text(x, y, str(i + 1), color="white", ha="center", va="center", fontsize=8)
    _titled(axis, title)


def _residual(axis, image: np.ndarray, title: str) -> None:
    axis.imshow(image, origin="lower", interpolation="nearest", cmap="RdBu_r", vmin=-LEFT, vmax=LEFT)
    _titled(axis, title)


def _titled(axis, title: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
