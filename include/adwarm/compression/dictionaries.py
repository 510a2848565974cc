"""Deltas against an earlier document: Compression Dictionary Transport with zstd (RFC 9842, `Content-Encoding: dcz`).

The body is a fixed magic number, the SHA-256 of the dictionary, and a zstd frame made with the dictionary as raw
content. The window covers dictionary and document, as long as a browser accepts it. The frame has a checksum, so a
browser too notices when the document that it restored is not the one that was sent.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from hashlib import sha256

import zstandard

from adwarm_client.codings import HASH_BYTES, MAGIC, raw_dictionary

_LEAST_WINDOW = 8 * 2**20
_LARGEST_WINDOW = 128 * 2**20
_SMALLEST_WINDOW_LOG = 10
_CHAIN_LOG = 16
_THOROUGH_LEVEL = 16
_THOROUGH_BYTES = 512 * 2**10
"""Largest document for a thorough search, which takes up to 100 ms per MB."""
_THOROUGH_FROM, _THOROUGH_TO = 1 / 64, 1 / 16
"""Quick deltas for which a thorough search is tried, as shares of the document: a new day alone gives less than a 64th,
and a document that has little in common with its dictionary more than a 16th."""
_BYTE_SEQUENCE = re.compile(r":([A-Za-z0-9+/]{43}=?):")
_PATTERN_CHARACTERS = re.compile(r"[\\+*?:{}()]")
_QUOTED = re.compile(r'[\\"]')


def encode_delta(document: bytes, dictionary: bytes) -> bytes:
    """Return `document` as a delta against `dictionary`, in the format of the coding `dcz`.

    Takes about 4 ms per MB of document, ten times as long when a document of up to 512 KiB has changed in several days:
    then a thorough search saves a sixth. The result may be larger than a plain encoding; the caller compares. The same
    input gives the same bytes.

    Args:
        dictionary: an earlier body that the client holds.
    """
    raw = raw_dictionary(dictionary)
    window_log = max((len(document) + len(dictionary)).bit_length(), _SMALLEST_WINDOW_LOG)
    window_log = min(window_log, largest_window(len(dictionary)).bit_length() - 1)
    frame = _compress(document, raw, _quick_parameters(window_log))
    if len(document) <= _THOROUGH_BYTES and _THOROUGH_FROM <= len(frame) / (len(document) or 1) <= _THOROUGH_TO:
        thorough = zstandard.ZstdCompressionParameters.from_level(
            _THOROUGH_LEVEL,
            source_size=len(document) + len(dictionary),
            dict_size=len(dictionary),
            window_log=window_log,
            write_checksum=True,
        )
        frame = min(frame, _compress(document, raw, thorough), key=len)
    return b"".join((MAGIC, sha256(dictionary).digest(), frame))


def largest_window(dictionary_bytes: int) -> int:
    """Return the largest window in bytes, a power of 2, that every decoder of `dcz` accepts (RFC 9842, section 5)."""
    limit = min(max(_LEAST_WINDOW, dictionary_bytes * 5 // 4), _LARGEST_WINDOW)
    return 1 << (limit.bit_length() - 1)


def parse_available_dictionary(header: str | None) -> bytes | None:
    """Return the SHA-256 in a request header Available-Dictionary; None when it is missing or malformed."""
    match = _BYTE_SEQUENCE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    try:
        digest = b64decode(f"{match[1].rstrip('=')}=", validate=True)
    except Base64Error:
        return None
    return digest if len(digest) == HASH_BYTES else None


def format_use_as_dictionary(match: str, dictionary_id: str | None = None) -> str:
    """Return the value of Use-As-Dictionary for a body that may be the dictionary of later answers.

    Args:
        match: percent-encoded path of the requests it is for, with `?` and the query where that matters. It is matched
            exactly: characters that have a meaning in URL patterns are escaped.
        dictionary_id: sent back by the client as `Dictionary-ID`; at most 1,024 ASCII characters.

    Raises:
        ValueError: a part has characters that no header may hold.
    """
    path, mark, query = match.partition("?")
    pattern = _escape(path) + mark + _escape(query)
    parts = [f"match={_quote(pattern)}"]
    if dictionary_id is not None:
        if len(dictionary_id) > 1_024:
            raise ValueError("a dictionary id has at most 1,024 characters")
        parts.append(f"id={_quote(dictionary_id)}")
    return ", ".join(parts)


def _escape(text: str) -> str:
    return _PATTERN_CHARACTERS.sub(r"\\\g<0>", text)


def _quote(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a header holds printable ASCII only; percent-encode the rest")
    return '"' + _QUOTED.sub(r"\\\g<0>", text) + '"'


def _compress(
    document: bytes, dictionary: zstandard.ZstdCompressionDict, parameters: zstandard.ZstdCompressionParameters
) -> bytes:
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(document)


def _quick_parameters(window_log: int) -> zstandard.ZstdCompressionParameters:
    # Levels up to 12 accept matches of 4 or 5 bytes, which numbers have everywhere: 6 gives less and is as fast. Levels
    # from 13 on build a tree of the dictionary, which takes ten times as long as the rest.
    return zstandard.ZstdCompressionParameters(
        window_log=window_log,
        hash_log=window_log - 1,
        chain_log=_CHAIN_LOG,
        search_log=6,
        min_match=6,
        target_length=64,
        strategy=zstandard.STRATEGY_LAZY2,
        write_checksum=True,
    )
