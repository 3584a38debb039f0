"""Catalogues row by row: the answers of `slipher.fit`, in their order, whatever is missing. By an untrained network."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import slipher
from slipher.data.photometry_checks import catalogue_from_arrays
from slipher.errors import Flag, InputError
from slipher.models import rows, shipped
from slipher.report.answers import write_answers

BANDS = ("sdss2010-u", "sdss2010-g", "sdss2010-r", "sdss2010-i", "sdss2010-z")
FLUX = np.array([8.0, 20.0, 40.0, 55.0, 65.0])
N = 70  # more than are answered at once


@pytest.fixture(scope="module")
def catalogue():
    """Known and unknown redshifts, missing bands, a row without any, a negative flux, an upper limit."""
    rng = np.random.default_rng(0)
    flux = FLUX * 10 ** rng.uniform(-1, 1, (N, 1)) * np.exp(0.1 * rng.standard_normal((N, 5)))
    sigma = 0.05 * flux + 0.2
    limits = np.zeros((N, 5), bool)
    flux[3] = np.nan
    flux[4, :3] = np.nan
    flux[5, 0] = -0.5
    limits[6, 0] = True
    redshift = np.where(np.arange(N) % 3 == 0, np.nan, rng.uniform(0.02, 1.5, N))
    redshift[8] = 5.0  # beyond the model
    return catalogue_from_arrays(flux, sigma, bands=BANDS, unit="nanomaggy", limits=limits, redshift=redshift, ebv=np.full(N, 0.03))


def together(catalogue, **options):
    parts = list(slipher.fit_rows(catalogue, **options))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module")
def answers(catalogue, small_model):
    return together(catalogue, model=small_model, samples=40, keep=("redshift", "log_mstar"))


def test_every_row_has_its_answer_in_its_place(catalogue, answers):
    np.testing.assert_array_equal(answers["id"], catalogue.id.astype(str))
    known = ~np.isnan(catalogue.redshift)
    np.testing.assert_array_equal(answers["redshift"][known & (np.arange(N) != 3)], catalogue.redshift[known & (np.arange(N) != 3)])
    whole = np.arange(N) != 3
    for name in ("log_mstar", "log_mstar_p16", "log_sfr_100myr", "a_v", "chi2_per_band"):
        assert np.isfinite(answers[name][whole]).all(), name
    assert (answers["log_mstar_p16"][whole] <= answers["log_mstar"][whole]).all()


@pytest.mark.parametrize("row", [0, *(pytest.param(row, marks=pytest.mark.slow) for row in (1, 4, 5, 6, 8, 69))])
def test_a_row_is_what_fit_says_of_it(catalogue, answers, small_model, row):
    """A fit alone and a row among others: the same random numbers through functions compiled apart."""
    found = slipher.fit(catalogue[row], model=small_model, samples=40, sampler="amortised")
    alone = rows.columns_of(found, keep=("redshift", "log_mstar"))
    for name in ("redshift", "log_mstar", "log_mstar_p84", "a_v", "age_mw_gyr", "chi2_per_band", "novelty", "n_bands", "peak_sn"):
        np.testing.assert_allclose(answers[name][row], alone[name], rtol=2e-3, atol=2e-3, err_msg=name)
    np.testing.assert_allclose(answers["log_mstar_draws"][row], alone["log_mstar_draws"], atol=5e-3)
    assert int(answers["flags"][row]) == int(found.flags)


def test_a_row_without_bands_is_nan_and_flagged(answers):
    assert np.isnan([answers[name][3] for name in ("log_mstar", "log_mstar_p16", "a_v", "chi2_per_band", "peak_sn")]).all()
    assert Flag(int(answers["flags"][3])) & Flag.LOW_SN
    assert np.isnan(answers["log_mstar_draws"][3]).all()


def test_a_redshift_beyond_the_model_is_flagged(answers):
    assert Flag(int(answers["flags"][8])) & Flag.REDSHIFT_OUTSIDE_MODEL


def test_draws_are_kept_on_demand(catalogue, answers):
    assert answers["redshift_draws"].shape == (N, 40)
    inferred = np.flatnonzero(np.isnan(catalogue.redshift) & (np.arange(N) != 3))
    np.testing.assert_allclose(np.median(answers["redshift_draws"][inferred], 1), answers["redshift"][inferred])
    assert (answers["redshift_draws"][1] == catalogue.redshift[1]).all()
    assert not [name for name in answers if name.endswith("_draws") and name not in ("redshift_draws", "log_mstar_draws")]


def test_rows_fitted_one_by_one_have_the_same_columns(catalogue, answers, small_model):
    """As they are for the samplers that take them one after the other."""
    found = rows._one_by_one(catalogue[:2], shipped.load(small_model), small_model, 40, "amortised", 0, ("redshift", "log_mstar"))
    assert set(found) == set(answers)
    for name, values in found.items():
        assert values.shape == answers[name][:2].shape, name
    np.testing.assert_array_equal(np.isnan(found["redshift_p16"]), [False, True])  # the second's is given


def test_the_table_is_read_back_with_units_and_lists(answers, tmp_path):
    write_answers([{name: values[:50] for name, values in answers.items()}, {name: values[50:] for name, values in answers.items()}],
                  tmp_path / "a.parquet", {"seed": 0})  # fmt: skip
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.num_rows == N
    np.testing.assert_array_equal(np.array(table["flags"]), answers["flags"])
    np.testing.assert_allclose(np.array(table["log_mstar"]), answers["log_mstar"], rtol=1e-6)
    np.testing.assert_allclose(np.stack(table["redshift_draws"].to_numpy()), answers["redshift_draws"])
    facts = json.loads(table.schema.metadata[b"slipher"])
    assert facts["units"]["log_mstar_p16"] == "log(Msun)"
    assert facts["units"]["log_mstar_draws"] == "log(Msun)"


def test_what_is_refused(catalogue, small_model):
    with pytest.raises(InputError, match="log_mstar"):
        next(slipher.fit_rows(catalogue, model=small_model, keep=("log_mstarr",)))
    with pytest.raises(InputError, match="at least 1"):
        next(slipher.fit_rows(catalogue, model=small_model, samples=0))
    with pytest.raises(InputError, match="of photometry"):
        next(slipher.fit_rows(catalogue, model="galaxy"))


# --- what networks that know one noise and one set of bands fail on (SBI++, arXiv:2304.05281) -------------------------

FAR_OFF = Flag.NOVEL | Flag.POOR_FIT | Flag.LOW_SN | Flag.HIGH_SN


@pytest.mark.parametrize(
    "change",
    {
        "noise a thousand times smaller": lambda c: replace(c, ivar=c.ivar * 1e6),
        "noise a thousand times larger": lambda c: replace(c, ivar=c.ivar / 1e6),
        "one band a thousand times noisier": lambda c: replace(c, ivar=c.ivar * np.array([1, 1e-6, 1, 1, 1.0])),
        "one band alone": lambda c: replace(c, ivar=c.ivar * np.array([0, 0, 1.0, 0, 0])),
        "every flux negative": lambda c: replace(c, flux=-np.abs(c.flux)),
        "a flux of zero": lambda c: replace(c, flux=np.zeros_like(c.flux)),
        "far brighter than any galaxy": lambda c: replace(c, flux=c.flux * 1e12, ivar=c.ivar / 1e24),
        "one band a million times brighter": lambda c: replace(c, flux=c.flux * np.array([1, 1, 1e6, 1, 1.0])),
    }.items(),
    ids=lambda item: item[0],
)
def test_unusual_noise_and_bands_have_an_answer_or_a_flag(catalogue, small_model, change):
    name, how = change
    some = how(catalogue[np.array([1, 2, 0, 9])])
    found = together(some, model=small_model, samples=40)
    whole = np.isfinite(found["log_mstar"]) & np.isfinite(found["log_mstar_p84"])
    flagged = (found["flags"] & int(FAR_OFF)) > 0
    assert (whole | flagged).all()
    if name != "one band alone":
        assert whole.all()
    if "thousand" not in name and name != "one band alone":
        assert flagged.all()
