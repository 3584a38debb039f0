"""Model files are data: what is saved is loaded bit by bit, and anything else is refused with a reason."""

import json
import os
import pickle
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from slipher.errors import ModelFileError
from slipher.networks import weights


class Net(eqx.Module):
    """Half precision, a scalar, integers, a nested module and something that is no array."""

    basis: jax.Array
    layer: eqx.nn.Linear
    scale: jax.Array
    order: jax.Array
    note: str


def make(seed: int = 0, *, width: int = 4) -> Net:
    key = jax.random.key(seed)
    return Net(
        basis=jax.random.normal(key, (3, 2)).astype(jnp.float16),
        layer=eqx.nn.Linear(3, width, key=key),
        scale=jnp.float32(0.1 + seed),
        order=jnp.arange(3) + seed,
        note="kept from the template",
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "weights.safetensors"
    weights.save_arrays(make(1), path)
    return path


@pytest.fixture
def folder(saved):
    card = {"name": "net", "sha256": weights.sha256(saved)}
    (saved.parent / "card.json").write_text(json.dumps(card))
    return saved.parent


def assert_same(a: Net, b: Net) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_array_equal(x, y)


def test_every_array_comes_back_bit_by_bit(saved):
    assert_same(weights.load_arrays(make(0), saved), make(1))


def test_a_template_of_shapes_alone_is_filled(saved):
    assert_same(weights.load_arrays(eqx.filter_eval_shape(make, 0), saved), make(1))


def test_arrays_are_stored_by_name_in_their_own_precision(saved):
    stored = load_file(saved)
    assert set(stored) == {"basis", "layer.weight", "layer.bias", "scale", "order"}
    assert stored["basis"].dtype == np.float16
    assert stored["scale"].shape == ()


def test_a_transposed_array_is_stored_as_it_reads(tmp_path):
    tree = {"a": jnp.arange(6.0).reshape(2, 3).T}
    weights.save_arrays(tree, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(load_file(tmp_path / "a.safetensors")["['a']"], tree["a"])


def mostly_zero() -> dict[str, np.ndarray]:
    """A basis of lines, of a size that is no multiple of eight."""
    basis = np.zeros((2001, 7), np.float16)
    basis[::9, 3] = np.random.default_rng(2).normal(size=223)
    return {"basis": jnp.asarray(basis), "order": jnp.arange(3)}


def test_a_large_array_that_is_mostly_zero_takes_little_room_and_comes_back(tmp_path):
    path, tree = tmp_path / "weights.safetensors", mostly_zero()
    weights.save_arrays(tree, path)
    assert path.stat().st_size < 0.2 * tree["basis"].nbytes
    back = weights.load_arrays(jax.tree.map(jnp.zeros_like, tree), path)
    for name, array in tree.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize("part", ["@values", "@where", "@shape", None])
def test_half_of_a_packed_array_is_refused(tmp_path, part):
    path, tree = tmp_path / "weights.safetensors", mostly_zero()
    weights.save_arrays(tree, path)
    stored = load_file(path)
    name = next(name for name in stored if name.endswith(part or "@values"))
    stored[name] = stored[name][1:]
    if part is not None:
        del stored[name]
    save_file(stored, path)
    with pytest.raises(ModelFileError, match="cannot be read"):
        weights.load_arrays(tree, path)


def test_the_checksum_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "weights.safetensors"
    assert weights.save_arrays(make(1), path) == weights.sha256(path)
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert weights.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_same_arrays_make_the_same_file(saved, tmp_path):
    assert weights.save_arrays(make(1), tmp_path / "again.safetensors") == weights.sha256(saved)
    assert weights.save_arrays(make(2), tmp_path / "other.safetensors") != weights.sha256(saved)


def test_files_can_be_read_by_others(saved):
    before = os.umask(0o022)
    try:
        weights.save_arrays(make(1), saved.parent / "new.safetensors")
    finally:
        os.umask(before)
    assert (saved.parent / "new.safetensors").stat().st_mode & 0o777 == 0o644


# --- files that are not what they should be --------------------------------------------------------------------------


def test_a_file_cut_short_is_refused_at_any_length(saved):
    content = saved.read_bytes()
    for length in (0, 7, 8, 100, len(content) // 2, len(content) - 1):
        saved.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"weights\.safetensors cannot be read"):
            weights.load_arrays(make(0), saved)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelFileError, match="nowhere"):
        weights.load_arrays(make(0), tmp_path / "nowhere.safetensors")


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_is_refused_and_never_executed(saved, tmp_path):
    saved.write_bytes(pickle.dumps(Bomb(tmp_path / "executed")))
    with pytest.raises(ModelFileError, match="cannot be read"):
        weights.load_arrays(make(0), saved)
    assert not (tmp_path / "executed").exists()


def rewrite(path, change: Any) -> None:
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)


def replaced(name: str, value: np.ndarray) -> Any:
    return lambda arrays: arrays.update({name: value})


MISFITS = {
    "one array missing": ("scale", lambda arrays: arrays.pop("scale")),
    "one array too many": ("momentum", replaced("momentum", np.zeros(2, np.float32))),
    "another shape": (r"layer\.bias", replaced("layer.bias", np.zeros(5, np.float32))),
    "as many numbers in another shape": (r"layer\.weight", replaced("layer.weight", np.zeros((3, 4), np.float32))),
    "a vector for a scalar": ("scale", replaced("scale", np.zeros(1, np.float32))),
    "integers for real numbers": ("scale", replaced("scale", np.array(1, np.int32))),
    "real numbers for integers": ("order", replaced("order", np.zeros(3, np.float32))),
}


@pytest.mark.parametrize("name", list(MISFITS))
def test_arrays_of_another_architecture_are_refused_by_name(saved, name):
    culprit, change = MISFITS[name]
    rewrite(saved, change)
    with pytest.raises(ModelFileError, match=rf"does not fit this architecture \(first difference: {culprit}\)"):
        weights.load_arrays(make(0), saved)


def test_weights_of_a_wider_network_are_refused(tmp_path):
    weights.save_arrays(make(1, width=5), tmp_path / "wide.safetensors")
    with pytest.raises(ModelFileError, match="does not fit"):
        weights.load_arrays(make(0), tmp_path / "wide.safetensors")


# --- the card --------------------------------------------------------------------------------------------------------


def test_a_card_that_belongs_to_its_weights_is_read(folder):
    assert weights.read_card(folder)["name"] == "net"


def test_one_changed_bit_of_the_weights_is_refused(folder):
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"has checksum .* as on its card.*altered or cut short"):
        weights.read_card(folder)


def test_the_card_of_another_model_is_refused(folder):
    weights.save_arrays(make(2), folder / "weights.safetensors")
    with pytest.raises(ModelFileError, match="has checksum"):
        weights.read_card(folder)


def test_a_card_without_a_checksum_vouches_for_nothing(folder):
    (folder / "card.json").write_text('{"name": "net"}')
    with pytest.raises(ModelFileError, match="has checksum"):
        weights.read_card(folder)


@pytest.mark.parametrize("text", ["", '{"name": "net", "sha2', "3"])
def test_a_card_that_is_no_json_object_is_refused(folder, text):
    (folder / "card.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"card\.json cannot be read"):
        weights.read_card(folder)


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors"])
def test_half_a_model_is_no_model(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelFileError, match="holds no model"):
        weights.read_card(folder)
