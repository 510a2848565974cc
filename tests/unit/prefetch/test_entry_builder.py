"""An entry holds the summary and the days of its window; a summary is fetched again only when it has to be."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256

import pytest

from adwarm.compression import CONTENT_TYPE, decode_envelope, decompress, unpack_document
from adwarm.compression.document import WindowTable
from adwarm.fetch_plan import RefetchSchedule
from adwarm.foundation.errors import Corrupt, NotFound, Transient
from adwarm.model import Account, ColumnTable, EntryKey, Priority, QuerySpec, ReportKey, Row, Window
from adwarm.prefetch import KeyRequest, KeyStatus
from adwarm.prefetch.entry_builder import (
    EntryQuery,
    Provenance,
    RangeSummary,
    build_entry,
    find_due_summaries,
    version_sum,
)
from adwarm.settings import CompressionSettings, Settings
from adwarm.sources.protocol import FetchUnit, Increment, ResultPage
from adwarm.store import Context, ObjectStore, entries, open_engine
from adwarm.store.partition_rows import check_not_emptied, content_hash, daily_rows, daily_table, pack_rows
from adwarm.store.partitions import PartitionState
from adwarm_client.document import QueryFields, Summary
from tests.support.stored_damage import store_bomb
from tests.unit.conftest import SQLITE_ONLY, PrefetchHarness, one_ad_page

SPEC = QuerySpec()
ENGINE = open_engine("sqlite://")
"""Not used: an entry is built from objects alone."""
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
        Context(ENGINE, objects, Settings()),
        EntryQuery(key, EntryKey("act_1", window, SPEC.hash), SPEC, Account("act_1", "UTC", "UTC", "EUR")),
        states,
        None if ranged is None else RangeSummary(ranged, at, 7),
        Provenance("scripted", "v26.0", at),
        daily=daily_table(objects, states, window),
    )
    assert decode_envelope(blob).content_type == CONTENT_TYPE
    raw = decompress(blob, CompressionSettings())
    assert (entry.content_hash, entry.raw_bytes) == (sha256(raw).hexdigest(), len(raw))
    return entry, unpack_document(blob, CompressionSettings())


def test_only_the_days_of_the_window_are_taken(objects: ObjectStore) -> None:
    """Objects hold more days than a window covers; rows come by day, then by ad."""
    rows = daily_rows(objects, _states(objects, WIDE, ("9", "7")), WEEK)
    expected = [(str(day), ad) for day in WEEK.days() for ad in ("7", "9")]
    assert [(row["date_start"], row["ad_id"]) for row in rows] == expected


def test_a_window_is_taken_from_a_wider_one(objects: ObjectStore) -> None:
    """It has the rows and columns that it has when it is read by itself, also without any row."""
    days = [Window(day, day) for day in WIDE.days()]
    states = _states(objects, WIDE, ("9", "7")) | {
        WIDE.since: replace(_states(objects, days[0])[WIDE.since], object_hash=objects.put(_odd(WIDE.since)))
    }
    del states[WIDE.until]
    wide = WindowTable.of(daily_table(objects, states, WIDE))
    for window in (WIDE, WEEK, *days):
        taken = wide.take_window(window)
        assert ColumnTable(taken.rows, taken.columns) == daily_table(objects, states, window)


def _odd(day: date) -> bytes:
    return pack_rows([{**_row(day), "reach": "3"}])


def test_days_without_delivery_cost_no_object(objects: ObjectStore) -> None:
    """The object of a day without rows is not read."""
    empty = PartitionState(WEEK.since, "0" * 64, 0, "", NOW, True, False, 1, "")
    assert daily_rows(objects, {WEEK.since: empty}, WEEK) == []


def test_a_damaged_object_is_an_error(objects: ObjectStore) -> None:
    """A lost or damaged object is an error, not missing data."""
    lost = PartitionState(WEEK.since, "0" * 64, 1, "", NOW, True, False, 1, "")
    with pytest.raises((NotFound, Corrupt)):
        daily_rows(objects, {WEEK.since: lost}, WEEK)


def test_an_entry_describes_itself(objects: ObjectStore) -> None:
    """Summary, days, zone, currency and provenance; its version is that of its newest restated day."""
    states = _states(objects, WEEK) | _states(objects, Window(WEEK.until, WEEK.until), version=3)
    entry, document = _built(objects, states, WEEK, [{"ad_id": "7", "reach": 1}])
    header = document.header
    assert (entry.complete, entry.settled, entry.data_version, header.data_version) == (True, False, 3, 3)
    assert (document.window_table.to_rows(), document.daily.rows) == ([{"ad_id": "7", "reach": 1}], 7)
    assert (header.currency, header.api_version) == ("EUR", "v26.0")
    assert entry.expires_at == NOW + timedelta(hours=6)


def test_equal_data_gives_an_equal_document(objects: ObjectStore) -> None:
    """How days are spread over objects, and the order of fields and rows, change no byte; one digit does."""
    rows = [{**_row(day, ad), "actions": [{"action_type": "buy", "value": ad}]} for day in WEEK.days() for ad in "79"]
    summary: list[Row] = [{"ad_id": "7", "reach": "1"}, {"ad_id": "9", "reach": "2"}]
    one = objects.put(pack_rows([*rows, {**_row(date(2026, 1, 1)), "elsewhere": "1"}]))
    together = {day: PartitionState(day, one, 2, "", NOW, True, False, 1, "v26.0") for day in WEEK.days()}
    apart = {
        day: replace(state, object_hash=objects.put(pack_rows([dict(reversed(row.items())) for row in of_day[::-1]])))
        for (day, state), of_day in zip(together.items(), zip(rows[::2], rows[1::2], strict=True), strict=True)
    }
    first, _ = _built(objects, together, WEEK, summary)
    second, _ = _built(objects, apart, WEEK, [dict(reversed(row.items())) for row in summary[::-1]])
    restated, _ = _built(objects, together, WEEK, [{**summary[0], "reach": "3"}, summary[1]])
    assert first.content_hash == second.content_hash != restated.content_hash


def test_one_day_is_its_own_summary(objects: ObjectStore) -> None:
    """For a window of one day the day's rows are the summary and are not stored twice."""
    day = Window(WEEK.until, WEEK.until)
    _, document = _built(objects, _states(objects, WEEK), day, None)
    assert (document.summary, document.daily.to_rows()) == (None, [_row(WEEK.until)])
    assert document.window_table == document.daily


