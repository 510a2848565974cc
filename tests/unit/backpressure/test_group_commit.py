"""Tests of running the jobs of many threads in one batch."""

import threading
from collections.abc import Callable

import pytest

from adwarm.backpressure.sql_admission import MAX_JOBS, GroupCommitter


def submit_concurrently(
    committer: GroupCommitter[int], jobs: list[int], errors: list[BaseException]
) -> list[threading.Thread]:
    """Start a thread for each job; errors are collected."""

    def submit(job: int) -> None:
        try:
            committer.submit(job)
        except ValueError as error:
            errors.append(error)

    threads = [threading.Thread(target=submit, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def test_jobs_that_come_meanwhile_share_the_next_batch() -> None:
    """Every job runs once, in far fewer batches than there are jobs."""
    batches: list[list[int]] = []
    begun, go = threading.Event(), threading.Event()

    def work(take: Callable[[], list[int]]) -> None:
        begun.set()
        go.wait(10)
        batches.append(take())

    committer: GroupCommitter[int] = GroupCommitter(work)
    threads = submit_concurrently(committer, list(range(3 * MAX_JOBS)), [])
    begun.wait(10)
    go.set()
    for thread in threads:
        thread.join(10)

    assert sorted(job for jobs in batches for job in jobs) == list(range(3 * MAX_JOBS))
    assert max(map(len, batches)) <= MAX_JOBS


def test_a_failed_batch_fails_only_its_own_jobs() -> None:
    """An error reaches every job of its batch; the next batch works."""
    fails = True
    done: list[int] = []

    def work(take: Callable[[], list[int]]) -> None:
        jobs = take()
        if fails:
            raise ValueError("the database is gone")
        done.extend(jobs)

    committer: GroupCommitter[int] = GroupCommitter(work)
    with pytest.raises(ValueError, match="gone"):
        committer.submit(1)
    fails = False
    committer.submit(2)

    assert done == [2]


def test_an_error_before_the_batch_is_taken_reaches_all_waiting_jobs() -> None:
    """No thread hangs when the transaction could not begin."""

    def work(take: Callable[[], list[int]]) -> None:
        raise ValueError("cannot connect")

    errors: list[BaseException] = []
    for thread in submit_concurrently(GroupCommitter(work), list(range(20)), errors):
        thread.join(10)

    assert len(errors) == 20
