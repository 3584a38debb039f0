"""A spectrum made ready for a model: Galactic dust taken off, rest frame, redshift polished, projected.

Pixels outside the library keep their place with no weight, and the arrays are padded to a few standard lengths, so that
compiled functions are shared between galaxies.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Float64

from ..data.observation import Spectrum
from ..errors import Flag, InputError
from ..grids.library import library_sigma
from ..instrument import spectrograph
from ..networks import projection as proj
from ..physics import cosmology, dust
from ..physics.galaxy import View
from ..units import C_KMS
from .shipped import Shipped
from .training_set import LSF_ANCHORS_AA

PAD = 512
EDGE_AA = (2400.0, 10420.0)  # rest wavelengths that are fitted
BLUEST_END_AA = 4500.0  # a spectrum that ends below this rest wavelength shows too little of what the model describes
MIN_PIXELS = 200
SHARPER = 0.9  # width of the line-spread function over the library's below which an instrument counts as sharper; SDSS' is as sharp
ADJUSTED_KMS = 300.0
COARSE_KMS, FINE_KMS = np.arange(-1200.0, 1201.0, 75.0), np.arange(-60.0, 61.0, 15.0)
AIR_KMS, AIR_REACH_KMS, AIR_NATS = -83.0, 20.0, 10.0  # of air wavelengths taken for vacuum: the shift, and how surely it is seen
REDSHIFT_SD_KMS = 200.0  # how far a given redshift is expected to be off


class Observed(NamedTuple):
    """One galaxy's data as a model fits them; flux and ivar in units of `norm` (1e-17 erg/s/cm2/A)."""

    view: View
    flux: Float[Array, "pixel"]
    ivar: Float[Array, "pixel"]
    projected: proj.Projected
    features: Float[Array, "feature"]
    basis: Float[Array, "pixel component"]
    redshift: float
    t_universe_gyr: Array
    norm: float
    n_pixels: int
    kept: Float64[np.ndarray, "all"]
    flags: Flag


def observe(spectrum: Spectrum, model: Shipped) -> Observed:
    """Prepare a spectrum.

    Raises
    ------
    InputError
        If it has no redshift or one that the library does not reach, or fewer than 200 good pixels in range.
    """
    redshift, flux, ivar, wave, inside, scale = prepare(spectrum, EDGE_AA)
    shift, gain = polish_redshift(flux, ivar, wave, redshift, model)
    polished = (1.0 + redshift) * (1.0 + shift / C_KMS) - 1.0
    lsf = padded(spectrum.lsf_sigma_kms().astype(np.float64), None)
    bands = None if spectrum.resolution_matrix is None else _bands(spectrum, len(wave))
    rest = wave / (1.0 + polished)
    segments = (*spectrum.segments[:-1], (spectrum.segments[-1][0], len(wave)))
    view = spectrograph.view(wave, polished, model.library, lsf_kms=lsf, resolution_matrix=bands, segments=segments)
    order = np.argsort(rest[: len(spectrum.wave_aa)])
    log_lsf = np.log(np.interp(LSF_ANCHORS_AA, rest[order], lsf[order]))
    flags = Flag.REDSHIFT_ADJUSTED if abs(shift) > ADJUSTED_KMS else Flag(0)
    if abs(shift - AIR_KMS) < AIR_REACH_KMS and gain > AIR_NATS:
        flags |= Flag.AIR_SUSPECTED
    if np.median(lsf[: len(inside)][inside] / library_sigma(rest[: len(inside)][inside])) < SHARPER:
        flags |= Flag.BEYOND_LIBRARY_RESOLUTION
    basis, projected, features = _read(
        jnp.asarray(flux), jnp.asarray(ivar), jnp.asarray(rest, jnp.float32), *map(jnp.asarray, spectrograph.interpolation_stencil(rest)),
        jnp.float32(max(polished, 1e-4)), jnp.asarray(log_lsf, jnp.float32), model.trained.projection,
    )  # fmt: skip
    return Observed(
        view, jnp.asarray(flux), jnp.asarray(ivar), projected, features, basis, polished,
        cosmology.age_gyr(jnp.float32(max(polished, 0.0))), scale, int(inside.sum()), inside.astype(np.float64), flags,
    )  # fmt: skip


class Prepared(NamedTuple):
    """A spectrum's arrays, padded: flux and ivar in units of `norm`, zero outside of what is fitted; `inside` is not padded."""

    redshift: float
    flux: Float32[np.ndarray, "padded"]
    ivar: Float32[np.ndarray, "padded"]
    wave_aa: Float64[np.ndarray, "padded"]
    inside: Bool[np.ndarray, "all"]
    norm: float


def prepare(spectrum: Spectrum, edge_aa: tuple[float, float]) -> Prepared:
    """Galactic dust taken off, pixels chosen between rest wavelengths, scaled; errors as for `observe`."""
    redshift = _checked_redshift(spectrum)
    flux, ivar = _without_foreground(spectrum)
    rest = spectrum.wave_aa / (1.0 + redshift)
    inside = (rest > edge_aa[0]) & (rest < edge_aa[1]) & (ivar > 0)
    if inside.sum() < MIN_PIXELS:
        raise InputError(
            f"{spectrum.id}: {inside.sum()} good pixels between {edge_aa[0]:.0f} and {edge_aa[1]:.0f} A in the rest frame",
            expected=f"at least {MIN_PIXELS}",
            mend="Check redshift, wavelength unit and ivar.",
        )
    norm = float(np.median(np.abs(flux[inside]))) or 1.0
    flux = np.where(inside, flux / norm, 0.0).astype(np.float32)
    ivar = np.where(inside, ivar * norm**2, 0.0).astype(np.float32)
    return Prepared(redshift, padded(flux, 0.0), padded(ivar, 0.0), _padded_wave(spectrum.wave_aa), inside, norm)


