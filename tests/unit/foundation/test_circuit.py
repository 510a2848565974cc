"""Tests of the circuit breaker."""

import json
from dataclasses import replace

import msgspec
import pytest
from msgspec.structs import replace as replace_struct

from adwarm.foundation.circuit import Breaker, BreakerRules, BreakerState, IntervalCounts

RULES = BreakerRules(window_seconds=60, min_calls=10, cooldown_seconds=30, probes=3)
SHARED = replace(RULES, min_accounts=3)


def call(breaker: Breaker, now: float, ticket: str, *, failed: bool) -> Breaker:
    """Let one call pass and end."""
    assert breaker.wait_seconds(RULES, now) == 0
    return breaker.after_admission(now, ticket, now + 30).after_call(RULES, now, ticket, failed=failed)


def shared_call(breaker: Breaker, now: float, ticket: str, account: str | None, *, failed: bool) -> Breaker:
    """Let one call of an account pass a shared breaker and end."""
    assert breaker.wait_seconds(SHARED, now) == 0
    passed = breaker.after_admission(now, ticket, now + 30)
    return passed.after_call(SHARED, now, ticket, failed=failed, account=account)


def opened(now: float = 1000.0) -> Breaker:
    """A breaker that ten failures opened."""
    breaker = Breaker()
    for index in range(10):
        breaker = call(breaker, now, f"f{index}", failed=True)
    return breaker


def test_seven_errors_in_a_thousand_calls_do_not_open_it() -> None:
    """The error rate decides, not the count."""
    breaker = Breaker()
    for index in range(1000):
        breaker = call(breaker, 1000 + index / 100, str(index), failed=index % 143 == 0)

    assert BreakerState.CLOSED is breaker.state


def test_it_needs_a_minimum_volume() -> None:
    """Nine failures out of nine are too few; the tenth opens it."""
    breaker = Breaker()
    for index in range(9):
        breaker = call(breaker, 1000, str(index), failed=True)

    assert BreakerState.CLOSED is breaker.state
    assert BreakerState.OPEN is call(breaker, 1000, "9", failed=True).state


def test_old_failures_leave_the_window() -> None:
    """Failures older than the window do not count."""
    breaker = Breaker()
    for index in range(9):
        breaker = call(breaker, 1000, str(index), failed=True)

    assert BreakerState.CLOSED is call(breaker, 1061, "late", failed=True).state


def test_probes_close_it_again() -> None:
    """After the cool-down three successful probes close it and reset the openings in a row."""
    breaker = opened()
    assert breaker.wait_seconds(RULES, 1000) == 30
    for index in range(3):
        breaker = call(breaker, 1030 + index, f"p{index}", failed=False)

    assert (breaker.state, breaker.openings_in_a_row) == (BreakerState.CLOSED, 0)


def test_every_cool_down_is_the_same() -> None:
    """However often probes have failed, the upstream is tested again one cool-down later."""
    breaker, now, waits = opened(), 1000.0, []
    for index in range(8):
        waits.append(breaker.wait_seconds(RULES, now))
        now += waits[-1]
        breaker = call(breaker, now, f"p{index}", failed=True)

    assert waits == [30] * 8
    assert breaker.reason == "a test call failed; this is pause 9 in a row"


def test_one_account_cannot_open_a_shared_breaker() -> None:
    """A hundred failures of one account, and a few of another, are too few accounts for a source."""
    breaker = Breaker()
    for index in range(100):
        breaker = shared_call(breaker, 1000, str(index), "act_1", failed=True)
    for index in range(4):
        breaker = shared_call(breaker, 1000, f"b{index}", "act_2", failed=True)

    breaker = shared_call(breaker, 1000, "c", "act_3", failed=True)
    assert BreakerState.CLOSED is breaker.state
    assert BreakerState.OPEN is shared_call(breaker, 1000, "d", "act_3", failed=True).state


def test_failures_beyond_an_accounts_cap_do_not_count() -> None:
    """One account fails without end and two fail once among twenty healthy calls: the source stays open to calls."""
    breaker = Breaker()
    for index in range(20):
        breaker = shared_call(breaker, 1000, f"ok{index}", f"act_{index}", failed=False)
    for index in range(200):
        breaker = shared_call(breaker, 1001, f"bad{index}", "act_100", failed=True)
    for account in ("act_101", "act_102"):
        breaker = shared_call(breaker, 1002, account, account, failed=True)

    assert BreakerState.CLOSED is breaker.state


