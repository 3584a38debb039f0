"""Physics alone, data alone, and both: `python benchmarks/hybrid.py [--train 100] [--test 60] [--real FOLDER] [--model NAME]`.

SDSS mocks of `galaxy` get systematic errors that it does not know: wiggles of 5 % that all share (a library that is wrong), an index whose
depth differs between galaxies (abundances), a downturn of 8 % below 4200 A and a line of He II. Three models see them:

- physics alone: `galaxy`, whose own error model marginalises calibration and mismatch;
- data alone: `spectrum_latents`, and mass, age and metallicity read off its latents by a network trained on its simulations;
- hybrid: `galaxy` with a residual that was learnt on other mocks with the same errors.

Bias and coverage of the three, and chi^2; once more without planted errors, where a hybrid learns from clean mocks and should change
nothing. With --real, chi^2 of the three for real SDSS galaxies, each fitted by a residual learnt on the others. Half an hour.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # `latents` says why

import argparse
import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import machine, markdown_table, write_section

import slipher
from slipher import models
from slipher.models import hybrid as hybrid_model
from slipher.models import hybrid_learning, latent_recipe, latent_set, shipped
from slipher.models.hybrid_recipe import HybridRecipe, Sizes
from slipher.models.latent_set import Onto, Simulator
from slipher.models.shipped import ShippedHybrid
from slipher.models.spectra import mass_unit
from slipher.networks import sufficient
from slipher.physics import cosmology, derived, parameters

SEED = 515
QUANTITIES = {"log_mstar_formed": "log M formed", "age_lw_gyr": "log age by light", "log_zstar": "log Z"}
LATENT_CHUNKS = 12
SN = (10.0, 50.0)


# --- mocks -----------------------------------------------------------------------------------------------------------


def bump(wave: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((wave - centre) / width) ** 2)


def planted(spectrum: slipher.Spectrum, strength: float) -> slipher.Spectrum:
    """With systematic errors; `strength` is how far this galaxy's index is off, in its standard deviations."""
    rest = spectrum.wave_aa / (1.0 + spectrum.redshift)
    factor = 1.0 + 0.05 * np.sin(np.log(rest) / 0.01) * bump(rest, 4700.0, 500.0) - 0.08 * np.clip((4200.0 - rest) / 500.0, 0.0, 1.0)
    factor += 0.05 * strength * bump(rest, 5175.0, 25.0) + 0.03 * strength * bump(rest, 4160.0, 40.0)
    near = (rest > 5300) & (rest < 5900)
    level = np.mean(spectrum.flux[near])
    line = 1.5 * level * bump(rest, 4687.0, 3.0) / (3.0 * np.sqrt(2 * np.pi))
    return dataclasses.replace(spectrum, flux=(spectrum.flux * factor + line).astype(np.float32))


def mocks(n: int, seed: int, *, errors: bool) -> list[tuple[slipher.Spectrum, dict[str, float]]]:
    """SDSS mocks at S/N 10 - 50 and redshifts 0.02 - 0.2, with their truth."""
    rng, out = np.random.default_rng(seed), []
    for i in range(n):
        z, sn = rng.uniform(0.02, 0.2), np.exp(rng.uniform(*np.log(SN)))
        spectrum, truth = models.simulate(1, survey="sdss", seed=seed + i, redshift=z, median_sn=sn)[0]
        strength = rng.standard_normal()
        out.append((planted(spectrum, strength) if errors else spectrum, {**truth, **true_age(truth)}))
    return out


def true_age(truth: dict[str, float]) -> dict[str, float]:
    """Age by light (Gyr) of a mock."""
    base = shipped.load("galaxy")
    model, t_universe = base.recipe.preset, cosmology.age_gyr(jnp.float32(truth["redshift"]))
    values = model.complete({p.name: jnp.float32(truth[p.name]) for p in model.parameters[:-1]})
    parts = slipher.physics.galaxy.ingredients(model, values, t_universe, base.library)
    return {"age_lw_gyr": float(derived.stellar(parts, t_universe, jnp.float32(10.0), base.library)["age_lw_gyr"])}


def scaled(name: str, values: np.ndarray) -> np.ndarray:
    """Ages in dex."""
    return np.log10(values) if name.startswith("age") else np.asarray(values)


# --- the three -------------------------------------------------------------------------------------------------------


