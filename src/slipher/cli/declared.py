"""What the user declares of tables, checked once and before any file is read: a wrong word is wrong usage, not a failure of every file.

The rules are those of `slipher.data` itself: nothing is listed here.
"""

from collections.abc import Callable

import astropy.units as u
import numpy as np

from slipher import units
from slipher.data import resolution, spectrum
from slipher.errors import InputError

WAVE_AA = np.linspace(4000.0, 9000.0, 500)
FLAT = np.ones_like(WAVE_AA)


def declarations(
    *, survey: str | None, resolving_power: float | None, wave_unit: str | None, flux_unit: str | None, wave_medium: str | None
) -> dict:
    """Those that were made, as keywords of `slipher.data.read`.

    Raises
    ------
    InputError
        For a word, a unit or a resolving power that no table could be read with.
    """
    if resolving_power is not None:
        _check_resolving_power(resolving_power)
    if wave_unit is not None:
        _check_unit("--wave-unit", wave_unit, units.wavelength_aa)
    if flux_unit is not None:
        _check_unit("--flux-unit", flux_unit, lambda flux: units.flux_density(flux, WAVE_AA))
    words = {name: word for name, word in (("survey", survey), ("wave_medium", wave_medium)) if word is not None}
    spectrum(WAVE_AA, FLAT, ivar=FLAT, lsf_kms=100.0, **words)  # the door judges them, on a spectrum that it must accept
    numbers = {"resolving_power": resolving_power, "wave_unit": wave_unit, "flux_unit": flux_unit}
    return words | {name: value for name, value in numbers.items() if value is not None}


def _check_resolving_power(value: float) -> None:
    most, least = resolution.from_resolving_power(np.array(resolution.LSF_RANGE_KMS))  # the conversion is its own inverse
    if not least <= value <= most:
        expected = f"wavelength / FWHM, from {least:.2g} to {most:.2g}"
        raise InputError(f"--resolving-power {value}", expected=expected, mend="Leave it out if the table has its resolution.")


def _check_unit(option: str, text: str, convert: Callable[[u.Quantity], object]) -> None:
    convert(u.Quantity(FLAT, units.parse(text, what=option)))
