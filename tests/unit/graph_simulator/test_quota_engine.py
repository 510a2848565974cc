"""The limits hold whatever the order of calls."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_simulator.call_cost import CallCost
from graph_simulator.error_responses import GraphError
from graph_simulator.fault_kinds import Route
from graph_simulator.fault_profile import QuotaSetting
from graph_simulator.quota_engine import DecayingUsage, QuotaEngine
from tests.unit.graph_simulator.conftest import drive

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
gaps = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 400)), min_size=1, max_size=60)


def engine(**changes: object) -> QuotaEngine:
    """Limits of five calls and two CPU seconds per hour."""
    values = {"base_calls": 5, "calls_per_ad": 0, "cpu_seconds": 2, "score": False, **changes}
    return QuotaEngine(QuotaSetting(**values), lambda account: 10)  # type: ignore[arg-type]


def admitted(quota: QuotaEngine, now: datetime, cpu_ms: int = 1, account: str = "act_1") -> bool:
    """Make one call; return whether it was admitted."""
    try:
        quota.admit(account, Route.INSIGHTS, now)
    except GraphError:
        return False
    quota.charge(account, now, CallCost(1, cpu_ms, 1))
    return True


def run(quota: QuotaEngine, steps: list[tuple[int, int]], account: str = "act_1") -> list[tuple[datetime, bool]]:
    """Make calls after gaps in seconds with costs in milliseconds; return when each was made, and whether it was
    admitted."""
    now, seen = NOW, []
    for gap, cpu_ms in steps:
        now += timedelta(seconds=gap)
        seen.append((now, admitted(quota, now, cpu_ms, account)))
    return seen


@given(gaps)
def test_no_hour_holds_more_than_the_limit(steps: list[tuple[int, int]]) -> None:
    """No rolling hour admits more calls than the limit."""
    let_in = [at for at, inside in run(engine(), steps) if inside]
    assert all(sum(at - HOUR < other <= at for other in let_in) <= 5 for at in let_in)


@given(gaps)
def test_a_blocked_account_is_admitted_at_the_reported_moment(steps: list[tuple[int, int]]) -> None:
    """A blocked account that waits until the reported moment is admitted then."""
    quota = engine()
    now = run(quota, steps)[-1][0]
    until = quota.blocked_until("act_1", now)
    assert until is None or admitted(quota, until)


@given(gaps, st.lists(st.integers(0, 30), min_size=1, max_size=10))
def test_calls_during_a_block_extend_it(steps: list[tuple[int, int]], calls: list[int]) -> None:
    """Each call during a block extends it by the penalty, up to the longest block, and never shortens it."""
    quota = engine(penalty_seconds=60)
    now = run(quota, steps)[-1][0]
    for gap in calls:
        now += timedelta(seconds=gap)
        before = quota.blocked_until("act_1", now)
        if before is None:
            return
        assert not admitted(quota, now)
        after = quota.blocked_until("act_1", now)
        assert after == max(before, min(before + timedelta(seconds=60), now + 2 * HOUR))


@given(gaps, gaps)
def test_accounts_are_independent(own: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    """What one account is admitted does not depend on the calls of another."""
    shared = engine()
    run(shared, other, "act_2")
    assert run(shared, own) == run(engine(), own)


@given(gaps)
def test_the_header_agrees_with_the_limit(steps: list[tuple[int, int]]) -> None:
    """While the next call would be refused, the header has the minutes to regain access, rounded up; else 0."""
    quota = engine(headers_above=0)
    now = run(quota, steps)[-1][0]
    usage = json.loads(quota.headers("act_1", now, insights=True)["X-Business-Use-Case-Usage"])["1"]
    own = next(entry for entry in usage if entry["type"] == "ads_insights")
    minutes = own["estimated_time_to_regain_access"]
    assert (minutes == 0) == admitted(quota, now)
    until = quota.blocked_until("act_1", now)
    assert until is None or minutes <= -(-(until - now).total_seconds() // 60)


def test_tiers() -> None:
    """The limited tier admits 600 calls plus 400 per ad; user errors reduce them."""
    quota = QuotaEngine(QuotaSetting(tier="development_access", score=False), lambda account: 1)
    for _ in range(2_000):
        quota.count_user_error("act_1", NOW)
    assert sum(admitted(quota, NOW, 0) for _ in range(1_100)) == 998


def test_cpu_time_limits_before_calls_do() -> None:
    """One heavy query uses the hour up, shows as more than 100 %, and the error is 80000/2446079."""
    quota = engine()
    assert admitted(quota, NOW, cpu_ms=2_400)
    usage = json.loads(quota.headers("act_1", NOW, insights=True)["X-Business-Use-Case-Usage"])["1"][1]
    assert (usage["total_cputime"], usage["call_count"], usage["estimated_time_to_regain_access"]) == (120, 20, 60)
    with pytest.raises(GraphError) as refused:
        quota.admit("act_1", Route.POLL, NOW)
    assert (refused.value.code, refused.value.subcode) == (80000, 2446079)


def test_headers_are_absent_at_low_use() -> None:
    """An account with few calls gets the insights throttle only."""
    quota = engine(base_calls=1_000, headers_above=2)
    admitted(quota, NOW, 0)
    assert list(quota.headers("act_1", NOW, insights=True)) == ["X-FB-Ads-Insights-Throttle"]
    assert quota.headers("act_1", NOW, insights=False) == {}
    assert quota.headers(None, NOW, insights=False) == {}


def test_points() -> None:
    """The 61st read of the limited tier is 17/2446079, for 300 s; writes weigh three, polls nothing."""
    quota = engine(base_calls=10_000, tier="development_access", score=True)
    assert sum(admitted(quota, NOW, 0) for _ in range(57)) == 57
    quota.admit("act_1", Route.POLL, NOW)
    quota.admit("act_1", Route.SUBMIT, NOW)
    with pytest.raises(GraphError) as refused:
        quota.admit("act_1", Route.INSIGHTS, NOW)
    assert (refused.value.code, refused.value.subcode) == (17, 2446079)
    assert quota.blocked_until("act_1", NOW) == NOW + timedelta(seconds=300)
    assert not admitted(quota, NOW + timedelta(seconds=200))
    assert not admitted(quota, NOW + timedelta(seconds=300))
    assert admitted(quota, NOW + timedelta(seconds=600))


def test_the_app_runs_out() -> None:
    """Accounts share the app's hour; its error is code 4 without a subcode."""
    quota = engine(app_calls=2)
    assert admitted(quota, NOW, account="act_1")
    assert admitted(quota, NOW, account="act_2")
    with pytest.raises(GraphError) as refused:
        quota.admit(None, Route.ADACCOUNTS, NOW)
    assert (refused.value.code, refused.value.subcode) == (4, None)
    assert json.loads(quota.headers(None, NOW, insights=False)["X-App-Usage"])["call_count"] == 100


