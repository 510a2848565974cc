"""A user's own table of daily rows as a source: the common part of Parquet files and SQL tables.

The table has one row per object of its level and day. Its columns have the platform's names, common aliases, the names
of a loader's layout, or those of a column map. Rows are returned in the platform's form whatever types the columns
have: numbers as numeric strings, ids and days as text.

A report at the table's level gets its rows, a report at a level above gets their sums, and a report at a level below
is refused. Totals over a window sum the additive figures (impressions, clicks, link clicks, spend), compute the ratios
from those sums, and leave out `reach` and `frequency`, which do not follow from days.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Final

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone
from adwarm.model import Account, QuerySpec, Row, Window, check_account_id, normalize_account_id, spell_account_id
from adwarm.settings.sections import META_LAYOUTS
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
    BREAKDOWN_COLUMNS,
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
    AccountPage,
    AsyncReportHandle,
    Capabilities,
    FetchUnit,
    Increment,
    ResultPage,
)
from adwarm.sources.row_check import check_rows
from adwarm.sources.synchronous import SynchronousSource, page_of, unknown_report
from adwarm.sources.units import LEVELS, levels_above
from adwarm_client.date_ranges import ONE_DAY
from adwarm_client.report_fields import TEXT_SUFFIXES

Owner = Mapping[str, str]
"""The values of columns that only the rows of one account have; none where every row is meant."""
NO_OWNER: Final[Owner] = {}
_PAGE_ROWS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """How a table of daily rows is read.

    Attributes:
        columns: the table's column for a field whose name is neither its own nor a common other one; for `loaded_at`
            the column by which a newer load is known.
        constants: ids, names and currencies that every row has and the table has no column for, such as `account_id`.
        data_zone: IANA zone in which the table's days are counted; by default the loader's, or `default_zone`.
        default_zone: the zone of accounts whose zone is unknown.
        day_zone: IANA zone in which times with a zone are turned into days.
        currency: of the table's money; by default that of the rows or the loader, or USD.
        connection: the name under which the accounts are stored.
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
    page_size: int = _PAGE_ROWS


