"""What compression guarantees, where caches of this kind are known to fail. Each test names one guarantee."""

import gzip
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import brotli
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression import (
    CODECS,
    Codec,
    CompressedPayload,
    CompressionStats,
    RepresentationKey,
    TranscodeCache,
    compress,
    decode_envelope,
    decompress,
)
from adwarm.compression.choice import encode_counted
from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm.model import Actor, ReportKey
from adwarm.runtime import Runtime
from adwarm.serving import ReadStatus
from adwarm.settings import CompressionSettings
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import entries, read_transaction
from adwarm.store.entries import payload
from tests.unit.conftest import NOW, ReaderHarness, one_ad_page

SAMPLE = b'{"ad_id":"9007199254740993","clicks":"7"},' * 200
KEY, OTHER = ReportKey("act_1", "yesterday"), ReportKey("act_2", "yesterday")


def _document(account: str, clicks: int) -> bytes:
    rows = [{"ad_id": "7", "impressions": "1000", "clicks": str(clicks)}] * 50
    return orjson.dumps({"account_id": account, "rows": rows})


@given(
    first=st.tuples(st.sampled_from(["act_1", "act_2"]), st.integers(0, 10**6)),
    second=st.tuples(st.sampled_from(["act_1", "act_2"]), st.integers(0, 10**6)),
    codec=st.sampled_from(CODECS),
)
def test_a_cached_value_is_never_that_of_another_account_or_of_older_data(
    first: tuple[str, int], second: tuple[str, int], codec: Codec
) -> None:
    """Documents that differ in the account or in one metric have different keys, though their bytes begin alike."""
    cache, settings = TranscodeCache(1 << 20), CompressionSettings(codec=codec)
    for account, clicks in (first, second, first):
        raw = _document(account, clicks)
        blob, key = compress(raw, settings).blob, RepresentationKey(sha256(raw).hexdigest(), "identity")
        assert cache.get_or_compute(key, "zstd", lambda blob=blob: decompress(blob, settings)) == _document(
            account, clicks
        )


def test_the_newest_answer_replaces_the_older_one(reading: ReaderHarness) -> None:
    """A key that is fetched again has one entry, with the newer data; the older document is garbage."""
    for clicks in ("10", "99999"):

        def page(unit: FetchUnit, clicks: str = clicks) -> ResultPage:
            answer = one_ad_page(unit)
            return replace(answer, rows=[{**row, "clicks": clicks} for row in answer.rows])

        reading.harness.source.script = {"act_1": page}
        assert reading.fetch(KEY).status is ReadStatus.FETCHED
        assert clicks.encode() in reading.reader.get_body(reading.reader.read(KEY))
        reading.harness.clock.sleep(6 * 3600)
    assert len(entries.list_entries(reading.engine)) == 1
    assert sum(entries.delete_orphans(reading.engine, reading.harness.clock.now())) == 1


def test_caches_and_counts_last_as_long_as_the_process(
    reading: ReaderHarness, counted: CompressionStats, tmp_path: Path
) -> None:
    """The second read of a document decodes nothing, and both reads are in the same statistics."""
    reading.warm(KEY)
    counted.take_counts()
    bodies = {reading.reader.get_body(reading.reader.read(KEY)) for _ in range(5)}
    assert len(bodies) == 1
    assert sum(counts.unpacked for counts in counted.take_counts().values()) == 1
    runtime = Runtime(reading.harness.settings.model_copy(update={"home": tmp_path}))
    assert runtime.reader is runtime.reader


def test_a_request_never_pays_for_the_strongest_level() -> None:
    """Transcodes and new entries use the settings' cheap level; brotli 11 is 200 times slower and is used on demand."""
    settings = CompressionSettings()
    assert (settings.codec, settings.get_level("zstd"), settings.get_level("brotli")) == ("zstd", 6, 5)
    assert encode_counted(SAMPLE, "brotli", settings) == brotli.compress(SAMPLE, quality=5)