def _checked_redshift(spectrum: Spectrum) -> float:
    z, reach = spectrum.redshift, spectrum.wave_aa.max()
    if reach < BLUEST_END_AA:
        raise InputError(
            f"{spectrum.id}: wavelengths from {spectrum.wave_aa.min():.5g} to {reach:.5g} A",
            expected=f"a spectrum that reaches {BLUEST_END_AA:.0f} A in the rest frame",
            mend="Check the unit of the wavelengths.",
        )
    if z is None:
        why = spectrum.labels.get("NO_REDSHIFT")
        mend = "Put its redrock file beside the coadd." if spectrum.survey == "desi" else "Give it: --redshift Z."
        what = f"{spectrum.id} has no redshift" + (f" ({why})" if why else "")
        raise InputError(what, expected="a redshift in the file or given", mend=mend)
    low, high = -0.005, reach / BLUEST_END_AA - 1.0
    if not low <= z <= high:
        raise InputError(
            f"{spectrum.id}: redshift {z:.5g}",
            expected=f"{low} to {high:.2f}, where the spectrum shows the rest-frame optical that the model describes",
            mend="Check the redshift; quasars and high-redshift galaxies need another model.",
        )
    return float(z)


def _without_foreground(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Flux and ivar before the Milky Way's dust (Fitzpatrick 1999), if E(B-V) was declared."""
    flux, ivar = spectrum.flux.astype(np.float64), spectrum.ivar.astype(np.float64)
    if not spectrum.ebv:
        return flux, ivar
    wave = _padded_wave(spectrum.wave_aa).astype(np.float32)
    passed = np.asarray(_foreground(wave, spectrum.ebv), np.float64)[: len(flux)]
    return flux / passed, ivar * passed**2


def padded(values: np.ndarray, fill: float | None) -> np.ndarray:
    """Padded at the end to a multiple of PAD, with a value or (None) the last one."""
    extra = -len(values) % PAD
    return np.concatenate([values, np.full(extra, values[-1] if fill is None else fill, values.dtype)])


def _padded_wave(wave: np.ndarray) -> Float64[np.ndarray, "padded"]:
    extra = -len(wave) % PAD
    step = wave[-1] / wave[-2]
    return np.concatenate([wave, wave[-1] * step ** np.arange(1, extra + 1)])


def _bands(spectrum: Spectrum, n: int) -> Float32[np.ndarray, "offset padded"]:
    """The resolution matrix as `spectrograph.view` takes it, padded."""
    rows = spectrograph.resolution_bands(spectrum.resolution_matrix, spectrum.segments)
    return np.pad(rows, ((0, 0), (0, n - rows.shape[1]))).astype(np.float32)


_foreground = jax.jit(dust.foreground_transmission)


@jax.jit
def _evidence(flux: Array, ivar: Array, wave: Array, index: Array, stencil: Array, projection: proj.Projection) -> Array:
    basis = proj.at_pixels(projection.basis, index, stencil)
    return proj.project(flux, ivar, wave, basis, projection.mean, projection.variance).log_evidence


@jax.jit
def _read(
    flux: Array, ivar: Array, wave: Array, index: Array, stencil: Array, redshift: Array, log_lsf: Array, projection: proj.Projection
) -> tuple[Array, proj.Projected, Array]:
    """The basis at the pixels, the spectrum projected on to it, and what the network reads."""
    basis = proj.at_pixels(projection.basis, index, stencil)
    projected = proj.project(flux, ivar, wave, basis, projection.mean, projection.variance)
    return basis, projected, proj.features(projected, projection, redshift, log_lsf)


def polish_redshift(flux: np.ndarray, ivar: np.ndarray, wave: np.ndarray, redshift: float, model: Shipped) -> tuple[float, float]:
    """Velocity shift (km/s) of the given redshift that lines and continuum prefer, and by how many nats they prefer it to none.

    The largest of the projection's evidence on two grids. At most about 1,200 km/s: what prefers more is another redshift, not a
    better one.
    """

    def one(shift: float) -> float:
        rest = wave / ((1.0 + redshift) * (1.0 + shift / C_KMS))
        stencil = spectrograph.interpolation_stencil(rest)
        value = _evidence(flux, ivar, jnp.asarray(rest, jnp.float32), *stencil, model.trained.projection)
        return float(value) - 0.5 * (shift / REDSHIFT_SD_KMS) ** 2

    def best(centre: float, grid: np.ndarray) -> float:
        shifts = centre + grid
        values = np.array([one(s) for s in shifts])
        i = int(np.argmax(values))
        if i in (0, len(values) - 1):
            return float(shifts[i])
        a, b, c = values[i - 1 : i + 2]
        bend = a - 2 * b + c  # not positive, for b is the largest
        return float(shifts[i] + (0.5 * (a - c) / bend * (shifts[1] - shifts[0]) if bend < 0 else 0.0))

    found = best(best(0.0, COARSE_KMS), FINE_KMS)
    return found, one(found) - one(0.0)
