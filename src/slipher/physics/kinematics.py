"""Line-of-sight motions of the gas: the profiles of emission lines, Gaussian in ln(wavelength), widths in km/s.

The stars' dispersion needs no code of its own: the library is prepared at a set of dispersions (`slipher.grids.library`) and
interpolated between them.
"""

import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array, Float

from ..units import C_KMS


def line_profile(
    wave_rest_aa: Float[Array, "*#pixel"],
    width_kms: Float[Array, "*#pixel"],
    centre_aa: Float[Array, "*#pixel"],
    sigma_kms: Float[Array, "*#pixel"],
) -> Float[Array, "*#pixel"]:
    """Mean over each pixel of a unit-flux Gaussian line, in 1/A.

    `width_kms` is the pixel's width; the integral over the pixel is exact (a narrow line is not undersampled).
    """
    x = C_KMS * jnp.log1p((wave_rest_aa - centre_aa) / centre_aa)  # differences survive float32, logarithms do not
    root = jnp.sqrt(2.0) * sigma_kms
    share = 0.5 * (erf((x + 0.5 * width_kms) / root) - erf((x - 0.5 * width_kms) / root))
    return share / (wave_rest_aa * width_kms / C_KMS)
