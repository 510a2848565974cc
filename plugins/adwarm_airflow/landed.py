"""Turns a connection to a database or a folder, where somebody else lands the rows of ads, into a source."""

from collections.abc import Callable
from typing import Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException

from adwarm.errors import BadRequest
from adwarm.settings import Settings
from adwarm.sources.protocol import InsightsSource

FOLDER_TYPES = frozenset({"fs"})
_EXTRAS = ("adwarm_table", "adwarm_columns", "adwarm_zone", "adwarm_currency")


def landed_factory(settings: Settings, connection: Connection, conn_id: str) -> Callable[[], InsightsSource]:
    """Return what builds the source behind a connection that is not the ad platform's own.

    A connection of type `fs` is a folder of Parquet files (`path` in its extra); any other is a database, reached by
    the engine that its provider's hook makes. Its extra may name the table (`adwarm_table`), columns that go by other
    names (`adwarm_columns`), the zone of its days (`adwarm_zone`) and the currency (`adwarm_currency`).

    Raises:
        BadRequest: the connection has no path, or its provider no SQLAlchemy engine; the message says what to do.
    """
    table, columns, zone, currency = (connection.extra_dejson.get(name) for name in _EXTRAS)
    options: dict[str, Any] = {
        "columns": _checked(columns, conn_id), "data_zone": zone or settings.default_zone, "connection": conn_id,
        **({"currency": currency} if currency else {}),
    }  # fmt: skip
    if connection.conn_type in FOLDER_TYPES:
        return _folder(connection, conn_id, options)
    from adwarm.sources.sql import SqlSource

    engine = _engine(connection, conn_id)
    return lambda: SqlSource(engine, table or settings.source.table, **options)


def _folder(connection: Connection, conn_id: str, options: dict[str, Any]) -> Callable[[], InsightsSource]:
    from adwarm.sources.parquet import ParquetSource

    path = connection.extra_dejson.get("path")
    if not path:
        raise BadRequest(f"connection {conn_id!r} has no path in its extra; add the folder or URL of the Parquet files")
    return lambda: ParquetSource(str(path), **options)


def _engine(connection: Connection, conn_id: str) -> Any:
    try:
        hook = connection.get_hook()
    except (AirflowException, ImportError) as error:
        raise BadRequest(
            f"connection {conn_id!r} is of type {connection.conn_type!r}, whose provider is not installed"
        ) from error
    if not hasattr(hook, "get_sqlalchemy_engine"):
        raise BadRequest(
            f"connection {conn_id!r} is of type {connection.conn_type!r}, which is no database; use a facebook_social, "
            "a database or an fs connection"
        )
    return hook.get_sqlalchemy_engine()


def _checked(columns: Any, conn_id: str) -> dict[str, str]:
    if columns is None:
        return {}
    if not isinstance(columns, dict) or not all(isinstance(word, str) for pair in columns.items() for word in pair):
        raise BadRequest(f"connection {conn_id!r}: adwarm_columns must map insights fields to columns of the table")
    return columns
