"""Shared fixtures; switches on the runtime check of every array annotation in the package."""

import gc
import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("slipher", "beartype.beartype")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
# What commands keep between runs (`slipher.cli.compiled`) stays in the checkout.
os.environ["XDG_CACHE_HOME"] = str(ROOT / ".pytest_cache" / "xdg")


@pytest.fixture(scope="module", autouse=True)
def _room():
    """Files share what is compiled, until it takes some gigabytes."""
    from slipher.programs import make_room  # not before the hook is there

    yield
    if make_room(0.35):
        gc.collect()


@pytest.fixture(scope="module")
def optimised():
    """Compiled as users have it also in `make test`: for files whose programs run longer than they compile."""
    import jax

    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real survey files; tests that need it are skipped, saying so, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the real survey files are not here ({SHARED})")
    return SHARED
