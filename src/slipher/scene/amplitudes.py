r"""Fluxes and backgrounds without a search: images are linear in them, so that they are solved for and integrated out.

    Y_b = A_b a_b + noise,   A_b = images of all lights at unit flux, and one;   a_b ~ N(a_0, S^2) where a flux has a prior

    ln p(Y_b) = 1/2 b' N^-1 b - 1/2 ln |N| + constant,   N = A' W A + S^-2,  b = A' W Y + S^-2 a_0

Positions and shapes alone are then sampled, of a posterior in which every flux is what the images say (variable projection: Golub & Pereyra
1973). Fluxes may be negative here: that is the price of solving for them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from . import exposure as exposures
from .exposure import Exposure
from .render import Point, Scene, values_of
from .source import Source, Start

WIDE = 10.0  # sd of fluxes' prior over those of the start, about zero


class Amplitudes(NamedTuple):
    """Of each band of an exposure: lights in the order of groups, sources and their own, then the background; and ln p without them."""

    mean: Float[Array, "band amplitude"]
    covariance: Float[Array, "band amplitude amplitude"]
    log_marginal: Float[Array, ""]


def unit_images(scene: Scene, point: Point, which: int, seen: Exposure) -> Float[Array, "band light y x"]:
    """What an exposure shows of each light at a flux of one, dust in front of it included."""
    q, response = exposures.frequencies(seen), exposures.response(seen, point.sights[which].shift)
    bands, found = jnp.asarray(seen.bands), []
    for group, members in zip(scene.groups, point.members, strict=True):
        unit = jnp.eye(len(group.source.lights))[:, :, None] * jnp.ones(scene.n_bands)

        def one(start: Start, u: dict[str, Array], source: Source = group.source, unit: Array = unit) -> Array:
            values = values_of(source, start, u)
            lights = jax.vmap(lambda fluxes: source.shone(values, fluxes, q))(unit)
            return lights[:, bands] * exposures.phase(seen, start.position + values["offset"])

        transform = jax.vmap(one)(*members)  # [source, light, band, ky, kx]
        found.append(transform.reshape(-1, *transform.shape[2:]))
    return jnp.moveaxis(exposures.image(seen, jnp.concatenate(found) * response), 0, 1)


def solve(scene: Scene, point: Point, which: int, seen: Exposure) -> Amplitudes:
    """The amplitudes of one exposure given all shapes, with priors about zero as wide as `WIDE` of the starting fluxes."""
    shown = unit_images(scene, point, which, seen)
    starts = jnp.concatenate([m.start.flux.reshape(-1, scene.n_bands) for m in point.members])[:, jnp.asarray(seen.bands)]

    def one(images: Array, start: Array, flux: Array, ivar: Array) -> tuple[Array, Array, Array]:
        design = jnp.concatenate([images.reshape(len(images), -1), jnp.ones((1, flux.size))])
        # In units of the starting fluxes numbers are near one.
        scale = jnp.concatenate([start, jnp.sqrt(1.0 / jnp.maximum(jnp.max(ivar), 1e-30))[None]])
        design = design * scale[:, None]
        weighted = design * ivar.ravel()
        prior = jnp.concatenate([jnp.full(len(images), WIDE**-2), jnp.full(1, 1e-6)])
        matrix, pull = weighted @ design.T + jnp.diag(prior), weighted @ flux.ravel()
        root = jnp.linalg.cholesky(matrix)
        inverse = jax.scipy.linalg.cho_solve((root, True), jnp.eye(len(scale)))
        mean = inverse @ pull
        value = 0.5 * pull @ mean - jnp.sum(jnp.log(jnp.diagonal(root))) + 0.5 * jnp.sum(jnp.log(prior))
        return scale * mean, scale[:, None] * scale * inverse, value - 0.5 * jnp.sum(ivar * flux**2)

    mean, covariance, value = jax.vmap(one)(shown, starts.T, seen.flux, seen.ivar)
    return Amplitudes(mean, covariance, jnp.sum(value))


def log_marginal_posterior(scene: Scene, point: Point, seen: tuple[Exposure, ...]) -> Float[Array, ""]:
    """ln p of shapes, positions and shifts with all fluxes and backgrounds integrated out, up to a constant.

    Numbers named `log_flux` and backgrounds have no say in it.
    """
    value = sum(solve(scene, point, i, one).log_marginal for i, one in enumerate(seen))
    own = [leaf for m in point.members for name, leaf in m.u.items() if not of_flux(name)]
    return value - 0.5 * (sum(jnp.sum(leaf**2) for leaf in own) + sum(jnp.sum(s.shift**2) for s in point.sights))


def of_flux(name: str) -> bool:
    """Whether a parameter of a source is one that is solved for."""
    return name.endswith(".log_flux")
