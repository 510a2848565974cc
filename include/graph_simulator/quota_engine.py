"""All limits of the platform: an account's rolling hour and score, the app's hour and load, and blocks that grow.

Invariants: no hour admits more calls than its limit. An account that stays away until the reported moment is admitted
then. A call before that moment never makes the moment earlier. Accounts share nothing but the limits of the app.

| account | on a call | becomes |
|---|---|---|
| free | under all limits | free; the cost of the call is charged |
| free | hour used up | blocked (80000) until its sums are under the limits again |
| blocked | any call | blocked for `penalty_seconds` more, up to `longest_block_seconds` from now |
| free | score would exceed its maximum | score-blocked (17) for the block time of the tier |
| score-blocked | any call | score-blocked anew, for the whole block time |
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from graph_simulator.call_cost import HOUR, CallCost, RollingWindow, is_under, percents
from graph_simulator.error_responses import GraphError
from graph_simulator.fault_kinds import Route, load_shed
from graph_simulator.fault_profile import QuotaSetting
from graph_simulator.throttle_headers import Usage, usage_headers

Tier = Literal["development_access", "standard_access"]
DECAY_SECONDS = 300.0
READ_POINTS, WRITE_POINTS = 1, 3
_BASE_CALLS = {"development_access": 600, "standard_access": 190_000}
_MAX_POINTS = {"development_access": 60.0, "standard_access": 9_000.0}
_BLOCK_SECONDS = {"development_access": 300.0, "standard_access": 60.0}
_POINTS = {Route.INSIGHTS: READ_POINTS, Route.ACCOUNT: READ_POINTS, Route.SUBMIT: WRITE_POINTS}
_MINUTE = timedelta(minutes=1)


def too_many_calls() -> GraphError:
    """Return error 80000/2446079: the account has used up its hour."""
    return GraphError(
        "(#80000) There have been too many calls from this ad-account. Please wait a bit and try again.",
        code=80000,
        subcode=2446079,
    )


def score_reached() -> GraphError:
    """Return error 17/2446079: the account has reached the maximum of its score."""
    return GraphError("(#17) User request limit reached", code=17, subcode=2446079, transient=True)


def app_limit_reached() -> GraphError:
    """Return error 4: the app has used up its hour."""
    return GraphError("(#4) Application request limit reached", code=4, transient=True)


def hour_limits(setting: QuotaSetting, active_ads: int, user_errors: int) -> CallCost:
    """Return what an account may use in an hour; every 1,000 user errors reduce the calls by one."""
    base = _BASE_CALLS[setting.tier] if setting.base_calls is None else setting.base_calls
    calls = base + setting.calls_per_ad * active_ads - user_errors // 1000
    cpu_ms, wall_ms = round(setting.cpu_seconds * 1000), round(setting.wall_seconds * 1000)
    return CallCost(max(1, calls), max(1, cpu_ms), max(1, wall_ms))


@dataclass
class ScoreLimiter:
    """The score of one account: points that decay linearly, and a block once there are too many."""

    tier: Tier
    points: float = 0.0
    at: datetime | None = None
    until: datetime | None = None

    @property
    def maximum(self) -> float:
        """The points that an account may have at once."""
        return _MAX_POINTS[self.tier]

    def points_at(self, now: datetime) -> float:
        """Return the points left at `now`; a full score decays to zero within `DECAY_SECONDS`."""
        if self.at is None:
            return 0.0
        decayed = self.maximum / DECAY_SECONDS * max(0.0, (now - self.at).total_seconds())
        return max(0.0, self.points - decayed)

    def take(self, points: int, now: datetime) -> bool:
        """Add the points of a call; return False if the call is refused, which starts or restarts the block."""
        current = self.points_at(now)
        if self.is_blocked(now) or current + points > self.maximum:
            self.until = now + self._block
            return False
        self.points, self.at = current + points, now
        return True

    def is_blocked(self, now: datetime) -> bool:
        """Whether calls are refused at `now`. Setting the clock back ends the block."""
        return self.until is not None and timedelta() < self.until - now <= self._block

    def seconds_left(self, now: datetime) -> float:
        """Return the seconds until the block ends; without a block, until the points have decayed."""
        if self.until is not None and self.is_blocked(now):
            return (self.until - now).total_seconds()
        return self.points_at(now) / self.maximum * DECAY_SECONDS

    @property
    def _block(self) -> timedelta:
        return timedelta(seconds=_BLOCK_SECONDS[self.tier])


@dataclass
class DecayingUsage:
    """A reported usage that rises at once and then halves every `half_life_seconds` (0: falls at once).

    The insights throttle behaves like this: it may report 100 % while no call is running.
    """

    half_life_seconds: float
    value: float = 0.0
    at: datetime | None = None

    def update(self, percent: float, now: datetime) -> float:
        """Return the reported usage at `now`, given that `percent` is really used."""
        seconds = 0.0 if self.at is None else max(0.0, (now - self.at).total_seconds())
        decayed = self.value * 0.5 ** (seconds / self.half_life_seconds) if self.half_life_seconds else 0.0
        self.value, self.at = max(percent, decayed), now
        return self.value


@dataclass
class _AccountState:
    """The limits' state of one account; `until` is the end of its block by the rolling hour."""

    score: ScoreLimiter
    throttle: DecayingUsage
    hour: RollingWindow = field(default_factory=RollingWindow)
    refused: RollingWindow = field(default_factory=RollingWindow)
    errors: RollingWindow = field(default_factory=RollingWindow)
    until: datetime | None = None


