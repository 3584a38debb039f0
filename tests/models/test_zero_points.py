"""Zero points: planted in mock catalogues, and found."""

import numpy as np
import pytest

import slipher
from slipher import models
from slipher.data.photometry_checks import catalogue_from_arrays
from slipher.errors import InputError
from slipher.models import band_mocks, shipped

PLANTED = {"sdss2010-u": 0.12, "sdss2010-g": -0.05, "sdss2010-r": 0.0, "sdss2010-i": 0.06, "sdss2010-z": -0.13}


@pytest.fixture(scope="module")
def catalogue() -> slipher.Catalogue:
    """SDSS galaxies of known redshift from the simulator of `provabgs`."""
    made = shipped.load("provabgs")
    mocks = [mock for mock, _ in band_mocks.mocks(320, made, seed=5, known_redshift=True)]
    return catalogue_from_arrays(
        np.stack([mock.flux for mock in mocks]), bands=list(PLANTED), unit="nanomaggy", ivar=np.stack([mock.ivar for mock in mocks]),
        redshift=np.array([mock.redshift for mock in mocks]), ebv=np.array([mock.ebv for mock in mocks]),
    )  # fmt: skip


@pytest.mark.slow
def test_planted_zero_points_are_found(catalogue):
    """But for what looks like dust or age: of five bands, more than half of what was planted."""
    off = catalogue.moved({name: -value for name, value in PLANTED.items()})
    before, after = (models.zero_points(some, model="provabgs") for some in (catalogue, off))
    for name, value in PLANTED.items():
        assert abs(before.magnitudes[name]) < 0.03
        assert after.magnitudes[name] - before.magnitudes[name] == pytest.approx(value, abs=0.07)
        assert 0 < after.errors[name] < 0.03
        assert after.galaxies[name] > 50
    missed = [after.magnitudes[name] - before.magnitudes[name] - value for name, value in PLANTED.items()]
    assert np.std(missed) < 0.5 * np.std(list(PLANTED.values()))


def test_moved_bands_have_other_fluxes_and_errors_alike(catalogue):
    moved = catalogue.moved({"sdss2010-g": 0.1})
    np.testing.assert_allclose(moved.flux[:, 1], catalogue.flux[:, 1] * 10**0.04)
    np.testing.assert_allclose(moved.flux[:, 1] ** 2 * moved.ivar[:, 1], catalogue.flux[:, 1] ** 2 * catalogue.ivar[:, 1])
    np.testing.assert_array_equal(moved.flux[:, [0, 2, 3, 4]], catalogue.flux[:, [0, 2, 3, 4]])
    with pytest.raises(InputError, match="a zero point of 'g'; expected one of sdss2010-u"):
        catalogue.moved({"g": 0.1})


def test_what_cannot_be_found_is_said(catalogue):
    with pytest.raises(InputError, match="9 galaxies of known redshift; expected 10 or more"):
        models.zero_points(catalogue[:9])
    with pytest.raises(InputError, match="which is of spectra"):
        models.zero_points(catalogue, model="galaxy")
