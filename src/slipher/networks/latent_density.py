"""The density of latents over a population: a flow with exact log p(s) (flowjax), over latents brought to mean zero and unit covariance.

    latents --whiten--> coupling flow of rational-quadratic splines --> N(0, 1)

Learnt from the latents of well-observed galaxies: what noise adds to those of faint ones is no part of the population. Drawing from it and
decoding makes new galaxies; how improbable a spectrum's latents are is one of the ways in which it can be unusual.
"""

import equinox as eqx
import flowjax.distributions
import flowjax.flows
import jax
import jax.numpy as jnp
import numpy as np
import optax
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.utils import get_ravelled_pytree_constructor
from jaxtyping import Array, Float, PRNGKeyArray

LAYERS, WIDTH, KNOTS, INTERVAL = 8, 64, 12, 8.0  # beyond so many standard deviations the splines go on as lines
STEPS, BATCH, RATE, AVERAGE = 4000, 512, 2e-3, 0.99


class Density(eqx.Module):
    """p(s); `root` is the lower Cholesky factor of the population's covariance."""

    mean: Float[Array, "latent"]
    root: Float[Array, "latent latent"]
    flow: flowjax.distributions.AbstractDistribution

    def log_prob(self, latents: Float[Array, "latent"]) -> Float[Array, ""]:
        """ln p(s)."""
        white = jax.scipy.linalg.solve_triangular(self.root, latents - self.mean, lower=True)
        return self.flow.log_prob(white) - jnp.sum(jnp.log(jnp.diagonal(self.root)))

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "draw latent"]:
        """Latents of new galaxies."""
        return self.mean + self.flow.sample(key, (n,)) @ self.root.T

    @property
    def covariance(self) -> Float[Array, "latent latent"]:
        """Of the population."""
        return self.root @ self.root.T


def blank(n_latent: int) -> Density:
    """The shapes of a density, to be filled from a file."""
    made = eqx.filter_eval_shape(lambda key: Density(jnp.zeros(n_latent), jnp.eye(n_latent), _flow(key, n_latent)), jax.random.key(0))
    # As in `posterior_flow.skeleton`: each coupling closes over the spline at rest, which has to be numbers and not shapes.
    constructor, _ = get_ravelled_pytree_constructor(
        _spline(), eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    return jax.tree.map(lambda leaf: constructor if getattr(leaf, "__name__", "") == "constructor" else leaf, made)


def _spline() -> RationalQuadraticSpline:
    return RationalQuadraticSpline(knots=KNOTS, interval=INTERVAL)


def _flow(key: PRNGKeyArray, n_latent: int) -> flowjax.distributions.AbstractDistribution:
    return flowjax.flows.coupling_flow(
        key, base_dist=flowjax.distributions.StandardNormal((n_latent,)), transformer=_spline(), flow_layers=LAYERS, nn_width=WIDTH,
        nn_depth=2, nn_activation=jax.nn.silu,
    )  # fmt: skip


def learn(seed: int, latents: Float[np.ndarray, "galaxy latent"], *, steps: int = STEPS) -> Density:
    """The density of these latents by maximum likelihood; the same seed and latents give the same one."""
    mean, covariance = latents.mean(0), np.cov(latents.T).reshape(latents.shape[1], -1)
    root = np.linalg.cholesky(covariance)
    white = jnp.asarray(np.linalg.solve(root, (latents - mean).T).T, jnp.float32)
    key = jax.random.key(seed)
    moving, fixed = eqx.partition(_flow(key, latents.shape[1]), eqx.is_inexact_array)
    optimiser = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(optax.cosine_decay_schedule(RATE, steps, 1e-2)))

    def loss(moving: eqx.Module, some: Array) -> Array:
        return -jnp.mean(jax.vmap(eqx.combine(moving, fixed).log_prob)(some))

    def step(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, None]:
        moving, averaged, memory = carry
        some = white[jax.random.randint(key, (BATCH,), 0, len(white))]
        updates, memory = optimiser.update(jax.grad(loss)(moving, some), memory, moving)
        moving = eqx.apply_updates(moving, updates)
        return (moving, jax.tree.map(lambda a, b: AVERAGE * a + (1.0 - AVERAGE) * b, averaged, moving), memory), None

    start = (moving, moving, optimiser.init(moving))
    (_, averaged, _), _ = jax.jit(lambda start, keys: jax.lax.scan(step, start, keys))(start, jax.random.split(key, steps))
    return Density(jnp.asarray(mean, jnp.float32), jnp.asarray(root, jnp.float32), eqx.combine(averaged, fixed))
