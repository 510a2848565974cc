"""Gives an empty SQLite database the schema by copying one that was migrated once in this process.

Migrating takes a third of a second and copying a few milliseconds, and more than a thousand tests begin with an empty
database. The tests of migrations run them for real: `MIGRATION_TESTS` names their modules.
"""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect

from adwarm.store import schema
from adwarm.store.database import open_engine

MIGRATION_TESTS = re.compile(r"schema|migration|upgrade|downgrade|rehears|release", re.IGNORECASE)
"""Modules with such a name need real migrations."""
_migrate = schema.upgrade_to_newest


class SchemaTemplate:
    """A migrated SQLite database, made when it is needed first.

    Args:
        folder: where it is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "template.db"

    def upgrade(self, engine: Engine, check: Callable[[str | None], None], clock: Any = None) -> None:
        """Copy the template into an empty SQLite database; migrate any other one."""
        if engine.dialect.name != "sqlite" or clock is not None or inspect(engine).get_table_names():
            _migrate(engine, check, clock)
            return
        if not self._path.exists():
            template = open_engine(f"sqlite:///{self._path}")
            _migrate(template, check)
            template.dispose()
        pooled = engine.raw_connection()
        source = sqlite3.connect(self._path)
        try:
            source.backup(pooled.driver_connection)  # type: ignore[arg-type]
        finally:
            source.close()
            pooled.close()
