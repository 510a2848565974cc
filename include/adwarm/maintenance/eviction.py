"""Deletes entries that nobody will read: those of past windows, and over the size budget the least likely ones.

| entry                                                              | is deleted                              |
|--------------------------------------------------------------------|-----------------------------------------|
| its date range means other days by now, and it was unread for `KEEP_DAYS` | always                           |
| any other, while the entries exceed `max_bytes`                    | least likely to be opened first         |

The chance of an open within a day comes from the live forecast; of two entries with the same chance the one that was
read or fetched longer ago goes first. What is deleted can be built again from the stored days with at most one call.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import BadRequest, Corrupt, NotFound
from adwarm.foundation.wording import format_bytes, format_count
from adwarm.maintenance.garbage_collection import MIN_ORPHAN_AGE
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.model import Account, ReportKey, resolve_key
from adwarm.model.keys import name_next
from adwarm.planning.decide import get_open_chances
from adwarm.settings import Settings
from adwarm.store import Context, accounts, entries
from adwarm.store.entries import Entry

KEEP_DAYS = 35
"""How long an entry stays unread once its date range means other days: scores of days that the platform still restates,
28 of them, read the summary of their week."""
_DELETED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry and what speaks for keeping it.

    Attributes:
        chance: chance that its report is opened within a day, 0 to 1; None without a forecast for it.
    """

    entry: Entry
    is_current: bool
    chance: float | None

    @property
    def last_used_at(self) -> datetime:
        """When it was last read; when it was never read, when it was fetched."""
        return max(self.entry.last_read_at or self.entry.fetched_at, self.entry.fetched_at)


@dataclass(frozen=True, slots=True)
class Eviction:
    """An entry to delete, and why."""

    entry: Entry
    why: str


