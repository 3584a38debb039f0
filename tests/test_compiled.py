"""Compiled code kept between runs: where it goes, and when nothing is kept."""

import jax
import pytest

from slipher.cli import compiled


@pytest.fixture(autouse=True)
def as_it_was():
    """The process' configuration, before and after."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_cache_is_in_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "slipher")
    assert (tmp_path / "slipher").is_dir()


def test_a_place_that_was_chosen_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)
    assert not (tmp_path / "other").exists()


def test_a_user_without_a_home_is_no_failure(monkeypatch):
    def unknown(*_):
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir is None


def test_a_home_that_cannot_be_written_is_no_failure(tmp_path, monkeypatch):
    occupied = tmp_path / "file"
    occupied.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(occupied))
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir is None
