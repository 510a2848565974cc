"""Counts, lists and durations as text for logs and commands, texts of others as plain text, and safe CSV.

A chat takes parts of a text for markup, a mention or a link, and so would a name of an ad that somebody else chose.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line end for a formula, and names of ads come
from others. Such a text gets an apostrophe in front, as the OWASP page on CSV injection advises. Numbers stay numbers,
also negative ones. An empty text is a quoted cell and no value an empty one, as PostgreSQL and DuckDB write them.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, Final

from adwarm_client.wording import format_duration

__all__ = [
    "describe_scope",
    "format_ago",
    "format_bytes",
    "format_count",
    "format_csv",
    "format_duration",
    "format_part",
    "format_plain",
    "format_sentence",
    "format_some",
    "format_utc",
    "format_visible",
]
INVISIBLE: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f"
    "\\ufeff\\ud800-\\udfff]"
)
"""Escape sequences, marks that turn the direction of text, characters of no width, and lone surrogates."""
_MARKUP: Final = {**{ord(char): chr(ord(char) + 0xFEE0) for char in "<>@*~|#[]\\"}, ord("`"): "'"}
"""Each is its wide twin, which looks like it and means nothing; text in backticks gets quotation marks."""
_EMPHASIS: Final = re.compile(r"(?<![A-Za-z0-9_])_+|_+(?![A-Za-z0-9_])|(?<![A-Z0-9_])__+|__+(?![A-Z0-9_])")
"""Underscores that are not inside a word; two of them only inside the name of a setting."""
_DOMAIN_DOT: Final = re.compile(r"(?<=\w)\.(?=[^\W\d_])")
_FORMULA_STARTS: Final = frozenset("=+-@＝＋－＠")
_BREAKS: Final = frozenset("\t\r\n")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NEEDS_QUOTES: Final = re.compile(r'[",\r\n]')
_SCOPES: Final = {"fleet": "all accounts together", "app": "the app", "token": "the access token"}


def format_count(count: int, noun: str, plural: str | None = None) -> str:
    """Return `count` with its noun, such as `1 report` or `1,200 reports`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def format_part(part: int, whole: int, noun: str) -> str:
    """Return how many of all there are, such as `3 of 12 days`; `all 12 days` when it is each of them."""
    count = format_count(whole, noun)
    if part != whole:
        return f"{part:,} of {count}"
    return f"all {count}" if whole > 1 else count


def format_some(names: Sequence[str], shown: int, separator: str = ", ") -> str:
    """Return the first names and how many more there are, such as `act_1, act_2 and 14 more`; `none` without names."""
    if not names:
        return "none"
    more = len(names) - shown
    text = separator.join(names[:shown])
    return f"{text} and {more:,} more" if more > 0 else text


def format_sentence(text: str) -> str:
    """Return a text that begins with a capital letter, unless it begins with an id, a name or code."""
    is_word = text.partition(" ")[0].rstrip(",.:;").replace("-", "").isalpha()
    return f"{text[:1].upper()}{text[1:]}" if is_word else text


def format_bytes(count: int) -> str:
    """Return a number of bytes in the unit that suits it: `512 B`, `66 kB`, `1.5 MB`, `20 GB`."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1_000
    return f"{size:,.3g} GB" if size < 999.5 else f"{size:,.0f} GB"


def format_utc(moment: datetime | None) -> str:
    """Return a UTC time to the minute, such as `2026-11-25 09:00 UTC`; says so when it is not recorded."""
    return "a time that is not recorded" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def format_ago(moment: datetime, now: datetime) -> str:
    """Return how long ago a time was, such as `5 min ago`, or how far ahead it is, such as `in 5 min`."""
    seconds = (now - moment).total_seconds()
    return f"{format_duration(seconds)} ago" if seconds >= 0 else f"in {format_duration(-seconds)}"


def describe_scope(name: str) -> str:
    """Return the name of a scope in words: `app:4711` as `the app 4711`, `fleet` as `all accounts together`."""
    kind, _, rest = name.partition(":")
    return f"{_SCOPES.get(kind, f'the {kind}')} {rest}".strip()


def format_visible(value: object) -> str:
    """Return a text of somebody else without invisible characters, such as those that turn what follows them."""
    return INVISIBLE.sub("", str(value))


def format_plain(text: str) -> str:
    """Return a text in which no channel finds markup, a mention, a link or an invisible character; lines stay.

    Addresses are written as in reports of attacks: `https[:]//example[.]com`.
    """
    visible = INVISIBLE.sub("", text).translate(_MARKUP)
    unlinked = _DOMAIN_DOT.sub("[.]", visible.replace("://", "[:]//"))
    return _EMPHASIS.sub(lambda match: "\uff3f" * len(match[0]), unlinked)


def format_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows under a header line by RFC 4180; lines end with CR LF, dates and times are ISO 8601.

    None is an empty cell, and an empty text the cell `""`.
    """
    return "".join(",".join(map(_format_cell, row)) + "\r\n" for row in (columns, *rows))


def _format_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = value.isoformat() if isinstance(value, datetime | date) else str(value)
    begins_badly = text.lstrip()[:1] in _FORMULA_STARTS or text.lstrip(" ")[:1] in _BREAKS
    if begins_badly and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    return text if text and not _NEEDS_QUOTES.search(text) else '"' + text.replace('"', '""') + '"'
