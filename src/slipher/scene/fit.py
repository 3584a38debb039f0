r"""The most probable scene: Gauss-Newton steps on all parameters of all sources at once, each found by conjugate gradients.

    ln p = -1/2 sum_p w_p (Y_p - m_p)^2 - 1/2 |u|^2

The normal matrix J'WJ + 1 is never made: it acts through derivatives of the images (as in metric Gaussian variational inference,
Knollmueller & Ensslin 2019, arXiv:1901.11033), so that a source may have thousands of pixels. Its part that belongs to positions, shapes
and fluxes is made, as each source's image depends on its own parameters alone, and its inverse leads the conjugate gradients: where there
are no pixels they need one step.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from . import exposure as exposures
from .exposure import Exposure
from .render import Group, Members, Point, Scene, Sight, draw, one_source
from .source import Start

STEPS = 40
GRADIENTS = 120  # conjugate gradients a step, at most
EXACT = 1e-2  # of a step's residual over its right-hand side
CONVERGED = 0.02  # of ln p that a step still promises
SHORTEST = 1e-3  # of a step that makes ln p worse
RIDGE = 1e-5  # of the preconditioner, over its diagonal
MANY = 16  # numbers of one parameter of one source from which they are pixels


class Held(NamedTuple):
    """Which parameters of an exposure are not free."""

    shift: bool = True
    background: bool = False


class Fitted(NamedTuple):
    """A scene at its most probable point, up to a constant of ln p; whether no step promises more; and how many were taken."""

    point: Point
    log_posterior: Float[Array, ""]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]


# --- what is free ----------------------------------------------------------------------------------------------------


def free_of(point: Point, held: tuple[Held, ...]) -> tuple:
    """The free numbers: of each group u, of each exposure shift and background."""
    sights = [
        Sight(jnp.zeros(0) if fixed.shift else s.shift, jnp.zeros(0) if fixed.background else s.background)
        for s, fixed in zip(point.sights, held, strict=True)
    ]
    return [m.u for m in point.members], sights


def placed(point: Point, free: tuple, held: tuple[Held, ...]) -> Point:
    """A point with its free numbers replaced."""
    members = [m._replace(u=u) for m, u in zip(point.members, free[0], strict=True)]
    sights = [
        Sight(s.shift if fixed.shift else new.shift, s.background if fixed.background else new.background)
        for s, new, fixed in zip(point.sights, free[1], held, strict=True)
    ]
    return Point(tuple(members), tuple(sights))


def _with_prior(point: Point, held: tuple[Held, ...]) -> Float[Array, "number"]:
    """1 where a free number is of u-space, 0 where it has no prior."""
    ones = [m._replace(u=jax.tree.map(jnp.ones_like, m.u)) for m in point.members]
    return ravel_pytree(free_of(Point(tuple(ones), jax.tree.map(jnp.zeros_like, point.sights)), held))[0]


# --- the posterior ---------------------------------------------------------------------------------------------------


def residuals(scene: Scene, point: Point, seen: tuple[Exposure, ...]) -> list[Float[Array, "band y x"]]:
    """What is left over in each exposure."""
    return [one.flux - draw(scene, point, i, one) for i, one in enumerate(seen)]


def log_posterior(scene: Scene, point: Point, seen: tuple[Exposure, ...]) -> Float[Array, ""]:
    """Up to a constant."""
    chi2 = sum(jnp.sum(one.ivar * left**2) for one, left in zip(seen, residuals(scene, point, seen), strict=True))
    return -0.5 * chi2 - 0.5 * sum(jnp.sum(leaf**2) for m in point.members for leaf in jax.tree.leaves(m.u))


# --- the few parameters ----------------------------------------------------------------------------------------------


def few(u: dict[str, Array | np.ndarray]) -> dict[str, Array | np.ndarray]:
    """Those of a group's parameters [source, ...] that are no pixels."""
    return {name: leaf for name, leaf in u.items() if leaf[0].size < MANY}


