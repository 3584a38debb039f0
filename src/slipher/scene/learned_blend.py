"""A blend once more, its bright galaxies under the learned prior: what had a profile with texture is pixels that a denoiser judges.

It begins where the blend ended. Faint sources and points stay what they were, beside the others and fitted with them; so do the profiles
in the middle of bright ones, each of its own colour.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from . import annealed, layout, normal
from .annealed import Denoiser
from .blend import Blend
from .fit import Fitted
from .layout import TEXTURE
from .learned import Denoised, log_brightness
from .normal import Free
from .render import Group, Members, Point, Scene, values_of
from .source import Start, of_part

LIGHT = TEXTURE.partition(".")[0]
LEARNED = f"{LIGHT}.log_light"


class Part(NamedTuple):
    """Some sources of a group: the kind, their numbers, and what of these is free."""

    group: Group
    members: Members
    mask: dict[str, Array]


def learned_blend(blend: Blend, denoiser: Denoiser, sigmas: tuple[float, ...] = annealed.TO_MODE) -> Blend:
    """The most probable scene under the learned prior (`slipher.scene.annealed.most_probable`), and all that a blend says."""
    scene, point, free, order = changed(blend)
    best, settled = annealed.most_probable(scene, point, blend.seen, free, denoiser, sigmas)
    value = normal.log_posterior(scene, best, blend.seen)
    fitted = Fitted(best, value, jnp.asarray(settled) & blend.fitted.converged, blend.fitted.steps)
    return blend._replace(scene=scene, fitted=fitted, free=free, order=order, denoiser=denoiser)


def changed(blend: Blend) -> tuple[Scene, Point, Free, Int[np.ndarray, "source 2"]]:
    """The layout with galaxies of free pixels instead of those with free texture, at the same images; and the order of the sources."""
    parts, order = [], np.array(blend.order)
    for g, (group, some, mask) in enumerate(zip(blend.scene.groups, blend.fitted.point.members, blend.free[0], strict=True)):
        rough = np.asarray(mask[TEXTURE]).any((1, 2)) if TEXTURE in mask else np.zeros(group.n, bool)
        for each, learn in ((np.flatnonzero(rough), True), (np.flatnonzero(~rough), False)):
            own = (blend.order[:, 0] == g) & np.isin(blend.order[:, 1], each)
            if not own.any():
                continue
            part = _some(group, some, mask, each)
            order[own] = np.stack([np.full(own.sum(), len(parts)), np.searchsorted(each, blend.order[own, 1])], 1)
            parts.append(_pixels(part) if learn else part)
    scene = Scene(tuple(part.group for part in parts), blend.scene.n_bands)
    point = Point(tuple(part.members for part in parts), blend.fitted.point.sights)
    return scene, point, ([part.mask for part in parts], blend.free[1]), order


def _some(group: Group, some: Members, mask: dict[str, Array], each: Int[np.ndarray, "source"]) -> Part:
    """Sources of a group, in as many places as scenes of about as many have; those that are left over are dark and rest."""
    places = next((n for n in layout.PLACES if n >= len(each)), len(each))
    index = np.resize(each, places)
    taken = jnp.asarray(np.arange(places) < len(each), jnp.float32)

    def kept(leaf: Array) -> Array:
        return leaf[index] * taken.reshape(-1, *(1,) * (leaf.ndim - 1))

    members = jax.tree.map(lambda leaf: leaf[index], some)
    members = members._replace(start=members.start._replace(flux=kept(some.start.flux)))
    return Part(Group(group.source, places), members, jax.tree.map(kept, mask))


def _pixels(part: Part) -> Part:
    """With free pixels for the profile with texture."""
    shape, (start, u) = part.group.source.lights[0].morphology, part.members
    x = _images(part.group, part.members)
    old = {f"{LIGHT}.{p.name}" for p in shape.parameters}
    taken = jnp.max(part.mask[TEXTURE], (1, 2))[:, None, None]

    def other(leaves: dict[str, Array] | None) -> dict[str, Array]:
        return {name: leaf for name, leaf in (leaves or {}).items() if name not in old}

    given = other(start.given) | {f"{LIGHT}.mean": x, f"{LIGHT}.width": jnp.ones(len(x))}
    members = Members(start._replace(given=given, about=other(start.about)), other(u) | {LEARNED: jnp.zeros_like(x)})
    source = eqx.tree_at(lambda one: one.lights[0].morphology, part.group.source, Denoised(shape.n, shape.step))
    return Part(Group(source, part.group.n), members, other(part.mask) | {LEARNED: jnp.broadcast_to(taken, x.shape)})


@eqx.filter_jit
def _images(group: Group, members: Members) -> Float[Array, "source v u"]:
    """x of the first light of each."""

    def image(start: Start, u: dict[str, Array]) -> Float[Array, "v u"]:
        return log_brightness(group.source.lights[0].morphology.light(of_part(values_of(group.source, start, u), LIGHT)))

    return jax.vmap(image)(*members)
