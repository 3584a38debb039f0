"""An emulator of bagpipes: how far it is off, and how much faster it is: `python benchmarks/emulator.py [--model DIR]`.

DIR is what `slipher train recipes/emulator_bagpipes.toml --out DIR` writes; where it holds no emulator, that is done first (half an hour,
most of it bagpipes'). Spectra are drawn anew from the prior, with parameters that neither training nor the rows held back have seen; the
clock of bagpipes (extra `compare`) runs while it makes them. The emulator's error is compared with what its card says, and marginalised:
chi^2 per pixel of the fresh spectra with noise, under the noise alone and under noise and measured error. One core. A minute, and another
for every two thousand spectra.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

if hasattr(os, "sched_setaffinity"):  # before jax counts the cores
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from forward_model import best_time
from tables import machine, markdown_table, write_section

from slipher import models
from slipher.inference.covariance import covariance
from slipher.models import emulator
from slipher.models.emulator_error import PERCENTILES

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
BANDS_AA = ((2500, 3000), (3000, 3646), (3646, 4500), (4500, 5500), (5500, 7000), (7000, 8500), (8500, 10000))
SN = (30.0, 100.0)
BATCH = 256


def fresh(made: emulator.EmulatedGalaxy, n: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Values [row, parameter] drawn from the prior, bagpipes' spectra of them, and the shortest of its times of one (s)."""
    sys.path.insert(0, str(RECIPES))
    import emulator_bagpipes as code

    low, high = (np.array([getattr(p.prior, end) for p in made.parameters]) for end in ("low", "high"))
    values = np.random.default_rng(20_000_003).uniform(low, high, (n, len(low)))
    spectra, times = [], []
    for row in values:
        began = time.perf_counter()
        spectra.append(code.spectrum(dict(zip(made.names, row))))
        times.append(time.perf_counter() - began)
    return values, np.array(spectra), float(np.min(times))


@eqx.filter_jit
def emulate(made: emulator.EmulatedGalaxy, values: jax.Array) -> jax.Array:
    """Spectra [row, pixel] of values [row, parameter]."""
    return jax.vmap(lambda v: made.spectrum(dict(zip(made.names, v))))(values)


@eqx.filter_jit
def gradient(made: emulator.EmulatedGalaxy, values: jax.Array) -> jax.Array:
    """Of the summed ln flux, by every parameter, row by row: what one step of a gradient-based sampler costs."""
    return jax.vmap(jax.grad(lambda v: jnp.sum(jnp.log(made.spectrum(dict(zip(made.names, v)))))))(values)


def accuracy(wave_aa: np.ndarray, off: np.ndarray, percentiles: np.ndarray) -> list[list[str]]:
    """Rows: percentiles of |emulated / bagpipes - 1| in per cent by wavelength, and how often the measured 95 % holds."""
    rows = []
    for low, high in (*BANDS_AA, (BANDS_AA[0][0], BANDS_AA[-1][1])):
        inside = (wave_aa >= low) & (wave_aa < high)
        found = np.percentile(off[:, inside], PERCENTILES)
        covered = np.mean(off[:, inside] <= percentiles[PERCENTILES.index(95), inside])
        rows.append([f"{low}-{high}", *(f"{100 * x:.2f}" for x in found), f"{100 * covered:.1f}"])
    return rows


def speeds(made: emulator.EmulatedGalaxy, values: np.ndarray, bagpipes_s: float, repeat: int) -> list[list[str]]:
    """Rows: spectra a second, and how many times bagpipes' rate that is."""
    batch, one = jnp.asarray(values[:BATCH], jnp.float32), jnp.asarray(values[:1], jnp.float32)
    cases = (
        ("bagpipes, `model_galaxy.update`", bagpipes_s),
        ("emulator, one at a time", best_time(lambda: emulate(made, one), repeat)),
        (f"emulator, batches of {BATCH}", best_time(lambda: emulate(made, batch), repeat) / BATCH),
        (f"its gradient by all parameters, batches of {BATCH}", best_time(lambda: gradient(made, batch), repeat) / BATCH),
    )
    return [[name, f"{1 / s:,.0f}", f"{1e3 * s:.3f}", f"{bagpipes_s / s:,.0f}"] for name, s in cases]


