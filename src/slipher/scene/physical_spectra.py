r"""Spectra with physics: black bodies, power laws, emission lines and stellar populations, through the curves of the bands' filters.

    f_b = c_b int R_b f_nu dlambda / lambda / int R_b dlambda / lambda

is the mean f_nu of the AB system with photon-counting responses (Fukugita et al. 1996, equation 1) in nanomaggies, times the constant c_b
that an image's zero point is (`per_nanomaggy`). On the grid of the broad library (0.5 % in wavelength) means are one constant matrix, so
that temperatures, slopes, redshifts and the parameters of a population have derivatives.

Black bodies, power laws and lines have an amplitude relative to the fluxes that the light starts with, all bands together; a population
has its mass, and starts from the mass whose flux that is (`Population.log_mass`). Two lights share a population by being one light.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..grids import broad
from ..grids.filters import FilterCurve
from ..grids.library import BroadLibrary, load_broad
from ..instrument import photometer
from ..instrument.filters import filter_matrix, resolve
from ..instrument.photometer import FINER, LOG_MASS_UNIT, Photometer
from ..physics import cosmology, sed
from ..physics.galaxy import MODELS, GalaxyModel
from ..physics.parameters import Normal, Parameter, Uniform
from .morphology import Values
from .spectrum import Spectrum

NANOMAGGY_MAG = 22.5
H_C_OVER_K = 1.438776877e8  # A K
MIDDLE_AA = 5500.0
AMPLITUDE = Parameter("log_amplitude", "ln", r"\ln A", Normal(0.0, 2.0), "ln of the flux of all bands over that of the start")
Filters = Sequence[str | FilterCurve]
PerBand = Float[np.ndarray, "band"]


def per_nanomaggy(zero_point: PerBand) -> PerBand:
    """What a nanomaggy is in images of these zero points: AB magnitudes of a flux of one."""
    return 10 ** (0.4 * (zero_point - NANOMAGGY_MAG))


class Means(NamedTuple):
    """Band means of f_nu: `weights` [band, pixel], rows of sum one, at observed wavelengths `wave_aa` [pixel]."""

    wave_aa: Float[Array, "pixel"]
    weights: Float[Array, "band pixel"]


def band_means(filters: Filters) -> Means:
    """The means of filters, on the part of the broad grid where any responds.

    Raises
    ------
    InputError
        If a filter is unknown, or reaches beyond 912 A - 30 um.
    """
    wave = broad.wave_grid()
    weights = np.asarray(filter_matrix(filters, wave), np.float64) / wave**2
    used = np.flatnonzero(weights.any(0))
    inside = slice(used[0], used[-1] + 1)
    weights /= weights.sum(1, keepdims=True)
    return Means(jnp.asarray(wave[inside], jnp.float32), jnp.asarray(weights[:, inside], jnp.float32))


def redshift_of(redshifts: tuple[float, float]) -> Parameter:
    """A redshift that is free unless a source's start gives it."""
    return Parameter("redshift", "", "z", Uniform(*redshifts), "redshift of the light")


class BlackBody(Spectrum):
    """B_nu(T) of a temperature as observed: that of a source at a redshift, over 1 + z."""

    means: Means
    per_nmgy: Float[Array, "band"]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("log_temperature", "log(K)", r"\log T", Uniform(3.3, 4.7), "temperature"), AMPLITUDE)

    def fluxes(self, values: Values, start: Float[Array, "band"]) -> Float[Array, "band"]:
        x = H_C_OVER_K / MIDDLE_AA * 10 ** -values["log_temperature"] * (MIDDLE_AA / self.means.wave_aa)
        light = (MIDDLE_AA / self.means.wave_aa) ** 3 / jnp.expm1(x)
        return scaled(self.means.weights @ light, self.per_nmgy, values, start)


class PowerLaw(Spectrum):
    """f_nu proportional to nu^slope, as of an active nucleus (about -0.5)."""

    means: Means
    per_nmgy: Float[Array, "band"]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("slope", "", r"\alpha_\nu", Normal(-1.0, 1.0), "of ln f_nu over ln nu"), AMPLITUDE)

    def fluxes(self, values: Values, start: Float[Array, "band"]) -> Float[Array, "band"]:
        light = (MIDDLE_AA / self.means.wave_aa) ** values["slope"]
        return scaled(self.means.weights @ light, self.per_nmgy, values, start)


