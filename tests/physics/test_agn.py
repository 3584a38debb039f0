"""Active nuclei: shares, ratios in the diagrams that tell them apart, and light that adds up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids.library import load_library
from slipher.instrument import spectrograph
from slipher.physics import agn

MEMBERS = jnp.eye(52)


@pytest.fixture(scope="module")
def library():
    return load_library()


def drawn(n: int, narrow: float, broad: float) -> agn.Nucleus:
    return jax.vmap(lambda key: agn.draw(key, narrow, broad))(jax.random.split(jax.random.key(1), n))


def test_shares_are_those_asked_for():
    found = drawn(4000, 0.3, 0.1)
    assert np.mean(found.narrow_ew_aa > 0) == pytest.approx(0.3, abs=0.03)
    assert np.mean(found.broad_ew_aa > 0) == pytest.approx(0.1, abs=0.02)
    assert np.all(np.asarray(found.narrow_ew_aa)[np.asarray(found.broad_ew_aa) > 0] > 0)
    nothing = drawn(500, 0.0, 0.0)
    assert not np.any(nothing.narrow_ew_aa)
    assert not np.any(nothing.broad_ew_aa)
    assert not np.any(nothing.power)


def line(library, wave: float) -> int:
    return int(np.argmin(np.abs(np.asarray(library.line_wave_aa) - wave)))


@pytest.mark.parametrize(("seyfert", "above"), [(1.0, True), (0.0, False)])
def test_nuclei_lie_where_nuclei_lie(library, seyfert, above):
    """Beyond Kewley et al. (2001)'s line of the strongest starbursts; Seyferts above [O III] / H beta = 3, the others below."""
    nucleus = agn.Nucleus(*map(jnp.float32, (2.0, seyfert, 150.0, 0.0, 1500.0, 0.0, -1.5)))
    found = np.asarray(agn.narrow_luminosities(jax.random.key(0), nucleus, 0.0 * MEMBERS, library))
    hbeta, halpha, oiii, nii = (found[line(library, w)] for w in (4862.7, 6564.6, 5008.2, 6585.3))
    assert hbeta == pytest.approx(2.0, rel=1e-4)
    assert halpha / hbeta == pytest.approx(2.9, rel=0.02)
    x, y = np.log10(nii / halpha), np.log10(oiii / hbeta)
    assert y > 0.61 / (x - 0.47) + 1.19 or x > 0.47
    assert (oiii / hbeta > 3.0) == above
    assert found[line(library, 4960.3)] / oiii == pytest.approx(1 / 3.0, rel=0.05)


def test_broad_light_has_its_equivalent_width(library):
    wave = np.exp(np.arange(np.log(4000.0), np.log(7500.0), 2e-4))
    view = spectrograph.view(wave, 0.0, library, lsf_kms=60.0)
    nucleus = agn.Nucleus(*map(jnp.float32, (0.0, 1.0, 150.0, 20.0, 2000.0, 0.0, -1.5)))
    light = np.asarray(agn.broad_light(nucleus, view), np.float64)
    around = (wave > 4760) & (wave < 4970)
    assert np.trapezoid(light[around], wave[around]) == pytest.approx(20.0, rel=0.02)
    power = nucleus._replace(broad_ew_aa=jnp.float32(0.0), power=jnp.float32(0.4))
    assert float(np.interp(5600.0, wave, np.asarray(agn.broad_light(power, view)))) == pytest.approx(0.4, rel=1e-3)
