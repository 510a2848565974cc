"""Compressing stored entries again keeps every document, and only ever makes entries smaller."""

from dataclasses import replace

import pytest

from adwarm.compression import decode_envelope, decompress_envelope, encode_envelope, get_compression_totals
from adwarm.maintenance.entry_compression import compress_entries
from adwarm.model import ReportKey
from adwarm.serving import ReadStatus
from adwarm.settings import CompressionSettings
from adwarm.store import entries
from adwarm.store.database import write_transaction
from adwarm.store.entries import Entry
from tests.support.stored_damage import store_bomb
from tests.unit.conftest import NOW, SQLITE_ONLY, ReaderHarness

KEY, OTHER = ReportKey("act_1", "last_30d"), ReportKey("act_2", "last_30d")
PLAIN = CompressionSettings(codec="identity")
CHEAP = CompressionSettings(codec="gzip", level=1, threshold_bytes=0)
STRONG = CHEAP.with_codec("gzip", 9)


@pytest.fixture
def plain(reading: ReaderHarness) -> ReaderHarness:
    """One entry, stored without compression."""
    reading.harness.use_compression(PLAIN)
    reading.warm(KEY)
    return reading


@pytest.fixture
def cheap(reading: ReaderHarness) -> ReaderHarness:
    """Two entries at a cheap level."""
    reading.harness.use_compression(CHEAP)
    reading.warm(KEY, OTHER)
    return reading


def _run(reading: ReaderHarness, compression: CompressionSettings, *patterns: str) -> dict[str, int]:
    return compress_entries(reading.harness.prefetch.context, compression, patterns or ("*",), NOW)


@SQLITE_ONLY
def test_an_entry_is_replaced_where_that_is_smaller(plain: ReaderHarness) -> None:
    """The document is the same afterwards, with the new codec; a second run changes nothing."""
    before = plain.reader.get_body(plain.reader.read(KEY))
    counts = _run(plain, CompressionSettings(codec="brotli"))
    assert (counts["entries"], counts["repacked"], counts["corrupt"]) == (1, 1, 0)
    assert counts["bytes_after"] < counts["bytes_before"]
    answer = plain.reader.read(KEY)
    assert answer.entry is not None
    assert (answer.status, answer.entry.codec, plain.reader.get_body(answer)) == (ReadStatus.HIT, "brotli", before)
    assert _run(plain, CompressionSettings(codec="brotli"))["repacked"] == 0


@SQLITE_ONLY
def test_it_never_makes_an_entry_larger(plain: ReaderHarness) -> None:
    """An entry that is already small stays as it is."""
    _run(plain, CompressionSettings(codec="zstd"))
    before = entries.list_entries(plain.engine)
    assert _run(plain, PLAIN)["repacked"] == 0
    assert entries.list_entries(plain.engine) == before


@SQLITE_ONLY
def test_only_named_entries_are_compressed(cheap: ReaderHarness) -> None:
    """A pattern names account, report and date range; any of several is enough, and none that matches is none."""
    assert _run(cheap, STRONG, "act_1/default/today", "act_3/*")["entries"] == 0
    assert _run(cheap, STRONG, "act_1/*", "*/other/*")["repacked"] == 1
    counts = _run(cheap, STRONG, "*/default/last_30d")
    assert (counts["entries"], counts["repacked"]) == (2, 1)


@SQLITE_ONLY
def test_a_damaged_entry_is_marked_and_left(plain: ReaderHarness) -> None:
    """A corrupt entry is counted, marked degraded, and left."""
    plain.corrupt_payloads()
    counts = _run(plain, CompressionSettings())
    assert (counts["corrupt"], counts["repacked"]) == (1, 0)
    assert entries.list_entries(plain.engine)[0].degraded


@SQLITE_ONLY
def test_a_decode_bomb_is_marked_and_left(plain: ReaderHarness) -> None:
    """Right checksums do not make it stop the compression of the others."""
    store_bomb(plain.engine, 80 << 20)
    counts = _run(plain, CompressionSettings())
    assert (counts["corrupt"], entries.list_entries(plain.engine)[0].degraded) == (1, True)


@SQLITE_ONLY
def test_the_document_and_its_hash_stay_the_same(cheap: ReaderHarness) -> None:
    """Codec and bytes change; the document, its type, its freshness and its reads do not."""
    before = {item.key: (item, *entries.find(cheap.engine, item.key)) for item in entries.list_entries(cheap.engine)}  # type: ignore[misc]
    assert _run(cheap, STRONG)["repacked"] == 2
    for item in entries.list_entries(cheap.engine):
        old, _, old_blob = before[item.key]
        found = entries.find(cheap.engine, item.key)
        assert found is not None
        old_envelope, envelope = decode_envelope(old_blob), decode_envelope(found[1])
        assert decompress_envelope(envelope, CHEAP) == decompress_envelope(old_envelope, CHEAP)
        assert envelope.content_type == old_envelope.content_type
        assert replace(item, stored_bytes=old.stored_bytes, payload_hash=old.payload_hash) == old
    assert get_compression_totals(cheap.engine, NOW).codecs["gzip"].packed == 4


@SQLITE_ONLY
def test_the_content_type_is_kept(cheap: ReaderHarness) -> None:
    """An entry of another content type has it afterwards too."""
    (listed, *_) = entries.list_entries(cheap.engine, "act_1")
    raw = b'{"a":"1"},' * 500
    blob = encode_envelope(raw, codec="identity", content_type="application/x-other", raw_bytes=len(raw))
    with write_transaction(cheap.engine) as connection:
        item = replace(listed, codec="identity", raw_bytes=len(raw), stored_bytes=len(blob))
        entries.publish(connection, [(item, blob)], 9, NOW)
    _run(cheap, STRONG)
    found = entries.find(cheap.engine, listed.key)
    assert found is not None
    assert decode_envelope(found[1]).content_type == "application/x-other"
    assert found[0].codec == "gzip"


def test_an_entry_published_meanwhile_is_left_alone(cheap: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch between reading and replacing wins; its entry stays untouched."""
    real = entries.replace_payload

    def publish_first(connection: object, item: Entry, sealed: bytes, at: object) -> bool:
        newer = replace(item, source="newer")
        entries.publish(connection, [(newer, b"newer" + item.key.account_id.encode())], 9, NOW)  # type: ignore[arg-type]
        return real(connection, item, sealed, at)  # type: ignore[arg-type]

    monkeypatch.setattr(entries, "replace_payload", publish_first)
    assert _run(cheap, STRONG)["repacked"] == 0
    assert {item.source for item in entries.list_entries(cheap.engine)} == {"newer"}
