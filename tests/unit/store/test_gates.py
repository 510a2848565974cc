"""The one list of what is not called now, and what is not in it."""

from sqlalchemy import Engine

from adwarm.foundation.gate import FOREVER, Gate, OpenedBy, Rule
from adwarm.store import write_transaction
from adwarm.store.gates import SqlGates, list_closed, save_gates

NOW = 10_000.0
SWITCH = Gate("switch:calls", Rule.SWITCH, NOW - 60, FOREVER, "calls are switched off", OpenedBy.PERSON)
PARK = Gate("account:act_1", Rule.PARK, NOW - 60, NOW + 300, "the platform throttled it", OpenedBy.TIME, NOW + 300)
TESTED = Gate("source:meta", Rule.BREAKER, NOW - 60, NOW - 30, "9 of 10 calls failed", data={"state": "half_open"})
TOMORROW = NOW + 86_400
DENIAL = Gate("connection:main account:act_2", Rule.DENIAL, NOW, TOMORROW, "no role", OpenedBy.CREDENTIAL, TOMORROW)
COOLDOWN = Gate("healing:token_refresh:main", Rule.COOLDOWN, NOW, NOW + 60, "it runs", OpenedBy.TIME, NOW + 60)


def _store(engine: Engine, *gates: Gate) -> None:
    with write_transaction(engine) as connection:
        save_gates(connection, list(gates))


def test_the_list_has_each_rule_that_forbids_a_call(engine: Engine) -> None:
    """Shared scopes come first, then what is closed longest; a cool-down of a healing action forbids no call."""
    _store(engine, PARK, TESTED, COOLDOWN, DENIAL, SWITCH)
    assert list_closed(engine, NOW) == [SWITCH, TESTED, DENIAL, PARK]
    assert list_closed(engine, NOW + 300) == [SWITCH, TESTED, DENIAL]


def test_a_gate_is_found_by_scope_and_rule(engine: Engine) -> None:
    """One that is over is found until maintenance deletes it; one of another rule is not."""
    _store(engine, PARK, COOLDOWN)
    gates = SqlGates(engine)
    assert gates.find(COOLDOWN.scope, Rule.COOLDOWN) == COOLDOWN
    assert gates.find(PARK.scope, Rule.ISOLATION) is None
    assert gates.delete_ended(NOW + 61) == 1
    assert gates.find(COOLDOWN.scope, Rule.COOLDOWN) is None