def test_calls_about_no_single_account_count_as_accounts() -> None:
    """A failed list of accounts, or a failed poll of many reports, is a failure of the upstream."""
    breaker = Breaker()
    for index in range(10):
        breaker = shared_call(breaker, 1000, str(index), None, failed=True)

    assert BreakerState.OPEN is breaker.state
    assert BreakerState.OPEN is shared_call(breaker, 1030, "probe", None, failed=True).state


def test_failed_probes_of_one_account_do_not_reopen_a_shared_breaker() -> None:
    """Healthy accounts can close it; failed probes of three accounts reopen it."""
    breaker = Breaker()
    for index in range(10):
        breaker = shared_call(breaker, 1000, str(index), f"act_{index % 4}", failed=True)
    for index in range(5):
        breaker = shared_call(breaker, 1030, f"bad{index}", "act_1", failed=True)
    assert BreakerState.HALF_OPEN is breaker.state
    healed = breaker
    for index in range(3):
        healed = shared_call(healed, 1031, f"ok{index}", f"act_{index + 50}", failed=False)
    assert BreakerState.CLOSED is healed.state
    for account in ("act_2", "act_3"):
        breaker = shared_call(breaker, 1031, account, account, failed=True)

    assert (breaker.state, breaker.wait_seconds(SHARED, 1031)) == (BreakerState.OPEN, 30)


def test_many_failing_accounts_are_counted_without_naming_all() -> None:
    """The stored row stays small, and a thousand failing accounts open it like three."""
    breaker = Breaker()
    slack = replace(SHARED, min_calls=1000)
    for index in range(999):
        breaker = breaker.after_call(slack, 1000, str(index), failed=True, account=f"act_{index}")

    assert len(json.dumps(breaker.to_dict())) < 1_000
    assert BreakerState.OPEN is breaker.after_call(slack, 1000, "last", failed=True, account="act_1000").state


def test_half_open_lets_only_the_probes_pass() -> None:
    """The fourth caller waits; a dead probe's place is free at its expiry; a neutral outcome frees it at once."""
    breaker = opened()
    for index in range(3):
        breaker = breaker.after_admission(1030, f"p{index}", 1060)

    assert breaker.wait_seconds(RULES, 1030) == 30
    assert breaker.wait_seconds(RULES, 1060) == 0
    assert breaker.without_probe("p1").wait_seconds(RULES, 1031) == 0


def test_late_outcomes_do_not_change_it() -> None:
    """The outcome of a call from before the opening neither closes nor reopens it."""
    breaker = opened()

    assert breaker == breaker.after_call(RULES, 1001, "f0", failed=False)
    half = breaker.after_admission(1030, "p0", 1060)
    assert half == half.after_call(RULES, 1031, "f0", failed=True)


def test_a_recovery_rate_tolerates_failed_probes() -> None:
    """At 0.8 of five probes, four successes close it in any order with one failure; a second failure reopens it."""
    rules = replace(RULES, probes=5, recovery_rate=0.8)
    half_open = opened().after_unadmitted_call(rules, 1030, failed=True)
    assert BreakerState.HALF_OPEN is half_open.state
    closed = half_open
    for _ in range(4):
        closed = closed.after_unadmitted_call(rules, 1030, failed=False)

    assert BreakerState.CLOSED is closed.state
    assert BreakerState.OPEN is half_open.after_unadmitted_call(rules, 1030, failed=True).state


def test_an_unadmitted_call_during_the_cool_down_does_not_count() -> None:
    """Its outcome changes nothing."""
    breaker = opened()

    assert breaker == breaker.after_unadmitted_call(RULES, 1029, failed=False)


GROWING = replace(RULES, cooldown_growth=2.0, max_cooldown_seconds=100.0)


def _fail_probe(breaker: Breaker, now: float) -> Breaker:
    return breaker.after_unadmitted_call(GROWING, now, failed=True)


def test_a_growing_cool_down_doubles_up_to_its_maximum() -> None:
    """Each failed probe makes it longer; the wait is never above the maximum."""
    breaker, now, waits = opened(), 1000.0, []
    for _ in range(4):
        waits.append(breaker.wait_seconds(GROWING, now))
        now += waits[-1]
        breaker = _fail_probe(breaker, now)

    assert waits == [30, 60, 100, 100]