def _columns(scene: Scene, point: Point, which: int, seen: Exposure, held: tuple[Held, ...]) -> Float[Array, "few pixel"]:
    """Change of an exposure's pixels with each of the few, group by group and source by source, then by exposure."""
    columns = [_of_group(g, m, point.sights[which], seen) for g, m in zip(scene.groups, point.members, strict=True)]
    for i, (sight, fixed) in enumerate(zip(point.sights, held, strict=True)):
        size = (0 if fixed.shift else 2) + (0 if fixed.background else sight.background.size)
        if i != which:
            columns.append(jnp.zeros((size, seen.flux.size)))
            continue
        if not fixed.shift:
            moving = jax.jacfwd(lambda shift: draw(scene, _shifted(point, which, shift), which, seen))(point.sights[which].shift)
            columns.append(jnp.moveaxis(moving, -1, 0).reshape(2, -1))
        if not fixed.background:
            columns.append(jnp.repeat(jnp.eye(len(seen.bands)), seen.flux[0].size, axis=1))
    return jnp.concatenate(columns)


def _shifted(point: Point, which: int, shift: Float[Array, "2"]) -> Point:
    sights = [s._replace(shift=shift) if i == which else s for i, s in enumerate(point.sights)]
    return point._replace(sights=tuple(sights))


def _of_group(group: Group, members: Members, sight: Sight, seen: Exposure) -> Float[Array, "column pixel"]:
    q = exposures.frequencies(seen)

    def one(start: Start, u: dict[str, Array], some: dict[str, Array]) -> Array:
        row, unravel = ravel_pytree(some)

        def image(row: Array) -> Array:
            return exposures.image(seen, one_source(group.source, start, {**u, **unravel(row)}, seen, q, sight.shift) * seen.psf)

        return jnp.moveaxis(jax.jacfwd(image)(row), -1, 0).reshape(len(row), -1)

    found = jax.vmap(one)(*members, few(members.u))
    return found.reshape(-1, found.shape[-1])


def places_of_few(point: Point, held: tuple[Held, ...]) -> Int[np.ndarray, "few"]:
    """Where the few are among all free numbers, in the order of `_columns`."""
    free = free_of(point, held)
    ends = np.cumsum([0, *(leaf.size for leaf in jax.tree.leaves(free))])
    leaves, tree = jax.tree.flatten(free)
    numbered = [np.arange(low, low + leaf.size).reshape(leaf.shape) for low, leaf in zip(ends, leaves, strict=False)]
    groups, sights = jax.tree.unflatten(tree, numbered)
    rows = [np.concatenate([leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(few(u))], 1).ravel() for u in groups]
    return np.concatenate([*rows, *(np.concatenate([s.shift, s.background]) for s in sights)]).astype(int)


# --- the fit ---------------------------------------------------------------------------------------------------------


class Bent(NamedTuple):
    """ln p about a point: its gradient, how the normal matrix and the preconditioner act on free numbers in a row, and its noise.

    `noise` makes numbers of which the covariance is the normal matrix.
    """

    pull: Float[Array, "number"]
    bend: Callable[[Array], Array]
    precondition: Callable[[Array], Array]
    noise: Callable[[PRNGKeyArray], Array]


def bent(scene: Scene, point: Point, seen: tuple[Exposure, ...], held: tuple[Held, ...]) -> Bent:
    """The posterior about a point, as Gauss and Newton have it."""
    prior, places = _with_prior(point, held), places_of_few(point, held)
    row, unravel = ravel_pytree(free_of(point, held))

    def images(row: Array) -> list[Array]:
        here = placed(point, unravel(row), held)
        return [jnp.sqrt(one.ivar) * draw(scene, here, i, one) for i, one in enumerate(seen)]

    shown, forward = jax.linearize(images, row)
    backward = jax.linear_transpose(forward, row)
    left = [jnp.sqrt(one.ivar) * one.flux - image for one, image in zip(seen, shown, strict=True)]
    inverse = _inverse_of_few(scene, point, seen, held, prior[places])

    def noise(key: PRNGKeyArray) -> Array:
        own, *keys = jax.random.split(key, 1 + len(seen))
        pixels = [jax.random.normal(k, image.shape) for k, image in zip(keys, shown, strict=True)]
        return backward(pixels)[0] + jnp.sqrt(prior) * jax.random.normal(own, row.shape)

    return Bent(
        backward(left)[0] - prior * row,
        lambda v: backward(forward(v))[0] + prior * v,
        lambda v: v.at[places].set(inverse @ v[places]),
        noise,
    )


