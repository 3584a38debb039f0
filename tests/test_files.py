"""The atomic writer: the old file or the new one, never half of one."""

import os

import pytest

from slipher.errors import InputError
from slipher.files import write_atomically


def test_writing_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.ecsv"
    path.write_text("old")

    def write():
        with write_atomically(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.ecsv"]


def test_writing_replaces_at_once_and_keeps_the_suffix(tmp_path):
    path = tmp_path / "figure.png"
    path.write_text("old")
    with write_atomically(path) as temporary:
        assert temporary.suffix == ".png"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["figure.png"]


def test_written_files_can_be_read_by_others(tmp_path):
    with write_atomically(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
    (tmp_path / "b.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no folder"), write_atomically(tmp_path / "nowhere" / "x.nc"):
        pass


def test_a_writer_that_wrote_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), write_atomically(tmp_path / "x.nc"):
        pass
    assert os.listdir(tmp_path) == []
