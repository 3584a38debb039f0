"""Fits and draws under a denoiser: of a Gaussian prior, of which the denoiser and all that follows are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_render import moffat

from slipher.scene import annealed, fit, laplace, layout, learned_blend, normal, render
from slipher.scene.blend import Blend
from slipher.scene.exposure import Exposure, exposure
from slipher.scene.fit import Fitted
from slipher.scene.learned import Denoised
from slipher.scene.render import Group, Members, Point, Scene, Sight
from slipher.scene.source import Light, Source, Start
from slipher.scene.spectrum import Free

N, NOISE, WIDTH = 5, 0.005, 0.15
SOURCE = Source((Light(Denoised(N, 1.5), Free(1)),))
SCENE = Scene((Group(SOURCE, 1),), 1)
MEAN = 1.0 - 0.5 * np.hypot(*(np.mgrid[:N, :N] - 2.0))
SIGMAS = (0.4, 0.2, 0.1, 0.06)


def gaussian(image: jax.Array, sigma: jax.Array) -> jax.Array:
    """E[x | y] of pixels that are independent and Gaussian about MEAN."""
    return (WIDTH**2 * image + sigma**2 * jnp.asarray(MEAN, jnp.float32)) / (WIDTH**2 + sigma**2)


def point(mean: np.ndarray = MEAN, width: float = 1.0, noise: np.ndarray | None = None) -> Point:
    given = {"light_0.mean": jnp.asarray(mean, jnp.float32)[None], "light_0.width": jnp.full(1, width)}
    u = {p.name: jnp.zeros((1, *p.shape)) for p in SOURCE.parameters}
    if noise is not None:
        u["light_0.log_light"] = jnp.asarray(noise, jnp.float32)[None]
    start = Start(jnp.array([[10.2, 9.7]]), jnp.full((1, 1, 1), 10.0), given)
    return Point((Members(start, u),), (Sight(jnp.zeros((1, 2)), jnp.zeros(1)),))


FREE = normal.opened(point(), shifts=False, backgrounds=False, sources=lambda name: name.endswith("log_light"))


@pytest.fixture(scope="module")
def seen() -> Exposure:
    blank = exposure(np.zeros((1, 21, 21)), np.full((1, 21, 21), NOISE**-2), moffat()[None])
    rng = np.random.default_rng(3)
    shown = np.asarray(render.draw(SCENE, point(width=WIDTH, noise=rng.standard_normal((N, N))), 0, blank))
    return exposure(shown + NOISE * rng.standard_normal(shown.shape), np.asarray(blank.ivar), moffat()[None])


def known(seen: Exposure, last: float) -> Point:
    """The most probable point of the prior smoothed by the last sigma, which is Gaussian too."""
    return fit.fit(SCENE, point(width=float(np.hypot(WIDTH, last))), (seen,), FREE).point


def test_the_most_probable_scene_is_that_of_the_smoothed_prior(seen):
    best, settled = annealed.most_probable(SCENE, point(MEAN + 0.7), (seen,), FREE, gaussian, SIGMAS)
    assert settled
    about = jnp.asarray(MEAN, jnp.float32)[None], float(np.hypot(WIDTH, SIGMAS[-1]))

    def height(x: jax.Array) -> float:
        return float(normal.log_posterior(SCENE, point(width=about[1], noise=(x - about[0])[0] / about[1]), (seen,)))

    wanted = height(annealed.images(SCENE, known(seen, SIGMAS[-1]))[0])
    assert height(annealed.images(SCENE, best)[0]) == pytest.approx(wanted, abs=0.3)
    assert height(about[0]) < wanted - 10.0


def test_draws_are_those_of_the_posterior(seen):
    """Their mean and scatter in directions that the image knows and in those that the prior knows, to Monte Carlo error."""
    n, sigmas = 48, (*SIGMAS, *(SIGMAS[-1],) * 4)
    draws = annealed.sample(jax.random.key(0), SCENE, point(width=0.7), (seen,), FREE, gaussian, n, sigmas)
    given = draws.members[0].start.given
    np.testing.assert_allclose(given["light_0.width"], 0.7)  # as of the point, with which draws are compared
    np.testing.assert_allclose(given["light_0.mean"], np.broadcast_to(MEAN, (n, 1, N, N)), rtol=1e-6)
    best = known(seen, SIGMAS[-1])
    width = float(np.hypot(WIDTH, SIGMAS[-1]))
    wanted = width * np.asarray(laplace.sample(jax.random.key(1), SCENE, best, (seen,), FREE, 400).members[0].u["light_0.log_light"])
    some = np.asarray(draws.members[0].u["light_0.log_light"] * draws.members[0].start.given["light_0.width"][:, :, None, None])
    wanted, some = wanted.reshape(400, -1), some.reshape(n, -1)
    _, directions = np.linalg.eigh(np.cov(wanted.T))
    pulls = (some.mean(0) - wanted.mean(0)) @ directions / (wanted @ directions).std(0)
    assert np.sqrt(np.mean(pulls**2)) < 2.0 / np.sqrt(n)
    ratio = (some @ directions).std(0) / (wanted @ directions).std(0)
    assert np.median(ratio) == pytest.approx(1.0, abs=0.1)
    assert ratio.min() > 0.6
    assert ratio.max() < 1.4


@pytest.mark.parametrize("sigma", [0.2, 1.0])
def test_diffusion_backwards_draws_what_is_clean(sigma):
    noisy = MEAN + 0.5
    many = jnp.broadcast_to(jnp.asarray(noisy, jnp.float32), (400, N, N))
    drawn = np.asarray(annealed.backwards(jax.random.key(0), gaussian, many, sigma))
    mean, sd = np.asarray(gaussian(noisy, sigma)), WIDTH * sigma / np.hypot(WIDTH, sigma)
    assert drawn.mean() == pytest.approx(mean.mean(), abs=4.0 * sd / np.sqrt(drawn.size))
    assert drawn.std(0).mean() == pytest.approx(sd, rel=0.05)


def test_a_scene_with_learned_galaxies_shows_the_same_and_keeps_the_order():
    """Of three sources of one group only those with free texture change their kind."""
    source, n = layout.kind(21, 1.0, 1), 4
    position = np.array([(12.0, 30.0), (30.0, 14.0), (32.0, 34.0)])
    members = layout.begin(source, n, position, np.full((3, 1), 20.0), np.full(3, 2.0), np.array([True, False, True]))
    rng = np.random.default_rng(0)
    u = members.u | {"light_0.texture": jnp.asarray(0.5 * rng.standard_normal((n, 21, 21)), jnp.float32)}
    whole = Point((members._replace(u=u),), (Sight(jnp.zeros((1, 2)), jnp.zeros(1)),))
    groups, sights = normal.opened(whole)
    taken = jnp.array([1.0, 0.0, 1.0, 0.0])[:, None, None]
    free = [groups[0] | {layout.TEXTURE: taken * groups[0][layout.TEXTURE]}], sights
    seen = exposure(np.zeros((1, 45, 45)), np.ones((1, 45, 45)), moffat()[None])
    scene = Scene((Group(source, n),), 1)
    fitted = Fitted(whole, jnp.zeros(()), jnp.asarray(True), jnp.asarray(0))
    before = Blend(scene, fitted, (seen,), free, position, np.array([(0, 0), (0, 1), (0, 2)]), ("g",))
    after, there, open_, order = learned_blend.changed(before)
    assert [isinstance(after.groups[g].source.lights[0].morphology, Denoised) for g, _ in order] == [True, False, True]
    for (g, i), xy in zip(order, position, strict=True):
        np.testing.assert_allclose(there.members[g].start.position[i], xy)
    old, new = (np.asarray(eqx.filter_jit(render.draw)(s, p, 0, seen)) for s, p in ((scene, whole), (after, there)))
    # Stamps end; what profiles have beyond theirs is lost.
    assert np.abs(new - old).max() < 0.01 * old.max()
    assert abs(new.sum() / old.sum() - 1.0) < 0.01
    assert all(float(jnp.max(mask["offset"])) == 1.0 for mask in open_[0])
