"""The exact likelihood of photometry, its mass marginalised by quadrature.

    flux_b ~ (1 - p) N(A m_b(u, z), s_b^2 + (f_b A m_b)^2) + p N(A m_b, s_b^2 + (g A m_b)^2),
             or the same with Phi((limit_b - A m_b) / sigma) for an upper limit

A is the mass, p the share of outliers (`slipher.instrument.band_errors`). With errors that grow with the model, upper limits and a prior
in mass and redshift together nothing is Gaussian in A, so that the integral over log A is a sum, over nodes that lie where it matters.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Bool, Float

from ..batches import in_batches
from ..grids.library import BroadLibrary
from ..instrument import photometer
from ..instrument.band_errors import BandErrors
from ..instrument.photometer import Photometer
from ..physics import abundance, cosmology, parameters, sed
from ..physics.abundance import RedshiftRange
from ..physics.galaxy import GalaxyModel
from ..physics.interpolation import piecewise_linear
from ..physics.sed import Sed

BATCH = 25
N_FIRST, N_NODES = 64, 96
MIDDLE_AA = 6000.0  # where light inside and outside of an aperture are compared
REACH_DEX = 9.0  # of the nodes on both sides of the best amplitude: the prior's whole range
SPARE = 0.15  # of the second nodes are spread evenly over it
LEAST_SD_DEX, MOST_SD_DEX = 1e-3, 0.5  # of the width that sets how dense the nodes are

Points = Float[Array, "draw parameter"] | Float[np.ndarray, "draw parameter"]
Scalar = Float[Array, ""]
Beside = Callable[[Float[Array, "node"]], Float[Array, "node"]]


class Bands(eqx.Module):
    """One galaxy's photometry, ready for the likelihood: fluxes in nanomaggies; ivar 0 is no information.

    `censored` is None where no flux is an upper limit, whose likelihood costs more than all else.
    `redshift` is the galaxy's, where it is known; `ebv` the Milky Way's E(B-V) in front of it.
    """

    photometer: Photometer
    flux: Float[Array, "band"]
    ivar: Float[Array, "band"]
    censored: Bool[Array, "band"] | None
    redshift: Scalar
    ebv: Scalar

    @property
    def measured(self) -> Bool[Array, "band"]:
        """Bands that carry information and are no limits."""
        known = self.ivar > 0
        return known if self.censored is None else known & ~self.censored


class Assumed(NamedTuple):
    """What is static: the preset, the range of a free redshift (None: known), the prior of mass and redshift, and the error model.

    `counted`: that prior is how many galaxies there are (`slipher.physics.abundance`); else log mass and ln(1 + z) are uniform.
    """

    model: GalaxyModel
    redshift: RedshiftRange | None
    counted: bool
    errors: BandErrors


class PhotometricTarget(NamedTuple):
    """All that the posterior density of a galaxy's photometry depends on, besides the parameters."""

    task: Bands
    library: BroadLibrary
    assumed: Assumed

    @property
    def n_parameter(self) -> int:
        """Dimensions of u-space: the redshift, if it is free, then the preset's parameters without the mass."""
        return len(self.assumed.model.parameters) - 1 + (self.assumed.redshift is not None)

    def log_posterior(self, u: Points) -> Float[np.ndarray, "draw"]:
        """log p(data | u) + log N(u; 0, 1) of points, up to a constant."""
        return self.evaluate(u, lambda draw: draw.log_posterior).astype(np.float64)

    def pure(self) -> tuple[Callable, tuple]:
        """The same as a pure function of one point and of arrays."""
        return _density(self.assumed), (self.task, self.library)

    def left_out(self) -> float:
        """What `log_posterior` leaves out of prior and likelihood, with its sign changed; the noise's own constants are no model's."""
        return 0.5 * self.n_parameter * np.log(2 * np.pi)

    def evaluate(self, u: Points, keep: Callable[["Draw"], Any], *, uniform: np.ndarray | None = None) -> Any:
        """What `keep` takes of the `Draw` of each point; `uniform` [draw] in (0, 1) decides its mass (the median without)."""
        uniform = np.full(len(u), 0.5, np.float32) if uniform is None else uniform
        return in_batches(lambda *some: keep(_evaluate(*some, *self)), BATCH, np.asarray(u, np.float32), np.asarray(uniform, np.float32))


