"""The seam every upstream fits: plan, submit, poll, read, split. A source holds no policy about waiting or retrying.

The engine above owns budget, concurrency, parking, retries and writes. A source raises only errors of
`adwarm.errors` (`Transient`, `Throttled`, `TooMuchData`, `Denied`, `TokenDead`, `BadRequest`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from adwarm.model import Account, QuerySpec, Scope, ScopeKind, UsageSample, Window

Row = dict[str, Any]
"""One insights row: every number as the platform's own numeric string, ids as text, lists of actions as lists.

`account_id`, `ad_id`, `date_start` and `date_stop` are always there; a metric that is zero or undefined may be absent.
"""


class Increment(StrEnum):
    """One row per day, or one row per window."""

    DAY = "day"
    RANGE = "range"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a source can do."""

    levels: frozenset[str] = frozenset({"ad"})
    unique_metrics: frozenset[str] = frozenset({"reach", "frequency"})
    max_days_per_request: int = 90
    max_windows_per_request: int = 16
    page_max: int = 500
    async_jobs: bool = False
    quota_scopes: tuple[ScopeKind, ...] = ()
    lookback_days: int = 28
    retention_days: int = 1122


@dataclass(frozen=True, slots=True)
class Unit:
    """One request: an account, one or more windows, a grain and a query. Equal units ask for the same rows."""

    account_id: str
    windows: tuple[Window, ...]
    increment: Increment
    spec: QuerySpec
    filters: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one answer. Only `next_cursor is None` means the end: a page may be empty and still have a next."""

    rows: list[Row]
    next_cursor: str | None = None
    usage: tuple[UsageSample, ...] = ()
    api_version: str = ""


@dataclass(frozen=True, slots=True)
class Handle:
    """A report the upstream is still making."""

    id: str
    unit: Unit


class JobState(StrEnum):
    """Where a report stands."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class JobProgress:
    """A report's state, percentage and, when it failed, why."""

    state: JobState
    percent: float = 0.0
    reason: str | None = None
    usage: tuple[UsageSample, ...] = field(default=())


class InsightsSource(Protocol):
    """An upstream of ad insights. Instances are used by one thread at a time; make one per worker thread."""

    name: str
    caps: Capabilities

    def account(self, account_id: str) -> Account:
        """Return the account with its zone and currency. Costs at most one request."""
        ...

    def accounts(self) -> Iterable[Account]:
        """Yield every account the credentials can read."""
        ...

    def scopes(self, account_id: str) -> tuple[Scope, ...]:
        """Return the scope chain a call for the account draws on, narrowest first, without the fleet."""
        ...

    def plan(self, account: Account, windows: Sequence[Window], increment: Increment, spec: QuerySpec) -> list[Unit]:
        """Return the fewest units that cover `windows`; deterministic."""
        ...

    def submit(self, unit: Unit) -> Page | Handle:
        """Ask for the unit; a source that answers at once returns the first page."""
        ...

    def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobProgress]:
        """Return where each report stands."""
        ...

    def read(self, asked: Unit | Handle, cursor: str | None) -> Page:
        """Return the page after `cursor`."""
        ...

    def split(self, unit: Unit) -> list[Unit]:
        """Return smaller units that together hold the rows of `unit`; empty when it cannot be split further."""
        ...
