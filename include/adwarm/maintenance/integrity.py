"""Checks everything stored against its checksum."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, select

from adwarm.compression import decode_envelope, decompress
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.settings import Settings
from adwarm.store import ObjectStore, entries, partitions, read_transaction
from adwarm.store.tables import access_aggregate, partition


@dataclass
class IntegrityResult:
    """What was checked, and what does not match: pairs of what and why."""

    entries: int = 0
    objects: int = 0
    corrupt: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        corrupt = [{"what": what, "why": why} for what, why in self.corrupt]
        return {"entries": self.entries, "objects": self.objects, "corrupt": corrupt}


def verify_store(engine: Engine, objects: ObjectStore, settings: Settings, *, repair: bool = False) -> IntegrityResult:
    """Verify and decode each entry, and verify each object that a row points at.

    With `repair`, corrupt entries are marked and the days of corrupt objects forgotten; the next warm fetches them.
    A corrupt object of the access log is removed; reading its hours again (a window in the params) restores it.
    """
    report = IntegrityResult()
    for listed in entries.list_entries(engine):
        found = entries.find(engine, listed.key)
        if found is None:
            continue
        report.entries += 1
        entry, blob = found
        try:
            if decode_envelope(blob).raw_bytes != len(decompress(blob, settings.compression)):
                raise Corrupt("the decoded length is not the one that was stored")
        except Corrupt as error:
            report.corrupt.append((f"entry {entry.key.account_id} {entry.key.window}", str(error)))
            if repair:
                entries.mark_degraded(engine, entry, str(error))
    for digest in _list_referenced_objects(engine):
        report.objects += 1
        try:
            objects.get(digest)
        except (Corrupt, NotFound) as error:
            report.corrupt.append((f"object {digest[:12]}", str(error)))
            if repair:
                partitions.delete_by_object(engine, digest)
                objects.delete(digest)
    return report


def _list_referenced_objects(engine: Engine) -> list[str]:
    with read_transaction(engine) as connection:
        found = {
            str(digest)
            for table in (partition, access_aggregate)
            for digest in connection.execute(select(table.c.object_hash).distinct()).scalars()
        }
    return sorted(found)
