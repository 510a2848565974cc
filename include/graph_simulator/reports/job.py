"""One asynchronous report run as a law of time: its state follows from its age, whoever asks and however often.

Percentages stand on plateaus and jump; a run is at 100 % for a while before it is `Job Completed`, and only then can be
read. A run that is meant to get stuck stays on a plateau, or at 100 %, for ever.
"""

import math
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from graph_simulator.fault_profile import ReportSetting
from graph_simulator.query import Query

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
class JobError:
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
class Job:
    """One run: whose it is, what it asks, when it was made, how long it takes in seconds, and how it ends."""

    id: str
    account: str
    query: Query
    created: datetime
    seconds: float
    full_seconds: float
    fate: Fate = Fate.COMPLETE
    error: JobError | None = None

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


def progress(job: Job, now: datetime) -> Progress:
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


def _plateau(job: Job, share: float) -> int:
    chance = random.Random(job.id)  # noqa: S311 -- a seeded draw, no secret
    times = sorted(chance.uniform(_STARTED_SHARE, 1) for _ in range(_PLATEAUS))
    marks = sorted(chance.randrange(1, 100) for _ in range(_PLATEAUS))
    return max((mark for at, mark in zip(times, marks, strict=True) if at <= share), default=0)
