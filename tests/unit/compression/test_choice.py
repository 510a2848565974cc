"""Compression: round trips, never larger, thresholds, transcoding, and refusal of corrupt bytes."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from adwarm.compression import CompressionStats, compress_path, flush_statistics, get_compression_totals
from adwarm.compression.choice import compress, decode_counted, decompress, encode_counted
from adwarm.compression.envelope import CODECS, Codec, decode_envelope, encode_envelope
from adwarm.foundation.errors import BadRequest, Corrupt, TooMuchData
from adwarm.model import CompressionCounts, Latencies
from adwarm.settings import CompressionSettings, SqlSettings
from adwarm.store import amounts
from adwarm.store.database import open_engine, write_transaction

SETTINGS = CompressionSettings()
SAMPLE = b'{"ad_id":"9007199254740993","clicks":"7"},' * 60
EMPTY_ENVELOPE = len(encode_envelope(b"", codec="identity", content_type="application/json", raw_bytes=0))


@given(raw=st.binary(max_size=3000), codec=st.sampled_from(CODECS), threshold=st.integers(0, 1000))
def test_decompress_undoes_compress_and_nothing_grows(raw: bytes, codec: Codec, threshold: int) -> None:
    """Any payload comes back, and only the envelope's header is added."""
    settings = CompressionSettings(threshold_bytes=threshold)
    packed = compress(raw, settings, codec=codec)
    assert decompress(packed.blob, settings) == raw
    assert packed.stored_bytes == len(packed.blob) <= len(raw) + EMPTY_ENVELOPE
    assert packed.raw_bytes == len(raw)
    assert decode_envelope(packed.blob).codec == packed.codec


def test_small_and_incompressible_payloads_stay_as_they_are() -> None:
    """Below the threshold, and where compression does not help, the bytes are stored plain."""
    assert compress(SAMPLE[:511], SETTINGS).codec == "identity"
    assert compress(SAMPLE[:512], SETTINGS).codec == "zstd"
    for codec in CODECS:
        assert compress(os.urandom(4000), SETTINGS, codec=codec).codec == "identity"


def test_the_settings_choose_the_codec_unless_the_call_does() -> None:
    """The argument wins over the settings."""
    settings = CompressionSettings(codec="brotli")
    assert compress(SAMPLE, settings).codec == "brotli"
    assert compress(SAMPLE, settings, codec="gzip").codec == "gzip"
    with pytest.raises(BadRequest, match="'lz4'"):
        compress(SAMPLE, settings, codec="lz4")


def test_compression_is_deterministic() -> None:
    """Equal payloads give equal blobs, so they are stored once."""
    for codec in CODECS:
        assert compress(SAMPLE, SETTINGS, codec=codec) == compress(SAMPLE, SETTINGS, codec=codec)


def test_the_content_type_is_in_the_envelope() -> None:
    """The envelope names the type of its payload."""
    assert decode_envelope(compress(b"a,b", SETTINGS, content_type="text/csv").blob).content_type == "text/csv"


def test_a_wrong_length_is_corrupt() -> None:
    """A body that decodes to another length than stored is not served."""
    with pytest.raises(Corrupt, match="has 3 bytes and should have 4"):
        decompress(encode_envelope(b"abc", codec="identity", content_type="text/plain", raw_bytes=4), SETTINGS)


def test_nothing_is_compressed_that_could_not_be_decompressed() -> None:
    """The limit of decoding applies to compression too."""
    settings = CompressionSettings(max_decoded_bytes=1024)
    assert decompress(compress(bytes(1024), settings).blob, settings) == bytes(1024)
    with pytest.raises(TooMuchData, match="1025 bytes"):
        compress(bytes(1025), settings)
    with pytest.raises(TooMuchData):
        decompress(compress(bytes(1025), SETTINGS).blob, settings)


SMALL = CompressionSettings(max_decoded_bytes=100_000)
CLICKS = b'{"clicks":"7"},' * 200
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_payloads_are_counted_by_codec(counted: CompressionStats) -> None:
    """Bytes, times and numbers of each codec; what was stored as it is counts as identity."""
    packed = compress(CLICKS, SMALL)
    compress(b"small", SMALL)
    assert decompress(packed.blob, SMALL) == CLICKS
    counts = counted.take_counts()
    zstd, identity = counts["zstd"], counts["identity"]
    assert (zstd.packed, zstd.unpacked, zstd.raw_bytes, zstd.errors) == (1, 1, len(CLICKS), 0)
    assert 0 < zstd.stored_bytes < len(CLICKS)
    assert zstd.pack_seconds > 0 < zstd.unpack_seconds
    assert (zstd.pack_latencies, zstd.unpack_latencies) == (
        Latencies.of(zstd.pack_seconds),
        Latencies.of(zstd.unpack_seconds),
    )
    assert (identity.packed, identity.raw_bytes, identity.stored_bytes) == (1, 5, 5)


