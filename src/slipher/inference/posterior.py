"""The answer for one galaxy: draws, what follows from them, how far to believe them, and what made them.

Every route through inference ends here, amortised or refined, and every output starts here: the table, the JSON of
`slipher fit --json`, the netCDF file, the figure (`report/figure.py`), the row of a catalogue. A `Posterior` does not
sample and does not judge: it refuses to be called `refined` where its own diagnostics do not hold, that is all.

xarray, which costs a third of a second, is imported when a posterior first goes to a file or comes from one.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from jaxtyping import Float

from slipher.errors import Flag, InputError
from slipher.files import write_atomically
from slipher.inference.prediction import Diagnostics, Prediction

if TYPE_CHECKING:
    from slipher.inference.reweighting import LogRatio

STATUSES = ("refined", "amortised")
PERCENTILES = {"median": 0.50, "p16": 0.16, "p84": 0.84}


@dataclass(frozen=True, eq=False, kw_only=True)
class Posterior:
    """Equal-weight draws of one galaxy's physics.

    Parameters
    ----------
    id, redshift, survey
        What was fitted.
    model
        Name of the galaxy model.
    status
        'refined' if the draws follow the exact likelihood and the diagnostics hold, else 'amortised'.
    samples
        Draws of the model's parameters, by name [draw], in physical units.
    derived
        Quantities that follow from them, by name [draw]. NaN where a quantity is not defined.
    history_edges_gyr
        Edges of the star-formation history's bins: lookback time from the galaxy in Gyr, increasing from 0 [bin + 1].
    history_sfr
        Star-formation rate in each bin in Msun/yr [draw, bin].
    log_density
        ln of the posterior density of each draw [draw], in the coordinates where the prior is N(0, 1), up to a constant; what is linear,
        the mass among it, is integrated over. None where nobody has asked the likelihood.
    units, labels
        Unit strings and LaTeX labels (without dollar signs) of parameters and derived quantities.
    diagnostics, prediction
        See `prediction.py`.
    photometry
        The prediction for the bands, where a spectrum was fitted with photometry.
    flags
        What readers, checks and the fit noticed.
    seconds
        Wall time of the fit.
    provenance
        What made this: slipher's version, the model's checksum, configuration, seed, the input's checksum. JSON values.

    Raises
    ------
    InputError
        Arrays that disagree about the number of draws or bins, no draws, an unknown status, or 'refined' where the
        diagnostics do not hold.
    """

    id: str
    redshift: float
    model: str
    survey: str
    status: str
    samples: dict[str, Float[np.ndarray, "draw"]]
    derived: dict[str, Float[np.ndarray, "draw"]]
    history_edges_gyr: Float[np.ndarray, "edge"]
    history_sfr: Float[np.ndarray, "draw bin"]
    diagnostics: Diagnostics
    prediction: Prediction
    photometry: Prediction | None = None
    log_density: Float[np.ndarray, "draw"] | None = None
    units: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    flags: Flag = field(default_factory=lambda: Flag(0))
    seconds: float = np.nan
    provenance: dict = field(default_factory=dict)

    def __post_init__(self):
        _check_shapes(self)
        _check_status(self)

    @property
    def n_draws(self) -> int:
        """Number of equal-weight draws."""
        return len(self.history_sfr)

    def summary(self) -> Table:
        """Median and 16th and 84th percentile of each parameter, then of each derived quantity; one row each.

        Columns: name, kind ('parameter' or 'derived'), median, p16, p84, unit. NaN where a quantity is not defined.
        """
        rows = [
            {"name": name, "kind": kind, **percentiles(draws), "unit": self.units.get(name, "")}
            for kind, quantities in (("parameter", self.samples), ("derived", self.derived))
            for name, draws in quantities.items()
        ]
        return Table(rows, meta=self._meta())

    def to_json_dict(self) -> dict:
        """The object that `slipher fit --json` prints: plain values, None where a number is not defined."""
        return {
            **self._head(),
            "samples": self.n_draws,
            **{name: _number(getattr(self.diagnostics, name)) for name in ("ess", "khat", "rhat", "chi2_per_pixel", "novelty")},
            "flags": self.flags.names(),
            "seconds": _number(self.seconds),
            "parameters": self._quantities(self.samples),
            "derived": self._quantities(self.derived),
            "provenance": self.provenance,
        }

    def best(self) -> dict[str, float]:
        """Parameters and derived quantities of the draw of the highest posterior density.

        Raises
        ------
        InputError
            If no density is finite, as of a galaxy without data.
        """
        if self.log_density is None or not np.isfinite(self.log_density).any():
            raise InputError(f"{self.id}: draws without a density", expected="a fit to data", mend="Look at the flags.")
        chosen = int(np.nanargmax(self.log_density))
        return {name: float(draws[chosen]) for name, draws in (self.samples | self.derived).items()}

    def predict(self) -> Prediction:
        """The spectra that the posterior predicts, with their median, bands and residuals."""
        return self.prediction

    def reweighted(self, log_ratio: "LogRatio", *, seed: int = 0) -> "Posterior":
        """The posterior under another prior: its draws, chosen again by the ratio of the new prior to the old.

        Parameters
        ----------
        log_ratio
            Takes the draws by name (`samples` and `derived` together) to ln(new prior / old prior) [draw], up to a constant.

        Raises
        ------
        InputError
            If that is no such array, or fewer than ten draws are left that count.
        """
        from slipher.inference.reweighting import reweighted

        return reweighted(self, log_ratio, seed)

    def save(self, path: str | Path) -> None:
        """Write everything to a netCDF4 file that xarray and ArviZ open; it appears whole or not at all."""
        from slipher.inference.files import write_tree

        write_tree(self.to_tree(), path)

    @classmethod
    def load(cls, path: str | Path) -> "Posterior":
        """Read what `save` wrote.

        Raises
        ------
        UnreadableFile
            If it is missing, damaged, or something else.
        """
        from slipher.inference.files import read_tree
        from slipher.inference.posterior_tree import from_tree

        return cls(**from_tree(read_tree(path), path))

    def write_summary(self, path: str | Path) -> None:
        """Write `summary` as an ECSV table, with status, flags, diagnostics and provenance in its header."""
        with write_atomically(path) as temporary:
            self.summary().write(temporary, format="ascii.ecsv")

    def to_arviz(self):
        """The posterior as ArviZ's own container: InferenceData, or a DataTree from ArviZ 1.0 on.

        Raises
        ------
        ImportError
            If ArviZ is not installed.
        """
        try:
            import arviz
        except ImportError as error:
            raise ImportError("ArviZ is not installed; get it by: pip install 'slipher[arviz]'") from error
        tree = self.to_tree()
        if not hasattr(arviz, "InferenceData"):
            return tree
        return arviz.InferenceData(attrs=tree.attrs, **{name: node.to_dataset() for name, node in tree.children.items()})

    def to_tree(self) -> "xarray.DataTree":
        """The posterior as xarray's tree of datasets, as in the file of `save`."""
        from slipher.inference.posterior_tree import to_tree

        return to_tree(self)

    def _head(self) -> dict:
        return {
            "id": self.id,
            "redshift": _number(self.redshift),
            "model": self.model,
            "survey": self.survey,
            "status": self.status,
        }

    def _meta(self) -> dict:
        """Header of the summary."""
        return {
            **self._head(),
            "samples": self.n_draws,
            "flags": self.flags.names(),
            "seconds": self.seconds,
            "diagnostics": asdict(self.diagnostics),
            "provenance": json.loads(json.dumps(self.provenance)),
        }

    def _quantities(self, quantities: dict[str, Float[np.ndarray, "draw"]]) -> dict[str, dict]:
        return {
            name: {key: _number(value) for key, value in percentiles(draws).items()} | {"unit": self.units.get(name, "")}
            for name, draws in quantities.items()
        }


