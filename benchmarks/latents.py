"""What the latents of `spectrum_latents` are worth: `python benchmarks/latents.py [--model spectrum_latents] [--galaxies 2048]`.

On fresh mocks of SDSS, BOSS and DESI: how well decoded spectra reconstruct the data, by S/N, beside principal components of the same
number fitted to every pixel; how far the latents of one galaxy scatter between observations (other redshift, survey, S/N, mask), over
their scatter between galaxies; and how much physics they hold, by linear regression and a small network. A quarter of an hour.

The same of spender (`spender_twin`, which trains it), on mocks of SDSS alone and on real spectra, with `--peer-python PATH`; it is trained
first with `--peer-minutes M`. Both are compared on the same pixels in two ways: about the data as they are, each prediction at its
likeliest amplitude; and with the likeliest calibration, mismatch and sky added to either and a floor of 1 % in the errors, as slipher's own
chi^2 has it. The first is unkind to slipher, whose latents leave calibration out; the second to neither.
"""

import os

# Before scipy is loaded: BLAS, of whose threads each batched solve would start its own, is ten times slower on a machine that others use.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import spender_twin as twin
from jax import Array
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import machine, markdown_table, write_section

from slipher import data
from slipher.data.observation import Spectrum
from slipher.errors import InputError
from slipher.models import latent_recipe, latent_set, observed, shipped, spectrum_latents
from slipher.models.latent_set import Onto, Simulator, Truth
from slipher.networks import autoencoder, projection, sufficient
from slipher.networks.sufficient import Statistics
from slipher.physics import derived, galaxy, parameters

SEED = 77
SN_EDGES = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 100.0)
CHUNK = 64  # galaxies that share a survey and a redshift: few, so that there are many of both
BATCH = 16  # in which a chunk is worked off
REST_EDGES = (2700.0, 3500.0, 4000.0, 4500.0, 5500.0, 6500.0, 7500.0, 9100.0)
BRIGHT = 20.0  # S/N from which residuals by wavelength say something of the models
REAL = Path(__file__).parents[2] / "shared" / "data" / "sdss_spectra"
ALONE, CORRECTED, PEER = range(3)  # models that are compared
PHYSICS = {"age_lw_gyr": "age by light", "log_ssfr_100myr": "log sSFR", "log_zstar": "log Z", "a_v": "A_V", "sigma_star": "dispersion"}
CLASSES = ("none", "narrow lines", "broad lines")


def simulator_of(made) -> Simulator:
    """The simulator that a model was trained by."""
    network = made.trained.network
    return Simulator(made.recipe.physics(made.library), made.recipe.population, Onto(network.projection, network.level))


def with_sn(simulator: Simulator, low: float, high: float) -> Simulator:
    """The same galaxies at other S/N."""
    return simulator._replace(population=replace(simulator.population, sn=(low, high)))


