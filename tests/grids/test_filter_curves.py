"""The shipped filter curves: what they are, that thinning lost nothing, and what is said about bad names and curves."""

import numpy as np
import pytest

from slipher.errors import InputError
from slipher.grids import filters, store
from slipher.instrument.filters import filter_matrix

STARS = {f"{kelvin} K": kelvin for kelvin in (2500, 3500, 5000, 7000, 12000, 40000)}
SLOPES = {f"slope {power}": power for power in (-4, 0, 2, 6)}


def templates(wave):
    """Smooth spectra [template, pixel] from M stars to O stars, and steep power laws that let leaks shine."""
    planck = [wave**-5 / np.expm1(np.minimum(1.4388e8 / (wave * kelvin), 600.0)) for kelvin in STARS.values()]
    powers = [(wave / wave[0]) ** power for power in SLOPES.values()]
    return np.array([spectrum / spectrum.max() for spectrum in planck + powers])


@pytest.fixture(scope="module")
def full_curves():
    pytest.importorskip("speclite", reason="speclite is not installed")
    pytest.importorskip("sedpy", reason="sedpy is not installed")
    return {curve.name: curve for curve in filters._speclite_curves()[0] + filters._sedpy_curves()[0]}


def test_thinning_changes_no_magnitude_by_a_fifth_of_a_millimagnitude(full_curves):
    worst = {}
    for name, full in full_curves.items():
        wave = np.linspace(full.wave_aa[0] - 1.0, full.wave_aa[-1] + 1.0, 3000)
        rows = np.asarray(filter_matrix([*filters.load_filters([name]), full], wave), float)
        shipped, original = rows @ templates(wave).T
        worst[name] = np.max(np.abs(2.5e3 * np.log10(shipped / original)))
    assert max(worst.values()) < 0.2, worst


def test_shipped_table_holds_every_curve_of_its_sources_and_is_small(full_curves):
    assert set(filters.filter_names()) == set(full_curves)
    assert (store.FOLDER / "filters.safetensors").stat().st_size < 300e3


def test_pivot_wavelengths_are_those_of_the_full_curves(full_curves):
    for name, full in full_curves.items():
        (shipped,) = filters.load_filters([name])
        np.testing.assert_allclose(shipped.pivot_aa, full.pivot_aa, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("name", "pivot_aa"),
    [("sdss2010-r", 6176), ("wise2010-W1", 33682), ("galex-nuv", 2301), ("twomass-Ks", 21603), ("hsc2017-g", 4791), ("acs_wfc-F435W", 4329),
     ("acs_wfc-F606W", 5922), ("acs_wfc-F814W", 8047)],
)  # fmt: skip
def test_pivot_wavelengths_are_those_of_the_literature(name, pivot_aa):
    """As the SVO filter profile service lists them, to 0.2 %."""
    np.testing.assert_allclose(filters.load_filters([name])[0].pivot_aa, pivot_aa, rtol=2e-3)


def test_groups_come_whole_and_in_order():
    curves = filters.load_filters(["sdss2010-*"])
    assert [c.name for c in curves] == [f"sdss2010-{band}" for band in "ugriz"]
    assert filters.filter_names("sdss2010") == tuple(c.name for c in curves)
    assert {c.group for c in curves} == {"sdss2010"}
    assert np.all(np.diff([c.pivot_aa for c in curves]) > 0)


def test_thinned_curves_are_curves():
    for curve in filters.load_filters(filters.filter_names()):
        assert curve.wave_aa.dtype == float
        assert 0.9 < curve.response.max() < 1.1, curve.name


def test_top_hat_pivot_has_its_closed_form():
    hat = filters.FilterCurve("hat", np.array([4000.0, 6000.0]), np.ones(2))
    np.testing.assert_allclose(hat.pivot_aa, np.sqrt((6000**2 - 4000**2) / 2 / np.log(1.5)), rtol=1e-12)
    np.testing.assert_allclose(hat.flat_response, np.log(1.5), rtol=1e-12)


def test_fit_keeps_flux_and_photons_of_a_rough_curve():
    wave = np.linspace(5000.0, 6000.0, 401)
    noisy = np.exp(-0.5 * ((wave - 5500) / 120) ** 2) + np.random.default_rng(1).uniform(0, 0.01, wave.size)
    curve = filters.FilterCurve("rough", wave, noisy)
    thin = filters.thinned(curve)
    again = filters._fitted(curve, wave[::20])
    for power in (0, 1):
        kept = np.trapezoid(np.interp(wave, wave[::20], again) * wave**power, wave)
        np.testing.assert_allclose(kept, np.trapezoid(noisy * wave**power, wave), rtol=2e-4)
    assert thin.wave_aa.size < wave.size


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sdss2010-x", "sdss2010-"), ("SDSS2010-R", "sdss2010-r"), ("decam-g", "decam"), ("lsst-*", "lsst20")],
)
def test_unknown_names_are_answered_with_those_that_come_close(name, expected):
    with pytest.raises(InputError, match=rf"Did you mean .*{expected}"):
        filters.load_filters([name])


def test_a_name_like_no_other_is_answered_with_what_to_do():
    with pytest.raises(InputError, match=r"filter_names\(\) lists them.*FilterCurve"):
        filters.load_filters(["qqqq"])


@pytest.mark.parametrize(
    ("wave", "response", "expected"),
    [
        ([4000.0], [1.0], "at least two"),
        ([4000.0, 5000.0, 6000.0], [1.0, 1.0], "as many wavelengths as responses"),
        ([4000.0, 5000.0], [1.0, np.nan], "finite"),
        ([5000.0, 4000.0], [1.0, 1.0], "strictly increasing"),
        ([4000.0, 4000.0], [1.0, 1.0], "strictly increasing"),
        ([0.0, 4000.0], [1.0, 1.0], "positive"),
        ([4000.0, 5000.0], [1.0, -0.1], "not negative"),
        ([4000.0, 5000.0], [0.0, 0.0], "positive somewhere"),
    ],
)
def test_what_is_not_a_curve_is_refused(wave, response, expected):
    with pytest.raises(InputError, match=f"'mine'.*{expected}"):
        filters.FilterCurve.from_arrays("mine", wave, response)
