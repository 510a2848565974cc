"""Jobs: the progress of one warming run."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from adwarm.foundation.wording import format_count

LONGEST_RUN: Final = timedelta(hours=6)
"""After this time a run of a warming DAG is stopped."""


@dataclass(frozen=True, slots=True)
class Job:
    """The progress of one run.

    Attributes:
        run_id: DAG id and Airflow's run id, separated by `/`.
        dag_id: id of the DAG.
        status: `running`, `completed`, or `failed` when every key failed.
        total: number of keys to fetch.
        done: keys served.
        failed: keys that failed.
        requests: upstream calls so far.
        started_at: when the run started.
        finished_at: None while the run is going.
        errors: the first errors, one line each.
    """

    run_id: str
    dag_id: str
    status: str
    total: int
    done: int
    failed: int
    requests: int
    started_at: datetime
    finished_at: datetime | None
    errors: tuple[str, ...]

    def __str__(self) -> str:
        if not self.total:
            return "nothing was planned, so nothing was fetched"
        reports = f"{self.done:,} of {format_count(self.total, 'report')} are fresh, {self.failed:,} failed"
        return f"{reports}; {format_count(self.requests, 'request')}"

    def is_over(self, now: datetime) -> bool:
        """Return whether nothing more comes: the run has ended, or it failed or was stopped without closing its job."""
        return self.finished_at is not None or now - self.started_at > LONGEST_RUN

    def get_state(self, now: datetime) -> str:
        """Return the status, or `stopped` for a run that is over and did not close its job."""
        return "stopped" if self.finished_at is None and self.is_over(now) else self.status

    def remaining_seconds(self, now: datetime) -> float | None:
        """Return how long the job still takes at its average pace; None before its first key, 0 when it is over."""
        if self.is_over(now):
            return 0.0
        processed = self.done + self.failed
        if not processed:
            return None
        elapsed = (now - self.started_at).total_seconds()
        return max(0.0, elapsed / processed * (self.total - processed))
