"""Tables and functions of spectra: every format gives the same rows, every mistake is named with its row, nothing is made twice."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import toy_spectra
from astropy.io import fits
from astropy.table import Table
from safetensors.numpy import save_file

from slipher.errors import InputError, UnitsError, UnreadableFile
from slipher.models import emulator_source, emulator_table
from slipher.physics.parameters import Parameter, Uniform

PARAMETERS = tuple(Parameter(name, "", name, Uniform(*bounds), "") for name, bounds in toy_spectra.BOUNDS.items())
VALUES = toy_spectra.draw(np.random.default_rng(0), 60)
SPECTRA = toy_spectra.spectra(VALUES)
ARRAYS = {"wave_aa": toy_spectra.WAVE_AA, "spectra": SPECTRA, **dict(zip(toy_spectra.BOUNDS, VALUES.T))}

# --- formats ---------------------------------------------------------------------------------------------------------


def write_npz(path: Path, arrays: dict) -> None:
    np.savez(path, **arrays)


def write_safetensors(path: Path, arrays: dict) -> None:
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, path)


def write_parquet(path: Path, arrays: dict) -> None:
    columns = {name: list(a) if a.ndim == 2 else a for name, a in arrays.items() if name != "wave_aa"}
    metadata = {"wave_aa": json.dumps(list(arrays["wave_aa"]))} if "wave_aa" in arrays else {}
    pyarrow.parquet.write_table(pyarrow.table(columns).replace_schema_metadata(metadata), path)


def write_fits(path: Path, arrays: dict, **units: str) -> None:
    table = Table({name: a for name, a in arrays.items() if name != "wave_aa"}, units=units)
    hdus = [fits.PrimaryHDU(), fits.table_to_hdu(table), fits.ImageHDU(arrays["wave_aa"], name="WAVE_AA")]
    hdus[1].name = "SPECTRA"
    fits.HDUList(hdus).writeto(path)


WRITERS = {".npz": write_npz, ".safetensors": write_safetensors, ".parquet": write_parquet, ".fits": write_fits}


def table_of(folder: Path, suffix: str = ".npz", write: Callable | None = None, **changes: np.ndarray | None) -> Path:
    """The table with some arrays changed, or left out (None)."""
    path = folder / f"table{suffix}"
    (write or WRITERS[suffix])(path, {name: a for name, a in {**ARRAYS, **changes}.items() if a is not None})
    return path


def read(path: Path, held_back: int = 20, seed: int = 1) -> emulator_source.Source:
    return emulator_source.from_table(path, PARAMETERS, held_back, seed)


def everything(source: emulator_source.Source) -> np.ndarray:
    return np.concatenate([ln_flux for _, ln_flux in emulator_source.chunks(source)])


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_every_format_gives_the_same_rows(suffix, tmp_path):
    source = read(table_of(tmp_path, suffix))
    np.testing.assert_array_equal(source.values, VALUES)
    np.testing.assert_array_equal(source.wave_aa, toy_spectra.WAVE_AA)
    np.testing.assert_allclose(everything(source), np.log(SPECTRA), rtol=1e-12)


def test_rows_come_in_order_whatever_the_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(emulator_source, "CHUNK", 7)
    source = read(table_of(tmp_path))
    rows = [rows for rows, _ in emulator_source.chunks(source)]
    assert [(r.start, r.stop) for r in rows][-2:] == [(49, 56), (56, 60)]
    np.testing.assert_allclose(everything(source), np.log(SPECTRA), rtol=1e-12)


def test_the_seed_decides_which_rows_are_held_back(tmp_path):
    path = table_of(tmp_path)
    held = read(path).held_back
    assert held.sum() == 20
    np.testing.assert_array_equal(read(path).held_back, held)
    assert np.any(read(path, seed=2).held_back != held)


# --- mistakes of tables ----------------------------------------------------------------------------------------------


def changed(name: str, row: int, value: float) -> np.ndarray:
    array = ARRAYS[name].copy()
    array[row] = value
    return array


def flux(row: int, pixel: int, value: float) -> np.ndarray:
    spectra = SPECTRA.copy()
    spectra[row, pixel] = value
    return spectra


TABLES = {
    "NaN": ({"spectra": flux(33, 0, np.nan)}, r"row 33 of .* with a flux of nan at 2500\.0 A; expected finite fluxes above zero"),
    "infinite": ({"spectra": flux(2, 0, np.inf)}, "row 2 of .* with a flux of inf"),
    "zero": ({"spectra": flux(59, 149, 0.0)}, r"row 59 of .* with a flux of 0 at 9000\.0 A"),
    "negative": ({"spectra": flux(0, 5, -1e-5)}, "row 0 of .* with a flux of -1e-05"),
    "outside the bounds": ({"tau_v": changed("tau_v", 7, 2.01)}, r"row 7 of .* with tau_v = 2\.01; expected 0 to 2"),
    "a parameter that is NaN": ({"slope": changed("slope", 9, np.nan)}, "row 9 of .* with slope = nan"),
    "a parameter missing": ({"slope": None}, r"without slope \(it has share"),
    "no spectra": ({"spectra": None}, "without spectra"),
    "no wavelengths": ({"wave_aa": None}, "without wave_aa"),
    "too few wavelengths": ({"wave_aa": toy_spectra.WAVE_AA[1:]}, "spectra of 150 pixels; expected 149, as many as wavelengths"),
    "too few values": ({"share": VALUES[1:, 0]}, "59 values of share; expected 60, one a spectrum"),
    "one spectrum": ({"spectra": SPECTRA[0]}, r"spectra of .* of shape \(150,\); expected numbers in 2 dimensions"),
    "words": ({"share": np.array(["much"] * 60)}, "share of .*; expected numbers in 1 dimension"),
    "wavelengths that fall": ({"wave_aa": toy_spectra.WAVE_AA[::-1]}, "that do not increase"),
    "a wavelength that is NaN": ({"wave_aa": changed("wave_aa", 3, np.nan)}, "that do not increase"),
}


@pytest.mark.parametrize("name", list(TABLES))
def test_mistakes_of_a_table_are_named(name, tmp_path):
    changes, message = TABLES[name]
    with pytest.raises(InputError, match=message):
        everything(read(table_of(tmp_path, **changes)))


def test_rounding_of_a_bound_in_single_precision_is_no_mistake(tmp_path):
    values = changed("share", 3, np.nextafter(np.float32(0.95), np.float32(1)))
    assert values[3] > 0.95
    read(table_of(tmp_path, share=values))


@pytest.mark.parametrize("held_back", [5, 31])
def test_a_useless_split_is_refused(held_back, tmp_path):
    with pytest.raises(InputError, match=rf"held_back = {held_back} of 60 spectra .* at most half of them"):
        read(table_of(tmp_path), held_back=held_back)


def test_ragged_spectra_of_parquet_are_refused(tmp_path):
    def write(path: Path, arrays: dict) -> None:
        columns = {name: a for name, a in arrays.items() if name != "wave_aa"}
        columns["spectra"] = [s[: 150 - (row == 4)] for row, s in enumerate(SPECTRA)]
        pyarrow.parquet.write_table(pyarrow.table(columns), path)

    with pytest.raises(InputError, match=r"row 4 of .* with 149 values of spectra; expected 150"):
        read(table_of(tmp_path, ".parquet", write))


def test_other_units_than_the_recipes_are_refused(tmp_path):
    units = {"share": "Gyr"}
    path = table_of(tmp_path, ".fits", lambda path, arrays: write_fits(path, arrays, **units))
    with pytest.raises(UnitsError, match=r"share in 'Gyr' in .*; expected '', as in the recipe"):
        read(path)


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_damaged_tables_are_refused(suffix, tmp_path):
    path = table_of(tmp_path, suffix)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableFile, match=r"cannot be read|truncated or corrupt"):
        read(path)


def test_tables_of_unknown_formats_and_missing_ones_are_refused(tmp_path):
    with pytest.raises(UnreadableFile, match=r"expected a file \.parquet, \.fits, \.npz, \.safetensors"):
        emulator_table.read(tmp_path / "table.csv", ("share",))
    with pytest.raises(UnreadableFile, match="cannot be opened"):
        emulator_source.checksum_of_table(tmp_path / "none.npz")


def test_pickles_are_refused(tmp_path):
    with pytest.raises(UnreadableFile, match="cannot be read"):
        read(table_of(tmp_path, share=np.array([{}] * 60, object)))


# --- functions -------------------------------------------------------------------------------------------------------

CALLS: list[dict] = []
WAVE_AA = toy_spectra.WAVE_AA


def counted(values: dict[str, float]) -> np.ndarray:
    CALLS.append(values)
    return toy_spectra.spectrum(values)


def raising(values: dict[str, float]) -> np.ndarray:
    if values["tau_v"] > 1.9:
        raise ValueError("too much dust\nfor this code")
    return toy_spectra.spectrum(values)


def short(values: dict[str, float]) -> np.ndarray:
    return toy_spectra.spectrum(values)[1:]


def dark(values: dict[str, float]) -> np.ndarray:
    return toy_spectra.spectrum(values) * (values["share"] < 0.9)


def wordy(values: dict[str, float]) -> str:
    return "a spectrum"


def call(folder: Path, function: str = "counted", n: int = 60, **options: object) -> emulator_source.Source:
    name = f"{__name__}:{function}"
    return emulator_source.from_function(name, f"{__name__}:WAVE_AA", PARAMETERS, n, 20, 1, beside=folder, folder=folder, **options)


def test_a_functions_rows_are_its_spectra(tmp_path):
    source = call(tmp_path)
    np.testing.assert_allclose(everything(source), np.log(toy_spectra.spectra(source.values)), rtol=1e-6)
    np.testing.assert_array_equal(source.held_back, np.arange(60) >= 40)


def test_draws_fill_the_bounds_evenly_and_follow_from_the_seed():
    values, held = emulator_source.draw(PARAMETERS, 1224, 200, 1)
    np.testing.assert_array_equal(emulator_source.draw(PARAMETERS, 1224, 200, 1)[0], values)
    assert np.any(emulator_source.draw(PARAMETERS, 1224, 200, 2)[0] != values)
    low, high = np.array(list(toy_spectra.BOUNDS.values())).T
    unit = (values - low) / (high - low)
    assert 0 <= unit.min() < unit.max() <= 1
    for part, most in ((unit[~held], 0.003), (unit[held], 0.1)):  # evenly spread, and random: distance from uniform
        distance = np.abs(np.sort(part, 0) - (np.arange(len(part))[:, None] + 0.5) / len(part)).max()
        assert distance < most


def test_a_killed_run_calls_for_no_chunk_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(emulator_source, "CHUNK", 25)
    whole = everything(call(tmp_path / "whole"))

    class Killed(BaseException):
        """Not an error that anything may catch."""

    def kill(done: int, *_: object) -> None:
        if done == 50:
            raise Killed

    CALLS.clear()
    with pytest.raises(Killed):
        call(tmp_path / "run", progress=kill)
    assert len(CALLS) == 50
    (tmp_path / "run/00001.npz").unlink()  # as if it had been killed before it was written
    np.testing.assert_array_equal(everything(call(tmp_path / "run")), whole)
    assert len(CALLS) == 50 + 25 + 10


FUNCTIONS = {
    "raising": r"raising for row \d+, share = .*, tau_v = 1\.9\d*, slope = .* raised ValueError: too much dust; expected a spectrum",
    "short": r"short for row 0, .* gave shape \(149,\); expected 150 fluxes",
    "dark": r"row \d+ of .*:dark with a flux of 0 at 2500\.0 A",
    "wordy": r"wordy for row 0, .* raised ValueError: could not convert string",
    "absent": r"'.*:absent' in a recipe \(.* has no attribute 'absent'\); expected a name in a module",
}


@pytest.mark.parametrize("function", list(FUNCTIONS))
def test_mistakes_of_a_function_are_named(function, tmp_path):
    with pytest.raises(InputError, match=FUNCTIONS[function]):
        call(tmp_path, function)
    assert not list(tmp_path.glob("*.npz"))


def test_modules_beside_the_recipe_are_found_and_no_others(tmp_path):
    (tmp_path / "beside_the_recipe.py").write_text("def f(values):\n    return 1\n")
    before = list(sys.path)
    found = emulator_source.checksum_of_function("beside_the_recipe:f", tmp_path)
    assert len(found) == 64
    assert sys.path == before
    with pytest.raises(InputError, match="No module named 'not_beside_it'"):
        emulator_source.checksum_of_function("not_beside_it:f", tmp_path)
