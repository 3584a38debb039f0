"""The observation class, resolution and air wavelengths against independent twins."""

import numpy as np
import pytest
import survey_files as survey
from scipy.sparse import dia_array

from slipher.data import resolution, spectrum
from slipher.data.observation import Spectrum
from slipher.data.vacuum import air_to_vacuum, vacuum_to_air
from slipher.errors import Flag, InputError
from slipher.units import C_KMS, FWHM_PER_SIGMA


def arrays(n_pixel=300):
    wave = np.linspace(4000.0, 7000.0, n_pixel)
    return wave, np.ones(n_pixel, np.float32), np.full(n_pixel, 4.0, np.float32)


def made(**changes):
    wave, flux, ivar = arrays()
    return Spectrum(**({"wave_aa": wave, "flux": flux, "ivar": ivar, "lsf_kms": np.full_like(flux, 60.0)} | changes))


def test_median_sn_counts_only_pixels_with_information():
    assert made().median_sn() == pytest.approx(2.0)
    ivar = np.zeros(300, np.float32)
    ivar[:3] = 100.0
    assert made(ivar=ivar).median_sn() == pytest.approx(10.0)
    assert made(ivar=0 * ivar).median_sn() == 0.0


def test_it_has_one_segment_by_default():
    assert made().segments == ((0, 300),)


@pytest.mark.parametrize("segments", [((0, 200),), ((0, 200), (150, 300)), ((0, 0), (0, 300)), ((100, 300),)])
def test_segments_tile_the_pixels(segments):
    with pytest.raises(InputError, match="segments"):
        made(segments=segments)


def test_exactly_one_resolution():
    with pytest.raises(InputError, match="no resolution"):
        made(lsf_kms=None)
    with pytest.raises(InputError, match="both"):
        made(resolution_matrix=survey.gaussian_diagonals(300, 0.9))


def test_matrix_rows_are_those_of_scipys_dia_array():
    diagonals = np.random.default_rng(0).normal(size=(5, 40))
    dense = dia_array((diagonals, np.array([2, 1, 0, -1, -2])), shape=(40, 40)).toarray()
    rows = resolution.matrix_rows(diagonals)
    for k, offset in enumerate([2, 1, 0, -1, -2]):
        for i in range(40):
            expected = dense[i, i + offset] if 0 <= i + offset < 40 else 0.0
            assert rows[k, i] == expected


def test_the_sigma_of_a_matrix_of_gaussians_is_theirs():
    wave = 5760 + 0.8 * np.arange(400)
    matrix = survey.gaussian_diagonals(400, 0.85)
    sigma = resolution.matrix_sigma_kms(matrix, wave, ((0, 400),))
    expected = 0.85 * np.linspace(1.0, 1.1, 400) * 0.8 / wave * C_KMS
    np.testing.assert_allclose(sigma[5:-5], expected[5:-5], rtol=2e-3)
    np.testing.assert_allclose(sigma, expected, rtol=1e-2)


def test_a_turned_matrix_broadens_as_before():
    wave, flux, ivar = arrays(200)
    matrix = survey.gaussian_diagonals(200, 0.9)
    straight = spectrum(wave, flux, ivar=ivar, resolution_matrix=matrix)
    turned = spectrum(wave[::-1], flux, ivar=ivar, resolution_matrix=matrix[::-1, ::-1])
    assert Flag.WAVELENGTHS_REORDERED in turned.flags
    np.testing.assert_array_equal(straight.resolution_matrix, turned.resolution_matrix)


def test_nearest_good_against_a_loop():
    rng = np.random.default_rng(1)
    values, good = rng.normal(size=50), rng.random(50) < 0.2
    index = np.flatnonzero(good)
    expected = [values[index[np.argmin(np.abs(index - i))]] for i in range(50)]
    np.testing.assert_array_equal(resolution.nearest_good(values, good), expected)


def test_wdisp_is_in_pixels_of_1e_4_dex():
    assert resolution.from_wdisp(np.array([1.0]))[0] == pytest.approx(69.03, abs=0.01)


@pytest.mark.parametrize("survey_name", ["sdss", "boss", "desi"])
def test_typical_resolutions_are_those_of_the_instruments(survey_name):
    wave = np.linspace(3800, 9000, 50)
    power = C_KMS / (FWHM_PER_SIGMA * resolution.typical_kms(survey_name, wave))
    assert power.min() > 1150
    assert power.max() < 5600


# Morton (1991, ApJS 77, 119) by way of SDSS's table of lines: air, vacuum.
LINES = {"[O II]": (3728.82, 3729.88), "H beta": (4861.33, 4862.69), "[O III]": (5006.84, 5008.24)}
LINES |= {"Na D": (5889.95, 5891.58), "H alpha": (6562.80, 6564.61), "[S II]": (6730.82, 6732.68)}


@pytest.mark.parametrize("line", LINES)
def test_air_to_vacuum_of_published_lines(line):
    air, vacuum = LINES[line]
    assert air_to_vacuum(np.array([air]))[0] == pytest.approx(vacuum, abs=0.015)


def test_air_to_vacuum_inverts_vacuum_to_air():
    wave = np.geomspace(2100, 30000, 500)
    np.testing.assert_allclose(air_to_vacuum(vacuum_to_air(wave)), wave, rtol=1e-13)
    np.testing.assert_array_equal(air_to_vacuum(np.array([1215.67])), [1215.67])


def test_air_against_specutils():
    wcs_utils = pytest.importorskip("specutils.utils.wcs_utils")
    import astropy.units as u

    wave = np.geomspace(3000, 10000, 100)
    theirs = wcs_utils.vac_to_air(wave * u.AA, method="Ciddor1996").to_value(u.AA)
    np.testing.assert_allclose(vacuum_to_air(wave), theirs, rtol=1e-9)
