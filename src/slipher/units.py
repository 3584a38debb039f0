"""The unit system, and the one place where astropy quantities become arrays.

Inside slipher: wavelengths in vacuum angstrom, spectra f_lambda in 1e-17 erg/s/cm2/A, photometry in nanomaggies (AB),
luminosity in Lsun/A per Msun formed, masses in Msun, times in Gyr, velocities in km/s.

`parse` reads the spellings that surveys use (`1E-17 erg/cm^2/s/Ang`, `10**-17 erg/(s cm2 Angstrom)`). The conversions
take a quantity and return a plain float64 array in slipher's units. What a bare number means is not decided here.
"""

import re
import warnings

import astropy.units as u
import numpy as np
from jaxtyping import Float

from slipher.errors import UnitsError

C_KMS = 299792.458
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
LSUN_ERG_S = 3.828e33  # IAU 2015 resolution B3
MPC_CM = 3.0856775814913673e24
FLUX_UNIT = 1e-17  # erg/s/cm2/A

FLUX_DENSITY = u.Unit(FLUX_UNIT * u.erg / u.s / u.cm**2 / u.AA)
WAVELENGTH_MEND = "Declare the unit, for example astropy.units.nm or a column unit of 'Angstrom'."
FLUX_MEND = "Declare the unit, for example '1e-17 erg / (s cm2 Angstrom)' or 'Jy'."

# Spellings in survey files that astropy reads as something else (A is its ampere) or not at all.
_SPELLINGS = (
    (re.compile(r"\b(?:angstroms?|ang|a)(?=\d*\b)", re.IGNORECASE), "Angstrom"),
    (re.compile(r"\bergs\b", re.IGNORECASE), "erg"),
    (re.compile(r"\bsec\b", re.IGNORECASE), "s"),
    (re.compile(r"\bmicrons\b", re.IGNORECASE), "micron"),
    (re.compile(r"\b(\d+(?:\.\d*)?)[eE]([+-]?\d+)\*?(?=\s*[a-zA-Z])"), r"\1e\2 "),
)


def parse(text: str, *, what: str) -> u.UnitBase:
    """The unit that `text` spells; `what` names its place in the error.

    Raises
    ------
    UnitsError
        If astropy cannot read it as a unit, or it is logarithmic (magnitudes).
    """
    spelled = text.strip()
    for pattern, replacement in _SPELLINGS:
        spelled = pattern.sub(replacement, spelled)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)  # several slashes in one unit are common and clear
            unit = u.Unit(spelled)
        if not isinstance(unit, u.UnitBase):
            raise TypeError("a logarithmic unit")
        return unit
    except (ValueError, TypeError) as error:
        raise UnitsError(
            f"{what} has the unit {text!r}",
            expected="a linear unit that astropy can read",
            mend="Correct it in the file, or declare it by keyword.",
        ) from error


def has_unit(values: object) -> bool:
    """Whether `values` is an astropy quantity, or a table column that carries a unit."""
    return getattr(values, "unit", None) is not None


def quantity(values: object) -> u.Quantity:
    """An astropy quantity of `values`, which carry a unit; masked entries become NaN."""
    unit = values.unit if isinstance(values.unit, u.UnitBase) else parse(str(values.unit), what="a column")
    return u.Quantity(plain(values), unit)


def plain(values: object) -> np.ndarray:
    """A native float64 array of `values`, without unit; masked entries become NaN."""
    bare = getattr(values, "unmasked", values)
    mask = getattr(values, "mask", None)
    array = np.array(getattr(bare, "value", bare), dtype=np.float64)
    return array if mask is None else np.where(np.asarray(mask), np.nan, array)


def wavelength_aa(wave: u.Quantity) -> Float[np.ndarray, "..."]:
    """Angstrom (float64) of wavelengths, frequencies, wave numbers or photon energies. Raises UnitsError."""
    try:
        return np.asarray(wave.to_value(u.AA, equivalencies=u.spectral()))
    except u.UnitConversionError as error:
        came = f"wavelengths in {_name(wave.unit)}"
        raise UnitsError(came, expected="a unit of length, frequency or energy", mend=WAVELENGTH_MEND) from error


def flux_density(flux: u.Quantity, wave_aa: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """f_lambda in 1e-17 erg/s/cm2/A (float64) of f_lambda or f_nu at `wave_aa` (A). Raises UnitsError."""
    try:
        return flux.to_value(FLUX_DENSITY, equivalencies=u.spectral_density(wave_aa * u.AA))
    except u.UnitConversionError as error:
        came = f"flux in {_name(flux.unit)}"
        raise UnitsError(came, expected="f_lambda or f_nu in physical units", mend=FLUX_MEND) from error


def inverse_variance(ivar: u.Quantity, wave_aa: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Inverse variance in (1e-17 erg/s/cm2/A)^-2 (float64) of `ivar` in any unit of flux^-2. Raises UnitsError."""
    scale = flux_density(u.Quantity(np.ones(np.shape(wave_aa)), ivar.unit**-0.5), wave_aa)
    return ivar.value / scale**2


def velocity_kms(velocity: u.Quantity) -> Float[np.ndarray, "..."]:
    """km/s (float64) of a velocity. Raises UnitsError."""
    try:
        return np.asarray(velocity.to_value(u.km / u.s))
    except u.UnitConversionError as error:
        mend = "Declare the unit, for example astropy.units.km / astropy.units.s."
        raise UnitsError(f"a velocity in {_name(velocity.unit)}", expected="km/s", mend=mend) from error


def _name(unit: u.UnitBase) -> str:
    return str(unit) or "no unit (dimensionless)"
