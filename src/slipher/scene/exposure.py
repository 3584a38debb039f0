r"""One observation of a piece of sky: images of some bands on one grid of pixels, with their weights and point-spread functions.

Positions in a scene are those of its reference frame, in pixels (x, y) of the first observation, zero in the centre of its first pixel.
Another observation sees them at

    p = J r + p_0

by the affine map that its WCS is over a cutout. Images are made in Fourier space, where a profile of the sky with the transform F(q) is

    G(k) = F(J' k) exp(-i k (J r + p_0)) psf(k),

so that pixel scales, rotations and shifts by parts of a pixel are exact, and nothing is interpolated. A PSF is what the pixels see of a
point, their own area included. Coordinates are never exact: images of single bands may be off by some part of a pixel (`wander`).
"""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ..data.image import LEAST, Cutout
from ..errors import InputError

PRIMES = (3, 5, 7, 11)  # of lengths of transforms: odd, so that no frequency is its own mirror image
WANDER = 0.05  # pixels by which bands of one image are off each other
ASTROMETRY = 0.3  # pixels of the reference by which another image is, where nothing is said
BENT = 0.1  # pixels by which coordinates of two images may differ from an affine map
WRAPPED = 0.5  # of an image is added to it at least, for what leaves it on one side comes back on the other


class Exposure(eqx.Module):
    """Images [band, y, x], 1/variance (zero: no information), and what makes images of a scene.

    `psf` are transforms at the frequencies of the padded images; `ky` and `kx` these frequencies in radians a pixel; `bands` says which of
    the scene's bands each image is in. `wander` is how far bands are off, in pixels, one sd; `anchored` is one where the mean of the
    bands is what positions are those of, zero where all may be off together.
    """

    flux: Float[Array, "band y x"]
    ivar: Float[Array, "band y x"]
    psf: Complex[Array, "band ky kx"]
    ky: Float[Array, "ky"]
    kx: Float[Array, "kx"]
    jacobian: Float[Array, "2 2"]
    origin: Float[Array, "2"]
    wander: Float[Array, ""]
    anchored: Float[Array, ""]
    bands: tuple[int, ...] = eqx.field(static=True)
    separable: bool = eqx.field(static=True)
    padded: tuple[int, int] = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.flux.shape[-2:]


class Frequencies(eqx.Module):
    """Those of an exposure in radians a reference pixel; `separable` where x is the same in all rows and y in all columns."""

    x: Float[Array, "ky kx"]
    y: Float[Array, "ky kx"]
    separable: bool = eqx.field(static=True)


def exposure(
    flux: np.ndarray, ivar: np.ndarray, psf: np.ndarray, *,
    bands: tuple[int, ...] | None = None, jacobian: Float[np.ndarray, "2 2"] | None = None, origin: Float[np.ndarray, "2"] | None = None,
    wander: float = WANDER, anchored: bool = True,
) -> Exposure:  # fmt: skip
    """An exposure of images [band, y, x], 1/variance, and PSFs [band, v, u], brought to a sum of one and centred on their middle pixels.

    Raises
    ------
    InputError
        If shapes do not agree, or a PSF has no light.
    """
    if flux.ndim != 3 or ivar.shape != flux.shape or psf.ndim != 3 or len(psf) != len(flux):
        raise InputError(
            f"flux {flux.shape}, ivar {ivar.shape}, PSFs {psf.shape}", expected="[band, y, x] each, as many PSFs as bands",
            mend="Give one PSF a band; images of other shapes are observations of their own.",
        )  # fmt: skip
    jacobian = np.eye(2) if jacobian is None else jacobian
    total = psf.sum((1, 2), keepdims=True)
    if not np.isfinite(psf).all() or np.any(total <= 0):
        raise InputError("a PSF without light", expected="finite PSFs of positive sums", mend="Check the PSF images and their order.")
    padded = tuple(_length(n + max(int(np.ceil(WRAPPED * n)), m)) for n, m in zip(flux.shape[1:], psf.shape[1:], strict=True))
    ky, kx = 2.0 * np.pi * np.fft.fftfreq(padded[0]), 2.0 * np.pi * np.fft.rfftfreq(padded[1])
    middle = [0.5 * (m - 1) for m in psf.shape[1:]]
    whole = np.zeros((len(psf), *padded))
    whole[:, : psf.shape[1], : psf.shape[2]] = psf / total
    centred = np.fft.rfft2(whole) * np.exp(1j * (ky[:, None] * middle[0] + kx * middle[1]))
    return Exposure(
        flux=jnp.asarray(flux, jnp.float32), ivar=jnp.asarray(ivar, jnp.float32), psf=jnp.asarray(centred, jnp.complex64),
        ky=jnp.asarray(ky, jnp.float32), kx=jnp.asarray(kx, jnp.float32),
        jacobian=jnp.asarray(jacobian, jnp.float32),
        origin=jnp.asarray(np.zeros(2) if origin is None else origin, jnp.float32),
        bands=tuple(range(len(flux))) if bands is None else tuple(bands),
        wander=jnp.float32(wander), anchored=jnp.float32(anchored), separable=not np.any(jacobian[~np.eye(2, dtype=bool)]), padded=padded,
    )  # fmt: skip


