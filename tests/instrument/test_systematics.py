"""The error model's templates: against scipy, against finite differences, and in their stated units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import BSpline

from slipher.grids.library import load_library
from slipher.instrument import simulate, spectrograph, surveys
from slipher.instrument import systematics as sys_
from slipher.instrument.systematics import Systematics
from slipher.units import C_KMS

MODEL = Systematics()


@pytest.fixture(scope="module")
def library():
    return load_library()


@pytest.fixture(scope="module")
def view(library):
    survey = surveys.survey("sdss")
    return spectrograph.view(survey.wavelengths(), 0.1, library, lsf_kms=survey.lsf(survey.wavelengths()))


def integral(view, template):
    return float(jnp.sum(template * view.wave_aa * view.width_kms)) / C_KMS


def test_bspline_against_scipy():
    x = np.linspace(-3.0, 3.0, 301)
    twin = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)(x)
    np.testing.assert_allclose(sys_._bspline(jnp.asarray(x, jnp.float32)), np.nan_to_num(twin), atol=1e-6)


def test_mismatch_has_the_stated_amplitude_and_is_local(view):
    """Standard deviation of a sum of splines with normal coefficients, on average over a step."""
    templates = sys_.mismatch_templates(MODEL, view.wave_aa)
    fraction = np.sqrt(np.sum(np.asarray(templates) ** 2, 1)) / np.asarray(MODEL.mismatch_at(view.wave_aa))
    np.testing.assert_allclose(np.sqrt(np.mean(fraction**2)), 1.0, rtol=0.02)
    assert np.all((fraction > 0.8) & (fraction < 1.2))
    i = int(jnp.argmin(jnp.abs(view.wave_aa - 5000.0)))
    covariance = np.asarray(templates @ templates[i])
    assert np.all(covariance[np.abs(np.log(np.asarray(view.wave_aa) / 5000.0)) > 4.1 * sys_.SPLINE_STEP] == 0.0)


def test_calibration_spans_the_covered_pixels(view):
    covered = jnp.where((view.wave_aa > 4500.0) & (view.wave_aa < 7000.0), 1.0, 0.0)
    legendre = np.asarray(sys_.calibration_templates(MODEL, view.wave_aa, covered))
    inside = np.asarray(covered) > 0
    x = np.linspace(-1.0, 1.0, inside.sum())
    expected = np.stack([np.polynomial.Legendre.basis(n)(x) for n in (1, 2, 3)], -1)
    np.testing.assert_allclose(legendre[inside] / MODEL.calibration, expected, atol=0.01)


def test_amplitudes_at_their_knots():
    np.testing.assert_allclose(MODEL.mismatch_at(jnp.asarray(MODEL.knots_aa)), MODEL.mismatch, rtol=1e-6)
    np.testing.assert_allclose(MODEL.floor_at(jnp.array([2500.0, 9800.0])), [MODEL.floor[0], MODEL.floor[-1]])


def test_broad_lines_and_sodium_have_unit_equivalent_width(view):
    np.testing.assert_allclose(integral(view, sys_.broad_template(view, MODEL)), 1.0, rtol=1e-3)
    np.testing.assert_allclose(integral(view, sys_.sodium_template(view)), 1.0, rtol=1e-3)


def test_velocity_derivative_against_a_shifted_spectrum():
    wave = np.geomspace(4000.0, 5000.0, 2000)

    def flux(velocity_kms):
        return 1.0 + 0.3 * np.exp(-0.5 * ((wave / (1 + velocity_kms / C_KMS) - 4500.0) / 6.0) ** 2)

    slope = sys_.velocity_derivative(jnp.asarray(flux(0.0), jnp.float32), jnp.asarray(wave, jnp.float32))
    np.testing.assert_allclose(slope, (flux(5.0) - flux(-5.0)) / 10.0, atol=2e-5)


def test_every_group_has_amplitudes_and_every_line_one_group(library):
    members = sys_.group_matrix(library)
    np.testing.assert_array_equal(members.sum(0), 1.0)
    for amplitude in sys_.group_amplitudes(MODEL, library):
        assert amplitude.shape == (len(members),)
        assert np.all(amplitude >= 0)


def test_lines_scatter_by_a_fraction_and_an_equivalent_width(library):
    members = sys_.group_matrix(library)
    predicted = jnp.asarray(np.random.default_rng(0).uniform(0.5, 3.0, members.shape[1]), jnp.float32)
    level = jnp.float32(0.4)
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.vmap(lambda k: simulate.scatter_lines(k, predicted, level, library, MODEL))(keys)
    totals = np.asarray(drawn) @ members.T
    fraction, ew = sys_.group_amplitudes(MODEL, library)
    total = members @ np.asarray(predicted)
    expected = np.hypot(fraction * total, ew * 0.4)
    np.testing.assert_allclose(totals.std(0), expected, rtol=0.06)
    np.testing.assert_allclose(totals.mean(0), total, atol=5 * expected.max() / np.sqrt(4000))
    np.testing.assert_allclose(drawn[0] / predicted @ members.T / members.sum(1), drawn[0] @ members.T / total, rtol=1e-4)
