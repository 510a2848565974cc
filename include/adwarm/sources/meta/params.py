"""Builds the parameters of insights calls from fetch units."""

from typing import Any

from adwarm.foundation.errors import BadRequest
from adwarm.model import Window
from adwarm.sources.protocol import FetchUnit, Increment

_OWN_IDS = {
    "ad": ("account_id", "ad_id"),
    "adset": ("account_id", "adset_id"),
    "campaign": ("account_id", "campaign_id"),
    "account": ("account_id",),
}
_PREFIXES_BELOW = {
    "ad": (),
    "adset": ("ad_",),
    "campaign": ("ad_", "adset_"),
    "account": ("ad_", "adset_", "campaign_"),
}
_IMPLIED_FIELDS = frozenset({"date_start", "date_stop"})
_STATUSES = {
    "campaign": ("ACTIVE", "PAUSED", "DELETED", "ARCHIVED", "IN_PROCESS", "WITH_ISSUES"),
    "adset": ("ACTIVE", "PAUSED", "DELETED", "ARCHIVED", "IN_PROCESS", "WITH_ISSUES", "CAMPAIGN_PAUSED"),
    "ad": (
        "ACTIVE",
        "PAUSED",
        "DELETED",
        "ARCHIVED",
        "IN_PROCESS",
        "WITH_ISSUES",
        "CAMPAIGN_PAUSED",
        "ADSET_PAUSED",
        "PENDING_REVIEW",
        "DISAPPROVED",
        "PREAPPROVED",
        "PENDING_BILLING_INFO",
    ),
}
"""Every status of an object: without this list, a call restricted to objects returns the active ones only."""


def async_report_params(unit: FetchUnit) -> dict[str, Any]:
    """Return the parameters that start an async report of `unit`.

    Raises:
        BadRequest: as for `request_params`.
    """
    params = request_params(unit, 0)
    del params["limit"]
    return params


def object_params(level: str, page_size: int, cursor: str | None) -> dict[str, Any]:
    """Return the parameters that list objects of `level` with any status."""
    params: dict[str, Any] = {"fields": "id", "effective_status": list(_STATUSES[level]), "limit": page_size}
    return params if cursor is None else params | {"after": cursor}


def request_params(unit: FetchUnit, page_size: int, cursor: str | None = None) -> dict[str, Any]:
    """Return the parameters that request the page of `unit` after `cursor`.

    Raises:
        BadRequest: the unit has days over several windows, for which the platform would return totals.
    """
    params: dict[str, Any] = {
        "level": unit.spec.level,
        "fields": ",".join(requested_fields(unit)),
        "limit": page_size,
        **_time(unit),
    }
    if unit.spec.attribution_windows:
        params["action_attribution_windows"] = list(unit.spec.attribution_windows)
    if unit.filters:
        params["filtering"] = _filtering(unit)
    if cursor is not None:
        params["after"] = cursor
    return params


def requested_fields(unit: FetchUnit) -> tuple[str, ...]:
    """Return the fields to request: the ids that identify a row, then the query's own fields that its level has."""
    level = unit.spec.level
    own = (
        name for name in unit.spec.fields if not name.startswith(_PREFIXES_BELOW[level]) and name not in _IMPLIED_FIELDS
    )
    return tuple(dict.fromkeys([*_OWN_IDS[level], *own]))


def _time(unit: FetchUnit) -> dict[str, Any]:
    if unit.increment is Increment.DAY:
        if len(unit.windows) != 1:
            raise BadRequest(f"days can be requested for one window at a time, not for {len(unit.windows)}")
        return {"time_range": _span(unit.windows[0]), "time_increment": 1}
    if len(unit.windows) == 1:
        return {"time_range": _span(unit.windows[0])}
    return {"time_ranges": [_span(window) for window in unit.windows]}


def _span(window: Window) -> dict[str, str]:
    return {"since": window.since.isoformat(), "until": window.until.isoformat()}


def _filtering(unit: FetchUnit) -> list[dict[str, Any]]:
    filters = [
        {"field": name, "operator": operator, "value": _value(operator, value)}
        for name, operator, value in unit.filters
    ]
    level = unit.spec.level
    if level in _STATUSES and any(name.endswith(".id") for name, _, _ in unit.filters):
        filters.append({"field": f"{level}.effective_status", "operator": "IN", "value": list(_STATUSES[level])})
    return filters


def _value(operator: str, value: str) -> Any:
    return value.split(",") if operator in {"IN", "NOT_IN"} else value
