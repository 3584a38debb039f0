"""The amortised posterior: an embedding of the projected data, a conditional flow over u-space, a Gaussian head for the mass.

    features --MLP--> context --+--> coupling flow: q(u | data), base N(0, 1) = the prior
                                +--> head: q(log M | u, data), Gaussian

Mass is nearly linear and nearly Gaussian given everything else, so that the flow need not learn it. Rational-quadratic spline couplings
(Durkan et al. 2019) from flowjax; drawing and evaluating both take one pass.
"""

import equinox as eqx
import flowjax.distributions
import flowjax.flows
import jax
import jax.numpy as jnp
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.utils import get_ravelled_pytree_constructor
from jaxtyping import Array, Float, PRNGKeyArray

FEATURE_LIMIT = 12.0  # standard deviations
LEAST_SCALE = 0.1  # of features, which are in units of the prior: one that few settings ever vary must not be blown up


class PosteriorFlow(eqx.Module):
    """q(u, log M | features); `log_mass` is relative to the spectrum's mean flux (see `slipher.models.galaxy`)."""

    shift: Float[Array, "feature"]
    scale: Float[Array, "feature"]
    embedding: eqx.nn.MLP
    flow: flowjax.distributions.AbstractDistribution
    head: eqx.nn.MLP
    mass_shift: Float[Array, ""]
    mass_scale: Float[Array, ""]

    @property
    def n_parameter(self) -> int:
        """Dimensions of u-space."""
        return self.flow.shape[0]

    def context(self, features: Float[Array, "feature"]) -> Float[Array, "context"]:
        """Embedding of one galaxy's features; what lies far beyond the simulations is held at their edge."""
        return self.embedding(jnp.clip((features - self.shift) / self.scale, -FEATURE_LIMIT, FEATURE_LIMIT))

    def log_prob(self, u: Float[Array, "parameter"], context: Float[Array, "context"]) -> Float[Array, ""]:
        """log q(u | data) of one point."""
        return self.flow.log_prob(u, context)

    def from_base(self, z: Float[Array, "parameter"], context: Float[Array, "context"]) -> tuple[Array, Array]:
        """u of a point of the flow's base space, where the posterior is nearly N(0, 1), and log |du/dz|."""
        return self.flow.bijection.transform_and_log_det(z, context)

    def to_base(self, u: Float[Array, "parameter"], context: Float[Array, "context"]) -> tuple[Array, Array]:
        """The inverse of `from_base`: z of a point, and log |du/dz| there."""
        z, log_det = self.flow.bijection.inverse_and_log_det(u, context)
        return z, -log_det

    def mass(self, u: Float[Array, "parameter"], context: Float[Array, "context"]) -> tuple[Array, Array]:
        """Mean and standard deviation of log M (relative) given u."""
        mean, log_sd = self.head(jnp.concatenate([u, context]))
        return self.mass_shift + self.mass_scale * mean, self.mass_scale * jnp.exp(jnp.clip(log_sd, -7.0, 3.0))

    def sample(
        self, key: PRNGKeyArray, context: Float[Array, "context"], n: int
    ) -> tuple[Float[Array, "draw parameter"], Float[Array, "draw"], Float[Array, "draw"]]:
        """Draws of u, of the relative log M, and log q(u | data)."""
        key_u, key_mass = jax.random.split(key)
        u, log_q = self.flow.sample_and_log_prob(key_u, (n,), context)
        mean, sd = jax.vmap(self.mass, (0, None))(u, context)
        return u, mean + sd * jax.random.normal(key_mass, (n,)), log_q

    def loss(self, u: Float[Array, "parameter"], log_mass: Float[Array, ""], features: Float[Array, "feature"]) -> Float[Array, ""]:
        """Negative log posterior density of one simulated galaxy, nats."""
        context = self.context(features)
        mean, sd = self.mass(u, context)
        log_q_mass = -0.5 * ((log_mass - mean) / sd) ** 2 - jnp.log(sd / self.mass_scale)
        return -self.log_prob(u, context) - log_q_mass


def build(
    key: PRNGKeyArray,
    n_feature: int,
    n_parameter: int,
    *,
    context: int,
    width: int,
    depth: int,
    layers: int,
    flow_width: int,
    knots: int,
) -> PosteriorFlow:
    """An untrained network; `shift` and `scale` are set from the first simulations (`standardise`)."""
    k = jax.random.split(key, 3)
    flow = flowjax.flows.coupling_flow(
        k[0],
        base_dist=flowjax.distributions.StandardNormal((n_parameter,)),
        transformer=_spline(knots),
        cond_dim=context,
        flow_layers=layers,
        nn_width=flow_width,
        nn_depth=2,
        nn_activation=jax.nn.silu,
    )
    return PosteriorFlow(
        shift=jnp.zeros(n_feature),
        scale=jnp.ones(n_feature),
        embedding=eqx.nn.MLP(n_feature, context, width, depth, jax.nn.silu, key=k[1]),
        flow=flow,
        head=eqx.nn.MLP(n_parameter + context, 2, 128, 2, jax.nn.silu, key=k[2]),
        mass_shift=jnp.zeros(()),
        mass_scale=jnp.ones(()),
    )


def _spline(knots: int) -> RationalQuadraticSpline:
    return RationalQuadraticSpline(knots=knots, interval=5.0)


def skeleton(n_feature: int, n_parameter: int, **sizes: int) -> PosteriorFlow:
    """The shapes of `build`'s network, to be filled from a file: drawing first weights only to replace them would cost seconds."""
    network = eqx.filter_eval_shape(lambda key: build(key, n_feature, n_parameter, **sizes), jax.random.key(0))
    # Each coupling closes over the spline at rest, which has to be numbers and not shapes.
    constructor, _ = get_ravelled_pytree_constructor(
        _spline(sizes["knots"]), eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    return jax.tree.map(lambda leaf: constructor if getattr(leaf, "__name__", "") == "constructor" else leaf, network)


def standardise(network: eqx.Module, features: Float[Array, "galaxy feature"], log_mass: Float[Array, "galaxy"]) -> eqx.Module:
    """A network (with `shift`, `scale`, `mass_shift` and `mass_scale`) with its input and mass scales set from simulations."""
    return eqx.tree_at(
        lambda n: (n.shift, n.scale, n.mass_shift, n.mass_scale),
        network,
        (features.mean(0), jnp.maximum(features.std(0), LEAST_SCALE), log_mass.mean(), log_mass.std()),
    )
