r"""Real galaxies among those that priors of morphologies are trained on: stamps of a folder, turned, mirrored and shrunk.

A stamp shows one galaxy near its middle, well observed, its sky subtracted; what noise it has, the priors take for structure. Each time it
is seen, it is a galaxy of another size: pixels are smoothed onto the wider ones of training, never spread onto narrower ones, and by no
more than what leaves the stamp as large as those of training.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from astropy.io import fits
from jaxtyping import Array, Float

from ..errors import InputError
from ..scene.learned import half_light_brightness, log_brightness
from .morphology_set import SIZE, Galaxies, Images

SUFFIXES = (".fits", ".fit", ".npz")
LEAST = SIZE + 4  # pixels on a side of what is a stamp: shrunk no further than this, it has no edges


@dataclass(frozen=True)
class RealStamps:
    """The folder of a recipe, and the share of training images that its stamps are."""

    folder: str = ""
    share: float = 0.3


class Stamps(NamedTuple):
    """Images of light, each with its half-light radius in pixels."""

    light: list[Float[np.ndarray, "y x"]]
    radius: list[float]

    def identity(self) -> str:
        """A checksum."""
        return hashlib.sha256(b"".join(one.tobytes() for one in self.light)).hexdigest()


def read(folder: Path) -> Stamps:
    """Stamps of a folder's FITS files (each plane an image) and npz archives (each array [y, x] or [image, y, x]).

    Raises
    ------
    InputError
        If there is no stamp with light in it, or a file cannot be read.
    """
    found = [image for path in sorted(Path(folder).rglob("*")) if path.suffix in SUFFIXES for image in _images(path)]
    light = [_darkened(one) for one in found if min(one.shape) >= LEAST and np.nansum(one) > 0]
    if not light:
        expected = f"FITS files or npz archives of images of {LEAST} pixels and more"
        raise InputError(f"no stamp in {folder}", expected=expected, mend="Check the folder and its files.")
    return Stamps(light, [half_light_radius(one) for one in light])


def half_light_radius(light: Float[np.ndarray, "y x"]) -> float:
    """Of a circle of the area in which half of the light is."""
    mean = float(half_light_brightness(jnp.asarray(light, jnp.float32)))
    return float(np.sqrt(0.5 * light.sum() / mean / np.pi))


def seen(rng: np.random.Generator, stamps: Stamps, galaxies: Galaxies) -> Float[Array, "y x"]:
    """x of a random stamp: another size, turn, mirror image and centre each time."""
    which = int(rng.integers(len(stamps.light)))
    light = np.rot90(stamps.light[which], rng.integers(4))
    light = light.T if rng.random() < 0.5 else light
    low, high = np.log(galaxies.radius)
    wanted = np.exp(rng.uniform(low, high)) / stamps.radius[which]
    scale = float(np.clip(wanted, LEAST / min(light.shape), 1.0))
    rows, columns = (_smoother(n, scale, rng.uniform(-0.5, 0.5), galaxies.smoothing) for n in light.shape)
    return log_brightness(jnp.asarray(rows @ light @ columns.T, jnp.float32))


def mixed(chunk: Images, rng: np.random.Generator, stamps: Stamps, share: float, galaxies: Galaxies) -> Images:
    """A chunk in which stamps take the place of a share of the simulated galaxies."""
    rows = np.flatnonzero(rng.random(len(chunk.x)) < share)
    if not len(rows):
        return chunk
    return chunk._replace(x=chunk.x.at[rows].set(jnp.stack([seen(rng, stamps, galaxies) for _ in rows])))


def _smoother(n: int, scale: float, shift: float, sd: float) -> Float[np.ndarray, "pixel point"]:
    """From a stamp's pixels, `scale` wide, to those of training, along one axis."""
    at = scale * (np.arange(n) - 0.5 * (n - 1)) + shift
    pixels = np.arange(SIZE) - 0.5 * (SIZE - 1)
    return np.exp(-0.5 * ((pixels[:, None] - at) / sd) ** 2) * scale


def _darkened(image: np.ndarray) -> Float[np.ndarray, "y x"]:
    """Numbers that are none, and negative ones, as no light."""
    return np.maximum(np.nan_to_num(np.asarray(image, np.float64), nan=0.0, posinf=0.0, neginf=0.0), 0.0)


def _images(path: Path) -> list[np.ndarray]:
    """All images in a file."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = [file[name] for name in file.files]
        else:
            with fits.open(path, memmap=False) as file:
                arrays = [np.asarray(hdu.data) for hdu in file if getattr(hdu, "is_image", False) and hdu.data is not None]
    except (OSError, ValueError) as error:
        came = f"{path} cannot be read ({error})"
        raise InputError(came, expected="a FITS file or npz archive", mend="Take it away, or mend it.") from error
    return [image for a in arrays if a.ndim in (2, 3) and a.dtype.kind in "fiu" for image in a.reshape(-1, *a.shape[-2:])]
