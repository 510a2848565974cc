"""The fallback chain beside the event loop of the read API: for misses, damaged entries and a lost database only.

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
from adwarm.serving.flights import loop_time
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.read_chain import ChainRequest, ReadChain, max_age_seconds, order_steps
from adwarm.serving.reader import ReadResult, RecentEntry
from adwarm.settings.recovery_sections import FallbackSettings

REUSE_SECONDS: Final = 2.0
_REUSED_BYTES: Final = 16 * 2**20
_RESULT_BYTES: Final = 2_000
"""What a result takes beside its bytes, about."""
_RunName = tuple[ReportKey, str, bool, bool, str, str]


class ApiChain:
    """Runs the steps of the chain for the read API. Its methods are called in one event loop."""

    def __init__(self, chain: ReadChain, parts: HitParts) -> None:
        self._chain = chain
        self._parts = parts
        self._flights: dict[_RunName, asyncio.Future[ReadResult]] = {}
        self._results: TTLCache[_RunName, ReadResult] = TTLCache(_REUSED_BYTES, REUSE_SECONDS, loop_time, _count_bytes)
        entry = next((step for step in chain.steps if step.kind == "entry"), None)
        self.entry_seconds = None if entry is None else entry.timeout_seconds
        """How long the database may take to say which entry answers; None without the step `entry`."""
        limit = None if entry is None else max_age_seconds(entry)
        self.max_stale_seconds = -1.0 if entry is None else float("inf") if limit is None else limit
        """Age up to which an old entry is sent as it is; below 0 without the step `entry`."""

    def split_steps(
        self, *, wants_fresh: bool
    ) -> tuple[Sequence[FallbackSettings], FallbackSettings | None, Sequence[FallbackSettings]]:
        """Return the steps before `upstream`, that step if there is one, and those after it."""
        steps = order_steps(self._chain.steps, wants_fresh=wants_fresh)
        place = next((number for number, step in enumerate(steps) if step.kind == "upstream"), None)
        if place is None:
            return steps, None, ()
        return steps[:place], steps[place], steps[place + 1 :]

    def describe_miss(self, key: ReportKey, error: Exception | None, reason: str) -> ReadResult:
        """Return the miss that a run starts from; `error` is that of the database, if it could not be read."""
        if error is None:
            return self._chain.describe_miss(key, reason)
        return self._chain.describe_lost_store(key, error)

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
        names = ",".join(f"{step.kind}:{step.connection or ''}" for step in steps)
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
