"""What is left of the night sky after it was taken off: residuals that are correlated between the lines of one family.

Each line leaves a difference of two profiles, since the line-spread function and the wavelengths of the sky fibres are not quite those
of the object's: mostly the profile's derivative (a shift), its second derivative (a width) and a remainder (a scale). Lines of one family
rise and fall together (Wild & Hewett 2005, arXiv:astro-ph/0501460, who remove them by principal components). Wavelengths are observed ones.
Which of its OH lines a family has is drawn once and for all: their number and bands are the sky's, single wavelengths are not.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .surveys import OH_BANDS_AA, SKY_LINES_AA

OH_SPACING_AA = 17.0  # mean distance of strong OH lines in a band
N_FAMILIES = 3  # of OH lines, beside the mercury, sodium and oxygen lines
WIDTH_AA = 1.6  # sigma of a recorded sky line
BLUE_STRENGTH = (0.3, 0.5, 0.5, 3.0, 1.0, 1.5, 0.7)
USUAL = np.array([1.0, 0.7, 0.5])  # of shift, width and scale: their standard deviations at a line of strength one
REACH = 5.0  # of a line, in its widths
SPREAD = 0.6  # of the residuals of one spectrum as a whole, in ln


def _lines() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavelengths, strengths and families of sky lines; the last family is that of the single lines in the blue."""
    rng = np.random.default_rng(5577)
    waves = np.concatenate([np.arange(low, high, OH_SPACING_AA) for low, high in OH_BANDS_AA])
    waves = waves + rng.uniform(-0.4, 0.4, len(waves)) * OH_SPACING_AA
    strength, family = np.exp(rng.normal(-0.3, 0.8, len(waves))), rng.integers(0, N_FAMILIES, len(waves))
    blue = np.array(SKY_LINES_AA)
    return (
        np.concatenate([waves, blue]),
        np.concatenate([strength, np.array(BLUE_STRENGTH)]),
        np.concatenate([family, np.full(len(blue), N_FAMILIES)]),
    )


def templates(wave_obs_aa: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel template"]:
    """Residuals in units of the noise, as large as usual, at observed wavelengths: of each family a shift, a width and a scale."""
    waves, strength, family = _lines()
    out = np.zeros((len(wave_obs_aa), 3 * (N_FAMILIES + 1)), np.float32)
    order = np.argsort(wave_obs_aa)
    ordered = np.asarray(wave_obs_aa, np.float64)[order]
    for wave, size, of in zip(waves, strength, family, strict=True):
        some = slice(*np.searchsorted(ordered, (wave - REACH * WIDTH_AA, wave + REACH * WIDTH_AA)))
        x = (ordered[some] - wave) / WIDTH_AA
        shapes = np.stack([x, x**2 - 1.0, np.ones_like(x)], 1) * np.exp(-0.5 * x[:, None] ** 2) * USUAL
        out[order[some], 3 * of : 3 * of + 3] += size * shapes
    return out


def residuals(
    key: PRNGKeyArray, shapes: Float[Array, "pixel template"], sigma: Float[Array, "pixel"], amplitude: float
) -> Float[Array, "pixel"]:
    """Random residuals from `templates`, in the unit of the noise `sigma`; an amplitude of one leaves about one sigma at a strong line."""
    size, kind = jax.random.split(key)
    overall = amplitude * jnp.exp(SPREAD * jax.random.normal(size))
    return overall * sigma * (shapes @ jax.random.normal(kind, shapes.shape[1:]))
