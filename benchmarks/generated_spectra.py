"""Can generated spectra be told from simulated ones? `python benchmarks/generated_spectra.py [--galaxies 8192] [--out FOLDER] [--dry-run]`.

Latents are drawn from the flow and decoded, what they leave is drawn beside, and what comes out is recorded by the same surveys, at the
same redshifts and with the same S/N, masks, calibration and noise as fresh simulations that no training has seen. A classifier then has to
tell them apart on held-back settings, from the ridge coefficients over their level (all, those of the continuum or those of lines) or from
the encoder's latents: an area under the ROC curve of 0.5 is chance. The same of two sets of simulations says what chance gives here; and of
generated galaxies and simulated ones that went through encoder (at S/N 40-80), decoder and such a draw, what the flow alone betrays. Below
are distributions of what astronomers would look at first, of spectra without noise: D_n(4000), ratios of lines and a colour at rest. A
quarter of an hour for 8,192 galaxies; the figure goes to FOLDER.
"""

import os

# Before scipy is loaded: BLAS, of whose threads each batched solve would start its own, is ten times slower on a machine that others use.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from latents import BATCH, CHUNK, simulator_of
from matplotlib.figure import Figure
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import machine, markdown_table, write_section

from slipher.grids import stars
from slipher.instrument import filters, simulate, spectrograph
from slipher.models import latent_recipe, latent_set, shipped
from slipher.models.latent_set import Physics, Setting, Simulator
from slipher.networks import autoencoder, sufficient
from slipher.physics import derived, galaxy

SEED = 13
HALPHA, HBETA, NII, OIII = 6564.6, 4862.7, 6585.3, 5008.2
WINDOW_AA = 9.0  # on either side of a line: less than half the way from H alpha to [N II]
LEAST_EW_AA = 2.0  # of both lines of a ratio
BANDS = ("sdss2010-g", "sdss2010-r")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SN_EDGES = (2.0, 10.0, 30.0, 100.0)
MEASURES = {"dn4000": "D_n(4000)", "nii": "log [N II]/H alpha", "oiii": "log [O III]/H beta", "gr": "g - r at rest, mag"}


class Sample(NamedTuple):
    """Of spectra [spectrum, ...]: what classifiers read, S/N and the number of the setting."""

    ridge: np.ndarray
    latents: np.ndarray
    sn: np.ndarray
    setting: np.ndarray


class Seen(NamedTuple):
    """Of a chunk: coefficients over their level in prior standard deviations, the encoder's latents, S/N."""

    ridge: Array
    latents: Array
    sn: Array


class Measured(NamedTuple):
    """Of spectra without noise; NaN for ratios of lines that are too weak."""

    dn4000: Array
    nii: Array
    oiii: Array
    gr: Array


# --- through the instrument -------------------------------------------------------------------------------------------


@eqx.filter_jit
def new_light(trained, key: Array, setting: Setting, n: int) -> simulate.Emitted:
    """Light of n new galaxies at a setting's pixels."""
    return _light(trained, jax.vmap(trained.new)(jax.random.split(key, n))[1], setting)


@eqx.filter_jit
def decoded_light(trained, key: Array, latents: Array, setting: Setting) -> simulate.Emitted:
    """Light of galaxies of these latents [galaxy, latent]."""
    return _light(trained, jax.vmap(trained.coefficients)(jax.random.split(key, len(latents)), latents), setting)


def _light(trained, shapes: Array, setting: Setting) -> simulate.Emitted:
    """Of coefficients [galaxy, component]; it has no luminosities of lines, and none is needed."""
    k = trained.network.projection.n_continuum
    return simulate.Emitted(shapes[:, :k] @ setting.basis[:, :k].T, shapes[:, k:] @ setting.basis[:, k:].T, jnp.zeros((len(shapes), 0)))


