"""The tables that well-known loaders write: their columns, how a newer load is known, and the tables beside them.

The layouts are facts about the public schemas of those tools; docs/how-to/other-sources.md names the source of each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adwarm.foundation.errors import BadRequest
from adwarm.model.breakdowns import BREAKDOWNS
from adwarm.sources.daily import DailyRow, load_sort_key
from adwarm.sources.formats import format_id, is_absent

LOADED_AT: Final = "loaded_at"
"""The name in a column map for the column by which a newer load is known."""

LOAD_MARKER_COLUMNS: Final = (
    "_fivetran_synced",
    "_airbyte_extracted_at",
    "_airbyte_emitted_at",
    "_dlt_load_id",
    "_sdc_extracted_at",
    "_sdc_batched_at",
)
"""Columns in which loaders write when, or with which load, a row came; later loads have greater values."""

DELETED_COLUMNS: Final = ("_fivetran_deleted", "_sdc_deleted_at")
"""Columns in which loaders mark a row that no longer exists at its source."""

BREAKDOWN_COLUMNS: Final = (
    *BREAKDOWNS,
    "dma",
    "comscore_market",
    "device_platform",
    "placement",
    "frequency_value",
    "place_page_id",
    "user_segment_key",
    "media_type",
    "hourly_stats_aggregated_by_audience_time_zone",
)
"""Columns of breakdowns, by which the platform divides the rows of an ad's day."""

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "account_id": ("ad_account_id",),
    "date_start": ("date", "date_day", "day", "stat_date"),
    "spend": ("cost", "amount_spent"),
    "inline_link_clicks": ("link_clicks",),
}
_VERSIONS: Final = ("updated_time", "_fivetran_synced")
_SYNCED: Final = ("_fivetran_synced",)


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A table with more fields of the objects in the rows, one row per version of an object.

    Attributes:
        row_field: the field of the rows that holds the object's id; `key` is its column in this table.
        version_columns: columns that order the versions, the most significant first; absent ones are ignored.
        fields: the fields that it supplies, with its column for each.
    """

    table: str
    row_field: str
    fields: Mapping[str, str]
    version_columns: tuple[str, ...]
    key: str = "id"


@dataclass(frozen=True, slots=True)
class LoadsTable:
    """A table that lists the loads; rows of a load that is not `completed` may be incomplete."""

    table: str
    key: str
    status: str
    completed: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """What a loader writes.

    Attributes:
        table: the table of its rows, unless the connection says otherwise.
        columns: its column for each field with a name of its own; `ALIASES` are known anyway.
        null_as_zero: fields whose null is a zero, as in the loader's own models.
        lookup_tables: tables that supply fields which the rows lack, each before those that need it.
        account_table: the table with an account's `data_zone` and `currency`.
        platform_column: the column with the platform of a row's account, which is then part of the account's id.
    """

    name: str
    table: str
    columns: Mapping[str, str] = field(default_factory=dict)
    null_as_zero: frozenset[str] = frozenset()
    lookup_tables: tuple[LookupTable, ...] = ()
    account_table: LookupTable | None = None
    loads_table: LoadsTable | None = None
    platform_column: str | None = None


LAYOUTS: Final[Mapping[str, Layout]] = {
    layout.name: layout
    for layout in (
        Layout("plain", "insights"),
        Layout(
            "fivetran",
            "facebook_ads.basic_ad",
            columns={"date_start": "date", LOADED_AT: "_fivetran_synced"},
            null_as_zero=frozenset({"inline_link_clicks"}),
            lookup_tables=(
                LookupTable(
                    "ad_history",
                    "ad_id",
                    {"adset_id": "ad_set_id", "campaign_id": "campaign_id", "ad_name": "name"},
                    _VERSIONS,
                ),
                LookupTable("ad_set_history", "adset_id", {"adset_name": "name"}, _VERSIONS),
                LookupTable("campaign_history", "campaign_id", {"campaign_name": "name"}, _VERSIONS),
                LookupTable("account_history", "account_id", {"account_name": "name"}, _SYNCED),
            ),
            account_table=LookupTable(
                "account_history",
                "account_id",
                {"data_zone": "timezone_name", "currency": "currency", "name": "name"},
                _SYNCED,
            ),
        ),
        Layout("airbyte", "ads_insights"),
        Layout(
            "ad_reporting",
            "ad_reporting__ad_report",
            columns={"adset_id": "ad_group_id", "adset_name": "ad_group_name"},
            platform_column="platform",
        ),
        Layout(
            "dlt",
            "facebook_insights",
            columns={LOADED_AT: "_dlt_load_id"},
            loads_table=LoadsTable("_dlt_loads", "load_id", "status"),
        ),
    )
}


def get_layout(name: str) -> Layout:
    """Return the layout of that name.

    Raises:
        BadRequest: there is none.
    """
    layout = LAYOUTS.get(name)
    if layout is None:
        raise BadRequest(f"layout {name[:40]!r} is not known; the layouts are {', '.join(sorted(LAYOUTS))}")
    return layout


def find_columns(present: Iterable[str], layout: Layout, overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the table's column for each field; a column with an unknown name is a field of that name.

    Case is ignored, because warehouses differ in it. `overrides` take precedence over the layout, the layout over a
    field's own name, and that over its aliases.

    Raises:
        BadRequest: a column in `overrides` does not exist.
    """
    by_name = {column.casefold(): column for column in present}
    columns = dict(by_name)
    for name, others in ALIASES.items():
        other = next((by_name[column] for column in others if column in by_name), None)
        if name not in columns and other is not None:
            columns[name] = other
    load_column = next((by_name[column] for column in LOAD_MARKER_COLUMNS if column in by_name), None)
    if load_column is not None:
        columns[LOADED_AT] = load_column
    for name, column in layout.columns.items():
        if column in by_name:
            columns[name] = by_name[column]
    for name, column in overrides.items():
        if column.casefold() not in by_name:
            raise BadRequest(f"the column map says {column!r} for {name}, and the table has no such column")
        columns[name] = by_name[column.casefold()]
    return columns


