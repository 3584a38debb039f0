"""Correlated model error, inverted once per galaxy: C = D + T T' with D diagonal and T a few tens of templates.

With `D^-1/2 T = U S V'` the inverse is `C^-1 = D^-1/2 (I - U diag(S^2 / (1 + S^2)) U') D^-1/2`: a thin product for a column. Its twin in
the tests is the dense matrix.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..instrument import simulate
from ..instrument import systematics as sys_
from ..instrument.systematics import Systematics
from ..physics.galaxy import View


class Covariance(NamedTuple):
    """C^-1, as 1/sigma, the left singular vectors of the templates over sigma and the share of each that they explain; log|C|/2."""

    inverse_sigma: Float[Array, "pixel"]
    vectors: Float[Array, "pixel template"]
    share: Float[Array, "template"]
    half_log_det: Float[Array, ""]

    def inner(self, x: Float[Array, "pixel column"]) -> Float[Array, "column column"]:
        """x' C^-1 x of columns that are divided by each pixel's sigma already."""
        across = self.vectors.T @ x
        return x.T @ x - (across * self.share[:, None]).T @ across

    def explained(self, x: Float[Array, "pixel"], normal: Float[Array, "template"]) -> Float[Array, "pixel"]:
        """A draw of what the templates add, given a residual; its mean, where `normal` is zero, is T T' C^-1 x.

        Their coefficients along the singular vectors are independent, with mean `share y` and variance `share` in units of sigma.
        """
        y = self.vectors.T @ (x * self.inverse_sigma)
        back = jnp.where(self.inverse_sigma > 0, 1.0 / jnp.where(self.inverse_sigma > 0, self.inverse_sigma, 1.0), 0.0)
        return back * (self.vectors @ (self.share * y + jnp.sqrt(self.share) * normal))


def covariance(ivar: Float[Array, "pixel"], floor: Float[Array, "pixel"], templates: Float[Array, "pixel template"]) -> Covariance:
    """C^-1 for pixel variances 1/ivar + floor and templates in units of their sd; pixels of no information vanish."""
    seen = ivar > 0
    variance = jnp.where(seen, 1.0 / jnp.where(seen, ivar, 1.0) + floor, 1.0)
    inverse_sigma = jnp.where(seen, 1.0 / jnp.sqrt(variance), 0.0)
    scaled = templates * inverse_sigma[:, None]
    # Left singular vectors from the small Gram matrix; directions without information are harmless.
    values, v = jnp.linalg.eigh(scaled.T @ scaled)
    values = jnp.maximum(values, 1e-10)
    vectors = (scaled @ v) / jnp.sqrt(values)
    share = jnp.where(values > 1e-6 * values[-1], values / (1.0 + values), 0.0)
    half_log_det = 0.5 * jnp.sum(jnp.where(seen, jnp.log(variance), 0.0)) + 0.5 * jnp.sum(jnp.log1p(values))
    return Covariance(inverse_sigma, vectors, share, half_log_det)


def templates(
    systematics: Systematics,
    view: View,
    continuum: Float[Array, "pixel"],
    lines: Float[Array, "pixel"],
    covered: Float[Array, "pixel"],
) -> Float[Array, "pixel template"]:
    """Everything linear that does not depend on the parameters, about a reference spectrum, in units of its sd.

    Calibration and mismatch times the reference, a velocity offset of the stars, broad Balmer lines and interstellar Na D: term by
    term what `slipher.instrument.simulate.light` draws. (Line strengths depend on the parameters: `likelihood.py`.)
    """
    total = continuum + lines
    level = simulate.v_band_light(view.wave_aa, continuum)
    motion = systematics.velocity_kms * sys_.velocity_derivative(continuum, view.wave_aa)
    return jnp.concatenate(
        [
            total[:, None] * sys_.calibration_templates(systematics, view.wave_aa, covered),
            total[:, None] * sys_.mismatch_templates(systematics, view.wave_aa),
            jnp.stack(
                [
                    motion,
                    systematics.broad_ew_aa * level * sys_.broad_template(view, systematics),
                    systematics.sodium_ew_aa * level * sys_.sodium_template(view),
                ],
                -1,
            ),
        ],
        axis=-1,
    )