def test_a_missing_day_makes_an_entry_incomplete(objects: ObjectStore) -> None:
    """An entry with a day that is not stored says so, and is never final."""
    states = _states(objects, WEEK)
    del states[WEEK.since]
    entry, document = _built(objects, states, WEEK, [], NOW + timedelta(days=60))
    assert (entry.complete, entry.settled, document.header.complete) == (False, False, False)


def test_old_days_are_final(objects: ObjectStore) -> None:
    """Data fetched after the platform stopped restating it never expires."""
    at = NOW + timedelta(days=60)
    states = {day: replace(state, fetched_at=at) for day, state in _states(objects, WEEK, settled=True).items()}
    entry, _ = _built(objects, states, WEEK, [], at)
    assert (entry.settled, entry.expires_at) == (True, None)


def test_old_days_last_fetched_before_they_settled_expire(objects: ObjectStore) -> None:
    """Age alone does not make data final: it must have been fetched at that age."""
    at = NOW + timedelta(days=60)
    entry, _ = _built(objects, _states(objects, WEEK), WEEK, [], at)
    assert (entry.settled, entry.fetched_at) == (False, NOW)
    assert entry.expires_at is not None
    assert entry.expires_at <= at


def test_an_entry_records_when_its_parts_were_fetched(objects: ObjectStore) -> None:
    """The query, when the days and the summary were fetched, and the versions the summary belongs to."""
    _, document = _built(objects, _states(objects, WEEK), WEEK, [], NOW + timedelta(hours=3))
    assert document.header.query == QueryFields(SPEC.hash, "ad", SPEC.fields, "unified", SPEC.attribution_windows)
    assert document.header.days_fetched_at == NOW
    assert document.summary == Summary(ColumnTable(0, {}), NOW + timedelta(hours=3), versions=7, missing=None)


CALENDAR = RefetchSchedule("UTC")
KEYS = [KeyRequest(ReportKey("act_1", name)) for name in ("yesterday", "last_7d", "last_30d")]


def _week_states(version: int = 1) -> dict[date, PartitionState]:
    return {day: PartitionState(day, "h", 1, "c", NOW, True, False, version, "v26.0") for day in WEEK.days()}


def _asked(harness: PrefetchHarness) -> list[Increment]:
    return [unit.increment for unit in harness.source.submitted]


def _restated(unit: FetchUnit) -> ResultPage:
    page = one_ad_page(unit)
    for row in page.rows:
        row["spend"] = "6.00"
    return page


