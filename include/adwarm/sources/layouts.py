"""The tables that well-known loaders write, by name: their columns, what tells a newer load, and what lies beside them.

Kept as facts about those tools' own public schemas; docs/how-to/other-sources.md says where each was read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from adwarm.foundation.errors import BadRequest
from adwarm.sources.daily import DailyRow, load_sort_key
from adwarm.sources.formats import format_id, is_absent

LayoutName = Literal["plain", "fivetran", "airbyte", "dlt"]

LOADED_AT: Final = "loaded_at"
"""The name under which a column map names the column that tells a newer load."""

LOAD_MARKER_COLUMNS: Final = (
    "_fivetran_synced",
    "_airbyte_extracted_at",
    "_airbyte_emitted_at",
    "_dlt_load_id",
    "_sdc_extracted_at",
    "_sdc_batched_at",
)
"""Columns in which loaders write when, or with which load, a row came; the later the greater."""

DELETED_COLUMNS: Final = ("_fivetran_deleted", "_sdc_deleted_at")
"""Columns in which loaders mark a row that is no longer at its source."""

BREAKDOWNS: Final = (
    "age",
    "gender",
    "country",
    "region",
    "dma",
    "impression_device",
    "device_platform",
    "publisher_platform",
    "platform_position",
    "product_id",
    "frequency_value",
    "place_page_id",
    "user_segment_key",
    "media_type",
    "hourly_stats_aggregated_by_advertiser_time_zone",
    "hourly_stats_aggregated_by_audience_time_zone",
)
"""Columns by which the platform divides the rows of an ad's day further."""

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "account_id": ("ad_account_id",),
    "date_start": ("date", "date_day", "day", "stat_date"),
    "spend": ("cost", "amount_spent"),
    "inline_link_clicks": ("link_clicks",),
}


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A table beside the rows that knows more of their objects, a row for each version of one.

    Attributes:
        of: the field of the rows that names the object; `key` is its column here.
        newest: columns that order the versions, the first one first; absent ones are passed over.
        fields: what it tells, as the rows' fields, and its columns for them.
    """

    table: str
    row_field: str
    fields: Mapping[str, str]
    version_columns: tuple[str, ...]
    key: str = "id"


@dataclass(frozen=True, slots=True)
class LoadsTable:
    """A table beside the rows that lists the loads that were completed; rows of another one may be half a load."""

    table: str
    key: str
    status: str
    completed: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """What a loader writes.

    Attributes:
        table: where its rows are, unless the connection says otherwise.
        columns: its column for a field that goes by a name of its own; the common other names are known anyway.
        zeros: fields whose null is a zero, as the loader's own models read them.
        sides: tables that supply fields which the rows do not have, each before those that need it.
        accounts: the table that tells an account's `data_zone` and `currency`.
        loads: the table of its completed loads.
    """

    name: str
    table: str
    columns: Mapping[str, str] = field(default_factory=dict)
    null_as_zero: frozenset[str] = frozenset()
    lookup_tables: tuple[LookupTable, ...] = ()
    account_table: LookupTable | None = None
    loads_table: LoadsTable | None = None


_VERSIONS: Final = ("updated_time", "_fivetran_synced")
_SYNCED: Final = ("_fivetran_synced",)

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
                "account_history", "account_id", {"data_zone": "timezone_name", "currency": "currency"}, _SYNCED
            ),
        ),
        Layout("airbyte", "ads_insights"),
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
    found = LAYOUTS.get(name)
    if found is None:
        raise BadRequest(f"layout {name[:40]!r} is not known; the layouts are {', '.join(sorted(LAYOUTS))}")
    return found


def find_columns(present: Iterable[str], layout: Layout, overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the table's column for each field; a column of no known name is a field of its own.

    Names differ in case from warehouse to warehouse, so case does not matter. What a person named wins over the layout,
    the layout over a field's own name, and that over its other names.

    Raises:
        BadRequest: a column that a person named is not there.
    """
    by_name = {column.casefold(): column for column in present}
    found = dict(by_name)
    for name, others in ALIASES.items():
        other = next((by_name[column] for column in others if column in by_name), None)
        if name not in found and other is not None:
            found[name] = other
    loaded = next((by_name[column] for column in LOAD_MARKER_COLUMNS if column in by_name), None)
    if loaded is not None:
        found[LOADED_AT] = loaded
    for name, column in layout.columns.items():
        if column in by_name:
            found[name] = by_name[column]
    for name, column in overrides.items():
        if column.casefold() not in by_name:
            raise BadRequest(f"the column map says {column!r} for {name}, and the table has no such column")
        found[name] = by_name[column.casefold()]
    return found


def newest_versions(rows: Iterable[Mapping[str, Any]], side: LookupTable) -> dict[str, dict[str, str]]:
    """Return what a side table tells of each object in its newest version, by the object's id."""
    newest: dict[str, tuple[list[Any], Mapping[str, Any]]] = {}
    for row in rows:
        order = [(0, "") if is_absent(row.get(name)) else load_sort_key(row[name]) for name in side.version_columns]
        key = format_id(row[side.key])
        if key not in newest or order >= newest[key][0]:
            newest[key] = order, row
    return {
        key: {name: format_id(row[own]) for name, own in side.fields.items() if not is_absent(row.get(own))}
        for key, (_, row) in newest.items()
    }


def select_lookups(lookups: Sequence[LookupTable], field_names: Iterable[str]) -> list[tuple[LookupTable, list[str]]]:
    """Return the side tables that supply the wanted fields, each with those it is for, in the order to ask them."""
    fields = set(field_names)
    for side in reversed(lookups):
        if fields & set(side.fields):
            fields.add(side.row_field)
    found = [(side, [name for name in side.fields if name in fields]) for side in lookups]
    return [(side, names) for side, names in found if names]


def keep_completed_loads(
    found: Iterable[DailyRow], listed: Iterable[Mapping[str, Any]], loads: LoadsTable
) -> list[DailyRow]:
    """Return the rows without those of a load that was not completed.

    A load from before the first one that is listed was struck off the list, and is trusted.
    """
    states = {load_sort_key(load[loads.key]): load.get(loads.status) for load in listed}
    first = min(states, default=None)
    return [
        daily
        for daily in found
        if first is None or (order := load_sort_key(daily.load_marker)) < first or states.get(order) == loads.completed
    ]
