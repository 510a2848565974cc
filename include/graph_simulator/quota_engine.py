"""The whole law of limits: each account's rolling hour and score, the app's hour and load, and blocks that grow.

Invariants: no more is admitted in any hour than the calls limit; an account that stays away until the moment it was
told is let in then; a call before that moment never makes it earlier; accounts share nothing but the app's limits.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from graph_simulator.call_cost import HOUR, CallCost, RollingWindow, is_under, percents
from graph_simulator.fault_kinds import Route, load_shed
from graph_simulator.fault_profile import QuotaSetting
from graph_simulator.graph_errors import GraphError
from graph_simulator.usage_headers import Usage, usage_headers

_BASE_CALLS = {"development_access": 600, "standard_access": 190_000}


def hour_limits(setting: QuotaSetting, active_ads: int, user_errors: int) -> CallCost:
    """Return what an account may spend in an hour; errors of the caller take from the calls."""
    base = _BASE_CALLS[setting.tier] if setting.base_calls is None else setting.base_calls
    calls = base + setting.calls_per_ad * active_ads - user_errors // 1000
    return CallCost(
        max(1, calls), max(1, round(setting.cpu_seconds * 1000)), max(1, round(setting.wall_seconds * 1000))
    )


def too_many_calls() -> GraphError:
    """Return the refusal of an account whose hour is used up."""
    return GraphError(
        "(#80000) There have been too many calls from this ad-account. Please wait a bit and try again.",
        code=80000,
        subcode=2446079,
    )


def score_reached() -> GraphError:
    """Return the refusal of the score limiter."""
    return GraphError("(#17) User request limit reached", code=17, subcode=2446079, transient=True)


def app_limit_reached() -> GraphError:
    """Return the refusal of the whole app."""
    return GraphError("(#4) Application request limit reached", code=4, transient=True)


Tier = Literal["development_access", "standard_access"]
DECAY_SECONDS = 300.0
_MOST = {"development_access": 60.0, "standard_access": 9_000.0}
_BLOCK_SECONDS = {"development_access": 300.0, "standard_access": 60.0}
READ_POINTS, WRITE_POINTS = 1, 3


@dataclass
class ScoreLimiter:
    """One account's points. A call that would exceed the most starts a block; a call during it starts it anew."""

    tier: Tier
    points: float = 0.0
    at: datetime | None = None
    until: datetime | None = None

    @property
    def most(self) -> float:
        """The points that may be held at once."""
        return _MOST[self.tier]

    def held(self, now: datetime) -> float:
        """Return the points left at `now`; the most of them melts away within `DECAY_SECONDS`."""
        if self.at is None:
            return 0.0
        melted = self.most / DECAY_SECONDS * max(0.0, (now - self.at).total_seconds())
        return max(0.0, self.points - melted)

    def take(self, points: int, now: datetime) -> bool:
        """Add a call's points; return False when it must be refused, which starts the block, or starts it anew."""
        held = self.held(now)
        if self.is_blocked(now) or held + points > self.most:
            self.until = now + timedelta(seconds=_BLOCK_SECONDS[self.tier])
            return False
        self.points, self.at = held + points, now
        return True

    def is_blocked(self, now: datetime) -> bool:
        """Whether calls are refused at `now`; a clock set back ends the block."""
        return self.until is not None and timedelta() < self.until - now <= self._block

    def seconds_left(self, now: datetime) -> float:
        """Return how long the block lasts still; without one, how long the points take to melt."""
        if self.until is not None and self.is_blocked(now):
            return (self.until - now).total_seconds()
        return self.held(now) / self.most * DECAY_SECONDS

    @property
    def _block(self) -> timedelta:
        return timedelta(seconds=_BLOCK_SECONDS[self.tier])


@dataclass
class DecayingUsage:
    """The highest figure heard lately; what was heard halves every `half_life_seconds`, or at once when that is 0."""

    half_life_seconds: float
    value: float = 0.0
    at: datetime | None = None

    def heard(self, percent: float, now: datetime) -> float:
        """Return the figure at `now`, at which `percent` is really used."""
        seconds = 0.0 if self.at is None else max(0.0, (now - self.at).total_seconds())
        left = self.value * 0.5 ** (seconds / self.half_life_seconds) if self.half_life_seconds else 0.0
        self.value, self.at = max(percent, left), now
        return self.value


_POINTS = {Route.INSIGHTS: READ_POINTS, Route.ACCOUNT: READ_POINTS, Route.SUBMIT: WRITE_POINTS}
_MINUTE = timedelta(minutes=1)


@dataclass
class _Account:
    """What is kept of one account."""

    score: ScoreLimiter
    hour: RollingWindow = field(default_factory=RollingWindow)
    refused: RollingWindow = field(default_factory=RollingWindow)
    errors: RollingWindow = field(default_factory=RollingWindow)
    until: datetime | None = None
    throttle: DecayingUsage = field(default_factory=lambda: DecayingUsage(0.0))


class QuotaEngine:
    """Admits, charges and reports; safe to use from several threads."""

    def __init__(self, setting: QuotaSetting, active_ads: Callable[[str], int]) -> None:
        self._setting, self._active_ads = setting, active_ads
        self._accounts: dict[str, _Account] = {}
        self._app, self._load = RollingWindow(), RollingWindow(_MINUTE)
        self._throttle = DecayingUsage(setting.throttle_half_life_seconds)
        self._lock = threading.Lock()

    def admit(self, account: str | None, route: Route, now: datetime) -> None:
        """Let a call in, or refuse it and remember that it came.

        Raises:
            GraphError: a limit of the account (80000, 17) or of the app (4) is reached.
        """
        with self._lock:
            refusal = self._app_refusal(now) or (self._account_refusal(account, route, now) if account else None)
            if refusal is None:
                self._app.add(now, CallCost())
            elif account:
                self._state(account).refused.add(now, CallCost())
        if refusal is not None:
            raise refusal

    def charge(self, account: str | None, now: datetime, cost: CallCost) -> None:
        """Take the cost of a call that was let in."""
        with self._lock:
            self._load.add(now, cost)
            if account:
                self._state(account).hour.add(now, cost)

    def mistake(self, account: str, now: datetime) -> None:
        """Count an error that was the caller's own."""
        with self._lock:
            self._state(account).errors.add(now, CallCost())

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
            self._throttle = DecayingUsage(self._setting.throttle_half_life_seconds)

    def _state(self, account: str) -> _Account:
        if account not in self._accounts:
            throttle = DecayingUsage(self._setting.throttle_half_life_seconds)
            self._accounts[account] = _Account(ScoreLimiter(self._setting.tier), throttle=throttle)
        return self._accounts[account]

    def _limits(self, account: str, state: _Account, now: datetime) -> CallCost:
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
        spent = state.hour.total(now) + CallCost(state.refused.total(now).calls)
        regain = (state.until - now).total_seconds() if state.until and self._is_blocked(state, now) else 0.0
        limits = self._limits(account, state, now)
        if not regain and not is_under(state.hour.total(now), limits):
            regain = (state.hour.below(now, limits) - now).total_seconds()
        usage.account, usage.hour = account, percents(spent, limits)
        usage.score = 100 * state.score.held(now) / state.score.most
        usage.regain_seconds, usage.reset_seconds = regain, state.score.seconds_left(now)
        return usage
