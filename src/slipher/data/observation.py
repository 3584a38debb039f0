"""What a survey recorded of one galaxy, checked: the class that every reader ends in and every fit starts from.

A `Spectrum` is data, not behaviour: numpy arrays in slipher's units, made by `slipher.data.checks.spectrum`, which
holds the rules. `ivar == 0` means that a pixel carries no information; there are no other masks past the readers. The
pipeline's own answers travel in `labels`, for comparison only: nothing downstream may fit with them.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Float64

from slipher.data.resolution import matrix_sigma_kms
from slipher.errors import Flag, InputError

NO_FLAG = Flag(0)
SURVEYS = ("sdss", "boss", "desi", "custom")


@dataclass(frozen=True, eq=False, kw_only=True)
class Spectrum:
    """One galaxy's spectrum, in the observed frame.

    The resolution is given in exactly one of two ways:

    - `lsf_kms`, the standard deviation in km/s of a Gaussian line-spread function at each pixel;
    - `resolution_matrix`, DESI's banded matrix R, which takes a model sampled on the pixels of one segment to what the
      spectrograph records there, `recorded[i] = sum_j R[i, j] model[j]`. It is stored by diagonals as in DESI's files
      and in `scipy.sparse.dia_array`: with offsets `o[k] = D // 2 - k` for k = 0 ... D - 1 (D diagonals, the highest
      first), `R[j - o[k], j] = resolution_matrix[k, j]`, where i and j count from the segment's first pixel. Each row
      of R sums to one (DESI's own matrices to within a per cent).

    Parameters
    ----------
    wave_aa
        Vacuum wavelengths in angstrom, heliocentric, increasing within each segment. float64 [pixel].
    flux
        f_lambda in 1e-17 erg/s/cm2/A. float32 [pixel].
    ivar
        Inverse variance of `flux`; 0 where there is no information. float32 [pixel].
    redshift
        Heliocentric redshift, or None where none is known.
    lsf_kms
        See above. float32 [pixel].
    resolution_matrix
        See above. float32 [diagonal, pixel].
    segments
        (start, stop) of each part recorded by one spectrograph arm. The arms of DESI overlap in wavelength and stay
        separate; SDSS has one segment. Default: one segment.
    id
        What the survey calls the object.
    survey
        One of `SURVEYS`.
    ebv
        Galactic E(B-V) towards the object (the scale of Schlegel, Finkbeiner & Davis 1998), or None if not declared.
    flags
        What the reader and the checks noticed.
    labels
        The pipeline's values as read from the file, by the file's own names (Z, VDISP, CLASS, LINES ...).
    source
        The file that it was read from, or "".
    checksum
        sha256 of that file's bytes, or "".

    Raises
    ------
    InputError
        If the arrays disagree in length, if not exactly one resolution is given, or if the segments do not tile the
        pixels.
    """

    wave_aa: Float64[np.ndarray, "pixel"]
    flux: Float32[np.ndarray, "pixel"]
    ivar: Float32[np.ndarray, "pixel"]
    redshift: float | None = None
    lsf_kms: Float32[np.ndarray, "pixel"] | None = None
    resolution_matrix: Float32[np.ndarray, "diagonal pixel"] | None = None
    segments: tuple[tuple[int, int], ...] = ()
    id: str = "spectrum"
    survey: str = "custom"
    ebv: float | None = None
    flags: Flag = NO_FLAG
    labels: dict = field(default_factory=dict)
    source: str = ""
    checksum: str = ""

    def __post_init__(self):
        object.__setattr__(self, "segments", self.segments or ((0, self.wave_aa.size),))
        _check_lengths(self)
        _check_one_resolution(self)
        check_segments(self.segments, self.wave_aa.size)

    @property
    def good(self) -> Bool[np.ndarray, "pixel"]:
        """Pixels that carry information."""
        return self.ivar > 0

    def median_sn(self) -> float:
        """Median signal-to-noise ratio per pixel over the pixels that carry information; 0 if there are none."""
        if not self.good.any():
            return 0.0
        return float(np.median(self.flux[self.good] * np.sqrt(self.ivar[self.good])))

    def lsf_sigma_kms(self) -> Float32[np.ndarray, "pixel"]:
        """Standard deviation of the Gaussian-equivalent line-spread function at each pixel, in km/s.

        `lsf_kms` itself, or for a resolution matrix the root of the second central moment of each of its rows.
        """
        if self.lsf_kms is not None:
            return self.lsf_kms
        return matrix_sigma_kms(self.resolution_matrix, self.wave_aa, self.segments)


def _check_lengths(spectrum: Spectrum) -> None:
    arrays = {name: getattr(spectrum, name) for name in ("flux", "ivar", "lsf_kms", "resolution_matrix")}
    for name, array in arrays.items():
        if array is not None and array.shape[-1] != spectrum.wave_aa.size:
            raise InputError(
                f"{name} has {array.shape[-1]} pixels and wave_aa {spectrum.wave_aa.size}",
                expected="one value a pixel",
                mend="Check that all arrays come from the same spectrum.",
            )


def _check_one_resolution(spectrum: Spectrum) -> None:
    if (spectrum.lsf_kms is None) == (spectrum.resolution_matrix is None):
        came = "no resolution" if spectrum.lsf_kms is None else "both lsf_kms and resolution_matrix"
        raise InputError(came, expected="exactly one of the two", mend="Give one of lsf_kms and resolution_matrix.")


def check_segments(segments: tuple[tuple[int, int], ...], n_pixel: int) -> None:
    """Raises InputError where (start, stop) do not follow each other from 0 to `n_pixel`."""
    starts = [0, *(stop for _, stop in segments)]
    tiles = starts[-1] == n_pixel and all(start == previous < stop for (start, stop), previous in zip(segments, starts, strict=False))
    if not tiles:
        raise InputError(
            f"segments {segments} of {n_pixel} pixels",
            expected="consecutive (start, stop) that cover every pixel once",
            mend="Leave segments out for a spectrum of one piece.",
        )
