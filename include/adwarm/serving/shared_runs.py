"""Runs of the fallback chain beside the event loop of the read API: for misses, damaged entries and a lost database.

Steps run in threads of their own. Readers of one key share a run, and for `REUSE_SECONDS` its result, so that a crowd
costs one. The copy that the process knows of a report is the one that the hit route has sent last.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cachetools import TTLCache

from adwarm.model import ReportKey
from adwarm.serving.body_cache import seal_body
from adwarm.serving.chain_steps import ChainRequest
from adwarm.serving.flights import loop_time
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.read_chain import ReadChain
from adwarm.serving.reader import ReadResult, RecentEntry
from adwarm.settings.recovery_sections import FallbackSettings

REUSE_SECONDS: Final = 2.0
_REUSED_BYTES: Final = 16 * 2**20
_RESULT_BYTES: Final = 2_000
"""What a result takes beside its bytes, about."""
_RunName = tuple[ReportKey, str, bool, bool, str, str]


class SharedRuns:
    """Runs the chain once for all readers of a key. Its methods are called in one event loop."""

    def __init__(self, chain: ReadChain, parts: HitParts) -> None:
        self._chain = chain
        self._parts = parts
        self._flights: dict[_RunName, asyncio.Future[ReadResult]] = {}
        self._results: TTLCache[_RunName, ReadResult] = TTLCache(_REUSED_BYTES, REUSE_SECONDS, loop_time, _count_bytes)

    async def find(
        self, request: ChainRequest, steps: Sequence[FallbackSettings], error: Exception | None = None
    ) -> ReadResult:
        """Return the answer of the first of `steps` that has one; a miss when none has.

        Args:
            steps: a part of the chain.
            error: why the part is needed; the error of `request.first` by default.
        """
        if not steps:
            return request.first
        error = error or request.first.error
        names = ",".join(step.name for step in steps)
        caller = request.caller if any(step.kind == "source" for step in steps) else ""
        name = (request.key, names, request.may_fetch, request.allow_partial, caller, type(error).__name__)
        result = self._results.get(name)
        if result is not None:
            return result
        flight = self._flights.get(name)
        if flight is None:
            flight = self._flights[name] = self._start(request, steps, error)
            flight.add_done_callback(lambda done: self._finish(name, done))
        return await asyncio.shield(flight)

    def _start(
        self, request: ChainRequest, steps: Sequence[FallbackSettings], error: Exception | None
    ) -> asyncio.Future[ReadResult]:
        pointer = self._parts.pointers.get_last(request.key)
        entry = None if pointer is None else pointer.entry
        body = None if entry is None else self._parts.bodies.get(entry)

        def find_cached() -> RecentEntry | None:
            if pointer is None or entry is None:
                return None
            cached_body = body or self._parts.bodies.read_local(entry)
            return None if cached_body is None else RecentEntry(entry, seal_body(entry, cached_body), pointer.data_zone)

        own = replace(request, find_cached=find_cached)
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._parts.chain_threads, self._chain.find, own, steps, error)

    def _finish(self, name: _RunName, done: asyncio.Future[ReadResult]) -> None:
        del self._flights[name]
        if not done.cancelled() and done.exception() is None:
            result = done.result()
            if _count_bytes(result) <= _REUSED_BYTES:
                self._results[name] = result


def _count_bytes(result: ReadResult) -> int:
    return _RESULT_BYTES + len(result.blob or b"")
