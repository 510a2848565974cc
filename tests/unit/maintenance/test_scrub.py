"""The scrub reads everything once in its time, slowly, goes on where it stopped, and sets aside what is damaged."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance.integrity import make_scrub
from adwarm.maintenance.integrity_checks import count_items
from adwarm.maintenance.runner import StepBudget, StepResult
from adwarm.model import ReportKey
from adwarm.serving import ReadStatus
from adwarm.store import Context, integrity_days, quarantine
from tests.support.stored_damage import UNDECODABLE
from tests.unit.conftest import SQLITE_ONLY, ReaderHarness

KEYS = [ReportKey(f"act_{number}", name) for number in range(1, 4) for name in ("last_7d", "yesterday")]


class Scrubber:
    """Runs of the scrub over a store with six entries, each in a process of its own."""

    def __init__(self, reading: ReaderHarness, scrub_days: float = 1.0) -> None:
        self.context: Context = reading.harness.prefetch.context
        self.pass_time = timedelta(days=scrub_days)
        self.clock: VirtualClock = reading.harness.clock

    def run(self, cursor: Any = None, seconds: float = 1e9) -> StepResult:
        """Run the step once."""
        return make_scrub(self.context, self.clock, pass_time=self.pass_time)(
            cursor, StepBudget.of(self.clock, seconds)
        )


@pytest.fixture
def full(reading: ReaderHarness) -> ReaderHarness:
    """A store with six entries of three accounts."""
    reading.warm(*KEYS)
    return reading


def test_a_pass_checks_everything(full: ReaderHarness) -> None:
    """One run is enough when the pass may take no longer; the next pass waits for its day."""
    scrub = Scrubber(full)
    result = scrub.run()
    assert (result.cursor, result.counts["checked"], result.problems) == (None, count_items(scrub.context), [])
    waiting = scrub.run()
    assert (waiting.counts, waiting.skipped is None) == ({}, False)
    assert "next begins on 2026-11-26" in str(waiting.skipped)
    scrub.clock.sleep(86_400)
    assert scrub.run().counts["checked"] == result.counts["checked"]
    totals = integrity_days.get_totals(full.engine, scrub.clock.now())
    assert totals.pass_started == totals.pass_ended == scrub.clock.now().date()


def test_a_pass_is_spread_over_its_days(full: ReaderHarness) -> None:
    """A run a day checks everything within the days, nothing twice, and never all at once."""
    scrub = Scrubber(full, scrub_days=7)
    total, checked, cursor = count_items(scrub.context), [], None
    for _day in range(7):
        result = scrub.run(cursor)
        checked.append(result.counts["checked"])
        cursor = result.cursor
        if cursor is None:
            break
        scrub.clock.sleep(86_400)
    assert cursor is None
    assert sum(checked) == total
    assert max(checked) < total


def test_a_run_that_is_cut_goes_on_where_it_stopped(full: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a budget of one thing a run, each is checked once."""
    monkeypatch.setattr("adwarm.maintenance.integrity.BYTES_PER_SECOND", 1e3)
    scrub, cursor, runs = Scrubber(full), None, 0
    names: list[int] = []
    while True:
        result = scrub.run(cursor, seconds=1e-6)
        runs += 1
        names.append(result.counts["checked"])
        cursor = result.cursor
        if cursor is None:
            break
        assert runs < 100
    assert sum(names) == count_items(scrub.context)
    assert max(names) == 1


def test_reading_is_slow(full: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run takes as long as its bytes take at the rate, by the clock that is given."""
    monkeypatch.setattr("adwarm.maintenance.integrity.BYTES_PER_SECOND", 1e3)
    scrub = Scrubber(full)
    began = scrub.clock.now()
    read = scrub.run().counts["bytes"]
    seconds = (scrub.clock.now() - began).total_seconds()
    assert read / 1_000 * 0.9 < seconds <= read / 1_000


@SQLITE_ONLY
@pytest.mark.parametrize("damage", ["payloads", *UNDECODABLE])
def test_damage_is_set_aside_and_reported(reading: ReaderHarness, damage: str) -> None:
    """The pass goes on; the entry is marked, and the next fetch heals it."""
    reading.warm(KEYS[0])
    if damage == "payloads":
        reading.corrupt_payloads()
    else:
        UNDECODABLE[damage](reading.engine)
    scrub = Scrubber(reading)
    result = scrub.run()
    assert (result.cursor, result.counts["damaged"], result.counts["repaired"]) == (None, 1, 1)
    assert len(result.problems) == 1
    assert quarantine.count_open(reading.engine) == {"entry": 1}
    reading.warm(KEYS[0])
    assert reading.reader.read(KEYS[0]).status is ReadStatus.HIT
    assert quarantine.count_open(reading.engine) == {}


def test_a_pass_that_was_killed_begins_again(full: ReaderHarness) -> None:
    """Without a cursor, a pass that never ended does not keep the next one waiting."""
    scrub = Scrubber(full, scrub_days=30)
    integrity_days.record_pass(full.engine, datetime(2026, 11, 1, tzinfo=UTC), ended=True)
    integrity_days.record_pass(full.engine, scrub.clock.now() - timedelta(days=1), ended=False)
    assert scrub.run().skipped is None
