r"""Sources of an exposure, and where a fit may start: peaks of significance, and what of the light no symmetric source explains.

    d = sum_b (w_b Y_b) * psf_b,  v = sum_b w_b * psf_b^2,   f = d / v,   nu = d / sqrt(v)

are the flux of a point source of a flat spectrum and its significance (the matched filter; Zackay & Ofek 2017, ApJ 836, 187), the
background of each band taken off; those of each band alone are looked at beside them, for sources are red or blue, and the most
significant counts. Detection has two steps.

Peaks of nu sharpened, less its mean over half a PSF, come first, for sharpened neighbours are two for longer; each has to stand some sigma
above the saddle to a higher one. Sharpening costs significance: peaks of nu itself count where nothing sharp is near. Holes in an image
are no reason to divide what lies under them: light goes on through them as `masked` guesses, but only what is seen makes a source.

Then every source found is given the most that it can have if it is as bright on one side of its centre as on the other (Lupton et al. 2001,
ASP 238, 269): at r about its centre the less bright of f(r) and f(-r), their mean where they agree within errors. What is significant of
the rest is a source that made no peak of its own. There is too little of it near the others, who were given all that they could have; so a
newcomer moves to where it is the brightest when the others are given what it leaves.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, signal

from ..data.image import Cutout
from ..data.image_noise import sky
from .masked import guessed

THRESHOLD = 5.0  # of significance
DEPTH = 4.0  # of significance, by which a peak stands above the saddle to a higher one
REACH = 3.0  # of the PSF's full width at half maximum, how far higher ones are looked for
SHARP = 0.5  # of that width, the scale over which a mean is taken off to sharpen
TOP, FLAT = 0.7, 2.2  # of a peak, what is its top; and of that width, the side of a square from which tops are flat
APART, MERGED = 0.6, 1.2  # of that width, between sources, and between peaks of nu and sharper ones
ASYMMETRY = 0.1  # of their brightness, to which sources are symmetric
UNEXPLAINED = 7.0  # significance of a source beside others
AGREED = 3.0  # sigma up to which the two sides of a source are the same
FAINT = 3.0  # significance down to which light belongs to what it surrounds
MOVES = 3  # of a newcomer


class Detections(NamedTuple):
    """Positions in pixels (x, y), significance of each, of newcomers that of the rest, and the background of each band."""

    position: Float[np.ndarray, "source 2"]
    significance: Float[np.ndarray, "source"]
    background: Float[np.ndarray, "band"]


class Filtered(NamedTuple):
    """f and its variance, which is enormous where there is no information."""

    flux: Float[np.ndarray, "y x"]
    variance: Float[np.ndarray, "y x"]

    @property
    def significance(self) -> Float[np.ndarray, "y x"]:
        """nu."""
        return self.flux / np.sqrt(self.variance)


def detect(
    flux: Float[np.ndarray, "band y x"], ivar: Float[np.ndarray, "band y x"], psf: Float[np.ndarray, "band v u"], *,
    threshold: float = THRESHOLD,
) -> Detections:  # fmt: skip
    """Sources of images on one grid, the most significant first; pixels without information are no reason to find any."""
    background = np.array([sky(image[weight > 0]) for image, weight in zip(flux, ivar, strict=True)])
    dark, width, seen = flux - background[:, None, None], full_width(psf), (ivar > 0).any(0)
    whole, weight = guessed(dark, ivar, width)
    each = [slice(None), *(slice(i, i + 1) for i in range(len(flux)))] if len(flux) > 1 else [slice(None)]
    maps = [filtered(whole[bands], weight[bands], psf[bands]) for bands in each]
    # Guesses say where a source is, not that there is one.
    shown = np.max([significance(dark[bands], ivar[bands], psf[bands]) for bands in each], 0)
    known = (weight > 0).any(0)
    plain = np.where(known, np.max([one.significance for one in maps], 0), 0.0)
    scale = SHARP * width / 2.355
    sharp = np.max([_sharpened(one.significance, known, psf[bands], scale) for one, bands in zip(maps, each, strict=True)], 0)
    peaks = _peaks(plain, sharp, ndimage.binary_erosion(known, border_value=1) & (shown > threshold), width, threshold)
    columns, rows = np.rint(peaks).astype(int).T
    peaks = _middles(plain, peaks, width)
    newcomers, left = _all_newcomers(maps, plain, seen, peaks, width, UNEXPLAINED / THRESHOLD * threshold)
    position, height = np.concatenate([peaks, newcomers]), np.concatenate([shown[rows, columns], left])
    order = np.argsort(-height, kind="stable")
    return Detections(position[order], height[order], background)


def gathered(
    there: list[Float[np.ndarray, "_ 2"]], images: tuple[Cutout, ...], maps: list[tuple[np.ndarray, np.ndarray]],
    known: Float[np.ndarray, "known 2"], apart: float = 1.0,
) -> Float[np.ndarray, "source 2"]:  # fmt: skip
    """`known` positions, and behind them what was found in several images, in pixels of the first and inside of it.

    The sharpest image comes first, for it tells neighbours apart; what is nearer to a known one than `apart` of its PSF is the same.
    `maps` are the Jacobian and origin of each image's pixels as a function of those of the first.
    """
    widths = [full_width(one.psf) / np.sqrt(abs(np.linalg.det(jacobian))) for one, (jacobian, _) in zip(images, maps, strict=True)]
    for i in np.argsort(widths, kind="stable"):
        jacobian, origin = maps[i]
        here = np.linalg.solve(jacobian, (there[i] - origin).T).T
        distance = np.hypot(*(here[:, None] - known).T).T
        known = np.concatenate([known, here[images[0].holds(here) & np.all(distance > apart * widths[i], axis=1)]])
    return known


# --- the filter ------------------------------------------------------------------------------------------------------


def filtered(flux: Float[np.ndarray, "band y x"], ivar: Float[np.ndarray, "band y x"], psf: Float[np.ndarray, "band v u"]) -> Filtered:
    """f of images whose background is zero."""
    unit = psf / psf.sum((1, 2), keepdims=True)
    signal_, weight = (
        sum(signal.fftconvolve(a, b[::-1, ::-1], "same") for a, b in zip(maps, kernels, strict=True))
        for maps, kernels in ((ivar * flux, unit), (ivar, unit**2))
    )
    weight = np.maximum(weight, 1e-12 * max(weight.max(), 1e-300))
    return Filtered(signal_ / weight, 1.0 / weight)


def significance(flux: np.ndarray, ivar: np.ndarray, psf: np.ndarray) -> Float[np.ndarray, "y x"]:
    """nu."""
    return filtered(flux, ivar, psf).significance


def full_width(psf: Float[np.ndarray, "band v u"]) -> float:
    """Full width at half maximum of the mean PSF, pixels, by the area that is brighter than half of the peak."""
    mean = psf.mean(0)
    return float(2.0 * np.sqrt(max(np.sum(mean > 0.5 * mean.max()), 1) / np.pi))


# --- peaks -----------------------------------------------------------------------------------------------------------


def _peaks(plain: np.ndarray, sharp: np.ndarray, usable: np.ndarray, width: float, threshold: float) -> Float[np.ndarray, "peak 2"]:
    """Positions of peaks of nu and of nu sharpened, none near a more significant one."""
    kept = np.zeros((0, 2))
    for image, apart in ((sharp, APART), (plain, MERGED)):
        rows, columns = np.nonzero(_standing(image, REACH * width) & usable & (np.minimum(image, plain) > threshold))
        for i in np.argsort(-plain[rows, columns], kind="stable"):
            place = _centred(image, int(rows[i]), int(columns[i]))
            if np.hypot(*(kept - place).T).min(initial=np.inf) > max(apart * width, 1.0):
                kept = np.append(kept, [place], 0)
    return kept


def _sharpened(nu: np.ndarray, seen: np.ndarray, psf: np.ndarray, scale: float) -> Float[np.ndarray, "y x"]:
    """nu less its mean, in units of what is then its noise: that of the PSF less its smoothed self, over the PSF's."""
    share = ndimage.gaussian_filter(seen.astype(float), scale)
    mean = ndimage.gaussian_filter(np.where(seen, nu, 0.0), scale) / np.maximum(share, 1e-3)
    points = psf.mean(0)
    left = points - ndimage.gaussian_filter(points, scale)
    return (nu - mean) / np.sqrt(np.sum(left**2) / np.sum(points**2))


