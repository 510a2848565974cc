"""The fallback chain: what each step answers, when it is used, and what its result says."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from adwarm.compression import unpack_document
from adwarm.foundation.clock import TimeLimitReached, seconds_left
from adwarm.foundation.errors import BadRequest, Corrupt, NotFound, Refused, TokenDead, Transient
from adwarm.model import Account, Priority, ReportKey, Window
from adwarm.prefetch import BatchResult, KeyOutcome, KeyRequest
from adwarm.prefetch.batch_result import KeyStatus
from adwarm.serving import ReadChain, ReadResult, ReadStatus, chain_steps
from adwarm.serving.chain_steps import ChainRequest, StoreUnreachable, read_source
from adwarm.serving.read_chain import (
    describe_fallbacks,
    look_up_fallbacks,
    order_steps,
    read_or_fetch,
    require_entry,
)
from adwarm.settings import CompressionSettings, Settings
from adwarm.settings.recovery_sections import DEFAULT_FALLBACKS, FallbackKind, FallbackSettings
from adwarm.sources.pool import SourcePool
from adwarm.sources.protocol import FetchUnit, Increment, ResultPage
from adwarm.store import Context, accounts, entries
from adwarm.store.database import write_transaction
from adwarm.store.entries import table as entry_table
from tests.unit.conftest import NOW, SQLITE_ONLY, PrefetchHarness, ReaderHarness, ScriptedSource, one_ad_page

KEY = ReportKey("act_1", "yesterday")
WEEK = ReportKey("act_1", "last_7d")
HOUR = timedelta(hours=1)


def step(kind: FallbackKind, **values: Any) -> FallbackSettings:
    """A step with time enough for a busy machine."""
    return FallbackSettings(kind=kind, **{"timeout_seconds": 60.0, **values})


DEFAULT = tuple(item.model_copy(update={"timeout_seconds": 60.0}) for item in DEFAULT_FALLBACKS)


def make_chain(reading: ReaderHarness, *steps: FallbackSettings) -> ReadChain:
    """A chain of some steps over the reader of the harness, which keeps what it knows."""
    chain = reading.chain()
    chain.steps = steps
    return chain


def delete_entries(reading: ReaderHarness) -> None:
    """Delete every entry; the stored days stay."""
    with write_transaction(reading.engine) as connection:
        connection.execute(entry_table.delete())


def lose_store(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
    """Let no entry be read any more."""

    def fail(*args: object) -> None:
        raise error or Transient("the database cannot be reached; check ADWARM_DATABASE_URL")

    monkeypatch.setattr(entries, "find", fail)
    monkeypatch.setattr(accounts, "get", fail)


def body(reading: ReaderHarness, result: ReadResult) -> Any:
    """Return the document of a result."""
    return orjson.loads(reading.reader.get_body(result))


@SQLITE_ONLY
def test_a_hit_is_answered_before_the_chain(reading: ReaderHarness) -> None:
    """A fresh entry needs no step; it says where it came from, and that nothing is wrong with it."""
    reading.warm(KEY)
    result = make_chain(reading).read(KEY)
    assert (result.status, result.source, result.is_degraded) == (ReadStatus.HIT, "entry", False)
    assert (result.attempts, result.actions, result.reason) == (1, (), None)


@SQLITE_ONLY
def test_an_old_entry_is_stale_and_not_degraded(reading: ReaderHarness) -> None:
    """Within the largest age it is served with its age and reason; beyond it it is not."""
    reading.warm(KEY)
    chain = make_chain(reading, step("entry", max_age_hours=8))
    reading.harness.clock.sleep(7 * 3600)
    result = chain.read(KEY)
    assert (result.status, result.source, result.is_degraded) == (ReadStatus.STALE, "entry", False)
    assert (result.age_seconds, "fresh until" in str(result.reason)) == (7 * 3600, True)
    reading.harness.clock.sleep(2 * 3600)
    late = chain.read(KEY)
    assert (late.status, late.entry) == (ReadStatus.MISS, None)
    assert late.actions == ("fallback entry is not used: its data is 9.0 h old, and 8.0 h is the limit",)


def test_a_degraded_entry_says_why(reading: ReaderHarness) -> None:
    """An entry that was marked degraded is served with its reason."""
    reading.warm(KEY)
    (stored,) = entries.list_entries(reading.engine)
    entries.mark_degraded(reading.engine, stored, "an ad is missing")
    result = make_chain(reading, step("entry")).read(KEY)
    assert (result.is_degraded, result.reason, result.source) == (True, "an ad is missing", "entry")


def test_stored_days_make_a_document(reading: ReaderHarness) -> None:
    """One day is whole; it is stale and degraded all the same, as old as its day, and is not published."""
    reading.warm(KEY)
    delete_entries(reading)
    reading.harness.clock.sleep(60)
    result = make_chain(reading, step("partitions")).read(KEY)
    assert (result.status, result.source, result.is_degraded) == (ReadStatus.STALE, "partitions", True)
    assert "assembled from stored days, the oldest fetched at 2026-11-25 12:00 UTC" in str(result.reason)
    assert result.age_seconds == 60
    assert (body(reading, result)["complete"], body(reading, result)["daily"]["rows"]) == (True, 1)
    assert result.entry is not None
    assert not result.entry.is_fresh(NOW)
    assert entries.list_entries(reading.engine) == []


@SQLITE_ONLY
def test_days_have_no_summary_of_unique_figures(reading: ReaderHarness) -> None:
    """A week of days has every daily row and no summary; document and reason name what is missing."""
    reading.warm(WEEK)
    delete_entries(reading)
    result = make_chain(reading, step("partitions")).read(WEEK)
    document = body(reading, result)
    assert (document["daily"]["rows"], document["summary"]["rows"]) == (7, 0)
    assert (document["complete"], document["settled"]) == (False, False)
    assert "field reach: it does not add up over days" in document["missing"]
    assert document["missing"] in str(result.reason)


@SQLITE_ONLY
def test_a_missing_day_is_no_document(reading: ReaderHarness) -> None:
    """When one day is not stored the step has nothing, and its note says which."""
    reading.warm(KEY)
    result = make_chain(reading, step("partitions")).read(WEEK)
    assert result.status == ReadStatus.MISS
    assert "not stored: 6 of 7 days, the first 2026-11-18" in result.actions[0]
    assert result.reason == "nothing is stored for 2026-11-18..2026-11-24"


@SQLITE_ONLY
def test_damaged_days_are_no_document(reading: ReaderHarness) -> None:
    """The object of a day that fails verification is never served."""
    reading.warm(KEY)
    delete_entries(reading)
    reading.corrupt_objects()
    result = make_chain(reading, step("partitions")).read(KEY)
    assert (result.status, isinstance(result.error, Corrupt)) == (ReadStatus.MISS, True)


def test_an_older_window_names_its_days(reading: ReaderHarness) -> None:
    """The newest earlier days of the key come first; the answer says which days it covers."""
    reading.warm(KEY)
    reading.harness.clock.set(NOW + 24 * HOUR)
    reading.warm(KEY)
    reading.harness.clock.set(NOW + 48 * HOUR)
    result = make_chain(reading, step("window")).read(KEY, allow_partial=True)
    assert result.entry is not None
    assert result.other_window == result.entry.key.window == Window(date(2026, 11, 25), date(2026, 11, 25))
    assert "the entry covers 2026-11-25..2026-11-25 instead of 2026-11-26..2026-11-26" in str(result.reason)
    assert (result.source, result.is_degraded) == ("window", True)


@SQLITE_ONLY
def test_other_days_are_a_miss_unless_they_are_allowed(reading: ReaderHarness) -> None:
    """Yesterday's report does not answer today's question by default; the miss names the days that are stored."""
    reading.warm(KEY)
    reading.harness.clock.set(NOW + 24 * HOUR)
    stored = Window(date(2026, 11, 24), date(2026, 11, 24))
    result = make_chain(reading, *DEFAULT).read(KEY)
    assert (result.status, result.entry, result.blob) == (ReadStatus.MISS, None, None)
    assert (result.other_window, result.refused_window) == (None, stored)
    assert "other days are stored, 2026-11-24..2026-11-24" in str(result.reason)
    assert make_chain(reading, *DEFAULT).read(KEY, allow_partial=True).other_window == stored
    assert make_chain(reading, step("window", max_age_hours=23)).read(KEY).refused_window is None


@SQLITE_ONLY
def test_a_failed_warm_does_not_count_other_days(reading: ReaderHarness) -> None:
    """What readers do not get without asking for it does not make a failed key stale."""
    reading.warm(KEY)
    reading.harness.clock.set(NOW + 24 * HOUR)
    failed = KeyOutcome(KeyRequest(KEY), KeyStatus.FAILED, reason="x", error=Transient("down"))
    result = look_up_fallbacks(make_chain(reading, step("window")), BatchResult([failed]))
    assert result.outcomes == [failed]


@SQLITE_ONLY
def test_a_copy_of_yesterday_needs_permission_too(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the database the copy in memory is compared with the days that the key means now, by the known zone."""
    reading.warm(KEY)
    chain = make_chain(reading, step("cache"))
    chain.read(KEY)
    lose_store(reading, monkeypatch)
    assert chain.read(KEY).source == "cache"
    reading.harness.clock.set(NOW + 24 * HOUR)
    assert (chain.read(KEY).entry, str(chain.read(KEY).refused_window)) == (None, "2026-11-24..2026-11-24")
    allowed = chain.read(KEY, allow_partial=True)
    assert (allowed.source, str(allowed.other_window)) == ("cache", "2026-11-24..2026-11-24")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (("2026-11-10..2026-11-24", "2026-11-01..2026-11-30", "2026-11-20..2026-11-22"), "2026-11-10..2026-11-24"),
        (("2026-11-20..2026-11-22", "2026-11-19..2026-11-23"), "2026-11-19..2026-11-23"),
        (("2026-10-01..2026-10-02",), None),
        (("2026-11-10..2026-11-20",), None),
    ],
)
def test_covering_windows_come_before_inner_ones(
    reading: ReaderHarness, stored: Sequence[str], expected: str | None
) -> None:
    """The shortest covering range is best, then the longest one inside; ranges that only overlap are no answer."""
    reading.warm(*(ReportKey("act_1", name) for name in stored))
    result = make_chain(reading, step("window")).read(WEEK, allow_partial=True)
    assert (None if result.entry is None else str(result.entry.key.window)) == expected


