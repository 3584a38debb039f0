r"""The posterior of a scene about a point, as Gauss and Newton have it: its gradient, and its normal matrix without ever making it.

    ln p = -1/2 sum_p w_p (Y_p - m_p)^2 - 1/2 |u|^2,     H = J' W J + 1

H acts through derivatives of the images (as in metric Gaussian variational inference, Knollmueller & Ensslin 2019, arXiv:1901.11033), so
that a source may have thousands of pixels. Two parts of it lead the conjugate gradients: that of positions, shapes and fluxes, which is
made, as each source's image depends on its own parameters alone; and of the pixels what a hundred random vectors show of J'WJ (Frangella,
Tropp & Udell 2021, arXiv:2110.02820), for an image says only so much of a source beyond its prior. A few steps are then enough.

All numbers of a point but its starts may be free: u of each source, and of each exposure shifts, of which the prior is standard normal
too, and backgrounds, which have none. Which are is a mask of ones and zeros (`opened`): another choice compiles nothing anew.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from . import exposure as exposures
from .exposure import Exposure
from .render import Group, Members, Point, Scene, Sight, draw, one_source, transform
from .source import Start

Free = tuple[list[dict[str, Array]], list[Sight]]

RANK = 100  # of what is known of the pixels
TINY = 3e-6  # of the largest, below which eigenvalues are rounding errors
SEED = 0  # of the random vectors
RIDGE = 1e-5  # of the preconditioner, over its diagonal
MANY = 16  # numbers of one parameter of one source from which they are pixels
AT_ONCE = 16  # sources of a group up to which their derivatives are made together
COPIES = 4  # of the few's columns, while their part of the matrix is made


# --- what is free ----------------------------------------------------------------------------------------------------


def free_of(point: Point) -> Free:
    """All numbers that may be free: of each group u, of each exposure shift and background."""
    return [m.u for m in point.members], list(point.sights)


def placed(point: Point, free: Free) -> Point:
    """A point with its free numbers replaced."""
    return Point(tuple(m._replace(u=u) for m, u in zip(point.members, free[0], strict=True)), tuple(free[1]))


def opened(
    point: Point, *, shifts: bool = True, backgrounds: bool = True, sources: Callable[[str], bool] = lambda name: True
) -> Free:  # fmt: skip
    """The mask of free numbers: shifts, backgrounds, and those parameters of sources of which the name is told so."""
    groups = [{name: jnp.full(leaf.shape, float(sources(name))) for name, leaf in m.u.items()} for m in point.members]
    sights = [Sight(jnp.full(s.shift.shape, float(shifts)), jnp.full(s.background.shape, float(backgrounds))) for s in point.sights]
    return groups, sights


def _with_prior(point: Point) -> Float[Array, "number"]:
    """1 where a number has a prior, 0 where it has none."""
    ones = jax.tree.map(jnp.ones_like, free_of(point))
    return ravel_pytree((ones[0], [s._replace(background=jnp.zeros_like(s.background)) for s in ones[1]]))[0]


# --- the posterior ---------------------------------------------------------------------------------------------------


def residuals(scene: Scene, point: Point, seen: tuple[Exposure, ...]) -> list[Float[Array, "band y x"]]:
    """What is left over in each exposure."""
    return [one.flux - draw(scene, point, i, one) for i, one in enumerate(seen)]


def log_posterior(scene: Scene, point: Point, seen: tuple[Exposure, ...]) -> Float[Array, ""]:
    """Up to a constant."""
    chi2 = sum(jnp.sum(one.ivar * left**2) for one, left in zip(seen, residuals(scene, point, seen), strict=True))
    return -0.5 * (chi2 + jnp.sum(_with_prior(point) * ravel_pytree(free_of(point))[0] ** 2))


# --- the few parameters ----------------------------------------------------------------------------------------------


def few(u: dict[str, Array | np.ndarray]) -> dict[str, Array | np.ndarray]:
    """Those of a group's parameters [source, ...] that are no pixels."""
    return {name: leaf for name, leaf in u.items() if leaf[0].size < MANY}


def places_of_few(point: Point) -> Int[np.ndarray, "few"]:
    """Where the few are among all numbers: group by group and source by source, then by exposure."""
    leaves, tree = jax.tree.flatten(free_of(point))
    ends = np.cumsum([0, *(leaf.size for leaf in leaves)])
    groups, sights = jax.tree.unflatten(
        tree, [np.arange(low, low + leaf.size).reshape(leaf.shape) for low, leaf in zip(ends, leaves, strict=False)]
    )
    rows = [np.concatenate([leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(few(u))], 1).ravel() for u in groups]
    return np.concatenate([*rows, *(np.concatenate([s.shift.ravel(), s.background]) for s in sights)]).astype(int)


