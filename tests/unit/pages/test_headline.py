"""The headline of the page: each rule, their order, and that any situation has a whole answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.pages.views.headline import LATE_AFTER, LONG_WAIT, Situation, State, Switch, evaluate_situation

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
WARM = Situation(first_opens=100, first_hits=90, has_entries=True, mode="live", newest_run=NOW - HOUR / 4, switches={})


def _switch(name: str, *, is_on: bool) -> dict[str, Switch]:
    return {name: Switch(name, is_on, NOW - HOUR, "maria", "the sale")}


def test_each_rule_names_its_reason(subtests: pytest.Subtests) -> None:
    """Each situation has its state, and its reason contains the figures that it rests on."""
    for change, state, words in [
        ({}, State.WARM, "90% of 100 first opens"),
        ({"switches": _switch("warming", is_on=False)}, State.STOPPED, "maria switched it off 60 min ago: the sale."),
        ({"switches": _switch("warming", is_on=True)}, State.WARM, "90%"),
        ({"broken_source": "source:meta", "probe_at": NOW.timestamp() + 30}, State.STUCK, "next test is in 30 s"),
        (
            {"parked_scope": "app:7", "parked_until": NOW.timestamp() + 600, "parked_why": "usage at 100 %"},
            State.STUCK,
            "usage at 100 %; calls pause until 2026-03-04 10:10 UTC",
        ),
        ({"newest_run": NOW - LATE_AFTER}, State.STUCK, "started 3.0 h ago"),
        ({"waiting": 2, "oldest_wait": NOW - LONG_WAIT}, State.STUCK, "2 requests wait in the queue"),
        ({"switches": _switch("shadow", is_on=True)}, State.PARTLY, "Only strategies"),
        ({"mode": "shadow"}, State.PARTLY, "Only strategies"),
        ({"has_entries": False}, State.PARTLY, "No report has been fetched"),
        ({"open_alerts": 1}, State.PARTLY, "90%"),
        ({"first_hits": 79}, State.PARTLY, "79%"),
        ({"first_opens": 19, "first_hits": 0}, State.WARM, "0% of 19 first opens"),
        ({"first_opens": 0, "first_hits": 0}, State.WARM, "cannot be measured"),
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
    switch = Switch("warming", False, NOW - HOUR, "a\u202eb", "\u2066c")
    reason = evaluate_situation(replace(WARM, switches={"warming": switch}), NOW).reason
    assert reason == "ab switched it off 60 min ago: c."


_moments = st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
_seconds = st.none() | st.floats(0, 1e300)


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
        parked_until=_seconds,
        parked_why=st.none() | st.text(),
        broken_source=st.none() | st.text(),
        probe_at=_seconds,
        waiting=st.integers(0, 10**6),
        oldest_wait=_moments,
        switches=st.sampled_from([{}, _switch("warming", is_on=False), _switch("shadow", is_on=True)]),
    )
)
def test_any_situation_has_an_answer(situation: Situation) -> None:
    """Whatever is stored, there is a sentence with a reason, and a next step unless the cache is warm."""
    headline = evaluate_situation(situation, NOW)
    assert headline.sentence
    assert headline.reason
    assert bool(headline.next_step) == (headline.state is not State.WARM)
