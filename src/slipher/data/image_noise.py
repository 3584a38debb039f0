"""What an image's pixels scatter by, where nobody says: the level of its sky, the noise about it, and the shot noise of its sources."""

import numpy as np
from astropy.stats import mad_std, sigma_clip
from jaxtyping import Float
from scipy import ndimage

from slipher.errors import InputError

CLIP, CLIPS = 3.0, 20  # of the sky's sd, above and below its level; times
BRIGHT, BRIGHTS = 4.0, 10  # of the noise' sd, above which pixels do not show it; times
APART = 2  # pixels, of differences that show noise
NEAR = 3  # pixels of a side, over which light is a mean where its noise is reckoned


def sky(pixels: Float[np.ndarray, "pixel"]) -> float:
    """The background: the median of pixels, those beyond some sd clipped from above and below."""
    if not len(pixels):
        return 0.0
    return float(np.median(sigma_clip(pixels, sigma=CLIP, maxiters=CLIPS, stdfunc="mad_std", masked=False)))


def noise(image: Float[np.ndarray, "y x"]) -> float:
    """sd of the sky: of differences from the median, bright ones clipped; or, where sources leave no sky, of what is not smooth.

    That is bent along both axes at once (Immerkaer 1996, CVIU 64, 300), between pixels that are `APART`: resampling makes neighbours alike.

    Raises
    ------
    InputError
        If nothing scatters.
    """
    pixels = image[np.isfinite(image)]
    clipped = sigma_clip(pixels, sigma_lower=np.inf, sigma_upper=BRIGHT, maxiters=BRIGHTS, stdfunc="mad_std", masked=False)
    once = image[APART:-APART] - 0.5 * (image[2 * APART :] + image[: -2 * APART])
    bend = once[:, APART:-APART] - 0.5 * (once[:, 2 * APART :] + once[:, : -2 * APART])
    rough = mad_std(bend, ignore_nan=True) / 1.5 if np.isfinite(bend).any() else np.inf
    sd = min(mad_std(clipped) if clipped.size else 0.0, rough)
    if not sd > 0:
        raise InputError("images without noise or variance", expected="a variance, or a sky that scatters", mend="Give the variance.")
    return float(sd)


def shot_variance(image: Float[np.ndarray, "y x"], gain: float) -> Float[np.ndarray, "y x"]:
    """Poisson's variance of light above the sky, electrons being `gain` times the flux; NaN are pixels without information.

    Light is a mean over pixels about each: by its own count a pixel would be believed the more the fainter it happens to be, and sums of
    weighted pixels be too faint.
    """
    known = np.isfinite(image)
    light = np.where(known, image - sky(image[known]), 0.0)
    near = ndimage.uniform_filter(light, NEAR) / np.maximum(ndimage.uniform_filter(known.astype(float), NEAR), 1.0 / NEAR**2)
    return np.maximum(near, 0.0) / gain
