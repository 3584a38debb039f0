"""NUTS, nested sampling and tempered SMC on densities whose draws and evidence are known: the same laws for all three."""

import numpy as np
import pytest
from known_densities import DENSITIES, NEEDLE, NOWHERE, STRETCHED, Known, assert_same_distribution, gaussian

from slipher.errors import InputError
from slipher.inference import nested, nuts, samplers, tempered
from slipher.inference.prediction import chains_hold

pytestmark = pytest.mark.slow  # two minutes

NUTS = nuts.Settings(warmup=200)
NESTED = nested.Settings(live=250, leave=25)
TEMPERED = tempered.Settings()


def by_nuts(seed, known: Known, **options) -> samplers.Sampled:
    """From draws that are half as wide again as they should be."""
    exact = known.draws(np.random.default_rng(5), 300)
    start = exact.mean(0) + 1.5 * (exact - exact.mean(0))
    return nuts.sample(seed, known.log_density, known.data, start, **{"settings": NUTS} | options)


def by_nested(seed, known: Known, **options) -> samplers.Sampled:
    return nested.sample(seed, known.log_density, known.data, known.n_parameter, **{"settings": NESTED} | options)


def by_tempering(seed, known: Known, **options) -> samplers.Sampled:
    return tempered.sample(seed, known.log_density, known.data, known.n_parameter, **{"settings": TEMPERED} | options)


SAMPLERS = {"nuts": by_nuts, "nested": by_nested, "tempered": by_tempering}
QUICK = {"nuts": nuts.Settings(warmup=50, block=20, most=1), "nested": nested.Settings(live=60, leave=15, slices=1, most=5)}
QUICK["tempered"] = tempered.Settings(particles=64)
LONG = {("nested", "gaussian"), ("nested", "banana"), ("nested", "hills"), ("nuts", "banana")}
HARD = {("nuts", "hills"), ("nuts", "cut")}
EVERY = [
    pytest.param(s, d, marks=pytest.mark.slow if (s, d) in LONG else ())
    for s in SAMPLERS for d in DENSITIES if (s, d) not in HARD
]  # fmt: skip


@pytest.mark.parametrize(("sampler", "density"), EVERY)
def test_the_density_is_sampled(sampler, density):
    known = DENSITIES[density]
    found = SAMPLERS[sampler](1, known)
    assert found.method == sampler
    assert chains_hold(found.rhat, found.ess)
    assert_same_distribution(found.u, found.ess, known)
    if found.log_evidence is not None:
        assert found.log_evidence_error < 0.4
        assert found.log_evidence == pytest.approx(known.log_evidence, abs=4 * found.log_evidence_error)
    assert found.evaluations > len(found.u) / 4


def test_chains_in_different_hills_disagree():
    """NUTS cannot jump; what it returns must not be called refined."""
    found = by_nuts(0, DENSITIES["hills"], settings=nuts.Settings(chains=6, warmup=100, block=100, most=2))
    assert found.rhat > 1.5
    assert not chains_hold(found.rhat, found.ess)


def test_an_edge_slows_chains_and_they_say_so():
    """Trajectories that cross it are rejected: draws are right, and fewer than they seem."""
    known = DENSITIES["cut"]
    found = by_nuts(1, known, settings=NUTS._replace(most=3))
    assert (found.u[:, 0] > 0).all()
    assert found.divergences > 0
    assert found.ess < len(found.u) / 4
    assert_same_distribution(found.u, found.ess, known)


@pytest.mark.parametrize("sampler", ["nested", "tempered"])
def test_hills_keep_their_shares(sampler):
    found = SAMPLERS[sampler](2, DENSITIES["hills"])
    assert np.mean(found.u[:, 0] > 0) == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / found.ess))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_seed_decides(sampler):
    known = gaussian(1, 4)
    first, again, other = (SAMPLERS[sampler](seed, known, settings=QUICK[sampler]) for seed in (3, np.random.default_rng(3), 4))
    np.testing.assert_array_equal(first.u, again.u)
    np.testing.assert_equal(first[2:], again[2:])
    assert not np.array_equal(first.u[:10], other.u[:10])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_coordinates_change_the_way_and_not_the_answer(sampler):
    known = gaussian(1, 4)
    found = SAMPLERS[sampler](5, known, coordinates=STRETCHED)
    assert chains_hold(found.rhat, found.ess)
    assert_same_distribution(found.u, found.ess, known)
    if found.log_evidence is not None:
        assert found.log_evidence == pytest.approx(known.log_evidence, abs=4 * found.log_evidence_error)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_other_data_are_not_compiled_again(sampler):
    """The second galaxy of the same shapes traces nothing."""
    traced = []

    def log_density(u, data):
        traced.append(1)
        return known.log_density(u, data)

    for seed in (1, 2):
        known = gaussian(seed, 4)
        before = len(traced)
        SAMPLERS[sampler](0, known._replace(log_density=log_density), settings=QUICK[sampler])
    assert before == len(traced) > 0


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_density_that_is_nowhere_is_refused(sampler):
    with pytest.raises(InputError, match=r"vanishes|-inf"):
        SAMPLERS[sampler](0, NOWHERE)


@pytest.mark.parametrize("start", [np.zeros((1, 3)), np.full((5, 3), np.nan)], ids=["one", "NaN"])
def test_bad_start_draws_are_refused(start):
    with pytest.raises(InputError, match="start draws"):
        nuts.sample(0, DENSITIES["cut"].log_density, None, start)


# --- what each must confess -------------------------------------------------------------------------------------------


def test_a_population_that_collapses_says_so():
    """Eight parameters a thousandth of the prior's width, few particles, powers that rise too fast, and hardly a move."""
    hasty = tempered.Settings(particles=128, effective=0.02, moves=1)
    found = by_tempering(0, NEEDLE, settings=hasty)
    assert found.ancestors < 10
    assert not chains_hold(found.rhat, found.ess)


def test_chains_that_are_too_short_say_so():
    found = by_nuts(0, gaussian(1, 4), settings=QUICK["nuts"])
    assert not chains_hold(found.rhat, found.ess)


def test_a_trajectory_that_breaks_down_is_not_accepted():
    """A slope that grows with the distance: float32 overflows within a few steps, and energies with it."""

    def steep(u, data):
        return -1e4 * (u[0] + u[1] ** 2 + u[2] ** 4) ** 4 - 0.5 * (u @ u)

    found = tempered.sample(0, steep, None, 3, settings=tempered.Settings(particles=256))
    assert np.abs(found.u).max() < 10.0


def test_powers_keep_the_share_wanted():
    ratio = np.random.default_rng(0).normal(0, 30, 1000)
    power = tempered.raised(ratio, 0.2, 0.5)
    weights = np.exp((power - 0.2) * (ratio - ratio.max()))
    assert 0.2 < power < 1.0
    assert weights.sum() ** 2 / np.sum(weights**2) == pytest.approx(500, rel=1e-3)
    assert tempered.raised(0.1 * ratio / 30, 0.2, 0.5) == 1.0
    ratio[:900] = -np.inf
    assert tempered.raised(ratio, 0.2, 0.5) > 0.2


def test_the_mass_between_points_that_left_adds_up():
    log_mass = nested.shells(np.random.default_rng(0), 30, 200, 20)
    total = np.exp(log_mass).sum(0)
    np.testing.assert_allclose(total, 1.0, rtol=3e-3)  # the rest lies above the last point
    above = 1.0 - np.exp(log_mass[:600]).sum(0)  # thirty times a tenth has left
    assert np.log(above).mean() == pytest.approx(30 * np.log(1.0 - 20 / 200), abs=0.1)
