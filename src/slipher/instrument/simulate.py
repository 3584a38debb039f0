"""From a galaxy to what an instrument records of it: light, systematics, noise. Pure functions of one galaxy.

The error model is that of `slipher.instrument.systematics`, term by term; the likelihood marginalises what is drawn here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..grids import stars
from ..grids.library import Library
from ..physics import galaxy
from ..physics.galaxy import GalaxyModel, View
from ..units import C_KMS
from . import systematics as sys_
from .systematics import Systematics


class Light(NamedTuple):
    """Expected light per Msun formed at a view's pixels, systematics included: `flux` = continuum + lines, in Lsun/A."""

    flux: Float[Array, "pixel"]
    continuum: Float[Array, "pixel"]
    lines: Float[Array, "pixel"]
    line_luminosity: Float[Array, "line"]


def v_band_light(wave_aa: Float[Array, "pixel"], flux: Float[Array, "pixel"]) -> Array:
    """Mean flux over 5300 - 5900 A, the scale of equivalent widths and of normalised spectra; over all pixels where none is there."""
    low, high = stars.LIGHT_WINDOW_AA
    inside = (wave_aa > low) & (wave_aa < high)
    return jnp.mean(flux, where=inside | ~jnp.any(inside))


class Emitted(NamedTuple):
    """A galaxy's light per Msun formed at a view's pixels before the instrument errs, Lsun/A, and the luminosities of its lines."""

    continuum: Float[Array, "pixel"]
    lines: Float[Array, "pixel"]
    line_luminosity: Float[Array, "line"]


def light(
    key: PRNGKeyArray,
    model: GalaxyModel,
    values: dict[str, Array],
    t_universe_gyr: Array,
    view: View,
    library: Library,
    systematics: Systematics,
    covered: Float[Array, "pixel"],
) -> Light:
    """Draw one galaxy's expected light with its systematics (`covered`: 1 where the instrument records)."""
    k = jax.random.split(key, 4)
    light = emitted((k[0], k[1], k[2]), model, values, t_universe_gyr, view, library, systematics)
    draws = jax.random.normal(k[3], (sys_.N_CALIBRATION + sys_.N_MISMATCH,))
    factor = 1.0 + sys_.calibration_templates(systematics, view.wave_aa, covered) @ draws[: sys_.N_CALIBRATION]
    factor += sys_.mismatch_templates(systematics, view.wave_aa) @ draws[sys_.N_CALIBRATION :]
    return Light(factor * (light.continuum + light.lines), factor * light.continuum, factor * light.lines, light.line_luminosity)


def emitted(
    keys: tuple[PRNGKeyArray, PRNGKeyArray, PRNGKeyArray], model: GalaxyModel, values: dict[str, Array], t_universe_gyr: Array,
    view: View, library: Library, systematics: Systematics,
) -> Emitted:  # fmt: skip
    """Draw what the galaxy itself does that the model does not: scatter of its lines, velocities, broad Balmer and Na D lines."""
    values = model.complete(values)
    parts = galaxy.ingredients(model, values, t_universe_gyr, library)
    stars_light = galaxy.continuum(model, values, parts, view, library)
    level = v_band_light(view.wave_aa, stars_light)

    predicted = galaxy.line_luminosities(model, values, parts, library)
    scattered = scatter_lines(keys[0], predicted, level, library, systematics)
    v_stars, v_gas = systematics.velocity_kms * jax.random.normal(keys[1], (2,))
    centres = library.line_wave_aa * (1.0 + v_gas / C_KMS)
    windows = galaxy.line_windows(view, centres, values["sigma_gas"])
    lines = galaxy.spread_lines(view, scattered[:, None] * windows)
    broad, sodium = jax.random.normal(keys[2], (2,)) * jnp.array([systematics.broad_ew_aa, systematics.sodium_ew_aa])
    stars_light += v_stars * sys_.velocity_derivative(stars_light, view.wave_aa)
    stars_light += level * (broad * sys_.broad_template(view, systematics) + sodium * sys_.sodium_template(view))
    return Emitted(stars_light, lines, scattered)


def scatter_lines(
    key: PRNGKeyArray, predicted: Float[Array, "line"], level: Array, library: Library, systematics: Systematics
) -> Float[Array, "line"]:
    """Line luminosities scattered group by group about Cloudy's, by a fraction and by an equivalent width."""
    members = jnp.asarray(sys_.group_matrix(library))
    scatter, ew = sys_.group_amplitudes(systematics, library)
    total = members @ predicted
    sd = jnp.sqrt((scatter * total) ** 2 + (ew * level) ** 2)
    change = sd * jax.random.normal(key, sd.shape)
    return predicted * (1.0 + members.T @ (change / jnp.maximum(total, 1e-30)))


def floor_variance(
    systematics: Systematics, wave_aa: Float[Array, "pixel"], continuum: Float[Array, "pixel"], lines: Float[Array, "pixel"]
) -> Float[Array, "pixel"]:
    """Variance of the independent floor, the square of fractions of the continuum and of the lines."""
    return (systematics.floor_at(wave_aa) * continuum) ** 2 + (systematics.line_floor * lines) ** 2


def record(
    key: PRNGKeyArray,
    expected: Light,
    sigma: Float[Array, "pixel"],
    wave_aa: Float[Array, "pixel"],
    systematics: Systematics,
) -> Float[Array, "pixel"]:
    """Expected light with photon and floor noise; `sigma` is the noise the instrument will report."""
    variance = sigma**2 + floor_variance(systematics, wave_aa, expected.continuum, expected.lines)
    return expected.flux + jnp.sqrt(variance) * jax.random.normal(key, sigma.shape)


def record_fraction(key: PRNGKeyArray, expected: Light, fraction: Float[Array, ""]) -> tuple[Array, Array]:
    """Expected light [pixel] with an error of a fraction of it, normal in the logarithm, and the sigma [pixel] that is reported.

    That is the fraction of the *recorded* flux: a fraction of the expected one would give the noise-free spectrum away.
    """
    flux = expected.flux * jnp.exp(jnp.log1p(fraction) * jax.random.normal(key, expected.flux.shape))
    return flux, fraction * flux
