r"""What of a deblended galaxy the images say, and what its prior makes up: the hallucination score of each pixel of its light.

    F_ii = -d^2 ln(.) / dx_i^2,      dF = F(prior) - F(likelihood),

positive where the prior dominates (Sampson & Melchior 2023, arXiv:2306.13272). x_i is the logarithm of the light of
a pixel, for light is positive. The likelihood's term is exact, whatever the pixels and PSFs of the exposures are,

    F_L,ii = l_i^2 sum_b f_b^2 sum_p w_bp K_b(p - r_i)^2,

with l_i the share of the light, f_b the flux, w the weights and K the PSF: a correlation of weights with squared PSFs, which are limited to
twice the frequencies of the PSF and are therefore known everywhere. The prior's term is exact for the random field of `Textured`, and for a
score network an estimate: z (H z) of random signs z (Hutchinson 1990) on combs of pixels, each so far from the next of its comb that they
hardly know of each other (Tang & Saad 2012), all combs together.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from .annealed import Denoiser
from .exposure import Exposure, shifts
from .learned import Denoised
from .morphology import Textured, fading
from .render import Group, Members, Sight, values_of
from .source import Start, of_part

SEED = 0  # of random signs
APART = 6  # pixels of one comb
FINER = 2  # how much finer pixels are on which squared PSFs have all their frequencies


def of_likelihood(
    light: Float[Array, "v u"], step: float, flux: Float[Array, "band"], position: Float[Array, "2"], seen: tuple[Exposure, ...],
    u: tuple[Float[Array, "*band 2"], ...],
) -> Float[Array, "v u"]:  # fmt: skip
    """F of the likelihood at each pixel of a light of unit sum, `step` reference pixels apart, its middle at `position`.

    `flux` is in the scene's bands, `u` are the exposures' shifts.
    """
    n = light.shape[0]
    at = step * (jnp.arange(n) - 0.5 * (n - 1))
    total = jnp.zeros_like(light)
    for one, off in zip(seen, u, strict=True):
        correlations = _correlations(one)
        for i, (band, shift) in enumerate(zip(one.bands, shifts(one, off), strict=True)):
            total += flux[band] ** 2 * _sampled(one, correlations[i], position, shift, at)
    return light**2 * jnp.maximum(total, 0.0)


def of_field(shape: Textured, n: int) -> Float[np.ndarray, "v u"]:
    """F of the prior of `Textured` at each of n by n pixels: the diagonal of the random field's inverse covariance."""
    q = 2.0 * np.pi * np.fft.fftfreq(n) / shape.step
    root = 1.0 / (1.0 + (q[:, None] ** 2 + q**2) * shape.length**2)
    power = shape.roughness**2 * root**2 / np.mean(root**2)
    return np.mean(1.0 / power) / fading(n) ** 2


