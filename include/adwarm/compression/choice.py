"""Compresses payloads into envelopes and decompresses them again.

The body in an envelope is never larger than the payload: small payloads and those that do not shrink stay as they are,
and so do those that the settings leave out. `decompress` returns the bytes that `compress` was given, or raises.
Whether compression is on or off, both return the same types. Everything is counted in `PROCESS_STATISTICS`.
"""

import time
from dataclasses import dataclass

from adwarm.compression.envelope import Codec, Envelope, decode, decode_envelope, encode, encode_envelope, parse_codec
from adwarm.compression.statistics import PROCESS_STATISTICS
from adwarm.foundation.errors import AdwarmError, Corrupt, TooMuchData
from adwarm.settings import CompressionSettings


@dataclass(frozen=True, slots=True)
class CompressedPayload:
    """A payload in its envelope.

    Attributes:
        codec: the codec that was used, `identity` when compression did not make it smaller.
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
    name: str | None = None,
) -> CompressedPayload:
    """Return `raw` compressed and in an envelope.

    Args:
        content_type: the payload's type, at most 255 ASCII characters.
        codec: used instead of the settings' codec.
        name: what the settings' patterns are compared with, such as `act_1/default/last_7d`; None matches all.

    Raises:
        TooMuchData: `raw` is larger than what `decompress` may decode under the same settings.
        BadRequest: the codec is unknown or the content type is not valid.
    """
    chosen = parse_codec(settings.codec if codec is None else codec)
    if len(raw) > settings.max_decoded_bytes:
        PROCESS_STATISTICS.record_error(chosen)
        raise TooMuchData(
            f"the payload has {len(raw)} bytes, more than the limit of {settings.max_decoded_bytes} for decoding; "
            "request less at a time, or raise ADWARM_COMPRESSION__MAX_DECODED_BYTES"
        )
    if len(raw) < settings.threshold_bytes or not settings.is_compressed(content_type, name):
        chosen = "identity"
    used, body = encode_if_smaller(raw, chosen, settings)
    blob = encode_envelope(body, codec=used, content_type=content_type, raw_bytes=len(raw))
    return CompressedPayload(blob, used, len(raw), len(blob))


def decompress(blob: bytes, settings: CompressionSettings) -> bytes:
    """Return the payload in `blob`.

    Raises:
        Corrupt: the checksum or the decoded length is wrong; treat it as a miss.
        TooMuchData: it would decode to more than the settings allow.
    """
    return decompress_envelope(open_envelope(blob), settings)


def decompress_envelope(envelope: Envelope, settings: CompressionSettings) -> bytes:
    """Return the payload of a decoded envelope.

    Raises:
        Corrupt: the body does not decode to the length in the envelope.
        TooMuchData: it would decode to more than the settings allow.
    """
    raw = decode_counted(envelope.body, envelope.codec, settings.max_decoded_bytes)
    if len(raw) != envelope.raw_bytes:
        PROCESS_STATISTICS.record_error(envelope.codec)
        raise Corrupt(f"the payload has {len(raw)} bytes and should have {envelope.raw_bytes}; fetch it again")
    return raw


def encode_counted(raw: bytes, codec: Codec, settings: CompressionSettings) -> bytes:
    """Return `raw` encoded by `codec`, whatever its size afterwards, and count it; plain bytes are not counted."""
    if codec == "identity":
        return raw
    started = time.perf_counter()
    body = encode(raw, codec, settings)
    PROCESS_STATISTICS.record_pack(codec, len(raw), len(body), time.perf_counter() - started)
    return body


def encode_if_smaller(raw: bytes, codec: Codec, settings: CompressionSettings) -> tuple[Codec, bytes]:
    """Return `raw` encoded by `codec`, or as it is when that is not smaller, with the codec that was used; count it."""
    started = time.perf_counter()
    body = encode(raw, codec, settings)
    used, smaller = (codec, body) if len(body) < len(raw) else ("identity", raw)
    PROCESS_STATISTICS.record_pack(used, len(raw), len(smaller), time.perf_counter() - started)
    return used, smaller


def decode_counted(body: bytes, codec: Codec, max_bytes: int) -> bytes:
    """Return `body` decoded, at most `max_bytes` of it, and count it.

    Raises:
        Corrupt: the stream is truncated or damaged, or other bytes follow it.
        TooMuchData: it decodes to more than `max_bytes`.
    """
    started = time.perf_counter()
    try:
        raw = decode(body, codec, max_bytes)
    except AdwarmError:
        PROCESS_STATISTICS.record_error(codec)
        raise
    PROCESS_STATISTICS.record_unpack(codec, time.perf_counter() - started)
    return raw


def open_envelope(blob: bytes) -> Envelope:
    """Return the envelope in `blob` like `decode_envelope`, and count it when it is damaged.

    Raises:
        Corrupt: the bytes are truncated, changed, or not an envelope.
    """
    try:
        return decode_envelope(blob)
    except Corrupt:
        PROCESS_STATISTICS.record_error()
        raise
