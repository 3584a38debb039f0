"""What the latents of `spectrum_latents` are worth: `python benchmarks/latents.py [--model spectrum_latents] [--galaxies 2000]`.

On fresh mocks of SDSS, BOSS and DESI: how well decoded spectra reconstruct the data, by S/N, beside principal components of the same
number fitted to every pixel; how far the latents of one galaxy scatter between observations (other redshift, survey, S/N, mask), over
their scatter between galaxies; and how much physics they hold, by linear regression and a small network. Ten minutes.
"""

import argparse
import time
from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import machine, markdown_table, write_section

from slipher.models import latent_recipe, shipped
from slipher.models.latent_set import Onto, Simulator, Truth
from slipher.networks import autoencoder, sufficient
from slipher.networks.sufficient import Statistics
from slipher.physics import derived, galaxy, parameters

SEED = 77
SN_EDGES = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
CHUNK = 250
PHYSICS = {"age_lw_gyr": "age by light", "log_ssfr_100myr": "log sSFR", "log_zstar": "log Z", "a_v": "A_V", "sigma_star": "dispersion"}
CLASSES = ("none", "narrow lines", "broad lines")


def principal(made, n: int, simulator: Simulator) -> np.ndarray:
    """Mean and first n principal components [component of the basis, 1 + n] of well-observed spectra, in the basis' coefficients."""
    bright = simulator._replace(population=replace(simulator.population, sn=latent_recipe.BRIGHT_SN))
    ridge = jax.jit(lambda seen: jax.lax.map(lambda s: sufficient.ridge(s, *simulator.onto).coefficients, seen, batch_size=32))
    shapes = np.concatenate([np.asarray(ridge(bright.once(SEED + 1, i, 500)[1].statistics)) for i in range(8)]).astype(np.float64)
    mean = shapes.mean(0)
    metric = np.linalg.cholesky(
        latent_recipe.metric_of(simulator.onto.projection, np.asarray(made.library.wave_aa)) + 1e-9 * np.eye(len(mean))
    )
    _, _, vectors = np.linalg.svd((shapes - mean) @ metric, full_matrices=False)
    return np.concatenate([mean[:, None], np.linalg.solve(metric.T, vectors[:n].T)], 1)


def by_components(components: np.ndarray) -> callable:
    """chi^2 of the best sum of components."""
    some = jnp.asarray(components, jnp.float32)

    def one(seen: Statistics) -> jax.Array:
        gram = seen.matrix()
        right = some.T @ (seen.gradient + gram @ seen.centre)
        best = some @ jnp.linalg.solve(some.T @ gram @ some + 1e-6 * jnp.eye(some.shape[1]), right)
        off = best - seen.centre
        return seen.least - 2.0 * off @ seen.gradient + off @ gram @ off

    return jax.jit(lambda seen: jax.lax.map(one, seen, batch_size=32))


