"""Residuals of the sky: where the sky has lines, in units of the noise, correlated within a family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.instrument import sky

WAVE = np.arange(3800.0, 9200.0, 1.0)
SHAPES = sky.templates(WAVE)


def drawn(n: int, amplitude: float) -> np.ndarray:
    sigma = jnp.ones(len(WAVE))
    keys = jax.random.split(jax.random.key(0), n)
    return np.asarray(jax.vmap(lambda key: sky.residuals(key, jnp.asarray(SHAPES), sigma, amplitude))(keys))


def test_they_lie_at_sky_lines_only():
    far = np.all(np.abs(WAVE[:, None] - np.array(sky.SKY_LINES_AA)) > 10.0, axis=1)
    for low, high in sky.OH_BANDS_AA:
        far &= (low - 20 > WAVE) | (high + 20 < WAVE)
    assert far.sum() > 2000
    assert not SHAPES[far].any()
    assert np.abs(SHAPES[np.abs(WAVE - 5578.9) < 3.0]).max() > 1.0


def test_an_amplitude_of_one_is_about_the_noise():
    found = drawn(300, 1.0)
    at_lines = np.sqrt(np.mean(found[:, (WAVE > 8300) & (WAVE < 8480)] ** 2))
    assert 0.3 < at_lines < 2.5
    assert not drawn(3, 0.0).any()


def test_lines_of_a_family_rise_together():
    rank = np.linalg.matrix_rank(drawn(60, 1.0) / np.abs(drawn(60, 1.0)).max(), tol=1e-3)
    assert rank <= 3 * (sky.N_FAMILIES + 1)


def test_the_order_of_wavelengths_does_not_matter():
    order = np.random.default_rng(0).permutation(len(WAVE))
    np.testing.assert_allclose(sky.templates(WAVE[order]), SHAPES[order], atol=1e-6)
    assert sky.templates(np.array([4500.0]))[0] == pytest.approx(0.0)
