"""A run's state is a function of its age."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from graph_simulator.fault_profile import ReportSetting
from graph_simulator.query import read_query
from graph_simulator.report_runs import Fate, Job, Status, progress, seconds_of

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ORDER = list(Status)
JOB = Job("6023920149050", "act_1", read_query({}, "UTC", NOW), NOW, seconds=100, full_seconds=5)
ages = st.floats(0, 1_000, allow_nan=False).map(lambda seconds: NOW + timedelta(seconds=seconds))
jobs = st.builds(lambda number, fate: replace(JOB, id=str(number), fate=fate), st.integers(1), st.sampled_from(Fate))


@given(jobs, ages, ages)
def test_a_run_never_goes_back(job: Job, one: datetime, other: datetime) -> None:
    """Percentages and states only advance, and 100 % comes before completion."""
    early, late = progress(job, min(one, other)), progress(job, max(one, other))
    assert early.percent <= late.percent
    assert ORDER.index(early.status) <= ORDER.index(late.status)
    assert early.status is not Status.COMPLETED or early.percent == 100


@given(jobs)
def test_fates(job: Job) -> None:
    """In the end a run is what it was meant to be: done, failed, skipped, or running for ever."""
    end = progress(job, NOW + timedelta(days=1))
    ends = {
        Fate.COMPLETE: Status.COMPLETED,
        Fate.FAIL: Status.FAILED,
        Fate.SKIP: Status.SKIPPED,
        Fate.STUCK: Status.RUNNING,
        Fate.STUCK_FULL: Status.RUNNING,
    }
    assert end.status is ends[job.fate]
    assert (end.percent == 100) == (job.fate in {Fate.COMPLETE, Fate.STUCK_FULL})


def test_a_full_run_is_not_done_yet() -> None:
    """Between the work's end and completion the run is `Job Running` with 100 %."""
    seen = [progress(JOB, NOW + timedelta(seconds=seconds)) for seconds in (0, 10, 100, 104.9, 105)]
    assert [found.status for found in seen] == [
        Status.NOT_STARTED, Status.STARTED, Status.RUNNING, Status.RUNNING, Status.COMPLETED,
    ]  # fmt: skip
    assert [found.percent for found in seen] == [0, 0, 100, 100, 100]


def test_percentages_stand_on_plateaus() -> None:
    """Seen every second, a run shows only a handful of percentages."""
    assert 3 <= len({progress(JOB, NOW + timedelta(seconds=second)).percent for second in range(106)}) <= 7


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0))
def test_more_cells_take_longer(one: int, other: int, seed: int) -> None:
    """With equal luck, a run over more cells takes at least as long, and none longer than the longest."""
    setting = ReportSetting(longest_seconds=300)
    less, more = (seconds_of(setting, count, random.Random(seed)) for count in sorted([one, other]))
    assert less <= more <= 300
    assert seconds_of(ReportSetting(spread=0), 2_000, random.Random(seed)) == 7
