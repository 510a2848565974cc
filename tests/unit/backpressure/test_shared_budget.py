"""Tests of the budget as a value: permits, outcomes, fencing, expiry, and previews."""

from dataclasses import replace
from random import Random

import pytest

from adwarm.backpressure import FLEET, CallOutcome, CallOutcomeKind, CallRequest, Grant, Rejected, SharedBudget, Wait
from adwarm.backpressure.admission import CallsStopped
from adwarm.backpressure.shared_budget import EXPIRED_GRANT_SECONDS
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.foundation.gate import Gate, Rule
from adwarm.model import Priority, Scope, ScopeKind, UsageSample
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


def call(budget: SharedBudget, *scopes: Scope, priority: Priority = Priority.NORMAL, now: float = NOW) -> Grant:
    """Take a permit that must be granted."""
    decision = budget.admit(CallRequest(scopes or (ACCOUNT, APP), priority, "meta"), now)
    assert isinstance(decision, Grant), decision
    return decision


def test_an_old_fencing_token_is_not_accepted() -> None:
    """After a renewal the older copy can neither renew nor release."""
    budget = make()
    old = call(budget)
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
    grants = [call(budget)]
    assert budget.expire_grants(NOW + 29) == []
    assert budget.expire_grants(NOW + 30) == grants
    assert budget.status(NOW + 30).scopes[-1].in_flight == {}
    assert budget.release(grants[0], OK, NOW + 31)
    late = call(budget, now=NOW + 40)
    budget.expire_grants(NOW + 71)
    budget.expire_grants(NOW + 71 + EXPIRED_GRANT_SECONDS)
    assert late.id in budget.grants
    call(budget, OTHER, APP, now=NOW + 72 + EXPIRED_GRANT_SECONDS)
    budget.expire_grants(NOW + 110 + EXPIRED_GRANT_SECONDS)
    assert late.id not in budget.grants


def test_a_preview_takes_no_capacity() -> None:
    """It costs no slot and no token, and makes no class wait."""
    budget = make(max_concurrent=1)
    assert budget.preview(CallRequest((ACCOUNT,), Priority.LOW, "meta"), NOW) is None
    held = call(budget)
    full = budget.preview(CallRequest((OTHER,), Priority.CRITICAL, "meta"), NOW)
    assert isinstance(full, Wait)
    budget.release(held, OK, NOW)

    assert isinstance(budget.admit(CallRequest((OTHER,), Priority.LOW, "meta"), NOW), Grant)


def test_a_call_that_waits_for_the_rate_reserves_no_slots() -> None:
    """Critical waits for a token: low may still take a free slot elsewhere."""
    budget = make(rate_per_second=1.0, burst=1, max_concurrent=20)
    budget.admit(CallRequest((OTHER, APP), Priority.CRITICAL, "meta"), NOW)
    waiting = budget.admit(CallRequest((ACCOUNT, APP), Priority.CRITICAL, "meta"), NOW)
    assert isinstance(waiting, Wait)
    low = budget.admit(CallRequest((ACCOUNT, APP), Priority.LOW, "meta"), NOW)

    assert isinstance(low, Wait)
    assert "at its rate" in low.reason


def test_the_same_calls_give_the_same_budget() -> None:
    """Randomness is injected, so a simulation can be repeated."""
    courses = []
    for _ in range(2):
        admission = LocalAdmission(BackpressureSettings(), rng=Random(7), time=iter(range(1, 1000)).__next__)
        for _ in range(20):
            decision = admission.admit(CallRequest((ACCOUNT, APP), Priority.HIGH, "meta"))
            if isinstance(decision, Grant):
                admission.release(decision, CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 3.0))
        courses.append((str(decision), admission.status().to_dict()))

    assert courses[0] == courses[1]


def test_an_open_breaker_rejects_and_is_probed() -> None:
    """Until its cool-down is over; then the next call is a probe."""
    budget = make(breaker_min_calls=2, breaker_cooldown_seconds=30)
    for _ in range(2):
        budget.release(call(budget), CallOutcome(CallOutcomeKind.FAILED, 0.1), NOW)
    assert isinstance(budget.admit(CallRequest((ACCOUNT,), Priority.LOW, "meta"), NOW), Rejected)
    assert call(budget, now=NOW + 30).is_probe


