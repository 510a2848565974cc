"""Deletes objects and payloads that nothing references, once they are too old to be about to be referenced.

An object is in use when a row of any table references it in a column `object_hash` or `copy_name`. Quarantined lines of
the access log, which only messages reference, are deleted after `retention.history_days`. The unfinished files of
writers that were killed are deleted too.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import NotFound
from adwarm.foundation.home import BODY_FOLDER, is_temporary
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.store import Context, ObjectStore, entries, entry_versions, read_transaction
from adwarm.store.objects import StoredObject
from adwarm.store.tables import metadata

MIN_ORPHAN_AGE = timedelta(hours=24)
_REFERENCES = ("object_hash", "copy_name")
_LINES_SUFFIX = ".jsonl"
_DATA_FOLDERS = ("objects/*", "reports", "opens/*")


@dataclass
class GarbageResult:
    """What was deleted.

    Attributes:
        lines: objects with quarantined lines of the access log.
        versions: publications of entries that were recorded longer ago than `entry_versions.LIFETIME`.
        unfinished: files of writers that were killed.
        next_folder: the folder of objects that a later run starts after; None when all were looked at.
    """

    objects: int = 0
    lines: int = 0
    versions: int = 0
    payloads: int = 0
    unfinished: int = 0
    next_folder: str | None = None

    def to_dict(self) -> dict[str, int]:
        """Return the counts."""
        return {name: getattr(self, name) for name in ("objects", "lines", "versions", "payloads", "unfinished")}


def make_collect_garbage(context: Context, clock: Clock) -> Step:
    """Return the step `collect_garbage`; ages are measured by `clock`, which is the machine's."""

    def step(cursor: Any, budget: StepBudget) -> StepResult:
        result = collect_garbage(context, clock.now(), after=cursor or "", budget=budget)
        return StepResult(result.to_dict(), result.next_folder)

    return step


def collect_garbage(
    context: Context, now: datetime, *, after: str = "", budget: StepBudget | None = None
) -> GarbageResult:
    """Delete unreferenced objects and payloads older than `MIN_ORPHAN_AGE`.

    Ages are checked before the references are read, and again before each deletion: a row can only start to reference
    an old object after the object was written again, which makes it young.

    Args:
        now: the time of the machine.
        after: only objects in folders after this one, two hex digits.
        budget: when to stop; without it everything is looked at.
    """
    result = GarbageResult()
    if not after:
        result.versions = sum(entry_versions.delete_old(context.engine, now - entry_versions.LIFETIME))
        result.payloads = sum(entries.delete_orphans(context.engine, now - MIN_ORPHAN_AGE))
        result.unfinished = delete_stale_temporaries(context, now - MIN_ORPHAN_AGE)
    for folder, items in context.objects.list_folders(after):
        _collect_folder(context, now, folder, items, result)
        if budget is not None and budget.is_used_up:
            result.next_folder = folder
            break
    return result


def list_used_objects(engine: Engine, folder: str = "") -> set[str]:
    """Return the hash of every object that a row references, or of those that start with `folder`."""
    columns = [table.c[name] for table in metadata.tables.values() for name in _REFERENCES if name in table.c]
    used: set[str] = set()
    with read_transaction(engine) as connection:
        for column in columns:
            # g follows every digit
            within = column.is_not(None) if not folder else column.between(folder, f"{folder}g")
            used |= {str(digest) for digest in connection.execute(select(column).where(within).distinct()).scalars()}
    return used


def _collect_folder(
    context: Context, now: datetime, folder: str, items: Iterable[StoredObject], result: GarbageResult
) -> None:
    listed, before = list(items), now - MIN_ORPHAN_AGE
    oldest_lines = now - timedelta(days=context.settings.retention.history_days)
    lines = [item for item in listed if item.suffix == _LINES_SUFFIX and item.modified_at < oldest_lines]
    result.lines += _delete_older(context.objects, lines, oldest_lines)
    old = [item for item in listed if item.suffix != _LINES_SUFFIX and item.modified_at < before]
    used = list_used_objects(context.engine, folder) if old else set()
    result.objects += _delete_older(context.objects, [item for item in old if item.digest not in used], before)


def _delete_older(objects: ObjectStore, items: Sequence[StoredObject], before: datetime) -> int:
    """Delete objects that still have not been written since `before`; return how many."""

    def delete(item: StoredObject) -> bool:
        try:
            if objects.get_modified_at(item.digest, item.suffix) >= before:
                return False
        except NotFound:
            return False  # another worker has deleted it
        objects.delete(item.digest, item.suffix)
        return True

    return sum(objects.map(delete, items))


def delete_stale_temporaries(context: Context, older_than: datetime) -> int:
    """Delete unfinished files in the data folder and the home that were last written before `older_than`.

    A store behind a URL has none: a put is complete or absent there. What cannot be deleted is left for the next time.

    Returns:
        How many were deleted.
    """
    deleted = 0
    for path in _list_temporaries(context):
        with suppress(OSError):  # its writer has finished it, or the folder is read-only
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) < older_than:
                path.unlink()
                deleted += 1
    return deleted


def _list_temporaries(context: Context) -> Iterator[Path]:
    root = context.objects.local_path
    folders = [context.settings.home / BODY_FOLDER]
    if root is not None:
        folders += [folder for pattern in _DATA_FOLDERS for folder in sorted(root.glob(pattern))]
    for folder in folders:
        with suppress(OSError):
            yield from [path for path in folder.iterdir() if is_temporary(path.name)]
