"""Chunks of the training set with what lies behind them: the setting and the spectra before they are projected."""

from functools import cache
from typing import NamedTuple

import jax
import pytest

from slipher.models import shipped, training_set

N_GALAXY = 16


class Chunk(NamedTuple):
    """What a chunk's galaxies share, their spectra, and what the network is given of them."""

    setting: training_set.Setting
    seen: training_set.Observed
    simulated: training_set.Simulated


@jax.jit
def describe(seen: training_set.Observed, setting: training_set.Setting) -> training_set.Simulated:
    return training_set.describe(seen, setting, shipped.load("galaxy").trained.projection)


@jax.jit
def _observe(keys: jax.Array, setting: training_set.Setting) -> training_set.Observed:
    made = shipped.load("galaxy")
    recipe = made.recipe
    return jax.vmap(lambda key: training_set.observe(key, recipe.preset, setting, made.library, recipe.systematics, recipe.population.sn))(
        keys
    )


@cache
def chunk(seed: int, number: int) -> Chunk:
    """What the simulator of the shipped model's recipe gives, in two steps."""
    made, behind = shipped.load("galaxy"), []
    recipe = made.recipe

    def in_two_steps(keys: jax.Array, setting: training_set.Setting, *_: object) -> training_set.Simulated:
        behind.extend([setting, _observe(keys, setting)])
        return describe(behind[1], setting)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_set, "_chunk", in_two_steps)
        simulate = training_set.simulator(recipe.preset, recipe.population, recipe.systematics, made.library, made.trained.projection)
        simulated = simulate(seed, number, N_GALAXY)
    return Chunk(*behind, simulated)
