"""The exercise of DIGS (Khullar et al. 2022, arXiv:2211.09126), done by slipher: `python benchmarks/digs.py`.

Five parameters of noisy rest-frame spectra by a network that sees nothing else: correlation of posterior medians with the
truth, widths, coverage and times, beside the figures of their paper. As they chose them, mocks have every true parameter
between the 16th and 84th percentile of its prior. An exact posterior covers its truth more often than it says on mocks chosen
so; coverage is therefore counted on mocks of the whole prior, by the same network.

Beside the network's posterior stands the exact one. Errors are normal in the logarithm of the flux, so that with
y = ln(data / model of one solar mass) the mass is marginalised by hand,

    log p(data | u) = -sum (y - mean(y))^2 / (2 s^2) + constant,   ln M | u ~ N(mean(y), s^2 / pixels),

and the draws are weighted by p(u | data) / q(u | data). Its twin, which no network enters, weights draws from the prior; it
also says what the same likelihood allows with the settings of the script that the authors published: other points, Calzetti's
dust, gas of solar metallicity. Two or three minutes in all.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from tables import machine, markdown_table, write_section

from slipher.inference import importance
from slipher.instrument import simulate, surveys
from slipher.instrument.surveys import Survey
from slipher.models import shipped, training_set
from slipher.models.shipped import Shipped
from slipher.models.training_set import Setting
from slipher.physics import cosmology, parameters
from slipher.physics.galaxy import GalaxyModel

SEED = 11
NAMES = ("log_mstar_formed", "log_zstar", "age_start_gyr", "log_tau", "a_v")
LABELS = ("log M", "log Z", "age", "log tau", "dust")
DIGS_R = (0.999, 0.953, 0.807, 0.824, 0.961)
DIGS_WIDTH = ("0.17 (one galaxy)", "0.26 (one galaxy)", "", "", "")
CENTRAL = (0.16, 0.84)
BLOCK = 4096  # galaxies of one compiled call
BATCH = 100
PUBLISHED = (3060.0, 9910.0)  # A: the ends of the 138 points of the published script


class Mocks(NamedTuple):
    """Spectra as ln(flux), true values [mock, parameter] in the order of NAMES, and true u without the mass."""

    log_flux: np.ndarray
    truth: np.ndarray
    u: np.ndarray
    central: np.ndarray


class Drawn(NamedTuple):
    """The network's draws: u [mock, draw, parameter], log M and log q(u) [mock, draw]; seconds a galaxy in batches and alone."""

    u: np.ndarray
    log_mass: np.ndarray
    log_q: np.ndarray
    seconds: tuple[float, float]


class Posteriors(NamedTuple):
    """Draws [mock, draw, parameter] in the order of NAMES, and their weights [mock, draw]."""

    draws: np.ndarray
    weight: np.ndarray


def setting_of(made: Shipped, survey: Survey) -> Setting:
    """What all spectra share: points, resolution, law of the errors."""
    population, rng = made.recipe.population, np.random.default_rng(SEED)
    return training_set.setting_of(rng, survey, population.redshift[0], population, made.library, made.trained.projection.basis)


def log_model(made: Shipped, preset: GalaxyModel, setting: Setting, u: np.ndarray) -> np.ndarray:
    """ln of the noise-free spectra [galaxy, pixel] of one solar mass at points of u-space."""
    t_universe, everywhere = cosmology.age_gyr(setting.redshift), jnp.ones_like(setting.view.wave_aa)

    @eqx.filter_jit
    def block(u, view, library):
        def one(point):
            values = parameters.from_normal(preset.parameters[:-1], point)
            key = jax.random.key(0)  # draws the systematics, all of amplitude zero
            light = simulate.light(key, preset, values, t_universe, view, library, made.recipe.systematics, everywhere)
            return jnp.log(light.flux)

        return jax.vmap(one)(u)

    padded = np.pad(u, ((0, -len(u) % BLOCK), (0, 0))).astype(np.float32)
    parts = [np.asarray(block(padded[i : i + BLOCK], setting.view, made.library)) for i in range(0, len(padded), BLOCK)]
    return np.concatenate(parts)[: len(u)]