def _standing(image: np.ndarray, reach: float) -> np.ndarray:
    """Peaks that stand `DEPTH` above any way to a higher pixel that is so near: what lowered light flows back to is none."""
    lowered = flooded = image - DEPTH
    for _ in range(round(reach)):
        flooded = np.minimum(ndimage.maximum_filter(flooded, 3), image)
    return (image == ndimage.maximum_filter(image, 3)) & (flooded <= lowered)


def _middles(nu: np.ndarray, peaks: Float[np.ndarray, "peak 2"], width: float) -> Float[np.ndarray, "peak 2"]:
    """Where sources with a flat top have their middle: noise says where of it is the peak.

    That is the mean place of what is connected and nearly as bright, where that is wide, holds no other peak, and is there as bright.
    """
    if not len(peaks):
        return peaks
    moved, (columns, rows) = peaks.copy(), np.rint(peaks).astype(int).T
    _, nearest = _nearest(peaks, nu.shape)
    for i, (x, y) in enumerate(zip(columns, rows, strict=True)):
        tops, _ = ndimage.label(nu > TOP * nu[y, x])
        top = tops == tops[y, x]
        if np.all(nearest[top] == i) and top.sum() > (FLAT * width) ** 2:
            there = ndimage.center_of_mass(np.where(top, nu - TOP * nu[y, x], 0.0))
            if ndimage.map_coordinates(nu, np.array([there]).T, order=1)[0] > nu[y, x] - DEPTH:
                moved[i] = there[::-1]
    return moved


