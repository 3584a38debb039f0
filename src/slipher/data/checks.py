"""The door: arrays or quantities in, a checked `Spectrum` out. Past it, arrays are clean and nothing checks again.

Every reader ends here. What can be mended without inventing anything is mended and flagged (a NaN pixel carries no
information; a decreasing wavelength axis is turned round); what cannot is refused with an error that says what came,
what was expected and the mend. Bare numbers are taken to be in slipher's units, and refused where they plainly are
not: air wavelengths cannot be told from vacuum ones and have to be declared.
"""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from slipher import units
from slipher.data import resolution
from slipher.data.observation import NO_FLAG, SURVEYS, Spectrum, check_segments
from slipher.data.vacuum import air_to_vacuum
from slipher.errors import Flag, InputError, UnitsError

WAVE_RANGE_AA = (100.0, 1e6)  # from the extreme ultraviolet to 100 um
REDSHIFT_RANGE = (-0.01, 10.0)  # the nearest galaxies approach us at up to 0.001
EBV_RANGE = (0.0, 20.0)
UNSCALED_FLUX = 1e-9  # a bare flux below this is in erg/s/cm2/A, not in 1e-17 of it
ABSURD_RATIO = 1e6  # of |flux| to its median: no line is as bright, but the fill values of files are (9.97e36)
ABSURD_FLUX = 1e25  # 1e-17 erg/s/cm2/A; the Sun from the Earth is at 2e19
MIN_GOOD_PIXELS = 200
MIN_GOOD_RATIO = 1.2  # of the reddest to the bluest good wavelength


def spectrum(
    wave: object,
    flux: object,
    *,
    ivar: object = None,
    uncertainty: object = None,
    mask: object = None,
    redshift: Real | None = None,
    lsf_kms: object = None,
    resolving_power: object = None,
    fwhm_aa: object = None,
    resolution_matrix: object = None,
    segments: Sequence[tuple[int, int]] | None = None,
    wave_medium: str = "vacuum",
    id: str = "spectrum",
    survey: str = "custom",
    ebv: Real | None = None,
    flags: Flag = NO_FLAG,
    labels: Mapping | None = None,
    source: str = "",
    checksum: str = "",
    allow_empty: bool = False,
) -> Spectrum:
    """A checked spectrum of one galaxy.

    Arrays may be numpy arrays, sequences, masked arrays, table columns or astropy quantities, of any byte order. A bare
    array is in slipher's units; one with a unit is converted.

    Parameters
    ----------
    wave
        Wavelengths [pixel], in angstrom where bare, observed frame. Frequencies and energies are accepted with a unit.
    flux
        f_lambda [pixel], in 1e-17 erg/s/cm2/A where bare; f_nu is accepted with a unit.
    ivar, uncertainty
        Exactly one of them [pixel]: the inverse variance, or the standard deviation (0 or infinite: no information).
        Bare ones are refused beside a flux in another unit than slipher's: either unit could be meant.
    mask
        True or non-zero where a pixel is bad, or the words true and false [pixel].
    redshift
        Heliocentric, or None.
    lsf_kms, resolving_power, fwhm_aa, resolution_matrix
        At most one of them: Gaussian sigma (km/s), lambda / FWHM, or FWHM (A), each a scalar or [pixel]; or DESI's
        matrix [diagonal, pixel] in the convention of `Spectrum`. With none, the survey's typical resolution.
    segments
        (start, stop) of each spectrograph arm; one segment by default or where empty.
    wave_medium
        "vacuum" or "air"; air wavelengths are converted (`slipher.data.vacuum`).
    id, survey, ebv, flags, labels, source, checksum
        As in `Spectrum`; `flags` are added to those found here.
    allow_empty
        Return a spectrum without a single good pixel, or of an empty fibre, with ivar 0 throughout and flagged, in place
        of the error: for readers of many targets.

    Raises
    ------
    UnitsError
        Units that cannot be converted, bare numbers that are plainly not in slipher's units, or bare errors beside a
        flux that is not.
    InputError
        Anything else that cannot be used; the message says what and how to mend it.
    """
    wave_aa = _wavelengths(wave, wave_medium)
    parts = _segments(segments, wave_aa.size)
    ivar64 = _ivar(ivar, uncertainty, wave_aa)
    flux64 = _fluxes(flux, wave_aa)
    _refuse_bare_errors(flux, ivar=ivar, uncertainty=uncertainty)
    ivar64 = np.where(_bad(mask, wave_aa.size), 0.0, ivar64)
    given = {"lsf_kms": lsf_kms, "resolving_power": resolving_power, "fwhm_aa": fwhm_aa}
    sigma, matrix, assumed = resolution.declared(given, resolution_matrix, wave_aa, _survey(survey))
    order, reordered = _order(wave_aa, parts)
    if matrix is not None and reordered:
        matrix = _turned(matrix, order, parts)
    clean_flux, clean_ivar, found = _sanitised(flux64[order], ivar64[order])
    clean_ivar = _lit(clean_flux, clean_ivar, id, allow_empty=allow_empty)
    found |= _coverage(wave_aa[order], clean_ivar, id, allow_empty=allow_empty)
    return Spectrum(
        wave_aa=wave_aa[order],
        flux=clean_flux,
        ivar=clean_ivar,
        redshift=redshift_value(redshift),
        lsf_kms=None if sigma is None else sigma[order],
        resolution_matrix=matrix,
        segments=parts,
        id=_identity(id),
        survey=survey,
        ebv=ebv_value(ebv),
        flags=flags | found | reordered | assumed,
        labels=dict(labels or {}),
        source=source,
        checksum=checksum,
    )


