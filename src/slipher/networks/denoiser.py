r"""A denoiser of images of galaxies: what it takes off a noisy image is the gradient of how probable the image is.

    y = x + sigma n:   D(y; sigma) = E[x | y],   score = grad ln p_sigma(y) = (D(y; sigma) - y) / sigma^2   (Tweedie)

    D(y; sigma) = c_skip y + c_out F(c_in y; ln sigma / 4)

is the preconditioning of Karras et al. (2022, arXiv:2206.00364): over a wide range of noise the network F sees images of variance one and
is asked for images of variance one. F is a small U-Net, convolutional throughout, so that stamps may be of any size. It takes and gives
four neighbouring pixels as channels of one, which costs a quarter (as in FFDNet, Zhang, Zuo & Zhang 2018, arXiv:1710.04026). Where the
stamp's middle is, it is told by two smooth bumps about it: galaxies lie there.
"""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from . import perceptron
from .perceptron import Perceptron

WIDTHS = (48, 64, 64)  # channels at a half, a quarter and an eighth of the resolution
BUMPS = (4.0, 12.0)  # pixels, standard deviations
LOG_SIGMA = (-1.6, 1.3)  # of the noise that is learnt from, over the data's: mean and standard deviation of its logarithm
EMBEDDED = 48
LEAST = 16  # pixels, to which smaller stamps are filled up

Conv = partial(eqx.nn.Conv2d, padding_mode="REFLECT")


class Block(eqx.Module):
    """Two convolutions beside an identity, scaled and shifted by the level of noise."""

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    level: eqx.nn.Linear

    def __init__(self, key: PRNGKeyArray, channels: int):
        k = jax.random.split(key, 3)
        self.first = Conv(channels, channels, 3, padding="SAME", key=k[0])
        self.second = _silent(Conv(channels, channels, 3, padding="SAME", key=k[1]), 0.1)
        self.level = eqx.nn.Linear(EMBEDDED, 2 * channels, key=k[2])

    def __call__(self, h: Float[Array, "channel y x"], level: Float[Array, "embedded"]) -> Float[Array, "channel y x"]:
        scale, shift = jnp.split(self.level(level)[:, None, None], 2)
        return h + self.second(jax.nn.silu((1.0 + scale) * self.first(jax.nn.silu(h)) + shift))


class Units(NamedTuple):
    """Mean and standard deviation of the data's pixels, which are not learnt."""

    mean: Float[Array, ""]
    scale: Float[Array, ""]


class Denoiser(eqx.Module):
    """D(y; sigma)."""

    units: Units
    embedding: Perceptron
    entry: eqx.nn.Conv2d
    down: list[eqx.nn.Conv2d]
    up: list[eqx.nn.Conv2d]
    before: list[Block]
    deepest: list[Block]
    after: list[Block]
    exit: eqx.nn.Conv2d

    def __call__(self, image: Float[Array, "y x"], sigma: Float[Array, ""]) -> Float[Array, "y x"]:
        """The mean of images without noise, of which this is one with noise of standard deviation `sigma` in every pixel."""
        mean, scale = self.units
        y, s = (image - mean) / scale, sigma / scale
        skip, out = 1.0 / (1.0 + s**2), s / jnp.sqrt(1.0 + s**2)
        return mean + scale * (skip * y + out * self.residual(y, s))

    def score(self, image: Float[Array, "y x"], sigma: Float[Array, ""]) -> Float[Array, "y x"]:
        """Gradient of ln p of images with that noise."""
        return (self(image, sigma) - image) / sigma**2

    def loss(self, key: PRNGKeyArray, image: Float[Array, "y x"]) -> Float[Array, ""]:
        """Squared error of F, in which all levels of noise count alike; the level and the noise are drawn."""
        k = jax.random.split(key)
        s = jnp.exp(LOG_SIGMA[0] + LOG_SIGMA[1] * jax.random.normal(k[0]))
        clean, noise = (image - self.units.mean) / self.units.scale, jax.random.normal(k[1], image.shape)
        # (x - c_skip y) / c_out, freed of the differences of large numbers.
        target = (s * clean - noise) / jnp.sqrt(1.0 + s**2)
        return jnp.mean((self.residual(clean + s * noise, s) - target) ** 2)

    def residual(self, y: Float[Array, "y x"], s: Float[Array, ""]) -> Float[Array, "y x"]:
        """F, of a standardised image and its noise in that unit."""
        rows, columns = y.shape
        multiple = 2 ** (1 + len(self.down))
        fill = [(0, max(-n % multiple, LEAST - n)) for n in y.shape]
        channels = jnp.stack([y / jnp.sqrt(1.0 + s**2), *bumps(rows, columns)])
        h = self.entry(_gathered(jnp.pad(channels, [(0, 0), *fill], mode="edge")))
        level = jax.nn.silu(self.embedding(_waves(jnp.log(s) / 4.0)))
        passed = []
        for block, down in zip(self.before, self.down, strict=True):
            h = block(h, level)
            passed.append(h)
            h = down(_halved(h))
        for block in self.deepest:
            h = block(h, level)
        for block, up, across in zip(self.after, self.up, passed[::-1], strict=True):
            h = block(_doubled(up(h)) + across, level)
        return _scattered(self.exit(jax.nn.silu(h)))[:rows, :columns]


