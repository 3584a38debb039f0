r"""Shapes of sources on the sky: Fourier transforms of profiles of unit flux about their own centre.

Each morphology names its parameters with priors that are maps from a standard normal (`slipher.physics.parameters`), and gives its
transform at frequencies q in radians a reference pixel. Ellipses are conformal shears: the matrix exponential of a symmetric traceless
matrix keeps areas, has no edge, and makes the axis ratio exp(-2 |g|) for a shear g = (g_1, g_2).

Implementing a morphology: a final subclass of `Morphology` with `parameters` and `transform`, or of `Gridded` with `parameters` and
`light` where it is pixels of a grid; a line in tests/scene/test_morphology.py has it pass the laws of all.
"""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from scipy import signal

from ..physics.parameters import Normal, Parameter
from . import sersic
from .exposure import Frequencies

Values = dict[str, Array]

FADING = 0.25  # of a grid's width, in which texture fades

SHEARS = (
    Parameter("shear_1", "", "g_1", Normal(0.0, 0.3), "stretches along x for positive values, along y for negative ones"),
    Parameter("shear_2", "", "g_2", Normal(0.0, 0.3), "stretches along the diagonal of x and y for positive values"),
)


def radius(name: str = "log_radius") -> Parameter:
    """ln of a radius in reference pixels."""
    return Parameter(name, "ln(pixel)", r"\ln r_e", Normal(0.8, 0.8), "ln of the geometric mean of the half-light ellipse's axes")


class Morphology(eqx.Module):
    """What has a shape."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """What is free."""

    @abstractmethod
    def transform(self, values: Values, q: Frequencies) -> Float[Array, "ky kx"] | Complex[Array, "ky kx"]:
        """At frequencies; one at zero."""


def sheared(values: Values, q: Frequencies) -> Float[Array, "ky kx"]:
    """|S' q| of the ellipse that `log_radius` and shears are: what a round profile of unit radius has for its frequency."""
    g = jnp.stack([values["shear_1"], values["shear_2"]])
    size = jnp.sqrt(jnp.sum(g**2) + 1e-12)
    cosh, sinh = jnp.cosh(size), jnp.sinh(size) / size
    x = (cosh + sinh * g[0]) * q.x + sinh * g[1] * q.y
    y = sinh * g[1] * q.x + (cosh - sinh * g[0]) * q.y
    return jnp.exp(values["log_radius"]) * jnp.sqrt(x**2 + y**2 + 1e-12)


class Point(Morphology):
    """A star."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    def transform(self, values: Values, q: Frequencies) -> Float[Array, "ky kx"]:
        return jnp.ones_like(q.x)


class Gaussian(Morphology):
    """A Gaussian of which `log_radius` is half the light's."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (radius(), *SHEARS)

    def transform(self, values: Values, q: Frequencies) -> Float[Array, "ky kx"]:
        return jnp.exp(-0.25 * sheared(values, q) ** 2 / np.log(2.0))


class Sersic(Morphology):
    """A Sersic profile; with `index` given, of that one (1: a disc, 4: a bulge)."""

    index: float | None = eqx.field(static=True, default=None)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        free = Parameter("log_index", "ln", r"\ln n", Normal(0.4, 0.5), "ln of the Sersic index, which ends at those of `sersic.N_RANGE`")
        return (radius(), *SHEARS) if self.index is not None else (radius(), *SHEARS, free)

    def transform(self, values: Values, q: Frequencies) -> Float[Array, "ky kx"]:
        n = jnp.exp(values["log_index"]) if self.index is None else jnp.asarray(self.index, jnp.float32)
        return sersic.transform(sheared(values, q), n)


class Gaussians(Morphology):
    """A sum of concentric Gaussians, each with its own ellipse and share of the flux."""

    n: int = eqx.field(static=True, default=2)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        one = (radius(), *SHEARS, Parameter("log_share", "ln", r"\ln w", Normal(0.0, 1.0), "ln of the share, up to a common factor"))
        return tuple(
            Parameter(f"{p.name}_{i}", p.unit, p.label, Normal(p.prior.loc + (p.name == "log_radius") * (i - 0.5 * self.n), p.prior.scale),
                      p.meaning)
            for i in range(self.n) for p in one
        )  # fmt: skip

    def transform(self, values: Values, q: Frequencies) -> Float[Array, "ky kx"]:
        shares = jax.nn.softmax(jnp.stack([values[f"log_share_{i}"] for i in range(self.n)]))
        names = ("log_radius", "shear_1", "shear_2")
        parts = [Gaussian().transform({name: values[f"{name}_{i}"] for name in names}, q) for i in range(self.n)]
        return jnp.tensordot(shares, jnp.stack(parts), 1)


class Gridded(Morphology):
    """Light on a grid of `n` by `n` points, `step` reference pixels apart, the centre in the middle.

    Its transform is that of points; the PSF, which every exposure has, is what makes it smooth.
    """

    n: eqx.AbstractVar[int]
    step: eqx.AbstractVar[float]

    @abstractmethod
    def light(self, values: Values) -> Float[Array, "v u"]:
        """Of unit sum."""

    def transform(self, values: Values, q: Frequencies) -> Complex[Array, "ky kx"]:
        return of_grid(self.light(values), self.step, q)


