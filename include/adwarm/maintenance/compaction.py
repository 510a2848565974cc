"""Compacts the final days of an account's month into one object.

Objects are immutable: the month's rows are written as a new object, read back, and compared with the hash of each day.
Only then one transaction points the days at it. A crash in between leaves orphans, never a gap.
"""

from dataclasses import dataclass, field
from typing import Any

from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.store import Context, partitions
from adwarm.store.database import write_transaction
from adwarm.store.partition_rows import by_day, content_hash, daily_rows, pack_rows, unpack_rows
from adwarm.store.partitions import CompactableMonth, PartitionState


@dataclass
class CompactionResult:
    """The result of a compaction.

    Attributes:
        objects_before: objects that held their days.
        days: days that point at a new object.
        last: the last month that was looked at when time was used up; None when all were.
    """

    months: int = 0
    objects_before: int = 0
    days: int = 0
    errors: list[str] = field(default_factory=list)
    last: CompactableMonth | None = None

    def to_dict(self) -> dict[str, int]:
        """Return the counts."""
        return {"months": self.months, "objects_before": self.objects_before, "days": self.days}


def make_compact(context: Context) -> Step:
    """Return the step `compact`."""

    def step(cursor: Any, budget: StepBudget) -> StepResult:
        result = compact(context, after=tuple(cursor) if cursor else None, budget=budget)
        last = None if result.last is None else list(_position(result.last))
        return StepResult(result.to_dict(), last, result.errors)

    return step


def compact(
    context: Context, *, after: tuple[str, ...] | None = None, budget: StepBudget | None = None
) -> CompactionResult:
    """Compact every final month; what the days pointed at is left to garbage collection.

    Args:
        after: only months after this one: account, query and first day.
        budget: when to stop; without it every month is looked at.
    """
    result = CompactionResult()
    for month in partitions.list_compactable_months(context.engine):
        if after is not None and _position(month) <= after:
            continue
        try:
            result.days += _compact_month(context, month)
            result.months += 1
            result.objects_before += month.objects
        except (Corrupt, NotFound) as error:
            result.errors.append(f"{month.account_id} {month.month}: {error}; run `adwarm maintain --verify --repair`")
        if budget is not None and budget.is_used_up:
            result.last = month
            break
    return result


def _position(month: CompactableMonth) -> tuple[str, ...]:
    """Return what months are ordered by."""
    return month.account_id, month.spec_hash, month.month.since.isoformat()


def _compact_month(context: Context, month: CompactableMonth) -> int:
    """Write a month's rows as one object, point its days at it, and return the number of days."""
    states = partitions.list_states(context.engine, month.account_id, month.spec_hash, month.month)
    packed = pack_rows(daily_rows(context.objects, states, month.month))
    _check_unchanged(packed, states)
    digest = context.objects.put(packed)
    with write_transaction(context.engine) as connection:
        return partitions.repoint(connection, month.account_id, month.spec_hash, list(states.values()), digest)


def _check_unchanged(packed: bytes, states: dict[Any, PartitionState]) -> None:
    rows = by_day(unpack_rows(packed))
    for day, state in states.items():
        if content_hash(rows.get(day, [])) != state.content_hash:
            raise Corrupt(f"the rows of {day} differ from those that were fetched")
