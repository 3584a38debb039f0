"""Simulated photometry: the galaxies that there are, against brute force; and errors that the exact likelihood calls its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.grids.library import load_broad
from slipher.inference.photometric import Assumed, Bands, PhotometricTarget
from slipher.instrument import imaging, photometer
from slipher.instrument.band_errors import BandErrors
from slipher.models import photometric_set
from slipher.models.photometric_set import BandPopulation
from slipher.physics import abundance, cosmology, parameters, sed
from slipher.physics.abundance import RedshiftRange
from slipher.physics.galaxy import PHOTOMETRY

pytestmark = pytest.mark.slow  # tens of thousands of galaxies

RANGE = (0.02, 1.2)
POPULATION = BandPopulation(sets=("sdss",), redshift=RANGE, lost=0.0, ebv=0.0)
ASSUMED = Assumed(PHOTOMETRY, RedshiftRange(*RANGE), True, BandErrors(outliers=1e-6))
SN = (10.0, 30.0)


@pytest.fixture(scope="module")
def campaign():
    return photometric_set.draw_campaign(np.random.default_rng(3), POPULATION)


@pytest.fixture(scope="module")
def seen(campaign):
    found = photometric_set.observed(jax.random.key(0), campaign[0], load_broad(), ASSUMED, POPULATION, 2048)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), found)


def by_brute_force(campaign, n=60_000):
    """Galaxies of uniform log M and ln(1 + z) through the same bands, weighted by how many there are, kept by their observed S/N."""
    camera, library, zs, prior = campaign.photometer, load_broad(), ASSUMED.redshift, PHOTOMETRY.parameters[-1].prior

    def one(key):
        k = jax.random.split(key, 4)
        redshift = zs.from_normal(jax.random.normal(k[0]))
        values = parameters.from_normal(PHOTOMETRY.parameters[:-1], jax.random.normal(k[1], (len(PHOTOMETRY.parameters) - 1,)))
        log_mass = jax.random.uniform(k[2], minval=prior.low, maxval=prior.high)
        light = sed.sed(PHOTOMETRY, values, cosmology.age_gyr(redshift), library)
        flux = photometer.observe(camera, light, redshift, jnp.float32(0.0), library) * 10 ** (log_mass - photometer.LOG_MASS_UNIT)
        weight = jnp.exp(abundance.log_abundance(log_mass, redshift) - zs.log_density(redshift))
        # Errors of the sky and of photons; that of zero points moves S/N by per cents only.
        sigma = campaign.sigma * jnp.sqrt(1.0 + flux / campaign.sigma / campaign.knee)
        sn = jnp.max(campaign.used * (flux / sigma + jax.random.normal(k[3], flux.shape)))
        return jnp.stack([redshift, log_mass, sn, weight])

    found = np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=25))(jax.random.split(jax.random.key(9), n)), np.float64)
    redshift, log_mass, _, weight = found[(found[:, 2] > SN[0]) & (found[:, 2] < SN[1])].T
    return redshift, log_mass, weight / weight.sum()


def test_redshifts_and_masses_at_an_observed_signal_are_those_of_the_prior(campaign, seen):
    """What calibration rests on: among galaxies chosen by their data, the simulator's are as the prior has them."""
    redshift, log_mass, weight = by_brute_force(campaign[0])
    inside = (seen.sn > SN[0]) & (seen.sn < SN[1])
    effective = 1.0 / np.sum(weight**2)
    n = min(inside.sum() / 3, effective)  # heavy galaxies are kept more than once
    assert n > 60
    for ours, theirs in ((np.log1p(seen.redshift[inside]), np.log1p(redshift)), (seen.log_mass[inside], log_mass)):
        mean = weight @ theirs
        sd = np.sqrt(weight @ (theirs - mean) ** 2)
        assert abs(ours.mean() - mean) < 4.5 * sd * np.sqrt(2 / n)
        assert ours.std() == pytest.approx(sd, rel=4.5 / np.sqrt(n))


def test_signals_are_levelled(seen):
    """As many at a peak S/N of 100 as of 5, within what there are."""
    counts, _ = np.histogram(np.log(seen.sn), np.linspace(*np.log([3.0, 200.0]), 6))
    assert counts.min() > 0.3 * counts.max()


def test_fluxes_scatter_as_the_exact_likelihood_says(campaign, seen):
    """chi^2 of the truth, at the best mass, is that of the bands less one; of bright galaxies, for faint ones are there by their noise."""
    camera, names = photometer.photometer(campaign[1]), campaign[1]
    chi2 = []
    for i in np.flatnonzero(seen.sn > SN[0])[:300]:
        task = Bands(
            camera, jnp.asarray(seen.flux[i, : len(names)], jnp.float32), jnp.asarray(seen.ivar[i, : len(names)], jnp.float32),
            jnp.zeros(len(names), bool), jnp.float32(seen.redshift[i]), jnp.float32(0.0),
        )  # fmt: skip
        target = PhotometricTarget(task, load_broad(), ASSUMED._replace(redshift=None))
        chi2.append(float(target.evaluate(seen.u[i : i + 1, 1:], lambda draw: draw.chi2)[0]))
    assert np.mean(chi2) == pytest.approx(len(names) - 1, rel=0.15)


def test_the_same_numbers_give_the_same_galaxies_and_others_others():
    prior = photometric_set.learn_prior(1, ASSUMED, POPULATION, load_broad(), n=64)
    simulate = photometric_set.simulator(ASSUMED, POPULATION, load_broad(), prior)
    one, same, other = simulate(1, 0, 64), simulate(1, 0, 64), simulate(1, 1, 64)
    np.testing.assert_array_equal(one.features, same.features)
    np.testing.assert_array_equal(one.u, same.u)
    assert not np.array_equal(one.u, other.u)
    assert np.isfinite(np.asarray(one.features)).all()


def test_missing_bands_are_as_many_as_are_asked_for(campaign):
    """The chance of a band to be lost is the campaign's; two are always left."""
    fewer = campaign[0].__class__(**{**vars(campaign[0]), "lost": jnp.float32(0.2)})
    found = photometric_set.observed(jax.random.key(1), fewer, load_broad(), ASSUMED, POPULATION, 512)
    kept = (np.asarray(found.ivar)[:, : len(campaign[1])] > 0).sum(1)
    assert kept.min() >= 2
    assert kept.mean() == pytest.approx(0.8 * 5, abs=0.25)
    assert (np.asarray(found.ivar)[:, len(campaign[1]) :] == 0).all()


def test_every_set_of_bands_is_simulated():
    rng = np.random.default_rng(0)
    names = {frozenset(photometric_set.imaging.draw_bands(rng, tuple(imaging.BAND_SETS))[0]) for _ in range(400)}
    assert names == {frozenset(some.depth) for some in imaging.BAND_SETS.values()}
