"""Tests of following cursors: every report ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import Corrupt
from adwarm.sources.protocol import CursorTrail


def test_new_cursors_are_followed() -> None:
    """Each cursor is followed once, and None is the end."""
    trail = CursorTrail()
    assert [trail.follow(cursor) for cursor in ("a", "b", "c", None)] == ["a", "b", "c", None]


def test_a_loop_is_refused() -> None:
    """A, B, A is refused."""
    trail = CursorTrail()
    trail.follow("a")
    trail.follow("b")
    with pytest.raises(Corrupt, match="circle"):
        trail.follow("a")


@given(st.lists(st.sampled_from("abcdef")))
def test_no_cursor_is_followed_twice(cursors: list[str]) -> None:
    """Whatever cursors come, the followed ones are distinct."""
    trail, followed = CursorTrail(), []
    try:
        followed = [trail.follow(cursor) for cursor in cursors]
    except Corrupt:
        assert len(set(cursors)) < len(cursors)
    assert len(set(followed)) == len(followed)
