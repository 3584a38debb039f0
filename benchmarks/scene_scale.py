"""Many scenes, and a large one: `python benchmarks/scene_scale.py [--stamps 1000] [--batch 20] [--sources 60] [--table FILE]`.

Stamps of 41 x 41 pixels in three bands, each with a galaxy, a neighbour and PSFs of its own, are fitted in batches by one compiled
function: `fit` mapped over points and exposures. A batch ends with its slowest, so that it takes a few steps at once, and those stamps
alone that are not there yet are put together for more. Then one scene of
sixty galaxies in 150 x 150 pixels and five bands goes through `deblend` with its catalogue of errors. Images are sums over fine pixels,
without code of slipher; starts are the truth with a third of a pixel and 30 % of scatter. Each part has a process of its own. Minutes.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from dusty_galaxies import elliptical, field, moffat
from scipy import signal
from scipy.special import gammaincinv
from tables import README, machine, markdown_table, write_section

from slipher.data.detections import Detections
from slipher.data.image import cutout
from slipher.scene import deblend, fit, laplace, normal
from slipher.scene.exposure import Exposure, exposure
from slipher.scene.morphology import Morphology, Sersic, Textured
from slipher.scene.render import Group, Members, Point, Scene, Sight
from slipher.scene.source import Light, Source, Start
from slipher.scene.spectrum import Free

SIDE, FINE, PSF_SIDE = 41, 5, 25
BANDS, MANY_BANDS, LARGE = 3, ("g", "r", "i", "z", "y"), 150
SN, FWHM, RADII, INDICES = (20.0, 300.0), (3.0, 4.5), (1.5, 4.0), (0.7, 3.5)
SEPARATION, FAINTER = (6.0, 12.0), (0.1, 0.7)  # of the neighbour, pixels, and its flux
JITTER, SCATTER, ROUGH, DRAWS = 0.3, 0.3, 0.3, 32
ROUND, MOST = 6, 60  # steps that a batch takes at once, and that a stamp may
SHAPES = tuple(f"light_0.{name}" for name in ("log_radius", "shear_1", "shear_2", "log_index"))
KINDS: dict[str, Morphology] = {"sersic": Sersic(), "textured": Textured(Sersic(), 31)}


class Stamp(NamedTuple):
    """Images [band, y, x], noise, PSFs, and the truth of its two sources: position, flux [source, band], half-light radius; S/N."""

    flux: np.ndarray
    sigma: np.ndarray
    psf: np.ndarray
    position: np.ndarray
    lit: np.ndarray
    radius: np.ndarray
    sn: float


# --- the sky ---------------------------------------------------------------------------------------------------------


def profile(rng: np.random.Generator, at: np.ndarray, radius: float, shape: tuple[int, int], rough: float) -> np.ndarray:
    """A Sersic profile of unit sum on fine pixels, times a random field; cut at ten radii."""
    y, x = ((np.arange(n * FINE) + 0.5) / FINE - 0.5 for n in shape)
    index, ratio = np.exp(rng.uniform(*np.log(INDICES))), rng.uniform(0.4, 1.0)
    far = elliptical(x - at[0], (y - at[1])[:, None], ratio, rng.uniform(0, np.pi)) * np.sqrt(ratio) / radius
    made = np.exp(-gammaincinv(2.0 * index, 0.5) * far ** (1.0 / index)) * (far < 10.0)
    if rough:
        n = max(made.shape)
        made *= np.exp(rough * field(rng, n, 4.0 * FINE))[: made.shape[0], : made.shape[1]]
    return made / made.sum()


def seen_through(fine: np.ndarray, psf_fine: np.ndarray) -> np.ndarray:
    """Pixels of a light."""
    rows, columns = (n // FINE for n in fine.shape)
    return signal.fftconvolve(fine, psf_fine, "same").reshape(rows, FINE, columns, FINE).sum((1, 3))


def stamp(seed: tuple[int, ...], rough: float) -> Stamp:
    """A galaxy in the middle and a neighbour."""
    rng = np.random.default_rng(seed)
    middle = 0.5 * (SIDE - 1) + rng.uniform(-0.5, 0.5, 2)
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*SEPARATION)
    position = np.stack([middle, middle + distance * np.array([np.cos(angle), np.sin(angle)])])
    radius, widths = np.exp(rng.uniform(*np.log(RADII), 2)), rng.uniform(*FWHM, BANDS)
    lit = np.array([1.0, rng.uniform(*FAINTER)])[:, None] * np.exp(0.3 * rng.standard_normal((2, BANDS)))
    fine_psf = [moffat(FINE * w, FINE * PSF_SIDE) for w in widths]
    psf = np.stack([p.reshape(PSF_SIDE, FINE, PSF_SIDE, FINE).sum((1, 3)) for p in fine_psf])
    fine = [profile(rng, p, r, (SIDE, SIDE), rough) for p, r in zip(position, radius, strict=True)]
    each = np.stack([[seen_through(one, p) for p in fine_psf] for one in fine])
    alone, sn = np.einsum("sb,sbyx->sbyx", lit, each), float(np.exp(rng.uniform(*np.log(SN))))
    sigma = np.linalg.norm(alone[0], axis=(1, 2)) / sn
    noisy = alone.sum(0) + sigma[:, None, None] * rng.standard_normal(alone.shape[1:])
    return Stamp(noisy, sigma, psf, position, lit, radius, sn)


# --- stamps ----------------------------------------------------------------------------------------------------------


def scene_of(kind: str) -> Scene:
    return Scene((Group(Source((Light(KINDS[kind], Free(BANDS)),)), 2),), BANDS)


def begun(rng: np.random.Generator, scene: Scene, one: Stamp) -> Point:
    """Where a catalogue would have the fit begin."""
    source = scene.groups[0].source
    scattered = [x * np.exp(SCATTER * rng.standard_normal(len(x)))[:, *([None] * (x.ndim - 1))] for x in (one.lit, one.radius)]
    u = {p.name: np.zeros((2, *p.shape), np.float32) for p in source.parameters}
    middle = next(p.prior.loc for p in source.parameters if p.name == "light_0.log_radius")
    place = one.position + JITTER * rng.standard_normal((2, 2))
    start = Start(
        place.astype(np.float32), scattered[0][:, None].astype(np.float32),
        about={"light_0.log_radius": (np.log(scattered[1]) - middle).astype(np.float32)},
    )  # fmt: skip
    sight = Sight(np.zeros((BANDS, 2), np.float32), np.zeros(BANDS, np.float32))
    return Point((Members(start, u),), (sight,))


def seen_of(one: Stamp) -> Exposure:
    return exposure(one.flux, np.broadcast_to(one.sigma[:, None, None] ** -2.0, one.flux.shape), one.psf)


def stacked(trees: list) -> object:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def fitted(scene: Scene, free: normal.Free, point: Point, seen: Exposure) -> tuple[Point, jax.Array, jax.Array, jax.Array]:
    """Some steps with one stamp: where they end, whether at the end, how many they were, and chi^2 a pixel."""
    found = fit.fit(scene, point, (seen,), free, steps=ROUND)
    left = normal.residuals(scene, found.point, (seen,))[0]
    return found.point, found.converged, found.steps, jnp.mean(seen.ivar * left**2)


def errors_of(scene: Scene, free: normal.Free, point: Point, seen: Exposure) -> jax.Array:
    """sd of fluxes [source, band], of draws where there are pixels, else by the covariance."""
    prior = scene.groups[0].source.lights[0].spectrum.parameters[0].prior
    if any(name.endswith("texture") for name in point.members[0].u):
        u = laplace.sample(jax.random.key(0), scene, point, (seen,), free, DRAWS).members[0].u["light_0.log_flux"]
        return jnp.std(point.members[0].start.flux[:, 0] * jnp.exp(prior.from_normal(u)), 0)
    spread = jnp.sqrt(jnp.diagonal(laplace.covariance(scene, point, (seen,), free)))
    places = normal.places_of_few(point)
    whole = jnp.zeros(sum(leaf.size for leaf in jax.tree.leaves(normal.free_of(point)))).at[places].set(spread)
    own = jax.flatten_util.ravel_pytree(normal.free_of(point))[1](whole)[0][0]["light_0.log_flux"]
    u = point.members[0].u["light_0.log_flux"]
    slope = jax.vmap(jax.vmap(jax.grad(prior.from_normal)))(u)
    return own * slope * point.members[0].start.flux[:, 0] * jnp.exp(prior.from_normal(u))


def flux_of(scene: Scene, point: Point) -> np.ndarray:
    prior = scene.groups[0].source.lights[0].spectrum.parameters[0].prior
    return np.asarray(
        point.members[0].start.flux[..., 0, :] * jnp.exp(prior.from_normal(point.members[0].u["light_0.log_flux"])), np.float64
    )


def clocked(function: Callable, *given) -> tuple[object, float, float]:
    """What a function returns, wall seconds, and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = jax.block_until_ready(function(*given))
    return found, time.perf_counter() - wall, time.process_time() - cpu