class EmissionLine(Spectrum):
    """A line too narrow for any band to resolve: it shines in the bands whose filters pass it at its redshift, and in no other.

    `response` [band, point] are nanomaggies of 1e-17 erg/s/cm2 on the photometer's fine grid, `rest_aa` is in vacuum. An amplitude of
    one is the line that would have the start's flux were it at the best place of every band.
    """

    response: Float[Array, "band point"]
    per_nmgy: Float[Array, "band"]
    rest_aa: float = eqx.field(static=True)
    redshifts: tuple[float, float] = eqx.field(static=True)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (redshift_of(self.redshifts), AMPLITUDE)

    def line_flux(self, values: Values, start: Float[Array, "band"]) -> Float[Array, ""]:
        """Of the line, 1e-17 erg/s/cm2."""
        return jnp.exp(values["log_amplitude"]) * jnp.sum(start / self.per_nmgy) / jnp.sum(jnp.max(self.response, 1))

    def fluxes(self, values: Values, start: Float[Array, "band"]) -> Float[Array, "band"]:
        at_rest = (np.log10(self.rest_aa) - broad.LOG_WAVE_START) / broad.LOG_WAVE_STEP
        place = FINER * (at_rest + jnp.log10(1.0 + values["redshift"]) / broad.LOG_WAVE_STEP)
        place = jnp.clip(place, 0.0, self.response.shape[1] - 1.001)
        index = place.astype(jnp.int32)
        part = place - index
        passed = self.response[:, index] * (1.0 - part) + self.response[:, index + 1] * part
        return self.per_nmgy * passed * self.line_flux(values, start)


class Population(Spectrum):
    """Stars, their nebulae and dust: a preset of the galaxy model with its own parameters and priors, and a redshift.

    `ebv` is of the Milky Way's dust in front. What the fluxes are is `slipher.instrument.photometer.observe`, as in fits of photometry.
    """

    photometer: Photometer
    library: BroadLibrary
    per_nmgy: Float[Array, "band"]
    ebv: Float[Array, ""]
    model: GalaxyModel = eqx.field(static=True)
    redshifts: tuple[float, float] = eqx.field(static=True)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (redshift_of(self.redshifts), *self.model.parameters)

    def unit(self, values: Values) -> Float[Array, "band"]:
        """Nanomaggies of 10^10 Msun formed; the values need no mass."""
        redshift = values["redshift"]
        light = sed.sed(self.model, values, cosmology.age_gyr(redshift), self.library)
        return photometer.observe(self.photometer, light, redshift, self.ebv, self.library)

    def fluxes(self, values: Values, start: Float[Array, "band"]) -> Float[Array, "band"]:
        mass = values[self.model.parameters[-1].name]
        return self.per_nmgy * self.unit(values) * 10 ** (mass - LOG_MASS_UNIT)

    def log_mass(self, values: Values, start: Float[Array, "band"]) -> Float[Array, ""]:
        """log10 of the mass formed (Msun) with which a population of these values has the flux of the start, all bands together."""
        return LOG_MASS_UNIT + jnp.log10(jnp.sum(start / self.per_nmgy) / jnp.sum(self.unit(values)))


def scaled(
    shape: Float[Array, "band"], per_nmgy: Float[Array, "band"], values: Values, start: Float[Array, "band"]
) -> Float[Array, "band"]:
    """Fluxes of a spectrum of that shape (f_nu), as bright in sum as the start times the amplitude."""
    return per_nmgy * shape * (jnp.exp(values["log_amplitude"]) * jnp.sum(start / per_nmgy) / jnp.sum(shape))


# --- how they are made; errors as of `band_means`, and InputError for as many constants as there are not bands --------


def black_body(filters: Filters, per_nmgy: PerBand) -> BlackBody:
    """A black body in images of these filters; `per_nmgy` are the images' units a nanomaggy (`per_nanomaggy`)."""
    return BlackBody(band_means(filters), _constants(filters, per_nmgy))


def power_law(filters: Filters, per_nmgy: PerBand) -> PowerLaw:
    """A power law, as `black_body`."""
    return PowerLaw(band_means(filters), _constants(filters, per_nmgy))


def emission_line(filters: Filters, per_nmgy: PerBand, rest_aa: float, redshifts: tuple[float, float] = (0.0, 2.0)) -> EmissionLine:
    """A line of a wavelength (vacuum A at rest), its redshift uniform in a range where it is not given."""
    return EmissionLine(photometer.photometer(filters).lines, _constants(filters, per_nmgy), float(rest_aa), redshifts)


def population(
    filters: Filters, per_nmgy: PerBand, *, preset: str = "photometry", ebv: float = 0.0, redshifts: tuple[float, float] = (0.002, 2.0)
) -> Population:
    """A stellar population of a preset of `slipher.physics.galaxy`, its redshift uniform in a range where it is not given.

    Raises
    ------
    InputError
        If there is no such preset.
    """
    if preset not in MODELS:
        raise InputError(f"preset {preset!r}", expected=f"one of {', '.join(MODELS)}", mend="Choose 'photometry', made for bands.")
    constants = _constants(filters, per_nmgy)
    return Population(photometer.photometer(filters), load_broad(), constants, jnp.float32(ebv), MODELS[preset], redshifts)


def _constants(filters: Filters, per_nmgy: PerBand) -> Float[Array, "band"]:
    n = len(resolve(filters))
    if per_nmgy.shape != (n,) or not np.all(per_nmgy > 0):
        came = f"units a nanomaggy {per_nmgy} for {n} bands"
        raise InputError(came, expected="one positive number for each", mend="Give per_nanomaggy of the zero points.")
    return jnp.asarray(per_nmgy, jnp.float32)
