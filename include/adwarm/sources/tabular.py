"""Daily rows of somebody's own table as a source: what Parquet files and SQL tables have in common.

The table holds one row per object of its level and day. Columns go by the platform's names, by a few common others, by
those of a named layout or by a column map; whatever types they have, rows leave here in the platform's form: numbers as
numeric strings, ids and days as text. A report of the table's own level gets its rows, one of a level above it their
sums, and one of a level below is refused. Totals over a window add up what adds up (impressions, clicks, link clicks,
spend), work out the ratios from those sums, and leave out people reached and frequency, which do not follow from days.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone
from adwarm.model import Account, QuerySpec, Row, Scope, Window, normalize_account_id
from adwarm.model.windows import ONE_DAY
from adwarm.sources.daily import (
    DailyRow,
    TableFormat,
    fields_below,
    keep_newest_load,
    read_daily_rows,
    select_fields,
    sum_windows,
)
from adwarm.sources.formats import ADDITIVE_FIELDS, format_id, is_absent
from adwarm.sources.layouts import (
    BREAKDOWNS,
    DELETED_COLUMNS,
    LOADED_AT,
    LookupTable,
    find_columns,
    get_layout,
    keep_completed_loads,
    newest_versions,
    select_lookups,
)
from adwarm.sources.protocol import (
    AsyncReportHandle,
    AsyncReportProgress,
    Capabilities,
    FetchUnit,
    Increment,
    ResultPage,
)
from adwarm.sources.row_check import check_rows
from adwarm.sources.units import LEVELS, plan_units, split_by_time

_CONSTANT_SUFFIXES = ("_id", "_name", "_currency")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """How a table of daily rows is read.

    Attributes:
        columns: the table's column for a field whose name is neither its own nor a common other one; for `loaded_at`
            the column by which a newer load is known.
        constants: ids, names and currencies that every row has and the table has no column for, such as `account_id`.
        layout: the loader that wrote the table.
        level: what a row is about.
        data_zone: IANA zone in which the table's days are counted; by default the loader's, or `default_zone`.
        default_zone: the zone of accounts whose zone is unknown.
        day_zone: IANA zone in which times with a zone are turned into days.
        currency: of the table's money; by default that of the rows or the loader, or USD.
        connection: the name under which the accounts are stored.
        page_size: rows per page.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    layout: str = "plain"
    level: str = "ad"
    data_zone: str | None = None
    default_zone: str = "UTC"
    day_zone: str = "UTC"
    currency: str | None = None
    connection: str = "default"
    page_size: int = 5000


