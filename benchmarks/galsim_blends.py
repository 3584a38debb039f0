"""Blends of which the truth is known, rendered by GalSim, which shares no code with slipher: `blends` fits them.

Galaxies are a Sersic bulge in an exponential disc of another colour, the disc of some with blue knots (`galsim.RandomKnots`) or spiral
arms; others are discs alone, and some sources are stars. Five bands have a Moffat PSF each, a little elliptical, of HSC's widths and
pixels, ending where its stamp ends; the noise is a sky of HSC's depth and the sources' own photons, its variance the true one. S/N of a
source is that of its own noiseless image in all bands, (sum s^2 / variance)^1/2, drawn from 10 to 1000 whatever its kind; distances are
from a fraction of the sizes to twice their sum, so that overlaps are from none to nearly all. Positions are those that a catalogue would
give: the true ones off by a fifth of a pixel.

Truth of sizes and ellipticities is measured, before any PSF, as catalogues define them: the radius of half the light in all bands
together (each of the same weight), and (xx - yy, 2 xy) / (xx + yy) of moments under a Gaussian twice as wide. The true place is that of
the light, which knots draw off the centre.
"""

from pathlib import Path
from typing import NamedTuple

import galsim
import numpy as np

BANDS = ("g", "r", "i", "z", "y")
WAVELENGTH = np.array([0.48, 0.62, 0.77, 0.89, 0.98])  # micrometres
SKY = np.array([1.6e-4, 2.0e-4, 4.1e-4, 1.1e-3, 4.4e-3])  # variance a pixel: of HSC's deep fields, zero point 27
PHOTON = 4e-5  # flux of one photon, all bands: variance that a unit of flux adds
SIDE, PIXEL = 60, 0.168  # pixels; arcsec
PSF_SIDE = 43
FINE, FINE_SIDE = 0.25, 401  # pixels a step, and steps a side, of the images on which sizes are measured
TINY = 0.08  # sd of a Gaussian on them, pixels, for knots are points
MARGIN = 12  # pixels between a source and the border
SCATTER = 0.2  # pixels by which a catalogue is off
SN = (10.0, 1000.0)
SEED = 2024


class Drawn(NamedTuple):
    """A source: what it is, its profile before the PSF in each band and in all alike, in pixels about its position, and its size."""

    kind: str
    profiles: list[galsim.GSObject]
    whole: galsim.GSObject
    size: float


def blend(i: int, seed: int = SEED) -> dict[str, np.ndarray]:
    """The blend of a number: images, variance, psfs, bands, position, star; and the truth, whose names begin with `true_`."""
    rng = np.random.default_rng([seed, i])
    psfs = [_psf(rng) for _ in BANDS]
    sources = [_source(rng) for _ in range(rng.integers(2, 6))]
    position = _places(rng, [source.size for source in sources])
    wanted = np.exp(rng.uniform(*np.log(SN), len(sources)))
    unit = np.array(
        [[_image(p, psf, xy) for p, psf in zip(s.profiles, psfs, strict=True)] for s, xy in zip(sources, position, strict=True)]
    )
    scale = np.array([_scale(own, sn) for own, sn in zip(unit, wanted, strict=True)])
    truth = unit * scale[:, None, None, None]
    variance = SKY[:, None, None] + PHOTON * np.maximum(truth.sum(0), 0.0)
    measured = np.array([_measured(source) for source in sources])
    return {
        "images": (truth.sum(0) + np.sqrt(variance) * rng.standard_normal(variance.shape)).astype(np.float32),
        "variance": variance.astype(np.float32), "psfs": np.array([_psf_image(psf) for psf in psfs]), "bands": np.array(BANDS),
        "position": position + SCATTER * rng.standard_normal(position.shape), "star": np.array([s.kind == "star" for s in sources]),
        "true_images": truth.astype(np.float32), "true_position": position + measured[:, 3:],
        "true_kind": np.array([s.kind for s in sources]),
        "true_flux": scale[:, None] * np.array([[p.flux for p in s.profiles] for s in sources]),
        "true_radius": measured[:, 0], "true_e_1": measured[:, 1], "true_e_2": measured[:, 2],
    }  # fmt: skip


