"""Who finds what is odd: `python benchmarks/outliers.py [--galaxies 20000] [--peer-python PATH] [--dry-run]`.

Outliers are planted among fresh mocks of SDSS, four of each class to every 96 ordinary galaxies and at the same redshifts, S/N, masks and
noise, for they are drawn as what is emitted, before the instrument:

- blend: light of another galaxy, 0.25 to 1 of the own, at a redshift lower by up to 0.12 in ln(1 + z);
- wrong redshift: the redshift given is too high by 0.004 to 0.12 in ln(1 + z);
- star: a Planck curve of 3,500-25,000 K times the absorption of a simple stellar population (its light over its running mean; 0.3 Gyr
  above 7,500 K, 10 Gyr below) at the observer's rest, taken for a galaxy. These are no stars but what this library has that is like them;
- nucleus: power law and broad lines (`slipher.physics.agn`) of 3 to 20 times the galaxy's light;
- quasar: power law, broad lines and a dimmed Lyman alpha forest at redshifts of 0.9 to 3, taken for a galaxy. Equivalent widths are about
  those of composite spectra (Vanden Berk et al. 2001, arXiv:astro-ph/0105231);
- double peaks: emission lines split by 300-600 km/s, where H alpha is wider than 10 A;
- step: a factor of 15-40 % up or down redward of 6000 A observed, where the arms of SDSS join;
- bent: a parabola in ln(wavelength) as factor, 15-40 % off at the ends of the spectrum and half as much the other way in the middle.

Scores: slipher's false-alarm rate; -ln p of spender's latents by a flow, its chi^2 a pixel, and both together; an isolation forest of as
many principal components of spectra at rest (3800-6300 A, common to all) as there are latents. The peers' flow, ranks and forest are learnt
from as many ordinary spectra more; slipher's from those of its card. A class counts with a weight that makes it 1 % of all for precision,
which is its share among the 1 % that score highest. About half an hour for 20,000 galaxies on two cores.
"""

import os

# Before scipy is loaded: BLAS, of whose threads each batched solve would start its own, is ten times slower on a machine that others use.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import spender_twin as twin
from jax import Array
from latents import simulator_of
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import machine, markdown_table, write_section

from slipher.grids import stars
from slipher.grids.library import Library
from slipher.instrument import simulate, spectrograph
from slipher.models import false_alarms, latent_set, shipped
from slipher.models.latent_set import Physics, Seen, Setting, Simulator, Truth
from slipher.networks import autoencoder, latent_density
from slipher.physics import agn, galaxy, kinematics
from slipher.units import C_KMS

SEED = 91
KINDS = ("blend", "wrong redshift", "star", "nucleus", "quasar", "double peaks", "step", "bent")
ORDINARY, EACH = 96, 4  # of a chunk
CHUNK = ORDINARY + EACH * len(KINDS)  # 128, a multiple of the batches of `latent_set`
BATCH = 16
FARTHEST = 0.12  # of shifts in ln(1 + z): what the pixels beyond the survey's red end can fill
HOT_K = 7500.0
JOIN_AA = 6000.0
UV_LINES = {1215.7: 90.0, 1397.0: 9.0, 1549.1: 30.0, 1908.7: 22.0, 2799.1: 33.0, 4862.7: 46.0}  # A: equivalent widths, A
FOREST = (0.75, 1215.7)  # what it leaves of the light, and where it begins
LEAST_HALPHA_AA = 10.0  # equivalent width of lines whose two peaks are to be seen
PCA_AA, PCA_BIN = (3800.0, 6300.0), 4  # rest wavelengths of the principal components, and pixels of 1e-4 dex averaged
RATES = (0.1, 0.01, 0.001)


class Draws(NamedTuple):
    """What is drawn of each planted galaxy [galaxy], whatever its kind."""

    kind: Array  # -1: ordinary
    light: Array  # of a nucleus or quasar over the galaxy's
    slope: Array
    kms: Array
    redshift: Array  # of a quasar
    kelvin: Array
    split_kms: Array
    share: Array  # of the blue peak
    damage: Array


