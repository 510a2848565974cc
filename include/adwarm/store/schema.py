"""Creates and upgrades the schema by alembic; the history lives in `migrations/`."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData

from adwarm.foundation.errors import BadRequest
from adwarm.store.database import read_transaction, write_transaction

VERSION_TABLE = "adwarm_alembic"
_LOCK_TIMEOUT = "10min"
logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)  # it would speak at every look


def upgrade(engine: Engine) -> str:
    """Bring the database to the newest schema and return its revision. Does nothing when it is there already.

    Concurrent callers are safe: the second waits for the first and finds nothing left to do.
    """
    config = _config()
    with write_transaction(engine) as connection:
        if connection.dialect.name == "postgresql":
            # A migration may take as long as its tables are large, and the second caller waits for the first.
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7230115)")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return get_head_revision()


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the database back to `revision`; `base` removes every table."""
    config = _config()
    with write_transaction(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def get_head_revision() -> str:
    """Return the newest revision this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or "base"


def get_current_revision(engine: Engine) -> str | None:
    """Return the revision of the database, or None when it has no schema yet."""
    with read_transaction(engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()


def require_current(engine: Engine) -> None:
    """Check that the database has the schema this code needs.

    Raises:
        BadRequest: it has not; the message says which command brings it there.
    """
    found = get_current_revision(engine)
    if found != get_head_revision():
        raise BadRequest(
            f"the database is at schema {found or 'none'}, this code needs {get_head_revision()}; "
            "run `adwarm db upgrade`"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["metadata"] = _metadata()
    return config


def _metadata() -> MetaData:
    from adwarm.store.tables import metadata

    return metadata
