"""Packs payloads and unpacks them again.

A packed payload's body is never larger than the payload: small ones and those that do not shrink stay as they are. What
`pack` took, `unpack` gives back byte for byte, or raises.
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
        codec: the codec really used, `identity` where compressing did not pay.
        raw_bytes: length of the payload.
        stored_bytes: length of the blob.
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
    """Return `raw` encoded by `codec` (by default the settings' one) and sealed.

    Raises:
        TooMuchData: `raw` is larger than what `unpack` may decode under the same settings.
        BadRequest: the codec is unknown or the content type is not valid.
    """
    wanted = parse_codec(settings.codec if codec is None else codec)
    if len(raw) > settings.max_decoded_bytes:
        raise TooMuchData(
            f"the payload has {len(raw)} bytes, more than the {settings.max_decoded_bytes} that may be decoded again; "
            "ask for less at a time, or raise ADWARM_COMPRESSION__MAX_DECODED_BYTES"
        )
    used, body = _encode_if_smaller(raw, wanted, settings)
    blob = encode_envelope(body, codec=used, content_type=content_type, raw_bytes=len(raw))
    return CompressedPayload(blob, used, len(raw), len(blob))


def decompress(blob: bytes, settings: CompressionSettings) -> bytes:
    """Return the payload in `blob`.

    Raises:
        Corrupt: the checksum or the decoded length does not hold; treat it as a miss.
        TooMuchData: it would decode to more than the settings allow.
    """
    return decompress_envelope(decode_envelope(blob), settings)


def decompress_envelope(envelope: Envelope, settings: CompressionSettings) -> bytes:
    """Return the payload of an opened envelope.

    Raises:
        Corrupt: the body does not decode to the length the envelope promises.
        TooMuchData: it would decode to more than the settings allow.
    """
    raw = decode(envelope.body, envelope.codec, settings.max_decoded_bytes)
    if len(raw) != envelope.raw_bytes:
        raise Corrupt(f"the payload has {len(raw)} bytes and should have {envelope.raw_bytes}; fetch it again")
    return raw


def transcode(blob: bytes, codec: str, settings: CompressionSettings) -> bytes:
    """Return the body of `blob` in another codec, without an envelope; in its own codec nothing is decoded.

    Raises:
        Corrupt: the blob does not verify.
        TooMuchData: it would decode to more than the settings allow.
        BadRequest: the codec is unknown.
    """
    wanted, envelope = parse_codec(codec), decode_envelope(blob)
    if wanted == envelope.codec:
        return envelope.body
    return encode(decompress_envelope(envelope, settings), wanted, settings)


def _encode_if_smaller(raw: bytes, codec: Codec, settings: CompressionSettings) -> tuple[Codec, bytes]:
    if len(raw) < settings.threshold_bytes:
        return "identity", raw
    body = encode(raw, codec, settings)
    return (codec, body) if len(body) < len(raw) else ("identity", raw)
