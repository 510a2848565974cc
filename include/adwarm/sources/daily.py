"""The rows of a table, one per object and day: converted to the platform's form, deduplicated by load, and summed.

Sums use the figures as the table holds them, not the rounded ones of the converted rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from adwarm.foundation.errors import BadRequest, Corrupt
from adwarm.model import QuerySpec, Row, Window, check_account_id, spell_account_id
from adwarm.sources.formats import (
    ADDITIVE_FIELDS,
    compute_ratios,
    format_day,
    format_field,
    format_id,
    is_absent,
    parse_decimal,
)
from adwarm.sources.units import LEVELS
from adwarm_client.report_fields import TEXT_SUFFIXES

_MICROS = 1_000_000
_NOT_TOTALS = frozenset({"reach", "frequency", "cpp"})


@dataclass(frozen=True, slots=True)
class TableFormat:
    """How the rows of a table are read.

    Attributes:
        level: what a row is about; ids and names of objects below it are left out.
        columns: the table's column for each requested field.
        constants: fields that every row has and the table has no column for.
        day_zone: zone in which times with a zone are turned into days.
        null_as_zero: fields whose null is a zero.
        added: a second column whose figure is added to a field's own.
        segments: columns that divide an object's day into rows that add up.
        platform_column: the column whose value is the first part of the account's id.
        load_column: the column by which a newer load is known.
        deletion_columns: columns that mark a deleted row.
        breakdown_columns: columns that may divide an object's day.
    """

    level: str
    columns: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    day_zone: str = "UTC"
    null_as_zero: frozenset[str] = frozenset()
    added: Mapping[str, str] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    platform_column: str | None = None
    load_column: str | None = None
    deletion_columns: tuple[str, ...] = ()
    breakdown_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DailyRow:
    """One row in the platform's form, with its exact figures and the values that tell it from duplicates."""

    row: Row
    figures: dict[str, Decimal]
    load_marker: Any = None
    breakdown: tuple[Any, ...] = ()
    segment: tuple[Any, ...] = ()

    @property
    def has_delivery(self) -> bool:
        """Whether any figure is above zero: a row of zeros means no delivery, like a missing row."""
        return "impressions" not in self.figures or any(self.figures.values())


def fields_below(level: str) -> frozenset[str]:
    """Return the fields with ids and names of objects below a level, which a row of the level cannot have."""
    deeper = LEVELS[LEVELS.index(level) + 1 :]
    return frozenset(f"{name}{part}" for name in deeper for part in ("_id", "_name"))


def read_daily_rows(raw_rows: Iterable[Mapping[str, Any]], table_format: TableFormat) -> list[DailyRow]:
    """Return the rows of a table in the platform's form, without deleted ones.

    Raises:
        BadRequest: a value does not fit its field, or a row covers more than a day; the message says which.
        Corrupt: a row has no id of its level, or a figure is not finite.
    """
    return [
        _read_row(raw, table_format)
        for raw in raw_rows
        if all(is_absent(raw[name]) or not raw[name] for name in table_format.deletion_columns)
    ]


def _read_row(raw: Mapping[str, Any], table_format: TableFormat) -> DailyRow:
    row: Row = dict(table_format.constants)
    figures: dict[str, Decimal] = {}
    for name, column in table_format.columns.items():
        value = raw[column]
        if is_absent(value) and name in table_format.null_as_zero:
            value = 0
        if name in ADDITIVE_FIELDS and not is_absent(value):
            value = figures[name] = _read_figure(raw, name, value, table_format)
        if name.endswith("_id"):
            text = None if is_absent(value) or value == f"no_{name}" else format_id(value)
        else:
            text = format_field(name, value)
        if text is not None:
            row[name] = text
    row["date_start"] = day = format_day(raw[table_format.columns["date_start"]], table_format.day_zone)
    _check_one_day(raw, table_format, day)
    row["date_stop"] = day
    if f"{table_format.level}_id" not in row:
        raise Corrupt(
            f"{table_format.level}_id is missing in a row of {day}; if the table holds rows by another level than "
            f"{table_format.level}, set ADWARM_SOURCE__LEVEL, or adwarm_level in the connection's extra"
        )
    if table_format.platform_column:
        row["account_id"] = f"{format_id(raw[table_format.platform_column])}:{row['account_id']}"
    row["account_id"] = spell_account_id(check_account_id(row["account_id"]))[0]
    return DailyRow(
        row,
        figures,
        raw[table_format.load_column] if table_format.load_column else None,
        tuple(str(raw[name]) for name in table_format.breakdown_columns),
        tuple(str(raw[name]) for name in table_format.segments),
    )


def _read_figure(raw: Mapping[str, Any], name: str, value: Any, table_format: TableFormat) -> Decimal:
    """Return a figure with the one that is added to it; columns of millionths say so in their names."""
    figure, other = parse_decimal(name, value), raw.get(table_format.added.get(name, ""))
    if not is_absent(other):
        figure += parse_decimal(name, other)
    return figure / _MICROS if "micro" in table_format.columns[name].casefold() else figure