class Draw(NamedTuple):
    """A point against the data: fluxes in nanomaggies at the mass drawn; chi^2 is of measured bands, not of limits.

    `light` is the galaxy's in its rest frame, per Msun formed.
    """

    log_posterior: Scalar
    chi2: Scalar
    log_mass: Scalar
    redshift: Scalar
    flux: Float[Array, "band"]
    sigma: Float[Array, "band"]
    light: Sed


@cache
def _density(assumed: Assumed) -> Callable:
    def log_density(u: Array, data: tuple[Bands, BroadLibrary]) -> Array:
        return at_point(u, jnp.float32(0.5), *data, assumed).log_posterior

    return log_density


@partial(jax.jit, static_argnames="assumed")
def _evaluate(u: Array, uniform: Array, task: Bands, library: BroadLibrary, assumed: Assumed) -> Draw:
    return jax.vmap(lambda point, number: at_point(point, number, task, library, assumed))(u, uniform)


def at_point(
    u: Float[Array, "parameter"], uniform: Scalar, task: Bands, library: BroadLibrary, assumed: Assumed, beside: Beside | None = None
) -> Draw:
    """One point of u-space against the data; `beside` is what else says how heavy the galaxy is, ln of a density of log10 M."""
    redshift, values = named(u, task, assumed)
    light = sed.sed(assumed.model, values, cosmology.age_gyr(redshift), library)
    unit = photometer.observe(task.photometer, light, redshift, task.ebv, library)
    if "aperture_slope" in values:
        unit *= (task.photometer.pivot_aa / MIDDLE_AA) ** values["aperture_slope"]
    fraction = assumed.errors.fraction(task.photometer.pivot_aa, redshift)
    masses = mass_posterior(unit, fraction, redshift, task, assumed, beside)
    log_mass = masses.quantile(uniform)
    flux = unit * 10 ** (log_mass - photometer.LOG_MASS_UNIT)
    variance = _variance(flux, fraction, task)
    chi2 = jnp.sum(jnp.where(task.measured, (task.flux - flux) ** 2 / variance, 0.0))
    return Draw(masses.log_evidence - 0.5 * jnp.sum(u**2), chi2, log_mass, redshift, flux, jnp.sqrt(variance), light)


def named(u: Float[Array, "parameter"], task: Bands, assumed: Assumed) -> tuple[Scalar, dict[str, Scalar]]:
    """Redshift and the preset's free values of a point."""
    if assumed.redshift is None:
        return task.redshift, parameters.from_normal(assumed.model.parameters[:-1], u)
    redshift = assumed.redshift.from_normal(u[0])
    return redshift, parameters.from_normal(assumed.model.parameters[:-1], u[1:])


class Masses(NamedTuple):
    """The posterior of log10 M (formed, Msun) given everything else: its cumulative at nodes; and the evidence that is left without M."""

    log_mass: Float[Array, "node"]
    cumulative: Float[Array, "node"]
    log_evidence: Scalar

    def quantile(self, q: Scalar) -> Scalar:
        """log10 M below which the probability is q."""
        return piecewise_linear(q[None], self.cumulative, self.log_mass)[0]


def mass_posterior(
    unit: Float[Array, "band"],
    fraction: Float[Array, "band"],
    redshift: Scalar,
    task: Bands,
    assumed: Assumed,
    beside: Beside | None = None,
) -> Masses:
    """Integrate over the mass; `unit` are the fluxes of 10^10 Msun, `beside` as in `at_point`.

    First nodes lie about the best amplitude, the denser the nearer; the second follow what these have found.
    """
    mass = assumed.model.parameters[-1].prior

    def density(log_mass: Float[Array, "node"]) -> Float[Array, "node"]:
        seen = jax.vmap(lambda m: log_likelihood(unit * 10 ** (m - photometer.LOG_MASS_UNIT), fraction, task, assumed.errors))(log_mass)
        return seen + log_prior(log_mass, redshift, assumed) + (0.0 if beside is None else beside(log_mass))

    best, spread = _best_amplitude(unit, fraction, task, assumed.errors)
    x = jnp.linspace(-1.0, 1.0, N_FIRST) * jnp.arcsinh(REACH_DEX / spread)
    first = jnp.clip(photometer.LOG_MASS_UNIT + jnp.log10(best) + spread * jnp.sinh(x), mass.low, mass.high)
    # Where they lie is no part of the answer, nor of its slope.
    nodes = jax.lax.stop_gradient(_where_it_matters(first, density(first), mass.low, mass.high))
    log_density = density(nodes)
    peak = jnp.max(log_density)
    height = jnp.exp(log_density - peak)
    area = jnp.concatenate([jnp.zeros(1), jnp.cumsum(0.5 * (height[1:] + height[:-1]) * jnp.diff(nodes))])
    return Masses(nodes, area / area[-1], peak + jnp.log(area[-1]))


