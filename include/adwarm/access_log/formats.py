"""Detects the format of a log by its name and first bytes, and says what a file holds that cannot be read."""

import re
import zlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Literal

from adwarm.access_log.parsers import is_delimited_row, is_separator_line, is_web_log_line

Format = Literal["parquet", "jsonl", "csv", "combined"]

_SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
}
_LOG_NAME = re.compile(r".*\.(log|txt)([.-]\d+)?(\.gz)?", re.IGNORECASE)
LOG_NAMES = ", ".join([*_SUFFIXES, ".log", ".txt"]) + ", also with .gz"
"""The suffixes of the files that are read from a folder."""
_GZIP_MAGIC, _PARQUET_MAGIC = b"\x1f\x8b", b"PAR1"
_HINT = "give UTF-8 text or Parquet, plain or with gzip"
_UNSUPPORTED = {
    b"\x28\xb5\x2f\xfd": ("zstd", _HINT),
    b"BZh91AY&SY": ("bzip2", _HINT),
    b"\xfd7zXZ\x00": ("xz", _HINT),
    b"PK\x03\x04": ("a zip archive", f"unpack it, or save an .xlsx as CSV; {_HINT}"),
    b"\x04\x22\x4d\x18": ("lz4", _HINT),
    b"Obj\x01": ("Avro", _HINT),
    b"ORC": ("ORC", _HINT),
    b"%PDF": ("a PDF", _HINT),
    b"SQLite format 3": ("an SQLite database", f"export the table as CSV; {_HINT}"),
    b"\xd0\xcf\x11\xe0": ("an old Excel or Office document", "save it as CSV"),
    b"\xff\xfe": ("UTF-16", f"convert it, such as by iconv -f UTF-16 -t UTF-8; {_HINT}"),
    b"\xfe\xff": ("UTF-16", f"convert it, such as by iconv -f UTF-16 -t UTF-8; {_HINT}"),
}
_MARKUP = re.compile(rb"\s*<(!doctype html|html|head|body|\?xml)\b", re.IGNORECASE)
_W3C = re.compile(rb"#(?:Version|Fields|Software): ")
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\r\x0b\x0c\x1b")
_MAX_CONTROL_SHARE = 0.1
_MIN_COLUMNS = 3
_PATHS_SHOWN = 5


def has_log_name(name: str) -> bool:
    """Whether a file of that name in a folder belongs to the log."""
    return bool(_suffix_format(name) or _LOG_NAME.fullmatch(name))


def is_gzip(head: bytes) -> bool:
    """Whether a file with these first bytes is compressed with gzip."""
    return head.startswith(_GZIP_MAGIC)


def decompress_head(head: bytes) -> bytes:
    """Return the beginning of the content of a gzipped file."""
    try:
        return zlib.decompressobj(31).decompress(head, 4096)
    except zlib.error:
        return b""  # reading the file reports the damage


def detect_format(name: str, content: bytes) -> Format:
    """Return the format of a file by its name, else by its first bytes."""
    if content.startswith(_PARQUET_MAGIC):
        return "parquet"
    return _suffix_format(name) or _sniff_format(content)


def describe_unsupported(content: bytes, form: Format) -> str:
    """Return why content with these first bytes cannot be read; empty when it can."""
    if form == "parquet" and content.startswith(_PARQUET_MAGIC):
        return ""
    for magic, (kind, hint) in _UNSUPPORTED.items():
        if content.startswith(magic):
            return f"it holds {kind}, which is not read; {hint}"
    if _MARKUP.match(content):
        return f"it holds HTML or XML, which is not read: perhaps a page of a sign-in or an error; {_HINT}"
    text = content.lstrip(b"\0")  # a file that was truncated while it was written begins with NULs
    if form != "parquet" and len(text) - len(text.translate(None, _CONTROL)) > _MAX_CONTROL_SHARE * len(text):
        return f"it holds binary data, which is not read; {_HINT}"
    return ""


def _suffix_format(name: str) -> Format | None:
    return _SUFFIXES.get(PurePath(name.lower().removesuffix(".gz")).suffix)


def _sniff_format(head: bytes) -> Format:
    first = head.lstrip(b"\xef\xbb\xbf \r\n\t").partition(b"\n")[0]
    if first.startswith((b"{", b"[{")) or first.strip() == b"[":
        return "jsonl"
    if is_web_log_line(first):
        return "combined"
    if _W3C.match(first) or is_delimited_row(first):
        return "csv"
    columns = 1 + max(map(first.count, (b",", b";", b"\t", b"|")))
    is_header = columns >= _MIN_COLUMNS and b'"GET ' not in first and not first.startswith(b"#")
    return "csv" if is_separator_line(first) or is_header else "combined"


def describe_path_pattern(ignored: int, paths: Sequence[str], pattern: str) -> str:
    """Return that none of the requests matched the path pattern, with some of their paths; empty without requests."""
    if not ignored:
        return ""
    seen = f"; paths in the log: {', '.join(paths[:_PATHS_SHOWN])}" if paths else "; no answered GET is among them"
    return f"none of {ignored:,} requests matches ADWARM_ACCESS_LOG__PATTERN, which is {pattern}{seen}"
