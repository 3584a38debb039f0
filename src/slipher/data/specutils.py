"""From specutils' spectra to checked ones. specutils is not imported: whatever has its attributes is accepted."""

import astropy.units as u

from slipher.data import checks
from slipher.data.observation import Spectrum
from slipher.errors import InputError


def from_specutils(spectrum1d: object, **declared) -> Spectrum:
    """A checked spectrum from specutils' `Spectrum` (`Spectrum1D` before version 2); specutils is not imported.

    Parameters
    ----------
    spectrum1d
        One spectrum with `spectral_axis`, `flux` and `uncertainty`, and optionally `mask`, `redshift` and `meta`.
    declared
        Any keyword of `slipher.data.checks.spectrum`; a resolution (or a survey) is needed, specutils having none.

    Raises
    ------
    InputError
        If it has no uncertainty, is not one-dimensional, or is refused by `slipher.data.checks.spectrum`.
    """
    redshift = float(getattr(spectrum1d, "redshift", 0.0))  # a dimensionless quantity; 0 where none was set
    given = {"mask": spectrum1d.mask} if getattr(spectrum1d, "mask", None) is not None else {}
    given |= {"redshift": redshift} if redshift else {}
    given |= _specutils_error(spectrum1d)
    axis = u.Quantity(spectrum1d.spectral_axis.value, spectrum1d.spectral_axis.unit)
    return checks.spectrum(axis, spectrum1d.flux, **(given | declared))


def _specutils_error(spectrum1d: object) -> dict:
    uncertainty = getattr(spectrum1d, "uncertainty", None)
    if uncertainty is None:
        mend = "Set spectrum.uncertainty."
        raise InputError("a specutils spectrum without uncertainty", expected="its errors", mend=mend)
    from astropy.nddata import InverseVariance, StdDevUncertainty  # slow to import, and few come this way

    if isinstance(uncertainty, InverseVariance):
        unit = uncertainty.unit or spectrum1d.flux.unit**-2
        return {"ivar": u.Quantity(uncertainty.array, unit)}
    sigma = uncertainty.represent_as(StdDevUncertainty)
    return {"uncertainty": u.Quantity(sigma.array, sigma.unit or spectrum1d.flux.unit)}
