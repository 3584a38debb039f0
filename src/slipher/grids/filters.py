r"""Filter curves: the table that ships with slipher, how it is built, and how it is read.

Where this stands: a table below the instrument (`slipher.instrument.filters` turns curves into photometry). A curve is
the relative photon-counting response R(lambda) of telescope, camera, filter and, where the survey includes it,
atmosphere: linear between its points and zero outside them. Names are speclite's, `GROUP-BAND`, as sdss2010-r.

The build takes every curve of speclite and those of ACS/WFC of the Hubble Space Telescope of sedpy (the `filters`
extra), drops the points that a straight line replaces to within 0.05 % of the peak (Ramer 1972; Douglas & Peucker
1973), less in faint tails and leaks, and fits the responses at the points that remain to the full curve, so that
nothing is lost in the integral. Synthetic magnitudes of smooth and of stellar spectra stay within 1 mmag of those of
the full curves (0.1 mmag measured, even in leaks of steep spectra).

What this does not do: judge which version of a survey's curves a catalogue was made with, and convert air wavelengths
(the sources do not say which they are; curves are used as they stand, as everybody does).
"""

import difflib
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.linalg import solveh_banded

from ..errors import InputError
from .store import load_table

TABLE = "filters"
SPACE = "acs_wfc"  # the group of sedpy's curves
TOLERANCE = 5e-4  # of the peak, times the square root of the response
FLOOR = 0.01  # of that square root
MARGIN = 1e-6  # of the peak


@dataclass(frozen=True, eq=False)
class FilterCurve:
    """Response of a filter, linear between its points and zero outside them; only its shape matters.

    Parameters
    ----------
    name
        `GROUP-BAND` for the shipped curves, anything for a curve of one's own.
    wave_aa
        Wavelengths of the points [point], angstrom, strictly increasing.
    response
        Photon-counting response at the points [point], not negative.

    Raises
    ------
    InputError
        If the points are not a curve: fewer than two, not finite, not increasing, negative, zero everywhere.
    """

    name: str
    wave_aa: Float[np.ndarray, "point"]
    response: Float[np.ndarray, "response"]

    def __post_init__(self):
        for check, expected, mend in _CHECKS:
            if not check(self.wave_aa, self.response):
                what = f"the curve of filter {self.name!r} ({self.wave_aa.size} points)"
                raise InputError(what, expected=expected, mend=mend)

    @classmethod
    def from_arrays(cls, name: str, wave_aa: ArrayLike, response: ArrayLike) -> "FilterCurve":
        """A curve of one's own, from anything that becomes a float array; wavelengths in angstrom."""
        return cls(name, np.asarray(wave_aa, float), np.asarray(response, float))

    @property
    def group(self) -> str:
        """The part of the name before the last hyphen: the camera or the survey."""
        return self.name.rpartition("-")[0]

    @property
    def pivot_aa(self) -> float:
        """Pivot wavelength, A: sqrt(int R lambda dlambda / int R / lambda dlambda)."""
        a, b, at_a, at_b = self._ends()
        photons = np.sum((b - a) * (at_a * (2 * a + b) + at_b * (a + 2 * b)) / 6)
        return float(np.sqrt(photons / self.flat_response))

    @property
    def flat_response(self) -> float:
        """int R / lambda dlambda, exactly: the response to a flat f_nu, with which the AB system normalises."""
        a, b, at_a, at_b = self._ends()
        slope = (at_b - at_a) / (b - a)
        return float(np.sum((at_a - slope * a) * np.log(b / a) + slope * (b - a)))

    def _ends(self) -> tuple[np.ndarray, ...]:
        """Wavelengths and responses at the beginning and at the end of each segment."""
        return self.wave_aa[:-1], self.wave_aa[1:], self.response[:-1], self.response[1:]

    def within(self, low_aa: float, high_aa: float) -> "FilterCurve | None":
        """The part of the curve between two wavelengths; None where it has no response there."""
        low, high = max(low_aa, self.wave_aa[0]), min(high_aa, self.wave_aa[-1])
        if low >= high:
            return None
        inside = self.wave_aa[(self.wave_aa > low) & (self.wave_aa < high)]
        wave = np.concatenate([[low], inside, [high]])
        response = np.interp(wave, self.wave_aa, self.response)
        return FilterCurve(self.name, wave, response) if response.any() else None