def memory(point: Point, seen: tuple[Exposure, ...]) -> int:
    """Bytes that a fit takes, about: most are how the pixels of an exposure change with each of the few."""
    return 4 * COPIES * len(places_of_few(point)) * max(one.flux.size for one in seen)


def _columns(scene: Scene, point: Point, which: int, seen: Exposure) -> Float[Array, "few pixel"]:
    """Change of an exposure's pixels with each of the few."""
    columns = [_of_group(g, m, point.sights[which], seen) for g, m in zip(scene.groups, point.members, strict=True)]
    for i, sight in enumerate(point.sights):
        if i != which:
            columns.append(jnp.zeros((sight.shift.size + sight.background.size, seen.flux.size)))
            continue
        columns += [_of_shifts(scene, point, which, seen), jnp.repeat(jnp.eye(len(seen.bands)), seen.flux[0].size, axis=1)]
    return jnp.concatenate(columns)


def _of_shifts(scene: Scene, point: Point, which: int, seen: Exposure) -> Float[Array, "column pixel"]:
    n = len(seen.bands)
    whole = transform(scene, point, which, seen)
    moved = jnp.stack([exposures.image(seen, -1j * k * whole) for k in (seen.kx, seen.ky[:, None])], 1)  # [band, axis, y, x]
    by = jax.jacfwd(lambda u: exposures.shifts(seen, u))(point.sights[which].shift)  # [band, axis, number's band, number's axis]
    return jnp.einsum("bauv,bayx->uvbyx", by, moved).reshape(2 * n, -1)


def _of_group(group: Group, members: Members, sight: Sight, seen: Exposure) -> Float[Array, "column pixel"]:
    q, response = exposures.frequencies(seen), exposures.response(seen, sight.shift)

    def one(each: tuple[Start, dict[str, Array], dict[str, Array]]) -> Array:
        start, u, some = each
        row, unravel = ravel_pytree(some)

        def image(row: Array) -> Array:
            return exposures.image(seen, one_source(group.source, start, {**u, **unravel(row)}, seen, q) * response)

        return jnp.moveaxis(jax.jacfwd(image)(row), -1, 0).reshape(len(row), -1)

    each = (*members, few(members.u))
    found = jax.vmap(one)(each) if group.n <= AT_ONCE else jax.lax.map(one, each)
    return found.reshape(-1, found.shape[-1])


# --- the normal equations --------------------------------------------------------------------------------------------


class Solved(NamedTuple):
    """x of H x = b, what is left of b, and the gradients that it took."""

    x: Float[Array, "number"]
    left: Float[Array, "number"]
    steps: Int[Array, ""]


class Known(NamedTuple):
    """What leads the gradients: directions of unit length in which pixels are known, and by how much, eigenvectors and eigenvalues of their
    part of J'WJ; and the part of the few, itself."""

    directions: Float[Array, "number rank"]
    size: Float[Array, "rank"]
    few: Float[Array, "few few"]


class Bent(NamedTuple):
    """ln p about a point: its value, its gradient, and how H acts on free numbers in a row.

    `few` is the part of J'WJ that belongs to the numbers at `places`; `noise` makes numbers of which the covariance is H, and `pulled`
    those that images in units of their errors add to the gradient.
    """

    value: Float[Array, ""]
    pull: Float[Array, "number"]
    bend: Callable[[Array], Array]
    few: Float[Array, "few few"]
    places: Int[np.ndarray, "few"]
    prior: Float[Array, "number"]
    noise: Callable[[PRNGKeyArray], Array]
    pulled: Callable[[list[Array]], Array]

    def solve(self, b: Float[Array, "number"], known: Known, damping: Float[Array, ""] | float, tolerance: float, most: int) -> Solved:
        """Of H, and `damping` more of its prior, by preconditioned conjugate gradients.

        They end when what is left, as the preconditioner measures it, is the tolerance of what was there.
        """
        prior = (1.0 + damping) * self.prior
        matrix = known.few + jnp.diag(prior[self.places])
        scale = 1.0 / jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), 1e-20))
        inverse = scale[:, None] * scale * jnp.linalg.inv(matrix * scale[:, None] * scale + RIDGE * jnp.eye(len(scale)))
        share = known.size / (known.size + 1.0 + damping)

        def precondition(v: Array) -> Array:
            pixels = (v - known.directions @ (share * (v @ known.directions))) / (1.0 + damping)
            return pixels.at[self.places].set(inverse @ v[self.places])

        def step(state: tuple) -> tuple:
            x, left, along, size, n = state
            bent_ = self.bend(along) + damping * self.prior * along
            length = size / (along @ bent_)
            left = left - length * bent_
            better = precondition(left)
            return x + length * along, left, better + left @ better / size * along, left @ better, n + 1

        first = precondition(b)
        goal = tolerance**2 * (b @ first)
        start = jnp.zeros_like(b), b, first, b @ first, 0
        x, left, *_, n = jax.lax.while_loop(lambda state: (state[3] > goal) & (state[4] < most), step, start)
        return Solved(x, left, n)


