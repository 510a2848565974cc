"""The demo's reads over HTTP: fresh reports in the evening, fetched again and read on the next morning."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from adwarm.foundation.clock import VirtualClock
from adwarm.model import Priority, ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from dev import demo_reading
from dev.demo_day import Open, ReplayDay
from dev.demo_reading import AFTER_MIDNIGHT, ApiReaders, find_fresh
from tests.unit.conftest import ScriptedSource

START = datetime(2026, 3, 2, tzinfo=UTC)
END = START + timedelta(days=1)


@pytest.fixture
def readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApiReaders:
    """Readers of a day on which three reports were opened; two of them are fresh in the evening."""
    monkeypatch.setattr(demo_reading, "TIMED_READS", 10)
    clock, source = VirtualClock(END - timedelta(hours=1)), ScriptedSource()
    runtime = Runtime(Settings(home=tmp_path / "home", workers=2), clock, lambda: source, sources={})
    fresh = [ReportKey("act_1", "last_90d"), ReportKey("act_2", "last_30d")]
    runtime.prefetch_engine().run([KeyRequest(key) for key in fresh], Priority.LOW)
    clock.set(END)
    runtime.prefetch_engine().run([KeyRequest(ReportKey("act_3", "yesterday"))], Priority.LOW)
    items = [Open(START, key, True) for key in (*fresh, ReportKey("act_3", "today"))]
    day = ReplayDay(date(2026, 3, 2), "UTC", START, END, items)
    return ApiReaders(runtime, clock, day, clock.set, tmp_path / "client")


def test_a_later_fetch_is_not_read_before_it(readers: ApiReaders) -> None:
    """A report that the demo fetched for the next day is not among those of the evening."""
    keys = find_fresh(readers.runtime, readers.day, END - timedelta(minutes=30))

    assert keys == [ReportKey("act_1", "last_90d"), ReportKey("act_2", "last_30d")]


def test_returning_readers_get_what_changed_and_their_opens_are_learned(readers: ApiReaders) -> None:
    """Every visit is a hit; nothing is sent of what has not changed; scripts do not count."""
    reading = readers.read()
    figures, (since, until) = reading.figures, readers.hours
    result = ingest(readers.runtime.context, until, window=(since, until))

    assert readers.clock.now() == END + AFTER_MIDNIGHT
    assert (figures["reports"], figures["hits"], figures["next_morning_hits"]) == (2, 2, 2)
    assert (figures["unchanged_bytes"], figures["unchanged_codings"]) == (0, {"cached": 2})
    assert 0 < figures["next_morning_bytes"] < figures["row_bytes"]
    assert set(reading.times) == {"hit_p50_ms", "hit_p95_ms", "hit_p99_ms"}
    assert (result.events, result.opens) == (figures["opens_by_readers"] + figures["opens_by_scripts"], 6)
    assert figures["opens_by_readers"] == 6
