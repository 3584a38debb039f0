r"""Shapes of galaxies with parts: bulges in discs, spiral arms, bars, clumps, and wavelets.

What is a sum of profiles has an analytic transform; arms and wavelets are light on the points of a grid. In a galaxy's plane lengths are in
half-light radii, and its ellipse is a circle: p = S^-1 r / r_e with the conformal shear S of `slipher.scene.morphology`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ..physics.parameters import Normal, Parameter, TruncatedNormal, Uniform
from .exposure import Frequencies
from .morphology import SHEARS, Gaussian, Gridded, Morphology, Sersic, Values, on_grid, radius

DISC_B = 1.678347  # b_n of n = 1: half of the light is within r_e
SPARSE = 2.0  # root mean square of u sqrt(1 + u^2) of a standard normal u


def named(parameters: tuple[Parameter, ...], lead: str, shift: float = 0.0) -> tuple[Parameter, ...]:
    """Parameters of a part, under names that begin with its own; `shift` is added to what its ln radius is a priori."""

    def one(p: Parameter) -> Parameter:
        prior = Normal(p.prior.loc + shift, p.prior.scale) if p.name == "log_radius" else p.prior
        return Parameter(f"{lead}_{p.name}", p.unit, p.label, prior, p.meaning, p.shape)

    return tuple(one(p) for p in parameters)


def own(values: Values, lead: str) -> Values:
    """The values of a part, by their own names."""
    return {name.removeprefix(lead + "_"): value for name, value in values.items() if name.startswith(lead + "_")}


class BulgeDisc(Morphology):
    """A bulge (Sersic, n = 4) in the middle of a disc (n = 1), each with its own ellipse; one spectrum for both."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        share = Parameter("bulge_share", "", "B/T", Uniform(0.0, 1.0), "of the flux, in the bulge")
        return (share, *named(Sersic(4.0).parameters, "bulge", -0.7), *named(Sersic(1.0).parameters, "disc"))

    def transform(self, values: Values, q: Frequencies) -> Float[Array, "ky kx"]:
        bulge, disc = (Sersic(n).transform(own(values, lead), q) for n, lead in ((4.0, "bulge"), (1.0, "disc")))
        return values["bulge_share"] * bulge + (1.0 - values["bulge_share"]) * disc


class Clumps(Morphology):
    """A profile and `k` round Gaussian clumps scattered over its plane."""

    k: int = eqx.field(static=True, default=4)
    profile: Morphology = Sersic(1.0)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (
            *self.profile.parameters,
            Parameter("places", "", r"p", Normal(0.0, 0.8), "of each clump, in the profile's plane and half-light radii", (self.k, 2)),
            Parameter("log_shares", "ln", r"\ln w", Normal(-2.5, 1.0), "ln of each clump's flux over that of the profile", (self.k,)),
            Parameter("log_sizes", "ln", r"\ln s", Normal(-1.8, 0.4), "ln of each clump's standard deviation over r_e", (self.k,)),
        )

    def transform(self, values: Values, q: Frequencies) -> Complex[Array, "ky kx"]:
        size = jnp.exp(values["log_radius"])
        x, y = sheared_places(values, values["places"])

        def one(x: Array, y: Array, log_size: Array) -> Array:
            sd = size * jnp.exp(log_size)
            return jnp.exp(-0.5 * sd**2 * (q.x**2 + q.y**2) - 1j * (q.x * x + q.y * y))

        shares = jax.nn.softmax(jnp.concatenate([jnp.zeros(1), values["log_shares"]]))
        lumps = jnp.tensordot(shares[1:], jax.vmap(one)(x, y, values["log_sizes"]), 1)
        return shares[0] * self.profile.transform(values, q) + lumps


