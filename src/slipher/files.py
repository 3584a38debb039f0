"""Files that appear whole or not at all: the one place from which slipher writes.

A file is written beside its place under a temporary name, flushed to the disk and then renamed: whoever looks sees the
old file or the new one, also when the process is killed in between. What is in the file is the caller's matter.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from slipher.errors import InputError


@contextmanager
def write_atomically(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving without an error it becomes `path`, otherwise it is removed.

    The temporary name keeps the suffix, as many writers choose their format by it, and is hidden.

    Raises
    ------
    InputError
        If the folder of `path` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(
            f"cannot write {path}: there is no folder {path.parent}",
            expected="an existing folder",
            mend="Create the folder first.",
        )
    temporary = path.parent / f".{uuid4().hex}{path.suffix}"
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
