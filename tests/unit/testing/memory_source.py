"""A source over rows in memory that keeps the whole contract; tests break one part of it at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, ClassVar

from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import (
    BadRequest,
    Corrupt,
    Denied,
    NotFound,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
)
from adwarm.model import Account, QuerySpec, Row, Scope, ScopeKind, UsageSample, Window
from adwarm.sources.daily import TableFormat, read_daily_rows, select_fields, sum_windows
from adwarm.sources.protocol import (
    AccountPage,
    AsyncReportHandle,
    AsyncReportProgress,
    AsyncReportState,
    Capabilities,
    FetchUnit,
    Increment,
    ResultPage,
)
from adwarm.sources.row_check import check_rows
from adwarm.sources.synchronous import SynchronousSource, page_of
from adwarm.sources.units import LEVELS, filtered_objects
from adwarm.testing import SourceContract, UpstreamFailure, sample_data

SECRET = "memory-secret-0123456789"


@dataclass
class Upstream:
    """Rows and accounts, how they fail now, and the requests so far."""

    rows: list[dict[str, Any]]
    accounts: tuple[Account, ...] = field(default_factory=lambda: sample_data().accounts)
    failure: UpstreamFailure | None = None
    failing_account: str = ""
    requests: int = 0
    reports: dict[str, int] = field(default_factory=dict)


class MemorySource(SynchronousSource):
    """A source with quotas, async reports and lists of objects; its methods are small, so that each can be broken."""

    name = "memory"
    credential = "0f1e"
    capabilities = Capabilities(
        levels=frozenset(LEVELS),
        unique_metrics=frozenset(),
        max_days_per_request=30,
        max_windows_per_request=8,
        max_page_rows=50,
        has_async_reports=True,
        can_list_objects=True,
        quota_scopes=(ScopeKind.ACCOUNT,),
        retention_days=None,
    )
    _DAYS_OFF: ClassVar[int] = 0

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    def get_account(self, account_id: str) -> Account:
        """Return the account."""
        self._request()
        found = [account for account in self.upstream.accounts if account.id == account_id]
        if not found:
            raise NotFound(f"there is no {account_id}")
        return found[0]

    def list_account_page(self, cursor: str | None, page_size: int | None = None) -> AccountPage:
        """Return a page of accounts."""
        self._request()
        start, size = int(cursor or 0), page_size or 25
        stop = start + size
        accounts = self.upstream.accounts
        return AccountPage(accounts[start:stop], str(stop) if stop < len(accounts) else None)

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return the account's own scope."""
        return (Scope(ScopeKind.ACCOUNT, account_id),) if account_id else ()

    def read(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        """Return a page of rows."""
        self._request()
        if isinstance(target, AsyncReportHandle) and target.id not in self.upstream.reports:
            raise NotFound("there is no such report")
        unit = target.unit if isinstance(target, AsyncReportHandle) else target
        self._fail_for(unit.account_id)
        size = unit.page_size or self.capabilities.max_page_rows
        page = page_of(self.rows(unit), cursor, size)
        usage = self.usage(unit)
        return ResultPage(page.rows, page.next_cursor, usage)

    def usage(self, unit: FetchUnit) -> tuple[UsageSample, ...]:
        """Return the usage that the upstream states with a response."""
        return ()

    def rows(self, unit: FetchUnit) -> list[Row]:
        """Return every row of a unit."""
        held = self.select(unit)
        daily = [item for item in read_daily_rows(held, self.table_format(held)) if self.keeps(item)]
        daily.sort(key=lambda item: (item.row["date_start"], item.row["ad_id"]))
        if unit.increment is Increment.RANGE:
            rows = self.summaries(daily, unit)
        elif unit.spec.level == "ad":
            rows = self.fields(daily, unit.spec)
        else:
            days = sorted({date.fromisoformat(item.row["date_start"]) for item in daily})
            rows = sum_windows(daily, [Window(day, day) for day in days], unit.spec)
        self.check(rows, unit)
        return rows

    def select(self, unit: FetchUnit) -> list[dict[str, Any]]:
        """Return what the upstream holds for the days of a unit."""
        owner, (level, ids) = unit.account_id.removeprefix("act_"), filtered_objects(unit)
        days = {str(day + timedelta(days=self._DAYS_OFF)) for window in unit.windows for day in window.days()}
        return [
            row
            for row in self.upstream.rows
            if row["owner"] == owner and row["date_start"] in days and (not ids or row[f"{level}_id"] in ids)
        ]

    def table_format(self, held: Sequence[dict[str, Any]]) -> TableFormat:
        """Return the format of the rows."""
        names = [name for name in (held[0] if held else {"date_start": ""}) if name != "owner"]
        return TableFormat(level="ad", columns={name: name for name in names})

    def keeps(self, item: Any) -> bool:
        """Whether a row has delivery."""
        return bool(item.has_delivery)

    def fields(self, daily: Sequence[Any], spec: QuerySpec) -> list[Row]:
        """Return daily rows with the requested fields."""
        return select_fields(daily, spec)

    def summaries(self, daily: Sequence[Any], unit: FetchUnit) -> list[Row]:
        """Return the summaries of a unit."""
        return sum_windows(daily, unit.windows, unit.spec)

    def check(self, rows: list[Row], unit: FetchUnit) -> None:
        """Refuse rows that were not requested."""
        check_rows(rows, unit)

    def submit_async(self, unit: FetchUnit) -> AsyncReportHandle:
        """Start a report, which is ready at the second poll."""
        self._request()
        name = f"r{len(self.upstream.reports)}"
        self.upstream.reports[name] = 0
        return AsyncReportHandle(name, unit)

    def poll(self, handles: Sequence[AsyncReportHandle]) -> dict[AsyncReportHandle, AsyncReportProgress]:
        """Return the progress of reports."""
        return {handle: AsyncReportProgress(self._state(handle.id)) for handle in handles}

    def _state(self, name: str) -> AsyncReportState:
        if name not in self.upstream.reports:
            return AsyncReportState.UNKNOWN
        self.upstream.reports[name] += 1
        return AsyncReportState.PENDING if self.upstream.reports[name] < 2 else AsyncReportState.READY

    def list_objects(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        """Return the objects of a level."""
        owner = unit.account_id.removeprefix("act_")
        ids = sorted({row[f"{level}_id"] for row in self.upstream.rows if row["owner"] == owner})
        return page_of([{"id": name} for name in ids], cursor, 2)

    def _request(self) -> None:
        self.upstream.requests += 1
        match self.upstream.failure:
            case UpstreamFailure.UNREACHABLE | UpstreamFailure.HANGS:
                raise Transient("the upstream did not respond")
            case UpstreamFailure.TOKEN_DEAD:
                raise TokenDead("the token is dead")
            case UpstreamFailure.ABSENT:
                raise BadRequest("the upstream is not there")

    def _fail_for(self, account_id: str) -> None:
        match self.upstream.failure if account_id == self.upstream.failing_account else None:
            case UpstreamFailure.THROTTLED:
                until = SystemClock().now() + timedelta(minutes=1)
                raise Throttled(scope=f"account:{account_id}", until=until)
            case UpstreamFailure.TOO_MUCH_DATA:
                raise TooMuchData("too many rows")
            case UpstreamFailure.DENIED:
                raise Denied(account_id=account_id)
            case UpstreamFailure.DAMAGED:
                raise Corrupt("the response is cut off", code="row")


class MemoryContract(SourceContract):
    """The contract on rows in memory; `source_class` is what is tested."""

    source_class: ClassVar[type[MemorySource]] = MemorySource
    failures = frozenset(UpstreamFailure)
    secrets = (SECRET,)
    time_limit_seconds = 10.0

    @property
    def upstream(self) -> Upstream:
        """The upstream of this test."""
        if not hasattr(self, "_upstream"):
            data = sample_data()
            rows = [{**row, "owner": row["account_id"]} for row in (*data.daily_rows, *data.zero_rows)]
            self._upstream = Upstream(rows)
        return self._upstream

    def make_source(self) -> MemorySource:
        """Return a source over the rows."""
        return self.source_class(self.upstream)

    def count_requests(self) -> int:
        """Return the requests so far."""
        return self.upstream.requests

    @contextmanager
    def replace_value(self, row: Row, field: str, value: Any) -> Iterator[None]:
        """Change a row."""
        index = next(at for at, held in enumerate(self.upstream.rows) if row.items() <= held.items())
        before = self.upstream.rows[index]
        self.upstream.rows[index] = {**before, field: value}
        yield
        self.upstream.rows[index] = before

    @contextmanager
    def fail_upstream(self, failure: UpstreamFailure, account_id: str) -> Iterator[None]:
        """Let the upstream fail."""
        self.upstream.failure, self.upstream.failing_account = failure, account_id
        yield
        self.upstream.failure = None
