r"""Dust of scenes: what a law is in a band, and where in a galaxy dust is before anything is seen of it.

    T_b = exp(-tau k_b),   k_b = int R_b k(lambda / (1 + z)) dlambda / lambda / int R_b dlambda / lambda

A law k = A_lambda / A_V (`slipher.physics.dust`) is one number a band: its mean over the filter for a source of flat f_nu. The true mean
of exp(-tau k) depends on the spectrum and is no power of itself: what is redder within a band passes better. For tau = 1 at 5500 A,
Calzetti's law, redshifts up to 0.5 and slopes of f_nu from -2 to 2 in frequency, T_b is off by 2.3 % at most in SDSS' u and HSC's bands
(worst in g), in a band as broad as Euclid's VIS by 6.6 % (tests/scene/test_dust_screens.py). Laws with the bump at 2175 A err more where
a band crosses it: that of Cardelli et al. by 9 % in u at a redshift of 0.5.

`Following` is a screen that lies where the light is: its size, ellipse and centre are those of the source's first light but for deviations
that the data have to ask for.

Where the light has texture of its own, do not leave a screen's shape and texture free beside it unless something holds them: whatever
darkens one side of a galaxy may be dust or less light there, bands that hardly differ in k cannot tell, and both run away together
(measured: E(B-V) of 0.46 for 0.13 in the worst of 12 simulated galaxies). Either hold `log_ratio`, `twist_1`, `twist_2` and `centre` by the
mask of what is free (`normal.opened(point, sources=lambda name: ...)`) or give them (`Start.given`), or have data that know them (bands
far apart in wavelength, a sharper image), or a narrower prior.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..physics import dust
from ..physics.parameters import Normal, Parameter
from .exposure import Frequencies
from .morphology import Morphology, Point, Textured, Values, of_grid
from .physical_spectra import Filters, band_means

B_AA, V_AA = 4400.0, 5500.0
MAG_PER_TAU = 2.5 / np.log(10.0)
HALF = 1.6783  # scale lengths of an exponential disc within which half of it is
SOFT = 0.05  # half-mass radii within which it is no cusp
Scalar = Float[Array, ""]


def band_curve(curve: str, filters: Filters, redshift: float = 0.0, **shape: float) -> Float[Array, "band"]:
    """k of an attenuation curve in each filter, dust at that redshift: the `law` of a `Screen`, whose tau is then that at 5500 A.

    Parameters
    ----------
    curve, shape
        A name of `slipher.physics.dust.ATTENUATION_CURVES`, and its shape parameters where they are not its defaults.

    Raises
    ------
    InputError
        If there is no such curve or filter, or the filter reaches beyond 912 A - 30 um.
    """
    means = band_means(filters)
    return means.weights @ dust.attenuation_curve(curve)(means.wave_aa / (1.0 + redshift), **shape)


def tau_per_ebv(curve: str, **shape: float) -> float:
    """tau at 5500 A of dust of E(B-V) = 1: R_V / 1.086, by the law itself at 4400 and 5500 A.

    Raises
    ------
    InputError
        If there is no such curve.
    """
    blue, visual = np.asarray(dust.attenuation_curve(curve)(jnp.array([B_AA, V_AA]), **shape), np.float64)
    return float(1.0 / (blue - visual) / MAG_PER_TAU)


class Following(Morphology):
    """An exponential disc of dust that follows a source's light, with texture: a column of one at its centre but for the texture.

    What is free are deviations from the source's first light: of ln radius, of both shears, of the centre in the dust's own radii. The
    texture is a Gaussian random field in ln column as of `Textured`, on the grid of the source (`n` and `step` are those of `Source`).
    `names` are those by which the light calls its ln radius and shears, where it has several.
    """

    n: int = eqx.field(static=True, default=41)
    step: float = eqx.field(static=True, default=0.5)
    length: float = eqx.field(static=True, default=3.0)
    roughness: float = eqx.field(static=True, default=0.5)
    names: tuple[str, str, str] = eqx.field(static=True, default=("log_radius", "shear_1", "shear_2"))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("log_ratio", "ln", r"\ln r_d/r_e", Normal(-0.2, 0.4), "ln of the dust's half-mass radius over the light's"),
            Parameter("twist_1", "", r"\Delta g_1", Normal(0.0, 0.2), "shear of the dust less that of the light"),
            Parameter("twist_2", "", r"\Delta g_2", Normal(0.0, 0.2), "the same of the other component"),
            Parameter("centre", "radius", r"\Delta r_d", Normal(0.0, 0.3), "of the dust from the light's, in its radii, x and y", (2,)),
            Parameter("texture", "", r"\xi", Normal(0.0, 1.0), "white noise of the field", (self.n, self.n)),
        )

    def column(self, values: Values, light: Values) -> Float[Array, "v u"]:
        """Of the dust on the source's grid, by its own values and those of the first light.

        Raises
        ------
        InputError
            If the light has no such radius and shears.
        """
        missing = [name for name in self.names if name not in light]
        if missing:
            raise InputError(
                f"dust that follows a light without {', '.join(missing)}", expected="a first light with a radius and shears",
                mend=f"Give names=(...) of {', '.join(light) or 'none'}; dust in front of a point needs a shape of its own.",
            )  # fmt: skip
        log_radius, g_1, g_2 = (light[name] for name in self.names)
        size = jnp.exp(log_radius + values["log_ratio"])
        at = self.step * (jnp.arange(self.n) - 0.5 * (self.n - 1))
        x, y = at - size * values["centre"][0], (at - size * values["centre"][1])[:, None]
        inner = elliptical(x / size, y / size, g_1 + values["twist_1"], g_2 + values["twist_2"])
        smooth = -HALF * (jnp.sqrt(inner**2 + SOFT**2) - SOFT)
        field = Textured(Point(), self.n, self.step, self.length, self.roughness).field(values["texture"])
        return jnp.exp(smooth + field)

    def transform(self, values: Values, q: Frequencies) -> Float[Array, "ky kx"]:
        """Of dust that follows a round light of a radius of one pixel: what it is by itself."""
        alone = dict.fromkeys(self.names, jnp.zeros(()))
        column = self.column(values, alone)
        return of_grid(column / jnp.sum(column), self.step, q)


def elliptical(x: Float[Array, "*#shape"], y: Float[Array, "*#shape"], g_1: Scalar, g_2: Scalar) -> Float[Array, "*#shape"]:
    """|S^-1 r| with S the matrix exponential of shears (g_1, g_2): one on the ellipse that the unit circle becomes."""
    size = jnp.sqrt(g_1**2 + g_2**2 + 1e-12)
    cosh, sinh = jnp.cosh(size), jnp.sinh(size) / size
    along = (cosh - sinh * g_1) * x - sinh * g_2 * y
    across = -sinh * g_2 * x + (cosh + sinh * g_1) * y
    return jnp.sqrt(along**2 + across**2 + 1e-12)