def percentiles(draws: Float[np.ndarray, "draw"]) -> dict[str, float]:
    """Median and 16th and 84th percentile of the draws that are defined; NaN if none is.

    Infinite draws (the logarithm of no star formation) count: then percentiles are draws, not interpolated.
    """
    defined = draws[~np.isnan(draws)]
    if defined.size == 0:
        return dict.fromkeys(PERCENTILES, np.nan)
    method = "linear" if np.isfinite(defined).all() else "inverted_cdf"
    return {name: float(np.quantile(defined, q, method=method)) for name, q in PERCENTILES.items()}


def _number(value: float | None) -> float | None:
    """A plain float, or None for what JSON cannot say."""
    return float(value) if value is not None and np.isfinite(value) else None


def _check_shapes(posterior: Posterior) -> None:
    n_draws, n_bins = posterior.history_sfr.shape
    shapes = {name: draws.shape for name, draws in (posterior.samples | posterior.derived).items()}
    wrong = {name: shape for name, shape in shapes.items() if shape != (n_draws,)}
    if posterior.log_density is not None and posterior.log_density.shape != (n_draws,):
        wrong["log_density"] = posterior.log_density.shape
    if n_draws == 0 or not posterior.samples or wrong or posterior.history_edges_gyr.shape != (n_bins + 1,):
        raise InputError(
            f"a posterior of {len(posterior.samples)} parameters, a history of {n_draws} draws in {n_bins} bins with "
            f"{posterior.history_edges_gyr.size} edges, and other shapes in {wrong}",
            expected="one value a draw everywhere, and one edge more than bins",
            mend="Make derived quantities and histories from the same draws as the parameters.",
        )


def _check_status(posterior: Posterior) -> None:
    if posterior.status not in STATUSES:
        raise InputError(f"status {posterior.status!r}", expected=f"one of {STATUSES}", mend="Correct the status.")
    if posterior.status == "refined" and not posterior.diagnostics.hold():
        raise InputError(
            f"status 'refined' with {posterior.diagnostics}",
            expected="khat < 0.7 or rhat < 1.01, and ess > 100",
            mend="Call it 'amortised' and set Flag.NOT_REFINED.",
        )
