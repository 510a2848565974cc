"""Waits until a call could be admitted, so that a task that must wait holds no worker slot.

All triggers of one event loop share a poller, which previews the calls of all of them in a few queries: by admission,
isolations, and the limit of the machine where the task ran. It polls again when a known wait ends (a park, a breaker's
cool-down), every 2 s for a trigger that waits for a free slot, and at least every 15 s, so that a park that was lifted
early is noticed. Of a loaded machine it resumes as many tasks as that may run. A restarted triggerer loses no state,
because a trigger stores only its arguments.
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
    from adwarm.backpressure import CallRequest
    from adwarm.backpressure.capacity_preview import CapacityPreview
    from adwarm.runtime import Runtime

POLL_SECONDS = 2.0
RECHECK_SECONDS = 15.0
QUEUEING_SECONDS = 60.0
"""A task that waits only for a free slot resumes after this long: capacity is reserved only for classes that ask."""

STARTING_SECONDS = 30.0
"""How long a resumed task counts against its machine's limit: it takes so long until its first call counts itself."""

log = logging.getLogger(__name__)
Preview = Callable[[Sequence["CallRequest"]], "list[CapacityPreview]"]


@dataclass(eq=False)
class _PendingTrigger:
    """A trigger that waits until one of its calls could be admitted.

    Attributes:
        admissible: set to the reason when the trigger should fire.
        poll_at: when to preview the calls next, seconds of the loop's clock.
        queued_since: since when the calls have waited only for a free slot.
    """

    waiters: tuple[CallRequest, ...]
    admissible: asyncio.Future[str]
    poll_at: float = 0.0
    queued_since: float | None = None


