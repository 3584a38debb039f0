r"""Pixels without information, guessed from those about them: what finds sources, and where fits begin, takes no hole for a dark place.

    z = arsinh(flux / sigma)  minimises  sum_seen w (z - z_seen)^2 + lambda sum (z_xx^2 + 2 z_xy^2 + z_yy^2),   1 / w = var(z_seen)

A thin plate over what is masked and a PSF's width of what is not (Duchon 1977, Lecture Notes in Mathematics 571, 85). z is the flux in
units of its noise where little is seen, and its logarithm where much is: of that the cores of stars, which saturate, are parabolas, and
parabolas cost a plate little. With lambda the fourth power of the PSF's width it bends over no less than that where there is nothing but
noise, and follows what is bright. Fits never see a guess.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, sparse
from scipy.sparse import linalg

REACH = 2.0  # of the PSF's width, from what is seen, how far is guessed
EXACT = 0.01  # of its brightness, to which a pixel is believed at most
RIDGE = 1e-9  # of the matrix, for what no data hold
BENDS = (((0, -1), (0, 0), (0, 1)), ((-1, 0), (0, 0), (1, 0)), ((0, 0), (0, 1), (1, 0), (1, 1)))  # pixels (y, x) of z_xx, z_yy, z_xy
WEIGHTS = ((1.0, -2.0, 1.0), (1.0, -2.0, 1.0), tuple(np.sqrt(2.0) * np.array([1.0, -1.0, -1.0, 1.0])))


def guessed(
    flux: Float[np.ndarray, "band y x"], ivar: Float[np.ndarray, "band y x"], width: float
) -> tuple[Float[np.ndarray, "band y x"], Float[np.ndarray, "band y x"]]:
    """Images whose background is zero, and 1/variance, with guesses near what is seen; zero stays the ivar of what is farther.

    Parameters
    ----------
    width
        Full width at half maximum of the PSF, pixels.
    """
    both = [_guessed(image, weight, width) for image, weight in zip(flux, ivar, strict=True)]
    return np.stack([image for image, _ in both]), np.stack([weight for _, weight in both])


def _guessed(
    flux: Float[np.ndarray, "y x"], ivar: Float[np.ndarray, "y x"], width: float
) -> tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]]:
    seen = ivar > 0
    if seen.all() or not seen.any():
        return flux, ivar
    distance, (row, column) = ndimage.distance_transform_edt(~seen, return_indices=True)
    hole = ~seen & (distance <= REACH * width)
    usual = ivar[row, column]  # of the nearest pixel that is seen
    part = hole | (seen & (ndimage.distance_transform_edt(~hole) <= width))
    noise = 1.0 / np.sqrt(usual[part])
    known = np.where(seen, flux, 0.0)[part] / noise
    weight = seen[part] / (1.0 / (1.0 + known**2) + EXACT**2)
    bends = _bends(part)
    matrix = sparse.diags(weight) + width**4 * (bends.T @ bends)
    symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    z = linalg.splu((matrix + RIDGE * sparse.eye(len(known))).tocsc(), **symmetric).solve(weight * np.arcsinh(known))
    whole = np.where(seen, flux, 0.0)
    whole[part] = np.where(seen[part], whole[part], noise * np.sinh(z))
    return whole, np.where(hole, usual, ivar)


def _bends(part: Bool[np.ndarray, "y x"]) -> sparse.csr_matrix:
    """Second derivatives [derivative, pixel of the part], where all that they need is in it."""
    number = np.full(np.add(part.shape, 2), -1)
    number[1:-1, 1:-1][part] = np.arange(part.sum())
    y, x = np.nonzero(part)
    rows = []
    for places, weights in zip(BENDS, WEIGHTS, strict=True):
        pixels = np.stack([number[y + 1 + dy, x + 1 + dx] for dy, dx in places], 1)
        pixels = pixels[(pixels >= 0).all(1)]
        at = np.repeat(np.arange(len(pixels)), len(places))
        rows.append(sparse.csr_matrix((np.tile(weights, len(pixels)), (at, pixels.ravel())), shape=(len(pixels), len(y))))
    return sparse.vstack(rows).tocsr()