def reconstruction(made, simulator: Simulator, n: int) -> list[list[object]]:
    """Rows by S/N: chi^2 a pixel of the whole basis, of the encoder's latents, the corrected ones, and principal components."""
    network, prior = made.trained.network, made.trained.prior
    alone = jax.jit(lambda read, seen: jax.lax.map(lambda x: network.chi2(network.encode(x[0]), x[1]), (read, seen), batch_size=32))
    fixed = jax.jit(
        lambda read, seen: jax.lax.map(
            lambda x: autoencoder.correct(network.encode(x[0]), x[1], network, prior).chi2, (read, seen), batch_size=32
        )
    )
    components = by_components(principal(made, network.n_latent, simulator))
    found = {"sn": [], "n": [], "basis": [], "encoder": [], "corrected": [], "components": []}
    seconds = 0.0
    for i in range(n // CHUNK):
        _, seen, _ = simulator.once(SEED, i, CHUNK)
        found["sn"].append(seen.pixels.sn)
        found["n"].append(seen.statistics.n_pixels)
        found["basis"].append(seen.statistics.least)
        found["encoder"].append(alone(seen.read, seen.statistics))
        began = time.perf_counter()
        found["corrected"].append(np.asarray(fixed(seen.read, seen.statistics)))
        seconds = time.perf_counter() - began
        found["components"].append(components(seen.statistics))
    whole = {name: np.concatenate([np.asarray(x) for x in parts]) for name, parts in found.items()}
    print(f"{1e3 * seconds / CHUNK:.1f} ms a spectrum to correct", flush=True)
    rows = []
    for low, high in pairwise(SN_EDGES):
        some = (whole["sn"] >= low) & (whole["sn"] < high)
        per_pixel = [np.median(whole[name][some] / whole["n"][some]) for name in ("basis", "encoder", "corrected", "components")]
        rows.append([f"{low:g}-{high:g}", int(some.sum()), *(f"{x:.3f}" for x in per_pixel)])
    return rows


def invariance(made, simulator: Simulator, n: int) -> tuple[list[list[object]], np.ndarray]:
    """Rows by S/N of the observations: scatter of a galaxy's latents over the population's, root mean square over latents and the worst."""
    network, prior = made.trained.network, made.trained.prior
    encode = jax.jit(jax.vmap(network.encode))
    fixed = jax.jit(
        lambda read, seen: jax.lax.map(
            lambda x: autoencoder.correct(network.encode(x[0]), x[1], network, prior).latents, (read, seen), batch_size=32
        )
    )
    whiten = np.linalg.inv(np.asarray(made.trained.density.root, np.float64))
    rows = []
    for sn in ((5.0, 10.0), (10.0, 20.0), (20.0, 40.0), (40.0, 80.0)):
        some = simulator._replace(population=replace(simulator.population, sn=sn))
        seen, _ = some.often(SEED + 2, 0, n, 10)
        for how, points in (
            ("encoder", np.array([encode(s.read) for _, s in seen])),
            ("corrected", np.array([fixed(s.read, s.statistics) for _, s in seen])),
        ):
            white = np.asarray(points, np.float64) @ whiten.T  # [time, galaxy, latent]
            within, between = white.std(0, ddof=1), white.mean(0).std(0)
            ratio = np.sqrt(np.mean(within**2, 0)) / between
            plain = points.astype(np.float64)
            total = np.sqrt(np.mean(plain.var(0, ddof=1).sum(-1)) / plain.mean(0).var(0).sum())
            rows.append([f"{sn[0]:g}-{sn[1]:g}", how, f"{total:.3f}", f"{np.median(ratio):.3f}", f"{ratio.max():.3f}"])
    return rows


def truths(made, truth: Truth) -> dict[str, np.ndarray]:
    """Physical quantities of galaxies by name."""
    model = made.recipe.preset

    @jax.jit
    def one(u, t_universe):
        values = model.complete(parameters.from_normal(model.parameters[:-1], u))
        parts = galaxy.ingredients(model, values, t_universe, made.library)
        return {**values, **derived.stellar(parts, t_universe, jnp.float32(10.0), made.library)}

    found = jax.lax.map(lambda x: one(*x), (truth.u, truth.t_universe_gyr), batch_size=50)
    return {name: np.asarray(found[name], np.float64) for name in PHYSICS}


def physics(made, simulator: Simulator, n: int) -> list[list[object]]:
    """Rows: R^2 of each quantity from the latents of spectra of S/N above 10, linear and by a network, on held-back galaxies."""
    some = simulator._replace(population=replace(simulator.population, sn=(10.0, 80.0)))
    encode = jax.jit(jax.vmap(made.trained.network.encode))
    latents, values, kind = [], [], []
    for i in range(n // CHUNK):
        _, seen, truth = some.once(SEED + 3, i, CHUNK)
        latents.append(np.asarray(encode(seen.read)))
        values.append(truths(made, truth))
        kind.append(np.where(truth.nucleus.broad_ew_aa > 0, 2, np.where(truth.nucleus.narrow_ew_aa > 1.0, 1, 0)))
    x, kind = np.concatenate(latents), np.concatenate(kind)
    half = len(x) // 2
    rows = []
    for name, label in PHYSICS.items():
        y = np.concatenate([v[name] for v in values])
        linear = make_pipeline(StandardScaler(), RidgeCV()).fit(x[:half], y[:half]).score(x[half:], y[half:])
        scale = y[:half].std()
        network = make_pipeline(StandardScaler(), MLPRegressor((64, 64), max_iter=600, early_stopping=True, random_state=0))
        curved = network.fit(x[:half], y[:half] / scale).score(x[half:], y[half:] / scale)
        rows.append([label, f"{linear:.2f}", f"{curved:.2f}"])
    classifier = make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=600, early_stopping=True, random_state=0))
    classifier.fit(x[:half], kind[:half])
    right = classifier.predict(x[half:]) == kind[half:]
    shares = ", ".join(f"{name} {np.mean(right[kind[half:] == i]):.2f}" for i, name in enumerate(CLASSES))
    rows.append(["nucleus (accuracy)", "", shares])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="spectrum_latents")
    parser.add_argument("--galaxies", type=int, default=2000)
    parser.add_argument("--dry-run", action="store_true", help="print, do not write README.md")
    options = parser.parse_args()
    here, made = machine("slipher", "jax", "scikit-learn"), shipped.load(options.model)
    network, library = made.trained.network, made.library
    simulator = Simulator(made.recipe.physics(library), made.recipe.population, Onto(network.projection, network.level))
    text = ["## Latents of spectra", f"`python benchmarks/latents.py --galaxies {options.galaxies}`. {here}"]
    text.append(
        f"{network.n_latent} latents, {made.card['simulations']:,} galaxies seen twice, {made.card['training_seconds'] / 60:.0f} minutes "
        "of training. chi^2 a pixel of fresh mocks, medians; calibration and sky marginalised, a floor of 1 % in the errors:"
    )
    text.append(markdown_table(["S/N", "spectra", "whole basis", "encoder", "corrected", f"mean + {network.n_latent} components"],
                               reconstruction(made, simulator, options.galaxies)))  # fmt: skip
    text.append("Scatter of a galaxy's latents over ten observations, over the population's (whitened latents: median and worst):")
    head = ["S/N", "latents", "all together", "median latent", "worst latent"]
    text.append(markdown_table(head, invariance(made, simulator, options.galaxies // 10)))
    text.append("R^2 of physical quantities from latents of spectra with S/N 10-80, on held-back galaxies:")
    text.append(markdown_table(["quantity", "linear", "small network"], physics(made, simulator, 2 * options.galaxies)))
    print("\n\n".join(text))
    if not options.dry_run:
        write_section("latents", "\n\n".join(text))


if __name__ == "__main__":
    main()
