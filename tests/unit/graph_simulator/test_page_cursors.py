"""Cursors look and behave like the platform's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_simulator.error_responses import GraphError
from graph_simulator.page_cursors import decode, encode, page_after, paging


def test_cursors_look_like_the_platforms() -> None:
    """The first positions encode to the platform's own cursors."""
    assert encode("0") == "MAZDZD"
    assert encode("24") == "MjQZD"


@given(st.integers(0, 10**8), st.booleans())
def test_cursors_round_trip(position: int, empty: bool) -> None:
    """Every position is decoded from its cursor."""
    assert decode(encode(f"{position}{'e' if empty else ''}")) == (position, empty)


@given(st.text(max_size=20))
def test_unknown_cursors_are_rejected(text: str) -> None:
    """Any text is a cursor or an invalid-cursor error."""
    try:
        position, empty = decode(text)
    except GraphError:
        position, empty = 0, False
    assert decode(encode(f"{position}{'e' if empty else ''}")) == (position, empty)


@given(st.integers(1, 200), st.integers(1, 50), st.booleans())
def test_pages_hold_every_row_once(total: int, limit: int, empty_between: bool) -> None:
    """Following the cursors while there is a next page yields every row once, in order, also with empty pages."""
    seen: list[int] = []
    empties, after = 0, None
    while True:
        page = page_after(total, limit, after, empty_between=empty_between)
        seen.extend(range(page.start, page.stop))
        empties += page.start == page.stop
        result = paging(page, "http://host/x", {"limit": str(limit)})
        assert result["cursors"]["after"] == page.after
        if "next" not in result:
            break
        after = page.after
    assert seen == list(range(total))
    assert empties == ((total - 1) // limit if empty_between else 0)


def test_next_repeats_the_callers_parameters() -> None:
    """The `next` link has the token of the query, as the platform's does."""
    result = paging(page_after(2, 1, None, empty_between=False), "http://host/x", {"access_token": "t", "limit": "1"})
    assert result["next"] == "http://host/x?access_token=t&limit=1&after=MAZDZD"


@pytest.mark.parametrize("after", ["not base64!", "QQ", "////"])
def test_an_invalid_cursor_is_a_bad_parameter(after: str) -> None:
    """An invalid cursor is code 100."""
    with pytest.raises(GraphError) as caught:
        page_after(10, 5, after, empty_between=False)
    assert caught.value.code == 100
