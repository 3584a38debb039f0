"""Guesses of masked pixels: near what would be there where it is bright, nothing where the sky is dark, none beyond reach."""

import numpy as np
import pytest
from test_detect import NOISE, SHAPE, STARS, WIDTH, galaxy, points

from slipher.scene.masked import REACH, guessed


def holed(sky: np.ndarray, hole: tuple[slice, slice], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One band with noise, and its 1/variance, zero in the hole; what is in the hole is absurd."""
    flux = (sky + NOISE * np.random.default_rng(seed).standard_normal(SHAPE))[None]
    ivar = np.full_like(flux, NOISE**-2)
    flux[:, *hole], ivar[:, *hole] = 1e9, 0.0
    return flux, ivar


@pytest.mark.parametrize(
    ("sky", "hole", "off"),
    [
        (20.0 * points(STARS[:1]), (slice(None), slice(20, 21)), 0.15),
        (20.0 * points(STARS[:1]), (slice(29, 33), slice(18, 22)), 0.35),
        (3000.0 * galaxy(1.0, 3.0), (slice(39, 42), slice(None)), 0.05),
        (3000.0 * galaxy(1.0, 3.0), (slice(36, 44), slice(40, 48)), 0.15),
    ],
)
def test_what_is_bright_goes_on_through_a_hole(sky, hole, off):
    flux, ivar = holed(sky, hole)
    whole, weight = guessed(flux, ivar, WIDTH)
    assert np.abs(whole[0] - sky)[hole].sum() < off * sky[hole].sum()
    assert np.all(weight == NOISE**-2)
    np.testing.assert_array_equal(whole[ivar > 0], flux[ivar > 0])


def test_there_is_nothing_in_holes_of_a_dark_sky():
    for seed in range(10):
        hole = np.s_[10 + seed : 20 + seed, 30:41]
        whole, _ = guessed(*holed(np.zeros(SHAPE), hole, seed), WIDTH)
        assert np.abs(whole[0][hole]).max() < 2.0 * NOISE


def test_what_is_far_from_all_that_is_seen_stays_unknown():
    flux, ivar = holed(np.zeros(SHAPE), np.s_[:, 40:])
    whole, weight = guessed(flux, ivar, WIDTH)
    column = np.arange(SHAPE[1])
    np.testing.assert_array_equal(weight[0].min(0) > 0, column - 39 <= REACH * WIDTH)
    np.testing.assert_array_equal(whole[weight == 0], 0.0)


def test_what_has_no_hole_and_what_has_no_data_are_left_alone():
    flux = np.random.default_rng(1).standard_normal((2, *SHAPE))
    ivar = np.stack([np.ones(SHAPE), np.zeros(SHAPE)])
    whole, weight = guessed(flux, ivar, WIDTH)
    np.testing.assert_array_equal(whole, flux)
    np.testing.assert_array_equal(weight, ivar)
