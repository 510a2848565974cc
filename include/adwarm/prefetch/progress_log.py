"""The log of a running batch.

It has a line for each report that has ended, and the progress every 10 seconds. Reports end in several threads.
They only note the outcome; the thread that runs the batch writes the lines.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from adwarm.foundation.redaction import log_context
from adwarm.foundation.wording import format_count, format_duration
from adwarm.model import ReportKey
from adwarm.prefetch.batch_result import KeyOutcome, KeyStatus, list_ids
from adwarm.prefetch.outcome_texts import describe_outcomes

INTERVAL_SECONDS = 10.0
Write = Callable[[int, str], object]
"""Writes a line at a level of `logging`, as `Logger.log` does."""
_QUIET = frozenset({KeyStatus.FETCHED, KeyStatus.FRESH, KeyStatus.PARKED})


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is.

    Attributes:
        statuses: how many ended in each status; `parked` ones have not ended.
    """

    total: int
    statuses: Counter[KeyStatus]
    running_reports: int
    elapsed: float
    noun: str = "report"

    @property
    def done(self) -> int:
        """Reports that have ended."""
        return sum(self.statuses.values()) - self.statuses[KeyStatus.PARKED]

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest takes at the average pace so far; None before the first report has ended."""
        return self.elapsed / self.done * (self.total - self.done) if self.done else None

    def __str__(self) -> str:
        counts = {
            "failed": self.statuses[KeyStatus.FAILED] + self.statuses[KeyStatus.STALE],
            "denied": self.statuses[KeyStatus.DENIED],
            "waiting": self.statuses[KeyStatus.PARKED],
        }
        parts = [f"{self.done:,} of {format_count(self.total, self.noun)}"]
        parts += [f"{count:,} {name}" for name, count in counts.items() if count]
        if self.running_reports:
            parts.append(f"the platform is preparing {format_count(self.running_reports, 'async report')}")
        left = self.seconds_left
        parts.append("time left not known yet" if left is None else f"about {format_duration(left)} left")
        return ", ".join(parts)


@dataclass
class ProgressLog:
    """Writes the log of a batch. Leaving its context writes the lines that are left.

    Attributes:
        is_listing: whether to write a line for each report; the progress is always written.
    """

    total: int
    write: Write
    noun: str = "report"
    is_listing: bool = True
    monotonic: Callable[[], float] = time.monotonic
    _ended: list[Sequence[KeyOutcome]] = field(default_factory=list, init=False)
    _statuses: dict[tuple[ReportKey, int | None], KeyStatus] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _started: float = field(init=False)
    _written: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self._written = self.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._write_ended()

    def add(self, outcomes: Sequence[KeyOutcome]) -> None:
        """Note the outcomes of one account. May be called from any thread; writes nothing."""
        with self._lock:
            self._ended.append(outcomes)

    def tick(self, running_reports: int = 0) -> None:
        """Write the lines of reports that have ended, and every 10 seconds the progress. Call it from one thread."""
        self._write_ended()
        now = self.monotonic()
        if now - self._written < INTERVAL_SECONDS:
            return
        self._written = now
        progress = BatchProgress(
            self.total, Counter(self._statuses.values()), running_reports, now - self._started, self.noun
        )
        if progress.done < self.total:
            self.write(logging.INFO, str(progress))

    def _write_ended(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, []
        for outcomes in ended:
            self._statuses.update({(item.request.key, item.request.reference): item.status for item in outcomes})
            lines = describe_outcomes(outcomes) if self.is_listing else []
            for item, line in zip(outcomes, lines, strict=False):
                with log_context(account=item.request.key.account_id, ids=list_ids([item.request])):
                    self.write(logging.INFO if item.status in _QUIET else logging.WARNING, line)
