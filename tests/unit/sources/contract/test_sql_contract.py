"""The contract of sources, on tables of SQLite and of PostgreSQL with several types of columns."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, StatementError

from adwarm.model import Row
from adwarm.sources.sql import SqlSource
from adwarm.sources.tabular import TableOptions
from adwarm.testing import CannotHold, SourceContract, UpstreamData, UpstreamFailure, sample_data
from tests.support.proxy import FaultProxy, NetworkFaults

ZONE = "Europe/Berlin"
FIGURES = ("impressions", "reach", "clicks", "inline_link_clicks", "spend")


class SqlContract(SourceContract):
    """The contract on one table; a subclass chooses the database and the types of its columns."""

    types: ClassVar[dict[str, str]] = {}
    day_type = "date"
    options = TableOptions(data_zone=ZONE, currency="EUR")
    url: str
    admin: Engine

    def make_source(self) -> SqlSource:
        """Return a source over the table."""
        return SqlSource(self.url, self.table, self.options)

    def make_source_with_time_limit(self) -> SqlSource:
        """Return a source whose queries may take one second."""
        return SqlSource(self.url, self.table, self.options, call_timeout=1)

    table = "contract_ads"

    def data(self) -> UpstreamData:
        """Return the sample rows; a table has one zone and one currency."""
        sample = sample_data()
        accounts = (replace(item, data_zone=ZONE, reader_zone=ZONE, currency="EUR") for item in sample.accounts)
        return replace(sample, accounts=tuple(accounts))

    def load(self, admin: Engine) -> None:
        """Create the table, and load the sample rows."""
        data = self.data()
        types = {name: self.types.get(name, "text") for name in data.fields} | {"date_start": self.day_type}
        with admin.begin() as connection:
            connection.execute(text(f"DROP TABLE IF EXISTS {self.table}"))
            columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
            connection.execute(text(f"CREATE TABLE {self.table} ({columns})"))
            names, values = ", ".join(types), ", ".join(f":{name}" for name in types)
            connection.execute(
                text(f"INSERT INTO {self.table} ({names}) VALUES ({values})"),
                [self._typed(row, types) for row in (*data.daily_rows, *data.zero_rows)],
            )

    def _typed(self, row: Row, types: dict[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, kind in types.items():
            value = row[name]
            values[name] = int(value) if kind == "bigint" else float(value) if "double" in kind else value
        return values

    @contextmanager
    def replace_value(self, row: Row, field: str, value: Any) -> Iterator[None]:
        """Update the row, by what identifies it."""
        if value == "NaN" and self.types.get(field, "text") != "text" and self.admin.dialect.name != "sqlite":
            raise CannotHold("the database would read it as a number")
        where = "ad_id = :ad AND campaign_id = :campaign AND spend = :spend"
        names = {"ad": "ad_id", "campaign": "campaign_id", "spend": "spend"}
        typed = self._typed(row, {name: self.types.get(name, "text") for name in names.values()})
        key = {short: typed[name] for short, name in names.items()}
        with self.admin.begin() as connection:
            before = connection.execute(text(f"SELECT * FROM {self.table} WHERE {where}"), key).mappings().all()
        assert len(before) == 1
        if self.types.get(field, "text") == "text" and value is not None and self.admin.dialect.name != "sqlite":
            value = str(value)
        try:
            with self.admin.begin() as connection:
                update = text(f"UPDATE {self.table} SET {field} = :value WHERE {where}")
                assert connection.execute(update, {"value": value, **key}).rowcount == 1
        except (DBAPIError, StatementError) as error:
            raise CannotHold(str(error)) from error
        yield
        self.load(self.admin)

    @contextmanager
    def fail_upstream(self, failure: UpstreamFailure, account_id: str) -> Iterator[None]:
        """Rename the table or a column, or lock the table."""
        changes = {
            UpstreamFailure.ABSENT: (f"{self.table} RENAME TO gone", f"gone RENAME TO {self.table}"),
            UpstreamFailure.DAMAGED: (
                f"{self.table} RENAME COLUMN ad_id TO lost",
                f"{self.table} RENAME COLUMN lost TO ad_id",
            ),
        }
        if failure in changes:
            for number, change in enumerate(changes[failure]):
                with self.admin.begin() as connection:
                    connection.execute(text(f"ALTER TABLE {change}"))
                if not number:
                    yield
            return
        with self.locked() if failure is UpstreamFailure.HANGS else self.disconnected():
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the table for every reader."""
        with self.admin.connect() as connection:
            lock = "BEGIN EXCLUSIVE" if self.admin.dialect.name == "sqlite" else f"LOCK TABLE {self.table}"
            connection.exec_driver_sql(lock)
            yield
            connection.rollback()

    @contextmanager
    def disconnected(self) -> Iterator[None]:
        """Cut every connection to the database."""
        raise NotImplementedError
        yield