def _centred(image: np.ndarray, y: int, x: int) -> tuple[float, float]:
    """x and y of a peak, by parabolas through its neighbours."""

    def part(before: float, here: float, after: float) -> float:
        bend = before - 2.0 * here + after
        return 0.0 if bend >= 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))

    rows, columns = image.shape
    dx = part(*image[y, x - 1 : x + 2]) if 0 < x < columns - 1 else 0.0
    dy = part(*image[y - 1 : y + 2, x]) if 0 < y < rows - 1 else 0.0
    return x + dx, y + dy


# --- what peaks do not explain ---------------------------------------------------------------------------------------


class Piece(NamedTuple):
    """Part of an image: which pixels of the whole have information, and where its own first pixel is (y, x)."""

    seen: Bool[np.ndarray, "y x"]
    corner: tuple[int, int]

    def unknown(self, at: Float[np.ndarray, "2 v u"]) -> Bool[np.ndarray, "v u"]:
        """Which of its places (y, x) are without information."""
        whole = at + np.array(self.corner)[:, None, None]
        return ~ndimage.map_coordinates(self.seen, whole, order=0, cval=False)


def _all_newcomers(
    maps: list[Filtered], plain: np.ndarray, seen: np.ndarray, peaks: np.ndarray, width: float, threshold: float
) -> tuple[Float[np.ndarray, "newcomer 2"], Float[np.ndarray, "newcomer"]]:
    """What peaks leave, with significance; each connected piece of light is looked at alone."""
    columns, rows = np.rint(peaks).astype(int).T
    pieces, _ = ndimage.label(plain > FAINT)
    # Half a PSF from a mask f is that of one side, and of what is wide not that of the middle.
    seen = ndimage.binary_erosion(seen, iterations=max(round(width), 1), border_value=1)
    position, height = [np.zeros((0, 2))], [np.zeros(0)]
    for i, (down, right) in enumerate(ndimage.find_objects(pieces), 1):
        own = peaks[pieces[rows, columns] == i]
        if len(own):
            box = tuple(slice(max(s.start - round(width), 0), s.stop + round(width)) for s in (down, right))
            cut = [Filtered(one.flux[box], one.variance[box]) for one in maps]
            corner = np.array([box[1].start, box[0].start])
            new, left = _newcomers(cut, Piece(seen, (box[0].start, box[1].start)), own - corner, width, threshold)
            position.append(new + corner)
            height.append(left)
    return np.concatenate(position), np.concatenate(height)


