"""Parses values of trigger forms and operator arguments. Errors say what to write instead."""

import logging
from collections.abc import Callable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any, TypeVar

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm_client.date_ranges import validate_date_range
from adwarm_client.keys import check_account_id

T = TypeVar("T")
_CHECKS: dict[str, Callable[[str], str]] = {"accounts": check_account_id, "date_ranges": validate_date_range}
"""What checks each line of a param, before any task of the run does something."""
_SHOWN = 60
log = logging.getLogger(__name__)


def check_conf(context: Mapping[str, Any]) -> None:
    """Refuse the configuration of a run as a whole; every task of the package's DAGs calls it before it starts.

    Airflow itself checks types when the run is created, and takes every key.

    Raises:
        BadRequest: a key is not a param of the DAG, a list is empty, or a line is not an account id or date range.
    """
    conf, names = context["dag_run"].conf or {}, list(context["dag"].params)
    reasons = [_describe_unknown(str(key), names) for key in conf if key not in names]
    reasons += [
        f"{key} is an empty list; name at least one, or leave it out" for key in names if conf.get(key, "") == []
    ]
    for key, check in _CHECKS.items():
        for text in get_lines_param(conf, key):
            try:
                check(text)
            except BadRequest as error:
                reasons.append(f"{key}: {error}")
    if reasons:
        log.info("::endgroup::")  # ends the part of the log that Airflow folds away, so that the error is in sight
        raise BadRequest(f"{context['dag'].dag_id} did nothing: " + "; ".join(reasons))


def _describe_unknown(key: str, names: list[str]) -> str:
    near = get_close_matches(key.lower(), names, n=1)
    advice = f"did you mean {near[0]}?" if near else f"its params are {', '.join(names)}"
    return f"{key[:_SHOWN]!r} is not a param of it; {advice}"


def parse_param(parse: Callable[[str], T], text: str) -> T:
    """Return `parse(text)`.

    Raises:
        BadRequest: `parse` raised ValueError.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def get_timestamp_param(params: Mapping[str, Any], name: str) -> datetime | None:
    """Return the UTC timestamp of a param, or None when it is empty.

    Raises:
        BadRequest: the value is not an ISO 8601 timestamp.
    """
    text = params.get(name)
    if not text:
        return None
    try:
        return utc(datetime.fromisoformat(str(text)))
    except ValueError:
        raise BadRequest(f"{name} {text!r} is not a timestamp; write one such as 2026-11-25T09:00:00+00:00") from None


def get_day_param(params: Mapping[str, Any], name: str) -> date | None:
    """Return the day of a param, or None when it is empty.

    Raises:
        BadRequest: the value is not a day.
    """
    text = params.get(name)
    if not text:
        return None
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise BadRequest(f"{name} {text!r} is not a day; write one such as 2026-11-25") from None


def get_lines_param(params: Mapping[str, Any], name: str) -> list[str]:
    """Return the lines of a param without surrounding spaces and empty lines; none when it is empty."""
    return [text for line in params.get(name) or () if (text := str(line).strip())]


def get_window_param(params: Mapping[str, Any], first: str, last: str) -> str | None:
    """Return the date range `YYYY-MM-DD..YYYY-MM-DD` of two params, or None when both are empty.

    Raises:
        BadRequest: only one is given, one is not a day, or they are in the wrong order.
    """
    since, until = get_day_param(params, first), get_day_param(params, last)
    if since is None and until is None:
        return None
    if since is None or until is None:
        given, missing = (first, last) if since else (last, first)
        raise BadRequest(f"{given} is given without {missing}; give both days, or neither")
    if until < since:
        raise BadRequest(f"{first} {since} is after {last} {until}; swap the two days")
    return f"{since}..{until}"