def doubted(seen: Exposure, brightness: Float[np.ndarray, "band y x"], share: float) -> Exposure:
    """An exposure with errors of no less than a share of a brightness: no model of a galaxy is right to better than some."""
    ivar = np.asarray(seen.ivar)
    less = ivar / (1.0 + ivar * (share * np.maximum(brightness, 0.0)) ** 2)
    return eqx.tree_at(lambda one: one.ivar, seen, jnp.asarray(less, jnp.float32))


def of_cutout(
    image: Cutout, reference: Cutout | None = None, bands: tuple[str, ...] | None = None, *, astrometry: float = ASTROMETRY
) -> Exposure:
    """The exposure of an image; where there is another whose pixels are the frame, both need coordinates.

    Parameters
    ----------
    bands
        The scene's, among which the image's are looked up; the image's own where left out.
    astrometry
        By how many pixels of the reference an image's coordinates may be off from it, one sd; with zero they are taken as they are.

    Raises
    ------
    InputError
        If a band is none of the scene's, coordinates are missing, an affine map is not what they are, or `astrometry` is no such number.
    """
    if not 0 <= astrometry < np.inf:
        raise InputError(f"astrometry {astrometry}", expected="pixels, none or more", mend="Give 0 where coordinates are exact.")
    names = image.bands if bands is None else bands
    missing = [name for name in image.bands if name not in names]
    if missing:
        raise InputError(f"{image.id}: bands {', '.join(missing)}", expected=f"of {', '.join(names)}", mend="Name the scene's bands.")
    arrays = (np.asarray(x, np.float64) for x in (image.flux, image.ivar, image.psf))
    places = tuple(names.index(name) for name in image.bands)
    if reference is None or reference is image:
        return exposure(*arrays, bands=places)
    jacobian, origin = affine(reference, image)
    wander = astrometry * float(np.sqrt(abs(np.linalg.det(jacobian))))
    return exposure(*arrays, bands=places, jacobian=jacobian, origin=origin, wander=wander, anchored=False)


def affine(reference: Cutout, image: Cutout) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2"]]:
    """J and p_0 from the pixels of one image to those of another, by their coordinates over the reference.

    Raises
    ------
    InputError
        If either has no coordinates, or the map bends by more than `BENT` pixels.
    """
    for one in (reference, image):
        if one.wcs is None:
            raise InputError(f"{one.id} has no coordinates", expected="a FITS WCS", mend="Several observations of one sky need one each.")
    rows, columns = reference.flux.shape[1:]
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, columns - 1, 7), np.linspace(0, rows - 1, 7)))
    there = np.stack(image.wcs.world_to_pixel(reference.wcs.pixel_to_world(x, y)))
    found, *_ = np.linalg.lstsq(np.column_stack([x, y, np.ones_like(x)]), there.T, rcond=None)
    off = np.abs(np.column_stack([x, y, np.ones_like(x)]) @ found - there.T).max()
    if not off < BENT:
        came = f"pixels of {image.id} that are no affine map of those of {reference.id} (by {off:.2g} pixels)"
        raise InputError(came, expected=f"below {BENT}", mend="Cut out less of the sky, or resample one of them.")
    jacobian = found[:2].T
    # Turned by less than can be seen, pixels are parallel: transforms of grids are products then.
    seen = 0.5 * np.abs(jacobian) * (columns, rows) > 0.5 * BENT
    return np.where(seen, jacobian, 0.0), found[2] + 0.5 * np.where(seen, 0.0, jacobian) @ (columns, rows)