def _check_one_day(raw: Mapping[str, Any], table_format: TableFormat, day: str) -> None:
    stop = raw[table_format.columns["date_stop"]] if "date_stop" in table_format.columns else None
    if not is_absent(stop) and format_day(stop, table_format.day_zone) != day:
        raise BadRequest(
            f"a row covers {day} to {format_day(stop, table_format.day_zone)}; a source needs a row for each day, so "
            "have the loader write days (a time increment of 1)"
        )


def keep_newest_load(daily_rows: Iterable[DailyRow], level: str) -> list[DailyRow]:
    """Return one row per object, day and segment: of several rows the one of the newest load.

    Raises:
        BadRequest: the newest load is unknown, or the rows belong to a breakdown.
    """
    groups: dict[tuple[str, ...], list[DailyRow]] = {}
    for daily in daily_rows:
        row = daily.row
        key = row["account_id"], row[f"{level}_id"], row["date_start"], *daily.segment
        groups.setdefault(key, []).append(daily)
    return [group[0] if len(group) == 1 else _newest(group, level) for group in groups.values()]


def _newest(group: Sequence[DailyRow], level: str) -> DailyRow:
    row = group[0].row
    what = f"the table has {len(group)} rows of {level} {row[f'{level}_id']} on {row['date_start']}"
    if len({daily.breakdown for daily in group}) > 1:
        raise BadRequest(f"{what}, divided by a breakdown; name a table without breakdowns, or a view that sums them")
    if any(daily.load_marker is None for daily in group):
        raise BadRequest(
            f"{what} and no column that tells the newest; name the loader's in the column map as `loaded_at`, or a "
            "view with one row for each"
        )
    last = max(load_sort_key(daily.load_marker) for daily in group)
    newest = [daily for daily in group if load_sort_key(daily.load_marker) == last]
    if any((other.row, other.figures) != (newest[0].row, newest[0].figures) for other in newest[1:]):
        raise BadRequest(f"{what}, of one load and with different figures; name a table with one row for each")
    return newest[0]


def load_sort_key(value: Any) -> tuple[int, Any]:
    """Return the sort key of a load: times by time, numbers and numeric text by value, other text as text."""
    if isinstance(value, str):
        for kind in (Decimal, datetime.fromisoformat):
            try:
                return load_sort_key(kind(value.strip()))
            except (ArithmeticError, ValueError):
                continue
        return 0, value
    if isinstance(value, datetime):
        return 2, value.replace(tzinfo=UTC) if value.tzinfo is None else value
    if isinstance(value, date):
        return 2, datetime(value.year, value.month, value.day, tzinfo=UTC)
    return 1, Decimal(str(value))


def select_fields(daily_rows: Iterable[DailyRow], spec: QuerySpec) -> list[Row]:
    """Return the daily rows with the fields of `spec`."""
    fields = _output_fields(spec)
    return [{name: value for name, value in daily.row.items() if name in fields} for daily in daily_rows]


def sum_windows(daily_rows: Iterable[DailyRow], windows: Iterable[Window], spec: QuerySpec) -> list[Row]:
    """Return one row per window and object of the level of `spec`: names as of its last day, sums, ratios of the sums.

    `reach` and `frequency` follow neither from days nor from the objects below, and are left out.

    Raises:
        BadRequest: a row has no id of an object of the level.
    """
    in_order = sorted(daily_rows, key=lambda daily: str(daily.row["date_start"]))
    return [row for window in windows for row in _totals(in_order, window, spec)]


def _totals(daily_rows: Iterable[DailyRow], window: Window, spec: QuerySpec) -> list[Row]:
    since, until, own_id = window.since.isoformat(), window.until.isoformat(), f"{spec.level}_id"
    latest: dict[str, Row] = {}
    sums: dict[str, dict[str, Decimal]] = {}
    for daily in daily_rows:
        row = daily.row
        if not since <= row["date_start"] <= until:
            continue
        if own_id not in row:
            raise BadRequest(
                f"a row of {row['date_start']} does not say its {own_id}, so days cannot be added up by {spec.level}"
            )
        latest[row[own_id]] = row
        total = sums.setdefault(row[own_id], {})
        for name, figure in daily.figures.items():
            total[name] = total.get(name, Decimal(0)) + figure
    fields = _output_fields(spec) - _NOT_TOTALS
    rows = []
    for name in sorted(latest):
        names = {key: value for key, value in latest[name].items() if key.endswith(TEXT_SUFFIXES)}
        figures = {key: format_field(key, value) for key, value in sums[name].items()}
        row = {**names, **figures, **compute_ratios(sums[name]), "date_start": since, "date_stop": until}
        rows.append({key: value for key, value in row.items() if key in fields and value is not None})
    return rows


def _output_fields(spec: QuerySpec) -> frozenset[str]:
    always = frozenset({"account_id", f"{spec.level}_id", "date_start", "date_stop"})
    return (always | set(spec.fields)) - fields_below(spec.level)
