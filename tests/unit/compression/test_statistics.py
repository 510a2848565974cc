"""Compression statistics: totals, times by an injected timer, errors by class."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from adwarm.compression.statistics import CompressionStats
from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm.settings import CompressionSettings

SETTINGS = CompressionSettings(max_decoded_bytes=100_000)
SAMPLE = b'{"clicks":"7"},' * 200


def test_without_a_payload_there_is_no_ratio() -> None:
    """Empty statistics divide by nothing."""
    assert CompressionStats().to_dict() == {
        "packed": 0,
        "unpacked": 0,
        "raw_bytes": 0,
        "stored_bytes": 0,
        "saved_bytes": 0,
        "ratio": None,
        "codecs": {},
        "errors": {},
    }


def test_bytes_and_times_are_counted_by_codec() -> None:
    """Each call adds its bytes and the seconds between two readings of the timer."""
    stats = CompressionStats(timer=count(step=0.5).__next__)
    packed = stats.compress(SAMPLE, SETTINGS)
    stats.compress(b"small", SETTINGS)
    assert stats.decompress(packed.blob, SETTINGS) == SAMPLE
    result = stats.to_dict()
    assert result["codecs"]["zstd"]["pack_seconds"] == result["codecs"]["zstd"]["unpack_seconds"] == 0.5
    assert result["codecs"]["zstd"]["raw_bytes"] == len(SAMPLE)
    assert result["codecs"]["identity"]["packed"] == 1
    assert (result["packed"], result["unpacked"]) == (2, 1)
    assert result["saved_bytes"] == result["raw_bytes"] - result["stored_bytes"]
    assert result["ratio"] == round(result["raw_bytes"] / result["stored_bytes"], 3) > 1
    assert json.loads(json.dumps(result)) == result


def test_errors_are_counted_and_raised() -> None:
    """A failure is raised to the caller and counted."""
    stats = CompressionStats()
    with pytest.raises(Corrupt):
        stats.decompress(b"not an envelope", SETTINGS)
    with pytest.raises(TooMuchData):
        stats.compress(bytes(100_001), SETTINGS)
    assert stats.to_dict()["errors"] == {"Corrupt": 1, "TooMuchData": 1}


def test_threads_lose_no_count() -> None:
    """Counts of many threads add up."""
    stats = CompressionStats()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: stats.compress(SAMPLE, SETTINGS), range(200)))
    assert stats.to_dict()["packed"] == 200
    assert stats.to_dict()["raw_bytes"] == 200 * len(SAMPLE)