class TabularSource(SynchronousSource):
    """A table of daily rows. Used by one thread at a time.

    Raises:
        BadRequest: a zone, layout, level or constant of the options is invalid.
    """

    name = "table"
    capabilities = Capabilities(
        levels=frozenset(LEVELS),
        unique_metrics=frozenset(),
        max_days_per_request=400,
        max_windows_per_request=64,
        max_page_rows=_PAGE_ROWS,
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
        levels = levels_above(options.level)
        self.capabilities = replace(type(self).capabilities, levels=levels, max_page_rows=options.page_size)

    @abstractmethod
    def _columns(self) -> Sequence[str]:
        """Return the names of the table's columns."""

    @abstractmethod
    def _distinct(self, columns: Sequence[str], owner: Owner) -> Iterable[tuple[Any, ...]]:
        """Return the distinct values of some columns in the rows of an account."""

    @abstractmethod
    def _has_account(self, owner: Owner) -> bool:
        """Return whether there is a row of the account."""

    @abstractmethod
    def _load(self, owner: Owner, window: Window, day: str, columns: Sequence[str]) -> Iterable[Mapping[str, Any]]:
        """Return the rows of an account of the days in `window`, by the column `day`."""

    def _read_other_table(
        self, table: str, columns: Sequence[str], owner: Owner = NO_OWNER
    ) -> list[Mapping[str, Any]] | None:
        """Return the existing ones of `columns` of another table; None when there is no such table."""
        del table, columns, owner
        return None

    def close(self) -> None:
        """Drop the rows that were read last. Nothing is open: the threads share the connections of a database."""
        self._last_read = None

    def get_account(self, account_id: str) -> Account:
        """Return the account, with the zone and currency from the options, the loader or the rows.

        Raises:
            BadRequest: the table has no row of the account.
        """
        columns = self._mapping()
        fixed = self._fixed_account(columns)
        name = spell_account_id(account_id)[0]
        is_own = self._normalize(name) == account_id
        exists = account_id == fixed if fixed else is_own and self._has_account(self._owner(columns, account_id))
        if not exists:
            advice = "check the id" if is_own else f"{name} is another once `adwarm accounts discover` has listed it"
            raise BadRequest(f"the table has no row of {account_id}; {advice}, or wait for its first day")
        return self._account(account_id, self._account_details(account_id), self._currencies(columns, account_id))

    def list_account_page(self, cursor: str | None, page_size: int | None = None) -> AccountPage:
        """Return every account that has a row, in the order of ids: one page, whatever the arguments.

        Raises:
            BadRequest: the table lacks a column.
            Transient: the table cannot be read at the moment.
        """
        del cursor, page_size
        columns = self._mapping()
        fixed = self._fixed_account(columns)
        values = [(fixed,)] if fixed else self._distinct(self._id_columns(columns), NO_OWNER)
        ids, problems = self._valid_ids(values)
        details, currencies = self._account_details(fixed), self._currencies(columns, fixed)
        accounts = []
        for account_id in ids:
            try:
                accounts.append(self._account(account_id, details, currencies))
            except BadRequest as error:
                problems.append(f"{account_id} is left out: {error}")
        return AccountPage(tuple(accounts), problems=tuple(problems))

    def submit(self, unit: FetchUnit) -> ResultPage | AsyncReportHandle:
        """Read the unit again and return its first page."""
        self._last_read = None
        return self.read(unit, None)

    def read(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        """Return the page after `cursor`.

        Raises:
            BadRequest: the cursor is invalid, or the table lacks something; the message says what.
            Transient: the table cannot be read at the moment.
        """
        if isinstance(target, AsyncReportHandle):
            raise unknown_report(target)
        if self._last_read is None or self._last_read[0] != target:
            self._last_read = target, self._rows(target)
        page = page_of(self._last_read[1], cursor, target.page_size or self._options.page_size)
        if page.next_cursor is None:
            self._last_read = None
        return page

    def _normalize(self, text: str) -> str:
        """Return the canonical id of an account of the table; bare digits are Meta's in a table of Meta's only."""
        return normalize_account_id(text, is_meta=self._layout.name in META_LAYOUTS)

    def _fixed_account(self, columns: Mapping[str, str]) -> str | None:
        """Return the account that every row belongs to, where the table has no column for it."""
        return self._normalize(self._constants["account_id"]) if "account_id" not in columns else None

    def _id_columns(self, columns: Mapping[str, str]) -> list[str]:
        """Return the table's columns that make an account's id, in its order."""
        names = (self._layout.platform_column, "account_id")
        return [columns[name] for name in names if name and name in columns]

    def _valid_ids(self, values: Iterable[Sequence[Any]]) -> tuple[list[str], list[str]]:
        """Return the account ids whose parts are in `values`, sorted, and what is wrong with those that are none."""
        ids: set[str] = set()
        problems: list[str] = []
        for parts in values:
            if any(map(is_absent, parts)):
                continue
            try:
                ids.add(self._normalize(":".join(map(format_id, parts))))
            except BadRequest as error:
                problems.append(f"rows are left out: {error}")
        return sorted(ids), sorted(problems)

    def _owner(self, columns: Mapping[str, str], account: str | None) -> Owner:
        """Return what the rows of an account have in the columns of its id; nothing for all rows."""
        names = self._id_columns(columns)
        if account is None or not names:
            return NO_OWNER
        return dict(zip(names, account.partition(":")[::2] if len(names) > 1 else [account], strict=True))

    def _account(
        self, account: str, details: Mapping[str, Mapping[str, str]], currencies: Mapping[str, set[str]]
    ) -> Account:
        own = next((details[name] for name in spell_account_id(account) if name in details), {})
        data_zone = self._options.data_zone or own.get("data_zone") or self._options.default_zone
        zone(data_zone)
        in_rows = currencies.get(account, set())
        currency = (
            self._options.currency or own.get("currency") or (next(iter(in_rows)) if len(in_rows) == 1 else "USD")
        )
        return Account(account, data_zone, data_zone, currency, self.connection, name=own.get("name") or "")

    def _account_details(self, account: str | None) -> dict[str, dict[str, str]]:
        """Return the fields of one account, or of all, from the loader's table of accounts."""
        return self._versions(self._layout.account_table, account) if self._layout.account_table else {}

    def _currencies(self, columns: Mapping[str, str], account: str | None) -> dict[str, set[str]]:
        """Return the currencies in the rows of one account, or of all."""
        column = columns.get("account_currency")
        if column is None or self._options.currency:
            return {}
        by_account: dict[str, set[str]] = {}
        for *values, currency in self._distinct([*self._id_columns(columns), column], self._owner(columns, account)):
            for owner_id in [account] if account else self._valid_ids([values])[0]:
                if not is_absent(currency):
                    by_account.setdefault(owner_id, set()).add(format_id(currency))
        return by_account

    def _mapping(self) -> dict[str, str]:
        """Return the table's column for each field."""
        try:
            return self._find_mapping()
        except BadRequest:
            self._forget_columns()  # the table may be replaced by one that has them
            raise

    def _forget_columns(self) -> None:
        """Read the columns again the next time; by default they are read every time."""

    def _find_mapping(self) -> dict[str, str]:
        present = list(self._columns())
        mapping = find_columns(present, self._layout, self._options.columns)
        required = dict.fromkeys(("account_id", f"{self._level}_id", "date_start"))
        missing = [name for name in required if name not in mapping and name not in self._constants]
        if missing:
            columns = ", ".join(present) or "none"
            raise BadRequest(
                f"the table has no column {', '.join(missing)} among {columns}; rename it, map it, or give an id "
                "that is the same in every row as a constant"
            )
        return mapping

    def _table_format(self, columns: Mapping[str, str], spec: QuerySpec) -> TableFormat:
        """Return the format of the rows for `spec`, with the columns that tell duplicates apart."""
        always = ["account_id", f"{self._level}_id", f"{spec.level}_id", "date_start", "date_stop", *ADDITIVE_FIELDS]
        names = [name for name in dict.fromkeys([*always, *spec.fields]) if name not in fields_below(self._level)]
        return TableFormat(
            level=self._level,
            columns={name: columns[name] for name in names if name in columns},
            constants={name: value for name, value in self._constants.items() if name not in columns},
            day_zone=self._options.day_zone,
            null_as_zero=self._layout.null_as_zero,
            added={name: columns[column] for name, column in self._layout.added.items() if column in columns},
            segments=tuple(columns[name] for name in self._layout.segments if name in columns),
            platform_column=columns.get(self._layout.platform_column or ""),
            load_column=columns.get(LOADED_AT),
            deletion_columns=tuple(columns[name] for name in DELETED_COLUMNS if name in columns),
            breakdown_columns=tuple(columns[name] for name in BREAKDOWN_COLUMNS if name in columns),
        )

    def _rows(self, unit: FetchUnit) -> list[Row]:
        columns = self._mapping()
        fixed = self._fixed_account(columns)
        if fixed and fixed != unit.account_id:
            raise BadRequest(f"the table is about {fixed} alone, and has no row of {unit.account_id}")
        table_format = self._table_format(columns, unit.spec)
        completed = self._completed_rows(unit, table_format, columns)
        newest = keep_newest_load(completed, self._level)
        daily_rows = [daily for daily in newest if daily.has_delivery and _is_requested(daily, unit)]
        daily_rows.sort(key=lambda daily: (daily.row["date_start"], daily.row[f"{self._level}_id"]))
        self._add_lookup_fields(daily_rows, unit)
        if unit.increment is Increment.RANGE:
            rows = sum_windows(daily_rows, unit.windows, unit.spec)
        elif unit.spec.level == self._level and not table_format.segments:
            rows = select_fields(daily_rows, unit.spec)
        else:
            days = dict.fromkeys(date.fromisoformat(daily.row["date_start"]) for daily in daily_rows)
            rows = sum_windows(daily_rows, (Window(day, day) for day in days), unit.spec)
        check_rows(rows, unit)
        return rows

    def _completed_rows(self, unit: FetchUnit, table_format: TableFormat, columns: Mapping[str, str]) -> list[DailyRow]:
        """Return the rows of completed loads in the days from the first to the last window of the unit."""
        span = Window(min(w.since for w in unit.windows), max(w.until for w in unit.windows))
        markers = [
            *self._id_columns(columns),
            *table_format.deletion_columns,
            *table_format.breakdown_columns,
            *table_format.added.values(),
            *table_format.segments,
            *([table_format.load_column] if table_format.load_column else []),
        ]
        names = list(dict.fromkeys([*table_format.columns.values(), *markers]))
        raw_rows = self._load(self._owner(columns, unit.account_id), span, columns["date_start"], names)
        rows = read_daily_rows(raw_rows, table_format)
        loads = self._layout.loads_table
        if loads is None or not table_format.load_column:
            return rows
        load_rows = self._read_other_table(loads.table, (loads.key, loads.status))
        return keep_completed_loads(rows, load_rows, loads) if load_rows else rows

    def _add_lookup_fields(self, daily_rows: Sequence[DailyRow], unit: FetchUnit) -> None:
        """Add the requested fields that the rows lack and a lookup table supplies."""
        requested = {*unit.spec.fields, f"{unit.spec.level}_id"} - fields_below(self._level)
        for lookup, fields in select_lookups(self._layout.lookup_tables, requested):
            incomplete = [daily.row for daily in daily_rows if any(name not in daily.row for name in fields)]
            versions = self._versions(lookup, unit.account_id) if incomplete else {}
            for row in incomplete:
                version = versions.get(str(row.get(lookup.row_field)), {})
                row.update({name: version[name] for name in fields if name in version and name not in row})

    def _versions(self, lookup: LookupTable, account: str | None) -> dict[str, dict[str, str]]:
        names = list(dict.fromkeys([lookup.key, *lookup.version_columns, *lookup.fields.values()]))
        owner = lookup.key if lookup.row_field == "account_id" else "account_id"
        rows = self._read_other_table(lookup.table, names, {owner: account} if account else NO_OWNER)
        return newest_versions(rows or (), lookup)


def _validate_constants(constants: Mapping[str, str]) -> dict[str, str]:
    for name, value in constants.items():
        if not name.endswith(TEXT_SUFFIXES) or not str(value).strip():
            raise BadRequest(
                f"{name[:40]!r} cannot be a constant; only ids, names and currencies that are not empty can"
            )
    if "account_id" in constants:
        check_account_id(str(constants["account_id"]))
    return {name: str(value).strip() for name, value in constants.items()}


def _is_requested(daily: DailyRow, unit: FetchUnit) -> bool:
    day = date.fromisoformat(daily.row["date_start"])
    return any(day in window for window in unit.windows)


def day_bounds(kind: type, window: Window, day_zone: str | None = None) -> tuple[Any, Any]:
    """Return the start of `window` and the first value after it, for a day column of type date, datetime or str.

    Datetimes carry `day_zone` if one is given. The end is exclusive, so that text with a time of day compares correctly
    under any collation.
    """
    first, after = window.since, window.until + ONE_DAY
    if kind is datetime:
        zoned = zone(day_zone) if day_zone else None
        start, end = (datetime(day.year, day.month, day.day, tzinfo=zoned) for day in (first, after))
        return start, end
    return (first, after) if kind is date else (first.isoformat(), after.isoformat())
