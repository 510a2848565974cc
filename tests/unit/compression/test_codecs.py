"""Codecs: other decoders agree, truncated streams and trailing bytes are refused, decoding is bounded."""

import gzip
import os
import random
import tracemalloc
import zlib
from contextlib import suppress

import brotli
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression.codecs import decode, encode
from adwarm.compression.envelope import CODECS, Codec
from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm.settings import CompressionSettings

SETTINGS = CompressionSettings()
REAL: tuple[Codec, ...] = ("gzip", "brotli", "zstd")
SAMPLE = b'{"ad_id":"123","clicks":"7","spend":"1.25"},' * 40
LIMIT = 1 << 20


@given(raw=st.binary(max_size=2000), codec=st.sampled_from(CODECS))
def test_decoding_undoes_encoding(raw: bytes, codec: Codec) -> None:
    """Every payload comes back byte for byte."""
    assert decode(encode(raw, codec, SETTINGS), codec, 2000) == raw


@pytest.mark.parametrize("level", range(10))
def test_every_gzip_level_is_read_by_the_standard_library(level: int) -> None:
    """Levels of both libraries write standard gzip, without a timestamp."""
    body = encode(SAMPLE, "gzip", CompressionSettings(codec="gzip", level=level))
    assert gzip.decompress(body) == SAMPLE
    assert body[4:8] == b"\0\0\0\0"


def test_an_explicit_zero_is_a_level() -> None:
    """Level 0 means level 0, not the default."""
    stored = encode(SAMPLE, "gzip", CompressionSettings(codec="gzip", level=0))
    assert len(stored) > len(SAMPLE)
    quick = encode(SAMPLE, "brotli", CompressionSettings(codec="brotli", level=0))
    assert quick == brotli.compress(SAMPLE, quality=0) != encode(SAMPLE, "brotli", SETTINGS)


def test_levels_reach_the_codecs() -> None:
    """The settings' level is the one used."""
    assert encode(SAMPLE, "brotli", SETTINGS) == brotli.compress(SAMPLE, quality=5)
    assert encode(SAMPLE, "zstd", SETTINGS) == zstandard.ZstdCompressor(level=6).compress(SAMPLE)


@pytest.mark.parametrize("level", [5, 6, 9, 12])
def test_large_reports_of_numbers_are_smaller_than_by_zstd_alone(level: int) -> None:
    """Matches of few bytes are left out, as they cost more than they save; the frame still declares its length."""
    numbers = random.Random(7)
    raw = orjson.dumps([f"{numbers.expovariate(0.01):.2f}" for _ in range(30_000)])
    body = encode(raw, "zstd", CompressionSettings(level=level))
    assert len(body) < len(zstandard.ZstdCompressor(level=level).compress(raw))
    assert zstandard.get_frame_parameters(body).content_size == len(raw)


@pytest.mark.parametrize("codec", REAL)
@pytest.mark.parametrize("sample", [SAMPLE, os.urandom(5000)], ids=["regular", "random"])
def test_every_truncation_is_refused(codec: Codec, sample: bytes) -> None:
    """A stream truncated at any byte raises Corrupt, though some decoders return what they have."""
    body = encode(sample, codec, SETTINGS)
    for length in range(0, len(body), max(1, len(body) // 400)):
        with pytest.raises(Corrupt):
            decode(body[:length], codec, LIMIT)
    with pytest.raises(Corrupt):
        decode(body[:-1], codec, LIMIT)


@pytest.mark.parametrize("codec", REAL)
def test_bytes_after_the_end_are_refused(codec: Codec) -> None:
    """A second stream or garbage after the first is damage."""
    body = encode(SAMPLE, codec, SETTINGS)
    for tail in (b"x", body):
        with pytest.raises(Corrupt):
            decode(body + tail, codec, LIMIT)


@given(body=st.binary(max_size=400), codec=st.sampled_from(REAL))
def test_garbage_raises_only_documented_errors(body: bytes, codec: Codec) -> None:
    """Arbitrary bytes decode within the limit or raise one of the two errors."""
    with suppress(Corrupt, TooMuchData):
        assert len(decode(body, codec, 1000)) <= 1000


@pytest.mark.parametrize("codec", CODECS)
def test_the_limit_is_exact(codec: Codec) -> None:
    """A payload at the limit passes, one byte more does not."""
    body = encode(SAMPLE, codec, SETTINGS)
    assert decode(body, codec, len(SAMPLE)) == SAMPLE
    with pytest.raises(TooMuchData, match="ADWARM_COMPRESSION__MAX_DECODED_BYTES"):
        decode(body, codec, len(SAMPLE) - 1)


@pytest.mark.parametrize("codec", REAL)
def test_a_bomb_costs_no_more_than_the_limit(codec: Codec) -> None:
    """64 MiB of zeros in a few bytes are refused at 1 MiB, and memory stays near that."""
    bomb = encode(bytes(64 << 20), codec, SETTINGS)
    tracemalloc.start()
    try:
        with pytest.raises(TooMuchData):
            decode(bomb, codec, LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < LIMIT + (8 << 20)


def test_a_zstd_frame_of_unknown_size_is_bounded_too() -> None:
    """A frame without its size is decoded, and refused when too large or truncated."""
    packer = zstandard.ZstdCompressor().compressobj()
    body = packer.compress(SAMPLE) + packer.flush()
    assert decode(body, "zstd", LIMIT) == SAMPLE
    for bad, limit in ((body, len(SAMPLE) - 1), (body[:-1], LIMIT)):
        with pytest.raises(Corrupt):
            decode(bad, "zstd", limit)


def test_a_wrong_gzip_checksum_is_refused() -> None:
    """The gzip trailer is verified."""
    body = bytearray(encode(SAMPLE, "gzip", SETTINGS))
    assert zlib.decompress(bytes(body), 31) == SAMPLE
    body[-6] ^= 1
    with pytest.raises(Corrupt, match="gzip"):
        decode(bytes(body), "gzip", LIMIT)
