"""The envelope of stored bytes: codec, content type, decoded length, and a checksum over all of it.

Layout, big-endian: magic `ADWE`, version (1 byte), codec (1), length of the content type (1), decoded length (8),
SHA-256 (32), content type, body. The checksum covers every byte except itself, so it detects any flipped bit and any
truncation.
"""

import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, get_args

from adwarm.foundation.errors import BadRequest, Corrupt

Codec = Literal["identity", "gzip", "brotli", "zstd"]
"""How a body is encoded. The order is part of the format: a codec is stored as its position."""

CODECS: Final[tuple[Codec, ...]] = get_args(Codec)
MAGIC: Final = b"ADWE"
VERSION: Final = 1
_FIXED = struct.Struct(">4sBBBQ")
_DIGEST_BYTES = 32
_OVERHEAD = _FIXED.size + _DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class Envelope:
    """A decoded envelope whose checksum is correct.

    Attributes:
        codec: how the body is encoded.
        content_type: the payload's type.
        raw_bytes: length of the decoded payload.
        body: the encoded payload, ready to be sent with its content coding.
    """

    codec: Codec
    content_type: str
    raw_bytes: int
    body: bytes


def encode_envelope(body: bytes, *, codec: Codec, content_type: str, raw_bytes: int) -> bytes:
    """Return `body`, already encoded by `codec`, in an envelope.

    Raises:
        BadRequest: the content type is not ASCII or longer than 255 characters, or the codec is unknown.
    """
    kind = content_type.encode("ascii", "replace")
    if len(kind) > 255 or not content_type.isascii():
        raise BadRequest(f"content type {content_type[:60]!r} is not valid; use at most 255 ASCII characters")
    head = _FIXED.pack(MAGIC, VERSION, CODECS.index(parse_codec(codec)), len(kind), raw_bytes)
    return b"".join((head, _digest(head, kind, body), kind, body))


def decode_envelope(blob: bytes) -> Envelope:
    """Return the envelope in `blob` after checking its checksum; the body stays encoded.

    Raises:
        Corrupt: the bytes are truncated, changed, or not an envelope.
    """
    if len(blob) < _OVERHEAD:
        raise Corrupt(
            f"the stored bytes are truncated: {len(blob)} bytes are less than an empty envelope; fetch them again"
        )
    head, digest = blob[: _FIXED.size], blob[_FIXED.size : _OVERHEAD]
    magic, version, codec, kind_bytes, raw_bytes = _FIXED.unpack(head)
    if magic != MAGIC or version != VERSION or codec >= len(CODECS):
        raise Corrupt(f"the stored bytes are not an envelope of version {VERSION}; fetch them again")
    kind, body = blob[_OVERHEAD : _OVERHEAD + kind_bytes], blob[_OVERHEAD + kind_bytes :]
    if _digest(head, kind, body) != digest:
        raise Corrupt
    return Envelope(CODECS[codec], kind.decode("ascii"), raw_bytes, body)


def parse_codec(name: str) -> Codec:
    """Return `name` as a codec.

    Raises:
        BadRequest: there is no such codec.
    """
    for codec in CODECS:
        if codec == name:
            return codec
    raise BadRequest(f"codec {name[:40]!r} is unknown; the codecs are {', '.join(CODECS)}")


def _digest(head: bytes, kind: bytes, body: bytes) -> bytes:
    hasher = sha256(head)
    hasher.update(kind)
    hasher.update(body)
    return hasher.digest()
