"""Every way through pages ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import Corrupt
from adwarm.sources.protocol import CursorTrail


def test_new_cursors_lead_on() -> None:
    """Each cursor is followed once; the end is the end."""
    trail = CursorTrail()
    assert [trail.follow(cursor) for cursor in ("a", "b", "c", None)] == ["a", "b", "c", None]


def test_a_circle_is_left() -> None:
    """A, B, A is no way on."""
    trail = CursorTrail()
    trail.follow("a")
    trail.follow("b")
    with pytest.raises(Corrupt, match="circle"):
        trail.follow("a")


@given(st.lists(st.sampled_from("abcdef")))
def test_no_cursor_is_followed_twice(cursors: list[str]) -> None:
    """Whatever comes, what is followed is distinct."""
    trail, followed = CursorTrail(), []
    try:
        followed = [trail.follow(cursor) for cursor in cursors]
    except Corrupt:
        assert len(set(cursors)) < len(cursors)
    assert len(set(followed)) == len(followed)
