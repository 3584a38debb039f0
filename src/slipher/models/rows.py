"""A catalogue of photometry to a table of answers, a row for each of its rows, in memory that does not grow with their number.

    Catalogue --some rows--> draws of all at once --percentiles--> columns --> the next rows

The answer for a row is that of `slipher.fit` for it alone: the same random numbers, flows and likelihood, compiled once for many galaxies.
Refined rows are fitted one after the other.
"""

import difflib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..data.photometry import Catalogue
from ..errors import Flag, InputError
from ..grids.library import BroadLibrary
from ..inference.photometric import BATCH, Assumed, Bands
from ..inference.posterior import Posterior
from ..instrument import photometer
from ..networks.bands import Smooth
from ..physics import derived
from ..physics.abundance import RedshiftRange
from . import answer, photometry, shipped
from .photometric_recipe import TrainedPhotometry
from .photometry import Finished, finish_point
from .shipped import ShippedPhotometry

AT_ONCE = 64  # galaxies in one call of a compiled function
PERCENTILES = {"": 0.5, "_p16": 0.16, "_p84": 0.84}

Columns = dict[str, np.ndarray]


def fit_rows(
    catalogue: Catalogue, *, model: str | None = None, samples: int = 100, sampler: str = "amortised", seed: int = 0,
    keep: Sequence[str] = (),
) -> Iterator[Columns]:  # fmt: skip
    """Answers for all rows of a catalogue, some rows at a time and in their order.

    Yields columns [row]: `id`, `redshift` (given, or the median), `status`, `ess`, `khat`, `chi2_per_band`, `novelty`, `n_bands`,
    `peak_sn`, `flags`, and of each parameter and derived quantity its median under its name and its 16th and 84th percentile under
    `NAME_p16` and `NAME_p84`. What is not defined is NaN; a row without a band is all NaN, and flagged.

    Raises
    ------
    InputError
        For a model that is not of photometry, or fewer samples than one.
    """
    made = shipped.photometric(model or "photometry")
    if samples < 1:
        raise InputError(f"samples={samples}", expected="at least 1", mend="Ask for a positive number of draws.")
    offered = {"redshift", *made.recipe.preset.names, *derived.QUANTITIES}
    if unknown := [name for name in keep if name not in offered]:
        close = " or ".join(difflib.get_close_matches(unknown[0], offered)) or "log_mstar"
        raise InputError(f"draws of {unknown[0]!r}", expected="parameters or derived quantities", mend=f"Did you mean {close}?")
    for first in range(0, len(catalogue), AT_ONCE):
        some = catalogue[first : first + AT_ONCE]
        yield (
            amortised(some, made, samples, seed, keep)
            if sampler == "amortised"
            else _one_by_one(some, made, model or "photometry", samples, sampler, seed, keep)
        )


def _one_by_one(some: Catalogue, made: ShippedPhotometry, name: str, samples: int, sampler: str, seed: int, keep: Sequence[str]) -> Columns:
    rows = [columns_of(photometry.fit(row, made, name, samples, sampler, seed), keep) for row in some]
    names = dict.fromkeys(column for row in rows for column in row)
    blank = {f"{name}_draws": np.full(samples, np.nan) for name in keep}
    return {column: np.array([row.get(column, blank.get(column, np.nan)) for row in rows]) for column in names}


def columns_of(posterior: Posterior, keep: Sequence[str] = ()) -> dict:
    """The row of one posterior; a redshift that was given is the same in all draws."""
    d = posterior.diagnostics
    head = {
        "id": posterior.id, "redshift": posterior.redshift, "status": posterior.status, "ess": d.ess, "khat": d.khat,
        "chi2_per_band": d.chi2_per_pixel, "novelty": d.novelty, "n_bands": d.n_pixels, "peak_sn": d.median_sn,
        "flags": int(posterior.flags),
    }  # fmt: skip
    draws = {name: values[None] for name, values in (posterior.samples | posterior.derived).items()}
    given = {"redshift": np.full((1, posterior.n_draws), posterior.redshift)}
    kept = {f"{name}_draws": (given | draws)[name][0] for name in keep if name in given | draws}
    return head | {name: values[0] for name, values in _percentiles(draws).items() if name not in head} | kept


def _percentiles(draws: dict[str, Float[np.ndarray, "row draw"]]) -> Columns:
    """Medians and percentiles over draws, NaN where a row has none that is defined."""
    edges = list(PERCENTILES.values())
    found = {name: _quantiles(values, edges) for name, values in draws.items()}
    return {name + suffix: values[i] for name, values in found.items() for i, suffix in enumerate(PERCENTILES)}


def _quantiles(values: Float[np.ndarray, "row draw"], edges: list[float]) -> Float[np.ndarray, "edge row"]:
    whole = np.isfinite(values).all(axis=1)
    out = np.full((len(edges), len(values)), np.nan)
    out[:, whole] = np.quantile(values[whole], edges, axis=1)
    return out


