"""The ensemble sampler on targets that are known: moments and quantiles to Monte Carlo error, and an honest R-hat."""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.inference import convergence, ensemble_hmc

N_CHAIN = 16
# Long enough to know moments well; and as it is used.
SETTINGS = ensemble_hmc.Settings(warm_up=4, fewest=24, most=72, restarts=0, rhat=1.008)
ADAPTIVE = ensemble_hmc.Settings(warm_up=4, fewest=3, most=9, restarts=1, rhat=1.008)


class Target:
    """A density; draws from it by other means [n, parameter]; where chains start; a first guess of the covariance."""

    def __init__(
        self,
        log_density: Callable[[jax.Array], jax.Array],
        exact: Callable[[np.random.Generator, int], np.ndarray] | None,
        start: np.ndarray,
        guess: np.ndarray,
    ):
        self.log_density, self.exact, self.start, self.guess = log_density, exact, start, guess
        self.advance = jax.jit(partial(ensemble_hmc.block, log_density=log_density))

    def sample(self, seed: int, settings: ensemble_hmc.Settings = SETTINGS, **start: np.ndarray) -> ensemble_hmc.Chains:
        state = ensemble_hmc.begin(jnp.asarray(start.get("start", self.start), jnp.float32))
        return ensemble_hmc.sample(jax.random.key(seed), self.advance, state, self.guess, settings)


def starts(seed: int, n: int, size: float) -> np.ndarray:
    return size * np.random.default_rng(seed).standard_normal((N_CHAIN, n))


@cache
def correlated() -> Target:
    """Ten dimensions, condition number 10^4, mean far from zero."""
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.standard_normal((10, 10)))
    root = rotation * np.geomspace(0.03, 3.0, 10)
    mean = np.linspace(-2.0, 2.0, 10)
    precision, centre = jnp.asarray(np.linalg.inv(root @ root.T), jnp.float32), jnp.asarray(mean, jnp.float32)
    return Target(
        lambda x: -0.5 * (x - centre) @ precision @ (x - centre),
        lambda rng, n: mean + rng.standard_normal((n, 10)) @ root.T,
        mean + starts(1, 10, 0.1),
        0.01 * np.eye(10),
    )


@cache
def banana(bend: float = 0.5, width: float = 1.0) -> Target:
    """x1 ~ N(0, 1), x2 | x1 ~ N(bend x1^2, width^2): no metric straightens it."""

    def exact(rng: np.random.Generator, n: int) -> np.ndarray:
        first = rng.standard_normal(n)
        return np.stack([first, bend * first**2 + width * rng.standard_normal(n)], 1)

    def log_density(x: jax.Array) -> jax.Array:
        return -0.5 * x[0] ** 2 - 0.5 * ((x[1] - bend * x[0] ** 2) / width) ** 2

    return Target(log_density, exact, starts(2, 2, 0.5), np.eye(2))


@cache
def two_scales() -> Target:
    """Widths of 0.01 and 10, and a guess that has them the wrong way round."""
    sd = np.array([0.01, 10.0, 1.0])
    inverse = jnp.asarray(1.0 / sd, jnp.float32)
    return Target(
        lambda x: -0.5 * jnp.sum((x * inverse) ** 2),
        lambda rng, n: sd * rng.standard_normal((n, 3)),
        starts(3, 3, 1.0) * sd,
        np.diag([1.0, 0.01, 1.0]),
    )


@cache
def walled() -> Target:
    """A half-normal: the density ends at zero."""

    def log_density(x: jax.Array) -> jax.Array:
        return jnp.where(x[0] > 0, -0.5 * jnp.sum(x**2), -jnp.inf)

    return Target(log_density, None, np.abs(starts(4, 2, 1.0)) + 0.1, np.eye(2))


