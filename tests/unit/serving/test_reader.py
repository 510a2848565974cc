"""The read path: the right window, verified bytes, the true age, and every read counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from adwarm.foundation.errors import NotFound, StorageError
from adwarm.model import Account, Actor, ReportKey
from adwarm.serving import ReadStatus, read_back
from adwarm.serving.reader import Reader
from adwarm.sources.protocol import Increment
from adwarm.store import accounts, entries, read_traffic
from tests.support.stored_damage import UNDECODABLE, store_newer_format
from tests.unit.conftest import NOW, SQLITE_ONLY, ReaderHarness

KEY = ReportKey("act_1", "yesterday")
WEEK = ReportKey("act_1", "last_7d")
HOUR = timedelta(hours=1)


def _counts(reading: ReaderHarness) -> tuple[float, ...]:
    result = read_traffic.get_totals(reading.engine, NOW - HOUR, NOW + 100 * HOUR)
    return tuple(result[name] for name in ("hits", "stale", "misses"))


def test_hit_stale_and_miss(reading: ReaderHarness) -> None:
    """Absent, then fresh until it expires, then old and marked so; each read is counted once."""
    assert reading.reader.read(KEY).status == ReadStatus.MISS
    reading.warm(KEY)
    reading.harness.clock.set(NOW + 6 * HOUR - timedelta(seconds=1))
    hit = reading.reader.read(KEY)
    reading.harness.clock.set(NOW + 6 * HOUR)
    stale = reading.reader.read(KEY)
    assert (hit.status, stale.status) == (ReadStatus.HIT, ReadStatus.STALE)
    assert hit.age_seconds == 6 * 3600 - 1
    assert "fresh until 2026-11-25 18:00 UTC" in str(stale.reason)
    assert orjson.loads(reading.reader.get_body(stale))["since"] == "2026-11-24"
    assert _counts(reading) == (1, 1, 1)


def test_reads_of_the_warmer_are_counted_separately(reading: ReaderHarness) -> None:
    """The canary's reads do not change the hit rate of humans."""
    reading.warm(KEY)
    reading.reader.read(KEY, Actor.WARMER)
    reading.reader.read(KEY, record_traffic=False)
    assert _counts(reading) == (0, 0, 0)


def test_a_corrupt_entry_is_a_miss_and_is_fetched_again(reading: ReaderHarness) -> None:
    """Corrupt bytes are never served; the next fetch stores intact ones, even at the same moment."""
    reading.warm(KEY)
    reading.corrupt_payloads()
    answer = reading.reader.read(KEY)
    assert (answer.status, answer.blob) == (ReadStatus.MISS, None)
    with pytest.raises(NotFound):
        reading.reader.get_body(answer)
    assert reading.fetch(KEY).status == ReadStatus.FETCHED
    assert reading.reader.read(KEY).status == ReadStatus.HIT


def test_midnight_changes_the_window(reading: ReaderHarness) -> None:
    """After midnight in the account's own zone the window of the day before is not served."""
    reading.warm(KEY)
    accounts.save(reading.engine, [Account("act_1", "America/New_York", "America/New_York")], NOW)
    reading.harness.clock.set(datetime(2026, 11, 26, 4, 59, 59, tzinfo=UTC))
    assert reading.reader.read(KEY).entry is not None
    reading.harness.clock.set(datetime(2026, 11, 26, 5, 0, tzinfo=UTC))
    answer = reading.reader.read(KEY)
    assert (answer.status, answer.entry) == (ReadStatus.MISS, None)
    assert "2026-11-25..2026-11-25" in str(answer.reason)


def test_a_fetch_on_a_miss_is_counted_as_a_wait(reading: ReaderHarness) -> None:
    """The reader waited for it, so it is a miss; the next read is a hit and costs no call."""
    assert reading.fetch(KEY).status == ReadStatus.FETCHED
    asked = len(reading.harness.source.submitted)
    assert reading.fetch(KEY).status == ReadStatus.HIT
    assert (len(reading.harness.source.submitted), _counts(reading)) == (asked, (1, 0, 1))


def test_no_account_gets_anothers_document(reading: ReaderHarness) -> None:
    """Each account gets its own document, also from the cache, and with another account's bytes cached."""
    keys = [ReportKey(f"act_{n}", "last_7d") for n in (1, 2, 3)]
    reading.warm(*keys)
    for _ in range(2):
        for key in keys:
            body = orjson.loads(reading.reader.get_body(reading.reader.read(key)))
            assert body["account_id"] == key.account_id
            columns = [body[table]["columns"]["account_id"] for table in ("summary", "daily")]
            assert {name for column in columns for name in column} == {key.account_id}
    assert reading.reader.read(replace(keys[0], account_id="act_9")).status == ReadStatus.MISS