class Spiral(Gridded):
    """A disc with logarithmic spiral arms, and a bar if it has one.

    Along an arm of the winding w = cot(pitch angle) the azimuth grows by w ln r, so that of `number` arms

        ln I = ln I_disc + r^2 / (r^2 + r_0^2) (a_1 cos psi + a_2 sin psi),     psi = number (azimuth - w ln r),

    with a contrast |a| and a phase in one vector: neither has an edge. The bar is a Gaussian in the disc's plane.
    """

    n: int = eqx.field(static=True)
    step: float = eqx.field(static=True, default=1.0)
    number: int = eqx.field(static=True, default=2)
    barred: bool = eqx.field(static=True, default=False)
    inner: float = eqx.field(static=True, default=0.3)  # r_0 in half-light radii

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        arms = (
            Parameter("arms", "", "a", Normal(0.0, 0.7), "ln of the arms' contrast, as cosine and sine of their phase", (2,)),
            Parameter("winding", "", "w", Normal(0.0, 3.0), "cotangent of the pitch angle, negative for arms of the other hand"),
        )
        share = Parameter("bar_share", "", r"w_{\rm bar}", TruncatedNormal(0.1, 0.1, 0.0, 0.6), "of the flux, in the bar")
        bar = (share, *named((radius(), *SHEARS), "bar", -1.5)) if self.barred else ()
        return (radius(), *SHEARS, *arms, *bar)

    def light(self, values: Values) -> Float[Array, "v u"]:
        x, y = in_plane(values, *points(self.n, self.step))
        # No sharper in the middle than the grid can tell.
        r = jnp.sqrt(x**2 + y**2 + (0.25 * self.step * jnp.exp(-values["log_radius"])) ** 2)
        log_disc = -DISC_B * r + r**2 / (r**2 + self.inner**2) * self.modulation(values, x, y, r)
        disc = jax.nn.softmax(log_disc.ravel()).reshape(self.n, self.n)
        if not self.barred:
            return disc
        bar = own(values, "bar")
        along, across = in_plane(bar, x, y)
        barred = jax.nn.softmax(-np.log(2.0) * (along**2 + across**2).ravel()).reshape(self.n, self.n)
        return (1.0 - values["bar_share"]) * disc + values["bar_share"] * barred

    def modulation(self, values: Values, x: Array, y: Array, r: Array) -> Float[Array, "v u"]:
        """ln of what arms make of the disc, far from the centre."""
        psi = self.number * (jnp.arctan2(y, x + 1e-6) - values["winding"] * jnp.log(r))
        return values["arms"][0] * jnp.cos(psi) + values["arms"][1] * jnp.sin(psi)


