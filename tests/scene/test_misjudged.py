"""Profiles that no model has right: their fields, and what they make of errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from test_fit import ALL, SCENE, observed, point, truth
from test_render import moffat

from slipher.scene import laplace, misjudged, render
from slipher.scene.exposure import exposure

SHAPE, MIDDLE, RADIUS = (61, 71), (30.0, 28.0), 4.0
DRAWS = 400


@pytest.fixture(scope="module")
def fields() -> np.ndarray:
    """Of a source that is as bright everywhere: draw, band, y, x."""
    seen = exposure(np.zeros((2, *SHAPE)), np.ones((2, *SHAPE)), np.stack([moffat()] * 2))
    wrong = misjudged.Misjudged(jnp.ones((1, 2, *SHAPE)), jnp.array([MIDDLE]), jnp.array([RADIUS]))
    return np.asarray(jax.jit(jax.vmap(lambda key: misjudged.draw(key, wrong, seen)))(jax.random.split(jax.random.key(0), DRAWS)))


def test_fields_are_even_about_the_middle_and_the_same_in_all_bands(fields):
    x, y = (int(a) for a in MIDDLE)
    about = fields[:, 0, y - 20 : y + 21, x - 20 : x + 21]
    np.testing.assert_allclose(about, about[:, ::-1, ::-1], atol=2e-3)
    np.testing.assert_allclose(fields[:, 0], fields[:, 1])


def test_fields_have_unit_variance_away_from_the_middle_and_are_as_smooth_as_stated(fields):
    far = fields[:, 0, 5:20, 5:20]
    assert far.std() == pytest.approx(1.0, abs=0.05)
    # Of a field smoothed by a Gaussian of sd R the correlation at a distance d is exp(-d^2 / 4 R^2).
    got = np.mean(far[..., :-4] * far[..., 4:]) / far.var()
    assert got == pytest.approx(np.exp(-0.25 * (4.0 / RADIUS) ** 2), abs=0.05)


def test_fields_are_the_same_in_all_images_of_a_sky(fields):
    """In one that is turned, of half as wide pixels, and shows the middle elsewhere."""
    turn = 2.0 * np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    middle = np.array([50.0, 40.0])
    nothing = np.zeros((1, 81, 101))
    seen = exposure(nothing, 1.0 + nothing, moffat()[None], jacobian=turn, origin=middle - turn @ np.array(MIDDLE))
    wrong = misjudged.Misjudged(jnp.ones((1, 1, 81, 101)), jnp.asarray(middle, jnp.float32)[None], jnp.array([RADIUS]))
    own = np.asarray(misjudged.draw(jax.random.split(jax.random.key(0), DRAWS)[0], wrong, seen))[0]
    y, x = np.mgrid[20:40, 20:40]
    there = np.einsum("ij,jyx->iyx", turn, np.stack([x, y]) - np.reshape(MIDDLE, (2, 1, 1))) + middle[:, None, None]
    np.testing.assert_allclose(ndimage.map_coordinates(own, there[::-1], order=3), fields[0, 0, 20:40, 20:40], atol=0.01)


def test_middles_and_radii_are_those_of_the_light():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sd = 3.0
    light = np.exp(-0.5 * ((x - 30.4) ** 2 + (y - 22.7) ** 2) / sd**2)
    seen = exposure(np.zeros((2, *SHAPE)), np.ones((2, *SHAPE)), np.stack([moffat()] * 2))
    found = misjudged.misjudged([np.stack([np.stack([light, 2.0 * light]), np.zeros((2, *SHAPE))])], (seen,))[0]
    np.testing.assert_allclose(found.middle[0], [30.4, 22.7], atol=0.05)
    assert float(found.radius[0]) == pytest.approx(sd * np.sqrt(2.0 * np.log(2.0)), rel=0.05)
    assert np.isfinite(np.asarray(found.middle)).all()
    assert np.isfinite(np.asarray(found.radius)).all()


def test_fluxes_are_less_certain_by_it_and_colours_and_places_are_not():
    """Fluxes by some of epsilon, for what a field takes here it gives there."""
    seen, here = (observed(1),), point(u=truth(1))
    light = np.asarray(render.each_source(SCENE.groups[0], here.members[0], seen[0], here.sights[0]))
    wrong = misjudged.misjudged([light], seen)

    def spread(*how) -> dict[str, np.ndarray]:
        u = laplace.sample(jax.random.key(0), SCENE, here, seen, ALL, 200, *how).members[0].u
        flux = np.asarray(u["light_0.log_flux"])[..., 0, :]
        return {"flux": flux.mean(-1).std(0), "colour": (flux[..., 0] - flux[..., 1]).std(0), "place": np.asarray(u["offset"]).std(0)}

    exact, off = spread(), spread(wrong, 0.2)
    added = {name: np.sqrt(np.maximum(off[name] ** 2 - exact[name] ** 2, 0.0)) for name in exact}
    assert 0.3 * 0.2 < added["flux"] < 0.2
    # A neighbour of another colour that takes light changes a colour by some of it.
    assert added["colour"] < 0.2 * added["flux"]
    assert (added["place"] < 0.03).all()
