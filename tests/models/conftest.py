"""Fits that several tests look at; each compiles for tens of seconds, so that they are made once."""

from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
import pytest

from slipher.data import Spectrum
from slipher.grids.library import load_broad
from slipher.inference import exact, refine
from slipher.models import mocks, observed, photometric_recipe, photometric_set, shipped, spectra
from slipher.networks import photometric_flow, posterior_flow
from slipher.physics.abundance import RedshiftRange


@dataclass
class Case:
    """A spectrum on its way: data, exact target, the flow's draws with their densities."""

    spectrum: Spectrum
    truth: dict
    data: Any
    target: exact.Target
    warp: refine.Warp
    draws: np.ndarray
    log_q: np.ndarray
    log_p: np.ndarray

    def refined(self, seed: int = 2) -> refine.Refined:
        """Draws of the exact posterior."""
        return refine.refine(np.random.default_rng(seed), self.target, self.warp, 1000)


def case(number: int, *, survey: str, redshift: float, median_sn: float) -> Case:
    """A mock of the shipped model."""
    made = shipped.load("galaxy")
    spectrum, truth = mocks.mock(number, made, survey=survey, seed=20, redshift=redshift, median_sn=median_sn)
    data = observed.observe(spectrum, made)
    target, warp = spectra.target(data, made), spectra.warp(data, made)
    draws, log_q = warp.sample(np.random.default_rng(0), 6000)
    return Case(spectrum, truth, data, target, warp, draws, log_q, target.log_posterior(draws))


@pytest.fixture(scope="package")
def faint() -> Case:
    """S/N 4: the flow alone is nearly right."""
    return case(1, survey="sdss", redshift=0.12, median_sn=4.0)


@pytest.fixture(scope="package")
def bright() -> Case:
    """S/N 25: the flow alone is too wide."""
    return case(2, survey="sdss", redshift=0.08, median_sn=25.0)


SMALL = """name = "small"
kind = "photometry"
preset = "photometry"

[population]
sets = ["sdss", "legacy", "cosmos"]
redshift = [0.01, 2.0]

[network]
context = 8
width = 16
depth = 1
layers = 2
flow_width = 16
knots = 4

[schedule]
chunks = 1
chunk_size = 64
"""


@pytest.fixture(scope="package")
def small_model(tmp_path_factory) -> str:
    """A folder with a model of photometry whose network is small and untrained: its draws are nearly the prior's."""
    recipe, folder, library = photometric_recipe.parse_recipe(SMALL), tmp_path_factory.mktemp("small"), load_broad()
    prior = photometric_set.learn_prior(1, recipe.assumed, recipe.population, library, n=256)
    simulate = photometric_set.simulator(recipe.assumed, recipe.population, library, prior)
    some = simulate(5, 0, 64)
    sizes, redshifts = asdict(recipe.architecture), RedshiftRange(*recipe.population.redshift)
    untrained = photometric_flow.build_photometric(jax.random.key(1), len(recipe.preset.parameters) - 1, redshifts, **sizes)
    network = posterior_flow.standardise(untrained, some.features, some.log_mass)
    statistics = photometric_recipe.novelty_of(simulate, recipe)
    photometric_recipe.pack(photometric_recipe.TrainedPhotometry(prior, network), recipe, [], folder, 0.0, statistics)
    return str(folder)
