"""What `adwarm status` tells of the budget: limits, grants, what is parked and what is broken, since when and why."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from adwarm.backpressure import CallOutcome, CallOutcomeKind, Granted
from adwarm.model import Priority, Scope
from adwarm.recovery import Alert
from adwarm.runtime import Runtime


def _settle(runtime: Runtime, scope: str, outcome: CallOutcome) -> None:
    decision = runtime.admission.admit([Scope.parse(scope)], Priority.HIGH, source="meta")
    assert isinstance(decision, Granted)
    runtime.admission.release(decision.grant, outcome)


def test_status_says_what_is_held_back_and_why(adwarm: Callable[..., Any]) -> None:
    """Calls in flight by class, parked scopes with since, until and why, and open breakers with what opened them."""
    quiet = adwarm("status").stdout
    runtime = Runtime()
    for _ in range(runtime.settings.backpressure.breaker_min_calls - 1):
        _settle(runtime, "account:act_2", CallOutcome(CallOutcomeKind.FAILED))
    runtime.admission.admit([Scope.parse("account:act_3")], Priority.LOW, source="meta")
    _settle(runtime, "account:act_1", CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600))
    _settle(runtime, "account:act_2", CallOutcome(CallOutcomeKind.FAILED))
    document = adwarm("status", "--json").json["admission"]
    shown = adwarm("status").stdout

    [parked] = [scope for scope in document["scopes"] if scope["parked_until"]]
    source, breaker = document["breakers"]
    assert "every scope may be called" in quiet
    assert (parked["scope"], source["account"], source["state"]) == ("account:act_1", None, "closed")
    assert (breaker["source"], breaker["account"], breaker["state"]) == ("meta", "act_2", "open")
    assert parked["parked_since"] < parked["parked_until"]
    assert parked["parked_why"]
    assert breaker["why"]
    assert all(words in shown for words in ("low 1", "act_1", "throttled", breaker["why"].split()[0]))


def test_many_parked_accounts_do_not_hide_the_rest(adwarm: Callable[..., Any]) -> None:
    """Of many parked accounts the first ones are shown, and how many there are."""
    adwarm("status")
    runtime = Runtime()
    for number in range(25):
        _settle(runtime, f"account:act_{number}", CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=600))

    assert "the first 20 of 25" in adwarm("status").stdout


def test_a_silence_of_ages_is_cut_and_a_person_is_told(adwarm: Callable[..., Any]) -> None:
    """A platform that asks for a billion minutes gets a day, status can show it, and one alert is on its way."""
    adwarm("status")
    runtime, heard = Runtime(), list[Alert]()
    runtime.pipeline._alerts._sink = SimpleNamespace(alert=heard.append)  # type: ignore[assignment]
    for _ in range(2):
        _settle(runtime, f"account:act_{len(heard)}", CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=6e10))
    shown = adwarm("status", "--json").json["admission"]["scopes"]

    assert [(alert.source, alert.kind) for alert in heard] == [
        ("account:act_0", "OverlongPark"),
        ("account:act_1", "OverlongPark"),
    ]
    assert "ADWARM_BACKPRESSURE__LONGEST_PARK_SECONDS" in heard[0].message
    assert all(scope["parked_until"] < "2100" for scope in shown if scope["parked_until"])