_CHECKS = (
    (
        lambda wave, response: wave.size == response.size and wave.size >= 2,
        "as many wavelengths as responses, and at least two",
        "Give both columns of the curve's table.",
    ),
    (
        lambda wave, response: np.all(np.isfinite(wave)) and np.all(np.isfinite(response)),
        "finite wavelengths and responses",
        "Remove the points that are NaN or infinite.",
    ),
    (
        lambda wave, response: wave[0] > 0 and np.all(np.diff(wave) > 0),
        "positive, strictly increasing wavelengths in angstrom",
        "Sort the points by wavelength and remove duplicates.",
    ),
    (
        lambda wave, response: np.all(response >= 0) and response.any(),
        "responses that are not negative, and positive somewhere",
        "Set noise around zero to zero.",
    ),
)


def filter_names(group: str | None = None) -> tuple[str, ...]:
    """Names of the shipped filters, by group and increasing pivot wavelength; of one group if it is given.

    Raises
    ------
    InputError
        If there is no such group.
    """
    if group is None:
        return tuple(_table())
    names = tuple(name for name, curve in _table().items() if curve.group == group)
    if not names:
        raise _unknown(f"filter group {group!r}", group, {curve.group for curve in _table().values()})
    return names


def load_filters(names: Iterable[str]) -> tuple[FilterCurve, ...]:
    """The shipped curves of these names; `GROUP-*` stands for a whole group.

    Raises
    ------
    InputError
        If there is no such filter; the names that come close are listed.
    """
    return tuple(curve for name in names for curve in _load(name))


def _load(name: str) -> tuple[FilterCurve, ...]:
    if name.endswith("-*"):
        return tuple(_table()[member] for member in filter_names(name.removesuffix("-*")))
    if name not in _table():
        raise _unknown(f"filter {name!r}", name, _table())
    return (_table()[name],)


def _unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    by_lower = {k.lower(): k for k in known}
    close = [by_lower[k] for k in difflib.get_close_matches(name.lower(), by_lower, n=4, cutoff=0.5)]
    mend = f"Did you mean {' or '.join(close)}?" if close else "filter_names() lists them."
    mend += " For any other filter give a FilterCurve."
    return InputError(what, expected="one of the filters that ship with slipher", mend=mend)


@functools.cache
def _table() -> dict[str, FilterCurve]:
    arrays, facts = load_table(TABLE)
    ends = arrays["end"]
    wave = np.split(arrays["wave_aa"].astype(float), ends[:-1])
    response = np.split(arrays["response"].astype(float), ends[:-1])
    curves = (FilterCurve(*parts) for parts in zip(facts["names"], wave, response))
    return {curve.name: curve for curve in curves}


# Building the table


