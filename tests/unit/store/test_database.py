"""Engines and transactions of both databases. Every wait ends, and its error says what to do and shows no password."""

import contextlib
import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError, StatementError

from adwarm.foundation.errors import BadRequest, StorageError, Transient
from adwarm.settings import SqlSettings
from adwarm.store import database
from adwarm.store.aggregates import watermark
from adwarm.store.database import (
    database_time,
    get_limits,
    insert_new,
    open_engine,
    read_statement,
    read_transaction,
    upsert,
    write_transaction,
)
from adwarm.store.database_errors import translate_error
from adwarm.store.schema import upgrade

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'adwarm'"
SHORT = SqlSettings(pool_size=2, lock_timeout_seconds=0.2, statement_timeout_seconds=0.5)


def _row(name: str, at: datetime = AT) -> dict[str, object]:
    return {"name": name, "until": at, "updated_at": at}


def _stored(engine: Engine) -> dict[str, datetime]:
    with read_transaction(engine) as connection:
        return {row.name: row.until for row in connection.execute(watermark.select())}


def test_a_failed_transaction_is_rolled_back(engine: Engine) -> None:
    """An error inside a transaction undoes all of it."""
    with pytest.raises(StatementError), write_transaction(engine) as connection:
        connection.execute(watermark.insert(), [_row("b"), _row("a"), _row("a")])
    assert _stored(engine) == {}


@pytest.mark.parametrize("is_raised", [True, False])
def test_a_query_that_is_not_read_to_its_end_holds_nothing(engine: Engine, is_raised: bool) -> None:
    """Whatever ends a transaction, and as long as its error or result lives: its connection sees and writes the newest.

    On SQLite an unfinished query kept its snapshot, so that the next write of the connection failed at once.
    """
    results: list[Any] = []
    with write_transaction(engine) as connection:
        upsert(connection, watermark, [_row(name) for name in "abc"])

    def read_one() -> None:
        with read_transaction(engine) as connection:
            results.append(connection.execute(watermark.select()))
            results[0].fetchone()
            if is_raised:
                raise KeyError("something else")

    with pytest.raises(KeyError) if is_raised else contextlib.nullcontext() as error:
        read_one()
    other = create_engine(engine.url)
    with other.begin() as connection:
        connection.execute(watermark.insert(), [_row("d")])
    other.dispose()
    assert sorted(_stored(engine)) == ["a", "b", "c", "d"]
    with write_transaction(engine) as connection:
        upsert(connection, watermark, [_row("e")])
    assert sorted(_stored(engine)) == ["a", "b", "c", "d", "e"]
    del error


def test_upsert_replaces_and_insert_new_does_not(engine: Engine) -> None:
    """`upsert` stores the last row of a key, `insert_new` the first; both accept no rows."""
    later = AT.replace(hour=13)
    with write_transaction(engine) as connection:
        upsert(connection, watermark, [_row("a"), _row("b")])
        upsert(connection, watermark, [_row("a", later)])
        insert_new(connection, watermark, [_row("b", later), _row("c", later)])
        upsert(connection, watermark, [])
        insert_new(connection, watermark, [])
    assert _stored(engine) == {"a": later, "b": AT, "c": later}


def test_preserved_columns_do_not_change(engine: Engine) -> None:
    """A preserved column is written once; with all columns preserved the row does not change."""
    later = AT.replace(hour=13)
    with write_transaction(engine) as connection:
        upsert(connection, watermark, [_row("a")])
        upsert(connection, watermark, [_row("a", later)], preserve=("until", "updated_at"))
    assert _stored(engine) == {"a": AT}


def test_timestamps_come_back_in_utc_and_naive_ones_are_refused(engine: Engine) -> None:
    """No datetime without a zone reaches the database."""
    with pytest.raises(Exception, match="naive"), write_transaction(engine) as connection:
        upsert(connection, watermark, [_row("a", datetime(2026, 11, 25, 12))])
    with write_transaction(engine) as connection:
        upsert(connection, watermark, [_row("a")])
    assert _stored(engine)["a"].tzinfo is UTC


