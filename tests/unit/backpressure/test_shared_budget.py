"""Tests of the budget as a value: blocks, fencing, expiry, and previews."""

from random import Random

import pytest

from adwarm.backpressure import (
    CallOutcome,
    CallOutcomeKind,
    Grant,
    Granted,
    Rejected,
    SharedBudget,
    Wait,
)
from adwarm.backpressure.shared_budget import EXPIRED_GRANT_SECONDS
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings
from tests.simulation.local_admission import LocalAdmission

NOW = 1_764_072_000.0
ACCOUNT = Scope(ScopeKind.ACCOUNT, "act_1")
OTHER = Scope(ScopeKind.ACCOUNT, "act_2")
APP = Scope(ScopeKind.APP, "main")
OK = CallOutcome(CallOutcomeKind.OK, 0.5)


def make(**changes: object) -> SharedBudget:
    """Return a fresh budget."""
    return SharedBudget(BackpressureSettings(**changes), Random(1))


def block(budget: SharedBudget, now: float = NOW, scope: Scope = ACCOUNT, permits: int = 8) -> Grant:
    """Take a block that must be granted."""
    decision = budget.acquire_block((scope, APP), Priority.NORMAL, source="meta", now=now, permits=permits)
    assert isinstance(decision, Granted), decision
    return decision.grant


def test_a_block_is_charged_in_full_and_refunded_in_part() -> None:
    """Tokens are taken with the block; those of calls that were not made return."""
    budget = make(rate_per_second=0.001, burst=100)
    grant = block(budget)
    assert budget.status(NOW).scopes[-1].tokens == pytest.approx(92)
    budget.release_blocks([(grant, [OK, OK], 6)], NOW)

    assert budget.status(NOW).scopes[-1].tokens == pytest.approx(98)


def test_a_block_holds_at_most_half_of_the_tokens() -> None:
    """Scarce tokens are taken one by one."""
    assert block(make(rate_per_second=1.0, burst=6)).permits == 3
    assert block(make(rate_per_second=1.0, burst=1)).permits == 1


def test_a_block_is_short_compared_with_the_quota_window() -> None:
    """Two seconds, or a hundredth of the window."""
    assert block(make()).usable_until == NOW + 2
    assert block(make(quota_window_seconds=30)).usable_until == NOW + 0.3


def test_a_block_may_not_outlive_its_lease() -> None:
    """A call after the lease would run beside that of the next holder."""
    assert block(make(lease_seconds=1)).usable_until == NOW + 1


def test_an_old_fencing_token_is_not_accepted() -> None:
    """After a renewal the older copy can neither renew nor release."""
    budget = make()
    old = block(budget)
    new = budget.renew(old, NOW)

    assert new.token > old.token
    with pytest.raises(Transient, match="expired"):
        budget.renew(old, NOW)
    assert not budget.release(old, OK, NOW)
    assert budget.release(new, OK, NOW)
    assert not budget.release(new, OK, NOW)


def test_an_expired_grant_frees_its_slot_and_its_outcome_still_counts() -> None:
    """Its call was made, so its outcome counts once, for ten minutes."""
    budget = make(max_concurrent=1)
    grants = [block(budget)]
    assert budget.expire_grants(NOW + 29) == []
    assert budget.expire_grants(NOW + 30) == grants
    assert budget.status(NOW + 30).scopes[-1].in_flight == {}
    assert budget.release(grants[0], OK, NOW + 31)
    late = block(budget, NOW + 40)
    budget.expire_grants(NOW + 71)
    budget.expire_grants(NOW + 71 + EXPIRED_GRANT_SECONDS)
    assert late.id in budget.grants
    block(budget, NOW + 72 + EXPIRED_GRANT_SECONDS, OTHER)
    budget.expire_grants(NOW + 110 + EXPIRED_GRANT_SECONDS)
    assert late.id not in budget.grants


def test_a_preview_takes_no_capacity() -> None:
    """It costs no slot and no token, and makes no class wait."""
    budget = make(max_concurrent=1)
    assert budget.preview((ACCOUNT,), Priority.LOW, source="meta", now=NOW) is None
    held = block(budget)
    full = budget.preview((OTHER,), Priority.CRITICAL, source="meta", now=NOW)
    assert isinstance(full, Wait)
    assert budget.check_hard_limits((OTHER,), Priority.LOW, source="meta", now=NOW) is None
    budget.release(held, OK, NOW)

    assert isinstance(budget.admit((OTHER,), Priority.LOW, source="meta", now=NOW), Granted)


def test_a_call_that_waits_for_the_rate_reserves_no_slots() -> None:
    """Critical waits for a token: low may still take a free slot elsewhere."""
    budget = make(rate_per_second=1.0, burst=1, max_concurrent=20)
    budget.admit((OTHER, APP), Priority.CRITICAL, source="meta", now=NOW)
    waiting = budget.admit((ACCOUNT, APP), Priority.CRITICAL, source="meta", now=NOW)
    assert isinstance(waiting, Wait)
    low = budget.admit((ACCOUNT, APP), Priority.LOW, source="meta", now=NOW)

    assert isinstance(low, Wait)
    assert "at its rate" in low.reason


def test_the_same_calls_give_the_same_budget() -> None:
    """Randomness is injected, so a simulation can be repeated."""
    courses = []
    for _ in range(2):
        admission = LocalAdmission(BackpressureSettings(), rng=Random(7), time=iter(range(1, 1000)).__next__)
        for _ in range(20):
            decision = admission.admit((ACCOUNT, APP), Priority.HIGH, source="meta")
            if isinstance(decision, Granted):
                admission.release(decision.grant, CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 3.0))
        courses.append((str(decision), admission.status().to_dict()))

    assert courses[0] == courses[1]


def test_an_open_breaker_rejects_and_is_probed_call_by_call() -> None:
    """A block never holds more than one probe."""
    budget = make(breaker_min_calls=2, breaker_cooldown_seconds=30)
    for _ in range(2):
        budget.release(block(budget, permits=1), CallOutcome(CallOutcomeKind.FAILED, 0.1), NOW)
    assert isinstance(budget.acquire_block((ACCOUNT,), Priority.LOW, source="meta", now=NOW, permits=8), Rejected)

    probe = block(budget, NOW + 30)
    assert (probe.is_probe, probe.permits) == (True, 1)


@pytest.mark.parametrize("cost", [0.0, -1.0, float("nan")])
def test_a_cost_must_be_positive(cost: float) -> None:
    """A call without a cost would bypass the rate."""
    with pytest.raises(BadRequest, match="cost"):
        make().admit((ACCOUNT,), Priority.LOW, cost, source="meta", now=NOW)


def test_an_accounts_cap_holds_in_any_window() -> None:
    """Without figures of the platform, the account's own bucket keeps every window under the cap."""
    budget = make(account_calls_per_window=100, quota_window_seconds=100, per_account_concurrent=10)
    now, made = NOW, []
    while now < NOW + 350:
        decision = budget.admit((ACCOUNT,), Priority.NORMAL, source="meta", now=now)
        if isinstance(decision, Granted):
            budget.release(decision.grant, OK, now)
            made.append(now)
        else:
            assert isinstance(decision, Wait)
            now += max(0.01, decision.seconds)
    most = max(sum(at <= other < at + 100 for other in made) for at in made)

    assert 95 <= most <= 100
