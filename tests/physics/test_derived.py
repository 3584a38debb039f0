"""Derived quantities: constant star formation in closed form, spectra made of steps and straight lines, and names for all."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from slipher.grids.library import load_library
from slipher.models import answer
from slipher.physics import derived, galaxy, histories
from slipher.physics.galaxy import DIGS, GALAXY, MODELS
from slipher.physics.parameters import from_normal

LOG_MASS = jnp.float32(10.3)
AGES_GYR = (13.0, 11.0, 7.0, 5.0, 2.0)  # of the universe: at the last two, bins of the history are empty
every_age = pytest.mark.parametrize("age", AGES_GYR)


def since_the_big_bang(_, t_universe_gyr, age_gyr):
    return histories.constant(age_gyr, t_universe_gyr, age_start_gyr=t_universe_gyr)


CONSTANT = dataclasses.replace(GALAXY, name="constant", history=since_the_big_bang)
# Without steps and with the smallest burst, 1e-5 of the mass.
STEADY = {**dict.fromkeys((f"log_sfr_ratio_{i}" for i in range(1, histories.N_BINS)), 0.0), "log_f_burst": -5.0, "log_t_burst": 0.5}


@pytest.fixture(scope="module")
def library():
    return load_library()


def values_at(u, model=GALAXY, **changed):
    """Complete values of the free parameters (but the mass) at a point of u-space, some of them changed."""
    values = from_normal(model.parameters[:-1], jnp.asarray(u, jnp.float32)) | {k: jnp.float32(v) for k, v in changed.items()}
    return model.complete(values)


def middle(model=GALAXY, **changed):
    return values_at(np.zeros(len(model.parameters) - 1), model, **changed)


def stellar(model, values, age, library):
    age = jnp.float32(age)
    return derived.stellar(galaxy.ingredients(model, values, age, library), age, LOG_MASS, library)


def rates(model, values, age):
    return np.asarray(derived.rates(model, values, jnp.float32(age), LOG_MASS), np.float64)


def widths_yr(age):
    return np.diff(np.minimum([*histories.BIN_EDGES_GYR, age], age)) * 1e9


# --- masses, rates, ages ----------------------------------------------------------------------------------------------


@every_age
@pytest.mark.parametrize(("model", "rtol"), [(CONSTANT, 1e-5), (GALAXY, 1e-3)], ids=["constant", "steady"])
def test_the_rate_of_constant_star_formation_is_mass_over_time_in_every_bin(model, rtol, age):
    rate, years = rates(model, middle(**STEADY), age), widths_yr(age)
    np.testing.assert_allclose(rate[years > 0], 10**10.3 / (age * 1e9), rtol=rtol)
    assert np.all(rate[years == 0] == 0.0)


@every_age
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_the_rates_form_all_of_the_mass(model, seed, age):
    u = np.random.default_rng(seed).standard_normal(len(model.parameters) - 1)
    rate = rates(model, values_at(u, model), age)
    assert np.all(rate[widths_yr(age) == 0] == 0.0)
    np.testing.assert_allclose(rate @ widths_yr(age), 10**10.3, rtol=1e-5)


@every_age
@pytest.mark.parametrize("seed", range(6))
def test_the_steps_between_rates_are_the_parameters(seed, age):
    """However young the universe is: the last edge lies at its age, wherever the library's cells end."""
    u = np.random.default_rng(seed).standard_normal(len(GALAXY.parameters) - 1)
    values = values_at(u, log_f_burst=-5.0, log_t_burst=-0.7)
    rate = rates(GALAXY, values, age)
    steps = np.array([float(values[f"log_sfr_ratio_{i}"]) for i in range(1, histories.N_BINS)])
    # The burst, of 1e-5 of the mass within a factor of three of 0.2 Gyr, and float32 of the mass formed so far, 1e-7.
    burst = 1e-5 * np.array([0.0, 0.9, 1.0, 0.9, 0.0, 0.0, 0.0])
    mass = rate * widths_yr(age) / 10**10.3
    error = (burst + 2e-7) / np.maximum(mass, 1e-30) / np.log(10.0)
    seen = widths_yr(age) > 0
    both = seen[1:] & seen[:-1]
    assert both.sum() == min(6, np.searchsorted(histories.BIN_EDGES_GYR, age) - 1)
    found = np.log10(rate[:-1][both]) - np.log10(rate[1:][both])
    assert np.all(np.abs(found - steps[both]) < 1e-4 + (error[1:] + error[:-1])[both])


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_rates_are_finite_and_not_negative_over_the_prior(model):
    u = 1.5 * np.random.default_rng(0).standard_normal((400, len(model.parameters) - 1))
    compiled = jax.jit(lambda u, age: derived.rates(model, values_at(u, model), age, LOG_MASS))
    for age in AGES_GYR:
        found = np.array([compiled(point, jnp.float32(age)) for point in u.astype(np.float32)])
        assert np.all(np.isfinite(found))
        assert np.all(found >= 0.0)