def memory_mb() -> float:
    """The most that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


class Many:
    """Stamps, where each is, and what they took: seconds of wall and processor."""

    def __init__(self, kind: str, n: int, batch: int, seed: int):
        rng, self.kind, self.batch, self.scene = np.random.default_rng([seed, n]), kind, batch, scene_of(kind)
        self.stamps = [stamp((seed, i), ROUGH * (kind == "textured")) for i in range(n)]
        self.points = [begun(rng, self.scene, one) for one in self.stamps]
        self.steps, self.converged, self.chi2 = np.zeros(n, int), np.zeros(n, bool), np.zeros(n)
        self.took, self.paid = np.zeros(2), 0
        self.fit = jax.jit(jax.vmap(partial(fitted, self.scene), in_axes=(None, 0, 0)))
        self.errors = jax.jit(jax.vmap(partial(errors_of, self.scene), in_axes=(None, 0, 0)))

    def given(self, some: list[int]) -> tuple[Point, Exposure]:
        """Points and exposures of one batch, filled up with its last."""
        filled = some + [some[-1]] * (self.batch - len(some))
        return stacked([self.points[i] for i in filled]), stacked([seen_of(self.stamps[i]) for i in filled])

    def advance(self, free: normal.Free) -> None:
        """Fit all: rounds of a few steps, each of those alone that are not there yet, so that none waits long for the slowest."""
        left, self.converged[:] = list(range(len(self.stamps))), False
        for round_ in range(MOST // ROUND):
            for first in range(0, len(left), self.batch):
                some = left[first : first + self.batch]
                (point, ended, steps, chi2), *took = clocked(self.fit, free, *self.given(some))
                self.took += took
                self.paid += self.batch * int(steps.max())
                for k, i in enumerate(some):
                    self.points[i] = jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), point)
                    self.steps[i], self.converged[i], self.chi2[i] = self.steps[i] + int(steps[k]), bool(ended[k]), float(chi2[k])
            left = [i for i in left if not self.converged[i]]
            print(f"{self.kind}: {len(left)} left after round {round_ + 1}, {self.took[0]:.0f} s, {memory_mb():.0f} MB", flush=True)
            if not left:
                break

    def sds(self, free: normal.Free) -> tuple[np.ndarray, np.ndarray]:
        """sd of fluxes [stamp, source, band] with some numbers free, and seconds of wall and processor."""
        found, total = [], np.zeros(2)
        for first in range(0, len(self.stamps), self.batch):
            some = list(range(first, min(first + self.batch, len(self.stamps))))
            sd, *took = clocked(self.errors, free, *self.given(some))
            found.append(np.asarray(sd, np.float64)[: len(some)])
            total += took
        return np.concatenate(found), total


def stamps(kind: str, n: int, batch: int, seed: int) -> list[object]:
    """A row of the table."""
    before = memory_mb()
    many = Many(kind, n, batch, seed)
    # As in `deblend`, what has texture keeps the profile that it was found to have.
    free = normal.opened(many.points[0], sources=lambda name: kind == "sersic" or name not in SHAPES)
    smooth = normal.opened(many.points[0], sources=lambda name: not name.endswith("texture"))
    batch_of = many.given(list(range(min(batch, n))))
    compiling = []
    for function in (many.fit, many.errors):
        first, again = (clocked(function, free, *batch_of)[1] for _ in range(2))
        compiling.append(first - again)
    peak = memory_mb()
    for one in (smooth, free) if kind == "textured" else (free,):
        many.advance(one)
    everything = normal.opened(many.points[0])
    (sd, more), (narrow, _) = many.sds(everything), many.sds(free)
    flux, truth = flux_of(many.scene, stacked(many.points)), np.stack([one.lit for one in many.stamps])
    pull, (wall, cpu), (longer, work) = (flux - truth) / sd, many.took, many.took + more
    return [
        kind, n, f"{compiling[0]:.0f} + {compiling[1]:.0f}", f"{n / wall:.1f} ({n / cpu:.1f})", f"{n / longer:.1f} ({n / work:.1f})",
        f"{np.mean(many.steps):.1f}", f"{many.paid / many.steps.sum():.2f}", f"{100 * many.converged.mean():.1f}",
        " / ".join(f"{q:.3f}" for q in np.quantile(many.chi2, (0.05, 0.5, 0.95))), f"{many.chi2.max():.2f}",
        *(pulled(pull[:, s]) for s in range(2)), pulled(pull[:, 0] * (sd / narrow)[:, 0]), f"{before:.0f} / {peak:.0f} / {memory_mb():.0f}",
    ]  # fmt: skip


def pulled(pull: np.ndarray) -> str:
    """Median, scatter, and per cent beyond 4 sd."""
    return f"{np.median(pull):+.2f} ± {1.4826 * np.median(np.abs(pull - np.median(pull))):.2f} ({100 * np.mean(np.abs(pull) > 4):.1f} %)"


# --- one large scene -------------------------------------------------------------------------------------------------


def large(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Image, noise, PSFs, positions and fluxes [source, band] of galaxies in one image."""
    rng, bands = np.random.default_rng(seed), len(MANY_BANDS)
    position = rng.uniform(6.0, LARGE - 7.0, (20 * n, 2))
    kept = [0]
    for i in range(1, len(position)):
        if len(kept) < n and np.hypot(*(position[kept] - position[i]).T).min() > 5.0:
            kept.append(i)
    position, widths = position[kept], rng.uniform(*FWHM, bands)
    radius, brightness = np.exp(rng.uniform(*np.log(RADII), n)), np.exp(rng.uniform(np.log(1.0), np.log(60.0), n))
    lit = brightness[:, None] * np.exp(0.3 * rng.standard_normal((n, bands)))
    fine_psf = [moffat(FINE * w, FINE * PSF_SIDE) for w in widths]
    # Every light is drawn on a window of its own about a whole pixel.
    half, image = 30, np.zeros((bands, LARGE + 60, LARGE + 60))
    for i in range(n):
        corner = np.rint(position[i]).astype(int)
        one = profile(rng, position[i] - corner + half, radius[i], (2 * half + 1, 2 * half + 1), ROUGH)
        window = np.stack([seen_through(one, p) for p in fine_psf])
        image[:, corner[1] : corner[1] + 2 * half + 1, corner[0] : corner[0] + 2 * half + 1] += lit[i][:, None, None] * window
    image = image[:, half:-half, half:-half]
    sigma = np.full(bands, np.sqrt(4 * np.pi) * 0.01)
    psf = np.stack([p.reshape(PSF_SIDE, FINE, PSF_SIDE, FINE).sum((1, 3)) for p in fine_psf])
    return image + sigma[:, None, None] * rng.standard_normal(image.shape), sigma, psf, position, lit


