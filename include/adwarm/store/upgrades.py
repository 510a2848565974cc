"""Brings a database to the schema of this code: an empty one gets its tables, an older one the migrations it lacks.

- **Revisions.** The newest migration names the schema. Before the first release there is none; then a fingerprint of
  the tables does, and a database with another one starts anew.
- **One at a time.** All is one transaction, which keeps other upgrades out; the others wait and find it done. When it
  is killed, nothing has changed.
- **Short locks.** On PostgreSQL it waits at most `LOCK_SECONDS` for a lock. Then it gives up, lets those pass that
  queued behind it, and tries again.
"""

import logging
import re
import threading
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, MetaData, PrimaryKeyConstraint, String, Table, inspect, select

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import Transient
from adwarm.store.database import write_transaction

VERSION_TABLE = "adwarm_alembic"
FOLDER = Path(__file__).parent / "migrations"
LOCK_SECONDS = 3
"""How long an upgrade waits for a lock, and so how long others wait behind it."""
LOCK_ATTEMPTS = 40
UNRELEASED = "unreleased-"
"""The beginning of the revisions of schemas that no release has."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0
_ADVISORY_LOCK = 7230115
_BOUNDS = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout"
_LOCK_CODES = {"55P03", "40P01"}
"""PostgreSQL: the timeout of a lock, and a deadlock."""
_REVISION = re.compile(r'^(down_)?revision\b[^=]*= "([\w.]+)"', re.MULTILINE)
_version = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)
"""The table of alembic, as it creates it."""
_migrating = threading.Lock()
"""alembic keeps the context of a run in globals of its module, so one thread of a process runs it at a time."""
logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)  # it logs every time a context is configured
log = logging.getLogger(__name__)


def read_revision(connection: Connection) -> str | None:
    """Return the revision of the database, or None when it has no schema yet."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.execute(select(_version.c.version_num)).scalar_one_or_none()
    return revision


def list_revisions(metadata: MetaData) -> list[str]:
    """Return the revisions that this code knows, the newest one last.

    They come from the text of the migrations: importing alembic takes long.

    Args:
        metadata: the tables of this code, whose fingerprint is the only revision while there is no migration.
    """
    texts = [path.read_text("utf-8") for path in sorted((FOLDER / "versions").glob("*.py"))]
    names = [match for text in texts for match in _REVISION.findall(text)]
    before = {name for is_before, name in names if is_before}
    revisions = [name for is_before, name in names if not is_before]
    return sorted(revisions, key=lambda name: name not in before) or [UNRELEASED + _fingerprint(metadata)]


@cache
def _fingerprint(metadata: MetaData) -> str:
    """Return what differs between two schemas, in 12 characters."""
    facts = [
        (
            name,
            [
                (c.name, type(c.type).__name__, getattr(c.type, "length", None), c.nullable, c.primary_key, _default(c))
                for c in table.columns
            ],
            sorted((type(k).__name__, str(k.name), str(getattr(k, "sqltext", ""))) for k in table.constraints),
            sorted((str(i.name), i.columns.keys(), i.unique, _condition(i)) for i in table.indexes),
        )
        for name, table in sorted(metadata.tables.items())
    ]
    return sha256(repr(facts).encode()).hexdigest()[:12]


def _default(column: Any) -> str:
    return "" if column.server_default is None else str(column.server_default.arg)


def _condition(index: Any) -> str:
    return str(index.dialect_options["sqlite"].get("where"))


def create_tables(connection: Connection, metadata: MetaData) -> None:
    """Create the tables of this code, and record its revision."""
    metadata.create_all(connection)
    _version.create(connection, checkfirst=True)
    connection.execute(_version.insert().values(version_num=list_revisions(metadata)[-1]))


def run_migrations(connection: Connection) -> None:
    """Run the migrations that the database lacks, in the transaction of `connection`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _migrating:
        command.upgrade(config, "head")


def run_alone(engine: Engine, change: Callable[[Connection], None], clock: Clock) -> None:
    """Run `change` in a transaction while no other process changes the schema; where a lock times out, try again.

    Raises:
        Transient: the schema, or a table, was in use for minutes; nothing has changed.
    """
    pause = _FIRST_PAUSE_SECONDS
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            with write_transaction(engine) as connection:
                if engine.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"{_BOUNDS} = '{LOCK_SECONDS}s'")
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
                change(connection)
        except Transient as error:
            if error.code not in _LOCK_CODES or attempt == LOCK_ATTEMPTS:
                raise
            log.info("the schema or a table is in use; the upgrade is tried again in %.1f s", pause)
        else:
            return
        clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