def build(key: PRNGKeyArray, widths: tuple[int, ...] = WIDTHS, deepest: int = 2) -> Denoiser:
    """A denoiser that has learnt nothing: of zero mean and unit scale, F nearly zero."""
    keys = iter(jax.random.split(key, 4 * len(widths) + deepest + 2))
    pairs = list(pairwise(widths))
    return Denoiser(
        units=Units(jnp.zeros(()), jnp.ones(())),
        embedding=perceptron.build(next(keys), 8, EMBEDDED, EMBEDDED, 1),
        entry=Conv(4 * (1 + len(BUMPS)), widths[0], 3, padding="SAME", key=next(keys)),
        down=[eqx.nn.Conv2d(a, b, 1, key=next(keys)) for a, b in pairs],
        up=[eqx.nn.Conv2d(b, a, 1, key=next(keys)) for a, b in pairs[::-1]],
        before=[Block(next(keys), a) for a, _ in pairs],
        deepest=[Block(next(keys), widths[-1]) for _ in range(deepest)],
        after=[Block(next(keys), a) for a, _ in pairs[::-1]],
        exit=_silent(Conv(widths[0], 4, 3, padding="SAME", key=next(keys)), 0.1),
    )


def bumps(rows: int, columns: int) -> Float[np.ndarray, "bump y x"]:
    """Gaussians about the middle of a stamp."""
    y, x = (np.arange(n) - 0.5 * (n - 1) for n in (rows, columns))
    return np.stack([np.exp(-0.5 * (y[:, None] ** 2 + x**2) / sd**2) for sd in BUMPS]).astype(np.float32)


def _silent(layer: eqx.nn.Conv2d, factor: float) -> eqx.nn.Conv2d:
    """A layer that says less."""
    return eqx.tree_at(lambda one: (one.weight, one.bias), layer, replace_fn=lambda leaf: factor * leaf)


def _waves(x: Float[Array, ""]) -> Float[Array, "8"]:
    turns = np.pi * 2.0 ** np.arange(-2, 2)
    return jnp.concatenate([jnp.sin(turns * x), jnp.cos(turns * x)])


def _halved(h: Float[Array, "channel y x"]) -> Float[Array, "channel half_y half_x"]:
    c, y, x = h.shape
    return jnp.mean(h.reshape(c, y // 2, 2, x // 2, 2), (2, 4))


def _doubled(h: Float[Array, "channel y x"]) -> Float[Array, "channel twice_y twice_x"]:
    return jnp.repeat(jnp.repeat(h, 2, 1), 2, 2)


def _gathered(h: Float[Array, "channel y x"]) -> Float[Array, "channels half_y half_x"]:
    """Four neighbouring pixels as channels."""
    c, y, x = h.shape
    return h.reshape(c, y // 2, 2, x // 2, 2).transpose(0, 2, 4, 1, 3).reshape(4 * c, y // 2, x // 2)


def _scattered(h: Float[Array, "4 y x"]) -> Float[Array, "twice_y twice_x"]:
    """Four channels as neighbouring pixels."""
    _, y, x = h.shape
    return h.reshape(2, 2, y, x).transpose(2, 0, 3, 1).reshape(2 * y, 2 * x)
