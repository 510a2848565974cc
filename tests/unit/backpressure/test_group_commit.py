"""Tests of doing many threads' jobs in one go."""

import threading
from collections.abc import Callable

import pytest

from adwarm.backpressure.sql_admission import MAX_JOBS, GroupCommitter


def together(combiner: GroupCommitter[int], jobs: list[int], into: list[BaseException]) -> list[threading.Thread]:
    """Start a thread for each job; what one raises is collected."""

    def submit(job: int) -> None:
        try:
            combiner.submit(job)
        except ValueError as error:
            into.append(error)

    threads = [threading.Thread(target=submit, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def test_who_comes_meanwhile_shares_the_next_round() -> None:
    """Everybody is served once, in far fewer rounds than there are jobs."""
    rounds: list[list[int]] = []
    begun, go = threading.Event(), threading.Event()

    def work(take: Callable[[], list[int]]) -> None:
        begun.set()
        go.wait(10)
        rounds.append(take())

    combiner: GroupCommitter[int] = GroupCommitter(work)
    threads = together(combiner, list(range(3 * MAX_JOBS)), [])
    begun.wait(10)
    go.set()
    for thread in threads:
        thread.join(10)

    assert sorted(job for jobs in rounds for job in jobs) == list(range(3 * MAX_JOBS))
    assert max(map(len, rounds)) <= MAX_JOBS


def test_a_failed_round_fails_whoever_was_in_it_and_nobody_after() -> None:
    """An error reaches every job of its batch; the next round works."""
    fails = True
    done: list[int] = []

    def work(take: Callable[[], list[int]]) -> None:
        jobs = take()
        if fails:
            raise ValueError("the database is gone")
        done.extend(jobs)

    combiner: GroupCommitter[int] = GroupCommitter(work)
    with pytest.raises(ValueError, match="gone"):
        combiner.submit(1)
    fails = False
    combiner.submit(2)

    assert done == [2]


def test_an_error_before_the_batch_was_taken_reaches_those_who_wait() -> None:
    """Nobody hangs when the transaction could not even begin."""

    def work(take: Callable[[], list[int]]) -> None:
        raise ValueError("cannot connect")

    errors: list[BaseException] = []
    for thread in together(GroupCommitter(work), list(range(20)), errors):
        thread.join(10)

    assert len(errors) == 20
