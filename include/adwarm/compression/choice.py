"""Compresses payloads into envelopes and decompresses them again.

The body in an envelope is never larger than the payload: small payloads and those that do not shrink stay as they are.
`decompress` returns the bytes that `compress` was given, or raises.
"""

from dataclasses import dataclass

from adwarm.compression.codecs import decode, encode
from adwarm.compression.envelope import Codec, Envelope, decode_envelope, encode_envelope, parse_codec
from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm.settings import CompressionSettings


@dataclass(frozen=True, slots=True)
class CompressedPayload:
    """A payload in its envelope.

    Attributes:
        blob: the envelope.
        codec: the codec that was used, `identity` when compression did not make it smaller.
        raw_bytes: length of the payload.
        stored_bytes: length of the envelope.
    """

    blob: bytes
    codec: Codec
    raw_bytes: int
    stored_bytes: int


def compress(
    raw: bytes,
    settings: CompressionSettings,
    *,
    content_type: str = "application/json",
    codec: str | None = None,
) -> CompressedPayload:
    """Return `raw` compressed and in an envelope.

    Args:
        raw: the payload.
        settings: codec, levels and limits.
        content_type: the payload's type, at most 255 ASCII characters.
        codec: used instead of the settings' codec.

    Raises:
        TooMuchData: `raw` is larger than what `decompress` may decode under the same settings.
        BadRequest: the codec is unknown or the content type is not valid.
    """
    chosen = parse_codec(settings.codec if codec is None else codec)
    if len(raw) > settings.max_decoded_bytes:
        raise TooMuchData(
            f"the payload has {len(raw)} bytes, more than the limit of {settings.max_decoded_bytes} for decoding; "
            "request less at a time, or raise ADWARM_COMPRESSION__MAX_DECODED_BYTES"
        )
    used, body = _encode_if_smaller(raw, chosen, settings)
    blob = encode_envelope(body, codec=used, content_type=content_type, raw_bytes=len(raw))
    return CompressedPayload(blob, used, len(raw), len(blob))


def decompress(blob: bytes, settings: CompressionSettings) -> bytes:
    """Return the payload in `blob`.

    Raises:
        Corrupt: the checksum or the decoded length is wrong; treat it as a miss.
        TooMuchData: it would decode to more than the settings allow.
    """
    return decompress_envelope(decode_envelope(blob), settings)


def decompress_envelope(envelope: Envelope, settings: CompressionSettings) -> bytes:
    """Return the payload of a decoded envelope.

    Raises:
        Corrupt: the body does not decode to the length in the envelope.
        TooMuchData: it would decode to more than the settings allow.
    """
    raw = decode(envelope.body, envelope.codec, settings.max_decoded_bytes)
    if len(raw) != envelope.raw_bytes:
        raise Corrupt(f"the payload has {len(raw)} bytes and should have {envelope.raw_bytes}; fetch it again")
    return raw


def transcode(blob: bytes, codec: str, settings: CompressionSettings) -> bytes:
    """Return the body of `blob` in another codec, without an envelope; its own codec needs no decoding.

    Raises:
        Corrupt: the checksum or the decoded length is wrong.
        TooMuchData: it would decode to more than the settings allow.
        BadRequest: the codec is unknown.
    """
    target, envelope = parse_codec(codec), decode_envelope(blob)
    if target == envelope.codec:
        return envelope.body
    return encode(decompress_envelope(envelope, settings), target, settings)


def _encode_if_smaller(raw: bytes, codec: Codec, settings: CompressionSettings) -> tuple[Codec, bytes]:
    if len(raw) < settings.threshold_bytes:
        return "identity", raw
    body = encode(raw, codec, settings)
    return (codec, body) if len(body) < len(raw) else ("identity", raw)
