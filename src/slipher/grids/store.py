"""Where the physical tables lie on disk: safetensors beside this file, arrays by name and facts as metadata.

Tables are data: no pickle, nothing executed. Every table says in its metadata what it was built from.
"""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from ..errors import ModelFileError

FOLDER = Path(__file__).parent


def save_table(name: str, arrays: dict[str, np.ndarray], facts: dict) -> Path:
    """Write the arrays (made contiguous) and the facts (JSON) as `name`.safetensors; returns the path."""
    path = FOLDER / f"{name}.safetensors"
    metadata = {"facts": json.dumps(facts, sort_keys=True)}
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, path, metadata=metadata)
    return path


def load_table(name: str) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and facts of a shipped table.

    Raises
    ------
    ModelFileError
        If the table is not in the package.
    """
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise ModelFileError(
            f"the table {path.name} is not in {FOLDER}",
            expected="the tables that ship with slipher",
            mend="Reinstall slipher, or build the table: pip install 'slipher[build]', then python -m slipher.grids",
        )
    with safe_open(path, framework="numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        facts = json.loads(file.metadata()["facts"])
    return arrays, facts