@SQLITE_ONLY
def test_a_damaged_window_is_passed_over(reading: ReaderHarness) -> None:
    """Bytes that fail verification are not served: without another entry the step has failed."""
    reading.warm(ReportKey("act_1", "last_14d"))
    reading.corrupt_payloads()
    result = make_chain(reading, step("window")).read(WEEK)
    assert (result.entry, isinstance(result.error, Corrupt)) == (None, True)


def test_no_window_of_another_account_or_report(reading: ReaderHarness) -> None:
    """Only entries of the same account and query are candidates."""
    reading.warm(ReportKey("act_2", "last_14d"))
    assert make_chain(reading, step("window")).read(WEEK).entry is None


@dataclass
class Warehouse:
    """A second connection, `warehouse`, whose rows are three times those of the first."""

    source: ScriptedSource
    chain: ReadChain


@pytest.fixture
def warehouse(harness: PrefetchHarness, reading: ReaderHarness) -> Warehouse:
    """The harness with a second connection; its account is stored."""

    def page(unit: FetchUnit) -> ResultPage:
        rows = [{**row, "impressions": "3000"} for row in one_ad_page(unit).rows]
        return ResultPage(rows, api_version="w1")

    source = ScriptedSource({"act_1": page}, name="sql", connection="warehouse")
    harness.prefetch = replace(
        harness.prefetch, sources=SourcePool(lambda: harness.source, {"warehouse": lambda: source})
    )
    accounts.save(harness.engine, [Account("act_1", currency="EUR")], NOW)
    return Warehouse(source, make_chain(reading, step("source", connection="warehouse")))


