"""Builds a source from a connection to a database or a folder into which another tool loads insights rows."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException
from sqlalchemy import Engine

from adwarm.foundation.errors import BadRequest
from adwarm.settings import Settings
from adwarm.sources.factory import table_options
from adwarm.sources.protocol import InsightsSource
from adwarm.sources.tabular import TableOptions

FOLDER_TYPES = frozenset({"fs"})
_OPTION_BY_EXTRA = {
    "adwarm_layout": "layout",
    "adwarm_level": "level",
    "adwarm_columns": "columns",
    "adwarm_constants": "constants",
    "adwarm_zone": "data_zone",
    "adwarm_day_zone": "day_zone",
    "adwarm_currency": "currency",
}
_MAPPING_EXTRAS = frozenset({"adwarm_columns", "adwarm_constants"})


def table_source_factory(settings: Settings, connection: Connection, conn_id: str) -> Callable[[], InsightsSource]:
    """Return a factory of the source behind a connection that is not the ad platform's.

    A connection of type `fs` is a folder of Parquet files (`path` in its extra); any other is a database, reached
    through the SQLAlchemy engine of its provider's hook. Its extra may set the loader that wrote the table
    (`adwarm_layout`), the table (`adwarm_table`), the level of a row (`adwarm_level`), columns with other names
    (`adwarm_columns`), ids that no column holds (`adwarm_constants`, for the account also `account_id`), the zone of
    its days (`adwarm_zone`, of timestamps `adwarm_day_zone`) and the currency (`adwarm_currency`). The settings of the
    source apply to everything else.

    Raises:
        BadRequest: the connection has no path, or its provider has no SQLAlchemy engine; the message says what to do.
    """
    options = _source_options(settings, connection.extra_dejson, conn_id)
    if connection.conn_type in FOLDER_TYPES:
        return _parquet_source_factory(connection, conn_id, options)
    from adwarm.sources.sql import SqlSource

    engine = _sqlalchemy_engine(connection, conn_id)
    table = connection.extra_dejson.get("adwarm_table")
    layout_is_own = "adwarm_layout" in connection.extra_dejson
    name, limit = table or (None if layout_is_own else settings.source.table), settings.source.call_timeout
    return lambda: SqlSource(engine, name, options, call_timeout=limit)


def _source_options(settings: Settings, extra: Mapping[str, Any], conn_id: str) -> TableOptions:
    options = table_options(settings, conn_id)
    changes: dict[str, Any] = {}
    for name, option in _OPTION_BY_EXTRA.items():
        value = extra.get(name)
        if value:
            changes[option] = _validate_mapping(name, value, conn_id) if name in _MAPPING_EXTRAS else str(value)
    if extra.get("account_id"):
        constants = changes.get("constants", options.constants)
        changes["constants"] = {"account_id": str(extra["account_id"]), **constants}
    return replace(options, **changes)


def _parquet_source_factory(
    connection: Connection, conn_id: str, options: TableOptions
) -> Callable[[], InsightsSource]:
    from adwarm.sources.parquet import ParquetSource

    path = connection.extra_dejson.get("path")
    if not path:
        raise BadRequest(f"connection {conn_id!r} has no path in its extra; add the folder or URL of the Parquet files")
    return lambda: ParquetSource(str(path), options)


def _sqlalchemy_engine(connection: Connection, conn_id: str) -> Engine:
    try:
        hook = connection.get_hook()
    except (AirflowException, ImportError) as error:
        raise BadRequest(
            f"connection {conn_id!r} is of type {connection.conn_type!r}, whose provider is not installed"
        ) from error
    if not hasattr(hook, "get_sqlalchemy_engine"):
        raise BadRequest(
            f"connection {conn_id!r} is of type {connection.conn_type!r}, which is not a database; use "
            "an adwarm_meta, a database or an fs connection"
        )
    engine: Engine = hook.get_sqlalchemy_engine()
    return engine


def _validate_mapping(name: str, value: object, conn_id: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise BadRequest(f"connection {conn_id!r}: {name} must map insights fields to text")
    return value
