"""Laws that every galaxy model obeys over its whole prior, as seen from the near ultraviolet to 1 um."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids.library import dispersion_coordinate, load_library
from slipher.instrument import spectrograph, surveys
from slipher.physics import cosmology, galaxy
from slipher.physics.galaxy import MODELS
from slipher.physics.parameters import from_normal
from slipher.units import C_KMS

N_DRAW = 200
REDSHIFTS = (0.01, 0.15, 0.45)
every_model = pytest.mark.parametrize("name", MODELS)
every_redshift = pytest.mark.parametrize("redshift", REDSHIFTS)


@functools.cache
def boss_view(redshift, every=1):
    survey = surveys.survey("boss")
    wave = survey.wavelengths()[::every]
    return spectrograph.view(wave, redshift, load_library(), lsf_kms=survey.lsf(wave))


def view(redshift):
    return boss_view(redshift, every=6)


@functools.cache
def draws(name):
    model = MODELS[name]
    u = jax.random.normal(jax.random.key(11), (N_DRAW, len(model.parameters)))
    return u, model.complete(jax.vmap(functools.partial(from_normal, model.parameters))(u))


@functools.cache
def compiled(name):
    model, library = MODELS[name], load_library()

    def light(values, t_universe, view):
        values = model.complete(values)
        parts = galaxy.ingredients(model, values, t_universe, library)
        return parts, galaxy.continuum(model, values, parts, view, library)

    return jax.jit(jax.vmap(light, (0, None, None)))


def render(name, redshift):
    free = {k: draws(name)[1][k] for k in MODELS[name].names}
    return compiled(name)(free, cosmology.age_gyr(redshift), view(redshift))


@every_model
@every_redshift
def test_light_is_finite_and_not_negative(name, redshift):
    parts, continuum = render(name, redshift)
    assert np.all(np.isfinite(continuum))
    assert np.all(np.isfinite(parts.lines))
    assert np.all(parts.lines >= 0)
    optical = np.asarray(view(redshift).wave_aa) > 3400.0
    assert np.all(np.asarray(continuum)[:, optical] > 0)
    in_v = np.median(np.asarray(continuum)[:, optical], axis=1, keepdims=True)
    assert (np.asarray(continuum) / in_v).min() > -0.005


@pytest.mark.parametrize("log_z", [-2.0, -1.2, -0.2, 0.1, 0.2, 0.3, 0.39])
def test_simple_populations_shine_at_every_wavelength(log_z):
    """Each age cell alone, dust-free, 2450-10400 A; between the metallicities too, where a cubic could overshoot below zero."""
    library = load_library()
    rest = spectrograph.view(np.geomspace(2450.0, 10400.0, 900), 0.0, library, lsf_kms=70.0)
    nodes = galaxy.lagrange_weights(dispersion_coordinate(jnp.float32(120.0)), dispersion_coordinate(library.sigma_nodes_kms))
    z = galaxy.cubic_weights(jnp.float32(log_z), library.log_z)
    young = jnp.einsum("z,zck,n,pnk->cp", z, library.young_weights, nodes, rest.young)
    old = jnp.einsum("z,zck,n,pnk->cp", z, library.old_weights, nodes, rest.old)
    light = jnp.concatenate([young, old])
    assert light.min() > 0.0


UNSEEN = ("log_mstar_formed", "q_pah", "log_umin", "log_gamma", "aperture_slope")  # by a rest-frame spectrum in the optical


@functools.cache
def gradients(name):
    model, library = MODELS[name], load_library()

    def log_light(u, t_universe, view):
        spectrum = galaxy.spectrum(model, from_normal(model.parameters, u), t_universe, view, library)
        return jnp.sum(jnp.log(jnp.maximum(spectrum, 1e-9)))

    return jax.jit(jax.vmap(jax.grad(log_light), (0, None, None)))


@every_model
@every_redshift
def test_finite_gradients(name, redshift):
    slopes = gradients(name)(draws(name)[0], cosmology.age_gyr(redshift), view(redshift))
    assert np.all(np.isfinite(slopes))
    unseen = np.array([p in UNSEEN for p in MODELS[name].names])
    assert np.all(np.any(slopes != 0, axis=0) == ~unseen)


@every_model
@every_redshift
def test_mass_is_one_and_most_of_a_surviving_fraction_lives(name, redshift):
    parts, _ = render(name, redshift)
    np.testing.assert_allclose(parts.mass_cells.sum(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(parts.stars.sum(1), parts.mass_cells, rtol=1e-5, atol=1e-7)
    surviving = jnp.sum(parts.stars * load_library().live_fraction, (1, 2))
    assert np.all((surviving > 0.3) & (surviving <= 1.0))


@every_model
def test_light_is_linear_in_the_ingredients(name):
    model, library, seen = MODELS[name], load_library(), view(0.15)
    parts, continuum = render(name, 0.15)
    values = {k: v if jnp.ndim(v) == 0 else v[0] for k, v in draws(name)[1].items()}
    one, two = (jax.tree.map(lambda x, i=i: x[i], parts) for i in (0, 1))
    both = jax.tree.map(lambda a, b: 0.3 * a + 0.7 * b, one, two)
    light = functools.partial(galaxy.continuum, model, values, view=seen, library=library)
    np.testing.assert_allclose(light(both), 0.3 * light(one) + 0.7 * light(two), rtol=2e-5)
    np.testing.assert_allclose(light(one), continuum[0], rtol=1e-4)


@every_model
def test_stellar_dispersion_keeps_the_flux(name):
    """Every pixel is summed: a sum over fewer misses narrow lines at 20 km/s by parts in a thousand, whatever the model does."""
    model, library = MODELS[name], load_library()
    parts, _ = render(name, 0.15)
    seen = boss_view(0.15)
    clear = {**draws(name)[1], "a_v": 0.0, "tau_bc": 0.0}
    first = jax.tree.map(lambda x: x[0], parts)

    def flux(sigma):
        values = {k: jnp.asarray(v) if jnp.ndim(v) == 0 else v[0] for k, v in clear.items()}
        light = galaxy.continuum(model, {**values, "sigma_star": jnp.float32(sigma)}, first, seen, library)
        return np.sum(np.asarray(light * seen.wave_aa * seen.width_kms, float))

    np.testing.assert_allclose([flux(60.0), flux(200.0), flux(440.0)], flux(20.0), rtol=5e-5)


@pytest.mark.parametrize("survey", [name for name, made in surveys.SURVEYS.items() if made.n_samples is None])
@pytest.mark.parametrize("sigma", [20.0, 120.0, 450.0])
@every_redshift
def test_lines_keep_their_flux_within_the_view(survey, sigma, redshift):
    """Each line that lies five sigma inside the pixels: its window's integral is its luminosity."""
    library, instrument = load_library(), surveys.survey(survey)
    wave = instrument.wavelengths()
    seen = spectrograph.view(wave, redshift, library, lsf_kms=instrument.lsf(wave))
    windows = galaxy.line_windows(seen, library.line_wave_aa, jnp.float32(sigma))
    at = seen.line_pixels
    flux = np.asarray(jnp.sum(windows * (seen.wave_aa * seen.width_kms)[at], 1), float) / C_KMS
    reach = 5 * np.hypot(sigma, 100.0) / C_KMS
    observed = np.asarray(library.line_wave_aa, float) * (1 + redshift)
    inside = (observed * (1 - reach) > wave[0]) & (observed * (1 + reach) < wave[-1])
    assert inside.sum() > 25
    np.testing.assert_allclose(flux[inside], 1.0, atol=5e-4)
    far = (observed * (1 + reach) < wave[0]) | (observed * (1 - reach) > wave[-1])
    np.testing.assert_allclose(flux[far], 0.0, atol=1e-6)
    total = np.sum(np.asarray(galaxy.spread_lines(seen, windows) * seen.wave_aa * seen.width_kms, float)) / C_KMS
    np.testing.assert_allclose(total, flux.sum(), rtol=1e-4)
