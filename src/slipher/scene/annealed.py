r"""Scenes under a learned prior: a denoiser's image of a galaxy and what the images say, in turn, while the noise between them goes down.

    z = D(x; sigma)  or  z ~ p(z | x),  x = z + sigma n
    x, and all else that is free:  ln p(images | x, ...) - |x - z|^2 / (2 sigma^2)

x are the logarithms of a galaxy's pixels (`slipher.scene.learned.Denoised`). With the mean, what does not move any more has

    grad ln p(images | x) + (D(x; sigma) - x) / sigma^2 = 0:

by Tweedie's formula it is the most probable galaxy under the prior smoothed by sigma (Reehorst & Schniter 2019, arXiv:1806.02296). With a
draw of the clean galaxies of which x could be a noisy image, by the network's diffusion backwards from sigma, and one of the Gaussian that
follows, it is Gibbs' sampler of both (Coeurdoux et al. 2024, arXiv:2304.11134; Wu et al. 2024, arXiv:2405.18782), right to what the last
sigma smooths and to Laplace's Gaussian of the second step. Coming from far above, both find their way among the prior's many modes.

The second step is that of any other scene (`fit`, `laplace`): positions, fluxes, shifts and neighbours are free in it as they always are.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from . import fit, laplace
from .exposure import Exposure
from .learned import Denoised
from .normal import Free
from .render import Members, Point, Scene
from .source import Source

Denoiser = Callable[[Float[Array, "v u"], Float[Array, ""]], Float[Array, "v u"]]

# The mode of the sharper prior is farther from the mean: of a hundred pixels that are hardly known it takes the most extreme.
TO_MODE, TO_DRAWS = tuple(np.geomspace(2.0, 0.7, 8)), tuple(np.geomspace(2.0, 0.2, 12))
STEPS, DAMPING = 4, 0.01  # Gauss-Newton's, at most, while a sigma lasts; of the first, for where they begin is near
LEAST, FACTOR = 0.03, 0.83  # noise at which the diffusion ends, and by which it goes down a step, about
SETTLED, TURNS = 0.003, 40  # rms of how x still moves at the last sigma; turns there, at most
MEMORY, RIDGE = 6, 1e-6  # of turns from which the next is foreseen; of their squares, for they are much alike


def most_probable(
    scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free, denoiser: Denoiser, sigmas: tuple[float, ...] = TO_MODE
) -> tuple[Point, bool]:
    """The most probable scene under the prior smoothed by the last sigma, and whether it has settled.

    Parameters
    ----------
    point
        Of a scene with `Denoised` lights; where they begin is their given mean.
    denoiser
        D(x; sigma), called with an image [v, u] and the noise's standard deviation (`slipher.networks.denoiser`).
    """
    for sigma in sigmas:
        point = _turn(scene, point, seen, free, denoiser, sigma)
    came: list[np.ndarray] = []
    went: list[np.ndarray] = []
    for _ in range(TURNS):
        came.append(_row(images(scene, point)))
        point = _turn(scene, point, seen, free, denoiser, sigmas[-1])
        went.append(_row(images(scene, point)))
        if np.sqrt(np.mean((went[-1] - came[-1]) ** 2)) < SETTLED:
            return point, True
        point = _imagining(scene, point, _ahead(came[-MEMORY:], went[-MEMORY:]))
    return point, False


def sample(
    key: PRNGKeyArray, scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free, denoiser: Denoiser, n: int,
    sigmas: tuple[float, ...] = TO_DRAWS,
) -> Point:  # fmt: skip
    """Scenes [draw, ...] of the posterior under the learned prior, each by an annealing of its own.

    Images of all are told about the point's own means and in its widths, so that their u can be compared with its.
    """
    draws = [point] * n
    for sigma, turn in zip(sigmas, jax.random.split(key, len(sigmas)), strict=True):
        first, second = jax.random.split(turn)
        # All draws' images at once: convolutions of many images cost hardly more than those of one.
        x = [jnp.stack(each) for each in zip(*(images(scene, one) for one in draws), strict=True)]
        clean = [backwards(jax.random.fold_in(first, i), denoiser, one, sigma) for i, one in enumerate(x)]
        for i, own in enumerate(jax.random.split(second, n)):
            believing = _believing(scene, draws[i], [one[i] for one in clean], sigma)
            here = fit.fit(scene, believing, seen, free, DAMPING, STEPS).point
            draws[i] = jax.tree.map(lambda leaf: leaf[0], laplace.sample(own, scene, here, seen, free, 1))
    told = [_imagining(scene, _as_of(one, point), _row(images(scene, one))) for one in draws]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *told)


def backwards(key: PRNGKeyArray, denoiser: Denoiser, x: Float[Array, "*image v u"], sigma: float) -> Float[Array, "*image v u"]:
    """Draws of the clean images of which x are some with noise of that standard deviation: diffusion from there to none.

    By steps of the second order (Lu et al. 2022, arXiv:2211.01095): those of the first draw too little.
    """
    n = max(int(np.ceil(np.log(LEAST / sigma) / np.log(FACTOR))), 1)
    levels = np.geomspace(sigma, min(LEAST, 0.9 * sigma), n + 1)
    before = None
    for own, here, next_ in zip(jax.random.split(key, n), levels[:-1], levels[1:], strict=True):
        # Of y = clean + here n, given what is clean: at the next level Gaussian, with this mean and variance.
        share, clean = (next_ / here) ** 2, _denoised(denoiser, x, here)
        ahead = clean if before is None else clean + 0.5 * (clean - before)
        x, before = share * x + (1.0 - share) * ahead + next_ * np.sqrt(1.0 - share) * jax.random.normal(own, x.shape), clean
    return _denoised(denoiser, x, levels[-1])


def images(scene: Scene, point: Point) -> list[Float[Array, "source v u"]]:
    """x of each learned light of the scene's groups."""
    found = []
    for group, (start, u) in zip(scene.groups, point.members, strict=True):
        for name in _learned(group.source):
            found.append(start.given[f"{name}.mean"] + start.given[f"{name}.width"][:, None, None] * u[f"{name}.log_light"])
    return found


