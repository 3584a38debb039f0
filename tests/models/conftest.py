"""Fits that several tests look at; each compiles for tens of seconds, so that they are made once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from slipher.data import Spectrum
from slipher.inference import exact, refine
from slipher.models import mocks, observed, shipped, spectra


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
