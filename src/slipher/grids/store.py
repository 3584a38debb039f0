"""Where the physical tables lie on disk: safetensors beside this file, arrays by name and facts as metadata.

Tables are data: no pickle, nothing executed. Every table says in its metadata what it was built from.
"""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import ModelFileError
from ..files import write_atomically

FOLDER = Path(__file__).parent


def save_table(name: str, arrays: dict[str, np.ndarray], facts: dict) -> Path:
    """Write the arrays (made contiguous) and the facts (JSON) as `name`.safetensors; returns the path."""
    path = FOLDER / f"{name}.safetensors"
    metadata = {"facts": json.dumps(facts, sort_keys=True)}
    content = save({key: np.array(value, order="C") for key, value in arrays.items()}, metadata=metadata)
    with write_atomically(path) as temporary:
        temporary.write_bytes(content)
    return path


def load_table(name: str) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and facts of a shipped table.

    Raises
    ------
    ModelFileError
        If the table is not in the package, or cannot be read.
    """
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise ModelFileError(
            f"the table {path.name} is not in {FOLDER}",
            expected="the tables that ship with slipher",
            mend="Reinstall slipher, or build the table: pip install 'slipher[build,filters]', then python -m slipher.grids",
        )
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            facts = json.loads(file.metadata()["facts"])
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise ModelFileError(
            f"the table {path} cannot be read ({error})", expected="a safetensors file", mend="Reinstall slipher."
        ) from error
    return arrays, facts
