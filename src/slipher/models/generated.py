"""New galaxies drawn from a generative model and put through a survey: mock spectra that look like data, with their truth.

    p(s) --draw--> latents --decode, remainder--> rest-frame spectrum --redshift, line-spread function, noise, mask--> Spectrum

The decoder's spectra have whatever the model was trained on, nuclei and odd abundances among it; there are no parameters of a galaxy
behind them. Calibration, mismatch and sky residuals are added as in training. The flux scale is that of the survey's usual noise.
"""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..data import checks
from ..data.observation import Spectrum
from ..errors import InputError
from ..instrument import simulate, surveys
from ..instrument.surveys import Survey
from ..instrument.systematics import Systematics
from . import latent_set
from .shipped import ShippedLatents

USUAL_SIGMA = {"sdss": 1.0, "boss": 0.7, "desi": 0.45}  # median noise a pixel, 1e-17 erg/s/cm2/A, of an exposure of about an hour
ARMS_AA = ((3600.0, 5800.0), (5760.0, 7620.0), (7520.0, 9824.0))  # of DESI
REDSHIFTS, SN = (0.003, 0.4), (2.0, 60.0)
FIRST_PLATE, FIBRES = 20_000, 1000
MJD = {"sdss": 52_000, "boss": 56_000}
FIRST_TARGET = 39_900_000_000_000_000  # beyond DESI's own; integers that float64 cannot all hold


def generate(
    n: int, made: ShippedLatents, *, survey: str | None = None, seed: int = 0, redshift: float | None = None, median_sn: float | None = None
) -> list[tuple[Spectrum, dict[str, float]]]:
    """Mock spectra with their redshift, median S/N, latents and ln p(s); (seed, number) decides all that is not given.

    Raises
    ------
    InputError
        For a survey that slipher does not know, or a redshift or S/N that the model has not seen.
    """
    population = made.recipe.population
    for name, value, (low, high) in (("redshift", redshift, population.redshift), ("median_sn", median_sn, population.sn)):
        if value is not None and not low <= value <= high:
            raise InputError(f"{name}={value}", expected=f"{low} to {high}", mend="Choose a value that the model covers.")
    if survey is not None and survey not in USUAL_SIGMA:
        raise InputError(f"survey {survey!r}", expected=f"one of {', '.join(USUAL_SIGMA)}", mend="Choose one of those.")
    return [_mock(i, made, survey, seed, redshift, median_sn) for i in range(n)]


def _mock(
    number: int, made: ShippedLatents, survey: str | None, seed: int, redshift: float | None, median_sn: float | None
) -> tuple[Spectrum, dict[str, float]]:
    rng = np.random.default_rng([seed, number])
    instrument = surveys.survey(survey or str(rng.choice(list(USUAL_SIGMA))))
    z = float(rng.uniform(*REDSHIFTS)) if redshift is None else float(redshift)
    sn = float(np.exp(rng.uniform(*np.log(SN)))) if median_sn is None else float(median_sn)
    wave, segments = pixels(instrument)
    lsf = instrument.lsf(wave) * np.exp(rng.normal(0.0, 0.05))
    basis = latent_set.basis_at(made.trained.network.projection, wave / (1.0 + z), lsf, made.library)
    key = jax.random.key(rng.integers(2**31))
    low, high = instrument.wave_range_aa
    latents, log_density, flux, sigma, kept = _recorded(
        key, made.trained, basis, jnp.asarray(wave, jnp.float32), latent_set.errors_at(wave, z, made.recipe.systematics), jnp.float32(sn),
        jnp.array([low, high], jnp.float32), made.recipe.systematics, made.recipe.contents,
    )  # fmt: skip
    flux, sigma, kept = (np.asarray(x, np.float64) for x in (flux, sigma, kept))
    scale = USUAL_SIGMA[instrument.name] / np.median(sigma)
    spectrum = checks.spectrum(
        wave, flux * scale * kept, ivar=kept / (sigma * scale) ** 2, redshift=z, lsf_kms=lsf, segments=segments, survey=instrument.name,
        id=_identifier(instrument.name, seed, number), ebv=0.0,
    )  # fmt: skip
    truth = {f"latent_{i}": float(value) for i, value in enumerate(latents)}
    return spectrum, {"redshift": z, "median_sn": sn, "log_density": float(log_density), **truth}


def pixels(instrument: Survey) -> tuple[np.ndarray, tuple[tuple[int, int], ...] | None]:
    """Wavelengths of a survey's coadded spectra as its files have them, and their segments."""
    if instrument.name != "desi":
        return instrument.wavelengths(), None
    arms = [np.arange(low, high + 0.1, instrument.pixel_aa) for low, high in ARMS_AA]
    edges = np.cumsum([0, *(len(arm) for arm in arms)]).tolist()
    return np.concatenate(arms), tuple(pairwise(edges))


def _identifier(survey: str, seed: int, number: int) -> str:
    """As the survey writes it; of another seed another night or range."""
    if survey == "desi":
        return str(FIRST_TARGET + (seed << 24) + number)
    return f"{FIRST_PLATE + number // FIBRES}-{MJD[survey] + seed % 2500}-{number % FIBRES + 1:04d}"


@eqx.filter_jit
def _recorded(
    key: Array, trained, basis: Array, wave: Array, errors: latent_set.Errors, sn: Array, ends: Array, systematics: Systematics,
    contents: latent_set.Contents,
) -> tuple[Array, Array, Array, Array, Array]:  # fmt: skip
    k = jax.random.split(key, 3)
    latents, shape = trained.new(k[0])
    n = trained.network.projection.n_continuum
    light = simulate.Emitted(basis[:, :n] @ shape[:n], basis[:, n:] @ shape[n:], jnp.zeros(0))
    kept = surveys.mask(k[1], len(wave))
    flux, sigma = latent_set.recorded(k[2], light, kept, wave, sn, ends, errors, systematics, contents)
    return latents, trained.density.log_prob(latents), flux, sigma, kept
