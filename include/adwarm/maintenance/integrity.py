"""Checks every stored entry and object against its checksum."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, select

from adwarm.compression import unpack_document
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.store import Context, entries, partitions, read_transaction
from adwarm.store.tables import access_aggregate, partition


@dataclass
class IntegrityResult:
    """The result of a check.

    Attributes:
        entries: entries that were checked.
        objects: objects that were checked.
        corrupt: what does not match its checksum, and why.
    """

    entries: int = 0
    objects: int = 0
    corrupt: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        corrupt = [{"what": what, "why": why} for what, why in self.corrupt]
        return {"entries": self.entries, "objects": self.objects, "corrupt": corrupt}


def verify_store(context: Context, *, repair: bool = False) -> IntegrityResult:
    """Verify and decode each entry, and verify each object that a row references.

    With `repair`, corrupt entries are marked degraded and the days of corrupt objects are deleted, so that the next
    warm fetches them. A corrupt object of the access log is deleted; reading its hours again (a window in the params)
    restores it.
    """
    result = IntegrityResult()
    for listed in entries.list_entries(context.engine):
        stored = entries.find(context.engine, listed.key)
        if stored is None:
            continue
        result.entries += 1
        entry, blob = stored
        try:
            unpack_document(blob, context.settings.compression)
        except Corrupt as error:
            result.corrupt.append((f"entry {entry.key.account_id} {entry.key.window}", str(error)))
            if repair:
                entries.mark_degraded(context.engine, entry, str(error))
    for digest in _list_referenced_objects(context.engine):
        result.objects += 1
        try:
            context.objects.get(digest)
        except (Corrupt, NotFound) as error:
            result.corrupt.append((f"object {digest[:12]}", str(error)))
            if repair:
                partitions.delete_by_object(context.engine, digest)
                context.objects.delete(digest)
    return result


def _list_referenced_objects(engine: Engine) -> list[str]:
    with read_transaction(engine) as connection:
        digests = {
            str(digest)
            for table in (partition, access_aggregate)
            for digest in connection.execute(select(table.c.object_hash).distinct()).scalars()
        }
    return sorted(digests)
