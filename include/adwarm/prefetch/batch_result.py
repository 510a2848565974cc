"""What was asked of a batch, and what became of each key."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from adwarm.fetch_plan.planner import get_day_close_windows
from adwarm.foundation.errors import AdwarmError, Denied, Permanent, Refused, Throttled, TokenDead, Transient
from adwarm.model import ReportKey, Window


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
class KeyRequest:
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

    def get_history_window(self, history_days: int, last_closed: date) -> Window | None:
        """Return the days to complete behind the key itself; None when it stands alone."""
        if self.close_day is None:
            return self.history
        return get_day_close_windows(self.close_day, history_days, last_closed)[1]


@dataclass(frozen=True, slots=True)
class KeyOutcome:
    """How one wanted key ended.

    Attributes:
        timed: come back after `retry_after`, capacity or not: a report is being made, or another worker is at it.
        requests: upstream calls; those of an account are booked on the first of its keys that cost any.
        seconds: how long the account's fetch took, waiting included.
        error: why the key did not end fresh, in its own type; `reason` is for people. It holds no frame of a traceback.
    """

    request: KeyRequest
    status: KeyStatus
    calls: int = 0
    fetched_at: datetime | None = None
    expires_at: datetime | None = None
    raw_bytes: int = 0
    stored_bytes: int = 0
    reason: str | None = None
    retry_after: float | None = None
    has_fixed_delay: bool = False
    seconds: float | None = None
    error: AdwarmError | None = None


_SEVERITY_ORDER: tuple[type[AdwarmError], ...] = (TokenDead, Throttled, Refused, Transient, Denied, Permanent)
"""Which error stands for many, the gravest first. A dead token leads: no try helps until a person has renewed it. Then
what passes by itself, the wait that was asked for before the one that is guessed; what would fail again comes last, so
that one bad key does not cost the others their next try. An error of none of these classes comes before those two."""
_UNKNOWN_SEVERITY = _SEVERITY_ORDER.index(Denied) - 0.5


def most_severe_error(errors: Iterable[AdwarmError]) -> AdwarmError | None:
    """Return the error that decides what happens to all; of several waits the shortest. None without errors."""
    return min(errors, key=_severity, default=None)


def _severity(error: AdwarmError) -> tuple[float, float]:
    place = next((number for number, kind in enumerate(_SEVERITY_ORDER) if isinstance(error, kind)), _UNKNOWN_SEVERITY)
    if isinstance(error, Throttled):
        return place, error.until.timestamp()
    return place, error.retry_after or 0.0 if isinstance(error, Refused | Transient) else 0.0


def with_message(error: AdwarmError, message: str) -> AdwarmError:
    """Return an error of the same class that carries the same, in other words; `error` is its cause."""
    told: AdwarmError = type(error).__new__(type(error), message)
    told.__dict__.update(error.__dict__)
    told.__cause__ = error
    return told


@dataclass(slots=True)
class BatchResult:
    """How a batch ended."""

    outcomes: list[KeyOutcome] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Upstream requests the batch has cost."""
        return sum(outcome.calls for outcome in self.outcomes)

    def count(self, *statuses: KeyStatus) -> int:
        """Return the number of keys that ended in one of `statuses`."""
        return sum(outcome.status in statuses for outcome in self.outcomes)

    def summary(self) -> dict[str, int]:
        """Return counts by status, and the requests: small enough for an XCom."""
        counts = {str(status): self.count(status) for status in KeyStatus}
        return {**counts, "keys": len(self.outcomes), "requests": self.calls}

    def errors(self, limit: int = 20) -> list[str]:
        """Return up to `limit` reasons of keys that did not end fresh."""
        texts = [f"{item.request.key}: {item.reason}" for item in self.outcomes if not item.status.is_served]
        return texts[:limit]

    def most_severe_error(self) -> AdwarmError | None:
        """Return the gravest error of the keys that did not end fresh."""
        failed = [item for item in self.outcomes if not item.status.is_served]
        return most_severe_error(item.error or AdwarmError(item.reason) for item in failed)

    def failure(self) -> AdwarmError | None:
        """Return what to raise when not one key ended fresh: the gravest error, told with the first reasons."""
        error = None if self.count(KeyStatus.FETCHED, KeyStatus.FRESH) else self.most_severe_error()
        if error is None:
            return None
        return with_message(error, "every key failed; the first reasons: " + " | ".join(self.errors(3)))
