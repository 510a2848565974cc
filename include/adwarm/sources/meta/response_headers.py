"""Reads the response headers: the platform's usage figures, its clock and version, and how long it asks to wait.

Each of the four usage headers is read only for the account of the call and for the use of insights: entries about a
business, another account or another use, such as `ads_management`, say nothing about the account's insights.

Missing headers are normal. An invalid header yields nothing and is logged; it never fails a call that succeeded.
"""

import logging
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Any

import orjson

from adwarm.foundation.clock import Clock
from adwarm.model import Scope, ScopeKind, UsageSample

logger = logging.getLogger(__name__)
_SECONDS_PER_MINUTE = 60.0
_INSIGHTS = "ads_insights"
_USE_OF_CODE = {80003: "custom_audience", 80004: "ads_management"}
_FULL_PERCENT = 100.0
VERSION_ENDS: Mapping[str, date | None] = {
    "v27.0": None,
    "v26.0": None,
    "v25.0": date(2027, 2, 23),
    "v24.0": date(2026, 11, 10),
}
"""The last day of each version of the Marketing API; None while none is announced. The platform's table, 2026-11-29:
developers.facebook.com/documentation/ads-commerce/marketing-api/marketing-api-changelog/versions"""
_VERSION = re.compile(r"v\d{1,3}\.\d{1,2}", re.ASCII)
_MAX_WARNING = 300
MAX_WAIT_SECONDS = 365 * 86_400.0
"""Longer waits are cut, so that no computed time exceeds the calendar."""
_SAMPLES = 9


def parse_usage_headers(
    headers: Mapping[str, str], account: Scope | None, app: Scope, code: Any = None
) -> tuple[UsageSample, ...]:
    """Return the usage in `headers`, at most one sample per header and scope; of several entries the highest counts.

    Args:
        headers: the headers of the response, with names in any case.
        account: scope of the account that the call concerned; None for calls about no single account.
        code: the platform's code of an error response; some codes concern the quota of another use than insights.
    """
    use = _USE_OF_CODE.get(code, _INSIGHTS) if isinstance(code, int) else _INSIGHTS
    lowered = {name.lower(): value for name, value in headers.items()}
    samples: list[UsageSample] = []
    for name, read in _READERS.items():
        if name not in lowered:
            continue
        try:
            samples.extend(read(orjson.loads(lowered[name]), account, app, use))
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            logger.warning("usage header %s cannot be read (%s); it is left out", name, type(error).__name__)
    return tuple(samples)


def _app_usage(body: Any, account: Scope | None, app: Scope, use: str) -> Iterator[UsageSample]:
    del account, use
    yield UsageSample(app, _highest(body, ("call_count", "total_time", "total_cputime")))


def _account_usage(body: Any, account: Scope | None, app: Scope, use: str) -> Iterator[UsageSample]:
    del app, use
    if account is not None:
        percent = _number(body["acc_id_util_pct"])
        reset = _number(body.get("reset_time_duration", 0))
        yield UsageSample(account, percent, reset if percent >= _FULL_PERCENT and reset else None)


def _insights_throttle(body: Any, account: Scope | None, app: Scope, use: str) -> Iterator[UsageSample]:
    del use
    yield UsageSample(app, _number(body["app_id_util_pct"]))
    if account is not None:
        yield UsageSample(account, _number(body["acc_id_util_pct"]))


def _business_usage(body: Any, account: Scope | None, app: Scope, use: str) -> Iterator[UsageSample]:
    del app
    highest: dict[Scope, UsageSample] = {}
    for owner, entries in body.items():
        scope = Scope(ScopeKind.ACCOUNT, f"act_{owner.removeprefix('act_')}")
        if account not in {None, scope}:
            continue
        for entry in (item for item in entries if item.get("type", use) == use):
            sample = _business_entry(entry, scope)
            highest[scope] = _higher(highest.get(scope, sample), sample)
    yield from highest.values()


def _business_entry(entry: Any, scope: Scope) -> UsageSample:
    percent = _highest(entry, ("call_count", "total_time", "total_cputime"))
    minutes = _number(entry.get("estimated_time_to_regain_access", 0))
    return UsageSample(scope, percent, minutes * _SECONDS_PER_MINUTE if minutes else None)


def _higher(one: UsageSample, other: UsageSample) -> UsageSample:
    regain = max(one.regain_seconds or 0.0, other.regain_seconds or 0.0)
    return UsageSample(one.scope, max(one.percent, other.percent), regain or None)


def _highest(body: Any, names: Iterable[str]) -> float:
    return max(_number(body.get(name, 0)) for name in names)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError("a usage figure is a finite number that is not negative")
    return number


_READERS = {
    "x-app-usage": _app_usage,
    "x-ad-account-usage": _account_usage,
    "x-business-use-case-usage": _business_usage,
    "x-fb-ads-insights-throttle": _insights_throttle,
}


def parse_api_version(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the version that answered, and the platform's warning about it; each empty where there is none."""
    lowered = {name.lower(): value for name, value in headers.items()}
    version, warning = lowered.get("facebook-api-version", ""), lowered.get("x-ad-api-version-warning", "")
    text = "".join(character for character in warning if character.isprintable())
    return version if _VERSION.fullmatch(version) else "", text[:_MAX_WARNING]


class ClockOffset:
    """How far the platform's clock is ahead of ours: the median over the last responses, to about a second.

    A single response with a wrong date does not change it. Used by one thread at a time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: deque[float] = deque(maxlen=_SAMPLES)

    def record(self, date: str | None) -> None:
        """Add the `Date` header of a response that just arrived; an invalid date is ignored."""
        moment = _parse_date(date)
        if moment is not None:
            self._samples.append((moment - self._clock.now()).total_seconds())

    @property
    def seconds(self) -> float | None:
        """The offset in seconds; None before the first response with a date."""
        return median(self._samples) if self._samples else None


def parse_retry_after(retry_after: str | None, date: str | None, now: datetime) -> float | None:
    """Return the seconds in a `Retry-After` header; None when it is missing, past or invalid.

    Args:
        retry_after: seconds, or a date.
        date: the `Date` header of the same response, relative to which such a date is read.
        now: our time, used when there is no `Date`.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text[:12])
    else:
        until = _parse_date(text)
        seconds = 0.0 if until is None else (until - (_parse_date(date) or now)).total_seconds()
    return min(seconds, MAX_WAIT_SECONDS) if seconds > 0 else None


def _parse_date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime((text or "")[:64])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
