"""How rows are shown: their order, the page, the fields, and the row of totals."""

import calendar
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from graph_simulator.ads import Days
from graph_simulator.date_ranges import RETENTION_MONTHS, DateRange, local_time, months_before, preset_range
from graph_simulator.fields import ALWAYS, CONSTANTS, DATE_FIELDS, EMPTY, FIELDS, NAME_FIELDS
from graph_simulator.figures import ATTRIBUTION_SHARES, RETIRED_WINDOWS, Split, labels_of
from graph_simulator.graph_errors import GraphError, InvalidValue, bad_parameter
from graph_simulator.levels import LEVELS
from graph_simulator.parameters import is_true, json_value, whole_number, word_list

ACTIVE, ENDED = "ACTIVE", "ARCHIVED"
_KEYS = frozenset({"field", "operator", "value"})
_ID_FILTERS = {"ad.id": "ad_id", "adset.id": "adset_id", "campaign.id": "campaign_id"}
_STANDING_FILTERS = frozenset({"ad.effective_status", "adset.effective_status", "campaign.effective_status"})


@dataclass
class Filters:
    """What `filtering` says, entry by entry.

    Attributes:
        standings: what standing an ad must have; any when None.
    """

    ids: dict[str, frozenset[str]] = field(default_factory=dict)
    not_ids: dict[str, frozenset[str]] = field(default_factory=dict)
    more_impressions_than: int = 0
    standings: frozenset[str] | None = None

    def add(self, name: str, operator: str, value: Any) -> None:
        """Take one entry.

        Raises:
            GraphError: there is no such filter.
        """
        words = frozenset(str(item) for item in (value if isinstance(value, list) else [value]))
        if name in _ID_FILTERS and operator in {"IN", "EQUAL"}:
            self.ids[_ID_FILTERS[name]] = self.ids.get(_ID_FILTERS[name], words) & words
        elif name in _ID_FILTERS and operator in {"NOT_IN", "NOT_EQUAL"}:
            self.not_ids[_ID_FILTERS[name]] = self.not_ids.get(_ID_FILTERS[name], frozenset()) | words
        elif name in _STANDING_FILTERS and operator == "IN":
            self._stand(words, of_ads=name.startswith("ad."))
        elif name in {"ad.impressions", "impressions"} and operator == "GREATER_THAN" and str(value).isdecimal():
            self.more_impressions_than = max(self.more_impressions_than, int(value))
        else:
            raise bad_parameter(f"filtering does not take {name} {operator}")

    def _stand(self, words: frozenset[str], *, of_ads: bool) -> None:
        """Take the standings; campaigns and ad sets are always active, so that a filter without that keeps nothing."""
        if of_ads:
            self.standings = words if self.standings is None else self.standings & words
        elif ACTIVE not in words:
            self.standings = frozenset()


def read_filters(params: Mapping[str, str]) -> Filters:
    """Return what the parameters filter by; a filter at ad level asks for active ads unless it names their standing.

    Raises:
        GraphError: an entry is not one.
    """
    found = Filters()
    entries = json_value("filtering", params.get("filtering", "[]"))
    for entry in entries if isinstance(entries, list) else [None]:
        found.add(*filter_parts(entry))
    if entries and found.standings is None and params.get("level", "account") == "ad":
        found.standings = frozenset({ACTIVE})
    return found


def filter_parts(entry: Any) -> tuple[str, str, Any]:
    """Return field, operator and value of one entry.

    Raises:
        GraphError: it has not exactly these.
    """
    if not isinstance(entry, dict) or not set(entry) >= _KEYS:
        raise bad_parameter("filtering must be a list of objects with field, operator and value")
    more = sorted(set(entry) - _KEYS)
    if more:
        raise bad_parameter(f'Invalid keys "{", ".join(more)}" were found in param "filtering[0]".')
    return str(entry["field"]), str(entry["operator"]), entry["value"]


