"""The protocol of every upstream: plan, submit, poll, read, split. A source has no policy about waiting or retrying.

The prefetch engine owns budget, concurrency, parking, retries and writes. A source raises only errors of
`adwarm.foundation.errors` (`Transient`, `Throttled`, `TooMuchData`, `Denied`, `TokenDead`, `BadRequest`).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

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
        retention_days: how far back its data goes; None for no limit.
        has_async_reports: it makes reports in the background (`submit_async`); one `poll` covers up to `poll_batch`.
        can_list_objects: it lists the objects below another, so a request can be restricted to some of them.
        has_breakdowns: it divides the rows of a query by its breakdowns.
        closes_days: its days end: they are fetched and scored once after the account's midnight.
        readers_fill: an open that finds nothing fresh fills the upstream's own cache, as a warm does.
        noun: what one of its accounts is called, such as `dashboard`.
        api_version: the version of its API that is called; empty where there is none.
    """

    levels: frozenset[str] = frozenset({"ad"})
    unique_metrics: frozenset[str] = frozenset({"reach", "frequency"})
    max_days_per_request: int = 90
    max_windows_per_request: int = 16
    max_page_rows: int = 500
    has_async_reports: bool = False
    poll_batch: int = 50
    can_list_objects: bool = False
    has_breakdowns: bool = False
    quota_scopes: tuple[ScopeKind, ...] = ()
    retention_days: int | None = 1122
    closes_days: bool = True
    readers_fill: bool = False
    noun: str = "account"
    api_version: str = ""

    def oldest_day(self, today: date) -> date:
        """Return the first day that can be requested."""
        return date.min if self.retention_days is None else today - timedelta(days=self.retention_days)


@dataclass(frozen=True, slots=True)
class FetchUnit:
    """One request: an account, one or more windows, an increment and a query. Equal units request the same rows.

    Attributes:
        filters: field, operator and value; the values of a list are joined by commas.
        page_size: rows per page; the source's default when None.
    """

    account_id: str
    windows: tuple[Window, ...]
    increment: Increment
    spec: QuerySpec
    filters: tuple[tuple[str, str, str], ...] = ()
    page_size: int | None = field(default=None, compare=False)

    @property
    def hash(self) -> str:
        """Sixteen hex digits that identify the unit a report belongs to."""
        parts = [self.account_id, *map(str, self.windows), self.increment, self.spec.hash, *map(",".join, self.filters)]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ResultPage:
    """The rows of one response. Only `next_cursor is None` means the end: an empty page may have a next one.

    Attributes:
        size_bytes: size of the decoded response.
    """

    rows: list[Row]
    next_cursor: str | None = None
    usage: tuple[UsageSample, ...] = ()
    api_version: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """The version of the API that answered, on which day the one that was asked for ends (if known), and a warning."""

    answered: str
    ends: date | None = None
    warning: str = ""


@dataclass(frozen=True, slots=True)
class TokenLife:
    """When a token ends, and its access to data; None for never. `kind` is what the platform calls it."""

    expires_at: datetime | None
    data_access_until: datetime | None = None
    kind: str = ""


@runtime_checkable
class ChangingPlatform(Protocol):
    """A source whose platform retires versions of its API and ends tokens. Each method costs one request."""

    def read_api_version(self) -> ApiVersion:
        """Return the version that answers."""
        ...

    def read_token_life(self) -> TokenLife:
        """Return when the token ends; raises BadRequest where the platform does not tell this connection."""
        ...


@dataclass(frozen=True, slots=True)
class Creative:
    """What an ad shows. `format` is the platform's word for its kind; the thumbnail's link ends after some days."""

    ad_id: str
    creative_id: str
    title: str = ""
    format: str = ""
    thumbnail_url: str = ""


@dataclass(frozen=True, slots=True)
class CreativePage:
    """The creatives of ads, as one response named them; ads that the platform does not list are left out."""

    creatives: tuple[Creative, ...]
    usage: tuple[UsageSample, ...] = ()


