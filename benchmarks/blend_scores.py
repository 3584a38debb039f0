"""How good a deblending is, where the truth is known: numbers for each source, from images of each alone and of their truth. numpy only.

With s_k the true image of source k in all bands, w the inverse variance, and <a, b> = sum w a b:

    S/N      <s_k, s_k>^1/2                         of a source alone, its shape known
    overlap  1 - <s_k, s_k> / <s_k, sum_j s_j>      0 where nothing else is, 1 where all else is brighter
    image    <m_k, s_k> / (|m_k| |s_k|) and |m_k - s_k| / |s_k|, |a|^2 = <a, a>, of a model m_k
    shares   m_k = sum_j A_kj s_j in the least squares: A_kj for j other than k is the share of j's light that went into k
    limit    the error of fluxes in one band if all shapes were known: diagonal of the inverse of <s_j, s_k>

Fluxes are sums over the image, of model and truth alike, for a model ends where its box does and a truth does not.
"""

from typing import NamedTuple

import numpy as np

COLOURED = 0.1  # of the flux: the limit in either band up to which a colour is looked at


class Truth(NamedTuple):
    """Of each source; `apart` is the distance of the nearest other, pixels, and `limit` is over the flux."""

    sn: np.ndarray  # [source]
    overlap: np.ndarray  # [source]
    apart: np.ndarray  # [source]
    limit: np.ndarray  # [source, band]


class Scores(NamedTuple):
    """Of one code's models; NaN where there is nothing to compare."""

    flux: np.ndarray  # [source, band]: over the true one, less one
    colour: np.ndarray  # [source, band - 1]: magnitudes, of neighbouring bands
    correlation: np.ndarray  # [source]
    distance: np.ndarray  # [source]
    lost: np.ndarray  # [source]: share of its light that went into others
    gained: np.ndarray  # [source]: light of others that it has, over its own true light


def truth(blend: dict[str, np.ndarray]) -> Truth:
    """From a blend with its `true_` entries."""
    images, weight = _double(blend["true_images"]), 1.0 / _double(blend["variance"])
    own, products = _products(images, images, weight).diagonal(), _products(images, images, weight)
    place = blend["true_position"]
    distance = np.hypot(*(place[:, None] - place).T) + np.where(np.eye(len(place)), np.inf, 0.0)
    flux = images.sum((2, 3))
    return Truth(np.sqrt(own), 1.0 - own / products.sum(1), distance.min(1), _limits(images, weight) / flux)


def scores(sources: np.ndarray, blend: dict[str, np.ndarray], known: Truth) -> Scores:
    """Of model images [source, band, y, x] in the order of the truth."""
    models, images, weight = _double(sources), _double(blend["true_images"]), 1.0 / _double(blend["variance"])
    flux, true_flux = models.sum((2, 3)), images.sum((2, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = -2.5 * np.log10(np.maximum(flux, 0.0) / true_flux)
    seen = (known.limit[:, 1:] < COLOURED) & (known.limit[:, :-1] < COLOURED)
    size, true_size = (np.sqrt(_products(x, x, weight).diagonal()) for x in (models, images))
    both = _products(models, images, weight)
    shares = both @ np.linalg.pinv(_products(images, images, weight))
    off = np.where(np.eye(len(images)), 0.0, shares)
    bright = true_flux.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Scores(
            flux / true_flux - 1.0, np.where(seen, magnitude[:, :-1] - magnitude[:, 1:], np.nan), both.diagonal() / (size * true_size),
            np.sqrt(np.maximum(size**2 - 2.0 * both.diagonal() + true_size**2, 0.0)) / true_size, off.sum(0), off @ bright / bright,
        )  # fmt: skip


def matched(found: np.ndarray, place: np.ndarray, bright: np.ndarray, within: float) -> np.ndarray:
    """The detection [true source] that each true source has, the brightest first, each detection once; -1 for none."""
    out, free = np.full(len(place), -1), np.ones(len(found), bool)
    for i in np.argsort(-bright):
        distance = np.where(free, np.hypot(*(found - place[i]).T), np.inf) if len(found) else np.array([np.inf])
        if distance.min() <= within:
            out[i] = distance.argmin()
            free[out[i]] = False
    return out


def _double(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64)


def _products(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """<a_j, b_k>."""
    return np.einsum("jbyx,kbyx,byx->jk", a, b, weight, optimize=True)


def _limits(images: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Errors of fluxes [source, band] with known shapes."""
    out = []
    for band in range(images.shape[1]):
        one = images[:, band]
        flux = one.sum((1, 2))
        bend = np.einsum("jyx,kyx,yx->jk", one, one, weight[band]) / np.outer(flux, flux)
        out.append(np.sqrt(np.linalg.inv(bend).diagonal()))
    return np.array(out).T
