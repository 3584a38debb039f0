"""What is mixed into simulated spectra: blends and wrong redshifts, against spectra whose answer is plain."""

import jax.numpy as jnp
import numpy as np
import pytest

from slipher.instrument import simulate
from slipher.models import latent_set
from slipher.physics import agn
from slipher.units import C_KMS

WAVE = np.geomspace(3800.0, 9000.0, 3000)


def galaxies(blend: tuple[float, float], blend_shift: float, redshift_shift: float) -> tuple[simulate.Emitted, latent_set.Truth]:
    """Two flat galaxies, the second three times as bright with a line at 6000 A."""
    line = 5.0 * np.exp(-0.5 * ((WAVE - 6000.0) / 5.0) ** 2)
    light = simulate.Emitted(
        jnp.asarray([np.ones_like(WAVE), 3.0 * np.ones_like(WAVE)], jnp.float32),
        jnp.asarray([np.zeros_like(WAVE), line], jnp.float32),
        jnp.zeros((2, 1)),
    )
    nothing = agn.Nucleus(*[jnp.zeros(2)] * 7)
    shifts = [jnp.full(2, x, jnp.float32) for x in (blend_shift, redshift_shift)]
    return light, latent_set.Truth(jnp.zeros((2, 1)), jnp.full(2, 13.0), nothing, jnp.zeros((2, 1)), jnp.asarray(blend), *shifts)


def mixed(*how) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    light, lit = latent_set.mixed(*galaxies(*how), jnp.asarray(WAVE, jnp.float32))
    return np.asarray(light.continuum), np.asarray(light.lines), np.asarray(lit)


def test_nothing_mixed_is_nothing_changed():
    continuum, lines, lit = mixed((0.0, 0.0), 0.1, 0.0)
    light, _ = galaxies((0.0, 0.0), 0.1, 0.0)
    np.testing.assert_allclose(continuum, light.continuum, rtol=1e-5)
    np.testing.assert_allclose(lines, light.lines, atol=1e-4)
    assert lit.all()


def test_a_blend_has_the_others_light_at_its_own_redshift():
    """Half as bright as the galaxy, whatever the other's brightness; its line where its redshift puts it."""
    shift = 0.05
    continuum, lines, _ = mixed((0.5, 0.0), shift, 0.0)
    np.testing.assert_allclose(continuum[0], 1.5, rtol=1e-4)
    peak = WAVE[np.argmax(lines[0])]
    assert C_KMS * np.log(peak / (6000.0 * np.exp(shift))) == pytest.approx(0.0, abs=120.0)
    assert lines[0].max() == pytest.approx(0.5 * 5.0 / 3.0, rel=0.02)


@pytest.mark.parametrize("shift", [0.08, -0.08])
def test_a_wrong_redshift_moves_all_light_and_leaves_an_end_dark(shift):
    continuum, lines, lit = mixed((0.0, 0.0), 0.0, shift)
    assert WAVE[np.argmax(lines[1])] == pytest.approx(6000.0 * np.exp(shift), rel=5e-4)
    dark = ~lit.astype(bool)[1]
    assert dark.mean() == pytest.approx(0.08 / np.log(9000 / 3800), abs=0.01)
    assert dark[0] == (shift > 0)
    assert not continuum[1][dark].any()
