"""Energy balance, and spectra that join those of the library for spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids import broad
from slipher.grids.library import load_broad, load_library
from slipher.instrument import spectrograph
from slipher.physics import cosmology, galaxy, parameters, sed
from slipher.physics.galaxy import PHOTOMETRY

T_UNIVERSE = cosmology.age_gyr(0.1)


@pytest.fixture(scope="module")
def values():
    u = jax.random.normal(jax.random.key(4), (len(PHOTOMETRY.parameters) - 1, 24))
    return parameters.from_normal(PHOTOMETRY.parameters[:-1], u)


def shine(values, **changed):
    run = jax.jit(jax.vmap(lambda v: sed.sed(PHOTOMETRY, v, T_UNIVERSE, load_broad())))
    return run(values | {k: jnp.full(24, x) for k, x in changed.items()})


def test_what_dust_absorbs_it_emits_again(values):
    """The far infrared beyond the grid apart, whose share is the emission's own."""
    width = np.asarray(load_broad().width_aa)
    free, behind = shine(values, a_v=0.0, tau_bc=0.0), shine(values)
    total = [np.asarray(s.continuum) @ width + np.asarray(s.lines).sum(1) for s in (free, behind)]
    emission = jax.jit(lambda v: sed.dust_emission(v, load_broad().dust))
    inside = np.array([float(width @ emission({k: v[i] for k, v in values.items()})) for i in range(24)])
    dark = shine(values, q_pah=2.5)
    direct = np.asarray(jax.vmap(lambda v: sed.dust_emission(v, load_broad().dust))(values)) @ width
    np.testing.assert_allclose(direct, inside, rtol=1e-5)
    assert np.all(inside > 0.05)
    assert np.all(inside < 0.6)  # most of it is emitted beyond 30 um
    without = galaxy.GalaxyModel(**{**vars(PHOTOMETRY), "parameters": PHOTOMETRY.parameters[:-4] + PHOTOMETRY.parameters[-1:]})
    cold = jax.jit(jax.vmap(lambda v: sed.sed(without, {k: x for k, x in v.items() if "q_pah" not in k}, T_UNIVERSE, load_broad())))(values)
    absorbed = total[0] - (np.asarray(cold.continuum) @ width + np.asarray(cold.lines).sum(1))
    np.testing.assert_allclose(
        total[1] - (np.asarray(cold.continuum) @ width + np.asarray(cold.lines).sum(1)), absorbed * inside, rtol=2e-3
    )
    assert dark.continuum.shape == behind.continuum.shape


def test_without_dust_nothing_shines_beyond_stars_and_gas(values):
    free = np.asarray(shine(values, a_v=0.0, tau_bc=0.0).continuum)
    other = np.asarray(shine(values, a_v=0.0, tau_bc=0.0, q_pah=4.0, log_umin=1.0).continuum)
    np.testing.assert_allclose(free, other, rtol=1e-6)


def test_more_starlight_makes_warmer_dust():
    dust, wave = load_broad().dust, broad.wave_grid()
    at = {"q_pah": jnp.float32(2.5), "log_gamma": jnp.float32(-3.0)}
    cool, warm = (np.asarray(sed.dust_emission(at | {"log_umin": jnp.float32(x)}, dust)) for x in (-0.5, 1.2))
    inside = (wave > 2e5) & (wave < 2.8e5)
    assert warm[inside].sum() > 1.25 * cool[inside].sum()


def test_optical_continuum_is_that_of_the_library_for_spectra(values):
    """Means over hats of the fine library's continuum, 3000 - 9500 A: to half a per cent of each galaxy's own light."""
    fine, library = load_library(), load_broad()
    wave = np.asarray(fine.wave_aa)[200:-200:4]
    view = spectrograph.view(wave, 0.0, fine, lsf_kms=60.0)

    def smooth(v):
        full = PHOTOMETRY.complete(v)
        return galaxy.continuum(PHOTOMETRY, full, galaxy.ingredients(PHOTOMETRY, full, T_UNIVERSE, fine), view, fine)

    twin = broad.hat_means(wave.astype(np.float64), np.asarray(jax.jit(jax.vmap(smooth))(values), np.float64))
    grid = broad.wave_grid()
    inside = (grid > 3000.0) & (grid < 9500.0)
    got = np.asarray(shine(values).continuum)[:, inside]
    assert library.light.wave_aa.shape == grid.shape
    error = np.abs(got / twin[:, inside] - 1.0)
    assert np.median(error) < 2e-3
    assert np.quantile(error, 0.99) < 0.02
