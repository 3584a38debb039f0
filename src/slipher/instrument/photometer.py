r"""The photometer: a galaxy's rest-frame light in any set of bands, at any redshift.

Where this stands: the instrument of photometry, as `spectrograph` is that of spectra. The broad library's grid is logarithmic, so that a
redshift is a shift by a fraction of a pixel, and bands are one constant matrix on observed wavelengths:

    nanomaggies = matrix @ (shifted continuum x IGM x foreground dust) + (response at the lines) @ line fluxes.

Galactic dust dims the model inside each band, never the data: what it does to a broad band depends on the galaxy's spectrum. It is also
linear in the spectrum, and differentiable in the redshift.
"""

from collections.abc import Iterable
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..grids import broad
from ..grids.filters import FilterCurve
from ..grids.library import BroadLibrary
from ..physics import cosmology, dust, igm
from ..physics.derived import RestBands
from ..physics.sed import Sed
from ..units import FLUX_UNIT, LSUN_ERG_S, MPC_CM
from .filters import filter_matrix, line_response, resolve

FINER = 8  # points at which responses to lines are tabulated, a step of the grid
LOG_MASS_UNIT = 10.0  # fluxes are those of 10^10 Msun formed, numbers of order one
REDSHIFT_MAX = 9.0

Scalar = Float[Array, ""]


class Photometer(eqx.Module):
    """A set of bands: matrix from f_lambda (1e-17 erg/s/cm2/A) on the broad grid, observed, to nanomaggies; and responses to lines.

    `lines` [band, point] are nanomaggies of a line of 1e-17 erg/s/cm2, on a grid `FINER` times as fine; `dimming` and `line_dimming` the
    optical depths of foreground dust of E(B-V) = 1 on both. `pivot_aa` are the bands' pivot wavelengths.
    """

    matrix: Float[Array, "band pixel"]
    lines: Float[Array, "band point"]
    dimming: Float[Array, "pixel"]
    line_dimming: Float[Array, "point"]
    pivot_aa: Float[Array, "band"]


def photometer(filters: Iterable[str | FilterCurve]) -> Photometer:
    """The photometer of these bands, in their order.

    Raises
    ------
    InputError
        If a filter is unknown, or reaches beyond 912 A - 30 um.
    """
    return _photometer(resolve(filters))


@lru_cache(maxsize=64)
def _photometer(curves: tuple[FilterCurve, ...]) -> Photometer:
    wave, fine = broad.wave_grid(), _fine_grid()
    return Photometer(
        matrix=filter_matrix(curves, wave),
        lines=jnp.asarray(np.stack([line_response(curve, fine) for curve in curves]), jnp.float32),
        dimming=-jnp.log(dust.foreground_transmission(jnp.asarray(wave, jnp.float32), 1.0)),
        line_dimming=-jnp.log(dust.foreground_transmission(jnp.asarray(fine, jnp.float32), 1.0)),
        pivot_aa=jnp.asarray([curve.pivot_aa for curve in curves], jnp.float32),
    )


def _fine_grid() -> np.ndarray:
    return 10 ** (broad.LOG_WAVE_START + broad.LOG_WAVE_STEP / FINER * np.arange(broad.N_WAVE * FINER))


def observe(bands: Photometer, light: Sed, redshift: Scalar, ebv: Scalar, library: BroadLibrary) -> Float[Array, "band"]:
    """Nanomaggies in each band of 10^10 Msun formed of a galaxy's light at a redshift, behind Galactic dust of `ebv`.

    The shifted spectrum is linear between the grid's points. Exact for a spectrum that is so at the redshift; where it is not, what a
    band of a tenth of its wavelength sees changes by 1e-3 at most.
    """
    shift = jnp.log10(1.0 + redshift) / broad.LOG_WAVE_STEP
    seen = _shifted(light.continuum * _intergalactic(redshift, library), shift)
    continuum = bands.matrix @ (seen * jnp.exp(-ebv * bands.dimming)) / (1.0 + redshift)
    place = FINER * ((jnp.log10(library.light.line_wave_aa) - broad.LOG_WAVE_START) / broad.LOG_WAVE_STEP + shift)
    place = jnp.clip(place, 0.0, bands.lines.shape[1] - 1.001)
    index = place.astype(jnp.int32)
    part = place - index
    response = bands.lines[:, index] * (1.0 - part) + bands.lines[:, index + 1] * part
    lines = response @ (light.lines * jnp.exp(-ebv * bands.line_dimming[index]))
    return (continuum + lines) * flux_of_luminosity(redshift)


def flux_of_luminosity(redshift: Scalar) -> Scalar:
    """1e-17 erg/s/cm2 per Lsun/Msun of 10^10 Msun at a redshift."""
    return _PER_MASS / cosmology.luminosity_distance_mpc(redshift) ** 2


def pivot_transmission(bands: Photometer, ebv: Scalar) -> Float[Array, "band"]:
    """Fraction of light that passes the Galactic dust, at each band's pivot wavelength."""
    return dust.foreground_transmission(bands.pivot_aa, ebv)


def rest_bands(names: tuple[str, ...], library: BroadLibrary) -> RestBands:
    """Bands in the rest frame, for derived colours."""
    lines = np.asarray(library.light.line_wave_aa, np.float64)
    response = np.stack([line_response(curve, lines) for curve in resolve(names)])
    return RestBands(photometer(names).matrix, jnp.asarray(response, jnp.float32))


_PER_MASS = 10**LOG_MASS_UNIT * LSUN_ERG_S / (4 * np.pi * MPC_CM**2) / FLUX_UNIT


def _shifted(spectrum: Float[Array, "pixel"], shift: Scalar) -> Float[Array, "pixel"]:
    """The spectrum moved red by a number of grid points that need not be whole; zero beyond its blue end."""
    n = len(spectrum)
    whole = jnp.floor(jax.lax.stop_gradient(shift))
    start, part = n - whole.astype(jnp.int32), shift - whole
    padded = jnp.concatenate([jnp.zeros(n, spectrum.dtype), spectrum])
    moved = jax.lax.dynamic_slice(padded, (start - 1,), (n + 1,))
    return (1.0 - part) * moved[1:] + part * moved[:-1]


_N_IGM = int(np.searchsorted(broad.wave_grid(), igm.LYMAN_ALPHA_AA))


def _intergalactic(redshift: Scalar, library: BroadLibrary) -> Float[Array, "pixel"]:
    """Transmission of the intergalactic medium at rest wavelengths."""
    wave = library.light.wave_aa
    blue = igm.transmission(wave[:_N_IGM] * (1.0 + redshift), redshift)
    return jnp.concatenate([blue, jnp.ones_like(wave[_N_IGM:])])
