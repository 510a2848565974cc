"""Recompression keeps every document, only ever makes entries smaller, and spends CPU time only where reads pay."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression import PROCESS_STATISTICS, decode_envelope, encode_envelope, get_compression_totals
from adwarm.maintenance import recompression
from adwarm.maintenance.recompression import (
    RecompressionPolicy,
    RecompressionResult,
    estimate_reads,
    recompress_all,
    recompress_by_benefit,
)
from adwarm.model import EntryKey, ReportKey, Window
from adwarm.serving import ReadStatus
from adwarm.settings import CompressionSettings
from adwarm.store import entries
from adwarm.store.database import write_transaction
from adwarm.store.entries import Entry
from tests.unit.conftest import NOW, SQLITE_ONLY, ReaderHarness
from tests.unit.stored_damage import store_bomb

KEY, OTHER = ReportKey("act_1", "last_30d"), ReportKey("act_2", "last_30d")
PLAIN = CompressionSettings(codec="identity")
CHEAP = CompressionSettings(codec="gzip", gzip_level=1, threshold_bytes=0, recompress_min_hours=0)
HOUR = timedelta(hours=1)


@pytest.fixture
def plain(desk: ReaderHarness) -> ReaderHarness:
    """One entry, stored without compression."""
    desk.bench.use_compression(PLAIN)
    desk.warm(KEY)
    return desk


@pytest.fixture
def cheap(desk: ReaderHarness) -> ReaderHarness:
    """Two entries at a cheap level that were read 5 times and once."""
    desk.bench.use_compression(CHEAP)
    desk.warm(KEY, OTHER)
    for key in (KEY, KEY, KEY, KEY, KEY, OTHER):
        desk.reader.read(key)
    return desk


def _ticking(step: float) -> Callable[[], float]:
    """Return a timer whose readings are `step` seconds apart."""
    readings = iter(range(10**6))
    return lambda: next(readings) * step


def _run(
    desk: ReaderHarness, cpu_seconds: float = 1e6, *, step: float = 0.0, dry_run: bool = False, **values: object
) -> RecompressionResult:
    desk.bench.use_compression(CHEAP.model_copy(update=values))
    policy = RecompressionPolicy(cpu_seconds, dry_run, _ticking(step))
    return recompress_by_benefit(desk.bench.prefetch.context, desk.bench.clock.now(), policy)


def _codecs(desk: ReaderHarness) -> dict[str, str | None]:
    return {item.key.account_id: item.recompressed_with for item in entries.list_entries(desk.engine)}


@SQLITE_ONLY
def test_an_entry_is_recompressed_where_that_is_smaller(plain: ReaderHarness) -> None:
    """The document is the same afterwards, with the new codec; a second run changes nothing."""
    before = plain.reader.get_body(plain.reader.read(KEY))
    counts = recompress_all(plain.bench.prefetch.context, CompressionSettings(codec="brotli"), NOW)
    assert (counts["entries"], counts["repacked"], counts["corrupt"]) == (1, 1, 0)
    assert counts["bytes_after"] < counts["bytes_before"]
    answer = plain.reader.read(KEY)
    assert answer.entry is not None
    assert (answer.status, answer.entry.codec, plain.reader.get_body(answer)) == (ReadStatus.HIT, "brotli", before)
    assert recompress_all(plain.bench.prefetch.context, CompressionSettings(codec="brotli"), NOW)["repacked"] == 0


@SQLITE_ONLY
def test_it_never_makes_an_entry_larger(plain: ReaderHarness) -> None:
    """An entry that is already small stays as it is."""
    recompress_all(plain.bench.prefetch.context, CompressionSettings(codec="zstd"), NOW)
    before = entries.list_entries(plain.engine)
    assert recompress_all(plain.bench.prefetch.context, PLAIN, NOW)["repacked"] == 0
    assert entries.list_entries(plain.engine) == before


@SQLITE_ONLY
def test_a_damaged_entry_is_marked_and_not_recompressed(plain: ReaderHarness) -> None:
    """A corrupt entry is counted, marked degraded, and left."""
    plain.corrupt_payloads()
    counts = recompress_all(plain.bench.prefetch.context, CompressionSettings(), NOW)
    assert (counts["corrupt"], counts["repacked"]) == (1, 0)
    assert entries.list_entries(plain.engine)[0].degraded


@SQLITE_ONLY
def test_a_decode_bomb_is_marked_and_not_recompressed(plain: ReaderHarness) -> None:
    """Right checksums do not make it stop the recompression of the others."""
    store_bomb(plain.engine, 80 << 20)
    counts = recompress_all(plain.bench.prefetch.context, CompressionSettings(), NOW)
    assert (counts["corrupt"], entries.list_entries(plain.engine)[0].degraded) == (1, True)


@SQLITE_ONLY
def test_the_document_and_its_hash_stay_the_same(cheap: ReaderHarness) -> None:
    """Codec and bytes change; the document, its type, its freshness and its reads do not."""
    before = {item.key: (item, *entries.find(cheap.engine, item.key)) for item in entries.list_entries(cheap.engine)}  # type: ignore[misc]
    result = _run(cheap)
    assert (result.candidates, result.paying, result.recompressed, result.setting) == (2, 2, 2, "gzip-9")
    assert result.bytes_after < result.bytes_before
    for item in entries.list_entries(cheap.engine):
        old, _, old_blob = before[item.key]
        found = entries.find(cheap.engine, item.key)
        assert found is not None
        old_envelope, envelope = decode_envelope(old_blob), decode_envelope(found[1])
        assert recompression.decompress_envelope(envelope, CHEAP) == recompression.decompress_envelope(
            old_envelope, CHEAP
        )
        assert envelope.content_type == old_envelope.content_type
        kept = replace(
            item, stored_bytes=old.stored_bytes, payload_hash=old.payload_hash, recompressed_with=None, codec=old.codec
        )
        assert kept == old
    totals = get_compression_totals(cheap.engine, NOW)
    assert totals.codecs["gzip"].packed == 4


@SQLITE_ONLY
def test_the_content_type_is_kept(cheap: ReaderHarness) -> None:
    """An entry of another content type has it afterwards too."""
    (listed, *_) = entries.list_entries(cheap.engine, "act_1")
    raw = b'{"a":"1"},' * 500
    blob = encode_envelope(raw, codec="identity", content_type="application/x-other", raw_bytes=len(raw))
    with write_transaction(cheap.engine) as connection:
        item = replace(listed, codec="identity", raw_bytes=len(raw), stored_bytes=len(blob))
        entries.publish(connection, [(item, blob)], 9, NOW)
    _run(cheap)
    found = entries.find(cheap.engine, listed.key)
    assert found is not None
    assert decode_envelope(found[1]).content_type == "application/x-other"
    assert found[0].codec == "gzip"


def test_only_entries_whose_reads_pay_are_recompressed(cheap: ReaderHarness) -> None:
    """With a price between the benefits of the two entries, the one with five reads is recompressed and the other not.

    The timer makes each document cost 1 s, and the saving is measured on the documents themselves.
    """
    sample = _run(cheap, dry_run=True)
    saving_of_one_read = sample.saved_bytes_expected / 6
    price = round(saving_of_one_read * 3)
    result = _run(cheap, step=1.0, recompress_min_saving=price)
    assert (result.candidates, result.recompressed) == (2, 1)
    assert _codecs(cheap) == {"act_1": "gzip-9", "act_2": None}


@SQLITE_ONLY
def test_nothing_is_recompressed_where_no_reads_pay(cheap: ReaderHarness) -> None:
    """A run whose CPU time would cost more than all reads save says so, and leaves the entries for a later run."""
    result = _run(cheap, step=1.0, recompress_min_saving=10**9)
    assert (result.candidates, result.paying) == (2, 0)
    assert str(result) == "of 2 entries read lately, recompressing with gzip-9 pays for none"
    assert set(_codecs(cheap).values()) == {None}


@SQLITE_ONLY
def test_a_dry_run_changes_nothing(cheap: ReaderHarness) -> None:
    """It names the same entries with estimated sizes, stores nothing and counts no payload as compressed."""
    before = entries.list_entries(cheap.engine)
    PROCESS_STATISTICS.take_counts()
    result = _run(cheap, dry_run=True)
    assert (result.is_dry_run, result.paying, result.recompressed) == (True, 2, 0)
    assert 0 < result.bytes_after < result.bytes_before
    assert entries.list_entries(cheap.engine) == before
    assert "would be recompressed" in str(result)


@SQLITE_ONLY
def test_the_cpu_time_is_kept(cheap: ReaderHarness) -> None:
    """A run ends when the next entry would exceed its time; the entry that saves more per CPU second comes first."""
    result = _run(cheap, 8.5, step=1.0, recompress_min_saving=0)
    assert (result.recompressed, result.is_out_of_time) == (1, True)
    assert _codecs(cheap) == {"act_1": "gzip-9", "act_2": None}
    assert "out of CPU time" in str(result)
    assert _run(cheap, 0).candidates == 0


@SQLITE_ONLY
def test_an_entry_is_tried_once_per_setting(cheap: ReaderHarness) -> None:
    """A second run has no candidate; another level has."""
    assert _run(cheap).recompressed == 2
    assert _run(cheap).candidates == 0
    assert "none was read lately" in str(_run(cheap))
    assert _run(cheap, recompress_level=8).candidates == 2


@SQLITE_ONLY
def test_an_entry_that_does_not_shrink_is_not_tried_again(cheap: ReaderHarness) -> None:
    """An entry that has the stronger level already stays as it is, and is marked."""
    recompress_all(cheap.bench.prefetch.context, CHEAP.with_codec("gzip", 9), NOW)
    before = {item.payload_hash for item in entries.list_entries(cheap.engine)}
    result = _run(cheap)
    assert (result.paying, result.recompressed) == (2, 0)
    assert {item.payload_hash for item in entries.list_entries(cheap.engine)} == before
    assert _run(cheap).candidates == 0


@SQLITE_ONLY
def test_entries_that_expire_soon_are_left(cheap: ReaderHarness) -> None:
    """Within the margin before its expiry no entry is a candidate."""
    (first, *_) = entries.list_entries(cheap.engine)
    assert first.expires_at is not None
    cheap.bench.clock.set(first.expires_at - 2 * HOUR)
    assert _run(cheap, recompress_min_hours=3).candidates == 0
    assert _run(cheap, recompress_min_hours=1, dry_run=True).candidates == 2


@SQLITE_ONLY
def test_excluded_entries_are_left(cheap: ReaderHarness) -> None:
    """What the settings leave out of compression is not recompressed."""
    assert _run(cheap, exclude=("act_1/*",), dry_run=True).candidates == 1
    assert _run(cheap, enabled=False).candidates == 0
    assert _run(cheap, content_types=("application/json",), dry_run=True).candidates == 2


@SQLITE_ONLY
def test_plain_entries_have_nothing_stronger(plain: ReaderHarness) -> None:
    """The codec identity has no level."""
    plain.reader.read(KEY)
    assert _run(plain, codec="identity").candidates == 0


def test_an_entry_published_meanwhile_is_left_alone(cheap: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch between reading and replacing wins; its entry stays untouched."""
    real = entries.replace_payload

    def publish_first(connection: object, item: Entry, sealed: bytes, at: object) -> bool:
        newer = replace(item, source="newer", recompressed_with=None)
        entries.publish(connection, [(newer, b"newer" + item.key.account_id.encode())], 9, NOW)  # type: ignore[arg-type]
        return real(connection, item, sealed, at)  # type: ignore[arg-type]

    monkeypatch.setattr(entries, "replace_payload", publish_first)
    result = _run(cheap)
    assert result.recompressed == 0
    assert {item.source for item in entries.list_entries(cheap.engine)} == {"newer"}
    assert set(_codecs(cheap).values()) == {None}


