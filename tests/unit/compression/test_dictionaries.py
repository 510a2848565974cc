"""Deltas: the format of RFC 9842, bounded and checked decoding, and the headers around it."""

import random
from base64 import b64encode
from hashlib import sha256

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression.dictionaries import (
    encode_delta,
    format_use_as_dictionary,
    largest_window,
    parse_available_dictionary,
)
from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm_client.codings import MAGIC, decode_delta, format_available_dictionary

MIB = 2**20


def _document(days: range, restated: frozenset[int] = frozenset(), ads: int = 40) -> bytes:
    """Return columns of numbers by day, then ad; restated days have other numbers."""
    values = []
    for day in days:
        numbers = random.Random(f"{day}{day in restated}")
        values += [f"{numbers.random() * 1000:.2f}" for _ in range(ads)]
    ids = [f"12021034567{ad:05d}" for _ in days for ad in range(ads)]
    return f'{{"columns":{{"ad_id":{ids},"spend":{values}}}}}'.replace("'", '"').replace(" ", "").encode()


def _counts(days: range, restated: range = range(0), ads: int = 100) -> bytes:
    """Return a column of counts by day, then ad; in restated days 30 % of the counts are larger by one."""
    values = []
    for day in days:
        numbers = random.Random(day)
        for _ in range(ads):
            count, is_late = numbers.randrange(200), numbers.random() < 0.3
            values.append(str(count + (is_late and day in restated)))
    return orjson.dumps({"clicks": values})


OLD, NEW = _document(range(30)), _document(range(1, 31))


@given(document=st.binary(max_size=3000), dictionary=st.binary(max_size=3000))
def test_decoding_undoes_encoding(document: bytes, dictionary: bytes) -> None:
    """Every document comes back from every dictionary, empty ones included, and encoding is deterministic."""
    body = encode_delta(document, dictionary)
    assert decode_delta(body, dictionary, len(document)) == document
    assert encode_delta(document, dictionary) == body


def test_the_body_has_the_standards_header() -> None:
    """The magic number and the SHA-256 of the dictionary precede a frame that any zstd decoder reads with it."""
    body = encode_delta(NEW, OLD)
    assert body[:8] == bytes.fromhex("5e2a4d1820000000") == MAGIC
    assert body[8:40] == sha256(OLD).digest()
    raw = zstandard.ZstdCompressionDict(OLD, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    assert zstandard.ZstdDecompressor(dict_data=raw).decompress(body[40:]) == NEW


def test_a_new_day_costs_little() -> None:
    """A document that lost a day and gained one is a small part of its plain encoding; restated days cost more."""
    plain = len(zstandard.ZstdCompressor(level=9).compress(NEW))
    day, restated = len(encode_delta(NEW, OLD)), len(encode_delta(_document(range(1, 31), frozenset({20, 21})), OLD))
    assert day < 0.08 * plain < restated < 0.2 * plain


def test_restated_days_are_searched_thoroughly() -> None:
    """When some values of several days grew, the delta is smaller than a level for quick answers makes it."""
    old, new = _counts(range(30)), _counts(range(1, 31), restated=range(22, 30))
    raw = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    quick = len(zstandard.ZstdCompressor(level=9, dict_data=raw).compress(new))
    body = encode_delta(new, old)
    assert len(body) - 40 < 0.95 * quick
    assert decode_delta(body, old, len(new)) == new


def test_a_document_larger_than_its_window_uses_its_dictionary() -> None:
    """The window covers dictionary and document up to the size that every decoder accepts."""
    filler = random.Random(1).randbytes(5 * MIB)
    body = encode_delta(b"new" + filler, filler)
    assert len(body) < 1000
    assert zstandard.get_frame_parameters(body[40:]).window_size <= largest_window(len(filler)) == 8 * MIB


@pytest.mark.parametrize(
    ("dictionary_bytes", "window"),
    [(0, 8 * MIB), (6 * MIB, 8 * MIB), (13 * MIB, 16 * MIB), (12 * MIB, 8 * MIB), (500 * MIB, 128 * MIB)],
)
def test_the_window_stays_within_what_decoders_accept(dictionary_bytes: int, window: int) -> None:
    """The largest window is the power of 2 within 8 MiB, or 1.25 times the dictionary, and 128 MiB."""
    assert largest_window(dictionary_bytes) == window


def test_every_truncation_and_every_flipped_byte_is_noticed() -> None:
    """A truncated body and a changed one raise: the frame has a checksum over the document."""
    body = encode_delta(NEW, OLD)
    for length in range(0, len(body), 7):
        with pytest.raises(Corrupt):
            decode_delta(body[:length], OLD, len(NEW))
    for position in (*range(60), *range(60, len(body), 11), len(body) - 1):
        changed = bytearray(body)
        changed[position] ^= 1
        with pytest.raises((Corrupt, TooMuchData)):
            decode_delta(bytes(changed), OLD, len(NEW))
    with pytest.raises(Corrupt):
        decode_delta(body + b"x", OLD, len(NEW))


@given(frame=st.binary(max_size=200))
def test_no_bytes_decode_to_more_than_allowed(frame: bytes) -> None:
    """Whatever follows the header, decoding raises an error of the tree or returns at most the allowed bytes."""
    for start in (b"", zstandard.FRAME_HEADER):
        try:
            document = decode_delta(MAGIC + sha256(OLD).digest() + start + frame, OLD, 100)
        except (Corrupt, TooMuchData):
            continue
        assert len(document) <= 100


def test_another_dictionary_is_refused() -> None:
    """A delta is never applied to bytes that it was not made against."""
    with pytest.raises(Corrupt, match="another dictionary"):
        decode_delta(encode_delta(NEW, OLD), NEW, len(NEW))


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    """A frame that declares too much, or does not declare its size, is not decoded."""
    bomb = encode_delta(bytes(50 * MIB), b"")
    with pytest.raises(TooMuchData):
        decode_delta(bomb, b"", MIB)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(50 * MIB))
    with pytest.raises(Corrupt, match="does not declare"):
        decode_delta(MAGIC + sha256(b"").digest() + unsized, b"", MIB)


