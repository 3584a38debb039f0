"""Zero points of a catalogue's bands, as its galaxies of known redshift show them.

    known redshifts --network--> predicted fluxes --median of log(observed / predicted), band by band--> zero points --again-->

Photometry of several telescopes, in apertures, through curves that are not quite known, disagrees by more than its errors, and so do
templates with galaxies: codes for photometric redshifts have long adapted zero points to spectroscopic ones (Ilbert et al. 2006,
arXiv:astro-ph/0603217). Each band takes part in the fit that it is compared with, which hides a part of what it is off: hence
the rounds. What all bands are off together is the galaxies' mass, and stays; what is off as dust or age would have it is seen in part
only: few bands of flexible galaxies tell little of it. Of such offsets every round finds a little more, and where the templates are wrong
it would go on for ever: rounds end when one finds hardly less than the one before.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..data.photometry import Catalogue
from ..errors import InputError
from . import rows, shipped
from .shipped import ShippedPhotometry

LEAST_SN = 5.0  # of a flux that tells of its band's zero point
LEAST_GALAXIES = 10
ROUNDS = 6  # at most
STALLED = 0.7  # share of a round's shifts that the next one finds again, beyond which it is of no use
MOST_ROWS = 2000


class ZeroPoints(NamedTuple):
    """Magnitudes to take off each band's (`Catalogue.moved`), by name; their standard errors; and galaxies that told of each.

    Zero, with an infinite error, for bands that too few galaxies were seen in.
    """

    magnitudes: dict[str, float]
    errors: dict[str, float]
    galaxies: dict[str, int]


def zero_points(catalogue: Catalogue, *, model: str | None = None, samples: int = 20, seed: int = 0) -> ZeroPoints:
    """The zero points that galaxies of known redshift prefer, their mean over bands being zero.

    Of more than 2,000 galaxies every so many are taken. They are those of model and catalogue together: use them for other galaxies of
    the same catalogue, and do not test a model by the galaxies that gave them.

    Raises
    ------
    InputError
        For a model that is not of photometry, or fewer than ten galaxies of known redshift.
    """
    made = shipped.photometric(model or "photometry")
    low, high = made.recipe.population.redshift
    known = np.flatnonzero((catalogue.redshift >= low) & (catalogue.redshift <= high) & (catalogue.ivar > 0).any(1))
    if len(known) < LEAST_GALAXIES:
        mend = "Declare the column of redshifts: redshift='z'."
        raise InputError(f"{len(known)} galaxies of known redshift", expected=f"{LEAST_GALAXIES} or more", mend=mend)
    limited = catalogue.censored[known].any(1)  # rows of one kind are compiled once; those without limits tell more
    known = known[~limited] if np.sum(~limited) >= LEAST_GALAXIES else known
    some, names = catalogue[known[:: -(-len(known) // MOST_ROWS)]], [band.name for band in catalogue.bands]
    if len(set(names)) < len(names):
        raise InputError("a band twice", expected="bands of different names", mend="Rename the curve of one of them.")
    total, error, n = np.zeros(len(names)), np.full(len(names), np.inf), np.zeros(len(names), int)
    before = np.inf
    for _ in range(ROUNDS):
        shift, error, n = _shift(some.moved(dict(zip(names, total))), made, samples, seed)
        told = n >= LEAST_GALAXIES
        shift = np.where(told, shift - shift[told].mean(), 0.0) if told.any() else np.zeros(len(names))
        size = float(np.sqrt(np.mean(shift**2)))
        if size > STALLED * before:
            break
        total, before = total + shift, size
    error = np.where(told, error, np.inf)
    return ZeroPoints(*(dict(zip(names, values.tolist())) for values in (total, error, n)))


def _shift(some: Catalogue, made: ShippedPhotometry, samples: int, seed: int) -> tuple[Float[np.ndarray, "band"], np.ndarray, np.ndarray]:
    """Median magnitude by which each band is too faint, its standard error, and how many galaxies say so."""
    parts = (some[first : first + rows.AT_ONCE] for first in range(0, len(some), rows.AT_ONCE))
    flux = np.concatenate([np.median(rows.drawn(part, made, samples, seed)[0].flux, axis=1) for part in parts])
    tells = ~some.censored & (some.flux * np.sqrt(some.ivar) > LEAST_SN) & (flux > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where(tells, -2.5 * np.log10(some.flux / flux), np.nan)
    n = tells.sum(0)
    middle, scatter = np.zeros(len(n)), np.full(len(n), np.inf)
    for band in np.flatnonzero(n):
        values = off[tells[:, band], band]
        middle[band] = np.median(values)
        scatter[band] = 1.4826 * np.median(np.abs(values - middle[band])) * np.sqrt(np.pi / 2 / n[band])
    return middle, scatter, n
