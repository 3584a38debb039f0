"""What imaging surveys recorded of galaxies, checked: one galaxy's bands, and catalogues of many.

Where this stands: beside `observation.Spectrum`. Both classes are data, not behaviour, made by
`slipher.data.photometry_checks`, which holds the rules. Fluxes are total fluxes above the atmosphere in nanomaggies
(AB zero point 22.5), as they were recorded: not corrected for Galactic extinction. `ivar == 0` means that a band
carries no information; its `flux` is then of no meaning. Where `censored`, the galaxy was not detected: `flux` is the
upper limit, sigma = 1 / sqrt(ivar) the error of the measurement behind it, and a model that predicts the flux m has
the likelihood Phi((flux - m) / sigma), Phi being the Gaussian's cumulative distribution (Sawicki 2012, PASP 124, 1208).
"""

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from slipher.data import files as disk
from slipher.data.observation import NO_FLAG
from slipher.errors import Flag, InputError
from slipher.grids.filters import FilterCurve


@dataclass(frozen=True, eq=False, kw_only=True)
class Photometry:
    """One galaxy in several bands.

    Parameters
    ----------
    bands
        The filter curves; the same one twice for two measurements.
    flux
        Nanomaggies, or upper limits in nanomaggies. float64 [band].
    ivar
        Inverse variance of `flux`, nanomaggies^-2; 0 where there is no information. float64 [band].
    censored
        True where `flux` is an upper limit. bool [band].
    redshift
        Heliocentric redshift, or None where none is known.
    ebv
        Galactic E(B-V) towards the object (the scale of Schlegel, Finkbeiner & Davis 1998), or None if not declared.
    id
        What the survey calls the object.
    survey
        Where it is from, in the user's words.
    flags
        What the reader and the checks noticed.
    labels
        Other values of the catalogue, by its own names: for comparison only, nothing downstream may fit with them.
    source
        The file that it was read from, or "".
    checksum
        sha256 of that file's bytes, or "".

    Raises
    ------
    InputError
        If there is no band, or if the arrays disagree in length.
    """

    bands: tuple[FilterCurve, ...] = field(repr=False)
    flux: Float64[np.ndarray, "band"]
    ivar: Float64[np.ndarray, "band"]
    censored: Bool[np.ndarray, "band"]
    redshift: float | None = None
    ebv: float | None = None
    id: str = "photometry"
    survey: str = "custom"
    flags: Flag = NO_FLAG
    labels: dict = field(default_factory=dict)
    source: str = ""
    checksum: str = ""

    def __post_init__(self):
        _check_shapes(self, (len(self.bands),))

    @property
    def n_bands(self) -> int:
        """How many bands there are, with information or without."""
        return len(self.bands)

    @property
    def good(self) -> Bool[np.ndarray, "band"]:
        """Bands that carry information, upper limits among them."""
        return self.ivar > 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Catalogue:
    """Many galaxies in the same bands, checked at once; `catalogue[i]` is one of them, a slice is a smaller catalogue.

    Parameters
    ----------
    bands
        The filter curves.
    flux, ivar
        Nanomaggies (or upper limits) and nanomaggies^-2, as in `Photometry`. float64 [row, band].
    censored
        True where `flux` is an upper limit. bool [row, band].
    redshift, ebv
        As in `Photometry`; NaN where there is none. float64 [row].
    id
        What the survey calls the objects. Text [row].
    flags
        The bits of `slipher.errors.Flag`. int64 [row].
    labels
        Other columns by their names, each [row]: for comparison only.
    survey, source, checksum
        As in `Photometry`.

    Raises
    ------
    InputError
        If there is no band, or if the arrays disagree in length.
    """

    bands: tuple[FilterCurve, ...] = field(repr=False)
    flux: Float64[np.ndarray, "row band"]
    ivar: Float64[np.ndarray, "row band"]
    censored: Bool[np.ndarray, "row band"]
    redshift: Float64[np.ndarray, "row"]
    ebv: Float64[np.ndarray, "row"]
    id: Shaped[np.ndarray, "row"]
    flags: Int64[np.ndarray, "row"]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    survey: str = "custom"
    source: str = ""
    checksum: str = ""

    def __post_init__(self):
        n_rows = self.id.size
        _check_shapes(self, (n_rows, len(self.bands)))
        columns = {"redshift": self.redshift, "ebv": self.ebv, "flags": self.flags, **self.labels}
        for name, values in columns.items():
            _check_shape(name, values, (n_rows,))

    def __len__(self) -> int:
        return self.id.size

    def __iter__(self) -> Iterator[Photometry]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: object) -> "Photometry | Catalogue":
        """One galaxy for an integer; the catalogue of these rows for a slice, an array of integers or one of booleans."""
        try:
            return self._galaxy(operator.index(rows))
        except TypeError:
            return self._part(rows)

    def moved(self, zero_points: Mapping[str, float]) -> "Catalogue":
        """The same rows with magnitudes (AB) taken off those of the bands named: fluxes, errors and limits alike.

        Raises
        ------
        InputError
            If a band is named that the catalogue does not have.
        """
        names = [band.name for band in self.bands]
        if unknown := [name for name in zero_points if name not in names]:
            raise InputError(f"a zero point of {unknown[0]!r}", expected=f"one of {', '.join(names)}", mend="Name the catalogue's bands.")
        factor = 10 ** (0.4 * np.array([zero_points.get(name, 0.0) for name in names]))
        return replace(self, flux=self.flux * factor, ivar=self.ivar / factor**2)

    def _galaxy(self, row: int) -> Photometry:
        return Photometry(
            bands=self.bands,
            flux=self.flux[row],
            ivar=self.ivar[row],
            censored=self.censored[row],
            redshift=_known(self.redshift[row]),
            ebv=_known(self.ebv[row]),
            id=str(self.id[row]),
            survey=self.survey,
            flags=Flag(int(self.flags[row])),
            labels={name: disk.scalar(values[row]) for name, values in self.labels.items()},
            source=self.source,
            checksum=self.checksum,
        )

    def _part(self, rows: object) -> "Catalogue":
        names = ("flux", "ivar", "censored", "redshift", "ebv", "id", "flags")
        return Catalogue(
            bands=self.bands,
            **{name: getattr(self, name)[rows] for name in names},
            labels={name: values[rows] for name, values in self.labels.items()},
            survey=self.survey,
            source=self.source,
            checksum=self.checksum,
        )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _check_shapes(made: Photometry | Catalogue, shape: tuple[int, ...]) -> None:
    if not made.bands:
        raise InputError("photometry without bands", expected="at least one", mend="Name the filters: bands=['sdss2010-*'].")
    for name in ("flux", "ivar", "censored"):
        _check_shape(name, getattr(made, name), shape)


def _check_shape(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        expected = f"the shape {shape}: {'rows and bands' if len(shape) == 2 else 'one value for each'}"
        raise InputError(f"{name} of shape {values.shape}", expected=expected, mend="Check that all arrays come from the same galaxies.")
