"""The log of a running batch: lines as reports end, the progress every 10 seconds, all from one thread."""

import logging
import threading
from collections import Counter

import pytest

from adwarm.foundation.errors import Transient
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyOutcome, KeyRequest, KeyStatus
from adwarm.prefetch.progress_log import BatchProgress, ProgressLog
from adwarm.sources.protocol import FetchUnit, ResultPage
from tests.unit.conftest import SQLITE_ONLY, PrefetchHarness


class Paper:
    """Collects lines with their levels and threads; its clock is moved by hand."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []
        self.threads: set[int] = set()
        self.seconds = 0.0

    def write(self, level: int, text: str) -> None:
        """Collect a line."""
        self.lines.append((level, text))
        self.threads.add(threading.get_ident())

    def texts(self) -> list[str]:
        """Return and remove the lines so far."""
        texts, self.lines = [text for _, text in self.lines], []
        return texts

    def log(self, total: int, **values: bool) -> ProgressLog:
        """Return the log of a batch that is written here."""
        return ProgressLog(total, self.write, monotonic=lambda: self.seconds, **values)


def ended(number: int, status: KeyStatus = KeyStatus.FETCHED) -> list[KeyOutcome]:
    """How the only report of an account ended."""
    return [KeyOutcome(KeyRequest(ReportKey(f"act_{number}", "today")), status, reason=None)]


def test_progress_in_words() -> None:
    """Done, failed and waiting reports, running async reports, and the time left at the pace so far."""
    counts = Counter({KeyStatus.FETCHED: 39, KeyStatus.FAILED: 1, KeyStatus.STALE: 1, KeyStatus.PARKED: 3})

    assert str(BatchProgress(200, counts, 0, 31.0)) == "41 of 200 reports, 2 failed, 3 waiting, about 2 min left"
    assert str(BatchProgress(5, Counter(), 2, 10.0)) == (
        "0 of 5 reports, the platform is preparing 2 async reports, time left not known yet"
    )
    denied = Counter({KeyStatus.DENIED: 1})
    assert str(BatchProgress(2, denied, 0, 10.0, "account-block")) == "1 of 2 account-blocks, 1 denied, about 10 s left"


def test_progress_comes_every_ten_seconds() -> None:
    """A line for each report as it ends, the progress every 10 seconds until all have ended, none for a short batch."""
    paper = Paper()
    with paper.log(3) as log:
        log.add(ended(1))
        assert paper.texts() == []
        for seconds in (1.0, 9.0, 9.9):
            paper.seconds = seconds
            log.tick()
        assert paper.texts() == ["act_1 today: fetched, no request (assembled from stored days)"]
        paper.seconds = 10.0
        log.tick(1)
        log.tick(1)
        assert paper.texts() == ["1 of 3 reports, the platform is preparing 1 async report, about 20 s left"]
        paper.seconds = 20.5
        log.tick()
        assert paper.texts() == ["1 of 3 reports, about 41 s left"]
        log.add(ended(2, KeyStatus.FAILED))
        log.add(ended(3, KeyStatus.PARKED))
        paper.seconds = 31.0
        log.tick()
        assert [level for level, _ in paper.lines] == [logging.WARNING, logging.INFO, logging.INFO]
        assert paper.texts()[2] == "2 of 3 reports, 1 failed, 1 waiting, about 16 s left"
        log.add(ended(3))
        paper.seconds = 99.0
    assert paper.texts() == ["act_3 today: fetched, no request (assembled from stored days)"]


def test_progress_without_a_line_for_each_report() -> None:
    """Commands that print a table of the reports write the progress only."""
    paper = Paper()
    with paper.log(2, is_listing=False) as log:
        log.add(ended(1))
        paper.seconds = 10.0
        log.tick()

    assert paper.texts() == ["1 of 2 reports, about 10 s left"]


@SQLITE_ONLY
def test_only_the_thread_of_the_batch_writes(harness: PrefetchHarness) -> None:
    """Reports end in several threads; the thread that called the engine writes every line."""
    paper, requests = Paper(), [KeyRequest(ReportKey(f"act_{n}", "yesterday")) for n in range(1, 7)]
    with ProgressLog(len(requests), paper.write) as log:
        harness.prefetch.run(requests, Priority.LOW, progress=log.add, heartbeat=log.tick)

    assert len(paper.lines) == 6
    assert all("fetched, 1 row" in text for text in paper.texts())
    assert paper.threads == {threading.get_ident()}


@SQLITE_ONLY
@pytest.mark.slow
def test_the_heartbeat_comes_while_a_report_is_fetched(harness: PrefetchHarness) -> None:
    """The engine calls back while an account is still working, so a long batch is never silent."""
    beats: list[int] = []
    seen = threading.Event()

    def slow(unit: FetchUnit) -> ResultPage:
        assert seen.wait(10)
        raise Transient("down")

    harness.source.script = {"act_1": slow}

    def heartbeat(waiting: int) -> None:
        beats.append(waiting)
        seen.set()

    (outcome,) = harness.prefetch.run(
        [KeyRequest(ReportKey("act_1", "yesterday"))], Priority.LOW, heartbeat=heartbeat
    ).outcomes

    assert outcome.status is KeyStatus.FAILED
    assert beats
    assert set(beats) == {0}


@pytest.mark.parametrize("status", list(KeyStatus))
def test_what_is_not_served_is_a_warning(status: KeyStatus) -> None:
    """Denied, failed and stale reports are warnings; the rest, and those that only wait, are not."""
    paper = Paper()
    with paper.log(1) as log:
        log.add(ended(1, status))

    is_bad = status in {KeyStatus.DENIED, KeyStatus.FAILED, KeyStatus.STALE}
    assert [level for level, _ in paper.lines] == [logging.WARNING if is_bad else logging.INFO]