@jax.jit
def known(scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free) -> Known:
    """What is known of the pixels' part of J'WJ; of a scene that has no free ones, nothing."""
    about, open_ = bent(scene, point, seen, free), ravel_pytree(free)[0]
    pixels = open_.at[about.places].set(0.0)
    rank = min(RANK, len(open_) - len(about.places))
    if rank == 0:
        return Known(jnp.zeros((len(open_), 0)), jnp.zeros(0), about.few)
    some = jax.random.normal(jax.random.key(SEED), (rank, len(open_))) * pixels

    def bent_(i: Array, found: Array) -> Array:
        return found.at[i].set(pixels * (about.bend(some[i]) - about.prior * some[i]))

    found = jax.lax.fori_loop(0, jnp.where(jnp.any(pixels > 0), rank, 0), bent_, jnp.zeros_like(some))
    # Nystroem's approximation Y' (S'Y)^-1 Y of S'Y, its inverse without what rounding made of the smallest eigenvalues.
    middle = found @ some.T
    sizes, vectors = jnp.linalg.eigh(0.5 * (middle + middle.T))
    kept = sizes > TINY * sizes[-1]
    root = (vectors * jnp.where(kept, 1.0 / jnp.sqrt(jnp.where(kept, sizes, 1.0)), 0.0)).T @ found
    size, mixing = jnp.linalg.eigh(root @ root.T)
    usable = size > TINY * size[-1]
    directions = root.T @ (mixing / jnp.sqrt(jnp.where(usable, size, 1.0)))
    return Known(jnp.where(usable, directions, 0.0), jnp.where(usable, size, 0.0), about.few)


def bent(scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free) -> Bent:
    """The posterior about a point; numbers that are not free have no gradient, and a prior alone."""
    open_, places = ravel_pytree(free)[0], places_of_few(point)
    prior = jnp.where(open_ > 0, _with_prior(point), 1.0)
    row, unravel = ravel_pytree(free_of(point))

    def images(row: Array) -> list[Array]:
        here = placed(point, unravel(row))
        return [jnp.sqrt(one.ivar) * draw(scene, here, i, one) for i, one in enumerate(seen)]

    shown, forward = jax.linearize(images, row)
    transposed = jax.linear_transpose(forward, row)
    left = [jnp.sqrt(one.ivar) * one.flux - image for one, image in zip(seen, shown, strict=True)]
    value = -0.5 * (sum(jnp.sum(x**2) for x in left) + jnp.sum(_with_prior(point) * row**2))

    def backward(pixels: list[Array]) -> Array:
        return open_ * transposed(pixels)[0]

    def noise(key: PRNGKeyArray) -> Array:
        own, *keys = jax.random.split(key, 1 + len(seen))
        pixels = [jax.random.normal(k, image.shape) for k, image in zip(keys, shown, strict=True)]
        return backward(pixels) + open_ * jnp.sqrt(prior) * jax.random.normal(own, row.shape)

    return Bent(
        value, backward(left) - open_ * _with_prior(point) * row, lambda v: backward(forward(open_ * v)) + prior * v,
        _few(scene, point, seen, open_[places]), places, prior, noise, backward,
    )  # fmt: skip


def _few(scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Float[Array, "few"]) -> Float[Array, "few few"]:
    """Their part of J'WJ."""
    total = jnp.zeros((len(free), len(free)))
    for i, one in enumerate(seen):
        columns = free[:, None] * _columns(scene, point, i, one)
        total += (columns * one.ivar.ravel()) @ columns.T
    return total
