"""The amortised posterior of photometry: a redshift, then a galaxy at that redshift.

    features --MLP--> context --> spline flow in one dimension: q(u_z | data)
    features, redshift, features at rest --MLP--> context --+--> coupling flow: q(u | z, data)
                                                            +--> head: q(log M | u, z, data), Gaussian

The first part is as many-peaked as the data make it; where the redshift is known, only the second is used. Base space is N(0, 1) in all
dimensions, the redshift's first.
"""

import equinox as eqx
import flowjax.distributions
import flowjax.flows
import jax
import jax.numpy as jnp
from flowjax.bijections import RationalQuadraticSpline
from jaxtyping import Array, Float, PRNGKeyArray

from ..physics.abundance import RedshiftRange
from . import bands
from .posterior_flow import FEATURE_LIMIT, PosteriorFlow, build, skeleton

N_REDSHIFT_FEATURES = 3
KNOTS = 24


class PhotometricFlow(eqx.Module):
    """q(u_z | features) and q(u, log M | features, u_z); the first element of a point is always u_z, of the range `redshifts`."""

    redshifts: RedshiftRange = eqx.field(static=True)
    shift: Float[Array, "feature"]
    scale: Float[Array, "feature"]
    embedding: eqx.nn.MLP
    redshift: flowjax.distributions.AbstractDistribution
    galaxy: PosteriorFlow
    mass_shift: Float[Array, ""]
    mass_scale: Float[Array, ""]

    def standard(self, features: Float[Array, "feature"]) -> Float[Array, "feature"]:
        """Features in their standard deviations; what lies far beyond the simulations is held at their edge."""
        return jnp.clip((features - self.shift) / self.scale, -FEATURE_LIMIT, FEATURE_LIMIT)

    def context(self, features: Float[Array, "feature"]) -> Float[Array, "context"]:
        """What the redshift's flow is told."""
        return self.embedding(self.standard(features))

    def galaxy_context(self, features: Float[Array, "feature"], u_redshift: Float[Array, ""]) -> Float[Array, "context"]:
        """What the galaxy's flow is told: the redshift besides, which is known or drawn."""
        at_rest = bands.at_rest(features, self.redshifts.from_normal(u_redshift))
        return self.galaxy.embedding(jnp.concatenate([self.standard(features), redshift_features(u_redshift), at_rest]))

    @property
    def n_parameter(self) -> int:
        """Dimensions of u-space, the redshift's included."""
        return 1 + self.galaxy.n_parameter

    def from_base(self, z: Float[Array, "parameter"], features: Float[Array, "feature"]) -> tuple[Array, Array]:
        """u of a point of base space, and log |du/dz|: the redshift first, and the galaxy at that redshift."""
        u_redshift, log_det = self.redshift.bijection.transform_and_log_det(z[:1], self.context(features))
        u, more = self.galaxy.from_base(z[1:], self.galaxy_context(features, u_redshift[0]))
        return jnp.concatenate([u_redshift, u]), log_det + more

    def to_base(self, u: Float[Array, "parameter"], features: Float[Array, "feature"]) -> tuple[Array, Array]:
        """The inverse of `from_base`: z of a point, and log |du/dz| there."""
        z_redshift, log_det = self.redshift.bijection.inverse_and_log_det(u[:1], self.context(features))
        z, more = self.galaxy.to_base(u[1:], self.galaxy_context(features, u[0]))
        return jnp.concatenate([z_redshift, z]), more - log_det

    def mass(self, u: Float[Array, "parameter"], context: Float[Array, "context"]) -> tuple[Array, Array]:
        """Mean and standard deviation of the relative log M given u (without u_z) and the galaxy's context."""
        mean, sd = self.galaxy.mass(u, context)
        return self.mass_shift + self.mass_scale * mean, self.mass_scale * sd

    def loss(self, u: Float[Array, "parameter"], log_mass: Float[Array, ""], features: Float[Array, "feature"]) -> Float[Array, ""]:
        """Negative log posterior density of one simulated galaxy, nats."""
        of_redshift = self.redshift.log_prob(u[:1], self.context(features))
        context = self.galaxy_context(features, u[0])
        mean, sd = self.mass(u[1:], context)
        of_mass = -0.5 * ((log_mass - mean) / sd) ** 2 - jnp.log(sd / self.mass_scale)
        return -of_redshift - self.galaxy.log_prob(u[1:], context) - of_mass


def redshift_features(u_redshift: Float[Array, ""]) -> Float[Array, "three"]:
    """The redshift as the galaxy's flow reads it."""
    return jnp.stack([u_redshift, jnp.tanh(u_redshift), 0.3 * u_redshift**2])


def build_photometric(
    key: PRNGKeyArray, n_parameter: int, redshifts: RedshiftRange, *, blank: bool = False, **sizes: int
) -> PhotometricFlow:
    """An untrained network for `n_parameter` parameters besides the redshift; `sizes` as in `posterior_flow.build`.

    `blank`: only its shapes, to be filled from a file.
    """
    k, n_feature = jax.random.split(key, 3), bands.N_FEATURES

    def redshift_part(key: PRNGKeyArray) -> tuple:
        a, b = jax.random.split(key)
        flow = flowjax.flows.masked_autoregressive_flow(
            a,
            base_dist=flowjax.distributions.StandardNormal((1,)),
            transformer=RationalQuadraticSpline(knots=KNOTS, interval=5.0),
            cond_dim=sizes["context"],
            flow_layers=2,
            nn_width=128,
            nn_depth=2,
            nn_activation=jax.nn.silu,
        )
        return eqx.nn.MLP(n_feature, sizes["context"], sizes["width"], sizes["depth"], jax.nn.silu, key=b), flow

    n_second = n_feature + N_REDSHIFT_FEATURES + bands.N_REST
    embedding, flow = redshift_part(k[0])
    galaxy = skeleton(n_second, n_parameter, **sizes) if blank else build(k[1], n_second, n_parameter, **sizes)
    return PhotometricFlow(redshifts, jnp.zeros(n_feature), jnp.ones(n_feature), embedding, flow, galaxy, jnp.zeros(()), jnp.ones(()))
