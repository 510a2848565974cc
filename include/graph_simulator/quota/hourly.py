"""The hourly allowance of an account, and the four headers that report on it."""

import threading
from collections import defaultdict, deque
from datetime import datetime

import orjson

from graph_simulator.faults.kinds import Route
from graph_simulator.quota.cost import HOUR, Cost
from graph_simulator.quota.limits import too_many_calls

FULL_TIER_CALLS = 190_000
_TIER = "standard_access"


class HourlyQuota:
    """Counts insights calls per account over a rolling hour; safe to use from several threads."""

    def __init__(self, limit: int | None) -> None:
        self._enforced = limit is not None
        self._limit = FULL_TIER_CALLS if limit is None else limit
        self._calls: dict[str, deque[datetime]] = defaultdict(deque)
        self._told: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def admit(self, account: str | None, route: Route, now: datetime) -> None:
        """Count one insights call; other calls are free.

        Raises:
            GraphError: the account's hour is used up.
        """
        if account is None or route not in {Route.INSIGHTS, Route.SUBMIT}:
            return
        with self._lock:
            calls = self._recent(account, now)
            full = self._enforced and len(calls) >= self._limit
            if not full:
                calls.append(now)
            elif calls:
                self._told[account] = calls[0] + HOUR
        if full:
            raise too_many_calls()

    def charge(self, account: str | None, now: datetime, cost: Cost) -> None:
        """Take nothing: only calls count here."""

    def mistake(self, account: str, now: datetime) -> None:
        """Forgive: errors of the caller take nothing here."""

    def blocked_until(self, account: str, now: datetime) -> datetime | None:
        """Return until when the account was told to stay away; None when it may call."""
        with self._lock:
            told = self._told.get(account)
        return told if told is not None and now < told <= now + HOUR else None

    def headers(self, account: str | None, now: datetime, *, insights: bool) -> dict[str, str]:
        """Return the usage headers as they stand at `now`; percentages, regain in minutes, reset in seconds."""
        if account is None:
            return {}
        with self._lock:
            calls = self._recent(account, now)
            made, seconds = len(calls), (calls[0] + HOUR - now).total_seconds() if calls else 0.0
            total, accounts = sum(len(found) for found in self._calls.values()), len(self._calls)
        used = round(100 * made / self._limit, 2) if self._limit else 100.0
        overall = round(100 * total / (self._limit * accounts), 2) if self._limit else 100.0
        full = self._enforced and made >= self._limit
        business = {
            "type": "ads_insights",
            "call_count": int(used),
            "total_cputime": int(used / 2),
            "total_time": int(used / 2),
            "estimated_time_to_regain_access": max(1, -int(-seconds // 60)) if full else 0,
            "ads_api_access_tier": _TIER,
        }
        usage = {"acc_id_util_pct": used, "reset_time_duration": int(seconds), "ads_api_access_tier": _TIER}
        found = {
            "X-App-Usage": {"call_count": int(overall), "total_time": 0, "total_cputime": 0},
            "X-Ad-Account-Usage": usage,
            "X-Business-Use-Case-Usage": {account.removeprefix("act_"): [business]},
        }
        if insights:
            found["X-FB-Ads-Insights-Throttle"] = {
                "app_id_util_pct": overall,
                "acc_id_util_pct": used,
                "ads_api_access_tier": _TIER,
            }
        return {name: orjson.dumps(value).decode() for name, value in found.items()}

    def clear(self) -> None:
        """Forget every call."""
        with self._lock:
            self._calls.clear()
            self._told.clear()

    def _recent(self, account: str, now: datetime) -> deque[datetime]:
        calls = self._calls[account]
        while calls and not now - HOUR < calls[0] <= now:
            calls.popleft()
        return calls
