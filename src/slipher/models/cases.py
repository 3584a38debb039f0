"""Mocks prepared for calibration: whatever was observed, one interface to its posterior and its truth.

    mock spectrum  --observe--> flow, exact density --+
    mock in bands  --observe--> flow, exact density --+--> `Case`

Mocks come through the door of real data (`mocks`, `band_mocks`), so that all that lies between it and the network is part of the test.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..data.observation import Spectrum
from ..data.photometry import Photometry
from ..inference import exact
from ..inference.refine import Target, Warp
from ..physics.parameters import Parameter
from . import band_mocks, mocks, novelty, observed, photometry, spectra
from .shipped import Shipped, ShippedPhotometry

Draws = Float[np.ndarray, "draw parameter"]


class Case(NamedTuple):
    """A mock ready to be fitted. `truth` is in u-space but for log10 of the mass, its last; `names` are those of its elements.

    `complete` appends a draw of the mass to each draw of u; `chi2` is the median chi^2 of draws over pixels or bands. `covariates`, given
    the draws, are what coverage is looked at by: posteriors need not cover truths of one value, only those that look alike, so that a
    redshift that is inferred is the posterior's median here.
    """

    id: str
    names: tuple[str, ...]
    truth: Float[np.ndarray, "parameter"]
    covariates: Callable[[Draws], dict[str, float]]
    warp: Warp
    target: Target
    novelty: float
    complete: Callable[[np.random.Generator, Draws], Draws]
    chi2: Callable[[Draws], float]


def of(made: Shipped | ShippedPhotometry, n: int, seed: int, *, known_redshift: bool) -> Iterator[Callable[[], Case]]:
    """n mocks of a model, each to be prepared by a call; of photometry, with the redshift given or inferred."""
    if isinstance(made, Shipped):
        for i in range(n):
            spectrum, truth = mocks.mock(i, made, survey=None, seed=seed, redshift=None, median_sn=None)
            yield lambda spectrum=spectrum, truth=truth: _of_spectrum(spectrum, truth, made)
        return
    for mock, truth in band_mocks.mocks(n, made, seed=seed, known_redshift=known_redshift):
        yield lambda mock=mock, truth=truth: _of_bands(mock, truth, made)


def _true(preset: tuple[Parameter, ...], truth: dict[str, float]) -> list[float]:
    *parameters, mass = preset
    return [*(float(p.prior.to_normal(jnp.float32(truth[p.name]))) for p in parameters), truth[mass.name]]


def _of_spectrum(spectrum: Spectrum, truth: dict[str, float], made: Shipped) -> Case:
    data = observed.observe(spectrum, made)
    target, preset = spectra.target(data, made), made.recipe.preset
    return Case(
        spectrum.id, preset.names, np.array(_true(preset.parameters, truth)),
        lambda u: {name: truth[name] for name in ("median_sn", "redshift")}, spectra.warp(data, made), target,
        novelty.score(data.projected, made.card),
        complete=lambda rng, u: np.column_stack([u, spectra.log_mass(rng, u, target, data.redshift, data.norm)]),
        chi2=lambda u: float(np.median(exact.evaluate(u, target, lambda draw: draw.chi2))) / data.n_pixels,
    )  # fmt: skip


def _of_bands(mock: Photometry, truth: dict[str, float], made: ShippedPhotometry) -> Case:
    data = photometry.observe(mock, made)
    target, preset = photometry.target(data, made), made.recipe.preset
    n = int((mock.ivar > 0).sum())
    redshifts = made.recipe.assumed.redshift
    free = [] if data.known else [float(redshifts.to_normal(jnp.float32(truth["redshift"])))]

    def complete(rng: np.random.Generator, u: Draws) -> Draws:
        return np.column_stack([u, target.evaluate(u, lambda draw: draw.log_mass, uniform=rng.random(len(u)).astype(np.float32))])

    def covariates(u: Draws) -> dict[str, float]:
        redshift = truth["redshift"] if data.known else float(redshifts.from_normal(jnp.float32(np.median(u[:, 0]))))
        return {"n_bands": float(n), "peak_sn": truth["peak_sn"], "redshift": redshift}

    sn = photometry.peak_sn(mock.flux, mock.ivar, mock.censored)
    return Case(
        mock.id, ("redshift",) * len(free) + preset.names, np.array(free + _true(preset.parameters, truth)),
        covariates, photometry.warp(data, made), target,
        float(photometry.strangeness(sn, data.smooth, made)), complete,
        chi2=lambda u: float(np.median(target.evaluate(u, lambda draw: draw.chi2))) / n,
    )  # fmt: skip
