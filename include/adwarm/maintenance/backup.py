"""Backs up an installation: a snapshot of its tables, the objects that they need, the open log and review pages.

Objects never change. They are copied before the tables are read and the few new ones after it: one that is no longer
needed may be deleted at any time, and one that became needed meanwhile is young, so that garbage collection keeps it.
Batches, `adwarm serve` and maintenance may go on. Settings are not part of a backup, and so none of their secrets are;
tokens of the read API are, as the hashes that the database holds.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from upath import UPath

from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.foundation.home import is_temporary
from adwarm.foundation.version import __version__
from adwarm.maintenance.backup_folder import BackupFolder, Manifest, StoredFile, StoredTable
from adwarm.maintenance.garbage_collection import MIN_ORPHAN_AGE, list_used_objects, read_used_objects
from adwarm.store import Context, ObjectStore
from adwarm.store.schema import get_current_revision
from adwarm.store.table_dump import describe_columns, dump_rows, list_tables, snapshot

FILE_FOLDERS = ("opens", "reports")
"""Folders of the data folder whose files are copied; their names are unique or replaced as a whole."""
OBJECT_LIST = "objects.jsonl.zst"
_LINES_SUFFIX = ".jsonl"
_THREADS = 8
_Item = tuple[str, str]


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A backup that was made.

    Attributes:
        name: its name in the folder.
        manifest: what it holds.
        copied: objects that no earlier backup had.
        deleted: names of older backups that were deleted.
    """

    name: str
    manifest: Manifest
    copied: int
    deleted: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        manifest = self.manifest
        return {
            "name": self.name,
            "at": manifest.at,
            "schema": manifest.schema,
            "tables": len(manifest.tables),
            "rows": manifest.rows,
            "objects": manifest.object_count,
            "objects_copied": self.copied,
            "objects_missing": list(manifest.missing),
            "files": len(manifest.files),
            "deleted": list(self.deleted),
        }


def create_backup(context: Context, target: str, now: datetime, *, keep: int | None = None) -> BackupResult:
    """Back up an installation into `target`, and return what was stored.

    Args:
        context: database and object store.
        target: folder or URL; it may hold earlier backups, which share their objects.
        now: the time of the machine, which names the backup.
        keep: delete all but this many of the newest complete backups; None deletes nothing.

    Raises:
        StorageError: something cannot be read or written; the backup has no manifest then.
    """
    folder = BackupFolder(target)
    name = folder.create(now)
    suffixes = dict(context.objects.list_objects())
    lines = {digest for digest, suffix in suffixes.items() if suffix == _LINES_SUFFIX}
    copier = _ObjectCopier(context.objects, folder.objects)
    before = list_used_objects(context.engine) | lines
    copier.copy((digest, suffixes[digest]) for digest in before if digest in suffixes)
    with snapshot(context.engine) as connection:
        used = read_used_objects(connection)
        tables = {
            str(table.name): _store_table(folder, name, table, dump_rows(connection, table)) for table in list_tables()
        }
    if used - set(suffixes):
        suffixes = dict(context.objects.list_objects()) | suffixes
    copier.copy((digest, suffixes[digest]) for digest in used if digest in suffixes)
    needed = sorted((digest, suffixes[digest]) for digest in used | lines if digest in copier.stored)
    listed, count = folder.write_lines(name, OBJECT_LIST, (orjson.dumps(item) + b"\n" for item in needed))
    manifest = Manifest(
        at=now,
        adwarm=__version__,
        schema=get_current_revision(context.engine) or "",
        dialect=context.engine.dialect.name,
        tables=tables,
        objects=listed,
        object_count=count,
        missing=tuple(sorted(used - copier.stored)),
        files=dict(_store_files(context.settings.data, folder, name)),
    )
    folder.write_manifest(name, manifest)
    deleted = () if keep is None else prune(folder, keep, now)
    return BackupResult(name, manifest, copier.copied, deleted)


def prune(folder: BackupFolder, keep: int, now: datetime) -> tuple[str, ...]:
    """Delete all but the `keep` newest complete backups, and objects that none of them needs; return their names.

    An incomplete one that is newer than the oldest kept one stays: it may be written at the moment.
    """
    complete = [name for name in folder.list_names() if folder.is_complete(name)]
    kept = complete[-keep:]
    deleted = tuple(name for name in folder.list_names() if kept and name < kept[0])
    for name in deleted:
        folder.delete(name)
    if deleted:
        needed = {digest for name in kept for digest, _ in read_object_list(folder, name, folder.read_manifest(name))}
        _delete_objects(folder.objects, needed, now - MIN_ORPHAN_AGE)
    return deleted


def read_object_list(folder: BackupFolder, name: str, manifest: Manifest) -> Iterator[_Item]:
    """Yield hash and suffix of each object that a backup needs.

    Raises:
        Corrupt: the list was changed.
    """
    folder.check_file(name, OBJECT_LIST, manifest.objects)
    for line in folder.read_lines(name, OBJECT_LIST):
        digest, suffix = orjson.loads(line)
        yield digest, suffix


def _delete_objects(objects: ObjectStore, needed: set[str], before: datetime) -> None:
    for digest, suffix in list(objects.list_objects()):
        if digest not in needed and objects.get_modified_at(digest, suffix) < before:
            objects.delete(digest, suffix)


def _store_table(folder: BackupFolder, name: str, table: Any, rows: Iterable[bytes]) -> StoredTable:
    file, count = folder.write_lines(name, f"tables/{table.name}.jsonl.zst", rows)
    return StoredTable(count, dict(describe_columns(table).kinds), file)


def _store_files(data_url: str, folder: BackupFolder, name: str) -> Iterator[tuple[str, StoredFile]]:
    """Copy the files beside the objects; one that retention deletes meanwhile is left out."""
    root: Any = UPath(data_url) if "://" in data_url else Path(data_url)
    for top in FILE_FOLDERS:
        paths = sorted((root / top).rglob("*"), key=str) if (root / top).exists() else []
        for path in paths:
            if path.is_dir() or is_temporary(path.name):
                continue
            relative = f"{top}/{str(path).removeprefix(f'{root / top}').strip('/')}"
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            yield relative, folder.write(name, f"files/{relative}", data)


class _ObjectCopier:
    """Copies objects that the target does not have, several at a time; each is checked against its hash."""

    def __init__(self, source: ObjectStore, target: ObjectStore) -> None:
        self._source, self._target = source, target
        self.stored = {digest for digest, _ in target.list_objects()}
        self.copied = 0

    def copy(self, items: Iterable[_Item]) -> None:
        """Copy objects; one that is gone is left out, one that is damaged counts as missing."""
        due = [item for item in items if item[0] not in self.stored]
        for digest in run_parallel(self._copy, due):
            if digest is not None:
                self.stored.add(digest)
                self.copied += 1

    def _copy(self, item: _Item) -> str | None:
        try:
            return self._target.put(self._source.get(*item), item[1])
        except (NotFound, Corrupt):
            return None


def run_parallel(work: Callable[[_Item], str | None], items: list[_Item]) -> Iterator[str | None]:
    """Yield the result for each item, in order; several run at a time."""
    with ThreadPoolExecutor(_THREADS, "adwarm-backup") as pool:
        yield from pool.map(work, items)
