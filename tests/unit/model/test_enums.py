"""The small vocabularies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import Actor, Mode, Priority, Scope, ScopeKind, WarmReason


def test_only_people_train_and_score() -> None:
    """Human and embedded opens are somebody waiting; api and warmer ones are not."""
    assert {actor for actor in Actor if actor.is_human} == {Actor.HUMAN, Actor.EMBEDDED}


def test_a_smaller_priority_goes_first() -> None:
    """Sorting puts critical before low."""
    assert sorted(Priority) == [Priority.CRITICAL, Priority.HIGH, Priority.NORMAL, Priority.LOW]


@pytest.mark.parametrize("text", ["high", "HIGH", " High "])
def test_priorities_are_read_in_any_case(text: str) -> None:
    """Case and space around a name do not matter."""
    assert Priority.parse(text) is Priority.HIGH


@given(st.text(max_size=12).filter(lambda text: text.strip().lower() not in {"critical", "high", "normal", "low"}))
def test_an_unknown_priority_lists_the_four(text: str) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match="is not one of critical, high, normal, low"):
        Priority.parse(text)


def test_words_are_stored_as_they_are_written() -> None:
    """The text of each word is part of tables and files, and does not change."""
    assert [str(word) for word in Actor] == ["human", "embedded", "api", "warmer"]
    assert [str(word) for word in Mode] == ["live", "shadow"]
    assert [str(word) for word in WarmReason] == ["predicted_open", "day_closed", "strategy", "request"]


def test_scopes_have_stored_names() -> None:
    """A scope is its kind and its id; the fleet has no id."""
    assert str(Scope(ScopeKind.ACCOUNT, "act_1")) == "account:act_1"
    assert str(Scope(ScopeKind.FLEET)) == "fleet"
    assert Scope(ScopeKind.APP, "1") == Scope(ScopeKind.APP, "1")
