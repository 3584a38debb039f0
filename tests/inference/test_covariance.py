"""Whitening of correlated errors against the dense float64 matrix, and its templates against the simulator's draws."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids.library import load_library
from slipher.inference import covariance
from slipher.instrument import simulate, spectrograph
from slipher.instrument.systematics import Systematics, groups_of
from slipher.physics import cosmology, galaxy
from slipher.physics.parameters import from_normal

N_PIXEL = 300
WAVE = np.geomspace(3700.0, 7000.0, N_PIXEL)


class Case:
    """Data and templates of a spectrum of mean one: smooth templates of a few per cent, noise for a given S/N."""

    def __init__(self, seed: int, sn: float, n_template: int, *, lost: float = 0.0):
        rng = np.random.default_rng(seed)
        x = np.linspace(-1.0, 1.0, N_PIXEL)
        centres = np.linspace(-1.1, 1.1, n_template)
        bumps = np.exp(-0.5 * ((x[:, None] - centres) / (2.5 / n_template)) ** 2)
        self.templates = 0.03 * bumps * (1.0 + 0.3 * rng.standard_normal(n_template))
        self.ivar = (sn / (0.5 + rng.random(N_PIXEL))) ** 2 * (rng.random(N_PIXEL) >= lost)
        self.floor = (0.01 * (1.0 + rng.random(N_PIXEL))) ** 2
        self.x = rng.standard_normal((N_PIXEL, 3)) / sn

    def whitening(self) -> covariance.Whitening:
        return covariance.whitening(*(jnp.asarray(a, jnp.float32) for a in (self.ivar, self.floor, self.templates)))

    def dense(self) -> tuple[np.ndarray, np.ndarray]:
        """Which pixels are seen, and the matrix C of those."""
        seen = self.ivar > 0
        t = self.templates[seen]
        return seen, np.diag(1.0 / self.ivar[seen] + self.floor[seen]) + t @ t.T


CASES = {
    "faint": lambda: Case(0, 2.0, 12),
    "bright": lambda: Case(1, 100.0, 12),
    "masked": lambda: Case(2, 20.0, 12, lost=0.4),
    "nearly all lost": lambda: Case(3, 20.0, 12, lost=0.97),  # fewer pixels than templates
    "many templates": lambda: Case(4, 50.0, 60, lost=0.1),
}


@pytest.fixture(params=list(CASES))
def case(request) -> Case:
    return CASES[request.param]()


def test_a_whitened_residual_has_the_chi2_of_the_full_covariance(case):
    seen, c = case.dense()
    white = np.asarray(case.whitening().apply(jnp.asarray(case.x, jnp.float32)), np.float64)
    np.testing.assert_allclose(white.T @ white, case.x[seen].T @ np.linalg.solve(c, case.x[seen]), rtol=1e-3, atol=0.05)


def test_applying_is_the_root_of_the_inverse(case):
    """W' W = C^-1 where pixels are seen, as matrices."""
    seen, c = case.dense()
    identity = jnp.eye(N_PIXEL)
    w = np.asarray(case.whitening().apply(identity), np.float64)
    assert not np.any(w[~seen])
    assert not np.any(w[:, ~seen])
    w = w[np.ix_(seen, seen)]
    np.testing.assert_allclose(w @ c @ w.T, np.eye(seen.sum()), atol=2e-3)


def test_the_transpose_is_the_transpose(case):
    white, identity = case.whitening(), jnp.eye(N_PIXEL)
    np.testing.assert_allclose(white.transpose(identity), white.apply(identity).T, rtol=1e-5, atol=1e-5)


def test_columns_are_whitened_one_by_one(case):
    white, x = case.whitening(), jnp.asarray(case.x, jnp.float32)
    for one_by_one, together in ((white.apply, white.apply(x)), (white.transpose, white.transpose(x))):
        single = jnp.stack([one_by_one(x[:, i]) for i in range(3)], -1)
        np.testing.assert_allclose(single, together, rtol=1e-4, atol=1e-5)


def test_inner_products_need_no_whitening(case):
    seen, c = case.dense()
    white = case.whitening()
    got = white.inner(jnp.asarray(case.x, jnp.float32) * white.inverse_sigma[:, None])
    np.testing.assert_allclose(got, case.x[seen].T @ np.linalg.solve(c, case.x[seen]), rtol=1e-3, atol=0.05)


def test_the_determinant_is_the_dense_one(case):
    _, c = case.dense()
    assert float(case.whitening().half_log_det) == pytest.approx(0.5 * np.linalg.slogdet(c)[1], abs=0.02)


def test_what_the_templates_explain_is_their_posterior_mean(case):
    """E[T a | x] = T T' C^-1 x."""
    seen, c = case.dense()
    t = case.templates[seen]
    got = np.stack([case.whitening().explained(jnp.asarray(column, jnp.float32)) for column in case.x.T], -1)
    expected = t @ (t.T @ np.linalg.solve(c, case.x[seen]))
    assert not np.any(got[~seen])
    np.testing.assert_allclose(got[seen], expected, atol=2e-3 * np.abs(expected).max())


