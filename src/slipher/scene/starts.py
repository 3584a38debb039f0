r"""Where a fit begins: how bright, how large and how wide each source is, as the images show them before anything is fitted.

Each source is given the pixels that are significant, connected to it, nearer to it than to any other, and no brighter than itself: its
size is that of their second moments less the PSF's, its reach the farthest of them. Fluxes are those with which round Gaussians of these
sizes, seen through the PSF, explain an image best, none of them negative.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, optimize, signal

from ..data.image import Cutout
from ..data.image_noise import sky
from .detect import full_width, significance
from .masked import guessed

FAINTEST = 1.5  # significance of what belongs to a source, a pixel
DARK = 1e-3  # of a source's flux in its brightest band: what it starts with in one that says nothing
SMALLEST = 0.2  # of the PSF's width: the least half-light radius that a source starts with
INSIDE = 0.98  # of a source's pixels are within its reach
MODEL_ERROR = 0.3  # of the brightness: no galaxy is a round Gaussian
BRIGHTER = 1.05  # than a source's peak significance, what is not its own


class Starts(NamedTuple):
    """Of each source in one image: fluxes, half-light radius and reach in pixels, and significance; and the image's background."""

    flux: Float[np.ndarray, "source band"]
    radius: Float[np.ndarray, "source"]
    reach: Float[np.ndarray, "source"]
    significance: Float[np.ndarray, "source"]
    background: Float[np.ndarray, "band"]


def starts(image: Cutout, position: Float[np.ndarray, "source 2"]) -> Starts:
    """Of sources at positions (x, y) of an image; those outside of it are as faint and as small as can be."""
    flux, ivar, psf = (np.asarray(x, np.float64) for x in (image.flux, image.ivar, image.psf))
    background = np.array([sky(band[weight > 0]) for band, weight in zip(flux, ivar, strict=True)])
    dark = np.where(ivar > 0, flux - background[:, None, None], 0.0)
    rows, columns = flux.shape[1:]
    inside = image.holds(position)
    x, y = (np.clip(np.rint(p).astype(int), 0, n - 1) for p, n in zip(position.T, (columns, rows), strict=True))
    whole, weight = guessed(dark, ivar, full_width(psf))
    own = _regions(significance(whole, weight, psf), position, x, y, full_width(psf))
    radius, reach = np.array([_extent(one, whole, position[i], psf) for i, one in enumerate(own)]).T
    # Errors of points: no band starts fainter than what it would show, for from nothing there is no way to find how little there is.
    error = np.array([_of_a_point(weight, points) for weight, points in zip(ivar, psf, strict=True)])
    found = np.where(inside[:, None], _fluxes(dark, ivar, psf, position, radius), 0.0)
    floor = np.where(np.isfinite(error), error, DARK * np.maximum(found.max(1, keepdims=True), DARK))
    return Starts(np.maximum(found, floor), radius, reach, np.sqrt(np.sum((found / error) ** 2, 1)), background)


def _of_a_point(ivar: np.ndarray, psf: np.ndarray) -> float:
    """The error of a point's flux where the noise is usual; infinite without data."""
    known = ivar[ivar > 0]
    return float(1.0 / np.sqrt(np.median(known) * np.sum((psf / psf.sum()) ** 2))) if known.size else np.inf


def _regions(nu: np.ndarray, position: np.ndarray, x: np.ndarray, y: np.ndarray, width: float) -> Bool[np.ndarray, "source y x"]:
    """The pixels of each source."""
    rows, columns = np.mgrid[: nu.shape[0], : nu.shape[1]]
    distance = np.hypot(columns - position[:, :1, None], rows - position[:, 1:, None])
    bright = nu > FAINTEST * np.sqrt(np.pi / 4) * width
    connected, _ = ndimage.label(bright)
    nearest = distance.argmin(0)
    return np.stack([
        bright & (nearest == i) & (connected == connected[y[i], x[i]]) & (nu <= BRIGHTER * nu[y[i], x[i]]) for i in range(len(position))
    ])  # fmt: skip


def _extent(own: np.ndarray, flux: np.ndarray, position: np.ndarray, psf: np.ndarray) -> tuple[float, float]:
    """Half-light radius, the PSF taken off, and reach, in pixels."""
    width = full_width(psf)
    rows, columns = np.nonzero(own)
    if not len(rows):
        return SMALLEST * width, width
    squared = (columns - position[0]) ** 2 + (rows - position[1]) ** 2
    light = np.maximum(flux[:, rows, columns].sum(0), 0.0)
    # Of a Gaussian half the light is within 1.18 sd.
    variance = 0.5 * np.sum(light * squared) / max(light.sum(), 1e-30) - (width / 2.355) ** 2
    return 1.18 * np.sqrt(max(variance, (SMALLEST * width / 1.18) ** 2)), max(float(np.quantile(np.sqrt(squared), INSIDE)), width)


def _fluxes(
    flux: np.ndarray, ivar: np.ndarray, psf: np.ndarray, position: np.ndarray, radius: np.ndarray
) -> Float[np.ndarray, "source band"]:
    """By least squares that are not negative, errors being no less than `MODEL_ERROR` of the brightness."""
    rows, columns = np.mgrid[: flux.shape[1], : flux.shape[2]]
    sd = np.maximum(radius / 1.18, 0.5)[:, None, None]
    squared = (columns - position[:, :1, None]) ** 2 + (rows - position[:, 1:, None]) ** 2
    round_ = np.exp(-0.5 * squared / sd**2) / (2.0 * np.pi * sd**2)
    found = np.zeros((len(position), len(flux)))
    for b, (image, weight, points) in enumerate(zip(flux, ivar, psf, strict=True)):
        root = np.sqrt(weight / (1.0 + weight * (MODEL_ERROR * np.maximum(image, 0.0)) ** 2))
        shown = signal.fftconvolve(round_, (points / points.sum())[None], "same", axes=(1, 2))
        found[:, b] = optimize.nnls((root * shown).reshape(len(position), -1).T, (root * image).ravel())[0]
    return found
