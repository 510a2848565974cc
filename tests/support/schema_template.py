"""Gives an empty SQLite database the schema by copying one that was created once in this process.

Creating the tables takes many times longer than copying them, and more than a thousand tests begin with an empty
database. The tests of the schema create them for real: `SCHEMA_TESTS` names their modules.
"""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect

from adwarm.foundation.clock import Clock
from adwarm.store import schema
from adwarm.store.database import open_engine

SCHEMA_TESTS = re.compile(r"schema|upgrade|rehears|release", re.IGNORECASE)
"""Modules with such a name need real upgrades."""
_run_alone = schema.run_alone


class SchemaTemplate:
    """A SQLite database with the schema, made when it is needed first.

    Args:
        folder: where it is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "template.db"

    def run_alone(self, engine: Engine, change: Callable[[Connection], None], clock: Clock) -> None:
        """Copy the template into an empty SQLite database; change any other one."""
        if engine.dialect.name != "sqlite" or inspect(engine).get_table_names():
            _run_alone(engine, change, clock)
            return
        if not self._path.exists():
            template = open_engine(f"sqlite:///{self._path}")
            _run_alone(template, change, clock)
            template.dispose()
        pooled = engine.raw_connection()
        source = sqlite3.connect(self._path)
        try:
            source.backup(pooled.driver_connection)  # type: ignore[arg-type]
        finally:
            source.close()
            pooled.close()
