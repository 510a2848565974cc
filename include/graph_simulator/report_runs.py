"""The report runs there are: submitted, polled, read, and forgotten after their time. Safe for several threads."""

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
from graph_simulator.fault_kinds import FaultKind
from graph_simulator.fault_profile import FaultProfile, ReportSetting
from graph_simulator.graph_errors import GraphError, bad_parameter, missing_object
from graph_simulator.insights import Selection, cells, is_poisoned, select
from graph_simulator.parameters import word_list
from graph_simulator.query import REACH_REPORTS_A_DAY, Query

_PLATEAUS = 5
_NOT_STARTED_SHARE, _STARTED_SHARE, _BREAK_SHARE = 0.05, 0.15, 0.6


class Status(StrEnum):
    """The platform's words for where a run is."""

    NOT_STARTED = "Job Not Started"
    STARTED = "Job Started"
    RUNNING = "Job Running"
    COMPLETED = "Job Completed"
    FAILED = "Job Failed"
    SKIPPED = "Job Skipped"


class Fate(StrEnum):
    """How a run is going to end."""

    COMPLETE = "complete"
    FAIL = "fail"
    SKIP = "skip"
    STUCK = "stuck"
    STUCK_FULL = "stuck_full"


@dataclass(frozen=True, slots=True)
class ReportError:
    """Why a run failed; codes may be negative."""

    code: int
    subcode: int
    message: str

    def fields(self) -> dict[str, Any]:
        """Return the error fields of a poll's answer."""
        return {
            "error_code": self.code,
            "error_subcode": self.subcode,
            "error_message": self.message,
            "error_user_title": "Report could not be created",
            "error_user_msg": self.message,
        }


@dataclass(frozen=True, slots=True)
class ReportRun:
    """One run: whose it is, what it asks, when it was made, how long it takes in seconds, and how it ends."""

    id: str
    account: str
    query: Query
    created: datetime
    seconds: float
    full_seconds: float
    fate: Fate = Fate.COMPLETE
    error: ReportError | None = None

    @property
    def ready_at(self) -> datetime:
        """The moment from which a run that completes can be read."""
        return self.created + timedelta(seconds=self.seconds + self.full_seconds)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a poll sees."""

    status: Status
    percent: int


def seconds_of(setting: ReportSetting, cells: int, chance: random.Random) -> float:
    """Return how long a run over so many cells takes."""
    law = setting.base_seconds + setting.seconds_per_1000_cells * cells / 1000
    return min(setting.longest_seconds, law * math.exp(chance.gauss(0, setting.spread)))


def progress(job: ReportRun, now: datetime) -> Progress:
    """Return where the run is at `now`."""
    age = (now - job.created).total_seconds()
    share = age / job.seconds if job.seconds > 0 else 1.0
    if job.fate in {Fate.FAIL, Fate.SKIP} and share >= _BREAK_SHARE:
        status = Status.FAILED if job.fate is Fate.FAIL else Status.SKIPPED
        return Progress(status, _plateau(job, _BREAK_SHARE))
    if job.fate is Fate.STUCK:
        share = min(share, _BREAK_SHARE)
    if share >= 1:
        done = job.fate is Fate.COMPLETE and now >= job.ready_at
        return Progress(Status.COMPLETED if done else Status.RUNNING, 100)
    if share < _STARTED_SHARE:
        return Progress(Status.NOT_STARTED if share < _NOT_STARTED_SHARE else Status.STARTED, 0)
    return Progress(Status.RUNNING, _plateau(job, share))


def _plateau(job: ReportRun, share: float) -> int:
    chance = random.Random(job.id)  # noqa: S311 -- a seeded draw, no secret
    times = sorted(chance.uniform(_STARTED_SHARE, 1) for _ in range(_PLATEAUS))
    marks = sorted(chance.randrange(1, 100) for _ in range(_PLATEAUS))
    return max((mark for at, mark in zip(times, marks, strict=True) if at <= share), default=0)


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
    ReportError(2, 1504044, "An unknown error occurred while the report was created"),
    ReportError(-2, 2490547, "The report failed"),
)
_TOO_LARGE = ReportError(100, 1487534, "There are too many rows in the report; narrow the time range or the level")
_POISONED = ReportError(-3, 1504045, "The report is too large to be created")
_OPTIONAL = frozenset({
    "time_completed", "date_start", "date_stop", "error_code", "error_subcode", "error_message", "error_user_title",
    "error_user_msg",
})  # fmt: skip


class ReportRuns:
    """Keeps the runs of one platform."""

    def __init__(self, dataset: Dataset) -> None:
        self._world = dataset
        self._jobs: dict[str, ReportRun] = {}
        self._results: dict[str, Selection] = {}
        self._deleted: set[str] = set()
        self._counting: Counter[tuple[str, date]] = Counter()
        self._lock = threading.Lock()

    def submit(self, chosen: Selection, fate: FaultKind | None, profile: FaultProfile, now: datetime) -> ReportRun:
        """Start the run that will answer what `chosen` answers now."""
        with self._lock:
            run_id = str(_FIRST_RUN + _RUN_STEP * len(self._jobs))
            chance = random.Random(f"{profile.seed}:{run_id}")  # noqa: S311 -- a seeded draw, no secret
            ending, error = _ending(chosen, fate, profile, chance)
            job = ReportRun(
                id=run_id,
                account=chosen.account,
                query=chosen.query,
                created=now,
                seconds=seconds_of(profile.reports, cells(chosen.query.fields, chosen.rows), chance),
                full_seconds=profile.reports.full_seconds,
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

    def find(self, run_id: str, profile: FaultProfile, now: datetime) -> ReportRun:
        """Return a run.

        Raises:
            GraphError: it is not visible yet, or forgotten (100/33).
        """
        with self._lock:
            job = None if run_id in self._deleted else self._jobs.get(run_id)
        if job is None:
            raise missing_object(run_id)
        age = now - job.created
        if age < timedelta(seconds=profile.reports.visible_after_seconds) or age >= timedelta(
            profile.reports.keep_days
        ):
            raise missing_object(run_id)
        return job

    def delete(self, run_id: str, profile: FaultProfile, now: datetime) -> None:
        """Forget a run that its caller needs no more.

        Raises:
            GraphError: as for `find`.
        """
        self.find(run_id, profile, now)
        with self._lock:
            self._deleted.add(run_id)
            self._results.pop(run_id, None)

    def result(self, job: ReportRun, now: datetime) -> Selection:
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

    def jobs(self) -> list[ReportRun]:
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


def run_body(job: ReportRun, params: Mapping[str, str], now: datetime, skew: timedelta) -> dict[str, Any]:
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
    chosen: Selection, fate: FaultKind | None, profile: FaultProfile, chance: random.Random
) -> tuple[Fate, ReportError | None]:
    if is_poisoned(chosen, profile.poison):
        return Fate.FAIL, _POISONED
    if profile.size.async_rows is not None and chosen.rows > profile.size.async_rows:
        return Fate.FAIL, _TOO_LARGE
    if fate is None:
        return Fate.COMPLETE, None
    ending = _FATES[fate]
    return ending, chance.choice(_INTERMITTENT) if ending is Fate.FAIL else None
