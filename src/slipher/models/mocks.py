"""Mock spectra on a survey's own pixels, with their truth: what a release is calibrated on, and `slipher simulate` writes.

The same physics, systematics and noise as in training, but through the door that real spectra take: a `Spectrum` with the survey's
wavelengths, resolution, mask and flux scale.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..data import checks
from ..data.observation import Spectrum
from ..errors import InputError
from ..grids.library import Library
from ..instrument import simulate as sim
from ..instrument import spectrograph, surveys
from ..instrument.systematics import Systematics
from ..physics import cosmology, parameters
from ..physics.galaxy import GalaxyModel, View
from . import generated, shipped, spectra

MASS_RANGE = (8.5, 11.8)


def simulate(
    n: int, *, model: str = "galaxy", survey: str | None = None, seed: int = 0, redshift: float | None = None,
    median_sn: float | None = None,
) -> list[tuple[Spectrum, dict[str, float]]]:  # fmt: skip
    """Mock spectra with their true parameters.

    Parameters
    ----------
    survey
        'sdss', 'boss' or 'desi'; None draws one for each galaxy.
    model
        A model of spectra, whose galaxies have its parameters, or a generative one (`slipher.models.generated`), whose have latents.
    redshift, median_sn
        Fixed values; None draws from 0.003 - 0.4 and (log-uniformly) 2 - 60.

    Raises
    ------
    InputError
        For an unknown model or survey, a model of no survey, or values outside the model.
    """
    made = shipped.load(model)
    if isinstance(made, shipped.ShippedLatents):
        return generated.generate(n, made, survey=survey, seed=seed, redshift=redshift, median_sn=median_sn)
    if not isinstance(made, shipped.Shipped):
        raise InputError(f"mock spectra by model {model!r}", expected="a model of spectra", mend="Choose 'galaxy', the default.")
    for name, value, (low, high) in (
        ("redshift", redshift, made.recipe.population.redshift),
        ("median_sn", median_sn, made.recipe.population.sn),
    ):
        if value is not None and not low <= value <= high:
            raise InputError(f"{name}={value}", expected=f"{low} to {high}", mend="Choose a value that the model covers.")
    return [mock(i, made, survey=survey, seed=seed, redshift=redshift, median_sn=median_sn) for i in range(n)]


def mock(
    number: int, made: shipped.Shipped, *, survey: str | None, seed: int, redshift: float | None, median_sn: float | None
) -> tuple[Spectrum, dict[str, float]]:
    """One mock; (seed, number) decides everything that is not given."""
    if any(surveys.survey(name).n_samples for name in made.recipe.population.surveys):
        raise InputError(
            f"model {made.recipe.name!r}, which is an exercise on rest-frame samples",
            expected="a model of what a survey records",
            mend="Choose another model; benchmarks/digs.py shows what this one is for.",
        )
    rng = np.random.default_rng([seed, number])
    instrument = surveys.survey(survey or rng.choice(["sdss", "boss", "desi"]))
    z = float(rng.uniform(0.003, 0.4)) if redshift is None else float(redshift)
    sn = float(np.exp(rng.uniform(*np.log([2.0, 60.0])))) if median_sn is None else float(median_sn)
    wave = instrument.wavelengths()
    lsf = instrument.lsf(wave) * np.exp(rng.normal(0.0, 0.08))
    view = spectrograph.view(wave, z, made.library, lsf_kms=lsf)
    key = jax.random.key(rng.integers(2**31))
    low, high = instrument.wave_range_aa
    recipe = made.recipe
    u, flux, sigma, kept = _record(
        key, view, jnp.asarray(wave, jnp.float32), jnp.float32(z), jnp.float32(sn), jnp.float32(low), jnp.float32(high),
        made.library, recipe.preset, recipe.systematics,
    )  # fmt: skip
    log_mass = float(rng.uniform(*MASS_RANGE))
    log_unit, _ = spectra.mass_unit(z, 1.0)
    scale = 10 ** (log_mass - log_unit)
    flux, sigma, kept = (np.asarray(x, np.float64) for x in (flux, sigma, kept))
    spectrum = checks.spectrum(
        wave, flux * scale * kept, ivar=kept / (sigma * scale) ** 2, redshift=z, lsf_kms=lsf, survey=instrument.name,
        id=f"mock-{seed}-{number}", ebv=0.0,
    )  # fmt: skip
    values = parameters.from_normal(recipe.preset.parameters[:-1], u)
    truth = {name: float(value) for name, value in values.items()}
    return spectrum, {"redshift": z, "median_sn": sn, **truth, recipe.preset.parameters[-1].name: log_mass}


@partial(jax.jit, static_argnames=("model", "systematics"))
def _record(
    key: Array, view: View, wave: Array, redshift: Array, sn: Array, low: Array, high: Array, library: Library,
    model: GalaxyModel, systematics: Systematics,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    k = jax.random.split(key, 5)
    u = jax.random.normal(k[0], (len(model.parameters) - 1,))
    values = parameters.from_normal(model.parameters[:-1], u)
    kept = surveys.mask(k[1], len(wave))
    expected = sim.light(k[2], model, values, cosmology.age_gyr(redshift), view, library, systematics, kept)
    shape = surveys.noise_shape(k[3], wave, expected.continuum, low, high)
    sigma = shape * jnp.median(expected.flux / shape) / sn
    return u, sim.record(k[4], expected, sigma, view.wave_aa, systematics), sigma, kept
