"""The table of answers for a catalogue: one row for each of its rows, in Parquet, written as the answers come.

Units and what made the table stand in the file's metadata (key `slipher`, JSON). `flags` holds the bits of `slipher.errors.Flag`.
"""

import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slipher.files import write_atomically
from slipher.physics.derived import QUANTITIES
from slipher.physics.galaxy import MODELS

ROW_GROUP = 4096


def write_answers(parts: Iterable[dict[str, np.ndarray]], path: Path, made_by: dict) -> None:
    """Write columns [row] of consecutive rows; the file appears whole or not at all.

    Raises
    ------
    OSError
        If the disk does not take it.
    """
    writer, waiting = None, []
    with write_atomically(path) as temporary:
        for part in parts:
            table = pa.table({name: _column(name, values) for name, values in part.items()})
            if writer is None:
                metadata = {"slipher": json.dumps({"slipher": version("slipher"), "units": _units(table.column_names), **made_by})}
                schema = table.schema.with_metadata(metadata)
                writer = pq.ParquetWriter(temporary, schema)
            waiting.append(table.cast(schema))
            if sum(map(len, waiting)) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
        if writer is not None:
            writer.close()


def _column(name: str, values: np.ndarray) -> pa.Array:
    """Text as text, whole numbers as they are, all else in single precision but redshifts; [row, draw] as lists."""
    if values.dtype.kind in "UO":
        return pa.array(values.astype(str))
    if values.dtype.kind in "iub":
        return pa.array(values.astype(np.int64))
    numbers = values.astype(np.float64 if name.startswith("redshift") else np.float32)
    flat = pa.array(numbers.reshape(-1))
    return flat if numbers.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, numbers.shape[1])


def _units(names: list[str]) -> dict[str, str]:
    known = {p.name: p.unit for model in MODELS.values() for p in model.parameters} | {name: unit for name, (unit, _) in QUANTITIES.items()}
    stems = {name: name.removesuffix("_p16").removesuffix("_p84").removesuffix("_draws") for name in names}
    return {name: known[stem] for name, stem in stems.items() if stem in known}
