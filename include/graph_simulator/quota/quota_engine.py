"""The whole law of limits: each account's rolling hour and score, the app's hour and load, and blocks that grow.

Invariants: no more is admitted in any hour than the calls limit; an account that stays away until the moment it was
told is let in then; a call before that moment never makes it earlier; accounts share nothing but the app's limits.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from graph_simulator.errors import GraphError
from graph_simulator.fault_profile import QuotaSetting
from graph_simulator.faults.kinds import Route, load_shed
from graph_simulator.quota.cost import HOUR, Cost, RollingWindow, is_under, percents
from graph_simulator.quota.decaying_usage import Cooling
from graph_simulator.quota.headers import Usage, usage_headers
from graph_simulator.quota.limits import app_limit_reached, hour_limits, score_reached, too_many_calls
from graph_simulator.quota.score import READ_POINTS, WRITE_POINTS, Score

_POINTS = {Route.INSIGHTS: READ_POINTS, Route.ACCOUNT: READ_POINTS, Route.SUBMIT: WRITE_POINTS}
_MINUTE = timedelta(minutes=1)


@dataclass
class _Account:
    """What is kept of one account."""

    score: Score
    hour: RollingWindow = field(default_factory=RollingWindow)
    refused: RollingWindow = field(default_factory=RollingWindow)
    errors: RollingWindow = field(default_factory=RollingWindow)
    until: datetime | None = None
    throttle: Cooling = field(default_factory=lambda: Cooling(0.0))


class QuotaEngine:
    """Admits, charges and reports; safe to use from several threads."""

    def __init__(self, setting: QuotaSetting, active_ads: Callable[[str], int]) -> None:
        self._setting, self._active_ads = setting, active_ads
        self._accounts: dict[str, _Account] = {}
        self._app, self._load = RollingWindow(), RollingWindow(_MINUTE)
        self._throttle = Cooling(setting.throttle_half_life_seconds)
        self._lock = threading.Lock()

    def admit(self, account: str | None, route: Route, now: datetime) -> None:
        """Let a call in, or refuse it and remember that it came.

        Raises:
            GraphError: a limit of the account (80000, 17) or of the app (4) is reached.
        """
        with self._lock:
            refusal = self._app_refusal(now) or (self._account_refusal(account, route, now) if account else None)
            if refusal is None:
                self._app.add(now, Cost())
            elif account:
                self._state(account).refused.add(now, Cost())
        if refusal is not None:
            raise refusal

    def charge(self, account: str | None, now: datetime, cost: Cost) -> None:
        """Take the cost of a call that was let in."""
        with self._lock:
            self._load.add(now, cost)
            if account:
                self._state(account).hour.add(now, cost)

    def mistake(self, account: str, now: datetime) -> None:
        """Count an error that was the caller's own."""
        with self._lock:
            self._state(account).errors.add(now, Cost())

    def blocked_until(self, account: str, now: datetime) -> datetime | None:
        """Return until when the account was told to stay away; None when it may call."""
        with self._lock:
            state = self._state(account)
            ends = [state.until if self._is_blocked(state, now) else None]
            ends.append(state.score.until if state.score.is_blocked(now) else None)
        return max((end for end in ends if end is not None), default=None)

    def headers(self, account: str | None, now: datetime, *, insights: bool) -> dict[str, str]:
        """Return the usage headers as they stand at `now`."""
        with self._lock:
            usage = self._usage(account, now)
            if insights:
                own = self._state(account).throttle.heard(max(usage.hour), now) if account else 0.0
                usage.throttle = self._throttle.heard(max(usage.app, usage.load), now), own
            return usage_headers(usage, insights=insights)

    def clear(self) -> None:
        """Forget everything that was spent."""
        with self._lock:
            self._accounts.clear()
            self._app, self._load = RollingWindow(), RollingWindow(_MINUTE)
            self._throttle = Cooling(self._setting.throttle_half_life_seconds)

    def _state(self, account: str) -> _Account:
        if account not in self._accounts:
            throttle = Cooling(self._setting.throttle_half_life_seconds)
            self._accounts[account] = _Account(Score(self._setting.tier), throttle=throttle)
        return self._accounts[account]

    def _limits(self, account: str, state: _Account, now: datetime) -> Cost:
        return hour_limits(self._setting, self._active_ads(account), state.errors.total(now).calls)

    def _app_refusal(self, now: datetime) -> GraphError | None:
        if self._setting.app_calls is not None and self._app.total(now).calls >= self._setting.app_calls:
            return app_limit_reached()
        return load_shed() if self._load_percent(now) >= 100 else None

    def _load_percent(self, now: datetime) -> float:
        if self._setting.shed_cpu_per_minute is None:
            return 0.0
        return self._load.total(now).cpu_ms / 10 / self._setting.shed_cpu_per_minute

    def _account_refusal(self, account: str, route: Route, now: datetime) -> GraphError | None:
        state = self._state(account)
        if state.until is not None and self._is_blocked(state, now):
            longer = state.until + timedelta(seconds=self._setting.penalty_seconds)
            state.until = max(state.until, min(longer, now + self._longest))
            return too_many_calls()
        limits = self._limits(account, state, now)
        if not is_under(state.hour.total(now), limits):
            state.until = state.hour.below(now, limits)
            return too_many_calls()
        points = _POINTS.get(route, 0)
        if self._setting.score and (points or state.score.is_blocked(now)) and not state.score.take(points, now):
            return score_reached()
        return None

    @property
    def _longest(self) -> timedelta:
        return max(HOUR, timedelta(seconds=self._setting.longest_block_seconds))

    def _is_blocked(self, state: _Account, now: datetime) -> bool:
        return state.until is not None and timedelta() < state.until - now <= self._longest

    def _usage(self, account: str | None, now: datetime) -> Usage:
        app_calls = self._setting.app_calls
        app = 100 * self._app.total(now).calls / app_calls if app_calls else 0.0
        usage = Usage(
            self._setting.tier, app=app, load=self._load_percent(now), headers_above=self._setting.headers_above
        )
        if account is None:
            return usage
        state = self._state(account)
        spent = state.hour.total(now) + Cost(state.refused.total(now).calls)
        regain = (state.until - now).total_seconds() if state.until and self._is_blocked(state, now) else 0.0
        limits = self._limits(account, state, now)
        if not regain and not is_under(state.hour.total(now), limits):
            regain = (state.hour.below(now, limits) - now).total_seconds()
        usage.account, usage.hour = account, percents(spent, limits)
        usage.score = 100 * state.score.held(now) / state.score.most
        usage.regain_seconds, usage.reset_seconds = regain, state.score.seconds_left(now)
        return usage