class QuotaEngine:
    """Admits and charges calls, and reports usage. Thread-safe.

    Args:
        active_ads: returns how many ads an account runs; each one adds calls.
    """

    def __init__(self, setting: QuotaSetting, active_ads: Callable[[str], int]) -> None:
        self._setting, self._active_ads = setting, active_ads
        self._accounts: dict[str, _AccountState] = {}
        self._app, self._load = RollingWindow(), RollingWindow(_MINUTE)
        self._throttle = DecayingUsage(setting.throttle_half_life_seconds)
        self._lock = threading.Lock()

    def admit(self, account: str | None, route: Route, now: datetime) -> None:
        """Admit a call, or refuse it and count the refusal.

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
        """Charge the cost of an admitted call."""
        with self._lock:
            self._load.add(now, cost)
            if account:
                self._state(account).hour.add(now, cost)

    def count_user_error(self, account: str, now: datetime) -> None:
        """Count an error that the caller caused."""
        with self._lock:
            self._state(account).errors.add(now, CallCost())

    def blocked_until(self, account: str, now: datetime) -> datetime | None:
        """Return the end of the account's block as last reported to the caller; None when it may call."""
        with self._lock:
            state = self._state(account)
            ends = [
                state.until if self._is_blocked(state, now) else None,
                state.score.until if state.score.is_blocked(now) else None,
            ]
        return max((end for end in ends if end is not None), default=None)

    def headers(self, account: str | None, now: datetime, *, insights: bool) -> dict[str, str]:
        """Return the usage headers at `now`."""
        with self._lock:
            usage = self._usage(account, now)
            if insights:
                own = self._state(account).throttle.update(max(usage.hour), now) if account else 0.0
                usage.throttle = self._throttle.update(max(usage.app, usage.load), now), own
            return usage_headers(usage, insights=insights)

    def _state(self, account: str) -> _AccountState:
        if account not in self._accounts:
            throttle = DecayingUsage(self._setting.throttle_half_life_seconds)
            self._accounts[account] = _AccountState(ScoreLimiter(self._setting.tier), throttle)
        return self._accounts[account]

    def _limits(self, account: str, state: _AccountState, now: datetime) -> CallCost:
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
            # A call during a block extends it, but a block that is already longer than the cap is not shortened.
            extended = state.until + timedelta(seconds=self._setting.penalty_seconds)
            state.until = max(state.until, min(extended, now + self._longest_block))
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
    def _longest_block(self) -> timedelta:
        return max(HOUR, timedelta(seconds=self._setting.longest_block_seconds))

    def _is_blocked(self, state: _AccountState, now: datetime) -> bool:
        return state.until is not None and timedelta() < state.until - now <= self._longest_block

    def _usage(self, account: str | None, now: datetime) -> Usage:
        app_calls = self._setting.app_calls
        app = 100 * self._app.total(now).calls / app_calls if app_calls else 0.0
        usage = Usage(
            self._setting.tier, app=app, load=self._load_percent(now), headers_above=self._setting.headers_above
        )
        if account is None:
            return usage
        state = self._state(account)
        # Refused calls raise the reported count, so that it exceeds 100 % as on the platform, but not the hour itself.
        spent = state.hour.total(now) + CallCost(state.refused.total(now).calls)
        regain = (state.until - now).total_seconds() if state.until and self._is_blocked(state, now) else 0.0
        limits = self._limits(account, state, now)
        if not regain and not is_under(state.hour.total(now), limits):
            regain = (state.hour.below(now, limits) - now).total_seconds()
        usage.account, usage.hour = account, percents(spent, limits)
        usage.score = 100 * state.score.points_at(now) / state.score.maximum
        usage.regain_seconds, usage.reset_seconds = regain, state.score.seconds_left(now)
        return usage
