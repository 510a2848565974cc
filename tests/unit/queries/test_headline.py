"""The headline of the page: each rule, their order, and that any situation has a whole answer."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.queries.headline import (
    FEWEST_OPENS,
    GOOD_RATIO,
    LATE_AFTER,
    LONG_WAIT,
    Situation,
    State,
    evaluate_situation,
)
from adwarm.store.switches import Switch, SwitchState

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
WARM = Situation(first_opens=100, first_hits=90, has_entries=True, mode="live", newest_run=NOW - HOUR / 4, switches={})


def _switch(name: str, *, is_on: bool) -> dict[str, SwitchState]:
    return {name: SwitchState(Switch(name), is_on, NOW - HOUR, "maria", "the sale")}


def test_each_rule_names_its_reason(subtests: pytest.Subtests) -> None:
    """Each situation has its state, and its reason contains the figures that it rests on."""
    for change, state, words in [
        ({}, State.WARM, "90% of 100 first opens"),
        ({"switches": _switch("warming", is_on=False)}, State.STOPPED, "maria switched it off 60 min ago: the sale."),
        ({"switches": _switch("warming", is_on=True)}, State.WARM, "90%"),
        ({"broken_source": "meta", "probe_at": NOW + timedelta(seconds=30)}, State.STUCK, "next test is in 30 s"),
        ({"broken_source": "meta", "probe_at": NOW - timedelta(seconds=30)}, State.STUCK, "the next call is a test"),
        (
            {"parked_scope": "app:7", "parked_until": NOW + timedelta(minutes=10), "parked_why": "usage at 100 %"},
            State.STUCK,
            "usage at 100 %; calls pause until 2026-03-04 10:10 UTC",
        ),
        ({"newest_run": NOW - LATE_AFTER}, State.STUCK, "started 3.0 h ago"),
        ({"waiting": 2, "oldest_seconds": LONG_WAIT.total_seconds()}, State.STUCK, "2 requests wait in the queue"),
        ({"switches": _switch("shadow", is_on=True)}, State.PARTLY, "Only strategies"),
        ({"mode": "shadow"}, State.PARTLY, "Only strategies"),
        ({"has_entries": False}, State.PARTLY, "No report is stored now. 90% of 100"),
        ({"open_alerts": 1}, State.PARTLY, "90%"),
        ({"first_hits": 79}, State.PARTLY, "79%"),
        ({"first_hits": 0}, State.COLD, "0% of 100 first opens"),
        ({"first_opens": 19, "first_hits": 0}, State.UNKNOWN, "0% of 19 first opens"),
        ({"first_opens": 19, "first_hits": 19}, State.UNKNOWN, "It takes 20 to tell."),
        ({"first_opens": 0, "first_hits": 0}, State.UNKNOWN, "Nobody opened a report"),
    ]:
        with subtests.test(change=change, state=state, words=words):
            headline = evaluate_situation(replace(WARM, **change), NOW)  # type: ignore[arg-type]
            assert (headline.state, words in headline.reason) == (state, True), headline


def test_a_switch_comes_before_what_follows_from_it() -> None:
    """Who has switched warming off is not told that no run plans warms."""
    stopped = replace(WARM, switches=_switch("warming", is_on=False), newest_run=NOW - 10 * HOUR, open_alerts=3)
    assert evaluate_situation(stopped, NOW).state is State.STOPPED


def test_a_name_cannot_turn_the_text_after_it() -> None:
    """Characters that change the direction of writing are left out of sentences."""
    switch = SwitchState(Switch.WARMING, False, NOW - HOUR, "a\u202eb", "\u2066c")
    reason = evaluate_situation(replace(WARM, switches={"warming": switch}), NOW).reason
    assert reason == "ab switched it off 60 min ago: c."


_EXTREMES: dict[str, tuple[Any, ...]] = {
    "first_opens": (0, 1, FEWEST_OPENS - 1, FEWEST_OPENS, 10**9),
    "first_hits": (0.0, 0.5, GOOD_RATIO, 1.0),
    "has_entries": (False, True),
    "mode": (None, "live", "shadow"),
    "newest_run": (None, NOW - 1000 * HOUR, NOW),
    "open_alerts": (0, 1, 10**6),
    "parked_until": (None, NOW - timedelta(seconds=1), datetime(9999, 12, 31, tzinfo=UTC)),
    "broken_source": (None, "meta"),
    "oldest_seconds": (None, 1e9, 0.0),
    "switches": ({}, _switch("warming", is_on=False), _switch("calls", is_on=False), _switch("shadow", is_on=True)),
}
_CLAIMS: dict[str, Callable[[Situation], bool]] = {
    "Warming is switched off": lambda s: not s.is_warming_on,
    "Calls are switched off": lambda s: not s.switches["calls"].is_on,
    "does not answer": lambda s: s.broken_source is not None,
    "calls of the app 7 are paused": lambda s: s.parked_until is not None and s.parked_until > NOW,
    "no run plans warms": lambda s: s.newest_run is not None and NOW - s.newest_run >= LATE_AFTER,
    "not fetched in time": lambda s: s.waiting > 0 and s.oldest_seconds >= LONG_WAIT.total_seconds(),
    "Shadow mode plans warms": lambda s: s.is_shadow,
    "Nothing is stored": lambda s: not s.has_entries,
    "open.": lambda s: s.open_alerts > 0,
    "Too few opens to tell": lambda s: s.first_opens < FEWEST_OPENS,
    "Cold: every reader has to wait": lambda s: s.first_opens >= FEWEST_OPENS and s.first_hits == 0,
    "Partly warm: many": lambda s: s.first_opens >= FEWEST_OPENS and 0 < s.first_hits < GOOD_RATIO * s.first_opens,
    "The cache is warm.": lambda s: (
        s.first_opens >= FEWEST_OPENS
        and s.first_hits >= GOOD_RATIO * s.first_opens
        and s.has_entries
        and not s.open_alerts
        and not s.is_shadow
    ),
}
"""What each headline says of the figures under it."""


def test_no_headline_contradicts_a_figure_under_it() -> None:
    """Over all combinations of extreme inputs, a headline claims what the figures say, and each claim is reached."""
    reached = set()
    for values in itertools.product(*_EXTREMES.values()):
        inputs = dict(zip(_EXTREMES, values, strict=True))
        inputs["first_hits"] = math.ceil(inputs["first_hits"] * inputs["first_opens"])
        waiting = 0 if inputs["oldest_seconds"] is None else 10**6
        inputs["oldest_seconds"] = inputs["oldest_seconds"] or 0.0
        situation = Situation(**inputs, parked_scope="app:7", waiting=waiting)
        headline = evaluate_situation(situation, NOW)
        (claim,) = (claim for claim in _CLAIMS if claim in headline.sentence)
        assert _CLAIMS[claim](situation), (headline, situation)
        assert "%" not in headline.reason or f"of {situation.first_opens:,} first open" in headline.reason
        reached.add(claim)
    assert reached == set(_CLAIMS)


_moments = st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(
    st.builds(
        Situation,
        first_opens=st.integers(1, 10**9),
        first_hits=st.just(1),
        has_entries=st.booleans(),
        mode=st.sampled_from([None, "live", "shadow"]),
        newest_run=_moments,
        open_alerts=st.integers(0, 10**6),
        parked_scope=st.none() | st.text(),
        parked_until=_moments,
        parked_why=st.none() | st.text(),
        broken_source=st.none() | st.text(),
        probe_at=_moments,
        waiting=st.integers(0, 10**6),
        oldest_seconds=st.floats(0, 1e9),
        switches=st.sampled_from([{}, _switch("warming", is_on=False), _switch("shadow", is_on=True)]),
    )
)
def test_any_situation_has_an_answer(situation: Situation) -> None:
    """Whatever is stored, there is a sentence with a reason, and a next step unless the cache is warm."""
    headline = evaluate_situation(situation, NOW)
    assert headline.sentence
    assert headline.reason
    assert bool(headline.next_step) == (headline.state is not State.WARM)
