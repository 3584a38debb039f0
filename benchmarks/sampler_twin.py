"""The same posterior by an independent sampler: `python benchmarks/sampler_twin.py [--mocks 20] [--live 1000]`.

nautilus (extra `compare`) runs nested sampling on the likelihood of every pixel, over the prior's unit cube; slipher's refined draws are
compared parameter by parameter: medians in units of the twin's width, and the ratio of widths (half of 16 - 84 %); and the evidences.
Hours.
"""

import argparse
import time

import jax
import numpy as np
from nautilus import Sampler
from scipy.special import ndtri
from tables import machine, markdown_table, write_section

from slipher.inference import exact, refine
from slipher.models import fitting, mocks, observed, shipped


def twin(target: exact.Target, n_live: int, seed: int) -> tuple[np.ndarray, float, int]:
    """Equal-weight draws of u by nautilus, its log evidence, and how many likelihoods it took."""
    n = len(target.model.parameters) - 1

    def log_likelihood(u: np.ndarray) -> np.ndarray:
        return exact.log_posterior(u.astype(np.float32), target) + 0.5 * np.sum(u**2, 1)

    sampler = Sampler(
        lambda cube: ndtri(np.clip(cube, 1e-7, 1 - 1e-7)), log_likelihood, n, n_live=n_live, vectorized=True, pass_dict=False, seed=seed,
        n_batch=exact.BATCH * 4,
    )  # fmt: skip
    sampler.run(n_eff=4000, verbose=False)
    points, log_weight, _ = sampler.posterior()
    weight = np.exp(log_weight - log_weight.max())
    pick = np.random.default_rng(seed).choice(len(points), 4000, p=weight / weight.sum())
    return points[pick], float(sampler.log_z), int(sampler.n_like)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mocks", type=int, default=20)
    parser.add_argument("--live", type=int, default=1000)
    options = parser.parse_args()
    made, here, rows = shipped.load("galaxy"), machine("slipher", "jax", "nautilus-sampler"), []
    shifts, ratios = [], []
    for i in range(options.mocks):
        spectrum, truth = mocks.mock(i, made, survey=None, seed=44, redshift=None, median_sn=None)
        began = time.perf_counter()
        data = observed.observe(spectrum, made)
        target, warp = fitting.target(data, made), fitting.warp(data, made)
        ours = refine.refine(jax.random.key(i), target, warp, 4000)
        middle = time.perf_counter()
        theirs, log_z, n_like = twin(target, options.live, i)
        end = time.perf_counter()
        (a, b, c), (d, e, f) = (np.quantile(x, (0.16, 0.5, 0.84), axis=0) for x in (ours.u, theirs))
        width = (f - d) / 2
        shift, ratio = (b - e) / width, (c - a) / 2 / width
        shifts.append(np.abs(shift))
        ratios.append(np.abs(ratio - 1))
        evidence = ours.log_evidence + float(target.task.errors.half_log_det) - log_z
        rows.append([
            i, f"{truth['median_sn']:.0f}", ours.rounds, "yes" if refine.holds(ours) else "no", f"{np.median(np.abs(shift)):.2f}",
            f"{np.abs(shift).max():.2f}", f"{ratio.min():.2f}-{ratio.max():.2f}", f"{evidence:+.2f}", n_like, f"{middle - began:.1f}",
            f"{end - middle:.0f}",
        ])  # fmt: skip
        print(*rows[-1], flush=True)
        near, alike = np.mean(np.array(shifts) < 0.15), np.mean(np.array(ratios) < 0.15)
        within = f"{near:.0%} of medians within 0.15 sigma, {alike:.0%} of widths within 15 %"
        columns = [
            "mock",
            "S/N",
            "rounds",
            "holds",
            "median shift",
            "largest shift",
            "widths",
            "log Z",
            "likelihoods",
            "slipher, s",
            "nautilus, s",
        ]
        text = [
            "## An independent sampler", f"`python benchmarks/sampler_twin.py --mocks {i + 1} --live {options.live}`. {here}",
            f"Over {i + 1} mocks and 16 parameters: {within}. Shifts in the twin's sigma; `log Z`: difference of the "
            "log evidences; the first fit includes compilation.",
            markdown_table(columns, rows),
        ]  # fmt: skip
        write_section("sampler-twin", "\n\n".join(text))


if __name__ == "__main__":
    main()
