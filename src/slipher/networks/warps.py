r"""Monotone maps of one number, four numbers each: what conditional flows of images move noise by.

    x = loc + scale sinh((asinh z + skew) / tail)                                (Jones & Pewsey 2009, Biometrika 96, 761)

Scale, skew and tail are bounded, so that what is probable in x is nowhere cramped in z: Gauss-Newton steps go through these maps.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

LIMITS = {"log_scale": 2.5, "skew": 0.7, "log_tail": 0.5}

Warp = Float[Array, "4 *shape"]


def bounded(raw: Warp) -> Warp:
    """A network's four numbers as location, log scale, skew and log tail."""
    kept = [limit * jnp.tanh(one / limit) for one, limit in zip(raw[1:], LIMITS.values(), strict=True)]
    return jnp.stack([raw[0], *kept])


def warp(z: Float[Array, "*shape"], by: Warp) -> Float[Array, "*shape"]:
    """x of noise."""
    loc, log_scale, skew, log_tail = by
    return loc + jnp.exp(log_scale) * jnp.sinh((jnp.arcsinh(z) + skew) * jnp.exp(-log_tail))


def unwarp(x: Float[Array, "*shape"], by: Warp) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The noise, and ln |dz/dx|."""
    loc, log_scale, skew, log_tail = by
    y = (x - loc) * jnp.exp(-log_scale)
    z = jnp.sinh(jnp.arcsinh(y) * jnp.exp(log_tail) - skew)
    return z, 0.5 * jnp.log1p(z**2) - 0.5 * jnp.log1p(y**2) + log_tail - log_scale