class Reader:
    """Mass to light, age and metallicity off latents: means by one network, their errors by another of the absolute deviations."""

    def __init__(self, name: str):
        self.made = shipped.load(name)
        network = self.made.trained.network
        population = dataclasses.replace(self.made.recipe.population, surveys={"sdss": 1.0}, redshift=(0.02, 0.2), sn=SN)
        simulator = Simulator(self.made.recipe.physics(self.made.library), population, Onto(network.projection, network.level))
        x, y = zip(*(self._chunk(simulator, i) for i in range(LATENT_CHUNKS)), strict=True)
        x, y = np.concatenate(x), np.concatenate(y)
        half = len(x) // 2
        self.mean = make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(64, 64), early_stopping=True, max_iter=500, random_state=0)
        )
        self.mean.fit(x[:half], y[:half])
        self.spread = make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(32,), early_stopping=True, max_iter=500, random_state=0)
        )
        # Of a Gaussian the mean absolute deviation is 0.8 standard deviations.
        self.spread.fit(x[half:], np.log(np.abs(y[half:] - self.mean.predict(x[half:])) + 1e-3) - np.log(0.8))

    def _chunk(self, simulator: Simulator, number: int) -> tuple[np.ndarray, np.ndarray]:
        _, seen, truth = simulator.once(SEED, number, latent_recipe.CHUNK)
        network = self.made.trained.network
        latents = np.asarray(latent_recipe.encoded(network, seen.read))
        shapes = jax.vmap(network.decode)(jnp.asarray(latents))
        amplitude = np.asarray(jax.vmap(lambda a, s: sufficient.amplitude_of(a, s)[0] * s.scale)(shapes, seen.statistics))
        base, model = self.made, self.made.recipe.preset

        def one(some):
            values = model.complete(parameters.from_normal(model.parameters[:-1], some[0]))
            parts = slipher.physics.galaxy.ingredients(model, values, some[1], base.library)
            return derived.stellar(parts, some[1], jnp.float32(10.0), base.library)["age_lw_gyr"], values["log_zstar"]

        age, z = jax.lax.map(one, (truth.u, truth.t_universe_gyr), batch_size=64)
        return latents, np.column_stack([-np.log10(np.maximum(amplitude, 1e-12)), np.log10(age), z])

    def read(self, spectrum: slipher.Spectrum) -> tuple[dict[str, tuple[float, float]], float]:
        """Mean and error of each quantity, and chi^2 a pixel."""
        found = models.latents(spectrum, model=self.name)
        mean = self.mean.predict(found.latents[None])[0]
        sd = np.exp(self.spread.predict(found.latents[None])[0]) * np.exp(0.635)  # from the mean of the logarithm to that of the number
        shape = self.made.trained.network.decode(jnp.asarray(found.latents, jnp.float32))
        rest = found.wave_aa / (1.0 + found.redshift)
        basis = np.asarray(latent_set.basis_at(self.made.trained.network.projection, rest, spectrum.lsf_sigma_kms(), self.made.library))
        template = basis @ np.asarray(shape)
        level = np.sum(found.ivar * template * found.flux) / np.sum(found.ivar * template**2)
        mass = mean[0] + mass_unit(found.redshift, float(level))[0]
        return dict(zip(QUANTITIES, [(mass, sd[0]), (mean[1], sd[1]), (mean[2], sd[2])], strict=True)), found.chi2_per_pixel

    @property
    def name(self) -> str:
        return self.made.recipe.name


def of_posterior(found: slipher.Posterior) -> tuple[dict[str, tuple[float, float]], float]:
    """Mean and standard deviation of each quantity, and chi^2 a pixel."""
    draws = {name: scaled(name, {**found.samples, **found.derived}[name]) for name in QUANTITIES}
    return {name: (x.mean(), x.std()) for name, x in draws.items()}, found.diagnostics.chi2_per_pixel


def learnt(some: list[slipher.Spectrum], sizes: Sizes) -> ShippedHybrid:
    """A hybrid of `galaxy`."""
    base = shipped.load("galaxy")
    made = hybrid_learning.learn(some, base, sizes, progress=lambda *step: print(*step, flush=True) if step[2] else None)
    recipe = HybridRecipe("hybrid", "galaxy", "", sizes, "")
    return ShippedHybrid(made.residual, base, recipe, {"sha256": "", "slipher": "", **made.facts})


