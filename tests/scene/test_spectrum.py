"""Laws of spectra from a registry, and physical ones against brute-force integrals and the package's own photometry."""

from functools import partial

import astropy.units as units
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.modeling.physical_models import BlackBody as AstropyBlackBody

from slipher.errors import InputError
from slipher.grids.filters import load_filters
from slipher.grids.library import load_broad
from slipher.instrument import photometer
from slipher.physics import cosmology, sed
from slipher.physics.galaxy import MODELS
from slipher.scene import physical_spectra as physical
from slipher.scene.spectrum import Free

FILTERS = ("hsc2017-g", "hsc2017-r", "hsc2017-i", "hsc2017-z", "hsc2017-y")
PER_NMGY = physical.per_nanomaggy(np.array([27.0, 27.0, 26.5, 27.0, 27.0]))
START = jnp.array([10.0, 30.0, 40.0, 60.0, 70.0])
HALPHA = 6564.61
SPECTRA = {
    "free": Free(5),
    "black body": physical.black_body(FILTERS, PER_NMGY),
    "power law": physical.power_law(FILTERS, PER_NMGY),
    "line": physical.emission_line(FILTERS, PER_NMGY, HALPHA, (0.0, 0.4)),
    "population": physical.population(FILTERS, PER_NMGY),
    "provabgs": physical.population(FILTERS, PER_NMGY, preset="provabgs", ebv=0.05),
}
AMPLITUDES = {"free": "log_flux", "population": "log_mstar_formed", "provabgs": "log_mstar_formed"}
POPULATIONS = ("population", "provabgs")


def drawn(one, seed: int) -> dict:
    """u of all that is free, from the prior, not too far out."""
    keys = jax.random.split(jax.random.key(seed), len(one.parameters))
    return {p.name: 0.5 * jax.random.normal(key, p.shape) for p, key in zip(one.parameters, keys, strict=True)}


def values_of(one, u: dict) -> dict:
    return {p.name: p.prior.from_normal(u[p.name]) for p in one.parameters}


SLOW = pytest.mark.slow  # a second preset compiles as long as the first, and runs the same lines


@pytest.fixture(params=[pytest.param(name, marks=SLOW if name == "provabgs" else ()) for name in SPECTRA], scope="module")
def named(request):
    """Name, spectrum, and fluxes of u, compiled once."""
    one, seen = SPECTRA[request.param], jax.jit(lambda one, u: one.fluxes(values_of(one, u), START))
    return request.param, one, partial(seen, one)


def test_fluxes_are_finite_and_positive(named):
    name, one, seen = named
    for seed in range(3):
        found = np.asarray(seen(drawn(one, seed)))
        assert found.shape == (5,)
        assert np.isfinite(found).all()
        assert (found >= 0).all() if name == "line" else (found > 0).all()