def _newcomers(
    maps: list[Filtered], piece: Piece, peaks: np.ndarray, width: float, threshold: float
) -> tuple[Float[np.ndarray, "newcomer 2"], Float[np.ndarray, "newcomer"]]:
    """Sources among peaks that explain less than there is, the most significant first."""
    # At an edge what is brightest need not be a peak.
    rows, columns = (slice(start, start + n) for start, n in zip(piece.corner, maps[0].flux.shape, strict=True))
    usable = ndimage.binary_erosion(piece.seen)[rows, columns]
    position, height = peaks, []
    explained = [_shares(one, one.flux, peaks, piece) for one in maps]
    while True:
        error = [np.sqrt(one.variance + (ASYMMETRY * has) ** 2) for one, has in zip(maps, explained, strict=True)]
        rest = np.array([(one.flux - has) / e for one, has, e in zip(maps, explained, error, strict=True)])
        best = np.where(usable & (_nearest(position, usable.shape)[0] > APART * width), rest.max(0), 0.0)
        best = np.where(best == ndimage.maximum_filter(rest.max(0), 5), best, 0.0)
        y, x = np.unravel_index(best.argmax(), best.shape)
        if best[y, x] <= threshold:
            return position[len(peaks) :], np.array(height)
        one = maps[rest[:, y, x].argmax()]
        place = _moved(one, position, _centred(rest.max(0), int(y), int(x)), width, piece)
        position, height = np.append(position, [place], 0), [*height, best[y, x]]
        explained = [_shares(one, one.flux, position, piece) for one in maps]


def _moved(one: Filtered, others: np.ndarray, place: tuple[float, float], width: float, piece: Piece) -> tuple[float, float]:
    """Where a newcomer is once the others have only what it leaves of the light."""
    own = np.maximum(one.flux - _shares(one, one.flux, others, piece), 0.0)
    for _ in range(MOVES):
        for _ in range(2):
            left = one.flux - _shares(one, one.flux - own, others, piece)
            own = _shares(one, np.maximum(left, 0.0), np.array([place]), piece)
        nu = left / np.sqrt(one.variance)
        x, y = (max(round(p) - 2, 0) for p in place)
        window = nu[y : y + 5, x : x + 5]
        row, column = np.unravel_index(window.argmax(), window.shape)
        there = _centred(nu, y + int(row), x + int(column))
        if np.hypot(*(others - there).T).min() < APART * width:
            return place
        place = there
    return place


def _shares(one: Filtered, flux: np.ndarray, position: np.ndarray, piece: Piece) -> Float[np.ndarray, "y x"]:
    """The most of the light that sources can have together, each by itself."""
    _, nearest = _nearest(position, flux.shape)
    smooth, total = ndimage.spline_filter(flux), np.zeros_like(flux)
    y, x = np.mgrid[: flux.shape[0], : flux.shape[1]]
    for i, (x_0, y_0) in enumerate(position):
        at = np.array([2.0 * y_0 - y, 2.0 * x_0 - x])
        other = ndimage.map_coordinates(smooth, at, prefilter=False)
        variance = ndimage.map_coordinates(one.variance, at, order=0, mode="nearest")
        agree = np.abs(flux - other) < AGREED * np.sqrt(one.variance + variance)
        mean = (flux * variance + other * one.variance) / (variance + one.variance)
        share = np.where(agree, mean, np.minimum(flux, other))
        # Where nobody knows how bright the other side is, what is nearest may be all its own.
        total += np.maximum(np.where(piece.unknown(at), np.where(nearest == i, flux, 0.0), share), 0.0)
    return total


def _nearest(position: np.ndarray, shape: tuple[int, int]) -> tuple[Float[np.ndarray, "y x"], np.ndarray]:
    """Distance of each pixel to the nearest source, and which that is."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(x - position[:, 0, None, None], y - position[:, 1, None, None])
    return distance.min(0), distance.argmin(0)
