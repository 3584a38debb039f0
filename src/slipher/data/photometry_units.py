"""Units of photometry: AB magnitudes, nanomaggies, and every f_nu that astropy knows, as nanomaggies.

A nanomaggy is 1e-9 of 3631 Jy, as in `slipher.instrument.filters`, so that 1 uJy = 0.275406 nanomaggies and AB
magnitudes are 22.5 - 2.5 log10(nanomaggies). A bare `mag` could be Vega's and is refused, as is f_lambda, whose
conversion needs a wavelength.
"""

from typing import NamedTuple

import astropy.units as u
import numpy as np
from jaxtyping import Bool, Float

from slipher import units
from slipher.errors import UnitsError

ZERO_POINT_MAG = 22.5
AB_ZERO_POINT = u.zero_point_flux(3631.0 * u.Jy)
MAG_PER_LN = 2.5 / np.log(10.0)  # magnitudes per unit of ln(flux)
UNIT_MEND = "Declare it: unit='ABmag', 'nanomaggy', 'uJy' or 'erg / (s cm2 Hz)'."
_AB_NAMES = {"abmag", "mag(ab)", "magab", "abmags", "abmagnitude", "abmagnitudes", "ab_mag", "mag_ab"}
_MAG_NAMES = {"mag", "mags", "magnitude", "magnitudes"}
_MAGGIES = {"nanomaggies": "nanomaggy", "nmgys": "nanomaggy", "nMgy": "nanomaggy", "maggies": "maggy"}


class BandUnit(NamedTuple):
    """A unit of photometry: its name and how many nanomaggies it is; NaN nanomaggies for magnitudes."""

    name: str
    nanomaggies: float

    @property
    def is_magnitude(self) -> bool:
        """Whether it is logarithmic."""
        return bool(np.isnan(self.nanomaggies))

    def same(self, other: "BandUnit") -> bool:
        """Whether both mean the same; a bare `mag` may be any magnitude."""
        return bool(np.isclose(self.nanomaggies, other.nanomaggies, rtol=1e-9, atol=0, equal_nan=True))


AB_MAGNITUDE = BandUnit("ABmag", np.nan)
BARE_MAGNITUDE = BandUnit("mag", np.nan)


def band_unit(unit: object, *, what: str) -> BandUnit:
    """The unit of photometry that a text or an astropy unit means; `what` names its place in the error.

    Raises
    ------
    UnitsError
        If it cannot be read, is no f_nu, or does not say which magnitudes are meant.
    """
    found = _unit(unit, what)
    if found is BARE_MAGNITUDE:
        expected = "which magnitudes: Vega's have to be converted first"
        raise UnitsError(f"{what} in magnitudes", expected=expected, mend="Declare unit='ABmag' if they are AB.")
    return found


def agreed(own: object, declared: object, *, what: str) -> BandUnit:
    """The unit of a column with the unit `own` (None or blank: none), where `declared` (or None) was declared.

    The declared unit answers for a column without one, with one that nobody can read, and with a bare `mag`.

    Raises
    ------
    UnitsError
        If there is none, or if the two mean different things.
    """
    if _is_none(own):
        if declared is None:
            raise UnitsError(f"{what} has no unit", expected="a declared unit", mend=UNIT_MEND)
        return band_unit(declared, what=what)
    if declared is None:
        return band_unit(own, what=what)
    said = band_unit(declared, what=what)
    if _readable(own) and not _unit(own, what).same(said):
        raise UnitsError(f"{what} in {own} and unit={declared!r}", expected="one unit", mend="Leave unit= out, or correct the table.")
    return said


def error_factor(own: object, flux: BandUnit, *, power: int, what: str) -> float:
    """What takes errors (`power` 1) or inverse variances (-2) in the unit `own` to the unit of their flux.

    Errors of magnitudes are in magnitudes, whatever their system. Without a unit of their own they are in the flux's.

    Raises
    ------
    UnitsError
        If it cannot be read, or is linear beside magnitudes or the other way round.
    """
    if _is_none(own):
        return 1.0
    root = _to_the_power(own, 1 / power, what)
    if root.is_magnitude != flux.is_magnitude:
        raise UnitsError(f"{what} in {own} beside {flux.name}", expected="errors in the unit of the flux", mend=UNIT_MEND)
    return 1.0 if flux.is_magnitude else float((root.nanomaggies / flux.nanomaggies) ** power)


def nanomaggies(
    values: Float[np.ndarray, "row band"], scale: Float[np.ndarray, "band"], magnitude: Bool[np.ndarray, "band"]
) -> Float[np.ndarray, "row band"]:
    """Nanomaggies of finite fluxes in units of `scale` nanomaggies, or of AB magnitudes where `magnitude`."""
    with np.errstate(over="ignore"):  # what is beyond all numbers is absurd, and dealt with as such
        linear = 10 ** (-0.4 * (np.where(magnitude, values, ZERO_POINT_MAG) - ZERO_POINT_MAG))
    return np.where(magnitude, linear, values * np.where(magnitude, 1.0, scale))


def _is_none(unit: object) -> bool:
    return unit is None or str(unit).strip() == ""


def _readable(unit: object) -> bool:
    """Whether this is a unit at all, of photometry or not."""
    if not isinstance(unit, str) or _named(unit) is not None:
        return True
    try:
        units.parse(_spelled(unit), what="a column")
    except UnitsError:
        return False
    return True


def _named(text: str) -> BandUnit | None:
    plain = text.strip().lower().replace(" ", "")
    if plain in _AB_NAMES:
        return AB_MAGNITUDE
    return BARE_MAGNITUDE if plain in _MAG_NAMES else None


def _spelled(text: str) -> str:
    for plural, singular in _MAGGIES.items():
        text = text.replace(plural, singular)
    return text


def _unit(unit: object, what: str) -> BandUnit:
    named = _named(str(unit))
    if named is not None:
        return named
    linear = unit if isinstance(unit, u.UnitBase) else units.parse(_spelled(str(unit)), what=what)
    try:
        return BandUnit(str(unit), float(linear.to(u.nmgy, equivalencies=AB_ZERO_POINT)))
    except u.UnitConversionError as error:
        raise UnitsError(f"{what} in {unit}", expected="AB magnitudes, maggies or f_nu", mend=UNIT_MEND) from error


def _to_the_power(own: object, power: float, what: str) -> BandUnit:
    """The unit of which the text or unit `own` is the inverse of `power`; magnitudes as they are."""
    if power == 1 or _named(str(own)) is not None:
        return _unit(own, what)
    linear = own if isinstance(own, u.UnitBase) else units.parse(_spelled(str(own)), what=what)
    return BARE_MAGNITUDE if linear**power == u.mag else _unit(linear**power, what)