@SQLITE_ONLY
def test_another_connection_answers(reading: ReaderHarness, warehouse: Warehouse) -> None:
    """It gives days and summary as they are now, degraded, under its name, and nothing is stored."""
    result = warehouse.chain.read(WEEK, may_fetch=True)
    assert result.blob is not None
    document = unpack_document(result.blob, CompressionSettings())
    assert (result.source, result.is_degraded, result.age_seconds) == ("source:warehouse", True, 0)
    assert (document.header.source, document.header.api_version) == ("sql", "w1")
    assert document.daily.rows == 7
    assert document.daily.to_rows()[0]["impressions"] == "3000"
    assert document.summary is not None
    assert document.summary.table.to_rows()[0]["reach"] == "800"
    assert {unit.increment for unit in warehouse.source.submitted} == {Increment.DAY, Increment.RANGE}
    assert entries.list_entries(reading.engine) == []
    assert reading.harness.source.submitted == []


@SQLITE_ONLY
def test_a_source_is_called_only_for_who_may_fetch(reading: ReaderHarness, warehouse: Warehouse) -> None:
    """A reader who may not fetch causes no call, nor does a key of an unknown account."""
    assert warehouse.chain.read(KEY).entry is None
    assert warehouse.chain.read(replace(KEY, account_id="act_9"), may_fetch=True).entry is None
    assert warehouse.source.submitted == []