@cache
def two_modes() -> Target:
    """Unit Gaussians 30 apart; half of the chains start in each."""

    def log_density(x: jax.Array) -> jax.Array:
        return jnp.logaddexp(-0.5 * (x[0] + 15.0) ** 2, -0.5 * (x[0] - 15.0) ** 2) - 0.5 * x[1] ** 2

    return Target(log_density, None, starts(8, 2, 0.5) + np.repeat([[-15.0, 0.0], [15.0, 0.0]], 8, 0), np.eye(2))


TARGETS = {"correlated": correlated, "banana": banana, "two scales": two_scales}


@pytest.fixture(scope="module", params=list(TARGETS))
def run(request) -> tuple[Target, ensemble_hmc.Chains]:
    target = TARGETS[request.param]()
    return target, target.sample(5)


def assert_same_mean(draws: np.ndarray, exact: np.ndarray) -> None:
    """The means of [chain, draw, column] and of [n, column] agree to their Monte Carlo error.

    That error is the scatter of the chains' own means: Student's t of 15 degrees, beyond 5 once in 6,000.
    """
    of_chains = draws.mean(1, dtype=np.float64)
    error = np.sqrt(of_chains.var(0, ddof=1) / N_CHAIN + exact.var(0) / len(exact))
    np.testing.assert_array_less(np.abs(of_chains.mean(0) - exact.mean(0)) / error, 5.0)


def test_chains_agree_and_are_many_draws_worth(run):
    _, chains = run
    assert chains.draws.shape[0] == N_CHAIN
    assert chains.draws.shape[1] >= 24 * ensemble_hmc.BLOCK
    assert chains.convergence.rhat < 1.01
    assert chains.convergence.ess_bulk > 1000


def test_means_are_right(run):
    target, chains = run
    assert_same_mean(chains.draws, target.exact(np.random.default_rng(6), 200_000))


def test_covariances_are_right(run):
    """All products of two whitened coordinates."""
    target, chains = run
    exact = target.exact(np.random.default_rng(6), 200_000)
    root = np.linalg.inv(np.linalg.cholesky(np.cov(exact.T)))
    i, j = np.triu_indices(exact.shape[1])

    def products(x: np.ndarray) -> np.ndarray:
        z = (x - exact.mean(0)) @ root.T
        return z[..., i] * z[..., j]

    assert_same_mean(products(chains.draws), products(exact))


@pytest.mark.parametrize("level", [0.025, 0.16, 0.5, 0.84, 0.975])
def test_quantiles_are_right(run, level):
    target, chains = run
    exact = target.exact(np.random.default_rng(6), 200_000)
    edge = np.quantile(exact, level, axis=0)
    assert_same_mean(chains.draws <= edge, exact <= edge)


def test_values_are_the_densities_of_the_draws(run):
    target, chains = run
    draws = jnp.asarray(chains.draws[:, ::50].reshape(-1, chains.draws.shape[-1]))
    expected = jax.vmap(target.log_density)(draws).reshape(N_CHAIN, -1)
    np.testing.assert_allclose(chains.values[:, ::50], expected, rtol=1e-4, atol=1e-3)


def test_the_step_is_tuned_to_the_acceptance_that_was_asked_for(run):
    assert run[1].acceptance == pytest.approx(ensemble_hmc.TARGET_ACCEPTANCE, abs=0.12)


