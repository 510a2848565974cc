"""What nothing points at any more: objects and payloads, deleted once nobody can still be about to name them.

An object is in use when a row of any table names it in a column `object_hash`.
"""

from datetime import datetime, timedelta

from sqlalchemy import Engine, select

from adwarm.foundation.errors import NotFound
from adwarm.store import entries
from adwarm.store.database import read_transaction
from adwarm.store.objects import ObjectStore
from adwarm.store.tables import metadata

MIN_ORPHAN_AGE = timedelta(hours=24)
_QUARANTINE_SUFFIX = ".jsonl"
"""Suffix of quarantined lines of the access log, which nothing but a message names."""


def list_used_objects(engine: Engine) -> set[str]:
    """Return the hash of every object that a row points at."""
    columns = [table.c.object_hash for table in metadata.tables.values() if "object_hash" in table.c]
    with read_transaction(engine) as connection:
        return {str(digest) for column in columns for digest in connection.execute(select(column).distinct()).scalars()}


def delete_orphans(engine: Engine, objects: ObjectStore, now: datetime) -> tuple[int, int]:
    """Delete objects and payloads that nothing points at and that are older than `KEEP`; return how many of each.

    Ages are looked at before the pointers are, and again before the deed: a row can only come to point at an old
    object by putting it anew, which makes it young.
    """
    old = [found for found in objects.list_objects() if found[1] != _QUARANTINE_SUFFIX and _is_old(objects, found, now)]
    used = list_used_objects(engine) if old else set()
    unused = [found for found in old if found[0] not in used and _is_old(objects, found, now)]
    for digest, suffix in unused:
        objects.delete(digest, suffix)
    return len(unused), entries.delete_orphans(engine, now - MIN_ORPHAN_AGE)


def _is_old(objects: ObjectStore, found: tuple[str, str], now: datetime) -> bool:
    try:
        return objects.get_modified_at(*found) < now - MIN_ORPHAN_AGE
    except NotFound:
        return False  # another worker has deleted it