@dataclass(frozen=True, slots=True)
class EvictionResult:
    """What was deleted, or would be.

    Attributes:
        payloads: payloads that no entry referred to any more, deleted with them.
        changed: entries that were left because they changed meanwhile.
    """

    entries: int
    stored_bytes: int
    payloads: int = 0
    changed: int = 0
    is_dry_run: bool = False

    def to_dict(self) -> dict[str, int | bool]:
        """Return the counts as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        if not self.entries + self.changed:
            return "no entry to delete"
        verb = "would delete" if self.is_dry_run else "deleted"
        note = f"; {format_count(self.changed, 'entry', 'entries')} changed meanwhile and stay" if self.changed else ""
        size = format_bytes(self.stored_bytes)
        return f"{verb} {format_count(self.entries, 'entry', 'entries')} of {size}{note}"


def list_stored(context: Context, now: datetime, account_id: str | None = None) -> list[StoredEntry]:
    """Return every entry, or those of one account, newest first, with the chance that it is opened within a day."""
    listed = entries.list_entries(context.engine, account_id)
    return _describe(context, listed, _find_chances(context, now) if listed else {}, now)


def _describe(
    context: Context, listed: Sequence[Entry], chances: Mapping[ReportKey, float], now: datetime
) -> list[StoredEntry]:
    stored = accounts.get_many(context.engine, sorted({entry.key.account_id for entry in listed}))
    return [
        StoredEntry(
            entry,
            is_current(entry, stored.get(entry.key.account_id), context.settings, now),
            chances.get(ReportKey(entry.key.account_id, entry.date_range, entry.report)),
        )
        for entry in listed
    ]


def find_evictions(stored: Sequence[StoredEntry], settings: Settings, now: datetime) -> list[Eviction]:
    """Return the entries to delete, in the order in which they go. A pure function of its arguments."""
    limit = settings.cache.max_bytes
    past = [item for item in stored if not item.is_current and _is_unused(item, timedelta(days=KEEP_DAYS), now)]
    evictions = [
        Eviction(item.entry, f"its date range means other days, and it was not read for {KEEP_DAYS} days")
        for item in past
    ]
    gone = {item.entry.key for item in past}
    left = [item for item in stored if item.entry.key not in gone]
    excess = sum(item.entry.stored_bytes for item in left) - limit
    for item in sorted(left, key=_value):
        if excess <= 0:
            break
        excess -= item.entry.stored_bytes
        evictions.append(Eviction(item.entry, _describe_excess(item, limit)))
    return evictions


def delete_entries(context: Context, evictions: Sequence[Eviction], now: datetime) -> EvictionResult:
    """Delete entries that have not changed since they were listed, and payloads unreferenced for a day."""
    removed: list[Entry] = []
    for start in range(0, len(evictions), _DELETED_AT_ONCE):
        some = [item.entry for item in evictions[start : start + _DELETED_AT_ONCE]]
        removed += entries.delete_unchanged(context.engine, some)
    payloads = sum(entries.delete_orphans(context.engine, now - MIN_ORPHAN_AGE))
    return EvictionResult(
        len(removed), sum(item.stored_bytes for item in removed), payloads, len(evictions) - len(removed)
    )


def make_evict_entries(context: Context, clock: Clock) -> Step:
    """Return the step `evict_entries`: what it leaves for lack of time is found again by the next run."""

    def step(_cursor: Any, budget: StepBudget) -> StepResult:
        now = clock.now()
        evictions = list_evictions(context, now)
        counts: Counter[str] = Counter()
        for start in range(0, len(evictions), _DELETED_AT_ONCE):
            result = delete_entries(context, evictions[start : start + _DELETED_AT_ONCE], now)
            counts.update({"entries": result.entries, "stored_bytes": result.stored_bytes, "kept": result.changed})
            left = len(evictions) - start - _DELETED_AT_ONCE
            if left > 0 and budget.is_used_up:
                return StepResult(dict(counts), {"left": left})
        return StepResult(dict(counts))

    return step


def list_evictions(context: Context, now: datetime) -> list[Eviction]:
    """Return the stored entries to delete, in the order in which they go."""
    listed = entries.list_entries(context.engine)
    is_over = sum(entry.stored_bytes for entry in listed) > context.settings.cache.max_bytes
    chances = _find_chances(context, now) if is_over else {}  # they order what goes for its size, and take a forecast
    return find_evictions(_describe(context, listed, chances, now), context.settings, now)


def preview(evictions: Sequence[Eviction]) -> EvictionResult:
    """Return what deleting them would do."""
    return EvictionResult(len(evictions), sum(item.entry.stored_bytes for item in evictions), is_dry_run=True)


def _find_chances(context: Context, now: datetime) -> Mapping[ReportKey, float]:
    """Return the forecast's chances; none before one is live, or while its snapshot cannot be read."""
    try:
        return get_open_chances(context, now)
    except (NotFound, Corrupt):
        return {}


def is_current(entry: Entry, account: Account | None, settings: Settings, now: datetime) -> bool:
    """Return whether an entry's date range still means its days, under the query in use or the one that is prepared.

    Args:
        account: its account; None when it is not stored, which means the default zone.
    """
    key = ReportKey(entry.key.account_id, entry.date_range, entry.report)
    zone = settings.default_zone
    try:
        specs = [settings.spec(name) for name in (entry.report, name_next(entry.report))]
    except BadRequest:  # the report is no longer configured
        return False
    account = account or Account(key.account_id, zone, zone)
    return any(resolve_key(key, account, spec, now) == entry.key for spec in specs)


def _is_unused(item: StoredEntry, age: timedelta, now: datetime) -> bool:
    return item.last_used_at <= now - age


def _value(item: StoredEntry) -> tuple[float, datetime]:
    """Return the key to sort by: what is not current is worth nothing, an unknown chance less than a known one."""
    chance = -1.0 if not item.is_current else (0.0 if item.chance is None else item.chance)
    return chance, item.last_used_at


def _describe_excess(item: StoredEntry, max_bytes: int) -> str:
    if not item.is_current:
        worth = "its date range means other days"
    elif item.chance is None:
        worth = "no open of it is expected"
    else:
        worth = f"its chance of an open within a day is {item.chance:.1%}"
    return f"the entries exceed {format_bytes(max_bytes)}, and {worth}"