@dataclass
class CapacityPoller:
    """Polls admission for all triggers of one event loop, and only while triggers wait.

    Attributes:
        preview: previews many calls at once; runs in a thread.
        polls: number of calls to `preview`.
    """

    preview: Preview
    polls: int = 0
    _pending: set[_PendingTrigger] = field(default_factory=set)
    _resumed: list[tuple[str, float]] = field(default_factory=list)
    _wake_event: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def wait(self, waiters: Sequence[CallRequest]) -> str:
        """Return the reason once one of the calls could be admitted."""
        trigger = _PendingTrigger(tuple(waiters), asyncio.get_running_loop().create_future())
        self._pending.add(trigger)
        self._wake_event.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            return await trigger.admissible
        finally:
            self._pending.discard(trigger)

    async def _run(self) -> None:
        try:
            await self._poll_while_pending(asyncio.get_running_loop())
        except Exception as error:
            for trigger in self._pending:
                if not trigger.admissible.done():
                    trigger.admissible.set_exception(error)

    async def _poll_while_pending(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._pending:
            self._wake_event.clear()
            if any(trigger.poll_at <= loop.time() for trigger in self._unresolved()):
                await self._poll(loop)
            await self._sleep(min((trigger.poll_at for trigger in self._unresolved()), default=0.0) - loop.time())

    def _unresolved(self) -> list[_PendingTrigger]:
        return [trigger for trigger in self._pending if not trigger.admissible.done()]

    async def _sleep(self, seconds: float) -> None:
        """Sleep until the time is up or a new trigger arrives."""
        try:
            await asyncio.wait_for(self._wake_event.wait(), max(0.0, seconds))
        except TimeoutError:
            return

    async def _poll(self, loop: asyncio.AbstractEventLoop) -> None:
        """Preview the calls of all triggers, and resolve those that could be admitted."""
        pending = self._unresolved()
        self.polls += 1
        try:
            previews = iter(
                await asyncio.to_thread(self.preview, [waiter for trigger in pending for waiter in trigger.waiters])
            )
        except Exception as error:
            log.warning("cannot preview admission (%s: %s); retrying", type(error).__name__, error)
            for trigger in pending:
                trigger.poll_at = loop.time() + RECHECK_SECONDS
            return
        for trigger in pending:
            self._resolve(trigger, [next(previews) for _ in trigger.waiters], loop.time())

    def _resolve(self, trigger: _PendingTrigger, previews: Sequence[CapacityPreview], now: float) -> None:
        best = min(previews, key=lambda preview: preview.wait_seconds)
        if best.is_queueing and trigger.queued_since is None:
            trigger.queued_since = now
        elif not best.is_queueing:
            trigger.queued_since = None
        has_queued_long = trigger.queued_since is not None and now - trigger.queued_since >= QUEUEING_SECONDS
        if (best.wait_seconds <= 0 or has_queued_long) and self._may_resume(trigger, best.free_calls, now):
            if not trigger.admissible.done():
                trigger.admissible.set_result(best.reason or "there is capacity")
            return
        is_soon = best.is_queueing or best.wait_seconds <= 0
        trigger.poll_at = now + (POLL_SECONDS if is_soon else min(best.wait_seconds, RECHECK_SECONDS))

    def _may_resume(self, trigger: _PendingTrigger, free_calls: int | None, now: float) -> bool:
        """Whether the machine of a trigger may run one more task, beside those that resumed lately; if so, count it."""
        if free_calls is None:
            return True
        machine = trigger.waiters[0].machine
        self._resumed = [item for item in self._resumed if item[1] > now - STARTING_SECONDS]
        if free_calls <= sum(name == machine for name, _ in self._resumed):
            return False
        self._resumed.append((machine, now))
        return True


_POLLERS: WeakKeyDictionary[asyncio.AbstractEventLoop, CapacityPoller] = WeakKeyDictionary()


def get_poller() -> CapacityPoller:
    """Return the poller of the running event loop."""
    return _POLLERS.setdefault(asyncio.get_running_loop(), CapacityPoller(_AdmissionPreview().preview))


@dataclass
class _AdmissionPreview:
    """Previews admission in adwarm's database, opened at the first call: outside the event loop and after any fork."""

    runtime: Runtime | None = None

    def preview(self, waiters: Sequence[CallRequest]) -> list[CapacityPreview]:
        from adwarm.backpressure.capacity_preview import preview_capacity
        from adwarm_airflow.task_context import open_runtime

        self.runtime = self.runtime or open_runtime(uses_objects=False)
        return preview_capacity(self.runtime.engine, self.runtime.settings.backpressure, waiters)


class CapacityTrigger(BaseTrigger):
    """Fires as soon as one of several calls could be admitted.

    Args:
        chains: names of what a call has to pass, one sequence per call, such as `["account:act_1", "app:7"]`: capacity
            scopes, `connection:NAME`, and as `machine:NAME` where the task ran.
        priority: the class of the calls: critical, high, normal or low.
        source: name of the breaker that counts the calls.
        latest_seconds: fire after this long in any case; without chains the trigger waits exactly this long.
    """

    def __init__(
        self, chains: Sequence[Sequence[str]], priority: str, source: str, latest_seconds: float | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it unannotated
        self.latest_seconds = latest_seconds
        self.chains = [list(chain) for chain in chains]
        self.priority = priority
        self.source = source

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that recreate this trigger."""
        values = {
            "chains": self.chains,
            "priority": self.priority,
            "source": self.source,
            "latest_seconds": self.latest_seconds,
        }
        return ("adwarm_airflow.triggers.capacity.CapacityTrigger", values)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait on the shared poller, then fire once."""
        from adwarm.backpressure import CallRequest
        from adwarm.model import Priority

        priority = Priority.parse(self.priority)
        waiters = [CallRequest.parse(chain, priority, self.source) for chain in self.chains]
        loop = asyncio.get_running_loop()
        started = loop.time()
        why = "waited for an async report, another worker or the end of an isolation"
        try:
            if waiters:
                why = await asyncio.wait_for(get_poller().wait(waiters), self.latest_seconds)
            else:
                await asyncio.sleep(self.latest_seconds or 0.0)
        except TimeoutError:
            self.log.debug("no capacity until then")
        self.log.info("capacity after %.0f s: %s", loop.time() - started, why)
        yield TriggerEvent({"waited_seconds": round(loop.time() - started, 1), "why": why})