def values_of(preset: GalaxyModel, u: np.ndarray, log_mass: np.ndarray) -> np.ndarray:
    """Physical values [..., parameter] in the order of NAMES."""
    values = parameters.from_normal(preset.parameters[:-1], jnp.moveaxis(jnp.asarray(u, jnp.float32), -1, 0))
    return np.stack([log_mass if name == NAMES[0] else np.asarray(values[name], float) for name in NAMES], -1)


def draw_mocks(made: Shipped, preset: GalaxyModel, setting: Setting, n: int, seed: int) -> Mocks:
    """Mocks of the whole prior, and which of them have all truths between its 16th and 84th percentile."""
    rng = np.random.default_rng(seed)
    prior = preset.parameters[-1].prior
    u, place = rng.normal(size=(n, len(preset.parameters) - 1)), rng.uniform(size=n)
    log_mass = prior.low + (prior.high - prior.low) * place
    noise = np.log1p(float(setting.fraction)) * rng.normal(size=(n, len(setting.view.wave_aa)))
    log_flux = log_model(made, preset, setting, u) + np.log(10.0) * log_mass[:, None] + noise
    low, high = (float(ndtri(q)) for q in CENTRAL)
    central = np.all((u > low) & (u < high), 1) & (place > CENTRAL[0]) & (place < CENTRAL[1])
    return Mocks(log_flux, values_of(preset, u, log_mass), u, central)


def amortised(made: Shipped, setting: Setting, n_draws: int):
    """A function of (key, ln flux) -> draws of u, of log M and log q(u), for one galaxy."""
    unit = np.log(1e10)  # keeps errors squared within float32

    def one(key, log_flux, setting, trained):
        flux = jnp.exp(log_flux - unit)
        nothing = jnp.zeros((1,))
        seen = training_set.Observed(flux[None], (setting.fraction * flux[None]) ** -2, nothing, setting.redshift[None], nothing)
        found = training_set.describe(seen, setting, trained.projection)
        u, relative, log_q = trained.network.sample(key, trained.network.context(found.features[0]), n_draws)
        return u, relative - found.log_mass[0] + unit / np.log(10.0), log_q

    return one