@pytest.mark.parametrize(
    ("stored", "version", "later", "due"),
    [
        (False, 1, timedelta(0), True),
        (True, 1, timedelta(hours=11), False),
        (True, 1, timedelta(hours=13), True),
        (True, 2, timedelta(0), True),
    ],
)
def test_when_a_summary_is_due(stored: bool, version: int, later: timedelta, due: bool) -> None:
    """It is due when never fetched, restated since, or fetched before the account's midnight."""
    result = {WEEK: RangeSummary([], NOW, version_sum(_week_states(), WEEK))} if stored else {}
    assert find_due_summaries([WEEK], result, _week_states(version), CALENDAR, NOW + later) == ([WEEK] if due else [])


def test_a_second_warm_of_the_day_fetches_only_days(harness: PrefetchHarness) -> None:
    """Six hours later yesterday is fetched again; nothing was restated, so the summaries are kept."""
    harness.prefetch.run(KEYS, Priority.LOW)
    harness.clock.sleep(6 * 3600 + 1)
    again = harness.prefetch.run(KEYS, Priority.LOW)

    assert _asked(harness) == [Increment.DAY, Increment.RANGE, Increment.DAY]
    assert [outcome.status for outcome in again.outcomes] == [KeyStatus.FETCHED] * 3
    assert again.calls == 1


def test_a_restated_day_makes_its_summaries_due(harness: PrefetchHarness) -> None:
    """When yesterday's metrics have changed, the summaries that include yesterday are fetched again."""
    harness.prefetch.run(KEYS, Priority.LOW)
    harness.clock.sleep(6 * 3600 + 1)
    harness.source.script = {"act_1": _restated}
    harness.prefetch.run(KEYS, Priority.LOW)

    assert _asked(harness) == [Increment.DAY, Increment.RANGE] * 2


@SQLITE_ONLY
def test_a_restatement_by_another_key_is_noticed(harness: PrefetchHarness) -> None:
    """A day restated by a warm of `yesterday` alone makes the week's summary due at the week's next warm."""
    harness.prefetch.run(KEYS[:2], Priority.LOW)
    harness.clock.sleep(6 * 3600 + 1)
    harness.source.script = {"act_1": _restated}
    harness.prefetch.run(KEYS[:1], Priority.LOW)
    harness.prefetch.run(KEYS[1:2], Priority.LOW)

    assert _asked(harness) == [Increment.RANGE, Increment.DAY, Increment.RANGE]
    assert [len(unit.windows) for unit in harness.source.submitted] == [7 + 1, 1, 1]


@SQLITE_ONLY
def test_a_degraded_entry_has_no_summary(harness: PrefetchHarness) -> None:
    """A degraded entry is fetched again, its summary included."""
    harness.prefetch.run(KEYS[1:2], Priority.LOW)
    entries.mark_degraded(harness.engine, entries.list_entries(harness.engine)[0], "damaged")
    harness.prefetch.run(KEYS[1:2], Priority.LOW)

    assert [len(unit.windows) for unit in harness.source.submitted] == [7 + 1, 1]


@SQLITE_ONLY
def test_an_entry_that_cannot_be_decoded_has_no_summary(harness: PrefetchHarness) -> None:
    """A decode bomb with right checksums does not stop the refresh that meets it first."""
    harness.prefetch.run(KEYS[1:2], Priority.LOW)
    store_bomb(harness.engine, 80 << 20)
    harness.clock.sleep(7 * 3600)
    assert harness.prefetch.run(KEYS[1:2], Priority.LOW).outcomes[0].status is KeyStatus.FETCHED


@SQLITE_ONLY
def test_an_empty_result_never_replaces_rows(harness: PrefetchHarness) -> None:
    """The older entry stays, and the outcome says why."""
    harness.prefetch.run(KEYS[:1], Priority.LOW)
    harness.clock.sleep(7 * 3600)
    harness.source.script = {"act_1": lambda unit: ResultPage([])}
    report = harness.prefetch.run(KEYS[:1], Priority.LOW)

    assert report.outcomes[0].status == KeyStatus.STALE
    assert "1 are stored" in str(report.outcomes[0].reason)


def test_no_rows_are_valid_where_there_were_none() -> None:
    """An account without delivery has no rows, today as before."""
    check_not_emptied("act_1", 0, 0)
    with pytest.raises(Transient, match="act_1"):
        check_not_emptied("act_1", 3, 0)
