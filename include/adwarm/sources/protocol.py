"""The seam every upstream fits: plan, submit, poll, read, split. A source holds no policy about waiting or retrying.

The engine above owns budget, concurrency, parking, retries and writes. A source raises only errors of
`adwarm.foundation.errors` (`Transient`, `Throttled`, `TooMuchData`, `Denied`, `TokenDead`, `BadRequest`).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Protocol

from adwarm.foundation.errors import AdwarmError, Corrupt
from adwarm.model import Account, QuerySpec, Row, Scope, ScopeKind, UsageSample, Window


class Increment(StrEnum):
    """One row per day, or one row per window."""

    DAY = "day"
    RANGE = "range"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a source can do.

    Attributes:
        retention_days: how far back it goes; None when it keeps whatever it has.
        async_jobs: it makes reports in the background when told to (`begin`), up to `poll_batch` looked at in one go.
        narrows: it lists the objects below another, so that a question can be asked about some of them.
    """

    levels: frozenset[str] = frozenset({"ad"})
    unique_metrics: frozenset[str] = frozenset({"reach", "frequency"})
    max_days_per_request: int = 90
    max_windows_per_request: int = 16
    max_page_rows: int = 500
    has_async_reports: bool = False
    poll_batch: int = 50
    can_list_objects: bool = False
    quota_scopes: tuple[ScopeKind, ...] = ()
    lookback_days: int = 28
    retention_days: int | None = 1122

    def oldest_day(self, today: date) -> date:
        """Return the first day that can be asked for."""
        return date.min if self.retention_days is None else today - timedelta(days=self.retention_days)


@dataclass(frozen=True, slots=True)
class FetchUnit:
    """One request: an account, one or more windows, a grain and a query. Equal units ask for the same rows.

    Attributes:
        filters: field, operator and value; the values of a list are joined by commas.
        page_size: rows wanted in a page; the source's own when absent.
    """

    account_id: str
    windows: tuple[Window, ...]
    increment: Increment
    spec: QuerySpec
    filters: tuple[tuple[str, str, str], ...] = ()
    page_size: int | None = field(default=None, compare=False)

    @property
    def hash(self) -> str:
        """Sixteen hex digits by which a report is known to be this unit's."""
        words = [self.account_id, *map(str, self.windows), self.increment, self.spec.hash, *map(",".join, self.filters)]
        return hashlib.sha256("|".join(words).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ResultPage:
    """Rows of one answer. Only `next_cursor is None` means the end: a page may be empty and still have a next.

    Attributes:
        size: bytes of the answer as it came, decoded.
    """

    rows: list[Row]
    next_cursor: str | None = None
    usage: tuple[UsageSample, ...] = ()
    api_version: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class AsyncReportHandle:
    """A report the upstream is still making."""

    id: str
    unit: FetchUnit


class AsyncReportState(StrEnum):
    """Where a report stands. `UNSEEN` says that the upstream does not know it: not yet, or no longer."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"
    UNKNOWN = "unseen"


@dataclass(frozen=True, slots=True)
class AsyncReportProgress:
    """A report's state and percentage.

    Attributes:
        error: why it failed; of one that is pending, why nothing could be learned this time.
    """

    state: AsyncReportState
    percent: float = 0.0
    error: AdwarmError | None = None
    usage: tuple[UsageSample, ...] = field(default=())


class InsightsSource(Protocol):
    """An upstream of ad insights. Instances are used by one thread at a time; make one per worker thread.

    Attributes:
        connection: the name under which its accounts are kept.
        credential: a digest of what it is let in by; empty where nothing is needed. A denial belongs to it.
    """

    name: str
    capabilities: Capabilities
    connection: str
    credential: str

    @property
    def clock_offset_seconds(self) -> float | None:
        """How far the upstream's clock is ahead of ours; None where it is unknown."""
        ...

    def get_account(self, account_id: str) -> Account:
        """Return the account with its zone and currency. Costs at most one request."""
        ...

    def list_accounts(self) -> Iterable[Account]:
        """Yield every account the credentials can read."""
        ...

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return the scope chain a call for the account draws on, narrowest first, without the fleet."""
        ...

    def plan(
        self, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec
    ) -> list[FetchUnit]:
        """Return the fewest units that cover `windows`; deterministic."""
        ...

    def submit(self, unit: FetchUnit) -> ResultPage | AsyncReportHandle:
        """Ask for the unit; a source that answers at once returns the first page."""
        ...

    def submit_async(self, unit: FetchUnit) -> AsyncReportHandle:
        """Have the unit made in the background; for sources with `caps.async_jobs`."""
        ...

    def poll(self, handles: Sequence[AsyncReportHandle]) -> dict[AsyncReportHandle, AsyncReportProgress]:
        """Return where each of up to `caps.poll_batch` reports stands. One request, and a call for each report."""
        ...

    def read(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        """Return the page after `cursor`.

        Raises:
            NotFound: the upstream no longer knows the report.
        """
        ...

    def split(self, unit: FetchUnit) -> list[FetchUnit]:
        """Return smaller units that together hold the rows of `unit`; empty when it cannot be split further."""
        ...

    def list_objects(self, unit: FetchUnit, level: str, cursor: str | None) -> ResultPage:
        """Return a page of the objects of `level` that `unit` is about, each row with its `id`; with `caps.narrows`."""
        ...


@dataclass
class CursorTrail:
    """The cursors followed so far in one report: each leads on once, so that no circle of pages is read for ever."""

    seen: set[str] = field(default_factory=set)

    def follow(self, cursor: str | None) -> str | None:
        """Return `cursor` when it is new, or None at the end.

        Raises:
            Corrupt: it was followed before.
        """
        if cursor is not None and cursor in self.seen:
            raise Corrupt(
                f"the pages go round in a circle of up to {len(self.seen)}; nothing of them is kept", code="cursor"
            )
        if cursor is not None:
            self.seen.add(cursor)
        return cursor
