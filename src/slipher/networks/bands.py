"""Photometry as a network sees it: the smooth spectrum behind any set of bands, at fixed observed wavelengths, by ridge regression.

The counterpart of `projection` for photometry (DESIGN.md, decision 4), in the observed frame because the redshift may not be known. A
spectrum that is linear between nodes is seen by each band as a weighted sum of their values; a Gaussian prior of these values, learnt
from simulated galaxies, fills what no band sees. Whatever the bands, masks and depths, the network meets a fixed number of fluxes, with
their errors and with how much was measured there.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..grids.filters import FilterCurve

# Observed wavelengths: as dense as bands are.
NODES_AA = np.concatenate(
    [[1400.0, 1700.0, 2100.0, 2500.0, 2950.0], 3400.0 * 10 ** (0.025 * np.arange(20)), [11300.0, 12600.0, 14500.0, 16800.0, 19500.0],
     [22500.0, 28000.0, 34500.0, 46500.0, 70000.0, 120000.0, 220000.0]]
)  # fmt: skip
LEAST_FLOOR = 0.003  # of a flux: what a spectrum that is linear between nodes can follow at best
FAINT = 0.02  # of the mean flux: below it fluxes are compressed linearly, above it logarithmically
N_NODES = len(NODES_AA)
N_EXTRA = 5
N_FEATURES = 3 * N_NODES + N_EXTRA
# Rest wavelengths at which a galaxy of known redshift is read.
REST_AA = np.concatenate(
    [1000.0 * 10 ** (0.04 * np.arange(26)), [12600.0, 16800.0, 22500.0, 34500.0, 46500.0, 80000.0, 120000.0, 220000.0]]
)
REST_CENTRE, REST_SCALE = (4.0, -1.5, 3.0), (2.0, 1.5, 3.0)  # of values, errors and information, about those of simulations
N_REST = 3 * len(REST_AA)


class NodePrior(eqx.Module):
    """Mean and covariance of the values (f_nu over the measured bands' mean) at the nodes; `floor` is the least error of a flux over it."""

    mean: Float[Array, "node"]
    covariance: Float[Array, "node node"]
    floor: Float[Array, ""]


class Smooth(NamedTuple):
    """The spectrum at the nodes over `norm` (nanomaggies), its sd, what was measured there (log of the summed weights), and residuals."""

    value: Float[Array, "node"]
    sd: Float[Array, "node"]
    information: Float[Array, "node"]
    norm: Float[Array, ""]
    chi2: Float[Array, ""]
    n_bands: Float[Array, ""]


def weights_of(curves: tuple[FilterCurve, ...]) -> Float[np.ndarray, "band node"]:
    """How each band weighs the nodes' values, for a spectrum f_nu that is linear in log wavelength between them; rows add up to one."""
    fine = 10 ** np.arange(np.log10(900.0), np.log10(320000.0), 2e-4)
    position = np.interp(np.log(fine), np.log(NODES_AA), np.arange(N_NODES))
    hats = np.maximum(1.0 - np.abs(position[:, None] - np.arange(N_NODES)), 0.0)
    response = np.stack([np.interp(fine, c.wave_aa, c.response, left=0.0, right=0.0) for c in curves])
    return (response @ hats) / response.sum(1, keepdims=True)


def smooth(flux: Float[Array, "band"], ivar: Float[Array, "band"], weights: Float[Array, "band node"], prior: NodePrior) -> Smooth:
    """The Gaussian posterior of the nodes' values given fluxes in nanomaggies (ivar 0: no information)."""
    seen = (ivar > 0).astype(jnp.float32)
    noise = 1.0 / jnp.where(ivar > 0, ivar, 1.0)
    level = jnp.sum(seen * jnp.maximum(flux, 0.0)) / jnp.maximum(jnp.sum(seen), 1.0)
    trust = seen / (noise + (0.5 * level) ** 2 + 1e-30)
    total = jnp.sum(trust) + 1e-30
    norm = jnp.maximum(jnp.sum(trust * flux) / total, 0.1 / jnp.sqrt(total)) + 1e-12
    data = seen * flux / norm
    variance = noise / norm**2 + (prior.floor * data) ** 2 + 1e-6
    # In units of the prior's sd, so that float32 holds fluxes from the ultraviolet to 22 um.
    scale = jnp.sqrt(jnp.diagonal(prior.covariance))
    design = seen[:, None] * weights * scale
    correlation = prior.covariance / scale[:, None] / scale
    gain_part = correlation @ design.T  # [node, band]
    innovation = design @ gain_part + jnp.diag(jnp.where(seen > 0, variance, 1.0))
    factor = jax.scipy.linalg.cho_factor(innovation, lower=True)
    residual = seen * (data - weights @ prior.mean)
    solved = jax.scipy.linalg.cho_solve(factor, residual)
    value = prior.mean + scale * (gain_part @ solved)
    explained = jnp.sum(gain_part * jax.scipy.linalg.cho_solve(factor, gain_part.T).T, axis=1)
    sd = scale * jnp.sqrt(jnp.maximum(1.0 - explained, 1e-6))
    information = jnp.log1p(jnp.sum((seen / variance)[:, None] * weights**2, axis=0))
    return Smooth(value, sd, information, norm, residual @ solved, jnp.sum(seen))


def features(found: Smooth) -> Float[Array, "feature"]:
    """What the network reads: compressed values and relative errors at the nodes, information there, brightness, number of bands."""
    value = jnp.arcsinh(found.value / FAINT)
    relative = jnp.log(found.sd / jnp.hypot(found.value, FAINT))
    extra = jnp.stack(
        [jnp.log10(found.norm), jnp.log(found.n_bands + 1.0), jnp.log(found.chi2 / (found.n_bands + 1.0) + 0.01),
         jnp.max(found.information), jnp.mean(found.information)]
    )  # fmt: skip
    return jnp.concatenate([value, relative, found.information, extra])


def at_rest(seen: Float[Array, "feature"], redshift: Float[Array, ""]) -> Float[Array, "rest"]:
    """Values, errors and information of `features` at `REST_AA` of a redshift, scaled to order one; information ends where nodes do.

    A network could learn to move spectra, but to few per cent only, and would need most of its simulations for that.
    """
    place, nodes = jnp.log(REST_AA) + jnp.log1p(redshift), jnp.log(NODES_AA)
    value, error, information = (seen[i * N_NODES : (i + 1) * N_NODES] for i in range(3))
    moved = (jnp.interp(place, nodes, value), jnp.interp(place, nodes, error), jnp.interp(place, nodes, information, left=0.0, right=0.0))
    return jnp.concatenate([(x - centre) / scale for x, centre, scale in zip(moved, REST_CENTRE, REST_SCALE, strict=True)])


def learn(values: np.ndarray, zero_point: float) -> NodePrior:
    """The prior from simulated spectra: f_nu at the nodes [galaxy, node], each over its mean in the visible.

    Bands whose zero points are good to the fraction `zero_point` are followed no closer than that.
    """
    covariance = 2.0 * np.cov(values.T) + 1e-4 * np.eye(N_NODES)
    floor = max(zero_point, LEAST_FLOOR)
    return NodePrior(jnp.asarray(values.mean(0), jnp.float32), jnp.asarray(covariance, jnp.float32), jnp.float32(floor))
