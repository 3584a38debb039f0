"""Compiled code kept between runs: a second `slipher fit` on a machine does not compile again what the first one did.

JAX keeps it in $XDG_CACHE_HOME/slipher (or ~/.cache/slipher); the folder may be deleted at any time. JAX_COMPILATION_CACHE_DIR chooses
another place, as in any JAX program. Only the command does this: a library has no business with a user's home.
"""

import os
from pathlib import Path


def keep() -> None:
    """Switch the cache on, where the folder can be written."""
    import jax

    if jax.config.jax_compilation_cache_dir:
        return
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipher"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home, as in containers
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Hundreds of small functions cost as much as a few large ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
