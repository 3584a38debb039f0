"""The library that galaxy models are made of: the tables of stars and nebulae, ready for JAX.

Stellar spectra are prepared at a set of line-of-sight dispersions, so that a dispersion in between is a weighted sum too
(`slipher.physics.galaxy.continuum`): a spectrum stays linear in the library whatever the galaxy's or the instrument's line width.
"""

from functools import cache

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..units import C_KMS, FWHM_PER_SIGMA
from . import broad, stars
from .store import load_table

SIGMA_MAX_KMS = 500.0
SIGMA_SOFT_KMS = 60.0  # about the library's own width
N_SIGMA = 10
NEBULAR_SIGMA_KMS = 70.0  # only takes the edge off the recombination jumps


class Library(eqx.Module):
    """Tables on the wavelength grid `wave_aa` (vacuum, rest frame); luminosities in Lsun/A per Msun formed.

    `old` and `young` hold the basis spectra of stars older and younger than 10 Myr at the dispersions `sigma_nodes_kms`; `nebular` those
    of the nebular continuum. `sigma_library_kms` is the width of the library's own line-spread function.
    """

    wave_aa: Float[Array, "pixel"]
    old: Float[Array, "node pixel rank_old"]
    young: Float[Array, "node pixel rank_young"]
    nebular: Float[Array, "pixel rank_nebular"]
    sigma_nodes_kms: Float[Array, "node"]
    sigma_library_kms: Float[Array, "pixel"]
    old_weights: Float[Array, "metallicity cell_old rank_old"]
    young_weights: Float[Array, "metallicity cell_young rank_young"]
    light_v: Float[Array, "metallicity cell"]
    live_fraction: Float[Array, "metallicity cell"]
    age_edges_gyr: Float[Array, "edge"]
    log_z: Float[Array, "metallicity"]
    log_hbeta: Float[Array, "metallicity log_u cell_young"]
    log_line_ratio: Float[Array, "metallicity log_u cell_young line"]
    nebular_weights: Float[Array, "metallicity log_u cell_young rank_nebular"]
    log_u: Float[Array, "log_u"]
    line_wave_aa: Float[Array, "line"]
    line_names: tuple[str, ...] = eqx.field(static=True)
    line_groups: tuple[str, ...] = eqx.field(static=True)

    @property
    def n_young(self) -> int:
        """Number of age cells inside birth clouds (younger than 10 Myr)."""
        return self.young_weights.shape[1]


def chebyshev_dispersions(low_kms: float, high_kms: float, n: int) -> np.ndarray:
    """Chebyshev-Lobatto points [n] of `dispersion_coordinate` between two dispersions, as dispersions in km/s."""
    low, high = (np.log(s**2 + SIGMA_SOFT_KMS**2) for s in (low_kms, high_kms))
    x = low + (high - low) * 0.5 * (1.0 - np.cos(np.pi * np.arange(n) / (n - 1)))
    return np.sqrt(np.maximum(np.exp(x) - SIGMA_SOFT_KMS**2, 0.0))


def sigma_nodes() -> np.ndarray:
    """Dispersions [node] in km/s at which the library is prepared."""
    return chebyshev_dispersions(0.0, SIGMA_MAX_KMS, N_SIGMA)


