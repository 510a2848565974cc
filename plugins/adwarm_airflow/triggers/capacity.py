"""Sleeps until the shared budget has room again, so that a task that must wait holds no worker slot.

All triggers of one process share a poller: one look at the budget answers every one of them. What waits for a known
end (a park, a breaker's cool-down) is looked at again then; a free slot is asked for every few seconds; and everything
every quarter of a minute, so that a park that was lifted early is noticed. Nothing is kept between looks but the
question itself: a triggerer that starts again asks it anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from adwarm.backpressure.sql_admission import CallRequest, CapacityPreview
    from adwarm.runtime import Runtime

POLL_SECONDS = 2.0
RECHECK_SECONDS = 15.0
QUEUEING_SECONDS = 60.0
"""After this long in want of nothing but a slot, the task goes on: its share is kept only for a class that asks."""

log = logging.getLogger(__name__)
Preview = Callable[[Sequence["CallRequest"]], "list[CapacityPreview]"]


@dataclass(eq=False)
class _PendingTrigger:
    """One trigger's question: it wakes when the first of its chains has room."""

    waiters: tuple[CallRequest, ...]
    admissible: asyncio.Future[str]
    poll_at: float = 0.0
    queued_since: float | None = None


@dataclass
class CapacityPoller:
    """Looks for all triggers of one event loop. It runs only while somebody waits.

    Attributes:
        look: answers many questions at once; called in a thread.
        looks: how often it was called.
    """

    preview: Preview
    polls: int = 0
    _pending: set[_PendingTrigger] = field(default_factory=set)
    _wake_event: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def wait(self, waiters: Sequence[CallRequest]) -> str:
        """Return once one of the chains has room, and say why it is time."""
        sleeper = _PendingTrigger(tuple(waiters), asyncio.get_running_loop().create_future())
        self._pending.add(sleeper)
        self._wake_event.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            return await sleeper.admissible
        finally:
            self._pending.discard(sleeper)

    async def _run(self) -> None:
        try:
            await self._poll_while_pending(asyncio.get_running_loop())
        except Exception as error:
            for sleeper in self._pending:
                if not sleeper.admissible.done():
                    sleeper.admissible.set_exception(error)

    async def _poll_while_pending(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._pending:
            self._wake_event.clear()
            if any(sleeper.poll_at <= loop.time() for sleeper in self._unresolved()):
                await self._poll(loop)
            await self._sleep(min((one.poll_at for one in self._unresolved()), default=0.0) - loop.time())

    def _unresolved(self) -> list[_PendingTrigger]:
        return [sleeper for sleeper in self._pending if not sleeper.admissible.done()]

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless somebody new comes."""
        try:
            await asyncio.wait_for(self._wake_event.wait(), max(0.0, seconds))
        except TimeoutError:
            return

    async def _poll(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask for everybody, and tell those who may go."""
        asking = self._unresolved()
        self.polls += 1
        try:
            found = iter(await asyncio.to_thread(self.preview, [waiter for one in asking for waiter in one.waiters]))
        except Exception as error:
            log.warning("the budget cannot be seen (%s: %s); looking again", type(error).__name__, error)
            for sleeper in asking:
                sleeper.poll_at = loop.time() + RECHECK_SECONDS
            return
        for sleeper in asking:
            self._resolve(sleeper, [next(found) for _ in sleeper.waiters], loop.time())

    def _resolve(self, sleeper: _PendingTrigger, outlooks: Sequence[CapacityPreview], now: float) -> None:
        best = min(outlooks, key=lambda outlook: outlook.wait_seconds)
        if best.is_queueing and sleeper.queued_since is None:
            sleeper.queued_since = now
        elif not best.is_queueing:
            sleeper.queued_since = None
        waited_in_line = sleeper.queued_since is not None and now - sleeper.queued_since >= QUEUEING_SECONDS
        if best.wait_seconds <= 0 or waited_in_line:
            if not sleeper.admissible.done():
                sleeper.admissible.set_result(best.reason or "there is room")
            return
        sleeper.poll_at = now + (POLL_SECONDS if best.is_queueing else min(best.wait_seconds, RECHECK_SECONDS))


_POLLERS: WeakKeyDictionary[asyncio.AbstractEventLoop, CapacityPoller] = WeakKeyDictionary()


def get_poller() -> CapacityPoller:
    """Return the poller of the running event loop."""
    return _POLLERS.setdefault(asyncio.get_running_loop(), CapacityPoller(_Budget().look))


@dataclass
class _Budget:
    """The budget in adwarm's database, which is opened at the first look: off the event loop, and after any fork."""

    runtime: Runtime | None = None

    def look(self, waiters: Sequence[CallRequest]) -> list[CapacityPreview]:
        from adwarm.backpressure.sql_admission import preview_capacity
        from adwarm_airflow.task_context import open_runtime

        self.runtime = self.runtime or open_runtime()
        return preview_capacity(self.runtime.engine, self.runtime.settings.backpressure, waiters)


class CapacityTrigger(BaseTrigger):
    """Fires as soon as a call on one of the chains of scopes could be admitted.

    Args:
        chains: names of scopes, one sequence for each call that waits, such as `["account:act_1", "app:7"]`.
        priority: the class of the calls: critical, high, normal or low.
        source: whose breaker judges them.
        latest_seconds: fire after this long in any case; without chains this is all that is waited for.
    """

    def __init__(
        self, chains: Sequence[Sequence[str]], priority: str, source: str, latest_seconds: float | None = None
    ) -> None:
        super().__init__()
        self.latest_seconds = latest_seconds
        self.chains = [list(chain) for chain in chains]
        self.priority = priority
        self.source = source

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again."""
        values = {
            "chains": self.chains,
            "priority": self.priority,
            "source": self.source,
            "latest_seconds": self.latest_seconds,
        }
        return ("adwarm_airflow.triggers.capacity.CapacityTrigger", values)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait with everybody else, then fire once."""
        from adwarm.backpressure.sql_admission import CallRequest
        from adwarm.model import Priority, Scope

        priority = Priority.parse(self.priority)
        waiters = [CallRequest(tuple(map(Scope.parse, chain)), priority, self.source) for chain in self.chains]
        loop = asyncio.get_running_loop()
        started = loop.time()
        why = "the time is over that a report, or another worker, was given"
        try:
            if waiters:
                why = await asyncio.wait_for(get_poller().wait(waiters), self.latest_seconds)
            else:
                await asyncio.sleep(self.latest_seconds or 0.0)
        except TimeoutError:
            self.log.debug("no capacity meanwhile")
        self.log.info("capacity after %.0f s: %s", loop.time() - started, why)
        yield TriggerEvent({"waited_seconds": round(loop.time() - started, 1), "why": why})