def by_sn(sn: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Bins of S/N: their names, and which spectra are in them."""
    return [(f"{low:g}-{high:g}", (sn >= low) & (sn < high)) for low, high in pairwise(SN_EDGES)]


# --- slipher alone, all surveys ---------------------------------------------------------------------------------------


def principal(made, n: int, simulator: Simulator) -> np.ndarray:
    """Mean and first n principal components [component of the basis, 1 + n] of well-observed spectra, in the basis' coefficients."""
    bright = with_sn(simulator, *latent_recipe.BRIGHT_SN)
    ridge = jax.jit(lambda seen: jax.lax.map(lambda s: sufficient.ridge(s, *simulator.onto).coefficients, seen, batch_size=BATCH))
    shapes = np.concatenate([np.asarray(ridge(bright.once(SEED + 1, i, CHUNK)[1].statistics)) for i in range(64)]).astype(np.float64)
    mean = shapes.mean(0)
    metric = np.linalg.cholesky(
        latent_recipe.metric_of(simulator.onto.projection, np.asarray(made.library.wave_aa)) + 1e-9 * np.eye(len(mean))
    )
    _, _, vectors = np.linalg.svd((shapes - mean) @ metric, full_matrices=False)
    return np.concatenate([mean[:, None], np.linalg.solve(metric.T, vectors[:n].T)], 1)


def by_components(components: np.ndarray) -> Callable:
    """chi^2 of the best sum of components."""
    some = jnp.asarray(components, jnp.float32)

    def one(seen: Statistics) -> Array:
        gram = seen.matrix()
        right = some.T @ (seen.gradient + gram @ seen.centre)
        best = some @ jnp.linalg.solve(some.T @ gram @ some + 1e-6 * jnp.eye(some.shape[1]), right)
        off = best - seen.centre
        return seen.least - 2.0 * off @ seen.gradient + off @ gram @ off

    return jax.jit(lambda seen: jax.lax.map(one, seen, batch_size=BATCH))


@eqx.filter_jit
def corrected(trained, read: Array, seen: Statistics) -> autoencoder.Corrected:
    """Corrected latents of spectra [galaxy, ...]."""
    return jax.lax.map(lambda x: trained.answer(*x).corrected, (read, seen), batch_size=BATCH)


@eqx.filter_jit
def chi2_of(trained, read: Array, seen: Statistics) -> tuple[Array, Array, Array]:
    """chi^2 of spectra [galaxy]: decoded from the encoder's latents, from the corrected ones, and from these with the remainder free."""
    network = trained.network

    def one(some) -> tuple[Array, Array, Array]:
        found = trained.answer(*some).corrected
        return network.chi2(network.encode(some[0]), some[1]), network.chi2(found.latents, some[1]), found.chi2

    return jax.lax.map(one, (read, seen), batch_size=BATCH)


def reconstruction(made, simulator: Simulator, n: int) -> list[list[object]]:
    """Rows by S/N: chi^2 a pixel of the whole basis, of the latents (`chi2_of`), and of principal components."""
    network = made.trained.network
    components = by_components(principal(made, network.n_latent, simulator))
    found = []
    for i in range(n // CHUNK):
        _, seen, _ = simulator.once(SEED, i, CHUNK)
        many = seen.statistics
        chi2 = (many.least, *chi2_of(made.trained, seen.read, many), components(many))
        found.append(np.array([seen.pixels.sn, *(np.asarray(x) / np.asarray(many.n_pixels) for x in chi2)]))
    sn, *whole = np.concatenate(found, 1)
    return [[name, int(some.sum()), *(f"{np.median(x[some]):.3f}" for x in whole)] for name, some in by_sn(sn) if some.any()]


# --- beside the peer, SDSS --------------------------------------------------------------------------------------------


class Judged(NamedTuple):
    """Of the encoder's, the corrected and the peer's predictions of each spectrum [galaxy, model, ...], over the same pixels.

    chi^2 a pixel as the data are and with the likeliest calibration; by rest wavelength the mean residual over the mean flux and the mean
    |residual| in sigma, NaN where there are no data.
    """

    bare: Array
    calibrated: Array
    fraction: Array  # [galaxy, model, bin]
    sigma: Array  # [galaxy, model, bin]


@eqx.filter_jit
def judged(trained, flux: Array, ivar: Array, read: Array, seen: Statistics, basis: Array, errors, systematics, peer: Array) -> Judged:
    """Of spectra [galaxy, pixel] that share a setting; `peer`: its predictions, zero where it has none (all ones: there is no peer)."""
    network = trained.network
    edges = jnp.asarray(REST_EDGES)
    inside = (errors.rest_aa >= edges[:-1, None]) & (errors.rest_aa < edges[1:, None])

    def one(some) -> Judged:
        flux, ivar, read, seen, peer = some
        ivar = jnp.where(peer != 0, ivar, 0.0)
        templates = latent_set.nuisances(ivar, errors, systematics)
        shapes = network.encode(read), trained.answer(read, seen).corrected.latents
        models = jnp.stack([*(basis @ network.decode(s) for s in shapes), peer])
        return jax.vmap(lambda model: _one_judged(model, flux, ivar, templates, inside))(models)

    return jax.lax.map(one, (flux, ivar, read, seen, peer), batch_size=BATCH)


def _one_judged(model: Array, flux: Array, ivar: Array, templates: tuple[Array, Array], inside: Array) -> Judged:
    """Of one prediction of one spectrum."""
    there = ivar > 0
    n = jnp.maximum(jnp.sum(there), 1)
    model = model * jnp.sum(ivar * model * flux) / jnp.maximum(jnp.sum(ivar * model**2), 1e-30)
    left = jnp.where(there, flux - model, 0.0)
    whole = model + sufficient.instrumental(flux, ivar, model, *templates)
    floor = projection.working_floor(whole, sufficient.mean_of(whole, there))
    calibrated = jnp.sum(ivar * (flux - whole) ** 2 / (1.0 + floor**2 * ivar)) / n
    some = inside & there
    count = jnp.sum(some, 1)
    count = jnp.where(count > 20, count, jnp.nan)
    fraction = jnp.sum(jnp.where(some, left, 0.0), 1) / jnp.sum(jnp.where(some, jnp.abs(model), 0.0), 1)
    sigma = jnp.sum(jnp.where(some, jnp.abs(left) * jnp.sqrt(ivar), 0.0), 1) / count
    return Judged(jnp.sum(ivar * left**2) / n, calibrated, jnp.where(count > 0, fraction, jnp.nan), sigma)


def of_peer(peer: twin.Peer | None, seen, setting) -> np.ndarray:
    """The peer's predictions [galaxy, pixel] of a chunk, at the chunk's pixels; ones without it."""
    if peer is None:
        return np.ones(seen.pixels.flux.shape, np.float32)
    found = peer.ask(twin.of_chunk(seen, setting)).flux
    return twin.from_grid(found, np.asarray(setting.errors.rest_aa, np.float64), float(setting.redshift))


def compare(made, simulator: Simulator, n: int, peer: twin.Peer | None) -> tuple[np.ndarray, Judged]:
    """S/N [galaxy] of mocks of SDSS, and all that is judged."""
    parts, sn, source = [], [], twin.of_sdss(simulator)
    for i in range(n // CHUNK):
        setting, seen, _ = source.once(SEED + 4, i, CHUNK)
        pixels, predicted = seen.pixels, jnp.asarray(of_peer(peer, seen, setting))
        systematics = made.recipe.systematics
        found = judged(
            made.trained, pixels.flux, pixels.ivar, seen.read, seen.statistics, setting.basis, setting.errors, systematics, predicted
        )
        parts.append(jax.tree.map(np.asarray, found))
        sn.append(np.asarray(pixels.sn))
    return np.concatenate(sn), Judged(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def compared_by_sn(sn: np.ndarray, found: Judged, here: bool) -> list[list[object]]:
    """Rows by S/N: medians of chi^2 a pixel."""
    return [
        [name, int(some.sum()), *_values(found.bare[some], here, "{:.3f}"), *_values(found.calibrated[some], here, "{:.3f}")]
        for name, some in by_sn(sn)
        if some.any()
    ]


def compared_by_wavelength(sn: np.ndarray, found: Judged, here: bool) -> list[list[object]]:
    """Rows by rest wavelength, of bright spectra: medians of |residual| in sigma, and of |mean residual| over the flux."""
    some, rows = sn >= BRIGHT, []
    for i, (low, high) in enumerate(pairwise(REST_EDGES)):
        sigma, fraction = found.sigma[some, :, i], 100.0 * np.abs(found.fraction[some, :, i])
        n = int(np.isfinite(sigma[:, 0]).sum())
        if n:
            rows.append([f"{low:.0f}-{high:.0f}", n, *_values(sigma, here, "{:.3f}"), *_values(fraction, here, "{:.2f}")])
    return rows


def _values(columns: np.ndarray, here: bool, form: str) -> list[str]:
    """Medians of [galaxy, model] as text, the peer's only if it is here."""
    values = [form.format(x) for x in np.nanmedian(columns, 0)]
    return values if here else [*values[:PEER], "not installed"]


def real(made, name: str, peer: twin.Peer | None, folder: Path = REAL) -> list[list[object]]:
    """Rows: real spectra, Galactic dust taken off for both models."""
    rows = []
    for path in sorted(folder.glob("spec-*.fits")):
        for spectrum in data.read(path):
            try:
                rows.append(_one_real(made, name, spectrum, peer))
            except InputError as error:
                rows.append([spectrum.id, f"{spectrum.redshift:.3f}", "", f"refused: {error.expected}", *[""] * 6])
    return rows


def _one_real(made, name: str, spectrum: Spectrum, peer: twin.Peer | None) -> list[object]:
    seen, network, systematics = observed.prepare(spectrum, spectrum_latents.EDGE_AA), made.trained.network, made.recipe.systematics
    rest = seen.wave_aa / (1.0 + seen.redshift)
    basis = latent_set.basis_at(network.projection, rest, observed.padded(spectrum.lsf_sigma_kms().astype(np.float64), None), made.library)
    errors = latent_set.errors_at(seen.wave_aa, seen.redshift, systematics)
    flux, ivar, predicted = jnp.asarray(seen.flux)[None], jnp.asarray(seen.ivar)[None], np.ones((1, len(rest)), np.float32)
    if peer is not None:
        answer = peer.ask(twin.onto_grid(flux, ivar, rest, seen.redshift))
        predicted = twin.from_grid(answer.flux, rest, seen.redshift)
    read, statistics = described(network, flux, ivar, basis, errors, systematics)
    found = judged(made.trained, flux, ivar, read, statistics, basis, errors, systematics, jnp.asarray(predicted))
    answer = spectrum_latents.latents(spectrum, model=name)
    chi2 = (*_values(found.bare, peer is not None, "{:.2f}"), *_values(found.calibrated, peer is not None, "{:.2f}"))
    return [spectrum.id, f"{seen.redshift:.3f}", f"{answer.median_sn:.0f}", *chi2, f"{answer.rates['rate']:.1g}"]


@eqx.filter_jit
def described(network, flux: Array, ivar: Array, basis: Array, errors, systematics) -> tuple[Array, Statistics]:
    """What the encoder reads and statistics of spectra [galaxy, pixel] that share a basis: all that slipher does before it encodes."""

    def one(some) -> tuple[Array, Statistics]:
        templates = latent_set.nuisances(some[1], errors, systematics)
        found = sufficient.collect(*some, basis, *templates, network.projection, network.level)
        return autoencoder.features(found, network.projection, network.level), found

    return jax.lax.map(one, (flux, ivar), batch_size=BATCH)


# --- invariance -------------------------------------------------------------------------------------------------------


def invariance(made, simulator: Simulator, n: int, peer: twin.Peer | None) -> list[list[object]]:
    """Rows by S/N of the observations: scatter of a galaxy's latents over the population's, root mean square over latents and the worst.

    Latents are in units of their population, which for slipher is on its card and for the peer is that of bright mocks.
    """
    encode, rows = jax.jit(jax.vmap(made.trained.network.encode)), []
    own, sdss = np.asarray(made.trained.density.root, np.float64), twin.of_sdss(simulator)
    bright = [] if peer is None else [peer.ask(twin.of_chunk(seen, where)).latents for where, seen in _bright(sdss)]
    theirs = None if peer is None else np.linalg.cholesky(np.cov(np.concatenate(bright).T.astype(np.float64)))
    for where, source in (("all", simulator), ("SDSS", sdss)):
        for sn in ((5.0, 10.0), (10.0, 20.0), (20.0, 40.0), (40.0, 80.0)):
            seen, _ = with_sn(source, *sn).often(SEED + 2, 0, n, 10)
            label = [where, f"{sn[0]:g}-{sn[1]:g}"]
            rows.append([*label, "encoder", *scatter([encode(s.read) for _, s in seen], own)])
            rows.append([*label, "corrected", *scatter([corrected(made.trained, s.read, s.statistics).latents for _, s in seen], own)])
            if where == "SDSS" and peer is not None:
                rows.append([*label, "spender", *scatter([peer.ask(twin.of_chunk(s, at)).latents for at, s in seen], theirs)])
            elif where == "SDSS":
                rows.append([*label, "spender", "not installed", "", ""])
    return rows


def _bright(simulator: Simulator) -> list[tuple]:
    """Settings and spectra of well-observed galaxies."""
    return [with_sn(simulator, *latent_recipe.BRIGHT_SN).once(SEED + 5, i, CHUNK)[:2] for i in range(32)]


def scatter(points: list, root: np.ndarray) -> list[str]:
    """Of latents (of each time [galaxy, latent]) over the population's: all together, the median and the worst whitened latent."""
    plain = np.array([np.asarray(x) for x in points], np.float64)
    white = plain @ np.linalg.inv(root).T
    within, between = white.std(0, ddof=1), white.mean(0).std(0)
    ratio = np.sqrt(np.mean(within**2, 0)) / between
    total = np.sqrt(np.mean(plain.var(0, ddof=1).sum(-1)) / plain.mean(0).var(0).sum())
    return [f"{total:.3f}", f"{np.median(ratio):.3f}", f"{ratio.max():.3f}"]


# --- cost -------------------------------------------------------------------------------------------------------------


def cost(made, simulator: Simulator, peer: twin.Peer | None, n: int = 512) -> list[list[object]]:
    """Rows: what was trained on and for how long, and ms a spectrum of one batch, of either side in turn."""
    setting, seen, _ = twin.of_sdss(simulator).once(SEED + 6, 0, n)
    network, pixels, systematics = made.trained.network, seen.pixels, made.recipe.systematics

    @eqx.filter_jit
    def decode(network, basis: Array, latents: Array) -> Array:
        return jax.vmap(network.decode)(latents) @ basis.T

    encode = eqx.filter_jit(lambda network, read: jax.vmap(network.encode)(read))
    latents = encode(network, seen.read)
    described_ms = timed(lambda: described(network, pixels.flux, pixels.ivar, setting.basis, setting.errors, systematics)) / n
    encode_ms = timed(lambda: encode(network, seen.read)) / n
    correct_ms = timed(lambda: corrected(made.trained, seen.read, seen.statistics)) / n
    decode_ms = timed(lambda: decode(network, setting.basis, latents)) / n
    minutes, spectra = made.card["training_seconds"] / 60, 2 * made.card["simulations"]
    rows = [["slipher", f"{minutes:.0f}", f"{spectra:,}", f"{described_ms + encode_ms:.2f}", f"{correct_ms:.2f}", f"{decode_ms:.3f}"]]
    if peer is None:
        return [*rows, ["spender", "not installed", "", "", "", ""]]
    answer = peer.ask(twin.of_chunk(seen, setting))
    seen_by_it = f"{peer.card['spectra']:,}, {peer.card['seen'] / peer.card['spectra']:.1f} times"
    return [*rows, ["spender", f"{peer.card['minutes']:.0f}", seen_by_it, f"{answer.encode_ms:.2f}", "", f"{answer.decode_ms:.3f}"]]


def timed(work: Callable, times: int = 3) -> float:
    """Best of so many, ms, once compiled."""
    jax.block_until_ready(work())
    best = np.inf
    for _ in range(times):
        began = time.perf_counter()
        jax.block_until_ready(work())
        best = min(best, time.perf_counter() - began)
    return 1e3 * best


# --- physics ----------------------------------------------------------------------------------------------------------


def truths(made, truth: Truth) -> dict[str, np.ndarray]:
    """Physical quantities of galaxies by name."""
    found = _truths(made.recipe.preset, truth.u, truth.t_universe_gyr, made.library)
    return {name: np.asarray(found[name], np.float64) for name in PHYSICS}


@eqx.filter_jit
def _truths(model: galaxy.GalaxyModel, u: Array, t_universe_gyr: Array, library) -> dict[str, Array]:
    def one(some) -> dict[str, Array]:
        values = model.complete(parameters.from_normal(model.parameters[:-1], some[0]))
        parts = galaxy.ingredients(model, values, some[1], library)
        return {**values, **derived.stellar(parts, some[1], jnp.float32(10.0), library)}

    return jax.lax.map(one, (u, t_universe_gyr), batch_size=BATCH)


def physics(made, simulator: Simulator, n: int) -> list[list[object]]:
    """Rows: R^2 of each quantity from the latents of spectra of S/N above 10, linear and by a network, on held-back galaxies."""
    some = with_sn(simulator, 10.0, 80.0)
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
        network = make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=600, early_stopping=True, random_state=0)
        )
        curved = network.fit(x[:half], y[:half] / scale).score(x[half:], y[half:] / scale)
        rows.append([label, f"{linear:.2f}", f"{curved:.2f}"])
    classifier = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(64,), max_iter=600, early_stopping=True, random_state=0))
    classifier.fit(x[:half], kind[:half])
    right = classifier.predict(x[half:]) == kind[half:]
    shares = ", ".join(f"{name} {np.mean(right[kind[half:] == i]):.2f}" for i, name in enumerate(CLASSES) if (kind[half:] == i).any())
    rows.append(["nucleus (accuracy)", "", shares])
    return rows


