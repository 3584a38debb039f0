"""The posterior of one galaxy: its table, its JSON, its files, and what it refuses to be."""

import json
import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest
import xarray as xr
from astropy.table import Table
from synthetic_posterior import make_posterior

from slipher.errors import Flag, InputError, UnreadableFile
from slipher.inference.posterior import Posterior, percentiles
from slipher.inference.prediction import Diagnostics, Prediction


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return make_posterior(n_draws=200)


@pytest.fixture(scope="module")
def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("arviz")


def assert_same(one: Posterior, other: Posterior) -> None:
    """Every field, bit by bit, dtypes and order included."""
    for name in ("id", "redshift", "model", "survey", "status", "units", "labels", "flags", "provenance"):
        assert getattr(one, name) == getattr(other, name), name
    np.testing.assert_equal(asdict(one.diagnostics), asdict(other.diagnostics))
    np.testing.assert_equal(one.seconds, other.seconds)
    for kind in ("samples", "derived"):
        assert list(getattr(one, kind)) == list(getattr(other, kind))
        for name, draws in getattr(one, kind).items():
            assert_same_array(draws, getattr(other, kind)[name])
    for name in ("history_edges_gyr", "history_sfr", "log_density"):
        assert_same_array(getattr(one, name), getattr(other, name))
    for name in ("wave_aa", "flux", "ivar", "draws", "sigma_model"):
        assert_same_array(getattr(one.prediction, name), getattr(other.prediction, name))
    assert one.prediction.segments == other.prediction.segments


def unchecked(cls, fields: dict) -> None:
    """Make an instance as a user would, without the check of shapes that is on in tests only."""
    instance = object.__new__(cls)
    vars(instance).update(fields)
    instance.__post_init__()


def assert_same_array(one: np.ndarray, other: np.ndarray) -> None:
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


def test_the_best_draw_is_that_of_the_highest_density(posterior):
    found, chosen = posterior.best(), int(np.argmax(posterior.log_density))
    np.testing.assert_equal(found, {name: draws[chosen] for name, draws in (posterior.samples | posterior.derived).items()})
    for none in (None, np.full(posterior.n_draws, np.nan)):
        with pytest.raises(InputError, match="density"):
            replace(posterior, log_density=none).best()
    with pytest.raises(InputError, match="log_density"):
        unchecked(Posterior, vars(posterior) | {"log_density": posterior.log_density[:-1]})


