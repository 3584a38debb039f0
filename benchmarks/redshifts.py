"""Redshifts from real photometry: `python benchmarks/redshifts.py ../shared/data/photometry [--model photometry]`.

Posteriors of the redshift for BOSS (ugriz), zCOSMOS (11 bands) and COSMOS-100 (24 bands), by a model that has never seen a real galaxy;
beside them a gradient-boosted regressor (scikit-learn) trained on half of the same rows, and both compared on the other half: how far a
physical prior is from an empirical one. Minutes.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import catalogues
import numpy as np
from masses import answers
from sklearn.ensemble import HistGradientBoostingRegressor
from tables import machine, markdown_table, write_section

import slipher

SAMPLES = 100
OUTLIER = 0.15
PIT_BINS = 10


def without_redshift(catalogue: slipher.Catalogue) -> slipher.Catalogue:
    """The same rows, redshifts forgotten."""
    return replace(catalogue, redshift=np.full(len(catalogue), np.nan))


def point_scores(estimate: np.ndarray, truth: np.ndarray) -> list[str]:
    """Bias, sigma_NMAD and outliers of (z - z_true) / (1 + z_true)."""
    d = (estimate - truth) / (1.0 + truth)
    return [f"{np.median(d):+.4f}", f"{1.4826 * np.median(np.abs(d - np.median(d))):.4f}", f"{np.mean(np.abs(d) > OUTLIER):.1%}"]


def crps(draws: np.ndarray, truth: np.ndarray) -> float:
    """Continuous ranked probability score, mean: E|x - t| - E|x - x'| / 2 (Gneiting & Raftery 2007)."""
    ordered = np.sort(draws, axis=1)
    n = draws.shape[1]
    pairs = 2.0 * np.sum(ordered * (2.0 * np.arange(n) - n + 1.0), axis=1) / n**2
    return float(np.mean(np.mean(np.abs(draws - truth[:, None]), axis=1) - 0.5 * pairs))


def magnitudes(catalogue: slipher.Catalogue) -> np.ndarray:
    """What the regressor is told: magnitudes, their errors, neighbouring colours; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = (catalogue.ivar > 0) & (catalogue.flux > 0)
        mag = np.where(seen, 22.5 - 2.5 * np.log10(catalogue.flux), np.nan)
        error = np.where(seen, 1.0857 / catalogue.flux / np.sqrt(catalogue.ivar), np.nan)
    return np.column_stack([mag, error, np.diff(mag, axis=1)])


def rows_of(name: str, given: catalogues.Labelled, model: str) -> tuple[list[list[object]], list[object]]:
    """Scores of both, and the PIT histogram."""
    truth = given.labels["redshift"]
    whole = np.isfinite(truth) & (truth > 0.002) & (given.catalogue.ivar > 0).any(1)
    order = np.random.default_rng(3).permutation(np.flatnonzero(whole))
    train, test = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    found = answers(without_redshift(given.catalogue), model=model, samples=SAMPLES, keep=("redshift",))
    draws = found["redshift_draws"]
    pit = np.mean(draws < truth[:, None], axis=1)[whole]
    histogram = np.histogram(pit, bins=np.linspace(0.0, 1.0 + 1e-9, PIT_BINS + 1))[0] / len(pit)
    covered = [np.mean(np.abs(pit - 0.5) < 0.5 * level) for level in (0.68, 0.95)]
    rows = [[
        name, "slipher, all rows", len(pit), *point_scores(found["redshift"][whole], truth[whole]),
        f"{crps(draws[whole], truth[whole]):.4f}", *(f"{c:.3f}" for c in covered), f"{np.nanmedian(found['chi2_per_band']):.2f}",
    ]]  # fmt: skip
    blank = [""] * 3
    ours = point_scores(found["redshift"][test], truth[test])
    rows.append(["", "slipher, half", len(test), *ours, f"{crps(draws[test], truth[test]):.4f}", *blank])
    features = magnitudes(given.catalogue)
    regressor = HistGradientBoostingRegressor(loss="absolute_error", max_iter=400, learning_rate=0.05, random_state=0)
    regressor.fit(features[train], truth[train])
    guess = regressor.predict(features[test])
    error = np.mean(np.abs(guess - truth[test]))
    rows.append(["", "boosting, same half", len(test), *point_scores(guess, truth[test]), f"{error:.4f}", *blank])
    return rows, [name, *(f"{share:.3f}" for share in histogram)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="photometry")
    options = parser.parse_args()
    here = machine("slipher", "jax", "scikit-learn")
    sets = {"BOSS": catalogues.boss, "zCOSMOS": catalogues.zcosmos, "COSMOS-100": catalogues.cosmos100}
    rows, pits = [], []
    for name, read in sets.items():
        some, pit = rows_of(name, read(options.folder), options.model)
        rows, pits = rows + some, [*pits, pit]
    head = ["catalogue", "by", "galaxies", "bias", "sigma_NMAD", f"beyond {OUTLIER}", "CRPS", "in 68 %", "in 95 %", "chi2 a band"]
    text = ["## Redshifts from real photometry", f"`python benchmarks/redshifts.py FOLDER`. {here}"]
    text.append(
        "Of (z - z_spec) / (1 + z_spec): median, 1.4826 times the median absolute deviation, share of outliers; z is the posterior's "
        "median. CRPS of a single number is its mean absolute error. The posterior's model is trained on simulations only; the regressor "
        "on half of the catalogue's rows, so that it knows which galaxies the survey has chosen."
    )
    text.append(markdown_table(head, rows))
    text.append("Shares of galaxies by where the true redshift lies in the posterior (PIT; 0.100 each if posteriors were calibrated):")
    text.append(markdown_table(["PIT", *(f"{i / PIT_BINS:.1f}-{(i + 1) / PIT_BINS:.1f}" for i in range(PIT_BINS))], pits))
    write_section("redshifts", "\n\n".join(text))


if __name__ == "__main__":
    main()
