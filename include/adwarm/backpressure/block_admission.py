"""Admission by blocks: a worker takes permits for a scope chain from the shared budget and spends them in memory.

Guarantees on top of the shared budget's own: a permit is used only before its block ends (two seconds at most), so a
lower class gives way within that time; a chain that holds an account's only slot is this worker's alone while the block
lives, so no two calls to the account are ever in flight; before a call the shared state is looked at again whenever
the last look is older than `LOOK_SECONDS`, so that a parking, a full quota or a broken upstream learnt by another
worker stops this one; what this worker learns itself counts at once. A breaker that was found open is remembered for a
moment, and refuses without a question. Unused permits go back. Blocks start at one permit
and double while calls follow each other, so that single calls hold nothing when they end. A block of a worker that
died runs out by the database's time.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic as system_monotonic
from typing import Protocol

from adwarm.backpressure.admission import (
    Admission,
    CallOutcome,
    CallOutcomeKind,
    Decision,
    Grant,
    Granted,
    Rejected,
    ReturnedBlock,
    Wait,
)
from adwarm.backpressure.breakers import single_account, source_scope
from adwarm.backpressure.quota_usage import SLOW_PERCENT
from adwarm.foundation.errors import Transient
from adwarm.model import Priority, Scope

CACHE_SECONDS = 1.0


class OpenBreakerCache:
    """Refusals by source and scope. Safe to share between threads: every step is one operation on a dict.

    Args:
        monotonic: this process's clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rejections: dict[tuple[str, str], tuple[float, Rejected]] = {}

    def save(self, source: str, decision: Decision | None, asked_at: float) -> None:
        """Remember the answer to a question of the moment `asked_at` if it is the refusal of an open breaker."""
        if isinstance(decision, Rejected) and decision.scope is not None:
            self._rejections[source, decision.scope] = (asked_at, decision)

    def find_rejection(self, scopes: Sequence[Scope], source: str) -> Rejected | None:
        """Return the refusal of a breaker known to be open that such a call must pass, with the time that is left."""
        if not self._rejections:
            return None
        account = single_account(scopes)
        for scope in (source_scope(source), str(account) if account is not None else ""):
            heard = self._rejections.get((source, scope))
            if heard is None:
                continue
            age = self._monotonic() - heard[0]
            if age < min(CACHE_SECONDS, heard[1].retry_after):
                return replace(heard[1], retry_after=heard[1].retry_after - age)
            self._rejections.pop((source, scope), None)
        return None


log = logging.getLogger(__name__)

RECHECK_SECONDS = 0.02
IDLE_SECONDS = 0.05
"""A block without a call in flight for so long is given back: its slot is worth more elsewhere."""
GROWTH_SECONDS = 1.0
"""A chain that is asked for again so soon after its block was used up gets one of twice the size."""

BlockKey = tuple[tuple[Scope, ...], Priority, str]


class BlockSource(Admission, Protocol):
    """A budget that hands out blocks."""

    def acquire_block(
        self,
        scopes: Sequence[Scope],
        priority: Priority,
        *,
        source: str,
        permits: int,
        returned: Sequence[ReturnedBlock] = (),
    ) -> Decision:
        """Give `back` blocks, and ask for one of up to `permits` calls, one at a time, within the next seconds."""
        ...

    def release_blocks(self, blocks: Sequence[ReturnedBlock]) -> None:
        """Return blocks and learn from the outcomes of their calls."""
        ...

    def check_hard_limits(self, scopes: Sequence[Scope], priority: Priority, *, source: str) -> Wait | Rejected | None:
        """Return what forbids such a call now, whoever holds a slot; None when nothing does. Only reads."""
        ...


