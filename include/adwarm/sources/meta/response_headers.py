"""The platform's four usage headers as usage samples.

Each is read for what it names alone: the account that was asked about, and the use it counts. A business or another
account in it, or a use such as `ads_management`, says nothing about the account's insights.

Their absence is normal. A header that cannot be read yields nothing and is logged; it never fails a call that worked.
"""

import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Any

import orjson

from adwarm.foundation.clock import Clock
from adwarm.model import Scope, ScopeKind, UsageSample

logger = logging.getLogger(__name__)
_MINUTE = 60.0
_INSIGHTS = "ads_insights"
_USE_OF_CODE = {80003: "custom_audience", 80004: "ads_management"}
_FULL = 100.0


def parse_usage_headers(
    headers: Mapping[str, str], account: Scope | None, app: Scope, code: Any = None
) -> tuple[UsageSample, ...]:
    """Return what `headers` say, at most one sample per header and scope; of several entries the worst counts.

    Args:
        headers: the answer's headers, names in any case.
        account: scope of the account that was asked about; None for calls about no single account.
        app: scope of the app.
        code: the platform's code of an answer that is an error: one about another use is about that use's quota.
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
    yield UsageSample(app, _worst(body, ("call_count", "total_time", "total_cputime")))


def _account_usage(body: Any, account: Scope | None, app: Scope, use: str) -> Iterator[UsageSample]:
    del app, use
    if account is not None:
        percent = _number(body["acc_id_util_pct"])
        reset = _number(body.get("reset_time_duration", 0))
        yield UsageSample(account, percent, reset if percent >= _FULL and reset else None)


def _insights_throttle(body: Any, account: Scope | None, app: Scope, use: str) -> Iterator[UsageSample]:
    del use
    yield UsageSample(app, _number(body["app_id_util_pct"]))
    if account is not None:
        yield UsageSample(account, _number(body["acc_id_util_pct"]))


def _business_usage(body: Any, account: Scope | None, app: Scope, use: str) -> Iterator[UsageSample]:
    del app
    worst: dict[Scope, UsageSample] = {}
    for owner, entries in body.items():
        scope = Scope(ScopeKind.ACCOUNT, f"act_{owner.removeprefix('act_')}")
        if account not in {None, scope}:
            continue
        for entry in (found for found in entries if found.get("type", use) == use):
            sample = _business_entry(entry, scope)
            worst[scope] = _worse(worst.get(scope, sample), sample)
    yield from worst.values()


def _business_entry(entry: Any, scope: Scope) -> UsageSample:
    percent = _worst(entry, ("call_count", "total_time", "total_cputime"))
    minutes = _number(entry.get("estimated_time_to_regain_access", 0))
    return UsageSample(scope, percent, minutes * _MINUTE if minutes else None)


def _worse(one: UsageSample, other: UsageSample) -> UsageSample:
    regain = max(one.regain_seconds or 0.0, other.regain_seconds or 0.0)
    return UsageSample(one.scope, max(one.percent, other.percent), regain or None)


def _worst(body: Any, names: Iterable[str]) -> float:
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


MAX_WAIT_SECONDS = 365 * 86_400.0
"""Longer times are not taken at their word: no moment has to be computed beyond the calendar."""

_REMEMBERED = 9


class ClockOffset:
    """How far the platform's clock is ahead of ours: the median of the last answers, to a second or so.

    One answer with a wrong date moves it by nothing. Used by one thread at a time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: deque[float] = deque(maxlen=_REMEMBERED)

    def record(self, date: str | None) -> None:
        """Take the `Date` header of an answer that has just come; one that is no date is left out."""
        moment = _moment(date)
        if moment is not None:
            self._last.append((moment - self._clock.now()).total_seconds())

    @property
    def seconds(self) -> float | None:
        """The offset; None before any answer told."""
        return median(self._last) if self._last else None


def parse_retry_after(retry_after: str | None, date: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None when it is missing, past or cannot be read.

    Args:
        retry_after: seconds, or a date.
        date: the answer's own `Date`, by which such a date is meant.
        now: our time, where it has none.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text[:12])
    else:
        until = _moment(text)
        seconds = 0.0 if until is None else (until - (_moment(date) or now)).total_seconds()
    return min(seconds, MAX_WAIT_SECONDS) if seconds > 0 else None


def _moment(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime((text or "")[:64])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