def dispersion_coordinate(sigma_kms: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The variable in which broadened spectra are nearly polynomial: ln(sigma^2 + 60^2), sigma in km/s."""
    return jnp.log(sigma_kms**2 + SIGMA_SOFT_KMS**2)


def library_sigma(wave_aa: np.ndarray) -> np.ndarray:
    """Width of the stellar library's line-spread function, Gaussian sigma in km/s.

    BC03 (2016): theoretical spectra of 1 A (FWHM) below 3540 A, MILES at 2.54 A (Beifiori et al. 2011) to 7410 A, STELIB at 3 A to
    8750 A, BaSeL, sampled at 10 A and more, beyond.
    """
    fwhm = np.interp(wave_aa, [3500, 3580, 7400, 7420, 8700, 8800, 10000], [1.0, 2.54, 2.54, 3.0, 3.0, 20.0, 30.0])
    return fwhm / FWHM_PER_SIGMA / wave_aa * C_KMS


def broaden(spectra: np.ndarray, sigma_pixels: float) -> np.ndarray:
    """Convolve spectra [row, pixel] with a Gaussian of constant width, mirrored at the ends."""
    if sigma_pixels == 0.0:
        return spectra
    n = spectra.shape[1]
    pad = min(n - 1, int(6 * sigma_pixels) + 1)
    wide = np.pad(spectra, ((0, 0), (pad, pad)), mode="reflect")
    k = 2 * np.pi * np.fft.rfftfreq(wide.shape[1])
    return np.fft.irfft(np.fft.rfft(wide) * np.exp(-0.5 * (k * sigma_pixels) ** 2), wide.shape[1])[:, pad : pad + n]


class DustEmission(eqx.Module):
    """Emission of dust [pixel] per unit of power, 1/A: a basis with weights by heating, q_PAH and U_min (`slipher.grids.broad`)."""

    basis: Float[Array, "pixel rank"]
    weights: Float[Array, "heating qpah umin rank"]
    log_power: Float[Array, "heating qpah umin"]
    qpah: Float[Array, "qpah"]
    log_umin: Float[Array, "umin"]


class BroadLibrary(eqx.Module):
    """The library from the Lyman limit to 30 um, with the emission of dust; `width_aa` are the weights of an integral over its grid."""

    light: Library
    dust: DustEmission
    width_aa: Float[Array, "pixel"]


@cache
def load_library() -> Library:
    """The library that ships with slipher for spectra; prepared once a process (about half a second)."""
    star, _ = load_table("stars")
    gas, facts = load_table("nebulae")
    pixel_kms = stars.LOG_WAVE_STEP * np.log(10.0) * C_KMS
    wave, nodes = stars.wave_grid(), sigma_nodes()

    def at_nodes(basis: np.ndarray) -> np.ndarray:
        return np.stack([broaden(basis, s / pixel_kms) for s in nodes])

    continuum = broaden(gas["continuum_basis"], NEBULAR_SIGMA_KMS / pixel_kms)
    return _library(
        star | gas, facts, wave, nodes, at_nodes(star["old_basis"]), at_nodes(star["young_basis"]), continuum, library_sigma(wave)
    )


@cache
def load_broad() -> BroadLibrary:
    """The library that ships with slipher for photometry. Its one dispersion is that of its grid."""
    table, facts = load_table(broad.TABLE)
    wave, alone = broad.wave_grid(), np.zeros(1)
    light = _library(
        table, facts, wave, alone, table["old_basis"][None], table["young_basis"][None], table["continuum_basis"], np.zeros(len(wave))
    )
    dust = DustEmission(
        basis=jnp.asarray(table["dust_basis"].T),
        **{key: jnp.asarray(table[f"dust_{key}"]) for key in ("weights", "log_power", "qpah", "log_umin")},
    )
    return BroadLibrary(light, dust, jnp.asarray(broad.step_widths(), jnp.float32))


def _library(table: dict, facts: dict, wave: np.ndarray, nodes: np.ndarray, old, young, nebular, sigma_kms: np.ndarray) -> Library:
    """A library of bases `old` and `young` [node, rank, pixel] and `nebular` [rank, pixel]; all else is in the table as it is stored."""
    stored = (
        "old_weights", "young_weights", "light_v", "live_fraction", "age_edges_gyr", "log_z", "log_hbeta", "log_line_ratio",
        "line_wave_aa", "log_u",
    )  # fmt: skip
    return Library(
        wave_aa=jnp.asarray(wave, jnp.float32),
        old=jnp.asarray(old.transpose(0, 2, 1), jnp.float32),
        young=jnp.asarray(young.transpose(0, 2, 1), jnp.float32),
        nebular=jnp.asarray(nebular.T, jnp.float32),
        sigma_nodes_kms=jnp.asarray(nodes, jnp.float32),
        sigma_library_kms=jnp.asarray(sigma_kms, jnp.float32),
        **{key: jnp.asarray(table[key]) for key in stored},
        nebular_weights=jnp.asarray(table["continuum_weights"]),
        line_names=tuple(facts["line_names"]),
        line_groups=tuple(facts["line_groups"]),
    )
