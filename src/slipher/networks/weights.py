"""Model files are data: safetensors by name, a JSON card with their checksum; nothing is unpickled or executed.

Leaves are stored under their path in the tree ("embedding.layers[0].weight"), never by position, so that a changed architecture cannot
silently load weights into the wrong places. Large leaves that are mostly zero (a basis of lines) are stored as what is not zero, a bit for
each element saying where that is. Frozen card facts (recipe, seed, version, calibration, limits) lie beside the weights.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import ModelFileError

Tree = Any

LARGE = 10_000  # elements
VALUES, WHERE, SHAPE = "@values", "@where", "@shape"  # of a leaf that is mostly zero, behind its name


def named_leaves(tree: Tree) -> dict[str, jax.Array | jax.ShapeDtypeStruct]:
    """The arrays of a tree by path; wrappers that are resolved at run time keep their inner names."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, _is_array))
    return {jax.tree_util.keystr(path).lstrip("."): leaf for path, leaf in leaves}


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _kind(leaf: Any) -> tuple[tuple[int, ...], bool]:
    """Shape, and whether the numbers are real; their precision may differ."""
    return leaf.shape, jnp.issubdtype(leaf.dtype, jnp.inexact)


def save_arrays(tree: Tree, path: Path) -> str:
    """Write the tree's arrays; returns the file's sha256."""
    # Not by safetensors' own `save_file`: only the owner could read its files. (ascontiguousarray would turn scalars into vectors.)
    packed = [_packed(name, np.array(leaf, order="C")) for name, leaf in named_leaves(tree).items()]
    path.write_bytes(save({name: array for leaf in packed for name, array in leaf.items()}))
    return sha256(path)


def _packed(name: str, leaf: np.ndarray) -> dict[str, np.ndarray]:
    there = leaf != 0
    if leaf.size < LARGE or 2 * there.sum() > leaf.size:
        return {name: leaf}
    return {name + VALUES: leaf[there], name + WHERE: np.packbits(there), name + SHAPE: np.array(leaf.shape, np.int64)}


def _unpacked(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leaves by name; ValueError where a packed one contradicts itself, KeyError where a part of it is missing."""
    leaves = {name: array for name, array in stored.items() if "@" not in name}
    for name in {name.partition("@")[0] for name in stored} - set(leaves):
        values, where, shape = (stored[name + part] for part in (VALUES, WHERE, SHAPE))
        there = np.unpackbits(where).astype(bool)[: np.prod(shape)].reshape(shape)
        leaves[name] = np.zeros(shape, values.dtype)
        leaves[name][there] = values
    return leaves


def load_arrays(template: Tree, path: Path) -> Tree:
    """The template with its arrays (or their shapes: `eqx.filter_eval_shape`) replaced by those in the file.

    Raises
    ------
    ModelFileError
        If the file is unreadable, or its names, shapes or kinds of number differ from the template's.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            stored = _unpacked({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise ModelFileError(
            f"{path} cannot be read ({error})", expected="a safetensors file", mend="Reinstall slipher or train again."
        ) from error
    expected = named_leaves(template)
    wrong = sorted(set(stored) ^ set(expected))
    wrong += [name for name in sorted(set(stored) & set(expected)) if _kind(stored[name]) != _kind(expected[name])]
    if wrong:
        raise ModelFileError(
            f"{path} does not fit this architecture (first difference: {wrong[0]})",
            expected=f"the {len(expected)} arrays of the recipe's network",
            mend="Use the recipe that the weights were trained by.",
        )
    arrays, rest = eqx.partition(template, _is_array)
    filled = jax.tree_util.tree_map_with_path(
        lambda path_, leaf: jnp.asarray(stored[jax.tree_util.keystr(path_).lstrip(".")], leaf.dtype), arrays
    )
    return eqx.combine(filled, rest)


def sha256(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_card(folder: Path) -> dict:
    """The card of a model's folder, after checking that the weights beside it are those it describes.

    Raises
    ------
    ModelFileError
        If either is missing, the card cannot be read, or the checksum differs.
    """
    card_path, weights = folder / "card.json", folder / "weights.safetensors"
    if not card_path.is_file() or not weights.is_file():
        raise ModelFileError(
            f"{folder} holds no model", expected="card.json and weights.safetensors", mend="Reinstall slipher or train again."
        )
    try:
        card = json.loads(card_path.read_text())
        if not isinstance(card, dict):
            raise ValueError(f"a {type(card).__name__}")
    except ValueError as error:
        raise ModelFileError(
            f"{card_path} cannot be read ({error})", expected="a JSON object", mend="Reinstall slipher or train again."
        ) from error
    found = sha256(weights)
    if card.get("sha256") != found:
        raise ModelFileError(
            f"{weights} has checksum {found[:12]}", expected=f"{str(card.get('sha256'))[:12]}, as on its card",
            mend="The weights were altered or cut short: reinstall slipher or train again.",
        )  # fmt: skip
    return card
