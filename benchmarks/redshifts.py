"""Redshifts from real photometry: `python benchmarks/redshifts.py ../shared/data/photometry [--model photometry]`.

Posteriors of the redshift for BOSS (ugriz), zCOSMOS (11 bands) and COSMOS-100 (24 bands), by a model that has never seen a real galaxy;
beside them the same with zero points from half of the rows, and a gradient-boosted regressor (scikit-learn) trained on that half, all
compared on the other half: how far a physical prior is from an empirical one. Minutes.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

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


class Scored(NamedTuple):
    """How posteriors of one catalogue do: a row of scores, and shares of galaxies by where the truth lies."""

    row: list[object]
    histogram: list[str]


def scored(name: str, how: str, found: dict[str, np.ndarray], truth: np.ndarray, rows: np.ndarray) -> Scored:
    """Of some rows."""
    draws, z = found["redshift_draws"][rows], truth[rows]
    pit = np.mean(draws < z[:, None], axis=1)
    covered = [np.mean(np.abs(pit - 0.5) < 0.5 * level) for level in (0.68, 0.95)]
    row = [
        name, how, len(pit), *point_scores(found["redshift"][rows], z), f"{crps(draws, z):.4f}", *(f"{c:.3f}" for c in covered),
        f"{np.nanmedian(found['chi2_per_band'][rows]):.2f}",
    ]  # fmt: skip
    histogram = np.histogram(pit, bins=np.linspace(0.0, 1.0 + 1e-9, PIT_BINS + 1))[0] / len(pit)
    return Scored(row, [f"{share:.3f}" for share in histogram])


def rows_of(name: str, given: catalogues.Labelled, model: str) -> tuple[list[list[object]], list[list[object]], list[object]]:
    """Scores, the PIT histograms, and the zero points."""
    truth = given.labels["redshift"]
    whole = np.isfinite(truth) & (truth > 0.002) & (given.catalogue.ivar > 0).any(1)
    order = np.random.default_rng(3).permutation(np.flatnonzero(whole))
    train, test = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    how = {"model": model, "samples": SAMPLES, "keep": ("redshift",)}
    found = answers(without_redshift(given.catalogue), **how)
    points = slipher.zero_points(replace(given.catalogue[train], redshift=truth[train]), model=model)
    tuned = answers(without_redshift(given.catalogue.moved(points.magnitudes)), **how)
    all_rows = scored(name, "slipher, all rows", found, truth, whole)
    half = scored("", "slipher, half", found, truth, test)
    half_tuned = scored("", "slipher with zero points, same half", tuned, truth, test)
    features = magnitudes(given.catalogue)
    regressor = HistGradientBoostingRegressor(loss="absolute_error", max_iter=400, learning_rate=0.05, random_state=0)
    regressor.fit(features[train], truth[train])
    guess = regressor.predict(features[test])
    error = np.mean(np.abs(guess - truth[test]))
    boosted = ["", "boosting, same half", len(test), *point_scores(guess, truth[test]), f"{error:.4f}", "", "", ""]
    pits = [[name, "all rows", *all_rows.histogram], ["", "with zero points", *half_tuned.histogram]]
    listed = ", ".join(f"{band} {value:+.3f}" for band, value in points.magnitudes.items())
    return [all_rows.row, half.row, half_tuned.row, boosted], pits, [name, listed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="photometry")
    options = parser.parse_args()
    here = machine("slipher", "jax", "scikit-learn")
    sets = {"BOSS": catalogues.boss, "zCOSMOS": catalogues.zcosmos, "COSMOS-100": catalogues.cosmos100}
    rows, pits, points = [], [], []
    for name, read in sets.items():
        some, pit, found = rows_of(name, read(options.folder), options.model)
        rows, pits, points = rows + some, pits + pit, [*points, found]
    head = ["catalogue", "by", "galaxies", "bias", "sigma_NMAD", f"beyond {OUTLIER}", "CRPS", "in 68 %", "in 95 %", "chi2 a band"]
    text = ["## Redshifts from real photometry", f"`python benchmarks/redshifts.py FOLDER`. {here}"]
    text.append(
        "Of (z - z_spec) / (1 + z_spec): median, 1.4826 times the median absolute deviation, share of outliers; z is the posterior's "
        "median. CRPS of a single number is its mean absolute error. The posterior's model is trained on simulations only; the regressor "
        "on half of the catalogue's rows, so that it knows which galaxies the survey has chosen. With zero points: `slipher.zero_points` "
        "of that half, which tell of its bands and not of its galaxies."
    )
    text.append(markdown_table(head, rows))
    text.append("Shares of galaxies by where the true redshift lies in the posterior (PIT; 0.100 each if posteriors were calibrated):")
    text.append(markdown_table(["PIT", "", *(f"{i / PIT_BINS:.1f}-{(i + 1) / PIT_BINS:.1f}" for i in range(PIT_BINS))], pits))
    text.append("Zero points, magnitudes taken off, beside those that the catalogue's reader has taken off already (zCOSMOS):")
    text.append(markdown_table(["catalogue", "zero points"], points))
    write_section("redshifts", "\n\n".join(text))


if __name__ == "__main__":
    main()
