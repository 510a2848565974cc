"""A simple quota: insights calls per account and rolling hour, and the usage headers that report on it."""

import threading
from collections import defaultdict, deque
from datetime import datetime

import orjson

from graph_simulator.call_cost import HOUR, CallCost
from graph_simulator.fault_kinds import Route
from graph_simulator.quota_engine import too_many_calls

FULL_TIER_CALLS = 190_000
_TIER = "standard_access"


class HourlyQuota:
    """Counts insights calls per account over a rolling hour. Thread-safe.

    Args:
        limit: calls per account and hour; None counts against the full tier's number and refuses nothing.
    """

    def __init__(self, limit: int | None) -> None:
        self._enforced = limit is not None
        self._limit = FULL_TIER_CALLS if limit is None else limit
        self._calls: dict[str, deque[datetime]] = defaultdict(deque)
        self._blocked_until: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def admit(self, account: str | None, route: Route, now: datetime) -> None:
        """Count one insights call; other calls are free.

        Raises:
            GraphError: the account has used up its hour (80000).
        """
        if account is None or route not in {Route.INSIGHTS, Route.SUBMIT}:
            return
        with self._lock:
            calls = self._recent(account, now)
            full = self._enforced and len(calls) >= self._limit
            if not full:
                calls.append(now)
            elif calls:
                self._blocked_until[account] = calls[0] + HOUR
        if full:
            raise too_many_calls()

    def charge(self, account: str | None, now: datetime, cost: CallCost) -> None:
        """Do nothing: this quota counts calls, not their cost."""

    def count_user_error(self, account: str, now: datetime) -> None:
        """Do nothing: user errors do not reduce this quota."""

    def blocked_until(self, account: str, now: datetime) -> datetime | None:
        """Return the end of the account's block as last reported to the caller; None when it may call."""
        with self._lock:
            until = self._blocked_until.get(account)
        return until if until is not None and now < until <= now + HOUR else None

    def headers(self, account: str | None, now: datetime, *, insights: bool) -> dict[str, str]:
        """Return the usage headers at `now`: percentages, regain time in minutes, reset time in seconds."""
        if account is None:
            return {}
        with self._lock:
            calls = self._recent(account, now)
            count, seconds = len(calls), (calls[0] + HOUR - now).total_seconds() if calls else 0.0
            total, accounts = sum(len(recent) for recent in self._calls.values()), len(self._calls)
        used = round(100 * count / self._limit, 2) if self._limit else 100.0
        overall = round(100 * total / (self._limit * accounts), 2) if self._limit else 100.0
        full = self._enforced and count >= self._limit
        business = {
            "type": "ads_insights",
            "call_count": int(used),
            "total_cputime": int(used / 2),
            "total_time": int(used / 2),
            "estimated_time_to_regain_access": max(1, -int(-seconds // 60)) if full else 0,
            "ads_api_access_tier": _TIER,
        }
        headers = {
            "X-App-Usage": {"call_count": int(overall), "total_time": 0, "total_cputime": 0},
            "X-Ad-Account-Usage": {
                "acc_id_util_pct": used,
                "reset_time_duration": int(seconds),
                "ads_api_access_tier": _TIER,
            },
            "X-Business-Use-Case-Usage": {account.removeprefix("act_"): [business]},
        }
        if insights:
            headers["X-FB-Ads-Insights-Throttle"] = {
                "app_id_util_pct": overall,
                "acc_id_util_pct": used,
                "ads_api_access_tier": _TIER,
            }
        return {name: orjson.dumps(value).decode() for name, value in headers.items()}

    def _recent(self, account: str, now: datetime) -> deque[datetime]:
        calls = self._calls[account]
        while calls and not now - HOUR < calls[0] <= now:
            calls.popleft()
        return calls
