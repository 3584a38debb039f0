"""PROVABGS' columns: every number is the posterior's, in PROVABGS' parameters and units, and survives a file."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table
from synthetic_posterior import make_posterior

from slipher.errors import InputError
from slipher.physics import cosmology, derived, galaxy, histories
from slipher.physics.parameters import from_normal
from slipher.report.provabgs import THETA, mean_rate, provabgs_table, target_ids, theta

N_DRAWS = 150


def posterior_of(model, id="39633345008634465", seed=0, redshift=0.2):
    """A posterior whose draws are the prior's and whose history and derived quantities follow from them."""
    from slipher.grids.library import load_library

    library, t_universe = load_library(), cosmology.age_gyr(redshift)
    u = jax.random.normal(jax.random.key(seed), (N_DRAWS, len(model.parameters)))

    @jax.vmap
    def draw(point):
        values = from_normal(model.parameters, point)
        full, mass = model.complete(values), values["log_mstar_formed"]
        parts = galaxy.ingredients(model, full, t_universe, library)
        found = derived.stellar(parts, t_universe, mass, library) | {"log_zstar": jnp.log10(parts.metals)}
        return values, found, derived.rates(model, full, t_universe, mass)

    values, found, sfr = draw(u)
    as64 = lambda of: {name: np.asarray(x, np.float64) for name, x in of.items()}  # noqa: E731
    return make_posterior(
        n_draws=N_DRAWS, id=id, redshift=redshift, model=model.name, samples=as64(values), derived=as64(found),
        history_sfr=np.asarray(sfr, np.float64), history_edges_gyr=np.asarray(histories.bin_edges(t_universe), np.float64),
        log_density=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def posterior():
    return posterior_of(galaxy.PROVABGS)


@pytest.fixture(scope="module")
def wide():
    return posterior_of(galaxy.PROVABGS_WIDE, id="7", seed=1)


def test_parameters_are_provabgs_and_give_the_galaxy_back(posterior):
    """From the row alone: betas of sum one, and tau, Z and Gyr from which our parameters follow again."""
    rows = theta(posterior.samples)
    assert rows.shape == (N_DRAWS, 13) == (N_DRAWS, len(THETA))
    column = dict(zip(THETA, rows.T))
    betas = rows[:, 1:5]
    np.testing.assert_allclose(betas.sum(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(betas[:, 1] / (1.0 - betas[:, 0]), posterior.samples["stick_2"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(column["dust2"] * 1.0857362, posterior.samples["a_v"], rtol=1e-6)
    assert (column["gamma1_zh"].min() > 4.4e-5) & (column["gamma1_zh"].max() < 1.51e-2)
    np.testing.assert_array_equal(column["tburst"], posterior.samples["t_burst_gyr"])
    np.testing.assert_array_equal(column["logmstar"], posterior.samples["log_mstar_formed"])
    assert np.all(np.isnan(column["f_fiber"]))
    assert np.isfinite(rows[:, :12]).all()


def test_the_wide_prior_is_written_in_the_same_parameters(wide):
    column = dict(zip(THETA, theta(wide.samples).T))
    np.testing.assert_allclose(np.log10(column["beta1_sfh"] / column["beta2_sfh"]), wide.samples["log_beta_ratio_1"], atol=1e-4)
    np.testing.assert_allclose(np.log10(column["fburst"]), wide.samples["log_f_burst"], rtol=1e-6)


def test_the_rate_is_the_mass_of_the_last_gyr(posterior):
    values = {name: jnp.asarray(x, jnp.float32) for name, x in posterior.samples.items()}
    t_universe = cosmology.age_gyr(posterior.redshift)
    formed = jax.vmap(lambda v: galaxy.PROVABGS.history(v, t_universe, jnp.array([1.0]))[0])(values)
    expected = np.asarray(formed, float) * 10 ** posterior.samples["log_mstar_formed"] / 1e9
    np.testing.assert_allclose(mean_rate(posterior, 1.0), expected, rtol=1e-3, atol=1e-6 * expected.max())


def test_a_mean_over_half_a_bin_takes_half_of_it():
    posterior = make_posterior(n_draws=3, history_sfr=np.array([[2.0, 1.0]] * 3), history_edges_gyr=np.array([0.0, 0.1, 10.0]))
    np.testing.assert_allclose(mean_rate(posterior, 0.4), (0.1 * 2.0 + 0.3 * 1.0) / 0.4)


def test_columns_of_the_table(posterior, wide, tmp_path):
    densities = [np.where(np.arange(N_DRAWS) == best, 0.0, -np.arange(N_DRAWS) - 1.0) for best in (3, 140)]
    both = [dataclasses.replace(p, log_density=density) for p, density in zip((posterior, wide), densities, strict=True)]
    table = provabgs_table(both, n_samples=100)
    assert table["TARGETID"].dtype == np.int64
    assert table["TARGETID"].tolist() == [39633345008634465, 7]  # more than 2**53: not through a float
    assert table["PROVABGS_MCMC"].shape == (2, 100, 13)
    np.testing.assert_array_equal(table["PROVABGS_MCMC"][0][[0, -1]], theta(posterior.samples)[[0, -1]])
    np.testing.assert_array_equal(table["PROVABGS_THETA_BF"][1], theta(wide.samples)[140])
    assert table["PROVABGS_LOGMSTAR_BF"][0] == posterior.derived["log_mstar"][3]
    assert table["TAGE_MW"][1] == wide.derived["age_mw_gyr"][140]
    np.testing.assert_allclose(table["Z_MW"][0], 0.02 * 10 ** posterior.derived["log_zstar"][3])
    assert table["AVG_SFR"][0] == mean_rate(posterior, 1.0)[3]
    path = tmp_path / "catalogue.fits"
    table.write(path)
    read = Table.read(path)
    for name in table.colnames:
        np.testing.assert_array_equal(read[name], table[name])
    assert read["AVG_SFR"].unit == "Msun / yr"
    assert read.meta["THETA"].split() == list(THETA)


def test_mean_metallicity_lies_between_those_of_the_history(posterior):
    """Neither basis exceeds one: Z is at most the sum of the gammas."""
    column = dict(zip(THETA, theta(posterior.samples).T))
    z_mw = provabgs_table([posterior])["PROVABGS_Z_MW"][0]
    some = np.linspace(0, N_DRAWS - 1, 100).round().astype(int)
    lowest = 0.005 * 0.02
    assert np.all(z_mw <= np.maximum(column["gamma1_zh"] + column["gamma2_zh"], lowest)[some] * 1.001)
    assert np.all(z_mw >= 0.999 * lowest)


def test_without_densities_no_best_draw_is_invented(posterior):
    row = provabgs_table([posterior])[0]
    for name in ("PROVABGS_THETA_BF", "PROVABGS_LOGMSTAR_BF", "AVG_SFR", "Z_MW", "TAGE_MW"):
        assert np.all(np.isnan(row[name]))
    assert np.isfinite(row["PROVABGS_LOGMSTAR"]).all()


@pytest.mark.parametrize(
    ("ids", "kind"),
    [(["1", "-5"], "i"), (["9223372036854775807"], "i"), (["9223372036854775808"], "U"), (["1", "266-51602-1"], "U"), (["007"], "U"),
     (["1_0"], "U"), (["²"], "U"), ([""], "U")],
)  # fmt: skip
def test_ids_are_numbers_only_where_nothing_is_lost(ids, kind):
    found = target_ids(ids)
    assert found.dtype.kind == kind
    assert [str(x) for x in found] == ids


def test_no_galaxies_no_rows():
    assert len(provabgs_table([])) == 0


def test_refusals_say_what_is_wrong(posterior):
    with pytest.raises(InputError, match=r"0390-51900-0282.*provabgs"):
        provabgs_table([make_posterior()])
    with pytest.raises(InputError, match="150 draws"):
        provabgs_table([posterior], n_samples=151)
    one = dataclasses.replace(posterior, id="x")
    assert provabgs_table([one])["TARGETID"][0] == "x"
