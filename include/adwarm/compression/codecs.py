"""Encoding and bounded decoding by gzip, brotli and zstd.

Decoding never returns more than the allowed bytes. A stream that is truncated, damaged or followed by other bytes is
rejected: the end mark of each format is checked, because some decoders silently return what they have.
Encoding is deterministic: the same bytes, codec and level give the same result.
"""

import zlib
from typing import Any, cast

import brotli
import zstandard
from isal import igzip_lib, isal_zlib

from adwarm.compression.envelope import Codec
from adwarm.settings import CompressionSettings
from adwarm_client.codings import check_size, make_damaged, unbrotli, unzstd

_GZIP_FORMAT = 31
_ISAL_LEVELS = range(1, 4)  # much faster than zlib at about the same size; other levels use zlib
_LARGE_BYTES = 1 << 17
_LEVELS_WITH_SHORT_MATCHES = range(5, 13)
_MIN_MATCH = 6
"""zstd's own value at these levels is 5. Numbers have short matches everywhere: 6 makes large reports 1 to 5 % smaller
in the same time."""
_ISAL_ERROR = cast("type[Exception]", igzip_lib.IsalError)  # its type stub calls the class an instance


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