def test_a_residual_along_a_strong_template_is_explained_away():
    case = CASES["bright"]()
    white, x = case.whitening(), jnp.asarray(case.templates[:, 5], jnp.float32)
    assert float(jnp.sum(white.apply(x) ** 2)) <= 1.0  # one prior standard deviation of it costs at most one
    np.testing.assert_allclose(white.explained(x), x, atol=1e-3)
    assert float(jnp.sum((x * white.inverse_sigma) ** 2)) > 100.0


@pytest.mark.parametrize("nonsense", [0.0, 1e5, -1e5])
def test_pixels_without_information_change_nothing(nonsense):
    case = CASES["masked"]()
    seen, _ = case.dense()
    before = case.whitening().apply(jnp.asarray(case.x[:, 0], jnp.float32))
    case.floor = np.where(seen, case.floor, abs(nonsense))
    case.templates = np.where(seen[:, None], case.templates, nonsense)
    after = case.whitening()
    np.testing.assert_array_equal(after.apply(jnp.asarray(np.where(seen, case.x[:, 0], nonsense), jnp.float32)), before)


def test_without_any_information_nothing_is_said():
    case = Case(5, 20.0, 12, lost=1.1)
    white, x = case.whitening(), jnp.ones(N_PIXEL)
    assert float(white.half_log_det) == pytest.approx(0.0, abs=1e-6)
    for said in (white.apply(x), white.transpose(x), white.explained(x)):
        np.testing.assert_array_equal(said, 0.0)


def test_templates_said_twice_are_one_of_twice_the_variance():
    case = CASES["bright"]()
    x = jnp.asarray(case.x, jnp.float32)
    case.templates = np.concatenate([case.templates, case.templates], 1)
    twice = case.whitening()
    case.templates = np.sqrt(2.0) * case.templates[:, : case.templates.shape[1] // 2]
    once = case.whitening()
    np.testing.assert_allclose(twice.apply(x), once.apply(x), atol=2e-3)
    assert float(twice.half_log_det) == pytest.approx(float(once.half_log_det), abs=0.02)


# --- which templates --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Continua with systematics [draw, pixel], and the templates [pixel, template] that are to describe them."""
    library = load_library()
    view = spectrograph.view(WAVE, 0.0, library, lsf_kms=70.0)
    none = dict.fromkeys(groups_of(library), 0.0)
    systematics = dataclasses.replace(Systematics(), line_scatter=none, line_ew_aa=none)
    values = from_normal(galaxy.GALAXY.parameters[:-1], jnp.zeros(len(galaxy.GALAXY.parameters) - 1))
    covered, age = jnp.ones(N_PIXEL), cosmology.age_gyr(jnp.float32(0.1))

    draw = partial(
        simulate.light, model=galaxy.GALAXY, values=values, t_universe_gyr=age, view=view, library=library,
        systematics=systematics, covered=covered,
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(0), 4000)
    continua = np.asarray(jax.jit(lambda keys: jax.lax.map(lambda k: draw(k).continuum, keys))(keys), np.float64)
    reference = continua.mean(0)  # deviations have mean zero
    made = covariance.templates(systematics, view, jnp.asarray(reference, jnp.float32), jnp.zeros(N_PIXEL), covered)
    return (continua - reference) / reference.mean(), np.asarray(made, np.float64) / reference.mean()


def test_the_templates_have_the_covariance_of_the_simulators_draws(drawn):
    """In every pixel, and between pixels near and far: 4,000 draws know a variance to 2.2 per cent."""
    draws, made = drawn
    for lag in (0, 2, 10, 50, 200):
        n = N_PIXEL - lag
        got = np.mean(draws[:, :n] * draws[:, lag:], 0)
        expected = np.sum(made[:n] * made[lag:], 1)
        size = np.sqrt(np.sum(made[:n] ** 2, 1) * np.sum(made[lag:] ** 2, 1))
        np.testing.assert_allclose((got - expected) / size, 0.0, atol=5 * np.sqrt(2.0 / 4000))


def test_draws_whitened_by_the_templates_have_unit_variance(drawn):
    """Noise a hundredth of the flux beside the systematics: each whitened pixel scatters by one."""
    draws, made = drawn
    rng = np.random.default_rng(1)
    x = jnp.asarray(draws[:1000] + 0.01 * rng.standard_normal((1000, N_PIXEL)), jnp.float32)
    white = covariance.whitening(jnp.full(N_PIXEL, 1e4), jnp.zeros(N_PIXEL), jnp.asarray(made, jnp.float32))
    variance = np.mean(np.asarray(white.apply(x.T)) ** 2, 1)
    assert np.mean(variance) == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(variance, 1.0, atol=5 * np.sqrt(2.0 / 1000))
