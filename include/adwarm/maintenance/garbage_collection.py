"""Deletes objects and payloads that nothing references, once they are too old to be about to be referenced.

An object is in use when a row of any table references it in a column `object_hash`, or as a copy of damaged data. The
unfinished files of writers that were killed are deleted too.
"""

from datetime import datetime, timedelta

from sqlalchemy import Engine, select

from adwarm.foundation.errors import NotFound
from adwarm.maintenance.temporary_files import delete_stale_temporaries
from adwarm.store import Context, ObjectStore, entries, entry_versions, quarantine, read_transaction
from adwarm.store.entry_versions import VersionLimits
from adwarm.store.tables import metadata

MIN_ORPHAN_AGE = timedelta(hours=24)
_QUARANTINE_SUFFIX = ".jsonl"
"""Suffix of quarantined lines of the access log, which only messages reference."""


def list_used_objects(engine: Engine) -> set[str]:
    """Return the hash of every object that a row references, the copies of damaged data included."""
    columns = [table.c.object_hash for table in metadata.tables.values() if "object_hash" in table.c]
    with read_transaction(engine) as connection:
        used = {str(digest) for column in columns for digest in connection.execute(select(column).distinct()).scalars()}
    return used | quarantine.list_copies(engine)


def delete_orphans(context: Context, now: datetime, as_of: datetime | None = None) -> tuple[int, int]:
    """Delete unreferenced objects and payloads older than `MIN_ORPHAN_AGE`; return how many of each.

    Ages are checked before the references are read, and again before each deletion: a row can only start to reference
    an old object after the object was written again, which makes it young. Kept versions of entries that are too old
    for any reader are deleted first, so that their payloads are unreferenced at once.

    Args:
        context: database and object store.
        now: the time of the machine, which the ages of objects are measured by.
        as_of: the time that versions and payloads were stored by, which a run as of the past sets; None for `now`.
    """
    as_of = as_of or now
    objects = context.objects
    old = [item for item in objects.list_objects() if item[1] != _QUARANTINE_SUFFIX and _is_old(objects, item, now)]
    used = list_used_objects(context.engine) if old else set()
    unused = [item for item in old if item[0] not in used and _is_old(objects, item, now)]
    for digest, suffix in unused:
        objects.delete(digest, suffix)
    delete_stale_temporaries(context, now - MIN_ORPHAN_AGE)
    entry_versions.delete_old(context.engine, as_of - VersionLimits.of(context.settings.compression).age)
    return len(unused), entries.delete_orphans(context.engine, as_of - MIN_ORPHAN_AGE)


def _is_old(objects: ObjectStore, item: tuple[str, str], now: datetime) -> bool:
    try:
        return objects.get_modified_at(*item) < now - MIN_ORPHAN_AGE
    except NotFound:
        return False  # another worker has deleted it
