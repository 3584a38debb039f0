"""Mock photometry with its truth, through the door that real catalogues take: what a model of photometry is calibrated on.

The galaxies, bands and depths of training (`photometric_set`), by other random numbers; each comes out as a checked `Photometry`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..data.photometry import Photometry
from ..data.photometry_checks import photometry
from ..physics import parameters
from . import photometric_set
from .shipped import ShippedPhotometry

TOGETHER = 32  # galaxies in the same bands at the same depths


def mocks(n: int, made: ShippedPhotometry, *, seed: int, known_redshift: bool = False) -> list[tuple[Photometry, dict[str, float]]]:
    """n detected galaxies, with or without redshifts, and their true parameters, masses, redshifts and peak S/N; by seed and number."""
    found, number = [], 0
    while len(found) < n:
        some = _together(number, made, seed, known_redshift=known_redshift)
        found += [(mock, truth) for mock, truth in some if truth["peak_sn"] >= made.recipe.population.detected]
        number += 1
    return found[:n]


def _together(number: int, made: ShippedPhotometry, seed: int, *, known_redshift: bool) -> list[tuple[Photometry, dict[str, float]]]:
    rng = np.random.default_rng([seed, number, 7])
    recipe = made.recipe
    campaign, names = photometric_set.draw_campaign(rng, recipe.population)
    key = jax.random.key(rng.integers(2**31))
    seen = photometric_set.observed(key, campaign, made.library, recipe.assumed, recipe.population, TOGETHER)
    seen = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), seen)
    preset, found = recipe.preset, []
    for i in range(TOGETHER):
        mock = photometry(
            seen.flux[i, : len(names)], bands=names, unit="nanomaggy", ivar=seen.ivar[i, : len(names)], ebv=float(campaign.ebv),
            redshift=float(seen.redshift[i]) if known_redshift else None, id=f"mock-{seed}-{number}-{i}",
        )  # fmt: skip
        values = parameters.from_normal(preset.parameters[:-1], jnp.asarray(seen.u[i, 1:], jnp.float32))
        truth = {name: float(value) for name, value in values.items()} | {preset.parameters[-1].name: float(seen.log_mass[i])}
        found.append((mock, {"redshift": float(seen.redshift[i]), "peak_sn": float(seen.sn[i]), **truth}))
    return found
