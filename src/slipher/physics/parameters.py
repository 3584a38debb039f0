"""The parameter table: names, units, priors and transforms of everything that is inferred.

Each prior is written as a map from a standard normal variable u, so that in u-space the prior is N(0, 1) in every dimension:
flows start from it, samplers have no edges, and nothing leaks out of the prior's range. Arrays of parameters exist only inside
networks and samplers; everywhere else a galaxy is a dict of named values.
"""

from dataclasses import astuple, dataclass

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, ndtr, ndtri
from jaxtyping import Array, Float

Scalar = Float[Array, "*shape"]
Bound = float | Float[np.ndarray, "..."]
U_MAX = 5.2  # beyond it the normal distribution function is 1 in float32


@dataclass(frozen=True)
class Uniform:
    """Uniform between `low` and `high`."""

    low: Bound
    high: Bound

    def from_normal(self, u: Scalar) -> Scalar:
        return self.low + (self.high - self.low) * ndtr(jnp.clip(u, -U_MAX, U_MAX))

    def to_normal(self, x: Scalar) -> Scalar:
        return ndtri((x - self.low) / (self.high - self.low))


@dataclass(frozen=True)
class Normal:
    """Normal of mean `loc` and width `scale`."""

    loc: Bound
    scale: Bound

    def from_normal(self, u: Scalar) -> Scalar:
        return self.loc + self.scale * u

    def to_normal(self, x: Scalar) -> Scalar:
        return (x - self.loc) / self.scale


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal of mean `loc` and width `scale`, cut at `low` and `high`."""

    loc: Bound
    scale: Bound
    low: Bound
    high: Bound

    def _cdf_range(self) -> tuple[Array, Array]:
        return ndtr((self.low - self.loc) / self.scale), ndtr((self.high - self.loc) / self.scale)

    def from_normal(self, u: Scalar) -> Scalar:
        a, b = self._cdf_range()
        p = a + (b - a) * ndtr(jnp.clip(u, -U_MAX, U_MAX))
        return self.loc + self.scale * ndtri(jnp.clip(p, 1e-7, 1 - 1e-7))

    def to_normal(self, x: Scalar) -> Scalar:
        a, b = self._cdf_range()
        return ndtri((ndtr((x - self.loc) / self.scale) - a) / (b - a))


@dataclass(frozen=True)
class TruncatedStudent2:
    """Student's t with two degrees of freedom (closed form), of width `scale`, cut at +-`limit`."""

    scale: Bound
    limit: Bound

    def _cdf(self, x: Scalar) -> Scalar:
        t = x / self.scale
        return 0.5 + t / (2.0 * jnp.sqrt(2.0 + t * t))

    def from_normal(self, u: Scalar) -> Scalar:
        reach = 2.0 * self._cdf(jnp.asarray(self.limit)) - 1.0
        q = reach * (2.0 * ndtr(jnp.clip(u, -U_MAX, U_MAX)) - 1.0)  # 2 p - 1
        return self.scale * q * jnp.sqrt(2.0 / ((1.0 - q) * (1.0 + q)))

    def to_normal(self, x: Scalar) -> Scalar:
        reach = 2.0 * self._cdf(jnp.asarray(self.limit)) - 1.0
        return ndtri(0.5 + 0.5 * (2.0 * self._cdf(x) - 1.0) / reach)


@dataclass(frozen=True)
class BetaOne:
    """Beta distribution whose first shape is one (closed form): density `k` (1 - x)^(k - 1) between 0 and 1.

    What stick-breaking draws: the first of k + 1 shares of a flat Dirichlet distribution is Beta(1, k).
    """

    k: Bound

    def from_normal(self, u: Scalar) -> Scalar:
        return -jnp.expm1(log_ndtr(-jnp.clip(u, -U_MAX, U_MAX)) / self.k)

    def to_normal(self, x: Scalar) -> Scalar:
        return -ndtri((1.0 - x) ** self.k)


@dataclass(frozen=True)
class SinhNormal:
    """2 sinh(x) is normal of mean zero and width `scale`: x is the logarithm of a positive factor.

    The factor grows in proportion to u where it is large and falls as 1/|u| where it is small, so that a model which is linear in it is
    nearly linear in u, and what has become faint can find back.
    """

    scale: Bound

    def from_normal(self, u: Scalar) -> Scalar:
        return jnp.arcsinh(0.5 * self.scale * u)

    def to_normal(self, x: Scalar) -> Scalar:
        return 2.0 * jnp.sinh(x) / self.scale


Prior = Uniform | Normal | TruncatedNormal | TruncatedStudent2 | BetaOne | SinhNormal


@dataclass(frozen=True)
class Parameter:
    """One inferred quantity: its name, unit (FITS style), LaTeX label, prior and meaning; an array of them if it has a shape."""

    name: str
    unit: str
    label: str
    prior: Prior
    meaning: str
    shape: tuple[int, ...] = ()


def from_normal(parameters: tuple[Parameter, ...], u: Float[Array, "parameter *rest"]) -> dict[str, Scalar]:
    """Named physical values of a point in u-space.

    Priors of one kind are transformed together, as one prior with arrays for bounds: a sixteenth of the operations to compile.
    """
    values = {}
    for kind in dict.fromkeys(type(p.prior) for p in parameters):
        index = [i for i, p in enumerate(parameters) if type(p.prior) is kind]
        facts = np.array([astuple(parameters[i].prior) for i in index]).T[(...,) + (None,) * (u.ndim - 1)]
        values |= dict(zip(index, kind(*facts).from_normal(u[np.array(index)]), strict=True))
    return {p.name: values[i] for i, p in enumerate(parameters)}


def to_normal(parameters: tuple[Parameter, ...], values: dict[str, Scalar]) -> Float[Array, "parameter"]:
    """The point in u-space of named physical values."""
    return jnp.stack([p.prior.to_normal(jnp.asarray(values[p.name])) for p in parameters])