def test_bytes_are_stored_as_bytes(reading: ReaderHarness) -> None:
    """The database holds the envelope itself, not a text form of it."""
    reading.warm(KEY)
    found = entries.find(reading.engine, reading.reader.read(KEY).entry.key)  # type: ignore[union-attr]
    assert found is not None
    with read_transaction(reading.engine) as connection:
        stored = connection.execute(payload.select()).one().body
    assert bytes(stored) == found[1]
    assert len(bytes(stored)) == found[0].stored_bytes
    assert decode_envelope(bytes(stored)).raw_bytes == found[0].raw_bytes


@pytest.mark.parametrize(
    ("codec", "level", "expected"),
    [
        ("gzip", 0, None),
        ("brotli", 0, brotli.compress(SAMPLE, quality=0)),
        ("brotli", 11, brotli.compress(SAMPLE, quality=11)),
    ],
)
def test_an_explicit_level_of_zero_is_used(codec: str, level: int, expected: bytes | None) -> None:
    """Level 0 is a level, and not the absence of one: gzip 0 stores, so the plain bytes are kept."""
    settings = CompressionSettings(codec=codec, level=level)  # type: ignore[arg-type]
    packed = compress(SAMPLE, settings)
    if expected is None:
        assert packed.codec == "identity"
        gzipped = encode_counted(SAMPLE, "gzip", settings)
        assert len(gzipped) > len(SAMPLE)
        assert gzip.decompress(gzipped) == SAMPLE
    else:
        assert decode_envelope(packed.blob).body == expected
    assert compress(b"{}", CompressionSettings(threshold_bytes=0)).raw_bytes == 2


def test_bytes_come_back_as_they_were_with_compression_on_or_off(subtests: pytest.Subtests) -> None:
    """No value is parsed on the way; the envelope itself says codec, type and length."""
    for enabled in [True, False]:
        for raw in [b"123", b"hello", b'"123"', b"", b"null", b"\xff\xfe", b"NaN"]:
            with subtests.test(raw=raw, enabled=enabled):
                settings = CompressionSettings(enabled=enabled, threshold_bytes=0)
                packed = compress(raw, settings, content_type="text/plain")
                envelope = decode_envelope(packed.blob)
                assert decompress(packed.blob, settings) == raw
                assert (envelope.content_type, envelope.raw_bytes, envelope.codec) == (
                    "text/plain",
                    len(raw),
                    packed.codec,
                )


@given(raw=st.binary(max_size=3000), codec=st.sampled_from(CODECS), enabled=st.booleans())
def test_both_ways_return_the_same_type(raw: bytes, codec: Codec, enabled: bool) -> None:
    """On or off, compression returns an envelope and decompression returns bytes, readable by either setting."""
    settings = CompressionSettings(enabled=enabled, codec=codec, threshold_bytes=0)
    packed = compress(raw, settings)
    assert isinstance(packed, CompressedPayload)
    if not enabled:
        assert packed.codec == "identity"
    for reader in (settings, CompressionSettings(enabled=not enabled)):
        assert decompress(packed.blob, reader) == raw


def test_long_ids_and_missing_values_survive(reading: ReaderHarness) -> None:
    """An ad id above 2^53 and a null come back as they were; compression sees bytes only."""
    raw = orjson.dumps({"ad_id": ["9007199254740993", None], "spend": ["0.10", None]})
    for codec in CODECS:
        assert (
            decompress(compress(raw, CompressionSettings(threshold_bytes=0), codec=codec).blob, CompressionSettings())
            == raw
        )


