"""What is said of images on the command line: an option once for all of them, or once for each, in their order.

A hyphen in the place of one leaves it to the image's file, as leaving the option out does for all.
"""

from collections.abc import Callable, Sequence
from typing import Any

from slipher.data.image import Cutout
from slipher.errors import InputError

FILES = "-"  # what the file says
ONCE = "Give it once for all images, or once for each in their order, with a hyphen for what the file says."


def each(option: str, given: Sequence[str] | None, n: int) -> list[str | None]:
    """What an option says of each of n images, None where the file is to say it.

    Raises
    ------
    InputError
        If it is given neither once nor n times.
    """
    if not given:
        return [None] * n
    if len(given) not in (1, n):
        raise InputError(f"{option} {len(given)} times for {n} images", expected=f"one, or {n}", mend=ONCE)
    texts = list(given) * (n if len(given) == 1 else 1)
    return [None if text.strip() == FILES else text for text in texts]


def declarations(
    n: int, *, psf: Sequence[str] | None, psf_fwhm: Sequence[str] | None, bands: Sequence[str] | None, saturation: Sequence[str] | None,
    zero_point: Sequence[str] | None, gain: Sequence[str] | None,
) -> list[dict]:  # fmt: skip
    """Arguments of `slipher.read_image` for each of n images.

    Raises
    ------
    InputError
        If something is no number, or said of another number of images.
    """
    said = {"psf": each("--psf", psf, n), "bands": _parsed("--bands", bands, n, lambda option, text: listed(text))}
    said |= {"psf_fwhm": _parsed("--psf-fwhm", psf_fwhm, n, _number), "saturation": _parsed("--saturation", saturation, n, _number)}
    said |= {"zero_point": _parsed("--zero-point", zero_point, n, _numbers), "gain": _parsed("--gain", gain, n, _numbers)}
    return [{name: values[i] for name, values in said.items()} for i in range(n)]


def filters_of(given: Sequence[str], images: Sequence[Cutout], bands: Sequence[str]) -> tuple[str, ...]:
    """The filter of each of a scene's bands: said once, in the order of `bands`, or of the bands of each image.

    Raises
    ------
    InputError
        If an image has another number of bands, or a band has no filter, or two.
    """
    if len(given) == 1:
        return listed(given[0])
    found: dict[str, str] = {}
    for image, text in zip(images, each("--filters", given, len(images)), strict=True):
        names = () if text is None else listed(text)
        if text is not None and len(names) != len(image.bands):
            came = f"the filters {text} for the bands {', '.join(image.bands)} of {image.id}"
            raise InputError(came, expected="one for each, in their order", mend="Name them: hsc2017-g,hsc2017-r,...")
        for band, name in zip(image.bands, names, strict=False):
            if found.setdefault(band, name) != name:
                came = f"the filters {found[band]} and {name} for the band {band}"
                raise InputError(came, expected="one filter a band", mend="Call bands of different filters differently: --bands.")
    missing = [band for band in bands if band not in found]
    if missing:
        raise InputError(f"no filters of {', '.join(missing)}", expected="one for each band", mend=ONCE)
    return tuple(found[band] for band in bands)


def listed(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part.strip() for part in text.split(","))


def _parsed(option: str, given: Sequence[str] | None, n: int, read: Callable[[str, str], Any]) -> list:
    return [None if text is None else read(option, text) for text in each(option, given, n)]


def _numbers(option: str, text: str) -> float | list[float]:
    """One for all bands, or one for each."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} {text}", expected="numbers with commas between", mend="Write 27, say.") from error
    return found[0] if len(found) == 1 else found


def _number(option: str, text: str) -> float:
    found = _numbers(option, text)
    if isinstance(found, list):
        raise InputError(f"{option} {text}", expected="one number for an image", mend=ONCE)
    return found
