"""Compiled programs of a process: room for more of them, and for what they work on.

Each program that XLA compiles for the CPU maps some 75 pieces of memory, and Linux allows a process 65,530; beyond that XLA ends it with a
segmentation fault. Whoever meets ever new shapes of data makes room before they compile.
"""

import os
from pathlib import Path

import jax

ALLOWED, TAKEN = Path("/proc/sys/vm/max_map_count"), Path("/proc/self/maps")
FULL = 0.6  # of what is allowed, from which programs are dropped: more than one scene or one model ever needs is left


def make_room(full: float = FULL) -> bool:
    """Drop all compiled programs if the process has taken so much of what is allowed; whether it had. Systems without a limit have room."""
    try:
        allowed = int(ALLOWED.read_text())
        with TAKEN.open("rb") as maps:
            taken = sum(1 for _ in maps)
    except (OSError, ValueError):
        return False
    if taken < full * allowed:
        return False
    jax.clear_caches()
    return True


def memory() -> float:
    """Bytes of the device that programs run on, or, where that is the processor, of the machine; infinite where nobody says."""
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is not None:
        return float(limit)
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no such call
        return float("inf")
