"""Stellar populations of blended galaxies: `python benchmarks/scene_physics.py [--pairs 20] [--samples 500] [--sampler amortised]`.

Pairs of galaxies as HSC would see them in grizy: each with a population from the prior of `photometry` at a known redshift, an i magnitude
of 18.5 to 22 (the second within one magnitude of the first), a textured Sersic profile, 0.5 to 2.5 half-light radii from the other. Masses
and ages from the fluxes of `slipher.scene.deblend`, of two kinds of aperture on the same pixels, and of each galaxy alone, by one and the
same fit. Galaxies are chosen by their fluxes alone, so that posteriors should cover. Minutes a pair where few have been compiled for.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tables import README, machine, markdown_table, write_section

import slipher
from slipher.data.detections import Detections
from slipher.data.image import cutout
from slipher.data.photometry_checks import catalogue_from_arrays
from slipher.instrument import photometer
from slipher.models import answer, deblended, shipped
from slipher.physics import abundance, cosmology, derived, parameters, sed
from slipher.scene import render
from slipher.scene.deblend import deblend
from slipher.scene.exposure import exposure
from slipher.scene.morphology import Sersic, Textured
from slipher.scene.physical_spectra import per_nanomaggy
from slipher.scene.render import Group, Members, Scene, Sight
from slipher.scene.source import Light, Source, Start
from slipher.scene.spectrum import Free

BANDS = ("g", "r", "i", "z", "y")
FILTERS = tuple(f"hsc2017-{band}" for band in BANDS)
DEPTH_MAG = np.array([26.5, 26.1, 25.9, 25.1, 24.4])  # of HSC's wide survey: noise in bands relative to each other
I_BAND, ZERO_POINT = 2, 27.0
SIDE, PSF_SIDE, FWHM = 64, 31, (3.5, 5.0)  # pixels of 0.168 arcsec
REDSHIFTS, MAGNITUDES, WITHIN_MAG = (0.2, 0.8), (18.5, 22.0), 1.0
RADII, INDICES, SEPARATIONS, SN = (2.0, 4.5), (0.7, 3.5), (0.5, 2.5), (30.0, 300.0)
JITTER, CANDIDATES, FINE = 0.3, 2048, 5
OVERLAPS = (0.0, 0.35, 0.7, 1.0)
QUANTITIES = {"log_mstar": lambda x: x, "age_mw_gyr": np.log10}
UNIT = float(per_nanomaggy(np.array([ZERO_POINT]))[0])


class Galaxies(NamedTuple):
    """Truth [candidate, ...]: fluxes in nanomaggies, what they are in the images (zero points and templates off), and quantities."""

    flux: np.ndarray
    recorded: np.ndarray
    log_mstar: np.ndarray
    age_mw_gyr: np.ndarray


class Pair(NamedTuple):
    """Images [band, y, x] of two galaxies with their truth; fluxes [galaxy, band] in the images' unit."""

    flux: np.ndarray
    sigma: np.ndarray
    psf: np.ndarray
    alone: np.ndarray
    position: np.ndarray
    radius: np.ndarray
    redshift: np.ndarray
    truth: dict[str, np.ndarray]
    recorded: np.ndarray

    @property
    def overlap(self) -> float:
        """Cosine between the two galaxies' images in i: 0 apart, 1 the same."""
        a, b = (image[I_BAND].ravel() / np.linalg.norm(image[I_BAND]) for image in self.alone)
        return float(a @ b)


# --- the sky ---------------------------------------------------------------------------------------------------------