class TabularSource(ABC):
    """A table of daily rows. Used by one thread at a time.

    Raises:
        BadRequest: a zone, layout, level or constant of the options is invalid.
    """

    name = "table"
    credential = ""
    clock_offset_seconds: float | None = None
    capabilities = Capabilities(
        levels=frozenset(LEVELS),
        unique_metrics=frozenset(),
        max_days_per_request=400,
        max_windows_per_request=64,
        retention_days=None,
    )

    def __init__(self, options: TableOptions | None = None) -> None:
        options = options or TableOptions()
        for name in (options.data_zone or options.default_zone, options.day_zone):
            zone(name)
        if options.level not in LEVELS:
            raise BadRequest(f"level {options.level[:40]!r} is not known; a row is about one of {', '.join(LEVELS)}")
        self._options = options
        self._layout = get_layout(options.layout)
        self._constants = _validate_constants(options.constants)
        self._level = options.level
        self.connection = options.connection
        self._last_read: tuple[FetchUnit, list[Row]] | None = None
        levels = frozenset(LEVELS[: LEVELS.index(options.level) + 1])
        self.capabilities = replace(type(self).capabilities, levels=levels)

    @abstractmethod
    def _columns(self) -> Sequence[str]:
        """Return the names of the table's columns."""

    @abstractmethod
    def _distinct(self, columns: Sequence[str], account: tuple[str, str] | None = None) -> Iterable[tuple[Any, ...]]:
        """Return the distinct values of some columns; `account` is an account column and id to look at alone."""

    @abstractmethod
    def _has_account(self, account: str, column: str) -> bool:
        """Return whether there is a row of the account."""

    @abstractmethod
    def _load(
        self, account: tuple[str, str] | None, window: Window, day: str, columns: Sequence[str]
    ) -> Iterable[Mapping[str, Any]]:
        """Return the rows of the days of `window`, by the column `day`; of one account by its column, or of all."""

    def _read_other_table(
        self, table: str, columns: Sequence[str], account: tuple[str, str] | None = None
    ) -> list[Mapping[str, Any]] | None:
        """Return the rows of a table beside the own one, those of its columns that are there; None when it is not."""
        del table, columns, account
        return None

    def get_account(self, account_id: str) -> Account:
        """Return the account, with the zone and currency that the connection, the loader or the rows know.

        Raises:
            BadRequest: the table has no row of it, or none yet.
        """
        columns = self._mapping()
        fixed = self._fixed_account(columns)
        known = account_id == fixed if fixed else self._has_account(account_id, columns["account_id"])
        if not known:
            raise BadRequest(f"the table has no row of {account_id}; check the id, or wait for its first day")
        return self._account(account_id, self._account_details(account_id), self._currencies(columns, account_id))

    def list_accounts(self) -> Iterator[Account]:
        """Yield every account that has a row, in order of its id."""
        columns = self._mapping()
        fixed = self._fixed_account(columns)
        values = [(fixed,)] if fixed else self._distinct([columns["account_id"]])
        told, currencies = self._account_details(fixed), self._currencies(columns, fixed)
        for found in sorted({normalize_account_id(format_id(value)) for (value,) in values if not is_absent(value)}):
            yield self._account(found, told, currencies)

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return no scope: a table has no quota of its own."""
        del account_id
        return ()

    def plan(
        self, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec
    ) -> list[FetchUnit]:
        """Return the fewest units that cover `windows`.

        Raises:
            BadRequest: the query is at a level below the table's.
        """
        if spec.level in LEVELS and spec.level not in self.capabilities.levels:
            raise BadRequest(
                f"the table has a row for each {self._level}, which does not divide into rows by {spec.level}; ask for "
                f"{', '.join(sorted(self.capabilities.levels))}, or name a table by {spec.level}"
            )
        return plan_units(self.capabilities, account, windows, increment, spec)

    def submit(self, unit: FetchUnit) -> ResultPage | AsyncReportHandle:
        """Return the first page of the unit, read anew."""
        self._last_read = None
        return self.read(unit, None)

    def submit_async(self, unit: FetchUnit) -> AsyncReportHandle:
        """Refuse: a table answers at once.

        Raises:
            BadRequest: always.
        """
        raise BadRequest(f"a table makes no report in the background; read {unit.account_id} by `submit`")

    def poll(self, handles: Sequence[AsyncReportHandle]) -> dict[AsyncReportHandle, AsyncReportProgress]:
        """Return nothing: a table answers at once.

        Raises:
            BadRequest: a handle is given, which this source never handed out.
        """
        if handles:
            raise _unknown_handle(handles[0])
        return {}

    def read(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        """Return the page after `cursor`.

        Raises:
            BadRequest: the cursor or the table is not what it should be; the message says what is missing.
            Transient: the table cannot be read at the moment.
        """
        if isinstance(target, AsyncReportHandle):
            raise _unknown_handle(target)
        start = 0 if cursor is None else _offset(cursor)
        if self._last_read is None or self._last_read[0] != target:
            self._last_read = target, self._rows(target)
        rows = self._last_read[1]
        stop = start + self._options.page_size
        if stop >= len(rows):
            self._last_read = None
            return ResultPage(rows[start:])
        return ResultPage(rows[start:stop], str(stop))

    def split(self, unit: FetchUnit) -> list[FetchUnit]:
        """Return two halves of the unit, by its windows or by its days; nothing when neither can be halved."""
        return split_by_time(unit)

    def list_objects(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        """Refuse: a table holds rows and no objects.

        Raises:
            BadRequest: always.
        """
        del cursor
        raise BadRequest(f"a table does not list the {level}s of {unit.account_id}; ask for its rows")

    def _fixed_account(self, columns: Mapping[str, str]) -> str | None:
        """Return the account that every row belongs to, where the table has no column for it."""
        return normalize_account_id(self._constants["account_id"]) if "account_id" not in columns else None

    def _account(
        self, account: str, told: Mapping[str, Mapping[str, str]], currencies: Mapping[str, set[str]]
    ) -> Account:
        known = told.get(account.removeprefix("act_"), {})
        data_zone = self._options.data_zone or known.get("data_zone") or self._options.default_zone
        zone(data_zone)
        own = currencies.get(account, set())
        currency = self._options.currency or known.get("currency") or (next(iter(own)) if len(own) == 1 else "USD")
        return Account(account, data_zone, data_zone, currency, self.connection)

    def _account_details(self, account: str | None) -> dict[str, dict[str, str]]:
        """Return what the loader's own table of accounts tells of one account, or of all."""
        return self._versions(self._layout.account_table, account) if self._layout.account_table else {}

    def _currencies(self, columns: Mapping[str, str], account: str | None) -> dict[str, set[str]]:
        """Return the currencies in the rows of one account, or of all."""
        owner, column = columns.get("account_id"), columns.get("account_currency")
        if column is None or self._options.currency:
            return {}
        pairs = self._distinct([owner or column, column], (owner, account) if owner and account else None)
        found: dict[str, set[str]] = {}
        for value, currency in pairs:
            if not is_absent(value) and not is_absent(currency):
                found.setdefault(account or normalize_account_id(format_id(value)), set()).add(format_id(currency))
        return found

    def _mapping(self) -> dict[str, str]:
        """Return the table's column for each field.

        Raises:
            BadRequest: a column that the table needs is not there.
        """
        present = list(self._columns())
        found = find_columns(present, self._layout, self._options.columns)
        needed = dict.fromkeys(("account_id", f"{self._level}_id", "date_start"))
        missing = [name for name in needed if name not in found and name not in self._constants]
        if missing:
            columns = ", ".join(present) or "none"
            raise BadRequest(
                f"the table has no column {', '.join(missing)} among {columns}; rename it, map it, or give an id "
                "that is the same in every row as a constant"
            )
        return found

    def _shape(self, columns: Mapping[str, str], spec: QuerySpec) -> TableFormat:
        """Return how to read the rows that `spec` is about, with what tells doubles apart."""
        always = ["account_id", f"{self._level}_id", f"{spec.level}_id", "date_start", "date_stop", *ADDITIVE_FIELDS]
        wanted = [name for name in dict.fromkeys([*always, *spec.fields]) if name not in fields_below(self._level)]
        return TableFormat(
            level=self._level,
            columns={name: columns[name] for name in wanted if name in columns},
            constants={name: value for name, value in self._constants.items() if name not in columns},
            day_zone=self._options.day_zone,
            null_as_zero=self._layout.null_as_zero,
            load_column=columns.get(LOADED_AT),
            deletion_columns=tuple(columns[name] for name in DELETED_COLUMNS if name in columns),
            breakdown_columns=tuple(columns[name] for name in BREAKDOWNS if name in columns),
        )

    def _rows(self, unit: FetchUnit) -> list[Row]:
        columns = self._mapping()
        fixed = self._fixed_account(columns)
        if fixed and fixed != unit.account_id:
            raise BadRequest(f"the table is about {fixed} alone, and has no row of {unit.account_id}")
        found = keep_newest_load(self._completed(unit, self._shape(columns, unit.spec), columns), self._level)
        found = [daily for daily in found if daily.has_delivery and _is_asked(daily, unit)]
        found.sort(key=lambda daily: (daily.row["date_start"], daily.row[f"{self._level}_id"]))
        self._supply(found, unit)
        if unit.increment is Increment.RANGE:
            rows = sum_windows(found, unit.windows, unit.spec)
        elif unit.spec.level == self._level:
            rows = select_fields(found, unit.spec)
        else:
            days = dict.fromkeys(date.fromisoformat(daily.row["date_start"]) for daily in found)
            rows = sum_windows(found, (Window(day, day) for day in days), unit.spec)
        check_rows(rows, unit)
        return rows

    def _completed(self, unit: FetchUnit, shape: TableFormat, columns: Mapping[str, str]) -> list[DailyRow]:
        """Return the rows of the unit's days, of completed loads."""
        hull = Window(min(w.since for w in unit.windows), max(w.until for w in unit.windows))
        owner = columns.get("account_id")
        beside = [
            *shape.deletion_columns,
            *shape.breakdown_columns,
            *([shape.load_column] if shape.load_column else []),
        ]
        names = list(dict.fromkeys([*shape.columns.values(), *beside]))
        raws = self._load((owner, unit.account_id) if owner else None, hull, columns["date_start"], names)
        found = read_daily_rows(raws, shape)
        loads = self._layout.loads_table
        listed = self._read_other_table(loads.table, (loads.key, loads.status)) if loads and shape.load_column else None
        return keep_completed_loads(found, listed, loads) if loads and listed else found

    def _supply(self, found: Sequence[DailyRow], unit: FetchUnit) -> None:
        """Put into the rows what only the tables beside them know."""
        wanted = {*unit.spec.fields, f"{unit.spec.level}_id"} - fields_below(self._level)
        for side, fields in select_lookups(self._layout.lookup_tables, wanted):
            lacking = [daily.row for daily in found if any(name not in daily.row for name in fields)]
            versions = self._versions(side, unit.account_id) if lacking else {}
            for row in lacking:
                known = versions.get(str(row.get(side.row_field)), {})
                row.update({name: known[name] for name in fields if name in known and name not in row})

    def _versions(self, side: LookupTable, account: str | None) -> dict[str, dict[str, str]]:
        names = list(dict.fromkeys([side.key, *side.version_columns, *side.fields.values()]))
        owner = side.key if side.row_field == "account_id" else "account_id"
        return newest_versions(
            self._read_other_table(side.table, names, (owner, account) if account else None) or (), side
        )


