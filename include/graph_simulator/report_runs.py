"""Asynchronous report runs: submitted, polled, read, and expired.

The status of a run follows from its age alone, so polling has no side effects:

| age as a share of the run's duration | status | percent |
|---|---|---|
| below 0.05 | Job Not Started | 0 |
| below 0.15 | Job Started | 0 |
| below 1 | Job Running | stays on plateaus and jumps between them |
| 0.6 on, when the run fails or is skipped | Job Failed, Job Skipped | the plateau at 0.6 |
| 1 on, for `full_seconds` | Job Running | 100 |
| then | Job Completed | 100 |

A stuck run never ends: it stays on its plateau at 0.6, or at 100 %.
"""

import math
import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from graph_simulator.dataset import Dataset
from graph_simulator.error_responses import GraphError, bad_parameter, missing_object
from graph_simulator.fault_kinds import FaultKind
from graph_simulator.fault_profile import FaultProfile, ReportSetting
from graph_simulator.insights import Selection, cells, is_poisoned, select
from graph_simulator.parameters import string_list
from graph_simulator.query import REACH_REPORTS_PER_DAY, Query

_PLATEAUS = 5
_NOT_STARTED_SHARE, _STARTED_SHARE, _BREAK_SHARE = 0.05, 0.15, 0.6
_FIRST_RUN = 6_023_920_149_050
_RUN_STEP = 7_919
_CACHED_RESULTS = 64
_OPTIONAL_FIELDS = frozenset({
    "time_completed",
    "date_start",
    "date_stop",
    "error_code",
    "error_subcode",
    "error_message",
    "error_user_title",
    "error_user_msg",
})


class Status(StrEnum):
    """`async_status` of a run."""

    NOT_STARTED = "Job Not Started"
    STARTED = "Job Started"
    RUNNING = "Job Running"
    COMPLETED = "Job Completed"
    FAILED = "Job Failed"
    SKIPPED = "Job Skipped"


class RunOutcome(StrEnum):
    """How a run is going to end."""

    COMPLETE = "complete"
    FAIL = "fail"
    SKIP = "skip"
    STUCK = "stuck"
    STUCK_FULL = "stuck_full"


_OUTCOMES = {
    FaultKind.REPORT_FAILED: RunOutcome.FAIL,
    FaultKind.REPORT_SKIPPED: RunOutcome.SKIP,
    FaultKind.REPORT_STUCK: RunOutcome.STUCK,
    FaultKind.REPORT_STUCK_FULL: RunOutcome.STUCK_FULL,
}


@dataclass(frozen=True, slots=True)
class ReportError:
    """Why a run failed. Codes may be negative."""

    code: int
    subcode: int
    message: str

    def fields(self) -> dict[str, Any]:
        """Return the error fields of a polled run."""
        return {
            "error_code": self.code,
            "error_subcode": self.subcode,
            "error_message": self.message,
            "error_user_title": "Report could not be created",
            "error_user_msg": self.message,
        }


_INTERMITTENT = (
    ReportError(2, 1504044, "An unknown error occurred while the report was created"),
    ReportError(-2, 2490547, "The report failed"),
)
_TOO_LARGE = ReportError(100, 1487534, "There are too many rows in the report; narrow the time range or the level")
_POISONED = ReportError(-3, 1504045, "The report is too large to be created")


