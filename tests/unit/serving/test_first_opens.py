"""First opens: quiet for half an hour, by humans, and remembered for a bounded number of keys."""

import itertools
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import FIRST_OPEN_QUIET, Actor, ReportKey
from adwarm.serving.read_counter import FirstOpenTracker
from tests.unit.conftest import NOW

KEY = ReportKey("act_1", "yesterday")
OTHER = ReportKey("act_1", "last_7d")
FIRST_HIT = {"first_opens": 1, "first_hits": 1}


def test_an_open_after_half_an_hour_of_quiet_is_a_first_open() -> None:
    """Each open restarts the half hour; a first open counts as a hit when a fresh entry answered."""
    tracker = FirstOpenTracker()
    minutes = (0, 29, 58, 88, 90)
    found = [tracker.count(NOW + minute * timedelta(minutes=1), KEY, Actor.HUMAN, is_hit=True) for minute in minutes]
    assert found == [FIRST_HIT, {}, {}, FIRST_HIT, {}]
    assert tracker.count(NOW, OTHER, Actor.EMBEDDED, is_hit=False) == {"first_opens": 1, "first_hits": 0}


def test_programs_open_nothing() -> None:
    """Reads by programs and by the warmer are no opens, and do not end the quiet time."""
    tracker = FirstOpenTracker()
    assert tracker.count(NOW, KEY, Actor.API, is_hit=True) == {}
    assert tracker.count(NOW, KEY, Actor.WARMER, is_hit=True) == {}
    assert tracker.count(NOW, KEY, Actor.HUMAN, is_hit=True) == FIRST_HIT


def test_the_key_that_was_opened_longest_ago_is_forgotten() -> None:
    """Beyond the bound the oldest open goes, not the oldest key."""
    tracker = FirstOpenTracker(max_keys=2)
    for key in (KEY, OTHER, KEY, ReportKey("act_2", "yesterday")):
        tracker.count(NOW, key, Actor.HUMAN, is_hit=True)
    assert tracker.count(NOW, KEY, Actor.HUMAN, is_hit=True) == {}
    assert tracker.count(NOW, OTHER, Actor.HUMAN, is_hit=True) == FIRST_HIT


@given(st.lists(st.integers(0, 7_200), min_size=1, max_size=30).map(sorted))
def test_first_opens_are_those_of_the_definition(seconds: list[int]) -> None:
    """Opens in order of time are first ones exactly where the distance to the one before is half an hour or more."""
    tracker = FirstOpenTracker()
    moments = [NOW + timedelta(seconds=second) for second in seconds]
    found = [bool(tracker.count(moment, KEY, Actor.HUMAN, is_hit=True)) for moment in moments]
    gaps = [later - earlier >= FIRST_OPEN_QUIET for earlier, later in itertools.pairwise(moments)]
    assert found == [True, *gaps]
