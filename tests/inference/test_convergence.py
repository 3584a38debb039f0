"""R-hat and effective sample sizes against ArviZ and where the answer is known."""

import numpy as np
import pytest

from slipher.inference import convergence


def chains(seed: int, rho: float, shape: tuple[int, int] = (4, 500)) -> np.ndarray:
    """Autoregressive chains of unit variance; the last parameter has a heavy tail."""
    x = np.random.default_rng(seed).normal(size=(*shape, 3))
    for t in range(1, shape[1]):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1.0 - rho**2) * x[:, t]
    x[..., 2] = np.exp(3.0 * x[..., 2])
    return x


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, -0.5])
@pytest.mark.parametrize("shape", [(4, 500), (2, 301), (8, 100)])
def test_arviz_finds_the_same(rho, shape):
    arviz = pytest.importorskip("arviz")
    x = chains(0, rho, shape)
    x[0, :, 1] += 0.3
    np.testing.assert_allclose(convergence.rhat(x), [float(arviz.rhat(x[..., j], method="rank")) for j in range(3)], rtol=1e-9)
    np.testing.assert_allclose(convergence.ess(x), [float(arviz.ess(x[..., j], method="bulk")) for j in range(3)], rtol=0.06)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_the_effective_size_is_that_of_the_autocorrelation(rho):
    found = np.mean([convergence.ess(chains(seed, rho)) for seed in range(10)], axis=0)
    np.testing.assert_allclose(found[:2], 2000 * (1.0 - rho) / (1.0 + rho), rtol=0.12)


@pytest.mark.parametrize("fault", ["elsewhere", "wider", "drifting"])
def test_chains_that_disagree_are_told(fault):
    x = chains(1, 0.0)
    x[0] = {"elsewhere": x[0] + 1.0, "wider": 3.0 * x[0], "drifting": x[0] + np.linspace(-2, 2, 500)[:, None]}[fault]
    assert convergence.rhat(x)[:2].min() > 1.03


@pytest.mark.parametrize("fault", ["stuck", "not a number", "too few"])
def test_chains_that_say_nothing_are_worth_nothing(fault):
    x = chains(2, 0.0)
    if fault == "stuck":
        x[1] = 0.5
    if fault == "not a number":
        x[1, 7] = np.nan
    x = x[:, :3] if fault == "too few" else x
    assert np.isinf(convergence.rhat(x)).all()
    assert (convergence.ess(x) == 0.0).all()


def test_offspring_count_as_what_they_are_worth():
    """Families of ten: alike, they are one draw each; independent, ten; one family alone is worth nothing."""
    rng = np.random.default_rng(3)
    family = np.repeat(np.arange(300), 10)
    alike = np.repeat(rng.normal(size=(300, 2)), 10, axis=0) + 1e-3 * rng.normal(size=(3000, 2))
    np.testing.assert_allclose(convergence.ess_of_clusters(alike, family), 300, rtol=0.05)
    np.testing.assert_allclose(convergence.ess_of_clusters(rng.normal(size=(3000, 2)), family), 3000, rtol=0.25)
    assert (convergence.ess_of_clusters(alike, np.zeros(3000, int)) == 0.0).all()
