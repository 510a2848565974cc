"""Readers that wait for requests of the queue: one flight per report key in a process.

A flight is one open request with the readers that wait for it. Its first reader enqueues; the others share that
transaction. A waiting reader is an asyncio future: it holds no thread and no connection. One task reads the state of
all awaited requests in one query, and ends when nobody waits.

| event                                             | the request in the queue                                    |
|---------------------------------------------------|-------------------------------------------------------------|
| the first reader waits                            | is enqueued with the deadline of the longest wait           |
| a more urgent reader joins                        | gets the more urgent class                                  |
| a reader stops waiting and gets its id            | gets the ordinary deadline of the queue                     |
| readers still wait when its deadline is near      | gets the ordinary deadline of the queue                     |
| every reader leaves before that                   | ends or expires by itself; the flight is forgotten          |

Use one `Flights` from one event loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cachetools import TTLCache

from adwarm.backpressure import RequestQueue, Ticket, TokenLimits
from adwarm.backpressure.token_limits import FAILED_LATELY
from adwarm.foundation.errors import Refused
from adwarm.model import Priority, ReportKey
from adwarm.store.requests import QueuedRequest, RequestStatus

FIRST_POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 1.0
_POLL_GROWTH = 1.5
_KEEP_BEFORE_DEADLINE_SECONDS = 5.0
_TICKET_SECONDS = 2.0
"""How long callers that do not wait share one ticket, without a transaction."""
_MAX_TICKETS = 4_096
log = logging.getLogger(__name__)
Result = TypeVar("Result")


def loop_time() -> float:
    """Return the time of the running event loop, in seconds."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What a reader requests: the report, its class, and the limits of its token."""

    key: ReportKey
    priority: Priority
    limits: TokenLimits


@dataclass(frozen=True, slots=True)
class Progress:
    """A request as it was read last.

    Attributes:
        state: the request; None when it was not read yet, or was deleted.
    """

    request_id: int
    state: QueuedRequest | None = None
    pause_seconds: float = 0.0

    @property
    def is_final(self) -> bool:
        """Whether the request has ended."""
        return self.state is not None and self.state.status.is_final


@dataclass(eq=False, slots=True)
class _Reader:
    """A reader that waits until `end`, a time of the event loop."""

    end: float
    done: asyncio.Future[Progress]


@dataclass(eq=False, slots=True)
class _Flight:
    """One open request and its readers."""

    request: ReportRequest  # what was enqueued, in the most urgent class so far
    is_kept: bool  # whether it has the ordinary deadline, or is about to get it
    keep_at: float  # when it gets that deadline at the latest, a time of the event loop
    ticket: asyncio.Task[Ticket] = field(init=False)  # the newest transaction that enqueues it
    progress: Progress | None = None  # the request as it was read last; None until it is enqueued
    readers: set[_Reader] = field(default_factory=set)

    def wake(self, progress: Progress) -> None:
        """Let every reader go."""
        for reader in self.readers:
            if not reader.done.done():
                reader.done.set_result(progress)