def amortised(some: Catalogue, made: ShippedPhotometry, samples: int, seed: int, keep: Sequence[str] = ()) -> Columns:
    """Rows by the network alone; all of a kind (redshift known or not, with limits or not) are drawn together."""
    kind = 2 * np.isnan(some.redshift) + some.censored.any(1)
    alike = [(np.flatnonzero(kind == k), some[kind == k]) for k in np.unique(kind)]
    parts = [(index, _table(rows, *drawn(rows, made, samples, seed), made, keep)) for index, rows in alike]
    out: Columns = {}
    for index, columns in parts:
        for name, values in columns.items():
            if name not in out:
                shape = (len(some), *values.shape[1:])
                out[name] = np.full(shape, np.nan) if values.dtype.kind == "f" else np.zeros(shape, values.dtype)
            out[name] = out[name].astype(np.result_type(out[name], values)) if values.dtype.kind == "U" else out[name]
            out[name][index] = values
    return out


def drawn(some: Catalogue, made: ShippedPhotometry, samples: int, seed: int) -> tuple[Finished, Smooth]:
    """Draws for at most `AT_ONCE` rows of one kind, all arrays [row, ...]."""
    known = not np.isnan(some.redshift[0])
    redshifts = made.recipe.assumed.redshift
    assumed = made.recipe.assumed._replace(redshift=None) if known else made.recipe.assumed
    n_base = len(assumed.model.parameters) - known
    generators = [answer.rng_of(seed, str(id)) for id in some.id]
    rows = _Rows(
        some.flux.astype(np.float32),
        some.ivar.astype(np.float32),
        some.censored if some.censored.any() else None,
        np.maximum(np.nan_to_num(some.redshift), redshifts.low if known else 0.0).astype(np.float32),
        np.nan_to_num(some.ebv).astype(np.float32),
        np.stack([rng.standard_normal((samples, n_base)) for rng in generators]).astype(np.float32),
        np.stack([rng.random(samples) for rng in generators]).astype(np.float32),
    )
    # Filled up to `AT_ONCE` by repeating the last, so that nothing is compiled for fewer.
    filled = jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], AT_ONCE - len(some), axis=0)]), rows)
    colours = photometer.rest_bands(answer.REST_BANDS, made.library)
    answers = _answer(filled, *photometry.optics(some.bands), made.trained, colours, made.library, assumed, redshifts)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64)[: len(some)], answers)


class _Rows(NamedTuple):
    """Galaxies of one kind as compiled functions take them [row, ...]; the last two are random numbers of each draw."""

    flux: np.ndarray
    ivar: np.ndarray
    censored: np.ndarray | None
    redshift: np.ndarray
    ebv: np.ndarray
    base: np.ndarray
    uniform: np.ndarray


@eqx.filter_jit
def _answer(
    rows: _Rows, camera: photometer.Photometer, weights: Array, trained: TrainedPhotometry, colours: derived.RestBands,
    library: BroadLibrary, assumed: Assumed, redshifts: RedshiftRange,
) -> tuple[Finished, Smooth]:  # fmt: skip
    network = trained.network

    def galaxy(row: _Rows) -> tuple[Finished, Smooth]:
        task = Bands(camera, row.flux, row.ivar, row.censored, row.redshift, row.ebv)
        smooth, features = photometry.seen(task, weights, trained.prior)
        if assumed.redshift is None:
            context = photometry.context_at(network, features, row.redshift, redshifts)
            u, _ = jax.vmap(lambda point: network.galaxy.from_base(point, context))(row.base)
        else:
            u, _ = jax.vmap(lambda point: network.from_base(point, features))(row.base)
        one = partial(finish_point, colours=colours, task=task, library=library, assumed=assumed)
        return jax.lax.map(lambda draw: one(*draw), (u, row.uniform), batch_size=BATCH), smooth

    return jax.lax.map(galaxy, rows)


def _table(some: Catalogue, found: Finished, smooth: Smooth, made: ShippedPhotometry, keep: Sequence[str]) -> Columns:
    seen = (some.ivar > 0).any(1)
    draws = {name: np.where(seen[:, None], values, np.nan) for name, values in (found.values | found.quantities).items()}
    columns, verdict = _percentiles(draws), photometry.verdict(some, smooth, np.median(found.chi2, axis=1), made)
    low, high = made.recipe.population.redshift
    outside = (some.redshift < low) | (some.redshift > high)  # NaN is neither
    noticed = np.where(np.isnan(some.ebv), int(Flag.EBV_ASSUMED_ZERO), 0) | np.where(outside, int(Flag.REDSHIFT_OUTSIDE_MODEL), 0)
    none = np.full(len(some), np.nan)
    head = {
        "id": some.id.astype(str), "redshift": columns.get("redshift", some.redshift), "status": np.full(len(some), "amortised"),
        "ess": none, "khat": none, "chi2_per_band": verdict.chi2_per_band, "novelty": verdict.novelty,
        "n_bands": (some.ivar > 0).sum(1), "peak_sn": verdict.peak_sn, "flags": some.flags | noticed | verdict.flags,
    }  # fmt: skip
    given = {"redshift": np.broadcast_to(some.redshift[:, None], found.chi2.shape)}
    kept = {f"{name}_draws": (given | draws)[name] for name in keep if name in given | draws}
    return head | {name: values for name, values in columns.items() if name not in head} | kept
