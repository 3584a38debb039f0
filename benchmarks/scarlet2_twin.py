"""scarlet2 as a peer of deblending: `PEER/bin/python benchmarks/scarlet2_twin.py FOLDER... [--nuts]`; `blends` calls it.

scarlet2 (Melchior et al., arXiv:2508.20221 and its code) installs beside slipher (`pip install scarlet2`) or in an environment of its own;
nothing here imports slipher. A folder holds `blend.npz` as `blends` writes it, and gets `scarlet2.npz`; those that have one are left alone.

All of it is what the quick start and the guide to sampling of version 0.5.1 do: a frame from the observation, Gaussian moments of each
source to begin with (a pixel's spectrum and the most compact shape where those fail), pixels between zero and one and positive spectra,
steps of 5 % of a spectrum and 0.1 % of a shape, at most 1000 of them, and the 1e-4 at which it ends. To its advantage: which sources are
stars is told, as the quick start does, and they become point sources with free centres; the weights are the true ones and there is no sky;
its checks of the input, which print, are off; times of steps are taken where its progress bar would be drawn, and a step's chi^2 counts
from when its parameters were there. `--nuts` samples spectrum and centre of the first source, its guide's seven parameters; as `sample`
counts the likelihood once for each band and row, which `nuts_counted` measures, it is given weights as many times smaller: without that
its chains hardly move.
"""

import os

os.environ.setdefault("PJRT_NPROC", "4")  # as `import slipher` has it
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import resource
import time
from functools import partial
from pathlib import Path

import numpy as np

BLEND, ANSWER = "blend.npz", "scarlet2.npz"
STEPS, ENDS = 1000, 1e-4  # of the quick start
SPECTRUM_STEP, MORPHOLOGY_STEP, CENTRE_STEP = 0.05, 1e-3, 0.1
WARM_UP, DRAWS, BRIGHTEST, CENTRE_SD = 100, 1000, 500.0, 0.5  # of the guide to sampling


class Steps:
    """In the place of the progress bar: when each step ended, and the loss before it."""

    last: "Steps"

    def __init__(self, n: int, **_: object):
        self.n, self.ended, self.cpu, self.loss = n, [], [], []
        Steps.last = self

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self):
        return iter(range(self.n))

    def set_postfix(self, loss: str, **_: object) -> None:
        """What the bar would show."""
        self.ended.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.loss.append(float(loss))


def observed(blend: dict[str, np.ndarray], times: float = 1.0):
    """The observation, its weights multiplied."""
    import jax.numpy as jnp
    from scarlet2 import ArrayPSF, Observation

    channels = [str(band) for band in blend["bands"]]
    weights = jnp.asarray(times / blend["variance"])
    return Observation(jnp.asarray(blend["images"]), weights, psf=ArrayPSF(jnp.asarray(blend["psfs"])), channels=channels)


def begun(blend: dict[str, np.ndarray]):
    """Observation and scene, as the quick start makes them."""
    import jax.numpy as jnp
    from scarlet2 import Frame, PointSource, Scene, Source, init

    observation = observed(blend)
    with Scene(Frame.from_observations(observation)) as scene:
        for (x, y), star in zip(blend["position"], blend["star"], strict=True):
            centre = jnp.array((y, x))
            if star:
                PointSource(centre, init.pixel_spectrum(observation, centre, correct_psf=True))
                continue
            try:
                spectrum, morphology = init.from_gaussian_moments(observation, centre, min_corr=0.99)
            except ValueError:
                spectrum, morphology = init.pixel_spectrum(observation, centre), init.compact_morphology()
            Source(centre, spectrum, morphology)
    return observation, scene


def declared(scene, stars: np.ndarray) -> None:
    """Say what is free in it."""
    from numpyro.distributions import constraints
    from scarlet2 import Parameter, Parameters, relative_step

    spectrum_step, morphology_step = (partial(relative_step, factor=f) for f in (SPECTRUM_STEP, MORPHOLOGY_STEP))
    with Parameters(scene):
        for i, (source, star) in enumerate(zip(scene.sources, stars, strict=True)):
            Parameter(source.spectrum, name=f"spectrum:{i}", constraint=constraints.positive, stepsize=spectrum_step)
            if star:
                Parameter(source.center, name=f"center:{i}", stepsize=CENTRE_STEP)
            else:
                Parameter(source.morphology, name=f"morph:{i}", constraint=constraints.unit_interval, stepsize=morphology_step)