class Watched:
    """A function of a module with a clock: seconds of its calls, wall and processor."""

    def __init__(self, module, name: str):
        self.took, self.calls, whole = [0.0, 0.0], 0, getattr(module, name)

        def watched(*given, **how):
            found, *took = clocked(partial(whole, **how), *given)
            self.took, self.calls = [a + b for a, b in zip(self.took, took, strict=True)], self.calls + 1
            print(f"{module.__name__}.{name}: {took[0]:.1f} s ({took[1]:.1f}), {memory_mb():.0f} MB", flush=True)
            return found

        setattr(module, name, watched)


def scene(n: int, seed: int) -> list[list[object]]:
    """Rows of the table: a first run, and another of the same layout."""
    rows = []
    fits, errors = Watched(fit, "fit"), Watched(laplace, "sample")
    for run in range(2):
        flux, sigma, psf, position, lit = large(n, seed)
        flux = flux if not run else flux + 1e-6 * sigma[:, None, None]  # nothing is remembered of the first but what is compiled
        ivar = np.broadcast_to(sigma[:, None, None] ** -2.0, flux.shape)
        image = cutout(flux, ivar=ivar, psf=psf, bands=MANY_BANDS, id="sixty")
        where = Detections(tuple(str(i) for i in range(n)), position + JITTER * np.random.default_rng(seed).standard_normal(position.shape))
        fits.took, errors.took, fits.calls = [0.0, 0.0], [0.0, 0.0], 0
        made, wall, cpu = clocked(partial(deblend.deblend, image, where, draws=DRAWS))
        table = made.table
        pull = np.stack([(table[f"flux_{b}"] - lit[:, i]) / table[f"flux_{b}_err"] for i, b in enumerate(MANY_BANDS)], 1)
        off = np.stack([table[f"flux_{b}"] / lit[:, i] - 1.0 for i, b in enumerate(MANY_BANDS)], 1)
        rest = [whole - a - b for whole, a, b in zip((wall, cpu), fits.took, errors.took, strict=True)]
        rows.append([
            ("first", "again")[run], n, *(f"{a:.1f} ({b:.1f})" for a, b in (rest, fits.took, errors.took, (wall, cpu))), fits.calls,
            made.converged, f"{made.chi2_per_pixel:.3f}", f"{100 * np.nanmedian(np.abs(off)):.1f}", pulled(pull[np.isfinite(pull)]),
            f"{memory_mb():.0f}",
        ])  # fmt: skip
        print(rows[-1], flush=True)
    return rows


