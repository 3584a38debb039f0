"""Images of two resolutions as one scene: `python benchmarks/scene_resolutions.py [--images DIR] [--simulated N] [--table-only]`.

`--images` is the folder of a field by HSC in five bands and by HST in one (`Cut_HSC1.fits`, `Cut_HST1.fits`, `PSF_HSC.fits`,
`PSF_HST.fits`): each is fitted alone, both together, and HSC once more at the places of the sources that both together show. Of this field
no truth is known, nor does it come with variances (`noise`). HST's pixels of 0.03 arcsec are summed two by two first.

`--simulated` are pairs of galaxies by GalSim (`pip install galsim`), closer than one PSF of the ground, with the profiles and the noise of
`galsim_blends`: five bands as from the ground, and one band as from space, turned by any angle, and off its coordinates by up to half a
pixel. Positions are given to both fits, and are off by a fifth of a ground pixel, so that what differs is what the sharper image says of
two sources that are known to be there. Beside every other pair is a star: without one, how far the images are off each other is hard to
tell from how much of the light is whose. Answers are kept in `runs/scene_resolutions`, so that a run that was ended goes on where it was;
delete them to have them anew.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from astropy.stats import mad_std
from astropy.wcs import WCS
from tables import README, machine, markdown_table, write_section

ROOM = Path(__file__).parent.parent / "runs" / "scene_resolutions"
FIELD, REAL = "1", "hsc_hst.npz"  # of two, the more crowded
HSC, HST = tuple("grizy"), ("F814W",)
SEEN = 10.0  # flux over its error in the best band of HSC: sources of which colours are compared
SEED = 814
# The pairs.
SPACE_BAND, LIKE = "F814W", 2  # and the ground's band of which it shows the profiles
SPACE_SIDE, SPACE_PIXEL = 96, 0.06  # pixels; arcsec
SPACE_PSF, SPACE_PSF_SIDE = 0.1, 41  # full width at half maximum, arcsec; pixels
SPACE_SKY = 1.6e-3  # variance a pixel: points are as significant as in the ground's band
CLOSE = (0.4, 0.95)  # of the ground's PSF, between the two
LARGEST = 2.1  # ground pixels: half-light radii of discs, about half a PSF
SN = (100.0, 1000.0)  # of each galaxy alone, in all bands of the ground
STAR, BESIDE = 100.0, 12.5  # S/N of the star; ground pixels from the pair's middle
STARS = {"no star": False, "a star beside": True}
NEAR = 0.5  # of their distance, between a detection and its galaxy


# --- fits ------------------------------------------------------------------------------------------------------------


def fitted(images, position: np.ndarray | None = None):
    """A deblended scene, and the seconds that it took, wall and processor."""
    from slipher.data.detections import Detections
    from slipher.scene.deblend import deblend

    given = None if position is None else Detections(tuple(str(i) for i in range(len(position))), np.asarray(position, np.float64))
    wall, cpu = time.perf_counter(), time.process_time()
    found = deblend(images, given)
    return found, (time.perf_counter() - wall, time.process_time() - cpu)


def sights(found) -> dict[str, list[np.ndarray]]:
    """Of each image by band: how far it is off, in its own pixels, and its background, with Laplace's errors."""
    import jax

    from slipher.scene import catalogue, exposure, laplace

    blend = found.blend
    draws = laplace.sample(jax.random.key(0), blend.scene, blend.fitted.point, blend.seen, blend.free, catalogue.DRAWS)
    out: dict[str, list[np.ndarray]] = {name: [] for name in ("shift", "shift_err", "background", "background_err")}
    for seen, best, some in zip(blend.seen, blend.fitted.point.sights, draws.sights, strict=True):
        shift = np.asarray(exposure.shifts(seen, best.shift))
        off = np.asarray(jax.vmap(lambda u, seen=seen: exposure.shifts(seen, u))(some.shift)) - shift
        pairs = ("shift", shift, off), ("background", np.asarray(best.background), np.asarray(some.background - best.background))
        for name, value, scatter in pairs:
            out[name].append(value)
            out[f"{name}_err"].append(np.sqrt(np.mean(scatter**2, 0)))
    return out


