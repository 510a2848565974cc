"""What a batch is asked to make fresh, and how each key ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from adwarm.fetch_plan import get_day_close_windows
from adwarm.foundation.errors import AdwarmError, Blocked, Denied, NoCapacity, Permanent, Refused, TokenDead, Transient
from adwarm.foundation.wording import format_some
from adwarm.model import MANUAL_CAUSE, CallCause, ReportKey, Window
from adwarm.store.entries import Entry

_SEVERITY_ORDER: tuple[type[AdwarmError], ...] = (TokenDead, NoCapacity, Refused, Transient, Denied, Permanent)
"""Which error represents many, the most severe first.

A dead token comes first: no retry helps until a human has renewed it. Errors that pass by themselves follow, a
requested wait before a guessed one. Permanent ones come last, so that one bad key does not cost the others their retry.
An error of none of these classes comes before `Denied` and `Permanent`.
"""
_UNKNOWN_SEVERITY = _SEVERITY_ORDER.index(Denied) - 0.5


class KeyStatus(StrEnum):
    """How a key ended; every outcome but `fetched` and `fresh` has a reason."""

    FETCHED = "fetched"
    FRESH = "fresh"
    STALE = "stale"
    PARKED = "parked"
    DENIED = "denied"
    FAILED = "failed"

    @property
    def is_served(self) -> bool:
        """Whether a reader gets a fresh entry for the key."""
        return self in {KeyStatus.FETCHED, KeyStatus.FRESH}


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key to make fresh.

    Attributes:
        key: the report to make fresh.
        reference: the caller's own number for the request, returned in its outcome.
        close_day: a day to close: the history for its fatigue score is completed too.
        fresh_until: make the entry fresh at least through this moment (UTC); None means now.
        history: further days to complete; they get no entry.
        origin: what `reference` numbers, in log lines: a planned `warm` or a reader's `request`.
        cause: what makes the calls.
    """

    key: ReportKey
    reference: int | None = None
    close_day: date | None = None
    fresh_until: datetime | None = None
    history: Window | None = None
    origin: str = "warm"
    cause: CallCause = MANUAL_CAUSE

    def get_history_window(self, last_closed: date) -> Window | None:
        """Return the days to complete besides the key's own; None when there are none."""
        if self.close_day is None:
            return self.history
        return get_day_close_windows(self.close_day, last_closed)[1]


def list_ids(requests: Sequence[KeyRequest]) -> list[str]:
    """Return the ids of requests in log lines, such as `warm-12`; those of a caller without numbers have none."""
    return [f"{item.origin}-{item.reference}" for item in requests if item.reference is not None]


@dataclass(frozen=True, slots=True)
class KeyOutcome:
    """How one requested key ended.

    Attributes:
        calls: upstream calls; those of an account count for the first of its fetched keys.
        fetched_at: when the newest day of the entry was fetched, UTC; it may have been stored before.
        stored_at: from when readers get the entry, UTC.
        expires_at: until when the entry is fresh, UTC; None when it is final or was not fetched.
        rows: daily rows in the fetched entry; None when it was not fetched by this batch.
        reason: why the key did not end fresh, or what its entry lacks, for humans.
        retry_after: seconds until the next try makes sense.
        has_fixed_delay: whether to wait `retry_after` whatever the capacity: a report is running, or another worker
            fetches the key.
        seconds: how long the account's fetch took, waiting included; None as of another time, where the clock stands.
        error: why the key did not end fresh, in its own type, without traceback frames.
        source: the step of the fallback chain that has data for the key, which did not end fresh; None when none has,
            or none was tried.
        age_seconds: age of that data.
    """

    request: KeyRequest
    status: KeyStatus
    calls: int = 0
    fetched_at: datetime | None = None
    stored_at: datetime | None = None
    expires_at: datetime | None = None
    rows: int | None = None
    raw_bytes: int = 0
    stored_bytes: int = 0
    reason: str | None = None
    retry_after: float | None = None
    has_fixed_delay: bool = False
    seconds: float | None = None
    error: AdwarmError | None = None
    source: str | None = None
    age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """An entry that is published, with its sealed bytes, the number of its daily rows, and when it was built (UTC)."""

    entry: Entry
    sealed: bytes
    rows: int
    built_at: datetime


