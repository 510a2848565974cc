"""Statistics of compression: every payload is counted by codec, and counts are written in batches."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from adwarm.compression import (
    CompressionStats,
    compress,
    compress_path,
    decode_envelope,
    decompress,
    flush_statistics,
    get_compression_totals,
)
from adwarm.compression.choice import decode_counted, encode_counted
from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm.model import CompressionCounts, Latencies
from adwarm.settings import CompressionSettings, SqlSettings
from adwarm.store.database import open_engine, write_transaction
from adwarm.store.tables import compression_day

SETTINGS = CompressionSettings(max_decoded_bytes=100_000)
SAMPLE = b'{"clicks":"7"},' * 200
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_payloads_are_counted_by_codec(counted: CompressionStats) -> None:
    """Bytes, times and numbers of each codec; what was stored as it is counts as identity."""
    packed = compress(SAMPLE, SETTINGS)
    compress(b"small", SETTINGS)
    assert decompress(packed.blob, SETTINGS) == SAMPLE
    counts = counted.take_counts()
    zstd, identity = counts["zstd"], counts["identity"]
    assert (zstd.packed, zstd.unpacked, zstd.raw_bytes, zstd.errors) == (1, 1, len(SAMPLE), 0)
    assert 0 < zstd.stored_bytes < len(SAMPLE)
    assert zstd.pack_seconds > 0 < zstd.unpack_seconds
    assert (zstd.pack_latencies, zstd.unpack_latencies) == (
        Latencies.of(zstd.pack_seconds),
        Latencies.of(zstd.unpack_seconds),
    )
    assert (identity.packed, identity.raw_bytes, identity.stored_bytes) == (1, 5, 5)


def test_a_transcode_counts_both_of_its_halves(counted: CompressionStats) -> None:
    """A representation in another codec is decoded and encoded, and both are counted; plain bytes are not."""
    stored = decode_envelope(compress(SAMPLE, SETTINGS).blob)
    counted.take_counts()
    raw = decode_counted(stored.body, stored.codec, len(SAMPLE))
    assert encode_counted(raw, "identity", SETTINGS) == SAMPLE
    body = encode_counted(raw, "gzip", SETTINGS)
    counts = counted.take_counts()
    assert (counts["zstd"].unpacked, counts["gzip"].packed, counts["gzip"].stored_bytes) == (1, 1, len(body))


def test_files_are_counted(counted: CompressionStats, tmp_path: Path) -> None:
    """The copy of a file counts as compressed, and its verification as decompressed."""
    (tmp_path / "a.json").write_bytes(SAMPLE)
    compress_path(tmp_path, SETTINGS)
    counts = counted.take_counts()["zstd"]
    assert (counts.packed, counts.unpacked, counts.raw_bytes) == (1, 1, len(SAMPLE))


def test_errors_are_counted_and_raised(counted: CompressionStats) -> None:
    """A failure is raised to the caller, and counted by codec, or as unknown when the envelope is damaged."""
    with pytest.raises(Corrupt):
        decompress(b"not an envelope", SETTINGS)
    with pytest.raises(TooMuchData):
        compress(bytes(100_001), SETTINGS)
    assert {codec: counts.errors for codec, counts in counted.take_counts().items()} == {"unknown": 1, "zstd": 1}


def test_threads_lose_no_count(counted: CompressionStats) -> None:
    """Counts of many threads add up."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: compress(SAMPLE, SETTINGS), range(200)))
    counts = counted.take_counts()["zstd"]
    assert (counts.packed, counts.raw_bytes) == (200, 200 * len(SAMPLE))


def test_a_flush_is_one_transaction_however_many_payloads(engine: Engine, counted: CompressionStats) -> None:
    """Compressing writes nothing; a flush writes all once, a second one nothing."""
    commits: list[object] = []

    def on_commit(connection: object) -> None:
        commits.append(connection)

    event.listen(engine, "commit", on_commit)
    try:
        for _ in range(50):
            decompress(compress(SAMPLE, SETTINGS).blob, SETTINGS)
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
        connection.execute(compression_day.delete())
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
