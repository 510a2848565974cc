"""Tells what the columns of a log hold by their values; names decide only between columns that hold the same."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from itertools import product
from typing import Any

import numpy as np

from adwarm.access_log.open_rules import to_text
from adwarm.access_log.timestamps import INVALID, TimestampRules, from_micros, parse_values
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone

FORMATS = (
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y, %H:%M:%S", "%d.%m.%Y, %H:%M", "%d.%m.%y %H:%M",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%m/%d/%Y, %I:%M:%S %p", "%m/%d/%Y, %I:%M %p", "%m/%d/%y %H:%M",
    "%d/%m/%Y %I:%M %p", "%d/%m/%Y, %H:%M:%S", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M",
    "%b %d, %Y, %I:%M %p", "%b %d, %Y %H:%M:%S", "%b %d, %Y %I:%M:%S %p", "%B %d, %Y, %I:%M %p", "%B %d, %Y %H:%M",
    "%d %b %Y %H:%M:%S", "%d %b %Y %H:%M", "%d %B %Y %H:%M", "%d-%b-%Y %H:%M:%S", "%a %b %d %H:%M:%S %Y",
    "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p", "%Y-%m-%d %H.%M.%S", "%Y%m%d%H%M%S", "%Y%m%d %H%M%S",
    "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%Y%m%d",
)  # fmt: skip
"""Formats of times that are tried, the more common of two that fit first."""
_ISO_DAY = "%Y-%m-%d"
_CLOCKS = (
    "%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p", "%H.%M.%S", "%H.%M", "%Hh%M", "%H:%M Uhr",
    "%H.%M Uhr", "%H h %M", "kl. %H.%M", "%Hh%Mm", "%H%M%S",
)  # fmt: skip
_ACCOUNT = re.compile(r"(?:act_)?[0-9]{1,20}(?:\.0)?")
_URL = re.compile(r"(?:[A-Z]{3,7} )?(?:https?://[^\s]+|/[^\s]*|[^\s/?#=&:,;]+(?:/[^\s/?#]+)*\?[^\s=]+=\S*)")
_QUERY = re.compile(r"\??[\w.%$\[\]{}:-]+=[^=&\s]*(?:&[^&\s]*)*")
_AGENT = re.compile(r"[A-Za-z][\w.-]*/[0-9v]")
_RUN_TOGETHER = re.compile(r"(account|advertiser|dashboard|report|workbook|resource|object|entity|page)(u?u?id)$")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_VERBS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"})
_DIGITS = re.compile(r"[0-9].*[0-9].*[0-9]")
MOST = 0.8
_OPEN = re.compile(
    r"view|open|visit|mount|^pages?$|workbook|dashboard|report|question|chart|card|explore|render|navigat|pageload|page_?load|display|"
    r"^action$",  # a page view, as Matomo calls it
    re.I,
)
_NO_OPEN = re.compile(
    r"edit|creat|delet|sav(?:e|ing)|updat|log_?in|log_?out|click|scroll|leave|close|unload|export|download|schedul|alert|"
    r"api|share|favou?r|subscri|email|pulse|first|engage|session|autocapture|identify|flag|list|csv|xlsx|json|error|fail|"
    r"refresh|cache|warm|search|copy|clone|archive|thumbnail|screenshot|ad.?hoc|cron|background|prefetch", re.I
)  # fmt: skip
_BOARDS = re.compile(r"dashboard|report", re.I), re.compile(r"page|workbook", re.I)
_BY_CLOCK = re.compile(r"schedul|subscri|cron|refresh", re.I)
_SURELY = re.compile(r"view|open|visit|mount", re.I)
_MAX_KINDS = 60


def split_words(name: str) -> list[str]:
    """Return the words of a name such as `adAccount.id`, `cs(User-Agent)` or `dashboardid`, in lower case."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return [part for word in words for part in (_RUN_TOGETHER.sub(r" \1 \2", word).split() or [word])]


_ACCOUNT_WORDS = frozenset(split_words("account accounts adaccount act acct advertiser customer client"))
_BOARD_WORDS = split_words(
    "dashboard dashboards dash liveboard board boards workbook report reports object model entity resource page look "
    "looks card cards chart charts question questions slice view views explore visualization item d"
)
_LATE = frozenset(
    split_words(
        "insert inserted ingest ingested ingestion received receive load loaded upload uploaded updated update "
        "modified process processed server previous prev first end ended completed complete finish finished expire "
        "expires sync synced sent extract extracted etl batch created create stored written offset collector last "
        "registered joined signup"
    )
)
_EVENT = frozenset(split_words("event timestamp ts time datetime dttm start started opened viewed occurred when date"))
_PROBED, _TRIED = 3, 100
_STATUS_WORDS = frozenset({"status", "code", "sc"})
_STATUSES, _MAX_STATUSES = frozenset(str(int(status)) for status in HTTPStatus) | {"0", "444", "499", "520"}, 20