@SQLITE_ONLY
@pytest.mark.parametrize("kind", ["source", "upstream"])
def test_a_call_that_is_not_admitted_is_not_made(
    reading: ReaderHarness, warehouse: Warehouse, kind: FallbackKind
) -> None:
    """A step asks before it calls; the refusal is the reason, and does not isolate the connection for others."""
    asked: list[str] = []

    def admit() -> None:
        asked.append(kind)
        raise Refused("none are left today", retry_after=60)

    chain = make_chain(reading, step(kind, connection="warehouse" if kind == "source" else None))
    request = ChainRequest(chain.look_up(KEY), may_fetch=True, admit_call=admit)
    for _ in range(20):
        assert "none are left today" in str(chain.find(request, chain.steps).reason)
    assert (len(asked), warehouse.source.submitted, reading.harness.source.submitted) == (20, [], [])
    assert chain.find(replace(request, admit_call=lambda: None), chain.steps).entry is not None


@SQLITE_ONLY
def test_a_source_without_rows_is_no_answer(reading: ReaderHarness, warehouse: Warehouse) -> None:
    """A warehouse that has nothing for the days gives no empty report."""
    warehouse.source.script = {"act_1": lambda unit: ResultPage([])}
    result = warehouse.chain.read(KEY, may_fetch=True)
    assert (result.entry, "has no row for" in result.actions[0]) == (None, True)


@SQLITE_ONLY
def test_a_read_of_a_source_ends_with_its_step(reading: ReaderHarness, warehouse: Warehouse) -> None:
    """Its calls have no more time than the step, also once nobody waits for them, and none begins afterwards."""
    left: list[float] = []
    page = warehouse.source.script["act_1"]
    warehouse.source.script = {"act_1": lambda unit: left.append(seconds_left()) or page(unit)}
    assert (
        read_source(reading.reader, reading.harness.prefetch, WEEK, "warehouse", (Priority.HIGH, 60.0)).entry
        is not None
    )
    assert len(left) == 2
    assert all(0 < seconds <= 60 for seconds in left)
    with pytest.raises(TimeLimitReached):
        read_source(reading.reader, reading.harness.prefetch, WEEK, "warehouse", (Priority.HIGH, 0.0))
    assert len(left) == 2