# --- the page ---------------------------------------------------------------------------------------------------------


def own_text(made, simulator: Simulator, n: int) -> list[str]:
    """slipher alone."""
    network = made.trained.network
    head = ["S/N", "spectra", "whole basis", "encoder", "corrected", "with remainder", f"mean + {network.n_latent} components"]
    return [
        f"{network.n_latent} latents, {made.card['simulations']:,} galaxies seen twice, {made.card['training_seconds'] / 60:.0f} minutes "
        "of training. chi^2 a pixel of fresh mocks, medians; calibration and sky marginalised, a floor of 1 % in the errors. "
        "Corrected latents are the likeliest with the remainder free, not those of the least chi^2 without:",
        markdown_table(head, reconstruction(made, simulator, n)),
        "R^2 of physical quantities from latents of spectra with S/N 10-80, on held-back galaxies:",
        markdown_table(["quantity", "linear", "small network"], physics(made, simulator, 2 * n)),
    ]


def text_beside(made, name: str, simulator: Simulator, n: int, peer: twin.Peer | None) -> list[str]:
    """Beside the peer."""
    here = peer is not None
    sn, found = compare(made, simulator, n, peer)
    models = ["encoder", "corrected", "spender"]
    two = [*models, *(f"{x}, calibrated" for x in models)]
    text = [
        "Beside spender, on mocks of SDSS and the same pixels: chi^2 a pixel, medians; about the data as they are, and with the likeliest "
        "calibration and sky and the floor for either:",
        markdown_table(["S/N", "spectra", *two], compared_by_sn(sn, found, here)),
        f"By rest wavelength, S/N above {BRIGHT:g}: mean |residual| in sigma (noise alone: 0.80) and |mean residual| over the flux in per "
        "cent, of each spectrum; medians. As the data are, with what the mocks hold of wrong calibration:",
        markdown_table(["A, rest", "spectra", *(f"{x}, sigma" for x in models), *(f"{x}, %" for x in models)],
                       compared_by_wavelength(sn, found, here)),
        "Scatter of a galaxy's latents over ten observations, over the population's (whitened latents: median and worst):",
        markdown_table(["surveys", "S/N", "latents", "all together", "median latent", "worst latent"],
                       invariance(made, simulator, max(n // 10 // BATCH, 1) * BATCH, peer)),
        "What it takes, in batches on two threads; slipher's encoding begins at the pixels, and its correction is beside it:",
        markdown_table(["", "training, minutes", "spectra", "encode, ms", "correct, ms", "decode, ms"], cost(made, simulator, peer)),
    ]  # fmt: skip
    if REAL.is_dir():
        text.append("Real spectra of SDSS and BOSS; chi^2 a pixel, and slipher's false-alarm rate:")
        text.append(markdown_table(["spectrum", "z", "S/N", *two, "rate"], real(made, name, peer)))
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="spectrum_latents")
    parser.add_argument("--galaxies", type=int, default=2048)
    parser.add_argument("--peer-python", help="interpreter of an environment with spender and torch (see spender_twin)")
    parser.add_argument("--peer", type=Path, default=Path("runs/spender"), help="folder of the trained peer")
    parser.add_argument("--peer-minutes", type=float, help="train the peer first, for so long")
    parser.add_argument("--peer-spectra", type=int, default=40_000)
    parser.add_argument("--dry-run", action="store_true", help="print, do not write README.md")
    options = parser.parse_args()
    here, made = machine("slipher", "jax", "scikit-learn"), shipped.load(options.model)
    simulator = simulator_of(made)
    if options.peer_python and options.peer_minutes:
        latents = made.trained.network.n_latent
        twin.trained(options.peer_python, options.peer, simulator, latents, options.peer_minutes, options.peer_spectra)
    text = ["## Latents of spectra", f"`python benchmarks/latents.py --galaxies {options.galaxies}`. {here}"]
    text += own_text(made, simulator, options.galaxies)
    with twin.opened(options.peer_python, options.peer) as peer:
        if peer is not None:
            text[1] += f" spender {peer.card['spender']}, torch {peer.card['torch']}."
        text += text_beside(made, options.model, simulator, options.galaxies, peer)
    print("\n\n".join(text))
    if not options.dry_run:
        write_section("latents", "\n\n".join(text))


if __name__ == "__main__":
    main()
