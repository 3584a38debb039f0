"""A spectrum and photometry together: the density against its parts integrated by brute force, the flow, and one whole fit."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import slipher
from slipher.grids.library import load_broad
from slipher.inference import methods, nuts
from slipher.inference import photometric as of_bands
from slipher.instrument import photometer
from slipher.models import joint, mocks, observed, shipped
from slipher.physics import cosmology, sed
from slipher.physics.galaxy import JOINT

pytestmark = pytest.mark.slow  # compiles the likelihood of both: half a minute

BANDS = ("galex-nuv", "sdss2010-u", "sdss2010-g", "sdss2010-r", "sdss2010-i", "sdss2010-z", "twomass-J", "twomass-Ks", "wise2010-W1")
MORE_DEX, FIBRE = 0.5, slipher.Aperture(-0.5, 0.05)  # the fibre holds a third of the galaxy


@pytest.fixture(scope="module")
def truth_and_galaxy():
    """A mock spectrum of the shipped model (S/N 8, z = 0.1) and 2 % photometry of the same galaxy, three times as massive."""
    made = shipped.load("galaxy")
    spectrum, truth = mocks.mock(3, made, survey="sdss", seed=20, redshift=0.1, median_sn=8.0)
    truth = truth | {"q_pah": 2.0, "log_umin": 0.3, "log_gamma": -2.0, "aperture_slope": 0.0}
    values = {name: jnp.float32(x) for name, x in truth.items() if name in JOINT.names}
    light = sed.sed(JOINT, values, cosmology.age_gyr(jnp.float32(0.1)), load_broad())
    unit = photometer.observe(photometer.photometer(BANDS), light, jnp.float32(0.1), jnp.float32(0.0), load_broad())
    flux = np.asarray(unit, float) * 10 ** (truth["log_mstar_formed"] + MORE_DEX - photometer.LOG_MASS_UNIT)
    sigma = 0.02 * flux
    noisy = flux + sigma * np.random.default_rng(1).standard_normal(len(flux))
    bands = slipher.photometry(noisy, sigma, bands=BANDS, unit="nanomaggy", redshift=0.1, ebv=0.0, id=spectrum.id)
    return truth, slipher.Galaxy(spectrum=spectrum, photometry=bands, aperture=FIBRE)


@pytest.fixture(scope="module")
def prepared(truth_and_galaxy):
    _, galaxy = truth_and_galaxy
    made = shipped.load("galaxy")
    data = observed.observe(galaxy.spectrum, made)
    return joint.target(galaxy, data, made), joint.warp(data, made)


def of_masses(grid, unit, fraction, bands, errors):
    """ln p(bands | log10 M) on a grid."""
    one = lambda m: of_bands.log_likelihood(unit * 10 ** (m - photometer.LOG_MASS_UNIT), fraction, bands, errors)  # noqa: E731
    return np.asarray(jax.vmap(one)(jnp.asarray(grid, jnp.float32)), np.float64)


def test_the_density_is_that_of_both_integrated_over_the_mass(prepared):
    """Spectrum's density, times the bands' likelihood on a fine grid of masses under their prior and the aperture's."""
    target, warp = prepared
    u, _ = warp.sample(np.random.default_rng(0), 6)
    together = target.evaluate(
        u, lambda draw: (draw.log_posterior, draw.spectrum.log_posterior, draw.spectrum.amplitude, draw.spectrum.amplitude_sd)
    )
    n_seen = target.of_spectrum.n_parameter
    task, assumed = target.task, target.preset.assumed
    grid = np.linspace(6.0, 13.0, 40_001)
    for i in range(len(u)):
        redshift, values = of_bands.named(jnp.asarray(u[i], jnp.float32), task.bands, assumed)
        light = sed.sed(assumed.model, values, cosmology.age_gyr(redshift), target.broad)
        unit = photometer.observe(task.bands.photometer, light, redshift, task.bands.ebv, target.broad)
        unit = unit * (task.bands.photometer.pivot_aa / of_bands.MIDDLE_AA) ** values["aperture_slope"]
        fraction = assumed.errors.fraction(task.bands.photometer.pivot_aa, redshift)
        inside = float(task.log_mass_unit) + np.log10(together[2][i])
        wide = np.hypot(FIBRE.sd_dex, together[3][i] / together[2][i] / np.log(10.0))
        log_p = of_masses(grid, unit, fraction, task.bands, assumed.errors)
        log_p += np.asarray(of_bands.log_prior(jnp.asarray(grid, jnp.float32), redshift, assumed))
        log_p += -0.5 * ((inside - grid - FIBRE.log10_fraction) / wide) ** 2 - np.log(wide)
        of_mass = log_p.max() + np.log(np.trapezoid(np.exp(log_p - log_p.max()), grid))
        warm = -0.5 * np.sum(u[i, n_seen:] ** 2)
        assert together[0][i] == pytest.approx(together[1][i] + of_mass + warm, abs=0.3)


