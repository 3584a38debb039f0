"""Images of a piece of sky, checked: one grid of pixels in one or more bands, with weights and point-spread functions.

As in spectra `ivar == 0` means that a pixel carries no information, and there are no other masks past this door. The world coordinate
system stays an astropy object: it is asked once, when an exposure of a scene is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS
from jaxtyping import Bool, Float, Float32

from slipher.data.image_noise import noise, shot_variance
from slipher.errors import Flag, InputError

NO_FLAG = Flag(0)
UNNORMALISED = 0.02  # by which a PSF's sum may be off one without a word
LEAST = 5  # pixels of a side
HELD = 1e-12, 1e12  # noise in the images' unit, between which single precision holds squares of images and of weights
ABSURD = -1e2, 1e7  # of the noise, from zero or a median below it: what no sky and no source are
UNNAMED = "band_{}"  # the name of a band that has none
GIVE_PSF = "Give one image of a star, background taken off, for each band (--psf FILE), or its width (--psf-fwhm PIXELS)."
GIVE_ZERO = "Give AB magnitudes of a flux of one, in the bands' order."
GIVE_GAIN = "Give electrons for a flux of one, in the bands' order."


@dataclass(frozen=True, eq=False, kw_only=True)
class Cutout:
    """Images that share their pixels.

    Parameters
    ----------
    flux
        In any linear unit, the same in all bands or not. float32 [band, y, x].
    ivar
        Inverse variance; 0 where there is no information. float32 [band, y, x].
    psf
        What the pixels record of a point source, its centre in the middle; of sum one. float32 [band, v, u].
    bands
        Their names.
    wcs
        Celestial coordinates of the pixels (two axes), or None.
    zero_point
        AB magnitude of a flux of one in each band, or None where that is not known. float64 [band].
    id, flags, source, checksum
        As of spectra.
    """

    flux: Float32[np.ndarray, "band y x"]
    ivar: Float32[np.ndarray, "band y x"]
    psf: Float32[np.ndarray, "band v u"]
    bands: tuple[str, ...]
    wcs: WCS | None = None
    zero_point: Float[np.ndarray, "band"] | None = None
    id: str = "image"
    flags: Flag = NO_FLAG
    source: str = ""
    checksum: str = ""

    def holds(self, position: Float[np.ndarray, "source 2"]) -> Bool[np.ndarray, "source"]:
        """Which positions (x, y) are on a pixel of it."""
        rows, columns = self.flux.shape[1:]
        return np.all((position > -0.5) & (position < np.array([columns, rows]) - 0.5), axis=1)

    def cut(self, rows: slice, columns: slice) -> "Cutout":
        """A part of it, with the coordinates of its own pixels."""
        flux, ivar = (each[:, rows, columns] for each in (self.flux, self.ivar))
        return replace(self, flux=flux, ivar=ivar, wcs=None if self.wcs is None else self.wcs[rows, columns])


def cutout(
    flux: np.ndarray | Sequence[np.ndarray], *, psf: np.ndarray | Sequence[np.ndarray] | None = None, psf_fwhm: float | None = None,
    variance: np.ndarray | Sequence[np.ndarray] | None = None, ivar: np.ndarray | Sequence[np.ndarray] | None = None,
    mask: np.ndarray | Sequence[np.ndarray] | None = None, saturation: float | None = None,
    gain: float | Sequence[float] | None = None, bands: Sequence[str] | None = None,
    wcs: WCS | None = None, zero_point: float | Sequence[float] | None = None, id: str = "image", source: str = "", checksum: str = "",
) -> Cutout:  # fmt: skip
    """Images from arrays.

    Parameters
    ----------
    flux
        [band, y, x], [y, x], or a sequence of [y, x].
    psf, psf_fwhm
        An image of a point for each band or one for all, or the width of a Gaussian in pixels.
    variance, ivar
        One of them; with neither, the variance is that of the sky, the same everywhere, and the answer is flagged.
    mask
        True where a pixel is bad.
    saturation
        Flux from which a pixel is.
    gain
        Electrons for a flux of one, exposures counted together: one for all bands, or one for each. It adds the shot noise of what is
        brighter than the sky to the variance. Leave it out where the variance has it already.
    zero_point
        AB magnitude of a flux of one: one for all bands, or one for each.

    Raises
    ------
    InputError
        If shapes or numbers do not agree, no pixel has information, the unit is one that single precision does not hold, or there is no
        PSF.
    """
    images, noted = stacked(flux, "flux"), NO_FLAG
    if min(images.shape[1:]) < LEAST:
        raise InputError(f"images of {images.shape[1:]} pixels", expected=f"at least {LEAST} by {LEAST}", mend="Give a larger cutout.")
    names = tuple(bands) if bands is not None else tuple(UNNAMED.format(i) for i in range(len(images)))
    if len(names) != len(images) or len(set(names)) != len(names):
        came = f"{id}: the bands {', '.join(names)} for {len(images)} images"
        raise InputError(came, expected="one name each, no two alike", mend="Mend the names.")
    bad = np.zeros(images.shape, bool) if mask is None else _like(mask, images, "mask").astype(bool)
    if saturation is not None:
        full = images >= saturation
        bad, noted = bad | full, noted | (Flag.SATURATED_PIXELS if full.any() else NO_FLAG)
    weight, found = _weights(images, variance, ivar, bad)
    unusable = ~np.isfinite(images)
    noted |= found | (Flag.NON_FINITE_PIXELS if unusable.any() else NO_FLAG)
    weight = np.where(bad | unusable, 0.0, weight)
    absurd = np.stack([_absurd(image, known) for image, known in zip(images, weight, strict=True)])
    noted |= Flag.ABSURD_PIXELS if absurd.any() else NO_FLAG
    weight, unusable = np.where(absurd, 0.0, weight), unusable | absurd
    if gain is not None:
        each = zip(images, weight, _of_bands(gain, names, id, "gains", GIVE_GAIN, positive=True), strict=True)
        shot = np.stack([shot_variance(np.where(w > 0, image, np.nan), g) for image, w, g in each])
        weight = weight / (1.0 + weight * shot)
    if not (weight > 0).any():
        raise InputError(
            f"{id}: no pixel with information", expected="finite fluxes with positive variances", mend="Check mask and variance."
        )
    typical = float(np.median(weight[weight > 0])) ** -0.5
    if not HELD[0] < typical < HELD[1]:
        mend = "Multiply them by a power of ten, and add 2.5 log10 of it to the zero point."
        raise InputError(f"{id}: images with a noise of {typical:.1g}", expected=f"{HELD[0]:g} to {HELD[1]:g}, in their unit", mend=mend)
    points, found = _psfs(psf, psf_fwhm, len(images))
    zeros = None if zero_point is None else _of_bands(zero_point, names, id, "zero points", GIVE_ZERO)
    return Cutout(
        flux=np.where(unusable, 0.0, images).astype(np.float32), ivar=weight.astype(np.float32), psf=points.astype(np.float32), bands=names,
        wcs=None if wcs is None else wcs.celestial, zero_point=zeros, id=id,
        flags=noted | found, source=source, checksum=checksum,
    )  # fmt: skip


def stacked(images: np.ndarray | Sequence[np.ndarray], what: str) -> Float[np.ndarray, "band y x"]:
    """[band, y, x] in double precision.

    Raises
    ------
    InputError
        For images of different shapes, or arrays of other dimensions.
    """
    each = [np.asarray(image) for image in images] if not isinstance(images, np.ndarray) else [*images] if images.ndim == 3 else [images]
    shapes = {image.shape for image in each}
    if len(shapes) != 1 or any(image.ndim != 2 for image in each):
        came = f"{what} of shapes {', '.join(str(image.shape) for image in each) or 'none'}"
        raise InputError(came, expected="[band, y, x], or images of one shape", mend="Bands on other pixels are observations of their own.")
    try:
        return np.stack(each).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} of type {each[0].dtype}", expected="numbers", mend="Check the array.") from error


def _like(values: np.ndarray | Sequence[np.ndarray], images: np.ndarray, what: str) -> np.ndarray:
    """One array for each image, or one for all."""
    found = stacked(values, what)
    if found.shape[1:] != images.shape[1:] or len(found) not in (1, len(images)):
        raise InputError(
            f"{what} of shape {found.shape} for images of {images.shape}", expected="the images' shape", mend=f"Mend the {what}."
        )
    return np.broadcast_to(found, images.shape)


def _of_bands(
    given: float | Sequence[float], bands: tuple[str, ...], id: str, what: str, mend: str, *, positive: bool = False
) -> Float[np.ndarray, "band"]:
    """One for each band."""
    try:
        found = np.atleast_1d(np.asarray(given, np.float64))
    except (TypeError, ValueError):
        found = np.array([np.nan])
    usable = np.isfinite(found).all() and not (positive and np.any(found <= 0))
    if found.shape not in ((1,), (len(bands),)) or not usable:
        expected = f"a {'positive ' if positive else ''}number for all bands, or one for each"
        raise InputError(f"{id}: the {what} {given} for the bands {', '.join(bands)}", expected=expected, mend=mend)
    return np.broadcast_to(found, len(bands)).copy()


def _weights(images: np.ndarray, variance, ivar, bad: Bool[np.ndarray, "band y x"]) -> tuple[Float[np.ndarray, "band y x"], Flag]:
    """1/variance, and what is wrong with it."""
    if variance is not None and ivar is not None:
        raise InputError("variance and ivar", expected="one of them", mend="Leave one out.")
    if variance is None and ivar is None:
        sky = [noise(np.where(out, np.nan, image)) for image, out in zip(images, bad, strict=True)]
        return np.broadcast_to(np.array(sky)[:, None, None] ** -2.0, images.shape), Flag.VARIANCE_ESTIMATED
    given = _like(variance if ivar is None else ivar, images, "variance" if ivar is None else "ivar")
    # An ivar of zero is how it is said that there is nothing; a variance of zero is a mistake.
    wrong = ~np.isfinite(given) | ((given <= 0) if ivar is None else (given < 0))
    usable = np.where(wrong | (given == 0), 1.0, given)
    weight = np.where(wrong | (given == 0), 0.0, 1.0 / usable if ivar is None else usable)
    return weight, Flag.NON_POSITIVE_ERRORS if (wrong & ~bad).any() else NO_FLAG


def _absurd(image: Float[np.ndarray, "y x"], weight: Float[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """Pixels whose numbers stand for something else: that there is nothing, or a particle."""
    known = weight > 0
    # Where a galaxy fills an image its sky is far below the median; but no sky is far below zero unless most of it is.
    level = min(float(np.median(image[known])), 0.0) if known.any() else 0.0
    off = np.where(known, image - level, 0.0) * np.sqrt(weight)
    return (off < ABSURD[0]) | (off > ABSURD[1])


def _psfs(psf, psf_fwhm: float | None, n_bands: int) -> tuple[Float[np.ndarray, "band v u"], Flag]:
    """PSFs of sum one, and whether they came so."""
    if psf is None and psf_fwhm is None:
        raise InputError("no PSF", expected="a point-spread function", mend=GIVE_PSF)
    if psf is not None and psf_fwhm is not None:
        raise InputError("a PSF and a width", expected="one of them", mend="Leave one out.")
    if psf_fwhm is not None:
        if not (np.isfinite(psf_fwhm) and 0.5 < psf_fwhm < 100):
            raise InputError(f"a PSF {psf_fwhm} pixels wide", expected="0.5 to 100 pixels", mend="Give the full width at half maximum.")
        return np.repeat(_gaussian(psf_fwhm)[None], n_bands, 0), NO_FLAG
    points = stacked(psf, "PSF")
    if len(points) not in (1, n_bands):
        raise InputError(f"{len(points)} PSFs for {n_bands} bands", expected="one each, or one for all", mend=GIVE_PSF)
    total = points.sum((1, 2), keepdims=True)
    if not np.isfinite(points).all() or np.any(total <= 0) or np.any(points.max((1, 2)) <= 0):
        raise InputError("a PSF that is not finite, or without light", expected="an image of a point source", mend=GIVE_PSF)
    changed = np.any(np.abs(total - 1.0) > UNNORMALISED)
    return np.broadcast_to(points / total, (n_bands, *points.shape[1:])).copy(), Flag.PSF_NORMALISED if changed else NO_FLAG


def _gaussian(fwhm: float) -> Float[np.ndarray, "v u"]:
    """A round one of sum one; four widths to each side."""
    half = int(np.ceil(2.0 * fwhm)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    psf = np.exp(-4.0 * np.log(2.0) * (x**2 + y**2) / fwhm**2)
    return psf / psf.sum()
