"""A table's rows, one per object and day: read into the platform's form, the newest load kept, and added up.

Sums are of the figures as the table holds them, not of what was rounded for a row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from adwarm.foundation.errors import BadRequest, Corrupt
from adwarm.model import QuerySpec, Row, Window, normalize_account_id
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

_NAMED = ("_id", "_name", "_currency")
_NOT_TOTALS = frozenset({"reach", "frequency", "cpp"})


@dataclass(frozen=True, slots=True)
class TableFormat:
    """How a table's rows are to be read.

    Attributes:
        level: what a row is about; ids and names of objects below it are left out.
        columns: the table's column for each field that is wanted.
        constants: fields that every row has and the table has no column for.
        day_zone: zone in which moments that carry a zone are taken as days.
        zeros: fields whose null is a zero.
        loaded: the column that tells a newer load.
        deleted: columns that mark a row as no longer there.
        breakdowns: columns that may divide an object's day further.
    """

    level: str
    columns: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    day_zone: str = "UTC"
    null_as_zero: frozenset[str] = frozenset()
    load_column: str | None = None
    deletion_columns: tuple[str, ...] = ()
    breakdown_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DailyRow:
    """One row: in the platform's form, its figures as the table holds them, and what tells it from its doubles."""

    row: Row
    figures: dict[str, Decimal]
    load_marker: Any = None
    breakdown: tuple[Any, ...] = ()

    @property
    def has_delivery(self) -> bool:
        """Whether anything happened: a row of zeros is no delivery, as one that is not there."""
        return "impressions" not in self.figures or any(self.figures.values())


def fields_below(level: str) -> frozenset[str]:
    """Return the ids and names of the objects below a level: a row of it cannot have them."""
    deeper = LEVELS[LEVELS.index(level) + 1 :]
    return frozenset(f"{name}{part}" for name in deeper for part in ("_id", "_name"))


def read_daily_rows(raw_rows: Iterable[Mapping[str, Any]], table_format: TableFormat) -> list[DailyRow]:
    """Return the rows of a table that are still there, each in the platform's form.

    Raises:
        BadRequest: a value is not of its field's kind, or a row covers more than a day; the message says which.
        Corrupt: a row has no id of its level, or a figure is not finite.
    """
    return [
        _read(raw, table_format)
        for raw in raw_rows
        if all(is_absent(raw[name]) or not raw[name] for name in table_format.deletion_columns)
    ]


def _read(raw: Mapping[str, Any], shape: TableFormat) -> DailyRow:
    row: Row = dict(shape.constants)
    figures: dict[str, Decimal] = {}
    for name, column in shape.columns.items():
        value = raw[column]
        if is_absent(value) and name in shape.null_as_zero:
            value = 0
        if name in ADDITIVE_FIELDS and not is_absent(value):
            figures[name] = parse_decimal(name, value)
        if name.endswith("_id"):
            text = None if is_absent(value) or value == f"no_{name}" else format_id(value)
        else:
            text = format_field(name, value)
        if text is not None:
            row[name] = text
    row["date_start"] = day = format_day(raw[shape.columns["date_start"]], shape.day_zone)
    _check_one_day(raw, shape, day)
    row["date_stop"] = day
    if f"{shape.level}_id" not in row:
        raise Corrupt(
            f"{shape.level}_id is missing in a row of {day}; if the table holds rows by another level than "
            f"{shape.level}, say so (ADWARM_SOURCE__LEVEL, or adwarm_level in the connection's extra)"
        )
    row["account_id"] = normalize_account_id(row["account_id"]).removeprefix("act_")
    return DailyRow(
        row,
        figures,
        raw[shape.load_column] if shape.load_column else None,
        tuple(str(raw[name]) for name in shape.breakdown_columns),
    )


def _check_one_day(raw: Mapping[str, Any], shape: TableFormat, day: str) -> None:
    stop = raw[shape.columns["date_stop"]] if "date_stop" in shape.columns else None
    if not is_absent(stop) and format_day(stop, shape.day_zone) != day:
        raise BadRequest(
            f"a row covers {day} to {format_day(stop, shape.day_zone)}; a source needs a row for each day, so have the "
            "loader write days (a time increment of 1)"
        )


def keep_newest_load(found: Iterable[DailyRow], level: str) -> list[DailyRow]:
    """Return each object's day once: of several rows the one of the newest load.

    Raises:
        BadRequest: which one is the newest cannot be told, or the rows are not doubles but parts of a breakdown.
    """
    groups: dict[tuple[str, str, str], list[DailyRow]] = {}
    for daily in found:
        row = daily.row
        groups.setdefault((row["account_id"], row[f"{level}_id"], row["date_start"]), []).append(daily)
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
    """Return what loads sort by: moments by time, numbers and texts of numbers by value, other texts as they are."""
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


def select_fields(found: Iterable[DailyRow], spec: QuerySpec) -> list[Row]:
    """Return the days as they are, with the fields that `spec` asks for."""
    keep = _output_fields(spec)
    return [{name: value for name, value in daily.row.items() if name in keep} for daily in found]


def sum_windows(found: Iterable[DailyRow], windows: Iterable[Window], spec: QuerySpec) -> list[Row]:
    """Return one row per object of the level of `spec` and window: names as of its last day, sums, ratios of the sums.

    People reached and frequency follow neither from days nor from the objects below, and are left out.

    Raises:
        BadRequest: a row does not say which object of the level it belongs to.
    """
    listed = sorted(found, key=lambda daily: str(daily.row["date_start"]))
    return [row for window in windows for row in _totals(listed, window, spec)]


def _totals(found: Iterable[DailyRow], window: Window, spec: QuerySpec) -> list[Row]:
    since, until, own_id = window.since.isoformat(), window.until.isoformat(), f"{spec.level}_id"
    latest: dict[str, Row] = {}
    sums: dict[str, dict[str, Decimal]] = {}
    for daily in found:
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
    keep = _output_fields(spec) - _NOT_TOTALS
    rows = []
    for name in sorted(latest):
        names = {field: value for field, value in latest[name].items() if field.endswith(_NAMED)}
        figures = {field: format_field(field, value) for field, value in sums[name].items()}
        row = {**names, **figures, **compute_ratios(sums[name]), "date_start": since, "date_stop": until}
        rows.append({field: value for field, value in row.items() if field in keep and value is not None})
    return rows


def _output_fields(spec: QuerySpec) -> frozenset[str]:
    always = frozenset({"account_id", f"{spec.level}_id", "date_start", "date_stop"})
    return (always | set(spec.fields)) - fields_below(spec.level)