def write(folder: Path, i: int, seed: int = SEED) -> Path:
    """The blend of a number in a folder of its own; what is there is left."""
    own = folder / f"{seed}-{i:04d}"
    own.mkdir(parents=True, exist_ok=True)
    if not (own / "blend.npz").exists():
        with (own / "blend.part").open("wb") as file:
            np.savez(file, **blend(i, seed))
        (own / "blend.part").rename(own / "blend.npz")
    return own


# --- what there is ---------------------------------------------------------------------------------------------------


def _source(rng: np.random.Generator) -> Drawn:
    """A star, a disc, or a bulge in a disc that is smooth, knotty or spiral."""
    kind = str(rng.choice(["star", "disc", "bulge + disc", "knots", "spiral"], p=[0.15, 0.2, 0.3, 0.2, 0.15]))
    if kind == "star":
        return Drawn(kind, [galsim.DeltaFunction(flux=f) for f in _colour(rng.uniform(-1.0, 3.0), rng)], galsim.DeltaFunction(), 0.0)
    size = float(np.exp(rng.uniform(np.log(1.5), np.log(5.0))))
    shear = galsim.Shear(g=float(min(abs(rng.normal(0.0, 0.3)), 0.6)), beta=rng.uniform(0.0, 180.0) * galsim.degrees)
    disc_flux = _colour(rng.normal(0.5, 0.7), rng)
    if kind == "disc":
        lights = [(galsim.Exponential(half_light_radius=size), disc_flux)]
    else:
        bulge = galsim.Sersic(n=float(rng.uniform(2.0, 4.0)), half_light_radius=size * rng.uniform(0.2, 0.5), trunc=8.0 * size)
        share = rng.uniform(0.1, 0.6)
        lights = [(bulge, share * _colour(rng.normal(2.0, 0.5), rng)), *_disc(kind, size, (1.0 - share) * disc_flux, rng)]
    shares = [flux / np.sum([f for _, f in lights], 0) for _, flux in lights]
    profiles = [galsim.Add([light.withFlux(f[b]) for light, f in lights]).shear(shear) for b in range(len(BANDS))]
    whole = galsim.Add([light.withFlux(share.mean()) for (light, _), share in zip(lights, shares, strict=True)]).shear(shear)
    return Drawn(kind, profiles, whole, size)


def _disc(kind: str, size: float, flux: np.ndarray, rng: np.random.Generator) -> list[tuple[galsim.GSObject, np.ndarray]]:
    """A disc's lights: itself, and its knots of young stars; or its arms."""
    disc = galsim.Exponential(half_light_radius=size)
    if kind == "knots":
        share = rng.uniform(0.1, 0.4)
        points = galsim.RandomKnots(int(rng.integers(5, 30)), profile=disc, rng=galsim.BaseDeviate(int(rng.integers(1, 2**31))))
        blue = flux * WAVELENGTH**-1.0
        return [(disc, (1.0 - share) * flux), (points, share * blue / blue.mean() * flux.mean())]
    return [(disc if kind == "bulge + disc" else _spiral(size, rng), flux)]


def _spiral(size: float, rng: np.random.Generator) -> galsim.GSObject:
    """An exponential disc with two logarithmic arms."""
    step, half = 0.25, int(np.ceil(6.0 * size / 0.25))
    y, x = step * np.mgrid[-half : half + 1, -half : half + 1]
    radius, pitch = np.hypot(x, y) + 1e-3, np.tan(np.deg2rad(rng.uniform(15.0, 35.0)))
    wave = np.cos(2.0 * (np.arctan2(y, x) - np.log(radius / size) / pitch))
    light = np.exp(-1.678 * radius / size) * (1.0 + 0.8 * wave * np.tanh(radius / (0.5 * size)))
    return galsim.InterpolatedImage(galsim.Image(light, scale=step), normalization="flux")


def _colour(slope: float, rng: np.random.Generator) -> np.ndarray:
    """Fluxes [band] of mean one, a power of the wavelength with some scatter."""
    flux = (WAVELENGTH / WAVELENGTH[1]) ** slope * np.exp(0.05 * rng.standard_normal(len(BANDS)))
    return flux / flux.mean()


