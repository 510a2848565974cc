"""Creates, upgrades, exports and resets the schema; the migrations live in `migrations/`."""

import base64
import logging
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, inspect, text

from adwarm.foundation.errors import BadRequest
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.tables import metadata

VERSION_TABLE = "adwarm_alembic"
_UNBOUNDED = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; "
    "SET LOCAL lock_timeout = '10min'"
)
_DEVELOPMENT_REVISIONS = frozenset(f"{number:04}" for number in range(1, 13))
"""Schemas of the time before the first release. Their migrations are gone, so their databases cannot be upgraded."""
_ROWS_AT_ONCE = 1_000
logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)  # it logs every time a context is configured


def upgrade(engine: Engine) -> str:
    """Upgrade the database to the newest schema and return its revision. Does nothing when it is up to date.

    Concurrent callers are safe: the second one waits for the first.

    Raises:
        BadRequest: this code has no migration from the database's schema; the message says what to do.
    """
    config, current = _config(), get_current_revision(engine)
    _check_upgradable(current)
    if current == get_head_revision():
        return current
    with write_transaction(engine) as connection:
        if connection.dialect.name == "postgresql":
            # A migration may take as long as its tables are large, and the second caller waits for the first.
            connection.exec_driver_sql(_UNBOUNDED)
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7230115)")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return get_head_revision()


def downgrade(engine: Engine, revision: str) -> None:
    """Downgrade the database to `revision`; `base` drops every table."""
    config = _config()
    with write_transaction(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


@cache
def get_head_revision() -> str:
    """Return the newest revision of this code."""
    return ScriptDirectory.from_config(_config()).get_current_head() or "base"


def get_current_revision(engine: Engine) -> str | None:
    """Return the revision of the database, or None when it has no schema yet."""
    with read_transaction(engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()


def require_current(engine: Engine) -> None:
    """Check that the database has the schema that this code needs.

    Raises:
        BadRequest: it does not; the message names the command to run.
    """
    revision = get_current_revision(engine)
    _check_upgradable(revision)
    if revision != get_head_revision():
        raise BadRequest(
            f"the database is at schema {revision or 'none'}, this code needs {get_head_revision()}; "
            "run `adwarm db upgrade`"
        )


def export_tables(engine: Engine, folder: Path) -> dict[str, int]:
    """Write every table of the database as JSON lines, whatever its schema, and return the number of rows by table.

    Timestamps are written as the database holds them (UTC), bytes as base64.

    Args:
        folder: created if it is absent; `TABLE.jsonl` in it is overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    with read_transaction(engine) as connection:
        quote = engine.dialect.identifier_preparer.quote
        for name in _existing_tables(connection):
            rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(text(f"SELECT * FROM {quote(name)}"))  # noqa: S608 -- names of our own tables
            with (folder / f"{name}.jsonl").open("wb") as file:
                counts[name] = 0
                for row in rows.mappings():
                    file.write(orjson.dumps(dict(row), default=_plain, option=orjson.OPT_APPEND_NEWLINE))
                    counts[name] += 1
    return counts


def reset(engine: Engine) -> str:
    """Drop every table of adwarm with its rows, create the newest schema, and return its revision.

    Other tables of the database are left alone. Objects that no row names any more are deleted by maintenance.
    """
    with write_transaction(engine) as connection:
        existing = MetaData()
        existing.reflect(connection, only=_existing_tables(connection, VERSION_TABLE))
        existing.drop_all(connection)
    return upgrade(engine)


def _existing_tables(connection: Connection, *further: str) -> list[str]:
    """Return the names of adwarm's tables, and of `further` ones, that the database has."""
    return sorted({*metadata.tables, *further} & set(inspect(connection).get_table_names()))


def _plain(value: Any) -> str:
    """Return what JSON has no type for: bytes as base64, the rest as text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else str(value)


@cache
def _known_revisions() -> frozenset[str]:
    """Return every revision of this code; its migrations do not change while it runs."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _check_upgradable(revision: str | None) -> None:
    if revision is None or revision in _known_revisions():
        return
    if revision in _DEVELOPMENT_REVISIONS:
        raise BadRequest(
            f"the database has schema {revision} of a development version, which cannot be upgraded; save what you "
            "want to keep with `adwarm db export FOLDER`, then empty it with `adwarm db reset --yes`"
        )
    raise BadRequest(f"the database has schema {revision}, made by a newer adwarm; upgrade this installation")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["metadata"] = metadata
    return config
