"""What is said of several images on the command line: once for all, once for each, or by the file."""

import numpy as np
import pytest

from slipher.cli.of_images import declarations, each, filters_of
from slipher.data.image import Cutout, cutout
from slipher.errors import InputError

NOTHING = dict.fromkeys(("psf", "psf_fwhm", "bands", "saturation", "zero_point", "gain"))


def image(bands: tuple[str, ...], id: str) -> Cutout:
    return cutout(np.ones((len(bands), 6, 7)), variance=np.ones((len(bands), 6, 7)), psf_fwhm=2.0, bands=bands, id=id)


def test_an_option_is_of_all_images_or_of_each_or_of_none():
    assert each("--psf", None, 2) == each("--psf", [], 2) == [None, None]
    assert each("--psf", ["a"], 3) == ["a", "a", "a"]
    assert each("--psf", ["a", "-", "b"], 3) == ["a", None, "b"]
    with pytest.raises(InputError, match=r"--psf 2 times for 3 images; expected one, or 3.*hyphen"):
        each("--psf", ["a", "b"], 3)


def test_declarations_are_arguments_of_read_image():
    said = NOTHING | {"psf": ["-", "hst.fits"], "psf_fwhm": ["4.5", "-"], "bands": ["g, r", "F814W"], "zero_point": ["27,26.5", "25.9"]}
    said["gain"] = ["4,5", "-"]
    assert declarations(2, **said) == [
        {"psf": None, "psf_fwhm": 4.5, "bands": ("g", "r"), "saturation": None, "zero_point": [27.0, 26.5], "gain": [4.0, 5.0]},
        {"psf": "hst.fits", "psf_fwhm": None, "bands": ("F814W",), "saturation": None, "zero_point": 25.9, "gain": None},
    ]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"zero_point": ["twenty"]}, "--zero-point twenty; expected numbers"),
        ({"psf_fwhm": ["4,5"]}, "--psf-fwhm 4,5; expected one number"),
        ({"saturation": [""]}, "--saturation ; expected numbers"),
        ({"bands": ["g", "r", "i"]}, "--bands 3 times for 2 images"),
    ],
)
def test_what_is_said_wrongly_is_refused_with_a_mend(said, words):
    with pytest.raises(InputError, match=words):
        declarations(2, **NOTHING | said)


def test_filters_are_those_of_the_scene_or_of_each_image():
    images, bands = (image(("g", "r"), "hsc"), image(("F814W", "r"), "hst")), ("g", "r", "F814W")
    want = ("hsc2017-g", "hsc2017-r", "acs_wfc-F814W")
    assert filters_of([",".join(want)], images, bands) == want
    assert filters_of(["hsc2017-g, hsc2017-r", "acs_wfc-F814W,hsc2017-r"], images, bands) == want


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["hsc2017-g", "acs_wfc-F814W,hsc2017-r"], "the filters hsc2017-g for the bands g, r of hsc"),
        (["hsc2017-g,hsc2017-r", "acs_wfc-F814W,sdss2010-r"], "hsc2017-r and sdss2010-r for the band r"),
        (["hsc2017-g,hsc2017-r", "-"], "no filters of F814W"),
        (["a", "b", "c"], "--filters 3 times for 2 images"),
    ],
)
def test_filters_that_do_not_match_the_bands_are_refused(given, words):
    images = (image(("g", "r"), "hsc"), image(("F814W", "r"), "hst"))
    with pytest.raises(InputError, match=words):
        filters_of(given, images, ("g", "r", "F814W"))