@partial(jax.jit, static_argnames=("held", "steps"))
def fit(scene: Scene, point: Point, seen: tuple[Exposure, ...], held: tuple[Held, ...], steps: int = STEPS) -> Fitted:
    """The most probable point from a starting point."""
    unravel = ravel_pytree(free_of(point, held))[1]

    def at(row: Array) -> Point:
        return placed(point, unravel(row), held)

    def one(state: tuple) -> tuple:
        row, value, _, n = state
        about = bent(scene, at(row), seen, held)
        step, _ = jax.scipy.sparse.linalg.cg(about.bend, about.pull, tol=EXACT, maxiter=GRADIENTS, M=about.precondition)
        promised = step @ about.pull - 0.5 * step @ about.bend(step)
        length, better = _along(lambda length: log_posterior(scene, at(row + length * step), seen), value)
        return row + length * step, better, jnp.where(length > 0, promised, 0.0), n + 1

    def going(state: tuple) -> Array:
        *_, promised, n = state
        return (promised > CONVERGED) & (n < steps)

    start = ravel_pytree(free_of(point, held))[0], log_posterior(scene, point, seen), jnp.asarray(jnp.inf), jnp.asarray(0)
    row, value, promised, n = jax.lax.while_loop(going, one, start)
    return Fitted(at(row), value, promised <= CONVERGED, n)


@partial(jax.jit, static_argnames="held")
def covariance(scene: Scene, point: Point, seen: tuple[Exposure, ...], held: tuple[Held, ...]) -> Float[Array, "few few"]:
    """Laplace's, of all parameters that are no pixels (`places_of_few`), whatever the pixels are."""
    about, places = bent(scene, point, seen, held), places_of_few(point, held)
    n = about.pull.size

    def column(place: Array) -> Array:
        unit = jnp.zeros(n).at[place].set(1.0)
        return jax.scipy.sparse.linalg.cg(about.bend, unit, tol=1e-4, maxiter=4 * GRADIENTS, M=about.precondition)[0][places]

    found = jax.lax.map(column, jnp.asarray(places))
    return 0.5 * (found + found.T)


@partial(jax.jit, static_argnames=("held", "n"))
def sample(key: PRNGKeyArray, scene: Scene, point: Point, seen: tuple[Exposure, ...], held: tuple[Held, ...], n: int) -> Point:
    """Draws [draw, ...] about the most probable point, of Laplace's Gaussian in all numbers, pixels too.

    A solution of H x = noise of covariance H has the covariance H^-1 (Papandreou & Yuille 2010): no matrix is made.
    """
    row, unravel = ravel_pytree(free_of(point, held))
    about = bent(scene, point, seen, held)

    def one(key: PRNGKeyArray) -> Point:
        off, _ = jax.scipy.sparse.linalg.cg(about.bend, about.noise(key), tol=EXACT, maxiter=4 * GRADIENTS, M=about.precondition)
        return placed(point, unravel(row + off), held)

    return jax.lax.map(one, jax.random.split(key, n))


def _inverse_of_few(
    scene: Scene, point: Point, seen: tuple[Exposure, ...], held: tuple[Held, ...], prior: Float[Array, "few"]
) -> Float[Array, "few few"]:
    """Of their part of the normal matrix."""
    bend = jnp.diag(prior)
    for i, one in enumerate(seen):
        columns = _columns(scene, point, i, one, held)
        bend += (columns * one.ivar.ravel()) @ columns.T
    scale = 1.0 / jnp.sqrt(jnp.maximum(jnp.diagonal(bend), 1e-20))
    return scale[:, None] * scale * jnp.linalg.inv(bend * scale[:, None] * scale + RIDGE * jnp.eye(len(prior)))


def _along(value_at, value: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """How much of a step to take, halved until it is better, and ln p there; nothing if that never is."""

    def worse(state: tuple) -> Array:
        length, found = state
        return ~(found > value) & (length > SHORTEST)

    def half(state: tuple) -> tuple:
        return 0.5 * state[0], value_at(0.5 * state[0])

    one = jnp.asarray(1.0)
    length, found = jax.lax.while_loop(worse, half, (one, value_at(one)))
    return jnp.where(found > value, length, 0.0), jnp.maximum(found, value)
