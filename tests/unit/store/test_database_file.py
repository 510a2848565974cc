"""The file of a SQLite database that is deleted, moved or replaced while a process has it open."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.foundation.errors import StorageError
from adwarm.store.aggregates import watermark
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.schema import require_current, upgrade

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "adwarm.db"


@pytest.fixture
def engine(path: Path) -> Engine:
    """A database that this process has open, with one row."""
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    _write(engine, "first")
    return engine


def _write(engine: Engine, name: str) -> None:
    with write_transaction(engine) as connection:
        connection.execute(watermark.insert(), {"name": name, "until": AT, "updated_at": AT})


def _names(engine: Engine) -> list[str]:
    with read_transaction(engine) as connection:
        return sorted(row.name for row in connection.execute(watermark.select()))


def test_a_deleted_file_is_neither_read_nor_written_nor_created(engine: Engine, path: Path) -> None:
    """Every transaction says that the file is gone, instead of losing what is written; nothing takes its place."""
    path.unlink()
    for use in (lambda: _names(engine), lambda: _write(engine, "lost"), lambda: require_current(engine)):
        with pytest.raises(StorageError, match="was deleted or moved away") as caught:
            use()
        assert caught.value.code == "database_gone"
    assert not path.exists()


def test_a_file_that_is_back_is_used_again(engine: Engine, path: Path, tmp_path: Path) -> None:
    """A database that was moved away and back needs no restart of the process."""
    away = tmp_path / "away.db"
    path.rename(away)
    with pytest.raises(StorageError):
        _names(engine)
    away.rename(path)
    assert _names(engine) == ["first"]


def test_a_file_that_took_its_place_is_the_database(engine: Engine, path: Path, tmp_path: Path) -> None:
    """After a restore of a backup, the process reads and writes the new file and not the deleted one."""
    engine.dispose()  # so that the copy has what is still in the write-ahead log
    shutil.copy(path, tmp_path / "backup.db")
    _write(engine, "after the backup")
    assert _names(engine) == ["after the backup", "first"]
    for name in ("adwarm.db-wal", "adwarm.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "backup.db").rename(path)
    assert _names(engine) == ["first"]
    _write(engine, "new")
    engine.dispose()
    assert _names(engine) == ["first", "new"]
