"""Samplers side by side where the answer is known: `python benchmarks/samplers.py`. A few minutes.

A density of 16 parameters made like our posteriors: eight bent ridges, 0.02 to 0.8 of the prior's widths, rotated, evidence 1. All start
from the same stand-in for an amortised posterior, a Gaussian half as wide again and without the bends; nested sampling and tempered SMC
also from the prior. The table has what each took and how far its worst median and width are off, in the widths of 200,000 exact draws.
Times are CPU seconds of all cores, after a first run has compiled everything. A likelihood of every pixel costs some 0.7 ms a point on a
core and its gradient 2-3 ms, so densities and gradients, and not these seconds, tell what a galaxy would take.
"""

import argparse
import time
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from tables import machine, markdown_table, write_section

from slipher.inference import nested, nuts, population, samplers, tempered
from slipher.inference.samplers import PARAMETERS, Coordinates, Sampled

N = 16
WIDE = 1.5
_rng = np.random.default_rng(0)
WIDTH = np.geomspace(0.02, 0.8, N)
ROOT = np.linalg.qr(_rng.normal(size=(N, N)))[0] * WIDTH
MEAN = _rng.normal(0, 0.7, N)
INVERSE, CENTRE, FORWARD = (np.asarray(x, np.float32) for x in (np.linalg.inv(ROOT), MEAN, ROOT))
HEIGHT = float(np.log(WIDTH).sum() + 0.5 * N * np.log(2 * np.pi))


def log_density(u, data):
    """Pairs (x, y) with x ~ N(0, 1) and y given x ~ N((x^2 - 1) / 2, 1), scaled, rotated and moved."""
    x, y = (INVERSE @ (u - CENTRE)).reshape(-1, 2).T
    return -0.5 * jnp.sum(x**2 + (y - 0.5 * (x**2 - 1.0)) ** 2) - HEIGHT


def draws(rng: np.random.Generator, n: int) -> np.ndarray:
    pairs = rng.standard_normal((n, N // 2, 2))
    pairs[..., 1] += 0.5 * (pairs[..., 0] ** 2 - 1.0)
    return MEAN + pairs.reshape(n, N) @ ROOT.T


BROAD = np.log(WIDE * WIDTH).sum()
AMORTISED = Coordinates(
    lambda z, data: (CENTRE + WIDE * FORWARD @ z, jnp.asarray(BROAD, jnp.float32)),
    lambda u, data: (INVERSE @ (u - CENTRE) / WIDE, jnp.asarray(BROAD, jnp.float32)),
)
START = MEAN + WIDE * np.random.default_rng(1).standard_normal((500, N)) @ ROOT.T


def by_population(seed: int) -> Sampled:
    """What `refine.py` does."""

    def way(inverse: bool) -> Callable:
        def mapped(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            there = (x - MEAN) @ np.linalg.inv(ROOT).T / WIDE if inverse else MEAN + WIDE * x @ ROOT.T
            return there, np.full(len(x), BROAD)

        return mapped

    density = lambda u: samplers.log_densities(u, None, log_density=log_density)  # noqa: E731
    rng = np.random.default_rng(seed)
    found = population.adapt(rng, density, population.Space(way(False), way(True)), N, population.Settings())
    u = found.u[population.importance.resample(rng, found.log_weights, 4000)]
    return Sampled(u, "population", found.ess, np.nan, found.made, log_evidence=found.log_evidence, log_evidence_error=found.ess**-0.5)


METHODS = {
    ("population Monte Carlo", "amortised"): by_population,
    ("NUTS", "amortised"): lambda seed: nuts.sample(seed, log_density, None, START),
    ("tempered SMC", "amortised"): lambda seed: tempered.sample(seed, log_density, None, N, coordinates=AMORTISED),
    ("tempered SMC", "prior"): lambda seed: tempered.sample(seed, log_density, None, N, coordinates=PARAMETERS),
    ("nested slices", "amortised"): lambda seed: nested.sample(seed, log_density, None, N, coordinates=AMORTISED),
    ("nested slices", "prior"): lambda seed: nested.sample(seed, log_density, None, N, coordinates=PARAMETERS),
}


def row(name: tuple[str, str], found: Sampled, seconds: float) -> list[object]:
    (a, b, c), (d, e, f) = (np.quantile(u, (0.16, 0.5, 0.84), axis=0) for u in (found.u, draws(np.random.default_rng(2), 200_000)))
    evidence = "-" if found.log_evidence is None else f"{found.log_evidence:+.2f} ± {found.log_evidence_error:.2f}"
    ratio = (c - a) / (f - d)
    return [
        *name, f"{seconds:.1f}", f"{found.evaluations:,}", f"{found.gradients:,}", f"{found.ess:.0f}",
        "-" if np.isnan(found.rhat) else f"{found.rhat:.4f}", evidence, f"{(2 * np.abs(b - e) / (f - d)).max():.2f}",
        f"{ratio.min():.2f}-{ratio.max():.2f}", f"{1e3 * found.ess / found.evaluations:.2g}",
    ]  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    here, rows = machine("slipher", "jax", "blackjax"), []
    for name, method in METHODS.items():
        method(0)
        began = time.process_time()
        found = method(1)
        rows.append(row(name, found, time.process_time() - began))
        print(*rows[-1], flush=True)
    columns = [
        "sampler", "from", "CPU s", "densities", "of them with gradient", "ESS", "R-hat", "log evidence (0)", "worst median", "widths",
        "ESS per 1,000 densities",
    ]  # fmt: skip
    text = [
        "## Samplers where the answer is known",
        f"`python benchmarks/samplers.py`. {here}",
        "Sixteen parameters in eight bent, rotated ridges, evidence 1; started from a Gaussian half as wide again, or from the prior.",
        markdown_table(columns, rows),
    ]
    write_section("samplers", "\n\n".join(text))


if __name__ == "__main__":
    main()
