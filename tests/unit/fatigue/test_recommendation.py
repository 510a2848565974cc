"""What to do about an ad, in words, and when its score reaches the next status."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.recommendation import (
    MAX_DAYS_AHEAD,
    MIN_QUALITY,
    MIN_TREND,
    Projection,
    describe_flags,
    project_status,
    rank_components,
    recommend,
)
from adwarm.fatigue.score import status_of
from adwarm.model import FatigueScore
from adwarm.settings import FatigueSettings

DAY = date(2026, 3, 3)
FIGURES: dict[str, Any] = {
    "ctr": 0.02,
    "recent_ctr": 0.01,
    "cpm": 10.0,
    "recent_cpm": 12.0,
    "frequency": 4.25,
    "impressions": 9_000.0,
    "recent_impressions": 1_000.0,
    "age_days": 33,
    "flags": [],
}
SETTINGS = FatigueSettings()


def _score(total: float | None, trend: float | None = None, **values: Any) -> FatigueScore:
    score = FatigueScore(
        account_id="act_1",
        ad_id="1",
        as_of=DAY,
        ad_name="an ad",
        status=status_of(total),
        total=total,
        creative=total,
        audience=total,
        algorithm=total,
        data_quality=0.9,
        trend_per_day=trend,
        days_to_critical=None,
        baseline=FIGURES,
        calculator_version="v",
    )
    return replace(score, **values)


def test_the_projected_day_is_the_first_in_the_next_status() -> None:
    """30 is still healthy, so 20 with 5 points a day becomes a warning on the third day."""
    assert project_status(_score(20.0, 5.0)) == Projection("warning", DAY + timedelta(days=3))
    assert project_status(_score(50.0, 4.0)) == Projection("critical", DAY + timedelta(days=3))


@pytest.mark.parametrize(
    "score",
    [
        _score(None),
        _score(80.0, 5.0),
        _score(20.0, None),
        _score(20.0, -5.0),
        _score(20.0, MIN_TREND / 2),
        _score(20.0, 5.0, data_quality=MIN_QUALITY - 0.01),
        _score(0.0, 0.5),
    ],
    ids=["pending", "critical", "no trend", "falling", "flat", "low quality", "too far ahead"],
)
def test_no_day_is_projected_without_a_reason_to(score: FatigueScore) -> None:
    """Nothing is projected where a line through the last days says nothing."""
    assert project_status(score) is None


@given(st.floats(0.0, 60.0), st.floats(MIN_TREND, 40.0))
def test_the_status_changes_on_the_projected_day_and_not_before(total: float, trend: float) -> None:
    """At the present trend the score is in another status on the projected day, and was in its own the day before."""
    score = _score(total, trend)
    projection = project_status(score)
    if projection is None:
        assert status_of(total + MAX_DAYS_AHEAD * trend) == score.status
        return
    days = (projection.day - DAY).days
    assert status_of(total + days * trend + 1e-6) != score.status
    assert status_of(total + (days - 1) * trend - 1e-6) == score.status


def test_a_critical_ad_says_what_wears_out() -> None:
    """The strongest components come first; the figures say how much each has changed."""
    score = _score(70.0, creative=90.0, audience=75.0, algorithm=25.0)
    result = recommend(score, SETTINGS)
    assert result.action.startswith("Replace the creative")
    assert "Widen the audience" in result.action
    assert "bid" not in result.action
    assert result.reasons == (
        "click-through rate 50% below its usual level",
        "one person saw it 4.2 times in seven days",
        "price of a thousand impressions 20% above its usual level",
    )
    assert result.caution == ""


def test_a_component_without_weight_is_no_reason() -> None:
    """What does not count towards the score is not recommended against."""
    score = _score(50.0, creative=90.0, audience=40.0, algorithm=None)
    assert rank_components(score, FatigueSettings(weights=(0.0, 0.5, 0.5))) == ["audience"]


def test_a_healthy_ad_needs_nothing_until_it_nears_a_warning() -> None:
    """A healthy ad is left alone, and prepared for once its warning is a week away."""
    assert recommend(_score(20.0), SETTINGS).action == "Nothing to do."
    assert "reaches warning on 2026-03-06" in recommend(_score(20.0, 5.0), SETTINGS).action


@pytest.mark.parametrize(
    ("figures", "needs"),
    [
        ({"age_days": 4, "impressions": 400.0, "recent_impressions": 300.0}, ("needs 3 more days",)),
        (
            {"age_days": 6, "impressions": 99.5, "recent_impressions": None},
            ("needs 1 more day", "needs 401 more impre"),
        ),
        ({"age_days": 20, "impressions": 9_000.0, "recent_impressions": 0.0}, ("needs delivery in the recent days",)),
        ({"flags": ["impressions_missing"]}, ("needs rows with impressions",)),
        ({}, ("needs 7 days with delivery and 500 impressions",)),
    ],
)
def test_a_pending_ad_says_what_it_lacks(figures: dict[str, Any], needs: tuple[str, ...]) -> None:
    """Days, impressions, or something to compare; the minimums for scores that do not say how old the ad is."""
    result = recommend(_score(None, baseline=figures), SETTINGS)
    assert result.action.startswith("Wait")
    assert len(result.reasons) == len(needs)
    for reason, need in zip(result.reasons, needs, strict=True):
        assert reason.startswith(need)


def test_a_doubtful_score_says_so() -> None:
    """A low quality comes with what was missing, also for a flag that this version does not know."""
    score = _score(70.0, data_quality=0.3, baseline={**FIGURES, "flags": ["spend_missing", "new_flag"]})
    assert recommend(score, SETTINGS).caution == (
        "Check the data first: its quality is 30% (some days have no spend, new flag)."
    )
    assert describe_flags(score) == ["some days have no spend", "new flag"]
