"""The photometer against exact integrals of the same spectra, band by band and redshift by redshift."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.errors import InputError
from slipher.grids import broad
from slipher.grids.filters import FilterCurve, load_filters
from slipher.grids.library import load_broad
from slipher.instrument import photometer
from slipher.instrument.filters import filter_matrix, line_response
from slipher.physics import cosmology, dust, igm, parameters, sed
from slipher.physics.galaxy import PHOTOMETRY
from slipher.units import LSUN_ERG_S, MPC_CM

BANDS = ("galex-nuv", "sdss2010-u", "sdss2010-g", "hsc2017-i", "suprime-IB679", "twomass-Ks", "wise2010-W1")


@pytest.fixture(scope="module")
def light():
    u = jax.random.normal(jax.random.key(7), (len(PHOTOMETRY.parameters) - 1,))
    return sed.sed(PHOTOMETRY, parameters.from_normal(PHOTOMETRY.parameters[:-1], u), cosmology.age_gyr(0.3), load_broad())


def exact(light, redshift, ebv=0.0, bands=BANDS):
    """The same integrals with filters at the rest wavelengths' own redshifted places, and lines one by one."""
    wave = broad.wave_grid() * (1 + redshift)
    through = np.asarray(igm.transmission(jnp.asarray(wave, jnp.float32), redshift)) * np.exp(
        ebv * np.log(np.asarray(dust.foreground_transmission(jnp.asarray(wave, jnp.float32), 1.0)))
    )
    matrix = np.asarray(filter_matrix(bands, wave, uncovered="nan"), np.float64)
    lines = np.asarray(load_broad().light.line_wave_aa, np.float64) * (1 + redshift)
    ahead = np.exp(ebv * np.log(np.asarray(dust.foreground_transmission(jnp.asarray(lines, jnp.float32), 1.0))))
    response = np.stack([line_response(curve, lines) for curve in load_filters(bands)])
    distance = float(cosmology.luminosity_distance_mpc(jnp.float32(redshift))) * MPC_CM
    flux = matrix @ (np.asarray(light.continuum, np.float64) * through) / (1 + redshift) + response @ (np.asarray(light.lines) * ahead)
    return flux * 1e10 * LSUN_ERG_S / (4 * np.pi * distance**2) / 1e-17


@pytest.mark.parametrize("redshift", [0.004, 0.0731, 0.5, 1.234, 3.2])
@pytest.mark.parametrize("ebv", [0.0, 0.3])
def test_against_exact_integrals(light, redshift, ebv):
    got = photometer.observe(photometer.photometer(BANDS), light, jnp.float32(redshift), jnp.float32(ebv), load_broad())
    bands = BANDS if redshift < 0.9 else BANDS[1:] if redshift < 2 else BANDS[3:]  # nothing shines below 912 A
    twin = exact(light, redshift, ebv, bands)
    np.testing.assert_allclose(np.asarray(got)[-len(bands) :], twin, rtol=4e-3)


def test_a_line_moves_through_a_filter():
    """Unit line alone: zero outside the band, and its response inside."""
    library = load_broad()
    n = len(library.light.line_wave_aa)
    alone = sed.Sed(jnp.zeros(broad.N_WAVE), jnp.zeros(n).at[library.light.line_names.index("halpha")].set(1.0))
    see = jax.jit(lambda z: photometer.observe(photometer.photometer(("suprime-IB679",)), alone, z, jnp.float32(0.0), library))
    curve = load_filters(["suprime-IB679"])[0]
    halpha = float(library.light.line_wave_aa[library.light.line_names.index("halpha")])
    for z in (0.0, 0.02, 0.035, 0.05, 0.2):
        at = np.array([halpha * (1 + z)])
        expected = line_response(curve, at)[0] * float(photometer.flux_of_luminosity(jnp.float32(z))) if z > 0 else np.inf
        if z > 0:
            np.testing.assert_allclose(
                float(see(jnp.float32(z))[0]), expected, rtol=5e-3, atol=1e-3 * line_response(curve, np.array([6790.0]))[0]
            )


def test_slopes_in_redshift_are_those_of_differences(light):
    see = lambda z: photometer.observe(photometer.photometer(BANDS), light, z, jnp.float32(0.02), load_broad())  # noqa: E731
    slope = jax.jacfwd(see)(jnp.float32(0.431))
    assert np.isfinite(slope).all()
    step = 0.25 * broad.LOG_WAVE_STEP * np.log(10) * 1.431
    difference = (see(jnp.float32(0.431 + step)) - see(jnp.float32(0.431 - step))) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=0.15, atol=0.05 * float(np.abs(difference).max()))


def test_curves_of_ones_own_and_curves_out_of_reach():
    own = FilterCurve.from_arrays("box", [5000.0, 5001.0, 6000.0, 6001.0], [0.0, 1.0, 1.0, 0.0])
    assert photometer.photometer([own, "sdss2010-r"]).matrix.shape == (2, broad.N_WAVE)
    far = FilterCurve.from_arrays("far", [8e5, 9e5, 1e6], [0.0, 1.0, 0.0])
    with pytest.raises(InputError, match="far"):
        photometer.photometer([far])
    with pytest.raises(InputError, match="sdss2010-r"):
        photometer.photometer(["sdss2010-R"])
