"""The parameters of an insights call, read as strictly as the platform reads them."""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import orjson

from adwarm.errors import BadRequest
from adwarm.model import Window, resolve_window
from adwarm.simulator.errors import GraphError, bad_parameter
from adwarm.simulator.levels import LEVELS
from adwarm.simulator.rows import ATTRIBUTION_SHARES, FIELDS, RETIRED_WINDOWS

MONTHS_KEPT = 37
DEFAULT_LIMIT = 25
MAX_LIMIT = 5000
MAX_INCREMENT = 90
PRESETS = frozenset({
    "today", "yesterday", "this_week_mon_today", "this_week_sun_today", "last_week_mon_sun", "last_week_sun_sat",
    "this_month", "last_month", "this_quarter", "last_quarter", "this_year", "last_year", "last_3d", "last_7d",
    "last_14d", "last_28d", "last_30d", "last_90d",
})  # fmt: skip
_ID_FILTERS = {"ad.id": "ad_id", "adset.id": "adset_id", "campaign.id": "campaign_id"}


@dataclass(frozen=True, slots=True)
class Query:
    """What an insights call asks for.

    Attributes:
        ids: allowed ids by name field, from `filtering`.
        more_impressions_than: rows with no more impressions than this are left out.
    """

    level: str
    fields: tuple[str, ...]
    windows: tuple[Window, ...]
    limit: int
    attribution: tuple[str, ...]
    ids: Mapping[str, frozenset[str]]
    more_impressions_than: int

    def keeps(self, names: Mapping[str, str]) -> bool:
        """Whether the filters let an object with these names through."""
        return all(names.get(field) in allowed for field, allowed in self.ids.items())


def read_query(params: Mapping[str, str], zone_name: str, now: datetime) -> Query:
    """Return the query that `params` mean for an account in `zone_name`.

    Raises:
        GraphError: a parameter is not valid.
    """
    level = params.get("level", "account")
    if level not in LEVELS:
        raise bad_parameter(f"level must be one of the following values: {', '.join(LEVELS)}")
    ids, more_than = _filters(params)
    return Query(
        level=level,
        fields=_fields(params, level),
        windows=_windows(params, zone_name, now),
        limit=page_limit(params),
        attribution=_attribution(params),
        ids=ids,
        more_impressions_than=more_than,
    )


def word_list(text: str) -> list[str]:
    """Return the words of a comma list or of a JSON list."""
    if not text.lstrip().startswith("["):
        return [word.strip() for word in text.split(",") if word.strip()]
    found = _json("fields", text)
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise bad_parameter("param must be an array of strings")
    return found


def _json(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise bad_parameter(f"{name} must be valid JSON") from None


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
    text = params.get("limit", str(DEFAULT_LIMIT))
    if not text.isdecimal() or not 1 <= int(text) <= MAX_LIMIT:
        raise bad_parameter(f"limit must be a number from 1 to {MAX_LIMIT}")
    return int(text)


def _attribution(params: Mapping[str, str]) -> tuple[str, ...]:
    wanted = word_list(params.get("action_attribution_windows", ""))
    for name in wanted:
        if name not in ATTRIBUTION_SHARES and name not in RETIRED_WINDOWS:
            raise bad_parameter(f"action_attribution_windows does not take {name}")
    return tuple(name for name in wanted if name in ATTRIBUTION_SHARES)


def _filters(params: Mapping[str, str]) -> tuple[dict[str, frozenset[str]], int]:
    ids: dict[str, frozenset[str]] = {}
    more_than = 0
    entries = _json("filtering", params.get("filtering", "[]"))
    for entry in entries if isinstance(entries, list) else [None]:
        field, operator, value = _filter_parts(entry)
        if field in _ID_FILTERS and operator in {"IN", "EQUAL"}:
            allowed = frozenset(str(item) for item in (value if isinstance(value, list) else [value]))
            ids[_ID_FILTERS[field]] = ids.get(_ID_FILTERS[field], allowed) & allowed
        elif field in {"ad.impressions", "impressions"} and operator == "GREATER_THAN" and str(value).isdecimal():
            more_than = max(more_than, int(value))
        else:
            raise bad_parameter(f"filtering does not take {field} {operator}")
    return ids, more_than


def _filter_parts(entry: Any) -> tuple[str, str, Any]:
    if not isinstance(entry, dict) or not {"field", "operator", "value"} <= set(entry):
        raise bad_parameter("filtering must be a list of objects with field, operator and value")
    return str(entry["field"]), str(entry["operator"]), entry["value"]


def _windows(params: Mapping[str, str], zone_name: str, now: datetime) -> tuple[Window, ...]:
    today = resolve_window("today", zone_name, now).since
    if "time_ranges" in params:
        entries = _json("time_ranges", params["time_ranges"])
        if not isinstance(entries, list) or not entries:
            raise bad_parameter("time_ranges must be a list of time ranges")
        return tuple(_span(entry, today) for entry in entries)
    if "time_range" in params:
        span = _span(_json("time_range", params["time_range"]), today)
    else:
        span = _preset(params.get("date_preset", "last_30d"), zone_name, now, today)
    return tuple(_cut(span, params.get("time_increment", "all_days")))


def _preset(name: str, zone_name: str, now: datetime, today: date) -> Window:
    if name in {"maximum", "data_maximum"}:
        return Window(_months_back(today), today)
    if name not in PRESETS:
        raise bad_parameter(f"date_preset must be one of the following values: {', '.join(sorted(PRESETS))}")
    return resolve_window(name, zone_name, now)


def _span(entry: Any, today: date) -> Window:
    try:
        span = Window(date.fromisoformat(entry["since"]), date.fromisoformat(entry["until"]))
    except (TypeError, KeyError, ValueError, BadRequest):
        raise bad_parameter("time range needs since and until as YYYY-MM-DD, since not after until") from None
    if span.since < _months_back(today):
        raise GraphError(
            "(#3018) The start date of the time range cannot be beyond 37 months from the current date", code=3018
        )
    if (span.until - today).days > 366:
        raise bad_parameter("time range ends too far in the future")
    return span


def _months_back(today: date) -> date:
    months = today.year * 12 + today.month - 1 - MONTHS_KEPT
    year, month = divmod(months, 12)
    return date(year, month + 1, min(today.day, calendar.monthrange(year, month + 1)[1]))


def _cut(span: Window, increment: str) -> list[Window]:
    if increment == "all_days":
        return [span]
    if increment != "monthly" and not (increment.isdecimal() and 1 <= int(increment) <= MAX_INCREMENT):
        raise bad_parameter("time_increment must be all_days, monthly or a number from 1 to 90")
    cuts, since = [], span.since
    while since <= span.until:
        if increment == "monthly":
            end = since.replace(day=calendar.monthrange(since.year, since.month)[1])
        else:
            end = since + timedelta(days=int(increment) - 1)
        cuts.append(Window(since, min(end, span.until)))
        since = cuts[-1].until + timedelta(days=1)
    return cuts