def _where_it_matters(nodes: Float[Array, "first"], log_density: Float[Array, "first"], low: float, high: float) -> Float[Array, "node"]:
    """Nodes from `low` to `high`, most of them spread as the square root of a density that is known at other nodes."""
    root = jnp.exp(0.5 * (log_density - jnp.max(log_density)))
    edges = jnp.concatenate([jnp.array([low]), 0.5 * (nodes[1:] + nodes[:-1]), jnp.array([high])])
    share = root * jnp.diff(edges)
    found = jnp.concatenate([jnp.zeros(1), jnp.cumsum(share / jnp.sum(share))])
    cumulative = (1.0 - SPARE) * found + SPARE * (edges - low) / (high - low)
    return piecewise_linear(jnp.linspace(0.0, 1.0, N_NODES), cumulative, edges)


def log_prior(log_mass: Float[Array, "node"], redshift: Scalar, assumed: Assumed) -> Float[Array, "node"]:
    """ln of the prior of mass and redshift over that which u-space stands for; of a known redshift, of the mass alone."""
    mass = assumed.model.parameters[-1].prior
    if not assumed.counted:
        return jnp.full_like(log_mass, -np.log(mass.high - mass.low))
    if assumed.redshift is None:
        return abundance.log_mass_function(log_mass, redshift)
    return abundance.log_abundance(log_mass, redshift) - assumed.redshift.log_density(redshift)


def log_likelihood(flux: Float[Array, "band"], fraction: Float[Array, "band"], task: Bands, errors: BandErrors) -> Scalar:
    """ln p(data | fluxes), without what depends on the noise alone."""
    share, size = errors.outliers, errors.outlier_size

    def term(fraction: Array) -> Float[Array, "band"]:
        variance = _variance(flux, fraction, task)
        left = (task.flux - flux) / jnp.sqrt(variance)
        of_measured = -0.5 * left**2 - 0.5 * jnp.log(variance * task.ivar + (task.ivar <= 0))
        return of_measured if task.censored is None else jnp.where(task.censored, log_ndtr(left), of_measured)

    each = jnp.logaddexp(jnp.log1p(-share) + term(fraction), jnp.log(share) + term(jnp.hypot(fraction, size)))
    return jnp.sum(jnp.where(task.ivar > 0, each, 0.0))


def _variance(flux: Float[Array, "band"], fraction: Float[Array, "band"], task: Bands) -> Float[Array, "band"]:
    return 1.0 / jnp.where(task.ivar > 0, task.ivar, 1.0) + (fraction * flux) ** 2


def _best_amplitude(unit: Float[Array, "band"], fraction: Float[Array, "band"], task: Bands, errors: BandErrors) -> tuple[Scalar, Scalar]:
    """An amplitude near the most likely one, positive, and the error of its log10.

    That of least squares, or that which one of the bands alone asks for: with an outlier least squares may lie far from all others.
    """
    known = task.ivar > 0
    noise = 1.0 / jnp.where(known, task.ivar, 1.0)
    data = jnp.where(task.measured, task.flux, 0.0)

    def solve(flux: Array) -> tuple[Scalar, Scalar]:
        weight = jnp.where(known, 1.0 / (noise + (fraction * flux) ** 2), 0.0)
        sd = 1.0 / jnp.sqrt(jnp.sum(weight * unit**2) + 1e-30)
        return jnp.maximum(sd**2 * jnp.sum(weight * unit * data), 0.3 * sd), sd

    least, _ = solve(solve(data)[0] * unit)
    of_bands = jnp.where(known & (data > 0), data / jnp.maximum(unit, 1e-30), least)
    tried = jnp.clip(jnp.append(of_bands, least), 1e-12, 1e8)
    likely = jax.vmap(lambda a: log_likelihood(a * unit, fraction, task, errors))(tried)
    best = tried[jnp.argmax(likely)]
    return best, jnp.clip(solve(best * unit)[1] / best / np.log(10.0), LEAST_SD_DEX, MOST_SD_DEX)
