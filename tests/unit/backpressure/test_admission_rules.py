"""Which limit an admission waits for, and for how long."""

from dataclasses import replace
from math import inf
from random import Random

import pytest

from adwarm.backpressure.admission import CallRequest, Grant, Rejected, Wait
from adwarm.backpressure.breakers import ScopedBreaker
from adwarm.backpressure.concurrency import LimitRules
from adwarm.backpressure.scope_state import Parking, ScopeRules, ScopeState
from adwarm.backpressure.shared_budget import (
    AdmissionRequest,
    SharedBudget,
    check_capacity,
    check_hard_limits,
    check_rate,
    check_slots,
    longer_wait,
)
from adwarm.backpressure.token_bucket import BucketRules
from adwarm.foundation.circuit import Breaker, BreakerRules, BreakerState
from adwarm.foundation.gate import CALLS_SWITCH, FOREVER, Gate, Rule
from adwarm.model import Priority, Scope
from adwarm.settings import BackpressureSettings

NOW = 10_000.0
RULES = ScopeRules(LimitRules(maximum=4), BucketRules(5.0, 8.0), 3600.0, True, 86_400.0)
CLOSED, OPEN = Breaker(), Breaker(BreakerState.OPEN, NOW, NOW + 20)
SWITCH = Gate(CALLS_SWITCH, Rule.SWITCH, closed_until=FOREVER)
TESTED = Breaker(BreakerState.HALF_OPEN, NOW, probes=(("p", NOW + 0.4),))


def _scope(
    name: str = "account:1", *, parked: float = 0, used: float | None = None, rules: ScopeRules = RULES
) -> ScopeState:
    state = ScopeState(Scope.parse(name), rules, NOW)
    if parked:
        state.parking = Parking(NOW + parked, "throttled", NOW)
    if used is not None:
        state.meter.record_usage(used, 0, NOW)
    return state


def _request(
    *states: ScopeState, priority: Priority = Priority.LOW, cost: float = 1.0, breakers: tuple[Breaker, ...] = ()
) -> AdmissionRequest:
    guards = [
        ScopedBreaker(f"source:{number}", breaker, BreakerRules(probes=1)) for number, breaker in enumerate(breakers)
    ]
    return AdmissionRequest(CallRequest((), priority, "meta", cost), states, guards, (0.4, 0.3, 0.2, 0.1), NOW)


def _wait(request: AdmissionRequest) -> tuple[float, str | None] | None:
    found = check_hard_limits(request)
    return None if found is None else (found.seconds if isinstance(found, Wait) else -1.0, found.scope)


def test_the_longest_park_counts() -> None:
    """Of several parked scopes the one that is parked longest, the first of two; a park that has ended is none."""
    short, long, ended = _scope(parked=10), _scope("app:1", parked=30), _scope("app:2")
    ended.parking = Parking(NOW, "throttled", NOW - 60)
    assert _wait(_request(short, long)) == _wait(_request(long, short)) == (30.0, "app:1")
    assert _wait(_request(short, _scope("app:1", parked=10))) == (10.0, "account:1")
    assert _wait(_request(ended)) is None
    assert check_hard_limits(_request(short)) == Wait(10.0, "account:1 is parked for 10 s: throttled", "account:1")
    assert _wait(_request(long, breakers=(OPEN,))) == (30.0, "app:1")


@pytest.mark.parametrize(
    ("used", "priority", "most"),
    [(74.0, Priority.LOW, inf), (75.0, Priority.LOW, 15.0), (95.0, Priority.LOW, None), (95.0, Priority.CRITICAL, 3.0)],
)
def test_calls_stop_at_the_ceiling_of_their_class(used: float, priority: Priority, most: float | None) -> None:
    """At a percent for each call 90 % leave 15 calls above 75 %, critical ones go up to 98 %, and below 75 % all go."""
    if most is not None:
        assert _wait(_request(_scope(used=used), priority=priority, cost=most)) is None
    if most != inf:
        assert _wait(_request(_scope(used=used), priority=priority, cost=(most or 0.0) + 0.5)) == (60.0, "account:1")


def test_a_used_quota_is_checked_again_when_calls_leave_the_window() -> None:
    """After a sixtieth of the window, a minute at most; the reason says who may still call."""
    short = replace(RULES, window_seconds=600.0)
    found = check_hard_limits(_request(_scope(used=95.0, rules=short)))
    assert found == Wait(10.0, "account:1 is at 95 % of its quota; only critical calls go", "account:1")
    full = check_hard_limits(_request(_scope(used=99.0), priority=Priority.CRITICAL))
    assert full == Wait(60.0, "account:1 is at 99 % of its quota", "account:1")


