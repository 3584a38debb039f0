"""Fits of scenes: what was put in comes out, within errors that are those of the noise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from test_render import kind, moffat

from slipher.scene import fit, laplace, normal, render
from slipher.scene.exposure import Exposure, exposure
from slipher.scene.morphology import Gaussian, Sersic, Textured
from slipher.scene.render import Group, Members, Scene, Sight
from slipher.scene.source import Source, Start

SHAPE, NOISE = (35, 41), 0.02
STARTS = np.array([(14.0, 15.0), (24.0, 20.0)])
SOURCE = kind(Sersic(), 2)
SCENE = Scene((Group(SOURCE, 2),), 2)
DRAW, RESIDUALS = eqx.filter_jit(render.draw), eqx.filter_jit(normal.residuals)


def point(source: Source = SOURCE, u: dict | None = None, background: float = 0.0) -> render.Point:
    u = {p.name: jnp.zeros((2, *p.shape)) for p in source.parameters} | (u or {})
    start = Start(jnp.asarray(STARTS, jnp.float32), jnp.full((2, 1, 2), 20.0))
    return render.Point((Members(start, u),), (Sight(jnp.zeros((2, 2)), jnp.full(2, background, jnp.float32)),))


ALL = normal.opened(point())


def truth(seed: int) -> dict:
    """Of a blend whose members are brighter and larger than they start."""
    rng = np.random.default_rng(seed)
    some = {p.name: 0.3 * rng.standard_normal((2, *p.shape)) for p in SOURCE.parameters}
    some["light_0.log_flux"] += 0.4
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), some)


def blank() -> Exposure:
    nothing = np.zeros((2, *SHAPE))
    return exposure(nothing, np.full_like(nothing, NOISE**-2), np.stack([moffat()] * 2))


def observed(seed: int, source: Source = SOURCE, u: dict | None = None) -> Exposure:
    one = blank()
    shown = DRAW(Scene((Group(source, 2),), 2), point(source, truth(seed) if u is None else u, 0.01), 0, one)
    noise = NOISE * np.random.default_rng([seed, 1]).standard_normal(shown.shape)
    return exposure(np.asarray(shown) + noise, np.asarray(one.ivar), np.stack([moffat()] * 2))


def test_a_blend_comes_apart():
    """Errors in sigma of all parameters and backgrounds of several blends: standard normal."""
    off = []
    for seed in range(4):
        seen = (observed(seed),)
        found = fit.fit(SCENE, point(), seen, ALL)
        assert found.converged
        left = RESIDUALS(SCENE, found.point, seen)[0]
        assert float(jnp.mean(left**2)) == pytest.approx(NOISE**2, rel=0.1)
        flat = [
            np.asarray(jax.flatten_util.ravel_pytree(normal.free_of(p))[0]) for p in (found.point, point(u=truth(seed), background=0.01))
        ]
        places = normal.places_of_few(found.point)
        covariance = np.asarray(laplace.covariance(SCENE, found.point, seen, ALL), np.float64)
        off.append(np.linalg.solve(np.linalg.cholesky(covariance), (flat[0] - flat[1])[places]))
    assert stats.kstest(np.concatenate(off), "norm").pvalue > 1e-3
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(1.0, abs=0.2)


def test_preconditioned_gradients_find_what_a_dense_solution_does():
    seen = (observed(1),)
    here = point(u=truth(1))
    n = jax.flatten_util.ravel_pytree(ALL)[0].size
    bend = np.asarray(jax.jit(lambda here: jax.vmap(normal.bent(SCENE, here, seen, ALL).bend)(jnp.eye(n)))(here), np.float64)
    np.testing.assert_allclose(bend, bend.T, rtol=1e-3, atol=1e-3 * np.abs(bend).max() ** 0.5)
    places = normal.places_of_few(here)
    assert sorted(places) == list(range(n))
    want = np.linalg.inv(bend)[np.ix_(places, places)]
    got = np.asarray(laplace.covariance(SCENE, here, seen, ALL))
    scale = np.sqrt(np.diagonal(want))
    np.testing.assert_allclose(got / scale / scale[:, None], want / scale / scale[:, None], atol=0.02)


def test_draws_have_the_covariance_that_is_stated():
    seen, here = (observed(1),), point(u=truth(1))
    draws = laplace.sample(jax.random.key(0), SCENE, here, seen, ALL, 400)
    rows = np.asarray(jax.vmap(lambda p: jax.flatten_util.ravel_pytree(normal.free_of(p))[0])(draws), np.float64)
    places = normal.places_of_few(here)
    root = np.linalg.cholesky(np.asarray(laplace.covariance(SCENE, here, seen, ALL), np.float64))
    middle = np.asarray(jax.flatten_util.ravel_pytree(normal.free_of(here))[0])
    white = np.linalg.solve(root, (rows - middle)[:, places].T)
    assert stats.kstest(white.ravel(), "norm").pvalue > 1e-3
    np.testing.assert_allclose(np.cov(white), np.eye(len(places)), atol=0.3)


def test_the_gradient_is_that_of_the_posterior():
    seen, here = (observed(2),), point(u=truth(3))
    row, unravel = jax.flatten_util.ravel_pytree(normal.free_of(here))
    want = jax.jit(jax.grad(lambda row: normal.log_posterior(SCENE, normal.placed(here, unravel(row)), seen)))(row)
    pull = jax.jit(lambda here: normal.bent(SCENE, here, seen, ALL).pull)(here)
    np.testing.assert_allclose(pull, want, rtol=1e-3, atol=1e-3 * float(jnp.abs(want).max()))


def test_texture_is_found_where_there_is_texture():
    """Two Gaussians with arms: chi^2 goes from bad to what the noise is, and fluxes stay where they belong."""
    rough = kind(Textured(Gaussian(), 21, roughness=0.6), 2)
    u = {name: value for name, value in truth(0).items() if name != "light_0.log_index"}
    u |= {"light_0.texture": jax.random.normal(jax.random.key(1), (2, 21, 21)), "light_0.log_flux": jnp.full((2, 2), 1.5)}
    seen = (observed(5, rough, u),)
    smooth = fit.fit(SCENE, point(), seen, ALL)
    scene = Scene((Group(rough, 2),), 2)
    found = fit.fit(scene, point(rough), seen, normal.opened(point(rough)))
    chi2 = [float(jnp.mean(RESIDUALS(s, f.point, seen)[0] ** 2)) / NOISE**2 for s, f in ((SCENE, smooth), (scene, found))]
    assert chi2[0] > 1.3
    assert chi2[1] < 1.05
    np.testing.assert_allclose(found.point.members[0].u["light_0.log_flux"], 1.5, rtol=0.05)
