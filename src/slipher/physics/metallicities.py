"""Metallicities of the stars by age: log10 Z/Zsun in each of the library's age cells.

A metallicity history is a function `log_z(values, t_universe_gyr, age_edges_gyr)` of a galaxy model: one number a cell, or a single one for
all. Beyond the library's metallicities the nearest holds (`slipher.physics.galaxy.ingredients`).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

Z_SUN = 0.02  # mass fraction of metals at solar metallicity in the library (Bruzual & Charlot 2003)

Scalar = Float[Array, ""]


def constant(values: dict[str, Array], t_universe_gyr: Scalar, age_edges_gyr: Float[Array, "edge"]) -> Float[Array, "1"]:
    """All stars of the metallicity `log_zstar`."""
    return jnp.asarray(values["log_zstar"])[None]


def enrichment(
    age_edges_gyr: Float[Array, "edge"],
    t_universe_gyr: Scalar,
    *,
    coefficients: Float[Array, "basis"],
    knots: Float[Array, "knot"],
    bases: Float[Array, "basis knot"],
) -> Float[Array, "edge-1"]:
    """Metallicity Z at the middle of each age cell, as it lies within the age of the universe: a sum of basis histories.

    `bases` are linear between `knots`, evenly spaced fractions of the age of the universe from 0 to 1; the result is in the unit
    of `coefficients`. It changes by less than a per cent of Zsun within a cell of 0.1 dex, so that its middle stands for the mean.
    """
    edges = jnp.minimum(age_edges_gyr, t_universe_gyr) / t_universe_gyr
    middle = 0.5 * (edges[1:] + edges[:-1])
    spacing = knots[1] - knots[0]
    near = jnp.clip(1.0 - jnp.abs(middle[:, None] - knots) / spacing, 0.0, None)
    return near @ (coefficients @ bases)
