"""Room for compiled programs in a process that meets ever new shapes."""

import jax
import jax.numpy as jnp
import pytest

from slipher import programs


@pytest.fixture
def program():
    """A function compiled once."""
    function = jax.jit(lambda x: x + 1.0)
    function(jnp.zeros(3))
    assert function._cache_size() == 1
    return function


def test_programs_are_dropped_when_the_process_is_full(program, tmp_path, monkeypatch):
    for name, text in (("ALLOWED", "10\n"), ("TAKEN", "map\n" * 7)):
        monkeypatch.setattr(programs, name, tmp_path / name)
        (tmp_path / name).write_text(text)
    assert programs.make_room()
    assert program._cache_size() == 0


def test_programs_stay_while_there_is_room(program):
    assert not programs.make_room()
    assert program._cache_size() == 1


def test_a_system_without_such_a_limit_has_room(program, tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "ALLOWED", tmp_path / "none")
    assert not programs.make_room()
    assert program._cache_size() == 1


def test_memory_is_that_of_the_machine(monkeypatch):
    assert 1e8 < programs.memory() < 1e14
    monkeypatch.delattr(programs.os, "sysconf")
    assert programs.memory() == float("inf")
