"""Are posteriors of photometry calibrated: `python benchmarks/calibration_bands.py [--mocks 2000] [--refined 150] [--model NAME]`.

Fresh mocks in the bands, depths and redshifts that the model covers, with missing bands, through the door that real catalogues take: with
the redshift given, and with the redshift inferred and tested beside the rest. Once by the network alone, and a part of them refined; then
the same tests on posteriors broken on purpose. Coverage by number of bands, S/N and redshift (an inferred one: its posterior's median).
Twenty minutes.
"""

import argparse
import sys
import time

import numpy as np
from calibration import broken, coverage_by, tests_of
from tables import machine, markdown_table, write_section

from slipher.inference import refine
from slipher.models import calibration

SEED = 2027
EDGES = {
    "n_bands": (2, 4, 6, 9, 13, 30), "peak_sn": (5, 10, 25, 60, 150, 1000), "redshift": (0, 0.1, 0.3, 0.7, 1.5, 3.0, 7.0),
}  # fmt: skip
NAMES = {"n_bands": "bands", "peak_sn": "peak S/N", "redshift": "redshift"}


def watch(done: int, total: int, _: dict) -> None:
    """A line now and then."""
    if done % 50 == 0 or done == total:
        print(f"{time.strftime('%H:%M:%S')} {done}/{total}", file=sys.stderr, flush=True)


def cost(run: calibration.Run) -> list[object]:
    """How many refinements hold, after how many likelihoods, nats between flow and exact posterior, seconds."""
    holds = np.array([refine.holds(r) for r in run.results])
    made, seconds = np.array([r.evaluations for r in run.results]), np.array(run.seconds)
    nats = np.array(run.nats)[holds]
    return [
        len(holds), f"{holds.mean():.0%}", f"{np.median(made):,.0f}", f"{np.quantile(made, 0.9):,.0f}", f"{np.median(nats):.1f}",
        f"{np.median(seconds):.2f}", f"{np.quantile(seconds, 0.9):.2f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mocks", type=int, default=2000)
    parser.add_argument("--refined", type=int, default=150)
    parser.add_argument("--model", default="photometry")
    parser.add_argument("--given-only", action="store_true", help="of a model that is for known redshifts")
    parser.add_argument("--record", action="store_true", help="write the result on the model's card")
    options = parser.parse_args()
    here, kinds, costs, parts = machine("slipher", "jax"), [], [], []
    for known in (True,) if options.given_only else (True, False):
        how = {"seed": SEED, "known_redshift": known}
        before = calibration.collect(options.model, n=options.mocks, refined=False, progress=watch, **how)
        after = calibration.collect(options.model, n=options.refined, refined=True, progress=watch, **how)
        if options.record:
            calibration.record(options.model, before, after, known_redshift=known)
        name = "redshift given" if known else "redshift inferred"
        runs = {f"{name}, amortised": before, "the same, those refined below": before.first(options.refined), f"{name}, refined": after}
        kinds += [[title, *tests_of(run)] for title, run in runs.items()]
        costs.append([name, *cost(after)])
        if known:
            kinds += [[f"amortised, {way}", *tests_of(broken(before, way))] for way in ("20 % too narrow", "shifted by 0.2 sigma")]
        for what, edges in EDGES.items():
            columns = [NAMES[what], "mocks", "68 %", "by parameter", "95 %", "by parameter"]
            table = coverage_by(before, np.array(before.covariates[what]), edges)
            parts += [f"Coverage by {NAMES[what]}, {name}, amortised:", markdown_table(columns, table)]
    head = ["posterior", "mocks", "KS fails", "smallest p", "TARP p", "TARP in band", "68 %", "95 %", "verdict at 1 %, Bonferroni"]
    text = [
        f"## Calibration of photometry: `{options.model}`",
        f"`python benchmarks/calibration_bands.py --model {options.model} --mocks {options.mocks} --refined {options.refined}"
        f"{' --given-only' if options.given_only else ''}`. {here}",
    ]
    text += [markdown_table(head, kinds), "Refinement:"]
    head = ["", "mocks", "held", "likelihoods, median", "90 %", "nats", "s, median", "90 %"]
    write_section(f"calibration-{options.model}", "\n\n".join([*text, markdown_table(head, costs), *parts]))


if __name__ == "__main__":
    main()