# --- the table -------------------------------------------------------------------------------------------------------


def apart(function: Callable, *given):
    """In a process of its own, so that its memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *given).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stamps", type=int, default=1000, help="of each kind; 0 leaves them out")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--sources", type=int, default=60, help="of the large scene; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, default=README, help="the file whose section is written")
    options = parser.parse_args()
    command = f"python benchmarks/scene_scale.py --stamps {options.stamps} --batch {options.batch} --sources {options.sources}"
    text = ["## Scenes at scale", f"`{command}`. {machine('slipher', 'jax')}"]
    if options.stamps:
        rows = [apart(stamps, kind, options.stamps, options.batch, options.seed) for kind in options.kinds.split(",")]
        head = [
            "sources", "stamps", "compiling, fit + errors, s", "stamps a second", "with errors", "steps", "waited",
            "converged, %", "chi2 a pixel, 5 / 50 / 95 %", "worst", "flux pulls", "of neighbours", "with errors of what is free",
            "MB before / compiled / at the end",
        ]  # fmt: skip
        text += [
            f"Stamps of {SIDE} x {SIDE} pixels in {BANDS} bands, two galaxies each, PSFs of their own (FWHM {FWHM[0]:g}-{FWHM[1]:g} "
            f"pixels), S/N {SN[0]:g}-{SN[1]:g}, in batches of {options.batch} by one compiled function. Stamps a second of wall "
            "(processor) time, without compilation; errors by the covariance, or "
            f"{DRAWS} draws where there is texture. `waited`: steps computed over those needed. Pulls of fluxes: median ± scatter, and "
            "the share beyond 4; with errors of all numbers together, and with those of the numbers alone that the last fit had free "
            "(profiles of sources with texture are held in it).",
            markdown_table(head, rows),
        ]
    if options.sources:
        head = [
            "run", "sources", "set-up, s", "fits, s", "errors, s", "all, s", "fits", "converged", "chi2 a pixel", "flux off, %",
            "flux pulls", "peak MB",
        ]  # fmt: skip
        text += [
            f"One scene of {LARGE} x {LARGE} pixels in {len(MANY_BANDS)} bands by `deblend`, positions given to {JITTER:g} pixels; seconds "
            "of wall (processor), the first run with compilation, set-up being all that is neither fits nor draws.",
            markdown_table(head, apart(scene, options.sources, options.seed)),
        ]
    write_section("scene-scale", "\n\n".join(text), options.table)


if __name__ == "__main__":
    main()
