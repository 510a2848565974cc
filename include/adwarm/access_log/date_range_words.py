"""Understands the words that dashboards use for date ranges: `Last 7 Days`, `last-7-days`, `7d` and `LAST_7_DAYS`."""

import re
from collections.abc import Callable, Mapping

from adwarm.foundation.errors import BadRequest
from adwarm.model import PRESETS
from adwarm_client.date_ranges import validate_date_range

_SEPARATORS = re.compile(r"[^a-z0-9]+")
_DAYS = re.compile(r"(?:the)?(?:last|past|previous|prev|trailing)?([0-9]{1,4})(?:d|days?)")
_DAY = r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
_BETWEEN = re.compile(rf"{_DAY}\s*(?:\.\.|/|,|;|:|_|\||~|-|\u2013|\u2014|to|\s)\s*{_DAY}")
_OBJECT = re.compile(
    rf"\{{\s*[\"']?(since|until)[\"']?\s*:\s*[\"']?{_DAY}[\"']?\s*,"
    rf"\s*[\"']?(?:since|until)[\"']?\s*:\s*[\"']?{_DAY}[\"']?\s*\}}"
)
_OTHER_WORDS = {
    "last1d": "yesterday",
    "all": "maximum",
    "alltime": "maximum",
    "lifetime": "maximum",
    "max": "maximum",
    "wtd": "this_week",
    "weektodate": "this_week",
    "currentweek": "this_week",
    "mtd": "this_month",
    "monthtodate": "this_month",
    "currentmonth": "this_month",
    "qtd": "this_quarter",
    "quartertodate": "this_quarter",
    "currentquarter": "this_quarter",
    "ytd": "this_year",
    "yeartodate": "this_year",
    "currentyear": "this_year",
    "previousday": "yesterday",
    "previousweek": "last_week",
    "previousmonth": "last_month",
    "previousquarter": "last_quarter",
    "previousyear": "last_year",
}
_BY_WORD = {_SEPARATORS.sub("", name): name for name in PRESETS} | _OTHER_WORDS


def date_range_reader(words: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function that turns a range as the log writes it into a preset or an absolute range.

    Args:
        words: further words with the range that each stands for; case and repeated spaces do not matter.

    Raises:
        BadRequest: a word stands for something that is not a date range. The function raises it for unknown words.
    """
    own = {}
    for word, date_range in words.items():
        try:
            own[_fold(word)] = _read_range(date_range)
        except BadRequest as error:
            raise BadRequest(f"ADWARM_ACCESS_LOG__DATE_RANGES: {word[:60]!r}: {error}") from None

    def read(text: str) -> str:
        return own.get(_fold(text)) or _read_range(text)

    return read if own else _read_range


def _read_range(text: str) -> str:
    text = text.strip()
    if text in PRESETS:
        return text
    word = _SEPARATORS.sub("", text.casefold()) if text.isascii() else ""
    days = _DAYS.fullmatch(word)
    word = f"last{int(days[1])}d" if days else word
    if word in _BY_WORD:
        return _BY_WORD[word]
    if match := _BETWEEN.fullmatch(text):
        return validate_date_range(f"{match[1]}..{match[2]}")
    if match := _OBJECT.fullmatch(text):
        days_named = (match[2], match[3]) if match[1] == "since" else (match[3], match[2])
        return validate_date_range("..".join(days_named))
    return validate_date_range(text)


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
