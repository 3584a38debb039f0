"""A posterior under another prior, from its own draws: each counts by the ratio of the two priors.

What a photometric redshift rests on is its prior; another survey's, or another analysis', is a matter of weights as long as both priors
are of the same order where the draws are.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from slipher.errors import Flag, InputError
from slipher.inference.importance import resample

if TYPE_CHECKING:
    from slipher.inference.posterior import Posterior

ESS_LEAST = 10.0

LogRatio = Callable[[Mapping[str, Float[np.ndarray, "draw"]]], Float[np.ndarray, "draw"]]


def reweighted(posterior: "Posterior", log_ratio: LogRatio, seed: int) -> "Posterior":
    """See `Posterior.reweighted`."""
    came = np.asarray(log_ratio(posterior.samples | posterior.derived), np.float64)
    if came.shape != (posterior.n_draws,) or np.isnan(came).any() or (came == np.inf).any() or not np.isfinite(came).any():
        raise InputError(
            f"a ratio of priors of shape {came.shape}, {int(np.isfinite(came).sum())} of them finite",
            expected=f"ln(new prior / old prior) of each of the {posterior.n_draws} draws; -inf where the new prior is nil",
            mend="Return an array made from those of the draws, such as -0.5 * ((draws['redshift'] - 0.3) / 0.01)**2.",
        )
    weights = np.exp(came - came.max())
    weights /= weights.sum()
    share = 1.0 / np.sum(weights**2)
    if share < ESS_LEAST:
        raise InputError(
            f"a prior under which {share:.1f} of {posterior.n_draws} draws count",
            expected=f"at least {ESS_LEAST:.0f}",
            mend="Ask for more samples, or train with that prior: what the draws do not reach, weights cannot bring back.",
        )
    rng = np.random.default_rng(seed)
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    chosen = resample(rng, log_weights, posterior.n_draws)
    before = posterior.n_draws if np.isnan(posterior.diagnostics.ess) else posterior.diagnostics.ess
    diagnostics = replace(posterior.diagnostics, ess=float(before * share / posterior.n_draws), log_evidence=None)
    held = posterior.status == "refined" and diagnostics.hold()
    samples = {name: draws[chosen] for name, draws in posterior.samples.items()}
    return replace(
        posterior,
        status="refined" if held else "amortised",
        samples=samples,
        derived={name: draws[chosen] for name, draws in posterior.derived.items()},
        history_sfr=posterior.history_sfr[chosen],
        log_density=None if posterior.log_density is None else (posterior.log_density + came)[chosen],
        redshift=float(np.median(samples["redshift"])) if "redshift" in samples else posterior.redshift,
        diagnostics=diagnostics,
        prediction=_of_shown(posterior.prediction, log_weights, rng),
        photometry=None if posterior.photometry is None else _of_shown(posterior.photometry, log_weights, rng),
        flags=posterior.flags | (Flag.NOT_REFINED if posterior.status == "refined" and not held else Flag(0)),
        provenance=posterior.provenance | {"reweighted": True},
    )


def _of_shown(prediction, log_weights: Float[np.ndarray, "draw"], rng: np.random.Generator):
    """The prediction's draws, which are every so manieth of the posterior's, chosen by the same weights."""
    n = len(prediction.draws)
    some = log_weights[np.linspace(0, len(log_weights) - 1, n).astype(int)]
    if not np.isfinite(some).any():
        return prediction
    return replace(prediction, draws=prediction.draws[resample(rng, some, n)])
