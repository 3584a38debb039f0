"""SEDflow's task: `python benchmarks/sedflow.py [--mocks 1000] [--galaxies 34000] [--twins 3] [--model provabgs]`.

SDSS ugriz with errors, redshift known and below 0.2, the `provabgs` preset (Hahn & Melchior 2022, ApJ 938, 11). Are the network's
posteriors calibrated; what does a galaxy cost at 10,000 samples, beside NUTS and nested sampling of the exact likelihood on the same
galaxies; and is every galaxy of a large catalogue answered or flagged, those of the two kinds that SEDflow had to leave to MCMC among
them: noise beyond the training's, and colours bluer than the model's. Half an hour.
"""

import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from masses import answers
from tables import machine, markdown_table, write_section

import slipher
from slipher.data.photometry_checks import catalogue_from_arrays
from slipher.inference import methods
from slipher.instrument import imaging, photometer
from slipher.instrument.photometer import LOG_MASS_UNIT
from slipher.models import answer, band_mocks, calibration, photometry, shipped
from slipher.physics import cosmology, parameters, sed

SEED = 11
BANDS = tuple(f"sdss2010-{band}" for band in "ugriz")
BRIGHT, FAINT = 14.0, 17.77  # of r, as the main galaxy sample of SDSS
LEAST_ERROR = 0.015  # of the flux: what the atlas's errors do not fall below
CLASSES = {"as trained": 0.96, "noise 20 times larger": 0.01, "noise 20 times smaller": 0.01, "u and g brighter by 1 mag": 0.02}


def calibrated(model: str, n: int) -> str:
    """One row a parameter: KS, the largest distance of the p-p curve from the diagonal, coverage; TARP below."""
    run = calibration.collect(model, n=n, seed=SEED, refined=False)
    found = calibration.report(run)
    truth, draws = np.array(run.truth), np.array(run.draws)
    rank = np.sort(np.mean(draws < truth[:, None], axis=1), axis=0)
    expected = (np.arange(n) + 0.5) / n
    rows = []
    for i, name in enumerate(found.parameters):
        covered = [next(c.coverage for c in found.coverage if c.parameter == name and c.level == level and not c.covariate)
                   for level in (0.68, 0.95)]  # fmt: skip
        rows.append([name, f"{found.ks_pvalues[i]:.3f}", f"{np.abs(rank[:, i] - expected).max():.3f}", *(f"{c:.3f}" for c in covered)])
    table = markdown_table(["parameter", "KS p (SBC)", "p-p: largest distance", "in 68 %", "in 95 %"], rows)
    verdict = "passes" if found.passes else "; ".join(found.failures())
    return f"{table}\n\n{n} mocks; TARP p = {found.tarp.pvalue:.3f}. At 1 % (Bonferroni within each family): {verdict}."


def timed(call) -> tuple[float, object]:
    """Seconds, and what came."""
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found


def costs(model: str, twins: int) -> str:
    """Seconds a galaxy, and how far medians and widths of the ways to draw lie from those of nested sampling."""
    made = shipped.load(model)
    mocks = [mock for mock, _ in band_mocks.mocks(64, made, seed=SEED, known_redshift=True) if (mock.ivar > 0).sum() == len(BANDS)]
    slipher.fit(mocks[0], model=model, samples=10_000, refine=False)
    seconds = [timed(partial(slipher.fit, mock, model=model, samples=10_000, refine=False))[0] for mock in mocks[1:21]]
    slipher.fit(mocks[0], model=model, samples=10_000)
    exact = [timed(partial(slipher.fit, mock, model=model, samples=10_000)) for mock in mocks[1:21]]
    held = np.mean([posterior.status == "refined" for _, posterior in exact])
    print(f"10,000 samples: {np.median(seconds):.2f} s, refined {np.median([s for s, _ in exact]):.2f} s", flush=True)
    rows = [
        ["SEDflow (its paper)", "1", "10,000", "", "", ""],
        ["slipher.fit, network alone", f"{np.median(seconds):.2f}", "10,000", "20 galaxies, one by one", "", ""],
        ["slipher.fit, refined", f"{np.median([s for s, _ in exact]):.2f}", "10,000", f"20 galaxies, {held:.0%} held", "", ""],
    ]
    drawn: dict[str, list] = {name: [] for name in ("amortised", "refined", "nuts", "nested")}
    for mock in mocks[1 : 1 + twins]:
        data = photometry.observe(mock, made)
        target, warp = photometry.target(data, made), photometry.warp(data, made)
        for name in drawn:
            drawn[name].append(timed(partial(methods.draw, name, answer.rng_of(SEED, mock.id), target, warp, 4000)))
            print(f"{mock.id}: {name} {drawn[name][-1][0]:.0f} s", flush=True)
    for name, runs in drawn.items():
        median = [np.median(r.u, 0) for _, r in runs]
        width = [r.u.std(0) for _, r in runs]
        beside = drawn["nested"]
        shift = max(np.abs((m - np.median(r.u, 0)) / r.u.std(0)).max() for m, (_, r) in zip(median, beside, strict=True))
        ratio = [w / r.u.std(0) for w, (_, r) in zip(width, beside, strict=True)]
        rows.append([
            f"{name}, draws of u alone", f"{np.median([s for s, _ in runs]):.1f}", "4,000", f"{twins} galaxies, compilation in the first",
            f"{shift:.2f}", f"{np.min(ratio):.2f}-{np.max(ratio):.2f}",
        ])  # fmt: skip
    return markdown_table(["way", "s a galaxy", "samples", "of", "largest shift of a median / sd", "widths / nested's"], rows)


