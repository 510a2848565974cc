"""Counts of reads: batched, bounded, stored in one transaction, and kept when the database is away."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.foundation.errors import Transient
from adwarm.model import FIRST_OPEN_QUIET, Actor, Latencies, ReportKey
from adwarm.serving import read_counter
from adwarm.serving.read_counter import FirstOpenTracker, ReadCounter
from adwarm.store import amounts, entries, read_traffic
from tests.unit.conftest import NOW, ReaderHarness

KEY = ReportKey("act_1", "yesterday")


def _totals(engine: Engine) -> tuple[float, ...]:
    totals = read_traffic.get_totals(engine, NOW - timedelta(hours=1), NOW + timedelta(days=1))
    return tuple(totals[name] for name in ("hits", "stale", "misses", "mean_latency_ms"))


def _p95(engine: Engine) -> float | None:
    p95: float | None = read_traffic.get_day_latency(engine, NOW + timedelta(hours=3))["p95_latency_ms"]
    return p95


def _away(*arguments: Any) -> None:
    raise Transient("the database is away")


def test_reads_are_stored_by_hour_account_and_actor(reading: ReaderHarness) -> None:
    """Everything counted is in the database after a flush, with the mean latency, and reads of entries with it."""
    reading.warm(KEY)
    (entry,) = entries.list_entries(reading.engine)
    counter = ReadCounter(reading.engine)
    for number, status in enumerate(["hit", "hit", "stale", "miss", "fetched"]):
        counter.count(NOW + number * timedelta(minutes=30), KEY, Actor.HUMAN, status, 10.0, entry)
    counter.count(NOW, ReportKey("act_2", "yesterday"), Actor.API, "miss", 10.0, None)
    counter.count(NOW, KEY, Actor.WARMER, "hit", 10.0, entry)
    assert _totals(reading.engine)[:3] == (0, 0, 0)
    assert counter.flush()
    assert _totals(reading.engine) == (2, 1, 3, 10.0)
    counter.flush()
    assert _totals(reading.engine) == (2, 1, 3, 10.0)
    took = amounts.get_latencies(reading.engine, NOW, NOW + timedelta(days=1))[amounts.READ]
    assert took.counts == {Latencies.get_bucket(0.01): 6}


def test_reads_belong_to_the_hour_in_which_they_end(reading: ReaderHarness) -> None:
    """Whatever order they come in, an hour has those from its first moment to before the next; readers have opens."""
    counter, hour = ReadCounter(reading.engine), timedelta(hours=1)
    for number, late in enumerate((0.0, 0.9, 1.0, 2.0, 1.9, 0.5, 3.0)):
        account = ReportKey(f"act_{number}", "yesterday")
        counter.count(
            NOW + late * hour, account, Actor.EMBEDDED, {0: "miss", 4: "fetched"}.get(number, "hit"), 1.0, None
        )
        counter.count(NOW + late * hour, account, Actor.API, "hit", 1.0, None)
    assert counter.flush()
    hours = read_traffic.list_hours(reading.engine, NOW - hour, NOW + timedelta(days=1))
    assert [(item["hour"] - NOW) / hour for item in hours] == [0, 1, 2, 3]
    assert [item["hits"] + item["misses"] for item in hours] == [6, 4, 2, 2]
    assert [(item["first_opens"], item["first_hits"]) for item in hours] == [(3, 2), (2, 1), (1, 1), (1, 1)]


def test_reads_of_entries_are_told_apart(reading: ReaderHarness) -> None:
    """Each entry has its own reads, also when another is read in between; the last of them is its last read."""
    for key in (KEY, OTHER):
        reading.warm(key)
    one, other = entries.list_entries(reading.engine)
    counter = ReadCounter(reading.engine)
    for number, entry in enumerate((one, one, other, None, one, other)):
        counter.count(NOW + number * timedelta(seconds=1), KEY, Actor.HUMAN, "hit", 1.0, entry)
    assert counter.flush()
    assert counter.flush()
    found = {entry.key: (entry.reads, entry.last_read_at) for entry in entries.list_entries(reading.engine)}
    at = NOW + timedelta(seconds=5)
    assert found == {one.key: (3, at), other.key: (2, at)}


def test_counts_survive_an_absent_database(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed flush raises nothing and loses nothing; what is counted meanwhile is stored with it."""
    counter = ReadCounter(reading.engine)
    counter.count(NOW, KEY, Actor.HUMAN, "hit", 4.0, None)

    with monkeypatch.context() as patched:
        patched.setattr(read_traffic, "increment_many", _away)
        assert not counter.flush()
        counter.count(NOW, KEY, Actor.HUMAN, "hit", 6.0, None)
    assert counter.flush()
    assert _totals(reading.engine) == (2, 0, 0, 5.0)
    assert _p95(reading.engine) == Latencies.of(0.006).quantile_ms(0.5)