@every_age
@pytest.mark.parametrize(("model", "rtol"), [(CONSTANT, 1e-5), (GALAXY, 2e-4)], ids=["constant", "steady"])
def test_constant_star_formation_in_closed_form(library, model, rtol, age):
    found = stellar(model, middle(**STEADY), age, library)
    assert found["log_mstar_formed"] == LOG_MASS
    for name in ("log_sfr_10myr", "log_sfr_100myr"):
        assert float(found[name]) == pytest.approx(10.3 - np.log10(age * 1e9), abs=2e-5)
    assert float(found["t50_gyr"]) == pytest.approx(age / 2, rel=rtol)
    assert float(found["age_mw_gyr"]) == pytest.approx(age / 2, rel=rtol)


def test_a_recent_burst_is_seen_by_the_rates_over_10_and_100_myr(library):
    """Half of the mass 30 Myr ago, log-normal; the rest is constant."""
    found = stellar(GALAXY, middle(**STEADY | {"log_f_burst": np.log10(0.5), "log_t_burst": np.log10(0.03)}), 10.0, library)
    for name, myr in (("log_sfr_10myr", 10.0), ("log_sfr_100myr", 100.0)):
        formed = 0.5 * myr / 1e4 + 0.5 * norm.cdf(np.log10(myr / 30.0) / histories.BURST_WIDTH_DEX)
        assert float(found[name]) == pytest.approx(10.3 + np.log10(formed / (myr * 1e6)), abs=5e-5)


def test_no_recent_star_formation_is_a_floor_and_no_infinity(library):
    """DIGS, an old and fast decline: e^-40 of the mass in 100 Myr."""
    found = stellar(DIGS, middle(DIGS, age_start_gyr=4.0, log_tau=-1.0), 13.0, library)
    assert float(found["log_sfr_10myr"]) == pytest.approx(10.3 + np.log10(derived.FLOOR / 1e7), abs=1e-3)


def test_living_stars_weigh_what_the_library_says(library):
    """All cells alike: that share of the mass; else less than was formed, and the rate per mass is by living stars."""
    half = eqx.tree_at(lambda lib: lib.live_fraction, library, jnp.full_like(library.live_fraction, 0.5))
    assert float(stellar(GALAXY, middle(), 12.0, half)["log_mstar"]) == pytest.approx(10.3 + np.log10(0.5), abs=1e-5)
    for seed in range(5):
        values = values_at(np.random.default_rng(seed).standard_normal(len(GALAXY.parameters) - 1))
        found = {name: float(x) for name, x in stellar(GALAXY, values, 12.0, library).items()}
        assert 10.3 + np.log10(0.4) < found["log_mstar"] < 10.3
        assert found["log_ssfr_100myr"] == pytest.approx(found["log_sfr_100myr"] - found["log_mstar"], abs=2e-6)


