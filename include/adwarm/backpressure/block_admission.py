"""Admission by blocks: a worker takes several permits at once from the shared budget and uses them from memory.

Life of a block, which belongs to one chain of scopes, one class and one source:

| event                                              | effect                                                          |
|----------------------------------------------------|-----------------------------------------------------------------|
| a call finds no idle block                         | a block is acquired: one permit, or twice the size of the last  |
|                                                    | block when that was used up within `GROWTH_SECONDS`             |
| a call finds a block checked lately                | it takes a permit from memory                                   |
| a call finds a block not checked within            | the shared state is read; a park, a used-up quota or an open    |
| `RECHECK_SECONDS`                                  | breaker ends the block                                          |
| a call succeeds and permits are left               | the block is idle until the next call                           |
| the call of the last permit succeeds               | the block is idle, and returned with the next one, if nothing   |
|                                                    | waited when it was acquired and this worker has gone to another |
|                                                    | account within `GROWTH_SECONDS`; else it is released            |
| a call ends otherwise, or reports high usage       | the block is released, so that other workers learn of it at once|
| no permit is left, the block's time is over, or it | the block is released: unused permits return to the budget      |
| is idle for `IDLE_SECONDS`                         |                                                                 |
| a call runs long                                   | the lease is renewed, up to `longest_call_seconds`              |

Guarantees on top of the shared budget's own: a permit is used only before its block ends (two seconds at most), so
lower classes give way within that time. While a block holds the only slot of an account, no other worker calls that
account. The block of a dead worker expires by the database's time.
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
from adwarm.foundation.redaction import log_unexpected
from adwarm.model import Priority, Scope

log = logging.getLogger(__name__)

BLOCK_PERMITS = 8
"""Permits of a block at most: admission then costs a process one transaction for eight calls, and holds few slots."""
RECHECK_SECONDS = 0.02
IDLE_SECONDS = 0.05
"""A block without a call in flight is released after this time, so that its slot is free for others."""
GROWTH_SECONDS = 1.0
CACHE_SECONDS = 1.0

BlockKey = tuple[tuple[Scope, ...], Priority, str]


class BlockSource(Admission, Protocol):
    """A budget that grants blocks."""

    def acquire_block(
        self,
        scopes: Sequence[Scope],
        priority: Priority,
        *,
        source: str,
        permits: int,
        returned: Sequence[ReturnedBlock] = (),
    ) -> Decision:
        """Release the `returned` blocks, and request a block of up to `permits` calls, to be made one at a time."""
        ...

    def release_blocks(self, blocks: Sequence[ReturnedBlock]) -> None:
        """Return blocks and learn from the outcomes of their calls."""
        ...

    def check_hard_limits(self, scopes: Sequence[Scope], priority: Priority, *, source: str) -> Wait | Rejected | None:
        """Return what forbids such a call now, whoever holds a slot; None when nothing does. Only reads."""
        ...


class OpenBreakerCache:
    """A worker's cache of open breakers: it rejects the calls of a batch in microseconds, without a query.

    An open breaker stays open until its cool-down is over, so a rejection stays true. It is cached for one second at
    most: then a breaker that a human reset is noticed, and one query per second costs nothing.

    Safe to share between threads: every step is one operation on a dict.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rejections: dict[tuple[str, str], tuple[float, Rejected]] = {}

    def save(self, source: str, decision: Decision | None, requested_at: float) -> None:
        """Cache the answer to a request made at `requested_at` if it is the rejection of an open breaker."""
        if isinstance(decision, Rejected) and decision.scope is not None:
            self._rejections[source, decision.scope] = (requested_at, decision)

    def find_rejection(self, scopes: Sequence[Scope], source: str) -> Rejected | None:
        """Return the cached rejection of a breaker that such a call must pass, with the time that is left."""
        if not self._rejections:
            return None
        account = single_account(scopes)
        for scope in (source_scope(source), str(account) if account is not None else ""):
            cached = self._rejections.get((source, scope))
            if cached is None:
                continue
            requested_at, rejection = cached
            age = self._monotonic() - requested_at
            if age < min(CACHE_SECONDS, rejection.retry_after):
                return replace(rejection, retry_after=rejection.retry_after - age)
            self._rejections.pop((source, scope), None)
        return None