def _places(rng: np.random.Generator, sizes: list[float]) -> np.ndarray:
    """Positions [source, 2] in pixels: each beside one that is there already."""
    seen = np.sqrt(np.square(sizes) + 2.0**2)  # with half a PSF
    places = [np.array([0.5 * (SIDE - 1)] * 2) + rng.uniform(-6.0, 6.0, 2)]
    while len(places) < len(sizes):
        i = len(places)
        j = int(rng.integers(i))
        angle, apart = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.5, 2.0) * (seen[i] + seen[j])
        place = places[j] + apart * np.array([np.cos(angle), np.sin(angle)])
        inside = np.all((place > MARGIN) & (place < SIDE - 1 - MARGIN))
        if inside and all(np.hypot(*(place - p)) > 0.4 * (seen[i] + seen[k]) for k, p in enumerate(places)):
            places.append(place)
    return np.array(places)


# --- how it is seen --------------------------------------------------------------------------------------------------


def _psf(rng: np.random.Generator) -> galsim.GSObject:
    fwhm, half = rng.uniform(0.6, 0.8) / PIXEL, 0.5 * PSF_SIDE - 1.0
    shape = galsim.Shear(g1=float(rng.normal(0.0, 0.015)), g2=float(rng.normal(0.0, 0.015)))
    return galsim.Moffat(beta=rng.uniform(3.0, 4.5), fwhm=fwhm, trunc=half / 1.05).shear(shape)


def _psf_image(psf: galsim.GSObject) -> np.ndarray:
    """With the pixel, of sum one."""
    image = psf.drawImage(nx=PSF_SIDE, ny=PSF_SIDE, scale=1.0, dtype=np.float64).array
    return image / image.sum()


def _image(profile: galsim.GSObject, psf: galsim.GSObject, position: np.ndarray) -> np.ndarray:
    """What the pixels have of a profile at a position, without noise."""
    off = position - 0.5 * (SIDE - 1)
    image = galsim.Convolve(profile, psf, real_space=False).drawImage(
        nx=SIDE, ny=SIDE, scale=1.0, offset=galsim.PositionD(*off), dtype=np.float64
    )
    return image.array


def _scale(unit: np.ndarray, wanted: float) -> float:
    """By which an image has the S/N that is wanted, among its own photons."""
    low, high = 1e-6, 1e8
    for _ in range(80):
        scale = np.sqrt(low * high)
        found = np.sqrt(np.sum((scale * unit) ** 2 / (SKY[:, None, None] + PHOTON * np.maximum(scale * unit, 0.0))))
        low, high = (scale, high) if found < wanted else (low, scale)
    return float(scale)


# --- what is true of it ----------------------------------------------------------------------------------------------


def _measured(source: Drawn) -> tuple[float, float, float, float, float]:
    """Half-light radius in pixels, ellipticity, and how far the light is off the centre; stars have no ellipticity."""
    if source.kind == "star":
        return 0.0, np.nan, np.nan, 0.0, 0.0
    whole = galsim.Convolve(source.whole, galsim.Gaussian(sigma=TINY), real_space=False)
    light = whole.drawImage(nx=FINE_SIDE, ny=FINE_SIDE, scale=FINE, method="no_pixel", dtype=np.float64).array
    y, x = FINE * (np.mgrid[:FINE_SIDE, :FINE_SIDE] - FINE_SIDE // 2)
    light = light / light.sum()
    off = float(np.sum(light * x)), float(np.sum(light * y))
    dx, dy = x - off[0], y - off[1]
    distance = np.hypot(dx, dy).ravel()
    order = np.argsort(distance)
    radius = float(np.interp(0.5, np.cumsum(light.ravel()[order]), distance[order]))
    weight = light * np.exp(-0.5 * (dx**2 + dy**2) / (2.0 * radius) ** 2)
    xx, yy, xy = (float(np.sum(weight * q)) for q in (dx**2, dy**2, dx * dy))
    return radius, (xx - yy) / (xx + yy), 2.0 * xy / (xx + yy), *off