def answer(made: Shipped, setting: Setting, mocks: Mocks, n_draws: int) -> Drawn:
    """The network's draws for all mocks, timed once compiled."""
    one = amortised(made, setting, n_draws)
    batch, single = eqx.filter_jit(jax.vmap(one, (0, 0, None, None))), eqx.filter_jit(one)
    keys = jax.random.split(jax.random.key(SEED), len(mocks.u))
    spectra = jnp.asarray(mocks.log_flux, jnp.float32)
    wrapped = np.resize(np.arange(len(mocks.u)), -(-len(mocks.u) // BATCH) * BATCH).reshape(-1, BATCH)
    jax.block_until_ready(batch(keys[wrapped[0]], spectra[wrapped[0]], setting, made.trained))
    began = time.perf_counter()
    parts = [jax.block_until_ready(batch(keys[i], spectra[i], setting, made.trained)) for i in wrapped]
    in_batch = (time.perf_counter() - began) / wrapped.size
    jax.block_until_ready(single(keys[0], spectra[0], setting, made.trained))
    began = time.perf_counter()
    for i in range(50):
        jax.block_until_ready(single(keys[i], spectra[i], setting, made.trained))
    alone = (time.perf_counter() - began) / 50
    u, log_mass, log_q = (np.concatenate([np.asarray(p[j], np.float64) for p in parts])[: len(mocks.u)] for j in range(3))
    return Drawn(u, log_mass, log_q, (in_batch, alone))


def exact(made: Shipped, setting: Setting, mocks: Mocks, found: Drawn) -> tuple[Posteriors, np.ndarray, np.ndarray]:
    """The network's draws weighted by the exact likelihood; effective number of draws and Pareto k of each mock."""
    rng, s = np.random.default_rng(SEED), np.log1p(float(setting.fraction))
    preset = made.recipe.preset
    draws, weights, sizes, shapes = [], [], [], []
    models = log_model(made, preset, setting, found.u.reshape(-1, found.u.shape[-1])).reshape(*found.log_q.shape, -1)
    for y, point, density in zip(mocks.log_flux[:, None] - models, found.u, found.log_q, strict=True):
        mean = y.mean(-1)
        log_p = -0.5 * np.sum((y - mean[:, None]) ** 2, -1) / s**2 - 0.5 * np.sum(point**2, -1)
        log_w, k = importance.pareto_smooth(log_p - density)
        ln_mass = mean + s / np.sqrt(y.shape[-1]) * rng.normal(size=len(mean))
        draws.append(values_of(preset, point, ln_mass / np.log(10.0)))
        weights.append(np.exp(log_w))
        sizes.append(importance.effective_sample_size(log_w))
        shapes.append(k)
    return Posteriors(np.stack(draws), np.stack(weights)), np.array(sizes), np.array(shapes)


class PriorDraws(NamedTuple):
    """Draws from the prior: values [draw, parameter] for a mass of one, and ln of their spectra [draw, pixel] about its mean."""

    values: np.ndarray
    shape: np.ndarray
    level: np.ndarray
    half_square: np.ndarray


def draw_prior(made: Shipped, preset: GalaxyModel, setting: Setting, n: int) -> PriorDraws:
    """n draws from a preset's prior."""
    u = np.random.default_rng(SEED + 1).normal(size=(n, len(preset.parameters) - 1)).astype(np.float32)
    model = log_model(made, preset, setting, u)
    level = model.mean(1)
    model -= level[:, None]
    return PriorDraws(values_of(preset, u, np.zeros(n)), model, level, 0.5 * np.sum(model**2, 1))


def from_prior(drawn: PriorDraws, mocks: Mocks, s: float) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles (16, 50, 84 %) [mock, parameter, 3] of the exact posterior by draws from the prior, and their effective number."""
    rng = np.random.default_rng(SEED)
    quantiles, sizes = [], []
    for data in mocks.log_flux:
        log_w = (drawn.shape @ (data - data.mean()).astype(np.float32) - drawn.half_square) / s**2
        log_w -= log_w.max()
        some = log_w > -18.0
        weight = np.exp(log_w[some])
        weight /= weight.sum()
        values = drawn.values[some]
        values[:, 0] = (data.mean() - drawn.level[some] + s / np.sqrt(len(data)) * rng.normal(size=some.sum())) / np.log(10.0)
        quantiles.append([weighted_quantiles(x, weight, (0.16, 0.5, 0.84)) for x in values.T])
        sizes.append(1.0 / np.sum(weight**2))
    return np.array(quantiles), np.array(sizes)


def weighted_quantiles(x: np.ndarray, weight: np.ndarray, q: tuple[float, ...]) -> np.ndarray:
    """Quantiles of weighted draws."""
    order = np.argsort(x)
    below = np.cumsum(weight[order]) - 0.5 * weight[order]
    return np.interp(q, below, x[order])


def summarise(found: Posteriors, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Medians and half widths [mock, parameter], and the share of truths inside central 68 and 95 % [parameter]."""
    levels = (0.025, 0.16, 0.5, 0.84, 0.975)
    q = np.array([[weighted_quantiles(x, w, levels) for x in d.T] for d, w in zip(found.draws, found.weight, strict=True)])
    return {
        "median": q[..., 2],
        "width": 0.5 * (q[..., 3] - q[..., 1]),
        "68": np.mean((truth > q[..., 1]) & (truth < q[..., 3]), 0),
        "95": np.mean((truth > q[..., 0]) & (truth < q[..., 4]), 0),
    }


def correlations(median: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pearson r of each parameter."""
    return np.array([np.corrcoef(median[:, i], truth[:, i])[0, 1] for i in range(truth.shape[1])])


def below(r: np.ndarray) -> str:
    """The parameters whose r does not exceed DIGS'."""
    return ", ".join(label for label, ours, theirs in zip(LABELS, r, DIGS_R, strict=True) if ours <= theirs) or "none"


def take(mocks: Mocks, n: int) -> Mocks:
    """The first n of the mocks chosen as DIGS did."""
    index = np.flatnonzero(mocks.central)[:n]
    return Mocks(*(np.asarray(x)[index] for x in mocks))


def published(made: Shipped) -> tuple[GalaxyModel, Survey]:
    """The settings of the authors' script where they differ from ours: its points, Calzetti's dust, gas of solar metallicity."""
    preset = made.recipe.preset
    fixed = {**preset.fixed, "log_zgas": 0.0}
    script = dataclasses.replace(preset, name="digs-script", diffuse_curve="calzetti", diffuse_shape={}, fixed=fixed, tied={})
    return script, dataclasses.replace(surveys.survey("digs"), wave_range_aa=PUBLISHED)


def bounds(made: Shipped, n_mocks: int, n_prior: int) -> list[list[str]]:
    """Rows: r of the exact posterior by draws from the prior, for our settings and those of the published script."""
    script, survey = published(made)
    cases = (
        ("this exercise", made.recipe.preset, setting_of(made, surveys.survey("digs"))),
        ("points, dust and gas of the published script", script, setting_of(made, survey)),
    )
    rows = []
    for name, preset, setting in cases:
        drawn, s = draw_prior(made, preset, setting, n_prior), np.log1p(float(setting.fraction))
        everything = draw_mocks(made, preset, setting, 8 * n_mocks, SEED + 2)
        for chosen, mocks in (("central", take(everything, n_mocks)), ("whole prior", Mocks(*(x[:n_mocks] for x in everything)))):
            quantiles, size = from_prior(drawn, mocks, s)
            r = correlations(quantiles[..., 1], mocks.truth)
            width = 0.5 * np.median(quantiles[..., 2] - quantiles[..., 0], 0)
            rows.append([name, chosen, *(f"{x:.3f}" for x in r), *(f"{x:.3f}" for x in width[:2]), f"{np.median(size):.0f}"])
    return rows


def figure(path: Path, median: np.ndarray, truth: np.ndarray) -> None:
    """Truth against median, for the eye."""
    from matplotlib.figure import Figure

    made = Figure((15, 3.2), layout="constrained")
    for i, axis in enumerate(made.subplots(1, len(LABELS))):
        axis.plot(truth[:, i], median[:, i], ".", ms=2)
        ends = [truth[:, i].min(), truth[:, i].max()]
        axis.plot(ends, ends, "k", lw=0.7)
        axis.set(xlabel=f"true {LABELS[i]}", ylabel="posterior median" if i == 0 else "")
    made.savefig(path, dpi=110)


def section(model: str, n_mocks: int, n_draws: int, n_prior: int, picture: Path | None) -> str:
    """The section of README.md."""
    facts = machine("slipher", "jax")
    made = shipped.load(model)
    setting = setting_of(made, surveys.survey("digs"))
    mocks = draw_mocks(made, made.recipe.preset, setting, 8 * n_mocks, SEED)
    runs = {"central": take(mocks, n_mocks), "prior": Mocks(*(x[:n_mocks] for x in mocks))}
    table, notes = {}, {}
    for name, chosen in runs.items():
        found = answer(made, setting, chosen, n_draws)
        truth = chosen.truth
        network = Posteriors(values_of(made.recipe.preset, found.u, found.log_mass), np.full(found.log_q.shape, 1.0 / n_draws))
        weighted, size, k = exact(made, setting, chosen, found)
        table[name] = (summarise(network, truth), summarise(weighted, truth), truth)
        notes[name] = (found.seconds, size, k)
    ours, best, truth = table["central"]
    if picture is not None:
        figure(picture, ours["median"], truth)
    r_ours, r_best, r_prior = (correlations(x["median"], t) for x, t in ((ours, truth), (best, truth), table["prior"][::2]))
    rows = [
        [
            label, DIGS_R[i], f"{r_ours[i]:.4f}", f"{r_best[i]:.4f}", f"{r_prior[i]:.4f}", DIGS_WIDTH[i],
            f"{np.median(ours['width'][:, i]):.3f}", f"{np.median(best['width'][:, i]):.3f}",
            *(f"{100 * table['prior'][which][level][i]:.1f}" for level in ("68", "95") for which in (0, 1)),
        ]
        for i, label in enumerate(LABELS)
    ]  # fmt: skip
    (in_batch, alone), size, k = notes["central"]
    minutes = made.card["training_seconds"] / 60.0
    error = (1.0 - r_best**2) / np.sqrt(len(truth))
    header = [
        "parameter", "r, DIGS", "r, network", "r, exact", "r, network, whole prior", "half width, DIGS", "half width, network",
        "half width, exact", "68 %: network", "68 %: exact", "95 %: network", "95 %: exact",
    ]  # fmt: skip
    text = [
        "## DIGS' own exercise",
        "",
        f"`python benchmarks/digs.py`: {len(truth)} mocks, truths between the 16th and 84th percentile of each prior (coverage, in per"
        f" cent, and one column of r: {len(table['prior'][2])} mocks of the whole prior), {n_draws} draws each. {facts}",
        "",
        markdown_table(header, rows),
        "",
        f"Below DIGS' r: network {below(r_ours)}; exact posterior {below(r_best)}."
        f" The mocks leave r uncertain by {error[2]:.3f} for the age, {error[3]:.3f} for log tau and {error[4]:.3f} for the dust."
        f" Half widths of 68 %, medians over the mocks: dex for log M, log Z and log tau, Gyr for the age, magnitudes for the dust. Exact:"
        f" the network's draws weighted by the exact likelihood; effective draws {np.median(size):.0f} of {n_draws} in the median,"
        f" {np.quantile(size, 0.05):.0f} at the 5th percentile, Pareto k below 0.7 for {100 * np.mean(k < 0.7):.1f} % of the mocks.",
        "",
        markdown_table(
            ["", "DIGS", "slipher"],
            [
                ["simulations", "2,000,000 noisy copies of 10,000", f"{made.card['simulations']:,}, each new"],
                ["training", "14 CPU h", f"{minutes:.1f} min of wall time (card)"],
                ["seconds a galaxy, in a batch", "", f"{in_batch:.5f}"],
                ["seconds a galaxy, alone", "0.3", f"{alone:.4f}"],
            ],
        ),
        "",
        f"What the likelihood allows, without any network: r of the medians of {n_prior:,} draws from the prior, weighted; half widths in"
        " dex. The script that DIGS' authors published has points from 3060 to 9910 A, Calzetti's dust and gas of solar metallicity.",
        "",
        markdown_table(
            ["settings", "truths", *(f"r, {x}" for x in LABELS), "width, log M", "width, log Z", "effective draws"],
            bounds(made, n_mocks, n_prior),
        ),
    ]
    return "\n".join(text)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="digs", help="a model's name or folder")
    parser.add_argument("--mocks", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--prior-draws", type=int, default=500_000)
    parser.add_argument("--figure", type=Path, help="where to put a figure of truth against median")
    parser.add_argument("--dry-run", action="store_true", help="print, do not write README.md")
    options = parser.parse_args()
    markdown = section(options.model, options.mocks, options.draws, options.prior_draws, options.figure)
    print(markdown)
    if not options.dry_run:
        write_section("digs", markdown)


if __name__ == "__main__":
    main()
