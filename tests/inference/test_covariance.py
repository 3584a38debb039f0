"""Correlated errors against the dense float64 matrix, and its templates against the simulator's draws."""

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

    def made(self) -> covariance.Covariance:
        return covariance.covariance(*(jnp.asarray(a, jnp.float32) for a in (self.ivar, self.floor, self.templates)))

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


def chi2(errors: covariance.Covariance, x) -> np.ndarray:
    """x' C^-1 x of columns, by the code under test."""
    return np.asarray(errors.inner(jnp.asarray(x, jnp.float32) * errors.inverse_sigma[:, None]), np.float64)


def test_inner_products_are_those_of_the_dense_inverse(case):
    seen, c = case.dense()
    got = chi2(case.made(), case.x)
    np.testing.assert_allclose(got, case.x[seen].T @ np.linalg.solve(c, case.x[seen]), rtol=1e-3, atol=0.05)


def test_the_determinant_is_the_dense_one(case):
    _, c = case.dense()
    assert float(case.made().half_log_det) == pytest.approx(0.5 * np.linalg.slogdet(c)[1], abs=0.02)


def test_what_the_templates_explain_is_their_posterior_mean(case):
    """E[T a | x] = T T' C^-1 x."""
    seen, c = case.dense()
    t = case.templates[seen]
    nothing = jnp.zeros(case.templates.shape[1])
    got = np.stack([case.made().explained(jnp.asarray(column, jnp.float32), nothing) for column in case.x.T], -1)
    expected = t @ (t.T @ np.linalg.solve(c, case.x[seen]))
    assert not np.any(got[~seen])
    np.testing.assert_allclose(got[seen], expected, atol=2e-3 * np.abs(expected).max())


def test_draws_of_what_the_templates_explain_scatter_as_their_posterior_does(case):
    """Cov[T a | x] = T (I + T' D^-1 T)^-1 T', of 6,000 draws: a variance to 1.8 per cent."""
    n = 6000
    seen, _ = case.dense()
    t, d = case.templates[seen], 1.0 / case.ivar[seen] + case.floor[seen]
    posterior = np.linalg.cholesky(np.linalg.inv(np.eye(t.shape[1]) + (t / d[:, None]).T @ t))
    root = t @ posterior
    errors, x = case.made(), jnp.asarray(case.x[:, 0], jnp.float32)
    normal = jax.random.normal(jax.random.key(0), (n, t.shape[1]))
    draws = np.asarray(jax.vmap(lambda z: errors.explained(x, z))(normal), np.float64)
    assert not np.any(draws[:, ~seen])
    got = np.cov(draws[:, seen].T)
    size = np.linalg.norm(root, axis=1)
    np.testing.assert_allclose((got - root @ root.T) / np.outer(size, size), 0.0, atol=6 * np.sqrt(2.0 / n))
    mean = np.asarray(errors.explained(x, jnp.zeros(t.shape[1])), np.float64)[seen]
    np.testing.assert_allclose((draws[:, seen].mean(0) - mean) / size, 0.0, atol=6 / np.sqrt(n))


def test_a_residual_along_a_strong_template_is_explained_away():
    case = CASES["bright"]()
    errors, x = case.made(), jnp.asarray(case.templates[:, 5], jnp.float32)
    assert chi2(errors, x[:, None])[0, 0] <= 1.0  # one prior standard deviation of it costs at most one
    np.testing.assert_allclose(errors.explained(x, jnp.zeros(case.templates.shape[1])), x, atol=1e-3)
    assert float(jnp.sum((x * errors.inverse_sigma) ** 2)) > 100.0


@pytest.mark.parametrize("nonsense", [0.0, 1e5, -1e5])
def test_pixels_without_information_change_nothing(nonsense):
    case = CASES["masked"]()
    seen, _ = case.dense()
    before = chi2(case.made(), case.x)
    case.floor = np.where(seen, case.floor, abs(nonsense))
    case.templates = np.where(seen[:, None], case.templates, nonsense)
    after = case.made()
    np.testing.assert_array_equal(chi2(after, np.where(seen[:, None], case.x, nonsense)), before)


def test_without_any_information_nothing_is_said():
    case = Case(5, 20.0, 12, lost=1.1)
    errors, x = case.made(), jnp.ones(N_PIXEL)
    assert float(errors.half_log_det) == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_array_equal(errors.explained(x, jnp.ones(12)), 0.0)
    np.testing.assert_array_equal(chi2(errors, x[:, None]), 0.0)


def test_templates_said_twice_are_one_of_twice_the_variance():
    case = CASES["bright"]()
    case.templates = np.concatenate([case.templates, case.templates], 1)
    twice = case.made()
    case.templates = np.sqrt(2.0) * case.templates[:, : case.templates.shape[1] // 2]
    once = case.made()
    np.testing.assert_allclose(chi2(twice, case.x), chi2(once, case.x), rtol=1e-3, atol=0.05)
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


def test_draws_have_a_chi2_of_one_a_pixel(drawn):
    """Noise a hundredth of the flux beside the systematics."""
    draws, made = drawn
    rng = np.random.default_rng(1)
    x = draws[:1000] + 0.01 * rng.standard_normal((1000, N_PIXEL))
    errors = covariance.covariance(jnp.full(N_PIXEL, 1e4), jnp.zeros(N_PIXEL), jnp.asarray(made, jnp.float32))
    each = np.diag(chi2(errors, x.T)) / N_PIXEL
    assert np.mean(each) == pytest.approx(1.0, abs=0.01)
    assert np.std(each) == pytest.approx(np.sqrt(2.0 / N_PIXEL), rel=0.15)
