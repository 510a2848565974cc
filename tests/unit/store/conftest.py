"""Databases without any table."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.store.database import open_engine
from tests.unit.store.migrated_schema import make_database


@pytest.fixture
def fresh(engine: Engine, tmp_path: Path) -> Iterator[Engine]:
    """A database of its own without any table, on the same server as `engine`."""
    if engine.dialect.name == "sqlite":
        yield open_engine(f"sqlite:///{tmp_path}/fresh.db")
        return
    with make_database(engine) as made:
        yield made


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Engine]:
    """An empty PostgreSQL database; SQLite has one writer anyway, and no such rules."""
    with make_database(open_engine(postgres_url)) as made:
        yield made