@SQLITE_ONLY
def test_an_unknown_connection_is_named(reading: ReaderHarness, warehouse: Warehouse) -> None:
    """A connection that is not configured is an error that lists those that are."""
    chain = make_chain(reading, step("source", connection="nowhere"))
    assert "ADWARM_CONNECTIONS has warehouse" in str(chain.read(KEY, may_fetch=True).reason)


@SQLITE_ONLY
def test_fresh_data_comes_first_for_who_asks(reading: ReaderHarness) -> None:
    """A stale entry is fetched before the steps that would answer with it; a read without that makes no call."""
    reading.warm(KEY)
    reading.harness.clock.sleep(7 * 3600)
    calls = len(reading.harness.source.submitted)
    chain = make_chain(reading, *DEFAULT)
    assert chain.read(KEY).status == ReadStatus.STALE
    assert len(reading.harness.source.submitted) == calls
    result = chain.read(KEY, may_fetch=True, wants_fresh=True)
    assert (result.status, result.source, result.is_degraded) == (ReadStatus.FETCHED, "upstream", False)


@SQLITE_ONLY
def test_after_a_failed_fetch_the_entry_answers_with_the_error(reading: ReaderHarness) -> None:
    """The reason has both: why it could not be fetched, and why the entry is not fresh; it counts as degraded."""
    reading.warm(KEY)
    reading.harness.clock.sleep(7 * 3600)
    reading.break_upstream()
    result = reading.chain().read(KEY, may_fetch=True, wants_fresh=True)
    assert (result.status, result.source, result.is_degraded) == (ReadStatus.STALE, "entry", True)
    assert str(result.reason).startswith("the platform is down; fresh until")
    assert result.actions == ("fallback upstream failed: Transient: the platform is down",)
    assert (result.attempts, type(result.error)) == (3, Transient)


@SQLITE_ONLY
def test_a_fetch_that_is_too_slow_is_abandoned_and_canceled(reading: ReaderHarness) -> None:
    """The entry answers when the step's time is over; the fetch ends at its next call and makes no further one."""
    reading.warm(KEY)
    reading.harness.clock.sleep(7 * 3600)
    release, began = threading.Event(), threading.Event()

    def hang(unit: FetchUnit) -> ResultPage:
        began.set()
        release.wait(60)
        return one_ad_page(unit)

    reading.harness.source.script = {"act_1": hang}
    chain = make_chain(reading, step("entry"), step("upstream", timeout_seconds=0.5))
    try:
        result = chain.read(KEY, may_fetch=True, wants_fresh=True)
        assert (result.source, result.is_degraded, began.is_set()) == ("entry", True, True)
        assert "no answer within 0.5 s" in str(result.reason)
    finally:
        release.set()
        for thread in [item for item in threading.enumerate() if item.name == "adwarm-upstream"]:
            thread.join(60)


@SQLITE_ONLY
def test_a_condition_on_the_class_of_the_error(reading: ReaderHarness) -> None:
    """A step that is for dead tokens only is used after one, and not after a platform that is down."""
    reading.warm(KEY)
    reading.harness.clock.set(NOW + 24 * HOUR)
    chain = make_chain(reading, step("upstream"), step("window", errors=("TokenDead",)))
    reading.break_upstream()
    assert chain.read(KEY, may_fetch=True).entry is None

    def dead(unit: FetchUnit) -> ResultPage:
        raise TokenDead("renew it")

    reading.harness.source.script = {"act_1": dead}
    assert chain.read(KEY, may_fetch=True, allow_partial=True).source == "window"
    assert chain.read(KEY, allow_partial=True).entry is None


