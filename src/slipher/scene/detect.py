r"""Sources of an exposure, and where a fit may start: peaks of significance, bands together.

    d = sum_b (w_b Y_b) * psf_b,  v = sum_b w_b * psf_b^2,   nu = d / sqrt(v)

is the significance of a point source of a flat spectrum in units of its noise (the matched filter; Zackay & Ofek 2017, ApJ 836, 187), the
background of each band taken off; that of each band alone is looked at beside it, for sources are red or blue, and the most significant
counts. What is extended or beside something brighter has no peak in nu, but in nu sharpened: less its mean over a few PSFs. Sharpening
costs significance, and is only asked for where nu is not low round about. The brightest peaks come first, each at least most of a PSF from
the others.
"""

from typing import NamedTuple

import numpy as np
from astropy.stats import sigma_clip
from jaxtyping import Float
from scipy import ndimage, signal

THRESHOLD = 5.0  # of significance, plain and sharpened
APART = 0.6  # of the PSF's full width at half maximum, between peaks
AROUND, LOW = 7.0, 1.5  # of that width, what is round about; mean significance there (of 5 at most) up to which a source is alone
WIDE = 1.5  # of that width, the scale over which a mean is taken off to sharpen
CLIP, CLIPS = 3.0, 20  # of the background's sd; times


class Detections(NamedTuple):
    """Positions in pixels (x, y), significance of each, and the background of each band."""

    position: Float[np.ndarray, "source 2"]
    significance: Float[np.ndarray, "source"]
    background: Float[np.ndarray, "band"]


def detect(
    flux: Float[np.ndarray, "band y x"], ivar: Float[np.ndarray, "band y x"], psf: Float[np.ndarray, "band v u"], *,
    threshold: float = THRESHOLD,
) -> Detections:  # fmt: skip
    """Sources of images on one grid, the most significant first; pixels without information count for nothing."""
    background = np.array([sky(image[weight > 0]) for image, weight in zip(flux, ivar, strict=True)])
    dark, width, seen = flux - background[:, None, None], full_width(psf), (ivar > 0).any(0)
    each = [slice(None), *(slice(i, i + 1) for i in range(len(flux)))] if len(flux) > 1 else [slice(None)]
    maps = [_maps(dark[bands], ivar[bands], psf[bands], WIDE * width / 2.355) for bands in each]
    plain, sharp = (np.max(both, 0) for both in zip(*maps, strict=True))
    radius = max(APART * width, 1.0)
    ball = np.hypot(*np.mgrid[-int(radius) : int(radius) + 1, -int(radius) : int(radius) + 1]) <= radius
    around = ndimage.uniform_filter(np.where(seen, np.clip(plain, 0.0, threshold), 0.0), round(AROUND * width))
    usable = seen & (plain > threshold) & ((sharp > threshold) | (around < LOW))
    peaks = np.argwhere(usable & (sharp == ndimage.maximum_filter(sharp, footprint=ball)))
    order = np.argsort(-plain[tuple(peaks.T)], kind="stable")
    position = np.array([_centred(sharp, int(y), int(x)) for y, x in peaks[order]]).reshape(-1, 2)
    return Detections(position, plain[tuple(peaks[order].T)], background)


def _maps(flux: np.ndarray, ivar: np.ndarray, psf: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """nu, and nu sharpened, in sigma each."""
    plain, seen = significance(flux, ivar, psf), (ivar > 0).any(0)
    share = ndimage.gaussian_filter(seen.astype(float), scale)
    mean = ndimage.gaussian_filter(np.where(seen, plain, 0.0), scale) / np.maximum(share, 1e-3)
    return plain, (plain - mean) / _sharpened_noise(psf, scale)


def significance(flux: np.ndarray, ivar: np.ndarray, psf: np.ndarray) -> Float[np.ndarray, "y x"]:
    """nu."""
    unit = psf / psf.sum((1, 2), keepdims=True)
    signal_, noise = (
        sum(signal.fftconvolve(a, b[::-1, ::-1], "same") for a, b in zip(maps, kernels, strict=True))
        for maps, kernels in ((ivar * flux, unit), (ivar, unit**2))
    )
    return signal_ / np.sqrt(np.maximum(noise, 1e-12 * max(noise.max(), 1e-300)))


def full_width(psf: Float[np.ndarray, "band v u"]) -> float:
    """Full width at half maximum of the mean PSF, pixels, by the area that is brighter than half of the peak."""
    mean = psf.mean(0)
    return float(2.0 * np.sqrt(max(np.sum(mean > 0.5 * mean.max()), 1) / np.pi))


def sky(pixels: Float[np.ndarray, "pixel"]) -> float:
    """The background: the median of pixels, those beyond some sd clipped from above and below."""
    if not len(pixels):
        return 0.0
    return float(np.median(sigma_clip(pixels, sigma=CLIP, maxiters=CLIPS, stdfunc="mad_std", masked=False)))


def _sharpened_noise(psf: np.ndarray, scale: float) -> float:
    """sd of sharpened significance where there is noise alone: that of the PSF less its smoothed self, over the PSF's."""
    mean = psf.mean(0)
    left = mean - ndimage.gaussian_filter(mean, scale)
    return float(np.sqrt(np.sum(left**2) / np.sum(mean**2)))


def _centred(image: np.ndarray, y: int, x: int) -> tuple[float, float]:
    """x and y of a peak, by parabolas through its neighbours."""

    def part(before: float, here: float, after: float) -> float:
        bend = before - 2.0 * here + after
        return 0.0 if bend >= 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))

    rows, columns = image.shape
    dx = part(*image[y, x - 1 : x + 2]) if 0 < x < columns - 1 else 0.0
    dy = part(*image[y - 1 : y + 2, x]) if 0 < y < rows - 1 else 0.0
    return x + dx, y + dy
