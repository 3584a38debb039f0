"""Scenes with known posteriors: `python benchmarks/scene_toys.py [--toys a,b,...] [--ess 1000] [--table FILE]`.

Each of `toys` is fitted, gets Laplace's errors, and is sampled by NUTS twice: the first run is compiled, the second is timed, and the draws
of both are compared with the truth, which has no code of slipher. A bias is a mean's distance from the truth's in its own Monte Carlo
error, an error of width that of an sd in its own: of any number beyond 4 something is wrong. Some minutes.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tables import README, machine, markdown_table, write_section
from toys import TOYS, Toy, posterior_sums, solved

from slipher.inference import convergence, nuts, scene_sampling
from slipher.scene import fit, laplace, normal

SETTINGS = nuts.Settings(chains=4, warmup=300, block=500, most=12)
LAPLACE_DRAWS = 2000
FAR = 4.0


class Compared(NamedTuple):
    """Of each number: truth, NUTS' mean and sd with their Monte Carlo errors, Laplace's; and of the runs together what they cost."""

    names: tuple[str, ...]
    truth: tuple[np.ndarray, np.ndarray]
    grid: float
    mean: np.ndarray
    mean_error: np.ndarray
    sd: np.ndarray
    sd_error: np.ndarray
    laplace: tuple[np.ndarray, np.ndarray]
    facts: dict[str, float]

    @property
    def off(self) -> np.ndarray:
        """(mean - truth) / Monte Carlo error."""
        return (self.mean - self.truth[0]) / self.mean_error

    @property
    def wide(self) -> np.ndarray:
        """(sd - truth) / Monte Carlo error."""
        return (self.sd - self.truth[1]) / self.sd_error


def clocked(function, *given, **how):
    """What a function returns, wall seconds, and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = jax.block_until_ready(function(*given, **how))
    return found, time.perf_counter() - wall, time.process_time() - cpu


def moments(chains: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, its Monte Carlo error, sd, and its, of [chain, draw, number]."""
    mean, sd = chains.mean((0, 1)), chains.std((0, 1))
    squared = (chains - mean) ** 2
    error = squared.std((0, 1)) / np.sqrt(convergence.ess(squared))
    return mean, sd / np.sqrt(convergence.ess(chains)), sd, error / (2.0 * sd)


def truth_of(toy: Toy) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean, sd, and how well sums know them, in sd."""
    if not hasattr(toy.truth[0], "log_density"):
        return *toy.truth, 0.0
    found = [posterior_sums(block) for block in toy.truth]
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found]), max(f[2] for f in found)


def compared(toy: Toy, ess: float, seed: int) -> Compared:
    """One toy by all three."""
    mean, sd, grid = truth_of(toy)
    fitted, fit_wall, _ = clocked(fit.fit, toy.scene, toy.point, toy.seen, toy.fitted)
    draws, *_ = clocked(laplace.sample, jax.random.key(seed), toy.scene, fitted.point, toy.seen, toy.fitted, LAPLACE_DRAWS)
    gaussian = toy.numbers(draws)
    settings, runs = SETTINGS._replace(ess=ess), []
    for run in (1, 2):
        how = {"marginal": toy.marginal, "settings": settings}
        runs.append(clocked(scene_sampling.sample, seed + run, toy.scene, fitted.point, toy.seen, toy.free, **how))
    found = [run[0].sampled for run in runs]
    n = min(len(one.u) for one in found) // settings.chains
    chains = [toy.numbers(run[0].points).reshape(settings.chains, -1, len(toy.names))[:, :n] for run in runs]
    facts = {
        "draws": sum(len(one.u) for one in found), "ess": sum(one.ess for one in found), "rhat": max(one.rhat for one in found),
        "divergences": sum(one.divergences for one in found), "gradients": found[1].gradients, "first": runs[0][1], "seconds": runs[1][1],
        "cpu": runs[1][2], "ess_per_cpu": found[1].ess / runs[1][2], "fit": fit_wall, "converged": bool(fitted.converged),
        "chi2": chi2_per_pixel(toy, fitted),
    }  # fmt: skip
    return Compared(toy.names, (mean, sd), grid, *moments(np.concatenate(chains)), (gaussian.mean(0), gaussian.std(0)), facts)


def chi2_per_pixel(toy: Toy, fitted: fit.Fitted) -> float:
    """Of the most probable scene."""
    left = normal.residuals(toy.scene, fitted.point, toy.seen)
    return sum(float((one.ivar * r**2).sum()) for one, r in zip(toy.seen, left, strict=True)) / sum(one.flux.size for one in toy.seen)


# --- the table -------------------------------------------------------------------------------------------------------


