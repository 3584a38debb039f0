"""Is a model calibrated? Simulation-based calibration of a trained model on fresh mocks, before and after refinement.

Mocks come through the same door as real data (`slipher.models.cases`), so that redshift polishing, interpolation to a survey's pixels
and resolution, or missing bands, are part of what is tested.
"""

import json
import time

import jax
import numpy as np

from ..errors import InputError
from ..files import write_atomically
from ..inference import refine as refinement
from ..inference.calibration_report import CalibrationReport
from ..inference.calibration_report import calibrate as report_of
from . import answer, cases, shipped
from .shipped import ShippedEmulator, ShippedMorphology, ShippedPhotometry

N_DRAWS = 500
N_COMPARED = 100
VARIANCE_ALLOWANCE = 1.2  # mocks know their noise exactly; surveys' variances are allowed to be off by a fifth


def calibrate(
    model: str = "galaxy", *, mocks: int = 2000, seed: int = 7, refine: bool = False, known_redshift: bool = True, progress=None
) -> dict:
    """Calibration of a model on fresh mocks over its prior, as JSON values.

    Parameters
    ----------
    mocks
        How many galaxies: over all that the model's recipe covers in S/N, redshift and surveys or bands, with masks and missing bands.
    refine
        Whether to refine each posterior first; `refined_share` says how many held.
    known_redshift
        Of a model of photometry: whether the redshift is given, or inferred and tested with the rest.
    """
    run = collect(model, n=mocks, seed=seed, refined=refine, known_redshift=known_redshift, progress=progress)
    facts = {"model": model, "mocks": mocks, "seed": seed, "refined": refine}
    if isinstance(shipped.load(model), ShippedPhotometry):
        facts["known_redshift"] = known_redshift
    return facts | summary(run)


