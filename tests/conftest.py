"""Shared fixtures; switches on the runtime check of every array annotation in the package."""

import gc
import os
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("slipher", "beartype.beartype")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
# What commands keep between runs (`slipher.cli.compiled`) stays in the checkout.
os.environ["XDG_CACHE_HOME"] = str(ROOT / ".pytest_cache" / "xdg")


@pytest.fixture(scope="module", autouse=True)
def _programs_of_its_own():
    """Each file's compiled programs go with it: each maps memory of its own, and a process may have 65,530 such maps on Linux."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real survey files; tests that need it are skipped, saying so, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the real survey files are not here ({SHARED})")
    return SHARED
