"""An answer is the range rows and the days of its window, and nothing of any other day."""

from datetime import UTC, date, datetime, timedelta

import orjson
import pytest

from adwarm.compression import decompress
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.model import Account, EntryKey, FreshnessRules, QuerySpec, ReportKey, Row, Window
from adwarm.prefetch.entry_builder import Provenance, build_entry
from adwarm.prefetch.range_summaries import RangeSummary
from adwarm.settings import CompressionSettings
from adwarm.store import ObjectStore
from adwarm.store.partition_rows import content_hash, daily_rows, pack_rows
from adwarm.store.partitions import PartitionState

SPEC = QuerySpec()
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WEEK = Window(date(2026, 11, 18), date(2026, 11, 24))
WIDE = Window(date(2026, 11, 10), date(2026, 11, 24))


def _row(day: date, ad: str = "7") -> Row:
    return {"account_id": "act_1", "ad_id": ad, "date_start": str(day), "date_stop": str(day), "spend": "5.00"}


def _states(
    objects: ObjectStore, window: Window, ads: tuple[str, ...] = ("7",), version: int = 1, settled: bool = False
) -> dict[date, PartitionState]:
    rows = [_row(day, ad) for day in window.days() for ad in ads]
    digest = objects.put(pack_rows(rows))
    return {
        day: PartitionState(day, digest, len(ads), content_hash(rows), NOW, True, settled, version, "v26.0")
        for day in window.days()
    }


def _built(
    objects: ObjectStore,
    states: dict[date, PartitionState],
    window: Window,
    ranged: list[Row] | None,
    at: datetime = NOW,
):
    key = ReportKey("act_1", str(window))
    entry, blob = build_entry(
        key,
        EntryKey("act_1", window, SPEC.hash),
        SPEC,
        Account("act_1", "UTC", "UTC", "EUR"),
        None if ranged is None else RangeSummary(ranged, at, 7),
        objects,
        states,
        Provenance("scripted", "v26.0", at),
        FreshnessRules(),
        CompressionSettings(),
    )
    return entry, orjson.loads(decompress(blob, CompressionSettings()))


def test_only_the_days_of_the_window_are_taken(objects: ObjectStore) -> None:
    """Objects hold more days than a window asks for; rows come by day, then by ad."""
    rows = daily_rows(objects, _states(objects, WIDE, ("9", "7")), WEEK)
    wanted = [(str(day), ad) for day in WEEK.days() for ad in ("7", "9")]
    assert [(row["date_start"], row["ad_id"]) for row in rows] == wanted


def test_days_without_delivery_cost_no_object(objects: ObjectStore) -> None:
    """A day of no rows is known to be empty; its object is not even looked for."""
    empty = PartitionState(WEEK.since, "0" * 64, 0, "", NOW, True, False, 1, "")
    assert daily_rows(objects, {WEEK.since: empty}, WEEK) == []


def test_a_damaged_object_is_never_half_an_answer(objects: ObjectStore) -> None:
    """A lost or damaged object is an error, not a gap."""
    lost = PartitionState(WEEK.since, "0" * 64, 1, "", NOW, True, False, 1, "")
    with pytest.raises((NotFound, Corrupt)):
        daily_rows(objects, {WEEK.since: lost}, WEEK)


def test_an_answer_says_what_it_is(objects: ObjectStore) -> None:
    """Summary, days, zone, currency and provenance; its version is that of its newest restated day."""
    states = _states(objects, WEEK) | _states(objects, Window(WEEK.until, WEEK.until), version=3)
    entry, body = _built(objects, states, WEEK, [{"ad_id": "7", "reach": 1}])
    assert (entry.complete, entry.settled, entry.data_version, body["data_version"]) == (True, False, 3, 3)
    assert (body["rows"], len(body["daily"]), body["currency"], body["api_version"]) == (
        [{"ad_id": "7", "reach": 1}],
        7,
        "EUR",
        "v26.0",
    )
    assert entry.expires_at == NOW + timedelta(hours=6)
    assert entry.raw_bytes == len(orjson.dumps(body))


def test_one_day_is_its_own_summary(objects: ObjectStore) -> None:
    """For a window of one day the day's rows are the summary and are not sent twice."""
    day = Window(WEEK.until, WEEK.until)
    _, body = _built(objects, _states(objects, WEEK), day, None)
    assert (body["rows"], body["daily"]) == ([_row(WEEK.until)], [])


def test_a_gap_makes_it_incomplete(objects: ObjectStore) -> None:
    """An answer with a day that is not known says so, and is never final."""
    states = _states(objects, WEEK)
    del states[WEEK.since]
    entry, body = _built(objects, states, WEEK, [], NOW + timedelta(days=60))
    assert (entry.complete, entry.settled, body["complete"]) == (False, False, False)


def test_old_days_are_final(objects: ObjectStore) -> None:
    """What was read when the platform restates it no more never expires."""
    entry, _ = _built(objects, _states(objects, WEEK, settled=True), WEEK, [], NOW + timedelta(days=60))
    assert (entry.settled, entry.expires_at) == (True, None)


def test_old_days_last_read_before_they_were_final_are_looked_at_again(objects: ObjectStore) -> None:
    """Age alone makes no figure final: it must have been read at that age."""
    at = NOW + timedelta(days=60)
    entry, _ = _built(objects, _states(objects, WEEK), WEEK, [], at)
    assert (entry.settled, entry.expires_at) == (False, at + timedelta(days=7))


def test_an_answer_records_where_its_blocks_come_from(objects: ObjectStore) -> None:
    """The query, when the days and the summary were fetched, and the versions the summary belongs to."""
    _, body = _built(objects, _states(objects, WEEK), WEEK, [], NOW + timedelta(hours=3))
    assert body["query"] == {"hash": SPEC.hash, "level": "ad", "fields": list(SPEC.fields)}
    assert body["days_fetched_at"] == "2026-11-25T12:00:00+00:00"
    assert body["summary"] == {"fetched_at": "2026-11-25T15:00:00+00:00", "versions": 7, "missing": None}
