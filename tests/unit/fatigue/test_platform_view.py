"""The platform's view of an ad: its words for a cost, its level, and whether it agrees with the score."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.platform_view import find_cost_state, platform_view
from adwarm.model import FatigueScore, PlatformLevel, PlatformNotice

DAY = date(2026, 11, 24)
AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SCORE = FatigueScore("act_1", "7", DAY, "an ad", "warning", 45.0, 45.0, None, None, 0.9, None, None, {}, "v1")
NOTICE = PlatformNotice("act_1", "7", AT, "high", "It wears out.")


def test_the_words_of_the_platform(subtests: pytest.Subtests) -> None:
    """Above once and below twice the past is limited, twice or more is fatigue, as the platform defines it."""
    for ratio, state in (
        (None, None),
        (0.0, "normal"),
        (1.0, "normal"),
        (1.001, "creative limited"),
        (1.999, "creative limited"),
        (2.0, "creative fatigue"),
        (9.0, "creative fatigue"),
    ):
        with subtests.test(ratio=ratio, state=state):
            assert find_cost_state(ratio) == state


def test_agreement(subtests: pytest.Subtests) -> None:
    """A band of warning or worse, or an alarm, speaks of fatigue; so does a level above low."""
    for level, status, alarm, agreement in (
        ("high", "warning", "none", "agrees"),
        ("medium", "critical", "none", "agrees"),
        ("high", "healthy", "alarm", "agrees"),
        ("low", "healthy", "watch", "agrees"),
        ("high", "healthy", "watch", "only the platform"),
        ("low", "warning", "none", "only adwarm"),
        ("low", "healthy", "alarm", "only adwarm"),
        ("high", "pending", "none", "unknown"),
    ):
        with subtests.test(level=level, status=status, alarm=alarm, agreement=agreement):
            score = replace(SCORE, status=status, alarm=alarm)  # type: ignore[arg-type]
            assert platform_view(score, replace(NOTICE, level=level)).agreement == agreement


def test_a_view_in_words() -> None:
    """The text says cost, level, age and agreement; without results and notices it says so."""
    view = platform_view(replace(SCORE, cost_ratio=2.345), NOTICE)
    assert view.text == (
        "Cost per result: 2.35x of the ad's past, what Meta calls creative fatigue (2x or more). "
        "Meta's notice: fatigue level high, 4 days before this day; the score says the same."
    )
    assert (view.days_old, view.message) == (4, "It wears out.")
    bare = platform_view(SCORE, None)
    assert bare.text == ("Cost per result: unknown, there are too few results. Meta has sent no notice about this ad.")
    assert (bare.level, bare.days_old, bare.agreement) == (None, None, "unknown")
    old = platform_view(SCORE, replace(NOTICE, noticed_at=AT - timedelta(days=40)))
    assert (old.agreement, old.days_old) == ("unknown", 44)
    assert old.text.endswith("44 days before this day; too old to compare.")


@given(
    st.none() | st.floats(0, 1e6),
    st.sampled_from(["low", "medium", "high"]),
    st.integers(-3, 400),
    st.sampled_from(["healthy", "warning", "critical", "pending"]),
)
def test_every_view_has_words(ratio: float | None, level: PlatformLevel, age: int, status: str) -> None:
    """Whatever the figures are, the text ends as a sentence and the age is not negative."""
    score = replace(SCORE, cost_ratio=ratio, status=status)  # type: ignore[arg-type]
    at = datetime.combine(DAY - timedelta(days=age), AT.timetz())
    view = platform_view(score, replace(NOTICE, level=level, noticed_at=at))
    assert view.text.endswith(".")
    assert view.days_old == max(0, age)
