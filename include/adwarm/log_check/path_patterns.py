"""Proposes the pattern that reads account and range from paths or URLs, by what stands in their parts and queries."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote

from adwarm.access_log.named_groups import GroupPattern
from adwarm.log_check.column_values import MOST, is_account, is_query, names_account, names_board

_OTHER = r"[^/?#\s]+"
_ACCOUNT, _ID = r"(?P<account_id>(?:act_)?\d+)", r"(?P<account_id>[^/?&#\s\"]+)"
_RANGE_PART, _RANGE_VALUE = r"(?P<date_range>[A-Za-z0-9_.%-]+)", r"(?P<date_range>[^&#\s\"]+)"
_WITHIN = r"(?:%[0-9A-Fa-f]{2}|[^/?&#\s%])*?"
"""Stands before an account that is only a part of a value, such as `[act_1]` or `%22act_1%22`."""
_REST = r"[^/?&#\s]*"
_LONG_ACCOUNT = r"(?P<account_id>act_\d+|\d{9,20})"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
END = r"(?:[/?&#\s]|$)"
"""Ends an id that is a part of the path."""
_REQUEST = re.compile(r"(?:[A-Z]{3,7} )?(?:[a-z]{2,6}://[^/\s]*)?(\S+)")
_WRAPPED = re.compile(r"[\W_]*((?:act_)?[0-9]{1,20})[\W_]*")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-", re.IGNORECASE)
_LONG = re.compile(r"(?<![A-Za-z0-9])(act_[0-9]{1,20}|[0-9]{9,20})(?![A-Za-z0-9])")
_KEY_WORDS = frozenset({"uid", "id", "db", "slug"})
_NOT_IDS = frozenset({*_KEY_WORDS, "", "list", "new", "edit", "index", "home", "all"})
_LONG_ID, _FEW = 9, 5

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
    """Where one path holds an account or the id of a dashboard, and a range.

    Attributes:
        within: the pattern of an account that is only a part of the value; empty where it is the value.
        names: the parameters of the query, in order.
    """

    parts: tuple[str, ...]
    key: Position
    is_account: bool
    date_range: Position | None
    within: str = ""
    names: tuple[str, ...] = ()

    @property
    def form(self) -> tuple[object, ...]:
        """What paths that are read by one pattern share."""
        prefix = self.parts[: self.key[1]] if isinstance(self.key[1], int) else self.parts[:1]
        place = self.date_range if self.date_range is not None and self.date_range[0] == "part" else None
        return (
            self.key,
            self.is_account,
            self.within,
            place,
            len(self.parts) if place or self.key[0] == "part" else 0,
            prefix[-1:],
        )


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
    read, columns = GroupPattern(pattern).read(paths)
    ranges = [text for text in columns.get("date_range", []) if text]
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
    whole = fragment.lstrip("!") if is_route else plain
    head, _, query = ("", "", whole) if is_query(whole) else whole.partition("?")
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
    names = tuple(str(name) for (kind, name), _, _ in values if kind == "query")

    def candidate(key: Position, *, is_account: bool = True, within: str = "") -> _Candidate:
        return _Candidate(tuple(parts), key, is_account, date_range, within=within, names=names)

    if "account_id" not in fields:
        return None if date_range is None else candidate(date_range)
    for is_within, items in ((False, values), (True, _find_within(values))):
        for choose in (_is_named_account, _is_long_account):
            chosen = [(place, value) for place, name, value in items if choose(unquote(name), value)]
            if len(chosen) == 1:
                place, value = chosen[0]
                within = _WITHIN + (_LONG_ACCOUNT if _LONG.fullmatch(value) else _ACCOUNT) + _REST
                return candidate(place, within=within if is_within else "")
        numbers = [place for place, _, value in items if is_account(value)]
        if len(numbers) == 1 and (date_range is not None or "date_range" not in fields) and not is_within:
            return candidate(numbers[0])
    boards = [
        place for place, name, value in values
        if names_board(name) and value not in _NOT_IDS and place not in ranges and not names_board(value)
    ]  # fmt: skip
    return candidate(boards[0], is_account=False) if boards else None


def _find_within(values: Sequence[tuple[Position, str, str]]) -> list[tuple[Position, str, str]]:
    """Return the values of which an account is only a part, with that part."""
    accounts_within = []
    for place, name, raw in values:
        value = unquote(raw)
        if _UUID.search(value):
            continue
        accounts = [match[1]] if (match := _WRAPPED.fullmatch(value)) else _LONG.findall(value)
        if len(accounts) == 1 and accounts[0] != raw:
            accounts_within.append((place, name, accounts[0]))
    return accounts_within


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
        fields[key] = _write_key(group)
    if date_range is not None:
        fields[date_range] = _RANGE_PART if date_range[0] == "part" else _RANGE_VALUE
    in_path = {int(at): text for (kind, at), text in fields.items() if kind == "part"}
    in_query = {str(name): text for (kind, name), text in fields.items() if kind == "query"}
    width = min(len(item.parts) for item in group)
    written = []
    for at in range(max(in_path, default=width - 1) + 1):
        words = {item.parts[at] for item in group}
        written.append(in_path.get(at) or (re.escape(words.pop()) if len(words) == 1 else _OTHER))
    path = "/".join(written)
    orders = Counter(tuple(name for name in item.names if name in in_query) for item in group)
    longest_first = sorted(orders, key=lambda names: (-len(names), -orders[names]))
    last = END if in_path and in_path[max(in_path)] != _RANGE_PART else ""
    queries = [_write_query(path, names, in_query) or last for names in longest_first]
    return path + (queries[0] if len(queries) == 1 else f"(?:{'|'.join(queries)})")


def _write_key(group: Sequence[_Candidate]) -> str:
    if not group[0].is_account:
        return _ID
    return group[0].within or _ACCOUNT


def _write_query(path: str, names: Sequence[str], fields: Mapping[str, str]) -> str:
    """Return the pattern of parameters in this order, whatever stands between them."""
    written = [_write_value(name, fields[name]) for name in names]
    if not written:
        return ""
    return (r"(?:/[^?#\s]*)?\?(?:[^#\s]*?&)?" if path else r"(?:^|[?&])") + r"&(?:[^#\s]*?&)?".join(written)


def _write_value(name: str, text: str) -> str:
    """Return the pattern of a parameter with its value, or of two that follow each other."""
    first, _, second = name.partition("&")
    days = rf"(?P<date_range>{_DAY}&{re.escape(second)}={_DAY})"
    return f"{re.escape(first)}={days if second else text}"


def propose_text_pattern(texts: Sequence[str]) -> str | None:
    """Return the pattern of texts such as titles that each name one account; None where they do not."""
    accounts_by_text = [[] if _UUID.search(text) else _LONG.findall(text) for text in texts]
    if not texts or sum(len(accounts) == 1 for accounts in accounts_by_text) <= MOST * len(texts):
        return None
    if len(texts) > _FEW and len({tuple(accounts) for accounts in accounts_by_text}) == 1:
        return None  # the account of the tool's owner
    heads = {
        text[: text.index(accounts[0])]
        for text, accounts in zip(texts, accounts_by_text, strict=True)
        if len(accounts) == 1
    }
    return (re.escape(heads.pop()) if len(heads) == 1 else "") + _LONG_ACCOUNT