DEFAULT_LIMIT = 25
MAX_LIMIT = 5000
MAX_INCREMENT = 90
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ENDS = frozenset({"since", "until"})


@dataclass(frozen=True, slots=True)
class Query:
    """What an insights call asks for.

    Attributes:
        ids: allowed ids by name field, from `filtering`.
        more_impressions_than: rows with no more impressions than this are left out.
        not_ids: ids that are left out, by name field.
        group: the fields that breakdowns add to each row.
        standings: what standing an ad must have; any when absent. A filter alone asks for active ads only.
        labels: what action breakdowns add to each entry of a list of actions.
        order: the fields that rows are sorted by, and whether the most comes first; oldest first when empty.
        summary: the fields of the row of totals; no such row when None.
    """

    level: str
    fields: tuple[str, ...]
    windows: tuple[DateRange, ...]
    limit: int
    attribution: tuple[str, ...]
    ids: Mapping[str, frozenset[str]]
    more_impressions_than: int
    not_ids: Mapping[str, frozenset[str]] = field(default_factory=dict)
    standings: frozenset[str] | None = None
    group: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    order: tuple[tuple[str, bool], ...] = ()
    summary: tuple[str, ...] | None = None

    def keeps(self, names: Mapping[str, str], *, has_ended: bool) -> bool:
        """Whether the filters let an ad with these names through, running still or not."""
        if self.standings is not None and (ENDED if has_ended else ACTIVE) not in self.standings:
            return False
        named = all(names.get(field) in allowed for field, allowed in self.ids.items())
        return named and not any(names.get(field) in left_out for field, left_out in self.not_ids.items())


def read_query(params: Mapping[str, str], zone_name: str, now: datetime) -> Query:
    """Return the query that `params` mean for an account in `zone_name`.

    Raises:
        GraphError: a parameter is not valid.
    """
    level = params.get("level", "account")
    if level not in LEVELS:
        raise bad_parameter(f"level must be one of the following values: {', '.join(LEVELS)}")
    filters = read_filters(params)
    return Query(
        level=level,
        fields=_fields(params, level),
        windows=_windows(params, zone_name, now),
        limit=page_limit(params),
        attribution=_attribution(params),
        ids=filters.ids,
        more_impressions_than=filters.more_impressions_than,
        not_ids=filters.not_ids,
        standings=filters.standings,
    )


def _fields(params: Mapping[str, str], level: str) -> tuple[str, ...]:
    wanted = word_list(params.get("fields", ""))
    unknown = [name for name in wanted if name not in FIELDS]
    if unknown:
        raise bad_parameter(f"{', '.join(unknown)} are not valid for fields param. please check the reference")
    own_ids = [f"{name}_id" for name in LEVELS[: LEVELS.index(level) + 1]]
    return tuple(dict.fromkeys(wanted or [*own_ids, "impressions", "spend"]))


def page_limit(params: Mapping[str, str]) -> int:
    """Return how many rows a page may hold.

    Raises:
        GraphError: it is not a number in range.
    """
    limit = whole_number(params.get("limit", str(DEFAULT_LIMIT)), 1, MAX_LIMIT)
    if limit is None:
        raise bad_parameter(f"limit must be a number from 1 to {MAX_LIMIT}")
    return limit


def _attribution(params: Mapping[str, str]) -> tuple[str, ...]:
    wanted = word_list(params.get("action_attribution_windows", ""), "action_attribution_windows")
    for name in wanted:
        if name not in ATTRIBUTION_SHARES and name not in RETIRED_WINDOWS:
            raise bad_parameter(f"action_attribution_windows does not take {name}")
    return tuple(name for name in wanted if name in ATTRIBUTION_SHARES)


