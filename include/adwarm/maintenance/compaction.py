"""Compacts the final days of an account's month into one object, and deletes objects that nothing references.

Objects are immutable: the month's rows are written as a new object, read back, and compared with the hash of each day.
Only then one transaction points the days at it. A crash in between leaves orphans, never a gap.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.foundation.wording import format_count
from adwarm.maintenance.garbage_collection import delete_orphans
from adwarm.store import Context, partitions
from adwarm.store.database import write_transaction
from adwarm.store.partition_rows import by_day, content_hash, daily_rows, pack_rows, unpack_rows
from adwarm.store.partitions import CompactableMonth, PartitionState


@dataclass
class CompactionResult:
    """The result of a compaction.

    Attributes:
        months: account-months that were compacted.
        objects_before: objects that held their days.
        days: days that point at a new object.
        orphans: unreferenced objects that were deleted.
        payloads: unreferenced payloads that were deleted.
        errors: months that could not be read, and why.
    """

    months: int = 0
    objects_before: int = 0
    days: int = 0
    orphans: int = 0
    payloads: int = 0
    errors: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return dict(vars(self))

    def __str__(self) -> str:
        months = f"compacted {format_count(self.months, 'final account-month')}"
        objects = f"{format_count(self.days, 'day')} from {format_count(self.objects_before, 'object')}"
        deleted = f"deleted {format_count(self.orphans, 'unused object')} and {format_count(self.payloads, 'payload')}"
        return f"{months} ({objects}); {deleted}" if self.months else f"no month to compact; {deleted}"


def compact(context: Context, now: datetime, as_of: datetime | None = None) -> CompactionResult:
    """Compact every final month, then delete orphans that are old enough; see `delete_orphans` for the two times."""
    result = CompactionResult()
    for month in partitions.list_compactable_months(context.engine):
        try:
            result.days += _compact_month(context, month)
        except (Corrupt, NotFound) as error:
            result.errors.append(f"{month.account_id} {month.month}: {error}; run `adwarm verify --repair`")
            continue
        result.months += 1
        result.objects_before += month.objects
    result.orphans, result.payloads = delete_orphans(context, now, as_of)
    return result


def _compact_month(context: Context, month: CompactableMonth) -> int:
    """Write a month's rows as one object, point its days at it, and return the number of days.

    Raises:
        Corrupt: the rows differ from those that were fetched; nothing is changed.
        NotFound: an object is lost; nothing is changed.
    """
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