def fitted(blend: dict[str, np.ndarray]):
    """Observation, scene, and what is told of the fit."""
    began, cpu = time.perf_counter(), time.process_time()
    observation, scene = begun(blend)
    declared(scene, blend["star"])
    ready = time.perf_counter()
    scene = scene.fit(observation, max_iter=STEPS, e_rel=ENDS, progress_bar=False)
    steps = Steps.last
    n = int(observation.N)
    return observation, scene, {
        "set_up_s": ready - began, "first_step_s": steps.ended[0] - ready, "steps": len(steps.ended),
        # A loss is that of the parameters with which a step began: those of the step before.
        "trace_s": np.concatenate([[0.0], np.array(steps.ended[:-1]) - steps.ended[0]]),
        "trace_chi2": (2.0 * np.array(steps.loss) - n * np.log(2.0 * np.pi)) / n,
        "fit_s": steps.ended[-1] - steps.ended[0], "fit_cpu_s": steps.cpu[-1] - steps.cpu[0], "all_cpu_s": steps.cpu[-1] - cpu,
        "chi2": float(observation.goodness_of_fit(scene())),
    }  # fmt: skip


def shown(observation, scene) -> dict[str, np.ndarray]:
    """Of each source: what the observation shows of it, its fluxes, and its centroid (x, y)."""
    from scarlet2 import measure

    images = [np.asarray(observation.render(scene.evaluate_source(source))) for source in scene.sources]
    centroids = [np.asarray(measure.centroid(source)).mean(-1)[::-1] for source in scene.sources]
    return {
        "sources": np.array(images, np.float32), "flux": np.array([np.asarray(measure.flux(s)) for s in scene.sources]),
        "found": np.array(centroids),
    }  # fmt: skip


def sampled(blend: dict[str, np.ndarray], scene) -> dict[str, object]:
    """NUTS of the first source's spectrum and centre: the worst effective sample, and seconds, cold and once compiled."""
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
    from scarlet2 import Parameter, Parameters

    source, position = scene.sources[0], blend["position"]
    times = int(np.prod(blend["images"].shape[:2]))
    observation = observed(blend, 1.0 / times)
    with Parameters(scene):
        n = len(source.spectrum)
        Parameter(source.spectrum, name="spectrum", prior=dist.Uniform(jnp.zeros(n), BRIGHTEST * jnp.ones(n)).to_event(1))
        Parameter(source.center, name="center", prior=dist.Normal(jnp.asarray(position[0][::-1]), CENTRE_SD).to_event(1))
    began = time.perf_counter()
    chains = scene.sample(observation, num_warmup=WARM_UP, num_samples=DRAWS, dense_mass=True, progress_bar=False)
    cold = time.perf_counter() - began
    chains.run(jax.random.PRNGKey(1), *chains._args, **chains._kwargs)  # compiled by now
    warm = time.perf_counter() - began - cold
    draws = {name: np.asarray(value) for name, value in chains.get_samples(group_by_chain=True).items()}
    effective = {name: effective_sample_size(value) for name, value in draws.items()}
    return {
        "nuts_cold_s": cold, "nuts_warm_s": warm, "nuts_draws": DRAWS,
        "nuts_ess": float(min(value.min() for value in effective.values())),
        "nuts_rhat": float(max(split_gelman_rubin(value).max() for value in draws.values())),
        "nuts_spectrum": draws["spectrum"][0], "nuts_centre": draws["center"][0], "nuts_counted": _counted(observation, scene, chains),
    }  # fmt: skip


def _counted(observation, scene, chains) -> float:
    """How often its sampler counts a change of chi^2 / 2."""
    import jax.numpy as jnp
    from numpyro.infer.util import log_density

    here = scene.get()
    there = here | {"spectrum": 1.02 * here["spectrum"]}
    densities = [float(jnp.sum(log_density(chains.sampler.model, chains._args, chains._kwargs, at)[0])) for at in (here, there)]
    chi2 = [float(observation.goodness_of_fit(scene.set(at)()) * observation.N) for at in (here, there)]
    return (densities[1] - densities[0]) / (-0.5 * (chi2[1] - chi2[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--nuts", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    from importlib.metadata import version

    import jax
    import tqdm.auto
    from scarlet2.validation_utils import set_validation

    tqdm.auto.trange = Steps
    set_validation(False)
    imported = time.perf_counter() - began
    for folder in options.folders:
        if (folder / ANSWER).exists():
            continue
        with np.load(folder / BLEND) as file:
            blend = dict(file)
        try:
            observation, scene, told = fitted(blend)
            told |= shown(observation, scene) | (sampled(blend, scene) if options.nuts else {})
        except Exception as error:  # whatever it is, it is the peer's answer to this blend
            told = {"error": f"{type(error).__name__}: {error}"}
        told |= {
            "import_s": imported,
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "version": version("scarlet2"),
        }
        part = folder / f"{ANSWER}.part"
        with part.open("wb") as file:
            np.savez(file, **told)
        part.rename(folder / ANSWER)
        print(
            folder.name, json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in told.items() if np.ndim(v) == 0}), flush=True
        )
        jax.clear_caches()


if __name__ == "__main__":
    main()
