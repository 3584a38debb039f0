"""Tables on disk: what is written is read, and a missing table says how to mend it."""

import numpy as np
import pytest

from slipher.errors import ModelFileError
from slipher.grids import store


def test_round_trip(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.array([1, 2], np.int32), "c": np.array(3.0)}
    path = store.save_table("made", arrays, {"origin": "here", "names": ["x", "y"]})
    assert path == tmp_path / "made.safetensors"
    read, facts = store.load_table("made")
    assert facts == {"origin": "here", "names": ["x", "y"]}
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_tables_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    path = store.save_table("made", {"a": np.zeros(3)}, {"version": 1})
    before = path.read_bytes()

    def fails(*_):
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", fails)
        with pytest.raises(OSError, match="killed"):
            store.save_table("made", {"a": np.ones(3)}, {"version": 2})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_tables_can_be_read_by_others(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    path = store.save_table("made", {"a": np.zeros(3)}, {})
    (tmp_path / "plain").write_text("x")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_table_cut_short_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    path = store.save_table("made", {"a": np.zeros(3)}, {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match=r"made\.safetensors cannot be read"):
        store.load_table("made")


def test_a_missing_table_says_how_to_build_it():
    with pytest.raises(ModelFileError, match=r"no_such\.safetensors.*python -m slipher\.grids"):
        store.load_table("no_such")


@pytest.mark.parametrize("name", ["stars", "nebulae", "filters", "history_bases"])
def test_shipped_tables_say_where_they_come_from_and_are_finite(name):
    arrays, facts = store.load_table(name)
    assert facts["origin"]
    for array in arrays.values():
        assert np.all(np.isfinite(array))
