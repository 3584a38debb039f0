"""Surveys as instruments: wavelengths, line-spread functions and the shape of their noise.

SDSS (Abazajian et al. 2009), BOSS (Smee et al. 2013) and DESI (DESI Collaboration 2022). Noise shapes are drawn at random about
what the spectrographs have in common: low throughput at both ends, the strong night-sky lines, the OH forest in the red and
the object's own photons. None is taken from a particular spectrum.

`digs` is no survey but an exercise: the noisy rest-frame spectra of DIGS (Khullar et al. 2022, arXiv:2211.09126). Its spectra are not
averages over pixels: as in the authors' published script, a smooth spectrum is sampled at points that are further apart than its
resolution, and a line is seen if a point happens to lie on it. They give the range and the number of points; that the points are
equally spaced in wavelength is the script's, that both ends of the range are among them is assumed here.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..errors import InputError
from ..units import C_KMS, FWHM_PER_SIGMA

SKY_LINES_AA = (4047.8, 4359.6, 5462.3, 5578.9, 5891.5, 6302.0, 6365.5)
OH_BANDS_AA = ((6830, 6950), (7240, 7530), (7710, 8080), (8270, 8500), (8750, 9110), (9300, 9720), (9790, 10310))


@dataclass(frozen=True)
class Survey:
    """A survey's spectrograph: knots of its line-spread function (sigma in km/s) at observed wavelengths, and its pixels."""

    name: str
    wave_range_aa: tuple[float, float]
    lsf_wave_aa: tuple[float, ...]
    lsf_kms: tuple[float, ...]
    pixel_aa: float | None = None  # None: logarithmic, 1e-4 dex
    n_samples: int | None = None  # points, both ends included, at which rest-frame spectra are sampled, in place of pixels
    fraction: float | None = None  # of the flux: its error, in place of `noise_shape`; nothing is lost then

    def wavelengths(self) -> np.ndarray:
        """Observed vacuum wavelengths [pixel] of the survey's coadded spectra."""
        low, high = self.wave_range_aa
        if self.n_samples is not None:
            return np.linspace(low, high, self.n_samples)
        if self.pixel_aa is None:
            return 10 ** (np.arange(np.ceil(np.log10(low) * 1e4), np.floor(np.log10(high) * 1e4)) * 1e-4)
        return np.arange(low, high, self.pixel_aa)

    def pixel_kms(self, wave_obs_aa: np.ndarray) -> np.ndarray:
        """Widths of the survey's pixels at observed wavelengths, km/s."""
        width = 1e-4 * np.log(10.0) if self.pixel_aa is None else self.pixel_aa / wave_obs_aa
        return np.broadcast_to(width * C_KMS, wave_obs_aa.shape)

    def lsf(self, wave_obs_aa: np.ndarray) -> np.ndarray:
        """Typical line-spread function, Gaussian sigma in km/s."""
        return np.interp(wave_obs_aa, self.lsf_wave_aa, self.lsf_kms)


_DESI_WAVE = (3600.0, 4500.0, 5780.0, 6700.0, 7600.0, 8700.0, 9824.0)
_DESI_POWER = (2000.0, 2500.0, 3300.0, 3800.0, 4400.0, 4700.0, 5300.0)

SURVEYS = {
    "sdss": Survey("sdss", (3800.0, 9200.0), (3800.0, 5000.0, 5850.0, 6100.0, 7500.0, 9200.0), (86.0, 66.0, 58.0, 66.0, 55.0, 50.0)),
    "boss": Survey("boss", (3580.0, 10330.0), (3580.0, 4500.0, 5900.0, 6300.0, 8000.0, 10330.0), (95.0, 80.0, 62.0, 74.0, 58.0, 52.0)),
    "desi": Survey("desi", (3600.0, 9824.0), _DESI_WAVE, tuple(C_KMS / r / FWHM_PER_SIGMA for r in _DESI_POWER), 0.8),
    # As sharp as MILES, 2.54 A (FWHM): the dispersion of 350 km/s is the galaxies' own.
    "digs": Survey("digs", (3750.0, 9500.0), (3750.0, 5000.0, 7000.0, 9500.0), (86.0, 65.0, 46.0, 34.0), n_samples=138, fraction=0.05),
}  # fmt: skip


