"""Seconds a galaxy: `python benchmarks/speed.py [SPECTRUM]` (the bundled galaxy without an argument).

Amortised posteriors of a batch, one fit at a time with and without refinement (everything compiled), and `slipher fit` as a process:
the first on a machine, which compiles, and the next, which finds compiled code in the cache. Minutes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tables import machine, markdown_table, write_section

import slipher
from slipher.models import mocks, observed, shipped

N_BATCH, N_DRAWS = 64, 1000


def best(call, repeat: int = 5) -> float:
    """Shortest wall time, seconds, after a call that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    return min(times)


@eqx.filter_jit
def draw(keys, features, network):
    """A thousand draws for each galaxy."""

    def one(item):
        key, of = item
        return network.sample(key, network.context(of), N_DRAWS)[0]

    return jax.lax.map(one, (keys, features), batch_size=8)


def cold(path: Path, home: Path, out: Path) -> float:
    """Wall time of `slipher fit` as a process, from its start to files written."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(home)}
    began = time.perf_counter()
    command = [str(Path(sys.executable).with_name("slipher")), "fit", str(path), "--json", "--out", str(out)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spectrum", type=Path, nargs="?")
    options = parser.parse_args()
    here = machine("slipher", "jax")
    made, rows = shipped.load("galaxy"), []
    with tempfile.TemporaryDirectory() as folder:
        path = options.spectrum
        if path is None:
            path = Path(folder) / "galaxy.fits"
            slipher.write_spectrum(slipher.bundled_spectrum(), path)
        first, second = (cold(path, Path(folder) / "cache", Path(folder) / f"out{i}") for i in (1, 2))
    spectra = [mocks.mock(i, made, survey=None, seed=3, redshift=None, median_sn=None)[0] for i in range(N_BATCH)]
    features = jnp.stack([observed.observe(s, made).features for s in spectra])
    keys = jax.random.split(jax.random.key(0), N_BATCH)
    batch = best(lambda: draw(keys, features, made.trained.network)) / N_BATCH
    began = time.perf_counter()
    for spectrum in spectra:
        observed.observe(spectrum, made)
    prepare = (time.perf_counter() - began) / N_BATCH
    for spectrum in spectra[:20]:
        slipher.fit(spectrum, refine=False)  # a survey's shapes are compiled at its first fit
    slipher.fit(spectra[0])
    seconds = {}
    for refine in (False, True):
        times = []
        for spectrum in spectra[:20]:
            began = time.perf_counter()
            slipher.fit(spectrum, refine=refine)
            times.append(time.perf_counter() - began)
        seconds[refine] = np.quantile(times, (0.5, 0.9))
    rows = [
        ["the network's 1,000 draws, mass included, in a batch of 64 prepared spectra", f"{1e3 * batch:.1f} ms", "10 ms"],
        ["a spectrum made ready (redshift polished, projected), one by one", f"{1e3 * prepare:.0f} ms", ""],
        ["`slipher.fit(refine=False)`, derived quantities and predictions included: median", f"{seconds[False][0]:.2f} s", ""],
        ["`slipher.fit`, 20 mocks of S/N 2-60, three surveys: median", f"{seconds[True][0]:.2f} s", "5 s"],
        ["`slipher.fit`, the same: 90 %", f"{seconds[True][1]:.2f} s", ""],
        ["`slipher fit` as a process, nothing compiled before", f"{first:.1f} s", "15 s"],
        ["`slipher fit` as a process, the next time", f"{second:.1f} s", "15 s"],
    ]
    table = markdown_table(["work", "measured", "wanted"], rows)
    write_section("speed", f"## Speed\n\n`python benchmarks/speed.py`. {here}\n\n{table}")


if __name__ == "__main__":
    main()