class Prior:
    """Draws galaxies of the model's prior at a redshift."""

    def __init__(self):
        made = shipped.photometric("photometry")
        model, library, camera = made.recipe.preset, made.library, photometer.photometer(FILTERS)
        colours = photometer.rest_bands(answer.REST_BANDS, library)
        self.errors, self.model, self.pivot = made.recipe.errors, model, camera.pivot_aa

        @jax.jit
        def galaxies(u, log_mass, redshift, library):
            def one(u, log_mass):
                values = parameters.from_normal(model.parameters[:-1], u)
                age = cosmology.age_gyr(redshift)
                light = sed.sed(model, values, age, library)
                scale = 10 ** (log_mass - photometer.LOG_MASS_UNIT) * photometer.flux_of_luminosity(redshift)
                found = derived.derive_from_sed(model, model.complete(values), light, log_mass, scale, age, colours, library.light)
                unit = photometer.observe(camera, light, redshift, jnp.float32(0.0), library)
                kept = [found.quantities[name] for name in ("log_mstar", "age_mw_gyr")]
                return (unit * 10 ** (log_mass - photometer.LOG_MASS_UNIT), *kept)

            return jax.lax.map(lambda x: one(*x), (u, log_mass), batch_size=32)

        self._galaxies = lambda *some: galaxies(*some, library)

    def draw(self, rng: np.random.Generator, redshift: float, magnitudes: tuple[float, float]) -> Galaxies:
        """One galaxy that numerous, of an i magnitude in a range."""
        z, grid = jnp.float32(redshift), np.linspace(6.0, 13.0, 2001)
        share = np.cumsum(np.exp(np.asarray(abundance.log_mass_function(jnp.asarray(grid, jnp.float32), z), np.float64)))
        # Lower masses are too faint for this range at any mass-to-light ratio, and would be drawn for nothing.
        share[grid < 8.0] = 0.0
        fraction = np.asarray(self.errors.fraction(self.pivot, z), np.float64)
        for _ in range(50):
            u = rng.standard_normal((CANDIDATES, len(self.model.parameters) - 1)).astype(np.float32)
            low = share[grid >= 8.0][0]
            mass = np.interp(low + (share[-1] - low) * rng.random(CANDIDATES), share[grid >= 8.0], grid[grid >= 8.0])
            flux, log_mstar, age = (np.asarray(x, np.float64) for x in self._galaxies(u, mass.astype(np.float32), z))
            recorded = flux * (1.0 + fraction * rng.standard_normal(flux.shape))
            with np.errstate(invalid="ignore", divide="ignore"):
                i_mag = 22.5 - 2.5 * np.log10(recorded[:, I_BAND])
            inside = np.flatnonzero((i_mag > magnitudes[0]) & (i_mag < magnitudes[1]) & (recorded > 0).all(1))
            if len(inside):
                return Galaxies(*(x[inside[0]] for x in (flux, recorded, log_mstar, age)))
        raise RuntimeError(f"no galaxy of i = {magnitudes} at z = {redshift}")


def moffat(fwhm: float) -> np.ndarray:
    """Of index 3."""
    y, x = np.mgrid[:PSF_SIDE, :PSF_SIDE] - (PSF_SIDE - 1) / 2
    psf = (1.0 + (2.0 * np.hypot(x, y) / fwhm) ** 2 * (2.0 ** (1 / 3) - 1)) ** -3.0
    return psf / psf.sum()


def pair(rng: np.random.Generator, prior: Prior) -> Pair:
    """Two galaxies in one image."""
    redshift = rng.uniform(*REDSHIFTS, 2)
    first = prior.draw(rng, redshift[0], MAGNITUDES)
    i_mag = 22.5 - 2.5 * np.log10(first.recorded[I_BAND])
    galaxies = [first, prior.draw(rng, redshift[1], (i_mag - WITHIN_MAG, i_mag + WITHIN_MAG))]
    radius = np.exp(rng.uniform(*np.log(RADII), 2))
    angle, separation = rng.uniform(0, 2 * np.pi), rng.uniform(*SEPARATIONS) * radius.mean()
    offset = 0.5 * separation * np.array([np.cos(angle), np.sin(angle)])
    position = SIDE / 2 + rng.uniform(-1, 1, 2) + np.stack([offset, -offset])
    psf = np.stack([moffat(fwhm) for fwhm in rng.uniform(*FWHM, len(BANDS))])
    recorded = UNIT * np.stack([g.recorded for g in galaxies])
    alone = images(rng, position, radius, recorded, psf)
    faintest = min(np.linalg.norm(image[I_BAND]) for image in alone)
    noise = faintest / np.exp(rng.uniform(*np.log(SN))) * 10 ** (-0.4 * (DEPTH_MAG - DEPTH_MAG[I_BAND]))
    sigma = np.broadcast_to(noise[:, None, None], alone[0].shape)
    truth = {name: np.array([getattr(g, name) for g in galaxies]) for name in QUANTITIES}
    flux = alone.sum(0) + sigma * rng.standard_normal(sigma.shape)
    return Pair(flux, sigma, psf, alone, position, radius, redshift, truth, recorded)


