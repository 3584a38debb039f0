"""Is a model calibrated? Simulation-based calibration of a trained model on fresh mocks, before and after refinement.

Mocks come through the same door as real spectra (`slipher.models.mocks`), so that redshift polishing, interpolation to a survey's pixels
and resolution are part of what is tested.
"""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np

from ..files import write_atomically
from ..inference import exact
from ..inference import refine as refinement
from ..inference.calibration_report import CalibrationReport
from ..inference.calibration_report import calibrate as report_of
from . import answer, novelty, observed, shipped, spectra
from . import mocks as mocks_

N_DRAWS = 500
N_COMPARED = 100
VARIANCE_ALLOWANCE = 1.2  # mocks know their noise exactly; surveys' variances are allowed to be off by a fifth


def calibrate(model: str = "galaxy", *, mocks: int = 2000, seed: int = 7, refine: bool = False, progress=None) -> dict:
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
    """Truths and draws [mock, parameter] and [mock, draw, parameter], in u-space but for the mass, with how each posterior came to be.

    `seconds` are of preparing, drawing and (if wanted) refining; `nats` is the symmetrised Kullback-Leibler divergence between the
    flow and the refined posterior, `chi2` the posterior-predictive chi^2 per pixel (both NaN without refinement).
    """

    def __init__(self) -> None:
        self.truth, self.draws, self.sn, self.redshift = [], [], [], []
        self.results, self.seconds, self.nats = [], [], []
        self.chi2, self.novelty = [], []


def collect(model: str, *, n: int, seed: int, refined: bool, progress=None) -> Run:
    """Simulate and fit n mocks."""
    made, run = shipped.load(model), Run()
    preset = made.recipe.preset
    for i in range(n):
        spectrum, truth = mocks_.mock(i, made, survey=None, seed=seed, redshift=None, median_sn=None)
        began = time.perf_counter()
        data = observed.observe(spectrum, made)
        rng = answer.rng_of(seed, spectrum.id)
        warp, target, result, nats, chi2 = spectra.warp(data, made), spectra.target(data, made), None, np.nan, np.nan
        if refined:
            result = refinement.refine(rng, target, warp, N_DRAWS)
            u = result.u
        else:
            u, _ = warp.sample(rng, N_DRAWS)
        run.seconds.append(time.perf_counter() - began)
        if refined:
            nats = divergence(u[:N_COMPARED], *warp.sample(rng, N_COMPARED), target, warp)
            chi2 = float(np.median(exact.evaluate(u[:N_COMPARED], target, lambda draw: draw.chi2))) / data.n_pixels
        *parameters, mass = preset.parameters
        run.truth.append([*(float(p.prior.to_normal(jnp.float32(truth[p.name]))) for p in parameters), truth[mass.name]])
        run.draws.append(np.column_stack([u, spectra.log_mass(rng, u, target, data.redshift, data.norm)]))
        run.sn.append(truth["median_sn"])
        run.redshift.append(truth["redshift"])
        run.results.append(result)
        run.nats.append(nats)
        run.chi2.append(chi2)
        run.novelty.append(novelty.score(data.projected, made.card))
        if progress is not None:
            progress(i + 1, n, {})
    return run


def divergence(refined: np.ndarray, drawn: np.ndarray, log_q: np.ndarray, target: exact.Target, warp: refinement.Warp) -> float:
    """KL(p, q) + KL(q, p) in nats between exact posterior p (draws `refined`) and flow q (draws `drawn`): no evidence is needed."""

    def gap(u: np.ndarray, log_q: np.ndarray) -> float:
        return float(np.mean(target.log_posterior(u) - log_q))

    return gap(refined, warp.log_density(refined)) - gap(drawn, log_q)


def report(run: Run, made: shipped.Shipped) -> CalibrationReport:
    """SBC, TARP and coverage of a run."""
    return report_of(
        jax.random.key(0), np.array(run.truth, np.float64), np.array(run.draws, np.float64),
        names=made.recipe.preset.names, covariates={"median_sn": np.array(run.sn), "redshift": np.array(run.redshift)},
    )  # fmt: skip


def summary(run: Run, made: shipped.Shipped) -> dict:
    """The report of a run as JSON values, with the share of posteriors whose refinement holds."""
    found = report(run, made).to_dict()
    done = [r for r in run.results if r is not None]
    if done:
        found["refined_share"] = float(np.mean([refinement.holds(r) for r in done]))
        found["seconds_median"] = float(np.median(run.seconds))
    return found


def record(model: str, before: Run, after: Run) -> None:
    """Write on a model's card what its calibration found, before and after refinement, and the limits beyond which fits are flagged.

    A fit is poor beyond the 99th percentile of chi^2 per pixel of refined mocks and what surveys' errors are allowed to be off, novel
    beyond the 99.7th percentile of mocks' novelty.
    """
    made, path = shipped.load(model), shipped.folder_of(model) / "card.json"
    card = json.loads(path.read_text())
    card["calibration"] = {"amortised": _for_card(before, made), "refined": _for_card(after, made)}
    card["limits"] = {
        "chi2_per_pixel": round(float(np.quantile(after.chi2, 0.99)) * VARIANCE_ALLOWANCE, 3),
        "novelty": round(float(np.quantile(before.novelty, 0.997)), 2),
    }
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(card, indent=1))


def _for_card(run: Run, made: shipped.Shipped) -> dict:
    """The few numbers of a report that belong on a card."""
    found = summary(run, made)
    over_all = [row for row in found["coverage"] if not row["covariate"]]
    coverage = {
        f"{level:.0%}": {row["parameter"]: round(row["coverage"], 3) for row in over_all if row["level"] == level} for level in (0.68, 0.95)
    }
    kept = {"mocks": len(run.truth), "passes": found["passes"], "failures": found["failures"], "coverage": coverage}
    kept["ks_pvalues"] = dict(zip(found["parameters"], (round(p, 4) for p in found["ks_pvalues"]), strict=True))
    kept["tarp_pvalue"] = found["tarp"]["pvalue"]
    return kept | {name: found[name] for name in ("refined_share", "seconds_median") if name in found}
