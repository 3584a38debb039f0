"""slipher's side of `blends`: `python benchmarks/blend_fits.py FOLDER... [--again] [--blind] [--nuts]`, each `blend.npz` to `slipher.npz`.

A process of its own, as the peer's is (`scarlet2_twin`), so that times and memory are its own. Positions are given, as they are to the
peer; which sources are stars is not. What slipher's own detection finds is kept beside, and with `--blind` what a second fit, one that is
given no positions and looks again at what is left over, has for sources in the end. `--again` fits once more when all is compiled.

`--nuts` samples the first source's fluxes and place with all else held, in as many draws as the peer's single chain has after as long a
warm-up, but of four chains that warm up each, for one chain cannot show that it has converged. As all else is held, its image is taken off
once, and not drawn with every step.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import resource
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

BLEND, ANSWER = "blend.npz", "slipher.npz"
SAID = ("cold_s", "cold_fit_s", "whole_s", "fit_s", "all_cpu_s", "chi2", "nuts_ess", "nuts_rhat", "nuts_cold_s", "nuts_warm_s", "memory_mb")
CHAINS, WARM_UP, DRAWS = 4, 100, 1000  # draws of all chains together


def fitted(blend: dict[str, np.ndarray], *, again: bool = False, blind: bool = False, nuts: bool = False) -> dict[str, object]:
    """What is told of a blend."""
    from slipher.data.detections import Detections
    from slipher.data.image import cutout
    from slipher.errors import Flag
    from slipher.scene.deblend import deblend

    began, cpu = time.perf_counter(), time.process_time()
    image = cutout(blend["images"], variance=blend["variance"], psf=blend["psfs"], bands=[str(band) for band in blend["bands"]])
    ids = tuple(str(i) for i in range(len(blend["position"])))
    given = Detections(ids, np.asarray(blend["position"], np.float64))
    told: dict[str, object] = {}
    if again:
        told["cold_fit_s"], _ = _fit_alone(image, given.position)
    found = deblend(image, given)
    told |= {"cold_s": time.perf_counter() - began, "all_cpu_s": time.process_time() - cpu}
    if again:
        began = time.perf_counter()
        deblend(image, given)
        told["whole_s"] = time.perf_counter() - began
        told["fit_s"], told["fit_cpu_s"] = _fit_alone(image, given.position)
        # What has been fitted twice before all was told.
        told["cold_s"], told["all_cpu_s"] = told["cold_s"] - told["fit_s"], told["all_cpu_s"] - told["fit_cpu_s"]
    table = {name: np.asarray(found.table[name]) for name in found.table.colnames if name not in ("id", "flags")}
    told |= {
        "chi2": found.chi2_per_pixel, "converged": found.converged, "sources": found.views[0].sources, "model": found.views[0].model,
        "blended": (np.asarray(found.table["flags"]) & int(Flag.BLENDED)) > 0,
        **{f"table_{name}": values for name, values in table.items()}, **detected(image),
    }  # fmt: skip
    return told | (found_blind(image) if blind else {}) | (sampled(found) if nuts else {})


def _fit_alone(image, position: np.ndarray) -> tuple[float, float]:
    """Seconds of a fit without the catalogue and its errors, compiled before: of wall time, and of all cores together."""
    import jax

    from slipher.scene import blend

    began, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(blend.take_apart((image,), position).fitted.point)
    return time.perf_counter() - began, time.process_time() - cpu


def detected(image) -> dict[str, np.ndarray]:
    """What slipher finds by itself: positions (x, y) and significance."""
    from slipher.scene.detect import detect

    found = detect(*(np.asarray(x, np.float64) for x in (image.flux, image.ivar, image.psf)))
    return {"detected": found.position, "significance": found.significance}


def found_blind(image) -> dict[str, np.ndarray]:
    """What a fit without given positions has in its catalogue: positions (x, y), and flux over its error in the best band."""
    from slipher.errors import InputError
    from slipher.scene.deblend import deblend

    try:
        table = deblend(image).table
    except InputError:  # nothing is found
        return {"blind_detected": np.zeros((0, 2)), "blind_significance": np.zeros(0)}
    best = np.max([table[f"flux_{band}"] / table[f"flux_{band}_err"] for band in image.bands], axis=0)
    return {"blind_detected": np.column_stack([table["x"], table["y"]]), "blind_significance": best}


def sampled(found) -> dict[str, object]:
    """NUTS of the first source's log-fluxes of all lights and its place: the worst effective sample, and seconds, cold and once compiled.

    `nuts_spectrum` [draw, band] are the fluxes of its lights together, `nuts_centre` [draw, 2] its y and x.
    """
    import jax

    from slipher.inference import nuts, scene_sampling
    from slipher.scene import fit
    from slipher.scene.render import values_of

    scene, point, seen, free = first_alone(found.blend)
    settings = nuts.Settings(chains=CHAINS, warmup=WARM_UP, block=DRAWS // CHAINS, most=1)
    seconds = []
    for seed in (1, 2):
        began = time.perf_counter()
        best = fit.fit(scene, point, seen, free).point
        drawn = scene_sampling.sample(seed, scene, best, seen, free, settings=settings)
        seconds.append(time.perf_counter() - began)
    source, start = scene.groups[0].source, jax.tree.map(lambda leaf: leaf[0], point.members[0].start)
    u = {name: leaf[:, 0] for name, leaf in drawn.points.members[0].u.items()}
    values = jax.vmap(lambda some: values_of(source, start, some))(u)
    fluxes = jax.vmap(lambda some: source.fluxes(some, start))(values)
    return {
        "nuts_cold_s": seconds[0], "nuts_warm_s": seconds[1], "nuts_draws": len(drawn.sampled.u), "nuts_ess": drawn.sampled.ess,
        "nuts_rhat": drawn.sampled.rhat, "nuts_spectrum": np.asarray(fluxes).sum(1),
        "nuts_centre": np.asarray(start.position + values["offset"])[:, ::-1],
    }  # fmt: skip


def first_alone(blend):
    """The scene of the first source, its numbers, what is seen of it once all else is taken off, and the mask of its fluxes and place."""
    import equinox as eqx
    import jax

    from slipher.scene.render import Group, Point, Scene, draw

    g, i = (int(n) for n in blend.order[0])
    whole = blend.fitted.point
    scene = Scene((Group(blend.scene.groups[g].source, 1),), blend.scene.n_bands)
    point = Point((jax.tree.map(lambda leaf: leaf[i : i + 1], whole.members[g]),), whole.sights)
    alone = tuple(
        eqx.tree_at(lambda one: one.flux, seen, seen.flux - draw(blend.scene, whole, k, seen) + draw(scene, point, k, seen))
        for k, seen in enumerate(blend.seen)
    )
    # What the fit held of it, as the second light of a point, is held here too.
    opened = {name: leaf[i : i + 1] * float(name == "offset" or name.endswith(".log_flux")) for name, leaf in blend.free[0][g].items()}
    return scene, point, alone, ([opened], [jax.tree.map(lambda leaf: 0.0 * leaf, sight) for sight in whole.sights])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    for option in ("--again", "--blind", "--nuts"):
        parser.add_argument(option, action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    import slipher.scene.deblend  # noqa: F401

    imported = time.perf_counter() - began
    for folder in options.folders:
        if (folder / ANSWER).exists():
            continue
        with np.load(folder / BLEND) as file:
            blend = dict(file)
        try:
            told = fitted(blend, again=options.again, blind=options.blind, nuts=options.nuts)
        except Exception as error:  # a row of its own, as the peer's failures are
            told = {"error": f"{type(error).__name__}: {error}"}
        told |= {
            "import_s": imported,
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "version": version("slipher"),
        }
        part = folder / f"{ANSWER}.part"
        with part.open("wb") as file:
            np.savez(file, **told)
        part.rename(folder / ANSWER)
        numbers = {name: round(float(told[name]), 3) for name in SAID if name in told}
        print(folder.name, told.get("error", ""), json.dumps(numbers), flush=True)


if __name__ == "__main__":
    main()
