"""What latents leave of galaxies: the part of their spectra that a decoder of a few latents does not follow.

    coefficients = decoder(s) + scales e

Deviations of lines are relative to the strength of their complex, those of the continuum to their usual size: a decoder that is off by a
tenth in all lines is off by much only where lines are strong. Marginalised as a Gaussian, e keeps bright spectra from saying more of the
latents than the decoder can. For new galaxies it is that of one that had nearly the same latents: what is left has long tails, and differs
between kinds of galaxies, which no classifier overlooks.

The covariance is found by expectation maximisation over well-observed galaxies, whose noise is taken into account; the examples are those
of the same galaxies, without noise where they are simulated, and a draw given the data where they are not.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16, PRNGKeyArray

from .autoencoder import Autoencoder
from .projection import Projection
from .sufficient import Statistics, amplitude_of

LEAST_STRENGTH = 0.02  # of a complex of lines, over the level: fainter ones may be off by as much as one of this strength
FIRST = 0.1  # relative deviation with which the search begins
ROUNDS = 8
NEAREST = 8  # examples among which one is drawn
BATCH = 16  # galaxies at a time; their number is a multiple of it


class Remainder(eqx.Module):
    """Lower Cholesky factor of the covariance of e; and e of some galaxies, with their latents, in half precision."""

    root: Float[Array, "component component"]
    latents: Float16[Array, "example latent"]
    examples: Float16[Array, "example component"]

    def at(self, shape: Float[Array, "component"], projection: Projection) -> Float[Array, "component component"]:
        """Root of the covariance of the coefficients about a decoded spectrum of level one."""
        return scales(shape, projection)[:, None] * self.root

    def draw(
        self, key: PRNGKeyArray, latents: Float[Array, "latent"], shape: Float[Array, "component"], projection: Projection
    ) -> Float[Array, "component"]:
        """Coefficients of a galaxy of these latents, which decode to `shape`: with e of one of the `NEAREST` examples."""
        known = self.latents.astype(jnp.float32)
        distance = jnp.sum(((known - latents) / (jnp.std(known, 0) + 1e-6)) ** 2, 1)
        near = jax.lax.top_k(-distance, min(NEAREST, len(known)))[1]
        return shape + scales(shape, projection) * self.examples[jax.random.choice(key, near)].astype(jnp.float32)


def blank(n_components: int, n_latents: int, n_examples: int) -> Remainder:
    """One of the right shapes, to be filled with weights."""
    some = (jnp.zeros((n_examples, n), jnp.float16) for n in (n_latents, n_components))
    return Remainder(jnp.zeros((n_components, n_components)), *some)


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


def learn(
    key: PRNGKeyArray, network: Autoencoder, latents: Float[Array, "galaxy latent"], seen: Statistics,
    exact: Float[Array, "galaxy component"],
) -> Remainder:  # fmt: skip
    """From well-observed galaxies [galaxy, ...] and their latents, a multiple of 16 of them.

    `exact` are their true coefficients over their level, NaN where those are not known: then an example is a draw given the data.
    """
    n = len(network.projection.mean)
    start = FIRST * np.eye(n, dtype=np.float32)
    root = jnp.asarray(start)
    for _ in range(ROUNDS):
        covariance = np.asarray(jax.block_until_ready(_second_moment(network, latents, seen, root)), np.float64)
        root = jnp.asarray(np.linalg.cholesky(0.5 * (covariance + covariance.T) + 1e-10 * np.eye(n)), jnp.float32)
    drawn = jax.block_until_ready(_drawn(jax.random.split(key, len(latents)), network, latents, seen, root))
    left = jax.vmap(lambda s, c: _left(network, s, c))(latents, exact)
    return Remainder(root, latents.astype(jnp.float16), jnp.where(jnp.isnan(left), drawn, left).astype(jnp.float16))


def _left(network: Autoencoder, s: Array, coefficients: Array) -> Float[Array, "component"]:
    shape = network.decode(s)
    return (coefficients - shape) / scales(shape, network.projection)


def _posterior(network: Autoencoder, s: Array, statistics: Statistics, root: Array) -> tuple[Array, tuple[Array, bool]]:
    """Of z, where e = root z: its mean, and its precision's Cholesky factor."""
    shape = network.decode(s)
    amplitude = amplitude_of(shape, statistics)[0]
    whole = amplitude * scales(shape, network.projection)[:, None] * root
    gram, inside = _inside(statistics, whole)
    climb = statistics.gradient - gram @ (amplitude * shape - statistics.centre)
    return jax.scipy.linalg.cho_solve(inside, whole.T @ climb), inside


@eqx.filter_jit
def _drawn(keys: Array, network: Autoencoder, latents: Array, seen: Statistics, root: Array) -> Float[Array, "galaxy component"]:
    """A draw of e of each galaxy."""

    def one(some: tuple[Array, Array, Statistics]) -> Array:
        key, s, statistics = some
        mean, (factor, _) = _posterior(network, s, statistics, root)
        noise = jax.scipy.linalg.solve_triangular(factor, jax.random.normal(key, mean.shape), lower=True, trans="T")
        return root @ (mean + noise)

    return jax.lax.map(one, (keys, latents, seen), batch_size=BATCH)


@eqx.filter_jit
def _second_moment(network: Autoencoder, latents: Array, seen: Statistics, root: Array) -> Float[Array, "component component"]:
    """Mean over galaxies of E[e e'] given their data and the covariance so far."""

    def one(total: Array, some: tuple[Array, Statistics]) -> tuple[Array, None]:
        return total + jnp.sum(jax.vmap(single)(*some), 0), None

    def single(s: Array, statistics: Statistics) -> Array:
        mean, inside = _posterior(network, s, statistics, root)
        return root @ (jax.scipy.linalg.cho_solve(inside, jnp.eye(len(root))) + jnp.outer(mean, mean)) @ root.T

    batches = jax.tree.map(lambda leaf: leaf.reshape(-1, BATCH, *leaf.shape[1:]), (latents, seen))
    total, _ = jax.lax.scan(one, jnp.zeros_like(root), batches)
    return total / len(latents)
