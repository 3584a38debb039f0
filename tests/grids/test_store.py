"""Tables on disk: what is written is read, and a missing table says how to mend it."""

import numpy as np
import pytest

from slipher.errors import ModelFileError
from slipher.grids import store


def test_round_trip(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.array([1, 2], np.int32)}
    path = store.save_table("made", arrays, {"origin": "here", "names": ["x", "y"]})
    assert path == tmp_path / "made.safetensors"
    read, facts = store.load_table("made")
    assert facts == {"origin": "here", "names": ["x", "y"]}
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_a_missing_table_says_how_to_build_it():
    with pytest.raises(ModelFileError, match=r"no_such\.safetensors.*python -m slipher\.grids"):
        store.load_table("no_such")


@pytest.mark.parametrize("name", ["stars", "nebulae", "filters"])
def test_shipped_tables_say_where_they_come_from_and_are_finite(name):
    arrays, facts = store.load_table(name)
    assert facts["origin"]
    for array in arrays.values():
        assert np.all(np.isfinite(array))
