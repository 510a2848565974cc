"""First opens, days and requirements are those of training and replay."""

from datetime import UTC, datetime, timedelta
from inspect import signature

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adwarm.access_log.events import EventBuilder
from adwarm.cli.replay import replay
from adwarm.log_check.learnable import REPLAY_MIN_OPENS, Learnable, count_days, measure_learnable
from adwarm.patterns.opens import opens_from_frame
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import Settings

START = datetime(2026, 3, 2, tzinfo=UTC)
OPENS = st.lists(st.tuples(st.integers(0, 3 * 24 * 60), st.integers(1, 3), st.integers(0, 1)), min_size=1, max_size=60)
TWO_ZONES = [(1, 1, 0), (3, 1, 1), (13, 1, 0), (35, 1, 0)]
"""The last open is 22 minutes after the key's latest one, and 32 after that of the other zone."""
ZONES = ("Europe/Berlin", "America/New_York")


def _measure(opens: list[tuple[int, int, int]], history_days: int = 56, at_least: int = 1) -> Learnable:
    """Measure opens given as minutes since the start, account and reader zone."""
    columns = {
        "ts": [START + timedelta(minutes=minute) for minute, _, _ in opens],
        "account_id": [str(account) for _, account, _ in opens],
        "date_range": ["today"] * len(opens),
        "time_zone": [ZONES[zone] for _, _, zone in opens],
    }
    slots = SlotAggregator()
    slots.add(EventBuilder(Settings()).from_lists(columns, len(opens), lambda reason, row: None))
    return measure_learnable((table for _, table in slots.days(at_least)), history_days)


@example(TWO_ZONES, 1)
@given(OPENS, st.integers(1, 60))
@pytest.mark.slow
def test_first_opens_are_those_that_training_counts(opens: list[tuple[int, int, int]], at_least: int) -> None:
    """Counting days one by one, or some together, gives what the whole log gives at once, also across midnight.

    Readers in two zones open the same reports.
    """
    frame = pd.DataFrame({
        "account_id": [f"act_{account}" for _, account, _ in opens],
        "date_range": "today",
        "ts": pd.to_datetime([START + timedelta(minutes=minute) for minute, _, _ in opens], utc=True),
    })
    whole = opens_from_frame(frame)
    found = _measure(opens, at_least=at_least)
    assert found == _measure(opens)
    assert (found.opens, found.first_opens) == (len(opens), int(whole.first.sum()))
    assert found.keys == found.accounts == whole.key_count
    per_key = np.bincount(whole.key, weights=whole.first)
    assert found.first_opens_per_key == float(np.median(per_key))
    assert found.keys_with_enough_opens == int((np.bincount(whole.key) >= REPLAY_MIN_OPENS).sum())


def test_missing_days_are_counted() -> None:
    """A log of ten days with opens on three of them says how many more each use needs."""
    day = 24 * 60
    found = _measure([(0, 1, 0), (5 * day, 1, 0), (10 * day, 1, 0)])
    assert (found.days_with_opens, found.days_without_opens) == (3, 8)
    assert {item.use: item.missing_days for item in found.requirements} == {
        "comparing models on the last week": 4,
        "the adwarm model": 15,
        "adwarm replay": 5,
        "policy review": 11,
    }
    recent = _measure([(0, 1, 0), (5 * day, 1, 0), (10 * day, 1, 0)], history_days=7).requirements[1]
    assert (recent.use, recent.has_days) == ("the adwarm model", 2)


def test_one_day_is_a_day() -> None:
    """The unit follows the number."""
    assert count_days(1, "days of log", "more ") == "1 more day of log"
    assert count_days(2, "recent days with opens") == "2 recent days with opens"


def test_a_long_log_needs_nothing() -> None:
    """Four weeks of daily opens are enough for every use."""
    found = _measure([(day * 24 * 60, 1, 0) for day in range(29)])
    assert [item.missing_days for item in found.requirements] == [0, 0, 0, 0]


def test_an_empty_log_teaches_nothing() -> None:
    """Without opens all is zero, and every use needs all its days."""
    found = measure_learnable([], 56)
    assert (found.opens, found.keys) == (0, 0)
    assert all(item.missing_days == item.needs_days for item in found.requirements)


def test_enough_opens_are_what_a_replay_needs() -> None:
    """The count uses the default of `adwarm replay --min-opens`."""
    assert signature(replay).parameters["min_opens"].default == REPLAY_MIN_OPENS
