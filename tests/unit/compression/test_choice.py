"""Compression: round trips, never larger, thresholds, transcoding, and refusal of corrupt bytes."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression.choice import compress, decompress
from adwarm.compression.envelope import CODECS, Codec, decode_envelope, encode_envelope
from adwarm.foundation.errors import BadRequest, Corrupt, TooMuchData
from adwarm.settings import CompressionSettings

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