class _Block:
    """Permits of one chain and class, by this process's monotonic clock; one call at a time."""

    __slots__ = ("checked_at", "decision", "ends_at", "grant", "key", "outcomes", "permits_left", "renew_at", "used_at")

    def __init__(self, key: BlockKey, grant: Grant, asked_at: float) -> None:
        self.key = key
        self.permits_left = grant.permits
        # The grant is younger than the question, so counting from the question ends the block early, never late.
        self.ends_at = asked_at + grant.usable_until - grant.granted_at
        self.checked_at = self.used_at = asked_at
        self.outcomes: list[CallOutcome] = []
        self.set_grant(grant, asked_at)

    def set_grant(self, grant: Grant, asked_at: float) -> None:
        """Take the grant as it is after its lease was prolonged at `asked_at`."""
        self.grant = grant
        self.decision = Granted(grant)
        self.renew_at = asked_at + (grant.expires_at - grant.granted_at) / 3

    def to_returned(self) -> ReturnedBlock:
        """Return what the budget is told when the block ends."""
        return self.grant, tuple(self.outcomes), self.permits_left


class BlockAdmission:
    """An admission that spends blocks of the budget `source`. Safe to share between threads.

    Args:
        source: the shared budget.
        permits: the most a block is asked to hold; the budget gives fewer where capacity is scarce.
        keep: whether a thread of its own renews the leases of long calls and gives back idle blocks; without it,
            call `tend` now and then.
        longest_call_seconds: a call that takes longer hangs: its lease is not renewed any more, which frees its slot.
        monotonic: this process's clock, in seconds.
    """

    def __init__(
        self,
        source: BlockSource,
        permits: int,
        *,
        maintain_in_background: bool = True,
        longest_call_seconds: float = 900.0,
        monotonic: Callable[[], float] = system_monotonic,
    ) -> None:
        self._source = source
        self._permits = permits
        self._longest_call_seconds = longest_call_seconds
        self._monotonic = monotonic
        self._idle: dict[BlockKey, list[_Block]] = {}
        self._busy: dict[str, _Block] = {}
        self._last_exhausted: dict[BlockKey, tuple[int, float]] = {}
        self._open_breakers = OpenBreakerCache(monotonic)
        self._lock = threading.Lock()
        self._maintains_in_background = maintain_in_background
        self._maintenance_thread: threading.Thread | None = None

    def admit(self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str) -> Decision:
        """Spend a permit of a live block, or take a new block; a call of another cost than 1 is asked for by itself."""
        known = self._open_breakers.find_rejection(scopes, source)
        if known is not None:
            return known
        now = self._monotonic()
        if cost != 1.0:
            decision = self._source.admit(scopes, priority, cost, source=source)
            self._open_breakers.save(source, decision, now)
            return decision
        key = (tuple(scopes), priority, source)
        with self._lock:
            waiting = self._idle.get(key)
            block = waiting.pop() if waiting else None
            if block is not None and now < block.ends_at and now - block.checked_at < RECHECK_SECONDS:
                block.permits_left -= 1
                self._busy[block.grant.id] = block
                return block.decision
        if block is None:
            return self._acquire(key, now, ())
        if now >= block.ends_at:
            return self._acquire(key, now, (block.to_returned(),))
        return self._recheck(block, now)

    def renew(self, grant: Grant) -> Grant:
        """Give the block that the call belongs to a fresh lease.

        Raises:
            Transient: the lease had run out, so that others may hold its slot; stop and ask again.
        """
        with self._lock:
            block = self._busy.get(grant.id)
        if block is None:
            return self._source.renew(grant)
        asked_at = self._monotonic()
        block.set_grant(self._source.renew(block.grant), asked_at)
        return block.grant

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """End a call. What must be known at once is told at once, the rest when the block ends."""
        now = self._monotonic()
        with self._lock:
            block = self._busy.pop(grant.id, None)
            if block is not None:
                block.outcomes.append(outcome)
                block.used_at = now
                if block.permits_left and now < block.ends_at and not _must_report_now(outcome):
                    self._idle.setdefault(block.key, []).append(block)
                    return
                if not block.permits_left:
                    self._last_exhausted[block.key] = (block.grant.permits, now)
        if block is None:
            self._source.release(grant, outcome)
        else:
            self._source.release_blocks((block.to_returned(),))

    def maintain(self) -> int:
        """Give back blocks that are idle or over, renew those whose call takes long; return how many are left."""
        now = self._monotonic()
        with self._lock:
            over = [block for blocks in self._idle.values() for block in blocks if self._is_over(block, now)]
            self._idle = {
                key: left
                for key, blocks in self._idle.items()
                if (left := [block for block in blocks if not self._is_over(block, now)])
            }
            self._last_exhausted = {
                key: last for key, last in self._last_exhausted.items() if now - last[1] < GROWTH_SECONDS
            }
            begun_since = now - self._longest_call_seconds
            long = [block for block in self._busy.values() if now >= block.renew_at and block.used_at > begun_since]
            count = len(self._busy) + sum(map(len, self._idle.values()))
        if over:
            self._source.release_blocks([block.to_returned() for block in over])
        for block in long:
            self._renew_block(block)
        return count

    def release_idle(self) -> None:
        """Give back every block that has no call in flight; the worker has nothing more to ask for now."""
        with self._lock:
            idle = [block.to_returned() for blocks in self._idle.values() for block in blocks]
            self._idle = {}
        if idle:
            self._source.release_blocks(idle)

    def _acquire(self, key: BlockKey, now: float, back: Sequence[ReturnedBlock]) -> Decision:
        scopes, priority, source = key
        last, used_up_at = self._last_exhausted.get(key, (0, now))
        permits = 1 if now - used_up_at > GROWTH_SECONDS else max(1, min(self._permits, 2 * last))
        decision = self._source.acquire_block(scopes, priority, source=source, permits=permits, returned=back)
        if not isinstance(decision, Granted):
            self._open_breakers.save(source, decision, now)
            return decision
        block = _Block(key, decision.grant, now)
        block.permits_left -= 1
        with self._lock:
            self._busy[block.grant.id] = block
            self._ensure_maintenance_thread()
        return block.decision

    def _recheck(self, block: _Block, now: float) -> Decision:
        """Spend a permit if the shared state still allows the call; otherwise the block is over."""
        scopes, priority, source = block.key
        answer = self._source.check_hard_limits(scopes, priority, source=source)
        if answer is not None:
            self._open_breakers.save(source, answer, now)
            self._source.release_blocks((block.to_returned(),))
            return answer
        block.checked_at = now
        block.permits_left -= 1
        with self._lock:
            self._busy[block.grant.id] = block
        return block.decision

    def _renew_block(self, block: _Block) -> None:
        asked_at = self._monotonic()
        try:
            block.set_grant(self._source.renew(block.grant), asked_at)
        except Transient as error:
            # The call ends anyway, and its outcome is still told; nothing can be done for its slot.
            log.info("a call outlived its lease: %s", error)
            block.renew_at = float("inf")

    @staticmethod
    def _is_over(block: _Block, now: float) -> bool:
        return now >= block.ends_at or now - block.used_at >= IDLE_SECONDS

    def _ensure_maintenance_thread(self) -> None:
        if self._maintains_in_background and (
            self._maintenance_thread is None or not self._maintenance_thread.is_alive()
        ):
            self._maintenance_thread = threading.Thread(target=self._run_maintenance, name="adwarm-blocks", daemon=True)
            self._maintenance_thread.start()

    def _run_maintenance(self) -> None:
        pause = threading.Event()
        while not pause.wait(IDLE_SECONDS):
            try:
                self.maintain()
            except Exception:
                log.exception("blocks could not be tended; their leases end by themselves")
            with self._lock:
                if not self._busy and not self._idle:
                    self._maintenance_thread = None
                    return


def _must_report_now(outcome: CallOutcome) -> bool:
    """Whether others must know at once: anything but success, and usage from where it slows them."""
    if outcome.kind is not CallOutcomeKind.OK:
        return outcome.kind is not CallOutcomeKind.SKIPPED
    return any(sample.percent >= SLOW_PERCENT for sample in outcome.usage)
