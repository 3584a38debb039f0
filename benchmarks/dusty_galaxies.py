r"""Galaxies behind dust as a survey would see them, which `scene_dust` fits: fine pixels and sums over wavelength, no code of slipher.

    I_b(r) = sum_j f_jb M_j(r) T_jb(tau(r)),   T_jb = int R_b f_nu,j exp(-tau k) dlambda / lambda / int R_b f_nu,j dlambda / lambda

An exponential disc and a bulge of their own spectra, behind a screen that is no `Following`: a dust disc flatter than the light, beside its
centre, its position angle turning with radius, and clumped by a field of another power spectrum.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage, signal

from slipher.grids.filters import load_filters

FILTERS = ("decam2014-g", "decam2014-r", "decam2014-z")
PIXEL_ARCSEC, SIDE, FINE, PSF_SIDE = 0.262, 48, 3, 33
SEEING_ARCSEC = ((1.2, 1.4), (1.1, 1.3), (1.1, 1.25))
SN, RADII, TAUS = (50.0, 500.0), (5.0, 9.0), (0.5, 3.0)
COSINES = (0.25, 1.0)  # of inclinations
HALF = 1.6783  # scale lengths of an exponential within which half of it is
SLOPES = (-0.8, -2.2)  # of f_nu over nu: disc and bulge
MAG = 2.5 / np.log(10.0)
TAU_GRID = np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 400)])


class Dusty(NamedTuple):
    """One galaxy: images [band, y, x], their noise sd, PSFs; and on fine pixels tau at 5500 A and the lights [light, band, y, x]."""

    flux: np.ndarray
    sigma: np.ndarray
    psf: np.ndarray
    curve: str
    sn: float
    cosine: float
    tau: np.ndarray
    light: np.ndarray

    @property
    def ebv(self) -> np.ndarray:
        """E(B-V) [fine y, fine x]."""
        return MAG * self.tau * float(np.diff(LAWS[self.curve](np.array([5500.0, 4400.0])))[0])


def calzetti(wave_aa: np.ndarray) -> np.ndarray:
    """A / A_V (Calzetti et al. 2000, equation 4)."""
    x = 1e4 / wave_aa
    blue = -2.156 + 1.509 * x - 0.198 * x**2 + 0.011 * x**3
    return (2.659 * np.where(wave_aa < 6300.0, blue, -1.857 + 1.04 * x) + 4.05) / 4.05


def cardelli(wave_aa: np.ndarray) -> np.ndarray:
    """A / A_V for R_V = 3.1 (Cardelli, Clayton & Mathis 1989, equations 2 and 3)."""
    x = 1e4 / wave_aa
    y = x - 1.82
    a = np.polyval([0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0], y)
    b = np.polyval([-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0], y)
    return np.where(x > 1.1, a + b / 3.1, (0.574 - 0.527 / 3.1) * x**1.61)


LAWS = {"calzetti": calzetti, "cardelli": cardelli}


def transmissions(curve: str) -> np.ndarray:
    """T [light, band, tau of `TAU_GRID`]."""
    found = np.zeros((len(SLOPES), len(FILTERS), len(TAU_GRID)))
    for b, band in enumerate(load_filters(FILTERS)):
        wave = np.linspace(band.wave_aa[0], band.wave_aa[-1], 1001)
        response = np.interp(wave, band.wave_aa, band.response) / wave
        for j, slope in enumerate(SLOPES):
            photons = response * (5500.0 / wave) ** slope
            found[j, b] = np.exp(-TAU_GRID[:, None] * LAWS[curve](wave)) @ photons / photons.sum()
    return found


def colours() -> np.ndarray:
    """f_nu of lights in bands [light, band], r being one."""
    pivots = np.array([band.pivot_aa for band in load_filters(FILTERS)])
    return np.stack([(pivots[1] / pivots) ** slope for slope in SLOPES])


def moffat(fwhm: float, side: int = PSF_SIDE, index: float = 3.0) -> np.ndarray:
    """What pixels see of a point."""
    y, x = np.mgrid[:side, :side] - 0.5 * (side - 1)
    psf = (1.0 + (2.0 * np.hypot(x, y) / fwhm) ** 2 * (2.0 ** (1.0 / index) - 1.0)) ** -index
    return psf / psf.sum()


def elliptical(x: np.ndarray, y: np.ndarray, ratio: float, angle: np.ndarray | float) -> np.ndarray:
    """Radius along the major axis."""
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    return np.hypot(along, across / ratio)


def field(rng: np.random.Generator, n: int, longest: float) -> np.ndarray:
    """A Gaussian field of unit sd with a power spectrum of q^-2.5 above 1 / `longest` pixels."""
    q = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n))
    power = np.maximum(q, 1.0 / longest) ** -1.25
    power[0, 0] = 0.0
    made = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((n, n))) * power, (n, n))
    return made / made.std()


def dusty(rng: np.random.Generator) -> Dusty:
    """A galaxy of random inclination, dust and noise."""
    n = SIDE * FINE
    at = (np.arange(n) + 0.5) / FINE - 0.5 - 0.5 * (SIDE - 1)
    x, y = np.meshgrid(*(at - shift for shift in rng.uniform(-0.5, 0.5, 2)))
    radius, cosine = np.exp(rng.uniform(*np.log(RADII))), rng.uniform(*COSINES)
    angle, share = rng.uniform(0.0, np.pi), rng.uniform(0.1, 0.4)
    ratio = np.sqrt(cosine**2 + 0.15**2 * (1.0 - cosine**2))
    disc = np.exp(-HALF * elliptical(x, y, ratio, angle) / radius)
    # A bulge of Sersic index 2.5, a fifth to a third of the disc's size.
    bulge = np.exp(-4.671 * (elliptical(x, y, max(ratio, 0.7), angle) / (radius * rng.uniform(0.2, 0.35))) ** 0.4)
    shapes = np.stack([disc / disc.sum(), bulge / bulge.sum()])
    light = np.array([1.0 - share, share])[:, None, None, None] * colours()[:, :, None, None] * shapes[:, None]
    curve = str(rng.choice(list(LAWS)))
    tau = _column(rng, x, y, radius, ratio, angle)
    table = transmissions(curve)
    dimmed = np.stack([sum(light[j, b] * np.interp(tau, TAU_GRID, table[j, b]) for j in range(2)) for b in range(len(FILTERS))])
    fwhm = np.array([rng.uniform(*limits) for limits in SEEING_ARCSEC]) / PIXEL_ARCSEC
    points = [moffat(FINE * f, FINE * PSF_SIDE) for f in fwhm]
    binned = np.stack([_binned(signal.fftconvolve(d, p, "same")) for d, p in zip(dimmed, points, strict=True)])
    psf = np.stack([_binned(p) for p in points])
    sn = float(np.exp(rng.uniform(*np.log(SN))))
    sigma = np.linalg.norm(binned[1]) / sn * np.array([0.8, 1.0, 1.8])
    flux = binned + sigma[:, None, None] * rng.standard_normal(binned.shape)
    scale = 1.0 / sigma[1]
    return Dusty(flux * scale, sigma * scale, psf, curve, sn, float(cosine), tau, light * scale)


def _column(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, radius: float, ratio: float, angle: float) -> np.ndarray:
    """tau at 5500 A."""
    size, flatter = radius * rng.uniform(0.6, 1.3), max(ratio * rng.uniform(0.4, 0.9), 0.1)
    minor = rng.uniform(-0.4, 0.4) * radius * ratio
    dx, dy = x + minor * np.sin(angle), y - minor * np.cos(angle)
    warped = angle + rng.uniform(-0.3, 0.3) * np.hypot(dx, dy) / radius
    column = np.exp(-HALF * elliptical(dx, dy, flatter, warped) / size)
    clumps = ndimage.gaussian_filter(field(rng, len(x), rng.uniform(4.0, 10.0) * FINE), 0.5 * FINE)
    return np.exp(rng.uniform(*np.log(TAUS))) * column * np.exp(rng.uniform(0.2, 0.7) * clumps / clumps.std())


def _binned(fine: np.ndarray) -> np.ndarray:
    return fine.reshape(len(fine) // FINE, FINE, -1, FINE).sum((1, 3))


def light_weighted(quantity: np.ndarray, light: np.ndarray, psf: np.ndarray, step: int = FINE) -> np.ndarray:
    """A map [fine y, fine x] weighted by light, both as the pixels see them."""
    fine = moffat_like(psf, step)
    top, bottom = (signal.fftconvolve(a, fine, "same") for a in (quantity * light, light))
    both = (a.reshape(len(a) // step, step, -1, step).sum((1, 3)) for a in (top, bottom))
    return np.divide(*both)


def moffat_like(psf: np.ndarray, step: int) -> np.ndarray:
    """A PSF on finer pixels."""
    fine = np.maximum(ndimage.zoom(psf, step, order=3, grid_mode=True, mode="grid-constant"), 0.0) if step > 1 else psf
    return fine / fine.sum()