def marginalised(made: emulator.EmulatedGalaxy, truth: np.ndarray, emulated: np.ndarray) -> list[list[str]]:
    """Rows: chi^2 per pixel of fresh spectra with noise, bare and with the emulator's measured error."""

    @eqx.filter_jit
    def chi2(made: emulator.EmulatedGalaxy, data: jax.Array, ivar: jax.Array, reference: jax.Array, share: float) -> jax.Array:
        def one(data: jax.Array, ivar: jax.Array, reference: jax.Array) -> jax.Array:
            terms = made.error_covariance(reference)
            c = covariance(ivar, share * terms.floor, share * terms.templates)
            return c.inner(((data - reference) * c.inverse_sigma)[:, None])[0, 0] / len(data)

        return jax.vmap(one)(data, ivar, reference)

    rows = []
    normal = np.random.default_rng(5).standard_normal(truth.shape)
    scale = 1.0 / np.median(truth, axis=1, keepdims=True)  # near one, as everywhere in slipher
    truth, emulated = truth * scale, emulated * scale
    for sn in SN:
        data, ivar, reference = (x.astype(np.float32) for x in (truth * (1 + normal / sn), (truth / sn) ** -2, emulated))
        for name, share in (("noise alone", 0.0), ("noise and measured error", 1.0)):
            found = np.asarray(chi2(made, data, ivar, reference, share))
            rows.append([f"{sn:.0f}", name, f"{found.mean():.2f}", *(f"{np.percentile(found, p):.2f}" for p in PERCENTILES)])
    return rows


def section(folder: Path, n: int, repeat: int) -> str:
    """The section of README.md."""
    facts, made = machine("slipher", "jax", "bagpipes"), emulator.load(folder)
    trained_on = json.loads((folder / "card.json").read_text())["trained_on"]
    values, truth, bagpipes_s = fresh(made, n)
    emulated = np.asarray(emulate(made, jnp.asarray(values, jnp.float32)), float)
    wave_aa, off = np.asarray(made.wave_aa), np.abs(emulated / truth - 1)
    quantiles = [f"{p} %" for p in PERCENTILES]
    return "\n".join([
        "## Emulator of bagpipes",
        "",
        f"`python benchmarks/emulator.py`: `recipes/emulator_bagpipes.toml`, {len(made.names)} parameters (double power-law history,"
        f" metallicity, dust of free slope and bump with birth clouds, log U), {len(wave_aa):,} pixels, trained on {trained_on:,} spectra."
        f" {n:,} fresh spectra of the prior. {facts}",
        "",
        "|emulated / bagpipes - 1| in per cent, and how often (%) it is below the 95 % that the card gives at the pixel:",
        "",
        markdown_table(["A, rest frame", *quantiles, "below the card's"], accuracy(wave_aa, off, np.asarray(made.error.percentiles))),
        "",
        markdown_table(["spectra", "per second", "ms each", "times bagpipes"], speeds(made, values, bagpipes_s, repeat)),
        "",
        "chi^2 per pixel of the fresh spectra with noise, mean and percentiles over spectra:",
        "",
        markdown_table(["S/N per pixel", "errors", "mean", *quantiles], marginalised(made, truth, emulated)),
    ])  # fmt: skip


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("runs/emulator_bagpipes"))
    parser.add_argument("--spectra", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--dry-run", action="store_true", help="print, do not write README.md")
    options = parser.parse_args()
    if not (options.model / "card.json").is_file():
        models.train(RECIPES / "emulator_bagpipes.toml", options.model)
    markdown = section(options.model, options.spectra, options.repeat)
    print(markdown)
    if not options.dry_run:
        write_section("emulator", markdown)


if __name__ == "__main__":
    main()