def test_nothing_is_stored_larger_or_decoded_without_a_limit() -> None:
    """What does not shrink is stored plain; a payload that expands beyond the limit is refused."""
    noise, settings = os.urandom(4000), CompressionSettings(max_decoded_bytes=1 << 20)
    overhead = len(compress(b"", settings).blob)
    for codec in CODECS:
        packed = compress(noise, settings, codec=codec)
        assert (packed.codec, packed.stored_bytes) == ("identity", len(noise) + overhead)
    bomb = compress(bytes(1 << 22), CompressionSettings()).blob
    with pytest.raises(TooMuchData):
        decompress(bomb, settings)


@given(position=st.integers(0), bit=st.integers(0, 7))
def test_damage_of_any_bit_is_noticed(position: int, bit: int) -> None:
    """No flipped bit of a blob is decoded to anything."""
    blob = bytearray(compress(SAMPLE, CompressionSettings()).blob)
    blob[position % len(blob)] ^= 1 << bit
    with pytest.raises(Corrupt):
        decompress(bytes(blob), CompressionSettings())


def test_a_damaged_entry_is_a_miss(reading: ReaderHarness, counted: CompressionStats) -> None:
    """A reader gets a miss and no exception; the damage is counted, and the next fetch repairs it."""
    reading.warm(KEY)
    reading.corrupt_payloads()
    counted.take_counts()
    assert reading.reader.read(KEY).status is ReadStatus.MISS
    assert counted.take_counts()["unknown"].errors == 1
    assert reading.fetch(KEY).status is ReadStatus.FETCHED


def test_the_settings_select_what_is_compressed(subtests: pytest.Subtests) -> None:
    """Entries are selected by name and content type; an exclusion wins over an inclusion."""
    for values, name, content_type, codec in [
        ({}, "act_1/default/last_7d", "application/json", "zstd"),
        ({"enabled": False}, "act_1/default/last_7d", "application/json", "identity"),
        ({"exclude": ("act_1/*",)}, "act_1/default/last_7d", "application/json", "identity"),
        ({"exclude": ("act_1/*",)}, "act_2/default/last_7d", "application/json", "zstd"),
        ({"include": ("*/hourly/*",)}, "act_1/hourly/today", "application/json", "zstd"),
        ({"include": ("*/hourly/*",)}, "act_1/default/today", "application/json", "identity"),
        ({"include": ("*/hourly/*",), "exclude": ("*/today",)}, "act_1/hourly/today", "text/csv", "identity"),
        ({"include": ()}, "act_1/default/today", "application/json", "identity"),
        ({"include": ()}, None, "application/json", "zstd"),
        ({"content_types": ("application/json",)}, None, "Application/JSON; charset=utf-8", "zstd"),
        ({"content_types": ("application/json",)}, None, "text/csv", "identity"),
        ({}, None, "image/png", "identity"),
    ]:
        with subtests.test(values=values, name=name, content_type=content_type, codec=codec):
            packed = compress(SAMPLE, CompressionSettings(**values), content_type=content_type, name=name)
            assert packed.codec == codec
            assert decompress(packed.blob, CompressionSettings()) == SAMPLE


def test_entries_are_selected_by_their_name(reading: ReaderHarness) -> None:
    """The patterns meet `account/report/date range` of what is warmed."""
    reading.harness.use_compression(CompressionSettings(exclude=("act_2/default/yester*",), threshold_bytes=0))
    reading.warm(KEY, OTHER)
    codecs = {item.key.account_id: item.codec for item in entries.list_entries(reading.engine)}
    assert codecs == {"act_1": "zstd", "act_2": "identity"}
    assert reading.reader.get_body(reading.reader.read(OTHER, Actor.API))


def test_reads_of_readers_are_counted_on_the_entry(reading: ReaderHarness) -> None:
    """Each read of a reader counts, those of the warmer do not, and the time of the last one is kept."""
    reading.warm(KEY)
    for actor in (Actor.HUMAN, Actor.API, Actor.WARMER):
        reading.reader.read(KEY, actor)
    (found,) = entries.list_entries(reading.engine)
    assert (found.reads, found.last_read_at) == (2, NOW)