def _turn(scene: Scene, point: Point, seen: tuple[Exposure, ...], free: Free, denoiser: Denoiser, sigma: float) -> Point:
    """The denoiser's image of each, and the scene that is most probable with it."""
    clean = [_denoised(denoiser, x, sigma) for x in images(scene, point)]
    return fit.fit(scene, _believing(scene, point, clean, sigma), seen, free, DAMPING, STEPS).point


def _ahead(came: list[np.ndarray], went: list[np.ndarray]) -> np.ndarray:
    """Where turns lead, of which each changes too little: Anderson's (1965) mixture of them, of the least change."""
    if len(came) == 1:
        return went[-1]
    changes = np.array(went) - np.array(came)
    differences, ends = np.diff(changes, axis=0), np.diff(np.array(went), axis=0)
    products = differences @ differences.T
    shares = np.linalg.solve(products + RIDGE * np.trace(products) * np.eye(len(products)), differences @ changes[-1])
    return went[-1] - shares @ ends


def _as_of(one: Point, other: Point) -> Point:
    """A point with the given values of another."""
    both = zip(one.members, other.members, strict=True)
    return one._replace(members=tuple(a._replace(start=a.start._replace(given=b.start.given)) for a, b in both))


def _row(images: list[Float[Array, "source v u"]]) -> Float[np.ndarray, "pixel"]:
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in images])


def _imagining(scene: Scene, point: Point, row: Float[np.ndarray, "pixel"]) -> Point:
    """A point with these images, in a row."""
    members, at = [], 0
    for group, some in zip(scene.groups, point.members, strict=True):
        for name in _learned(group.source):
            noise, given = f"{name}.log_light", some.start.given
            shape, size = some.u[noise].shape, some.u[noise].size
            x = jnp.asarray(row[at : at + size].reshape(shape), jnp.float32)
            at += size
            some = some._replace(u=some.u | {noise: (x - given[f"{name}.mean"]) / given[f"{name}.width"][:, None, None]})
        members.append(some)
    return point._replace(members=tuple(members))


def _denoised(denoiser: Denoiser, x: Float[Array, "*image v u"], sigma: float) -> Float[Array, "*image v u"]:
    return _vectorised(denoiser, x.reshape(-1, *x.shape[-2:]), jnp.asarray(sigma, jnp.float32)).reshape(x.shape)


@eqx.filter_jit
def _vectorised(denoiser: Denoiser, x: Float[Array, "image v u"], sigma: Float[Array, ""]) -> Float[Array, "image v u"]:
    # Not in a loop of XLA's, in which convolutions take 25 times as long on CPUs.
    return jax.vmap(lambda one: denoiser(one, sigma))(x)


def _believing(scene: Scene, point: Point, clean: list[Float[Array, "source v u"]], sigma: float) -> Point:
    """The same images, with priors about the clean ones."""
    members, each = [], iter(zip(images(scene, point), clean, strict=True))
    for group, some in zip(scene.groups, point.members, strict=True):
        for name in _learned(group.source):
            x, mean = next(each)
            width = jnp.full(len(x), sigma, jnp.float32)
            given = some.start.given | {f"{name}.mean": mean, f"{name}.width": width}
            some = Members(some.start._replace(given=given), some.u | {f"{name}.log_light": (x - mean) / sigma})
        members.append(some)
    return point._replace(members=tuple(members))


def _learned(source: Source) -> list[str]:
    """Names of the lights that have a learned prior."""
    return [name for name, part in source.parts() if isinstance(part.morphology, Denoised)]
