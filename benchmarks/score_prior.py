"""What a learned prior adds: `python benchmarks/score_prior.py [--n 12] [--hsc FILE] [--seed 5] [--table FILE]`.

Single galaxies by GalSim (`galsim_blends`: discs, bulges in discs, knots, spirals) in one band, faint and bright, from each of which the
pixels of a round hole over its light are withheld, are fitted by one light each: free pixels with a prior that knows nothing but that
light is positive; a Sersic profile with texture; the learned prior's most probable image; and the mean of its draws. How far images are
off the truth, seen through the PSF, is told where pixels were seen and in the hole; of what share of the light within each the
hallucination score says that the prior dominates; and how often the score of a withheld pixel is above that of a seen one as bright.
`--hsc` withholds holes from the real blend of HSC and asks what deblending predicts in them. Needs `pip install galsim`. Some 15 minutes.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import galsim_blends as truths
import jax
import jax.numpy as jnp
import numpy as np
from tables import README, machine, markdown_table, write_section

from slipher.data.detections import Detections
from slipher.data.image import cutout
from slipher.models import shipped
from slipher.scene import annealed, fit, hallucination, learned_blend, normal
from slipher.scene.blend import Blend
from slipher.scene.deblend import deblend
from slipher.scene.exposure import Exposure, exposure
from slipher.scene.morphology import Morphology, Pixels, Sersic, Textured
from slipher.scene.render import Group, Members, Point, Scene, Sight, draw
from slipher.scene.source import Light, Source, Start
from slipher.scene.spectrum import Free

FIGURE = Path(__file__).parent.parent / "runs" / "score_prior.png"
SN = (20.0, 60.0, 200.0)
BAND, STAMP, DRAWS = 2, 41, 8
HOLE, AWAY = 1.3, (0.4, 1.2)  # its radius, and its distance from the centre, in half-light radii
SMALLEST = 4.0  # pixels, of the hole
BRIGHT = 0.02  # of the brightest pixel: light of which scores are told
ALIKE = 0.3  # ln of the light, up to which pixels are compared: what is brighter is better known, hidden or not
METHODS = ("free pixels", "profile and texture", "learned, most probable", "learned, mean of draws")
HOLES, RADIUS = 8, 3.5  # in the real blend; pixels


class Galaxy(NamedTuple):
    """An image without noise, one with, its variance and PSF, which pixels are withheld, and where it is."""

    kind: str
    truth: np.ndarray
    image: np.ndarray
    variance: np.ndarray
    psf: np.ndarray
    hole: np.ndarray
    position: np.ndarray


class Told(NamedTuple):
    """Of one method: its image, seconds, and of the score the shares of the hole's and of the seen light where the prior dominates, and
    how often a pixel of the hole is above a seen one as bright."""

    model: np.ndarray
    made_up: tuple[float, float, float]
    seconds: float


def galaxy(i: int, sn: float, seed: int) -> Galaxy:
    """The same galaxy at each S/N."""
    rng = np.random.default_rng([seed, i])
    source = next(one for one in iter(lambda: truths._source(rng), None) if one.kind != "star")
    psf = truths._psf(rng)
    position = 0.5 * (truths.SIDE - 1) + rng.uniform(-1.0, 1.0, 2)
    unit = truths._image(source.profiles[BAND], psf, position)
    variance, scale = np.full(unit.shape, truths.SKY[BAND]), 1.0
    for _ in range(60):
        scale *= sn / np.sqrt(np.sum((scale * unit) ** 2 / variance))
        variance = truths.SKY[BAND] + truths.PHOTON * np.maximum(scale * unit, 0.0)
    away, angle = rng.uniform(*AWAY) * source.size, rng.uniform(0.0, 2.0 * np.pi)
    y, x = np.mgrid[: truths.SIDE, : truths.SIDE]
    distance = np.hypot(x - position[0] - away * np.cos(angle), y - position[1] - away * np.sin(angle))
    image = scale * unit + np.sqrt(variance) * rng.standard_normal(unit.shape)
    return Galaxy(
        source.kind, scale * unit, image, variance, truths._psf_image(psf), distance < max(HOLE * source.size, SMALLEST), position
    )


def answers(one: Galaxy, denoiser: annealed.Denoiser, key: jax.Array) -> dict[str, Told]:
    """Of each method."""
    ivar = np.where(one.hole, 0.0, 1.0 / one.variance)
    seen = exposure(np.where(one.hole, 0.0, one.image)[None], ivar[None], one.psf[None])
    flux = max(float(np.sum(one.image[~one.hole])), 10.0 * float(np.sqrt(one.variance.mean())))

    def known(where: np.ndarray, score: hallucination.Score) -> float:
        """The share of the light there of which the prior dominates."""
        return float(np.sum(score.light[where & (score.difference > 0)]) / np.sum(score.light[where]))

    def told(blend: Blend, point: Point, began: float, model: np.ndarray | None = None) -> Told:
        light = blend.scene.groups[0].source.lights[0].morphology
        shares = np.nan, np.nan, np.nan
        if not isinstance(light, Pixels):
            score = hallucination.of_group(blend.scene.groups[0], point.members[0], blend.seen, point.sights, blend.denoiser)[0]
            at = np.arange(light.n) - 0.5 * (light.n - 1) + np.asarray(point.members[0].start.position[0])[:, None]
            columns, rows = (np.clip(np.rint(x).astype(int), 0, truths.SIDE - 1) for x in at)
            inside, bright = one.hole[np.ix_(rows, columns)], score.light > BRIGHT * score.light.max()
            hidden, shown = inside & bright, ~inside & bright
            alike = np.abs(np.log(score.light[hidden][:, None] / score.light[shown])) < ALIKE
            above = score.difference[hidden][:, None] > score.difference[shown]
            shares = known(hidden, score), known(shown, score), float(above[alike].mean()) if alike.any() else np.nan
        return Told(image(blend.scene, point, seen) if model is None else model, shares, time.perf_counter() - began)

    began = time.perf_counter()
    pixels = start(Pixels(STAMP), seen, one, flux)
    found = {METHODS[0]: told(pixels, fit.fit(pixels.scene, pixels.fitted.point, (seen,), pixels.free).point, began)}
    began = time.perf_counter()
    rough = start(Textured(Sersic(), STAMP), seen, one, flux)
    smooth = [{name: mask * float("texture" not in name) for name, mask in group.items()} for group in rough.free[0]]
    first = fit.fit(rough.scene, rough.fitted.point, (seen,), (smooth, rough.free[1])).point
    rough = rough._replace(fitted=fit.fit(rough.scene, first, (seen,), rough.free))
    found[METHODS[1]] = told(rough, rough.fitted.point, began)
    began = time.perf_counter()
    learned = learned_blend.learned_blend(rough, denoiser)
    found[METHODS[2]] = told(learned, learned.fitted.point, began)
    began = time.perf_counter()
    draws = annealed.sample(key, learned.scene, learned.fitted.point, (seen,), learned.free, denoiser, DRAWS)
    each = [image(learned.scene, jax.tree.map(lambda leaf, i=i: leaf[i], draws), seen) for i in range(DRAWS)]
    found[METHODS[3]] = told(learned, learned.fitted.point, began, np.mean(each, 0))
    return found


def start(shape: Morphology, seen: Exposure, one: Galaxy, flux: float) -> Blend:
    """One source at its place, unfitted, all of it free but shifts."""
    source = Source((Light(shape, Free(1)),))
    place = jnp.asarray(np.rint(one.position), jnp.float32)[None]
    u = {p.name: jnp.zeros((1, *p.shape)) for p in source.parameters}
    point = Point((Members(Start(place, jnp.full((1, 1, 1), flux)), u),), (Sight(jnp.zeros((1, 2)), jnp.zeros(1)),))
    unfitted = fit.Fitted(point, jnp.zeros(()), jnp.asarray(True), jnp.asarray(0))
    scene = Scene((Group(source, 1),), 1)
    return Blend(scene, unfitted, (seen,), normal.opened(point, shifts=False), one.position[None], np.array([[0, 0]]), ("i",))


def image(scene: Scene, point: Point, seen: Exposure) -> np.ndarray:
    """Without the background."""
    return np.asarray(draw(scene, point, 0, seen)[0] - point.sights[0].background[0], np.float64)


def off(model: np.ndarray, one: Galaxy, where: np.ndarray) -> float:
    """|model - truth| over |truth| in some pixels."""
    return float(np.sqrt(np.sum((model - one.truth)[where] ** 2) / np.sum(one.truth[where] ** 2)))


# --- real pixels -----------------------------------------------------------------------------------------------------


def withheld(path: Path, denoiser: annealed.Denoiser, seed: int) -> list[list[object]]:
    """chi^2 a pixel of withheld and of seen pixels of the blend of HSC: medians and means of holes over its galaxies."""
    with np.load(path) as file:
        images, variance, psfs = (np.asarray(file[name], np.float64) for name in ("images", "variance", "psfs"))
        places = np.stack([file["catalog"]["x"], file["catalog"]["y"]], 1).astype(float)
    given = Detections(tuple(str(i) for i in range(len(places))), places)
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: images.shape[1], : images.shape[2]]
    found: dict[str, list[tuple[float, float]]] = {"profiles and texture": [], "learned": []}
    for i in range(HOLES):
        middle = places[1 + i % 4] + rng.uniform(-3.0, 3.0, 2)  # the first is a star
        hole = np.hypot(columns - middle[0], rows - middle[1]) < RADIUS
        image = cutout(np.where(hole, np.nan, images), variance=variance, psf=psfs)
        for name, prior in zip(found, (None, denoiser), strict=True):
            model = deblend(image, given, draws=2, denoiser=prior).views[0].model
            chi2 = (images - model) ** 2 / variance
            found[name].append((float(chi2[:, hole].mean()), float(chi2[:, ~hole].mean())))
        print("hole", i, {name: np.round(each[-1], 2).tolist() for name, each in found.items()}, flush=True)
    table = []
    for name, each in found.items():
        inside, outside = np.array(each).T
        table.append([name, HOLES, f"{np.median(inside):.2f}", f"{np.mean(inside):.2f}", f"{np.median(outside):.2f}"])
    return table


# --- the section -----------------------------------------------------------------------------------------------------


def text_of(told: dict[float, list[tuple[Galaxy, dict[str, Told]]]], real: list[list[object]], asked: str, here: str) -> str:
    """Tables of all."""
    rows = []
    for sn, each in told.items():
        for method in METHODS:
            seen, hole, inside, outside, above, seconds = np.array([
                (off(t[method].model, g, ~g.hole), off(t[method].model, g, g.hole), *t[method].made_up, t[method].seconds) for g, t in each
            ]).T  # fmt: skip
            shares = [f"{np.nanmedian(x):.2f}" if np.isfinite(x).any() else "" for x in (inside, outside, above)]
            rows.append([f"{sn:g}", method, *(f"{100 * np.median(x):.1f} %" for x in (seen, hole)), *shares, f"{np.median(seconds):.1f}"])
    count = len(next(iter(told.values())))
    text = ["## The learned prior", f"`{asked}`. {here}"]
    text.append(
        f"{count} galaxies by GalSim at each S/N (before the hole), one band, each with a round hole of withheld pixels over its light. "
        "How far images are off, in the PSF's resolution, where pixels were seen and in the hole; share of the light where the prior "
        f"dominates (dF > 0, pixels above {BRIGHT:g} of the brightest), in the hole and outside; how often dF of a withheld pixel is above "
        f"that of a seen one as bright (0.5 by chance); seconds. Medians. Draws: the mean of {DRAWS}; "
        "their score is that of the most probable image."
    )
    head = ["S/N", "prior", "seen: off", "hole: off", "hole: made up", "seen: made up", "withheld above seen", "s"]
    text.append(markdown_table(head, rows))
    if real:
        text.append(f"HSC's blend with {HOLES} round holes of {RADIUS:g} pixels over its galaxies: chi^2 a pixel of what was withheld.")
        text.append(markdown_table(["prior", "holes", "withheld, median", "mean", "seen"], real))
    return "\n\n".join(text)


def figure(each: list[tuple[Galaxy, dict[str, Told]]]) -> None:
    """Rows are galaxies: what was seen, the truth, and what each method makes of it."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(each), 2 + len(METHODS), figsize=(13, 2.2 * len(each)), squeeze=False)
    for row, (one, told) in zip(axes, each, strict=True):
        top = np.arcsinh(one.truth.max() / np.sqrt(one.variance.mean()))
        shown = [np.where(one.hole, np.nan, one.image), one.truth, *(told[m].model for m in METHODS)]
        for axis, what, name in zip(row, shown, (f"seen: {one.kind}", "truth", *METHODS), strict=True):
            axis.imshow(np.arcsinh(what / np.sqrt(one.variance.mean())), origin="lower", vmin=-0.5, vmax=top, cmap="gray_r")
            axis.set_title(name, fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
    figure.tight_layout()
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=12)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--hsc", type=Path)
    parser.add_argument("--table", type=Path, default=README)
    options = parser.parse_args()
    here, denoiser = machine("slipher", "jax"), shipped.morphology().trained.denoiser
    told: dict[float, list] = {sn: [] for sn in SN}
    for sn in SN:
        for i in range(options.n):
            one = galaxy(i, sn, options.seed)
            told[sn].append((one, answers(one, denoiser, jax.random.key(i))))
            numbers = {
                m: (round(off(t.model, one, ~one.hole), 3), round(off(t.model, one, one.hole), 3)) for m, t in told[sn][-1][1].items()
            }
            print(f"S/N {sn:g}", i, one.kind, numbers, flush=True)
    figure([told[SN[1]][i] for i in range(min(options.n, 5))])
    real = withheld(options.hsc, denoiser, options.seed) if options.hsc else []
    asked = f"python benchmarks/score_prior.py --n {options.n} --seed {options.seed}" + (" --hsc FILE" if options.hsc else "")
    write_section("score-prior", text_of(told, real, asked, here), options.table)


if __name__ == "__main__":
    main()
