"""The parts of a posterior that say how far to believe it: its diagnostics, and what it predicts for the data.

Nothing is computed here that needs the galaxy model: the fit fills these classes, and tables, figures and files read
them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from slipher.errors import InputError

KHAT_MAX = 0.7
ESS_MIN = 100.0
RHAT_MAX = 1.01


def weights_hold(khat: float, ess: float) -> bool:
    """Whether weighted draws may be called refined; NaN, of draws that were not weighted, may not."""
    return khat < KHAT_MAX and ess > ESS_MIN


def chains_hold(rhat: float, ess: float) -> bool:
    """Whether draws of several chains, runs or populations may be called refined; NaN, of draws that are of none, may not."""
    return rhat < RHAT_MAX and ess > ESS_MIN


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """How the draws were made, and how well that went. NaN: does not apply to this method.

    Parameters
    ----------
    method
        'amortised' (the flow's draws), 'importance' (these, weighted by the exact likelihood), 'population' (draws of a mixture fitted
        to such weights, weighted likewise), or those of a sampler: 'nuts', 'nested' or 'tempered'.
    ess
        Effective number of draws, from their importance weights; where the draws are amortised, of the weights that failed; of a sampler,
        that of the bulk of the worst parameter.
    khat
        Pareto shape of the importance weights (`importance.py`).
    rhat
        R-hat of the worst parameter, between chains, runs or populations that know nothing of each other (`convergence.py`).
    divergences
        Trajectories that left the density's surface, of a sampler that has such.
    chi2_per_pixel
        chi^2 per good pixel (or measured band) under noise and model error, everything linear marginalised: the posterior's median.
    novelty
        Distance from the model's simulations, in the units of the model's card.
    n_pixels
        Good pixels (or bands) that the fit used.
    median_sn
        Their median signal-to-noise ratio; of photometry, that of the best band.
    log_evidence
        Natural logarithm of the evidence, or None where the method gives none.
    """

    method: str = "amortised"
    ess: float = np.nan
    khat: float = np.nan
    rhat: float = np.nan
    divergences: int = 0
    chi2_per_pixel: float = np.nan
    novelty: float = np.nan
    n_pixels: int = 0
    median_sn: float = np.nan
    log_evidence: float | None = None

    def hold(self) -> bool:
        """Whether the draws may be called refined: khat < 0.7 or R-hat < 1.01, with more than 100 effective draws."""
        return weights_hold(self.khat, self.ess) or chains_hold(self.rhat, self.ess)


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """The observed spectrum and the model spectra that the posterior predicts for it, pixel by pixel.

    Parameters
    ----------
    wave_aa
        Observed-frame vacuum wavelengths in angstrom [pixel], increasing within a segment.
    flux, ivar
        What was observed, as the fit used it: 1e-17 erg/s/cm2/A and its inverse variance [pixel]; ivar 0 is no
        information.
    draws
        Model spectra of some of the posterior's draws, without noise, in the units of `flux` [k, pixel]: calibration and mismatch, which
        are correlated between pixels, are drawn with them.
    sigma_model
        The independent error that the model allows itself beside these and the noise [pixel], in the units of `flux`.
    segments
        (start, stop) of each spectrograph arm; default: one.
    bands
        Names of the filters, where this is photometry: "pixels" are then bands at their pivot wavelengths, in any order, and all fluxes
        are nanomaggies.

    Raises
    ------
    InputError
        If the arrays disagree in length or there is no draw.
    """

    wave_aa: Float64[np.ndarray, "pixel"]
    flux: Float[np.ndarray, "pixel"]
    ivar: Float[np.ndarray, "pixel"]
    draws: Float32[np.ndarray, "k pixel"]
    sigma_model: Float[np.ndarray, "pixel"]
    segments: tuple[tuple[int, int], ...] = ()
    bands: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "segments", self.segments or ((0, self.wave_aa.size),))
        sizes = [each.shape[-1] for each in (self.wave_aa, self.flux, self.ivar, self.draws, self.sigma_model)]
        if len(set(sizes)) > 1 or len(self.draws) == 0:
            raise InputError(
                f"a prediction of {len(self.draws)} draws with {sizes} pixels",
                expected="at least one draw, and as many pixels in each array",
                mend="Predict on the pixels of the observed spectrum.",
            )

    @property
    def median(self) -> Float[np.ndarray, "pixel"]:
        """Median of the predicted spectra."""
        return np.median(self.draws, axis=0)

    def interval(self, mass: float = 0.68) -> Float[np.ndarray, "2 pixel"]:
        """Lower and upper edge of the band that holds the central fraction `mass` of the predicted spectra."""
        return np.quantile(self.draws, (0.5 - mass / 2, 0.5 + mass / 2), axis=0)

    def residuals(self) -> Float[np.ndarray, "pixel"]:
        """(flux - median) in units of the total error, noise and model together; NaN where there is no information."""
        noise = np.where(self.ivar > 0, 1.0 / np.where(self.ivar > 0, self.ivar, 1.0), np.nan)
        return (self.flux - self.median) / np.sqrt(noise + self.sigma_model**2)
