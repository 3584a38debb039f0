"""A catalogue of photometry to a table of answers, a row for each of its rows, in memory that does not grow with their number.

    Catalogue --some rows--> draws of all at once --percentiles--> columns --> the next rows

The answer for a row is that of `slipher.fit` for it alone: the same random numbers, flows and likelihood, compiled once for many galaxies.
Refined rows are fitted one after the other.
"""

import difflib
from collections.abc import Iterator, Sequence

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..data.photometry import Catalogue
from ..errors import InputError
from ..grids.library import BroadLibrary
from ..inference.photometric import Assumed, Bands
from ..inference.posterior import Posterior
from ..instrument import photometer
from ..networks.photometric_flow import PhotometricFlow
from ..physics import derived
from ..physics.abundance import RedshiftRange
from . import answer, photometry, shipped
from .photometry import Finished, ObservedBands, finish_point
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
    made = shipped.load(model or "photometry")
    if not isinstance(made, ShippedPhotometry):
        raise InputError(f"model {model!r}, which is of spectra", expected="a model of photometry", mend="Choose 'photometry'.")
    if samples < 1:
        raise InputError(f"samples={samples}", expected="at least 1", mend="Ask for a positive number of draws.")
    drawn = {"redshift", *made.recipe.preset.names, *derived.QUANTITIES}
    if unknown := [name for name in keep if name not in drawn]:
        close = " or ".join(difflib.get_close_matches(unknown[0], drawn)) or "log_mstar"
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
    """Rows by the network alone; all galaxies of a call are drawn together."""
    known = ~np.isnan(some.redshift)
    parts = [(np.flatnonzero(which), _drawn(some[which], made, samples, seed, keep)) for which in (known, ~known) if which.any()]
    out: Columns = {}
    for index, columns in parts:
        for name, values in columns.items():
            if name not in out:
                shape = (len(some), *values.shape[1:])
                out[name] = np.full(shape, np.nan) if values.dtype.kind == "f" else np.zeros(shape, values.dtype)
            out[name] = out[name].astype(np.result_type(out[name], values)) if values.dtype.kind == "U" else out[name]
            out[name][index] = values
    return out


def _drawn(some: Catalogue, made: ShippedPhotometry, samples: int, seed: int, keep: Sequence[str]) -> Columns:
    """Rows whose redshifts are all known, or all unknown."""
    known = not np.isnan(some.redshift[0])
    rows = list(some)
    data = [photometry.observe(row, made) for row in rows]
    assumed = made.recipe.assumed._replace(redshift=None) if known else made.recipe.assumed
    n_base = len(assumed.model.parameters) - known
    generators = [answer.rng_of(seed, row.id) for row in rows]
    base = np.stack([rng.standard_normal((samples, n_base)) for rng in generators]).astype(np.float32)
    uniform = np.stack([rng.random(samples) for rng in generators]).astype(np.float32)
    colours = photometer.rest_bands(answer.REST_BANDS, made.library)
    stacked = _filled(_stack(data), len(rows)), _filled(base, len(rows)), _filled(uniform, len(rows))
    found = _answer(*stacked, data[0].task.photometer, made.trained.network, colours, made.library, assumed, made.recipe.assumed.redshift)
    found = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64)[: len(rows)], found)
    return _table(some, rows, data, found, made, keep)


def _stack(data: list[ObservedBands]) -> tuple:
    tasks = [(d.task.flux, d.task.ivar, d.task.censored, d.task.redshift, d.task.ebv, d.features) for d in data]
    return tuple(np.stack([np.asarray(leaf) for leaf in leaves]) for leaves in zip(*tasks, strict=True))


def _filled(tree, n: int):
    """Rows filled up to `AT_ONCE` by repeating the last."""
    return jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], AT_ONCE - n, axis=0)]), tree)


@eqx.filter_jit
def _answer(
    rows: tuple, base: Array, uniform: Array, camera: photometer.Photometer, network: PhotometricFlow, colours: derived.RestBands,
    library: BroadLibrary, assumed: Assumed, redshifts: RedshiftRange,
) -> Finished:  # fmt: skip
    def galaxy(row: tuple) -> Finished:
        (flux, ivar, censored, redshift, ebv, features), z, numbers = row
        task = Bands(camera, flux, ivar, censored, redshift, ebv)
        if assumed.redshift is None:
            context = photometry.context_at(network, features, redshift, redshifts)
            u, _ = jax.vmap(lambda point: network.galaxy.from_base(point, context))(z)
        else:
            u, _ = jax.vmap(lambda point: network.from_base(point, features))(z)
        return jax.vmap(lambda point, number: finish_point(point, number, colours, task, library, assumed))(u, numbers)

    return jax.lax.map(galaxy, (rows, base, uniform))


def _table(
    some: Catalogue, rows: list, data: list[ObservedBands], found: Finished, made: ShippedPhotometry, keep: Sequence[str]
) -> Columns:
    seen = (some.ivar > 0).any(1)
    draws = {name: np.where(seen[:, None], values, np.nan) for name, values in (found.values | found.quantities).items()}
    columns = _percentiles(draws)
    verdicts = [photometry.verdict(row, d, chi2, made) for row, d, chi2 in zip(rows, data, np.median(found.chi2, 1), strict=True)]
    redshift = columns.get("redshift", some.redshift)
    none, status = np.full(len(rows), np.nan), np.full(len(rows), "amortised")
    head = {
        "id": np.array([row.id for row in rows]), "redshift": redshift, "status": status, "ess": none, "khat": none,
        "chi2_per_band": np.array([v.chi2_per_band for v in verdicts]), "novelty": np.array([v.novelty for v in verdicts]),
        "n_bands": (some.ivar > 0).sum(1), "peak_sn": np.array([v.peak_sn for v in verdicts]),
        "flags": np.array([int(v.flags | row.flags | d.flags) for v, row, d in zip(verdicts, rows, data, strict=True)]),
    }  # fmt: skip
    given = {"redshift": np.broadcast_to(some.redshift[:, None], found.chi2.shape)}
    kept = {f"{name}_draws": (given | draws)[name] for name in keep if name in given | draws}
    return head | {name: values for name, values in columns.items() if name not in head} | kept