def test_the_database_clock(engine: Engine) -> None:
    """Both dialects return seconds since the epoch that never decrease."""
    with read_transaction(engine) as connection:
        first, second = database_time(connection), database_time(connection)
    assert first <= second
    assert datetime.fromtimestamp(first, UTC).year >= 2024


def test_one_engine_per_url(tmp_path: Path) -> None:
    """The same URL gives the same engine."""
    url = f"sqlite:///{tmp_path}/a.db"
    assert open_engine(url) is open_engine(url)


def test_a_url_of_another_database_is_refused(subtests: pytest.Subtests) -> None:
    """The message names the setting and no password."""
    for url in ["nonsense", "mysql://root:hunter2@localhost/x"]:
        with subtests.test(url=url):
            with pytest.raises(BadRequest, match="ADWARM_DATABASE_URL") as caught:
                open_engine(url)
            assert "hunter2" not in str(caught.value)


def test_an_unreachable_server_is_a_transient_error() -> None:
    """The message contains neither URL nor password."""
    engine = open_engine("postgresql://adwarm:hunter2@127.0.0.1:1/adwarm")
    with pytest.raises(Transient, match="cannot be reached") as caught, read_transaction(engine):
        pass
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    """When the home is a file, the message names the setting."""
    (tmp_path / "home").write_text("a file")
    with pytest.raises(BadRequest, match="ADWARM_HOME"):
        open_engine(f"sqlite:///{tmp_path}/home/adwarm.db")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def hasty(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A database with short timeouts and two connections."""
    monkeypatch.setattr(database, "POOL_SECONDS", 0.2)
    url = f"sqlite:///{tmp_path}/a.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = open_engine(url, SHORT)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def server(postgres_url: str) -> Iterator[Engine]:
    """A PostgreSQL server with short timeouts."""
    engine = open_engine(postgres_url, SHORT)
    yield engine
    engine.dispose()


def _elsewhere(work: Any) -> Any:
    """Return the result of `work` in another thread, or raise its error."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(30)


def test_an_empty_pool_says_what_to_do(hasty: Engine) -> None:
    """With two connections in use, the third thread times out, and the message names the setting to raise."""
    busy, enough = threading.Barrier(3), threading.Event()

    def hold() -> None:
        with read_transaction(hasty) as connection:
            connection.execute(text("SELECT 1"))
            busy.wait(30)
            enough.wait(30)

    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(hold) for _ in range(2)]
        busy.wait(30)
        with pytest.raises(Transient, match="ADWARM_SQL__POOL_SIZE"), read_transaction(hasty):
            pass
        enough.set()
        assert [future.result(30) for future in held] == [None, None]
    with read_transaction(hasty) as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_lock_that_is_held_says_what_to_do(hasty: Engine) -> None:
    """A writer that waits for a lock times out, and the message names the setting."""
    lock = "SELECT pg_advisory_xact_lock(1)" if hasty.dialect.name == "postgresql" else "SELECT 1"

    def write() -> None:
        with write_transaction(hasty) as connection:
            connection.execute(text(lock))

    with write_transaction(hasty) as connection:
        connection.execute(text(lock))
        with pytest.raises(Transient, match="ADWARM_SQL__LOCK_TIMEOUT_SECONDS"):
            _elsewhere(write)
    write()


@pytest.mark.postgres
def test_a_long_statement_is_canceled(server: Engine) -> None:
    """The server cancels it, and the connection stays usable."""
    with (
        pytest.raises(Transient, match="ADWARM_SQL__STATEMENT_TIMEOUT_SECONDS"),
        read_transaction(server) as connection,
    ):
        connection.execute(text("SELECT pg_sleep(30)"))
    with read_transaction(server) as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