def row_of(name: str, one: Compared) -> list[object]:
    """The worst of its numbers."""
    f, ratio, error = one.facts, one.sd / one.truth[1], one.sd_error / one.truth[1]
    worst, wide = np.abs(one.off).argmax(), np.abs(one.wide).argmax()
    off = (one.laplace[0] - one.truth[0]) / one.truth[1]
    ratios = one.laplace[1] / one.truth[1]
    return [
        name, len(one.names), f"{f['chi2']:.2f}", f["draws"], f"{f['ess']:.0f}", f"{f['rhat']:.3f}", f["divergences"],
        f"{one.off[worst]:+.1f} ({one.names[worst]})", f"{ratio[wide]:.3f} ± {error[wide]:.3f} ({one.names[wide]})",
        f"{one.wide[wide]:+.1f}",
        f"{off[np.abs(off).argmax()]:+.2f}", f"{ratios.min():.2f}-{ratios.max():.2f}", f"{f['first']:.0f}",
        f"{f['seconds']:.1f} ({f['cpu']:.1f})", f"{f['ess_per_cpu']:.0f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toys", default=",".join(TOYS), help=f"some of {', '.join(TOYS)}")
    parser.add_argument("--ess", type=float, default=1000.0, help="of each of the two runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, default=README, help="the file whose section is written")
    options = parser.parse_args()
    here, rows, each = machine("slipher", "jax", "blackjax"), [], []
    for number, (letter, make) in enumerate(TOYS.items()):
        if letter not in options.toys.split(","):
            continue
        toy = make(np.random.default_rng([options.seed, number]))
        one = compared(toy, options.ess, options.seed)
        rows.append(row_of(toy.name, one))
        each.append(one)
        print(toy.name, one.facts, f"grids differ by {one.grid:.1e} sd", sep="\n  ", flush=True)
        for i, name in enumerate(one.names):
            print(
                f"  {name:14s} truth {one.truth[0][i]:+.4f} ± {one.truth[1][i]:.4f}: off {one.off[i]:+5.2f}, "
                f"width {one.sd[i] / one.truth[1][i]:.3f} ± {one.sd_error[i] / one.truth[1][i]:.3f}; Laplace "
                f"{(one.laplace[0][i] - one.truth[0][i]) / one.truth[1][i]:+.2f} sd, width {one.laplace[1][i] / one.truth[1][i]:.3f}",
                flush=True,
            )
    write_section("scene-toys", text_of(rows, each, options, here), options.table)


def text_of(rows: list[list[object]], each: list[Compared], options: argparse.Namespace, here: str) -> str:
    """The section."""
    off, wide = (np.concatenate([getattr(one, what) for one in each]) for what in ("off", "wide"))
    ratio = np.concatenate([one.sd / one.truth[1] for one in each])
    text = ["## Scenes with known posteriors", f"`python benchmarks/scene_toys.py --ess {options.ess:g} --seed {options.seed}`. {here}"]
    text.append(
        "The truth is summed over grids, without code of slipher: Gaussians seen through Gaussian PSFs. Of NUTS the worst number of each "
        "toy: `off`, mean less truth in Monte Carlo errors, and `width`, its sd over the truth's with its error, and in errors; of Laplace "
        "the largest offset of a mean in sd, and the range of widths. Two runs of 4 chains; seconds of the first, with compilation, then "
        "of the second, wall (processor), and its effective draws a processor second, adaptation included."
    )
    head = [
        "toy", "numbers", "chi2 a pixel", "draws", "ESS", "R-hat", "divergences", "off", "width", "in errors", "Laplace off, sd",
        "Laplace width", "first, s", "second, s", "ESS a second",
    ]  # fmt: skip
    text.append(markdown_table(head, rows))
    text.append(
        f"Of all {len(off)} numbers: off by {np.sqrt(np.mean(off**2)):.2f} Monte Carlo errors rms (1 where all is right), at most "
        f"{np.abs(off).max():.1f}; widths by {np.sqrt(np.mean(wide**2)):.2f} rms, at most {np.abs(wide).max():.1f}, ratios "
        f"{ratio.min():.3f}-{ratio.max():.3f}. {int(np.sum((np.abs(off) > FAR) | (np.abs(wide) > FAR)))} "
        f"beyond {FAR:g}. "
        "Widths of scarlet2 0.5.1 on such toys are too narrow by factors of 6 to 17: it counts the likelihood once for each band and row "
        "(quoted, not measured here)."
    )
    off, wide = solved(np.random.default_rng([options.seed, len(TOYS)]))
    text.append(
        f"Amplitudes that are solved for (`slipher.scene.amplitudes`), 26 at once, against a solution in double precision: means differ by "
        f"{off:.1e} sd at most, sds by {wide:.1e}."
    )
    return "\n\n".join(text)


if __name__ == "__main__":
    main()
