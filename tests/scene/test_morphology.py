"""Laws of morphologies from a registry, and Sersic profiles against sums over fine pixels."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from slipher.scene import morphology, sersic
from slipher.scene.exposure import Frequencies
from slipher.scene.learned import Learned
from slipher.scene.morphology import Gaussian, Gaussians, Pixels, Point, Sersic, Textured
from slipher.scene.structure import BulgeDisc, Clumps, Spiral, Starlet


class Smoothing(eqx.Module):
    """In a flow's place: smoothed noise on a round profile."""

    size: int = eqx.field(static=True)

    def __call__(self, noise):
        at = jnp.arange(self.size) - 0.5 * (self.size - 1)
        return sum(jnp.roll(noise, shift, (0, 1)) for shift in (-1, 0, 1)) / 3.0 - 0.5 * jnp.hypot(at, at[:, None])


MORPHOLOGIES = {
    "point": Point(),
    "gaussian": Gaussian(),
    "gaussians": Gaussians(3),
    "sersic": Sersic(),
    "disc": Sersic(1.0),
    "bulge": Sersic(4.0),
    "pixels": Pixels(15),
    "fine pixels": Pixels(21, 0.5),
    "textured": Textured(Sersic(), 21),
    "bulge and disc": BulgeDisc(),
    "clumps": Clumps(3),
    "spiral": Spiral(21),
    "barred spiral": Spiral(21, 0.5, number=3, barred=True),
    "starlet": Starlet(21),
    "learned": Learned(Smoothing(16), 13),
}
ROUND = {"gaussian", "sersic", "disc", "bulge"}


def grid(n: int = 16, most: float = 2.0) -> Frequencies:
    """Frequencies about zero, that at [n, n] being zero."""
    q = jnp.linspace(-most, most, 2 * n + 1)
    y, x = jnp.meshgrid(q, q, indexing="ij")
    return Frequencies(x, y, separable=True)


def drawn(one: morphology.Morphology, seed: int = 0) -> morphology.Values:
    """Values from the prior, not too far out."""
    keys = jax.random.split(jax.random.key(seed), max(len(one.parameters), 1))
    return {p.name: p.prior.from_normal(0.5 * jax.random.normal(key, p.shape)) for p, key in zip(one.parameters, keys, strict=False)}


@pytest.fixture(params=MORPHOLOGIES, scope="module")
def named(request):
    return request.param, MORPHOLOGIES[request.param]


def test_the_flux_is_one(named):
    _, one = named
    found = np.asarray(one.transform(drawn(one), grid()))
    assert found[16, 16] == pytest.approx(1.0, abs=1e-4)
    assert np.abs(found).max() < 1.0 + 1e-3


def test_light_is_real(named):
    """A transform at -q is the conjugate of that at q."""
    _, one = named
    found = np.asarray(one.transform(drawn(one, 1), grid()))
    np.testing.assert_allclose(found[::-1, ::-1], found.conj(), atol=2e-5)


def test_gradients_are_finite_also_where_a_galaxy_is_round(named):
    _, one = named
    for values in (drawn(one), {**drawn(one), **{p.name: jnp.zeros(()) for p in one.parameters if p.name.startswith("shear")}}):
        gradient = jax.grad(lambda values: jnp.sum(jnp.abs(one.transform(values, grid())) ** 2))(values)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_compiled_is_as_written(named):
    _, one = named
    values = drawn(one, 2)
    np.testing.assert_allclose(jax.jit(one.transform)(values, grid()), one.transform(values, grid()), atol=2e-5)


def test_turned_frequencies_give_what_straight_ones_do(named):
    _, one = named
    values, straight = drawn(one, 3), grid()
    turned = Frequencies(straight.x, straight.y, separable=False)
    np.testing.assert_allclose(one.transform(values, turned), one.transform(values, straight), atol=2e-5)


@pytest.mark.parametrize("name", sorted(ROUND))
def test_shears_are_ellipses(name):
    """The axis ratio is exp(-2 |g|), and where it points is half the angle of (g_1, g_2): second moments from the transform's bend."""
    one = MORPHOLOGIES[name]
    g = np.array([0.25, -0.15])
    values = {**drawn(one), "log_radius": jnp.float32(0.0), "shear_1": jnp.float32(g[0]), "shear_2": jnp.float32(g[1])}
    if name in ("sersic", "bulge"):
        values["log_index"] = jnp.float32(0.0)
    angle = 0.5 * np.arctan2(g[1], g[0])
    q = 0.3
    along = jnp.array([[q * np.cos(angle)]]), jnp.array([[q * np.sin(angle)]])
    across = jnp.array([[-q * np.sin(angle)]]), jnp.array([[q * np.cos(angle)]])
    ratio = float(np.exp(-2.0 * np.hypot(*g)))
    wide = one.transform(values, Frequencies(*(ratio * x for x in along), separable=False))
    narrow = one.transform(values, Frequencies(*across, separable=False))
    assert float(wide[0, 0]) == pytest.approx(float(narrow[0, 0]), abs=1e-5)


@pytest.mark.parametrize("n", [0.5, 0.7, 1.0, 2.3, 4.0, 6.4])
def test_sersic_transforms_are_hankel_transforms(n):
    """Against an integral over radius."""
    b = special.gammaincinv(2 * n, 0.5)
    log_r = np.linspace(-12.0, n * np.log(60.0 / b + 3.0), 600_001)
    r = np.exp(log_r)
    light = np.exp(-b * r ** (1 / n)) * r**2
    flux = np.trapezoid(light, log_r)
    for k in (0.05, 0.5, 1.0, 3.0, 10.0):
        want = np.trapezoid(light * special.j0(k * r), log_r) / flux
        assert float(sersic.transform(jnp.float32(k), jnp.float32(n))) == pytest.approx(want, abs=2e-5)


def test_half_the_light_of_a_gaussian_is_within_its_radius():
    values = {"log_radius": jnp.float32(np.log(3.0)), "shear_1": jnp.float32(0), "shear_2": jnp.float32(0)}
    found = np.asarray(morphology.on_grid(Gaussian(), values, 161, 0.2))
    y, x = 0.2 * (np.mgrid[:161, :161] - 80)
    assert found[np.hypot(x, y) < 3.0].sum() == pytest.approx(0.5, abs=0.005)


def test_texture_has_the_roughness_it_says_and_is_nothing_without_noise():
    one = Textured(Sersic(), 41, roughness=0.4)
    noise = jax.random.normal(jax.random.key(0), (200, 41, 41))
    fields = np.asarray(jax.vmap(one.field)(noise))
    assert fields[:, 10:31, 10:31].std() == pytest.approx(0.4, rel=0.03)
    assert fields[:, 0].std() < 0.1 * 0.4  # it has faded at the edge
    smooth = Textured(Gaussian(), 41)
    values = {"log_radius": jnp.float32(1.0), "shear_1": jnp.float32(0.2), "shear_2": jnp.float32(0.0), "texture": jnp.zeros((41, 41))}
    plain = np.asarray(smooth.profile.transform(values, grid(most=1.0)))
    np.testing.assert_allclose(np.asarray(smooth.transform(values, grid(most=1.0))), plain, atol=1e-4)
