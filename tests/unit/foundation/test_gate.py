"""The one answer to whether a call may be made, for each reason that there is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.gate import FOREVER, Gate, GateState, OpenedBy, Rule, may_call

NOW = 10_000.0
OPEN, TESTED = {"state": "open"}, {"state": "half_open"}
SWITCH = Gate("switch:calls", Rule.SWITCH, NOW - 60, FOREVER, "calls are switched off", OpenedBy.PERSON)
PARK = Gate("account:act_1", Rule.PARK, NOW - 60, NOW + 300, "the platform throttled it", OpenedBy.TIME)
BREAKER = Gate("source:meta", Rule.BREAKER, NOW - 10, NOW + 20, "9 of 10 calls failed", data=OPEN)
ISOLATION = Gate("account:act_1", Rule.ISOLATION, NOW - 10, NOW + 290, "5 of 5 calls failed", data=OPEN)
DEAD_TOKEN = Gate("connection:main", Rule.ISOLATION, NOW, NOW + 300, "TokenDead", OpenedBy.CREDENTIAL, data=OPEN)
STOP = Gate("batch", Rule.STOP, NOW - 60, FOREVER, "the batch took longer than 3600 s", OpenedBy.TIME)
DENIAL = Gate("connection:main account:act_1", Rule.DENIAL, NOW, NOW + 86_400, "no role on it", OpenedBy.CREDENTIAL)
REASONS = {
    "one batch is stopped": STOP,
    "a person switched calls off": SWITCH,
    "the platform asked for a pause": PARK,
    "calls of a source failed": BREAKER,
    "calls of an account failed": replace(BREAKER, scope="source:meta account:act_1"),
    "work of an account kept failing": ISOLATION,
    "a token is dead": DEAD_TOKEN,
    "a connection may not read an account": DENIAL,
}


@pytest.mark.parametrize("name", REASONS)
def test_each_reason_forbids_calls_until_its_gate_opens(name: str) -> None:
    """No call passes before the end; after it, and with an open gate, calls pass."""
    gate = REASONS[name]
    assert gate.closed_until is not None
    assert may_call([gate], NOW) is gate
    assert may_call([gate], gate.closed_until - 0.001) is gate
    assert may_call([gate], gate.closed_until) is None
    assert may_call([replace(gate, closed_until=None)], NOW) is None


def test_the_first_rule_decides_then_the_longest_end() -> None:
    """A switch comes before a park, a park before failures; of two parks the longer one; nothing forbids nothing."""
    longer = replace(PARK, scope="app:1", closed_until=NOW + 400)
    everything = [ISOLATION, BREAKER, PARK, longer, SWITCH]
    assert may_call(everything, NOW) is SWITCH
    assert may_call(everything[:-1], NOW) is longer
    assert may_call([ISOLATION, BREAKER], NOW) is BREAKER
    assert may_call([], NOW) is None


def test_a_gate_that_lets_no_probe_pass_decides_before_one_that_does() -> None:
    """An account's breaker that is being tested does not hide that its source is closed."""
    tested = replace(BREAKER, scope="source:meta account:act_1", closed_until=NOW + 25, data=TESTED)
    assert (tested.state, BREAKER.state) == (GateState.TESTING, GateState.CLOSED)
    assert may_call([tested, BREAKER], NOW) is BREAKER


def test_one_account_says_nothing_of_the_others() -> None:
    """The gates of a call are those of its own scopes: what one account closes is no gate of another's call."""
    guarded = [gate.account_id for gate in REASONS.values()]
    assert guarded == [None, None, "act_1", None, "act_1", "act_1", None, "act_1"]


def test_what_is_shown_has_an_end_only_while_no_call_passes() -> None:
    """One that is tested has none, nor one that a person opens; a time that no date can hold is shown as the latest."""
    assert [replace(BREAKER, data=TESTED).to_dict()["until"], SWITCH.to_dict()["until"]] == [None, None]
    assert replace(PARK, closed_until=1e300).to_dict()["until"].year == 9999
    assert PARK.to_dict()["since"].timestamp() == NOW - 60


@given(st.lists(st.sampled_from([*REASONS.values()])), st.floats(0, 20_000))
def test_a_call_may_be_made_when_every_gate_lets_it(gates: list[Gate], now: float) -> None:
    """`may_call` names a gate exactly when one is closed, and never one that is open."""
    closed = [gate for gate in gates if gate.remaining_seconds(now) > 0]
    found = may_call(gates, now)
    assert (found is None) == (not closed)
    assert found is None or found in closed


def test_a_wrong_clock_prolongs_nothing() -> None:
    """A gate is closed for no longer than its rule allows, whatever is stored."""
    assert PARK.bounded(NOW, 100).remaining_seconds(NOW) == 100
    assert PARK.bounded(NOW, 1_000) is PARK
