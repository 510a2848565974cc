"""The parameters of an insights call, validated as strictly as the platform validates them.

`read_query` reads level, fields, date ranges, filters and breakdowns. `with_presentation` adds order and totals.
`loses_reach` and `without_reach` apply the platform's shorter history of reach with breakdowns.
"""

import calendar
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from graph_simulator.breakdowns import HOURS, NAMES
from graph_simulator.date_ranges import RETENTION_MONTHS, DateRange, local_time, months_before, preset_range
from graph_simulator.error_responses import GraphError, InvalidValue, bad_parameter
from graph_simulator.fields import ALWAYS, CONSTANTS, DATE_FIELDS, EMPTY, FIELDS, NAME_FIELDS
from graph_simulator.figures import (
    ACCOUNT_SETTING,
    ADSET_SETTING,
    ATTRIBUTION_SHARES,
    RETIRED_WINDOWS,
    ActionSplit,
    action_labels,
)
from graph_simulator.filters import FigureTest, TextTest, read_filters
from graph_simulator.levels import ACTIVE, ENDED, LEVELS
from graph_simulator.parameters import boolean, json_value, string_list, whole_number

DEFAULT_LIMIT = 25
MAX_LIMIT = 5000
MAX_INCREMENT = 90
REACH_MONTHS = 13
REACH_REPORTS_PER_DAY = 10
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_RANGE_KEYS = frozenset({"since", "until"})
_REACH_FIELDS = frozenset({"reach", "frequency", "cpp"})
_DIRECTIONS = {"_ascending": False, "_descending": True}
_ALL = frozenset({"true", "1"})
_DEVICE_NAMES = ("impression_device", "device_platform")
_PEOPLE = ({"age"}, {"gender"}, {"age", "gender"})
_PLACES = ({"publisher_platform"}, {"publisher_platform", "platform_position"})
_PLACEMENTS = (*_PLACES, *(place | {name} for place in _PLACES for name in _DEVICE_NAMES))
_SINGLE = ("country", "region", "comscore_market", "product_id", *_DEVICE_NAMES, *HOURS)
_ANYWHERE = {"action_type", "action_target_id", "action_destination"}
_CARDS = {"action_carousel_card_id", "action_carousel_card_name"}


@dataclass(frozen=True, slots=True)
class Query:
    """A validated insights query.

    Attributes:
        windows: the date ranges; each one has rows of its own.
        limit: rows of a page.
        attribution: attribution windows of action lists.
        attribution_setting: by which setting conversions are counted.
        texts: what ids and names of an ad have to be, by field.
        figures: what figures of a row have to be.
        statuses: allowed effective statuses of ads; all when None.
        breakdowns: fields by which each row is divided.
        labels: the action breakdowns but for the type.
        order: fields to sort by, each with whether it is descending; oldest range first when empty.
        summary: fields of the row of totals; no such row when None.
    """

    level: str
    fields: tuple[str, ...]
    windows: tuple[DateRange, ...]
    limit: int
    attribution: tuple[str, ...]
    texts: tuple[tuple[str, TextTest], ...] = ()
    figures: tuple[FigureTest, ...] = ()
    statuses: frozenset[str] | None = None
    breakdowns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()
    summary: tuple[str, ...] | None = None
    attribution_setting: str = ADSET_SETTING

    def matches(self, names: Mapping[str, str], *, has_ended: bool) -> bool:
        """Whether the filters accept an ad with these ids."""
        if self.statuses is not None and (ENDED if has_ended else ACTIVE) not in self.statuses:
            return False
        return all(is_chosen(names.get(name, "")) for name, is_chosen in self.texts)


def read_query(params: Mapping[str, str], zone_name: str, now: datetime) -> Query:
    """Return the query that `params` describe for an account in the time zone `zone_name`.

    Raises:
        GraphError: a parameter is not valid.
    """
    level = params.get("level", "account")
    if level not in LEVELS:
        raise bad_parameter(f"level must be one of the following values: {', '.join(LEVELS)}")
    filters, breakdowns = read_filters(params), _breakdowns(params)
    fields = _counted_fields(_fields(params, level), breakdowns)
    return Query(
        level=level,
        fields=fields,
        windows=_windows(params, local_time(now, zone_name).date()),
        limit=page_limit(params),
        attribution=_attribution(params),
        texts=tuple(filters.texts),
        figures=tuple(filters.figures),
        statuses=filters.statuses,
        attribution_setting=_attribution_setting(params),
        breakdowns=breakdowns,
    )


def _fields(params: Mapping[str, str], level: str) -> tuple[str, ...]:
    names = string_list(params.get("fields", ""))
    _check_fields_exist(names)
    own_ids = [f"{name}_id" for name in LEVELS[: LEVELS.index(level) + 1]]
    return tuple(dict.fromkeys(names or [*own_ids, "impressions", "spend"]))