@dataclass(frozen=True)
class Column:
    """The values of one column in a sample.

    Attributes:
        name: the column or the path of a nested value.
        values: of each row; None where it has none.
    """

    name: str
    values: Sequence[Any]

    @property
    def present(self) -> list[Any]:
        """The values that are there."""
        return [value for value in self.values if value is not None and value not in ("", "-")]

    @property
    def words(self) -> list[str]:
        """The words of the last part of its name, in lower case."""
        return split_words(self.name.rpartition(".")[2]) or split_words(self.name)

    def share(self, is_one: Any) -> float:
        """Return the share of the values that are there for which `is_one` holds."""
        present = self.present
        return sum(map(bool, map(is_one, present))) / len(present) if present else 0.0


def make_columns(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Return the columns of a sample, in the order in which they occur."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [Column(name, [row.get(name) for row in rows]) for name in names]


def is_account(value: Any) -> bool:
    """Whether a value has the form of an account id."""
    return not isinstance(value, bool) and _ACCOUNT.fullmatch(to_text(value)) is not None


def names_account(name: str) -> bool:
    """Whether a name says that an account is meant."""
    return not _ACCOUNT_WORDS.isdisjoint(split_words(name))


def names_board(name: str) -> bool:
    """Whether a name says that a dashboard or the like is meant."""
    return name == "d" or not set(_BOARD_WORDS[:-1]).isdisjoint(split_words(name))


def rank_board(words: Sequence[str]) -> int:
    """Return the rank of a column of ids by its name, the best 0."""
    return min((_BOARD_WORDS.index(word) for word in words if word in _BOARD_WORDS), default=len(_BOARD_WORDS))


def is_url(value: Any) -> bool:
    """Whether a value is a URL, a path or a request line."""
    return isinstance(value, str) and _URL.match(value) is not None and len(value) > 1


def is_agent(value: Any) -> bool:
    """Whether a value has the form of a user agent."""
    return isinstance(value, str) and _AGENT.match(value) is not None


def is_verb(value: Any) -> bool:
    """Whether a value is a method of HTTP."""
    return isinstance(value, str) and value.upper() in _VERBS


def is_status(value: Any) -> bool:
    """Whether a value is a status of HTTP."""
    text = to_text(value)
    return text.isdecimal() and len(text) == 3 and 100 <= int(text) < 600


def find_status(columns: Sequence[Column]) -> Column | None:
    """Return the column with the status of each answer: one that is called so, else one of few statuses that exist.

    Numbers of rows and sizes may have three digits, too.
    """
    ranks = [
        (not _STATUS_WORDS.isdisjoint(column.words), -number)
        for number, column in enumerate(columns)
        if column.share(is_status) > MOST
        and column.share(lambda value: 200 <= int(to_text(value)[:3] or 0) < 400) > 0.2
        and (not _STATUS_WORDS.isdisjoint(column.words) or _are_statuses(column))
    ]
    return columns[-max(ranks)[1]] if ranks else None


def _are_statuses(column: Column) -> bool:
    """Whether there are few values, and each is a status that exists."""
    texts = set(map(to_text, column.present))
    return len(texts) <= _MAX_STATUSES and len(texts) * 2 <= len(column.present) and texts <= _STATUSES


def is_query(value: Any) -> bool:
    """Whether a value is the query of a URL."""
    return isinstance(value, str) and _QUERY.fullmatch(value) is not None


def is_zone(value: Any) -> bool:
    """Whether a value is the name of a time zone."""
    if not isinstance(value, str) or not 3 <= len(value) <= 64 or not value[0].isalpha():
        return False
    try:
        return ("/" in value or value == "UTC") and bool(zone(value))
    except BadRequest:
        return False


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """A column that holds times.

    Attributes:
        format: the format of `strptime` that reads them; None where none is needed.
        rank: the best column of a log has the highest one.
    """

    column: Column
    format: str | None
    rank: tuple[float, ...]


def find_times(columns: Sequence[Column]) -> list[TimeColumn]:
    """Return the columns that hold times, the one that most likely says when a report was opened first.

    The time of the event is preferred to that at which the row was stored, and times of day to days.
    """
    time_columns = [item for column in columns if (item := _find_times(column)) is not None]
    return sorted(time_columns, key=lambda item: item.rank, reverse=True)


def _find_times(column: Column) -> TimeColumn | None:
    values = column.present
    if not values or any(isinstance(value, bool) for value in values[:5]):
        return None
    for text in (None, *FORMATS):
        if text is not None and not (isinstance(values[0], str) and _DIGITS.search(values[0])):
            return None
        if np.all(parse_values(values[:_PROBED], TimestampRules("UTC", text)) == INVALID):
            continue
        micros = parse_values(values[:_TRIED], TimestampRules("UTC", text))
        if np.count_nonzero(micros != INVALID) < MOST * len(micros):
            continue
        if text is not None and not _is_best(values, text):
            continue
        good = micros[micros != INVALID]
        is_number = not isinstance(values[0], str) or to_text(values[0]).replace(".", "", 1).isdecimal()
        words = set(column.words)
        name = (not words.isdisjoint(_EVENT)) - 2 * (not words.isdisjoint(_LATE))
        if (
            isinstance(values[0], (int, float, str))
            and is_number
            and not words & (_EVENT | _LATE | {"at", "msec", "unixtime"})
        ):
            return None  # ids may have as many digits
        has_clock = len({from_micros(int(moment)).time() for moment in good.tolist()}) > 1 or len(good) == 1
        share = len(values) / len(column.values)
        return TimeColumn(column, text, (has_clock, share > MOST, float(name), share, -len(column.name)))
    return None


def find_day_and_clock(columns: Sequence[Column]) -> tuple[str, str | None] | None:
    """Return two columns, the day and the time of day, joined by a space, and the format that reads them, if needed.

    None unless together they hold times.
    """
    for day in find_times(columns):
        for item, clock in product(columns, _CLOCKS):
            value = next((str(value) for value in item.present), "")
            if item is day.column or not _fits(value, clock) or item.share(lambda text, c=clock: _fits(text, c)) < MOST:
                continue
            joined = [f"{first} {second}" for first, second in zip(day.column.values, item.values, strict=True)]
            for text in (*((None,) if ":" in clock else ()), f"{day.format or _ISO_DAY} {clock}"):
                micros = parse_values(joined, TimestampRules("UTC", text))
                if np.count_nonzero(micros != INVALID) >= MOST * len(joined):
                    return f"{day.column.name} {item.name}", text
    return None


def _fits(value: Any, clock: str) -> bool:
    try:
        return bool(datetime.strptime(str(value).strip(), clock))  # noqa: DTZ007 - a time of day
    except ValueError:
        return False


def _is_best(values: Sequence[str], text: str) -> bool:
    """Whether no other format reads more of the values, as days of a month tell `%d/%m` from `%m/%d`.

    Where two read as many, the one is meant whose times lie closer together: a log has no gaps of months.
    """
    sample = values[:: max(len(values) // _TRIED, 1)]
    return max(FORMATS, key=lambda form: _rate(sample, form)) == text


def _rate(values: Sequence[str], text: str) -> tuple[int, int]:
    micros = parse_values(values, TimestampRules("UTC", text))
    good = micros[micros != INVALID]
    return len(good), -int(np.ptp(good)) if len(good) else 0


_KIND_WORDS = frozenset(
    split_words(
        "event action operation type name kind msg message model source context activity entity category object "
        "resource verb"
    )
)


def are_views(values: Sequence[str]) -> bool:
    """Whether each of the values says that something was viewed, and not only what it was."""
    return all(_SURELY.search(text) for text in values)


def find_kinds(columns: Sequence[Column], *, is_narrow: bool) -> dict[str, list[str]]:
    """Return the columns that tell opens from other events, each with the values of opens.

    Args:
        columns: of all rows.
        is_narrow: whether a view of a dashboard or report is meant rather than of any page, where there are both.
    """
    kinds = {}
    for column in columns:
        counts = Counter(to_text(value) for value in column.present)
        if not 2 <= len(counts) <= _MAX_KINDS or _KIND_WORDS.isdisjoint(column.words):
            continue
        opens = [text for text in counts if _OPEN.search(text) and not _NO_OPEN.search(text)]
        opens = [text for text in opens if _SURELY.search(text)] or opens
        narrow = ([text for text in opens if is_narrow and board.search(text)] for board in _BOARDS)
        opens = next(filter(None, narrow), opens)
        if not opens and any(map(_BY_CLOCK.search, counts)):
            opens = [text for text in counts if not _NO_OPEN.search(text)]
        if opens and len(opens) < len(counts) and all(len(text) < _MAX_KINDS for text in counts):
            kinds[column.name] = sorted(opens)
    return kinds
