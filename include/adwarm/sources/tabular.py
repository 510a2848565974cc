"""Daily rows of somebody's own table as a source: what Parquet files and SQL tables have in common.

The table holds one row per ad and day. Columns go by the platform's names or by a few common others; whatever types
they have, rows leave here in the platform's form: numbers as numeric strings, ids and days as text. Totals over a
window add up what adds up (impressions, clicks, link clicks, spend), work out the ratios from those sums, and leave out
people reached and frequency, which do not follow from days.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from adwarm.errors import BadRequest
from adwarm.model import Account, QuerySpec, Scope, Window, account_id, zone
from adwarm.model.windows import ONE_DAY
from adwarm.sources.formats import ADDITIVE, as_day, as_number, as_text, ratios
from adwarm.sources.protocol import Capabilities, Handle, Increment, JobProgress, Page, Row, Unit
from adwarm.sources.units import plan_units, split_by_time

KEYS = ("account_id", "ad_id", "date_start", "date_stop")
ALIASES: dict[str, tuple[str, ...]] = {
    "account_id": ("ad_account_id",),
    "date_start": ("date", "date_day", "day", "stat_date"),
    "spend": ("cost", "amount_spent"),
    "inline_link_clicks": ("link_clicks",),
}
_NOT_TOTALS = frozenset({"reach", "frequency", "cpp"})


class TabularSource(ABC):
    """A table of daily rows. Used by one thread at a time.

    Args:
        columns: the table's column for a canonical field, where it goes by neither its own name nor a common other.
        data_zone: IANA zone in which the table's days are counted.
        connection: the name under which its accounts are kept.
        page_size: rows in a page.
    """

    name = "table"
    credential = ""
    clock_offset_seconds: float | None = None
    caps = Capabilities(unique_metrics=frozenset(), max_days_per_request=400, max_windows_per_request=64)

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        data_zone: str = "UTC",
        currency: str = "USD",
        connection: str = "default",
        page_size: int = 5000,
    ) -> None:
        zone(data_zone)
        self._named = dict(columns or {})
        self._zone, self._currency, self._connection = data_zone, currency, connection
        self.connection = connection
        self._page_size = page_size
        self._read: tuple[Unit, list[Row]] | None = None

    @abstractmethod
    def _columns(self) -> Sequence[str]:
        """Return the names of the table's columns."""

    @abstractmethod
    def _account_ids(self, column: str) -> Iterable[Any]:
        """Return the distinct values of the account column."""

    @abstractmethod
    def _has_account(self, account: str, column: str) -> bool:
        """Return whether there is a row of the account."""

    @abstractmethod
    def _load(self, account: str, window: Window, columns: Mapping[str, str]) -> Iterable[Mapping[str, Any]]:
        """Return the account's rows of the days of `window`; `columns` maps canonical names to the table's."""

    def account(self, account_id: str) -> Account:
        """Return the account, with the zone and currency of the table.

        Raises:
            BadRequest: the table has no row of it, or none yet.
        """
        if not self._has_account(account_id, self._mapping()["account_id"]):
            raise BadRequest(f"the table has no row of {account_id}; check the id, or wait for its first day")
        return self._account(account_id)

    def accounts(self) -> Iterator[Account]:
        """Yield every account that has a row, in order of its id."""
        values = self._account_ids(self._mapping()["account_id"])
        for found in sorted({account_id(as_text(value)) for value in values if value is not None}):
            yield self._account(found)

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return no scope: a table has no quota of its own."""
        del account_id
        return ()

    def plan(self, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec) -> list[Unit]:
        """Return the fewest units that cover `windows`.

        Raises:
            BadRequest: the query is not at ad level.
        """
        return plan_units(self.caps, account, windows, increment, spec)

    def submit(self, unit: Unit) -> Page | Handle:
        """Return the first page of the unit, read anew."""
        self._read = None
        return self.read(unit, None)

    def begin(self, unit: Unit) -> Handle:
        """Refuse: a table answers at once.

        Raises:
            BadRequest: always.
        """
        raise BadRequest(f"a table makes no report in the background; read {unit.account_id} by `submit`")

    def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobProgress]:
        """Return nothing: a table answers at once.

        Raises:
            BadRequest: a handle is given, which this source never handed out.
        """
        if handles:
            raise _stranger(handles[0])
        return {}

    def read(self, asked: Unit | Handle, cursor: str | None) -> Page:
        """Return the page after `cursor`.

        Raises:
            BadRequest: the cursor or the table is not what it should be; the message says what is missing.
            Transient: the table cannot be read at the moment.
        """
        if isinstance(asked, Handle):
            raise _stranger(asked)
        start = 0 if cursor is None else _offset(cursor)
        if self._read is None or self._read[0] != asked:
            self._read = asked, self._rows(asked)
        rows = self._read[1]
        stop = start + self._page_size
        if stop >= len(rows):
            self._read = None
            return Page(rows[start:])
        return Page(rows[start:stop], str(stop))

    def split(self, unit: Unit) -> list[Unit]:
        """Return two halves of the unit, by its windows or by its days; nothing when neither can be halved."""
        return split_by_time(unit)

    def objects(self, unit: Unit, level: str, cursor: str | None) -> Page:
        """Refuse: a table holds rows and no objects.

        Raises:
            BadRequest: always.
        """
        del cursor
        raise BadRequest(f"a table does not list the {level}s of {unit.account_id}; ask for its rows")

    def _account(self, account: str) -> Account:
        return Account(account, self._zone, self._zone, self._currency, self._connection)

    def _mapping(self) -> dict[str, str]:
        """Return the table's column for each canonical name.

        Raises:
            BadRequest: a column that every table needs is not there.
        """
        present = list(self._columns())
        found = {name: name for name in present}
        for name, others in ALIASES.items():
            other = next((column for column in others if column in present), None)
            if name not in found and other is not None:
                found[name] = other
        found.update({name: column for name, column in self._named.items() if column in present})
        missing = [name for name in KEYS[:3] if name not in found]
        if missing:
            columns = ", ".join(present) or "none"
            raise BadRequest(f"the table has no column {', '.join(missing)} among {columns}; rename it or map it")
        return found

    def _rows(self, unit: Unit) -> list[Row]:
        mapping = self._mapping()
        hull = Window(min(w.since for w in unit.windows), max(w.until for w in unit.windows))
        wanted = {name: mapping[name] for name in [*KEYS, *ADDITIVE, *unit.spec.fields] if name in mapping}
        daily = [_canonical(raw, wanted) for raw in self._load(unit.account_id, hull, wanted)]
        daily = [row for row in daily if row.get("impressions", "1") != "0"]
        daily.sort(key=lambda row: (row["date_start"], row["ad_id"]))
        if unit.increment is Increment.RANGE:
            return [row for window in unit.windows for row in _totals(daily, window, unit.spec)]
        keep = {*KEYS, *unit.spec.fields}
        return [
            {name: value for name, value in row.items() if name in keep}
            for row in daily
            if any(date.fromisoformat(row["date_start"]) in window for window in unit.windows)
        ]


def _stranger(handle: Handle) -> BadRequest:
    return BadRequest(f"report {handle.id} is not one of this source, which answers at once")


def _canonical(raw: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    row: Row = {}
    for name, column in columns.items():
        text = as_number(name, raw[column])
        if text is not None:
            row[name] = text
    day = as_day(raw[columns["date_start"]])
    row["account_id"] = account_id(as_text(raw[columns["account_id"]])).removeprefix("act_")
    row["ad_id"] = as_text(raw[columns["ad_id"]])
    row["date_start"] = row["date_stop"] = day
    return row


def _totals(daily: Iterable[Row], window: Window, spec: QuerySpec) -> list[Row]:
    """Return one row per ad: names as of its last day, sums of what adds up, ratios of the sums."""
    since, until = window.since.isoformat(), window.until.isoformat()
    latest: dict[str, Row] = {}
    sums: dict[str, dict[str, float]] = {}
    for row in daily:
        if since <= row["date_start"] <= until:
            latest[row["ad_id"]] = row
            total = sums.setdefault(row["ad_id"], {})
            for name in ADDITIVE:
                if name in row:
                    total[name] = total.get(name, 0.0) + float(row[name])
    keep = {*KEYS, *spec.fields} - _NOT_TOTALS
    rows = []
    for ad_id in sorted(latest):
        names = {n: v for n, v in latest[ad_id].items() if n.endswith(("_id", "_name"))}
        figures = {name: as_number(name, value) for name, value in sums[ad_id].items()}
        row = {**names, **figures, **ratios(sums[ad_id]), "date_start": since, "date_stop": until}
        rows.append({name: value for name, value in row.items() if name in keep and value is not None})
    return rows


def _offset(cursor: str) -> int:
    if not cursor.isdecimal():
        raise BadRequest(f"cursor {cursor[:40]!r} is not one that this source gave out")
    return int(cursor)


def days_as(kind: type, window: Window) -> tuple[Any, Any]:
    """Return where `window` starts and the first value after it, for a day column of type date, datetime or str.

    The end is open, so that text with a time of day is compared rightly under any collation.
    """
    after = window.until + ONE_DAY
    if kind is datetime:
        return datetime.combine(window.since, datetime.min.time()), datetime.combine(after, datetime.min.time())
    return (window.since, after) if kind is date else (window.since.isoformat(), after.isoformat())