def test_an_unexpected_error_loses_nothing(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a flush raises, the batch is kept for the next one."""
    counter = ReadCounter(reading.engine)
    counter.count(NOW, KEY, Actor.HUMAN, "hit", 4.0, None)

    def fail(*arguments: Any) -> None:
        raise RuntimeError("unexpected")

    with monkeypatch.context() as patched:
        patched.setattr(read_traffic, "increment_many", fail)
        assert not counter.flush()
    assert counter.flush()
    assert _totals(reading.engine)[0] == 1


def test_reads_of_entries_are_not_counted_twice(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """When traffic was stored and reads of entries were not, only these are tried again."""
    reading.warm(KEY)
    (entry,) = entries.list_entries(reading.engine)
    counter, stored = ReadCounter(reading.engine), list[dict[Any, int]]()
    counter.count(NOW, KEY, Actor.HUMAN, "hit", 4.0, entry)

    with monkeypatch.context() as patched:
        patched.setattr(entries, "add_reads", _away)
        assert not counter.flush()
        patched.setattr(entries, "add_reads", lambda engine, counts, at: stored.append(dict(counts)))
        assert counter.flush()
    assert (_totals(reading.engine)[0], stored) == (1, [{entry.key: 1}])


def test_the_number_of_counts_is_bounded(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit, with what waits for the database, further accounts are dropped; the others go on."""
    monkeypatch.setattr(read_counter, "MAX_COUNTS", 2)
    warnings: list[str] = []
    monkeypatch.setattr(read_counter._LOG, "warning", lambda text, *values: warnings.append(text % values))
    counter = ReadCounter(reading.engine)

    def count(*accounts: str) -> None:
        for account in accounts:
            counter.count(NOW, ReportKey(account, "yesterday"), Actor.HUMAN, "hit", 1.0, None)

    assert counter._dropped == 0
    count("act_1")
    with monkeypatch.context() as patched:
        patched.setattr(read_traffic, "increment_many", _away)
        assert not counter.flush()
    count("act_2", "act_3", "act_4", "act_2")
    assert counter._dropped == 2
    warnings.clear()
    assert counter.flush()
    assert counter._dropped == 0
    assert counter.flush()
    assert warnings == ["2 reads were not counted; the database was away for too long"]
    assert _totals(reading.engine)[0] == 3


def test_closing_stores_what_is_left(reading: ReaderHarness) -> None:
    """The thread ends, and the last counts are stored."""
    counter = ReadCounter(reading.engine)
    counter.start()
    thread = counter._thread
    counter.start()
    counter.count(NOW, KEY, Actor.HUMAN, "hit", 1.0, None)
    counter.close()
    assert thread is counter._thread is not None
    assert not thread.is_alive()
    assert thread.daemon  # a process that ends without closing does not wait for it
    assert _totals(reading.engine)[0] == 1


def test_counts_are_stored_every_half_second(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread waits, stores, and ends when it is closed during a wait."""
    counter, waits = ReadCounter(reading.engine), list[float]()

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        assert len(waits) < 4
        counter.count(NOW, KEY, Actor.HUMAN, "hit", 1.0, None)
        return len(waits) == 3

    monkeypatch.setattr(counter._closing, "wait", wait)
    counter._run()
    assert waits == [0.5] * 3
    assert _totals(reading.engine)[0] == 2


OTHER = ReportKey("act_1", "last_7d")
FIRST_HIT = {"first_opens": 1, "first_hits": 1}


def test_an_open_after_half_an_hour_of_quiet_is_a_first_open() -> None:
    """Each open restarts the half hour; a first open counts as a hit when a fresh entry answered."""
    tracker = FirstOpenTracker()
    minutes = (0, 29, 58, 88, 90)
    found = [tracker.count(NOW + minute * timedelta(minutes=1), KEY, Actor.HUMAN, is_hit=True) for minute in minutes]
    assert found == [FIRST_HIT, {}, {}, FIRST_HIT, {}]
    assert tracker.count(NOW, OTHER, Actor.EMBEDDED, is_hit=False) == {"first_opens": 1, "first_hits": 0}


def test_programs_open_nothing() -> None:
    """Reads by programs and by the warmer are not opens, and do not end the quiet time."""
    tracker = FirstOpenTracker()
    assert tracker.count(NOW, KEY, Actor.API, is_hit=True) == {}
    assert tracker.count(NOW, KEY, Actor.WARMER, is_hit=True) == {}
    assert tracker.count(NOW, KEY, Actor.HUMAN, is_hit=True) == FIRST_HIT


def test_the_key_that_was_opened_longest_ago_is_forgotten() -> None:
    """Beyond the bound the oldest open goes, not the oldest key."""
    tracker = FirstOpenTracker(max_keys=2)
    for key in (KEY, OTHER, KEY, ReportKey("act_2", "yesterday")):
        tracker.count(NOW, key, Actor.HUMAN, is_hit=True)
    assert tracker.count(NOW, KEY, Actor.HUMAN, is_hit=True) == {}
    assert tracker.count(NOW, OTHER, Actor.HUMAN, is_hit=True) == FIRST_HIT


@given(st.lists(st.integers(0, 7_200), min_size=1, max_size=30).map(sorted))
def test_first_opens_are_those_of_the_definition(seconds: list[int]) -> None:
    """Opens in order of time are first ones exactly where the distance to the one before is half an hour or more."""
    tracker = FirstOpenTracker()
    moments = [NOW + timedelta(seconds=second) for second in seconds]
    found = [bool(tracker.count(moment, KEY, Actor.HUMAN, is_hit=True)) for moment in moments]
    gaps = [later - earlier >= FIRST_OPEN_QUIET for earlier, later in itertools.pairwise(moments)]
    assert found == [True, *gaps]