class _Block:
    """The permits of one key, by this process's monotonic clock; one call at a time."""

    __slots__ = (
        "checked_at",
        "decision",
        "ends_at",
        "grant",
        "key",
        "outcomes",
        "permits_left",
        "renew_at",
        "used_at",
    )

    def __init__(self, key: BlockKey, grant: Grant, requested_at: float) -> None:
        self.key = key
        self.permits_left = grant.permits
        # The grant is younger than the request, so counting from the request ends the block early, never late.
        self.ends_at = requested_at + grant.usable_until - grant.granted_at
        self.checked_at = self.used_at = requested_at
        self.outcomes: list[CallOutcome] = []
        self.set_grant(grant, requested_at)

    def set_grant(self, grant: Grant, requested_at: float) -> None:
        """Store the grant that was requested or renewed at `requested_at`."""
        self.grant = grant
        self.decision = Granted(grant)
        self.renew_at = requested_at + (grant.expires_at - grant.granted_at) / 3

    def to_returned(self) -> ReturnedBlock:
        """Return the block as it is released."""
        return self.grant, tuple(self.outcomes), self.permits_left


class BlockAdmission:
    """An admission that uses blocks of the budget `source`. Safe to share between threads.

    Args:
        permits: the most permits to request per block; the budget grants fewer where capacity is scarce.
        maintain_in_background: whether a thread calls `maintain`; if not, call it now and then.
        longest_call_seconds: a call that takes longer hangs: its lease is not renewed any more, which frees its slot.
    """

    def __init__(
        self,
        source: BlockSource,
        permits: int = BLOCK_PERMITS,
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
        self._used_up: list[_Block] = []
        self._last_key: BlockKey | None = None
        self._switched_at = float("-inf")
        self._last_exhausted: dict[BlockKey, tuple[int, float]] = {}
        self._open_breakers = OpenBreakerCache(monotonic)
        self._lock = threading.Lock()
        self._maintains_in_background = maintain_in_background
        self._maintenance_thread: threading.Thread | None = None

    def admit(self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str) -> Decision:
        """Use a permit of an idle block, or acquire a new block; a call with a cost other than 1 gets its own grant."""
        rejection = self._open_breakers.find_rejection(scopes, source)
        if rejection is not None:
            return rejection
        now = self._monotonic()
        if cost != 1.0:
            self.release_idle()
            decision = self._source.admit(scopes, priority, cost, source=source)
            self._open_breakers.save(source, decision, now)
            return decision
        key = (tuple(scopes), priority, source)
        with self._lock:
            idle = self._idle.get(key)
            block = idle.pop() if idle else None
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
        """Extend the lease of the block that the call belongs to.

        Raises:
            Transient: the lease had expired, so another caller may hold the slot; request admission again.
        """
        with self._lock:
            block = self._busy.get(grant.id)
        if block is None:
            return self._source.renew(grant)
        requested_at = self._monotonic()
        block.set_grant(self._source.renew(block.grant), requested_at)
        return block.grant

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """End a call. Urgent outcomes release the block at once; the others are reported when the block ends."""
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
                    if self._may_linger(block, now) and not _must_report_now(outcome):
                        self._used_up.append(block)
                        return
        if block is None:
            self._source.release(grant, outcome)
        else:
            self._source.release_blocks((block.to_returned(),))

    def maintain(self) -> int:
        """Release idle and ended blocks, renew the leases of long calls, and return how many blocks are left."""
        now = self._monotonic()
        with self._lock:
            ended = [block for blocks in self._idle.values() for block in blocks if _has_ended(block, now)]
            ended += [block for block in self._used_up if _has_ended(block, now)]
            self._used_up = [block for block in self._used_up if not _has_ended(block, now)]
            self._idle = {
                key: lasting
                for key, blocks in self._idle.items()
                if (lasting := [block for block in blocks if not _has_ended(block, now)])
            }
            self._last_exhausted = {
                key: last for key, last in self._last_exhausted.items() if now - last[1] < GROWTH_SECONDS
            }
            oldest = now - self._longest_call_seconds
            long = [block for block in self._busy.values() if now >= block.renew_at and block.used_at > oldest]
            count = len(self._busy) + len(self._used_up) + sum(map(len, self._idle.values()))
        if ended:
            self._source.release_blocks([block.to_returned() for block in ended])
        for block in long:
            self._renew_block(block)
        return count

    def release_idle(self) -> None:
        """Release every block without a call in flight; call it when the worker has no more calls to make."""
        with self._lock:
            idle = [block.to_returned() for blocks in self._idle.values() for block in blocks]
            idle += [block.to_returned() for block in self._used_up]
            self._idle, self._used_up = {}, []
        if idle:
            self._source.release_blocks(idle)

    def _may_linger(self, block: _Block, now: float) -> bool:
        """Whether a used block may be returned with the next one: this worker goes from one account to the next."""
        is_switching = now - self._switched_at < GROWTH_SECONDS
        return is_switching and block.grant.may_linger and now < block.ends_at

    def _acquire(self, key: BlockKey, now: float, returned: Sequence[ReturnedBlock]) -> Decision:
        scopes, priority, source = key
        last_size, exhausted_at = self._last_exhausted.get(key, (0, now))
        permits = 1 if now - exhausted_at > GROWTH_SECONDS else max(1, min(self._permits, 2 * last_size))
        with self._lock:
            used_up, self._used_up = self._used_up, []
            if self._last_key not in {None, key}:
                self._switched_at = now
            self._last_key = key
        returned = [*returned, *(block.to_returned() for block in used_up)]
        try:
            decision = self._source.acquire_block(scopes, priority, source=source, permits=permits, returned=returned)
        except BaseException:
            with self._lock:
                self._used_up += used_up
            raise
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
        """Use a permit if the shared state still allows the call; otherwise release the block."""
        scopes, priority, source = block.key
        refusal = self._source.check_hard_limits(scopes, priority, source=source)
        if refusal is not None:
            self._open_breakers.save(source, refusal, now)
            self._source.release_blocks((block.to_returned(),))
            return refusal
        block.checked_at = now
        block.permits_left -= 1
        with self._lock:
            self._busy[block.grant.id] = block
        return block.decision

    def _renew_block(self, block: _Block) -> None:
        requested_at = self._monotonic()
        try:
            block.set_grant(self._source.renew(block.grant), requested_at)
        except Transient as error:
            # The slot is lost, but the call goes on and its outcome will still be reported.
            log.info("a call outlived its lease: %s", error)
            block.renew_at = float("inf")

    def _ensure_maintenance_thread(self) -> None:
        thread = self._maintenance_thread
        if self._maintains_in_background and (thread is None or not thread.is_alive()):
            self._maintenance_thread = threading.Thread(target=self._run_maintenance, name="adwarm-blocks", daemon=True)
            self._maintenance_thread.start()

    def _run_maintenance(self) -> None:
        pause = threading.Event()
        while not pause.wait(IDLE_SECONDS):
            try:
                self.maintain()
            except Exception as error:
                log_unexpected(log, error, "maintenance of blocks failed; their leases expire by themselves")
            with self._lock:
                if not self._busy and not self._idle and not self._used_up:
                    self._maintenance_thread = None
                    return


def _has_ended(block: _Block, now: float) -> bool:
    return now >= block.ends_at or now - block.used_at >= IDLE_SECONDS


def _must_report_now(outcome: CallOutcome) -> bool:
    """Whether other workers must know at once: anything but success, and usage high enough to slow calls."""
    if outcome.kind is not CallOutcomeKind.OK:
        return outcome.kind is not CallOutcomeKind.SKIPPED
    return any(sample.percent >= SLOW_PERCENT for sample in outcome.usage)
