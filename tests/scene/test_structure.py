"""Bulges, arms, clumps, wavelets and learned morphologies against what they are meant to be."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.errors import InputError
from slipher.scene import learned, morphology
from slipher.scene.exposure import Frequencies
from slipher.scene.learned import Learned
from slipher.scene.morphology import Gaussian, Sersic
from slipher.scene.structure import BulgeDisc, Clumps, Spiral, Starlet, in_plane, sheared_places

ELLIPSE = {"log_radius": jnp.float32(1.6), "shear_1": jnp.float32(0.2), "shear_2": jnp.float32(-0.15)}
AXIS = jnp.linspace(-1.5, 1.5, 13)
GRID = Frequencies(*jnp.meshgrid(AXIS, AXIS), separable=True)


def at_rest(one: morphology.Morphology) -> morphology.Values:
    """The middle of the prior."""
    return {p.name: p.prior.from_normal(jnp.zeros(p.shape)) for p in one.parameters}


@pytest.mark.parametrize(("share", "index", "lead"), [(0.0, 1.0, "disc"), (1.0, 4.0, "bulge")])
def test_a_bulge_and_disc_is_either_where_the_other_has_no_light(share, index, lead):
    one = BulgeDisc()
    values = {**at_rest(one), **{f"{lead}_{name}": value for name, value in ELLIPSE.items()}, "bulge_share": jnp.float32(share)}
    np.testing.assert_allclose(one.transform(values, GRID), Sersic(index).transform(ELLIPSE, GRID), atol=1e-6)


def test_bulges_are_smaller_than_discs():
    means = {p.name: p.prior.loc for p in BulgeDisc().parameters if p.name.endswith("log_radius")}
    assert means["bulge_log_radius"] < means["disc_log_radius"]


def test_clumps_are_gaussians_where_the_plane_has_them():
    """Against pixels: each clump painted by hand, at its place on the sky."""
    one, places = Clumps(2, Gaussian()), np.array([[1.0, 0.3], [-0.5, 0.8]])
    sizes, shares = np.array([1.3, 2.0]), np.array([0.5, 0.25])
    values = {
        **ELLIPSE, "places": jnp.asarray(places, jnp.float32), "log_shares": jnp.log(jnp.asarray(shares, jnp.float32)),
        "log_sizes": jnp.log(jnp.asarray(sizes, jnp.float32)) - ELLIPSE["log_radius"],
    }  # fmt: skip
    g = np.array([[0.2, -0.15], [-0.15, -0.2]])
    length = np.linalg.norm(g, 2)
    shear = np.cosh(length) * np.eye(2) + np.sinh(length) / length * g
    y, x = np.mgrid[:61, :61] - 30.0
    want = np.asarray(morphology.on_grid(Gaussian(), ELLIPSE, 61, 1.0), np.float64)
    for place, size, share in zip(places, sizes, shares, strict=True):
        px, py = np.exp(1.6) * shear @ place
        want = want + share * np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / size**2) / (2 * np.pi * size**2)
    found = np.asarray(morphology.on_grid(one, values, 61, 1.0))
    np.testing.assert_allclose(found, want / (1.0 + shares.sum()), atol=2e-5)


def test_planes_and_the_sky_are_each_others_inverse():
    places = jnp.array([[0.3, 1.2], [-2.0, 0.4]])
    np.testing.assert_allclose(jnp.stack(in_plane(ELLIPSE, *sheared_places(ELLIPSE, places)), -1), places, atol=1e-5)


def test_a_spiral_without_arms_is_a_disc():
    """Of n = 1: ln I falls by 1.678 each half-light radius."""
    one = Spiral(61)
    values = {**at_rest(one), **ELLIPSE, "shear_1": jnp.float32(0.0), "shear_2": jnp.float32(0.0)}
    light = np.asarray(one.light(values))
    r = np.hypot(*(np.mgrid[:61, :61] - 30.0)) / np.exp(1.6)
    far = (r > 0.5) & (r < 4)
    assert np.polyfit(r[far], np.log(light[far]), 1)[0] == pytest.approx(-1.6783, abs=0.01)


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("winding", [-2.5, 2.5])
def test_arms_are_as_many_and_as_wound_as_they_say(number, winding):
    """Fourier modes around rings: only multiples of the number of arms, and a phase that turns by number * winding each e-fold of r."""
    one = Spiral(121, 0.5, number=number)
    values = {**at_rest(one), "log_radius": jnp.float32(2.3), "arms": jnp.array([0.5, 0.3]), "winding": jnp.float32(winding)}
    log_light = np.log(np.asarray(one.light(values)))
    around = 2 * np.pi * np.arange(256) / 256
    phases = []
    for r in (12.0, 13.0):
        x, y = (60.0 + 2.0 * r * wave(around) for wave in (np.cos, np.sin))
        ring = np.asarray(jax.scipy.ndimage.map_coordinates(jnp.asarray(log_light), [jnp.asarray(y), jnp.asarray(x)], order=1))
        modes = np.fft.fft(ring)[1:9] / 256
        assert np.argmax(np.abs(modes)) + 1 == number
        phases.append(np.angle(modes[number - 1]))
    turned = (phases[1] - phases[0] + np.pi) % (2 * np.pi) - np.pi
    assert turned == pytest.approx(-number * winding * np.log(13.0 / 12.0), abs=0.05)


def test_a_bar_adds_light_along_itself():
    one = Spiral(41, barred=True)
    values = {**at_rest(one), "log_radius": jnp.float32(2.2), "bar_shear_1": jnp.float32(0.6), "bar_share": jnp.float32(0.3)}
    light = np.asarray(one.light(values))
    assert light.sum() == pytest.approx(1.0, abs=1e-5)
    assert light[20, 23] > 1.2 * light[23, 20]


def test_starlets_of_a_field_give_the_field_back():
    one = Starlet(32, scales=3)
    field = jnp.asarray(np.random.default_rng(0).normal(size=(32, 32)), jnp.float32)
    np.testing.assert_allclose(one.field(one.wavelets(field)), field, atol=2e-4)


def test_starlets_are_rougher_on_coarser_scales():
    """Each scale's noise alone has the standard deviation that is its own."""
    one = Starlet(32, scales=3, roughness=0.4, decay=0.5)
    noise = jax.random.normal(jax.random.key(0), (400, 4, 32, 32))
    for scale in range(4):
        alone = noise * (jnp.arange(4) == scale)[:, None, None]
        assert float(jnp.std(jax.vmap(one.field)(alone))) == pytest.approx(0.4 * 0.5 ** (3 - scale), rel=0.05)