def build() -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and facts of the table, from the curves of the installed speclite and sedpy."""
    (ground, speclite), (space, sedpy) = _speclite_curves(), _sedpy_curves()
    thin = [thinned(curve) for curve in ground + space]
    arrays = {
        "wave_aa": np.concatenate([c.wave_aa for c in thin]).astype(np.float32),
        "response": np.concatenate([c.response for c in thin]).astype(np.float32),
        "end": np.cumsum([c.wave_aa.size for c in thin]).astype(np.int32),
    }
    facts = {"origin": f"speclite {speclite}, astro-sedpy {sedpy}", "names": [c.name for c in thin], "tolerance": TOLERANCE}
    return arrays, facts


def _speclite_curves() -> tuple[list[FilterCurve], str]:
    """Every curve that speclite carries, normalised to a peak of one, in the order of `filter_names`."""
    import speclite  # only builders have it
    import speclite.filters

    curves = []
    for group in speclite.filters.filter_group_names:
        members = speclite.filters.load_filters(f"{group}-*")
        names = [f"{group}-{member.meta['band_name']}" for member in members]  # of lsst2016 the file says lsst
        curves += [FilterCurve(name, np.array(m.wavelength, float), m.response / m.response.max()) for name, m in zip(names, members)]
    return curves, speclite.version.version


def _sedpy_curves() -> tuple[list[FilterCurve], str]:
    """The curves of `SPACE` that sedpy carries, as STScI publishes them, normalised to a peak of one; by increasing pivot wavelength."""
    spec = find_spec("sedpy")
    if spec is None or spec.origin is None:
        raise InputError("the package astro-sedpy is not installed", expected="its filter curves", mend="pip install 'slipher[filters]'")
    curves = []
    for path in (Path(spec.origin).parent / "data" / "filters").glob(f"{SPACE}_*.par"):
        wave, throughput = np.loadtxt(path, unpack=True)
        curves.append(FilterCurve(f"{SPACE}-{path.stem.removeprefix(SPACE + '_').upper()}", wave, throughput / throughput.max()))
    return sorted(curves, key=lambda curve: curve.pivot_aa), version("astro-sedpy")


def thinned(curve: FilterCurve) -> FilterCurve:
    """The curve by fewer points: those that a line cannot replace, with responses fitted to the whole curve."""
    curve = _without_margins(curve)
    tolerance = TOLERANCE * np.clip(np.sqrt(curve.response), FLOOR, 1.0)
    wave = curve.wave_aa[_ramer_douglas_peucker(curve.wave_aa, curve.response, tolerance)]
    wave = wave.astype(np.float32).astype(float)  # as it will be stored
    return FilterCurve(curve.name, wave, _fitted(curve, wave))


def _without_margins(curve: FilterCurve) -> FilterCurve:
    """The curve without what precedes and follows all response above 1e-6 of the peak."""
    first, last = np.flatnonzero(curve.response > MARGIN)[[0, -1]]
    kept = slice(max(first - 1, 0), last + 2)
    return FilterCurve(curve.name, curve.wave_aa[kept], curve.response[kept])


def _ramer_douglas_peucker(
    x: Float[np.ndarray, "point"], y: Float[np.ndarray, "point"], tolerance: Float[np.ndarray, "point"]
) -> Bool[np.ndarray, "point"]:
    """Which points to keep for a polyline within `tolerance` of every other point, measured along y."""
    keep = np.zeros(x.size, bool)
    keep[[0, -1]] = True
    pieces = [(0, x.size - 1)]
    while pieces:
        first, last = pieces.pop()
        between = slice(first + 1, last)
        line = np.interp(x[between], x[[first, last]], y[[first, last]])
        excess = np.abs(y[between] - line) / tolerance[between]
        if excess.size and excess.max() > 1.0:
            worst = first + 1 + int(excess.argmax())
            keep[worst] = True
            pieces += [(first, worst), (worst, last)]
    return keep


def _fitted(curve: FilterCurve, knots: Float[np.ndarray, "knot"]) -> Float[np.ndarray, "knot"]:
    """Responses at the knots whose polyline is nearest to the curve in the mean square, none negative.

    The normal equations of piecewise linear functions: tridiagonal, and exact by Simpson's rule between all points.
    They keep the integrals of R and of R lambda.
    """
    joint = np.union1d(knots, curve.wave_aa)
    joint = joint[(joint >= knots[0]) & (joint <= knots[-1])]
    a, b = joint[:-1], joint[1:]
    nodes = np.concatenate([a, (a + b) / 2, b])
    weights = np.repeat([1 / 6, 4 / 6, 1 / 6], a.size) * np.tile(b - a, 3)
    weights *= np.interp(nodes, curve.wave_aa, curve.response)
    width = np.diff(knots)
    left = np.clip(np.searchsorted(knots, nodes, side="right") - 1, 0, knots.size - 2)
    share = (nodes - knots[left]) / width[left]
    target = np.bincount(left, weights * (1 - share), knots.size) + np.bincount(left + 1, weights * share, knots.size)
    overlap = np.array([np.append(0.0, width / 6), np.append(width / 3, 0.0) + np.append(0.0, width / 3)])
    return np.maximum(solveh_banded(overlap, target), 0.0)
