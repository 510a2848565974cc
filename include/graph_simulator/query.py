"""The parameters of an insights call, read as strictly as the platform reads them."""

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from adwarm.foundation.errors import BadRequest
from adwarm.model import Window, resolve_window
from graph_simulator.actions import ATTRIBUTION_SHARES, RETIRED_WINDOWS
from graph_simulator.errors import GraphError, bad_parameter
from graph_simulator.fields import FIELDS
from graph_simulator.filters import ACTIVE, ENDED, read_filters
from graph_simulator.levels import LEVELS
from graph_simulator.parameter_values import json_value, whole_number, word_list

MONTHS_KEPT = 37
DEFAULT_LIMIT = 25
MAX_LIMIT = 5000
MAX_INCREMENT = 90
PRESETS = frozenset({
    "today",
    "yesterday",
    "this_week_mon_today",
    "this_week_sun_today",
    "last_week_mon_sun",
    "last_week_sun_sat",
    "this_month",
    "last_month",
    "this_quarter",
    "last_quarter",
    "this_year",
    "last_year",
    "last_3d",
    "last_7d",
    "last_14d",
    "last_28d",
    "last_30d",
    "last_90d",
})
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
    windows: tuple[Window, ...]
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


def _windows(params: Mapping[str, str], zone_name: str, now: datetime) -> tuple[Window, ...]:
    today = resolve_window("today", zone_name, now).since
    if "time_ranges" in params:
        entries = json_value("time_ranges", params["time_ranges"])
        if not isinstance(entries, list) or not entries:
            raise bad_parameter("time_ranges must be a list of time ranges")
        return tuple(_span(entry, today) for entry in entries)
    if "time_range" in params:
        span = _span(json_value("time_range", params["time_range"]), today)
    else:
        span = _preset(params.get("date_preset", "last_30d"), zone_name, now, today)
    return tuple(_cut(span, params.get("time_increment", "all_days")))


def _preset(name: str, zone_name: str, now: datetime, today: date) -> Window:
    if name in {"maximum", "data_maximum"}:
        return Window(months_before(today, MONTHS_KEPT), today)
    if name not in PRESETS:
        raise bad_parameter(f"date_preset must be one of the following values: {', '.join(sorted(PRESETS))}")
    return resolve_window(name, zone_name, now)


def _span(entry: Any, today: date) -> Window:
    more = sorted(set(entry) - _ENDS) if isinstance(entry, dict) else []
    if more:
        raise bad_parameter(f'Invalid keys "{", ".join(more)}" were found in param "time_range".')
    try:
        span = Window(_day(entry["since"]), _day(entry["until"]))
    except (TypeError, KeyError, ValueError, BadRequest):
        raise bad_parameter("time range needs since and until as YYYY-MM-DD, since not after until") from None
    if span.since < months_before(today, MONTHS_KEPT):
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


def months_before(today: date, count: int) -> date:
    """Return the same day some months ago, or the last day of a month that is shorter."""
    year, month = divmod(today.year * 12 + today.month - 1 - count, 12)
    return date(year, month + 1, min(today.day, calendar.monthrange(year, month + 1)[1]))


def _cut(span: Window, increment: str) -> list[Window]:
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
        cuts.append(Window(since, min(end, span.until)))
        since = cuts[-1].until + timedelta(days=1)
    return cuts