def _check_fields_exist(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in FIELDS]
    if unknown:
        raise bad_parameter(f"{', '.join(unknown)} are not valid for fields param. please check the reference")


def page_limit(params: Mapping[str, str]) -> int:
    """Return the number of rows of a page.

    Raises:
        GraphError: `limit` is not a number in range.
    """
    limit = whole_number(params.get("limit", str(DEFAULT_LIMIT)), 1, MAX_LIMIT)
    if limit is None:
        raise bad_parameter(f"limit must be a number from 1 to {MAX_LIMIT}")
    return limit


def _attribution(params: Mapping[str, str]) -> tuple[str, ...]:
    names = string_list(params.get("action_attribution_windows", ""), "action_attribution_windows")
    for name in names:
        if name not in ATTRIBUTION_SHARES and name not in RETIRED_WINDOWS:
            raise bad_parameter(f"action_attribution_windows does not take {name}")
    # The platform still accepts retired windows, and returns nothing for them.
    return tuple(name for name in names if name in ATTRIBUTION_SHARES)


def _attribution_setting(params: Mapping[str, str]) -> str:
    """Return the ad set's setting, which the platform uses unless a call asks for the account's and not for it."""
    by_adset, by_account = (
        boolean(name, params.get(name, "false"))
        for name in ("use_unified_attribution_setting", "use_account_attribution_setting")
    )
    return ACCOUNT_SETTING if by_account and not by_adset else ADSET_SETTING


def _windows(params: Mapping[str, str], today: date) -> tuple[DateRange, ...]:
    """Return the date ranges; `time_ranges` takes precedence over `time_range`, and that over `date_preset`."""
    if "time_ranges" in params:
        entries = json_value("time_ranges", params["time_ranges"])
        if not isinstance(entries, list) or not entries:
            raise bad_parameter("time_ranges must be a list of time ranges")
        return tuple(_time_range(entry, today) for entry in entries)
    if "time_range" in params:
        window = _time_range(json_value("time_range", params["time_range"]), today)
    else:
        window = _preset(params.get("date_preset", "last_30d"), today)
    return tuple(_increments(window, params.get("time_increment", "all_days")))


def _preset(name: str, today: date) -> DateRange:
    try:
        return preset_range(name, today)
    except InvalidValue as error:
        raise bad_parameter(str(error)) from None


def _time_range(entry: Any, today: date) -> DateRange:
    extra = sorted(set(entry) - _RANGE_KEYS) if isinstance(entry, dict) else []
    if extra:
        raise bad_parameter(f'Invalid keys "{", ".join(extra)}" were found in param "time_range".')
    try:
        window = DateRange(_day(entry["since"]), _day(entry["until"]))
    except (TypeError, KeyError, ValueError):
        raise bad_parameter("time range needs since and until as YYYY-MM-DD, since not after until") from None
    if window.since < months_before(today, RETENTION_MONTHS):
        raise GraphError(
            "(#3018) The start date of the time range cannot be beyond 37 months from the current date", code=3018
        )
    if (window.until - today).days > 366:
        raise bad_parameter("time range ends too far in the future")
    return window


def _day(text: str) -> date:
    if not _DAY.fullmatch(text):
        raise ValueError(f"{text!r} is not a day")
    return date.fromisoformat(text)


def _increments(window: DateRange, increment: str) -> list[DateRange]:
    if increment == "all_days":
        return [window]
    days = whole_number(increment, 1, MAX_INCREMENT)
    if increment != "monthly" and days is None:
        raise bad_parameter("time_increment must be all_days, monthly or a number from 1 to 90")
    increments, since = [], window.since
    while since <= window.until:
        if days is None:
            end = since.replace(day=calendar.monthrange(since.year, since.month)[1])
        else:
            end = since + timedelta(days=days - 1)
        increments.append(DateRange(since, min(end, window.until)))
        since = increments[-1].until + timedelta(days=1)
    return increments


def _breakdowns(params: Mapping[str, str]) -> tuple[str, ...]:
    """Return the breakdowns of a query.

    Raises:
        GraphError: there is no such breakdown, or no longer; or the platform does not combine them.
    """
    names = string_list(params.get("breakdowns", ""), "breakdowns")
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        values = ", ".join(NAMES)
        raise bad_parameter(f"breakdowns must be one of the following values: {values}; not {unknown[0]}")
    actions = string_list(params.get("action_breakdowns", ""), "action_breakdowns")
    if not _is_combined(set(names), set(action_labels(params)), actions):
        columns = ", ".join(sorted({"action_type", *actions, *names}))
        raise bad_parameter(f"Current combination of data breakdown columns ({columns}) is invalid")
    return tuple(dict.fromkeys(names))