def _windows(params: Mapping[str, str], zone_name: str, now: datetime) -> tuple[DateRange, ...]:
    today = local_time(now, zone_name).date()
    if "time_ranges" in params:
        entries = json_value("time_ranges", params["time_ranges"])
        if not isinstance(entries, list) or not entries:
            raise bad_parameter("time_ranges must be a list of time ranges")
        return tuple(_span(entry, today) for entry in entries)
    if "time_range" in params:
        span = _span(json_value("time_range", params["time_range"]), today)
    else:
        span = _preset(params.get("date_preset", "last_30d"), today)
    return tuple(_cut(span, params.get("time_increment", "all_days")))


def _preset(name: str, today: date) -> DateRange:
    try:
        return preset_range(name, today)
    except InvalidValue as error:
        raise bad_parameter(str(error)) from None


def _span(entry: Any, today: date) -> DateRange:
    more = sorted(set(entry) - _ENDS) if isinstance(entry, dict) else []
    if more:
        raise bad_parameter(f'Invalid keys "{", ".join(more)}" were found in param "time_range".')
    try:
        span = DateRange(_day(entry["since"]), _day(entry["until"]))
    except (TypeError, KeyError, ValueError, InvalidValue):
        raise bad_parameter("time range needs since and until as YYYY-MM-DD, since not after until") from None
    if span.since < months_before(today, RETENTION_MONTHS):
        raise GraphError(
            "(#3018) The start date of the time range cannot be beyond 37 months from the current date", code=3018
        )
    if (span.until - today).days > 366:
        raise bad_parameter("time range ends too far in the future")
    return span


def _day(text: str) -> date:
    if not _DAY.fullmatch(text):
        raise ValueError(f"{text!r} is no day")
    return date.fromisoformat(text)


def _cut(span: DateRange, increment: str) -> list[DateRange]:
    if increment == "all_days":
        return [span]
    days = whole_number(increment, 1, MAX_INCREMENT)
    if increment != "monthly" and days is None:
        raise bad_parameter("time_increment must be all_days, monthly or a number from 1 to 90")
    cuts, since = [], span.since
    while since <= span.until:
        if days is None:
            end = since.replace(day=calendar.monthrange(since.year, since.month)[1])
        else:
            end = since + timedelta(days=days - 1)
        cuts.append(DateRange(since, min(end, span.until)))
        since = cuts[-1].until + timedelta(days=1)
    return cuts


REACH_MONTHS = 13
REACH_REPORTS_A_DAY = 10
_OF_PEOPLE = frozenset({"reach", "frequency", "cpp"})
_GROUP = {
    "age": "25-34",
    "gender": "female",
    "country": "US",
    "region": "California",
    "comscore_market": "Los Angeles",
    "publisher_platform": "facebook",
    "platform_position": "feed",
    "device_platform": "mobile_app",
    "impression_device": "iphone",
}