def of_score(key: PRNGKeyArray, score: Callable[[Array], Array], x: Float[Array, "v u"], apart: int = APART) -> Float[Array, "v u"]:
    """F of a prior of which `score` is the gradient of ln p at an image of logarithms; exact if pixels so far apart share nothing."""
    signs = jax.random.rademacher(key, x.shape, jnp.float32)
    rows, columns = (jnp.arange(n) % apart for n in x.shape)

    def one(first: Array) -> Array:
        z = signs * ((rows[:, None] == first // apart) & (columns == first % apart))
        return -z * jax.jvp(score, (x,), (z,))[1]

    # Mapped over together: in a loop of XLA's, convolutions take 25 times as long on CPUs.
    return jnp.sum(jax.vmap(one)(jnp.arange(apart**2)), 0)


class Score(NamedTuple):
    """Of one source, on the grid of its texture: the share of its light in each pixel, and F of likelihood and prior."""

    light: Float[np.ndarray, "v u"]
    likelihood: Float[np.ndarray, "v u"]
    prior: Float[np.ndarray, "v u"]

    @property
    def difference(self) -> Float[np.ndarray, "v u"]:
        """dF: positive where the prior dominates."""
        return self.prior - self.likelihood

    @property
    def share(self) -> float:
        """Share of the light in pixels where the prior dominates."""
        return float(np.sum(self.light[self.difference > 0]) / np.sum(self.light))


def of_group(
    group: Group, members: Members, seen: tuple[Exposure, ...], sights: tuple[Sight, ...], denoiser: Denoiser | None = None
) -> list[Score]:  # fmt: skip
    """Of the sources of a group of which the first light has texture, or a learned prior of this denoiser, in their order."""
    shape, name = group.source.lights[0].morphology, "light_0"
    light, said = (np.asarray(x, np.float64) for x in _of_members(group, members, seen, tuple(sight.shift for sight in sights)))
    if isinstance(shape, Denoised):
        given, noise = members.start.given, members.u[f"{name}.log_light"]
        each = zip(given[f"{name}.mean"] + given[f"{name}.width"][:, None, None] * noise, given[f"{name}.width"], strict=True)
        prior = [np.asarray(_of_denoiser(denoiser, x, width), np.float64) for x, width in each]
    else:
        prior = np.broadcast_to(of_field(shape, shape.n), light.shape)
    return [Score(*each) for each in zip(light, said, prior, strict=True)]


@eqx.filter_jit
def _of_members(
    group: Group, members: Members, seen: tuple[Exposure, ...], u: tuple[Float[Array, "*band 2"], ...]
) -> tuple[Float[Array, "source v u"], Float[Array, "source v u"]]:
    """Light of each source, and F of the likelihood."""
    shape = group.source.lights[0].morphology

    def one(each: tuple[Start, dict[str, Array]]) -> tuple[Array, Array]:
        start, numbers = each
        values = values_of(group.source, start, numbers)
        light = jnp.maximum(shape.light(of_part(values, "light_0")), 0.0)
        flux, position = group.source.fluxes(values, start)[0], start.position + values["offset"]
        return light, of_likelihood(light, shape.step, flux, position, seen, u)

    return jax.lax.map(one, tuple(members))


@eqx.filter_jit
def _of_denoiser(denoiser: Denoiser, x: Float[Array, "v u"], sigma: Float[Array, ""]) -> Float[Array, "v u"]:
    """F of the prior that an image was fitted under, at the last noise."""
    return of_score(jax.random.key(SEED), lambda y: (denoiser(y, sigma) - y) / sigma**2, x)


def _correlations(seen: Exposure) -> Complex[Array, "band ky kx"]:
    """Transforms, up to twice the highest frequencies, of sum_p w_p K(p - r)^2 as a function of r."""
    rows, columns = seen.padded
    finer = FINER * rows, FINER * columns
    wide = _spread(seen.psf, seen.padded, finer)
    squared = jnp.fft.rfft2((jnp.fft.irfft2(wide, finer) * FINER**2) ** 2)  # of K^2 on finer pixels
    weights = jnp.zeros((len(seen.bands), *finer)).at[:, : FINER * seen.shape[0] : FINER, : FINER * seen.shape[1] : FINER].set(seen.ivar)
    return jnp.fft.rfft2(weights) * jnp.conj(squared)


def _spread(transform: Array, padded: tuple[int, int], finer: tuple[int, int]) -> Array:
    """A half transform of a grid on that of a finer one: the same frequencies, zeros beyond."""
    rows, half = padded[0], padded[1] // 2 + 1
    out = jnp.zeros((*transform.shape[:-2], finer[0], finer[1] // 2 + 1), transform.dtype)
    up, down = (rows + 1) // 2, rows // 2
    out = out.at[..., :up, :half].set(transform[..., :up, :])
    return out.at[..., -down:, :half].set(transform[..., up:, :])


def _sampled(
    seen: Exposure, transform: Array, position: Float[Array, "2"], shift: Float[Array, "2"], at: Float[Array, "point"]
) -> Float[Array, "v u"]:
    """A correlation at the points of a grid of the reference frame."""
    finer = FINER * seen.padded[0], FINER * seen.padded[1]
    grid = jnp.stack(jnp.broadcast_arrays(at[None, :], at[:, None]), -1) + position
    p = FINER * (grid @ seen.jacobian.T + seen.origin + shift)  # in finer pixels
    ky, kx = 2.0 * np.pi * np.fft.fftfreq(finer[0]), 2.0 * np.pi * np.fft.rfftfreq(finer[1])
    ky, kx = jnp.asarray(ky, jnp.float32), jnp.asarray(kx, jnp.float32)
    # A half transform stands for both signs of kx; that of zero only for itself.
    twice = jnp.where(kx > 0, 2.0, 1.0) / (finer[0] * finer[1])
    # Farther off than an image is padded, the other edge comes in.
    margin = 0.5 * (np.array(seen.padded) - np.array(seen.shape))
    low, high = -margin[::-1] - 0.5, np.array(seen.shape)[::-1] + margin[::-1] - 0.5
    inside = jnp.all((p > FINER * low) & (p < FINER * high), -1)
    if seen.separable:
        columns, rows = jnp.exp(1j * kx[:, None] * p[0, :, 0]) * twice[:, None], jnp.exp(1j * p[:, 0, 1][:, None] * ky)
        return jnp.where(inside, jnp.real(rows @ transform @ columns), 0.0)

    def row(points: Array) -> Array:
        waves = jnp.exp(1j * points[:, 1, None] * ky) @ (transform * twice)
        return jnp.real(jnp.sum(waves * jnp.exp(1j * points[:, 0, None] * kx), 1))

    return jnp.where(inside, jax.lax.map(row, p), 0.0)
