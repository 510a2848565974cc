"""Keeps the memory of a run near what it uses."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Environment of a process with many threads, so that free memory goes back to the system; read once, at its start.

Without it the C library keeps an arena of free memory for each thread, and Arrow a pool of its own.
"""


@contextmanager
def system_memory_pool() -> Iterator[None]:
    """Let Arrow give memory back to the system as soon as it is free; its own pool keeps some 50 MB for later."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
