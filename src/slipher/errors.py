"""Typed errors, and the flag bits that every layer shares.

An error says what came, what was expected and how to mend it; nothing is answered. A flag goes with an answer that
stands but has to be read with care: the bits are kept with every posterior, so that a catalogue can be cut on them.
"""

from enum import IntFlag


class SlipherError(Exception):
    """Base of every error that slipher raises on purpose."""


class InputError(SlipherError, ValueError):
    """Something given to slipher cannot be used as it is.

    Parameters
    ----------
    what
        What came, with its value and the file or argument it came from.
    expected
        What would have been accepted.
    mend
        What the user can do about it.
    """

    def __init__(self, what: str, *, expected: str, mend: str):
        self.what, self.expected, self.mend = what, expected, mend
        super().__init__(f"{what}; expected {expected}. {mend}")


class UnreadableFile(InputError, OSError):
    """A file that is missing, truncated, corrupt, or not of the format that its reader needs."""


class UnitsError(InputError):
    """Units that are missing, or cannot be converted to slipher's own."""


class ModelFileError(InputError):
    """A model's weights or card that are missing, altered, or made for another version."""


class Flag(IntFlag):
    """What a reader, a check or a fit noticed about one galaxy. Bits never change their meaning."""

    NON_FINITE_PIXELS = 1 << 0  # NaN or infinite flux or ivar: those pixels or bands carry no information
    NEGATIVE_IVAR = 1 << 1  # negative ivar: those pixels or bands carry no information
    WAVELENGTHS_REORDERED = 1 << 2  # came decreasing or unsorted, now increasing
    LITTLE_COVERAGE = 1 << 3  # fewer good pixels, or a shorter range, than the model was calibrated for
    LOW_SN = 1 << 4  # median S/N per pixel (of photometry: in the best band) below the calibrated range
    HIGH_SN = 1 << 5  # median S/N per pixel (of photometry: in the best band) above the calibrated range
    NEGATIVE_FLUX = 1 << 6  # the median flux of the good pixels or bands is negative
    RESOLUTION_ASSUMED = 1 << 7  # the file gave no resolution: the survey's typical one is used
    BEYOND_LIBRARY_RESOLUTION = 1 << 8  # sharper than the stellar library: small dispersions mean little
    EBV_ASSUMED_ZERO = 1 << 9  # no Galactic E(B-V) was declared
    PIPELINE_WARNING = 1 << 10  # the survey's pipeline warned about this redshift (ZWARNING, ZWARN)
    NOT_A_GALAXY = 1 << 11  # the survey's pipeline calls it a star or a quasar
    REDSHIFT_OUTSIDE_MODEL = 1 << 12  # outside the range the model was trained on
    REDSHIFT_ADJUSTED = 1 << 13  # lines and continuum prefer another redshift by more than 300 km/s
    NOVEL = 1 << 14  # unlike the model's simulations: do not believe the posterior
    POOR_FIT = 1 << 15  # chi^2 beyond what the worst per cent of simulations have, were their errors off by a fifth; of a source, beyond 2
    NOT_REFINED = 1 << 16  # refinement was asked for and its diagnostics do not hold
    DUPLICATE_ID = 1 << 17  # another object of the same run has the same id
    ABSURD_PIXELS = 1 << 18  # a million times brighter than the rest, a band beyond any galaxy: those carry no information (see data.image)
    MASS_OUTSIDE_PRIOR = 1 << 19  # the mass that the flux asks for lies outside the prior: look at the flux unit
    AIR_SUSPECTED = 1 << 20  # lines are 83 km/s to the blue of the redshift given: air wavelengths taken for vacuum?
    NON_POSITIVE_ERRORS = 1 << 21  # zero or negative errors of fluxes: those bands carry no information
    UNIT_SUSPECTED = 1 << 22  # fluxes that look like magnitudes, or magnitudes that look like fluxes: look at the unit
    NO_DATA = 1 << 23  # no band carries any information
    REDSHIFT_UNUSABLE = 1 << 24  # the catalogue's redshift is out of range or no number: taken as unknown
    EBV_UNUSABLE = 1 << 25  # the catalogue's E(B-V) is out of range or no number: taken as undeclared
    SATURATED_PIXELS = 1 << 26  # of an image: those pixels carry no information
    VARIANCE_ESTIMATED = 1 << 27  # of an image without: that of its sky, the same everywhere
    PSF_NORMALISED = 1 << 28  # a PSF's sum was not one, and now is
    OUTSIDE_IMAGE = 1 << 29  # a source of a catalogue that the image does not show: nothing was measured
    UNRESOLVED = 1 << 30  # a source no wider than the point-spread function: fitted as a point, it has no size or shape
    BLENDED = 1 << 31  # most of the light where a source is belongs to others: its fluxes may be off by more than their errors say
    TRUNCATED = 1 << 32  # more than a tenth of a source's light is outside the image: its fluxes are the model's
    MASKED = 1 << 33  # in some band, more than a tenth of a source's light is on pixels without information: its fluxes are the model's
    NOT_CONVERGED = 1 << 34  # of a scene: its fit ended before steps promised nothing more

    def names(self) -> list[str]:
        """The names of the bits that are set, lowest first."""
        return [flag.name for flag in Flag if flag in self]
