"""Creates, upgrades, checks and resets the schema, and says whether database and objects can be used.

Older code does not run on a newer schema: everything stops for an upgrade.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, MetaData, func, inspect, select, table
from sqlalchemy.exc import OperationalError, ProgrammingError

from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import BadRequest, StorageError
from adwarm.foundation.storage import DATA_SETTING, describe_storage_problem
from adwarm.store.database import read_transaction
from adwarm.store.objects import Context
from adwarm.store.partitions import table as partition
from adwarm.store.tables import metadata
from adwarm.store.upgrades import (
    UNRELEASED,
    VERSION_TABLE,
    create_tables,
    list_revisions,
    read_revision,
    run_alone,
    run_migrations,
)

_ANEW = "delete all that is stored and start anew with `adwarm db reset --yes`"
_STEPS = 1_000
"""Instructions of SQLite's machine between two looks at the time."""


def upgrade(engine: Engine, clock: Clock | None = None) -> str:
    """Bring the database to the schema of this code and return its revision. Does nothing when it has it.

    Threads and processes may call this at the same time: one upgrades, the others wait and find it done. When a process
    is killed meanwhile, nothing has changed.

    Raises:
        BadRequest: this code has no migration from the database's schema; the message says what to do.
        Transient: on PostgreSQL, a table was in use for minutes; nothing has changed.
    """
    if needs_upgrade(engine):
        run_alone(engine, _bring_up, clock or SystemClock())
    return get_head_revision()


def _bring_up(connection: Connection) -> None:
    revision = read_revision(connection)
    if revision == get_head_revision():
        return
    _check_upgradable(connection, revision)
    if revision is None:
        create_tables(connection, metadata)
    else:
        run_migrations(connection)


def find_differences(engine: Engine) -> list[str]:
    """Compare the tables of the database with those of this code, and return each difference as text.

    Checks tables, columns, their types and whether they may be NULL, indexes, and constraints.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    options = {"version_table": VERSION_TABLE, "compare_type": True, "include_name": _is_own}
    with read_transaction(engine) as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    return [_describe(difference) for difference in differences]


def get_head_revision() -> str:
    """Return the newest revision of this code."""
    return list_revisions(metadata)[-1]


def get_current_revision(engine: Engine) -> str | None:
    """Return the revision of the database, or None when it has no schema yet."""
    with read_transaction(engine) as connection:
        return read_revision(connection)


def require_current(engine: Engine) -> None:
    """Check that the database has the schema of this code.

    Raises:
        BadRequest: it has not; the message says what to do.
    """
    with read_transaction(engine) as connection:
        revision, needed = read_revision(connection), get_head_revision()
        if revision == needed:
            return
        _check_upgradable(connection, revision)
    raise BadRequest(
        f"the database is at schema {revision or 'none'}, this code needs {needed}; run `adwarm db upgrade`"
    )


def needs_upgrade(engine: Engine) -> bool:
    """Return whether the database has another schema than this code."""
    return get_current_revision(engine) != get_head_revision()


def _is_own(name: str | None, kind: str, _parents: Any) -> bool:
    return kind != "table" or name in metadata.tables


def _describe(difference: Any) -> str:
    """Return a difference of alembic as text: a tuple, or a list of tuples about one column."""
    if isinstance(difference, list):
        return "; ".join(_describe(item) for item in difference)
    action, *rest = difference
    parts = [str(getattr(item, "name", item)) for item in rest if item is not None and not isinstance(item, dict)]
    return f"{action.replace('_', ' ')}: {' '.join(parts)}"


def reset(engine: Engine) -> str:
    """Drop every table of this version with its rows, create them anew, and return the revision.

    Other tables of the database are left alone; `count_other_rows` names them. Objects that no row names any more are
    deleted by maintenance.
    """

    def start_anew(connection: Connection) -> None:
        existing = MetaData()
        existing.reflect(connection, only=_list_existing_tables(connection, VERSION_TABLE))
        existing.drop_all(connection)
        create_tables(connection, metadata)

    run_alone(engine, start_anew, SystemClock())
    return get_head_revision()


def count_other_rows(engine: Engine) -> dict[str, int | None]:
    """Return the tables that are not of this version, of an earlier one or of others, with their rows.

    None stands for a table that this user may not read.
    """
    with read_transaction(engine) as connection:
        names = sorted(set(inspect(connection).get_table_names()) - {*metadata.tables, VERSION_TABLE})
    return {name: _count_rows(engine, name) for name in names}


def _count_rows(engine: Engine, name: str) -> int | None:
    try:
        with read_transaction(engine) as connection:
            return int(connection.execute(select(func.count()).select_from(table(name))).scalar_one())
    except ProgrammingError:
        return None


def _list_existing_tables(connection: Connection, *further: str) -> list[str]:
    """Return the names of adwarm's tables, and of `further` ones, that the database has."""
    return sorted({*metadata.tables, *further} & set(inspect(connection).get_table_names()))


def _check_upgradable(connection: Connection, revision: str | None) -> None:
    names = _list_existing_tables(connection) if revision is None else []
    if names:
        raise BadRequest(
            f"the database has tables of adwarm, such as {names[0]}, and does not say of which version; restore a "
            f"backup, or {_ANEW}"
        )
    if revision is None or revision in list_revisions(metadata):
        return
    if revision.startswith(UNRELEASED) or revision.isdecimal():  # the first ones were numbers
        raise BadRequest(
            f"the database has schema {revision} of an unreleased version, which cannot be upgraded; {_ANEW}"
        )
    raise BadRequest(f"the database has schema {revision}, made by a newer adwarm; upgrade this installation")


def require_objects(context: Context) -> None:
    """Check that the folder of the objects is there while the database has days in it; behind a URL, nothing is read.

    Raises:
        StorageError: it is gone.
    """
    path = context.objects.local_path
    if path is None or not context.objects.is_lost:
        return
    with read_transaction(context.engine) as connection:
        is_used = connection.execute(select(partition.c.account_id).limit(1)).first() is not None
    if is_used:
        text, advice = "the folder of the stored days is gone", "mount it, or restore a backup"
        raise StorageError(describe_storage_problem(path, DATA_SETTING, text, advice), code="objects_gone")


class QuickCheck(NamedTuple):
    """The result of a check: the first problem, None without one, and whether all of the file was looked at."""

    problem: str | None
    is_complete: bool


def quick_check(engine: Engine, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> QuickCheck:
    """Look for damaged pages in the SQLite file of an engine, for at most about `seconds`.

    Raises:
        StorageError: the file is so damaged that it cannot be read.
        Transient: it cannot be reached.
    """
    end = monotonic() + seconds
    with read_transaction(engine) as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.set_progress_handler(lambda: monotonic() > end, _STEPS)
        try:
            answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
                raise
            return QuickCheck(None, is_complete=False)
        finally:
            raw.set_progress_handler(None, 0)
    return QuickCheck(None if answer == "ok" else str(answer), is_complete=True)