def by_hybrid(spectrum: slipher.Spectrum, made: ShippedHybrid) -> slipher.Posterior:
    return hybrid_model.fit(spectrum, made, "hybrid", 500, "refined", 0)


# --- tables ----------------------------------------------------------------------------------------------------------


def compare(train: int, test: int, reader: Reader | None, *, errors: bool) -> list[list[object]]:
    """Rows: chi^2 a pixel, and for each quantity the bias, the robust scatter and the truths in 68 and 95 %."""
    sizes = Sizes()
    made = learnt([one for one, _ in mocks(train, SEED + 10_000, errors=errors)], sizes)
    held = mocks(test, SEED + 50_000, errors=errors)
    ways = {"physics alone": lambda s: of_posterior(slipher.fit(s, samples=500)), "hybrid": lambda s: of_posterior(by_hybrid(s, made))}
    if reader is not None:
        ways["data alone"] = reader.read
    rows = []
    for way, answer in ways.items():
        began = time.perf_counter()
        found = [answer(spectrum) for spectrum, _ in held]
        print(f"{way}: {time.perf_counter() - began:.0f} s", flush=True)
        row = ["planted" if errors else "none", way, f"{np.median([chi2 for _, chi2 in found]):.3f}"]
        for name in QUANTITIES:
            mean, sd = np.array([values[name] for values, _ in found]).T
            off = mean - scaled(name, np.array([truth[name] for _, truth in held]))
            spread = 1.4826 * np.median(np.abs(off - np.median(off)))
            covered = [np.mean(np.abs(off) < k * sd) for k in (1.0, 1.96)]
            row.append(f"{np.median(off):+.3f}, {spread:.3f}, {covered[0]:.2f}/{covered[1]:.2f}")
        rows.append(row)
    print(made.card, flush=True)
    return rows


def real(folder: Path, reader: Reader | None) -> list[list[object]]:
    """Rows: chi^2 a pixel of real galaxies, the residual learnt on the others."""
    spectra = [slipher.read(path)[0] for path in sorted(folder.glob("spec-*.fits"))]
    usable = [s for s in spectra if s.redshift is not None and 0.002 < s.redshift < 0.45]
    rows = []
    for spectrum in spectra:
        if spectrum not in usable:
            rows.append([spectrum.id, f"redshift {spectrum.redshift:.2f}: no galaxy of the models", "", ""])
            continue
        made = learnt([s for s in usable if s is not spectrum], Sizes(latents=1, held_back=0.0))
        alone, both = slipher.fit(spectrum), by_hybrid(spectrum, made)
        data = f"{reader.read(spectrum)[1]:.2f}" if reader else ""
        rows.append([spectrum.id, f"{alone.diagnostics.chi2_per_pixel:.2f}", data, f"{both.diagnostics.chi2_per_pixel:.2f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=100)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--model", help="generative model for 'data alone'; left out without")
    parser.add_argument("--dry-run", action="store_true", help="print, do not write README.md")
    options = parser.parse_args()
    here = machine("slipher", "jax", "scikit-learn")
    reader = Reader(options.model) if options.model else None
    more = (f" --model {options.model}" if options.model else "") + (" --real FOLDER" if options.real else "")
    rows = [row for errors in (True, False) for row in compare(options.train, options.test, reader, errors=errors)]
    text = ["## Physics, data, and both", f"`python benchmarks/hybrid.py --train {options.train} --test {options.test}{more}`. {here}"]
    text.append(
        f"{options.test} SDSS mocks, S/N 10-50, with systematic errors that `galaxy` does not know, and without; the residual is learnt on "
        f"{options.train} others. Bias, scatter (NMAD) and the share of truths within 68 and 95 %:"
    )
    text.append(markdown_table(["systematic errors", "model", "chi^2 a pixel", *QUANTITIES.values()], rows))
    if options.real:
        text.append("Real SDSS galaxies, chi^2 a pixel; each residual is learnt on the others:")
        text.append(markdown_table(["spectrum", "physics alone", "data alone", "hybrid"], real(options.real, reader)))
    print("\n\n".join(text))
    if not options.dry_run:
        write_section("hybrid", "\n\n".join(text))


if __name__ == "__main__":
    main()
