"""The library: shapes that belong together, dispersions that keep flux, physics that an astronomer expects."""

import numpy as np
import pytest

from slipher.grids import stars
from slipher.grids.library import broaden, library_sigma, load_library, sigma_nodes
from slipher.units import C_KMS, FWHM_PER_SIGMA


@pytest.fixture(scope="module")
def library():
    return load_library()


def test_is_prepared_once(library):
    assert load_library() is library


def test_grids_increase(library):
    for grid in (library.wave_aa, library.sigma_nodes_kms, library.age_edges_gyr, library.log_z, library.log_u):
        assert np.all(np.diff(grid) > 0)
    np.testing.assert_allclose(library.age_edges_gyr[library.n_young], 0.01, rtol=1e-6)
    np.testing.assert_allclose(sigma_nodes()[[0, -1]], [0.0, 500.0])


def test_broaden_turns_a_spike_into_scipys_gaussian():
    spike = np.zeros((1, 401))
    spike[0, 200] = 1.0
    x = np.arange(401) - 200
    for sigma in (2.0, 7.5):
        gaussian = np.exp(-0.5 * (x / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
        np.testing.assert_allclose(broaden(spike, sigma)[0], gaussian, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 3.0, 14.5])
def test_broaden_keeps_constants_and_flux(sigma):
    rows = np.stack([np.ones(600), np.random.default_rng(0).random(600)])
    wide = broaden(rows, sigma)
    np.testing.assert_allclose(wide[0], 1.0, atol=1e-9)
    np.testing.assert_allclose(wide[1].mean(), rows[1].mean(), rtol=3e-3)


def test_broadening_twice_adds_in_quadrature():
    rows = np.random.default_rng(1).random((3, 900))
    twice = broaden(broaden(rows, 3.0), 4.0)
    np.testing.assert_allclose(twice[:, 100:-100], broaden(rows, 5.0)[:, 100:-100], atol=1e-6)


def test_nodes_are_the_first_one_broadened(library):
    base = np.asarray(library.young[0], float).T[:4]
    step = stars.LOG_WAVE_STEP * np.log(10.0) * C_KMS
    for node in (2, 6):
        expected = broaden(base, float(library.sigma_nodes_kms[node]) / step)
        np.testing.assert_allclose(library.young[node].T[:4], expected, atol=2e-4 * np.abs(base).max())


def test_own_resolution_is_miles_in_the_optical():
    np.testing.assert_allclose(library_sigma(np.array([5000.0])), 2.54 / FWHM_PER_SIGMA / 5000.0 * C_KMS, rtol=1e-6)
    assert np.all(library_sigma(np.linspace(2400.0, 10400.0, 500)) > 20.0)


def test_old_stars_live_less_and_shine_less(library):
    """The surviving fraction of living stars falls with age to about 0.4, and V light with age from 10 Myr on."""
    live = np.asarray(library.live_fraction)
    assert np.all(np.diff(live, axis=1) <= 1e-4)
    assert np.all((live[:, -1] > 0.33) & (live[:, -1] < 0.5))
    light = np.asarray(library.light_v)
    assert np.all(light > 0)
    assert np.all(light[:, 12] > 20 * light[:, -1])


def test_old_stars_of_solar_metallicity_have_a_strong_4000_break(library):
    """Dn4000 (Balogh et al. 1999) of 10 Gyr and 30 Myr."""
    wave = np.asarray(library.wave_aa)
    red, blue = ((wave > a) & (wave < b) for a, b in ((4001.2, 4101.3), (3851.1, 3951.2)))
    spectra = np.asarray(library.old_weights[4]) @ np.asarray(library.old[0]).T * wave**2
    dn4000 = spectra[:, red].mean(1) / spectra[:, blue].mean(1)
    assert dn4000[-2] > 1.8
    assert dn4000[4] < 1.3
    assert np.all(np.diff(dn4000[8:-1]) > 0)
