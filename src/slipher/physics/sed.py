"""The spectral energy distribution of a galaxy from the Lyman limit to 30 um: stars and nebulae behind dust, and the dust's own light.

Where this stands: beside `galaxy.spectrum`, which is for spectrographs; parameters, ingredients and dust are the same, on the broad
library. What dust absorbs it emits again (energy balance), with the spectrum of Draine & Li (2007). Lines are kept apart from the
continuum: what a filter sees of a line is its response at one wavelength.

What this does not do: AGN, dust that hides stars altogether, and light below 912 A.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..grids.library import BroadLibrary, DustEmission
from . import galaxy
from .galaxy import GalaxyModel, Ingredients, Values
from .interpolation import cubic_weights

Scalar = Float[Array, ""]


class Sed(NamedTuple):
    """Rest-frame light after dust, per Msun formed: continuum [pixel] in Lsun/A on the broad library's grid, and lines [line] in Lsun.

    `parts` are the ingredients that it was made of.
    """

    continuum: Float[Array, "pixel"]
    lines: Float[Array, "line"]
    parts: Ingredients | None = None


def sed(model: GalaxyModel, values: Values, t_universe_gyr: Scalar, library: BroadLibrary) -> Sed:
    """The light of a galaxy of named parameters at a redshift where the universe has the given age.

    Dust shines if the model has `q_pah` (per cent), `log_umin` and `log_gamma`, as free or fixed parameters.
    """
    values = model.complete(values)
    light = library.light
    parts = galaxy.ingredients(model, values, t_universe_gyr, light)
    old = parts.old @ light.old[0].T
    young = parts.young @ light.young[0].T + parts.nebular @ light.nebular.T
    n = len(light.wave_aa)
    screen = galaxy.attenuation(model, values, jnp.concatenate([light.wave_aa, light.line_wave_aa]))
    seen_old, seen_young, seen_lines = screen.old[:n] * old, screen.young[:n] * young, screen.young[n:] * parts.lines
    if "q_pah" not in values:
        return Sed(seen_old + seen_young, seen_lines, parts)
    absorbed = library.width_aa @ (old - seen_old + young - seen_young) + jnp.sum(parts.lines - seen_lines)
    return Sed(seen_old + seen_young + absorbed * dust_emission(values, library.dust), seen_lines, parts)


def dust_emission(values: Values, dust: DustEmission) -> Float[Array, "pixel"]:
    """Spectrum (1/A) of dust of unit power: Draine & Li (2007), equations 22 and 23, with U_max = 10^6 and alpha = 2.

    A share gamma of the dust's mass is heated by a power law of starlight intensities, the rest by U_min alone.
    """
    at = jnp.outer(cubic_weights(values["q_pah"], dust.qpah), cubic_weights(values["log_umin"], dust.log_umin))
    gamma = 10 ** values["log_gamma"]
    power = jnp.stack([1.0 - gamma, gamma]) * 10 ** jnp.einsum("qu,hqu->h", at, dust.log_power)
    return dust.basis @ (power / jnp.sum(power) @ jnp.einsum("qu,hqur->hr", at, dust.weights))