@given(digest=st.binary(min_size=32, max_size=32))
def test_available_dictionary_is_read_as_it_is_written(digest: bytes) -> None:
    """The header's byte sequence holds the digest, with or without padding."""
    header = format_available_dictionary(digest)
    assert header == f":{b64encode(digest).decode()}:"
    assert parse_available_dictionary(f" {header} ") == digest
    assert parse_available_dictionary(header.replace("=", "")) == digest


def test_a_malformed_available_dictionary_is_none(subtests: pytest.Subtests) -> None:
    """Anything but a byte sequence of 32 bytes is no dictionary."""
    for header in [
        None,
        "",
        ":",
        "::",
        ":YQ==:",
        "pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=",
        f":{'A' * 44}:",
        f":{'-' * 43}=:",
    ]:
        with subtests.test(header=header):
            assert parse_available_dictionary(header) is None


@given(text=st.text(max_size=100))
def test_any_header_is_parsed_without_an_error(text: str) -> None:
    """A client's header never raises."""
    assert parse_available_dictionary(text) is None or len(text) >= 45


@pytest.mark.parametrize(
    ("match", "header"),
    [
        ("/v1/insights/act_1/last_7d", 'match="/v1/insights/act_1/last_7d"'),
        ("/v1/insights/act_1/last_7d?report=x", 'match="/v1/insights/act_1/last_7d?report=x"'),
        ("/a/2026-11-01..2026-11-02", 'match="/a/2026-11-01..2026-11-02"'),
        ("/a*(b):c+{d}?e=*&f=?", 'match="/a\\\\*\\\\(b\\\\)\\\\:c\\\\+\\\\{d\\\\}?e=\\\\*&f=\\\\?"'),
        ('/a"b', 'match="/a\\"b"'),
    ],
)
def test_use_as_dictionary_matches_the_path_exactly(match: str, header: str) -> None:
    """Characters of URL patterns are escaped, then those of the header's string."""
    assert format_use_as_dictionary(match) == header


def test_use_as_dictionary_has_no_line_breaks() -> None:
    """Text that no header may hold is refused."""
    assert format_use_as_dictionary("/a", "v1") == 'match="/a", id="v1"'
    for match, name in (("/a\r\nSet-Cookie: x", None), ("/é", None), ("/a", "x" * 1025)):
        with pytest.raises(ValueError, match=r"characters|ASCII"):
            format_use_as_dictionary(match, name)