def test_a_reader_of_another_process_finds_the_entry(reading: ReaderHarness) -> None:
    """Warmer and reader share only the database."""
    reading.warm(KEY)
    assert Reader(reading.harness.prefetch.context, reading.harness.clock).read(KEY).status == ReadStatus.HIT


def test_a_degraded_entry_is_stale_with_its_reason(reading: ReaderHarness) -> None:
    """An entry that was marked degraded is served as stale, with the reason."""
    reading.warm(KEY)
    (entry,) = entries.list_entries(reading.engine)
    entries.mark_degraded(reading.engine, entry, "by hand")
    assert (reading.reader.read(KEY).status, reading.reader.read(KEY).reason) == (ReadStatus.STALE, "by hand")


def test_an_entry_of_a_newer_format_is_a_miss_and_is_fetched_again(reading: ReaderHarness) -> None:
    """It is never guessed at; the reason names the version, and the next fetch replaces it."""
    reading.warm(WEEK)
    store_newer_format(reading.engine)
    answer = reading.reader.read(WEEK)
    assert (answer.status, answer.blob) == (ReadStatus.MISS, None)
    assert "version 99" in str(answer.reason)
    assert reading.fetch(WEEK).status == ReadStatus.FETCHED
    assert reading.reader.read(WEEK).status == ReadStatus.HIT
    assert [unit.increment for unit in reading.harness.source.submitted] == [Increment.RANGE, Increment.RANGE]


@SQLITE_ONLY
@pytest.mark.parametrize("damage", UNDECODABLE)
def test_what_cannot_be_decoded_is_a_miss_and_is_fetched_again(reading: ReaderHarness, damage: str) -> None:
    """Right checksums are not enough for a hit; the first reader marks the entry, and the next fetch heals it."""
    reading.warm(WEEK)
    UNDECODABLE[damage](reading.engine)
    answer = reading.reader.read(WEEK)
    assert (answer.status, answer.blob) == (ReadStatus.MISS, None)
    assert entries.list_entries(reading.engine)[0].degraded
    assert reading.fetch(WEEK).status == ReadStatus.FETCHED
    assert reading.reader.read(WEEK).status == ReadStatus.HIT


@SQLITE_ONLY
def test_a_payload_is_decoded_once(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Further hits of a process compute the checksums alone, which notice any change."""
    decoded: list[str] = []
    monkeypatch.setattr(
        "adwarm.compression.stored_bytes.verify_document", lambda entry, *_: decoded.append(entry.payload_hash) or b""
    )
    reading.warm(WEEK)
    assert [reading.reader.read(WEEK).status for _ in range(3)] == [ReadStatus.HIT] * 3
    assert len(decoded) == 1
    reading.corrupt_payloads()
    assert reading.reader.read(WEEK).status == ReadStatus.MISS


def test_a_read_that_cannot_be_counted_is_answered(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full or read-only disk of the database does not keep what is stored from its readers."""
    reading.warm(WEEK)

    def full(*_arguments: object, **_options: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("adwarm.serving.reader.read_traffic.increment", full)
    monkeypatch.setattr("adwarm.serving.reader.entries.mark_degraded", full)
    assert reading.reader.read(WEEK).status == ReadStatus.HIT
    reading.corrupt_payloads()
    assert reading.reader.read(WEEK).status == ReadStatus.MISS


KEYS = [ReportKey(f"act_{n}", "yesterday") for n in range(1, 8)]


def test_warmed_keys_are_read_back(reading: ReaderHarness) -> None:
    """Keys spread over the warmed ones are read, each a hit."""
    reading.warm(*KEYS)
    assert read_back(reading.reader, KEYS, limit=3) == (3, [])
    assert read_back(reading.reader, []) == (0, [])


def test_each_miss_is_named(reading: ReaderHarness) -> None:
    """Absent, old and damaged entries are reported, each with its reason."""
    reading.warm(KEYS[0])
    assert "act_2 yesterday: miss, nothing is stored" in read_back(reading.reader, KEYS[:2])[1][0]
    reading.harness.clock.sleep(timedelta(hours=7).total_seconds())
    assert "stale" in read_back(reading.reader, KEYS[:1])[1][0]
    reading.corrupt_payloads()
    assert "act_1 yesterday: miss" in read_back(reading.reader, KEYS[:1])[1][0]