VARIANTS = {
    "refined SDSS": {},
    "amortised DESI, three arms": {"survey": "desi", "refined": False, "id": "39627788403084375"},
    "no derived quantities": {"derived": {}},
    "one draw": {"n_draws": 1},
    "many flags": {"flags": Flag.NOVEL | Flag.DUPLICATE_ID | Flag.POOR_FIT},
    "no flags": {"flags": Flag(0)},
    "population": {"diagnostics": Diagnostics(method="population", khat=0.4, ess=310.0)},
    "chains": {"diagnostics": Diagnostics(method="nuts", rhat=1.004, ess=850.0, divergences=3)},
    "infinite khat": {"refined": False, "diagnostics": Diagnostics(method="importance", khat=np.inf, ess=1.0)},
    "strange id": {"id": "µ/../ galaxy №7 \"quoted\" 'x' \n second line " + 3000 * "x"},
    "nested provenance": {"provenance": {"configuration": {"levels": [0.5, None, "a"], "deep": {"x": 1e-30}}}},
    "no provenance": {"provenance": {}, "units": {}, "labels": {}},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_the_file_gives_back_everything(tmp_path, changes):
    posterior = make_posterior(**({"n_draws": 50} | changes))
    posterior.save(tmp_path / "x.posterior.nc")
    assert_same(posterior, Posterior.load(tmp_path / "x.posterior.nc"))


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_json_is_strict_and_has_the_promised_form(changes):
    posterior = make_posterior(**({"n_draws": 50} | changes))
    loaded = json.loads(json.dumps(posterior.to_json_dict(), allow_nan=False))
    head = ["id", "redshift", "model", "survey", "status", "samples", "ess", "khat", "rhat", "chi2_per_pixel", "novelty"]
    assert list(loaded) == [*head, "flags", "seconds", "parameters", "derived", "provenance"]
    for kind in ("parameters", "derived"):
        assert all(list(value) == ["median", "p16", "p84", "unit"] for value in loaded[kind].values())
    assert list(loaded["parameters"]) == list(posterior.samples)
    assert loaded["flags"] == posterior.flags.names()


def test_json_values(posterior):
    out = posterior.to_json_dict()
    assert (out["id"], out["samples"], out["status"]) == ("0390-51900-0282", 200, "refined")
    assert out["parameters"]["a_v"]["median"] == pytest.approx(np.median(posterior.samples["a_v"]))
    assert out["parameters"]["a_v"]["unit"] == "mag"
    assert out["derived"]["flux_siii9533"] == {
        "median": None,
        "p16": None,
        "p84": None,
        "unit": "1e-17 erg / (s cm2)",
    }
    assert make_posterior(refined=False).to_json_dict()["khat"] is None


def test_summary_lists_parameters_then_derived(posterior):
    table = posterior.summary()
    assert table.colnames == ["name", "kind", "median", "p16", "p84", "unit"]
    assert list(table["name"]) == [*posterior.samples, *posterior.derived]
    assert np.all(table["p16"][:6] < table["median"][:6])
    assert np.all(table["median"][:6] < table["p84"][:6])


def test_the_summary_file_is_a_table_that_says_what_made_it(posterior, tmp_path):
    posterior.write_summary(tmp_path / "x.summary.ecsv")
    table = Table.read(tmp_path / "x.summary.ecsv")
    assert list(table["name"]) == list(posterior.summary()["name"])
    np.testing.assert_allclose(table["median"][:5], posterior.summary()["median"][:5])
    assert np.isnan(table["median"][-1])
    assert table.meta["flags"] == posterior.flags.names()
    assert table.meta["provenance"] == posterior.provenance
    assert table.meta["diagnostics"]["khat"] == 0.43


@pytest.mark.parametrize(
    ("draws", "median"),
    [
        (np.arange(101.0), 50.0),
        (np.array([np.nan, 1.0, 2.0, 3.0]), 2.0),
        (np.full(5, np.nan), np.nan),
        (np.array([-np.inf, -np.inf, -np.inf, -9.0]), -np.inf),
        (np.array([-np.inf, -11.0, -10.0, -9.0, -8.0]), -10.0),
        (np.array([3.0], dtype=np.float32), 3.0),
    ],
)
def test_percentiles_of_what_is_defined(draws, median):
    found = percentiles(draws)
    np.testing.assert_equal(found["median"], median)
    assert all(type(value) is float for value in found.values())


def test_xarray_opens_the_file(posterior, tmp_path):
    posterior.save(tmp_path / "x.nc")
    with xr.open_datatree(tmp_path / "x.nc", engine="h5netcdf") as tree:
        assert tree["posterior"].dataset.sizes == {"chain": 1, "draw": 200}
        assert tree["posterior/a_v"].attrs["units"] == "mag"
        assert tree["derived/log_mstar"].mean() == pytest.approx(posterior.derived["log_mstar"].mean())
        assert tree["posterior_predictive/flux"].dims == ("chain", "draw", "pixel")
        assert tree.attrs["flag_names"] == "RESOLUTION_ASSUMED EBV_ASSUMED_ZERO"
        assert json.loads(tree.attrs["provenance"])["slipher"] == "0.1.0"
        assert tree.attrs["khat"] == 0.43


def test_arviz_opens_the_file(arviz, posterior, tmp_path):
    posterior.save(tmp_path / "x.nc")
    data = arviz.from_netcdf(str(tmp_path / "x.nc"))
    assert {"posterior", "observed_data", "posterior_predictive"} <= set(data.groups())
    table = arviz.summary(data, var_names=["a_v", "sigma_star"], kind="stats", round_to="none")
    assert table.loc["a_v", "mean"] == pytest.approx(posterior.samples["a_v"].mean())
    for group in data.groups():
        data[group].close()


def test_to_arviz(arviz, posterior):
    data = posterior.to_arviz()
    np.testing.assert_array_equal(data["posterior"]["a_v"].values[0], posterior.samples["a_v"])
    np.testing.assert_array_equal(data["derived"]["log_mstar"].values[0], posterior.derived["log_mstar"])


def test_without_arviz_the_error_says_how_to_get_it(posterior, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "arviz", None)
    with pytest.raises(ImportError, match=r"pip install 'slipher\[arviz\]'"):
        posterior.to_arviz()


def test_damaged_files_are_refused(posterior, tmp_path):
    whole = tmp_path / "whole.nc"
    posterior.save(whole)
    cut = tmp_path / "cut.nc"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    text = tmp_path / "text.nc"
    text.write_text("not a netCDF file")
    empty = tmp_path / "empty.nc"
    empty.touch()
    for path in (cut, text, empty, tmp_path / "missing.nc", tmp_path):
        with pytest.raises(UnreadableFile, match=str(path)):
            Posterior.load(path)


def test_other_netcdf_files_are_refused(posterior, tmp_path):
    xr.Dataset({"x": ("y", np.arange(3.0))}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(UnreadableFile, match="format None"):
        Posterior.load(tmp_path / "other.nc")
    tree = posterior.to_tree()
    del tree["history"]
    tree.to_netcdf(tmp_path / "partial.nc", engine="h5netcdf")
    with pytest.raises(UnreadableFile, match="history"):
        Posterior.load(tmp_path / "partial.nc")


def test_a_missing_folder_is_named(posterior, tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        posterior.save(tmp_path / "nowhere" / "x.nc")


@pytest.mark.parametrize(
    "diagnostics",
    [
        Diagnostics(method="amortised"),
        Diagnostics(method="importance", khat=0.71, ess=500.0),
        Diagnostics(method="importance", khat=0.3, ess=99.0),
        Diagnostics(method="importance", khat=np.nan, ess=500.0),
        Diagnostics(method="population", khat=np.inf, ess=500.0),
        Diagnostics(method="population", khat=0.2),
        Diagnostics(method="nuts", rhat=1.01, ess=500.0),
        Diagnostics(method="nuts", rhat=1.001, ess=100.0),
        Diagnostics(method="nuts", rhat=np.inf, ess=500.0),
        Diagnostics(method="nested", ess=500.0),
    ],
)
def test_refined_is_not_claimed_where_diagnostics_fail(diagnostics):
    assert not diagnostics.hold()
    with pytest.raises(InputError, match="status 'refined'"):
        make_posterior(n_draws=10, diagnostics=diagnostics)
    assert make_posterior(n_draws=10, refined=False, diagnostics=diagnostics).status == "amortised"


@pytest.mark.parametrize(
    "changes",
    [
        {"history_edges_gyr": np.array([0.0, 1.0])},
        {"samples": {}},
        {"samples": {"a_v": np.zeros(9)}},
        {"derived": {"log_mstar": np.zeros(11)}},
        {"status": "perfect"},
    ],
    ids=["edges", "no parameters", "parameters", "derived", "status"],
)
def test_parts_that_disagree_are_refused(changes):
    fields = vars(make_posterior(n_draws=10)) | changes
    with pytest.raises(InputError):
        unchecked(Posterior, fields)


def test_a_prediction_has_bands_and_residuals(posterior):
    prediction = posterior.predict()
    assert prediction is posterior.prediction
    low68, high68 = prediction.interval()
    low95, high95 = prediction.interval(0.95)
    assert np.all((low95 <= low68) & (low68 <= prediction.median))
    assert np.all((prediction.median <= high68) & (high68 <= high95))
    residuals = prediction.residuals()
    np.testing.assert_array_equal(np.isnan(residuals), prediction.ivar == 0)
    assert np.nanstd(residuals) == pytest.approx(1.0, abs=0.05)


def test_residuals_without_information_do_not_warn():
    n = 12
    zero = np.zeros(n, dtype=np.float32)
    prediction = Prediction(wave_aa=np.linspace(4000.0, 5000.0, n), flux=zero, ivar=zero, draws=zero[None], sigma_model=zero)
    assert np.isnan(prediction.residuals()).all()
    assert prediction.segments == ((0, n),)


def test_a_prediction_needs_draws_on_its_pixels():
    zero = np.zeros(3, dtype=np.float32)
    arrays = {"wave_aa": np.arange(3.0), "flux": zero, "ivar": zero, "sigma_model": zero}
    for draws in (np.zeros((0, 3), dtype=np.float32), np.zeros((2, 4), dtype=np.float32)):
        with pytest.raises(InputError, match="a prediction of"):
            unchecked(Prediction, arrays | {"draws": draws, "segments": ()})