@eqx.filter_jit
def recorded(network, key: Array, light: simulate.Emitted, setting: Setting, systematics, contents, sn_range: tuple, library) -> Seen:
    """Galaxies' light as the setting's instrument records it, and what is read from it."""
    physics = Physics(None, systematics, contents, library)
    lit = jnp.ones_like(setting.view.wave_aa)
    keys = jax.random.split(key, len(light.continuum))
    seen = jax.vmap(lambda key, one: latent_set.observe(key, one, lit, setting, physics, sn_range))(keys, light)
    return jax.lax.map(
        lambda some: _read(network, latent_set.collected(some, setting, physics, *_onto(network)), some.sn), seen, batch_size=BATCH
    )


def _onto(network) -> latent_set.Onto:
    return latent_set.Onto(network.projection, network.level)


def _read(network, statistics: sufficient.Statistics, sn: Array) -> Seen:
    basis = network.projection
    found = sufficient.ridge(statistics, basis, network.level)
    latents = network.encode(autoencoder.features(statistics, basis, network.level))
    return Seen((found.coefficients - basis.mean) / jnp.sqrt(basis.variance), latents, sn)


@eqx.filter_jit
def simulated_light(keys: Array, setting: Setting, physics_parts: tuple, library, redshifts: tuple[float, float]) -> simulate.Emitted:
    """Light of simulated galaxies at a setting's pixels."""
    physics = Physics(*physics_parts, library)
    return jax.vmap(lambda key: one_light(key, setting.view, physics, redshifts))(keys)


def one_light(key: Array, view: galaxy.View, physics: Physics, redshifts: tuple[float, float]) -> simulate.Emitted:
    """Light of one galaxy of the prior."""
    k = jax.random.split(key)
    return latent_set.emitted(k[1], latent_set.draw(k[0], physics, redshifts), view, physics)