def test_a_transcode_counts_both_of_its_halves(counted: CompressionStats) -> None:
    """A representation in another codec is decoded and encoded, and both are counted; plain bytes are not."""
    stored = decode_envelope(compress(CLICKS, SMALL).blob)
    counted.take_counts()
    raw = decode_counted(stored.body, stored.codec, len(CLICKS))
    assert encode_counted(raw, "identity", SMALL) == CLICKS
    body = encode_counted(raw, "gzip", SMALL)
    counts = counted.take_counts()
    assert (counts["zstd"].unpacked, counts["gzip"].packed, counts["gzip"].stored_bytes) == (1, 1, len(body))


def test_files_are_counted(counted: CompressionStats, tmp_path: Path) -> None:
    """The copy of a file counts as compressed, and its verification as decompressed."""
    (tmp_path / "a.json").write_bytes(CLICKS)
    compress_path(tmp_path, SMALL)
    counts = counted.take_counts()["zstd"]
    assert (counts.packed, counts.unpacked, counts.raw_bytes) == (1, 1, len(CLICKS))


def test_errors_are_counted_and_raised(counted: CompressionStats) -> None:
    """A failure is raised to the caller, and counted by codec, or as unknown when the envelope is damaged."""
    with pytest.raises(Corrupt):
        decompress(b"not an envelope", SMALL)
    with pytest.raises(TooMuchData):
        compress(bytes(100_001), SMALL)
    assert {codec: counts.errors for codec, counts in counted.take_counts().items()} == {"unknown": 1, "zstd": 1}


def test_threads_lose_no_count(counted: CompressionStats) -> None:
    """Counts of many threads add up."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: compress(CLICKS, SMALL), range(200)))
    counts = counted.take_counts()["zstd"]
    assert (counts.packed, counts.raw_bytes) == (200, 200 * len(CLICKS))


def test_a_flush_is_one_transaction_however_many_payloads(engine: Engine, counted: CompressionStats) -> None:
    """Compressing writes nothing; a flush writes all once, a second one nothing."""
    commits: list[object] = []

    def on_commit(connection: object) -> None:
        commits.append(connection)

    event.listen(engine, "commit", on_commit)
    try:
        for _ in range(50):
            decompress(compress(CLICKS, SMALL).blob, SMALL)
        assert commits == []
        flush_statistics(engine, AT)
        flush_statistics(engine, AT)
        assert len(commits) == 1
    finally:
        event.remove(engine, "commit", on_commit)
    totals = get_compression_totals(engine, AT).total
    assert (totals.packed, totals.unpacked, counted.take_counts()) == (50, 50, {})


def test_counts_survive_a_database_that_cannot_be_written(tmp_path: Path, sqlite_engine: Engine) -> None:
    """A flush that fails raises nothing and keeps the counts for the next one."""
    statistics = CompressionStats()
    statistics.record_pack("zstd", 10, 5, 0.1)
    statistics.record_cache_hit("zstd")
    impatient = open_engine(str(sqlite_engine.url), SqlSettings(lock_timeout_seconds=0.01))
    with write_transaction(sqlite_engine) as connection:
        connection.execute(amounts.table.delete())
        flush_statistics(impatient, AT, statistics)
    assert get_compression_totals(sqlite_engine, AT).total.packed == 0
    flush_statistics(impatient, AT, statistics)
    took = Latencies.of(0.1)
    expected = CompressionCounts(1, 0, 10, 5, 0.1, pack_latencies=took, cache_hits=1)
    assert get_compression_totals(sqlite_engine, AT).total == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform does not fork")
def test_a_forked_child_starts_at_zero(counted: CompressionStats) -> None:
    """What the parent has counted is written by the parent alone."""
    counted.record_pack("zstd", 10, 5, 0.1)
    counted.record_cache_hit("gzip")
    child = os.fork()
    if child == 0:
        os._exit(len(counted.take_counts()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counted.take_counts()["zstd"].packed == 1
