"""Content codings: gzip, brotli and zstd, decoded in bounded memory.

Decoding never returns more than the allowed bytes. A stream that is truncated, damaged or followed by other bytes is
rejected: the end mark of each format is checked, because some decoders silently return what they have.
"""

import zlib
from typing import Final

import brotli
import zstandard

from adwarm_client.errors import Corrupt, TooMuchData

_GZIP_FORMAT: Final = 31
_BROTLI_STEP = 1 << 20


def unbrotli(body: bytes, max_bytes: int) -> bytes:
    """Return a brotli stream decoded, at most `max_bytes` of it; see `decode`."""
    unpacker = brotli.Decompressor()
    parts: list[bytes] = []
    size, pending = 0, body
    try:
        while not unpacker.is_finished():
            part = unpacker.process(pending, output_buffer_limit=min(max_bytes - size + 1, _BROTLI_STEP))
            if not part and not unpacker.is_finished():
                raise make_damaged("brotli")
            pending = b""
            parts.append(part)
            size += len(part)
            check_size(size, max_bytes)
    except brotli.error as error:
        raise make_damaged("brotli", error) from error
    return b"".join(parts)


def unzstd(body: bytes, max_bytes: int) -> bytes:
    """Return a zstd frame decoded, at most `max_bytes` of it; see `decode`."""
    try:
        declared = zstandard.get_frame_parameters(body).content_size
        if declared != zstandard.CONTENTSIZE_UNKNOWN:
            check_size(declared, max_bytes)
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=max_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise make_damaged("zstd", error) from error


def check_size(size: int, max_bytes: int) -> None:
    """Raise `TooMuchData` for more than `max_bytes` decoded bytes."""
    if size > max_bytes:
        raise TooMuchData(
            f"the payload decodes to more than {max_bytes} bytes; "
            "request less at a time, or raise ADWARM_COMPRESSION__MAX_DECODED_BYTES"
        )


def make_damaged(codec: str, error: Exception | None = None) -> Corrupt:
    """Return the error of a stream that is truncated or damaged."""
    return Corrupt(f"the {codec} stream is truncated or damaged{f' ({error})' if error else ''}; fetch it again")


def decode(body: bytes, coding: str, max_bytes: int) -> bytes:
    """Return a body without its content coding, at most `max_bytes` of it.

    Raises:
        Corrupt: the coding was not asked for, or the stream is truncated or damaged, or other bytes follow it.
        TooMuchData: it decodes to more than `max_bytes`; memory use stays near the limit.
    """
    match coding:
        case "gzip" | "x-gzip":
            raw = _gunzip(body, max_bytes)
        case "br":
            raw = unbrotli(body, max_bytes)
        case "zstd":
            raw = unzstd(body, max_bytes)
        case "identity":
            raw = body
        case _:
            raise Corrupt(f"content coding {coding[:40]!r} is unknown; the codings are zstd, br, gzip and identity")
    check_size(len(raw), max_bytes)
    return raw


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_FORMAT)
    try:
        raw = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise make_damaged("gzip", error) from error
    check_size(len(raw), max_bytes)
    if not unpacker.eof or unpacker.unused_data:
        raise make_damaged("gzip")
    return raw