@pytest.mark.parametrize("cost", [0.0, -1.0, float("nan")])
def test_a_cost_must_be_positive(cost: float) -> None:
    """A call without a cost would bypass the rate."""
    with pytest.raises(BadRequest, match="cost"):
        make().admit(CallRequest((ACCOUNT,), Priority.LOW, "meta", cost), NOW)


def test_an_accounts_cap_holds_in_any_window() -> None:
    """Without figures of the platform, the account's own bucket keeps every window under the cap."""
    budget = make(account_calls_per_window=100, quota_window_seconds=100, per_account_concurrent=10)
    now, made = NOW, []
    while now < NOW + 350:
        decision = budget.admit(CallRequest((ACCOUNT,), Priority.NORMAL, "meta"), now)
        if isinstance(decision, Grant):
            budget.release(decision, OK, now)
            made.append(now)
        else:
            assert isinstance(decision, Wait)
            now += max(0.01, decision.seconds)
    most = max(sum(at <= other < at + 100 for other in made) for at in made)

    assert 95 <= most <= 100


def limits(budget: SharedBudget) -> dict[str, float]:
    """Return the limit of each scope."""
    return {name: budget.scopes[Scope.parse(name)].limit.value for name in sorted(map(str, budget.scopes))}


def test_scopes_are_checked_from_the_narrowest_to_the_fleet() -> None:
    """Whatever their order in the request, and each once."""
    token = Scope(ScopeKind.TOKEN, "t")
    for order in ((token, APP, ACCOUNT), (APP, ACCOUNT, token, APP), (ACCOUNT, token, APP)):
        assert [str(scope) for scope in call(make(), *order).scopes] == [
            "account:act_1",
            "app:main",
            "token:t",
            "fleet",
        ]


def test_a_forged_token_and_a_grant_that_expired_are_not_renewed() -> None:
    """Only the newest token of a grant that counts is accepted; calls that are switched off are not renewed."""
    budget = make()
    grant = call(budget)
    for token in (grant.token - 1, grant.token + 1):
        with pytest.raises(Transient, match="expired"):
            budget.renew(replace(grant, token=token), NOW)
        assert not budget.release(replace(grant, token=token), OK, NOW)
    budget.switch = Gate("switch:calls", Rule.SWITCH, closed_until=NOW + 20, why="a sale")
    for seconds in (0, 19.5):
        with pytest.raises(CallsStopped, match="a sale"):
            budget.renew(grant, NOW + seconds)
    assert budget.renew(grant, NOW + 20).expires_at == NOW + 50


def test_a_human_ends_parks_and_lets_breakers_be_tested() -> None:
    """Named is what changed: scopes that are not parked, and breakers that are closed or unknown, do not."""
    budget = make(breaker_min_calls=2, breaker_cooldown_seconds=30)
    for _ in range(2):
        budget.release(call(budget), CallOutcome(CallOutcomeKind.FAILED, 0.1), NOW)
    call(budget, OTHER, APP)
    budget.scopes[OTHER].park(600, "told to", NOW, Random(1))
    assert isinstance(budget.admit(CallRequest((ACCOUNT,), Priority.LOW, "meta"), NOW), Rejected)
    names = ["meta account:act_1", "meta", "nobody"]
    assert budget.unpark([ACCOUNT, OTHER, Scope(ScopeKind.ACCOUNT, "act_9")], names, NOW) == [
        "account:act_2",
        "meta account:act_1",
    ]
    assert call(budget, ACCOUNT).is_probe
    assert budget.unpark([ACCOUNT, OTHER], names, NOW) == []


def test_a_wait_is_demand_for_what_is_short() -> None:
    """Who waits for a slot takes none of the rate from others, and the other way round; only where it is short."""
    budget = make(max_concurrent=1, rate_per_second=1, burst=1)
    held = call(budget)
    assert isinstance(budget.admit(CallRequest((OTHER, APP), Priority.HIGH, "meta"), NOW + 5), Wait)
    app, fleet = budget.scopes[APP], budget.scopes[FLEET]
    waits = [demand.is_waiting(Priority.HIGH, NOW + 5) for demand in (app.slot_demand, app.rate_demand)]
    assert waits == [True, False]
    assert not fleet.slot_demand.is_waiting(Priority.HIGH, NOW + 5)
    budget.release(held, OK, NOW + 5)
    call(budget, now=NOW + 10)
    budget = make(rate_per_second=1, burst=1)
    call(budget)
    assert isinstance(budget.admit(CallRequest((OTHER, APP), Priority.HIGH, "meta"), NOW), Wait)
    app = budget.scopes[APP]
    waits = [demand.is_waiting(Priority.HIGH, NOW) for demand in (app.slot_demand, app.rate_demand)]
    assert waits == [False, True]