def redshift_value(redshift: Real | None) -> float | None:
    """The redshift as a float; None stays None. Raises InputError where it is not finite or out of range."""
    return _number(redshift, REDSHIFT_RANGE, "redshift", mend="Give z (not cz in km/s), or leave it out if unknown.")


def ebv_value(ebv: Real | None) -> float | None:
    """Galactic E(B-V) as a float; None stays None. Raises InputError where it is not finite or out of range."""
    return _number(ebv, EBV_RANGE, "E(B-V)", mend="Give E(B-V) in magnitudes, or leave it out if unknown.")


def pipeline_redshift(z: object, named: str) -> tuple[float | None, dict[str, str]]:
    """(redshift, labels): a pipeline's redshift, or None where it is not usable with NO_REDSHIFT, the reason, in labels."""
    low, high = REDSHIFT_RANGE
    if isinstance(z, Real) and low <= z <= high:
        return float(z), {}
    return None, {"NO_REDSHIFT": f"{named} = {z!r}, not a number from {low} to {high}"}


def _number(value, allowed, name, *, mend):
    if value is None:
        return None
    low, high = allowed
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} {value!r}", expected="a number", mend=mend) from error
    if not low <= number <= high:
        raise InputError(f"{name} {number}", expected=f"a finite number from {low} to {high}", mend=mend)
    return number


def _identity(id: object) -> str:
    if not str(id).strip():
        raise InputError(f"id {id!r}", expected="a name", mend="Give what the survey calls the object.")
    return str(id).strip()


def _survey(survey: str) -> str:
    if survey not in SURVEYS:
        mend = "Use 'custom' for any other, and give its resolution."
        raise InputError(f"survey {survey!r}", expected=f"one of {', '.join(SURVEYS)}", mend=mend)
    return survey


def _array(values: object, name: str) -> Float[np.ndarray, "pixel"]:
    try:
        array = units.plain(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} of {type(values).__name__}", expected="numbers", mend="Give an array.") from error
    if array.ndim != 1:
        mend = "Give one galaxy's spectrum at a time."
        raise InputError(f"{name} of shape {array.shape}", expected="one dimension", mend=mend)
    return array


def _same_length(array, n_pixel: int, name: str):
    if array.size != n_pixel:
        mend = "Check that both come from the same spectrum."
        raise InputError(f"{name} has {array.size} pixels and wave {n_pixel}", expected="the same number", mend=mend)
    return array


def _wavelengths(wave: object, medium: str) -> Float[np.ndarray, "pixel"]:
    array = _array(wave, "wave")
    if array.size == 0:
        raise InputError("a spectrum of 0 pixels", expected="at least one pixel", mend="Check the file's rows.")
    wave_aa = units.wavelength_aa(units.quantity(wave)) if units.has_unit(wave) else _bare_angstrom(array)
    if not np.all(np.isfinite(wave_aa)):
        came = f"{np.sum(~np.isfinite(wave_aa))} wavelengths that are NaN or infinite"
        raise InputError(came, expected="finite wavelengths", mend="Remove those pixels.")
    low, high = WAVE_RANGE_AA
    if wave_aa.min() < low or wave_aa.max() > high:
        came = f"wavelengths from {wave_aa.min():.6g} to {wave_aa.max():.6g} A"
        raise UnitsError(came, expected=f"{low:g} to {high:g} A", mend=units.WAVELENGTH_MEND)
    if medium not in ("vacuum", "air"):
        raise InputError(f"wave_medium {medium!r}", expected="'vacuum' or 'air'", mend="Say which it is.")
    return air_to_vacuum(wave_aa) if medium == "air" else wave_aa


