"""slipher's side of `blends`: `python benchmarks/blend_fits.py FOLDER... [--again] [--nuts]`, each folder's `blend.npz` to `slipher.npz`.

A process of its own, as the peer's is (`scarlet2_twin`), so that times and memory are its own. Positions are given, as they are to the
peer; which sources are stars is not. What slipher's own detection finds is kept beside. `--again` fits once more when all is compiled.
"""

import os

os.environ.setdefault("PJRT_NPROC", "4")  # of XLA's threads: with as many as there are cores they wait for each other now and then
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import resource
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

BLEND, ANSWER = "blend.npz", "slipher.npz"
SAID = ("cold_s", "whole_s", "fit_s", "all_cpu_s", "chi2", "memory_mb")


def fitted(blend: dict[str, np.ndarray], again: bool, nuts: bool) -> dict[str, object]:
    """What is told of a blend."""
    from slipher.data.detections import Detections
    from slipher.data.image import cutout
    from slipher.scene.deblend import deblend

    began, cpu = time.perf_counter(), time.process_time()
    image = cutout(blend["images"], variance=blend["variance"], psf=blend["psfs"], bands=[str(band) for band in blend["bands"]])
    ids = tuple(str(i) for i in range(len(blend["position"])))
    given = Detections(ids, np.asarray(blend["position"], np.float64))
    found = deblend(image, given)
    told: dict[str, object] = {"cold_s": time.perf_counter() - began, "all_cpu_s": time.process_time() - cpu}
    if again:
        began = time.perf_counter()
        deblend(image, given)
        told["whole_s"] = time.perf_counter() - began
        told["fit_s"], told["fit_cpu_s"] = _fit_alone(image, given.position)
    table = {name: np.asarray(found.table[name]) for name in found.table.colnames if name not in ("id", "flags")}
    told |= {
        "chi2": found.chi2_per_pixel, "converged": found.converged, "sources": found.views[0].sources, "model": found.views[0].model,
        **{f"table_{name}": values for name, values in table.items()}, **detected(image),
    }  # fmt: skip
    return told | (sampled(image, found) if nuts else {})


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


def sampled(image, found) -> dict[str, object]:
    """NUTS of the first source's fluxes and place, all else held, as the peer's is.

    To be filled: `nuts_ess` (the worst of the parameters'), `nuts_draws`, `nuts_rhat`, `nuts_cold_s` and `nuts_warm_s` (once compiled),
    `nuts_spectrum` [draw, band] and `nuts_centre` [draw, 2] (y, x).
    """
    return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--nuts", action="store_true")
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
            told = fitted(blend, options.again, options.nuts)
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
