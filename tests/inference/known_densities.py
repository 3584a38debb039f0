"""Densities with known draws and evidence, for the samplers: each is a line of `DENSITIES` and passes the same laws."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from scipy import stats

from slipher.inference.samplers import Coordinates


class Known(NamedTuple):
    """A density of points and data, exact draws of it, and its evidence."""

    log_density: Callable
    data: Any
    draws: Callable[[np.random.Generator, int], np.ndarray]
    log_evidence: float = 0.0

    @property
    def n_parameter(self) -> int:
        return self.draws(np.random.default_rng(0), 2).shape[1]


def _gaussian(u, data):
    mean, inverse_root, log_height = data
    return jnp.sum(norm.logpdf(inverse_root @ (u - mean))) + log_height


def gaussian(seed: int = 0, n_parameter: int = 12) -> Known:
    """A correlated Gaussian off the prior's middle, from a twentieth of the prior's width to four fifths; evidence exp(3.7)."""
    rng = np.random.default_rng(seed)
    root = np.linalg.qr(rng.normal(size=(n_parameter, n_parameter)))[0] * np.geomspace(0.05, 0.8, n_parameter)
    mean = rng.normal(0, 0.7, n_parameter)
    height = 3.7 - np.log(np.abs(np.linalg.det(root)))
    data = tuple(np.asarray(x, np.float32) for x in (mean, np.linalg.inv(root), height))
    return Known(_gaussian, data, lambda rng, n: mean + rng.standard_normal((n, n_parameter)) @ root.T, 3.7)


def _banana(u, data):
    return norm.logpdf(u[1], data * (4.0 * u[0] ** 2 - 1.0), 0.15) + jnp.sum(norm.logpdf(jnp.delete(u, 1), 0.0, 0.5))


def _banana_draws(rng: np.random.Generator, n: int) -> np.ndarray:
    u = 0.5 * rng.standard_normal((n, 5))
    u[:, 1] = 0.3 * (4.0 * u[:, 0] ** 2 - 1.0) + 0.15 * rng.standard_normal(n)
    return u


def _hills(u, data):
    """0.3 N(-1.2 e, 0.15^2) + 0.7 N(+1.2 e, 0.1^2) along the first axis."""
    centre = jnp.zeros(4).at[0].set(1.2)
    left = jnp.log(0.3) + jnp.sum(norm.logpdf(u, -centre, 0.15))
    return jnp.logaddexp(left, jnp.log(0.7) + jnp.sum(norm.logpdf(u, centre, 0.1)))


def _hills_draws(rng: np.random.Generator, n: int) -> np.ndarray:
    right = rng.random(n) < 0.7
    u = rng.standard_normal((n, 4)) * np.where(right, 0.1, 0.15)[:, None]
    u[:, 0] += np.where(right, 1.2, -1.2)
    return u


def _cut(u, data):
    """N(0, 0.5^2) where the first parameter is positive, nothing where it is not."""
    return jnp.where(u[0] > 0, jnp.sum(norm.logpdf(u, 0.0, 0.5)) + jnp.log(2.0), -jnp.inf)


def _cut_draws(rng: np.random.Generator, n: int) -> np.ndarray:
    u = 0.5 * rng.standard_normal((n, 4))
    u[:, 0] = np.abs(u[:, 0])
    return u


DENSITIES = {
    "gaussian": gaussian(),
    "banana": Known(_banana, np.float32(0.3), _banana_draws),
    "hills": Known(_hills, None, _hills_draws),
    "cut": Known(_cut, None, _cut_draws),
}
NEEDLE = Known(lambda u, data: jnp.sum(norm.logpdf(u, 1.5, 1e-3)), None, lambda rng, n: 1.5 + 1e-3 * rng.standard_normal((n, 8)))
NOWHERE = Known(lambda u, data: jnp.nan * jnp.sum(u), None, lambda rng, n: np.zeros((n, 3)))
STRETCHED = Coordinates(
    lambda z, data: (jnp.sinh(z), jnp.sum(jnp.log(jnp.cosh(z)))),
    lambda u, data: (jnp.arcsinh(u), 0.5 * jnp.sum(jnp.log1p(u**2))),
)


def assert_same_distribution(u: np.ndarray, ess: float, known: Known) -> None:
    """Means, widths and whole marginals, to what so many independent draws can tell: 4.5 sigma, and Kolmogorov's p > 1e-4."""
    exact = known.draws(np.random.default_rng(99), 200_000)
    mean, sd = exact.mean(0), exact.std(0)
    kurtosis = np.mean((exact - mean) ** 4, 0) / sd**4
    assert np.abs((u.mean(0) - mean) / sd).max() < 4.5 / np.sqrt(ess)
    assert (np.abs(u.std(0) / sd - 1.0) / np.sqrt((kurtosis - 1.0) / 4.0)).max() < 4.5 / np.sqrt(ess)
    for ours, theirs in zip(u.T, exact.T, strict=True):
        assert np.sqrt(ess) * stats.ks_2samp(ours, theirs).statistic < 2.2