def test_growth_outlives_a_recovery_for_one_window() -> None:
    """A breaker that opens again right after it closed waits longer; after a closed window it starts anew."""
    for quiet_seconds, wait in ((10.0, 60.0), (60.0, 30.0)):
        breaker, now = opened(), 1030.0
        for _ in range(3):
            breaker = breaker.after_unadmitted_call(GROWING, now, failed=False)
        assert breaker.state is BreakerState.CLOSED
        now += quiet_seconds
        for _ in range(10):
            breaker = breaker.after_unadmitted_call(GROWING, now, failed=True)
        assert breaker.wait_seconds(GROWING, now) == wait


def test_thousands_of_openings_do_not_overflow() -> None:
    """The cool-down stays at its maximum."""
    assert replace(GROWING, max_cooldown_seconds=1e300).cooldown_after(100_000) < 1e300
    assert GROWING.cooldown_after(100_000) == 100


def test_fewer_failures_than_required_never_open_it() -> None:
    """Where a number of failures is required, the rate alone does not open it."""
    rules = replace(RULES, min_calls=4, min_failures=4)
    breaker = Breaker()
    for failed in (False, True, True, True):
        breaker = breaker.after_unadmitted_call(rules, 1000, failed=failed)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.count_failures(rules, 1000) == 3

    assert breaker.after_unadmitted_call(rules, 1000, failed=True).state is BreakerState.OPEN


def test_a_busy_upstream_that_fails_completely_opens_it_within_a_tenth_of_the_window() -> None:
    """A minute of successes does not hide an outage; single successes and single accounts do not open it."""
    rules = replace(SHARED, opens_on_burst=True)
    healthy = Breaker()
    for index in range(600):
        healthy = healthy.after_call(rules, 1000 + index / 10, "ok", failed=False, account="act_1")

    def fail(names: list[str], successes: int = 0) -> Breaker:
        breaker = healthy
        for index in range(successes):
            breaker = breaker.after_call(rules, 1062, f"s{index}", failed=False, account="act_9")
        for index, name in enumerate(names):
            breaker = breaker.after_call(rules, 1062, f"f{index}", failed=True, account=name)
        return breaker

    several = [f"act_{index % 5}" for index in range(10)]
    assert fail(several).state is BreakerState.OPEN
    assert fail(several).reason == "all 10 calls of 5 accounts or more failed in 6 s"
    assert fail(several[:9]).state is BreakerState.CLOSED
    assert fail(several, successes=1).state is BreakerState.CLOSED
    assert fail(["act_1"] * 50).state is BreakerState.CLOSED
    assert fail(["act_1", "act_2"] * 50).state is BreakerState.CLOSED


def test_a_burst_is_no_condition_for_opening() -> None:
    """Where the window as a whole fails, single successes in its last tenth leave nothing open."""
    rules = replace(SHARED, opens_on_burst=True)
    breaker = Breaker()
    for index, failed in enumerate([False] * 10 + [True] * 9):
        breaker = breaker.after_call(rules, 1000, f"a{index}", failed=failed, account=f"act_{index % 5}")
    assert breaker.state is BreakerState.CLOSED
    for index, failed in enumerate([False, True, True, True]):
        breaker = breaker.after_call(rules, 1010, f"b{index}", failed=failed, account=f"act_{index}")
    assert breaker.state is BreakerState.OPEN


def test_counts_are_stored_as_a_list() -> None:
    """The names of ten intervals a breaker would be most of its row."""
    assert msgspec.json.encode(IntervalCounts(100, 5, 3, (("act_1", 3),))) == b'[100,5,3,[["act_1",3]]]'


def test_half_the_calls_of_a_minute_open_it_by_default() -> None:
    """Ten calls at least; half a minute later three probes have to succeed, and nothing grows."""
    assert BreakerRules() == BreakerRules(0.5, 60.0, 10, 30.0, 3, 1, 1.0, 0, False, 1.0, 0.0)
    assert Breaker() == Breaker(BreakerState.CLOSED, 0.0, 0.0, (), 0, (), 0, ())
    breaker = Breaker()
    for index in range(10):
        breaker = call(breaker, 1000, str(index), failed=index % 2 == 1)
    assert breaker.state is BreakerState.OPEN
    assert breaker.reason == "5 of 10 calls failed in 60 s"
    breaker = Breaker()
    for index in range(11):
        breaker = call(breaker, 1000, str(index), failed=index > 5)
    assert breaker.state is BreakerState.CLOSED


