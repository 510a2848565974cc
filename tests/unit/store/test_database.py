"""One way to both databases, with errors that say what to do and repeat no password."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import StatementError

from adwarm.foundation.errors import BadRequest, Transient
from adwarm.store.database import database_time, insert_new, open_engine, read_transaction, upsert, write_transaction
from adwarm.store.tables import watermark

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


def _row(name: str, at: datetime = AT) -> dict[str, object]:
    return {"name": name, "until": at, "updated_at": at}


def _stored(engine: Engine) -> dict[str, datetime]:
    with read_transaction(engine) as connection:
        return {row.name: row.until for row in connection.execute(watermark.select())}


def test_what_fails_leaves_nothing_behind(engine: Engine) -> None:
    """A transaction that ends in an error is rolled back whole."""
    with pytest.raises(StatementError), write_transaction(engine) as connection:
        connection.execute(watermark.insert(), [_row("b"), _row("a"), _row("a")])
    assert _stored(engine) == {}


def test_upsert_replaces_and_insert_new_does_not(engine: Engine) -> None:
    """One takes the newest word, the other the first, and both take none at all."""
    later = AT.replace(hour=13)
    with write_transaction(engine) as connection:
        upsert(connection, watermark, [_row("a"), _row("b")])
        upsert(connection, watermark, [_row("a", later)])
        insert_new(connection, watermark, [_row("b", later), _row("c", later)])
        upsert(connection, watermark, [])
        insert_new(connection, watermark, [])
    assert _stored(engine) == {"a": later, "b": AT, "c": later}


def test_columns_to_keep_are_kept(engine: Engine) -> None:
    """A kept column is written once; when all are kept the row stays as it is."""
    later = AT.replace(hour=13)
    with write_transaction(engine) as connection:
        upsert(connection, watermark, [_row("a")])
        upsert(connection, watermark, [_row("a", later)], preserve=("until", "updated_at"))
    assert _stored(engine) == {"a": AT}


def test_moments_come_back_in_utc_and_naive_ones_are_refused(engine: Engine) -> None:
    """No moment without a zone reaches the database."""
    with pytest.raises(Exception, match="naive"), write_transaction(engine) as connection:
        upsert(connection, watermark, [_row("a", datetime(2026, 11, 25, 12))])
    with write_transaction(engine) as connection:
        upsert(connection, watermark, [_row("a")])
    assert _stored(engine)["a"].tzinfo is UTC


def test_the_database_tells_the_time(engine: Engine) -> None:
    """Both dialects tell seconds since the epoch, and they do not run backwards."""
    with read_transaction(engine) as connection:
        first, second = database_time(connection), database_time(connection)
    assert first <= second
    assert datetime.fromtimestamp(first, UTC).year >= 2024


def test_one_engine_per_url(tmp_path: Path) -> None:
    """The same URL gives the same engine."""
    url = f"sqlite:///{tmp_path}/a.db"
    assert open_engine(url) is open_engine(url)


@pytest.mark.parametrize("url", ["nonsense", "mysql://root:hunter2@localhost/x"])
def test_a_url_of_no_known_database_is_refused(url: str) -> None:
    """The message names the setting and repeats no password."""
    with pytest.raises(BadRequest, match="ADWARM_DATABASE_URL") as caught:
        open_engine(url)
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_not_there_is_told_in_one_line() -> None:
    """An unreachable server is a passing failure whose text holds neither URL nor password."""
    engine = open_engine("postgresql://adwarm:hunter2@127.0.0.1:1/adwarm")
    with pytest.raises(Transient, match="cannot be reached") as caught, read_transaction(engine):
        pass
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A home that is a file is refused with the setting's name."""
    (tmp_path / "home").write_text("a file")
    with pytest.raises(BadRequest, match="ADWARM_HOME"):
        open_engine(f"sqlite:///{tmp_path}/home/adwarm.db")
