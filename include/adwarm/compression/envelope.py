"""The envelope of stored bytes: codec, content type, decoded length, and a checksum over all of it.

Layout, big-endian: magic `ADWE`, version (1 byte), codec (1), length of the content type (1), decoded length (8),
SHA-256 (32), content type, body. The checksum covers every byte except itself, so it detects any flipped bit and any
truncation.

Encoding and bounded decoding by gzip, brotli and zstd.

Decoding never returns more than the allowed bytes. A stream that is truncated, damaged or followed by other bytes is
rejected: the end mark of each format is checked, because some decoders silently return what they have.
Encoding is deterministic: the same bytes, codec and level give the same result.
"""

import struct
import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, cast, get_args

import brotli
import zstandard
from isal import igzip_lib, isal_zlib

from adwarm.foundation.errors import BadRequest, Corrupt
from adwarm.settings import CompressionSettings
from adwarm_client.codings import check_size, make_damaged, unbrotli, unzstd

Codec = Literal["identity", "gzip", "brotli", "zstd"]
"""How a body is encoded. The order is part of the format: a codec is stored as its position."""

CODECS: Final[tuple[Codec, ...]] = get_args(Codec)
MAGIC: Final = b"ADWE"
VERSION: Final = 1
_FIXED = struct.Struct(">4sBBBQ")
_DIGEST_BYTES = 32
_OVERHEAD = _FIXED.size + _DIGEST_BYTES
_GZIP_FORMAT = 31
_ISAL_LEVELS = range(1, 4)  # much faster than zlib at about the same size; other levels use zlib
_LARGE_BYTES = 1 << 17
_LEVELS_WITH_SHORT_MATCHES = range(5, 13)
_MIN_MATCH = 6
"""zstd's own value at these levels is 5. Numbers have short matches everywhere: 6 makes large reports 1 to 5 % smaller
in the same time."""
_ISAL_ERROR = cast("type[Exception]", igzip_lib.IsalError)  # its type stub calls the class an instance


@dataclass(frozen=True, slots=True)
class Envelope:
    """A decoded envelope whose checksum is correct.

    Attributes:
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


def encode(raw: bytes, codec: Codec, settings: CompressionSettings) -> bytes:
    """Return `raw` encoded by `codec`, at the codec's level in the settings."""
    match codec:
        case "gzip":
            return _gzip(raw, settings.get_level("gzip"))
        case "brotli":
            return bytes(brotli.compress(raw, quality=settings.get_level("brotli")))
        case "zstd":
            return _zstd(raw, settings.get_level("zstd"))
        case "identity":
            return raw


def decode(body: bytes, codec: Codec, max_bytes: int) -> bytes:
    """Return `body` decoded, at most `max_bytes` of it.

    Raises:
        Corrupt: the stream is truncated or damaged, or other bytes follow it.
        TooMuchData: it decodes to more than `max_bytes`; memory use stays near the limit.
    """
    match codec:
        case "gzip":
            raw = _gunzip(body, max_bytes)
        case "brotli":
            raw = unbrotli(body, max_bytes)
        case "zstd":
            raw = unzstd(body, max_bytes)
        case "identity":
            raw = body
    check_size(len(raw), max_bytes)
    return raw


def _gzip(raw: bytes, level: int) -> bytes:
    # Any: the two libraries' compressors have the same methods and no common type.
    packer: Any
    if level in _ISAL_LEVELS:
        packer = isal_zlib.compressobj(level, zlib.DEFLATED, _GZIP_FORMAT)
    else:
        packer = zlib.compressobj(level, zlib.DEFLATED, _GZIP_FORMAT)
    return bytes(packer.compress(raw) + packer.flush())


def _zstd(raw: bytes, level: int) -> bytes:
    options = {}
    if len(raw) >= _LARGE_BYTES and level in _LEVELS_WITH_SHORT_MATCHES:
        options["min_match"] = _MIN_MATCH
    parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=len(raw), **options)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(raw)


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    unpacker = isal_zlib.decompressobj(_GZIP_FORMAT)
    try:
        raw = bytes(unpacker.decompress(body, max_bytes + 1))
    except (_ISAL_ERROR, zlib.error, EOFError) as error:
        raise make_damaged("gzip", error) from error
    check_size(len(raw), max_bytes)
    if not unpacker.eof or unpacker.unused_data:
        raise make_damaged("gzip")
    return raw
