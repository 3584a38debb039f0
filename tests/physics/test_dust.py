"""Attenuation curves against bagpipes, dust_extinction and the published formulae; the two screens; the foreground."""

import importlib.metadata
import importlib.util
import sys
import types

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.errors import InputError
from slipher.instrument.filters import filter_matrix
from slipher.physics import dust

WAVE = np.geomspace(1210.0, 21900.0, 3001)


def ours(name, wave=WAVE, **shape):
    return np.asarray(dust.attenuation_curve(name)(jnp.asarray(wave, jnp.float32), **shape), float)


@pytest.fixture(scope="module")
def bagpipes_curve():
    """A_lambda / A_V of bagpipes' class, from its file alone: importing bagpipes would write a table to its folder."""
    try:
        files = importlib.metadata.files("bagpipes")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("bagpipes is not installed")
    path = next(f.locate() for f in files if f.name == "dust_attenuation_model.py")
    config = types.ModuleType("bagpipes_twin.config")
    config.line_wavs = np.array([5500.0])
    stubs = {"bagpipes_twin": types.ModuleType("bagpipes_twin"), "bagpipes_twin.config": config}
    stubs["bagpipes_twin"].config = config
    stubs["bagpipes_twin.models"] = types.ModuleType("bagpipes_twin.models")
    with pytest.MonkeyPatch.context() as patch:
        for name, module in stubs.items():
            patch.setitem(sys.modules, name, module)
        spec = importlib.util.spec_from_file_location("bagpipes_twin.models.dust", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

    def curve(wave=WAVE, **param):
        return module.dust_attenuation(np.asarray(wave, float), param).A_cont

    return curve


def away_from(border_aa, wave=WAVE):
    low, high = border_aa
    return (wave < low) | (wave > high)


def test_calzetti_is_bagpipes_away_from_the_step_at_6300(bagpipes_curve):
    at_5500 = bagpipes_curve(np.array([5500.0]), type="Calzetti")  # 0.9995: bagpipes divides by R_V
    theirs = bagpipes_curve(type="Calzetti") / at_5500
    keep = away_from((6000.0, 6600.0))
    np.testing.assert_allclose(ours("calzetti")[keep], theirs[keep], rtol=2e-5)
    np.testing.assert_allclose(ours("calzetti"), theirs, rtol=6e-3)


def test_charlot_fall_is_bagpipes(bagpipes_curve):
    for slope in (0.3, 0.7, 1.3):
        np.testing.assert_allclose(ours("power_law", slope=slope), bagpipes_curve(type="CF00", n=slope), rtol=1e-5)


@pytest.mark.parametrize("shape", [(-0.6, 0.0), (-0.3, 2.0), (0.0, 3.5), (0.3, 1.0)])
def test_salim_is_bagpipes(bagpipes_curve, shape):
    slope, bump = shape
    param = {"type": "Salim", "delta": slope, "B": bump}
    theirs = bagpipes_curve(**param) / bagpipes_curve(np.array([5500.0]), **param)
    keep = away_from((6000.0, 6600.0))
    np.testing.assert_allclose(ours("salim", slope=slope, bump=bump)[keep], theirs[keep], rtol=3e-5)


def test_smc_is_bagpipes_in_the_ultraviolet_and_at_the_anchors(bagpipes_curve):
    """Between the anchors bagpipes interpolates linearly in wavelength: only anchors and formula compare."""
    anchors = np.array([3700.0, 4400.0, 5500.0, 6500.0, 8100.0, 12500.0, 16500.0, 21980.0])
    for wave in (np.linspace(1210.0, 2690.0, 300), anchors):
        np.testing.assert_allclose(ours("smc", wave), bagpipes_curve(wave, type="SMC"), rtol=1e-5)


def test_cardelli_is_bagpipes_away_from_the_borders_of_its_pieces(bagpipes_curve):
    """bagpipes has 1.41388 where the paper's equation 3b has 1.41338: 2e-4 at most."""
    theirs = bagpipes_curve(type="Cardelli") / bagpipes_curve(np.array([5500.0]), type="Cardelli")
    keep = away_from((1e4 / 1.2, 1e4 / 1.0)) & away_from((1e4 / 3.4, 1e4 / 3.2)) & away_from((1e4 / 8.1, 1e4 / 7.9))
    np.testing.assert_allclose(ours("cardelli")[keep], theirs[keep], rtol=4e-4)


@pytest.mark.parametrize("r_v", [2.5, 3.1, 5.0])
@pytest.mark.parametrize(("name", "model", "rtol"), [("cardelli", "CCM89", 6e-3), ("fitzpatrick", "F99", 2e-3)])
def test_milky_way_curves_are_those_of_dust_extinction(name, model, rtol, r_v):
    """The tolerances are the blending of Cardelli's pieces, and the end conditions of Fitzpatrick's spline."""
    averages = pytest.importorskip("dust_extinction.parameter_averages", reason="dust_extinction is not installed")
    twin = getattr(averages, model)(Rv=r_v)
    wave = np.geomspace(1005.0, 33000.0, 3001)
    theirs = twin(wave * u.AA) / twin(5500.0 * u.AA)
    np.testing.assert_allclose(ours(name, wave, r_v=r_v), theirs, rtol=rtol)


def test_smc_is_that_of_dust_extinction():
    averages = pytest.importorskip("dust_extinction.averages", reason="dust_extinction is not installed")
    wave = np.geomspace(1005.0, 33000.0, 3001)
    np.testing.assert_allclose(ours("smc", wave), averages.G03_SMCBar()(wave * u.AA), rtol=1e-5)


def test_fitzpatrick_has_the_values_of_its_table():
    """Fitzpatrick (1999), table 3: A_lambda / E(B-V) at the spline anchors for R_V = 3.1, given to three decimals."""
    wave = 1e4 / np.array([1 / 2.65, 1 / 1.22, 1 / 0.60, 1 / 0.547, 1 / 0.467, 1 / 0.411, 1 / 0.27, 1 / 0.26])
    table = np.array([0.265, 0.829, 2.688, 3.055, 3.806, 4.315, 6.265, 6.591])
    np.testing.assert_allclose(dust.curves.fitzpatrick(jnp.asarray(wave, jnp.float32), 3.1), table, atol=6e-4)


@pytest.mark.parametrize("slope", [-0.8, -0.2, 0.0, 0.3])
def test_kriek_conroy_is_the_published_formula(slope):
    wave = WAVE[away_from((6000.0, 6600.0))]
    micron = wave / 1e4
    blue = 2.659 * (-2.156 + 1.509 / micron - 0.198 / micron**2 + 0.011 / micron**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 / micron) + 4.05
    bump = (0.85 - 1.9 * slope) * (wave * 350) ** 2 / ((wave**2 - 2175**2) ** 2 + (wave * 350) ** 2)
    published = (np.where(wave < 6300, blue, red) + bump) * (wave / 5500) ** slope / 4.05
    # published, the curve is 0.9995 at 5500 A (and the bump's wing adds to it): slipher's is one
    theirs = published / np.interp(5500.0, wave, published)
    np.testing.assert_allclose(ours("kriek_conroy", wave, slope=slope), theirs, rtol=5e-5)


def test_kriek_conroy_never_has_a_negative_bump():
    steep = ours("kriek_conroy", slope=0.45) - ours("noll", slope=0.45, bump=0.0)
    np.testing.assert_array_equal(steep, 0.0)


def test_curves_of_the_calzetti_family_agree_without_tilt_and_bump():
    for name in ("noll", "salim"):
        np.testing.assert_allclose(ours(name), ours("calzetti"), rtol=1e-5)


def test_unknown_curve_names_those_that_come_close():
    with pytest.raises(InputError, match=r"'calzeti'.*Did you mean calzetti"):
        dust.attenuation_curve("calzeti")
    with pytest.raises(InputError, match="one of calzetti, power_law"):
        dust.transmission(jnp.array([5000.0]), 1.0, "zzz")


# --- two components


def test_old_stars_see_the_diffuse_dust_only_and_young_ones_both():
    wave = jnp.asarray(WAVE, jnp.float32)
    pair = dust.two_component(wave, 0.6, 0.8, diffuse="calzetti")
    np.testing.assert_allclose(pair.old, dust.transmission(wave, 0.6, "calzetti"), rtol=1e-6)
    np.testing.assert_allclose(pair.young / pair.old, np.exp(-0.8 * 5500.0 / WAVE), rtol=1e-4)
    assert np.all(pair.young < pair.old)


def test_birth_clouds_may_follow_the_diffuse_law():
    wave, shape = jnp.asarray(WAVE, jnp.float32), {"slope": -0.4}
    tau_as_magnitudes = 0.8 * 2.5 / np.log(10)
    pair = dust.two_component(wave, 0.6, 0.8, diffuse_shape=shape, birth_cloud=None)
    through_both = dust.transmission(wave, 0.6 + tau_as_magnitudes, "kriek_conroy", **shape)
    np.testing.assert_allclose(pair.young, through_both, rtol=1e-5)


def test_birth_clouds_may_have_their_own_slope():
    wave = jnp.array([5500.0, 2750.0])
    pair = dust.two_component(wave, 0.0, 1.0, birth_cloud_shape={"slope": 1.3})
    np.testing.assert_allclose(-np.log(pair.young), [1.0, 2**1.3], rtol=1e-5)


def test_no_dust_in_either_component_is_the_identity_and_gradients_are_finite_there():
    wave = jnp.asarray(WAVE, jnp.float32)
    pair = dust.two_component(wave, 0.0, 0.0)
    np.testing.assert_array_equal(pair.young, 1.0)
    np.testing.assert_array_equal(pair.old, 1.0)

    def light(a_v, tau_bc, slope):
        return dust.two_component(wave, a_v, tau_bc, diffuse_shape={"slope": slope}).young.sum()

    assert np.all(np.isfinite(jax.grad(light, argnums=(0, 1, 2))(0.0, 0.0, -0.2)))


# --- the foreground

# Schlafly & Finkbeiner (2011), table 6: A_band / E(B-V) of the SFD map, for a star of 7000 K and R_V = 3.1
SCHLAFLY_FINKBEINER = {
    "sdss2010-u": 4.239, "sdss2010-g": 3.303, "sdss2010-r": 2.285, "sdss2010-i": 1.698, "sdss2010-z": 1.263,
    "panstarrs-g": 3.172, "panstarrs-r": 2.271, "panstarrs-i": 1.682, "panstarrs-z": 1.322,
    "twomass-J": 0.723, "twomass-H": 0.460, "twomass-Ks": 0.310,
}  # fmt: skip


def test_foreground_has_the_coefficients_of_schlafly_and_finkbeiner():
    wave = np.arange(2900.0, 25000.0, 5.0)
    star = wave**-5 / np.expm1(1.4388e8 / (wave * 7000.0))
    matrix = filter_matrix(list(SCHLAFLY_FINKBEINER), wave)
    through = np.asarray(dust.foreground_transmission(jnp.asarray(wave, jnp.float32), 0.1))
    coefficient = -25.0 * np.log10((matrix @ (star * through / star.max())) / (matrix @ (star / star.max())))
    np.testing.assert_allclose(coefficient, list(SCHLAFLY_FINKBEINER.values()), rtol=1.2e-2)


def test_foreground_is_the_identity_without_dust_and_multiplies():
    wave = jnp.asarray(WAVE, jnp.float32)
    np.testing.assert_array_equal(dust.foreground_transmission(wave, 0.0), 1.0)
    one, two = dust.foreground_transmission(wave, 0.1), dust.foreground_transmission(wave, 0.2)
    np.testing.assert_allclose(one**2, two, rtol=1e-5)
    np.testing.assert_allclose(dust.foreground_transmission(jnp.array([1e4]), 1.0), 10 ** (-0.4 * 1.029), rtol=1e-5)
