"""What was asked of a batch, and what became of each key."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from adwarm.errors import AdwarmError
from adwarm.model import ReportKey, Window
from adwarm.prefetch.planner import closing_windows


class KeyStatus(StrEnum):
    """How a key ended. None of them is silent: each but the first two carries a reason."""

    FETCHED = "fetched"
    FRESH = "fresh"
    STALE = "stale"
    PARKED = "parked"
    DENIED = "denied"
    FAILED = "failed"

    @property
    def is_served(self) -> bool:
        """Whether a reader gets a fresh answer for the key."""
        return self in {KeyStatus.FETCHED, KeyStatus.FRESH}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key to make fresh; `close_day` asks for the history behind a day's fatigue score as well.

    Attributes:
        reference: the caller's own number for the item, handed back in its outcome.
        fresh_until: make it fresh at least through this moment; None means now.
        history: further days to complete, of which no entry is made.
    """

    key: ReportKey
    reference: int | None = None
    close_day: date | None = None
    fresh_until: datetime | None = None
    history: Window | None = None

    def days_behind(self, history_days: int, last_closed: date) -> Window | None:
        """Return the days to complete behind the key itself; None when it stands alone."""
        if self.close_day is None:
            return self.history
        return closing_windows(self.close_day, history_days, last_closed)[1]


@dataclass(frozen=True, slots=True)
class KeyOutcome:
    """How one wanted key ended.

    Attributes:
        timed: come back after `retry_after`, capacity or not: a report is being made, or another worker is at it.
        requests: upstream calls; those of an account are booked on the first of its keys that cost any.
        seconds: how long the account's fetch took, waiting included.
        error: what a key that was not fetched ended with.
    """

    wanted: Wanted
    status: KeyStatus
    requests: int = 0
    fetched_at: datetime | None = None
    expires_at: datetime | None = None
    raw_bytes: int = 0
    stored_bytes: int = 0
    reason: str | None = None
    retry_after: float | None = None
    timed: bool = False
    seconds: float | None = None
    error: AdwarmError | None = None


@dataclass(slots=True)
class BatchReport:
    """How a batch ended."""

    outcomes: list[KeyOutcome] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Upstream requests the batch has cost."""
        return sum(outcome.requests for outcome in self.outcomes)

    def count(self, *statuses: KeyStatus) -> int:
        """Return the number of keys that ended in one of `statuses`."""
        return sum(outcome.status in statuses for outcome in self.outcomes)

    def summary(self) -> dict[str, int]:
        """Return counts by status, and the requests: small enough for an XCom."""
        counts = {str(status): self.count(status) for status in KeyStatus}
        return {**counts, "keys": len(self.outcomes), "requests": self.requests}

    def errors(self, limit: int = 20) -> list[str]:
        """Return up to `limit` reasons of keys that did not end fresh."""
        texts = [f"{item.wanted.key}: {item.reason}" for item in self.outcomes if not item.status.is_served]
        return texts[:limit]