def columns(found, bands: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Of the catalogue: fluxes and colours of these bands and places, each with its error, [source, ...]."""
    names = {
        "flux": [f"flux_{band}" for band in bands], "colour": [f"color_{a}_{b}" for a, b in pairwise(bands)], "place": ["x", "y"],
    }  # fmt: skip
    return {
        f"{what}{end}": np.stack([np.asarray(found.table[f"{name}{end}"]) for name in own], 1)
        for what, own in names.items() for end in ("", "_err")
    }  # fmt: skip


# --- a field by HSC and HST ------------------------------------------------------------------------------------------


def opened(folder: Path, field: str):
    """The two images, HST's pixels summed two by two, with variances, and by how much these are more than those of pixels."""
    from slipher.data.image_files import read_image

    images, factors = [], []
    for name, bands in (("HSC", HSC), ("HST", HST)):
        one = read_image(folder / f"Cut_{name}{field}.fits", psf=folder / f"PSF_{name}.fits", bands=bands, id=name)
        flux, psf, wcs = (one.flux, one.psf, one.wcs) if name == "HSC" else coarser(one.flux, one.psf, one.wcs)
        each = np.array([noise(image) for image in flux.astype(np.float64)])
        images.append(_cutout(flux, psf, wcs, each[:, 1], bands, name))
        factors.append(each[:, 1] / each[:, 0])
    return images, factors


def _cutout(flux: np.ndarray, psf: np.ndarray, wcs: WCS, sd: np.ndarray, bands: tuple[str, ...], name: str):
    from slipher.data.image import cutout

    variance = np.broadcast_to(np.square(sd)[:, None, None], flux.shape)
    return cutout(flux, psf=psf, wcs=wcs, variance=variance, bands=bands, id=name)


def coarser(flux: np.ndarray, psf: np.ndarray, wcs: WCS) -> tuple[np.ndarray, np.ndarray, WCS]:
    """Pixels, and those of the PSF, summed two by two.

    A PSF with a pixel in its middle is moved by half of one first, so that its middle is between four, which become one.
    """
    n = psf.shape[-1]
    side = n + n % 2
    side += 2 * (side // 2 % 2 == 0)  # half of it is odd: a pixel is in the middle again
    before = (side - n) // 2
    room = np.pad(psf, ((0, 0), *((before, side - n - before),) * 2))
    by = 0.5 * (side - 1) - before - 0.5 * (n - 1)
    ky, kx = 2.0 * np.pi * np.fft.fftfreq(side), 2.0 * np.pi * np.fft.rfftfreq(side)
    moved = np.fft.irfft2(np.fft.rfft2(room) * np.exp(-1j * by * (ky[:, None] + kx)), (side, side))
    even = flux[:, : flux.shape[1] // 2 * 2, : flux.shape[2] // 2 * 2]
    return _summed(even), _summed(moved), wcs.slice((slice(0, None, 2), slice(0, None, 2)))


def _summed(image: np.ndarray) -> np.ndarray:
    """[..., y, x], two by two."""
    *rest, rows, cols = image.shape
    return image.reshape(*rest, rows // 2, 2, cols // 2, 2).sum((-3, -1))


def noise(image: np.ndarray) -> tuple[float, float]:
    """sd of a pixel's noise, and that of white noise which in two by two pixels together is as large as the image's.

    Both from second differences, over two pixels and between neighbouring fours, of which smooth sources have little. Resampling has
    made pixels alike: the second is what weighs them, still a little too much, for neighbouring fours are alike too.
    """
    return _second(image, 2), 0.5 * _second(_summed(image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2]), 1)


def _second(image: np.ndarray, apart: int) -> float:
    x = image[:, apart:-apart] - 0.5 * (image[:, 2 * apart :] + image[:, : -2 * apart])
    y = image[apart:-apart] - 0.5 * (image[2 * apart :] + image[: -2 * apart])
    return float(np.hypot(mad_std(x), mad_std(y)) / np.sqrt(3.0))


def of_field(folder: Path, field: str) -> dict[str, np.ndarray]:
    """All that is told of it."""
    from slipher.scene.detect import full_width
    from slipher.scene.exposure import affine

    images, factors = opened(folder, field)
    together, seconds = fitted(images)
    alone = [fitted(image) for image in images]
    place = np.column_stack([together.table["x"], together.table["y"]])
    known, known_seconds = fitted(images[0], place)
    width, distance = full_width(images[0].psf), np.hypot(*(place[:, None] - place).T)
    told: dict[str, object] = {
        "apart": (distance + np.where(np.eye(len(place)), np.inf, 0.0)).min(1) / width, "width": width, "place": place,
        "jacobian": affine(*images)[0], "seconds": [seconds, *(s for _, s in alone), known_seconds],
        "converged": [one.converged for one in (together, *(f for f, _ in alone), known)],
        "sources": [len(one.table) for one in (together, *(f for f, _ in alone))],
        "chi2": [np.mean(view.chi2_per_pixel * np.square(f)) for view, f in zip(together.views, factors, strict=True)],
        "chi2_alone": [f.chi2_per_pixel * np.mean(np.square(by)) for (f, _), by in zip(alone, factors, strict=True)],
    }  # fmt: skip
    both, single = sights(together), [sights(f) for f, _ in alone]
    for i, (image, name) in enumerate(zip(images, ("hsc", "hst"), strict=True)):
        told |= {f"{name}_{what}": both[what][i] for what in both} | {f"{name}_alone_{what}": single[i][what][0] for what in both}
        told |= {
            f"{name}_factor": factors[i], f"{name}_image": image.flux, f"{name}_model": together.views[i].model,
            f"{name}_ivar": image.ivar, f"{name}_scale": 3600.0 * np.sqrt(np.mean(np.square(image.wcs.pixel_scale_matrix)) * 2.0),
        }  # fmt: skip
    for name, one in (("together", together), ("known", known)):
        told |= {f"{name}_{what}": value for what, value in columns(one, HSC).items()}
    return told


# --- pairs of which the truth is known -------------------------------------------------------------------------------


def pair(number: int, seed: int):
    """Two images of two galaxies, of odd numbers with a star beside them, the positions that are given, and the galaxies' truth."""
    import galsim
    import galsim_blends as ground

    from slipher.data.image import cutout

    rng = np.random.default_rng([seed, number])
    psfs = [ground._psf(rng) for _ in ground.BANDS]
    sources = [_galaxy(rng, ground) for _ in range(2)]
    points = np.array([ground._psf_image(psf) for psf in psfs])
    width = 2.0 * np.sqrt(np.mean([np.sum(p > 0.5 * p.max()) for p in points]) / np.pi)
    angle, apart = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(*CLOSE)
    middle = 0.5 * (ground.SIDE - 1) + rng.uniform(-0.5, 0.5, 2)
    half = 0.5 * apart * width * np.array([np.cos(angle), np.sin(angle)])
    position, wanted = np.stack([middle - half, middle + half]), np.exp(rng.uniform(*np.log(SN), 2))
    if number % 2:
        angle = rng.uniform(0.0, 2.0 * np.pi)
        sources.append(ground.Drawn("star", [galsim.DeltaFunction(flux=f) for f in ground._colour(1.0, rng)], galsim.DeltaFunction(), 0.0))
        position = np.vstack([position, middle + BESIDE * np.array([np.cos(angle), np.sin(angle)])])
        wanted = np.append(wanted, STAR)
    unit = np.array([
        [ground._image(p, psf, xy) for p, psf in zip(one.profiles, psfs, strict=True)] for one, xy in zip(sources, position, strict=True)
    ])  # fmt: skip
    scale = np.array([ground._scale(own, sn) for own, sn in zip(unit, wanted, strict=True)])
    clean = np.tensordot(scale, unit, 1)
    variance = ground.SKY[:, None, None] + ground.PHOTON * np.maximum(clean, 0.0)
    # Space: the same sky through a map that is no code of slipher's.
    frames = _frame(ground.PIXEL, 0.0, ground.SIDE), _frame(SPACE_PIXEL, rng.uniform(0.0, 360.0), SPACE_SIDE)
    off, jacobian = rng.uniform(-0.5, 0.5, 2), np.linalg.solve(frames[1].wcs.cd, frames[0].wcs.cd)
    profiles = [one.profiles[LIKE] * by for one, by in zip(sources, scale, strict=True)]
    sharp, sharp_psf = _sharp(profiles, (position - 0.5 * (ground.SIDE - 1)) @ jacobian.T + off, jacobian)
    sharp_variance = SPACE_SKY + ground.PHOTON * np.maximum(sharp, 0.0)
    images = [
        cutout(image + np.sqrt(sky) * rng.standard_normal(image.shape), variance=sky, psf=psf, bands=bands, wcs=wcs, id=name)
        for image, sky, psf, bands, wcs, name in (
            (clean, variance, points, ground.BANDS, frames[0], "ground"),
            (sharp[None], sharp_variance[None], sharp_psf, (SPACE_BAND,), frames[1], "space"),
        )
    ]
    flux = scale[:2, None] * np.array([[p.flux for p in one.profiles] for one in sources[:2]])
    measured = np.array([ground._measured(one) for one in sources[:2]])
    truth = {
        "flux": flux, "colour": -2.5 * np.log10(flux[:, :-1] / flux[:, 1:]), "place": position[:2] + measured[:, 3:],
        "shift": off, "apart": apart, "width": width, "sn": wanted[:2], "jacobian": jacobian, "star": len(sources) > 2,
    }  # fmt: skip
    return images, position + ground.SCATTER * rng.standard_normal(position.shape), truth


def _sharp(profiles: list, place: np.ndarray, jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What space shows of profiles in ground pixels at places from the middle of its image, without noise; and its PSF."""
    import galsim

    psf, image = galsim.Moffat(beta=2.5, fwhm=SPACE_PSF / SPACE_PIXEL, trunc=0.45 * SPACE_PSF_SIDE), np.zeros((SPACE_SIDE, SPACE_SIDE))
    for profile, there in zip(profiles, place, strict=True):
        seen = galsim.Convolve(profile.transform(*jacobian.ravel()) / abs(np.linalg.det(jacobian)), psf, real_space=False)
        image += seen.drawImage(nx=SPACE_SIDE, ny=SPACE_SIDE, scale=1.0, offset=galsim.PositionD(*there), dtype=np.float64).array
    return image, psf.drawImage(nx=SPACE_PSF_SIDE, ny=SPACE_PSF_SIDE, scale=1.0, dtype=np.float64).array


def _galaxy(rng: np.random.Generator, ground):
    """One that is no star, and small."""
    while True:
        one = ground._source(rng)
        if one.kind != "star" and one.size < LARGEST:
            return one


def _frame(pixel: float, angle: float, side: int) -> WCS:
    """Coordinates about the middle of an image, turned by degrees."""
    wcs, turn = WCS(naxis=2), np.deg2rad(angle)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [0.5 * (side + 1)] * 2
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.cd = rotation @ np.diag([-pixel, pixel]) / 3600.0
    return wcs


def of_pair(number: int, seed: int) -> dict[str, object]:
    """Both fits of a pair, and what each image shows at first look."""
    images, position, truth = pair(number, seed)
    told: dict[str, object] = {f"true_{name}": value for name, value in truth.items()} | {"detected": told_apart(images, truth)}
    for name, given in (("ground", images[:1]), ("both", images)):
        found, seconds = fitted(given, position)
        told |= {f"{name}_{what}": value[:2] for what, value in columns(found, images[0].bands).items()}
        told |= {f"{name}_seconds": seconds, f"{name}_converged": found.converged}
        told[f"{name}_chi2"] = [view.chi2_per_pixel for view in found.views]
        if name == "both":
            told |= {what: values[1][0] for what, values in sights(found).items() if what.startswith("shift")}
    return told


def told_apart(images, truth: dict[str, np.ndarray]) -> list[bool]:
    """Whether both galaxies of a pair are found in each image."""
    from blend_scores import matched

    from slipher.scene.detect import detect

    out = []
    for image, to in zip(images, (np.eye(2), truth["jacobian"]), strict=True):
        middle = 0.5 * (np.array(image.flux.shape[:0:-1]) - 1)
        ground_middle = 0.5 * (np.array(images[0].flux.shape[:0:-1]) - 1)
        place = (truth["place"] - ground_middle) @ to.T + middle + (0.0 if image is images[0] else truth["shift"])
        found = detect(*(np.asarray(x, np.float64) for x in (image.flux, image.ivar, image.psf))).position
        within = NEAR * truth["apart"] * truth["width"] * np.sqrt(abs(np.linalg.det(to)))
        out.append(bool((matched(found, place, truth["sn"], within) >= 0).all()))
    return out


# --- what is kept ----------------------------------------------------------------------------------------------------


def kept(path: Path, make, *given) -> dict[str, np.ndarray]:
    """What a file holds, made first where it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **make(*given))
        part.rename(path)
    with np.load(path) as file:
        return dict(file)


# --- the tables ------------------------------------------------------------------------------------------------------


def text_of_field(told: dict[str, np.ndarray]) -> list[str]:
    """Of HSC and HST."""
    rows = []
    for i, name in enumerate(("hsc", "hst")):
        bands, height, width = told[f"{name}_image"].shape
        sky = (told[f"{name}_{lead}background{end}"] for lead in ("", "alone_") for end in ("", "_err"))
        shift = "0 (it is the frame)" if i == 0 else _shift(told)
        rows.append([
            name.upper(), bands, f"{width} x {height}", f"{float(told[f'{name}_scale']):.3f}", f"{np.median(told[f'{name}_factor']):.2f}",
            f"{told['chi2'][i]:.2f}", f"{told['chi2_alone'][i]:.2f}", told["sources"][1 + i], shift,
            *(", ".join(f"{v:+.3f} ± {e:.3f}" for v, e in zip(next(sky), next(sky), strict=True)) for _ in range(2)),
        ])  # fmt: skip
    head = [
        "image", "bands", "pixels", "arcsec", "noise that is counted, over a pixel's", "chi^2/pixel together", "alone", "sources alone",
        "shift, own pixels", "background", "alone",
    ]  # fmt: skip
    names = ("together", "HSC alone", "HST alone", "HSC alone, at the places of both")
    seconds = ", ".join(
        f"{name} {wall:.0f} s ({cpu:.0f}){'' if done else ', not converged'}"
        for name, (wall, cpu), done in zip(names, told["seconds"], told["converged"], strict=True)
    )
    return [
        f"One field by HSC and by HST: {told['sources'][0]} sources together. The files have no variances: they are estimated from second "
        "differences of pixels, two by two together, for resampling has made neighbours alike, and know nothing of the sources' own "
        "photons; errors are no better than that. chi^2 is in the noise of single pixels. HSC's images come scaled, each band to one sum: "
        "colours have an unknown zero point, which their errors do not mind. Of the shift a part may be that HST's PSF is not centred in "
        "its image.",
        markdown_table(head, rows), f"Wall time (processor), compilation and errors included: {seconds}.", colours_of_field(told),
    ]  # fmt: skip


def _shift(told: dict[str, np.ndarray]) -> str:
    (x, y), (x_err, y_err) = told["hst_shift"][0], told["hst_shift_err"][0]
    return f"{x:+.3f} ± {x_err:.3f}, {y:+.3f} ± {y_err:.3f}"


def colours_of_field(told: dict[str, np.ndarray]) -> str:
    """Errors of colours, of the sources that HSC sees, by whether it blends them."""
    seen = (told["together_flux"] / told["together_flux_err"]).max(1) > SEEN
    names, rows = [f"{a} - {b}" for a, b in pairwise(HSC)], []
    groups = {"next one nearer than one PSF of HSC": seen & (told["apart"] < 1.0), "farther": seen & (told["apart"] >= 1.0)}
    for name, here in groups.items():
        if not here.any():
            continue
        alone, both = (told[f"{lead}_colour_err"][here] for lead in ("known", "together"))
        pull = (told["known_colour"][here] - told["together_colour"][here]) / alone
        rows.append([
            f"{name} ({here.sum()})",
            *(f"{np.nanmedian(a):.3f} > {np.nanmedian(b):.3f}" for a, b in zip(alone.T, both.T, strict=True)),
            f"{np.nanmedian(alone / both):.2f}", f"{mad_std(pull, ignore_nan=True):.2f}",
        ])  # fmt: skip
    head = ["sources", *(f"error of {name}, mag" for name in names), "ratio", "scatter of differences, over errors without HST"]
    said = f"Errors of colours of the same sources (of {SEEN:g} sigma in the best band of HSC), by HSC alone > with HST, in the median:"
    return f"{said}\n\n{markdown_table(head, rows)}"


def text_of_pairs(each: list[dict[str, np.ndarray]]) -> list[str]:
    """Of pairs."""
    groups = {label: [one for one in each if bool(one["true_star"]) == star] for label, star in STARS.items()}
    groups = {label: some for label, some in groups.items() if some}
    rows = [
        [f"{what}, {label} ({len(some)})", *_row_of_pairs(some, name)]
        for label, some in groups.items() for name, what in (("ground", "ground alone"), ("both", "with space"))
    ]  # fmt: skip
    of = ("flux", "colour, mag", "place, pixels")
    head = ["fit", *(f"{a}{b}" for a in of for b in (" off", ", 90 %", ", claimed", ", pull and coverage")), "chi^2/pixel", "seconds (CPU)"]
    found = np.mean([one["detected"] for one in each], axis=0)
    return [
        f"{len(each)} pairs by GalSim, {CLOSE[0]:g} to {CLOSE[1]:g} PSFs of the ground apart, S/N {SN[0]:g} to {SN[1]:g} each, in five "
        f"bands of 0.168 arcsec, and in one of {SPACE_PIXEL:g} arcsec that is turned and off by up to half a pixel; positions given. Of "
        "the ground's bands the median |value - truth|, that of nine in ten, the median that the errors claim (0.67 of them), the median "
        "pull, and truths within 68 and 95 %:",
        markdown_table(head, rows),
        "How far the space image is off its coordinates is found, in its pixels, with a median error of "
        f"{'; '.join(f'{_row_of_shifts(some)} ({label})' for label, some in groups.items())}. At first look both "
        f"galaxies are found from the ground in {found[0]:.2f} of the pairs, from space in {found[1]:.2f}. Seconds of a pair are medians, "
        "compilation included where a layout is new, with errors.",
    ]  # fmt: skip


def _row_of_pairs(each: list[dict[str, np.ndarray]], name: str) -> list[str]:
    """Of one fit."""
    flux, cells = np.concatenate([one["true_flux"] for one in each]), []
    for what, over in (("flux", flux), ("colour", 1.0), ("place", 1.0)):
        off = np.concatenate([one[f"{name}_{what}"] - one[f"true_{what}"] for one in each])
        error = np.concatenate([one[f"{name}_{what}_err"] for one in each])
        form = (lambda v: f"{100.0 * v:.1f} %") if what == "flux" else (lambda v: f"{v:.3f}")
        here = np.abs(off / over)
        cells += [form(np.median(here)), form(np.quantile(here, 0.9)), form(np.median(0.6745 * error / over)), _covered(off / error)]
    chi2 = np.mean([one[f"{name}_chi2"] for one in each], axis=0)
    seconds = np.median([one[f"{name}_seconds"] for one in each], axis=0)
    return [*cells, ", ".join(f"{c:.2f}" for c in chi2), f"{seconds[0]:.0f} ({seconds[1]:.0f})"]


def _row_of_shifts(each: list[dict[str, np.ndarray]]) -> str:
    found, error, true = (np.array([one[name] for one in each]) for name in ("shift", "shift_err", "true_shift"))
    off = found - true
    claimed = np.median(0.6745 * error)
    return f"{np.median(np.abs(off)):.3f}, claimed {claimed:.3f}, pull and coverage {_covered(off / error)}"


def _covered(pull: np.ndarray) -> str:
    values = pull[np.isfinite(pull)]
    return f"{np.median(values):+.2f}, {np.mean(np.abs(values) < 1):.2f}/{np.mean(np.abs(values) < 1.96):.2f}"


# --- the figure ------------------------------------------------------------------------------------------------------


def drawn(told: dict[str, np.ndarray] | None, each: list[dict[str, np.ndarray]]) -> Path:
    """The field: images, models and what is left; errors of colours; and the pairs' fluxes and shifts against the truth."""
    wide = 4 * (told is not None) + bool(each)
    figure, axes = plt.subplots(2, wide, figsize=(4 * wide, 8), squeeze=False)
    if told is not None:
        for row, name in enumerate(("hsc", "hst")):
            _show_field(axes[row], told, name)
        _show_colours(axes[:, 3], told)
    if each:
        _show_pairs(axes[:, -1], each)
    figure.tight_layout()
    path = ROOM.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)
    return path


def _show_field(axes: np.ndarray, told: dict[str, np.ndarray], name: str) -> None:
    """The i band of HSC, HST's only one."""
    band = min(LIKE, len(told[f"{name}_image"]) - 1)
    image, model, sky = (told[f"{name}_{what}"][band] for what in ("image", "model", "background"))
    sd = 1.0 / np.sqrt(np.median(told[f"{name}_ivar"][band]))
    for axis, shown, title in zip(axes, (image, model), (f"{name.upper()}, {(HSC, HST)[name == 'hst'][band]}", "model"), strict=False):
        axis.imshow(np.arcsinh((shown - sky) / (3.0 * sd)), origin="lower", cmap="gray_r", vmin=-0.5, vmax=5.0)
        axis.set_title(title)
    axes[2].imshow((image - model) / sd, origin="lower", cmap="RdBu_r", vmin=-5.0, vmax=5.0)
    axes[2].set_title("left, ±5 sigma")
    if name == "hsc":
        axes[0].plot(*told["place"].T, "r+", ms=7)


def _show_colours(axes: np.ndarray, told: dict[str, np.ndarray]) -> None:
    seen = (told["together_flux"] / told["together_flux_err"]).max(1) > SEEN
    for near, label in ((True, "nearer than one PSF"), (False, "farther")):
        here = seen & ((told["apart"] < 1.0) == near)
        alone, both = (told[f"{name}_colour_err"][here].ravel() for name in ("known", "together"))
        axes[0].loglog(alone, both, "o" if near else "x", label=f"next one {label}")
        off = (told["known_colour"] - told["together_colour"])[here] / told["known_colour_err"][here]
        axes[1].plot(np.repeat(told["apart"][here], off.shape[1]), off.ravel(), "o" if near else "x")
    ends = axes[0].get_xlim()
    axes[0].plot(ends, ends, "k:")
    axes[0].set(xlabel="error of colour by HSC alone, mag", ylabel="with HST, mag")
    axes[0].legend()
    axes[1].axhline(0.0, color="k", lw=0.5)
    axes[1].set(xlabel="next source, PSFs of HSC", ylabel="colour alone less with HST,\nover its error alone", xlim=(0, 5))


def _show_pairs(axes: np.ndarray, each: list[dict[str, np.ndarray]]) -> None:
    for name, marker, label in (("ground", "x", "ground alone"), ("both", "o", "with space")):
        off = np.abs(np.concatenate([one[f"{name}_flux"] / one["true_flux"] - 1.0 for one in each]))
        axes[0].semilogy(np.repeat([float(one["true_apart"]) for one in each], 2 * off.shape[1]), off.ravel(), marker, label=label, ms=4)
    axes[0].set(xlabel="separation, PSFs of the ground", ylabel="|flux / truth - 1|")
    axes[0].legend()
    shift, error, true = (np.array([one[name] for one in each]) for name in ("shift", "shift_err", "true_shift"))
    axes[1].errorbar(true.ravel(), (shift - true).ravel(), error.ravel(), fmt="o", ms=4)
    axes[1].axhline(0.0, color="k", lw=0.5)
    axes[1].set(xlabel="true shift of the space image, own pixels", ylabel="found less true")


# --- all of it -------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of the field by HSC and HST")
    parser.add_argument("--simulated", type=int, default=0, help="pairs of galaxies")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--table", type=Path, default=README, help="the file whose section is written")
    parser.add_argument("--table-only", action="store_true", help="to the screen, of what there is and what is asked for")
    options = parser.parse_args()
    told = kept(ROOM / REAL, of_field, options.images, FIELD) if options.images else None
    each = []
    for number in range(options.simulated):
        each.append(kept(ROOM / f"{options.seed}-{number:04d}.npz", of_pair, number, options.seed))
        took = [round(float(each[-1][f"{name}_seconds"][0])) for name in ("ground", "both")]
        print(f"pair {number + 1} of {options.simulated}: {took} s", flush=True)
    asked = "".join([" --images DIR" if options.images else "", f" --simulated {options.simulated}" if each else ""])
    text = ["## Images of several resolutions", f"`python benchmarks/scene_resolutions.py{asked}`. {machine('slipher', 'jax')}"]
    text += [*(text_of_field(told) if told else []), *(text_of_pairs(each) if each else [])]
    if told is not None or each:
        print(drawn(told, each), flush=True)
    if options.table_only:
        print("\n\n".join(text))
    else:
        write_section("scene-resolutions", "\n\n".join(text), options.table)


if __name__ == "__main__":
    main()
