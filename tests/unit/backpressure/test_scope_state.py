"""Tests of one scope: its parking, its rate under the platform's figures, its slots, and how it is stored."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure import FLEET
from adwarm.backpressure.concurrency import ConcurrencyLimit
from adwarm.backpressure.quota_usage import Pace
from adwarm.backpressure.scope_state import Parking, ScopeRules, ScopeState
from adwarm.backpressure.token_bucket import BucketRules
from adwarm.model import Priority, Scope, ScopeKind, UsageSample
from adwarm.settings import BackpressureSettings

NOW = 1_764_072_000.0
ACCOUNT, APP = Scope(ScopeKind.ACCOUNT, "act_1"), Scope(ScopeKind.APP, "main")
SHARES = (0.4, 0.3, 0.2, 0.1)


@given(st.lists(st.tuples(st.floats(0, 50), st.none() | st.floats(0, 4000)), max_size=20), st.integers())
def test_a_parking_is_never_shortened_and_never_ends_early(asks: list[tuple[float, float | None]], seed: int) -> None:
    """Each request is honored in full, whatever was requested before or after it."""
    rng, parking, now = Random(seed), Parking(), 1000.0
    for passed, seconds in asks:
        now += passed
        before = parking.until or 0.0
        parking = parking.extended(now, seconds, "throttled", rng)
        asked = 60.0 if seconds is None else seconds
        assert parking.until is not None
        assert parking.until >= before
        assert parking.until >= now + asked
        assert parking.until <= max(before, now + 1.1 * asked)


def test_scopes_parked_together_do_not_resume_together() -> None:
    """The jitter differs from scope to scope."""
    rng = Random(7)

    assert len({Parking().extended(0.0, 60, "throttled", rng).until for _ in range(10)}) == 10


@pytest.mark.parametrize("asked", [1e5, 6e10, 1e300, float("inf")])
def test_an_endless_park_is_cut_to_the_longest(asked: float) -> None:
    """One response cannot disable an account for years, and parks that were cut do not end at the same time."""
    ends = {Parking().extended(0.0, asked, "throttled", Random(seed), 86_400).until for seed in range(20)}

    assert len(ends) == 20
    assert all(end is not None and 0.9 * 86_400 <= end <= 86_400 for end in ends)


def test_nan_parks_for_the_default_time() -> None:
    """An unreadable time parks like a missing one; a time in the past does not park."""
    assert 60 <= (Parking().extended(0.0, float("nan"), "throttled", Random(1)).until or 0) <= 66
    assert Parking().extended(0.0, float("-inf"), "throttled", Random(1)).until == 0


def test_a_new_scope_is_not_parked() -> None:
    """A new scope may be called."""
    assert Parking().remaining_seconds(1e9) == 0


def make(scope: Scope = APP, now: float = NOW, **changes: object) -> ScopeState:
    """Return a new scope under settings."""
    return ScopeState(scope, ScopeRules.from_settings(scope, BackpressureSettings(**changes)), now)


def use(state: ScopeState, percent: float, calls: int = 100, now: float = NOW) -> None:
    """Let a scope make calls of which the platform says that they took so many percent of its quota."""
    for _ in range(calls):
        state.meter.record_calls(1, now)
    state.record_usage([UsageSample(state.scope, percent)], 0, now, Random(1))


def test_a_parking_that_is_extended_began_with_the_first_request() -> None:
    """One that has ended begins anew."""
    first = Parking().extended(100.0, 60, "slow down", Random(1))
    again = first.extended(130.0, 600, "slower", Random(1))
    assert (first.since, again.since, again.reason) == (100.0, 100.0, "slower")
    assert again.extended(9_000.0, 60, "again", Random(1)).since == 9_000.0


@pytest.mark.parametrize(
    ("calls", "expected"), [(1_000, (980 / 100, 20.0)), (5_000, (4_950 / 100, 50.0)), (10, (9 / 100, 1.0))]
)
def test_an_accounts_cap_is_a_bucket(calls: int, expected: tuple[float, float]) -> None:
    """Two percent of the cap, within the burst and one call, may come at once; the rest is spread over the window."""
    state = make(ACCOUNT, account_calls_per_window=calls, quota_window_seconds=100, burst=50)
    rules = state.bucket_rules(NOW)
    assert rules is not None
    assert (rules.rate, rules.burst) == (pytest.approx(expected[0], rel=0.03), expected[1])
    assert make(ACCOUNT).bucket_rules(NOW) is None
    assert make(APP, rate_per_second=7, burst=70).bucket_rules(NOW) == BucketRules(7, 70)


def test_figures_of_the_platform_slow_the_rate() -> None:
    """Free below 75 %; slower calls last until 89.8 %, from 90 % on until 98 %, four at once; one a second at least."""
    state = make(rate_per_second=100, burst=100, quota_window_seconds=1_000)
    assert state.calls_left(Priority.LOW, NOW) == float("inf")
    use(state, 50.0)
    assert (state.bucket_rules(NOW), state.pace(NOW)) == (BucketRules(100, 100), Pace.FREE)
    use(state, 80.0)
    slow = BucketRules(pytest.approx(state.meter.sustainable_rate(89.8, NOW), rel=1e-9), 4.0)
    assert (state.bucket_rules(NOW), state.pace(NOW)) == (slow, Pace.SLOW)
    assert state.calls_left(Priority.LOW, NOW) == pytest.approx(10 / 0.4)
    assert state.calls_left(Priority.CRITICAL, NOW) == pytest.approx(18 / 0.4)
    use(state, 92.0)
    nearly = BucketRules(pytest.approx(state.meter.sustainable_rate(98.0, NOW), rel=1e-9), 4.0)
    assert (state.bucket_rules(NOW), state.pace(NOW)) == (nearly, Pace.CRITICAL_ONLY)


def test_a_rate_of_nothing_is_no_division_by_zero() -> None:
    """Above the ceiling nothing is left; the bucket of a scope without a rate of its own holds one call."""
    state = make(ACCOUNT, quota_window_seconds=1_000)
    use(state, 99.0)
    assert state.bucket_rules(NOW) == BucketRules(1e-6, 1.0)


def test_only_critical_calls_borrow_from_the_quota() -> None:
    """Where calls are slowed, critical ones go two percent of the quota ahead of the rate; the others wait for it."""
    state = make(rate_per_second=100, burst=100, quota_window_seconds=1_000)
    use(state, 80.0)
    state.bucket.tokens, state.bucket.credits[0] = -1.5, 5.0
    assert state.rate_wait_seconds(SHARES, Priority.CRITICAL, 1.0, NOW) == 0.0
    assert state.rate_wait_seconds(SHARES, Priority.HIGH, 1.0, NOW) > 0.0
    state.bucket.tokens = -1.6
    assert state.rate_wait_seconds(SHARES, Priority.CRITICAL, 1.0, NOW) > 0.0


def test_classes_divide_a_shared_rate_until_only_critical_calls_pass() -> None:
    """An account's rate is divided by nobody, and neither is what is left above 90 %."""
    state = make(quota_window_seconds=1_000)
    assert state._rate_division(NOW) is state.rate_demand
    use(state, 80.0)
    assert state._rate_division(NOW) is state.rate_demand
    use(state, 92.0)
    assert state._rate_division(NOW) is None
    assert make(ACCOUNT)._rate_division(NOW) is None