def test_gradients_are_those_of_finite_differences(named):
    """Along a random direction, forwards as conjugate gradients need it; and backwards by the adjoint's definition, w (J v) = (J' w) v."""
    name, one, seen = named
    u, v, weight = drawn(one, 1), drawn(one, 2), jnp.linspace(-1.0, 1.0, 5)

    @jax.jit
    def both(one, u, v, weight):
        value, forward = jax.linearize(lambda u: one.fluxes(values_of(one, u), START), u)
        return value, forward(v), jax.linear_transpose(forward, u)(weight)[0]

    value, along, back = both(one, u, v, weight)
    step = 0.002 if name == "line" else 0.02  # the fine grid's own, within which a line's response is linear
    ahead, behind = (np.asarray(seen(jax.tree.map(lambda a, b, s=s: a + s * step * b, u, v)), np.float64) for s in (1, -1))
    want = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(along, want, atol=0.01 * np.abs(want).max() + 1e-6 / step * float(jnp.max(value)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(back))
    whole = sum(float(jnp.sum(back[name] * v[name])) for name in v)
    assert whole == pytest.approx(float(weight @ along), abs=1e-3 * float(jnp.abs(along).max()))


@pytest.mark.parametrize("name", [name for name in SPECTRA if name not in POPULATIONS])
def test_compiled_is_as_written(name):
    one = SPECTRA[name]
    u = drawn(one, 3)
    compiled = jax.jit(lambda u: one.fluxes(values_of(one, u), START))
    np.testing.assert_allclose(compiled(u), one.fluxes(values_of(one, u), START), rtol=2e-5)


def test_amplitudes_scale_fluxes(named):
    name, one, seen = named
    u, amplitude = drawn(one, 4), AMPLITUDES.get(name, "log_amplitude")
    prior = next(p.prior for p in one.parameters if p.name == amplitude)
    more = prior.from_normal(u[amplitude]) + np.log(3.0) / (np.log(10.0) if name in POPULATIONS else 1.0)
    np.testing.assert_allclose(seen(u | {amplitude: prior.to_normal(more)}), 3.0 * seen(u), rtol=2e-4)


def test_an_amplitude_of_one_is_as_bright_as_the_start():
    for name in ("black body", "power law"):
        values = values_of(SPECTRA[name], drawn(SPECTRA[name], 5)) | {"log_amplitude": jnp.float32(0.0)}
        found = np.asarray(SPECTRA[name].fluxes(values, START))
        assert np.sum(found / PER_NMGY) == pytest.approx(np.sum(np.asarray(START) / PER_NMGY), rel=1e-5)


# --- twins -----------------------------------------------------------------------------------------------------------


def means_of(light) -> np.ndarray:
    """Photon-counting means of f_nu(wavelength in A), by sums over fine steps."""
    found = []
    for curve in load_filters(FILTERS):
        wave = np.linspace(curve.wave_aa[0], curve.wave_aa[-1], 20_001)
        weight = np.interp(wave, curve.wave_aa, curve.response) / wave
        found.append(np.sum(weight * light(wave)) / np.sum(weight))
    return np.array(found)


def of_image(nanomaggies: np.ndarray) -> np.ndarray:
    """In the images' units, as bright as the start in sum."""
    return nanomaggies * PER_NMGY * np.sum(np.asarray(START) / PER_NMGY) / nanomaggies.sum()


@pytest.mark.parametrize("temperature", [2500.0, 5800.0, 30000.0])
def test_a_black_body_is_astropys(temperature):
    planck = AstropyBlackBody(temperature * units.K)
    want = of_image(means_of(lambda wave: planck(wave * units.AA).value))
    values = {"log_temperature": jnp.float32(np.log10(temperature)), "log_amplitude": jnp.float32(0.0)}
    np.testing.assert_allclose(SPECTRA["black body"].fluxes(values, START), want, rtol=3e-4)


@pytest.mark.parametrize("slope", [-3.0, -0.5, 0.0, 1.5])
def test_a_power_law_is_its_integral(slope):
    want = of_image(means_of(lambda wave: (5000.0 / wave) ** slope))
    values = {"slope": jnp.float32(slope), "log_amplitude": jnp.float32(0.0)}
    np.testing.assert_allclose(SPECTRA["power law"].fluxes(values, START), want, rtol=1e-4)


@pytest.mark.parametrize("redshift", [0.0, 0.1, 0.13, 0.35])
def test_a_line_shines_in_the_bands_that_it_falls_into(redshift):
    one, at = SPECTRA["line"], HALPHA * (1.0 + redshift)
    values = {"redshift": jnp.float32(redshift), "log_amplitude": jnp.float32(0.7)}
    found = np.asarray(one.fluxes(values, START))
    flux = float(one.line_flux(values, START)) * 1e-17  # erg/s/cm2
    want = []
    for curve, unit in zip(load_filters(FILTERS), PER_NMGY, strict=True):
        wave = np.linspace(curve.wave_aa[0], curve.wave_aa[-1], 200_001)
        response = np.interp(wave, curve.wave_aa, curve.response)
        here = np.interp(at, curve.wave_aa, curve.response, left=0.0, right=0.0)
        # int R f_lambda lambda dlambda / (3631 Jy c int R / lambda dlambda), the line being all of f_lambda.
        flat = np.trapezoid(response / wave, wave) * 2.99792458e18 * 3631e-23
        want.append(1e9 * flux * at * here / flat * unit)
    np.testing.assert_allclose(found, want, rtol=3e-3, atol=2e-3 * max(want))
    assert found.max() > 0
    assert (found < 1e-3 * found.max()).sum() >= 3


def test_a_population_is_what_photometry_predicts(named):
    """Of the same parameters, at the redshift that the source's start would give."""
    name, one, seen = named
    if name not in POPULATIONS:
        return
    model, library, u = one.model, load_broad(), drawn(one, 6)
    values = values_of(one, u)
    assert model is MODELS["photometry" if name == "population" else name]

    @jax.jit
    def predicted(values, library, one):
        light = sed.sed(model, values, cosmology.age_gyr(values["redshift"]), library)
        ebv = jnp.float32(0.05 if name == "provabgs" else 0.0)
        return photometer.observe(photometer.photometer(FILTERS), light, values["redshift"], ebv, library), one.log_mass(values, START)

    unit, mass = predicted(values, library, one)
    want = np.asarray(unit, np.float64) * 10 ** (float(values["log_mstar_formed"]) - 10.0) * PER_NMGY
    np.testing.assert_allclose(seen(u), want, rtol=2e-4)
    assert np.sum(unit) * 10 ** (float(mass) - 10.0) == pytest.approx(np.sum(np.asarray(START) / PER_NMGY), rel=1e-4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: physical.black_body(FILTERS, PER_NMGY[:3]), "5 bands"),
        (lambda: physical.power_law(("hsc2017-q",), PER_NMGY[:1]), "hsc2017-q"),
        (lambda: physical.population(FILTERS, PER_NMGY, preset="stars"), "stars"),
    ],
)
def test_what_cannot_be_made_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