def test_the_same_key_gives_the_same_chains_and_another_key_others():
    short = ensemble_hmc.Settings(warm_up=1, fewest=1, most=1)
    a, b, c = (banana().sample(seed, short).draws for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.mean(a != c) > 0.99


def test_chains_do_not_leave_the_support():
    """And the half-normal's mean is right in spite of the wall."""
    chains = walled().sample(7)
    first = chains.draws[..., 0].astype(np.float64)
    assert np.all(first > 0)
    size = convergence.ess_bulk(first)
    assert first.mean() == pytest.approx(np.sqrt(2 / np.pi), abs=4 * np.sqrt((1 - 2 / np.pi) / size))


# --- an honest R-hat --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_left", [1, 8])
def test_chains_stuck_in_two_modes_are_told(n_left):
    """Whether half of the chains sit in the other mode or a single one."""
    start = two_modes().start.copy()
    start[n_left:8, 0] += 30.0
    chains = two_modes().sample(9, ADAPTIVE, start=start)
    left = chains.draws[..., 0] < 0
    np.testing.assert_array_equal(left, np.broadcast_to((np.arange(N_CHAIN) < n_left)[:, None], left.shape))
    assert chains.convergence.rhat > 1.01


def test_a_chain_that_never_had_a_density_is_told():
    """One chain starts beyond the wall: it is not quietly averaged with the others."""
    start = walled().start.copy()
    start[3, 0] = -50.0
    assert walled().sample(10, ADAPTIVE, start=start).convergence.rhat > 1.01


def test_sampling_stops_when_the_chains_agree():
    chains = correlated().sample(12, ADAPTIVE._replace(rhat=1.02))
    assert chains.convergence.rhat < 1.02
    assert ADAPTIVE.fewest <= chains.draws.shape[1] // ensemble_hmc.BLOCK < ADAPTIVE.most


def test_chains_that_never_agree_are_given_up_at_the_limit():
    chains = two_modes().sample(12, ADAPTIVE._replace(warm_up=1, most=5))
    assert chains.draws.shape[1] == 5 * ensemble_hmc.BLOCK


# --- the metric -------------------------------------------------------------------------------------------------------


def test_the_pooled_metric_is_the_covariance_of_many_draws():
    rng = np.random.default_rng(14)
    root = np.tril(rng.standard_normal((4, 4))) + 2 * np.eye(4)
    draws = rng.standard_normal((4000, N_CHAIN, 4)) @ root.T
    got = ensemble_hmc.pooled(draws, np.eye(4), shrink=1.0)
    expected = root @ root.T
    size = np.sqrt(np.outer(np.diagonal(expected), np.diagonal(expected)))
    np.testing.assert_allclose((got - expected) / size, 0.0, atol=0.03)


def test_without_draws_to_speak_of_the_metric_stays():
    metric = np.array([[2.0, 0.5], [0.5, 1.0]])
    few = np.random.default_rng(15).standard_normal((1, N_CHAIN, 2)) * 100
    got = ensemble_hmc.pooled(few, metric, shrink=1e9)
    np.testing.assert_allclose(got, metric, rtol=1e-3)


def test_chains_that_have_not_met_make_the_metric_wide():
    apart = np.zeros((50, N_CHAIN, 1))
    apart[:, :8] = 10.0
    assert ensemble_hmc.pooled(apart, np.eye(1), shrink=0.0)[0, 0] == pytest.approx(25.0)


def test_dual_averaging_settles_where_the_acceptance_is_the_target():
    """An acceptance of exp(-step) has its target at step = -ln 0.8."""
    tuning = ensemble_hmc.first_tuning()
    tune = jax.jit(lambda t: ensemble_hmc._tune(t, jnp.exp(-jnp.exp(t.log_step))))
    for _ in range(400):
        tuning = tune(tuning)
    assert float(tuning.log_step_mean) == pytest.approx(np.log(-np.log(ensemble_hmc.TARGET_ACCEPTANCE)), abs=0.1)


def test_small_steps_keep_the_energy():
    """Errors of the leapfrog are of second order: with tiny steps nearly every proposal is taken."""
    target = correlated()
    state = ensemble_hmc.begin(jnp.asarray(target.start, jnp.float32))
    root = jnp.asarray(np.linalg.cholesky(np.cov(target.exact(np.random.default_rng(0), 50_000).T)), jnp.float32)
    lost = [
        1.0 - float(target.advance(jax.random.key(0), state, root, ensemble_hmc.first_tuning(step), False).acceptance)
        for step in (0.5, 0.25, 0.125)
    ]
    assert lost[2] < 0.02
    assert lost[0] > 3 * lost[1] > 9 * lost[2]
