"""The same posterior by an independent sampler: `python benchmarks/sampler_twin.py [--mocks 20] [--steps 2000] [--fits 5]`.

emcee (extras `compare` and `arviz`) moves two ensembles of 50 walkers by differential evolution over the likelihood of every pixel. Both
walk in the flow's base space: in the parameters themselves, ensembles that started apart still differed after 2,500 steps. One starts from
the network's draws, the other from such stretched by half, so that both must find the same place. The draws of several refinements with
other random numbers, as `slipher fit` makes them, are pooled and compared with the second halves of both, parameter by parameter: medians
in units of the twin's width, and the ratio of widths (half of 16 - 84 %). Either side needs some 2,000 independent draws, or its noise
alone exceeds what is looked for. Times are of all cores together (CPU seconds), which other work on the machine hardly changes. Chains are
kept in DIR and taken up again from there. An hour or two.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import arviz as az
import emcee
import numpy as np
from tables import machine, markdown_table, write_section

from slipher.inference import exact, refine
from slipher.models import mocks, observed, shipped, spectra

WALKERS = 50  # twice a batch of the likelihood: a move is proposed to half of them
CHUNK = 250
SEED = 44


class Chains(NamedTuple):
    """Walkers of two ensembles [ensemble, step, walker, coordinate], and the CPU seconds that they took."""

    z: np.ndarray
    seconds: float

    def settled(self) -> np.ndarray:
        """The second halves."""
        return self.z[:, self.z.shape[1] // 2 :]

    def rhat(self) -> float:
        """The largest over parameters: of the ensembles' halves, by places and by widths (Vehtari et al. 2021, arXiv:1903.08008)."""
        kept = self.settled()
        return max(float(az.rhat(kept[..., j].reshape(len(kept), -1), method="rank")) for j in range(kept.shape[-1]))

    def effective(self) -> float:
        """Independent draws that the kept steps are worth, in the slowest parameter."""
        kept = self.settled()
        tau = max(emcee.autocorr.integrated_time(part, quiet=True).max() for part in kept)
        return kept.shape[0] * kept.shape[1] * kept.shape[2] / tau


def twin(target: exact.Target, warp: refine.Warp, steps: int, seed: int, kept: Path | None) -> Chains:
    """Chains of `steps` steps; those in the file `kept` are continued, or cut."""

    def log_posterior(z: np.ndarray) -> np.ndarray:
        u, log_det = warp.from_base(z)
        value = target.log_posterior(u) + log_det
        return np.where(np.isfinite(value), value, -np.inf)

    normal = np.random.default_rng(seed).standard_normal((2, WALKERS, len(target.model.parameters) - 1))
    start = normal * np.array([1.0, 1.5])[:, None, None]

    # Not emcee's snooker move: with it, version 3.1.6 makes a standard normal of 16 dimensions 8 % too narrow.
    moves = [(emcee.moves.DEMove(), 0.9), (emcee.moves.DEMove(gamma0=1.0), 0.1)]
    samplers = [emcee.EnsembleSampler(WALKERS, start.shape[-1], log_posterior, moves=moves, vectorize=True) for _ in start]
    chains = Chains(np.empty((2, 0, *start.shape[1:]), np.float32), 0.0)
    if kept is not None and kept.exists():
        with np.load(kept) as stored:
            chains = Chains(stored["z"], float(stored["seconds"]))
    while chains.z.shape[1] < steps:
        began = time.process_time()
        parts = []
        for i, sampler in enumerate(samplers):
            sampler.reset()
            sampler._random.seed([seed, i, chains.z.shape[1]])
            here = chains.z[i, -1] if chains.z.shape[1] else start[i]
            sampler.run_mcmc(here.astype(float), CHUNK, skip_initial_state_check=True)
            parts.append(sampler.get_chain().astype(np.float32))
        chains = Chains(np.concatenate([chains.z, np.stack(parts)], 1), chains.seconds + time.process_time() - began)
        if kept is not None:
            np.savez(kept, z=chains.z, seconds=chains.seconds)
    return Chains(chains.z[:, :steps], chains.seconds * steps / chains.z.shape[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mocks", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--fits", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    made, here, rows = shipped.load("galaxy"), machine("slipher", "jax", "emcee"), []
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    shifts, ratios, speedups = [], [], []
    for i in range(options.mocks):
        spectrum, truth = mocks.mock(i, made, survey=None, seed=SEED, redshift=None, median_sn=None)
        data = observed.observe(spectrum, made)
        target, warp = spectra.target(data, made), spectra.warp(data, made)
        target.log_posterior(warp.sample(np.random.default_rng(i), 1)[0])  # compiled before the clock starts
        began = time.process_time()
        fits = [refine.refine(np.random.default_rng([k, i]), target, warp, 1000) for k in range(options.fits)]
        seconds = time.process_time() - began
        ours, ess, made_of = np.concatenate([fit.u for fit in fits]), sum(fit.ess for fit in fits), sum(fit.evaluations for fit in fits)
        theirs = twin(target, warp, options.steps, i, options.keep / f"{i:02d}.npz" if options.keep else None)
        u = warp.from_base(theirs.settled().reshape(-1, ours.shape[1]))[0]
        (a, b, c), (d, e, f) = (np.quantile(x, (0.16, 0.5, 0.84), axis=0) for x in (ours, u))
        width = (f - d) / 2
        shift, ratio = np.abs(b - e) / width, (c - a) / 2 / width
        shifts.append(shift)
        ratios.append(np.abs(ratio - 1))
        speedups.append(theirs.seconds / theirs.effective() / (seconds / ess))
        rows.append([
            i, f"{truth['median_sn']:.0f}", made_of // len(fits), f"{ess:.0f}", f"{sum(map(refine.holds, fits))} of {len(fits)}",
            f"{theirs.effective():.0f}", f"{theirs.rhat():.3f}", f"{np.median(shift):.2f}", f"{shift.max():.2f}",
            f"{ratio.min():.2f}-{ratio.max():.2f}", f"{seconds / len(fits):.1f}", f"{theirs.seconds:.0f}",
        ])  # fmt: skip
        print(*rows[-1], flush=True)
        columns = [
            "mock", "S/N", "likelihoods a fit", "ESS of all", "refined", "twin's ESS", "twin's R-hat", "median shift", "largest shift",
            "widths", "a fit, CPU s", "emcee, CPU s",
        ]  # fmt: skip
        near, alike = np.array(shifts), np.array(ratios)
        text = [
            "## An independent sampler",
            f"`python benchmarks/sampler_twin.py --mocks {i + 1} --steps {options.steps} --fits {options.fits}`. {here}",
            f"Over {i + 1} mocks and {shift.size} parameters: {np.mean(near < 0.15):.1%} of medians within 0.15 sigma (largest "
            f"{near.max():.2f}), {np.mean(alike < 0.15):.1%} of widths within 15 % (largest {alike.max():.0%}). An independent "
            f"draw takes slipher one part in {np.median(speedups):.0f} of emcee's time, in the median. Shifts in the twin's sigma.",
            markdown_table(columns, rows),
        ]
        write_section("sampler-twin", "\n\n".join(text))


if __name__ == "__main__":
    main()
