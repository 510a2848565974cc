"""Restores a backup: everything is checked first, objects come next, and the tables in one transaction at the end.

Until that transaction is committed the database is as it was before, so a restore that was killed has changed nothing
but added objects, which the next attempt finds. The tables are loaded into the schema of the backup and then upgraded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from upath import UPath

from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, NotFound
from adwarm.foundation.home import make_private_folder, write_private_file
from adwarm.foundation.storage_errors import DATA_SETTING, translating_storage_errors
from adwarm.maintenance.backup import OBJECT_LIST, read_object_list, run_parallel
from adwarm.maintenance.backup_folder import BackupFolder, Manifest
from adwarm.store import Context
from adwarm.store.database import write_transaction
from adwarm.store.schema import list_existing_tables, recreate, upgrade_connection
from adwarm.store.table_dump import LEFT_OUT, count_rows, load_rows

_ALWAYS_THERE = ("report_version", "schema_change", *LEFT_OUT)
"""Tables that have rows as soon as a command has run."""
_SHOWN = 3


@dataclass
class RestoreResult:
    """What was checked or restored.

    Attributes:
        name: the backup.
        manifest: what it holds.
        objects: objects that were written; the others were there already.
        schema: revision of the database afterwards; empty when nothing was restored.
        problems: what is wrong with the backup.
    """

    name: str
    manifest: Manifest
    objects: int = 0
    schema: str = ""
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "name": self.name,
            "at": self.manifest.at,
            "rows": self.manifest.rows,
            "objects": self.manifest.object_count,
            "objects_written": self.objects,
            "files": len(self.manifest.files),
            "schema": self.schema or None,
            "problems": self.problems,
        }


def check_backup(target: str, name: str | None = None) -> RestoreResult:
    """Check every file and object of a backup against its checksum; nothing is changed.

    Args:
        target: folder or URL of the backups.
        name: the backup; the newest complete one when None.

    Raises:
        NotFound: there is no such backup.
    """
    folder = BackupFolder(target)
    name = name or folder.find_newest()
    result = RestoreResult(name, folder.read_manifest(name))
    files = {f"tables/{table}.jsonl.zst": item.file for table, item in result.manifest.tables.items()}
    files |= {f"files/{path}": item for path, item in result.manifest.files.items()}
    for path, file in {**files, OBJECT_LIST: result.manifest.objects}.items():
        try:
            folder.check_file(name, path, file)
        except AdwarmError as error:
            result.problems.append(str(error))
    if not result.problems:
        result.problems += _check_objects(folder, result)
    lost = "was missing or damaged when the backup was made"
    result.problems += [f"object {digest[:12]} {lost}" for digest in result.manifest.missing]
    return result


def restore_backup(
    context: Context,
    target: str,
    name: str | None = None,
    *,
    replace: bool = False,
    allow_problems: bool = False,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> RestoreResult:
    """Restore a backup into the installation of `context`.

    Args:
        context: database and object store to restore into.
        target: folder or URL of the backups.
        name: the backup; the newest complete one when None.
        replace: delete what the database holds.
        allow_problems: go on when objects are missing or damaged; what they hold is fetched again.
        on_progress: is told what happens now.

    Raises:
        BadRequest: the database is not empty, or the backup has a schema that this code does not know.
        Corrupt: the backup is damaged.
        NotFound: there is no such backup.
    """
    on_progress("checking the backup")
    if not replace:
        _require_empty(context)
    result = check_backup(target, name)
    folder = BackupFolder(target)
    if result.problems and not allow_problems:
        more = f" and {len(result.problems) - _SHOWN:,} more" if len(result.problems) > _SHOWN else ""
        raise Corrupt(
            f"the backup {result.name} is damaged: {'; '.join(result.problems[:_SHOWN])}{more}. Choose another one "
            "with --backup, or restore what is whole with --allow-problems"
        )
    on_progress(f"writing {result.manifest.object_count:,} objects")
    result.objects = _restore_objects(context, folder, result)
    _restore_files(context, folder, result)
    on_progress(f"writing {result.manifest.rows:,} rows in one transaction")
    with write_transaction(context.engine) as connection:
        if not replace:
            _check_empty(connection)  # again: another process may have started meanwhile
        recreate(connection, result.manifest.schema)
        for table in result.manifest.tables:
            _load_table(connection, folder, result, table)
        result.schema = upgrade_connection(connection)
    return result


def _load_table(connection: Connection, folder: BackupFolder, result: RestoreResult, table: str) -> None:
    manifest = result.manifest
    lines = folder.read_lines(result.name, f"tables/{table}.jsonl.zst")
    count = load_rows(connection, manifest.columns(table), lines)
    if count != manifest.tables[table].rows:
        raise Corrupt(f"the table {table} of the backup has {count:,} rows instead of {manifest.tables[table].rows:,}")


def _require_empty(context: Context) -> None:
    with write_transaction(context.engine) as connection:
        _check_empty(connection)


def _check_empty(connection: Connection) -> None:
    names = [name for name in list_existing_tables(connection) if name not in _ALWAYS_THERE]
    if counts := count_rows(connection, names):
        shown = ", ".join(f"{count:,} in {name}" for name, count in list(counts.items())[:_SHOWN])
        raise BadRequest(f"the database is not empty (rows: {shown}); --replace deletes what it holds")


def _check_objects(folder: BackupFolder, result: RestoreResult) -> list[str]:
    def check(item: tuple[str, str]) -> str | None:
        try:
            folder.objects.get(*item)
        except (NotFound, Corrupt) as error:
            return str(error)
        return None

    items = list(read_object_list(folder, result.name, result.manifest))
    return [problem for problem in run_parallel(check, items) if problem is not None]


def _restore_objects(context: Context, folder: BackupFolder, result: RestoreResult) -> int:
    """Write the objects that the store lacks or has damaged; return how many."""

    def restore(item: tuple[str, str]) -> str | None:
        try:
            context.objects.get(*item)
        except (NotFound, Corrupt):
            try:
                return context.objects.put(folder.objects.get(*item), item[1])
            except (NotFound, Corrupt):
                return None  # a problem that the caller allowed
        return None

    items = list(read_object_list(folder, result.name, result.manifest))
    return sum(written is not None for written in run_parallel(restore, items))


def _restore_files(context: Context, folder: BackupFolder, result: RestoreResult) -> None:
    data = context.settings.data
    root: Any = UPath(data) if "://" in data else Path(data)
    for relative, file in result.manifest.files.items():
        if ".." in Path(relative).parts or Path(relative).is_absolute():
            raise Corrupt(f"the manifest names a file outside of the data folder: {relative[:80]!r}")
        path, content = root / relative, folder.read(result.name, f"files/{relative}", file)
        with translating_storage_errors(path, DATA_SETTING):
            if isinstance(path, UPath):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            else:
                make_private_folder(path.parent)
                write_private_file(path, content)
