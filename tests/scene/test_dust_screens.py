"""Dust of scenes: laws in bands against sums over wavelength, and screens that follow the light that they dim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_render import DRAW, image, members, moffat, seen

from slipher.errors import InputError
from slipher.grids.filters import load_filters
from slipher.physics import dust as physics
from slipher.scene import fit, normal, render
from slipher.scene.dust import SOFT, Following, band_curve, elliptical, tau_per_ebv
from slipher.scene.exposure import Frequencies, exposure
from slipher.scene.morphology import Gaussian, Point, Sersic, sheared
from slipher.scene.render import Group, Scene, Sight
from slipher.scene.source import Light, Screen, Source
from slipher.scene.spectrum import Free

BROAD = ("sdss2010-u", "hsc2017-g", "hsc2017-r", "hsc2017-i", "hsc2017-z", "hsc2017-y")
N, STEP = 41, 0.5
LIGHT = {"log_radius": 1.2, "shear_1": 0.3, "shear_2": -0.1}


def scalars(values: dict) -> dict:
    return {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}


# --- laws ------------------------------------------------------------------------------------------------------------


def off(filters: tuple[str, ...], redshift: float) -> np.ndarray:
    """exp(-k_b) over the true mean of exp(-k), less one, [band, slope]: sums over wavelength."""
    found = []
    for k, curve in zip(np.asarray(band_curve("calzetti", filters, redshift)), load_filters(filters), strict=True):
        wave = np.linspace(curve.wave_aa[0], curve.wave_aa[-1], 4001)
        through = np.exp(-np.asarray(physics.calzetti(jnp.asarray(wave / (1.0 + redshift), jnp.float32)), np.float64))
        photons = np.interp(wave, curve.wave_aa, curve.response) / wave * (5000.0 / wave) ** np.linspace(-2.0, 2.0, 5)[:, None]
        found.append(np.exp(-k) * photons.sum(1) / (photons * through).sum(1) - 1.0)
    return np.array(found)


@pytest.mark.parametrize(("filters", "most"), [(BROAD, 0.0235), (("Euclid-VIS",), 0.067)])
def test_one_number_a_band_is_as_near_as_documented(filters, most):
    """The worst case, from both sides: what the module says of its approximation is neither too good nor out of date."""
    worst = np.abs([off(filters, redshift) for redshift in (0.0, 0.25, 0.5)]).max()
    assert 0.95 * most < worst < most


def test_a_law_in_a_narrow_band_is_the_law_at_its_middle():
    found = float(band_curve("calzetti", ("suprime-IB679",), 0.2)[0])
    pivot = load_filters(["suprime-IB679"])[0].pivot_aa
    assert found == pytest.approx(float(physics.calzetti(jnp.array([pivot / 1.2]))[0]), rel=2e-3)


def test_shape_parameters_reach_the_law():
    steep, flat = (band_curve("kriek_conroy", BROAD, slope=slope) for slope in (-0.5, 0.0))
    assert np.all(np.diff(np.asarray(steep) / np.asarray(flat)) < 0)


@pytest.mark.parametrize(("curve", "r_v"), [("calzetti", 4.05), ("cardelli", 3.1), ("smc", 2.74)])
def test_colour_excess_is_that_of_the_published_laws(curve, r_v):
    assert tau_per_ebv(curve) * 2.5 / np.log(10) == pytest.approx(r_v, rel=0.03)


def test_unknown_laws_are_refused():
    with pytest.raises(InputError, match="calzeti"):
        band_curve("calzeti", BROAD)


# --- dust that follows the light -------------------------------------------------------------------------------------


def galaxy(**how) -> Source:
    law = band_curve("calzetti", BROAD[1:3])
    return Source((Light(Sersic(1.0), Free(2)),), (Screen(Following(N, STEP, **how), law),), grid=N, step=STEP)


def centred(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of x and y, pixels."""
    at = STEP * (np.arange(N) - (N - 1) / 2)
    weight = column / column.sum()
    x, y = np.meshgrid(at, at)
    mean = np.array([(weight * x).sum(), (weight * y).sum()])
    dx, dy = x - mean[0], y - mean[1]
    return mean, np.array([[(weight * a * b).sum() for b in (dx, dy)] for a in (dx, dy)])


def blank(**values) -> dict:
    at_light = {"log_ratio": -1.0, "twist_1": 0.0, "twist_2": 0.0, "centre": np.zeros(2), "texture": np.zeros((N, N))}
    return scalars(at_light | values)


def test_dust_has_the_ellipse_of_the_light():
    """Second moments of the column: of the light's axis ratio and angle, and as much smaller as the ratio of radii says."""
    one = Following(N, STEP)
    mean, spread = centred(np.asarray(one.column(blank(), scalars(LIGHT)), np.float64))
    np.testing.assert_allclose(mean, 0.0, atol=1e-4)
    g = np.hypot(LIGHT["shear_1"], LIGHT["shear_2"])
    values, vectors = np.linalg.eigh(spread)
    assert np.sqrt(values[0] / values[1]) == pytest.approx(np.exp(-2 * g), rel=0.02)
    angle = 0.5 * np.arctan2(LIGHT["shear_2"], LIGHT["shear_1"])
    assert abs(vectors[:, 1] @ [np.cos(angle), np.sin(angle)]) == pytest.approx(1.0, abs=1e-3)
    # An exponential's rms of one coordinate is sqrt(3) scale lengths, of which 1.678 are the half-mass radius.
    assert np.linalg.det(spread) ** 0.25 == pytest.approx(np.exp(0.2) * np.sqrt(3.0) / 1.6783, rel=0.03)


