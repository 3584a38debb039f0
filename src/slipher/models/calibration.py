"""Is a model calibrated? Simulation-based calibration of a trained model on fresh mocks, before and after refinement.

Mocks come through the same door as real spectra (`slipher.models.mocks`), so that redshift polishing, interpolation to a survey's pixels
and resolution are part of what is tested.
"""

import time

import jax
import numpy as np

from ..inference import ensemble_hmc
from ..inference import refine as ladder
from ..inference.calibration_report import CalibrationReport, calibrate as report_of
from . import fitting, observed, shipped
from . import mocks as mocks_

N_DRAWS = 500
TOLERANCE = 0.03


def calibrate(model: str = "galaxy", *, mocks: int = 2000, seed: int = 7, refine: bool = False, progress=None) -> dict:  # noqa: ANN001
    """Calibration of a model on fresh mocks over its prior, as JSON values.

    Parameters
    ----------
    mocks
        How many galaxies (S/N 2-60, z 0.003-0.4, the three surveys, masks).
    refine
        Whether to refine each posterior first; `refined_share` says how many held.
    """
    run = collect(model, n=mocks, seed=seed, refined=refine, progress=progress)
    return {"model": model, "mocks": mocks, "seed": seed, "refined": refine, **summary(run, shipped.load(model))}


class Run:
    """Truths and draws in u-space [mock, parameter] and [mock, draw, parameter], with how each posterior came to be."""

    def __init__(self) -> None:
        self.truth, self.draws, self.sn, self.redshift, self.results, self.seconds = [], [], [], [], [], []


def collect(model: str, *, n: int, seed: int, refined: bool, progress=None) -> Run:  # noqa: ANN001
    """Simulate and fit n mocks."""
    made, run = shipped.load(model), Run()
    preset, systematics = made.recipe.preset, made.recipe.systematics
    for i in range(n):
        spectrum, truth = mocks_.mock(i, made, survey=None, seed=seed, redshift=None, median_sn=None)
        began = time.perf_counter()
        data = observed.observe(spectrum, made)
        keys = jax.random.split(fitting.key_of(seed, spectrum.id), 2)
        u, log_q = fitting.amortised_draws(keys[0], data.features, made, fitting.N_PROPOSAL)
        result = None
        if refined:
            task = fitting.problem(data, made)
            settings = ensemble_hmc.Settings()
            result = ladder.refine(keys[1], u, log_q, task, made.library, preset, systematics, settings, N_DRAWS)
            u = result.u
        run.seconds.append(time.perf_counter() - began)
        run.truth.append([float(p.prior.to_normal(np.float32(truth[p.name]))) for p in preset.parameters[:-1]])
        run.draws.append(np.asarray(u)[:N_DRAWS])
        run.sn.append(truth["median_sn"])
        run.redshift.append(truth["redshift"])
        run.results.append(result)
        if progress is not None:
            progress(i + 1, n, {})
    return run


def report(run: Run, made: shipped.Shipped) -> CalibrationReport:
    """SBC, TARP and coverage of a run."""
    return report_of(
        jax.random.key(0), np.array(run.truth, np.float64), np.array(run.draws, np.float64),
        names=made.recipe.preset.names[:-1], covariates={"median_sn": np.array(run.sn), "redshift": np.array(run.redshift)},
        prior_sd=np.ones(len(made.recipe.preset.names) - 1), tolerance=TOLERANCE,
    )  # fmt: skip


def summary(run: Run, made: shipped.Shipped) -> dict:
    """The report of a run as JSON values, with the share of posteriors whose refinement holds."""
    found = report(run, made).to_dict()
    done = [r for r in run.results if r is not None]
    if done:
        found["refined_share"] = float(np.mean([ladder.holds(r) for r in done]))
        found["seconds_median"] = float(np.median(run.seconds))
    return found