@pytest.mark.parametrize(
    ("gate", "parked", "breaker", "expected"),
    [
        (SWITCH, 90.0, OPEN, (60.0, "switch:calls")),
        (None, 10.0, OPEN, (60.0, "account:1")),
        (None, 90.0, OPEN, (90.0, "app:1")),
        (None, 0.0, OPEN, (60.0, "account:1")),
        (None, 0.0, TESTED, (60.0, "account:1")),
    ],
)
def test_a_used_quota_is_one_of_the_hard_limits(
    gate: Gate | None, parked: float, breaker: Breaker, expected: tuple[float, str]
) -> None:
    """Its wait of a minute comes before a breaker, and counts where it is longer than a park; a switch comes first."""
    request = _request(_scope(used=95.0), _scope("app:1", parked=parked), breakers=(breaker,))
    assert _wait(replace(request, switch=gate)) == expected


def test_an_open_breaker_rejects_and_probes_are_waited_for() -> None:
    """The first open one rejects, wherever it stands; else the call waits for the probe, a second at most."""
    rejected = check_hard_limits(_request(breakers=(CLOSED, TESTED, OPEN)))
    assert rejected == Rejected("source:2 failed too often and is not called for 20 s", 20.0, "source:2")
    assert check_hard_limits(_request(breakers=(CLOSED, TESTED))) == Wait(
        pytest.approx(0.4), "source:1 is being tested by probes", "source:1"
    )
    slow = Breaker(BreakerState.HALF_OPEN, NOW, probes=(("p", NOW + 9),))
    assert _wait(_request(breakers=(slow,))) == (1.0, "source:0")
    assert _wait(_request(breakers=(CLOSED, Breaker(BreakerState.OPEN, NOW - 30, NOW)))) is None


def test_a_call_past_a_breaker_that_is_not_closed_is_a_probe() -> None:
    """Whether it is open or half-open; a call past closed ones is none."""
    found = []
    for state in (CLOSED, Breaker(BreakerState.OPEN, NOW - 30, NOW), Breaker(BreakerState.HALF_OPEN, NOW)):
        budget = SharedBudget(BackpressureSettings(), Random(1))
        budget.breakers["meta"] = state
        grant = budget.admit(CallRequest((), Priority.LOW, "meta"), NOW)
        assert isinstance(grant, Grant)
        found.append(grant.is_probe)
    assert found == [False, True, True]


def test_a_slot_is_polled_for_as_long_as_a_call_takes() -> None:
    """The mean latency by the slots, 50 ms to a second; the first scope without a slot is named."""
    full, free = _scope("app:1"), _scope()
    full.in_flight_by_class = [0, 0, 0, 4]
    for latency, seconds in ((0.0, 0.05), (2.0, 0.5), (100.0, 1.0)):
        full.mean_latency = latency
        assert check_slots(_request(free, full)) == Wait(seconds, "all 4 calls of app:1 are in flight", "app:1")
    assert check_slots(_request(free)) is None
    full.in_flight_by_class = [0, 0, 0, 5]  # let in before the limit was cut
    assert check_slots(_request(full)) == Wait(1.0, "all 4 calls of app:1 are in flight", "app:1")
    full.in_flight_by_class = [0, 0, 0, 3]
    assert check_slots(_request(full)) is None
    full.slot_demand.record_wait(Priority.CRITICAL, NOW)
    kept = check_slots(_request(full))
    assert kept is not None
    assert kept.reason == "the free calls of app:1 are kept for classes other than low"


def test_the_slowest_rate_is_waited_for() -> None:
    """The scope with the longest wait counts, the first of equal ones; without a rate or with tokens none waits."""
    rules = replace(RULES, bucket=BucketRules(1.0, 8.0))
    fast, slow, same = _scope(), _scope("app:1", rules=rules), _scope("app:2", rules=rules)
    fast.bucket.tokens = slow.bucket.tokens = same.bucket.tokens = 0.0
    expected = Wait(1.0, "app:1 is at its rate limit", "app:1")
    assert check_rate(_request(fast, slow)) == check_rate(_request(slow, fast)) == expected
    assert check_rate(_request(slow, same)) == expected
    assert check_rate(_request(_scope(), _scope("app:2", rules=replace(RULES, bucket=None)))) is None
    full = _scope("app:3")
    full.in_flight_by_class = [4, 0, 0, 0]
    assert check_capacity(_request(full, slow)) == expected
    assert check_capacity(_request(full)) == check_slots(_request(full))


def test_of_two_waits_the_longer_counts() -> None:
    """The first one when they are equal; none is no wait."""
    one, same, longer = Wait(1.0, "one"), Wait(1.0, "same"), Wait(2.0, "longer")
    assert longer_wait(one, same) is one
    assert longer_wait(one, longer) is longer_wait(longer, one) is longer
    assert (longer_wait(None, one), longer_wait(one, None), longer_wait(None, None)) == (one, one, None)