def samples(made, simulator: Simulator, n: int) -> dict[str, Sample]:
    """Generated spectra, simulated ones twice, and simulated galaxies as decoded from their latents, all at the same settings."""
    parts: dict[str, list[Sample]] = {"generated": [], "simulated": [], "again": [], "decoded": []}
    recipe, network, physics = made.recipe, made.trained.network, simulator.physics
    source = (tuple(physics[:3]), made.library, recipe.population.redshift)
    for i in range(n // CHUNK):
        rng = np.random.default_rng([SEED, i])
        setting = jax.block_until_ready(
            latent_set.setting_of(rng, simulator.population, recipe.systematics, made.library, simulator.onto.projection)
        )
        keys = jax.random.split(jax.random.key(rng.integers(2**31)), 9)

        def seen(key: Array, light: simulate.Emitted, sn: tuple[float, float], setting: Setting = setting) -> Seen:
            bare = light._replace(line_luminosity=jnp.zeros((CHUNK, 0)))
            fixed = (recipe.systematics, recipe.contents, sn, made.library)
            return jax.block_until_ready(recorded(network, key, bare, setting, *fixed))

        one, two = (jax.block_until_ready(simulated_light(jax.random.split(key, CHUNK), setting, *source)) for key in keys[1:3])
        lights = {
            "generated": jax.block_until_ready(new_light(made.trained, keys[0], setting, CHUNK)), "simulated": one, "again": two,
            "decoded": decoded_light(made.trained, keys[8], seen(keys[3], two, latent_recipe.BRIGHT_SN).latents, setting),
        }  # fmt: skip
        for key, (name, light) in zip(keys[4:8], lights.items(), strict=True):
            found = seen(key, light, recipe.population.sn)
            parts[name].append(Sample(*(np.asarray(x) for x in found), np.full(CHUNK, i)))
        if i % 20 == 0:
            print(f"setting {i + 1} of {n // CHUNK}", flush=True)
    return {name: Sample(*(np.concatenate(column) for column in zip(*part, strict=True))) for name, part in parts.items()}


# --- telling them apart -----------------------------------------------------------------------------------------------


def classifiers() -> dict:
    """Fresh ones by name."""
    return {
        "boosted trees": HistGradientBoostingClassifier(max_iter=200, learning_rate=0.06, early_stopping=True, random_state=0),
        "network": make_pipeline(
            StandardScaler(), MLPClassifier(hidden_layer_sizes=(128, 64), max_iter=200, early_stopping=True, alpha=1e-3, random_state=0)
        ),
    }


def told_apart(one: Sample, other: Sample, n_continuum: int) -> list[list[object]]:
    """Rows by what is read and classifier: the area under the ROC curve on held-back settings, of all spectra and by S/N."""
    last = one.setting.max() // 2
    ridge, latents = (np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("ridge", "latents"))
    read = {"ridge": ridge, "ridge, continuum": ridge[:, :n_continuum], "ridge, lines": ridge[:, n_continuum:], "latents": latents}
    rows = []
    for name, x in read.items():
        y = np.repeat([1, 0], [len(one.sn), len(other.sn)])
        sn, early = np.concatenate([one.sn, other.sn]), np.concatenate([one.setting, other.setting]) <= last
        for how, classifier in classifiers().items():
            score = classifier.fit(x[early], y[early]).predict_proba(x[~early])[:, 1]
            truth, at = y[~early], sn[~early]
            bins = [np.ones(len(at), bool), *((at >= low) & (at < high) for low, high in pairwise(SN_EDGES))]
            rows.append([name, how, *(f"{roc_auc_score(truth[some], score[some]):.3f}" for some in bins)])
    return rows


# --- without noise ----------------------------------------------------------------------------------------------------


def measure(wave: Array, continuum: Array, lines: Array, bands: Array) -> Measured:
    """Of one spectrum on the library's grid."""

    def line(centre: float) -> tuple[Array, Array]:
        inside = jnp.abs(wave - centre) < WINDOW_AA
        flux = jnp.sum(jnp.where(inside, lines * jnp.gradient(wave), 0.0))
        level = jnp.sum(jnp.where(inside, continuum, 0.0)) / jnp.sum(inside)
        return flux, flux / level

    def ratio(above: float, below: float) -> Array:
        (a, ew_a), (b, ew_b) = line(above), line(below)
        strong = (ew_a > LEAST_EW_AA) & (ew_b > LEAST_EW_AA)
        return jnp.where(strong, jnp.log10(jnp.maximum(a, 1e-30) / jnp.maximum(b, 1e-30)), jnp.nan)

    light = bands @ (continuum + lines)
    return Measured(derived.dn4000(wave, continuum), ratio(NII, HALPHA), ratio(OIII, HBETA), -2.5 * jnp.log10(light[0] / light[1]))


@eqx.filter_jit
def measured_new(trained, keys: Array, wave: Array, bands: Array) -> Measured:
    """Of generated galaxies."""
    k = trained.network.projection.n_continuum
    basis = trained.network.projection.basis

    def one(key: Array) -> Measured:
        shape = trained.new(key)[1]
        return measure(wave, basis[:, :k] @ shape[:k], basis[:, k:] @ shape[k:], bands)

    return jax.lax.map(one, keys, batch_size=BATCH)


@eqx.filter_jit
def measured_simulated(keys: Array, view: galaxy.View, bands: Array, physics_parts: tuple, library, redshifts: tuple) -> Measured:
    """Of simulated galaxies."""
    physics = Physics(*physics_parts, library)

    def one(key: Array) -> Measured:
        light = one_light(key, view, physics, redshifts)
        level = simulate.v_band_light(view.wave_aa, light.continuum)
        return measure(view.wave_aa, light.continuum / level, light.lines / level, bands)

    return jax.lax.map(one, keys, batch_size=BATCH)


def distributions(made, simulator: Simulator, n: int) -> tuple[Measured, Measured]:
    """Of n generated and n simulated galaxies."""
    wave = stars.wave_grid()
    view = spectrograph.view(wave, 0.0, made.library, lsf_kms=0.0)
    bands = filters.filter_matrix(BANDS, wave)
    keys = jax.random.split(jax.random.key(SEED), 2 * n)
    new = measured_new(made.trained, keys[:n], view.wave_aa, bands)
    fixed = (tuple(simulator.physics[:3]), made.library, made.recipe.population.redshift)
    old = measured_simulated(jax.block_until_ready(keys[n:]), view, bands, *fixed)
    return tuple(Measured(*(np.asarray(x, np.float64) for x in found)) for found in (jax.block_until_ready(new), old))


def compared(new: Measured, old: Measured) -> list[list[object]]:
    """Rows: quantiles of either, and the Kolmogorov-Smirnov distance."""
    rows = []
    for name, label in MEASURES.items():
        one, other = (x[np.isfinite(x)] for x in (getattr(new, name), getattr(old, name)))
        distance = ks_2samp(one, other)
        for what, values in (("generated", one), ("simulated", other)):
            share = f"{len(values) / len(new.gr):.2f}"
            last = f"{distance.statistic:.3f}" if what == "generated" else f"(p = {distance.pvalue:.1g})"
            rows.append([label, what, share, *(f"{q:.2f}" for q in np.quantile(values, QUANTILES)), last])
    return rows


def figure(new: Measured, old: Measured, path: Path) -> None:
    """Histograms of both, measure by measure."""
    canvas = Figure(figsize=(9, 6.5), layout="constrained")
    for axes, (name, label) in zip(canvas.subplots(2, 2).ravel(), MEASURES.items(), strict=True):
        one, other = (x[np.isfinite(x)] for x in (getattr(new, name), getattr(old, name)))
        edges = np.linspace(*np.quantile(np.concatenate([one, other]), (0.002, 0.998)), 50)
        axes.hist(other, edges, density=True, color="0.8", label="simulated")
        axes.hist(one, edges, density=True, histtype="step", color="C3", linewidth=1.5, label="generated")
        axes.set_xlabel(label)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="spectrum_latents")
    parser.add_argument("--galaxies", type=int, default=8192, help="generated spectra, and as many simulated, twice")
    parser.add_argument("--out", type=Path, default=Path("runs/generated"), help="folder of the figure")
    parser.add_argument("--dry-run", action="store_true", help="print, do not write README.md")
    options = parser.parse_args()
    here, made = machine("slipher", "jax", "scikit-learn"), shipped.load(options.model)
    simulator, n = simulator_of(made), options.galaxies - options.galaxies % CHUNK
    found, k = samples(made, simulator, n), made.trained.network.projection.n_continuum
    new, old = distributions(made, simulator, n)
    figure(new, old, options.out / "generated.png")
    head = ["read", "classifier", "all", *(f"S/N {low:g}-{high:g}" for low, high in pairwise(SN_EDGES))]
    text = [
        "## Generated spectra",
        f"`python benchmarks/generated_spectra.py --galaxies {options.galaxies}`. {here}",
        f"{n:,} generated and {n:,} simulated spectra with noise, {n // CHUNK} settings, half of them held back. Area under the ROC curve:",
        markdown_table(head, told_apart(found["generated"], found["simulated"], k)),
        "Two sets of simulated spectra, for comparison:",
        markdown_table(head, told_apart(found["again"], found["simulated"], k)),
        "Generated galaxies, and simulated ones as decoded from their latents: what the flow adds to the decoder's faults:",
        markdown_table(head, told_apart(found["generated"], found["decoded"], k)),
        f"Without noise, {n:,} of each: share of galaxies (both lines wider than {LEAST_EW_AA:g} A), quantiles, and the Kolmogorov-Smirnov "
        "distance:",
        markdown_table(["", "", "share", *(f"{100 * q:g} %" for q in QUANTILES), "distance"], compared(new, old)),
    ]
    print("\n\n".join(text))
    if not options.dry_run:
        write_section("generated-spectra", "\n\n".join(text))


if __name__ == "__main__":
    main()