def test_a_slot_is_returned_once() -> None:
    """Each class has its own calls in flight, and never fewer than none."""
    state = make()
    for priority in (Priority.LOW, Priority.LOW, Priority.HIGH):
        state.record_grant(priority, 1.0, NOW)
    assert (state.in_flight, state.in_flight_by_class) == (3, [0, 1, 0, 2])
    state.release_slot(Priority.LOW)
    assert state.in_flight_by_class == [0, 1, 0, 1]
    state.release_slot(Priority.CRITICAL)
    assert state.in_flight_by_class == [0, 1, 0, 1]


def test_calls_count_for_the_quota_of_what_the_platform_counts() -> None:
    """Account, app and token have a quota; the fleet has none."""
    app, fleet = make(APP), make(FLEET)
    for state in (app, fleet):
        state.record_grant(Priority.LOW, 3.0, NOW)
    assert (app.meter.calls(NOW), fleet.meter.calls(NOW)) == (3.0, 0.0)


def test_the_mean_latency_follows_the_calls() -> None:
    """The first call sets it, each later one counts a fifth; the latency of a slow one cuts the limit."""
    state = make(max_concurrent=10)
    for seconds in (1.0, 2.0):
        state.record_success(seconds, 1, NOW)
    assert state.mean_latency == pytest.approx(1.2)
    for _ in range(30):
        state.record_success(1.0, 1, NOW + 5)
    assert state.limit.value == 10
    state.record_success(60.0, 1, NOW + 10)
    assert state.limit.value == 8