@every_age
def test_ages_by_light_are_those_of_the_cells_that_shine(library, age):
    """All cells of one light a mass: the age by mass. One cell alone: its own age, cut off at the big bang."""
    values = middle(**STEADY)
    even = eqx.tree_at(lambda lib: lib.light_v, library, jnp.ones_like(library.light_v))
    found = stellar(GALAXY, values, age, even)
    assert float(found["age_lw_gyr"]) == pytest.approx(float(found["age_mw_gyr"]), rel=1e-5)
    edges = np.minimum(np.asarray(library.age_edges_gyr, float), age)
    for cell in (5, 20, int(np.argmax(edges)) - 1):
        one = eqx.tree_at(lambda lib: lib.light_v, library, jnp.zeros_like(library.light_v).at[:, cell].set(1.0))
        assert float(stellar(GALAXY, values, age, one)["age_lw_gyr"]) == pytest.approx(edges[cell : cell + 2].mean(), rel=1e-5)


# --- indices and lines ------------------------------------------------------------------------------------------------

# Pixels of 0.1 A, none on an edge of a band, so that bands hold as many on both sides of their middle.
FINE = np.arange(3690.05, 6790.0, 0.1)


def beside(flux):
    return np.asarray(derived.beside_lines(jnp.asarray(FINE, jnp.float32), jnp.asarray(flux, jnp.float32)), np.float64)


@pytest.mark.parametrize("step", [0.9, 1.3, 2.0])
def test_the_break_of_a_step_in_f_nu_is_the_step(step):
    wave = np.geomspace(3700.0, 4300.0, 900)
    flux = np.where(wave > 3975.0, step, 1.0) / wave**2
    found = derived.dn4000(jnp.asarray(wave, jnp.float32), jnp.asarray(1e7 * flux, jnp.float32))
    assert float(found) == pytest.approx(step, rel=1e-5)


@pytest.mark.parametrize("edge", [3850.0, 3950.0, 4000.0, 4100.0])
def test_the_bands_of_the_break_end_where_their_air_wavelengths_do(edge):
    """A spike just within a band counts, one just beyond it does not: vacuum wavelengths are 1.1 A longer."""
    wave = np.arange(3800.0, 4150.0, 0.1)
    vacuum = edge * 1.000281
    inward = 1.0 if edge in (3850.0, 4000.0) else -1.0

    def at(position):
        flux = np.ones(len(wave)) + 10.0 * (np.abs(wave - position) < 0.06)
        return float(derived.dn4000(jnp.asarray(wave, jnp.float32), jnp.asarray(flux, jnp.float32)))

    plain = at(0.0)
    assert at(vacuum - 0.3 * inward) == plain
    assert abs(at(vacuum + 0.3 * inward) / plain - 1.0) > 5e-3


def test_beside_lines_a_straight_continuum_is_read_at_the_middle():
    middles = np.array([0.5 * (line.bands_aa[0][1] + line.bands_aa[1][0]) for line in derived.REPORTED_LINES.values()])
    for slope in (0.0, 3e-4, -2e-4):
        np.testing.assert_allclose(beside(1.0 + slope * (FINE - 5000.0)), 1.0 + slope * (middles - 5000.0), rtol=1e-5)


def test_lines_lie_between_their_bands(library):
    for line in derived.REPORTED_LINES.values():
        (a, b), (c, d) = line.bands_aa
        assert a < b < c < d
        centres = [float(library.line_wave_aa[library.line_names.index(member)]) for member in line.members]
        assert all(b + 5.0 < centre < c - 5.0 for centre in centres)


@pytest.mark.parametrize("name", derived.REPORTED_LINES)
def test_absorption_between_the_bands_changes_nothing(name):
    """The stars' own Balmer lines are no continuum to measure emission by."""
    (_, b), (c, _) = derived.REPORTED_LINES[name].bands_aa
    flux = 1.0 + 2e-4 * (FINE - 5000.0)
    between, beyond = np.abs(FINE - 0.5 * (b + c)) < 0.5 * (c - b), FINE - c > 0.0
    at = list(derived.REPORTED_LINES).index(name)
    assert beside(np.where(between, 0.1 * flux, flux))[at] == beside(flux)[at]
    assert beside(np.where(beyond, 0.1 * flux, flux))[at] < 0.7 * beside(flux)[at]