class Starlet(Gridded):
    """A profile times exp of a sum of isotropic wavelets: texture that has few strong features rather than many weak ones.

    Coefficients of each scale (undecimated B3-spline starlets: Starck, Murtagh & Bertero 2011) are smoothed by the kernels of all finer
    ones and summed, which gives back any field of which they are the coefficients. They are u sqrt(1 + u^2) of white noise u: of
    exponential tails, as sparse things have. The coarsest scale has the standard deviation `roughness`, each finer one `decay` times that.
    """

    n: int = eqx.field(static=True)
    step: float = eqx.field(static=True, default=1.0)
    scales: int = eqx.field(static=True, default=3)
    roughness: float = eqx.field(static=True, default=0.5)
    decay: float = eqx.field(static=True, default=0.6)
    profile: Morphology = Gaussian()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.scales + 1, self.n, self.n)
        return (*self.profile.parameters, Parameter("wavelets", "", r"\xi", Normal(0.0, 1.0), "of each scale, the finest first", shape))

    def light(self, values: Values) -> Float[Array, "v u"]:
        smooth = jnp.maximum(on_grid(self.profile, values, self.n, self.step), 0.0)
        lit = smooth * jnp.exp(self.field(values["wavelets"]))
        return lit / jnp.sum(lit)

    def field(self, u: Float[Array, "scale v u"]) -> Float[Array, "v u"]:
        """The sum of wavelets; periodic."""
        weighted = jnp.fft.rfft2(u * jnp.sqrt(1.0 + u**2)) * (self._widths()[:, None, None] * self._smoothers())
        return jnp.fft.irfft2(jnp.sum(weighted, 0), (self.n, self.n))

    def wavelets(self, field: Float[Array, "v u"]) -> Float[Array, "scale v u"]:
        """Those of which a field is the sum: its starlet transform, in the unit of the parameters."""
        smoothers = self._smoothers()
        kept = smoothers[:-1] ** 2 - smoothers[1:] ** 2
        parts = jnp.concatenate([kept / jnp.maximum(smoothers[:-1], 1e-6), smoothers[-1:]])
        c = jnp.fft.irfft2(jnp.fft.rfft2(field) * parts, (self.n, self.n)) / self._widths()[:, None, None]
        return jnp.sign(c) * jnp.sqrt(2.0 * c**2 / (1.0 + jnp.sqrt(1.0 + 4.0 * c**2)))

    def _smoothers(self) -> Float[Array, "scale ky kx"]:
        """Transforms of the kernels that each scale's coefficients are smoothed by; that of a B3-spline is cos^4."""
        qy, qx = (2.0 * np.pi * f(self.n) for f in (np.fft.fftfreq, np.fft.rfftfreq))
        return jnp.asarray(self._products(qy[:, None], qx), jnp.float32)

    def _products(self, qy: np.ndarray, qx: np.ndarray) -> np.ndarray:
        kernels = [(np.cos(0.5 * 2**j * qy) * np.cos(0.5 * 2**j * qx)) ** 4 for j in range(self.scales)]
        return np.cumprod([np.ones(np.broadcast_shapes(qy.shape, qx.shape)), *kernels], 0)

    def _widths(self) -> Float[Array, "scale"]:
        """Of coefficients, so that fields of white noise have each scale's standard deviation."""
        q = 2.0 * np.pi * np.fft.fftfreq(self.n)
        passed = np.sqrt(np.mean(self._products(q[:, None], q) ** 2, (1, 2)))
        wanted = self.roughness * self.decay ** np.arange(self.scales, -1, -1)
        return jnp.asarray(wanted / passed / SPARSE, jnp.float32)


# --- planes ----------------------------------------------------------------------------------------------------------


def points(n: int, step: float) -> tuple[Float[np.ndarray, "v u"], Float[np.ndarray, "v u"]]:
    """x and y of a grid's points about its middle, in reference pixels."""
    at = (step * (np.arange(n) - 0.5 * (n - 1))).astype(np.float32)
    return np.broadcast_to(at, (n, n)), np.broadcast_to(at[:, None], (n, n))


def _stretched(values: Values, sign: float, x: Array | np.ndarray, y: Array | np.ndarray) -> tuple[Array, Array]:
    """exp(sign G) of points, G the symmetric traceless matrix of the shears."""
    g = jnp.stack([values["shear_1"], values["shear_2"]])
    size = jnp.sqrt(jnp.sum(g**2) + 1e-12)
    cosh, sinh = jnp.cosh(size), sign * jnp.sinh(size) / size
    return (cosh + sinh * g[0]) * x + sinh * g[1] * y, sinh * g[1] * x + (cosh - sinh * g[0]) * y


def in_plane(values: Values, x: Array | np.ndarray, y: Array | np.ndarray) -> tuple[Array, Array]:
    """Points of the sky in the plane of the ellipse that `log_radius` and shears are."""
    along, across = _stretched(values, -1.0, x, y)
    return jnp.exp(-values["log_radius"]) * along, jnp.exp(-values["log_radius"]) * across


def sheared_places(values: Values, places: Float[Array, "k 2"]) -> tuple[Float[Array, "k"], Float[Array, "k"]]:
    """Points of the plane on the sky, in reference pixels."""
    x, y = _stretched(values, 1.0, places[:, 0], places[:, 1])
    return jnp.exp(values["log_radius"]) * x, jnp.exp(values["log_radius"]) * y
