"""Detection: planted sources are found where they are, noise is not, and neither masks nor a background matter.

Neighbours without a peak of their own are found, and what is bright and structured is not taken for several.
"""

import numpy as np
import pytest
from scipy import ndimage, spatial
from test_render import moffat

from slipher.scene import detect

SHAPE, NOISE = (80, 90), 0.05
STARS = np.array([(20.3, 30.6, 40.0), (26.8, 31.2, 12.0), (60.0, 55.4, 6.0), (70.7, 20.2, 3.0)])  # x, y, flux
WIDTH = 3.6  # of the PSF, pixels
ONE = NOISE / np.sqrt(1.25 * np.sum(moffat() ** 2))  # flux of a star whose S/N in both bands is one


def images(seed: int = 0, background: float = 0.0, stars: np.ndarray = STARS) -> np.ndarray:
    """Two bands of point sources, the second half as bright."""
    return noisy(points(stars), seed) + background


def points(stars: np.ndarray) -> np.ndarray:
    """Stars in one band, without noise."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sky = np.zeros(SHAPE)
    norm = moffat().max()
    for px, py, flux in stars:
        r = np.hypot(x - px, y - py)
        sky += flux * norm * (1.0 + (2.0 * r / WIDTH) ** 2 * (2.0 ** (1 / 3) - 1)) ** -3.0
    return sky


def noisy(sky: np.ndarray, seed: int) -> np.ndarray:
    """Two bands, the second half as bright."""
    return np.stack([sky, 0.5 * sky]) + NOISE * np.random.default_rng(seed).standard_normal((2, *SHAPE))


def galaxy(sn: float, sd: float, spread: np.ndarray | None = None) -> np.ndarray:
    """A round Gaussian in the middle through a PSF that is one, or points (x, y, share) beside it, of an S/N in both bands."""
    sky = points(np.array([(44.6, 40.3, 1.0)] if spread is None else spread))
    sky = ndimage.gaussian_filter(sky, sd) if sd else sky
    return sky * sn * NOISE / np.sqrt(1.25 * np.sum(sky**2))


def found(flux: np.ndarray, ivar: np.ndarray | None = None) -> detect.Detections:
    ivar = np.full_like(flux, NOISE**-2) if ivar is None else ivar
    return detect.detect(flux, ivar, np.stack([moffat()] * 2))


def off(got: detect.Detections, place: tuple[float, float]) -> float:
    """Distance of the nearest detection, in widths of the PSF."""
    return float(np.hypot(*(got.position - place).T).min()) / WIDTH


@pytest.mark.parametrize("background", [0.0, 3.0])
def test_stars_are_found_where_they_are_the_brightest_first(background):
    got = found(images(background=background))
    np.testing.assert_allclose(got.position, STARS[:, :2], atol=0.4)
    np.testing.assert_allclose(got.background, background, atol=0.02)
    assert np.all(np.diff(got.significance) < 0)


def test_significance_is_that_of_a_matched_filter():
    """Of a star alone: its flux over the error of the best linear estimate, in both bands."""
    star = np.array([(45.0, 40.0, 10.0)])
    got = found(images(1, stars=star))
    want = np.sum([f * 10.0 for f in (1.0, 0.5)]) * np.sum(moffat() ** 2) / NOISE / np.sqrt(2 * np.sum(moffat() ** 2))
    assert got.significance[0] == pytest.approx(want, rel=0.08)


def test_noise_alone_is_no_source():
    assert sum(len(found(images(seed, stars=STARS[:0])).position) for seed in range(20)) <= 1


@pytest.mark.parametrize(("apart", "sn"), [(1.2, 100.0), (1.0, 300.0)])
def test_a_close_pair_is_two(apart, sn):
    """Of S/N that are usual, at distances where the image has one peak."""
    for seed in range(5):
        pair = np.array([(44.0, 40.4, sn * ONE), (44.0 + apart * WIDTH, 41.0, 0.8 * sn * ONE)])
        got = found(images(seed, stars=pair))
        assert len(got.position) == 2
        assert max(off(got, place) for place in pair[:, :2]) < 0.35


def test_a_faint_source_on_a_brighter_ones_shoulder_is_found():
    """A star of 40 sigma, 2 PSFs from the middle of a galaxy of 300 sigma that is brighter there, without a peak."""
    place = (44.6 + 2.0 * WIDTH, 40.3)
    for seed in range(5):
        got = found(noisy(galaxy(300.0, 3.0) + points(np.array([(*place, 40.0 * ONE)])), seed))
        assert len(got.position) == 2
        assert off(got, (44.6, 40.3)) < 0.3
        assert off(got, place) < 0.7


def test_a_faint_extended_galaxy_beside_a_star_is_found_once():
    """Of 20 sigma, 2 PSFs wide, where light of a bright star is near: it has no sharp peak."""
    star = points(np.array([(65.0, 40.0, 200.0 * ONE)]))
    for seed in range(5):
        got = found(noisy(galaxy(20.0, 3.0) + star, seed))
        assert len(got.position) == 2
        assert off(got, (44.6, 40.3)) < 1.2


@pytest.mark.parametrize("sn", [300.0, 1000.0])
def test_what_is_bright_and_elliptical_is_one(sn):
    """As bright on one side as on the other, and three times as long as wide."""
    bar = np.array([(44.6 + d, 40.3 + 0.3 * d, np.exp(-0.5 * (d / 5.0) ** 2)) for d in np.arange(-14.0, 15.0)])
    for seed in range(5):
        assert len(found(noisy(galaxy(sn, 2.0, bar), seed)).position) == 1


def test_a_knotty_galaxy_is_hardly_shredded():
    """Of 200 sigma, with a fifth of its light in a dozen of points: half a source too many in the mean."""
    more = 0
    for seed in range(12):
        rng = np.random.default_rng([9, seed])
        knots = np.column_stack([44.6 + 3.0 * rng.standard_normal(12), 40.3 + 3.0 * rng.standard_normal(12), np.full(12, 1.0)])
        sky = 0.8 * galaxy(1.0, 3.0) / galaxy(1.0, 3.0).sum() + 0.2 * points(knots) / points(knots).sum()
        more += len(found(noisy(sky * 200.0 * NOISE / np.sqrt(1.25 * np.sum(sky**2)), seed)).position) - 1
    assert 0 <= more <= 6


@pytest.mark.parametrize("sd", [6.0, 9.0, 12.0])
def test_a_galaxy_with_a_flat_top_is_one_where_its_middle_is(sd):
    """Of which noise makes the peak, pixels off."""
    for seed in range(3):
        got = found(noisy(galaxy(1500.0, sd), seed))
        assert len(got.position) == 1
        assert off(got, (44.6, 40.3)) < 0.1


def test_masked_pixels_hide_nothing_else():
    flux = images(2)
    ivar = np.full_like(flux, NOISE**-2)
    ivar[:, :, 40:44], flux[:, :, 40:44] = 0.0, 1e6
    ivar[0, 10:12] = 0.0
    tree = spatial.cKDTree(found(flux, ivar).position)
    assert tree.query(STARS[:, :2])[0].max() < 0.5
    assert len(tree.data) == len(STARS)


def test_a_galaxy_that_an_edge_or_a_mask_cuts_is_one():
    """Its other side is unknown, not dark."""
    for masked in (slice(0, 42), slice(54, 57)):
        flux = noisy(galaxy(500.0, 3.0), 3)
        ivar = np.full_like(flux, NOISE**-2)
        ivar[:, :, masked] = 0.0
        assert len(found(flux, ivar).position) == 1
    flux = noisy(np.roll(galaxy(500.0, 3.0), -42, axis=1), 4)
    assert len(found(flux[:, :, :60]).position) == 1


@pytest.mark.parametrize("mask", [(slice(28, 34), slice(18, 23)), (slice(None), slice(20, 22)), (slice(29, 32), slice(None))])
def test_what_has_no_middle_is_one(mask):
    """A bright star, saturated or on a bad column, and a bright galaxy in its place."""
    for sky in (10.0 * points(STARS[:1]), np.roll(galaxy(500.0, 3.0), (-10, -24), (0, 1))):
        flux = noisy(sky, 5)
        ivar = np.full_like(flux, NOISE**-2)
        ivar[:, *mask], flux[:, *mask] = 0.0, 1e6
        got = found(flux, ivar)
        assert len(got.position) == 1
        assert off(got, (20.4, 30.5)) < 0.4
