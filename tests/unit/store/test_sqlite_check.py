"""Damage in a SQLite file is found, within the time that is given."""

from pathlib import Path

import pytest
from sqlalchemy import text

from adwarm.foundation.errors import StorageError
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.schema import QuickCheck, quick_check, upgrade


def _make(path: Path, rows: int = 200) -> None:
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    with write_transaction(engine) as connection:
        connection.execute(text("CREATE TABLE filler (id INTEGER PRIMARY KEY, value TEXT)"))
        connection.execute(
            text("INSERT INTO filler VALUES (:id, :value)"),
            [{"id": number, "value": "x" * 900} for number in range(rows)],
        )
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()


def test_a_whole_file_passes(tmp_path: Path) -> None:
    """All of it was looked at."""
    _make(tmp_path / "a.db")
    assert quick_check(open_engine(f"sqlite:///{tmp_path}/a.db"), 60) == QuickCheck(None, True)


def test_a_check_that_takes_too_long_ends(tmp_path: Path) -> None:
    """It says that it did not look at everything, and the connection works afterwards."""
    _make(tmp_path / "b.db", rows=20_000)
    engine = open_engine(f"sqlite:///{tmp_path}/b.db")
    times = iter(range(1_000_000))
    assert quick_check(engine, -1, lambda: float(next(times))) == QuickCheck(None, False)
    with read_transaction(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM filler")).scalar_one() == 20_000


def test_damage_is_an_error_or_a_problem(tmp_path: Path) -> None:
    """Pages of zeros in the middle of the file are noticed."""
    path = tmp_path / "c.db"
    _make(path)
    data = bytearray(path.read_bytes())
    data[-40 * 4096 : -4096] = b"\xff" * (39 * 4096)
    path.write_bytes(bytes(data))
    try:
        found = quick_check(open_engine(f"sqlite:///{path}"), 60).problem
    except StorageError as error:
        found = str(error)
    assert found


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_none_names_the_setting(tmp_path: Path, content: bytes) -> None:
    """Neither a traceback nor a text of the driver."""
    path = tmp_path / "d.db"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"^ADWARM_DATABASE_URL: .*d\.db: ") as raised:
        quick_check(open_engine(f"sqlite:///{path}"), 5)
    assert raised.value.code == "database_damaged"
