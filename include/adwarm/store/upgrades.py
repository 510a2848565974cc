"""Brings a database to the newest schema, one migration at a time.

- **One at a time.** A file lock beside a SQLite file, and an advisory lock on PostgreSQL, let one process upgrade a
  database; the others wait, however long it takes, and find it done. Both end with their process.
- **Interrupted.** A migration and its revision are one transaction; its indexes come before it, and building them again
  is harmless. So the next upgrade completes what a killed one has left.
- **Short locks.** On PostgreSQL a migration waits at most `LOCK_SECONDS` for a table. Then it gives up, lets those pass
  that queued behind it, and tries again.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, column, inspect, select, table

from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import Transient
from adwarm.foundation.storage import DATABASE_SETTING, translating_storage_errors
from adwarm.store.database import open_connection, read_transaction
from adwarm.store.database_errors import translating_errors
from adwarm.store.migration_scripts import (
    VERSION_TABLE,
    Migration,
    is_invalid,
    list_pending,
    run_up,
)
from adwarm.store.schema_changes import save_change

LOCK_SECONDS = 3
"""How long a migration waits for a table, and so how long others wait behind it."""
LOCK_ATTEMPTS = 40
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0
_ADVISORY_LOCK = 7230115
_POLL_SECONDS = 0.25
_WAIT_SECONDS = 3_600.0
_UNLIMITED = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
_LOCK_CODES = {"55P03", "40P01"}
"""PostgreSQL: the timeout of a lock, and a deadlock."""
logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)  # it logs every time a context is configured
log = logging.getLogger(__name__)


_version = table(VERSION_TABLE, column("version_num"))
_VERBATIM: Final = {"no_parameters": True}
"""A statement may hold percent signs, which the driver would take for parameters."""


def read_revision(connection: Connection) -> str | None:
    """Return the revision of the database, or None when it has no schema yet."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.execute(select(_version.c.version_num)).scalar_one_or_none()
    return revision


def upgrade_to_newest(engine: Engine, check: Callable[[str | None], None], clock: Clock | None = None) -> None:
    """Run every migration that the database lacks. `check` raises for a revision that cannot be upgraded."""
    with read_transaction(engine) as connection:
        current = read_revision(connection)
    check(current)
    if not list_pending(current):
        return
    with _exclusive(engine, clock or SystemClock()) as steps:
        current = steps.revision()
        check(current)
        for migration in list_pending(current):
            steps.up(migration)


class _Steps:
    """Runs migrations on one connection, which holds the lock of upgrades."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._dialect = connection.dialect.name

    def revision(self) -> str | None:
        """Return the revision of the database."""
        with self._connection.begin():
            return read_revision(self._connection)

    def up(self, migration: Migration) -> None:
        """Build the indexes of a migration, then run it."""
        for index in migration.indexes:
            self._build(index.name, index.create_statement(self._dialect))

        def run(connection: Connection) -> None:
            run_up(connection, migration.revision)
            save_change(connection, migration.revision, migration.compatible_from, self._clock.now())

        self._retry(run)
        log.info("the database has schema %s", migration.revision)

    def _build(self, name: str, statement: str) -> None:
        if self._dialect == "postgresql":
            with self._connection.begin():
                invalid = is_invalid(self._connection, name)
            if invalid:  # left by an interrupted build; it is never completed, and costs every write
                quoted = self._connection.dialect.identifier_preparer.quote(name)
                self._run_alone(f"DROP INDEX CONCURRENTLY IF EXISTS {quoted}")
        self._run_alone(statement)

    def _run_alone(self, statement: str) -> None:
        """Run a statement outside of a transaction on PostgreSQL. It may take as long as the table is large."""
        if self._dialect == "sqlite":
            self._retry(lambda connection: connection.exec_driver_sql(statement, execution_options=_VERBATIM))
            return
        raw: Any = self._connection.connection.dbapi_connection
        raw.autocommit = True
        try:
            with raw.cursor() as cursor:
                # It waits for transactions that are older, and nobody waits behind it.
                cursor.execute("SET statement_timeout = 0; SET lock_timeout = 0")
                cursor.execute(statement)
        finally:
            raw.autocommit = False

    def _retry(self, run: Callable[[Connection], Any]) -> None:
        """Run a transaction; where a lock times out, let others pass and try again."""
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, LOCK_ATTEMPTS + 1):
            try:
                with translating_errors(self._connection.engine), self._connection.begin():
                    if self._dialect == "postgresql":
                        self._connection.exec_driver_sql(f"{_UNLIMITED}; SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                    run(self._connection)
            except Transient as error:
                if error.code not in _LOCK_CODES or attempt == LOCK_ATTEMPTS:
                    raise
                log.info("a table is in use; the migration is tried again in %.1f s", pause)
            else:
                return
            self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


@contextmanager
def _exclusive(engine: Engine, clock: Clock) -> Iterator[_Steps]:
    """Wait until no other process changes the schema of the database, and keep them out."""
    with _file_lock(engine), translating_errors(engine), open_connection(engine) as plain:
        connection = plain.execution_options(sqlite_begin="IMMEDIATE")
        if engine.dialect.name != "postgresql":
            yield _Steps(connection, clock)
            return
        try:
            _wait_for_advisory_lock(connection, clock)
            yield _Steps(connection, clock)
        finally:
            plain.invalidate()  # closes the session, which ends its lock and its timeouts


def _wait_for_advisory_lock(connection: Connection, clock: Clock) -> None:
    """Ask again and again: a statement that waited would hold a snapshot, for which a concurrent index waits."""
    for _ in range(int(_WAIT_SECONDS / _POLL_SECONDS)):
        with connection.begin():
            if connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})").scalar_one():
                return
        clock.sleep(_POLL_SECONDS)
    raise Transient(
        f"another process has been changing the schema for {_WAIT_SECONDS / 60:.0f} minutes; see pg_locks "
        f"(locktype advisory, objid {_ADVISORY_LOCK}) for its session"
    )


@contextmanager
def _file_lock(engine: Engine) -> Iterator[None]:
    """Hold a file lock beside a SQLite file; the system releases it when the process ends."""
    database = engine.url.database
    if engine.dialect.name != "sqlite" or not database or database == ":memory:":
        with nullcontext():
            yield
        return
    from fcntl import LOCK_EX, flock

    path = Path(f"{database}.upgrade")
    with translating_storage_errors(path, DATABASE_SETTING):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        flock(file, LOCK_EX)
        yield
    finally:
        os.close(file)
