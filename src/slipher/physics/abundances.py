"""Absorption features that are deeper or shallower than the library's: what other element abundances do to a spectrum, roughly.

    continuum x (1 - sum over features of offset_f x profile_f)

Stellar libraries have the abundances of the Sun's neighbourhood; galaxies do not. Each feature is a band of an element or molecule with
the width of the passband that measures it (Worthey et al. 1994, ApJS 94, 687; Trager et al. 1998, ApJS 116, 1; beyond 8000 A Cenarro et
al. 2001, MNRAS 326, 959), as wide at least as the stars' motions make lines. Elements of one family move together. For
simulated spectra: the offsets are not fitted by the galaxy model.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..units import C_KMS

# (family, centre and full width of the passband in A, air wavelengths taken as vacuum: half an angstrom is nothing here; depth that one
# standard deviation of the family changes at the centre)
FEATURES = (
    ("alpha", 5176.0, 32.0, 0.03), ("alpha", 5100.0, 130.0, 0.01), ("alpha", 4227.0, 12.0, 0.03), ("alpha", 8498.0, 25.0, 0.015),
    ("alpha", 8542.0, 35.0, 0.02), ("alpha", 8662.0, 35.0, 0.02), ("alpha", 6230.0, 80.0, 0.008), ("alpha", 7150.0, 160.0, 0.015),
    ("iron", 5270.0, 36.0, 0.02), ("iron", 5335.0, 38.0, 0.02), ("iron", 4385.0, 50.0, 0.015), ("iron", 5015.0, 60.0, 0.012),
    ("iron", 4531.0, 46.0, 0.012), ("carbon", 4300.0, 36.0, 0.03), ("carbon", 4668.0, 80.0, 0.02), ("nitrogen", 4160.0, 35.0, 0.02),
    ("nitrogen", 3860.0, 70.0, 0.04), ("sodium", 5893.0, 28.0, 0.04), ("sodium", 8190.0, 22.0, 0.02), ("calcium", 3934.0, 22.0, 0.05),
    ("calcium", 3969.0, 22.0, 0.05),
)  # fmt: skip
FAMILIES = tuple(dict.fromkeys(family for family, *_ in FEATURES))
FWHM_SHARE = 0.6  # of a passband's width: it holds the feature with its wings


def families() -> Float[np.ndarray, "family feature"]:
    """Membership of features in families, 0 or 1."""
    return np.array([[float(f == family) for f, *_ in FEATURES] for family in FAMILIES], np.float32)


def transmission(offsets: Float[Array, "family"], wave_aa: Float[Array, "pixel"], sigma_kms: Float[Array, ""]) -> Float[Array, "pixel"]:
    """Factor on the stars' light for offsets in standard deviations of each family; positive ones deepen."""
    centre, width, depth = (jnp.array([feature[i] for feature in FEATURES], jnp.float32) for i in (1, 2, 3))
    own = FWHM_SHARE * width / 2.3548
    sigma = jnp.hypot(own, sigma_kms / C_KMS * centre)
    profile = jnp.exp(-0.5 * ((wave_aa[:, None] - centre) / sigma) ** 2) * own / sigma
    return 1.0 - profile @ (depth * (families().T @ offsets))


def draw(key: PRNGKeyArray, amplitude: float) -> Float[Array, "family"]:
    """Offsets of all families; `amplitude` 0 is none, 1 the depths of `FEATURES`."""
    return amplitude * jax.random.normal(key, (len(FAMILIES),))
