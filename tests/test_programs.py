"""Room for compiled programs in a process that meets ever new shapes."""

from types import SimpleNamespace

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


@pytest.mark.parametrize(("told", "least", "most"), [(None, 1e8, 1e14), ({}, 1e8, 1e14), ({"bytes_limit": 12}, 12, 12)])
def test_memory_is_that_of_the_device_or_the_machine(told, least, most, monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(memory_stats=lambda: told)])
    assert least <= programs.memory() <= most


def test_memory_of_which_nobody_says_anything_is_no_limit(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(memory_stats=lambda: None)])
    monkeypatch.delattr(programs.os, "sysconf")
    assert programs.memory() == float("inf")