class Run:
    """Truths and draws [mock, parameter] and [mock, draw, parameter], in u-space but for the mass, with how each posterior came to be.

    `covariates` are lists by name. `seconds` are of preparing, drawing and (if wanted) refining; `nats` is the symmetrised
    Kullback-Leibler divergence between the flow and the refined posterior, `chi2` the posterior-predictive chi^2 per pixel or band (both
    NaN without refinement).
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.truth, self.draws, self.covariates = [], [], {}
        self.results, self.seconds, self.nats = [], [], []
        self.chi2, self.novelty = [], []

    def first(self, n: int) -> "Run":
        """The first n mocks alone."""
        some = Run()
        some.__dict__.update({name: values[:n] if isinstance(values, list) else values for name, values in self.__dict__.items()})
        some.covariates = {name: values[:n] for name, values in self.covariates.items()}
        return some


def collect(model: str, *, n: int, seed: int, refined: bool, known_redshift: bool = True, progress=None) -> Run:
    """Simulate and fit n mocks."""
    made, run = shipped.load(model), Run()
    if isinstance(made, (ShippedEmulator, ShippedMorphology)):
        kind = "an emulator" if isinstance(made, ShippedEmulator) else "a prior of shapes"
        raise InputError(
            f"calibration of {model!r}, {kind}", expected="a model with a network of posteriors", mend="Its card has its errors."
        )
    for i, prepare in enumerate(cases.of(made, n, seed, known_redshift=known_redshift)):
        began = time.perf_counter()
        case = prepare()
        rng = answer.rng_of(seed, case.id)
        result, nats, chi2 = None, np.nan, np.nan
        if refined:
            result = refinement.refine(rng, case.target, case.warp, N_DRAWS)
            u = result.u
        else:
            u, _ = case.warp.sample(rng, N_DRAWS)
        run.seconds.append(time.perf_counter() - began)
        if refined:
            nats = divergence(u[:N_COMPARED], *case.warp.sample(rng, N_COMPARED), case.target, case.warp)
            chi2 = case.chi2(u[:N_COMPARED])
        run.names = case.names
        run.truth.append(case.truth)
        run.draws.append(case.complete(rng, u))
        for name, value in case.covariates(u).items():
            run.covariates.setdefault(name, []).append(value)
        run.results.append(result)
        run.nats.append(nats)
        run.chi2.append(chi2)
        run.novelty.append(case.novelty)
        if progress is not None:
            progress(i + 1, n, {})
    return run


def divergence(refined: np.ndarray, drawn: np.ndarray, log_q: np.ndarray, target: refinement.Target, warp: refinement.Warp) -> float:
    """KL(p, q) + KL(q, p) in nats between exact posterior p (draws `refined`) and flow q (draws `drawn`): no evidence is needed."""

    def gap(u: np.ndarray, log_q: np.ndarray) -> float:
        return float(np.mean(target.log_posterior(u) - log_q))

    return gap(refined, warp.log_density(refined)) - gap(drawn, log_q)


def report(run: Run) -> CalibrationReport:
    """SBC, TARP and coverage of a run."""
    return report_of(
        jax.random.key(0), np.array(run.truth, np.float64), np.array(run.draws, np.float64),
        names=run.names, covariates={name: np.array(values) for name, values in run.covariates.items()},
    )  # fmt: skip


def summary(run: Run) -> dict:
    """The report of a run as JSON values, with the share of posteriors whose refinement holds."""
    found = report(run).to_dict()
    done = [r for r in run.results if r is not None]
    if done:
        found["refined_share"] = float(np.mean([refinement.holds(r) for r in done]))
        found["seconds_median"] = float(np.median(run.seconds))
    return found


def record(model: str, before: Run, after: Run, *, known_redshift: bool = True) -> None:
    """Write on a model's card what its calibration found, before and after refinement, and the limits beyond which fits are flagged.

    A fit is poor beyond the 99th percentile of chi^2 per pixel or band of refined mocks and what surveys' errors are allowed to be off,
    novel beyond the 99.7th percentile of mocks' novelty. Of photometry with inferred redshifts, the calibration alone is written.
    """
    made, path = shipped.load(model), shipped.folder_of(model) / "card.json"
    card = json.loads(path.read_text())
    found = {"amortised": _for_card(before), "refined": _for_card(after)}
    of_bands = isinstance(made, ShippedPhotometry)
    if known_redshift:
        card["calibration"] = card.get("calibration", {}) | found if of_bands else found
        card["limits"] = {
            "chi2_per_band" if of_bands else "chi2_per_pixel": round(float(np.quantile(after.chi2, 0.99)) * VARIANCE_ALLOWANCE, 3),
            "novelty": round(float(np.nanquantile(before.novelty, 0.997)), 2),
        }
    else:
        card["calibration"] = card.get("calibration", {}) | {"redshift_inferred": found}
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(card, indent=1))


def _for_card(run: Run) -> dict:
    """The few numbers of a report that belong on a card."""
    found = summary(run)
    over_all = [row for row in found["coverage"] if not row["covariate"]]
    coverage = {
        f"{level:.0%}": {row["parameter"]: round(row["coverage"], 3) for row in over_all if row["level"] == level} for level in (0.68, 0.95)
    }
    kept = {"mocks": len(run.truth), "passes": found["passes"], "failures": found["failures"], "coverage": coverage}
    kept["coverage_by"] = {name: _binned(found["coverage"], name) for name in run.covariates}
    kept["ks_pvalues"] = dict(zip(found["parameters"], (round(p, 4) for p in found["ks_pvalues"]), strict=True))
    kept["tarp_pvalue"] = found["tarp"]["pvalue"]
    return kept | {name: found[name] for name in ("refined_share", "seconds_median") if name in found}


def _binned(coverage: list[dict], covariate: str) -> list[dict]:
    """Mean coverage of all parameters in a covariate's bins."""
    rows = [row for row in coverage if row["covariate"] == covariate]
    found = []
    for low, high in dict.fromkeys((row["low"], row["high"]) for row in rows):
        here = [row for row in rows if (row["low"], row["high"]) == (low, high)]
        means = {f"{level:.0%}": round(float(np.mean([r["coverage"] for r in here if r["level"] == level])), 3) for level in (0.68, 0.95)}
        found.append({"from": round(low, 3), "to": round(high, 3), "mocks": here[0]["n_mocks"], **means})
    return found