def _validate_constants(constants: Mapping[str, str]) -> dict[str, str]:
    for name, value in constants.items():
        if not name.endswith(_CONSTANT_SUFFIXES) or not str(value).strip():
            raise BadRequest(
                f"{name[:40]!r} cannot be a constant; only ids, names and currencies that are not empty can"
            )
    if "account_id" in constants:
        normalize_account_id(str(constants["account_id"]))
    return {name: str(value).strip() for name, value in constants.items()}


def _is_asked(daily: DailyRow, unit: FetchUnit) -> bool:
    day = date.fromisoformat(daily.row["date_start"])
    return any(day in window for window in unit.windows)


def _unknown_handle(handle: AsyncReportHandle) -> BadRequest:
    return BadRequest(f"report {handle.id} is not one of this source, which answers at once")


def _offset(cursor: str) -> int:
    if not cursor.isdecimal():
        raise BadRequest(f"cursor {cursor[:40]!r} is not one that this source gave out")
    return int(cursor)


def day_bounds(kind: type, window: Window, day_zone: str | None = None) -> tuple[Any, Any]:
    """Return where `window` starts and the first value after it, for a day column of type date, datetime or str.

    Moments carry `day_zone` where one is given. The end is open, so that text with a time of day is compared rightly
    under any collation.
    """
    first, after = window.since, window.until + ONE_DAY
    if kind is datetime:
        zoned = zone(day_zone) if day_zone else None
        first_moment, end = (datetime(day.year, day.month, day.day, tzinfo=zoned) for day in (first, after))
        return first_moment, end
    return (first, after) if kind is date else (first.isoformat(), after.isoformat())
