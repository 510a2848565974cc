"""Tests of acquiring a grant for a call."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from adwarm.backpressure import CallOutcome, CallOutcomeKind, CallRequest, Decision, Grant, Wait, acquire_grant
from adwarm.backpressure import Rejected as RefusedDecision
from adwarm.foundation.clock import TimeLimit, TimeLimitReached, VirtualClock, limited, seconds_left
from adwarm.foundation.errors import AdwarmError, Denied, NotAdmitted, Refused, Throttled, TokenDead, Transient
from adwarm.foundation.redaction import redact
from adwarm.model import Priority, Scope, ScopeKind, UsageSample

ACCOUNT = Scope(ScopeKind.ACCOUNT, "act_1")
APP = Scope(ScopeKind.APP, "main")
UNTIL = datetime(2026, 11, 25, 13, tzinfo=UTC)
CALL = CallRequest((ACCOUNT,), Priority.LOW, "meta")
GRANT = Grant("g", (ACCOUNT, APP), Priority.LOW, 1.0, 0.0, 30.0, "meta")


@dataclass
class ScriptedAdmission:
    """Returns scripted decisions, and collects the outcomes of released grants."""

    decisions: list[Decision] = field(default_factory=list)
    outcomes: list[CallOutcome] = field(default_factory=list)

    def admit(self, call: CallRequest) -> Decision:
        return self.decisions.pop(0) if self.decisions else GRANT

    def renew(self, grant: Grant) -> Grant:
        return replace(grant, expires_at=grant.expires_at + 30)

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        self.outcomes.append(outcome)


def test_short_waits_are_slept_through(clock: VirtualClock) -> None:
    """The context sleeps until it is admitted, and the latency is that of the call alone."""
    admission = ScriptedAdmission([Wait(2.0, "full"), Wait(3.0, "full")])
    with acquire_grant(admission, clock, CALL, timeout_seconds=30) as call:
        clock.sleep(1.5)
        call.record_usage([UsageSample(APP, 50.0)])
        call.renew()

    assert call.grant.expires_at == 60
    assert [CallOutcome(CallOutcomeKind.OK, 1.5, (UsageSample(APP, 50.0),))] == admission.outcomes


def test_a_long_wait_raises_not_admitted(clock: VirtualClock) -> None:
    """A wait above the timeout is not slept through: the error names the scope and when to try again."""
    admission = ScriptedAdmission([Wait(600.0, "account:act_1 is parked", "account:act_1")])
    before = clock.now()
    with (
        pytest.raises(NotAdmitted) as caught,
        acquire_grant(admission, clock, CALL, timeout_seconds=30),
    ):
        pytest.fail("the call must not be made")

    assert ("account:act_1", before + timedelta(seconds=600)) == (caught.value.scope, caught.value.until)
    assert (600.0, before, []) == (caught.value.retry_after, clock.now(), admission.outcomes)


def test_many_short_waits_end_at_the_deadline(clock: VirtualClock) -> None:
    """A full fleet holds a caller no longer than its timeout."""
    admission = ScriptedAdmission([Wait(1.0, "full")] * 100)
    before = clock.now()
    with (
        pytest.raises(NotAdmitted),
        acquire_grant(admission, clock, CALL, timeout_seconds=10),
    ):
        pytest.fail("the call must not be made")

    assert timedelta(seconds=10) == clock.now() - before


def test_the_limit_of_a_token_names_its_connection(clock: VirtualClock, subtests: pytest.Subtests) -> None:
    """Errors say whose token is limited, in words that the redaction of credentials leaves as they are."""
    token = "token:0123456789ab"
    for call, owner in [
        (replace(CALL, connection="adwarm_meta_eu"), "connection adwarm_meta_eu"),
        (CALL, "source meta"),
    ]:
        with subtests.test(owner=owner):
            admission = ScriptedAdmission([Wait(600.0, f"{token} is at its rate limit", token)])
            with pytest.raises(NotAdmitted) as caught, acquire_grant(admission, clock, call, timeout_seconds=30):
                pytest.fail("the call must not be made")
            assert redact(str(caught.value)) == f"the token of the {owner} is at its rate limit; try again in 10 min"
            assert caught.value.scope == token


def test_a_rejection_raises_refused(clock: VirtualClock) -> None:
    """An open breaker is not waited for; the error carries the retry hint and the scope."""
    admission = ScriptedAdmission([RefusedDecision("source:meta failed too often", 25.0, "source:meta")])
    with (
        pytest.raises(Refused, match="failed too often") as caught,
        acquire_grant(admission, clock, CALL, timeout_seconds=30),
    ):
        pytest.fail("the call must not be made")

    assert (str(caught.value), caught.value.retry_after) == ("source:meta failed too often", 25.0)
    assert caught.value.scope == "source:meta"


def test_every_error_releases_the_grant(clock: VirtualClock, subtests: pytest.Subtests) -> None:
    """Whatever ends the block releases the slot; a regular refusal does not count against the upstream."""
    for error, kind in (
        (Transient("down"), CallOutcomeKind.FAILED),
        (Transient("slow", code="timeout"), CallOutcomeKind.TIMEOUT),
        (TimeoutError(), CallOutcomeKind.TIMEOUT),
        (TokenDead(), CallOutcomeKind.FAILED),
        (Denied(account_id="act_1"), CallOutcomeKind.OK),
        (KeyError("a bug of ours"), CallOutcomeKind.SKIPPED),
        (NotAdmitted(scope="account:act_1", until=UNTIL), CallOutcomeKind.SKIPPED),
        (Refused(retry_after=3.0), CallOutcomeKind.SKIPPED),
        (KeyboardInterrupt(), CallOutcomeKind.SKIPPED),
    ):
        with subtests.test(error=error, kind=kind):
            admission = ScriptedAdmission()
            with (
                pytest.raises(type(error)),
                acquire_grant(admission, clock, CALL, timeout_seconds=30),
            ):
                raise error

            assert [kind] == [outcome.kind for outcome in admission.outcomes]


@pytest.mark.parametrize(("scope", "parked"), [("app:main", APP), ("nonsense", ACCOUNT)])
def test_a_throttle_parks_the_scope_in_the_error(clock: VirtualClock, scope: str, parked: Scope) -> None:
    """The wait comes from the error; an unknown scope means the narrowest one."""
    admission = ScriptedAdmission()
    with (
        pytest.raises(Throttled),
        acquire_grant(admission, clock, CALL, timeout_seconds=30),
    ):
        raise Throttled(scope=scope, until=clock.now() + timedelta(seconds=90))

    assert [CallOutcome(CallOutcomeKind.THROTTLED, 0.0, (), 90.0, parked)] == admission.outcomes


def test_a_throttle_with_any_time_releases_the_grant(clock: VirtualClock, subtests: pytest.Subtests) -> None:
    """A time at the end of the calendar, in the past or without a zone still releases the slot."""
    for until in (
        datetime.max,
        datetime.max.replace(tzinfo=UTC),
        datetime(2026, 11, 25),
    ):
        with subtests.test(until=until):
            admission = ScriptedAdmission()
            with (
                pytest.raises(Throttled),
                acquire_grant(admission, clock, CALL, timeout_seconds=30),
            ):
                raise Throttled(scope="account:act_1", until=until)

            assert [outcome.kind for outcome in admission.outcomes] == [CallOutcomeKind.THROTTLED]


def test_an_endless_wait_is_cut_to_a_year(clock: VirtualClock, subtests: pytest.Subtests) -> None:
    """No wait of an admission exceeds what a datetime can hold."""
    for seconds in (
        1e12,
        1e300,
        float("inf"),
    ):
        with subtests.test(seconds=seconds):
            admission = ScriptedAdmission([Wait(seconds, "parked", "account:act_1")])
            with (
                pytest.raises(NotAdmitted) as caught,
                acquire_grant(admission, clock, CALL, timeout_seconds=30),
            ):
                pytest.fail("the call must not be made")

            assert caught.value.until - clock.now() == timedelta(days=366)


def test_the_errors_belong_to_the_error_tree() -> None:
    """The errors can be caught by class like every other error."""
    assert issubclass(Throttled, AdwarmError)
    assert issubclass(Refused, AdwarmError)


def test_no_call_begins_after_the_end_of_a_time_limit(clock: VirtualClock) -> None:
    """No grant is requested once the time of the work is over, and none is waited for beyond it."""
    admission = ScriptedAdmission([Wait(20.0, "full")])
    with (
        limited(TimeLimit(0.0, "the account", "ADWARM_ACCOUNT_SECONDS")),
        pytest.raises(TimeLimitReached, match="ADWARM_ACCOUNT_SECONDS"),
        acquire_grant(admission, clock, CALL, timeout_seconds=30),
    ):
        pytest.fail("the call must not be made")
    assert len(admission.decisions) == 1
    with (
        limited(TimeLimit(10.0, "the account", "ADWARM_ACCOUNT_SECONDS")),
        pytest.raises(NotAdmitted),
        acquire_grant(admission, clock, CALL, timeout_seconds=30),
    ):
        pytest.fail("the call must not be made")
    assert admission.decisions == admission.outcomes == []


def test_a_grant_begins_the_time_of_its_call(clock: VirtualClock) -> None:
    """The wait for admission is not a part of the call's time."""
    admission = ScriptedAdmission([Wait(20.0, "full")])
    with limited(TimeLimit(5.0, "the call", "SETTING", waits_for_call=True)):
        with acquire_grant(admission, clock, CALL, timeout_seconds=30):
            assert 0 < seconds_left() <= 5
        assert seconds_left() <= 5