@dataclass(frozen=True, slots=True)
class ReportRun:
    """One run.

    Attributes:
        seconds: how long it runs until it reaches 100 %.
        full_seconds: how long it stays at 100 % before it is completed.
    """

    id: str
    account: str
    query: Query
    created: datetime
    seconds: float
    full_seconds: float
    outcome: RunOutcome = RunOutcome.COMPLETE
    error: ReportError | None = None

    @property
    def ready_at(self) -> datetime:
        """The moment from which a run that completes can be read."""
        return self.created + timedelta(seconds=self.seconds + self.full_seconds)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a poll shows."""

    status: Status
    percent: int


def run_seconds(setting: ReportSetting, cell_count: int, random_source: random.Random) -> float:
    """Return the duration in seconds of a run over `cell_count` cells."""
    typical = setting.base_seconds + setting.seconds_per_1000_cells * cell_count / 1000
    return min(setting.longest_seconds, typical * math.exp(random_source.gauss(0, setting.spread)))


def progress(run: ReportRun, now: datetime) -> Progress:
    """Return the status and percentage of a run at `now`."""
    age = (now - run.created).total_seconds()
    share = age / run.seconds if run.seconds > 0 else 1.0
    if run.outcome in {RunOutcome.FAIL, RunOutcome.SKIP} and share >= _BREAK_SHARE:
        status = Status.FAILED if run.outcome is RunOutcome.FAIL else Status.SKIPPED
        return Progress(status, _plateau(run, _BREAK_SHARE))
    if run.outcome is RunOutcome.STUCK:
        share = min(share, _BREAK_SHARE)
    if share >= 1:
        completed = run.outcome is RunOutcome.COMPLETE and now >= run.ready_at
        return Progress(Status.COMPLETED if completed else Status.RUNNING, 100)
    if share < _STARTED_SHARE:
        return Progress(Status.NOT_STARTED if share < _NOT_STARTED_SHARE else Status.STARTED, 0)
    return Progress(Status.RUNNING, _plateau(run, share))


def _plateau(run: ReportRun, share: float) -> int:
    random_source = random.Random(run.id)  # noqa: S311 -- a seeded draw, no secret
    times = sorted(random_source.uniform(_STARTED_SHARE, 1) for _ in range(_PLATEAUS))
    percents = sorted(random_source.randrange(1, 100) for _ in range(_PLATEAUS))
    return max((percent for at, percent in zip(times, percents, strict=True) if at <= share), default=0)


class ReportRuns:
    """The runs of one platform. Thread-safe."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._runs: dict[str, ReportRun] = {}
        self._results: dict[str, Selection] = {}
        self._deleted: set[str] = set()
        self._reach_reports: Counter[tuple[str, date]] = Counter()
        self._lock = threading.Lock()

    def submit(self, selection: Selection, fault: FaultKind | None, profile: FaultProfile, now: datetime) -> ReportRun:
        """Start a run for the query of `selection`, whose size decides how long the run takes."""
        with self._lock:
            run_id = str(_FIRST_RUN + _RUN_STEP * len(self._runs))
            random_source = random.Random(f"{profile.seed}:{run_id}")  # noqa: S311 -- a seeded draw, no secret
            outcome, error = _outcome(selection, fault, profile, random_source)
            run = ReportRun(
                id=run_id,
                account=selection.account,
                query=selection.query,
                created=now,
                seconds=run_seconds(profile.reports, cells(selection.query.fields, selection.rows), random_source),
                full_seconds=profile.reports.full_seconds,
                outcome=outcome,
                error=error,
            )
            self._runs[run_id] = run
        return run

    def take_reach_quota(self, account: str, day: date) -> bool:
        """Take one of the day's reports that may count reach over old days; return False when none is left."""
        with self._lock:
            self._reach_reports[account, day] += 1
            return self._reach_reports[account, day] <= REACH_REPORTS_PER_DAY

    def owner(self, run_id: str) -> str | None:
        """Return the account of a run, visible or not; None when there is no such run."""
        with self._lock:
            run = self._runs.get(run_id)
        return None if run is None else run.account

    def find(self, run_id: str, profile: FaultProfile, now: datetime) -> ReportRun:
        """Return a run.

        Raises:
            GraphError: the run is not visible yet, deleted, or expired (100/33).
        """
        with self._lock:
            run = None if run_id in self._deleted else self._runs.get(run_id)
        if run is None:
            raise missing_object(run_id)
        age, setting = now - run.created, profile.reports
        if age < timedelta(seconds=setting.visible_after_seconds) or age >= timedelta(setting.keep_days):
            raise missing_object(run_id)
        return run

    def delete(self, run_id: str, profile: FaultProfile, now: datetime) -> None:
        """Delete a run.

        Raises:
            GraphError: as for `find`.
        """
        self.find(run_id, profile, now)
        with self._lock:
            self._deleted.add(run_id)
            self._results.pop(run_id, None)

    def result(self, run: ReportRun, now: datetime) -> Selection:
        """Return the rows of a completed run, as they were when it completed.

        Raises:
            GraphError: the run is not complete (2601/1815107).
        """
        if progress(run, now).status is not Status.COMPLETED:
            raise GraphError("(#2601) Error accessing adreport job", code=2601, subcode=1815107, transient=True)
        with self._lock:
            selection = self._results.get(run.id)
        if selection is None:
            # Computed outside of the lock: a large selection must not block polls of other runs.
            selection = select(self._dataset, run.account, run.query, run.ready_at)
            with self._lock:
                self._results[run.id] = selection
                while len(self._results) > _CACHED_RESULTS:
                    del self._results[next(iter(self._results))]
        return selection

    def runs(self) -> list[ReportRun]:
        """Return all runs, oldest first."""
        with self._lock:
            return list(self._runs.values())

    def clear(self) -> None:
        """Forget all runs."""
        with self._lock:
            self._runs.clear()
            self._results.clear()
            self._deleted.clear()
            self._reach_reports.clear()


def run_body(run: ReportRun, params: Mapping[str, str], now: datetime, skew: timedelta) -> dict[str, Any]:
    """Return the body of a poll; its times are off by `skew`.

    Raises:
        GraphError: `fields` names a field that runs do not have.
    """
    current = progress(run, now)
    body: dict[str, Any] = {
        "id": run.id,
        "account_id": run.account.removeprefix("act_"),
        "time_ref": int((run.created + skew).timestamp()),
        "async_status": current.status.value,
        "async_percent_completion": current.percent,
        "date_start": str(min(window.since for window in run.query.windows)),
        "date_stop": str(max(window.until for window in run.query.windows)),
    }
    if current.status is Status.COMPLETED:
        body["time_completed"] = int((run.ready_at + skew).timestamp())
    if current.status is Status.FAILED and run.error is not None:
        body |= run.error.fields()
    fields = string_list(params.get("fields", ""))
    unknown = [name for name in fields if name not in body and name not in _OPTIONAL_FIELDS]
    if unknown:
        raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type (AdReportRun)")
    return {name: value for name, value in body.items() if not fields or name in {"id", *fields}}


def _outcome(
    selection: Selection, fault: FaultKind | None, profile: FaultProfile, random_source: random.Random
) -> tuple[RunOutcome, ReportError | None]:
    if is_poisoned(selection, profile.poison):
        return RunOutcome.FAIL, _POISONED
    if profile.size.async_rows is not None and selection.rows > profile.size.async_rows:
        return RunOutcome.FAIL, _TOO_LARGE
    if fault is None:
        return RunOutcome.COMPLETE, None
    outcome = _OUTCOMES[fault]
    return outcome, random_source.choice(_INTERMITTENT) if outcome is RunOutcome.FAIL else None