def test_a_call_counts_for_ten_intervals() -> None:
    """A tenth of the window is counted together, so a call leaves it with its whole interval."""
    breaker = call(call(Breaker(), 1000, "a", failed=True), 1003, "b", failed=False)
    assert breaker.intervals == (IntervalCounts(166, 1, 1), IntervalCounts(167, 1, 0))
    assert [breaker.error_rate(RULES, now) for now in (1055.9, 1056.0, 1062.0)] == [(0.5, 2), (0.0, 1), (0.0, 0)]
    assert [breaker.has_failures(RULES, now) for now in (1055.9, 1056.0)] == [True, False]
    again = call(breaker, 1002, "c", failed=True)
    assert again.intervals[-1] == IntervalCounts(167, 2, 1)
    assert again.count_failures(RULES, 1003) == 2


def test_an_open_breaker_waits_for_its_first_probe() -> None:
    """Never longer than a cool-down, should the clock be set back; a human may ask for the probe at once."""
    breaker = opened()
    assert [breaker.wait_seconds(RULES, now) for now in (0.0, 1000.0, 1029.0, 1030.0, 2000.0)] == [30, 30, 1, 0, 0]
    assert breaker.tested_now(1010.0) == replace_struct(breaker, probe_at=1010.0)
    for other in (breaker.tested_now(1030.0), breaker.tested_now(1031.0)):
        assert other is breaker
    half_open = breaker.after_admission(1030.0, "p", 1060.0)
    assert half_open.tested_now(1000.0) is half_open
    assert (half_open.changed_at, half_open.probes) == (1030.0, (("p", 1060.0),))
    assert half_open.after_admission(1060.0, "q", 1090.0).probes == (("q", 1090.0),)
    assert half_open.after_admission(1059.0, "q", 1090.0).probes == (("p", 1060.0), ("q", 1090.0))
    full = half_open.after_admission(1031.0, "q", 1050.0)
    assert full.wait_seconds(replace(RULES, probes=2), 1040.0) == 10
    assert full.wait_seconds(replace(RULES, probes=1), 1040.0) == 20
    assert full.wait_seconds(RULES, 1040.0) == 0
    spent = replace_struct(half_open, successful_probes=3, probes=())
    assert spent.wait_seconds(RULES, 1040.0) == 0


@pytest.mark.parametrize(
    ("probes", "rate", "required"), [(3, 1.0, 3), (5, 0.8, 4), (3, 0.67, 3), (100, 0.07, 7), (3, 0.0, 1), (4, 0.5, 2)]
)
def test_a_share_of_the_probes_must_succeed(probes: int, rate: float, required: int) -> None:
    """One at least, in whole probes; a product that exceeds one by rounding does not count as more."""
    assert BreakerRules(probes=probes, recovery_rate=rate).required_successes == required


def test_a_shared_breaker_counts_each_account_to_its_cap() -> None:
    """Ten calls of three accounts: four failures of each count; sixteen accounts of an interval are named."""
    assert [replace(RULES, min_accounts=accounts).account_cap for accounts in (1, 3, 5)] == [10, 4, 2]
    rules, breaker = replace(SHARED, min_calls=1000), Breaker()
    for index in [*range(17), 3, 20]:
        breaker = breaker.after_call(rules, 1000, str(index), failed=True, account=f"act_{index}")
    named = dict(breaker.intervals[0].failures_by_account)
    assert (len(named), named["act_3"], "act_16" in named, breaker.intervals[0].failures) == (16, 2, False, 19)
    alone = Breaker().after_call(RULES, 1000, "a", failed=True, account="act_1")
    assert alone.intervals[0].failures_by_account == ()
    healthy = Breaker().after_call(SHARED, 1000, "a", failed=False, account="act_1")
    assert healthy.intervals[0].failures_by_account == ()


def test_cool_downs_grow_with_openings() -> None:
    """The first is not longer; the maximum bounds only growth."""
    assert [GROWING.cooldown_after(openings) for openings in (0, 1, 2, 3)] == [30, 30, 60, 100]
    assert replace(GROWING, max_cooldown_seconds=10.0).cooldown_after(3) == 30
    assert RULES.cooldown_after(9) == 30
    closed = opened().after_unadmitted_call(replace(RULES, probes=1), 1030, failed=False)
    assert (closed.state, closed.changed_at, closed.openings_in_a_row) == (BreakerState.CLOSED, 1030, 0)
    grown = opened().after_unadmitted_call(replace(GROWING, probes=1), 1030, failed=False)
    assert grown.openings_in_a_row == 1