class TestSqlite(SqlContract):
    """A table of SQLite, whose columns hold values of any type."""

    types: ClassVar = {**dict.fromkeys(FIGURES[:-1], "bigint"), "spend": "double precision"}
    failures = frozenset({UpstreamFailure.HANGS, UpstreamFailure.ABSENT, UpstreamFailure.DAMAGED})

    @pytest.fixture(autouse=True)
    def _table(self, tmp_path: Path) -> Iterator[None]:
        self.url = f"sqlite:///{tmp_path}/ads.db?timeout=0.2"
        self.admin = create_engine(self.url)
        self.load(self.admin)
        yield
        self.admin.dispose()


@pytest.mark.postgres
class PostgresContract(SqlContract):
    """A table of PostgreSQL behind a proxy that can cut connections."""

    failures = frozenset({
        UpstreamFailure.HANGS,
        UpstreamFailure.ABSENT,
        UpstreamFailure.DAMAGED,
        UpstreamFailure.UNREACHABLE,
    })
    secrets = ("hush-hush-0123",)

    @pytest.fixture(autouse=True)
    def _table(self, postgres_url: str) -> Iterator[None]:
        self.admin = create_engine(postgres_url)
        self.load(self.admin)
        parts = make_url(postgres_url)
        socket = Path(str(parts.query["host"])) / ".s.PGSQL.5432"
        with FaultProxy(socket, random.Random(1)) as proxy:
            self.proxy = proxy
            own = parts.set(host="127.0.0.1", port=proxy.port, password=self.secrets[0], query={"sslmode": "disable"})
            self.url = own.render_as_string(hide_password=False)
            yield
        with self.admin.begin() as connection:
            connection.execute(text(f"DROP TABLE {self.table}"))  # the server is shared with tests of the schema
        self.admin.dispose()

    @contextmanager
    def disconnected(self) -> Iterator[None]:
        """Cut every connection at the proxy."""
        self.proxy.set_faults(NetworkFaults(loss=1.0))
        self.proxy.drop_connections()
        yield
        self.proxy.set_faults(NetworkFaults())


class TestPostgres(PostgresContract):
    """Typed columns, and days as dates."""

    types: ClassVar = {**dict.fromkeys((*FIGURES[:-1], "ad_id", "account_id"), "bigint"), "spend": "double precision"}


@pytest.mark.slow
class TestPostgresText(PostgresContract):
    """Columns of text, and days as text."""

    failures = frozenset({UpstreamFailure.ABSENT})
    day_type = "text"


@pytest.mark.slow
class TestPostgresTimes(PostgresContract):
    """Days as the midnights of Berlin, with a zone; figures without a limit of digits."""

    failures = frozenset({UpstreamFailure.DAMAGED})
    types: ClassVar = dict.fromkeys(FIGURES, "numeric")
    day_type = "timestamptz"
    options = TableOptions(data_zone=ZONE, day_zone=ZONE, currency="EUR")

    def _typed(self, row: Row, types: dict[str, str]) -> dict[str, Any]:
        values = super()._typed(row, types)
        if "date_start" in values:
            values["date_start"] = f"{date.fromisoformat(row['date_start'])} 00:00 {ZONE}"
        return values
