"""The envelope: round trips, every flipped bit, every truncation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression.envelope import CODECS, Codec, decode_envelope, encode_envelope, parse_codec
from adwarm.foundation.errors import BadRequest, Corrupt


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