def same_part(reference: Cutout, image: Cutout) -> Cutout:
    """What of an image shows the sky of another: cut out, pixels that are beyond the other's edges without information.

    Raises
    ------
    InputError
        As `affine`, or if that is less than `LEAST` pixels.
    """
    jacobian, origin = affine(reference, image)
    (height, width), size = reference.flux.shape[1:], np.array(image.flux.shape[:0:-1])
    corners = np.array([(x, y) for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)]) @ jacobian.T + origin
    low, high = np.clip(np.floor(corners.min(0)), 0, size).astype(int), np.clip(np.ceil(corners.max(0)) + 1, 0, size).astype(int)
    if np.any(high - low < LEAST):
        came = f"{image.id} that shows none of the sky of {reference.id}"
        raise InputError(came, expected="images of one sky", mend="Leave it out, or check its coordinates.")
    part = image.cut(slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
    x, y = (a.ravel() for a in np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])))
    inside = reference.holds(np.linalg.solve(jacobian, np.stack([x, y]) - origin[:, None]).T).reshape(part.flux.shape[1:])
    return replace(part, ivar=np.where(inside, part.ivar, np.float32(0.0)))


def frequencies(seen: Exposure) -> Frequencies:
    """J' k."""
    k = jnp.stack(jnp.broadcast_arrays(seen.kx, seen.ky[:, None]))
    x, y = jnp.einsum("pr,pyx->ryx", seen.jacobian, k)
    return Frequencies(x, y, seen.separable)


def phase(seen: Exposure, position: Float[Array, "2"]) -> Complex[Array, "ky kx"]:
    """exp(-i k p) of a position of the reference frame; zero of one that is farther off than images are padded, and would come back."""
    p = seen.jacobian @ position + seen.origin
    rows, columns = seen.shape
    middle = 0.5 * np.array([columns - 1, rows - 1])
    near = jnp.all(jnp.abs(p - middle) < 0.5 * np.array(seen.padded[::-1]))
    return jnp.where(near, _turned(seen, p), 0.0)


def shifts(seen: Exposure, u: Float[Array, "band 2"]) -> Float[Array, "band 2"]:
    """By how much each band is off, in pixels, of standard normal numbers."""
    return seen.wander * (u - seen.anchored * jnp.mean(u, 0))


def response(seen: Exposure, u: Float[Array, "band 2"]) -> Complex[Array, "band ky kx"]:
    """The PSF of each band, off by its shift."""
    return seen.psf * jax.vmap(lambda shift: _turned(seen, shift))(shifts(seen, u))


def _turned(seen: Exposure, p: Float[Array, "2"]) -> Complex[Array, "ky kx"]:
    """exp(-i k p) of pixels."""
    x, y = p
    return jax.lax.complex(jnp.cos(y * seen.ky), -jnp.sin(y * seen.ky))[:, None] * jax.lax.complex(
        jnp.cos(x * seen.kx), -jnp.sin(x * seen.kx)
    )


def image(seen: Exposure, transform: Complex[Array, "*rest ky kx"]) -> Float[Array, "*rest y x"]:
    """Pixels of what has a transform, PSF included."""
    rows, columns = seen.shape
    return jnp.fft.irfft2(transform, seen.padded)[..., :rows, :columns]


def _length(n: int) -> int:
    """The next odd length that is fast to transform."""
    n += 1 - n % 2
    while not _smooth(n):
        n += 2
    return n


def _smooth(n: int) -> bool:
    for prime in PRIMES:
        while n % prime == 0:
            n //= prime
    return n == 1
