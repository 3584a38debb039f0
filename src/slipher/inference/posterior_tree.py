"""A posterior as a tree of datasets, group by group as ArviZ expects them, and back.

Groups: `posterior` (parameters, [chain, draw], one chain), `derived` (the same), `sample_stats` (`lp`, the log density of each draw),
`history` (star-formation history), `observed_data` (the spectrum, or the photometry), `posterior_predictive` (the model's); of a fit to
both, `observed_bands` and `predicted_bands` hold the photometry. What belongs to the galaxy as a whole is in the attributes of the root:
numbers and strings as they are, dictionaries as JSON.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float

from slipher.errors import Flag, UnreadableFile
from slipher.inference.prediction import Diagnostics, Prediction

FORMAT = "slipher posterior 1"
STRINGS = ("id", "model", "survey", "status")
NUMBERS = ("redshift", "seconds")
DICTIONARIES = ("units", "labels", "provenance")


def to_tree(posterior) -> xr.DataTree:
    """The tree of a `Posterior`: float arrays as they are, none copied to another precision."""
    bands = posterior.photometry
    density = {} if posterior.log_density is None else {"sample_stats": _draws({"lp": posterior.log_density}, {}, {})}
    of_bands = {} if bands is None else {"observed_bands": _observed(bands), "predicted_bands": _predicted(bands)}
    return xr.DataTree.from_dict(
        density
        | of_bands
        | {
            "/": xr.Dataset(attrs=_attributes(posterior)),
            "posterior": _draws(posterior.samples, posterior.units, posterior.labels),
            "derived": _draws(posterior.derived, posterior.units, posterior.labels),
            "history": _history(posterior.history_edges_gyr, posterior.history_sfr),
            "observed_data": _observed(posterior.prediction),
            "posterior_predictive": _predicted(posterior.prediction),
        }
    )


def from_tree(tree: xr.DataTree, source: str | Path = "") -> dict:
    """The arguments of the `Posterior` that a tree was made from.

    Raises
    ------
    UnreadableFile
        If the tree is of another format, or lacks a part.
    """
    if tree.attrs.get("format") != FORMAT:
        raise UnreadableFile(
            f"{source}: format {tree.attrs.get('format')!r}",
            expected=repr(FORMAT),
            mend="Give a file written by Posterior.save of this version.",
        )
    try:
        return _arguments(tree)
    except KeyError as error:
        raise UnreadableFile(f"{source}: no {error}", expected="a whole posterior", mend="Fit again.") from error


def _arguments(tree: xr.DataTree) -> dict:
    attributes = tree.attrs
    return {
        **{name: str(attributes[name]) for name in STRINGS},
        **{name: float(attributes[name]) for name in NUMBERS},
        **{name: json.loads(attributes[name]) for name in DICTIONARIES},
        "samples": {str(name): values.values[0] for name, values in tree["posterior"].data_vars.items()},
        "derived": {str(name): values.values[0] for name, values in tree["derived"].data_vars.items()},
        "history_edges_gyr": tree["history/edges_gyr"].values,
        "history_sfr": tree["history/sfr"].values[0],
        "log_density": tree["sample_stats/lp"].values[0] if "sample_stats" in tree else None,
        "flags": Flag(int(attributes["flags"])),
        "diagnostics": _diagnostics(attributes),
        "prediction": _prediction(tree["observed_data"], tree["posterior_predictive"]),
        "photometry": _prediction(tree["observed_bands"], tree["predicted_bands"]) if "observed_bands" in tree else None,
    }


def _attributes(posterior) -> dict:
    diagnostics = {name: value for name, value in asdict(posterior.diagnostics).items() if value is not None}
    return {
        "format": FORMAT,
        **{name: getattr(posterior, name) for name in STRINGS + NUMBERS},
        "flags": int(posterior.flags),
        "flag_names": " ".join(posterior.flags.names()),
        **diagnostics,
        **{name: json.dumps(getattr(posterior, name)) for name in DICTIONARIES},
    }


def _diagnostics(attributes: dict) -> Diagnostics:
    convert = {"method": str, "n_pixels": int, "divergences": int}
    names = [each.name for each in fields(Diagnostics) if each.name in attributes]
    return Diagnostics(**{name: convert.get(name, float)(attributes[name]) for name in names})


def _draws(quantities: dict[str, Float[np.ndarray, "draw"]], units: dict[str, str], labels: dict[str, str]) -> xr.Dataset:
    """Variables [chain, draw] with their unit and label as attributes."""
    variables = {
        name: (("chain", "draw"), draws[None], {"units": units.get(name, ""), "label": labels.get(name, name)})
        for name, draws in quantities.items()
    }
    n_draws = len(next(iter(quantities.values()), ()))
    return xr.Dataset(variables, coords=_chain_and_draw(n_draws))


def _chain_and_draw(n_draws: int) -> dict:
    return {"chain": [0], "draw": np.arange(n_draws)}


def _history(edges_gyr: Float[np.ndarray, "edge"], sfr: Float[np.ndarray, "draw bin"]) -> xr.Dataset:
    return xr.Dataset(
        {
            "sfr": (("chain", "draw", "bin"), sfr[None], {"units": "Msun / yr"}),
            "edges_gyr": ("edge", edges_gyr, {"units": "Gyr", "meaning": "lookback time from the galaxy"}),
        },
        coords=_chain_and_draw(len(sfr)),
    )


def _observed(prediction: Prediction) -> xr.Dataset:
    flux_unit = {"units": "nanomaggy" if prediction.bands else "1e-17 erg / (s cm2 Angstrom)"}
    names = {"band": ("pixel", np.array(prediction.bands, dtype=str))} if prediction.bands else {}
    return xr.Dataset(
        {
            "flux": ("pixel", prediction.flux, flux_unit),
            "ivar": ("pixel", prediction.ivar, {"meaning": "inverse variance of flux; 0: no information"}),
            "segments": (("segment", "limit"), np.array(prediction.segments, dtype=np.int64)),
        },
        coords={"wave_aa": ("pixel", prediction.wave_aa, {"units": "Angstrom", "meaning": "vacuum, observed frame"})} | names,
    )


def _predicted(prediction: Prediction) -> xr.Dataset:
    return xr.Dataset(
        {
            "flux": (("chain", "draw", "pixel"), prediction.draws[None]),
            "sigma_model": ("pixel", prediction.sigma_model),
        },
        coords=_chain_and_draw(len(prediction.draws)) | {"wave_aa": ("pixel", prediction.wave_aa)},
    )


def _prediction(observed: xr.DataTree, predicted: xr.DataTree) -> Prediction:
    return Prediction(
        wave_aa=observed["wave_aa"].values,
        flux=observed["flux"].values,
        ivar=observed["ivar"].values,
        draws=predicted["flux"].values[0],
        sigma_model=predicted["sigma_model"].values,
        segments=tuple((int(start), int(stop)) for start, stop in observed["segments"].values),
        bands=tuple(map(str, observed["band"].values)) if "band" in observed.coords else (),
    )
