"""The envelope: round trips, every flipped bit, every truncation."""

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

from adwarm.compression.envelope import CODECS, Codec, decode, decode_envelope, encode, encode_envelope, parse_codec
from adwarm.foundation.errors import BadRequest, Corrupt, TooMuchData
from adwarm.settings import CompressionSettings


@given(body=st.binary(max_size=200), codec=st.sampled_from(CODECS), raw_bytes=st.integers(0, 2**63))
def test_decoding_undoes_encoding_an_envelope(body: bytes, codec: Codec, raw_bytes: int) -> None:
    """A decoded envelope holds exactly what was encoded."""
    result = decode_envelope(encode_envelope(body, codec=codec, content_type="application/json", raw_bytes=raw_bytes))
    assert (result.body, result.codec, result.raw_bytes) == (body, codec, raw_bytes)
    assert result.content_type == "application/json"


def test_every_flipped_bit_is_caught() -> None:
    """No single flipped bit, wherever it is, passes the checksum."""
    blob = encode_envelope(b"\x00clicks\xff" * 4, codec="zstd", content_type="text/csv", raw_bytes=9)
    for bit in range(len(blob) * 8):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt):
            decode_envelope(bytes(damaged))


def test_every_truncation_is_caught() -> None:
    """An envelope truncated anywhere, or with an extra byte, is refused."""
    blob = encode_envelope(b"payload" * 5, codec="gzip", content_type="application/json", raw_bytes=35)
    for length in range(len(blob)):
        with pytest.raises(Corrupt):
            decode_envelope(blob[:length])
    with pytest.raises(Corrupt):
        decode_envelope(blob + b"\x00")


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(blob: bytes) -> None:
    """Bytes that are no envelope raise Corrupt and nothing else."""
    with pytest.raises(Corrupt):
        decode_envelope(blob)


@pytest.mark.parametrize("content_type", ["x" * 256, "text/é"])
def test_a_content_type_that_does_not_fit_is_refused(content_type: str) -> None:
    """Only short ASCII content types are accepted."""
    with pytest.raises(BadRequest, match="255 ASCII"):
        encode_envelope(b"", codec="identity", content_type=content_type, raw_bytes=0)


def test_an_unknown_codec_is_refused_with_the_valid_ones() -> None:
    """The message lists the valid codecs."""
    with pytest.raises(BadRequest, match="'lz4' is unknown; the codecs are identity, gzip, brotli, zstd"):
        parse_codec("lz4")


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
