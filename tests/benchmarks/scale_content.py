"""What a run has stored, as digests that are equal when two runs stored equal data.

The platform's clock stands still and the run acts as of a moment, so nothing that is stored may depend on when it ran:
rows and summaries, the documents made of them, when they were fetched and until when they are fresh, and the names of
the objects, which are the hashes of their bytes. Only the fencing tokens of leases and the ids of warms may differ.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Engine, select

from adwarm.store import ObjectStore, read_transaction
from adwarm.store.entries import payload
from adwarm.store.entries import table as entry
from adwarm.store.partitions import table as partition

_ENTRY = ("account_id", "since", "until", "spec_hash", "content_hash", "payload_hash", "fetched_at", "expires_at")
_PARTITION = ("account_id", "day", "spec_hash", "rows", "content_hash", "object_hash", "fetched_at", "data_version")


@dataclass(frozen=True)
class StoredContent:
    """What is stored, as counts and digests.

    Attributes:
        entries: number of entries.
        entries_digest: of their keys, the hashes of document and payload, and their times.
        days: number of account-days.
        days_digest: of their keys, the hashes of rows and objects, and their times.
        objects: number of objects in the store.
        objects_digest: of their names.
        payload_bytes: bytes of all payloads.
    """

    entries: int
    entries_digest: str
    days: int
    days_digest: str
    objects: int
    objects_digest: str
    payload_bytes: int

    @property
    def digests(self) -> tuple[str, str, str]:
        """The three digests."""
        return self.entries_digest, self.days_digest, self.objects_digest


def read_content(engine: Engine, objects: ObjectStore) -> StoredContent:
    """Return what is stored."""
    entry_query = select(*(entry.c[name] for name in _ENTRY)).order_by(*(entry.c[name] for name in _ENTRY[:4]))
    day_query = select(*(partition.c[name] for name in _PARTITION)).order_by(*(partition.c[n] for n in _PARTITION[:3]))
    with read_transaction(engine) as connection:
        entries = ["|".join(map(str, row)) for row in connection.execute(entry_query)]
        days = ["|".join(map(str, row)) for row in connection.execute(day_query)]
        payload_bytes = sum(len(body) for body in connection.execute(select(payload.c.body)).scalars())
    names = sorted("".join(name) for name in objects.list_objects())
    return StoredContent(
        len(entries), _digest(entries), len(days), _digest(days), len(names), _digest(names), payload_bytes
    )


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