def _counted_fields(fields: tuple[str, ...], breakdowns: Sequence[str]) -> tuple[str, ...]:
    """Return the fields that have values: by the hour, figures of people are silently left out.

    Raises:
        GraphError: plays of videos are requested by the hour.
    """
    if set(HOURS).isdisjoint(breakdowns):
        return fields
    videos = [name for name in fields if name.startswith("video")]
    if videos:
        raise bad_parameter(f"{', '.join(videos)} cannot be requested with hourly breakdowns")
    return tuple(name for name in fields if name not in _REACH_FIELDS and "unique" not in name)


def _is_combined(names: set[str], labels: set[str], actions: Sequence[str]) -> bool:
    """Whether the platform's table has a combination; `labels` are the action breakdowns but for the type."""
    if "action_reaction" in labels:
        return not names and labels == {"action_reaction"}
    if labels & _CARDS:
        return set(actions) <= _CARDS and (not names or names in ({"impression_device"}, {"country"}, *_PEOPLE))
    if "action_device" in labels and names and names not in ({"impression_device"}, *_PLACEMENTS):
        return False
    if labels - _ANYWHERE - {"action_device"}:
        return not names
    return not names or names in (*_PEOPLE, *_PLACEMENTS, *({name} for name in _SINGLE))


def loses_reach(query: Query, today: date) -> bool:
    """Whether a query with breakdowns starts over 13 months ago, where the platform silently leaves out reach."""
    oldest = min(window.since for window in query.windows)
    is_old = bool(query.breakdowns) and oldest < months_before(today, REACH_MONTHS)
    return is_old and not _REACH_FIELDS.isdisjoint(query.fields)


def without_reach(query: Query) -> Query:
    """Return the query without reach and the fields that follow from it."""
    summary = None if query.summary is None else tuple(name for name in query.summary if name not in _REACH_FIELDS)
    return replace(query, fields=tuple(name for name in query.fields if name not in _REACH_FIELDS), summary=summary)


def with_presentation(query: Query, params: Mapping[str, str]) -> Query:
    """Return the query with the order, totals and action labels that `params` ask for.

    Raises:
        GraphError: `params` name an unknown field, direction or breakdown.
    """
    shown = query
    if "sort" in params:
        shown = replace(shown, order=_order(params["sort"]))
    if "action_breakdowns" in params:
        shown = replace(shown, labels=action_labels(params))
    if "summary" in params or "default_summary" in params:
        shown = replace(shown, summary=_summary(shown.fields, params))
    return shown


def with_result_presentation(query: Query, params: Mapping[str, str]) -> Query:
    """Return the query of a report as a page of its result shows it, which may have fewer fields.

    Raises:
        GraphError: `params` name an unknown field, or one that the report was created without.
    """
    shown, names = with_presentation(query, params), string_list(params.get("fields", ""))
    _check_fields_exist(names)
    _check_in_report(names, query.fields, "fields")
    return replace(shown, fields=tuple(dict.fromkeys(names)) or query.fields)


def action_split(query: Query, params: Mapping[str, str] | None = None) -> ActionSplit:
    """Return how action lists are split: in rows, or with `params` in totals, which may have labels of their own."""
    name = "summary_action_breakdowns"
    labels = action_labels(params, name) if params is not None and name in params else query.labels
    return ActionSplit(query.attribution, labels, query.attribution_setting, query.breakdowns)


def _order(text: str) -> tuple[tuple[str, bool], ...]:
    order = []
    for item in string_list(text, "sort"):
        direction = next((suffix for suffix in _DIRECTIONS if item.endswith(suffix)), None)
        name = item.removesuffix(direction or "")
        if direction is None or name.partition(":")[0] not in FIELDS:
            raise bad_parameter(f"sort does not take {item}; it takes a field with _ascending or _descending")
        order.append((name, _DIRECTIONS[direction]))
    return tuple(order)


def _summary(fields: tuple[str, ...], params: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the fields of the totals: those that `summary` names, or all that can be added up."""
    additive = tuple(name for name in fields if name not in NAME_FIELDS | DATE_FIELDS | set(CONSTANTS) | EMPTY)
    text = params.get("summary", "")
    if text and text.lower() not in _ALL:
        names = string_list(text, "summary")
        _check_in_report(names, fields, "summary")
        return tuple(dict.fromkeys(names))
    wants_all = text.lower() in _ALL or boolean("default_summary", params.get("default_summary", "false"))
    return (additive or tuple(sorted(ALWAYS))) if wants_all else None


def _check_in_report(names: Sequence[str], fields: Sequence[str], param: str) -> None:
    missing = [name for name in names if name not in {*fields, *DATE_FIELDS}]
    if missing:
        raise GraphError(
            f"(#100) Cannot include {', '.join(missing)} in {param} param because they weren't there while creating "
            "the report run",
            code=100,
        )
