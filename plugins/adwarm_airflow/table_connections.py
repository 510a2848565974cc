"""Turns a connection to a database or a folder, where somebody else lands the rows of ads, into a source."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException

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
    """Return what builds the source behind a connection that is not the ad platform's own.

    A connection of type `fs` is a folder of Parquet files (`path` in its extra); any other is a database, reached by
    the engine that its provider's hook makes. Its extra may say which loader wrote the table (`adwarm_layout`), which
    one it is (`adwarm_table`), what a row is about (`adwarm_level`), the columns that go by other names
    (`adwarm_columns`), the ids that no column holds (`adwarm_constants`, for the account also `account_id`), the zone
    of its days (`adwarm_zone`, of moments `adwarm_day_zone`) and the currency (`adwarm_currency`). What it leaves out
    is as the settings of the source say.

    Raises:
        BadRequest: the connection has no path, or its provider no SQLAlchemy engine; the message says what to do.
    """
    options = _source_options(settings, connection.extra_dejson, conn_id)
    if connection.conn_type in FOLDER_TYPES:
        return _parquet_source_factory(connection, conn_id, options)
    from adwarm.sources.sql import SqlSource

    engine = _sqlalchemy_engine(connection, conn_id)
    table = connection.extra_dejson.get("adwarm_table")
    layout_is_own = "adwarm_layout" in connection.extra_dejson
    return lambda: SqlSource(engine, table or (None if layout_is_own else settings.source.table), options)


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


def _sqlalchemy_engine(connection: Connection, conn_id: str) -> Any:
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


def _validate_mapping(name: str, words: Any, conn_id: str) -> dict[str, str]:
    if not isinstance(words, dict) or not all(isinstance(word, str) for pair in words.items() for word in pair):
        raise BadRequest(f"connection {conn_id!r}: {name} must map insights fields to text")
    return words