@SQLITE_ONLY
@pytest.mark.parametrize("error", [None, OSError("disk"), OperationalError("SELECT", {}, Exception("no such table"))])
def test_without_the_database_the_process_serves_what_it_knows(
    reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """What was read before is served as stale, with the reason, without another step; a new key is an error."""
    reading.warm(KEY)
    chain = reading.chain()
    chain.steps = tuple(item.model_copy(update={"timeout_seconds": 60.0}) for item in chain.steps)
    chain.read(KEY)
    lose_store(reading, monkeypatch, error)
    result = chain.read(KEY, may_fetch=True, wants_fresh=True)
    assert (result.status, result.source, result.is_degraded) == (ReadStatus.STALE, "cache", True)
    assert str(result.reason).startswith("the database cannot be reached; a copy in memory covers 2026-11-24")
    assert body(reading, result)["daily"]["rows"] == 1
    unknown = chain.read(WEEK, may_fetch=True, wants_fresh=True)
    assert (unknown.entry, isinstance(unknown.error, StoreUnreachable)) == (None, True)
    with pytest.raises(StoreUnreachable, match="has not read the report before"):
        require_entry(unknown)


@SQLITE_ONLY
def test_a_report_that_is_not_configured_is_refused(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error of the caller, with the database and without."""
    with pytest.raises(BadRequest, match="default"):
        reading.chain().read(replace(KEY, report="nonsense"))
    lose_store(reading, monkeypatch)
    with pytest.raises(BadRequest, match="default"):
        reading.chain().read(replace(KEY, report="nonsense"))


@SQLITE_ONLY
def test_a_damaged_entry_is_served_from_memory(reading: ReaderHarness) -> None:
    """The copy that this process has verified before answers, and the damaged entry is marked."""
    reading.warm(KEY)
    chain = make_chain(reading, step("cache"))
    good = body(reading, chain.read(KEY))
    reading.corrupt_payloads()
    result = chain.read(KEY)
    assert (result.source, result.is_degraded, body(reading, result)) == ("cache", True, good)
    assert entries.list_entries(reading.engine)[0].degraded


@SQLITE_ONLY
def test_memory_never_hides_what_is_stored(reading: ReaderHarness) -> None:
    """While the entry can be read the copy in memory is not used, whether the entry is old or gone."""
    reading.warm(KEY)
    chain = make_chain(reading, step("cache"))
    chain.read(KEY)
    reading.harness.clock.sleep(7 * 3600)
    assert chain.read(KEY).entry is None
    delete_entries(reading)
    assert chain.read(KEY).entry is None


def test_a_step_that_keeps_failing_is_isolated(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some failures it is skipped, under its own name; the entry step never is."""

    def fail(*args: object, **options: object) -> None:
        raise OSError("the object store is down")

    chain = make_chain(reading, step("partitions"), step("entry"))
    monkeypatch.setattr("adwarm.serving.chain_steps.read_partitions", fail)
    actions = [chain.read(KEY).actions[0] for _ in range(8)]
    assert "failed: OSError" in actions[0]
    assert "skipped fallback partitions: isolated for another" in actions[-1]
    assert chain.read(KEY).actions[1].startswith("fallback entry failed: NotFound")


@SQLITE_ONLY
def test_an_empty_chain_or_none_is_the_error(reading: ReaderHarness) -> None:
    """Without a step, and with `none`, a miss is a miss."""
    for steps in ((), (step("none"),)):
        result = make_chain(reading, *steps).read(KEY)
        assert (result.status, result.attempts) == (ReadStatus.MISS, 1)
        with pytest.raises(NotFound, match=r"act_1 yesterday: nothing is stored for 2026-11-24\.\.2026-11-24; do this"):
            require_entry(result, "; do this")


def test_read_or_fetch_uses_the_chain(reading: ReaderHarness) -> None:
    """A failed fetch is answered from stored days, and the read is counted as stale."""
    reading.warm(KEY)
    delete_entries(reading)
    reading.break_upstream()
    reading.harness.clock.sleep(7 * 3600)
    result = read_or_fetch(reading.reader, lambda: reading.harness.prefetch, KEY)
    assert (result.source, result.status) == ("partitions", ReadStatus.STALE)
    assert "the platform is down" in str(result.reason)


@SQLITE_ONLY
def test_the_keys_of_a_batch(reading: ReaderHarness) -> None:
    """A failed key that a step has data for ends stale, with source, age and reason; the others stay as they are."""
    reading.warm(KEY)
    delete_entries(reading)
    reading.harness.clock.sleep(3600)
    down = Transient("the platform is down")
    outcomes = [
        KeyOutcome(KeyRequest(KEY), KeyStatus.FAILED, reason="x", error=down),
        KeyOutcome(KeyRequest(replace(KEY, account_id="act_2")), KeyStatus.FAILED, reason="x", error=down),
        KeyOutcome(KeyRequest(WEEK), KeyStatus.DENIED, reason="x"),
    ]
    result = look_up_fallbacks(reading.chain(), BatchResult(outcomes))
    first, second, third = result.outcomes
    assert (first.status, first.source, first.age_seconds, first.error) == (KeyStatus.STALE, "partitions", 3600, down)
    assert (second, third) == (outcomes[1], outcomes[2])
    assert result.summary()["stale"] == 1
    (line,) = describe_fallbacks(result.outcomes)
    assert line.startswith(
        "act_1 yesterday: readers get it from partitions, 60 min old; the platform is down; assembled"
    )
    assert isinstance(result.failure(), Transient)
    assert BatchResult([first]).failure() is None


@SQLITE_ONLY
def test_a_failed_batch_builds_no_document(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The days are only checked: whole ones count with their age and what they lack, damaged ones do not count."""
    monkeypatch.setattr(chain_steps, "build_entry", lambda *_: pytest.fail("a document was built"))
    reading.warm(WEEK)
    delete_entries(reading)
    chain = make_chain(reading, step("partitions"))
    result = chain.read_instead(WEEK, Transient("down"))
    assert (result.status, result.source, result.age_seconds) == (ReadStatus.STALE, "partitions", 0)
    assert "field reach" in (result.reason or "")
    reading.corrupt_objects()
    assert chain.read_instead(WEEK, Transient("down")).status is ReadStatus.MISS


@given(
    kinds=st.lists(st.sampled_from(("cache", "entry", "partitions", "window", "upstream")), unique=True, max_size=5),
    wants_fresh=st.booleans(),
)
def test_the_order_of_the_steps(kinds: list[FallbackKind], wants_fresh: bool) -> None:
    """The listed order holds; asked for fresh data, `upstream` comes first without a condition, and none is lost."""
    steps = [step(kind, errors=("Corrupt",)) for kind in kinds]
    ordered = order_steps([*steps, step("none")], wants_fresh=wants_fresh)
    names = [item.kind for item in ordered]
    if not wants_fresh:
        assert list(ordered) == steps
        return
    assert (names[0], ordered[0].errors) == ("upstream", ("any",))
    assert names[1:] == [kind for kind in kinds if kind != "upstream"]


@SQLITE_ONLY
def test_the_chain_is_that_of_the_settings(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON in the environment replaces the chain."""
    monkeypatch.setenv("ADWARM_RECOVERY__FALLBACKS", '[{"kind": "window", "timeout_seconds": 60}, {"kind": "none"}]')
    reading.warm(KEY)
    delete_entries(reading)
    context = replace(reading.harness.prefetch.context, settings=Settings())
    chain = reading.chain(Context(context.engine, context.objects, context.settings))
    assert [item.kind for item in chain.steps] == ["window", "none"]
    assert chain.read(KEY).entry is None


@SQLITE_ONLY
def test_ages_are_those_of_the_data(reading: ReaderHarness) -> None:
    """The age of assembled days is that of the oldest; its limit holds for them too."""
    reading.warm(KEY)
    delete_entries(reading)
    reading.harness.clock.set(datetime(2026, 11, 25, 22, 0, tzinfo=UTC))
    assert make_chain(reading, step("partitions", max_age_hours=9)).read(KEY).entry is None
    assert make_chain(reading, step("partitions", max_age_hours=11)).read(KEY).age_seconds == 10 * 3600