def test_the_wider_flow_is_its_own_inverse_and_leaves_what_it_does_not_know(prepared):
    target, warp = prepared
    z = np.random.default_rng(2).standard_normal((5, target.n_parameter)).astype(np.float32)
    u, log_det = warp.from_base(z)
    back, again = warp.to_base(u)
    np.testing.assert_allclose(back, z, atol=3e-3)
    np.testing.assert_allclose(again, log_det, atol=5e-3)
    np.testing.assert_array_equal(u[:, target.of_spectrum.n_parameter :], z[:, target.of_spectrum.n_parameter :])


def test_both_together_hold_the_truth_and_are_narrower(truth_and_galaxy, prepared):
    """The truth is as likely as draws are, one of which in a hundred may be less so: of log_zstar, which trades with age along a tail, sd
    are no measure."""
    (truth, galaxy), (target, _) = truth_and_galaxy, prepared
    both, alone = (slipher.fit(given, samples=1000) for given in (galaxy, galaxy.spectrum))
    assert (both.status, alone.status) == ("refined", "refined")
    for name in ("log_zstar", "a_v", "dust_slope"):
        assert both.samples[name].std() < 1.1 * alone.samples[name].std(), name
    for name in ("a_v", "dust_slope"):
        assert abs(both.samples[name].mean() - truth[name]) < 4 * both.samples[name].std(), name
    draws = {p.name: np.append(both.samples[p.name], truth[p.name]).astype(np.float32) for p in JOINT.parameters[:-1]}
    u = np.stack([np.asarray(p.prior.to_normal(jnp.asarray(draws[p.name]))) for p in JOINT.parameters[:-1]], 1)
    *of_draws, of_truth = target.evaluate(u, lambda draw: draw.log_posterior)
    assert np.mean(np.array(of_draws) < of_truth) > 0.01
    mass = both.samples["log_mstar_formed"]
    assert abs(mass.mean() - truth["log_mstar_formed"] - MORE_DEX) < 4 * mass.std()
    assert both.samples["log_aperture_share"].mean() == pytest.approx(-MORE_DEX, abs=0.15)
    assert np.abs(both.photometry.residuals()).max() < 4
    assert both.diagnostics.chi2_per_pixel == pytest.approx(1.0, abs=0.1)


def test_samplers_are_given_the_joint_density_and_its_slope(prepared):
    """As a pure function: its values are the target's, its gradient is that of differences, and chains move in it.

    Whole runs take hours: what samplers do with a density has tests of its own.
    """
    target, warp = prepared
    density, data = target.pure()
    assert target.pure()[0] is density  # or samplers would compile again for each galaxy
    u, _ = warp.sample(np.random.default_rng(4), 40)
    u = u[np.isfinite(target.log_posterior(u))].astype(np.float32)
    along = np.random.default_rng(5).standard_normal(u.shape).astype(np.float32)
    both = jax.jit(jax.vmap(jax.value_and_grad(lambda u: density(u, data))))
    values, slopes = both(u[:4])
    np.testing.assert_allclose(values, target.log_posterior(u[:4]), rtol=1e-3)
    ahead, behind = (both(u[:4] + step * along[:4])[0] for step in (0.01, -0.01))
    np.testing.assert_allclose(np.sum(slopes * along[:4], 1), (ahead - behind) / 0.02, rtol=0.05, atol=5.0)
    short = nuts.Settings(chains=2, warmup=10, block=10, most=1, doublings=3)
    found = nuts.sample(4, methods.first_of(density), (data, None), u, settings=short)
    assert found.u.shape == (20, target.n_parameter)
    assert np.isfinite(target.log_posterior(found.u)).all()


def test_bands_that_contradict_the_aperture_are_flagged(truth_and_galaxy):
    """Photometry a hundred times brighter than the fibre says."""
    _, galaxy = truth_and_galaxy
    bright = replace(galaxy.photometry, flux=galaxy.photometry.flux * 100, ivar=galaxy.photometry.ivar / 1e4)
    found = slipher.fit(replace(galaxy, photometry=bright), samples=50, sampler="amortised")
    assert found.status == "amortised"
    assert np.isfinite(found.samples["log_aperture_share"]).all()
    assert np.median(found.samples["log_aperture_share"]) < -1.0