def test_load_is_shed() -> None:
    """Above the app's CPU time per minute any account gets 4/1504022, and is admitted a minute later."""
    quota = engine(shed_cpu_per_minute=1)
    assert admitted(quota, NOW, cpu_ms=1_000)
    with pytest.raises(GraphError) as refused:
        quota.admit("act_2", Route.INSIGHTS, NOW)
    assert (refused.value.code, refused.value.subcode) == (4, 1504022)
    assert admitted(quota, NOW + timedelta(seconds=60), account="act_2")


def test_reported_usage_halves() -> None:
    """The reported usage is half after a half-life, and never below the real one."""
    cooling = DecayingUsage(60)
    assert cooling.update(80, NOW) == 80
    assert cooling.update(10, NOW + timedelta(seconds=60)) == pytest.approx(40)
    assert cooling.update(55, NOW + timedelta(seconds=61)) == 55


@given(st.lists(st.tuples(st.floats(0, 200), st.integers(-100, 10_000)), min_size=1, max_size=20), st.floats(0, 600))
def test_reported_usage_is_bounded(update: list[tuple[float, int]], half_life: float) -> None:
    """Whatever the order of moments: at least the present usage, at most the highest so far."""
    cooling, most = DecayingUsage(half_life), 0.0
    for percent, second in update:
        most = max(most, percent)
        assert percent <= cooling.update(percent, NOW + timedelta(seconds=second)) <= most


def test_the_throttle_outlives_the_usage() -> None:
    """After the hour has passed, the usage is zero and the throttle still reports some."""
    driven = drive({"quota": {"base_calls": 20, "calls_per_ad": 0, "score": False, "throttle_half_life_seconds": 7200}})

    def reported() -> float:
        header = driven.insights(limit=1).headers["X-FB-Ads-Insights-Throttle"]
        return float(json.loads(header)["acc_id_util_pct"])

    busy = [reported() for _ in range(16)][-1]
    driven.wait(3_601)
    assert busy > 70
    assert busy > reported() > busy / 2