def survey(name: str) -> Survey:
    """The survey of that name.

    Raises
    ------
    InputError
        If slipher does not know it.
    """
    if name not in SURVEYS:
        raise InputError(f"survey {name!r}", expected=f"one of {', '.join(SURVEYS)}", mend="Choose one of those.")
    return SURVEYS[name]


def noise_shape(
    key: PRNGKeyArray, wave_obs_aa: Float[Array, "pixel"], flux: Float[Array, "pixel"], low_aa: Array, high_aa: Array
) -> Float[Array, "pixel"]:
    """A random noise spectrum (sigma, arbitrary scale) for an object of that flux over the range low_aa - high_aa.

    Sky and detector noise, shaped by throughput and sky lines, and the object's photons, in a random proportion.
    """
    k = jax.random.split(key, 6)
    x = (wave_obs_aa - low_aa) / (high_aa - low_aa)
    blue, red, tilt = jax.random.uniform(k[0], (3,), minval=jnp.array([0.2, 0.0, -0.3]), maxval=jnp.array([1.6, 1.2, 0.3]))
    log_sky = blue * jnp.exp(-x / 0.10) + red * jnp.exp((x - 1.0) / 0.12) + tilt * (x - 0.5)
    log_sky += _random_smooth(k[1], x, 0.06)
    sky = jnp.exp(log_sky) * (1.0 + _sky_lines(k[2], wave_obs_aa) + _oh_forest(k[3], wave_obs_aa))
    level = jnp.mean(jnp.abs(flux))
    photons = jnp.sqrt(jnp.clip(flux / level, 0.0, None) * jnp.exp(log_sky))
    share = jax.random.uniform(k[4]) ** 2
    return jnp.sqrt((1.0 - share) * sky**2 + share * photons**2)


def _random_smooth(key: PRNGKeyArray, x: Float[Array, "pixel"], amplitude: float) -> Float[Array, "pixel"]:
    phase, size = jax.random.uniform(key, (2, 6))
    waves = jnp.sin(2 * jnp.pi * (jnp.arange(1, 7)[:, None] * x * 0.7 + phase[:, None]))
    return amplitude * jnp.sum(size[:, None] * waves, 0)


def _sky_lines(key: PRNGKeyArray, wave_aa: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
    strength = jnp.exp(jax.random.normal(key, (len(SKY_LINES_AA),))) * jnp.array([0.1, 0.4, 0.3, 4.0, 0.6, 0.8, 0.4])
    distance = (wave_aa - jnp.array(SKY_LINES_AA)[:, None]) / 2.5
    return jnp.sum(strength[:, None] * jnp.exp(-0.5 * distance**2), 0)


def _oh_forest(key: PRNGKeyArray, wave_aa: Float[Array, "pixel"]) -> Float[Array, "pixel"]:
    """OH lines: in each band, pixels are hit at random by skewed excesses, smoothed over three pixels."""
    scale, spikes = jax.random.split(key)
    bands = jnp.array(OH_BANDS_AA, jnp.float32)
    inside = jnp.any((wave_aa > bands[:, :1]) & (wave_aa < bands[:, 1:]), 0)
    hits = jnp.maximum(jax.random.normal(spikes, wave_aa.shape) - 1.2, 0.0) * 2.5
    smooth = (hits + jnp.roll(hits, 1) * 0.6 + jnp.roll(hits, -1) * 0.6) / 2.2 * 2.0
    return jnp.where(inside, smooth, 0.0) * jax.random.uniform(scale, minval=0.2, maxval=2.0)


def mask(key: PRNGKeyArray, n_pixel: int) -> Float[Array, "pixel"]:
    """Random losses: 1 where a pixel survives. Single pixels, cosmic-ray runs, and sometimes a long gap or a lost end."""
    k = jax.random.split(key, 6)
    index = jnp.arange(n_pixel)
    singles = jax.random.uniform(k[0], (n_pixel,)) > jax.random.uniform(k[1]) ** 3 * 0.05
    start = jax.random.randint(k[2], (4,), 0, n_pixel)
    length = (jax.random.uniform(k[3], (4,)) * jnp.array([8.0, 20.0, 60.0, 400.0])).astype(int)
    length = length * (jax.random.uniform(k[4], (4,)) < jnp.array([0.5, 0.4, 0.3, 0.15]))
    runs = jnp.any((index >= start[:, None]) & (index < (start + length)[:, None]), 0)
    return (singles & ~runs).astype(jnp.float32)
