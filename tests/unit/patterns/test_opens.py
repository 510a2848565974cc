"""Opens as arrays: first opens, stable key numbers in a truncated log, and views without the future."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import FIRST_OPEN_QUIET
from adwarm.patterns.opens import opens_from_frame

START = datetime(2026, 3, 2, tzinfo=UTC)
EVENTS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 4)), min_size=1, max_size=60)


def _frame(events: list[tuple[int, int]]) -> pd.DataFrame:
    rows = [(START + timedelta(minutes=m), f"act_{k // 2}", ("today", "last_7d")[k % 2]) for m, k in events]
    frame = pd.DataFrame(rows, columns=["ts", "account_id", "date_range"])
    return frame.assign(ts=pd.to_datetime(frame["ts"], utc=True), time_zone="Europe/Berlin")


def _micros(minutes: int) -> int:
    return int((START + timedelta(minutes=minutes)).timestamp()) * 1_000_000


def test_an_open_is_first_after_thirty_quiet_minutes() -> None:
    """Half an hour without an open of the key makes the next one a first open; other keys do not matter."""
    opens = opens_from_frame(_frame([(0, 0), (29, 0), (40, 1), (59, 0), (88, 0)]))

    assert opens.first.tolist() == [True, False, True, True, False]


@given(EVENTS)
def test_first_opens_are_those_of_the_definition(events: list[tuple[int, int]]) -> None:
    """An open is first exactly when its key had none in the half hour before it."""
    opens = opens_from_frame(_frame(events))
    quiet = FIRST_OPEN_QUIET // timedelta(microseconds=1)
    for n in range(len(opens)):
        earlier = opens.ts[:n][opens.key[:n] == opens.key[n]]
        assert opens.first[n] == (not len(earlier) or opens.ts[n] - earlier[-1] >= quiet)


@given(EVENTS, st.integers(0, 5001))
def test_a_cut_log_gives_the_view_of_the_whole_one(events: list[tuple[int, int]], minute: int) -> None:
    """`before` equals the arrays of a log that ends there, names of keys included."""
    view = opens_from_frame(_frame(events)).before(_micros(minute))
    cut = opens_from_frame(_frame([event for event in events if event[0] < minute]))

    for name in ("ts", "key", "first", "account_id", "date_range", "report", "zone", "account", "first_ts"):
        assert getattr(view, name).tolist() == getattr(cut, name).tolist()


def test_a_frame_comes_back_as_it_was() -> None:
    """Arrays convert back to rows in order of time."""
    frame = _frame([(5, 1), (2, 0), (90, 1)])
    back = opens_from_frame(frame).to_frame()

    assert back["ts"].tolist() == sorted(frame["ts"])
    assert back["date_range"].tolist() == ["today", "last_7d", "last_7d"]
    assert set(back["time_zone"]) == {"Europe/Berlin"}


def test_an_empty_log_has_no_keys() -> None:
    """An empty log gives empty arrays."""
    opens = opens_from_frame(_frame([(0, 0)])).before(_micros(0))

    assert (len(opens), opens.key_count) == (0, 0)
    assert opens_from_frame(_frame([])).key_count == 0
    assert np.array_equal(opens.since(0).ts, opens.ts)