class Flights:
    """Enqueues requests and waits for them.

    Args:
        executor: runs its transactions; at most as many at a time as it has threads.
        on_enqueued: called in the event loop after a request was enqueued or joined; it must not block.
    """

    def __init__(self, queue: RequestQueue, executor: Executor, on_enqueued: Callable[[], None]) -> None:
        self._queue = queue
        self._executor = executor
        self._on_enqueued = on_enqueued
        self._flights: dict[ReportKey, _Flight] = {}
        self._tickets: TTLCache[ReportKey, tuple[Ticket, Priority]] = TTLCache(_MAX_TICKETS, _TICKET_SECONDS, loop_time)
        self._tasks: set[asyncio.Task[Ticket]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._pause = FIRST_POLL_SECONDS
        self._next_poll_at = 0.0
        self._waiting = 0
        self._nobody_waits = asyncio.Event()
        self._nobody_waits.set()
        self._is_closing = False

    async def enqueue(self, request: ReportRequest) -> Ticket:
        """Enqueue or join a request that nobody waits for.

        Raises:
            Refused: the queue is full, or a limit of the token is reached.
        """
        recent = self._tickets.get(request.key)
        if recent is not None and recent[1] <= request.priority:
            return recent[0]
        ticket = await self._share(request, lambda: asyncio.shield(self._open(request, keep=True).ticket))
        self._tickets[request.key] = (ticket, request.priority)
        return ticket

    async def wait(self, request: ReportRequest, seconds: float) -> Progress:
        """Enqueue or join a request, and wait until it has ended, for `seconds`, or until it pauses for longer.

        A canceled call leaves nothing behind but the request, which may end for others.

        Raises:
            Refused: the queue is full, or a limit of the token is reached.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        return await self._share(request, lambda: self._wait(request, _Reader(end, loop.create_future())))

    def poll_now(self) -> None:
        """Read the awaited requests at once, because some may have ended."""
        self._next_poll_at = 0.0
        self._changed.set()

    async def close(self) -> None:
        """Let all readers go, each with its request, and end all tasks."""
        self._is_closing = True
        for flight in self._flights.values():
            flight.wake(flight.progress or Progress(0))
        await self._nobody_waits.wait()
        await asyncio.gather(*self._tasks, *([self._poller] if self._poller else []), return_exceptions=True)

    async def _share(self, request: ReportRequest, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Run an attempt, and again when what was refused was the request of another reader."""
        while True:
            flight = self._flights.get(request.key)
            before = flight.request if flight else None
            try:
                return await attempt()
            except Refused as error:
                is_like_mine = before is None or (
                    before.limits == request.limits and before.priority <= request.priority
                )
                if is_like_mine or error.code == FAILED_LATELY:
                    raise

    async def _wait(self, request: ReportRequest, reader: _Reader) -> Progress:
        flight = self._open(request, keep=False)
        flight.readers.add(reader)
        self._waiting += 1
        self._nobody_waits.clear()
        try:
            if self._is_closing:
                reader.done.set_result(Progress(0))
            await asyncio.shield(flight.ticket)
            self._poll_soon()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(reader.end):
                    progress = await reader.done
                    if progress.is_final:
                        return progress
            ticket = await asyncio.shield(self._open_again(flight).ticket)
            if flight.progress is not None and flight.progress.request_id == ticket.id:
                return flight.progress
            return Progress(ticket.id)
        finally:
            flight.readers.discard(reader)
            self._forget_if_idle(flight)
            self._waiting -= 1
            if not self._waiting:
                self._nobody_waits.set()
                self._changed.set()  # so that the poller ends

    def _open(self, request: ReportRequest, *, keep: bool) -> _Flight:
        """Return the flight of the key: a new one, or the open one in the more urgent class of both."""
        flight = self._flights.get(request.key)
        if flight is None:
            now = loop_time()
            keep_at = now + self._queue.rules.max_caller_wait_seconds - _KEEP_BEFORE_DEADLINE_SECONDS
            flight = self._flights[request.key] = _Flight(request, keep, keep_at)
            flight.ticket = self._start(self._enqueue_first(flight))
        elif request.priority < flight.request.priority or (keep and not flight.is_kept):
            flight.request = replace(flight.request, priority=min(flight.request.priority, request.priority))
            flight.is_kept = flight.is_kept or keep
            flight.ticket = self._start(self._enqueue_again(flight, flight.ticket))
        return flight

    def _open_again(self, flight: _Flight) -> _Flight:
        """Give the request of a flight the ordinary deadline; once it is gone from the queue, request it anew."""
        if not flight.is_kept:
            flight.is_kept = True
            flight.ticket = self._start(self._enqueue_again(flight, flight.ticket))
        return flight

    async def _enqueue_first(self, flight: _Flight) -> Ticket:
        try:
            return await self._enqueue(flight)
        except BaseException:
            if self._flights.get(flight.request.key) is flight:
                del self._flights[flight.request.key]
            raise

    async def _enqueue_again(self, flight: _Flight, earlier: asyncio.Task[Ticket]) -> Ticket:
        await asyncio.wait([earlier])
        if flight.progress is None:
            return earlier.result()  # it was refused
        try:
            return await self._find_ended(flight, flight.progress.request_id) or await self._enqueue(flight)
        except BaseException:
            flight.is_kept = False
            raise

    async def _find_ended(self, flight: _Flight, request_id: int) -> Ticket | None:
        """Return the request of a flight if it has ended since it was read, unless it merely came too late."""
        queued, now = await self._run(lambda: self._queue.find_many([request_id]))
        state = queued.get(request_id)
        if (
            state is None
            or not state.status.is_final
            or (state.status is RequestStatus.EXPIRED and state.result is None)
        ):
            return None
        self._update(flight, state, now)
        return Ticket(request_id, True, state.deadline)

    async def _enqueue(self, flight: _Flight) -> Ticket:
        # The deadline is that of the longest wait: readers that wait longer than this one may join.
        wait_seconds = None if flight.is_kept else self._queue.rules.max_caller_wait_seconds
        request = flight.request
        ticket = await self._run(
            lambda: self._queue.enqueue(request.key, request.priority, wait_seconds=wait_seconds, limits=request.limits)
        )
        if flight.progress is None or flight.progress.request_id != ticket.id:
            flight.progress = Progress(ticket.id)
        self._on_enqueued()
        return ticket

    def _start(self, work: Awaitable[Ticket]) -> asyncio.Task[Ticket]:
        """Run an enqueue as a task that no leaving reader cancels."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: asyncio.Task[Ticket]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the readers that are left raise it
        for flight in [flight for flight in self._flights.values() if flight.ticket is task]:
            self._forget_if_idle(flight)

    def _forget_if_idle(self, flight: _Flight) -> None:
        is_current = self._flights.get(flight.request.key) is flight
        if is_current and not flight.readers and flight.ticket.done():
            del self._flights[flight.request.key]

    def _poll_soon(self) -> None:
        """Poll often again: a reader has begun to wait."""
        now = loop_time()
        self._pause = FIRST_POLL_SECONDS
        if self._poller is None or self._poller.done():
            self._next_poll_at = now + self._pause
            self._poller = asyncio.create_task(self._poll())
        elif self._next_poll_at > now + self._pause:
            self._next_poll_at = now + self._pause
            self._changed.set()

    async def _poll(self) -> None:
        """Read the awaited requests from time to time, until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            delay = self._next_poll_at - loop.time()
            if delay > 0:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._changed.wait()
                continue
            self._next_poll_at = loop.time() + self._pause
            self._pause = min(self._pause * _POLL_GROWTH, LONGEST_POLL_SECONDS)
            try:
                await self._read_states()
            except Exception as error:  # readers stop waiting by themselves, so a lost database is no end
                log.warning("the requests that readers wait for could not be read (%s)", error)

    async def _read_states(self) -> None:
        awaited = {
            flight.progress.request_id: flight
            for flight in self._flights.values()
            if flight.readers and flight.progress is not None
        }
        if not awaited:
            return
        queued, now = await self._run(lambda: self._queue.find_many(list(awaited)))
        for request_id, flight in awaited.items():
            if flight.progress is not None and flight.progress.request_id == request_id:
                self._update(flight, queued.get(request_id), now)

    def _update(self, flight: _Flight, state: QueuedRequest | None, now: float) -> None:
        """Record the state of a request, read at `now` by the database's clock, and let its readers go if it ended."""
        if flight.progress is None:
            return
        pause = 0.0 if state is None else max(0.0, (state.not_before or 0.0) - now)
        flight.progress = replace(flight.progress, state=state, pause_seconds=pause)
        if state is None or state.status.is_final:
            flight.wake(flight.progress)
            return
        loop_now = loop_time()
        for reader in flight.readers:
            if loop_now + pause >= reader.end and not reader.done.done():
                reader.done.set_result(flight.progress)
        if flight.readers and loop_now >= flight.keep_at:
            self._open_again(flight)

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, copy_context().run, work)
