"""The checks of `adwarm doctor` on disks, rights, database and stored days."""

from pathlib import Path
from typing import TYPE_CHECKING

from adwarm.foundation.errors import Corrupt, StorageError
from adwarm.foundation.storage import (
    DATA_SETTING,
    DATABASE_SETTING,
    DiskSpace,
    describe_free_space,
    describe_storage_problem,
    measure_space,
)

if TYPE_CHECKING:
    from adwarm.runtime import Runtime

FULL_BYTES = 100_000_000
"""With less free space, a disk counts as full: one batch may need more."""
NEARLY_FULL_BYTES = 1_000_000_000
"""With less free space, a disk is worth a note."""
_DATABASE_SECONDS = 10.0
"""How long the database is searched for damage."""
_TABLES_SHOWN = 3


def check_database(runtime: "Runtime") -> str:
    """Return what the database is; a SQLite file is searched for damage, for some seconds.

    Raises:
        StorageError: the file is damaged.
    """
    from adwarm.store.schema import get_current_revision, quick_check

    engine = runtime.engine
    state = f"{engine.dialect.name}, schema up to date ({get_current_revision(engine)})"
    if engine.dialect.name != "sqlite":
        return state
    result = quick_check(engine, _DATABASE_SECONDS)
    if result.problem is not None:
        path, text = engine.url.database or "", f"the database file is damaged ({result.problem.splitlines()[-1]})"
        advice = "restore a backup; or move the file away, and run `adwarm db upgrade`"
        raise StorageError(describe_storage_problem(path, DATABASE_SETTING, text, advice))
    return f"{state}, " + ("no damage" if result.is_complete else f"no damage found in {_DATABASE_SECONDS:.0f} s")


def check_schema(runtime: "Runtime") -> str:
    """Return that the tables are those that this version needs.

    Raises:
        Corrupt: they differ.
    """
    from adwarm.store.schema import find_differences, get_head_revision

    if differences := find_differences(runtime.engine):
        raise Corrupt(f"the tables differ from schema {get_head_revision()}: {'; '.join(differences)}")
    return "each table is as this version needs it"


def check_stored_days(runtime: "Runtime") -> str:
    """Return that the folder of the stored days is there, or that nothing is stored yet.

    Raises:
        StorageError: it is gone.
    """
    from adwarm.store.schema import require_objects

    require_objects(runtime.context)
    return "no folder yet, and no day is stored" if runtime.objects.is_lost else "their folder is there"


def check_rights(runtime: "Runtime") -> str:
    """Check that this user may write to every table, without changing one.

    Raises:
        StorageError: it may not; the message names the tables.
    """
    from sqlalchemy import text

    from adwarm.store.database import read_transaction, write_transaction
    from adwarm.store.tables import metadata

    if runtime.engine.dialect.name == "sqlite":
        with write_transaction(runtime.engine):  # takes the write lock, which a read-only file refuses
            return "the file can be written"
    query = text("SELECT has_table_privilege(:name, 'INSERT, UPDATE, DELETE') AND has_table_privilege(:name, 'SELECT')")
    with read_transaction(runtime.engine) as connection:
        if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
            raise StorageError("PostgreSQL is read-only (a standby); connect to the primary")
        names = [name for name in sorted(metadata.tables) if not connection.execute(query, {"name": name}).scalar_one()]
        role = connection.execute(text("SELECT current_user")).scalar_one()
    if names:
        tables = f"{', '.join(names[:_TABLES_SHOWN])}{' and others' if len(names) > _TABLES_SHOWN else ''}"
        raise StorageError(
            f"the role {role} may not read and write {tables}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN "
            f"SCHEMA public TO {role}"
        )
    return f"the role {role} may read and write every table"


def list_disks(runtime: "Runtime") -> dict[str, tuple[Path, str]]:
    """Return the folders that adwarm writes to, each with its setting, by name; one on the same disk is left out."""
    from sqlalchemy import make_url

    settings = runtime.settings
    folders: dict[str, tuple[Path, str]] = {}
    if "://" not in settings.data:
        folders["disk of the objects"] = Path(settings.data), DATA_SETTING
    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        folders["disk of the database"] = Path(url.database).absolute().parent, DATABASE_SETTING
    return folders


def check_disk(path: Path, setting: str) -> tuple[str, bool]:
    """Return how much space is free, and whether that is worth a note.

    Raises:
        StorageError: the disk is full or read-only, or does not say how much is free.
    """
    space = measure_space(path)
    if space is None:
        raise StorageError(f"{setting}: {path}: how much space is free cannot be read; check the disk and the rights")
    if problem := _find_problem(space):
        raise StorageError(describe_storage_problem(path, setting, *problem))
    is_low = space.free < NEARLY_FULL_BYTES
    return f"{path}: {describe_free_space(path)}" + ("; free some soon" if is_low else ""), is_low


def _find_problem(space: DiskSpace) -> tuple[str, str] | None:
    if space.is_read_only:
        return "the file system is read-only", "mount it for writing"
    if space.free < FULL_BYTES:
        return f"the disk is full: less than {FULL_BYTES / 1e6:.0f} MB are free", "free some space, or move it"
    if not space.has_names:
        return "the disk has no room for further files", "delete some files, or move it"
    return None