def test_outcomes_move_the_limit_of_every_scope() -> None:
    """A timeout cuts account, app and fleet; a success raises each; a failure and a skipped call change none."""
    budget = make(max_concurrent=10, per_account_concurrent=10, rate_per_second=1_000, burst=1_000)
    budget.release(call(budget), CallOutcome(CallOutcomeKind.TIMEOUT, 30.0), NOW)
    assert limits(budget) == {"account:act_1": 8, "app:main": 8, "fleet": 8}
    grants = [call(budget) for _ in range(8)]
    for kind in (CallOutcomeKind.FAILED, CallOutcomeKind.SKIPPED):
        budget.release(grants.pop(), CallOutcome(kind, 0.1), NOW)
    assert set(limits(budget).values()) == {8}
    budget.release(grants.pop(), OK, NOW)
    assert set(limits(budget).values()) == {8.125}


@pytest.mark.parametrize(
    ("parked", "usage", "cut"),
    [
        (ACCOUNT, None, {"account:act_1", "app:main", "fleet"}),
        (ACCOUNT, 89.0, {"account:act_1"}),
        (OTHER, None, {"account:act_1", "account:act_2", "app:main", "fleet"}),
        (None, None, {"account:act_1", "app:main", "fleet"}),
    ],
)
def test_a_throttle_parks_what_it_names_and_cuts_what_is_overloaded(
    parked: Scope | None, usage: float | None, cut: set[str]
) -> None:
    """A scope at its own quota says nothing about the others; where none is named, the narrowest is parked."""
    budget = make(max_concurrent=10, per_account_concurrent=10)
    grant = call(budget)
    if usage is not None:
        budget.scopes[ACCOUNT].record_usage([UsageSample(ACCOUNT, usage)], 0, NOW, Random(1))
    budget.release(grant, CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), 300.0, parked), NOW)
    assert {name for name, limit in limits(budget).items() if limit == 8} == cut
    assert 300 <= budget.scopes[parked or ACCOUNT].parking.remaining_seconds(NOW) <= 330


def test_figures_reach_the_scope_that_they_name() -> None:
    """Half of its other calls in flight are not in the figure yet; the call itself is, where it drew on the scope."""
    budget = make(max_concurrent=10, per_account_concurrent=10)
    grants = [call(budget) for _ in range(3)] + [call(budget, OTHER)]
    far = Scope(ScopeKind.APP, "far")
    budget.release(
        grants[0], CallOutcome(CallOutcomeKind.OK, 0.1, (UsageSample(APP, 50.0), UsageSample(far, 60.0))), NOW
    )
    assert budget.scopes[far].meter.percent == 60.0
    assert budget.scopes[APP].meter.percent_per_call == 1.0
    assert budget.scopes[APP].meter.estimate_percent(NOW) == 51.0
    assert budget.scopes[OTHER].meter.percent is None


def test_an_expired_grant_is_known_for_ten_minutes() -> None:
    """Then it is forgotten to the second, and its outcome counts no more; tokens are numbered from one."""
    budget = make()
    grant = call(budget)
    assert grant.token == 1
    held = call(budget, OTHER, APP, now=NOW + 595)
    for seconds, is_known in ((629.9, True), (630.0, False)):
        budget.next_expiry = 0.0
        budget.expire_grants(NOW + seconds)
        assert (grant.id in budget.grants) is is_known
    assert not budget.release(grant, OK, NOW + 631)
    assert budget.renew(held, NOW + 620).token == 3


def test_a_park_that_was_cut_is_reported() -> None:
    """With what the platform asked for, of each scope."""
    budget = make()
    for scope, seconds in ((ACCOUNT, 9e9), (OTHER, 60.0)):
        budget.release(call(budget, scope, APP), CallOutcome(CallOutcomeKind.THROTTLED, 0.1, (), seconds, scope), NOW)
    assert budget.scopes[ACCOUNT].overlong_park_seconds == 9e9
