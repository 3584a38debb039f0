"""The likelihood of photometry against sums over a dense grid of masses, band by band, with scipy."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from slipher.grids.library import load_broad
from slipher.inference import photometric
from slipher.inference.photometric import Assumed, Bands, PhotometricTarget
from slipher.instrument import photometer
from slipher.instrument.band_errors import BandErrors
from slipher.physics import abundance
from slipher.physics.abundance import RedshiftRange
from slipher.physics.galaxy import PHOTOMETRY

NAMES = ("galex-nuv", "sdss2010-g", "sdss2010-r", "sdss2010-z", "twomass-Ks")
RANGE = RedshiftRange(0.002, 7.0)
ERRORS = BandErrors()
POINTS = np.random.default_rng(2).standard_normal((6, len(PHOTOMETRY.parameters) - 1)).astype(np.float32)


def target_of(flux, sigma, *, censored=None, redshift=0.4, free=False, counted=True):
    flux, sigma = np.asarray(flux, np.float32), np.asarray(sigma, np.float32)
    ivar = np.where(np.isfinite(sigma), 1.0 / sigma**2, 0.0).astype(np.float32)
    censored = np.zeros(len(flux), bool) if censored is None else np.asarray(censored)
    task = Bands(
        photometer.photometer(NAMES), jnp.asarray(flux), jnp.asarray(ivar), jnp.asarray(censored), jnp.float32(redshift), jnp.float32(0.03)
    )
    return PhotometricTarget(task, load_broad(), Assumed(PHOTOMETRY, RANGE if free else None, counted, ERRORS))


def brute_force(target, unit, redshift):
    """Evidence and posterior of log mass on 40,001 masses; `unit` are the fluxes of 10^10 Msun."""
    task = target.task
    flux, ivar = np.asarray(task.flux, np.float64), np.asarray(task.ivar, np.float64)
    prior = PHOTOMETRY.parameters[-1].prior
    log_mass = np.linspace(prior.low, prior.high, 40_001)
    model = unit * 10 ** (log_mass[:, None] - photometer.LOG_MASS_UNIT)
    fraction = np.asarray(ERRORS.fraction(task.photometer.pivot_aa, jnp.float32(redshift)), np.float64)
    total = np.zeros(len(log_mass))
    for b in range(len(flux)):
        if ivar[b] == 0:
            continue
        parts = []
        for share, extra in ((1 - ERRORS.outliers, 0.0), (ERRORS.outliers, ERRORS.outlier_size)):
            sd = np.sqrt(1 / ivar[b] + (np.hypot(fraction[b], extra) * model[:, b]) ** 2)
            left = (flux[b] - model[:, b]) / sd
            one = norm.logcdf(left) if task.censored[b] else norm.logpdf(left) - np.log(sd) + 0.5 * np.log(2 * np.pi / ivar[b])
            parts.append(np.log(share) + one)
        total += np.logaddexp(*parts)
    z = jnp.full(len(log_mass), redshift, jnp.float32)
    if not target.assumed.counted:
        total -= np.log(prior.high - prior.low)
    elif target.assumed.redshift is None:
        total += np.asarray(abundance.log_mass_function(jnp.asarray(log_mass, jnp.float32), z), np.float64)
    else:
        volume = float(abundance.log_volume(jnp.float32(redshift)))
        total += np.asarray(abundance.log_mass_function(jnp.asarray(log_mass, jnp.float32), z), np.float64) + volume
        total -= float(RANGE.log_density(jnp.float32(redshift)))
    step = log_mass[1] - log_mass[0]
    return logsumexp(total) + np.log(step), log_mass, np.exp(total - logsumexp(total))


def units(target, points, redshift):
    """Fluxes of 10^10 Msun at points of u-space."""
    assert float(target.task.redshift) == pytest.approx(redshift)
    flux, log_mass = target.evaluate(points, lambda d: (d.flux, d.log_mass))
    return flux / 10 ** (log_mass[:, None] - photometer.LOG_MASS_UNIT)


BRIGHT = ([2.0, 10.0, 20.0, 40.0, 60.0], [0.1, 0.05, 0.1, 0.2, 1.0])
CASES = {
    "bright": (*BRIGHT, {}),
    "bright, mass uniform": (*BRIGHT, {"counted": False}),
    "faint": ([0.1, 0.2, 0.3, 0.5, -0.4], [0.2, 0.1, 0.1, 0.3, 0.6], {}),
    "two bands missing": ([2.0, 10.0, 20.0, 40.0, 60.0], [np.inf, 0.05, 0.1, np.inf, 1.0], {}),
    "limits": ([0.3, 10.0, 20.0, 40.0, 30.0], [0.1, 0.05, 0.1, 0.2, 10.0], {"censored": [True, False, False, False, True]}),
    "limits alone": ([0.3, 1.0, 2.0, 4.0, 30.0], [0.1, 0.3, 0.7, 1.3, 10.0], {"censored": [True] * 5}),
    "no light": ([-0.2, -0.1, -0.2, -0.3, -1.0], [0.1, 0.1, 0.1, 0.2, 0.6], {}),
    "a band off by a factor of ten": ([2.0, 10.0, 200.0, 40.0, 60.0], [0.1, 0.05, 0.1, 0.2, 1.0], {}),
}


def compare(target, points, unit, redshift, *, evidence, quantile):
    """`evidence`: in nats; `quantile`: of the mass, in widths of its posterior."""
    got = target.log_posterior(points) + 0.5 * np.sum(points.astype(np.float64) ** 2, 1)
    masses = {q: target.evaluate(points, lambda d: d.log_mass, uniform=np.full(len(points), q, np.float32)) for q in (0.16, 0.5, 0.84)}
    for i in range(len(points)):
        exact, log_mass, weight = brute_force(target, unit[i].astype(np.float64), redshift)
        assert got[i] == pytest.approx(exact, abs=evidence)
        below = np.cumsum(weight)
        width = np.interp(0.84, below, log_mass) - np.interp(0.16, below, log_mass)
        for q, values in masses.items():
            assert values[i] == pytest.approx(np.interp(q, below, log_mass), abs=quantile * width + 1e-3)


@pytest.mark.parametrize("case", CASES)
def test_evidence_against_a_dense_grid_where_the_model_does_not_fit(case):
    """Galaxies of the prior and data of none of them: where bands disagree a posterior has a peak for each."""
    flux, sigma, options = CASES[case]
    target = target_of(flux, sigma, **options)
    compare(target, POINTS, units(target, POINTS, 0.4), 0.4, evidence=0.15, quantile=1.0)


@pytest.mark.parametrize("sn", [3.0, 30.0, 300.0])
@pytest.mark.parametrize("off", [1.0, 8.0], ids=["good bands", "an outlier"])
def test_evidence_and_mass_where_the_model_fits(sn, off):
    """Data of a galaxy, and galaxies like it."""
    rng = np.random.default_rng(3)
    near = POINTS[:1] + 0.05 * rng.standard_normal((6, POINTS.shape[1])).astype(np.float32)
    unit = units(target_of(*BRIGHT), near, 0.4)
    flux = unit[0] * np.array([1.0, 1.0, off, 1.0, 1.0])
    sigma = flux / sn
    target = target_of(flux + sigma * rng.standard_normal(5), sigma)
    compare(target, near, unit, 0.4, evidence=0.02, quantile=0.05)


def test_a_free_redshift_carries_its_prior():
    """The same galaxy at a redshift that is given and at one that is drawn: the densities differ by volume and coordinate alone."""
    known, free = target_of(*BRIGHT, redshift=0.4), target_of(*BRIGHT, free=True)
    u_z = float(RANGE.to_normal(jnp.float32(0.4)))
    wider = np.concatenate([np.full((6, 1), u_z, np.float32), POINTS], 1)
    gap = free.log_posterior(wider) - known.log_posterior(POINTS)
    expected = float(abundance.log_volume(jnp.float32(0.4)) - RANGE.log_density(jnp.float32(0.4))) - 0.5 * u_z**2
    np.testing.assert_allclose(gap, expected, atol=0.02)
    assert (known.n_parameter, free.n_parameter) == (POINTS.shape[1], POINTS.shape[1] + 1)


def test_the_pure_density_is_the_same_and_has_slopes():
    import jax

    target = target_of(*BRIGHT, free=True)
    density, data = target.pure()
    points = np.concatenate([np.linspace(-1, 1, 6, dtype=np.float32)[:, None], POINTS], 1)
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(density), (0, None)))(points, data)
    np.testing.assert_allclose(values, target.log_posterior(points), rtol=1e-4, atol=0.02)
    assert np.isfinite(slopes).all()
    assert target.pure()[0] is density  # or samplers would compile again for each galaxy


def test_missing_bands_say_nothing():
    """Whatever number stands where there is no information."""
    one = target_of([2.0, 10.0, 20.0, 40.0, 60.0], [0.1, 0.05, 0.1, 0.2, np.inf]).log_posterior(POINTS)
    other = target_of([2.0, 10.0, 20.0, 40.0, -1e6], [0.1, 0.05, 0.1, 0.2, np.inf]).log_posterior(POINTS)
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_draws_of_the_mass_do_not_depend_on_their_neighbours():
    target = target_of(*BRIGHT)
    uniform = np.linspace(0.05, 0.95, 6).astype(np.float32)
    together = target.evaluate(POINTS, lambda d: d.log_mass, uniform=uniform)
    alone = [target.evaluate(POINTS[i : i + 1], lambda d: d.log_mass, uniform=uniform[i : i + 1])[0] for i in range(6)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert photometric.BATCH > 6  # they shared a batch