@runtime_checkable
class CreativeSource(Protocol):
    """A source whose ads have creatives to look at."""

    def list_creatives(self, account_id: str, ad_ids: Sequence[str]) -> CreativePage:
        """Return the creatives of up to 50 ads of an account. Costs one request."""
        ...

    def read_thumbnail(self, url: str) -> bytes:
        """Return what is behind the link of a thumbnail, which is not a call of the API."""
        ...


@dataclass(frozen=True, slots=True)
class AccountPage:
    """The accounts of one response. Only `next_cursor is None` means the end.

    Attributes:
        problems: accounts that were left out because their response is malformed, and values that were replaced.
    """

    accounts: tuple[Account, ...]
    next_cursor: str | None = None
    usage: tuple[UsageSample, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AsyncReportHandle:
    """A report that the upstream makes in the background."""

    id: str
    unit: FetchUnit


class AsyncReportState(StrEnum):
    """The state of a report. `UNKNOWN` means that the upstream does not know it: not yet, or no longer."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"
    UNKNOWN = "unseen"


@dataclass(frozen=True, slots=True)
class AsyncReportProgress:
    """A report's state and percentage.

    Attributes:
        error: why it failed; for a pending report, why its state could not be read this time.
    """

    state: AsyncReportState
    percent: float = 0.0
    error: AdwarmError | None = None
    usage: tuple[UsageSample, ...] = field(default=())


class InsightsSource(Protocol):
    """An upstream of ad insights. Instances are used by one thread at a time, and by one thread after another.

    Attributes:
        connection: the name under which its accounts are kept.
        credential: a digest of the credential; empty where none is needed. Denials are recorded for it.
    """

    name: str
    capabilities: Capabilities
    connection: str
    credential: str

    @property
    def clock_offset_seconds(self) -> float | None:
        """How far the upstream's clock is ahead of ours; None when unknown."""
        ...

    def get_account(self, account_id: str) -> Account:
        """Return the account with its zone and currency. Costs at most one request."""
        ...

    def list_account_page(self, cursor: str | None, page_size: int | None = None) -> AccountPage:
        """Return the accounts after `cursor` that the credentials can read. Costs at most one request.

        An account whose response is malformed is left out and named in `problems`.

        Args:
            cursor: None for the first page.
            page_size: accounts per page; the source's default when None.
        """
        ...

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return the scope chain a call for the account draws on, narrowest first, without the fleet.

        An empty id means a call about no account, such as a list of accounts.
        """
        ...

    def plan(
        self, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec
    ) -> list[FetchUnit]:
        """Return the fewest units that cover `windows`; deterministic."""
        ...

    def submit(self, unit: FetchUnit) -> ResultPage | AsyncReportHandle:
        """Request the unit; a source that responds at once returns the first page."""
        ...

    def submit_async(self, unit: FetchUnit) -> AsyncReportHandle:
        """Request the unit as an async report; for sources with `has_async_reports`."""
        ...

    def poll(self, handles: Sequence[AsyncReportHandle]) -> dict[AsyncReportHandle, AsyncReportProgress]:
        """Return the progress of up to `poll_batch` reports. Costs one request, and one platform call per report."""
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
        """Return a page of the objects of `level` in `unit`, each row with an `id`; for sources that list objects."""
        ...

    def close(self) -> None:
        """Close what the source holds open, such as its HTTP session; called by the thread that used it last."""
        ...


def iter_accounts(source: InsightsSource) -> Iterator[Account]:
    """Yield the accounts of every page of a source.

    Raises:
        Corrupt: the pages form a loop.
    """
    cursors, cursor = CursorTrail(), None
    while True:
        page = source.list_account_page(cursor)
        yield from page.accounts
        cursor = cursors.follow(page.next_cursor)
        if cursor is None:
            return


@dataclass
class CursorTrail:
    """The cursors followed so far in one report, to detect pages that form a loop."""

    seen: set[str] = field(default_factory=set)

    def follow(self, cursor: str | None) -> str | None:
        """Return `cursor`; None at the end.

        Raises:
            Corrupt: the cursor was followed before.
        """
        if cursor is not None and cursor in self.seen:
            raise Corrupt(f"the pages form a circle of up to {len(self.seen)}; none of them is kept", code="cursor")
        if cursor is not None:
            self.seen.add(cursor)
        return cursor