@pytest.mark.postgres
def test_a_lost_connection_is_replaced(server: Engine) -> None:
    """After a restart of the server one transaction fails with a transient error; the next one works."""

    def cut() -> None:
        with read_transaction(server) as connection:
            own = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            _elsewhere(lambda: _end_session(server, own))
            connection.execute(text("SELECT 1"))

    with pytest.raises(Transient):
        cut()
    with read_transaction(server) as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def _end_session(server: Engine, pid: int) -> None:
    with read_transaction(server) as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})


@pytest.mark.postgres
@pytest.mark.parametrize("idle_seconds", [0.0, 60.0])
def test_only_idle_connections_are_checked(
    postgres_url: str, server: Engine, monkeypatch: pytest.MonkeyPatch, idle_seconds: float
) -> None:
    """A pooled connection that the server has ended is replaced when it was idle.

    One that was in use a moment ago is not checked, which would be a round trip: its transaction fails, the next works.
    """
    monkeypatch.setattr(database, "IDLE_SECONDS", idle_seconds)
    upgrade(server)
    assert _stored(server) == {}
    with contextlib.closing(psycopg2.connect(postgres_url)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'adwarm'")
        assert cursor.fetchall()
    if idle_seconds:
        with pytest.raises(Transient):
            _stored(server)
    assert _stored(server) == {}


@pytest.mark.postgres
def test_a_statement_of_its_own_leaves_the_session_as_it_was(server: Engine) -> None:
    """After a statement that was its own transaction, the connection runs transactions, at the server's own level."""
    upgrade(server)
    with read_statement(server) as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    with pytest.raises(StatementError), write_transaction(server) as connection:
        connection.execute(watermark.insert(), [_row("undone"), _row("undone")])
    assert _stored(server) == {}
    with read_statement(server) as connection:
        driver: Any = connection.connection.dbapi_connection
        assert (driver.autocommit, driver.isolation_level) == (True, None)
    assert driver.autocommit is False


@pytest.mark.postgres
def test_a_full_server_says_what_to_do(postgres_url: str, server: Engine) -> None:
    """When the server has no connection left, the message names the setting and nothing of the URL."""
    with read_transaction(server) as connection:
        most = int(connection.execute(text("SHOW max_connections")).scalar_one())
    fresh, held = open_engine(postgres_url, SqlSettings(pool_size=1)), []
    try:
        with contextlib.suppress(psycopg2.OperationalError):
            for _ in range(most + 1):
                held.append(psycopg2.connect(postgres_url))
        with pytest.raises(Transient, match="max_connections") as caught, read_transaction(fresh):
            pass
    finally:
        for connection in held:
            connection.close()
        fresh.dispose()
    assert "@" not in str(caught.value)


def _read(url: str, threads: int, times: int, failures: Any, peak: Any) -> None:
    engine = open_engine(url)
    start = threading.Barrier(threads)

    def work() -> None:
        start.wait(60)
        for _ in range(times):
            try:
                with read_transaction(engine) as connection:
                    connection.execute(text("SELECT pg_sleep(0.001)"))
                    found = connection.execute(text(_CONNECTIONS)).scalar_one()
                    peak.value = max(peak.value, found)
            except Transient:
                with failures.get_lock():
                    failures.value += 1

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def many_readers(url: str, processes: int, threads: int, times: int) -> tuple[int, int]:
    """Return how many reads failed, and the maximum number of connections."""
    context = multiprocessing.get_context("fork")
    failures, peak = context.Value("i", 0), context.Value("i", 0)
    readers = [context.Process(target=_read, args=(url, threads, times, failures, peak)) for _ in range(processes)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(240)
    assert [reader.exitcode for reader in readers] == [0] * processes
    return failures.value, peak.value


@pytest.mark.postgres
def test_many_threads_share_few_connections(postgres_url: str) -> None:
    """Three processes with 32 threads each read without an error over four connections per process."""
    with read_transaction(open_engine(postgres_url)) as connection:
        open_before = int(connection.execute(text(_CONNECTIONS)).scalar_one())  # other tests of the session left them
    failures, peak = many_readers(postgres_url, processes=3, threads=32, times=5)

    assert failures == 0
    assert 1 <= peak <= 3 * SqlSettings().pool_size + open_before


def test_an_engine_carries_its_limits(tmp_path: Path) -> None:
    """Other limits give another engine, on a file, in memory and on a server."""
    url = f"sqlite:///{tmp_path}/a.db"

    assert get_limits(open_engine(url, SHORT)) == SHORT
    assert open_engine(url) is not open_engine(url, SHORT)
    assert get_limits(open_engine("sqlite:///:memory:", SHORT)) == SHORT
    assert get_limits(open_engine("postgresql://server/adwarm", SHORT)) == SHORT


def test_errors_contain_no_parameters(sqlite_engine: Engine) -> None:
    """Parameters may be payloads or secrets."""
    with pytest.raises(Exception, match="no_such_table") as caught, read_transaction(sqlite_engine) as connection:
        connection.execute(text("SELECT * FROM no_such_table WHERE a = :a"), {"a": "hunter2"})

    assert "hunter2" not in str(caught.value)


def test_the_sqlite_file_is_private(tmp_path: Path) -> None:
    """The file and those beside it can be read by the user alone, whatever the umask says."""
    old = os.umask(0)
    try:
        engine = open_engine(f"sqlite:///{tmp_path}/private/a.db")
        upgrade(engine)
        files = sorted((tmp_path / "private").iterdir())
        assert {path.name for path in files} >= {"a.db", "a.db-shm", "a.db-wal"}
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    finally:
        os.umask(old)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SQLITE_FULL", "disk_full"),
        ("SQLITE_READONLY_DBMOVED", "disk_read_only"),
        ("SQLITE_IOERR_WRITE", "disk_error"),
        ("SQLITE_CANTOPEN_ISDIR", "database_unopened"),
        ("SQLITE_CORRUPT_INDEX", "database_damaged"),
        ("SQLITE_NOTADB", "database_damaged"),
        ("SQLITE_PERM", "disk_denied"),
    ],
)
def test_errors_of_the_disk_of_sqlite_are_storage_errors(tmp_path: Path, name: str, code: str) -> None:
    """Whatever is wrong with the file, the message names setting, path and free space, and no text of the driver."""
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    original = sqlite3.OperationalError("secret text of the driver")
    original.sqlite_errorname = name
    text_of_all = r"^ADWARM_DATABASE_URL: .*a\.db: .* free\); "
    with pytest.raises(StorageError, match=text_of_all) as raised, read_transaction(engine):
        raise OperationalError("SELECT 1", {}, original)
    assert raised.value.code == code
    assert "secret text" not in str(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT 1", {}, sqlite3.OperationalError("Could not decode to UTF-8 column 'x' with text")),
        OperationalError("SELECT 1", {}, sqlite3.OperationalError("unsupported file format")),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
)
def test_overwritten_pages_of_sqlite_are_damage(tmp_path: Path, error: Exception) -> None:
    """Also where the error of SQLite has no name for it, or Python cannot even decode its message."""
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(StorageError, match="the database file is damaged") as raised, read_transaction(engine):
        raise error
    assert raised.value.code == "database_damaged"


def test_errors_of_the_disk_of_postgresql_are_storage_errors(subtests: pytest.Subtests) -> None:
    """A full disk, a read-only server and damaged pages say what to do."""
    for code in ["53100", "53200", "58030", "25006", "XX001", "XX002"]:
        with subtests.test(code=code):

            class DriverError(psycopg2.Error):
                pgcode = code

            engine = create_engine("postgresql+psycopg2://user@host/db")
            error = translate_error(OperationalError("SELECT 1", {}, DriverError("secret")), engine)
            assert isinstance(error, StorageError)
            assert (error.code, "secret" in str(error)) == (code, False)