# --- what learned priors see ------------------------------------------------------------------------------------------


class Painted(eqx.Module):
    """In a flow's place: an image plus noise."""

    image: jax.Array
    size: int = eqx.field(static=True)

    def __call__(self, noise):
        return self.image + noise


def disc(n: int = 24, r: float = 4.0) -> np.ndarray:
    """An exponential disc on a grid."""
    return np.exp(-1.678 / r * np.hypot(*(np.mgrid[:n, :n] - 0.5 * (n - 1))))


def test_log_brightness_knows_no_flux_and_dark_is_minus_eight():
    light = disc()
    light[:, :3] = 0.0
    x = np.asarray(learned.log_brightness(jnp.asarray(light, jnp.float32)))
    np.testing.assert_allclose(learned.log_brightness(jnp.asarray(1e4 * light, jnp.float32)), x, atol=1e-4)
    np.testing.assert_allclose(x[:, :3], -8.0, atol=1e-5)


def test_brightness_is_over_its_mean_where_half_of_the_light_is():
    """Of an exponential disc that lies all within the grid: within r_e the mean is 0.5 / (pi r_e^2) of its flux."""
    light = disc(81, 6.0)
    mean = float(learned.half_light_brightness(jnp.asarray(light, jnp.float32)))
    assert mean == pytest.approx(0.5 * light.sum() / (np.pi * 6.0**2), rel=0.02)


def test_light_comes_back():
    light = disc()
    back = np.asarray(learned.light_of(learned.log_brightness(jnp.asarray(light, jnp.float32))))
    np.testing.assert_allclose(back, light / light.sum(), atol=2e-5)
    assert (np.asarray(learned.light_of(jnp.full((4, 4), -30.0).at[1, 1].set(0.0))) >= 0).all()


def test_a_learned_morphology_is_the_middle_of_its_flow():
    x = learned.log_brightness(jnp.asarray(disc(16), jnp.float32))
    one = Learned(Painted(x, 16), 12)
    found = one.light({"texture": jnp.zeros((16, 16))})
    np.testing.assert_allclose(found, learned.light_of(x[2:14, 2:14]), atol=1e-6)
    with pytest.raises(InputError, match="17 points"):
        Learned(Painted(x, 16), 17)


def test_dark_pixels_can_still_become_bright():
    one = Learned(Painted(jnp.full((8, 8), -8.5).at[4, 4].set(1.0), 8), 8)
    slope = jax.grad(lambda noise: one.light({"texture": noise})[1, 1])(jnp.zeros((8, 8)))
    assert float(slope[1, 1]) > 0
