"""Compiled functions over any number of rows, in batches of one size: nothing is compiled twice."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def in_batches(function: Callable[..., Any], size: int, *arrays: np.ndarray) -> Any:
    """What `function` makes of the arrays' rows, as numpy arrays.

    Parameters
    ----------
    function
        Takes `size` rows of each array, and returns arrays (in any tree) of so many rows.
    arrays
        With equally many rows, at least one; the last batch is filled up with copies of the last row.
    """
    parts = []
    for first in range(0, len(arrays[0]), size):
        some = [x[first : first + size] for x in arrays]
        n = len(some[0])
        filled = (np.pad(x, ((0, size - n),) + ((0, 0),) * (x.ndim - 1), mode="edge") for x in some)
        parts.append(jax.tree.map(lambda leaf, n=n: np.asarray(leaf)[:n], function(*filled)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
