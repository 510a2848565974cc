"""The report runs there are: submitted, polled, read, and forgotten after their time. Safe for several threads."""

import random
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from graph_simulator.breakdowns import REACH_REPORTS_A_DAY
from graph_simulator.dataset import World
from graph_simulator.errors import GraphError, bad_parameter, missing_object
from graph_simulator.fault_profile import Storm
from graph_simulator.faults.kinds import FaultKind
from graph_simulator.insights import Selection, select
from graph_simulator.parameter_values import word_list
from graph_simulator.reports.job import Fate, Job, JobError, Status, progress, seconds_of
from graph_simulator.size_limits import cells, is_poisoned

_FIRST_RUN = 6_023_920_149_050
_RUN_STEP = 7_919
_KEPT_RESULTS = 64
_FATES = {
    FaultKind.REPORT_FAILED: Fate.FAIL,
    FaultKind.REPORT_SKIPPED: Fate.SKIP,
    FaultKind.REPORT_STUCK: Fate.STUCK,
    FaultKind.REPORT_STUCK_FULL: Fate.STUCK_FULL,
}
_INTERMITTENT = (
    JobError(2, 1504044, "An unknown error occurred while the report was created"),
    JobError(-2, 2490547, "The report failed"),
)
_TOO_LARGE = JobError(100, 1487534, "There are too many rows in the report; narrow the time range or the level")
_POISONED = JobError(-3, 1504045, "The report is too large to be created")
_OPTIONAL = frozenset({
    "time_completed",
    "date_start",
    "date_stop",
    "error_code",
    "error_subcode",
    "error_message",
    "error_user_title",
    "error_user_msg",
})


class ReportDesk:
    """Keeps the runs of one platform."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._jobs: dict[str, Job] = {}
        self._results: dict[str, Selection] = {}
        self._deleted: set[str] = set()
        self._counting: Counter[tuple[str, date]] = Counter()
        self._lock = threading.Lock()

    def submit(self, chosen: Selection, fate: FaultKind | None, storm: Storm, now: datetime) -> Job:
        """Start the run that will answer what `chosen` answers now."""
        with self._lock:
            run_id = str(_FIRST_RUN + _RUN_STEP * len(self._jobs))
            chance = random.Random(f"{storm.seed}:{run_id}")  # noqa: S311 -- a seeded draw, no secret
            ending, error = _ending(chosen, fate, storm, chance)
            job = Job(
                id=run_id,
                account=chosen.account,
                query=chosen.query,
                created=now,
                seconds=seconds_of(storm.reports, cells(chosen.query.fields, chosen.rows), chance),
                full_seconds=storm.reports.full_seconds,
                fate=ending,
                error=error,
            )
            self._jobs[run_id] = job
        return job

    def may_count_people(self, account: str, day: date) -> bool:
        """Take one of the few reports of a day that may count people over days long ago; False when none is left."""
        with self._lock:
            self._counting[account, day] += 1
            return self._counting[account, day] <= REACH_REPORTS_A_DAY

    def owner(self, run_id: str) -> str | None:
        """Return the account whose run this is, whether or not it can be seen now; None when there is none."""
        with self._lock:
            job = self._jobs.get(run_id)
        return None if job is None else job.account

    def find(self, run_id: str, storm: Storm, now: datetime) -> Job:
        """Return a run.

        Raises:
            GraphError: it is not visible yet, or forgotten (100/33).
        """
        with self._lock:
            job = None if run_id in self._deleted else self._jobs.get(run_id)
        if job is None:
            raise missing_object(run_id)
        age = now - job.created
        if age < timedelta(seconds=storm.reports.visible_after_seconds) or age >= timedelta(storm.reports.keep_days):
            raise missing_object(run_id)
        return job

    def delete(self, run_id: str, storm: Storm, now: datetime) -> None:
        """Forget a run that its caller needs no more.

        Raises:
            GraphError: as for `find`.
        """
        self.find(run_id, storm, now)
        with self._lock:
            self._deleted.add(run_id)
            self._results.pop(run_id, None)

    def result(self, job: Job, now: datetime) -> Selection:
        """Return a completed run's rows, as they stood when it completed.

        Raises:
            GraphError: it is not complete (2601/1815107).
        """
        if progress(job, now).status is not Status.COMPLETED:
            raise GraphError("(#2601) Error accessing adreport job", code=2601, subcode=1815107, transient=True)
        with self._lock:
            found = self._results.get(job.id)
        if found is None:
            found = select(self._world, job.account, job.query, job.ready_at)
            with self._lock:
                self._results[job.id] = found
                while len(self._results) > _KEPT_RESULTS:
                    del self._results[next(iter(self._results))]
        return found

    def jobs(self) -> list[Job]:
        """Return every run, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def clear(self) -> None:
        """Forget every run."""
        with self._lock:
            self._jobs.clear()
            self._results.clear()
            self._deleted.clear()
            self._counting.clear()


def run_body(job: Job, params: Mapping[str, str], now: datetime, skew: timedelta) -> dict[str, Any]:
    """Return what a poll sees; times are off by `skew`.

    Raises:
        GraphError: it asks for a field that runs do not have.
    """
    seen = progress(job, now)
    body: dict[str, Any] = {
        "id": job.id,
        "account_id": job.account.removeprefix("act_"),
        "time_ref": int((job.created + skew).timestamp()),
        "async_status": seen.status.value,
        "async_percent_completion": seen.percent,
        "date_start": str(min(window.since for window in job.query.windows)),
        "date_stop": str(max(window.until for window in job.query.windows)),
    }
    if seen.status is Status.COMPLETED:
        body["time_completed"] = int((job.ready_at + skew).timestamp())
    if seen.status is Status.FAILED and job.error is not None:
        body |= job.error.fields()
    wanted = word_list(params.get("fields", ""))
    unknown = [name for name in wanted if name not in body and name not in _OPTIONAL]
    if unknown:
        raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type (AdReportRun)")
    return {name: value for name, value in body.items() if not wanted or name in {"id", *wanted}}


def _ending(
    chosen: Selection, fate: FaultKind | None, storm: Storm, chance: random.Random
) -> tuple[Fate, JobError | None]:
    if is_poisoned(chosen, storm.poison):
        return Fate.FAIL, _POISONED
    if storm.size.async_rows is not None and chosen.rows > storm.size.async_rows:
        return Fate.FAIL, _TOO_LARGE
    if fate is None:
        return Fate.COMPLETE, None
    ending = _FATES[fate]
    return ending, chance.choice(_INTERMITTENT) if ending is Fate.FAIL else None
