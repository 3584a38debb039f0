"""What every fit has in common, whatever was observed: random numbers, rest frame, flags, and the `Posterior` that it ends in."""

from dataclasses import replace
from functools import cache
from hashlib import sha256
from importlib.metadata import version

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..errors import Flag
from ..grids.filters import load_filters
from ..grids.library import load_library
from ..inference import refine as refinement
from ..inference.posterior import Posterior
from ..inference.prediction import Diagnostics, Prediction
from ..inference.refine import Refined
from ..instrument import spectrograph
from ..instrument.filters import filter_matrix
from ..physics import derived, histories
from ..physics.galaxy import JOINT, View
from ..physics.parameters import Parameter

N_PREDICTED = 100
NOVEL_RATE = 1e-3  # false-alarm rate of a generative model below which a spectrum is flagged
LEAST_NOVELTY = -6.0  # what is so much smoother than any simulation is no galaxy with noise
REST_BANDS = ("sdss2010-u", "sdss2010-g", "sdss2010-r")
EXTRA_UNITS = {"redshift": "", "log_aperture_share": "dex"}
EXTRA_LABELS = {"redshift": "z", "log_aperture_share": r"\log f_{\rm aperture}"}


def rng_of(seed: int, identifier: str) -> np.random.Generator:
    """The random numbers of one galaxy."""
    return np.random.default_rng(int.from_bytes(sha256(f"{seed}:{identifier}".encode()).digest(), "big"))


@cache
def rest_frame() -> tuple[View, Array]:
    """A view of the rest frame (1.15 A at 5000 A) and the matrix to maggies in u, g, r on it, for derived quantities."""
    wave = 10 ** np.arange(np.log10(2960.0), np.log10(8000.0), 2.5e-4)
    view = spectrograph.view(wave, 0.0, load_library(), lsf_kms=80.0)
    bands = filter_matrix(load_filters(REST_BANDS), jnp.asarray(wave, jnp.float32), min_coverage=0.99)
    return view, bands


def history_edges(t_universe_gyr: float) -> np.ndarray:
    """Edges of the bins in which histories are given: lookback time, Gyr."""
    return np.asarray(histories.bin_edges(jnp.float32(t_universe_gyr)), np.float64)


def raised(rules: dict[Flag, bool]) -> Flag:
    """The flags whose rules hold."""
    flags = Flag(0)
    for flag, holds in rules.items():
        flags |= flag if holds else Flag(0)
    return flags


def shown(n: int) -> np.ndarray:
    """Which of n draws' predictions are kept."""
    return np.linspace(0, n - 1, min(N_PREDICTED, n)).astype(int)


def with_bands(found: Posterior, bands: Prediction, *, flags: Flag) -> Posterior:
    """The answer for a spectrum that was fitted with photometry: its prediction and its flags besides."""
    return replace(found, photometry=bands, flags=found.flags | flags)


def posterior(
    observation, *, name: str, model: tuple[Parameter, ...], card: dict, redshift: float, history_edges_gyr: np.ndarray,
    values: dict, quantities: dict, sfr: np.ndarray, log_density: np.ndarray, result: Refined, chi2: float, novelty: float,
    n_pixels: int, median_sn: float, prediction: Prediction, flags: Flag, wanted: str, seed: int, seconds: float,
) -> Posterior:  # fmt: skip
    """The answer for one observation (with `id`, `survey`, `source`, `checksum`, `ebv` and `redshift`) by the model called `name`.

    `model` are its parameters.
    """
    held, named = refinement.holds(result), JOINT.parameters + model
    return Posterior(
        id=observation.id,
        redshift=float(redshift),
        model=name,
        survey=observation.survey,
        status="refined" if held else "amortised",
        samples=values,
        derived=quantities,
        history_edges_gyr=history_edges_gyr,
        history_sfr=sfr,
        log_density=np.asarray(log_density, np.float64),
        diagnostics=Diagnostics(
            method=result.method, ess=float(result.ess), khat=float(result.khat), rhat=float(result.rhat), chi2_per_pixel=chi2,
            novelty=novelty, n_pixels=n_pixels, median_sn=median_sn, log_evidence=result.log_evidence, divergences=result.divergences,
        ),
        prediction=prediction,
        units=EXTRA_UNITS | {p.name: p.unit for p in named} | {k: u for k, (u, _) in derived.QUANTITIES.items()},
        labels=EXTRA_LABELS | {p.name: p.label for p in named} | {k: s for k, (_, s) in derived.QUANTITIES.items()},
        flags=flags | (Flag(0) if held or wanted == "amortised" else Flag.NOT_REFINED),
        seconds=seconds,
        provenance={
            "slipher": version("slipher"), "model": name, "model_sha256": card["sha256"], "model_slipher": card["slipher"],
            "seed": seed,
            "configuration": {"samples": len(sfr), "sampler": wanted}, "input": observation.source,
            "input_sha256": observation.checksum, "ebv": observation.ebv, "redshift_given": observation.redshift,
        },
    )  # fmt: skip