def test_a_park_that_is_cut_is_reported_with_what_was_asked() -> None:
    """The longest request counts; a park without a time, or within the longest, is not reported."""
    state = make()
    for seconds in (None, 60.0, 86_400.0):
        state.park(seconds, "slow down", NOW, Random(1))
        assert state.overlong_park_seconds is None
    for seconds, reported in ((90_000.0, 90_000.0), (200_000.0, 200_000.0), (100_000.0, 200_000.0)):
        state.park(seconds, "slow down", NOW, Random(1))
        assert state.overlong_park_seconds == reported


def test_the_highest_figure_about_the_scope_itself_counts() -> None:
    """Of two equal ones that which names the longer wait; figures of other scopes and infinite ones do not count."""
    state = make()
    state.record_usage([UsageSample(ACCOUNT, 99.0), UsageSample(APP, float("nan"))], 0, NOW, Random(1))
    assert state.meter.percent is None
    samples = [UsageSample(APP, 100.0), UsageSample(APP, 100.0, 0.5), UsageSample(APP, 40.0, 9_000.0)]
    state.record_usage(samples, 0, NOW, Random(1))
    assert (state.meter.percent, state.parking.reason) == (100.0, "usage at 100 %")
    assert 0.5 <= state.parking.remaining_seconds(NOW) <= 0.56


def test_the_limit_in_whole_calls_is_within_its_bounds() -> None:
    """A smaller setting takes effect at once, and a sum that falls short by rounding is a whole call."""
    state, found = make(max_concurrent=20), []
    for value in (0.2, 4.99, 5 - 1e-10, 500.0):
        state.limit = ConcurrencyLimit(value)
        found.append(state.slots())
    assert found == [1, 4, 5, 20]


def test_a_stored_scope_is_unchanged() -> None:
    """Limit, rate, figures, latencies and demand come back as they were; the parking is a gate of its own."""
    state = make(max_concurrent=10)
    use(state, 80.0)
    for number in range(25):
        state.record_success(1.0 + number % 2, 9, NOW + number)
    state.record_overload(NOW + 30)
    state.record_grant(Priority.HIGH, 1.0, NOW + 31)
    state.slot_demand.record_wait(Priority.LOW, NOW + 31)
    state.rate_demand.record_wait(Priority.CRITICAL, NOW + 31)
    again = ScopeState(APP, state.rules, NOW, state.to_json())
    assert again.to_json() == state.to_json()
    assert again.latency_baseline.observe(60.0, NOW + 40)
    assert (again.mean_latency, again.in_flight_by_class) == (state.mean_latency, [0, 1, 0, 0])
    assert again.parking == Parking()


def test_a_parking_is_a_gate_that_is_kept_for_a_while() -> None:
    """The gate closes until the end of the park, since its begin; one that never began counts from its end."""
    gate = Parking(NOW + 60, "throttled", NOW).to_gate("account:act_1")
    assert (gate.since, gate.closed_until, gate.why) == (NOW, NOW + 60, "throttled")
    assert gate.kept_until is not None
    assert gate.kept_until > NOW + 60
    old = Parking(NOW + 60).to_gate("account:act_1")
    assert (old.since, old.kept_until) == (NOW + 60, gate.kept_until)
    free = Parking().to_gate("account:act_1")
    assert (free.since, free.closed_until, free.kept_until) == (0.0, None, gate.kept_until - NOW - 60)


def test_a_parking_that_was_stored_with_a_later_end_is_cut() -> None:
    """Only what is longer than the longest park changes."""
    assert Parking(NOW + 500).bounded(NOW, 100.0) == Parking(NOW + 100)
    assert Parking(NOW + 50).bounded(NOW, 100.0) == Parking(NOW + 50)
    assert Parking().bounded(NOW, 100.0) == Parking()