def test_deviations_move_turn_and_resize_it():
    one = Following(N, STEP)
    mean, _ = centred(np.asarray(one.column(blank(centre=np.array([0.5, -1.0])), scalars(LIGHT)), np.float64))
    np.testing.assert_allclose(mean, np.exp(0.2) * np.array([0.5, -1.0]), atol=0.02)
    against = scalars({"log_radius": 1.2, "shear_1": 0.0, "shear_2": 0.0})
    turned = one.column(blank(twist_1=0.3, twist_2=-0.1), against)
    np.testing.assert_allclose(turned, one.column(blank(), scalars(LIGHT)), rtol=1e-5)
    larger = one.column(blank(log_ratio=-0.6), scalars(LIGHT | {"log_radius": 0.8}))
    np.testing.assert_allclose(larger, one.column(blank(), scalars(LIGHT)), rtol=1e-5)


def test_ellipses_are_those_of_morphologies():
    """|S^-1 r| inverts the |S q| of a transform."""
    x, y = jnp.array([1.3]), jnp.array([-0.4])
    values = scalars({"log_radius": 0.0, "shear_1": -0.3, "shear_2": 0.1})
    back = sheared(values, Frequencies(x[None], y[None], separable=False))[0]
    np.testing.assert_allclose(elliptical(x, y, jnp.float32(0.3), jnp.float32(-0.1)), back, rtol=1e-5)


def test_texture_multiplies_the_column():
    one, noise = Following(N, STEP), jax.random.normal(jax.random.key(0), (N, N))
    ratio = np.log(one.column(blank(texture=noise), scalars(LIGHT)) / one.column(blank(), scalars(LIGHT)))
    assert ratio.std() == pytest.approx(one.roughness, rel=0.25)
    neighbours = np.corrcoef(ratio[:, 1:].ravel(), ratio[:, :-1].ravel())[0, 1]
    assert neighbours > 0.9


def test_a_source_hands_its_light_to_its_dust():
    """Of any size of the light, what is lost is that of exponential light behind an exponential column: an integral over radius."""
    source, one, round_ = galaxy(), seen(n_bands=2), {"shear_1": 0.0, "shear_2": 0.0}
    r = np.linspace(0.0, 12.0, 20_001)
    inner = np.sqrt((r / np.exp(-0.2)) ** 2 + SOFT**2) - SOFT
    light, column = r * np.exp(-1.6783 * r), np.exp(-1.6783 * inner)
    k = np.asarray(source.screens[0].law, np.float64)[:, None]
    for tau in (1.5, 0.0):
        want = (light * np.exp(-tau * k * column)).sum(1) / light.sum()
        for log_radius in (0.6, 1.0):
            shown = image(source, one, fluxes=[[1.0, 1.0]], log_radius=log_radius, log_tau=np.log(tau + 1e-9), **round_)
            np.testing.assert_allclose(shown.sum((1, 2)), want, rtol=0.006)


def test_the_prior_of_the_dust_is_its_own_given_the_light():
    """ln p has no term that ties them: moving the light's radius with u of the dust fixed moves the dust and not its prior."""
    names = {p.name for p in galaxy().parameters if p.name.startswith("screen_0.")}
    assert names == {f"screen_0.{name}" for name in ("log_ratio", "twist_1", "twist_2", "centre", "texture", "log_tau")}


def test_dust_that_cannot_follow_is_refused():
    lights = (Light(Point(), Free(2)),)
    law, values = jnp.ones(2), {"fluxes": [[1.0, 1.0]]}
    with pytest.raises(InputError, match="without log_radius, shear_1"):
        image(Source(lights, (Screen(Following(N, STEP), law),), grid=N, step=STEP), seen(n_bands=2), **values)
    with pytest.raises(InputError, match="grid"):
        image(Source((Light(Gaussian(), Free(2)),), (Screen(Following(31), law),), grid=N, step=STEP), seen(n_bands=2), **values)


@pytest.mark.slow
def test_dust_is_found_where_there_is_dust():
    """A dusty disc in two bands with noise: its tau comes back, and chi^2 is that of the noise."""
    source, noise = galaxy(), 0.002
    scene = Scene((Group(source, 1),), 2)
    clear = members(source, [(22.3, 19.8)], [[8.0, 10.0]], log_radius=1.6, shear_1=0.2, shear_2=0.1, log_tau=0.3)
    truth = render.Point((clear,), (Sight(jnp.zeros((2, 2)), jnp.zeros(2)),))
    shown = np.asarray(DRAW(scene, truth, 0, seen(n_bands=2)), np.float64)
    noisy = shown + noise * np.random.default_rng(0).standard_normal(shown.shape)
    observed = exposure(noisy, np.full_like(noisy, noise**-2), np.stack([moffat()] * 2))
    begin = truth._replace(members=(clear._replace(u=jax.tree.map(jnp.zeros_like, clear.u)),))
    found = fit.fit(scene, begin, (observed,), normal.opened(begin))
    left = normal.residuals(scene, found.point, (observed,))[0]
    assert float(jnp.mean(left**2)) / noise**2 == pytest.approx(1.0, abs=0.08)
    tau = next(p.prior for p in source.parameters if p.name == "screen_0.log_tau").from_normal(found.point.members[0].u["screen_0.log_tau"])
    assert float(tau[0]) == pytest.approx(0.3, abs=0.35)
