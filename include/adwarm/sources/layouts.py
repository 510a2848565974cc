"""The tables that well-known loaders write: their columns, how a newer load is known, and the tables beside them.

The layouts are facts about the public schemas of those tools; docs/how-to/other-sources.md names the source of each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adwarm.foundation.errors import BadRequest
from adwarm.model.breakdowns import BREAKDOWNS
from adwarm.sources.daily import DailyRow, load_sort_key
from adwarm.sources.formats import ADDITIVE_FIELDS, format_id, is_absent

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
_UPDATED: Final = ("updated_at", "_fivetran_synced")
_MODIFIED: Final = ("last_modified_at", "last_modified_time", "_fivetran_synced")
_SUMMED: Final = frozenset(ADDITIVE_FIELDS) - {"inline_link_clicks"}


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
        columns: its columns for each field with a name of its own, the first one that exists; none where a column of
            the field's name is something else. `ALIASES` are known anyway.
        added: a second column whose figure is added to a field's own.
        segments: columns that divide an ad's day into rows that add up.
        null_as_zero: fields whose null is a zero, as in the loader's own models.
        lookup_tables: tables that supply fields which the rows lack, each before those that need it.
        account_table: the table with an account's `data_zone` and `currency`.
        platform_column: the column with the platform of a row's account, which is then part of the account's id.
    """

    name: str
    table: str
    columns: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    added: Mapping[str, str] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
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
            "google_ads",
            "google_ads.ad_stats",
            columns={
                "account_id": "customer_id",
                "account_name": "customer_descriptive_name",
                "account_currency": "customer_currency_code",
                "adset_id": "ad_group_id",
                "adset_name": "ad_group_name",
                "ad_id": "ad_group_ad_ad_id",
                "date_start": "segments_date",
                "impressions": "metrics_impressions",
                "clicks": "metrics_clicks",
                "spend": ("cost_micros", "metrics_cost_micros"),
            },
            segments=("device", "ad_network_type", "keyword_ad_group_criterion", "segments_ad_network_type"),
            null_as_zero=_SUMMED,
            lookup_tables=(
                LookupTable("ad_history", "ad_id", {"adset_id": "ad_group_id", "ad_name": "name"}, _UPDATED),
                LookupTable("ad_group_history", "adset_id", {"adset_name": "name"}, _UPDATED),
                LookupTable("campaign_history", "campaign_id", {"campaign_name": "name"}, _UPDATED),
            ),
            account_table=LookupTable(
                "account_history",
                "account_id",
                {"data_zone": "time_zone", "currency": "currency_code", "name": "descriptive_name"},
                _UPDATED,
            ),
        ),
        Layout(
            "tiktok_ads",
            "tiktok_ads.ad_report_daily",
            columns={
                "account_id": "advertiser_id",
                "account_name": "advertiser_name",
                "adset_id": ("adgroup_id", "ad_group_id"),
                "adset_name": ("adgroup_name", "ad_group_name"),
                "date_start": ("stat_time_day", "stat_time_hour"),
                "cost_per_result": (),
            },
            segments=("stat_time_hour",),
            null_as_zero=_SUMMED,
            lookup_tables=(
                LookupTable(
                    "ad_history",
                    "ad_id",
                    {"adset_id": "adgroup_id", "campaign_id": "campaign_id", "ad_name": "ad_name"},
                    _UPDATED,
                    "ad_id",
                ),
            ),
            account_table=LookupTable(
                "advertiser", "account_id", {"data_zone": "timezone", "currency": "currency", "name": "name"}, _SYNCED
            ),
        ),
        Layout(
            "pinterest_ads",
            "pinterest_ads.pin_promotion_report",
            columns={
                "account_id": "advertiser_id",
                "account_name": "advertiser_name",
                "adset_id": "ad_group_id",
                "adset_name": "ad_group_name",
                "ad_id": "pin_promotion_id",
                "impressions": "impression_1",
                "clicks": ("clickthrough_1", "total_clickthrough"),
                "spend": "spend_in_micro_dollar",
            },
            added={"impressions": "impression_2", "clicks": "clickthrough_2"},
            null_as_zero=_SUMMED,
            lookup_tables=(
                LookupTable("pin_promotion_history", "ad_id", {"ad_name": "name"}, _VERSIONS),
                LookupTable("ad_group_history", "adset_id", {"adset_name": "name"}, _VERSIONS),
                LookupTable("campaign_history", "campaign_id", {"campaign_name": "name"}, _VERSIONS),
            ),
            account_table=LookupTable(
                "advertiser_history", "account_id", {"currency": "currency", "name": "name"}, _VERSIONS
            ),
        ),
        Layout(
            "linkedin_ads",
            "linkedin_ads.ad_analytics_by_creative",
            columns={
                "campaign_id": "campaign_group_id",
                "campaign_name": "campaign_group_name",
                "adset_id": "campaign_id",
                "adset_name": "campaign_name",
                "ad_id": ("creative_id", "pivotvalue"),
                "date_start": "start_date",
                "date_stop": "end_date",
                "spend": ("cost_in_local_currency", "costinlocalcurrency"),
            },
            null_as_zero=_SUMMED,
            lookup_tables=(
                LookupTable("creative_history", "ad_id", {"adset_id": "campaign_id"}, _MODIFIED),
                LookupTable(
                    "campaign_history",
                    "adset_id",
                    {"campaign_id": "campaign_group_id", "adset_name": "name"},
                    _MODIFIED,
                ),
                LookupTable("campaign_group_history", "campaign_id", {"campaign_name": "name"}, _MODIFIED),
            ),
            account_table=LookupTable(
                "account_history", "account_id", {"currency": "currency", "name": "name"}, _MODIFIED
            ),
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

    Case is ignored, and a dot is as good as `_`, because warehouses differ in them. `overrides` take precedence over
    the layout, the layout over a field's own name, and that over its aliases.

    Raises:
        BadRequest: a column in `overrides` does not exist.
    """
    by_name = {column.casefold().replace(".", "_"): column for column in present}
    columns = dict(by_name)
    for name, others in ALIASES.items():
        other = next((by_name[column] for column in others if column in by_name), None)
        if name not in columns and other is not None:
            columns[name] = other
    load_column = next((by_name[column] for column in LOAD_MARKER_COLUMNS if column in by_name), None)
    if load_column is not None:
        columns[LOADED_AT] = load_column
    for name, own in layout.columns.items():
        listed = (own,) if isinstance(own, str) else own
        column = next((by_name[each] for each in listed if each in by_name), None)
        if column is not None:
            columns[name] = column
        elif not listed:
            columns.pop(name, None)
    for name, column in overrides.items():
        key = column.casefold().replace(".", "_")
        if key not in by_name:
            raise BadRequest(f"the column map says {column!r} for {name}, and the table has no such column")
        columns[name] = by_name[key]
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
