"""What hits are made of in one process: pointers, bodies, representations and counters, with their threads."""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Final

from adwarm.foundation.clock import Clock
from adwarm.serving.body_cache import BodyCache
from adwarm.serving.pointers import PointerCache
from adwarm.serving.read_counter import ReadCounter
from adwarm.serving.representations import Representations
from adwarm.store import Context

_READERS: Final = 3
"""Threads that read the database; with the one that counts reads they leave no other waiting for a connection."""
_ENCODERS: Final = 2
_CHAIN_THREADS: Final = 2


class HitParts:
    """The parts of the hit route. Create it in the process that serves, and call its methods in one event loop.

    Args:
        clock: decides which days a key means.
    """

    def __init__(self, context: Context, clock: Clock) -> None:
        readers = max(1, min(_READERS, context.settings.sql.pool_size - 1))
        self._clock = clock
        self.readers = ThreadPoolExecutor(readers, thread_name_prefix="adwarm-read")
        self.encoders = ThreadPoolExecutor(_ENCODERS, thread_name_prefix="adwarm-encode")
        self.chain_threads = ThreadPoolExecutor(_CHAIN_THREADS, thread_name_prefix="adwarm-chain")
        self._context = context

    @cached_property
    def pointers(self) -> PointerCache:
        """Which entry answers a key."""
        return PointerCache(self._context, self._clock, self.readers)

    @cached_property
    def bodies(self) -> BodyCache:
        """The stored bodies."""
        return BodyCache(self._context, self.readers)

    @cached_property
    def representations(self) -> Representations:
        """Bodies in other codings and shapes."""
        return Representations(self._context, self.bodies, self.encoders)

    @cached_property
    def counter(self) -> ReadCounter:
        """Counts reads."""
        return ReadCounter(self._context.engine)

    def close(self) -> None:
        """Store what was counted, and end the threads; nothing may be read afterwards."""
        self.counter.close()
        for executor in (self.readers, self.encoders, self.chain_threads):
            executor.shutdown(cancel_futures=True)