def newest_versions(rows: Iterable[Mapping[str, Any]], lookup: LookupTable) -> dict[str, dict[str, str]]:
    """Return the fields of the newest version of each object in a lookup table, by the object's id."""
    newest: dict[str, tuple[list[Any], Mapping[str, Any]]] = {}
    for row in rows:
        order = [(0, "") if is_absent(row.get(name)) else load_sort_key(row[name]) for name in lookup.version_columns]
        key = format_id(row[lookup.key])
        if key not in newest or order >= newest[key][0]:
            newest[key] = order, row
    return {
        key: {name: format_id(row[column]) for name, column in lookup.fields.items() if not is_absent(row.get(column))}
        for key, (_, row) in newest.items()
    }


def select_lookups(lookups: Sequence[LookupTable], field_names: Iterable[str]) -> list[tuple[LookupTable, list[str]]]:
    """Return the lookup tables that supply the fields, each with the fields to take from it, in reading order."""
    fields = set(field_names)
    for lookup in reversed(lookups):
        if fields & set(lookup.fields):
            fields.add(lookup.row_field)  # another table must supply the key first
    selected = [(lookup, [name for name in lookup.fields if name in fields]) for lookup in lookups]
    return [(lookup, names) for lookup, names in selected if names]


def keep_completed_loads(
    rows: Iterable[DailyRow], load_rows: Iterable[Mapping[str, Any]], loads: LoadsTable
) -> list[DailyRow]:
    """Return the rows without those of incomplete loads.

    Loads older than the first one in `load_rows` count as completed: the loader deletes old entries.
    """
    states = {load_sort_key(load[loads.key]): load.get(loads.status) for load in load_rows}
    first = min(states, default=None)
    return [
        daily
        for daily in rows
        if first is None or (order := load_sort_key(daily.load_marker)) < first or states.get(order) == loads.completed
    ]
