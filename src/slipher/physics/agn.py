"""Active nuclei: what they add to a galaxy's light, as far as a generative model of spectra needs it.

    narrow lines + broad lines + power law

Ratios of narrow lines are drawn about two kinds of region: Seyferts and low-ionisation ones, as they lie apart in the diagrams of
Baldwin, Phillips & Terlevich (1981, PASP 93, 5) and Kewley et al. (2006, arXiv:astro-ph/0605681). The medians here were read off those
diagrams by eye: they are for simulated spectra that hold what real ones hold, not for measuring nuclei. Broad lines are Gaussians of one
width; the continuum is a power law in front of the stars' light. No Fe II, no torus, no dust of the nucleus' own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..grids.library import Library
from .galaxy import View
from .kinematics import line_profile

# Log10 of luminosities over H beta's: (rest wavelength in vacuum, Seyfert, low ionisation); case B for hydrogen, 2.98 of table 4.4 of
# Osterbrock & Ferland (2006) taken as 2.9; doublets of one upper level have their quantum ratios.
NARROW = {
    6564.6: (0.46, 0.46), 4862.7: (0.0, 0.0), 4341.7: (-0.33, -0.33), 4102.9: (-0.59, -0.59), 3971.2: (-0.80, -0.80),
    5008.2: (0.90, 0.35), 4960.3: (0.42, -0.13), 4364.4: (-0.85, -1.2), 6585.3: (0.43, 0.55), 6549.9: (-0.04, 0.08),
    6302.0: (-0.45, -0.05), 6365.5: (-0.93, -0.53), 6718.3: (-0.05, 0.25), 6732.7: (-0.10, 0.20), 3727.1: (0.05, 0.35),
    3729.9: (0.10, 0.40), 3869.9: (-0.10, -0.30), 3968.6: (-0.62, -0.82), 4687.0: (-0.65, -1.3), 9071.1: (-0.30, -0.5),
    9533.2: (0.09, -0.11), 2796.4: (-0.2, -0.2), 2803.5: (-0.3, -0.3),
}  # fmt: skip
SCATTER_DEX = 0.15  # of each element's lines about those medians
BROAD = {6564.6: 3.1, 4862.7: 1.0, 4341.7: 0.45, 4102.9: 0.25, 2799.1: 1.5}  # luminosities over H beta's
PIVOT_AA = 5600.0
MATCH_AA = 1.5
ABSENT_DEX = -9.0


class Nucleus(NamedTuple):
    """Of one galaxy; equivalent widths are over the galaxy's own level near 5600 A, in A. Zero: none of it.

    `seyfert`: 1 for a Seyfert's narrow lines, 0 for those of low ionisation, between them a mixture. `power`: the continuum's share of the
    level. `slope`: of its f_lambda.
    """

    narrow_ew_aa: Float[Array, ""]  # of H beta
    seyfert: Float[Array, ""]
    narrow_kms: Float[Array, ""]
    broad_ew_aa: Float[Array, ""]  # of H beta
    broad_kms: Float[Array, ""]
    power: Float[Array, ""]
    slope: Float[Array, ""]


def draw(key: PRNGKeyArray, narrow: float, broad: float) -> Nucleus:
    """A nucleus with narrow lines in a share `narrow` of all galaxies, and with broad lines and a continuum in a share `broad`.

    Every nucleus with broad lines has narrow ones.
    """
    k = jax.random.split(key, 8)
    chance = jax.random.uniform(k[0])
    has_broad, has_narrow = chance < broad, chance < jnp.maximum(narrow, broad)
    normal = jax.random.normal(k[1], (5,))
    seyfert = jnp.where(jax.random.uniform(k[2]) < 0.5, jax.random.beta(k[3], 6.0, 1.5), jax.random.beta(k[3], 1.5, 6.0))
    return Nucleus(
        jnp.where(has_narrow, jnp.exp(np.log(1.5) + 1.0 * normal[0]), 0.0),
        seyfert,
        jnp.clip(180.0 * jnp.exp(0.35 * normal[1]), 60.0, 500.0),
        jnp.where(has_broad, jnp.exp(np.log(15.0) + 0.9 * normal[2]), 0.0),
        jnp.clip(1800.0 * jnp.exp(0.45 * normal[3]), 600.0, 5000.0),
        jnp.where(has_broad, 0.7 * jax.random.uniform(k[4]), 0.0),
        -1.5 + 0.4 * normal[4],
    )


def narrow_ratios(line_wave_aa: Float[Array, "line"]) -> Float[Array, "two line"]:
    """Log10 luminosities of lines over H beta's, of Seyferts and of low ionisation; far below where a nucleus has no such line."""
    known = jnp.array(list(NARROW), jnp.float32)
    away = jnp.abs(line_wave_aa[:, None] - known)
    nearest = jnp.argmin(away, 1)
    ratios = jnp.array(list(NARROW.values()), jnp.float32)[nearest].T
    return jnp.where(jnp.min(away, 1) < MATCH_AA, ratios, ABSENT_DEX)


def narrow_luminosities(key: PRNGKeyArray, nucleus: Nucleus, members: Float[Array, "group line"], library: Library) -> Float[Array, "line"]:
    """Luminosities of narrow lines over the galaxy's level, A; lines of one group (`members`) scatter together."""
    seyfert, low = narrow_ratios(library.line_wave_aa)
    scatter = members.T @ jax.random.normal(key, (members.shape[0],))
    return nucleus.narrow_ew_aa * 10 ** (nucleus.seyfert * seyfert + (1.0 - nucleus.seyfert) * low + SCATTER_DEX * scatter)


def broad_light(nucleus: Nucleus, view: View) -> Float[Array, "pixel"]:
    """Broad lines and continuum over the galaxy's level."""
    lines = sum(ratio * line_profile(view.wave_aa, view.width_kms, jnp.asarray(wave), nucleus.broad_kms) for wave, ratio in BROAD.items())
    return nucleus.broad_ew_aa * lines + nucleus.power * (view.wave_aa / PIVOT_AA) ** nucleus.slope
