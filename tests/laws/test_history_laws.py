"""Laws that every star-formation history obeys, at each of several shapes and ages of the universe."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids import stars
from slipher.grids.history_bases import load_history_bases
from slipher.physics.histories import HISTORIES, N_BINS

STARTS, TAUS, BURSTS = (0.02, 1.0, 12.0), (-1.0, 0.0, 1.0), (-2.0, -1.0, 0.5)
RATIOS = (np.zeros(N_BINS - 1), np.full(N_BINS - 1, 3.0), np.full(N_BINS - 1, -3.0), np.linspace(-1.0, 1.0, N_BINS - 1))

BASES = load_history_bases()
SHARED = {"age_edges": BASES.age_edges, "masses": BASES.mass}
SHARES = (*np.eye(len(BASES.mass)), np.full(len(BASES.mass), 0.25))

SHAPES = {
    "continuity": [{"log_sfr_ratios": r} for r in RATIOS],
    "burst": [{"log_t_burst": b} for b in BURSTS],
    "continuity_burst": [{"log_sfr_ratios": r, "log_t_burst": b, "log_f_burst": f} for r in RATIOS for b in BURSTS for f in (-5.0, -0.05)],
    "constant": [{"age_start_gyr": s} for s in STARTS],
    "delayed_tau": [{"age_start_gyr": s, "log_tau": t} for s in STARTS for t in TAUS],
    "mixture": [SHARED | {"shares": s} for s in SHARES],
    "mixture_burst": [
        SHARED | {"shares": s, "f_burst": f, "t_burst_gyr": t} for s in SHARES[1:] for f in (0.0, 1.0) for t in (0.01, 4.0, 13.27)
    ],
    "exponential": [{"age_start_gyr": s, "log_tau": t} for s in STARTS for t in TAUS],
}
T_UNIVERSE = (1.0, 5.0, 8.0, 13.7)
COMPILED = {name: jax.jit(history) for name, history in HISTORIES.items()}


def weighted_sum(shape, t_universe, *, history):
    formed = history(ages(5.0), t_universe, **shape)
    return jnp.sum(formed * jnp.linspace(0.3, 1.0, len(formed)))


GRADIENTS = {name: jax.jit(jax.grad(partial(weighted_sum, history=h), (0, 1))) for name, h in HISTORIES.items()}
CASES = [(name, {k: jnp.asarray(v, jnp.float32) for k, v in s.items()}) for name in HISTORIES for s in SHAPES[name]]
every_case = pytest.mark.parametrize(("name", "shape"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])


def ages(t_universe):
    fine = np.concatenate([[0.0], np.geomspace(1e-4, t_universe, 500), [1.001 * t_universe, 20.0]])
    return jnp.asarray(fine, jnp.float32)


@every_case
@pytest.mark.parametrize("t_universe", T_UNIVERSE)
def test_nothing_at_age_zero_everything_by_the_big_bang_never_less(name, shape, t_universe):
    age, t_universe = ages(t_universe), jnp.float32(t_universe)
    formed = COMPILED[name](age, t_universe, **shape)
    assert np.all(np.isfinite(formed))
    np.testing.assert_allclose(formed[0], 0.0, atol=5e-7)
    np.testing.assert_allclose(formed[age >= t_universe], 1.0, atol=5e-7)
    assert np.diff(formed).min() >= -5e-7


@every_case
def test_mass_is_conserved_in_the_librarys_cells(name, shape):
    mass = jnp.diff(COMPILED[name](jnp.asarray(stars.AGE_EDGES_GYR, jnp.float32), jnp.float32(13.4), **shape))
    np.testing.assert_allclose(mass.sum(), 1.0, atol=1e-6)
    assert mass.min() >= -5e-7


@every_case
def test_mass_does_not_depend_on_how_finely_ages_are_sampled(name, shape):
    coarse, t_universe = jnp.asarray(stars.AGE_EDGES_GYR, jnp.float32), jnp.float32(13.4)
    fine = jnp.sort(jnp.concatenate([coarse, 0.5 * (coarse[1:] + coarse[:-1])]))
    np.testing.assert_allclose(COMPILED[name](fine, t_universe, **shape)[::2], COMPILED[name](coarse, t_universe, **shape), atol=5e-7)


@every_case
@pytest.mark.parametrize("t_universe", T_UNIVERSE)
def test_finite_gradients(name, shape, t_universe):
    by_shape, by_time = GRADIENTS[name](shape, jnp.float32(t_universe))
    assert np.isfinite(by_time)
    for parameter, gradient in by_shape.items():
        assert np.all(np.isfinite(gradient)), parameter


@every_case
def test_jit_equals_eager(name, shape):
    age, t_universe = ages(10.0), jnp.float32(10.0)
    eager = HISTORIES[name](age, t_universe, **shape)
    assert eager.dtype == jnp.float32
    np.testing.assert_allclose(COMPILED[name](age, t_universe, **shape), eager, atol=1e-6)


def test_every_history_has_shapes_to_be_judged_at():
    assert SHAPES.keys() == HISTORIES.keys()
