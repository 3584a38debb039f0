"""The residual's splines and lines."""

import jax.numpy as jnp
import numpy as np
from scipy.interpolate import BSpline

from slipher.grids.library import load_library
from slipher.networks import residual


def test_splines_are_scipys_cardinal_ones():
    wave = np.geomspace(3000.0, 9000.0, 400)
    mine = residual.splines(wave).toarray()
    steps = residual.KNOTS[0] + residual.STEP * np.arange(-2, len(residual.KNOTS) + 2)
    twin = np.array([np.nan_to_num(BSpline.basis_element(steps[i : i + 5], extrapolate=False)(np.log(wave))) for i in range(200, 260)])
    np.testing.assert_allclose(mine[:, 200:260], twin.T, atol=1e-9)
    np.testing.assert_allclose(mine.sum(1), 1.0, atol=1e-9)


def test_nothing_beyond_the_knots():
    some = residual.Residual(jnp.ones((len(residual.KNOTS), 3)), jnp.zeros((4, 3)))
    at = some.at(np.array([1500.0, 5000.0, 12_000.0]))
    np.testing.assert_allclose(at, [[0, 0, 0], [1, 1, 1], [0, 0, 0]], atol=1e-6)
    assert some.n_latent == 2


def test_strong_lines_are_left_to_the_physics():
    wave = np.asarray(load_library().line_wave_aa)
    faint = wave[residual.faint_lines(wave)]
    assert 10 < len(faint) < len(wave)
    for strong in (6564.6, 4862.7, 5008.2, 3727.1, 6585.3):
        assert np.min(np.abs(faint - strong)) > 4.0
    assert np.min(np.abs(faint - 4687.0)) < 1.0