@pytest.fixture(scope="module")
def derive(library):
    """`derived.derive` at 12 Gyr, compiled, on the rest frame that fits use or on one with another continuum."""
    rest, bands = answer.rest_frame()

    @partial(jax.jit, static_argnames="model")
    def made(values, luminosity, view, model=GALAXY):
        return derived.derive(model, values, LOG_MASS, jnp.float32(3.0), luminosity, jnp.float32(12.0), view, bands, library)

    def of(values, luminosity, *, continuum=None, model=GALAXY):
        view = rest
        if continuum is not None:  # what old stars send, dust-free, and nothing else
            first = float(galaxy.ingredients(model, values, jnp.float32(12.0), library).old[0])
            spectrum = jnp.asarray(continuum(np.asarray(rest.wave_aa, float)) / first, jnp.float32)
            old = jnp.zeros_like(rest.old).at[:, :, 0].set(spectrum[:, None])
            view = dataclasses.replace(rest, old=old, young=jnp.zeros_like(rest.young), nebular=jnp.zeros_like(rest.nebular))
        return made(values, luminosity, view, model)

    return of


def test_equivalent_widths_on_a_flat_continuum_are_luminosity_over_it(derive, library):
    luminosity = np.random.default_rng(0).uniform(0.5, 2.0, len(library.line_names))
    found = derive(
        middle(a_v=0.0, tau_bc=0.0), jnp.asarray(luminosity, jnp.float32), continuum=lambda wave: np.full_like(wave, 0.2)
    ).quantities
    expected = dict(zip(library.line_names, luminosity))
    expected["oii3727"] = expected["oii3726"] + expected["oii3729"]
    for name in derived.REPORTED_LINES:
        assert float(found[f"ew_{name}"]) == pytest.approx(expected[name] / 0.2, rel=1e-5)
        assert float(found[f"flux_{name}"]) == pytest.approx(3.0 * expected[name], rel=1e-5)


def test_constant_f_nu_has_no_colour_and_no_break(derive, library):
    """And lines are seen by their filters: a tenth of g's photons brighten g by 2.5 log 1.1, and nothing else."""
    values, dark = middle(a_v=0.0, tau_bc=0.0), jnp.zeros(len(library.line_names))

    def flat(wave):
        return 1e-3 * (5000.0 / wave) ** 2

    plain = derive(values, dark, continuum=flat).quantities
    for name, expected in (("colour_ug", 0.0), ("colour_gr", 0.0), ("dn4000", 1.0)):
        assert float(plain[name]) == pytest.approx(expected, abs=2e-4)
    rest, bands = (np.asarray(x, float) for x in (answer.rest_frame()[0].wave_aa, answer.rest_frame()[1]))
    at = library.line_names.index("oiii5007")
    of_the_line = np.interp(float(library.line_wave_aa[at]), rest, bands[1] / np.gradient(rest))  # maggies per unit of luminosity
    lit = derive(values, dark.at[at].set(0.1 * float(bands[1] @ flat(rest)) / of_the_line), continuum=flat).quantities
    change = 2.5 * np.log10(1.1)
    assert float(lit["colour_ug"]) == pytest.approx(float(plain["colour_ug"]) + change, abs=2e-3)
    assert float(lit["colour_gr"]) == pytest.approx(float(plain["colour_gr"]) - change, abs=2e-3)
    assert lit["dn4000"] == plain["dn4000"]


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_every_quantity_is_there_and_finite_over_the_prior(derive, library, model):
    """A parameter that is reported is reported as it is."""
    rng = np.random.default_rng(1)
    for u in rng.standard_normal((30, len(model.parameters) - 1)):
        values = values_at(u, model)
        parts = galaxy.ingredients(model, values, jnp.float32(12.0), library)
        found = derive(values, galaxy.line_luminosities(model, values, parts, library), model=model)
        assert found.quantities.keys() == derived.QUANTITIES.keys()
        undefined = set() if model.nebular else set(derived.OF_GAS)
        assert {name for name, x in found.quantities.items() if np.isnan(x)} == undefined
        assert all(np.shape(x) == () and (name in undefined or np.isfinite(x)) for name, x in found.quantities.items())
        assert found.sfr.shape == (histories.N_BINS,)
        for name in (found.quantities.keys() & values.keys()) - undefined:
            assert found.quantities[name] == values[name]
