"""R-hat and effective sample sizes: an independent twin, known answers, chains broken on purpose."""

import warnings

import numpy as np
import pytest

from slipher.errors import InputError
from slipher.inference.convergence import diagnose, ess_bulk, ess_tail, rhat


@pytest.fixture(scope="module")
def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("arviz")


def autoregressive(seed: int, rho: float, shape: tuple[int, int] = (4, 1000)) -> np.ndarray:
    """Stationary AR(1) chains of unit variance."""
    rng = np.random.default_rng(seed)
    chains = np.empty(shape)
    chains[:, 0] = rng.standard_normal(shape[0])
    for t in range(1, shape[1]):
        chains[:, t] = rho * chains[:, t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(shape[0])
    return chains


GOOD = {
    "independent": lambda: autoregressive(0, 0.0),
    "correlated": lambda: autoregressive(1, 0.9),
    "antithetic": lambda: autoregressive(2, -0.5),
    "odd length": lambda: autoregressive(3, 0.4, (3, 501)),
    "one chain": lambda: autoregressive(4, 0.2, (1, 800)),
    "Cauchy": lambda: np.random.default_rng(5).standard_cauchy((4, 500)),
    "discrete": lambda: np.random.default_rng(6).integers(0, 3, (4, 500)).astype(float),
}


def shifted() -> np.ndarray:
    return autoregressive(7, 0.0) + np.array([0.0, 0.0, 0.0, 1.0])[:, None]


def wider() -> np.ndarray:
    return autoregressive(8, 0.0) * np.array([1.0, 1.0, 1.0, 4.0])[:, None]


def trending() -> np.ndarray:
    return autoregressive(9, 0.0) + np.linspace(0, 2, 1000)


def stuck() -> np.ndarray:
    chains = autoregressive(10, 0.0)
    chains[2] = 0.3
    return chains


def slow() -> np.ndarray:
    return np.cumsum(np.random.default_rng(11).standard_normal((4, 500)), axis=1)


def never_moves() -> np.ndarray:
    return np.full((4, 100), 1.5)


def each_stuck_elsewhere() -> np.ndarray:
    return np.repeat(np.arange(4.0)[:, None], 100, axis=1)


def diverges() -> np.ndarray:
    chains = autoregressive(12, 0.0)
    chains[1, 700:] = np.nan
    return chains


BROKEN = [shifted, wider, trending, stuck, slow, never_moves, each_stuck_elsewhere, diverges]


@pytest.mark.parametrize("name", list(GOOD))
def test_agrees_with_arviz(arviz, name):
    chains = GOOD[name]()
    if len(chains) > 1:  # ArviZ wants two chains for its R-hat
        assert rhat(chains) == pytest.approx(float(arviz.rhat(chains)), abs=1e-10)
    assert ess_bulk(chains) == pytest.approx(float(arviz.ess(chains, method="bulk")), rel=1e-10)
    assert ess_tail(chains) == pytest.approx(float(arviz.ess(chains, method="tail")), rel=1e-10)


@pytest.mark.parametrize("make", [shifted, wider, trending, slow], ids=lambda make: make.__name__)
def test_agrees_with_arviz_on_broken_chains(arviz, make):
    """Where pairs stay positive to the last lag, ArviZ leaves the last pairs out of its monotone sequence."""
    assert rhat(make()) == pytest.approx(float(arviz.rhat(make())), abs=1e-10)
    assert ess_bulk(make()) == pytest.approx(float(arviz.ess(make(), method="bulk")), rel=0.02)
    assert ess_tail(make()) == pytest.approx(float(arviz.ess(make(), method="tail")), rel=0.02)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_known_effective_sample_size(rho):
    """AR(1): n (1 - rho) / (1 + rho)."""
    sizes = [ess_bulk(autoregressive(seed, rho)) for seed in range(8)]
    assert np.mean(sizes) == pytest.approx(4000 * (1 - rho) / (1 + rho), rel=0.12)


@pytest.mark.parametrize("name", [name for name in GOOD if name != "correlated"])
def test_good_chains_pass(name):
    assert rhat(GOOD[name]()) < 1.01


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_broken_chains_fail(make):
    assert rhat(make()) > 1.05


@pytest.mark.parametrize("make", [never_moves, diverges], ids=lambda make: make.__name__)
def test_chains_that_say_nothing_are_worth_nothing(make):
    assert rhat(make()) == np.inf
    assert ess_bulk(make()) == 0
    assert ess_tail(make()) == 0


def test_the_answer_survives_any_monotone_transform():
    chains = autoregressive(13, 0.3)
    assert ess_bulk(np.exp(chains)) == pytest.approx(ess_bulk(chains), rel=1e-10)


def test_the_worst_parameter_counts():
    draws = np.stack([autoregressive(0, 0.0), shifted(), autoregressive(1, 0.9)], axis=-1)
    worst = diagnose(draws)
    assert worst.rhat == rhat(shifted())
    assert worst.ess_bulk == min(ess_bulk(draws[..., i]) for i in range(3))
    assert worst.ess_tail == min(ess_tail(draws[..., i]) for i in range(3))


@pytest.mark.parametrize("shape", [(4, 7), (0, 100), (2, 0)])
def test_too_few_draws_are_refused(shape):
    with pytest.raises(InputError, match=f"{shape[0]} chains of {shape[1]} draws"):
        rhat(np.zeros(shape))
