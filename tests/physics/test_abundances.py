"""Offsets of absorption features: none is none, and each family moves what is its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.physics import abundances

WAVE = jnp.asarray(np.geomspace(3600.0, 9000.0, 4000), jnp.float32)


def test_no_offset_changes_nothing():
    np.testing.assert_array_equal(abundances.transmission(jnp.zeros(len(abundances.FAMILIES)), WAVE, jnp.float32(100.0)), 1.0)
    assert not np.any(abundances.draw(jax.random.key(0), 0.0))


@pytest.mark.parametrize("family", abundances.FAMILIES)
def test_each_family_deepens_its_own_features(family):
    offsets = jnp.asarray([float(name == family) for name in abundances.FAMILIES])
    found = np.asarray(abundances.transmission(offsets, WAVE, jnp.float32(0.0)))
    own = [f for f in abundances.FEATURES if f[0] == family]
    for _, centre, _, depth in own:
        assert 1.0 - np.interp(centre, WAVE, found) == pytest.approx(depth, rel=0.5)
    far = np.min([np.abs(np.asarray(WAVE) - centre) / width for _, centre, width, _ in own], axis=0) > 1.5
    np.testing.assert_allclose(found[far], 1.0, atol=1e-4)


def test_motions_widen_a_feature_and_keep_its_strength():
    offsets = jnp.asarray([float(name == "sodium") for name in abundances.FAMILIES])
    areas = []
    for sigma in (0.0, 300.0):
        found = np.asarray(abundances.transmission(offsets, WAVE, jnp.float32(sigma)))
        near = (WAVE > 5800) & (WAVE < 6000)
        areas.append(np.trapezoid(1.0 - found[near], np.asarray(WAVE)[near]))
        if sigma:
            assert 1.0 - np.interp(5893.0, WAVE, found) < 0.04
    assert areas[1] == pytest.approx(areas[0], rel=0.03)
