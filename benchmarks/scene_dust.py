"""Dust in galaxies' images: `python benchmarks/scene_dust.py [--galaxies 30] [--real FOLDER] [--figures runs/scene_dust] [--table FILE]`.

Simulated galaxies of `dusty_galaxies`, in Legacy Survey's g, r, z, are fitted by a disc and a bulge without dust, and then with a screen
of `Following` dust from where that ended: chi^2, map and mean of E(B-V), fluxes and colours without dust, against the truth. The dust is
smooth first; then it has texture, while its size, ellipse and centre are held: with all of it free, the most probable screen is large and
thick, for the thicker it is the less texture it takes to explain the same. That, too, is in the table. Errors are of all numbers together.

With FOLDER (of `rs0010_legacy_grz.fits`) a real galaxy as well, its disc with texture. Some seconds a galaxy once compiled.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from astropy.io import fits
from dusty_galaxies import FILTERS, MAG, Dusty, dusty, light_weighted, moffat
from scipy import ndimage, signal
from tables import README, machine, markdown_table, write_section

from slipher.data.image import cutout
from slipher.scene import dust, fit, laplace, normal
from slipher.scene.exposure import Exposure, exposure
from slipher.scene.fit import Fitted
from slipher.scene.morphology import Morphology, Sersic, Textured, on_grid
from slipher.scene.render import Group, Members, Point, Scene, Sight, values_of
from slipher.scene.source import Light, Screen, Source, Start, of_part
from slipher.scene.spectrum import Free

mpl.use("Agg")
import matplotlib.pyplot as plt

DRAWS, STEPS = 64, 150
LIT = 3.0  # sd of the noise in r above which a pixel's E(B-V) is compared
DUST_SHAPE = tuple(f"screen_0.{name}" for name in ("log_ratio", "twist_1", "twist_2", "centre"))
DISC_SHAPE = tuple(f"light_0.{name}" for name in ("log_radius", "shear_1", "shear_2"))
BELIEVED = 0.1  # of the brightness: the least error while shapes are found
REAL_SEEING_ARCSEC, REAL_PIXEL_ARCSEC, REAL_CUT, BIN = (1.29, 1.18, 1.11), 0.27, (slice(8, 120), slice(37, 94)), 2
FIBRE_ARCSEC = 1.5  # radius of SDSS' fibres


class Model(NamedTuple):
    """A scene of one galaxy and what it was fitted to."""

    scene: Scene
    seen: tuple[Exposure, ...]
    free: normal.Free
    fitted: Fitted

    @property
    def chi2(self) -> float:
        """A pixel with information."""
        left = normal.residuals(self.scene, self.fitted.point, self.seen)[0]
        return float(jnp.sum(self.seen[0].ivar * left**2) / jnp.sum(self.seen[0].ivar > 0))


class Told(NamedTuple):
    """What a point says of a galaxy: E(B-V) and lights without dust on the grid, their fluxes."""

    ebv: np.ndarray
    light: np.ndarray  # [light, band, v, u]

    @property
    def mean_ebv(self) -> float:
        """Weighted by the light in r."""
        lit = self.light[:, 1].sum(0)
        return float((self.ebv * lit).sum() / lit.sum())

    @property
    def magnitudes(self) -> np.ndarray:
        """-2.5 lg of the total in each band."""
        return -MAG * np.log(self.light.sum((0, 2, 3)))

    @property
    def gradient(self) -> float:
        """g - z within half of the light in r less that of what is beyond, without dust."""
        each = self.light.sum(0)
        n = each.shape[-1]
        at = np.arange(n) - 0.5 * (n - 1)
        weight = each[1] / each[1].sum()
        middle = [(weight * a).sum() for a in np.meshgrid(at, at)]
        radius = np.hypot(at - middle[0], (at - middle[1])[:, None])
        order = np.argsort(radius.ravel())
        inside = radius <= radius.ravel()[order[np.searchsorted(np.cumsum(weight.ravel()[order]), 0.5)]]
        sums = np.maximum([[band[part].sum() for band in each] for part in (inside, ~inside)], 1e-9)
        inner, outer = -MAG * np.log(sums[:, 0] / sums[:, 2])
        return float(inner - outer)


# --- the fit ---------------------------------------------------------------------------------------------------------


def galaxy(disc: Morphology, grid: int, screens: tuple[Screen, ...] = ()) -> Source:
    """A disc, which dust follows, and a bulge."""
    return Source((Light(disc, Free(3)), Light(Sersic(), Free(3))), screens, grid=grid, step=1.0)


def begun(source: Source, position: np.ndarray, flux: np.ndarray, radius: float, like: Members | None = None) -> Members:
    """One source where its light begins, or where another of the same light ended."""
    u = {p.name: jnp.zeros((1, *p.shape)) for p in source.parameters}
    # The middles of the radii's priors: of the disc by the image, of the bulge a quarter of that.
    names = {"light_0.log_radius": radius, "light_1.log_radius": 0.25 * radius}
    about = {p.name: jnp.asarray([np.log(names[p.name]) - p.prior.loc], jnp.float32) for p in source.parameters if p.name in names}
    each = jnp.asarray(np.stack([0.75 * flux, 0.25 * flux])[None], jnp.float32)
    u |= {} if like is None else {name: leaf for name, leaf in like.u.items() if name in u}
    return Members(Start(jnp.asarray(position[None], jnp.float32), each, about=about), u)


def fitted(source: Source, some: Members, seen: Exposure, sight: Sight, *held: tuple[str, ...]) -> list[Model]:
    """Shapes first, images believed to a tenth; then texture too, once for each set of names that are held."""
    scene, point = Scene((Group(source, 1),), 3), Point((some,), (sight,))
    smooth = normal.opened(point, sources=lambda name: not name.endswith("texture"))
    first = fit.fit(scene, point, (_believed(seen, sight),), smooth, steps=STEPS)
    found = []
    for names in held:
        free = normal.opened(point, sources=lambda name, names=names: name not in names)
        found.append(Model(scene, (seen,), normal.opened(point), fit.fit(scene, first.point, (seen,), free, steps=STEPS)))
    return found


def _believed(seen: Exposure, sight: Sight) -> Exposure:
    bright = BELIEVED * np.maximum(ndimage.gaussian_filter(np.asarray(seen.flux - sight.background[:, None, None]), (0, 1, 1)), 0.0)
    ivar = np.asarray(seen.ivar)
    return eqx.tree_at(lambda one: one.ivar, seen, jnp.asarray(ivar / (1.0 + ivar * bright**2), jnp.float32))


def each_way(
    flux: np.ndarray, ivar: np.ndarray, psf: np.ndarray, law: np.ndarray, disc: Morphology, grid: int, sky: np.ndarray, *, all_free: bool
) -> list[Model]:  # fmt: skip
    """Without dust; with dust whose shape is held while it gets texture, as that of such a disc is; and with dust all of it free."""
    seen = exposure(flux, ivar, psf, wander=0.02)
    position, total, radius = moments(flux - sky[:, None, None], ivar, psf)
    sight = Sight(jnp.zeros((3, 2)), jnp.asarray(sky, jnp.float32))
    clear = galaxy(disc, grid)
    profile = DISC_SHAPE if isinstance(disc, Textured) else ()
    (one,) = fitted(clear, begun(clear, position, total, radius), seen, sight, profile)
    screen = Screen(dust.Following(grid, 1.0), jnp.asarray(law, jnp.float32))
    behind = galaxy(disc, grid, (screen,))
    (ended,), (sight,) = one.fitted.point
    held = (DUST_SHAPE + profile, profile)[: 1 + all_free]
    return [one, *fitted(behind, begun(behind, position, total, radius, ended), seen, sight, *held)]


def moments(flux: np.ndarray, ivar: np.ndarray, psf: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Position, flux in each band, and half-light radius of the one galaxy in the middle."""
    rows, columns = np.mgrid[: flux.shape[1], : flux.shape[2]]
    summed = ndimage.gaussian_filter(flux[1], 1.0)
    noise = 1.0 / np.sqrt(np.median(ivar[1][ivar[1] > 0]))
    labels, _ = ndimage.label((summed > 2.0 * noise) & (ivar[1] > 0))
    own = labels == labels[tuple(n // 2 for n in flux.shape[1:])]
    weight = np.where(own, flux[1], 0.0)
    x, y = ((weight * a).sum() / weight.sum() for a in (columns, rows))
    width = 0.5 * (weight * ((columns - x) ** 2 + (rows - y) ** 2)).sum() / weight.sum()
    v, u = np.mgrid[: psf.shape[1], : psf.shape[2]] - 0.5 * (psf.shape[1] - 1)
    of_point = 0.5 * (np.median(psf, 0) * (u**2 + v**2)).sum() / np.median(psf, 0).sum()
    return np.array([x, y]), np.maximum((own * flux).sum((1, 2)), 1e-3), 1.18 * float(np.sqrt(max(width - of_point, 1.0)))


def told(model: Model, point: Point, curve: str) -> Told:
    """Of one point, on the grid of the source."""
    source, some = model.scene.groups[0].source, jax.tree.map(lambda leaf: leaf[0], point.members[0])
    return _told(source, some, curve, dust.tau_per_ebv(curve))


def _told(source: Source, some: Members, curve: str, per_ebv: float) -> Told:
    ebv, light = _maps(source, some.start, some.u)
    return Told(np.asarray(ebv, np.float64) / per_ebv, np.asarray(light, np.float64))


@eqx.filter_jit
def _maps(source: Source, start: Start, u: dict) -> tuple[jax.Array, jax.Array]:
    values = values_of(source, start, u)
    shapes = [on_grid(light.morphology, of_part(values, f"light_{i}"), source.grid, source.step) for i, light in enumerate(source.lights)]
    tau = jnp.zeros((source.grid, source.grid))
    for screen, depth in zip(source.screens, source.depths(values), strict=True):
        tau += depth[0] / screen.law[0]
    return tau, source.fluxes(values, start)[:, :, None, None] * jnp.stack(shapes)[:, None]


def drawn(model: Model, curve: str, seed: int) -> list[Told]:
    """Of draws about the most probable point."""
    points = laplace.sample(jax.random.key(seed), model.scene, model.fitted.point, model.seen, model.free, DRAWS)
    return [told(model, jax.tree.map(lambda leaf, i=i: leaf[i], points), curve) for i in range(DRAWS)]


# --- simulated galaxies ----------------------------------------------------------------------------------------------


class Scored(NamedTuple):
    """One galaxy: truth, models, what they say and their draws, and maps [y, x] of E(B-V) as pixels see them."""

    galaxy: Dusty
    truth: Told
    models: list[Model]
    said: list[Told]
    draws: list[list[Told]]
    true_map: np.ndarray
    maps: list[np.ndarray]
    seconds: float

    @property
    def lit(self) -> np.ndarray:
        """Pixels [y, x] that are bright enough."""
        return self.galaxy.flux[1] > LIT * self.galaxy.sigma[1]

    def pull(self, what: str, which: int) -> np.ndarray:
        """(most probable - truth) / sd of the draws."""
        best, truth = (np.asarray(getattr(one, what)) for one in (self.said[which], self.truth))
        return (best - truth) / np.std([getattr(one, what) for one in self.draws[which]], 0)


def on_pixels(said: Told, model: Model, psf: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """E(B-V) weighted by the light in r, as the image's pixels see it."""
    lit = said.light[:, 1].sum(0)
    top, bottom = (signal.fftconvolve(a, psf[1], "same") for a in (said.ebv * lit, lit))
    some = jax.tree.map(lambda leaf: leaf[0], model.fitted.point.members[0])
    values = values_of(model.scene.groups[0].source, some.start, some.u)
    x, y = np.asarray(some.start.position + values["offset"], np.float64) - 0.5 * (len(lit) - 1)
    places = np.stack(np.mgrid[: shape[0], : shape[1]].astype(float)) - np.array([y, x])[:, None, None]
    return np.divide(*(ndimage.map_coordinates(a, places, order=3, mode="nearest") for a in (top, bottom)))


def scored(one: Dusty, seed: int) -> Scored:
    """Fit one galaxy."""
    started = time.process_time()
    law = np.asarray(dust.band_curve(one.curve, FILTERS))
    ivar = np.broadcast_to(one.sigma[:, None, None] ** -2.0, one.flux.shape)
    grid = one.flux.shape[1] + 1
    models = each_way(one.flux, ivar, one.psf, law, Sersic(1.0), grid, np.zeros(3), all_free=True)
    said = [told(model, model.fitted.point, one.curve) for model in models]
    draws = [[], *(drawn(model, one.curve, seed) for model in models[1:])]
    maps = [on_pixels(some, model, one.psf, one.flux.shape[1:]) for some, model in zip(said, models, strict=True)]
    true_map = light_weighted(one.ebv, one.light[:, 1].sum(0), one.psf[1])
    return Scored(one, Told(one.ebv, one.light), models, said, draws, true_map, maps, time.process_time() - started)


def spread(x: np.ndarray, digits: int = 3) -> str:
    """Median and NMAD."""
    return f"{np.median(x):+.{digits}f} ± {1.4826 * np.median(np.abs(x - np.median(x))):.{digits}f}"


def coverage(pulls: np.ndarray) -> str:
    """Per cent within 1 and 2 sd, and the rms that half of them suggest."""
    return f"{100 * np.mean(np.abs(pulls) < 1):.0f}, {100 * np.mean(np.abs(pulls) < 2):.0f} ({np.median(np.abs(pulls)) / 0.6745:.1f})"


def row_of(name: str, some: list[Scored], which: int) -> list[object]:
    """Of some galaxies without dust (0) or with (1)."""
    chi2 = np.array([one.models[which].chi2 for one in some])
    off = np.array([one.said[which].magnitudes - one.truth.magnitudes for one in some])
    gradient = np.array([one.said[which].gradient - one.truth.gradient for one in some])
    ended = sum(bool(one.models[which].fitted.converged) for one in some)
    cells = [name, len(some), ended, f"{np.median(chi2):.3f} ({chi2.max():.2f})", *(spread(off[:, b]) for b in (0, 2)), spread(gradient)]
    mean = np.array([one.said[which].mean_ebv - one.truth.mean_ebv for one in some])
    if not which:
        return [*cells, spread(mean), "", "", "", ""]
    maps = [(one.maps[which][one.lit], one.true_map[one.lit]) for one in some]
    differences = np.array([(np.median(a - b), np.std(a - b), np.corrcoef(a, b)[0, 1]) for a, b in maps])
    pulls = [np.array([one.pull(what, which) for one in some]) for what in ("mean_ebv", "magnitudes")]
    return [
        *cells, spread(mean), coverage(pulls[0]), coverage(pulls[1][:, 1]), f"{np.median(differences[:, 1]):.3f}",
        f"{np.median(differences[:, 2]):.2f}",
    ]  # fmt: skip


HEAD = [
    "fit", "galaxies", "converged", "chi2 a pixel (worst)", "g without dust, mag", "z", "gradient of g - z", "mean E(B-V)",
    "in 1, 2 sd, % (error over stated)", "the same of r", "scatter of the map", "correlation of the map",
]  # fmt: skip


def simulated(n: int, seed: int, figures: Path) -> tuple[str, list[Scored]]:
    """The table, and what it is of."""
    some = []
    for number in range(n):
        one = scored(dusty(np.random.default_rng([seed, number])), number)
        some.append(one)
        print(
            f"{number + 1} of {n}: S/N {one.galaxy.sn:.0f}, cos i {one.galaxy.cosine:.2f}, chi2 {one.models[0].chi2:.3f} -> "
            f"{one.models[1].chi2:.3f} ({int(one.models[1].fitted.steps)} steps, converged {bool(one.models[1].fitted.converged)}), "
            f"mean E(B-V) {one.truth.mean_ebv:.3f}: {one.said[1].mean_ebv:.3f} ± {np.std([d.mean_ebv for d in one.draws[1]]):.3f}, all "
            f"free {one.said[2].mean_ebv:.3f} ± {np.std([d.mean_ebv for d in one.draws[2]]):.3f}, correlation "
            f"{np.corrcoef(one.maps[1][one.lit], one.true_map[one.lit])[0, 1]:.2f}, {one.seconds:.0f} s of processor",
            flush=True,
        )
        if number < 6:
            drawing(one, figures / f"galaxy_{number}.png")
    sn, cosine = (np.array([getattr(one.galaxy, what) for one in some]) for what in ("sn", "cosine"))
    parts = {
        "": np.ones(n, bool), ", S/N < 160": sn < 160, ", S/N > 160": sn >= 160, ", cos i < 0.6": cosine < 0.6,
        ", cos i > 0.6": cosine >= 0.6,
    }  # fmt: skip
    rows = [
        row_of(kind + part, [one for one, kept in zip(some, which, strict=True) if kept], i)
        for i, kind in enumerate(("without dust", "with dust", "with dust, all free")) for part, which in parts.items() if which.any()
    ]  # fmt: skip
    return markdown_table(HEAD, rows), some


def drawing(one: Scored, path: Path) -> None:
    """Image, residuals, and maps."""
    left = [np.asarray(normal.residuals(m.scene, m.fitted.point, m.seen)[0][0]) / one.galaxy.sigma[0] for m in one.models[:2]]
    error = np.std([on_pixels(d, one.models[1], one.galaxy.psf, one.true_map.shape) for d in one.draws[1]], 0)
    top = float(np.quantile(one.true_map[one.lit], 0.99))
    shown = {
        "r": (np.arcsinh(one.galaxy.flux[1] / one.galaxy.sigma[1]), None, None, "gray"),
        "g left, no dust (sd)": (left[0], -5, 5, "RdBu"), "g left, dust (sd)": (left[1], -5, 5, "RdBu"),
        "E(B-V), truth": (np.where(one.lit, one.true_map, np.nan), 0, top, "inferno"),
        "E(B-V), slipher": (np.where(one.lit, one.maps[1], np.nan), 0, top, "inferno"),
        "its error": (np.where(one.lit, error, np.nan), 0, top, "inferno"),
    }  # fmt: skip
    found = f"mean E(B-V) {one.truth.mean_ebv:.3f}, found {one.said[1].mean_ebv:.3f}"
    panels(shown, path, f"S/N {one.galaxy.sn:.0f}, cos i {one.galaxy.cosine:.2f}, {found}")


def panels(shown: dict[str, tuple], path: Path, title: str) -> None:
    """A row of images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, len(shown), figsize=(3.2 * len(shown), 3.4))
    for axis, (label, (image, low, high, colours)) in zip(axes, shown.items(), strict=True):
        drawn_ = axis.imshow(image, origin="lower", vmin=low, vmax=high, cmap=colours)
        axis.set_title(label, fontsize=9)
        axis.set_axis_off()
        figure.colorbar(drawn_, ax=axis, fraction=0.046)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=80, bbox_inches="tight")
    plt.close(figure)


# --- a real galaxy ---------------------------------------------------------------------------------------------------


def real(folder: Path, figures: Path, seed: int) -> str:
    """rs0010: the table and what it means."""
    flux = fits.getdata(folder / "rs0010_legacy_grz.fits").astype(np.float64)
    whole = flux.reshape(3, flux.shape[1] // BIN, BIN, -1, BIN).sum((2, 4))
    binned = whole[(slice(None), *REAL_CUT)]
    fine = np.stack([moffat(5 * f / REAL_PIXEL_ARCSEC, 5 * BIN * 21) for f in REAL_SEEING_ARCSEC])
    psf = fine.reshape(3, 21, 5 * BIN, 21, 5 * BIN).sum((2, 4))
    # The noise is that of the whole image, most of which is sky.
    noise = np.asarray(cutout(whole, psf=psf, id="rs0010").ivar)[(slice(None), *REAL_CUT)]
    image = cutout(binned, ivar=noise, psf=psf, bands=("g", "r", "z"), zero_point=22.5, id="rs0010")
    ivar = others_out(np.asarray(image.flux, np.float64), np.asarray(image.ivar, np.float64))
    sky = np.array([np.median(b[w > 0][b[w > 0] < np.quantile(b[w > 0], 0.6)]) for b, w in zip(image.flux, ivar, strict=True)])
    grid, rows, shown = max(binned.shape[1:]) + 1 - max(binned.shape[1:]) % 2, [], {}
    for curve in ("calzetti", "cardelli"):
        law = np.asarray(dust.band_curve(curve, FILTERS, 0.0194))
        started = time.process_time()
        disc = Textured(Sersic(1.0), grid, 1.0)
        models = each_way(np.asarray(image.flux, np.float64), ivar, np.asarray(image.psf, np.float64), law, disc, grid, sky, all_free=False)
        said = [told(model, model.fitted.point, curve) for model in models]
        draws = drawn(models[1], curve, seed)
        seconds = time.process_time() - started
        maps = [on_pixels(d, models[1], np.asarray(image.psf), binned.shape[1:]) for d in (said[1], *draws)]
        lit = (np.asarray(image.flux[1]) * np.sqrt(ivar[1]) > LIT) & (ivar[1] > 0)
        fibre, all_of_it = fibre_of(np.asarray(image.flux[1]), lit), lit * np.asarray(image.flux[1])
        per_ebv = MAG * dust.tau_per_ebv(curve)
        told_of = [[float((w * m).sum() / w.sum()) for m in maps] for w in (fibre, all_of_it)]
        rows.append([
            curve, f"{models[0].chi2:.3f}", f"{models[1].chi2:.3f}", bool(models[1].fitted.converged),
            f"{said[1].mean_ebv:.3f} ± {np.std([d.mean_ebv for d in draws]):.3f}",
            *(f"{per_ebv * v[0]:.2f} ± {per_ebv * np.std(v[1:]):.2f}" for v in told_of), f"{seconds:.0f}",
        ])  # fmt: skip
        print(rows[-1], flush=True)
        left = [np.asarray(normal.residuals(m.scene, m.fitted.point, m.seen)[0][0]) * np.sqrt(ivar[0]) for m in models]
        top = float(np.quantile(maps[0][lit], 0.99))
        shown = {
            "r": (np.arcsinh(np.asarray(image.flux[1]) * np.sqrt(ivar[1])), None, None, "gray"),
            "g left, no dust (sd)": (left[0], -5, 5, "RdBu"), "g left, dust (sd)": (left[1], -5, 5, "RdBu"),
            "E(B-V)": (np.where(lit, maps[0], np.nan), 0, top, "inferno"),
            "its error": (np.where(lit, np.std(maps[1:], 0), np.nan), 0, top, "inferno"),
        }  # fmt: skip
        panels(shown, figures / f"rs0010_{curve}.png", f"RESOLVE rs0010, {curve}")
    head = ["law", "chi2 a pixel without", "with dust", "converged", "mean E(B-V)", "A_V in the fibre", "A_V of all", "s of processor"]
    return markdown_table(head, rows)


def others_out(flux: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    """Weights without the pixels of other objects: peaks in z, of their surroundings' brightness or more, off the middle."""
    around = ndimage.median_filter(flux[2], 13)
    sharp = flux[2] - around
    rows, columns = np.mgrid[: flux.shape[1], : flux.shape[2]]
    middle = np.hypot(rows - flux.shape[1] / 2, columns - flux.shape[2] / 2) < 12
    bad = ndimage.binary_dilation((sharp * np.sqrt(ivar[2]) > 6.0) & (sharp > around) & ~middle, iterations=3)
    return np.where(bad, 0.0, ivar)


def fibre_of(flux: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """The light within a fibre on the galaxy's middle."""
    y, x = ndimage.center_of_mass(np.where(lit, np.maximum(flux, 0.0) ** 2, 0.0))
    rows, columns = np.mgrid[: flux.shape[0], : flux.shape[1]]
    return flux * (np.hypot(rows - y, columns - x) < FIBRE_ARCSEC / (BIN * REAL_PIXEL_ARCSEC))


# --- the table -------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--galaxies", type=int, default=30)
    parser.add_argument("--real", type=Path, help="folder of rs0010_legacy_grz.fits")
    parser.add_argument("--figures", type=Path, default=Path("runs/scene_dust"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, default=README, help="the file whose section is written")
    options = parser.parse_args()
    here = machine("slipher", "jax")
    text = ["## Dust in images", f"`python benchmarks/scene_dust.py --galaxies {options.galaxies} --seed {options.seed}`. {here}"]
    if options.galaxies:
        table, some = simulated(options.galaxies, options.seed, options.figures)
        text += [
            "Discs and bulges behind screens of dust (flatter, beside the centre, warped, clumped; Calzetti's or Cardelli's law, which the "
            f"fit is told), through g, r, z at 0.262 arcsec, S/N in r {min(o.galaxy.sn for o in some):.0f}-"
            f"{max(o.galaxy.sn for o in some):.0f}, mean E(B-V) {min(o.truth.mean_ebv for o in some):.2f}-"
            f"{max(o.truth.mean_ebv for o in some):.2f}. Fits less truth, median ± NMAD: "
            "total magnitudes without dust, g - z of the inner half of the light less that of the outer, E(B-V) weighted by the light in "
            f"r. Maps: of pixels above {LIT:g} sd in r, as the PSF leaves them; medians over galaxies. Screens that cover all of a galaxy "
            "evenly are nothing but its colour, so that errors of the mean are large where dust has no shape of its own. `all free`: the "
            "dust's shape with its texture, not held.",
            table,
            f"{np.median([o.seconds for o in some]):.0f} s of processor a galaxy in the median, both fits and {DRAWS} draws.",
        ]
    if options.real:
        text += [
            "RESOLVE rs0010 in Legacy Survey's g, r, z, binned to 0.54 arcsec; variance of the sky alone, by slipher's own estimate, PSF "
            f"a Moffat of {', '.join(f'{f:g}' for f in REAL_SEEING_ARCSEC)} arcsec, the survey's usual seeing. A_V by the light in r "
            f"within {FIBRE_ARCSEC:g} arcsec (SDSS' fibre) and of all. Spectrum and bands together have A_V = 0.16 ± 0.02, the "
            "spectrum 0.12 ± 0.05 (`joint`): that is of the stars in the fibre, by the shape of their spectrum and a model of their ages, "
            "the Milky Way taken off. The image's is of what is redder than the rest of a disc or a bulge of one colour each: an even "
            "screen, the Milky Way's too, is not in it, and a gradient of ages or metallicity is. So the two need not agree, and errors of "
            "the image's A_V are those of its model alone.",
            real(options.real, options.figures, options.seed),
        ]
    write_section("scene-dust", "\n\n".join(text), options.table)


if __name__ == "__main__":
    main()