def of_grid(light: Float[Array, "v u"], step: float, q: Frequencies) -> Complex[Array, "ky kx"]:
    """The transform of points on a square grid about its middle; zero beyond the grid's own highest frequency."""
    at = step * (jnp.arange(light.shape[0]) - 0.5 * (light.shape[0] - 1))
    inside = (jnp.abs(q.x) <= np.pi / step) & (jnp.abs(q.y) <= np.pi / step)
    if q.separable:
        columns, rows = jnp.exp(-1j * at[:, None] * q.x[0]), jnp.exp(-1j * q.y[:, :1] * at)
        found = rows @ light @ columns
    else:
        columns, rows = (jnp.exp(-1j * x.reshape(-1, 1) * at) for x in (q.x, q.y))
        found = jnp.sum(rows * (columns @ light.T), 1).reshape(q.x.shape)
    return jnp.where(inside, found, 0.0)


class Pixels(Gridded):
    """Free pixels, none negative."""

    n: int = eqx.field(static=True)
    step: float = eqx.field(static=True, default=1.0)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("log_light", "ln", r"\ln I", Normal(-6.0, 3.0), "ln of each pixel, up to a common factor", (self.n, self.n)),)

    def light(self, values: Values) -> Float[Array, "v u"]:
        return jax.nn.softmax(values["log_light"].ravel()).reshape(self.n, self.n)


class Textured(Gridded):
    """A profile with texture: times exp of a Gaussian random field, so that what the data do not say is the profile.

    The field has a power spectrum of (1 + (q l)^2)^-2 with a correlation length `length` in reference pixels and a standard deviation
    `roughness`: its u-space is white noise. It fades towards the edge of its grid; the profile goes on beyond it, and its cusp is in no
    need of points, for what is drawn by points is only what the field adds and takes.
    """

    profile: Morphology
    n: int = eqx.field(static=True)
    step: float = eqx.field(static=True, default=1.0)
    length: float = eqx.field(static=True, default=3.0)
    roughness: float = eqx.field(static=True, default=0.7)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (*self.profile.parameters, Parameter("texture", "", r"\xi", Normal(0.0, 1.0), "white noise of the field", (self.n, self.n)))

    def transform(self, values: Values, q: Frequencies) -> Complex[Array, "ky kx"]:
        _, added = self._parts(values)
        return (self.profile.transform(values, q) + of_grid(added, self.step, q)) / (1.0 + jnp.sum(added))

    def light(self, values: Values) -> Float[Array, "v u"]:
        """On its grid: of less than unit sum by what is beyond."""
        smooth, added = self._parts(values)
        return (smooth + added) / (1.0 + jnp.sum(added))

    def _parts(self, values: Values) -> tuple[Float[Array, "v u"], Float[Array, "v u"]]:
        """The profile, and what the field adds to it."""
        # Band-limited cusps ring, by a little of what is there: that has no texture.
        smooth = on_grid(self.profile, values, self.n, self.step)
        return smooth, jnp.maximum(smooth, 0.0) * jnp.expm1(self.field(values["texture"]))

    def field(self, noise: Float[Array, "v u"]) -> Float[Array, "v u"]:
        """The random field of white noise: periodic, but for its fading."""
        qy, qx = (2.0 * np.pi * f(self.n) / self.step for f in (np.fft.fftfreq, np.fft.rfftfreq))
        root = 1.0 / (1.0 + (qy[:, None] ** 2 + qx**2) * self.length**2)
        whole = 1.0 / (1.0 + (qy[:, None] ** 2 + qy**2) * self.length**2)
        root *= self.roughness / np.sqrt(np.mean(whole**2))
        whole_field = jnp.fft.irfft2(jnp.fft.rfft2(noise) * jnp.asarray(root, jnp.float32), (self.n, self.n))
        return whole_field * jnp.asarray(fading(self.n), jnp.float32)


def fading(n: int) -> Float[np.ndarray, "v u"]:
    """What texture on a grid of n by n points is multiplied by: one in the middle, nearly nothing at the edge."""
    side = signal.windows.tukey(n + 2, FADING)[1:-1]
    return side[:, None] * side


def on_grid(morphology: Morphology, values: Values, n: int, step: float) -> Float[Array, "v u"]:
    """A shape on a grid's points, band-limited there, of unit sum."""
    qy, qx = (2.0 * np.pi * f(n) / step for f in (np.fft.fftfreq, np.fft.rfftfreq))
    y, x = (jnp.asarray(a, jnp.float32) for a in np.meshgrid(qy, qx, indexing="ij"))
    middle = 0.5 * (n - 1) * step
    moved = morphology.transform(values, Frequencies(x, y, separable=True)) * jnp.exp(-1j * middle * (x + y))
    return jnp.fft.irfft2(moved, (n, n))
