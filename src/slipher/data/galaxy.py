"""One galaxy seen in two ways: its spectrum, its photometry, and how much of its light the spectrograph caught.

Where this stands: after `observation` and `photometry`, before every joint fit. Photometry is of the whole galaxy, a
spectrum of what falls into the fibre or slit; the two share one set of physical parameters and differ by a factor,
whose prior is the `Aperture`. How the factor changes with wavelength (galaxies are bluer outside) is the fit's to say:
`aperture_slope` of the joint preset.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from slipher import units
from slipher.data.observation import Spectrum
from slipher.data.photometry import Photometry
from slipher.errors import Flag, InputError

REDSHIFT_TOLERANCE = 0.01  # times 1 + z: beyond the errors of good photometric redshifts
EBV_TOLERANCE = 0.02  # mag; dust maps, and positions a few arcsec apart, differ by less where it matters
FLUX_RATIO_ERROR_DEX = 0.05  # of spectrophotometry against fibre magnitudes
MAX_FRACTION = 1.5  # noise and seeing can put slightly more light into the aperture than there is


@dataclass(frozen=True)
class Aperture:
    """Prior of the fraction of a galaxy's light that the spectrograph's aperture caught: a Gaussian of its log10.

    Parameters
    ----------
    log10_fraction
        Its mean, dex: 0 where all light was caught.
    sd_dex
        Its standard deviation, dex.

    Raises
    ------
    InputError
        If the mean is not finite, or the standard deviation not positive and finite.
    """

    log10_fraction: float
    sd_dex: float

    def __post_init__(self):
        if not (np.isfinite(self.log10_fraction) and 0 < self.sd_dex < np.inf):
            came = f"an aperture of {self.log10_fraction} +- {self.sd_dex} dex"
            raise InputError(came, expected="a finite mean and a positive standard deviation", mend="Use Aperture.from_fluxes.")

    @classmethod
    def from_fluxes(
        cls, fibre_flux: object, total_flux: object, *, caught_of_point: float = 1.0, sd_dex: float = FLUX_RATIO_ERROR_DEX
    ) -> "Aperture":
        """The prior from fluxes inside the aperture and in total, as FIBERFLUX_R and FLUX_R of the Legacy Surveys.

        Parameters
        ----------
        fibre_flux, total_flux
            In one unit, each a number or [band]. Of several bands the mean of log10 is taken; their scatter, which is
            the galaxy's change of colour, widens the prior. Bands without two positive fluxes are left out.
        caught_of_point
            Share of a point source's light inside the aperture, where spectra are scaled as if all had been caught: DESI's, by
            MEAN_PSF_TO_FIBER_SPECFLUX.
        sd_dex
            What the prior is at least wide: the error of the spectrum's flux calibration against the fibre's flux.

        Raises
        ------
        InputError
            If there is no band with two positive fluxes, or if more light was in the aperture than there is.
        """
        inside, total = _fluxes(fibre_flux), _fluxes(total_flux)
        if inside.shape != total.shape:
            came = f"{inside.size} fluxes in the aperture and {total.size} in total"
            raise InputError(came, expected="the same bands", mend="Give both of each band.")
        with np.errstate(invalid="ignore"):
            usable = (inside > 0) & (total > 0) & np.isfinite(inside) & np.isfinite(total)
        ratio = np.log10(inside[usable] / total[usable] / caught_of_point)
        if ratio.size == 0 or 10 ** ratio.mean() > MAX_FRACTION:
            came = f"the fluxes {inside.tolist()} in the aperture and {total.tolist()} in total"
            raise InputError(came, expected="positive fluxes, the first not above the second", mend="Give Aperture(mean, sd) instead.")
        scatter = np.std(ratio, ddof=1) if ratio.size > 1 else 0.0
        return cls(min(float(ratio.mean()), 0.0), float(np.hypot(sd_dex, scatter)))


def _fluxes(values: object) -> Float64[np.ndarray, "band"]:
    try:
        return units.plain(values).reshape(-1)
    except (TypeError, ValueError) as error:
        raise InputError(f"fluxes {values!r}", expected="numbers", mend="Give nanomaggies.") from error


@dataclass(frozen=True, eq=False, kw_only=True)
class Galaxy:
    """A spectrum and photometry of the same galaxy; both carry the same redshift and E(B-V) afterwards.

    Parameters
    ----------
    spectrum, photometry
        Checked. Where only one has a redshift or an E(B-V), the other takes it; where both have, the spectrum's holds.
    aperture
        Prior of the fraction of the photometry's light that is in the spectrum.

    Raises
    ------
    InputError
        If the redshifts differ by more than 0.01 (1 + z), or the values of E(B-V) by more than 0.02 mag.
    """

    spectrum: Spectrum
    photometry: Photometry
    aperture: Aperture

    def __post_init__(self):
        redshift = _agreed(self, "redshift", lambda z: REDSHIFT_TOLERANCE * (1 + z))
        ebv = _agreed(self, "ebv", lambda _: EBV_TOLERANCE)
        for name in ("spectrum", "photometry"):
            part = getattr(self, name)
            if (part.redshift, part.ebv) != (redshift, ebv):
                object.__setattr__(self, name, replace(part, redshift=redshift, ebv=ebv))

    @property
    def id(self) -> str:
        """What the spectroscopic survey calls it."""
        return self.spectrum.id

    @property
    def redshift(self) -> float | None:
        """Of both, or None where none is known."""
        return self.spectrum.redshift

    @property
    def ebv(self) -> float | None:
        """Galactic E(B-V) of both, or None if not declared."""
        return self.spectrum.ebv

    @property
    def flags(self) -> Flag:
        """What was noticed about the spectrum or the photometry."""
        return self.spectrum.flags | self.photometry.flags


def _agreed(galaxy: Galaxy, name: str, tolerance) -> float | None:
    first, second = getattr(galaxy.spectrum, name), getattr(galaxy.photometry, name)
    if first is None or second is None:
        return second if first is None else first
    if abs(first - second) > tolerance(first):
        came = f"{name} {first:.6g} of spectrum {galaxy.spectrum.id!r} and {second:.6g} of photometry {galaxy.photometry.id!r}"
        expected = f"the same within {tolerance(first):.3g}"
        raise InputError(came, expected=expected, mend="Check that both are of the same galaxy, or leave one value out.")
    return first