def catalogue_of(model: str, n: int) -> tuple[slipher.Catalogue, np.ndarray]:
    """Galaxies of the preset at the redshifts and magnitudes of the NASA-Sloan Atlas, and which class each is of."""
    made, rng = shipped.load(model), np.random.default_rng(SEED)
    assumed, camera = made.recipe.assumed, photometer.photometer(BANDS)
    depth = imaging.BAND_SETS["sdss"].depth
    sky = np.array([10 ** (-0.4 * (depth[band] - 22.5)) / 5.0 for band in BANDS])

    @jax.jit
    def unit(key, redshift):
        u = jax.random.normal(key, (len(assumed.model.parameters) - 1,))
        values = parameters.from_normal(assumed.model.parameters[:-1], u)
        light = sed.sed(assumed.model, values, cosmology.age_gyr(redshift), made.library)
        return photometer.observe(camera, light, redshift, jnp.float32(0.0), made.library)

    redshift = rng.uniform(0.005, 0.2, n).astype(np.float32)
    keys = jax.random.split(jax.random.key(SEED), n)
    light = np.asarray(jax.lax.map(lambda both: unit(*both), (keys, jnp.asarray(redshift)), batch_size=25), np.float64)
    count = rng.random(n)
    r = FAINT + np.log10(count * (1 - 10 ** (0.6 * (BRIGHT - FAINT))) + 10 ** (0.6 * (BRIGHT - FAINT))) / 0.6
    flux = light * (10 ** (-0.4 * (r - 22.5)) / light[:, 2])[:, None]
    low, high = assumed.model.parameters[-1].prior.low, assumed.model.parameters[-1].prior.high
    log_mass = LOG_MASS_UNIT + np.log10(flux[:, 2] / light[:, 2])
    flux *= 10 ** (np.clip(log_mass, low + 0.01, high - 0.01) - log_mass)[:, None]
    sigma = np.hypot(sky, LEAST_ERROR * flux)
    names = list(CLASSES)
    of = rng.choice(len(names), n, p=list(CLASSES.values()))
    sigma *= np.select([of == 1, of == 2], [20.0, 0.05], 1.0)[:, None]
    flux[:, :2] *= np.where(of == 3, 10**0.4, 1.0)[:, None]
    made_of = catalogue_from_arrays(
        flux + sigma * rng.standard_normal(flux.shape), sigma, bands=BANDS, unit="nanomaggy", redshift=redshift.astype(float),
        ebv=np.zeros(n), id=np.arange(n).astype(str),
    )  # fmt: skip
    return made_of, np.array(names)[of]


def answered(model: str, n: int) -> str:
    """Of each class: galaxies, those with a whole posterior, those flagged, those with neither."""
    catalogue, kind = catalogue_of(model, n)
    answers(catalogue[:64], model=model, samples=100)
    seconds, found = timed(partial(answers, catalogue, model=model, samples=100))
    whole = np.isfinite(found["log_mstar"]) & np.isfinite(found["log_mstar_p16"]) & np.isfinite(found["log_mstar_p84"])
    flagged = (found["flags"] & int(slipher.errors.Flag.NOVEL | slipher.errors.Flag.POOR_FIT | slipher.errors.Flag.LOW_SN
                                    | slipher.errors.Flag.HIGH_SN)) > 0  # fmt: skip
    rows = []
    for name in [*CLASSES, "all"]:
        here = (kind == name) | (name == "all")
        rows.append([
            name, int(here.sum()), f"{whole[here].mean():.2%}", f"{flagged[here].mean():.1%}", int((~whole & ~flagged)[here].sum()),
            f"{np.median(found['chi2_per_band'][here]):.2f}",
        ])  # fmt: skip
    table = markdown_table(["galaxies", "number", "with a posterior", "flagged", "with neither", "chi2 a band, median"], rows)
    return f"{table}\n\n{n:,} galaxies of 100 samples in {seconds:.0f} s: {n / seconds:.0f} galaxies a second."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mocks", type=int, default=1000)
    parser.add_argument("--galaxies", type=int, default=34_000)
    parser.add_argument("--twins", type=int, default=3)
    parser.add_argument("--model", default="provabgs")
    options = parser.parse_args()
    here = machine("slipher", "jax", "blackjax")
    made = shipped.load(options.model)
    text = ["## SEDflow's task", f"`python benchmarks/sedflow.py`. {here}"]
    text.append(
        f"{made.card['simulations']:,} simulations, {made.card['training_seconds'] / 60:.0f} minutes of training (SEDflow: 1,131,561, "
        "about a day). Posteriors of the network alone, every parameter and the mass:"
    )
    text += [calibrated(options.model, options.mocks), "What a galaxy costs:", costs(options.model, options.twins)]
    text += ["A catalogue such as the NASA-Sloan Atlas, simulated (r 14-17.77):", answered(options.model, options.galaxies)]
    write_section("sedflow", "\n\n".join(text))


if __name__ == "__main__":
    main()