def make_fetched(request: KeyRequest, published: Published, seconds: float | None) -> KeyOutcome:
    """Return the outcome of a key whose entry is published."""
    entry = published.entry
    return KeyOutcome(
        request,
        KeyStatus.FETCHED,
        fetched_at=entry.fetched_at,
        stored_at=published.built_at,
        expires_at=entry.expires_at,
        rows=published.rows,
        raw_bytes=entry.raw_bytes,
        stored_bytes=entry.stored_bytes,
        reason=entry.degraded_reason,
        seconds=seconds,
    )


def _passes_by_itself(error: AdwarmError | None) -> bool:
    return isinstance(error, Transient) and not isinstance(error, Blocked)


def most_severe_error(errors: Iterable[AdwarmError]) -> AdwarmError | None:
    """Return the most severe error, and of several waits the shortest; None without errors."""
    return min(errors, key=_severity, default=None)


def _severity(error: AdwarmError) -> tuple[float, float]:
    rank = next((number for number, kind in enumerate(_SEVERITY_ORDER) if isinstance(error, kind)), _UNKNOWN_SEVERITY)
    if isinstance(error, NoCapacity):
        return rank, error.until.timestamp()
    return rank, error.retry_after or 0.0 if isinstance(error, Refused | Transient) else 0.0


def with_message(error: AdwarmError, message: str) -> AdwarmError:
    """Return an error of the same class and attributes with another message; `error` is its cause."""
    copy: AdwarmError = type(error).__new__(type(error), message)
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error
    return copy


@dataclass(slots=True)
class BatchResult:
    """How a batch ended."""

    outcomes: list[KeyOutcome] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Upstream calls that the batch made."""
        return sum(outcome.calls for outcome in self.outcomes)

    def count(self, *statuses: KeyStatus) -> int:
        """Return the number of keys that ended in one of `statuses`."""
        return sum(outcome.status in statuses for outcome in self.outcomes)

    def summary(self) -> dict[str, int]:
        """Return counts by status, and the calls; small enough for an XCom."""
        counts = {str(status): self.count(status) for status in KeyStatus}
        return {**counts, "keys": len(self.outcomes), "requests": self.calls}

    def errors(self, limit: int = 20) -> list[str]:
        """Return up to `limit` reasons of keys that did not end fresh."""
        texts = [f"{item.request.key}: {item.reason}" for item in self.outcomes if not item.status.is_served]
        return texts[:limit]

    def most_severe_error(self) -> AdwarmError | None:
        """Return the most severe error of the keys that did not end fresh."""
        failed = [item for item in self.outcomes if not item.status.is_served]
        return most_severe_error(item.error or AdwarmError(item.reason) for item in failed)

    def failure(self) -> AdwarmError | None:
        """Return the error to raise when no key ended fresh: the most severe one with the first reasons; else None.

        None also when a fallback has data for every key, and each error passes by itself. Data of yesterday is no
        substitute for a token, an account or a range that a human has to correct.
        """
        error = None if self.count(KeyStatus.FETCHED, KeyStatus.FRESH) else self.most_severe_error()
        if error is None or all(item.source and _passes_by_itself(item.error) for item in self.outcomes):
            return None
        return with_message(error, f"every key failed; the first reasons: {self._describe_reasons(type(error))}")

    def _describe_reasons(self, kind: type[AdwarmError]) -> str:
        """Return a few reasons, each once with its keys; those of errors of the class `kind` come first."""
        failed = [item for item in self.outcomes if not item.status.is_served]
        failed.sort(key=lambda item: not isinstance(item.error, kind))
        keys: dict[str, list[str]] = {}
        for item in failed:
            keys.setdefault(str(item.reason), []).append(str(item.request.key))
        reasons = [f"{format_some(names, 2)}: {reason}" for reason, names in keys.items()]
        return format_some(reasons, 3, " | ")
