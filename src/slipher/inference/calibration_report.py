"""The calibration of one model on one set of mocks: every test of `calibration.py`, a verdict and its reasons.

The report goes into a model's card (as JSON), into a release's table, and into the gate that a release has to pass.
Each family of tests (ranks, coverage) is held to the significance as a whole, by Bonferroni's correction, so that many
parameters do not fail by chance alone.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import NamedTuple

import jax
import numpy as np
from astropy.table import Table
from jaxtyping import Array, Float, PRNGKeyArray

from slipher.errors import InputError
from slipher.inference.calibration import (
    Draws,
    LogWeights,
    Scale,
    Tarp,
    Truth,
    chi2_pvalues,
    coverage_pvalue,
    covered,
    ks_pvalues,
    normalised_ranks,
    tarp,
)

LEVELS = (0.50, 0.68, 0.90, 0.95)

Covariate = Float[np.ndarray, "mock"] | Float[Array, "mock"]


class Coverage(NamedTuple):
    """Coverage of one parameter's central interval, over all mocks or those with low <= covariate <= high."""

    parameter: str
    level: float
    covariate: str  # empty: all mocks
    low: float
    high: float
    n_mocks: int
    coverage: float
    error: float  # binomial standard error at the nominal level
    pvalue: float


@dataclass(frozen=True)
class CalibrationReport:
    """What the tests found. p-values are of single tests; `failures` corrects them for their number."""

    parameters: tuple[str, ...]
    n_mocks: int
    n_draws: int
    ks_pvalues: tuple[float, ...]
    chi2_pvalues: tuple[float, ...]  # the twin of the line above: reported, not part of the verdict
    coverage: tuple[Coverage, ...]
    tarp: Tarp
    significance: float

    def failures(self) -> list[str]:
        """Why the posterior is not calibrated, in words; empty where it is."""
        return [*self._rank_failures(), *self._tarp_failures(), *self._coverage_failures()]

    @property
    def passes(self) -> bool:
        """Whether every test holds at the report's significance."""
        return not self.failures()

    def to_dict(self) -> dict:
        """Plain numbers, strings, lists and dictionaries: ready for `json.dumps`, NaN as None."""
        fields = asdict(self)
        fields["coverage"] = [row._asdict() for row in self.coverage]
        fields["tarp"] = self.tarp._asdict()
        return _plain(fields | {"passes": self.passes, "failures": self.failures()})

    def to_table(self) -> Table:
        """One row a parameter: p-values, and the coverage at each level over all mocks."""
        table = Table({"parameter": self.parameters, "ks_pvalue": self.ks_pvalues, "chi2_pvalue": self.chi2_pvalues})
        overall = [row for row in self.coverage if not row.covariate]
        for level in dict.fromkeys(row.level for row in overall):
            table[f"coverage_{100 * level:g}"] = [row.coverage for row in overall if row.level == level]
        table.meta |= {"n_mocks": self.n_mocks, "tarp_pvalue": self.tarp.pvalue, "passes": self.passes}
        return table

    def coverage_table(self) -> Table:
        """One row for each parameter, level and bin."""
        return Table(rows=list(self.coverage), names=Coverage._fields)

    def _rank_failures(self) -> list[str]:
        limit = self.significance / len(self.parameters)
        return [
            f"{name}: the ranks of the truth are not uniform (KS p = {p:.1e}, limit {limit:.1e})"
            for name, p in zip(self.parameters, self.ks_pvalues)
            if p < limit
        ]

    def _tarp_failures(self) -> list[str]:
        p = self.tarp.pvalue
        return [f"joint posterior: TARP's p = {p:.1e}, limit {self.significance:.1e}"] if p < self.significance else []

    def _coverage_failures(self) -> list[str]:
        # Over all mocks and in bins are two families: many bins shall not hide what all mocks together show.
        n_all = sum(not row.covariate for row in self.coverage)
        limits = {True: self.significance / max(n_all, 1), False: self.significance / max(len(self.coverage) - n_all, 1)}
        return [
            f"{row.parameter}: the {row.level:.0%} interval covers {row.coverage:.1%} +- {row.error:.1%}"
            + (f" at {row.covariate} {row.low:.4g} to {row.high:.4g}" if row.covariate else "")
            + f" (p = {row.pvalue:.1e}, limit {limits[not row.covariate]:.1e})"
            for row in self.coverage
            if row.pvalue < limits[not row.covariate]
        ]