def group_of(params: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that the breakdowns of a question add to each row.

    Raises:
        GraphError: there is no such breakdown, or no longer.
    """
    wanted = word_list(params.get("breakdowns", ""), "breakdowns")
    unknown = [name for name in wanted if name not in _GROUP]
    if unknown:
        raise bad_parameter(f"breakdowns must be one of the following values: {', '.join(_GROUP)}; not {unknown[0]}")
    return {name: _GROUP[name] for name in wanted}


def asks_too_far_back(query: Query, today: date) -> bool:
    """Whether a broken-down question asks for people over days that are too long ago."""
    oldest = min(window.since for window in query.windows)
    return bool(query.group) and oldest < months_before(today, REACH_MONTHS) and bool(_OF_PEOPLE & set(query.fields))


def without_people(query: Query) -> Query:
    """Return the question without the fields that count people."""

    def left(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in _OF_PEOPLE)

    summary = None if query.summary is None else left(query.summary)
    return replace(query, fields=left(query.fields), summary=summary)


def grouped(rows: Sequence[dict[str, object]], group: Mapping[str, str]) -> list[dict[str, object]]:
    """Return rows with the fields of their group."""
    return [{**row, **group} for row in rows]


_DIRECTIONS = {"_ascending": False, "_descending": True}
_ALL = frozenset({"true", "1"})


def shown_as(query: Query, params: Mapping[str, str]) -> Query:
    """Return the query with the order, the totals and the labels that `params` ask for.

    Raises:
        GraphError: they name what there is not.
    """
    shown = query
    if "sort" in params:
        shown = replace(shown, order=_order(params["sort"]))
    if "action_breakdowns" in params:
        shown = replace(shown, labels=labels_of(params))
    if "summary" in params or "default_summary" in params:
        shown = replace(shown, summary=_summary(shown.fields, params))
    return shown


def report_shown_as(query: Query, params: Mapping[str, str]) -> Query:
    """Return the query of a report as a call for one of its pages wants it shown: also with fewer fields.

    Raises:
        GraphError: they name what there is not, or what the report was made without.
    """
    shown, wanted = shown_as(query, params), word_list(params.get("fields", ""))
    strange = [name for name in wanted if name not in FIELDS]
    if strange:
        raise bad_parameter(f"{', '.join(strange)} are not valid for fields param. please check the reference")
    _check_made(wanted, query.fields, "fields")
    return replace(shown, fields=tuple(dict.fromkeys(wanted)) or query.fields)


def split_of(query: Query, params: Mapping[str, str] | None = None) -> Split:
    """Return how lists of actions are split, in rows or in the totals that `params` may label differently."""
    name = "summary_action_breakdowns"
    labels = labels_of(params, name) if params is not None and name in params else query.labels
    return Split(query.attribution, labels)


def sorted_rows(at: tuple[Days, Days], keys: list[tuple[list[Any], bool]]) -> tuple[Days, Days]:
    """Return window and object indexes in the order of `keys`: values by row, and whether the most comes first."""
    order = list(range(len(at[0])))
    for values, descending in reversed(keys):
        order.sort(key=values.__getitem__, reverse=descending)
    chosen = np.array(order, dtype=np.int64)
    return at[0][chosen], at[1][chosen]


def sort_value(row: Mapping[str, Any], name: str) -> Any:
    """Return what a row is sorted by: text of a name or a day, else the number; `actions:link_click` is an entry's."""
    field, _, kind = name.partition(":")
    value = row.get(field)
    if field in NAME_FIELDS | DATE_FIELDS | set(CONSTANTS):
        return value or ""
    if isinstance(value, list):
        values = [entry["value"] for entry in value if not kind or entry["action_type"] == kind]
        value = values[0] if values and isinstance(values[0], str) else None
    return float(value or 0)


def _order(text: str) -> tuple[tuple[str, bool], ...]:
    found = []
    for word in word_list(text, "sort"):
        direction = next((end for end in _DIRECTIONS if word.endswith(end)), None)
        name = word.removesuffix(direction or "")
        if direction is None or name.partition(":")[0] not in FIELDS:
            raise bad_parameter(f"sort does not take {word}; it takes a field with _ascending or _descending")
        found.append((name, _DIRECTIONS[direction]))
    return tuple(found)


def _summary(fields: tuple[str, ...], params: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the fields of the totals: those that are named, or all that can be summed up."""
    numbers = tuple(name for name in fields if name not in NAME_FIELDS | DATE_FIELDS | set(CONSTANTS) | EMPTY)
    text = params.get("summary", "")
    if text and text.lower() not in _ALL:
        wanted = word_list(text, "summary")
        _check_made(wanted, fields, "summary")
        return tuple(dict.fromkeys(wanted))
    wants_all = text.lower() in _ALL or is_true("default_summary", params.get("default_summary", "false"))
    return (numbers or tuple(sorted(ALWAYS))) if wants_all else None


def _check_made(wanted: list[str], made: tuple[str, ...], name: str) -> None:
    missing = [word for word in wanted if word not in {*made, *DATE_FIELDS}]
    if missing:
        raise GraphError(
            f"(#100) Cannot include {', '.join(missing)} in {name} param because they weren't there while creating "
            "the report run",
            code=100,
        )