@SQLITE_ONLY
def test_a_damaged_candidate_is_marked(cheap: ReaderHarness) -> None:
    """It is counted once and marked, so that it is fetched again; a dry run does not mark it."""
    cheap.corrupt_payloads()
    assert _run(cheap, dry_run=True).corrupt == 2
    assert not any(item.degraded for item in entries.list_entries(cheap.engine))
    result = _run(cheap)
    assert (result.recompressed, result.corrupt) == (0, 2)
    assert all(item.degraded for item in entries.list_entries(cheap.engine))
    assert "damaged" in str(result)


def _entry(days_ago: int, fetched: timedelta, left: timedelta | None, reads: int) -> Entry:
    until = NOW.date() - timedelta(days=days_ago)
    key = EntryKey("act_1", Window(until, until), "abc")
    expires = None if left is None else NOW + left
    return Entry(key, "today", "default", "zstd", 100, 10, NOW - fetched, expires, "s", reads=reads)


@given(
    days_ago=st.integers(-1, 40),
    reads=st.integers(0, 1000),
    age=st.floats(0, 500),
    left=st.one_of(st.none(), st.floats(-10, 500)),
)
def test_expected_reads_never_exceed_those_so_far(days_ago: int, reads: int, age: float, left: float | None) -> None:
    """They are those so far for a final entry, none after the expiry, and in between they grow with the time left."""
    expected = estimate_reads(_entry(days_ago, age * HOUR, None if left is None else left * HOUR, reads), NOW)
    assert 0 <= expected <= reads
    if left is None:
        assert expected == reads
    elif left <= 0:
        assert expected == 0
    else:
        assert expected <= estimate_reads(_entry(days_ago, age * HOUR, (left + 1) * HOUR, reads), NOW)


@pytest.mark.parametrize(
    ("days_ago", "fetched", "left", "expected"),
    [
        (0, 0 * HOUR, 3 * HOUR, 25),  # today's 100 reads were counted over its 12 hours
        (1, 0 * HOUR, 6 * HOUR, 50),  # yesterday's window is asked for since midnight, 12 hours ago
        (1, 24 * HOUR, 6 * HOUR, 100 * 6 / 36),  # it was fetched while the day was running
        (10, 0 * HOUR, 108 * HOUR, 50),  # that window could be read for 9 days and a half, 216 hours and more
        (0, 0 * HOUR, 500 * HOUR, 100),
    ],
)
def test_expected_reads_follow_the_rate(days_ago: int, fetched: timedelta, left: timedelta, expected: float) -> None:
    """Reads so far, over the time in which the window's days were there, give the rate until the expiry."""
    found = estimate_reads(_entry(days_ago, fetched, left, 100), NOW)
    assert found == pytest.approx(expected, rel=0.06)


def test_one_early_read_does_not_promise_many() -> None:
    """A window that began a minute ago counts as an hour old."""
    tomorrow = _entry(-1, timedelta(minutes=1), HOUR / 2, 1)
    assert estimate_reads(tomorrow, NOW) == 0.5
