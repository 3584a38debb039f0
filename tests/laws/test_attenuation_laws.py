"""Laws that every attenuation curve obeys, at its default shape and at the corners of its shape parameters."""

import functools
import itertools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.physics import dust

CORNERS = {"slope": (-0.8, 0.0, 0.4), "bump": (0.0, 3.0), "r_v": (2.1, 3.1, 5.0)}
WAVE = jnp.exp(jnp.linspace(np.log(912.0), np.log(5e4), 4000))


def shapes(name):
    axes = {p: CORNERS[p] for p in dust.ATTENUATION_CURVES[name].shape}
    if name == "power_law":
        axes["slope"] = (0.0, 0.7, 1.3)
    return [dict(zip(axes, corner)) for corner in itertools.product(*axes.values())]


@functools.cache
def compiled(name):
    """The curve as one compiled function, which its shapes share."""
    return jax.jit(dust.attenuation_curve(name))


@functools.cache
def gradient_in_wave(name):
    return jax.jit(jax.grad(lambda wave, shape: compiled(name)(wave, **shape).sum()))


@functools.cache
def gradient_in_shape(name):
    return jax.jit(jax.jacfwd(lambda wave, shape: compiled(name)(wave, **shape), argnums=1))


def floats(shape):
    return {parameter: jnp.asarray(value, float) for parameter, value in shape.items()}


every_curve = pytest.mark.parametrize("name", dust.ATTENUATION_CURVES)
every_shape = pytest.mark.parametrize(("name", "shape"), [(n, s) for n in dust.ATTENUATION_CURVES for s in shapes(n)], ids=str)


IN_FLOAT64 = """
import sys, json, jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
from slipher.physics import dust
cases, wave = json.loads(sys.argv[2]), jnp.array(np.load(sys.argv[3]))
curves = {n: jax.jit(dust.attenuation_curve(n)) for n, _, _ in cases}
result = {k: curves[n](wave, **{p: jnp.array(v) for p, v in s.items()}) for n, s, k in cases}
assert all(k.dtype == jnp.float64 for k in result.values())
np.savez(sys.argv[1], **result)
"""


@pytest.fixture(scope="module")
def in_float64(tmp_path_factory):
    """Every curve and shape in double precision, from a process of its own: the switch is global and for good."""
    folder = tmp_path_factory.mktemp("float64")
    np.save(folder / "wave.npy", np.asarray(WAVE, np.float64))
    cases = [(n, s, f"{n} {s}") for n in dust.ATTENUATION_CURVES for s in shapes(n)]
    arguments = [folder / "k.npz", json.dumps(cases), folder / "wave.npy"]
    subprocess.run([sys.executable, "-c", IN_FLOAT64, *map(str, arguments)], check=True, timeout=120)
    return np.load(folder / "k.npz")


@every_shape
def test_one_at_5500_positive_and_finite_everywhere(name, shape):
    curve = dust.attenuation_curve(name)
    np.testing.assert_allclose(curve(jnp.array([5500.0]), **shape), 1.0, rtol=2e-6)
    k = curve(WAVE, **shape)
    assert k.dtype == jnp.float32
    assert np.all(np.isfinite(k))
    assert np.all(k > 0)


@every_shape
def test_no_jumps(name, shape):
    """Over a quarter of an angstrom no step exceeds that of a power law of slope 8: 0.03 % at 6300 A."""
    wave = jnp.concatenate([jnp.arange(912.0, 12000.0, 0.25), jnp.arange(12000.0, 50000.0, 2.0)])
    k = compiled(name)(wave, **floats(shape))
    per_lnwave = np.abs(np.diff(np.log(k)) / np.diff(np.log(wave)))
    assert per_lnwave.max() < 8.0


@every_shape
def test_finite_gradients_in_shape_and_wavelength(name, shape):
    by_wave = gradient_in_wave(name)(WAVE, floats(shape))
    assert np.all(np.isfinite(by_wave))
    for parameter in shape:
        slope = gradient_in_shape(name)(WAVE, floats(shape))[parameter]
        assert np.all(np.isfinite(slope)), parameter
        assert np.any(slope != 0), parameter


@every_shape
def test_gradients_in_shape_are_the_finite_differences(name, shape):
    wave, step = jnp.array([1000.0, 1500.0, 2175.0, 2650.0, 4000.0, 9000.0, 22000.0]), 1e-2
    for parameter, value in shape.items():
        gradient = gradient_in_shape(name)(wave, floats(shape))
        above, below = (compiled(name)(wave, **floats({**shape, parameter: value + s})) for s in (step, -step))
        np.testing.assert_allclose(gradient[parameter], (above - below) / (2 * step), rtol=2e-2, atol=2e-3)


@every_curve
def test_no_dust_is_the_identity(name):
    np.testing.assert_array_equal(dust.transmission(WAVE, 0.0, name), 1.0)


@every_shape
def test_transmission_is_a_fraction_and_falls_with_a_v(name, shape):
    through = jnp.stack([dust.transmission(WAVE, a_v, name, **shape) for a_v in (0.0, 0.1, 0.5, 1.0, 2.0)])
    assert np.all((through > 0) & (through <= 1))
    assert np.all(np.diff(through, axis=0) < 0)


@every_curve
def test_screens_multiply(name):
    one, two, both = (dust.transmission(WAVE, a_v, name) for a_v in (0.4, 0.7, 1.1))
    np.testing.assert_allclose(one * two, both, rtol=5e-6)


@every_curve
def test_gradient_in_a_v(name):
    slope = jax.jacfwd(lambda a_v: dust.transmission(WAVE, a_v, name))(0.5)
    k, through = dust.attenuation_curve(name)(WAVE), dust.transmission(WAVE, 0.5, name)
    np.testing.assert_allclose(slope, -0.4 * np.log(10) * k * through, rtol=1e-5)


@every_shape
def test_jit_equals_eager_and_float32_is_near_float64(in_float64, name, shape):
    single = dust.attenuation_curve(name)(WAVE, **shape)
    np.testing.assert_allclose(compiled(name)(WAVE, **floats(shape)), single, rtol=1e-5)
    np.testing.assert_allclose(single, in_float64[f"{name} {shape}"], rtol=2e-5)


@every_curve
def test_constant_below_912(name):
    at_limit, beyond = dust.attenuation_curve(name)(jnp.array([912.0, 300.0]))
    assert at_limit == beyond


@every_curve
def test_vmaps_over_galaxies(name):
    a_v = jnp.array([0.1, 0.5, 1.0])
    batch = jax.vmap(lambda a: dust.transmission(WAVE, a, name))(a_v)
    np.testing.assert_allclose(batch[1], dust.transmission(WAVE, 0.5, name), rtol=1e-6)
