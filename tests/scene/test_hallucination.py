"""The hallucination score: against sums over pixels, dense inverses, and a prior of which the Hessian is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_render import moffat

from slipher.scene import exposure as exposures
from slipher.scene import hallucination
from slipher.scene.exposure import Exposure, exposure
from slipher.scene.morphology import Sersic, Textured, of_grid

N, STEP, POSITION, FLUX = 7, 0.8, np.array([11.3, 9.6]), np.array([3.0, 0.5])


def seen(**how) -> Exposure:
    rng = np.random.default_rng(3)
    weight = rng.uniform(0.5, 2.0, (2, 21, 24))
    weight[:, 8:11, 10:12] = 0.0
    return exposure(np.zeros_like(weight), weight, np.stack([moffat(13), moffat(13, 0.8)]), **how)


def by_hand(one: Exposure, light: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Every pixel of light drawn on its own."""
    q, out = exposures.frequencies(one), np.zeros_like(light)
    response = exposures.response(one, jnp.asarray(u, jnp.float32)) * exposures.phase(one, jnp.asarray(POSITION, jnp.float32))
    for i in np.ndindex(light.shape):
        unit = jnp.zeros(light.shape).at[i].set(1.0)
        # A pixel of light has the grid's frequencies alone; the likelihood's term is that of a point.
        x = STEP * (i[1] - 0.5 * (N - 1)) * q.x + STEP * (i[0] - 0.5 * (N - 1)) * q.y
        assert np.allclose(of_grid(unit, 1e-6, q), 1.0, atol=1e-3)
        image = np.asarray(exposures.image(one, jnp.exp(-1j * x) * response), np.float64)
        out[i] = light[i] ** 2 * np.sum(FLUX[:, None, None] ** 2 * np.asarray(one.ivar) * image**2)
    return out


@pytest.mark.parametrize("turn", [0.0, 0.4], ids=["parallel", "turned"])
def test_the_likelihoods_term_is_that_of_sums_over_pixels(turn):
    cos, sin = 0.9 * np.cos(turn), 0.9 * np.sin(turn)
    one = seen(jacobian=np.array([(cos, -sin), (sin, cos)]), origin=np.array([1.5, -0.7]))
    light, u = np.random.default_rng(0).uniform(0.1, 1.0, (N, N)), np.array([(1.0, -2.0), (0.5, 0.0)])
    as_given = [jnp.asarray(x, jnp.float32) for x in (light, FLUX, POSITION, u)]
    got = hallucination.of_likelihood(as_given[0], STEP, as_given[1], as_given[2], (one,), (as_given[3],))
    want = by_hand(one, light, u)
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-4 * want.max())


def test_pixels_without_data_are_made_up():
    one = seen()
    light = jnp.full((N, N), 1.0 / N**2)
    information = [
        hallucination.of_likelihood(light, 1.0, jnp.asarray(FLUX, jnp.float32), jnp.asarray(p, jnp.float32), (one,), (jnp.zeros((2, 2)),))
        for p in ([12.0, 10.0], [400.0, 10.0])
    ]
    assert float(information[0].max()) > 0
    assert float(information[1].max()) < 1e-6 * float(information[0].max())
    seen_, unseen = (hallucination.Score(np.asarray(light), np.asarray(said), np.full((N, N), 3e-5)) for said in information)
    assert seen_.share < 0.5
    assert unseen.share == 1.0


def test_the_fields_term_is_the_diagonal_of_its_inverse_covariance():
    shape = Textured(Sersic(), 9)
    unit = np.eye(81, dtype=np.float32).reshape(81, 9, 9)
    root = np.asarray(jax.vmap(shape.field)(jnp.asarray(unit)), np.float64).reshape(81, 81).T
    want = np.diagonal(np.linalg.inv(root @ root.T)).reshape(9, 9)
    np.testing.assert_allclose(hallucination.of_field(shape, 9), want, rtol=1e-3)


def test_the_scores_term_is_the_diagonal_of_its_hessian():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((16, 16)) / 4.0 + 2.0 * np.eye(16)
    precision = jnp.asarray(root @ root.T, jnp.float32)

    def score(x):
        return -(precision @ x.ravel()).reshape(x.shape)

    x, want = jnp.zeros((4, 4)), np.diagonal(precision)
    np.testing.assert_allclose(hallucination.of_score(jax.random.key(0), score, x, 4).ravel(), want, rtol=1e-5)
    # Combs of several pixels: what couples them has random signs, its variance the sum of its squares.
    many = jax.vmap(lambda key: hallucination.of_score(key, score, x, 2))(jax.random.split(jax.random.key(1), 2000))
    comb = np.array([(i // 4 % 2, i % 2) for i in range(16)])
    alike = np.all(comb[:, None] == comb, axis=2) & ~np.eye(16, dtype=bool)
    off = np.sqrt(np.sum(np.asarray(precision) ** 2 * alike, 1) / len(many))
    assert np.all(np.abs(np.mean(many, 0).ravel() - want) < 5.0 * off)
