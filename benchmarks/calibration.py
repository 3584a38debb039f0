"""Are the posteriors calibrated, and how sharp: `python benchmarks/calibration.py [--mocks 2000] [--refined 300] [--model NAME]`.

Fresh mocks over the whole prior (S/N 2-60, z 0.003-0.4, three surveys, masks), through the door that real spectra take. Once with the
network's draws as they are, and a part of them refined; then the same tests on posteriors broken on purpose, which have to fail. Half
an hour.
"""

import argparse
import sys
import time
from itertools import pairwise

import jax
import numpy as np
from tables import machine, markdown_table, write_section

from slipher.inference import refine
from slipher.inference.calibration import normalised_ranks
from slipher.models import calibration

SEED = 2026
SN_EDGES = (2.0, 5.0, 10.0, 20.0, 35.0, 60.0)
Z_EDGES = (0.003, 0.1, 0.2, 0.3, 0.4)


def tests_of(run: calibration.Run) -> list[object]:
    """One row: KS failures, smallest p, TARP, mean coverages."""
    found = calibration.report(run)
    p, tarp = np.array(found.ks_pvalues), found.tarp
    inside = (tarp.low <= tarp.credibility) & (tarp.credibility <= tarp.high)
    overall = {level: np.mean([c.coverage for c in found.coverage if c.level == level and not c.covariate]) for level in (0.68, 0.95)}
    n_fail = int((p < found.significance / len(p)).sum())
    verdict = "passes" if found.passes else "; ".join(found.failures())[:200]
    return [
        len(run.truth),
        f"{n_fail} of {len(p)}",
        f"{p.min():.1e}",
        f"{tarp.pvalue:.3f}",
        f"{inside.mean():.0%}",
        f"{overall[0.68]:.3f}",
        f"{overall[0.95]:.3f}",
        verdict,
    ]


def coverage_by(run: calibration.Run, values: np.ndarray, edges: tuple[float, ...]) -> list[list[object]]:
    """Coverage of the central 68 % and 95 % intervals, mean over parameters, in bins."""
    ranks, rows = normalised_ranks(jax.random.key(0), np.array(run.truth, float), np.array(run.draws, float)), []
    for low, high in pairwise(edges):
        inside = (values >= low) & (values < high)
        if not inside.any():
            continue
        row: list[object] = [f"{low:g}-{high:g}", int(inside.sum())]
        for level in (0.68, 0.95):
            hit = np.abs(ranks[inside] - 0.5) <= 0.5 * level
            row += [f"{hit.mean():.3f}", f"{hit.mean(0).min():.3f}-{hit.mean(0).max():.3f}"]
        rows.append(row)
    return rows


def broken(run: calibration.Run, how: str) -> calibration.Run:
    """The run with its posteriors spoilt: too narrow, too wide, shifted, or of another galaxy."""
    wrong = calibration.Run()
    wrong.__dict__.update(run.__dict__)
    draws = np.array(run.draws)
    mean = draws.mean(1, keepdims=True)
    changed = {
        "20 % too narrow": mean + 0.8 * (draws - mean),
        "25 % too wide": mean + 1.25 * (draws - mean),
        "shifted by 0.2 sigma": draws + 0.2 * draws.std(1, keepdims=True),
        "of another galaxy": np.roll(draws, 1, axis=0),
    }[how]
    wrong.draws = list(changed)
    return wrong


def sharpness(run: calibration.Run) -> list[list[object]]:
    """By S/N: what held, after how many likelihoods, nats between flow and exact posterior, seconds."""
    sn, rows = np.array(run.covariates["median_sn"]), []
    holds = np.array([refine.holds(r) for r in run.results])
    made, seconds = np.array([r.evaluations for r in run.results]), np.array(run.seconds)
    at_once = np.array([r.method == "importance" for r in run.results])
    for low, high in [*pairwise(SN_EDGES), (SN_EDGES[0], SN_EDGES[-1])]:
        inside = (sn >= low) & (sn < high)
        if not inside.any():
            continue
        rows.append([
            f"{low:g}-{high:g}", int(inside.sum()), f"{(holds & at_once)[inside].mean():.0%}", f"{holds[inside].mean():.0%}",
            f"{np.median(made[inside]):,.0f}", f"{np.quantile(made[inside], 0.9):,.0f}", f"{np.median(np.array(run.nats)[inside]):.1f}",
            f"{np.median(seconds[inside]):.2f}", f"{np.quantile(seconds[inside], 0.9):.2f}",
        ])  # fmt: skip
    return rows


def watch(done: int, total: int, _: dict) -> None:
    """A line now and then."""
    if done % 20 == 0 or done == total:
        print(f"{time.strftime('%H:%M:%S')} {done}/{total}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mocks", type=int, default=2000)
    parser.add_argument("--refined", type=int, default=300)
    parser.add_argument("--model", default="galaxy")
    parser.add_argument("--record", action="store_true", help="write the result on the model's card")
    options = parser.parse_args()
    here = machine("slipher", "jax")
    before = calibration.collect(options.model, n=options.mocks, seed=SEED, refined=False, progress=watch)
    calibration.collect(options.model, n=2, seed=1, refined=True)  # compiles
    after = calibration.collect(options.model, n=options.refined, seed=SEED, refined=True, progress=watch)
    if options.record:
        calibration.record(options.model, before, after)
    same = before.first(options.refined)
    kinds = {"amortised": before, "amortised, those refined below": same, "refined": after}
    ways = ("20 % too narrow", "25 % too wide", "shifted by 0.2 sigma", "of another galaxy")
    head = ["posterior", "mocks", "KS fails", "smallest p", "TARP p", "TARP in band", "68 %", "95 %", "verdict at 1 %, Bonferroni"]
    text = ["## Calibration", f"`python benchmarks/calibration.py --mocks {options.mocks} --refined {options.refined}`. {here}"]
    text.append(markdown_table(head, [[name, *tests_of(run)] for name, run in kinds.items()]))
    text.append(
        "Every parameter, the mass among them. `TARP in band`: share of credibilities at which the diagonal lies within the bootstrap's "
        "95 %. The same tests on posteriors broken on purpose, of the network and refined (the fewer mocks, the less is noticed):"
    )
    both = (("amortised", before), ("refined", after))
    spoilt = [[f"{name}, {how}", *tests_of(broken(run, how))] for name, run in both for how in ways]
    text.append(markdown_table(head, spoilt))
    for name, run in both:
        for what, values, edges in (("S/N", run.covariates["median_sn"], SN_EDGES), ("redshift", run.covariates["redshift"], Z_EDGES)):
            columns = [what, "mocks", "68 %", "by parameter", "95 %", "by parameter"]
            text += [f"Coverage by {what}, {name}:", markdown_table(columns, coverage_by(run, np.array(values), edges))]
    write_section("calibration", "\n\n".join(text))
    columns = ["S/N", "mocks", "by the flow alone", "refined", "likelihoods, median", "90 %", "nats", "s, median", "90 %"]
    text = ["## Sharpness and cost of refinement", f"`python benchmarks/calibration.py --refined {options.refined}`. {here}"]
    text.append(
        "`refined`: k < 0.7 and ESS > 100, all weights exact; by the flow alone: by weighted draws of it. `nats`: "
        "symmetrised Kullback-Leibler divergence between the flow and the exact posterior, median. Seconds from a spectrum to draws."
    )
    text.append(markdown_table(columns, sharpness(after)))
    write_section("sharpness", "\n\n".join(text))


if __name__ == "__main__":
    main()
