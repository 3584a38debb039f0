"""Factor analysis with free physics, against a dense twin and planted factors."""

import numpy as np
import pytest
from scipy import sparse, stats

from slipher.inference import residual_learning as rl

N_UNKNOWN, N_FIXED, N_PIXEL = 30, 4, 200


def galaxy(rng: np.random.Generator, rho: np.ndarray) -> rl.Linearised:
    """Pixels of one galaxy whose residual is rho_0 + rho s, with free physics of prior N(offset, 1)."""
    at = np.sort(rng.integers(0, N_UNKNOWN, N_PIXEL))
    changed = sparse.csr_matrix((rng.uniform(0.5, 1.5, N_PIXEL), (np.arange(N_PIXEL), at)), shape=(N_PIXEL, N_UNKNOWN))
    fixed, offset = rng.normal(0, 0.1, (N_PIXEL, N_FIXED)), rng.normal(0, 1, N_FIXED)
    sigma = rng.uniform(0.01, 0.03, N_PIXEL)
    s = rng.standard_normal(rho.shape[1] - 1)
    left = fixed @ (offset + rng.standard_normal(N_FIXED)) + changed @ (rho @ np.append(1.0, s)) + sigma * rng.standard_normal(N_PIXEL)
    weight = np.where(rng.random(N_PIXEL) < 0.9, 1.0 / sigma**2, 0.0)
    return rl.Linearised(left, weight, fixed, offset, changed)


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, list[rl.Linearised]]:
    rng = np.random.default_rng(5)
    x = np.linspace(0, 2 * np.pi, N_UNKNOWN, endpoint=False)
    rho = np.column_stack([0.1 * np.sin(x), 0.08 * np.cos(2 * x), 0.04 * np.sin(3 * x)])
    return rho, [galaxy(rng, rho) for _ in range(80)]


def test_posterior_and_evidence_are_those_of_the_dense_gaussian(planted):
    rho, galaxies = planted
    one, pattern = galaxies[0], rl.pattern_of(one.changed for one in galaxies)
    found = rl.posterior(rl.summary(one, pattern), rho, pattern)
    seen = one.weight > 0
    columns = np.concatenate([one.fixed, one.changed @ rho[:, 1:]], 1)[seen]
    mean = one.fixed[seen] @ one.offset + (one.changed @ rho[:, 0])[seen]
    noise = np.diag(1.0 / one.weight[seen])
    covariance = noise + columns @ columns.T
    gain = columns.T @ np.linalg.inv(covariance)
    expected = np.append(one.offset, np.zeros(2)) + gain @ (one.left[seen] - mean)
    np.testing.assert_allclose(np.append(found.x, found.s), expected, rtol=1e-6, atol=1e-8)
    spread = (np.eye(N_FIXED + 2) - gain @ columns)[N_FIXED:, N_FIXED:]
    np.testing.assert_allclose(found.square - np.outer(found.s, found.s), spread, rtol=1e-6, atol=1e-9)
    # Up to the data's own constant, that of noise alone with no residual at all.
    constant = stats.multivariate_normal(np.zeros(seen.sum()), noise).logpdf(np.zeros(seen.sum()))
    exact = stats.multivariate_normal(mean, covariance).logpdf(one.left[seen])
    assert found.log_evidence == pytest.approx(exact - constant, rel=1e-6)


def test_planted_factors_are_found_and_the_evidence_rises(planted):
    rho, galaxies = planted
    pattern = rl.pattern_of(one.changed for one in galaxies)
    some = [rl.summary(one, pattern) for one in galaxies]
    found, evidence = rl.learn(some, pattern, np.eye(N_UNKNOWN), np.full(N_UNKNOWN, 0.3), 2, rounds=40)
    assert np.all(np.diff(evidence) > -1e-3 * np.abs(evidence[-1]))
    true = rho[:, 1:] @ rho[:, 1:].T
    off = found[:, 1:] @ found[:, 1:].T - true
    assert np.linalg.norm(off) < 0.35 * np.linalg.norm(true)  # of 80 galaxies: a sixth of the variance by chance
    # The mean is known to what factors and physics leave of it: sd over the root of 80.
    assert np.sqrt(np.mean((found[:, 0] - rho[:, 0]) ** 2)) < 0.02
    np.testing.assert_allclose(found[:, 1] @ found[:, 2], 0.0, atol=1e-8)


def test_what_is_forbidden_is_not_learnt(planted):
    rho, galaxies = planted
    pattern = rl.pattern_of(one.changed for one in galaxies)
    some = [rl.summary(one, pattern) for one in galaxies]
    forbidden = rho[:, :1] / np.linalg.norm(rho[:, 0])
    free = rl.allowed(forbidden)
    assert free.shape == (N_UNKNOWN, N_UNKNOWN - 1)
    found, _ = rl.learn(some, pattern, free, np.full(N_UNKNOWN, 0.3), 2, rounds=5)
    np.testing.assert_allclose(forbidden.T @ found, 0.0, atol=1e-10)
    assert np.linalg.norm(found[:, 1]) > 0.1
