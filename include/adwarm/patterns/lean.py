"""Keeps the memory of a run near what it uses."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def lean_memory() -> Iterator[None]:
    """Let Arrow give memory back to the system as soon as it is free; its own pool keeps some 50 MB for later."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
