"""Shared fixtures; switches on the runtime check of every array annotation in the package."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("slipher", "beartype.beartype")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real survey files; tests that need it are skipped, saying so, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the real survey files are not here ({SHARED})")
    return SHARED
