r"""A density of images whose base is white noise: coarse first, then ever finer details given what is coarser.

    ln p(x) = ln p(x_0) + sum_l ln p(d_l | x_l),      (x_l, d_l) = Haar transform of x_{l+1}

as in Wavelet Flow (Yu, Derpanis & Brubaker 2020, arXiv:2010.13821). The Haar transform is orthonormal: it changes no volume, and white
noise remains white noise, so that the flow takes noise on the image's own grid. The details of a level are taken in six parts, each of the
three bands on either colour of a chessboard; each number is a warp of its noise (`warps`), and a small network reads the warps of a part
off the coarser image and the parts before.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from . import perceptron
from .perceptron import Perceptron
from .warps import Warp, bounded, unwarp, warp

COARSEST = 4  # pixels on a side of x_0
WIDTHS, LAYERS = (64, 64, 32), 6  # channels of each level's networks, the coarsest first; couplings of x_0
HIDDEN = 128  # units of those couplings
PARTS = 6


class Spread(NamedTuple):
    """Of one level: mean and standard deviation of the coarser image, and that of each band of details."""

    mean: Float[Array, ""]
    scale: Float[Array, ""]
    details: Float[Array, "3 1 1"]


class Units(NamedTuple):
    """What is the data's and not learnt: mean and lower Cholesky factor of the covariance of x_0, and the levels' spreads."""

    mean: Float[Array, "number"]
    root: Float[Array, "number number"]
    levels: tuple[Spread, ...]


def haar(x: Float[Array, "y x"]) -> tuple[Float[Array, "half_y half_x"], Float[Array, "3 half_y half_x"]]:
    """An image at half its resolution (twice the mean of four pixels), and what is lost by that."""
    a, b, c, d = x[0::2, 0::2], x[0::2, 1::2], x[1::2, 0::2], x[1::2, 1::2]
    return 0.5 * (a + b + c + d), 0.5 * jnp.stack([a - b + c - d, a + b - c - d, a - b - c + d])


def inverse_haar(coarse: Float[Array, "y x"], details: Float[Array, "3 y x"]) -> Float[Array, "twice_y twice_x"]:
    """The image of both."""
    x, y, both = details
    top = jnp.stack([coarse + x + y + both, coarse - x + y - both], -1)
    bottom = jnp.stack([coarse + x - y - both, coarse - x - y + both], -1)
    return 0.5 * jnp.stack([top, bottom], 1).reshape(2 * coarse.shape[0], -1)


# --- the coarsest level ----------------------------------------------------------------------------------------------


class Coarsest(eqx.Module):
    """Density of x_0: couplings of halves of a whitened image, then its mean and covariance."""

    networks: Perceptron  # of each coupling [layer, ...]

    def forward(self, z: Float[Array, "y x"], units: Units) -> Float[Array, "y x"]:
        def one(white: Array, layer: tuple) -> tuple[Array, None]:
            return jnp.where(layer[1], white, warp(white, self._by(*layer, white))), None

        white, _ = self._through(one, z.ravel(), reverse=False)
        return (units.mean + units.root @ white).reshape(z.shape)

    def inverse(self, x: Float[Array, "y x"], units: Units) -> tuple[Float[Array, "y x"], Float[Array, ""]]:
        def one(white: Array, layer: tuple) -> tuple[Array, Array]:
            z, bend = unwarp(white, self._by(*layer, white))
            return jnp.where(layer[1], white, z), jnp.sum(jnp.where(layer[1], 0.0, bend))

        white = jax.scipy.linalg.solve_triangular(units.root, x.ravel() - units.mean, lower=True)
        z, bends = self._through(one, white, reverse=True)
        return z.reshape(x.shape), jnp.sum(bends) - jnp.sum(jnp.log(jnp.diagonal(units.root)))

    def _through(self, one, white: Array, *, reverse: bool) -> tuple[Array, Array | None]:
        arrays, rest = eqx.partition(self.networks, eqx.is_array)
        layers = len(jax.tree.leaves(arrays)[0])
        held = jnp.asarray(halves(layers, COARSEST).reshape(layers, -1))
        return jax.lax.scan(lambda w, layer: one(w, (eqx.combine(layer[0], rest), layer[1])), white, (arrays, held), reverse=reverse)

    def _by(self, network: Perceptron, held: Array, white: Array) -> Warp:
        return bounded(network(jnp.where(held, white, 0.0)).reshape(4, -1))


def halves(layers: int, n: int) -> Bool[np.ndarray, "layer y x"]:
    """Which half is held fixed by each coupling: a chessboard's colours, then columns, then rows."""
    y, x = np.mgrid[:n, :n]
    return np.stack([((y + x), x, y)[(i // 2) % 3] % 2 == i % 2 for i in range(layers)])


# --- finer levels ----------------------------------------------------------------------------------------------------


class Parts(eqx.Module):
    """Reads warps of details off context and the parts before; which those are, says which part is next.

    What is seen is also averaged over the stamp: whether a galaxy is smooth or rough is the same everywhere in it.
    """

    of_context: eqx.nn.Conv2d
    of_details: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    average: eqx.nn.Linear
    last: eqx.nn.Conv2d

    def __init__(self, key: PRNGKeyArray, width: int):
        k = jax.random.split(key, 5)
        self.of_context = eqx.nn.Conv2d(width, width, 3, padding="SAME", key=k[0])
        self.of_details = eqx.nn.Conv2d(6, width, 5, padding="SAME", use_bias=False, key=k[1])
        self.second = eqx.nn.Conv2d(width, width, 1, key=k[2])
        self.average = eqx.nn.Linear(width, width, use_bias=False, key=k[3])
        self.last = _quiet(eqx.nn.Conv2d(width, 12, 1, key=k[4]))

    def __call__(self, context: Float[Array, "channel y x"], details: Float[Array, "3 y x"], known: Bool[Array, "3 y x"]) -> Warp:
        """Numbers that are not bounded yet; `context` has been through `of_context`."""
        seen = jnp.concatenate([jnp.where(known, details, 0.0), known.astype(details.dtype)])
        h = jax.nn.silu(context + self.of_details(seen))
        h = self.second(h) + self.average(jnp.mean(h, (1, 2)))[:, None, None]
        return self.last(jax.nn.silu(h)).reshape(4, *details.shape)


class Level(eqx.Module):
    """Density of details given the coarser image."""

    context: list[eqx.nn.Conv2d]
    parts: Parts

    def forward(self, z: Float[Array, "3 y x"], coarse: Float[Array, "y x"], unit: Spread) -> Float[Array, "3 y x"]:
        def one(done: Array, part: tuple) -> tuple[Array, None]:
            now, known = part
            return jnp.where(now, warp(z, bounded(self.parts(context, done, known))), done), None

        context, parts = self._context(coarse, unit), tuple(jnp.asarray(a) for a in parts_of(len(coarse)))
        return unit.details * jax.lax.scan(one, jnp.zeros_like(z), parts)[0]

    def inverse(
        self, details: Float[Array, "3 y x"], coarse: Float[Array, "y x"], unit: Spread
    ) -> tuple[Float[Array, "3 y x"], Float[Array, ""]]:
        own, context = details / unit.details, self._context(coarse, unit)
        now, known = parts_of(len(coarse))
        by = jax.vmap(lambda known: self.parts(context, own, known))(jnp.asarray(known))
        z, bends = unwarp(own, bounded(jnp.sum(jnp.where(now[:, None], by, 0.0), 0)))
        return z, jnp.sum(bends) - coarse.size * jnp.sum(jnp.log(unit.details))

    def _context(self, coarse: Float[Array, "y x"], unit: Spread) -> Float[Array, "channel y x"]:
        h = jnp.concatenate([((coarse - unit.mean) / unit.scale)[None], jnp.asarray(places(coarse.shape[0]))])
        h = self.context[0](h)
        for layer in self.context[1:]:
            h = h + layer(jax.nn.silu(h))
        return self.parts.of_context(h)


def parts_of(n: int) -> tuple[Bool[np.ndarray, "part 3 y x"], Bool[np.ndarray, "part 3 y x"]]:
    """Which details each part is, and which are of the parts before."""
    y, x = np.mgrid[:n, :n]
    now = np.zeros((PARTS, 3, n, n), bool)
    for i in range(PARTS):
        now[i, i % 3] = (y + x) % 2 == i // 3
    return now, np.cumsum(now, 0) - now > 0


def places(n: int) -> Float[np.ndarray, "4 y x"]:
    """Where pixels lie in a stamp: x and y from -1 to 1, and two bumps about the middle."""
    at = (np.arange(n) - 0.5 * (n - 1)) / (0.5 * n)
    y, x = np.meshgrid(at, at, indexing="ij")
    return np.stack([x, y, np.exp(-0.5 * (x**2 + y**2) / 0.15**2), np.exp(-0.5 * (x**2 + y**2) / 0.5**2)]).astype(np.float32)


# --- all of it -------------------------------------------------------------------------------------------------------


class WaveletFlow(eqx.Module):
    """Images of `size` pixels on a side, a power of two."""

    coarsest: Coarsest
    levels: list[Level]  # the coarsest first
    units: Units

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return COARSEST * 2 ** len(self.levels)

    def __call__(self, noise: Float[Array, "y x"]) -> Float[Array, "y x"]:
        """An image of white noise."""
        coarse, details = decomposed(noise, len(self.levels))
        x = self.coarsest.forward(coarse, self.units)
        for level, z, unit in zip(self.levels, details, self.units.levels, strict=True):
            x = inverse_haar(x, level.forward(z, x, unit))
        return x

    def inverse(self, image: Float[Array, "y x"]) -> tuple[Float[Array, "y x"], Float[Array, ""]]:
        """The noise of which an image is made, and ln of the determinant of d noise / d image."""
        x, details = decomposed(image, len(self.levels))
        noise, bend = self.coarsest.inverse(x, self.units)
        for level, d, unit in zip(self.levels, details, self.units.levels, strict=True):
            z, more = level.inverse(d, x, unit)
            x, noise, bend = inverse_haar(x, d), inverse_haar(noise, z), bend + more
        return noise, bend

    def log_prob(self, image: Float[Array, "y x"]) -> Float[Array, ""]:
        """ln p of an image."""
        noise, bend = self.inverse(image)
        return bend - 0.5 * jnp.sum(noise**2) - 0.5 * noise.size * np.log(2.0 * np.pi)


def decomposed(x: Float[Array, "y x"], levels: int) -> tuple[Float[Array, "coarse_y coarse_x"], list[Array]]:
    """An image at its coarsest, and details, the coarsest first."""
    details: list[Array] = []
    for _ in range(levels):
        x, lost = haar(x)
        details.insert(0, lost)
    return x, details


def build(key: PRNGKeyArray, widths: tuple[int, ...] = WIDTHS, layers: int = LAYERS) -> WaveletFlow:
    """A flow that has learnt nothing, nearly the identity; it has as many levels as there are widths."""
    k = jax.random.split(key, len(widths) + 1)
    one, n = Spread(jnp.zeros(()), jnp.ones(()), jnp.ones((3, 1, 1))), COARSEST**2
    units = Units(jnp.zeros(n), jnp.eye(n), (one,) * len(widths))
    levels = [_level(key, width) for key, width in zip(k[1:], widths, strict=True)]
    return WaveletFlow(_coarsest(k[0], layers), levels, units)


def standardise(flow: WaveletFlow, images: Float[Array, "image y x"]) -> WaveletFlow:
    """With mean, covariance and spreads those of images: with its networks at zero it is then a Gaussian."""
    coarse, details = jax.vmap(lambda x: decomposed(x, len(flow.levels)))(images)
    rows, spreads = np.asarray(coarse, np.float64).reshape(len(images), -1), []
    root = np.linalg.cholesky(np.cov(rows.T) + 1e-4 * np.eye(rows.shape[1]))
    for d in details:
        spreads.append(Spread(jnp.mean(coarse), jnp.std(coarse), jnp.std(d, (0, 2, 3))[:, None, None]))
        coarse = jax.vmap(inverse_haar)(coarse, d)
    units = Units(jnp.asarray(rows.mean(0), jnp.float32), jnp.asarray(root, jnp.float32), tuple(spreads))
    return WaveletFlow(flow.coarsest, flow.levels, units)


def _coarsest(key: PRNGKeyArray, layers: int) -> Coarsest:
    n = COARSEST**2

    def one(key: PRNGKeyArray) -> Perceptron:
        made = perceptron.build(key, n, 4 * n, HIDDEN, 2)
        return eqx.tree_at(lambda m: m.layers[-1], made, replace_fn=_quiet)

    return Coarsest(eqx.filter_vmap(one)(jax.random.split(key, layers)))


def _level(key: PRNGKeyArray, width: int) -> Level:
    k = jax.random.split(key, 4)
    context = [eqx.nn.Conv2d(5 if i == 0 else width, width, 3, padding="SAME", key=one) for i, one in enumerate(k[:3])]
    return Level(context, Parts(k[3], width))


def _quiet(layer: eqx.Module) -> eqx.Module:
    """A last layer that says next to nothing."""
    return eqx.tree_at(lambda one: (one.weight, one.bias), layer, replace_fn=lambda leaf: 0.01 * leaf)