def _bare_angstrom(wave: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"]:
    """Refuses bare wavelengths that look like another unit; everything else is taken as angstrom."""
    middle = np.median(wave)
    looks = next((name for name, (low, high) in _LOOKS_LIKE.items() if low <= middle <= high), None)
    if looks:
        came = f"wavelengths from {np.min(wave):.6g} to {np.max(wave):.6g} without a unit, which look like {looks}"
        raise UnitsError(came, expected="angstrom, or a declared unit", mend=units.WAVELENGTH_MEND)
    return wave


_LOOKS_LIKE = {"micron": (0.05, 3.0), "log10 of angstrom or micron": (3.0, 30.0), "nm": (200.0, 1100.0)}


def _fluxes(flux: object, wave_aa: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"]:
    array = _same_length(_array(flux, "flux"), wave_aa.size, "flux")
    if units.has_unit(flux):
        return units.flux_density(units.quantity(flux), wave_aa)
    used = np.abs(array[np.isfinite(array) & (array != 0)])
    if used.size and np.median(used) < UNSCALED_FLUX:
        came = f"flux of about {np.median(used):.1e} without a unit, which looks like erg/s/cm2/A"
        raise UnitsError(came, expected="1e-17 erg/s/cm2/A, or a declared unit", mend=units.FLUX_MEND)
    return array


def _ivar(ivar: object, uncertainty: object, wave_aa: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"]:
    if (ivar is None) == (uncertainty is None):
        came = "neither ivar nor uncertainty" if ivar is None else "both ivar and uncertainty"
        mend = "A spectrum without errors cannot be fitted: give its errors, or an honest estimate of them."
        raise InputError(came, expected="exactly one of them", mend=mend)
    if ivar is None:
        return _from_sigma(_fluxes(uncertainty, wave_aa))
    array = _same_length(_array(ivar, "ivar"), wave_aa.size, "ivar")
    return units.inverse_variance(units.quantity(ivar), wave_aa) if units.has_unit(ivar) else array


def _refuse_bare_errors(flux: object, **errors: object) -> None:
    """Errors without a unit beside a flux with another unit than slipher's could be in either."""
    if not units.has_unit(flux):
        return
    unit = units.quantity(flux).unit
    if unit.is_equivalent(units.FLUX_DENSITY) and np.isclose(unit.to(units.FLUX_DENSITY), 1.0):
        return
    for name, values in errors.items():
        if values is not None and not units.has_unit(values):
            power = "" if name == "uncertainty" else " to the power of -2"
            mend = f"Give {name} its unit, for example that of the flux{power}."
            raise UnitsError(f"{name} without a unit beside flux in {unit}", expected="a unit for both", mend=mend)


def _from_sigma(sigma: Float[np.ndarray, "pixel"]) -> Float[np.ndarray, "pixel"]:
    """Inverse variance with the sign of sigma, so that a negative error stays visible; 0 for no error at all."""
    used = np.where(sigma == 0, np.inf, sigma)
    return np.sign(used) * used**-2.0


def _bad(mask: object, n_pixel: int) -> Bool[np.ndarray, "pixel"]:
    if mask is None:
        return np.zeros(n_pixel, bool)
    array = _same_length(np.asarray(mask), n_pixel, "mask")
    return _words_bad(array.astype(str)) if array.dtype.kind in "US" else array != 0


def _words_bad(words: np.ndarray) -> Bool[np.ndarray, "pixel"]:
    """True and false as words, any case; a blank is a missing answer, and bad."""
    words = np.char.lower(np.char.strip(words))
    good = np.isin(words, ("false", "f", "no", "0", "0.0"))
    unknown = words[~good & ~np.isin(words, ("true", "t", "yes", "1", "1.0", ""))]
    if unknown.size:
        raise InputError(f"a mask with {str(unknown[0])!r}", expected="True and False, or numbers", mend="Correct the mask.")
    return ~good


def _segments(segments, n_pixel: int) -> tuple[tuple[int, int], ...]:
    if segments is None or len(segments) == 0:
        return ((0, n_pixel),)
    parts = tuple((int(start), int(stop)) for start, stop in segments)
    check_segments(parts, n_pixel)
    return parts


def _order(wave_aa: Float[np.ndarray, "pixel"], segments) -> tuple[Int[np.ndarray, "pixel"], Flag]:
    """The order of the pixels in which wavelengths increase in each segment."""
    order = np.concatenate([start + np.argsort(wave_aa[start:stop], kind="stable") for start, stop in segments])
    for start, stop in segments:
        ordered = wave_aa[order[start:stop]]
        twice = ordered[1:][np.diff(ordered) == 0]
        if twice.size:
            came = f"{twice.size} wavelengths that occur more than once (the first is {twice[0]:.6g} A)"
            mend = "Combine those pixels, or declare overlapping arms as segments."
            raise InputError(came, expected="each wavelength once", mend=mend)
    same = np.array_equal(order, np.arange(order.size))
    return order, NO_FLAG if same else Flag.WAVELENGTHS_REORDERED


def _turned(matrix, order, segments):
    """The matrix of segments that came decreasing. Turning both axes of R round swaps its diagonals' signs."""
    turned = matrix.copy()
    for start, stop in segments:
        step = np.diff(order[start:stop])
        if np.all(step == -1):
            turned[:, start:stop] = matrix[::-1, start:stop][:, ::-1]
        elif not np.all(step == 1):
            mend = "Sort the spectrum and its matrix first."
            raise InputError("unsorted wavelengths with a resolution matrix", expected="sorted ones", mend=mend)
    return turned


def _sanitised(flux, ivar):
    """float32 flux and ivar without NaN, infinite, absurd or negative-ivar pixels, and the flags of what was found."""
    with np.errstate(over="ignore"):
        flux, ivar = flux.astype(np.float32), ivar.astype(np.float32)
    broken = ~(np.isfinite(flux) & np.isfinite(ivar))
    negative = ivar < 0
    flags = Flag.NON_FINITE_PIXELS if broken.any() else NO_FLAG
    flags |= Flag.NEGATIVE_IVAR if negative.any() else NO_FLAG
    flux = np.where(broken, np.float32(0), flux)
    ivar = np.where(broken | negative, np.float32(0), ivar)
    absurd = _absurd(np.abs(flux), ivar > 0)
    flags |= Flag.ABSURD_PIXELS if np.any(absurd & (ivar > 0)) else NO_FLAG
    flux, ivar = np.where(absurd, np.float32(0), flux), np.where(absurd, np.float32(0), ivar)
    good = ivar > 0
    flags |= Flag.NEGATIVE_FLUX if good.any() and np.median(flux[good]) < 0 else NO_FLAG
    return flux, ivar, flags


def _absurd(size: Float32[np.ndarray, "pixel"], good: Bool[np.ndarray, "pixel"]) -> Bool[np.ndarray, "pixel"]:
    """Pixels whose |flux| is ABSURD_RATIO times the median of the good ones (exact zeros, which are padding, aside)."""
    absurd = size > ABSURD_FLUX
    usual = size[good & ~absurd & (size > 0)]
    return absurd | (size > ABSURD_RATIO * np.median(usual)) if usual.size else absurd


def _lit(flux, ivar, id: str, *, allow_empty: bool):
    """`ivar`; for an empty fibre, whose good pixels are all exactly zero, an error or no information at all."""
    good = ivar > 0
    if not good.any() or np.any(flux[good]):
        return ivar
    if allow_empty:
        return np.zeros_like(ivar)
    came = f"spectrum {id!r} with a flux of exactly 0 in all of its {good.sum()} good pixels"
    raise InputError(came, expected="light of an object", mend="This is an empty fibre: leave it out.")


def _coverage(wave_aa, ivar, id: str, *, allow_empty: bool) -> Flag:
    good = ivar > 0
    if not good.any() and not allow_empty:
        mend = "Check the ivar or mask: no pixel carries information."
        raise InputError(f"spectrum {id!r} with every pixel masked", expected="some good pixels", mend=mend)
    short = good.sum() < MIN_GOOD_PIXELS or np.ptp(np.log(wave_aa[good])) < np.log(MIN_GOOD_RATIO)
    return Flag.LITTLE_COVERAGE if short else NO_FLAG
