"""Jobs count the progress of a run over all workers."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from adwarm.foundation.errors import NotFound
from adwarm.store import jobs, write_transaction

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_concurrent_batches_lose_no_count(engine: Engine) -> None:
    """Threads that add to one job at once all count, errors included."""
    jobs.start(engine, "dag/1", "dag", 40, AT)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: jobs.add_progress(engine, "dag/1", done=1, requests=2, errors=[f"e{n}"]), range(20)))
    (job,) = jobs.list_latest(engine)
    assert (job.done, job.failed, job.requests, len(job.errors)) == (20, 0, 40, 20)
    assert job.remaining_seconds(AT + MINUTE) == pytest.approx(60)


def test_the_remaining_time_follows_the_pace(engine: Engine) -> None:
    """None before the first key, 0 when finished."""
    jobs.start(engine, "dag/1", "dag", 4, AT)
    assert jobs.list_latest(engine)[0].remaining_seconds(AT + MINUTE) is None
    jobs.add_progress(engine, "dag/1", done=1, failed=1)
    assert jobs.list_latest(engine)[0].remaining_seconds(AT + MINUTE) == pytest.approx(60)
    jobs.finish(engine, "dag/1", AT + MINUTE)
    assert jobs.list_latest(engine)[0].remaining_seconds(AT + 2 * MINUTE) == 0


@pytest.mark.parametrize(
    ("total", "done", "failed", "status"),
    [
        (2, 1, 1, "completed"),
        (2, 0, 2, "failed"),
        (0, 0, 0, "completed"),
    ],
)
def test_a_job_fails_when_every_key_failed(engine: Engine, total: int, done: int, failed: int, status: str) -> None:
    """One success is enough to complete, and an empty plan is not a failure."""
    jobs.start(engine, "dag/1", "dag", total, AT)
    jobs.add_progress(engine, "dag/1", done=done, failed=failed)
    assert jobs.finish(engine, "dag/1", AT).status == status


def test_a_rerun_resets_the_job(engine: Engine) -> None:
    """Counts and errors of the earlier run are gone; the number of errors is limited."""
    jobs.start(engine, "dag/1", "dag", 2, AT)
    jobs.add_progress(engine, "dag/1", failed=2, errors=["e"] * 80)
    assert len(jobs.list_latest(engine)[0].errors) == jobs.MAX_ERRORS
    jobs.start(engine, "dag/1", "dag", 3, AT + MINUTE)
    (job,) = jobs.list_latest(engine)
    assert (job.status, job.total, job.failed, job.errors) == ("running", 3, 0, ())


def test_a_run_without_a_job(engine: Engine) -> None:
    """Progress of a run without a job is ignored; finishing it is an error."""
    jobs.add_progress(engine, "dag/9", done=1)
    assert jobs.list_latest(engine) == []
    with pytest.raises(NotFound, match="never made"):
        jobs.finish(engine, "dag/9", AT)


def test_the_status_of_a_finished_job_follows_its_counts(engine: Engine) -> None:
    """A batch that is cleared after the run has ended can change the status in both directions."""
    jobs.start(engine, "dag/1", "dag", 2, AT)
    jobs.add_progress(engine, "dag/1", failed=2, errors=["a: no", "b: no"])
    jobs.finish(engine, "dag/1", AT)
    seen = []
    for change in ({"done": 1}, {"failed": 2}):
        with write_transaction(engine) as connection:
            jobs.retract_failures(connection, "dag/1", ["a"])
        jobs.add_progress(engine, "dag/1", **change)
        (job,) = jobs.list_latest(engine)
        seen.append((job.status, job.done, job.failed, job.errors, job.finished_at))
    assert seen == [("completed", 1, 1, ("b: no",), AT), ("failed", 1, 2, ("b: no",), AT)]


def test_a_job_that_is_never_closed_stops(engine: Engine) -> None:
    """Six hours after its start a run is over: its job is `stopped`, with no time left; a closed one is not."""
    jobs.start(engine, "dag/1", "dag", 4, AT)
    (job,) = jobs.list_latest(engine)
    assert (job.get_state(AT + 300 * MINUTE), job.is_over(AT + 300 * MINUTE)) == ("running", False)
    assert (job.get_state(AT + 361 * MINUTE), job.remaining_seconds(AT + 361 * MINUTE)) == ("stopped", 0.0)
    assert jobs.finish(engine, "dag/1", AT + 361 * MINUTE).get_state(AT + 400 * MINUTE) == "completed"
