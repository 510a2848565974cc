"""Reads the migrations of this code, and runs one of them on a connection.

Conventions of a migration after the first; tests/unit/store/test_migration_rules.py enforces them on PostgreSQL:

- `upgrade()` runs in one transaction, together with the change of the revision. It takes locks for moments only: new
  tables; new columns that are NULL or have a constant default; no rewrite of a table, no scan of an existing one, no
  UPDATE or DELETE of its rows.
- An index on a table that exists goes into `INDEXES`, a tuple of `ConcurrentIndex`. It is built before `upgrade()`
  without blocking writers. An index on a new table is made by `upgrade()`.
- An index on a column that is added here waits for the next migration, because the indexes come first.
- `COMPATIBLE_FROM` is the oldest revision whose code also runs on this schema. A migration that only adds things names
  the revision before its own; without it, older code stops.
"""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text
from sqlalchemy.dialects import postgresql, sqlite

from adwarm.foundation.errors import BadRequest
from adwarm.store.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config


@dataclass(frozen=True)
class ConcurrentIndex:
    """An index that a migration adds to an existing table.

    Attributes:
        unique: whether two rows may not have the same values. Rows that break it fail the upgrade.
        where: the condition of a partial index, as SQL that both dialects know.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    unique: bool = False
    where: str | None = None

    def create_statement(self, dialect: str) -> str:
        """Return the statement that builds it, unless it exists; on PostgreSQL it cannot be part of a transaction.

        Args:
            dialect: `sqlite` or `postgresql`.
        """
        quote = _QUOTERS[dialect].quote
        kind = f"CREATE {'UNIQUE ' if self.unique else ''}INDEX {_CONCURRENTLY[dialect]}IF NOT EXISTS"
        columns = ", ".join(quote(column) for column in self.columns)
        condition = f" WHERE {self.where}" if self.where else ""
        return f"{kind} {quote(self.name)} ON {quote(self.table)} ({columns}){condition}"


_QUOTERS = {"sqlite": sqlite.dialect().identifier_preparer, "postgresql": postgresql.dialect().identifier_preparer}  # type: ignore[no-untyped-call]
_CONCURRENTLY = {"sqlite": "", "postgresql": "CONCURRENTLY "}


def is_invalid(connection: Connection, name: str) -> bool:
    """Return whether PostgreSQL has an index of this name that an interrupted build has left incomplete."""
    query = text(
        "SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
        "WHERE relname = :name AND pg_table_is_visible(indexrelid) AND NOT indisvalid"
    )
    return bool(connection.execute(query, {"name": name}).scalar_one())


VERSION_TABLE = "adwarm_alembic"
FOLDER = Path(__file__).parent / "migrations"
_running = threading.Lock()
"""alembic keeps the context of a run in globals of its module, so one thread of a process runs it at a time."""


@dataclass(frozen=True)
class Migration:
    """One step of the schema.

    Attributes:
        revision: the schema after the step.
        before: the schema before it; None for the first.
        indexes: indexes on existing tables, built outside of its transaction.
        compatible_from: the oldest revision whose code runs on the schema after the step.
    """

    revision: str
    before: str | None
    summary: str
    indexes: tuple[ConcurrentIndex, ...] = ()
    compatible_from: str = ""


def make_config() -> "Config":
    """Return alembic's configuration."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["metadata"] = metadata
    return config


def list_migrations(folder: Path | None = None) -> list[Migration]:
    """Return every migration of this code, the first one first."""
    return list(_read(folder or FOLDER))


_REVISION = re.compile(r'^(down_)?revision\b[^=]*= "(\w+)"', re.MULTILINE)


def read_head() -> str:
    """Return the newest revision of this code, from the text of the migrations: importing alembic takes long."""
    texts = [path.read_text("utf-8") for path in (FOLDER / "versions").glob("*.py")]
    names = [match for text in texts for match in _REVISION.findall(text)]
    [head] = {name for is_before, name in names if not is_before} - {name for is_before, name in names if is_before}
    return str(head)


@cache
def _read(folder: Path) -> tuple[Migration, ...]:
    from alembic.script import ScriptDirectory

    config = make_config()
    config.set_main_option("script_location", str(folder))
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    return tuple(reversed([_to_migration(script) for script in scripts]))


def _to_migration(script: Any) -> Migration:
    before = script.down_revision
    if before is not None and not isinstance(before, str):
        raise BadRequest(f"migration {script.revision} has several predecessors; the migrations must be one line")
    return Migration(
        script.revision,
        before,
        (script.module.__doc__ or "").strip().splitlines()[0],
        tuple(getattr(script.module, "INDEXES", ())),
        getattr(script.module, "COMPATIBLE_FROM", script.revision),
    )


def run_up(connection: Connection, revision: str) -> None:
    """Run the migrations up to `revision` in the transaction of `connection`."""
    from alembic import command

    config = make_config()
    config.attributes["connection"] = connection
    with _running:
        command.upgrade(config, revision)


def list_pending(current: str | None) -> list[Migration]:
    """Return the migrations that a database of revision `current` lacks, in their order."""
    return list(_after(current))


def _after(current: str | None) -> Iterator[Migration]:
    is_after = current is None
    for migration in list_migrations():
        if is_after:
            yield migration
        is_after = is_after or migration.revision == current
