"""Settings of the memory allocators that return free memory to the system."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Environment variables for a process with many threads; allocators read them once, when the process starts.

Without them the C library keeps an arena of free memory for each thread, and Arrow a pool of its own.
"""


@contextmanager
def system_memory_pool() -> Iterator[None]:
    """Let Arrow return memory to the system as soon as it is free; its own pool retains about 50 MB."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
