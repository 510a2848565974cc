"""Repairs degraded answers: it requests their report keys again, with low priority and a few at a time.

An entry needs repair when it is degraded, or when something of it could not be read and it is due again.

| an entry that needs repair                               | is                                             |
|----------------------------------------------------------|------------------------------------------------|
| its date range means other days by now                   | left to eviction                               |
| its account is not active, or isolated                   | left until that ends                           |
| its key is in the queue                                  | left to the queue                              |
| all it lacks are fields that the platform refuses, or    | left: a warm or an open asks again in a week   |
| groups that do not add up                                |                                                |
| it was requested lately and still needs repair           | left for a pause that doubles with each attempt|
| any other                                                | requested, up to `MAX_REQUESTS`                |
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from adwarm.backpressure import RequestQueue
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import Refused
from adwarm.maintenance.eviction import is_current
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.model import Account, EntryKey, Priority, ReportKey, Window
from adwarm.prefetch.refused_fields import is_only_refused
from adwarm.recovery import IsolationTracker
from adwarm.store import Context, accounts, entries, read_transaction, requests
from adwarm.store.entries import Entry

MAX_REQUESTS = 20
"""Refetches that one run enqueues, with low priority: a fifth of the queue, which readers use too."""
_PAGE = 200
_FIRST_PAUSE = timedelta(minutes=30)
_LONGEST_PAUSE = timedelta(days=1)
_FORGET_AFTER = timedelta(days=2)
_MAX_PAUSES = 5_000


@dataclass
class _Pauses:
    """Keys that were requested and still need repair: how often, and until when they are left."""

    by_key: dict[str, tuple[int, float]] = field(default_factory=dict)  # attempts, and seconds since the epoch

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> "_Pauses":
        return cls({key: (int(tries), float(until)) for key, (tries, until) in stored.items()})

    def is_paused(self, key: ReportKey, now: float) -> bool:
        return self.by_key.get(str(key), (0, 0.0))[1] > now

    def record(self, key: ReportKey, now: float) -> None:
        tries = self.by_key.get(str(key), (0, 0.0))[0] + 1
        pause = min(_FIRST_PAUSE * 2 ** min(tries - 1, 10), _LONGEST_PAUSE)
        self.by_key[str(key)] = (tries, now + pause.total_seconds())

    def to_dict(self, now: float) -> dict[str, list[float]]:
        """Return what the next run has to know; keys that were not requested for two days are forgotten."""
        oldest = now - _FORGET_AFTER.total_seconds()
        recent = sorted((until, key, tries) for key, (tries, until) in self.by_key.items() if until > oldest)
        return {key: [tries, until] for until, key, tries in recent[-_MAX_PAUSES:]}


def make_repair_degraded(context: Context, queue: RequestQueue, clock: Clock, isolations: IsolationTracker) -> Step:
    """Return the step `repair_degraded`."""

    def step(cursor: Any, budget: StepBudget) -> StepResult:
        run = _Run(context, queue, clock.now(), isolations, _Pauses.load((cursor or {}).get("pauses", {})))
        return run.repair((cursor or {}).get("after"), budget)

    return step


@dataclass
class _Run:
    """One run of the step."""

    context: Context
    queue: RequestQueue
    now: datetime
    isolations: IsolationTracker
    pauses: _Pauses
    counts: Counter[str] = field(default_factory=Counter)
    _accounts: dict[str, Account] = field(default_factory=dict)

    def repair(self, after: list[str] | None, budget: StepBudget) -> StepResult:
        position = None if after is None else _key(after)
        while page := entries.list_to_repair(self.context.engine, position, self.now, _PAGE):
            for entry in page:
                if self.counts["requested"] >= MAX_REQUESTS or budget.is_used_up:
                    return self._stop(position)
                try:
                    self.counts[self._handle(entry)] += 1
                except Refused as error:
                    return self._stop(position, f"the queue takes no more requests now: {error}")
                position = entry.key
        pauses = self.pauses.to_dict(self.now.timestamp())
        return StepResult(dict(self.counts), {"pauses": pauses} if pauses else None, keeps_state=bool(pauses))

    def _stop(self, position: EntryKey | None, problem: str | None = None) -> StepResult:
        cursor = {
            "after": None if position is None else _parts(position),
            "pauses": self.pauses.to_dict(self.now.timestamp()),
        }
        return StepResult(dict(self.counts), cursor, [problem] if problem else [])

    def _handle(self, entry: Entry) -> str:
        """Request an entry's key if that makes sense; return the name of the outcome."""
        key = ReportKey(entry.key.account_id, entry.date_range, entry.report)
        account = self._get_account(key.account_id)
        if not is_current(entry, account, self.context.settings, self.now):
            return "past"
        if account is not None and account.status != "active":
            return "account_not_active"
        if not entry.degraded and is_only_refused(entry.degraded_reason or ""):
            return "fields_refused"
        if self.isolations.remaining_seconds(f"account:{key.account_id}"):
            return "account_isolated"
        if self.pauses.is_paused(key, self.now.timestamp()):
            return "paused"
        with read_transaction(self.context.engine) as connection:
            if requests.find_in_flight(connection, key) is not None:
                return "queued_already"
        self.queue.enqueue(key, Priority.LOW)
        self.pauses.record(key, self.now.timestamp())
        return "requested"

    def _get_account(self, account_id: str) -> Account | None:
        if account_id not in self._accounts:
            account = accounts.get_as_of(self.context.engine, account_id, self.now)
            if account is None:
                return None
            self._accounts[account_id] = account
        return self._accounts[account_id]


def _parts(key: EntryKey) -> list[str]:
    return [key.account_id, key.window.since.isoformat(), key.window.until.isoformat(), key.spec_hash]


def _key(parts: list[str]) -> EntryKey:
    account_id, since, until, spec_hash = parts
    return EntryKey(account_id, Window(date.fromisoformat(since), date.fromisoformat(until)), spec_hash)