def calibrate(
    key: PRNGKeyArray,
    truth: Truth,
    draws: Draws,
    *,
    names: tuple[str, ...] | list[str],
    log_weights: LogWeights | None = None,
    covariates: dict[str, Covariate] | None = None,
    prior_sd: Scale | None = None,
    levels: tuple[float, ...] = LEVELS,
    n_bins: int = 4,
    significance: float = 0.01,
) -> CalibrationReport:
    """Run every test on mocks with known truths.

    Parameters
    ----------
    key
        JAX random key: order of ties, references, bootstrap.
    truth, draws, log_weights
        True parameters [mock, parameter], posterior draws [mock, draw, parameter] and, where the draws are not of equal
        weight, their logarithmic weights [mock, draw].
    names
        Names of the parameters, in the order of the last axis.
    covariates
        Quantities [mock] whose bins of equal numbers are tested each on their own, such as S/N and redshift.
    prior_sd
        Standard deviation of the prior [parameter] for TARP's distances; None takes that of the truths.
    levels
        Central intervals whose coverage is tested.
    n_bins
        Bins a covariate.
    significance
        Chance that an exact posterior fails, for each of the four families of tests (ranks, TARP, coverage, coverage in bins).

    Raises
    ------
    InputError
        As `normalised_ranks`; also names or covariates of the wrong length.
    """
    rank_key, tarp_key = jax.random.split(key)
    ranks = normalised_ranks(rank_key, truth, draws, log_weights=log_weights)
    covariates = {name: np.asarray(values) for name, values in (covariates or {}).items()}
    _check_lengths(ranks, names, covariates)
    return CalibrationReport(
        parameters=tuple(names),
        n_mocks=len(ranks),
        n_draws=draws.shape[1],
        ks_pvalues=tuple(ks_pvalues(ranks).tolist()),
        chi2_pvalues=tuple(chi2_pvalues(ranks).tolist()),
        coverage=tuple(coverage_rows(ranks, names, covariates, levels=levels, n_bins=n_bins)),
        tarp=tarp(tarp_key, truth, draws, log_weights=log_weights, prior_sd=prior_sd),
        significance=significance,
    )


def coverage_rows(
    ranks: Float[np.ndarray, "mock parameter"],
    names: tuple[str, ...] | list[str],
    covariates: dict[str, Float[np.ndarray, "mock"]],
    *,
    levels: tuple[float, ...] = LEVELS,
    n_bins: int = 4,
) -> list[Coverage]:
    """Coverage of every parameter and level: of all mocks first, then in each covariate's bins."""
    bins = [("", -np.inf, np.inf, np.ones(len(ranks), dtype=bool))]
    for covariate, values in covariates.items():
        edges = np.quantile(values, np.linspace(0.0, 1.0, n_bins + 1))
        for i, (low, high) in enumerate(pairwise(edges.tolist())):
            above = values >= low if i == 0 else values > low  # a value on an edge is counted once
            bins.append((covariate, low, high, above & (values <= high)))
    return [
        _coverage_row(ranks[inside, p], name, level, covariate, low, high)
        for covariate, low, high, inside in bins
        if inside.any()
        for p, name in enumerate(names)
        for level in levels
    ]


def _coverage_row(
    ranks: Float[np.ndarray, "inside"],
    name: str,
    level: float,
    covariate: str,
    low: float,
    high: float,
) -> Coverage:
    n, n_covered = len(ranks), covered(ranks, level)
    error = float(np.sqrt(level * (1.0 - level) / n))
    pvalue = coverage_pvalue(n_covered, n, level)
    return Coverage(name, level, covariate, low, high, n, n_covered / n, error, pvalue)


def _check_lengths(
    ranks: Float[np.ndarray, "mock parameter"],
    names: tuple[str, ...] | list[str],
    covariates: dict[str, Float[np.ndarray, "mock"]],
) -> None:
    if len(names) != ranks.shape[1]:
        raise InputError(
            f"{len(names)} names for {ranks.shape[1]} parameters",
            expected="one name a parameter",
            mend="Name the parameters in the order of the last axis.",
        )
    for name, values in covariates.items():
        if values.shape != (len(ranks),) or not np.isfinite(values).all():
            raise InputError(
                f"covariate {name!r} of shape {values.shape}, {int(np.isfinite(values).sum())} of them finite",
                expected=f"{len(ranks)} finite numbers, one a mock",
                mend="Give the covariate of every mock that has a posterior.",
            )


def _plain(value):
    """Arrays and tuples become lists; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(each) for each in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
