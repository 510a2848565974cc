"""Enums and scopes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import Actor, Mode, Priority, Scope, ScopeKind, WarmReason


def test_only_humans_train_and_score() -> None:
    """In human and embedded opens somebody waits; in api and warmer ones nobody does."""
    assert {actor for actor in Actor if actor.is_human} == {Actor.HUMAN, Actor.EMBEDDED}


def test_a_smaller_priority_goes_first() -> None:
    """Sorting puts critical before low."""
    assert sorted(Priority) == [Priority.CRITICAL, Priority.HIGH, Priority.NORMAL, Priority.LOW]


@pytest.mark.parametrize("text", ["high", "HIGH", " High "])
def test_priorities_are_read_in_any_case(text: str) -> None:
    """Case and surrounding spaces are ignored."""
    assert Priority.parse(text) is Priority.HIGH


@given(st.text(max_size=12).filter(lambda text: text.strip().lower() not in {"critical", "high", "normal", "low"}))
def test_an_unknown_priority_lists_the_four(text: str) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match="is not one of critical, high, normal, low"):
        Priority.parse(text)


def test_enum_values_are_stable() -> None:
    """The values are stored in tables and files."""
    assert [str(word) for word in Actor] == ["human", "embedded", "api", "warmer"]
    assert [str(word) for word in Mode] == ["live", "shadow"]
    reasons = ["predicted_open", "day_closed", "strategy", "request", "data_arrival", "spec_changed"]
    assert [str(word) for word in WarmReason] == reasons


def test_scopes_have_stored_names() -> None:
    """The name of a scope is its kind and id; the fleet has no id."""
    assert str(Scope(ScopeKind.ACCOUNT, "act_1")) == "account:act_1"
    assert str(Scope(ScopeKind.FLEET)) == "fleet"
    assert Scope(ScopeKind.APP, "1") == Scope(ScopeKind.APP, "1")