def images(rng: np.random.Generator, position: np.ndarray, radius: np.ndarray, flux: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """Of each galaxy by itself: a Sersic profile times a random field, finer than the one that is fitted."""
    source = Source((Light(Textured(Sersic(), 61, 1.0, length=2.0, roughness=0.5), Free(len(BANDS))),))
    shapes = {
        "light_0.log_radius": np.log(radius), "light_0.shear_1": rng.normal(0, 0.2, 2), "light_0.shear_2": rng.normal(0, 0.2, 2),
        "light_0.log_index": np.log(rng.uniform(*INDICES, 2)),
    }  # fmt: skip
    blank = np.zeros((len(BANDS), SIDE, SIDE))
    seen, sight = exposure(blank, np.ones_like(blank), psf), Sight(jnp.zeros((len(BANDS), 2)), jnp.zeros(len(BANDS)))
    texture, found = rng.standard_normal((2, 61, 61)), []
    for k in range(2):
        u = {
            p.name: p.prior.to_normal(jnp.asarray(shapes[p.name][k : k + 1], jnp.float32)) if p.name in shapes else jnp.zeros((1, *p.shape))
            for p in source.parameters
        }
        u["light_0.texture"] = jnp.asarray(texture[k : k + 1], jnp.float32)
        start = Start(jnp.asarray(position[k : k + 1], jnp.float32), jnp.asarray(flux[k : k + 1, None], jnp.float32))
        shown = render.draw(Scene((Group(source, 1),), len(BANDS)), render.Point((Members(start, u),), (sight,)), 0, seen)
        found.append(np.asarray(shown, np.float64))
    return np.stack(found)


# --- fluxes ----------------------------------------------------------------------------------------------------------


def of_scene(one: Pair, rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Nanomaggies and errors [galaxy, band] by slipher, told where the galaxies are to a third of a pixel."""
    image = cutout(one.flux, ivar=one.sigma**-2.0, psf=one.psf, bands=BANDS, zero_point=ZERO_POINT, id=f"pair-{number}")
    where = Detections(("a", "b"), one.position + JITTER * rng.standard_normal((2, 2)))
    catalogue = deblended.photometry_of(deblend(image, where), FILTERS, redshift=one.redshift, ebv=0.0)
    return catalogue.flux, catalogue.ivar**-0.5


def of_aperture(one: Pair, *, shared: bool) -> tuple[np.ndarray, np.ndarray]:
    """The same by circles of two half-light radii as seen, with the aperture correction of a point; of `shared` pixels the nearer's own."""
    fine = (np.arange(SIDE * FINE) + 0.5) / FINE - 0.5
    flux, error = np.zeros((2, len(BANDS))), np.zeros((2, len(BANDS)))
    distance = np.stack([np.hypot(*np.meshgrid(fine - x, fine - y)) for x, y in one.position])
    for k in range(2):
        own = distance[k] <= distance[1 - k] if shared else np.ones_like(distance[k], bool)
        radius = 2.0 * np.hypot(one.radius[k], 0.25 * sum(FWHM))
        weight = ((distance[k] < radius) & own).reshape(SIDE, FINE, SIDE, FINE).mean((1, 3))
        y, x = (np.mgrid[: PSF_SIDE * FINE, : PSF_SIDE * FINE] + 0.5) / FINE - PSF_SIDE / 2
        caught = (one.psf * (np.hypot(x, y) < radius).reshape(PSF_SIDE, FINE, PSF_SIDE, FINE).mean((1, 3))).sum((1, 2))
        flux[k] = (weight * one.flux).sum((1, 2)) / caught
        error[k] = np.sqrt((weight**2 * one.sigma**2).sum((1, 2))) / caught
    return flux / UNIT, error / UNIT


def of_each_alone(one: Pair, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The best that pixels can do: each galaxy without the other, its shape known."""
    shape = one.alone / one.recorded[:, :, None, None]
    error = 1.0 / np.sqrt((shape**2 / one.sigma**2).sum((2, 3)))
    return (one.recorded + error * rng.standard_normal(error.shape)) / UNIT, error / UNIT


# --- the table -------------------------------------------------------------------------------------------------------


def posteriors(flux: np.ndarray, error: np.ndarray, redshift: np.ndarray, samples: int, sampler: str) -> dict[str, np.ndarray]:
    """Draws [galaxy, draw] of quantities, and diagnostics."""
    rows = catalogue_from_arrays(flux, error, bands=FILTERS, unit="nanomaggy", redshift=redshift, ebv=0.0)
    parts = list(slipher.fit_rows(rows, samples=samples, sampler=sampler, keep=tuple(QUANTITIES)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def scores(draws: np.ndarray, truth: np.ndarray) -> list[str]:
    """Bias and NMAD of medians, and shares of truths inside the central 68 and 95 %."""
    d = np.median(draws, 1) - truth
    place = np.mean(draws < truth[:, None], 1)
    inside = [np.mean(np.abs(place - 0.5) < 0.5 * level) for level in (0.68, 0.95)]
    nmad = 1.4826 * np.median(np.abs(d - np.median(d)))
    return [f"{np.median(d):+.3f}", f"{nmad:.3f}", *(f"{100 * share:.0f}" for share in inside)]


def rows_of(name: str, found: dict[str, np.ndarray], made: dict[str, np.ndarray], which: np.ndarray) -> list[object]:
    """Of some galaxies by one kind of flux."""
    off = np.log(np.maximum(found["flux"], 1e-3) / found["recorded"])[which]
    pull = ((found["flux"] - found["recorded"]) / found["error"])[which]
    fluxes = [f"{100 * np.median(off):+.1f}", f"{100 * np.median(np.abs(off)):.1f}", f"{np.median(np.abs(pull)) / 0.6745:.1f}"]
    cells = [scores(to(made[f"{key}_draws"][which]), to(found[key][which])) for key, to in QUANTITIES.items()]
    return [name, int(which.sum()), *fluxes, *cells[0], *cells[1], f"{np.median(made['chi2_per_band'][which]):.2f}"]


def gathered(n: int, seed: int) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    """Fluxes by each kind, truths beside them; and the overlap of each galaxy's pair."""
    prior, kinds, overlap = Prior(), {}, []
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        one = pair(rng, prior)
        measured = {
            "deblended": of_scene(one, rng, number), "aperture": of_aperture(one, shared=False),
            "aperture, nearest pixels": of_aperture(one, shared=True), "each alone": of_each_alone(one, rng),
        }  # fmt: skip
        facts = {"recorded": one.recorded / UNIT, "redshift": one.redshift, **one.truth}
        for kind, (flux, error) in measured.items():
            kinds.setdefault(kind, []).append({"flux": flux, "error": error, **facts})
        overlap += 2 * [one.overlap]
        print(f"pair {number + 1} of {n}: overlap {one.overlap:.2f}", flush=True)
    return {kind: {name: np.concatenate([f[name] for f in found]) for name in found[0]} for kind, found in kinds.items()}, np.array(overlap)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--sampler", default="amortised")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, default=README, help="the file whose section is written")
    options = parser.parse_args()
    here = machine("slipher", "jax")
    kinds, overlap = gathered(options.pairs, options.seed)
    rows = []
    for kind, found in kinds.items():
        made = posteriors(found["flux"], found["error"], found["redshift"], options.samples, options.sampler)
        rows.append(rows_of(kind, found, made, np.ones(len(overlap), bool)))
        for low, high in pairwise(OVERLAPS):
            which = (overlap >= low) & (overlap < high)
            if which.any():
                rows.append(rows_of(f"... overlap {low:g}-{high:g}", found, made, which))
    head = [
        "fluxes", "galaxies", "flux off, %", "absolute, %", "over errors", "log M*: bias", "NMAD", "in 68 %", "in 95 %", "log age: bias",
        "NMAD", "in 68 %", "in 95 %", "chi2 a band",
    ]  # fmt: skip
    command = f"python benchmarks/scene_physics.py --pairs {options.pairs} --sampler {options.sampler}"
    text = ["## Stellar populations of blended galaxies", f"`{command}`. {here}"]
    text.append(
        f"Pairs in HSC's grizy at known redshifts, S/N of the fainter in i {SN[0]:g}-{SN[1]:g}, apart by {SEPARATIONS[0]:g}-"
        f"{SEPARATIONS[1]:g} half-light radii; overlap is the cosine between their images in i. Fluxes over those in the images: "
        "median, median absolute, and median over stated errors (1.0 if those were right). Then medians of posteriors (living stars; age "
        "by mass, dex) less truths, and per cent of truths inside. `each alone` is what pixels could tell at best. Apertures: two "
        "half-light radii as seen, corrected as for a point; of nearest pixels those alone that are nearer to the galaxy than to the other."
    )
    text.append(markdown_table(head, rows))
    write_section("scene-physics", "\n\n".join(text), options.table)


if __name__ == "__main__":
    main()
