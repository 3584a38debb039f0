r"""Galaxies as learned priors see them, and a morphology that a flow makes of white noise.

    x = ln(I + e^-8),      I = surface brightness over its mean within the smallest area that holds half of the light,

so that x is -8 where the sky is dark and about 1 to 3 in the centre, whatever the galaxy's flux and size are. Back again, light is
e^x - e^-8, brought to a sum of one. What turns noise into x is any module that maps images to images (`slipher.networks.wavelet_flow`):
its base being white noise, Gauss-Newton steps, Laplace's Gaussian and samplers work on it as on any other morphology.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..physics.parameters import Normal, Parameter
from .morphology import Gridded, Values

DARK = -8.0  # x where there is no light
BENT = 0.2  # of the dark level, below which light bends to stay positive


def log_brightness(light: Float[Array, "y x"]) -> Float[Array, "y x"]:
    """x of an image of light, of any sum; what is negative is dark."""
    return jnp.log(jnp.maximum(light, 0.0) / half_light_brightness(light) + np.exp(DARK))


def light_of(x: Float[Array, "y x"]) -> Float[Array, "y x"]:
    """Light of unit sum, none of it negative: of what is darker than the dark level nothing is left, by a bend and not by a cut."""
    over = jnp.expm1(x - DARK)
    light = 0.5 * (over + jnp.sqrt(over**2 + BENT**2))
    return light / jnp.sum(light)


def half_light_brightness(light: Float[Array, "y x"]) -> Float[Array, ""]:
    """Mean light of a pixel among the brightest ones that together hold half of it."""
    ranked = jnp.sort(jnp.maximum(light, 0.0).ravel())[::-1]
    half = 0.5 * jnp.sum(ranked)
    within = jnp.concatenate([jnp.zeros(1), jnp.cumsum(ranked)])
    area = jnp.interp(half, within, jnp.arange(len(within), dtype=light.dtype))
    return half / jnp.maximum(area, 1e-6)


class Learned(Gridded):
    """What a flow makes of white noise, the middle `n` by `n` points of it.

    `flow` is called as flow(noise [size, size]) and gives x [size, size]; its `size` is a number of its own.
    """

    flow: eqx.Module
    n: int = eqx.field(static=True)
    step: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        if self.n > self.flow.size:
            raise InputError(
                f"a grid of {self.n} points", expected=f"at most {self.flow.size}, the flow's", mend="Take a longer step, or fewer points."
            )

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        size = self.flow.size
        return (Parameter("texture", "", r"\xi", Normal(0.0, 1.0), "white noise that the flow makes a galaxy of", (size, size)),)

    def light(self, values: Values) -> Float[Array, "v u"]:
        first = (self.flow.size - self.n) // 2
        inside = slice(first, first + self.n)
        return light_of(self.flow(values["texture"])[inside, inside])


class Denoised(Gridded):
    """Pixels of which the prior is what a denoiser makes of them (`slipher.scene.annealed`): x = mean + width xi.

    Mean [n, n] and width are given, for they change in the course of a fit: as `mean` and `width` of `Start.given`.
    """

    n: int = eqx.field(static=True)
    step: float = eqx.field(static=True, default=1.0)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("log_light", "", r"\xi", Normal(0.0, 1.0), "of each pixel's x, about the given mean", (self.n, self.n)),)

    def light(self, values: Values) -> Float[Array, "v u"]:
        return light_of(self.image(values))

    def image(self, values: Values) -> Float[Array, "v u"]:
        """x."""
        return values["mean"] + values["width"] * values["log_light"]
