"""Novelty: how unlike the model's simulations a spectrum is, before any fit.

What the projection leaves over between the strong lines, pixels that no galaxy of the model explains, is compared with simulations of the
same weight (total S/N), whose quantiles lie on the card; the score is in their standard deviations.
"""

import numpy as np

from ..networks.projection import Projected

N_BINS = 12

Numbers = float | np.ndarray


def statistics(chi2_per_pixel: np.ndarray, log_weight: np.ndarray) -> dict:
    """What the card keeps: by log weight, the median and upper spread of log chi^2."""
    edges = np.quantile(log_weight, np.linspace(0, 1, N_BINS + 1))
    where = np.clip(np.searchsorted(edges, log_weight, side="right") - 1, 0, N_BINS - 1)

    def summary(values: np.ndarray) -> list[list[float]]:
        quantiles = [np.quantile(values[where == b], (0.5, 0.9772)) for b in range(N_BINS)]
        return [[round(float(m), 4), round(float(max(q - m, 0.02) / 2.0), 4)] for m, q in quantiles]

    centres = [round(float(np.median(log_weight[where == b])), 4) for b in range(N_BINS)]
    return {"log_weight": centres, "log_chi2": summary(np.log(chi2_per_pixel))}


def score(projected: Projected, card: dict) -> float:
    """Standard deviations above the median of simulations of the same weight (NaN for a model without statistics)."""
    return float(score_of(float(projected.chi2_between_lines), float(projected.log_weight), card))


def score_of(chi2: Numbers, log_weight: Numbers, card: dict) -> Numbers:
    """As `score`, of a chi^2 per pixel or band and the logarithm of what it is weighed by: of one or of many."""
    known = card.get("novelty")
    if not known:
        return np.nan * chi2
    middle, spread = (np.interp(log_weight, known["log_weight"], [row[i] for row in known["log_chi2"]]) for i in (0, 1))
    return (np.log(np.maximum(chi2, 1e-6)) - middle) / spread