class Templates(NamedTuple):
    """Absorption of a hot and of a cool population [two, wavelength], and ln of its wavelengths."""

    log_wave: Array
    absorbed: Array


class Planted(NamedTuple):
    """What scores are made from, of spectra [galaxy, ...]; the peer's are NaN without it."""

    kind: np.ndarray
    sn: np.ndarray
    measured: np.ndarray  # as `false_alarms.Measured`
    latents: np.ndarray  # the peer's
    chi2: np.ndarray  # the peer's, a pixel
    shape: np.ndarray  # binned flux


# --- what is planted --------------------------------------------------------------------------------------------------


def kinds_of_chunk() -> np.ndarray:
    """Which galaxies of a chunk are what: outliers apart, so that what is blended into one is an ordinary galaxy's light."""
    kind = np.full(CHUNK, -1)
    kind[:: CHUNK // (EACH * len(KINDS))] = np.tile(np.arange(len(KINDS)), EACH)
    return kind


def drawn(key: Array, kind: Array) -> Draws:
    """Of a chunk."""
    k = jax.random.split(key, 8)
    n = len(kind)

    def between(key: Array, low: float, high: float) -> Array:
        return jax.random.uniform(key, (n,), minval=low, maxval=high)

    sign = jnp.sign(jax.random.uniform(k[6], (n,)) - 0.5)
    return Draws(
        kind, jnp.exp(between(k[0], np.log(3.0), np.log(20.0))), -1.5 + 0.4 * jax.random.normal(k[1], (n,)),
        jnp.exp(between(k[2], np.log(2000.0), np.log(7000.0))), between(k[3], 0.9, 3.0),
        jnp.exp(between(k[4], np.log(3500.0), np.log(25_000.0))), between(k[5], 300.0, 600.0), between(k[6], 0.35, 0.65),
        sign * between(k[7], 0.15, 0.40),
    )  # fmt: skip


def templates(physics: Physics) -> Templates:
    """Light of a population of 0.3 and one of 10 Gyr over its running mean, at solar metallicity, on the library's grid."""
    library, wave = physics.library, stars.wave_grid()
    view = spectrograph.view(wave, 0.0, library, lsf_kms=70.0)
    made = np.stack([np.asarray(_population(library, view, age)) for age in (0.3, 10.0)]).astype(np.float64)
    wide = 600  # pixels of 0.5e-4 dex: 7 % in wavelength
    padded = np.pad(made, ((0, 0), (wide, wide)), mode="edge")
    mean = np.stack([np.convolve(row, np.ones(2 * wide + 1) / (2 * wide + 1), "valid") for row in padded])
    return Templates(jnp.asarray(np.log(wave), jnp.float32), jnp.asarray(made / mean, jnp.float32))


def _population(library: Library, view: galaxy.View, age_gyr: float) -> Array:
    """Of stars older than 10 Myr, all of one age cell, as sharp as the library."""
    n, cell = library.n_young, int(np.searchsorted(np.asarray(library.age_edges_gyr), age_gyr)) - 1
    metallicity = int(np.argmin(np.abs(np.asarray(library.log_z))))
    return view.old[:, 0] @ library.old_weights[metallicity, cell - n]


def shifted(log_wave: Array, flux: Array, shift: Array) -> Array:
    """Flux moved by a shift in ln(wavelength), beyond the ends as at them."""
    return jnp.interp(log_wave - shift, log_wave, flux)


def planted(one: simulate.Emitted, draws: Draws, setting: Setting, library: Templates) -> simulate.Emitted:
    """A galaxy's light with what is planted in it: kinds of KINDS that are neither blends nor wrong redshifts."""
    wave = setting.view.wave_aa
    log_wave, observed, level = jnp.log(wave), wave * (1.0 + setting.redshift), simulate.v_band_light(wave, one.continuum)
    v = 0.5 * draws.split_kms / C_KMS
    peaks = draws.share * shifted(log_wave, one.lines, -v) + (1.0 - draws.share) * shifted(log_wave, one.lines, v)
    x = jnp.log(observed / JOIN_AA) / 0.45
    factors = {"step": 1.0 + draws.damage * (observed > JOIN_AA), "bent": 1.0 + draws.damage * (1.5 * x**2 - 0.5)}
    continua = {
        "star": level * _unit(wave, star(observed, draws, library)),
        "nucleus": one.continuum + level * draws.light * nucleus(setting.view, draws),
        "quasar": level * _unit(wave, quasar(observed, draws)),
    }
    continuum, lines = one.continuum, one.lines
    for name, other in continua.items():
        continuum = jnp.where(draws.kind == KINDS.index(name), other, continuum)
        lines = jnp.where((draws.kind == KINDS.index(name)) & (name != "nucleus"), 0.0, lines)
    lines = jnp.where(draws.kind == KINDS.index("double peaks"), peaks, lines)
    factor = jnp.ones_like(wave)
    for name, other in factors.items():
        factor = jnp.where(draws.kind == KINDS.index(name), other, factor)
    return simulate.Emitted(factor * continuum, factor * lines, one.line_luminosity)


def _unit(wave: Array, flux: Array) -> Array:
    return flux / simulate.v_band_light(wave, flux)


def star(observed_aa: Array, draws: Draws, library: Templates) -> Array:
    """A Planck curve with absorption, at observed wavelengths."""
    absorbed = jnp.where(draws.kelvin > HOT_K, library.absorbed[0], library.absorbed[1])
    x = 1.43878e8 / (observed_aa * draws.kelvin)
    return jnp.interp(jnp.log(observed_aa), library.log_wave, absorbed) * (observed_aa / 5500.0) ** -5 / jnp.expm1(x)


def nucleus(view: galaxy.View, draws: Draws) -> Array:
    """Power law and broad lines over the power law's level near 5600 A; H beta is 60 A wide."""
    nothing = jnp.zeros(())
    return agn.broad_light(agn.Nucleus(nothing, nothing, nothing, jnp.asarray(60.0), draws.kms, jnp.asarray(1.0), draws.slope), view)


def quasar(observed_aa: Array, draws: Draws) -> Array:
    """A quasar's light at observed wavelengths."""
    wave, lines = observed_aa / (1.0 + draws.redshift), jnp.zeros_like(observed_aa)
    for centre, ew_aa in UV_LINES.items():
        lines += ew_aa * kinematics.line_profile(wave, jnp.full_like(wave, 69.0), jnp.asarray(centre), draws.kms)
    return (wave / 3000.0) ** draws.slope * (1.0 + lines) * jnp.where(wave < FOREST[1], FOREST[0], 1.0)


# --- simulation -------------------------------------------------------------------------------------------------------


class Fixed(NamedTuple):
    """What is static in a chunk: `contents` has blends and wrong redshifts in every galaxy, of which few are kept."""

    model: galaxy.GalaxyModel
    systematics: object
    contents: latent_set.Contents
    redshifts: tuple[float, float]
    sn_range: tuple[float, float]


@partial(jax.jit, static_argnames="fixed")
def _chunk(key: Array, kind: Array, setting: Setting, library: Library, onto, stellar: Templates, fixed: Fixed) -> tuple[Seen, Array]:
    physics = Physics(fixed.model, fixed.systematics, fixed.contents, library)
    k = jax.random.split(key, 4)
    truth = jax.vmap(lambda key: latent_set.draw(key, physics, fixed.redshifts))(jax.random.split(k[0], CHUNK))
    truth = only(truth, kind)
    light = jax.vmap(lambda key, one: latent_set.emitted(key, one, setting.view, physics))(jax.random.split(k[1], CHUNK), truth)
    halpha = light.line_luminosity[:, _line(library, 6564.6)] / jax.vmap(lambda x: simulate.v_band_light(setting.view.wave_aa, x))(
        light.continuum
    )
    light, lit = latent_set.mixed(light, truth, setting.view.wave_aa)
    light = jax.vmap(lambda one, draws: planted(one, draws, setting, stellar))(light, drawn(k[2], kind))
    seen = jax.vmap(lambda key, one, lit: latent_set.observe(key, one, lit, setting, physics, fixed.sn_range))(
        jax.random.split(k[3], CHUNK), light, lit
    )
    found = jax.lax.map(lambda some: latent_set.collected(some, setting, physics, *onto), seen, batch_size=BATCH)
    read = jax.lax.map(lambda some: autoencoder.features(some, *onto), found, batch_size=BATCH)
    return Seen(seen, read, found), halpha


def _line(library: Library, wave_aa: float) -> Array:
    return jnp.argmin(jnp.abs(library.line_wave_aa - wave_aa))


def only(truth: Truth, kind: Array) -> Truth:
    """Blends and wrong redshifts where they belong, towards the blue: pixels beyond the red end fill what is moved."""
    blend, wrong = kind == KINDS.index("blend"), kind == KINDS.index("wrong redshift")
    scale = FARTHEST / latent_set.MOST_SHIFT
    return truth._replace(
        blend=jnp.where(blend, truth.blend, 0.0),
        blend_shift=-scale * jnp.abs(truth.blend_shift),
        redshift_shift=jnp.where(wrong, -jnp.maximum(scale * jnp.abs(truth.redshift_shift), latent_set.LEAST_SHIFT), 0.0),
    )


def chunk(simulator: Simulator, stellar: Templates, kind: np.ndarray, seed: int, number: int) -> tuple[Setting, Seen, np.ndarray]:
    """Spectra of one setting, those of `kind` -1 ordinary; which of them count (outliers that show what they are)."""
    rng = np.random.default_rng([seed, number])
    physics, population = simulator.physics, simulator.population
    setting = jax.block_until_ready(latent_set.setting_of(rng, population, physics.systematics, physics.library, simulator.onto.projection))
    contents = replace(physics.contents, blends=1.0, wrong_redshifts=1.0)
    fixed = Fixed(physics.model, physics.systematics, contents, population.redshift, population.sn)
    key = jax.random.key(rng.integers(2**31))
    seen, halpha = jax.block_until_ready(_chunk(key, jnp.asarray(kind), setting, physics.library, simulator.onto, stellar, fixed))
    return setting, seen, (kind != KINDS.index("double peaks")) | (np.asarray(halpha) > LEAST_HALPHA_AA)


# --- scores -----------------------------------------------------------------------------------------------------------


def gathered(made, simulator: Simulator, stellar: Templates, kind: np.ndarray, n: int, seed: int, peer: twin.Peer | None) -> Planted:
    """Chunks of these kinds until there are n ordinary spectra among them, by all methods."""
    parts, began = [], time.perf_counter()
    chunks = -(-n // int(np.sum(kind < 0)))
    for i in range(chunks):
        setting, seen, counts = chunk(simulator, stellar, kind, seed, i)
        measured = np.stack(false_alarms.measured(made.trained, seen, setting, made.recipe.systematics), 1)
        latents, chi2 = by_peer(peer, seen, setting)
        found = Planted(kind, np.asarray(seen.pixels.sn), measured, latents, chi2, binned(seen, setting))
        parts.append(Planted(*(x[counts] for x in found)))
        if i % 20 == 0:
            print(f"chunk {i + 1} of {chunks}, {(time.perf_counter() - began) / 60:.1f} minutes", flush=True)
    return Planted(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def by_peer(peer: twin.Peer | None, seen: Seen, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """The peer's latents [galaxy, latent] and chi^2 a pixel [galaxy]; NaN without it."""
    if peer is None:
        return np.full((len(seen.read), 1), np.nan), np.full(len(seen.read), np.nan)
    spectra = twin.of_chunk(seen, setting)
    answer = peer.ask(spectra)
    return answer.latents, twin.chi2_per_pixel(spectra, answer.flux)


def binned(seen: Seen, setting: Setting) -> np.ndarray:
    """Flux at rest over its median [galaxy, bin], weighted means of a few pixels; bins without data are interpolated."""
    rest = np.log10(np.asarray(setting.errors.rest_aa, np.float64))
    n = round(np.log10(PCA_AA[1] / PCA_AA[0]) / (PCA_BIN * twin.LOG_STEP))
    at = np.floor((rest - np.log10(PCA_AA[0])) / (PCA_BIN * twin.LOG_STEP)).astype(int)
    inside = (at >= 0) & (at < n)
    into = np.zeros((len(rest), n), np.float32)
    into[np.flatnonzero(inside), at[inside]] = 1.0
    ivar = np.asarray(seen.pixels.ivar)
    weight = ivar @ into
    flux = (ivar * np.asarray(seen.pixels.flux)) @ into
    rows = [np.interp(np.arange(n), np.flatnonzero(w > 0), f[w > 0] / w[w > 0]) for f, w in zip(flux, weight, strict=True)]
    return np.stack([row / max(np.median(row), 1e-3 * np.abs(row).max()) for row in rows]).astype(np.float32)


def scores(made, train: Planted, test: Planted, steps: int) -> dict[str, np.ndarray]:
    """Of test spectra [galaxy], larger where they are odder, by method."""
    rates = rates_of(made, test)
    found = {"slipher": _odd(np.min(list(rates.values()), axis=0))}
    found |= {f"slipher: {name.replace('_', ' ')}": _odd(rate) for name, rate in rates.items()}
    if np.isfinite(train.chi2).any():
        usual = np.isfinite(train.chi2)
        density = latent_density.learn(SEED, train.latents[usual].astype(np.float64), steps=steps)
        improbable = {name: -log_prob(density, x.latents) for name, x in (("train", train), ("test", test))}
        chi2 = {name: np.where(np.isfinite(x.chi2), x.chi2, np.inf) for name, x in (("train", train), ("test", test))}
        tails = [tail(x["test"], x["train"][usual]) for x in (improbable, chi2)]
        found |= {"spender: flow": improbable["test"], "spender: chi^2": chi2["test"], "spender: both": _odd(np.min(tails, axis=0))}
    n = made.trained.network.n_latent
    forest = make_pipeline(PCA(n, random_state=0), StandardScaler(), IsolationForest(n_estimators=300, random_state=0)).fit(train.shape)
    return found | {"forest": -forest.score_samples(test.shape)}


def rates_of(made, spectra: Planted) -> dict[str, np.ndarray]:
    """slipher's false-alarm rates by question; the least is as good a score as `rate`, and does not round to nothing."""
    found = false_alarms.rates(false_alarms.Measured(*spectra.measured.T), made.card["usual"])
    return {name: found[name] for name in false_alarms.NAMES}


def _odd(rate: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(rate, 1e-300))


def log_prob(density: latent_density.Density, latents: np.ndarray) -> np.ndarray:
    """ln p of latents [galaxy, latent]."""
    each = jax.jit(jax.vmap(density.log_prob))
    padded = np.pad(latents, ((0, -len(latents) % 512), (0, 0))).astype(np.float32)
    return np.concatenate([np.asarray(each(padded[i : i + 512])) for i in range(0, len(padded), 512)])[: len(latents)]


def tail(values: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Share of usual values that are as large."""
    return (len(usual) - np.searchsorted(np.sort(usual), values) + 1.0) / (len(usual) + 1.0)


def precision(score: np.ndarray, odd: np.ndarray) -> float:
    """Share of outliers among the 1 % of all that score highest, when they are weighted to be 1 % of the ordinary."""
    weight = np.where(odd, 0.01 * np.sum(~odd) / max(np.sum(odd), 1), 1.0)
    order = np.lexsort((np.random.default_rng(0).random(len(score)), -score))
    top = np.cumsum(weight[order]) <= 0.01 * weight.sum()
    return float(np.sum(weight[order][top] * odd[order][top]) / np.sum(weight[order][top]))


# --- the page ---------------------------------------------------------------------------------------------------------


def compared(found: dict[str, np.ndarray], test: Planted, some: np.ndarray, measure) -> list[list[object]]:
    """Rows: of each class so many spectra, and a measure of (score, which are odd) of each method."""
    rows = []
    for i, name in enumerate(KINDS):
        chosen = some & ((test.kind < 0) | (test.kind == i))
        odd = test.kind[chosen] == i
        values = [measure(score[chosen], odd) for score in found.values()]
        rows.append([name, int(odd.sum()), *(f"{x:.3f}" if x < max(values) - 5e-4 else f"**{x:.3f}**" for x in values)])
    return rows


def auc(score: np.ndarray, odd: np.ndarray) -> float:
    """Area under the ROC curve."""
    return float(roc_auc_score(odd, np.clip(score, -1e30, 1e30)))


def calibration(made, spectra: Planted, edges: Sequence[float] = (2.0, 5.0, 10.0, 20.0, 40.0, 100.0)) -> list[list[object]]:
    """Rows by S/N: of ordinary spectra the shares with a false-alarm rate below some."""
    ordinary = spectra.kind < 0
    rate = false_alarms.rates(false_alarms.Measured(*spectra.measured[ordinary].T), made.card["usual"])["rate"]
    sn, rows = spectra.sn[ordinary], []
    for low, high in [*pairwise(edges), (edges[0], edges[-1])]:
        some = (sn >= low) & (sn < high)
        if some.any():
            rows.append([f"{low:g}-{high:g}", int(some.sum()), *(f"{np.mean(rate[some] < limit):.4f}" for limit in RATES)])
    return rows


def section(made, test: Planted, found: dict[str, np.ndarray]) -> list[str]:
    """Tables."""
    head, everything = ["class", "spectra", *found], np.ones(len(test.kind), bool)
    bright = test.sn > 10.0
    return [
        f"{int(np.sum(test.kind < 0)):,} ordinary spectra of SDSS, S/N 2-100. Area under the ROC curve:",
        markdown_table(head, compared(found, test, everything, auc)),
        "Precision among the top 1 %, each class being 1 % of the ordinary:",
        markdown_table(head, compared(found, test, everything, precision)),
        "The same for S/N above 10: area, and precision:",
        markdown_table(head, compared(found, test, bright, auc)),
        markdown_table(head, compared(found, test, bright, precision)),
        "Ordinary spectra with a false-alarm rate below 0.1, 0.01 and 0.001, by S/N:",
        markdown_table(["S/N", "spectra", *(f"{x:g}" for x in RATES)], calibration(made, test)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="spectrum_latents")
    parser.add_argument("--galaxies", type=int, default=20_000, help="ordinary spectra, and as many more to learn from")
    parser.add_argument("--flow-steps", type=int, default=latent_density.STEPS)
    parser.add_argument("--peer-python", help="interpreter of an environment with spender and torch (see spender_twin)")
    parser.add_argument("--peer", type=Path, default=Path("runs/spender"), help="folder of the trained peer")
    parser.add_argument("--dry-run", action="store_true", help="print, do not write README.md")
    options = parser.parse_args()
    here, made = machine("slipher", "jax", "scikit-learn"), shipped.load(options.model)
    simulator = twin.of_sdss(simulator_of(made))
    stellar, n = templates(simulator.physics), options.galaxies
    text = ["## Outliers", f"`python benchmarks/outliers.py --galaxies {n}`. {here}"]
    with twin.opened(options.peer_python, options.peer) as peer:
        text[1] += " spender: not installed." if peer is None else f" spender {peer.card['spender']}, {peer.card['minutes']:.0f} minutes."
        train = gathered(made, simulator, stellar, np.full(CHUNK, -1), n, SEED, peer)
        test = gathered(made, simulator, stellar, kinds_of_chunk(), n, SEED + 1, peer)
    text += section(made, test, scores(made, train, test, options.flow_steps))
    print("\n\n".join(text))
    if not options.dry_run:
        write_section("outliers", "\n\n".join(text))


if __name__ == "__main__":
    main()
