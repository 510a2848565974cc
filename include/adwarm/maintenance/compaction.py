"""Brings the final days of an account's month together in one object, and deletes what nothing points at any more.

An object is never changed: the month's rows are written as a new one, read back and compared with the hash of each day,
and only then named by the rows of the days, in one transaction. Whatever dies in between leaves orphans, no gap.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.maintenance.garbage_collection import delete_orphans
from adwarm.store import ObjectStore, partitions
from adwarm.store.database import write_transaction
from adwarm.store.partition_rows import by_day, content_hash, daily_rows, pack_rows, unpack_rows
from adwarm.store.partitions import CompactableMonth, PartitionState


@dataclass
class CompactionResult:
    """What a compaction did, and which months it could not read."""

    months: int = 0
    objects_before: int = 0
    days: int = 0
    orphans: int = 0
    payloads: int = 0
    errors: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return dict(vars(self))


def compact(engine: Engine, objects: ObjectStore, now: datetime) -> CompactionResult:
    """Compact every month that is final, then delete orphans that are old enough."""
    report = CompactionResult()
    for month in partitions.list_compactable_months(engine):
        try:
            report.days += compact_month(engine, objects, month)
        except (Corrupt, NotFound) as error:
            report.errors.append(f"{month.account_id} {month.month}: {error}; run `adwarm verify --repair`")
            continue
        report.months += 1
        report.objects_before += month.objects
    report.orphans, report.payloads = delete_orphans(engine, objects, now)
    return report


def compact_month(engine: Engine, objects: ObjectStore, month: CompactableMonth) -> int:
    """Write a month's rows as one object, point its days at it, and return how many days that were.

    Raises:
        Corrupt: rows are not those that were fetched; nothing is changed.
        NotFound: an object is lost; nothing is changed.
    """
    states = partitions.list_states(engine, month.account_id, month.spec_hash, month.month)
    packed = pack_rows(daily_rows(objects, states, month.month))
    _check_unchanged(packed, states)
    digest = objects.put(packed)
    with write_transaction(engine) as connection:
        return partitions.repoint(connection, month.account_id, month.spec_hash, list(states.values()), digest)


def _check_unchanged(packed: bytes, states: dict[Any, PartitionState]) -> None:
    found = by_day(unpack_rows(packed))
    for day, state in states.items():
        if content_hash(found.get(day, [])) != state.content_hash:
            raise Corrupt(f"the rows of {day} are not those that were fetched")
