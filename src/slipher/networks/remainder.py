"""What latents leave of galaxies: the part of their spectra that a decoder of a few latents does not follow, as a Gaussian.

    coefficients = decoder(s) + scales e,   e ~ N(0, covariance)

Deviations of lines are relative to the strength of their complex, those of the continuum to their usual size: a decoder that is off by a
tenth in all lines is off by much only where lines are strong. Marginalised, it keeps bright spectra from saying more of the latents than
the decoder can; drawn, it gives new galaxies the variety that the latents do not hold.

The covariance is found by expectation maximisation over well-observed galaxies, whose noise is taken into account.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .autoencoder import Autoencoder
from .projection import Projection
from .sufficient import Statistics, amplitude_of

LEAST_STRENGTH = 0.02  # of a complex of lines, over the level: fainter ones may be off by as much as one of this strength
FIRST = 0.1  # relative deviation with which the search begins
ROUNDS = 8
BATCH = 16  # galaxies at a time; their number is a multiple of it


class Remainder(eqx.Module):
    """Lower Cholesky factor of the covariance of e."""

    root: Float[Array, "component component"]

    def at(self, shape: Float[Array, "component"], projection: Projection) -> Float[Array, "component component"]:
        """Root of the covariance of the coefficients about a decoded spectrum of level one."""
        return scales(shape, projection)[:, None] * self.root

    def draw(self, key: PRNGKeyArray, shape: Float[Array, "component"], projection: Projection) -> Float[Array, "component"]:
        """Coefficients of a galaxy of that decoded spectrum."""
        return shape + self.at(shape, projection) @ jax.random.normal(key, shape.shape)


def scales(shape: Float[Array, "component"], projection: Projection) -> Float[Array, "component"]:
    """What deviations of each coefficient are relative to: its usual size for continua, its complex' strength for lines."""
    n = projection.n_continuum
    strength = jnp.sqrt(projection.membership @ shape[n:] ** 2 + LEAST_STRENGTH**2)
    return jnp.concatenate([jnp.sqrt(projection.variance[:n]), strength @ projection.membership])


def marginalised(statistics: Statistics, root: Float[Array, "component component"]) -> Statistics:
    """Statistics of a spectrum with N(0, root root') added to its coefficients (in units of the statistics' scale)."""
    gram, inside = _inside(statistics, root)
    across = root.T @ gram
    absorbed = jax.scipy.linalg.cho_solve(inside, jnp.concatenate([across, (root.T @ statistics.gradient)[:, None]], 1))
    gradient = statistics.gradient - across.T @ absorbed[:, -1]
    least = statistics.least - (root.T @ statistics.gradient) @ absorbed[:, -1]
    left = gram - across.T @ absorbed[:, :-1]
    triangle = (0.5 * (left + left.T))[np.triu_indices(len(gradient))]
    return Statistics(triangle, statistics.centre, gradient, least, statistics.n_pixels, statistics.scale)


def expected(
    coefficients: Float[Array, "component"], statistics: Statistics, root: Float[Array, "component component"]
) -> Float[Array, "component"]:
    """The most likely deviation from given coefficients (in units of the statistics' scale)."""
    gram, inside = _inside(statistics, root)
    climb = statistics.gradient - gram @ (coefficients - statistics.centre)
    return root @ jax.scipy.linalg.cho_solve(inside, root.T @ climb)


def _inside(statistics: Statistics, root: Array) -> tuple[Array, tuple[Array, bool]]:
    gram = statistics.matrix()
    return gram, jax.scipy.linalg.cho_factor(jnp.eye(len(root)) + root.T @ gram @ root, lower=True)


def learn(network: Autoencoder, latents: Float[Array, "galaxy latent"], seen: Statistics) -> Remainder:
    """From well-observed galaxies [galaxy, ...] and their latents, a multiple of 16 of them."""
    n = len(network.projection.mean)
    start = FIRST * np.eye(n, dtype=np.float32)
    root = jnp.asarray(start)
    for _ in range(ROUNDS):
        covariance = np.asarray(jax.block_until_ready(_second_moment(network, latents, seen, root)), np.float64)
        root = jnp.asarray(np.linalg.cholesky(0.5 * (covariance + covariance.T) + 1e-10 * np.eye(n)), jnp.float32)
    return Remainder(root)


@eqx.filter_jit
def _second_moment(network: Autoencoder, latents: Array, seen: Statistics, root: Array) -> Float[Array, "component component"]:
    """Mean over galaxies of E[e e'] given their data and the covariance so far."""

    def one(total: Array, some: tuple[Array, Statistics]) -> tuple[Array, None]:
        return total + jnp.sum(jax.vmap(single)(*some), 0), None

    def single(s: Array, statistics: Statistics) -> Array:
        shape = network.decode(s)
        amplitude = amplitude_of(shape, statistics)[0]
        whole = amplitude * scales(shape, network.projection)[:, None] * root
        gram, inside = _inside(statistics, whole)
        climb = statistics.gradient - gram @ (amplitude * shape - statistics.centre)
        found = jax.scipy.linalg.cho_solve(inside, jnp.concatenate([jnp.eye(len(root)), (whole.T @ climb)[:, None]], 1))
        return root @ (found[:, :-1] + jnp.outer(found[:, -1], found[:, -1])) @ root.T

    batches = jax.tree.map(lambda leaf: leaf.reshape(-1, BATCH, *leaf.shape[1:]), (latents, seen))
    total, _ = jax.lax.scan(one, jnp.zeros_like(root), batches)
    return total / len(latents)
