"""Proposes the pattern that reads account and range from paths or URLs, by what stands in their parts and queries."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote

from adwarm.log_check.column_values import is_account, names_account, names_board

_OTHER = r"[^/?#]+"
_ACCOUNT, _ID = r"(?P<account_id>(?:act_)?\d+)", r"(?P<account_id>[^/?&#\s]+)"
_RANGE_PART, _RANGE_VALUE = r"(?P<date_range>[A-Za-z0-9_.%-]+)", r"(?P<date_range>[^&#\s]+)"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_END = r"(?=[/?&#\s]|$)"
_REQUEST = re.compile(r"(?:[A-Z]{3,7} )?(?:[a-z]{2,6}://[^/\s]*)?(/[^\s]*)")
_KEY_WORDS = frozenset({"uid", "id", "db", "slug"})
_NOT_IDS = frozenset({*_KEY_WORDS, "", "list", "new", "edit", "index", "home", "all"})
_LONG_ID = 9

IsRange = Callable[[str], bool]
Position = tuple[str, int | str]
"""`("part", 2)` counts the parts of the path, `("query", "range")` names a parameter, `("query", "a&b")` two."""


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A pattern for some of the paths.

    Attributes:
        pattern: regular expression with the group `account_id`, and `date_range` unless no path holds a range.
        is_account: whether the group `account_id` holds accounts; else ids of dashboards, which a table must translate.
        ranges: paths of which it reads a range, too.
    """

    pattern: str
    matched: int
    is_account: bool
    ranges: int

    @property
    def has_range(self) -> bool:
        """Whether each path that it reads holds a range."""
        return self.ranges == self.matched


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Where one path holds an account or the id of a dashboard, and a range."""

    parts: tuple[str, ...]
    key: Position
    is_account: bool
    date_range: Position | None

    @property
    def form(self) -> tuple[object, ...]:
        """What paths that are read by one pattern share."""
        prefix = self.parts[: self.key[1]] if isinstance(self.key[1], int) else self.parts[:1]
        place = self.date_range if self.date_range is not None and self.date_range[0] == "part" else None
        return (self.key, self.is_account, place, len(self.parts) if place or self.key[0] == "part" else 0, prefix[-1:])


def propose_path_pattern(paths: Sequence[str], is_range: IsRange, fields: Sequence[str]) -> PathPattern | None:
    """Return the pattern of the most frequent form of paths with an account or the id of a dashboard; None without one.

    Args:
        paths: paths, URLs or request lines, with their queries.
        fields: which of account and range must be found in a path; the other is known otherwise.
    """
    candidates = [item for path in paths if (item := _find(path, is_range, fields)) is not None]
    if not candidates:
        return None
    best = max(Counter(item.form for item in candidates).items(), key=lambda item: item[1])[0]
    group = [item for item in candidates if item.form == best]
    places = Counter(item.date_range for item in group if item.date_range is not None)
    place = places.most_common(1)[0][0] if places and "date_range" in fields else None
    pattern = _write(group, place)
    read = [match for path in paths if (match := re.search(pattern, path))]
    ranges = [text for match in read if place and (text := match["date_range"])]
    readable = [text for text in ranges if is_range(unquote(text))]
    if ranges and len(readable) * 2 <= len(ranges):
        return None
    return PathPattern(pattern, len(read), group[0].is_account, len(ranges))


def _find(path: str, is_range: IsRange, fields: Sequence[str]) -> _Candidate | None:
    match = _REQUEST.match(path)
    if match is None:
        return None
    plain, _, fragment = match[1].partition("#")
    is_route = fragment.lstrip("!").startswith("/")  # the path of a page within the application
    head, _, query = (fragment.lstrip("!") if is_route else plain).partition("?")
    parts = head.split("/")
    values: list[tuple[Position, str, str]] = [
        (("part", at), parts[at - 2] if parts[at - 1] in _KEY_WORDS else parts[at - 1], part)
        for at, part in enumerate(parts)
        if part
    ]
    pairs = [item.partition("=") for item in query.split("&") if "=" in item]
    values += [(("query", name), name, value) for name, _, value in pairs]
    values += [
        (("query", f"{first}&{second}"), "", f"{day}&{second}={last}")
        for (first, _, day), (second, _, last) in pairwise(pairs)
        if re.fullmatch(_DAY, day) and re.fullmatch(_DAY, last)
    ]
    ranges = [place for place, _, value in values if is_range(unquote(value))]
    date_range = ranges[0] if len(ranges) == 1 else None
    if "account_id" not in fields:
        return None if date_range is None else _Candidate(tuple(parts), date_range, True, date_range)
    for choose in (_is_named_account, _is_long_account):
        chosen = [place for place, name, value in values if choose(name, value)]
        if len(chosen) == 1:
            return _Candidate(tuple(parts), chosen[0], True, date_range)
    numbers = [place for place, _, value in values if is_account(value)]
    if len(numbers) == 1 and (date_range is not None or "date_range" not in fields):
        return _Candidate(tuple(parts), numbers[0], True, date_range)
    boards = [
        place for place, name, value in values
        if names_board(name) and value not in _NOT_IDS and place not in ranges and not names_board(value)
    ]  # fmt: skip
    return _Candidate(tuple(parts), boards[0], False, date_range) if boards else None


def _is_named_account(name: str, value: str) -> bool:
    return is_account(value) and (value.startswith("act_") or names_account(name))


def _is_long_account(name: str, value: str) -> bool:
    return (
        is_account(value) and len(value) >= _LONG_ID and not re.search(r"time|ts$|^_$|version|^v$", name, re.IGNORECASE)
    )


def _write(group: Sequence[_Candidate], date_range: Position | None) -> str:
    """Return the pattern of paths with the account at one place, and a range at another one or nowhere."""
    key, fields = group[0].key, {}
    if key != date_range:
        fields[key] = _ACCOUNT if group[0].is_account else _ID
    is_always = all(item.date_range == date_range for item in group)
    if date_range is not None and (date_range[0] == "part" or is_always):
        fields[date_range] = _RANGE_PART if date_range[0] == "part" else _RANGE_VALUE
    in_path = {int(at): text for (kind, at), text in fields.items() if kind == "part"}
    width = min(len(item.parts) for item in group)
    written = []
    for at in range(max(in_path, default=width - 1) + 1):
        words = {item.parts[at] for item in group}
        written.append(in_path.get(at) or (re.escape(words.pop()) if len(words) == 1 else _OTHER))
    pattern = "/".join(written) + (_END if in_path and in_path[max(in_path)] != _RANGE_PART else "")
    for (kind, name), text in fields.items():
        if kind == "query":
            pattern += rf"(?=[^#]*[?&]{_write_value(str(name), text)})"
    if date_range is not None and date_range not in fields:
        pattern += rf"(?:[^#]*?[?&]{_write_value(str(date_range[1]), _RANGE_VALUE)})?"
    return pattern


def _write_value(name: str, text: str) -> str:
    """Return the pattern of a parameter with its value, or of two that follow each other."""
    first, _, second = name.partition("&")
    days = rf"(?P<date_range>{_DAY}&{re.escape(second)}={_DAY})"
    return f"{re.escape(first)}={days if second else text}"
