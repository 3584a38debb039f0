"""Several images of one sky: what lets them be fitted together, and which of them are bands of one image."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import or_

import numpy as np

from slipher.data.image import UNNAMED, Cutout
from slipher.errors import InputError

SAME_MAG = 0.005  # by which zero points of one band may differ
SAME_PIXELS = 0.01  # by which pixels of bands of one image may be off each other
GIVE_WCS = "Add the keywords of one, or fit the images one by one."
GIVE_NAMES = "Name the bands of each image, those of different filters differently (bands=, --bands)."


def of_one_sky(images: Sequence[Cutout]) -> tuple[Cutout, ...]:
    """Images that can be fitted together; neighbours in the list that share their pixels, and no band, are one image.

    Each needs coordinates, and a band of several means one filter and one unit of flux. Bands stay in their order.

    Raises
    ------
    InputError
        If there are none, one of several has no coordinates, bands without names are taken for one, or the zero points of a band differ.
    """
    if not images:
        raise InputError("no images", expected="one, or several of one sky", mend="Name them.")
    if len(images) > 1:
        _comparable(images)
    together = [[images[0]]]
    for before, image in pairwise(images):
        bands = [band for one in together[-1] for band in one.bands]
        if set(bands) & set(image.bands) or not _same_pixels(before, image):
            together.append([])
        together[-1].append(image)
    return tuple(_one(some) for some in together)


def _comparable(images: Sequence[Cutout]) -> None:
    seen: dict[str, Cutout] = {}
    for image in images:
        if image.wcs is None:
            raise InputError(f"{image.id} without coordinates", expected="a FITS WCS in each of several images", mend=GIVE_WCS)
        for i, band in enumerate(image.bands):
            first = seen.setdefault(band, image)
            if first is not image and band == UNNAMED.format(i):
                raise InputError(f"bands without names in {first.id} and {image.id}", expected="names", mend=GIVE_NAMES)
            zeros = [None if one.zero_point is None else one.zero_point[one.bands.index(band)] for one in (first, image)]
            if None not in zeros and abs(zeros[1] - zeros[0]) > SAME_MAG:
                came = f"the zero points {zeros[0]:g} and {zeros[1]:g} of {band} in {first.id} and {image.id}"
                raise InputError(came, expected="one unit of flux a band", mend="Scale one, or " + GIVE_NAMES[0].lower() + GIVE_NAMES[1:])


def _same_pixels(one: Cutout, other: Cutout) -> bool:
    """Whether images are of one grid, which their PSFs' middles are on in both or in neither, and say their zero points both or neither."""
    if one.flux.shape[1:] != other.flux.shape[1:] or (one.zero_point is None) != (other.zero_point is None):
        return False
    if any((a - b) % 2 for a, b in zip(one.psf.shape[1:], other.psf.shape[1:], strict=True)):
        return False
    rows, columns = one.flux.shape[1:]
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, columns - 1, 3), np.linspace(0, rows - 1, 3)))
    there = other.wcs.world_to_pixel(one.wcs.pixel_to_world(x, y))
    return bool(np.all(np.hypot(there[0] - x, there[1] - y) < SAME_PIXELS))


def _one(images: list[Cutout]) -> Cutout:
    """Bands of the same pixels as one image."""
    if len(images) == 1:
        return images[0]
    size = np.max([image.psf.shape[1:] for image in images], axis=0)
    margins = [[(0, 0), *((n, n) for n in (size - image.psf.shape[1:]) // 2)] for image in images]
    zeros = [image.zero_point for image in images]
    return replace(
        images[0], flux=np.concatenate([image.flux for image in images]), ivar=np.concatenate([image.ivar for image in images]),
        psf=np.concatenate([np.pad(image.psf, margin) for image, margin in zip(images, margins, strict=True)]),
        bands=tuple(band for image in images for band in image.bands), zero_point=None if zeros[0] is None else np.concatenate(zeros),
        id="+".join(image.id for image in images), flags=reduce(or_, (image.flags for image in images)),
        source=" ".join(image.source for image in images), checksum=" ".join(image.checksum for image in images),
    )  # fmt: skip
