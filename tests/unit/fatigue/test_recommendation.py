"""What to do about an ad, in words, and when its score becomes critical."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.recommendation import (
    MAX_DAYS_AHEAD,
    MIN_QUALITY,
    OUTCOMES,
    PAUSE_FROM,
    SOON_DAYS,
    describe_alarm,
    describe_flags,
    describe_loss,
    describe_projection,
    find_days_ahead,
    recommend,
)
from adwarm.model import FatigueScore
from adwarm.settings import FatigueSettings
from tests.support import fatigue_scores

from .stored_ads import status_of

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


def _score(percent: float | None, **values: Any) -> FatigueScore:
    """Return a score with `percent` of the clicks lost, and components as high."""
    total = None if percent is None else min(100.0, 2 * percent)
    score = fatigue_scores.make_score(
        ad_id="1",
        as_of=DAY,
        ad_name="an ad",
        status=status_of(None if percent is None else percent / 100),
        total=total,
        loss=None if percent is None else percent / 100,
        creative=total,
        audience=total,
        algorithm=total,
        data_quality=0.9,
        baseline=FIGURES,
    )
    return replace(score, **values)


def _soon(days: float, low: float | None, high: float | None, **values: Any) -> FatigueScore:
    projected = {"days_to_critical": days, "days_to_critical_low": low, "days_to_critical_high": high}
    return _score(25.0, **{**projected, **values})


def test_the_projection_is_an_interval_of_days(subtests: pytest.Subtests) -> None:
    """Both ends are whole days that contain the interval; an end that is too far away is left open."""
    for score, text in (
        (_soon(6.2, 4.6, 8.4), "critical in 4 to 9 days"),
        (_soon(4.0, 4.0, 4.0), "critical in about 4 days"),
        (_soon(3.4, None, None), "critical in 3 to 4 days"),
        (_soon(6.0, 4.0, None), "critical in 4 days at the earliest"),
        (_soon(6.0, 1.5, MAX_DAYS_AHEAD + 1.0), "critical in 1 day at the earliest"),
        (_soon(2.0, 0.4, 2.5), "critical within 3 days"),
        (_soon(2.0, 0.4, None), "critical tomorrow at the earliest"),
    ):
        with subtests.test(score=score, text=text):
            assert describe_projection(score) == text


def test_nothing_is_projected_without_a_reason_to(subtests: pytest.Subtests) -> None:
    """Where a projection would say nothing, there is none, and the action names no days."""
    for score in (
        _score(None, days_to_critical=3.0),
        _score(40.0, days_to_critical=0.0),
        _score(10.0),
        _soon(5.0, 3.0, 8.0, data_quality=MIN_QUALITY - 0.01),
        _soon(MAX_DAYS_AHEAD + 1.0, 3.0, 90.0),
        replace(_soon(5.0, 3.0, None), status="healthy"),
    ):
        with subtests.test(score=score):
            assert find_days_ahead(score) is None
            assert describe_projection(score) == ""
            assert "critical" not in recommend(score, SETTINGS).action


@given(st.floats(0.0, 50.0), st.floats(0.0, 1.0), st.one_of(st.none(), st.floats(1.0, 3.0)))
def test_the_projected_days_contain_the_interval(days: float, below: float, above: float | None) -> None:
    """The first day is not after the low end, and the last one not before the high end."""
    low, high = days * below, None if above is None else days * above
    first, last = find_days_ahead(_soon(days, low, high)) or (None, None)
    assert first is not None
    assert first <= low
    assert (last is None) == (high is None or high > MAX_DAYS_AHEAD)
    assert last is None or high is None or last >= high


def test_a_critical_ad_has_one_action_first_and_the_figures_behind_it() -> None:
    """The action is that of the driver; the figures say how much each component has changed, strongest first."""
    score = _score(40.0, creative=90.0, audience=75.0, algorithm=25.0, driver="creative", cost_ratio=2.31)
    result = recommend(score, SETTINGS)
    assert result.action.startswith("Replace the creative")
    assert result.reasons == (
        "gives 40% fewer clicks for the same money than in its good weeks",
        "click-through rate 1.00%, 50% below its good weeks",
        "one person saw it 4.2 times in seven days",
        "price of a thousand impressions 12.00, 20% above its usual weeks",
        "cost per result 2.31 times its past (Meta: creative fatigue from 2 times on)",
    )
    assert result.caution == ""


def test_the_action_follows_the_loss_and_the_driver(subtests: pytest.Subtests) -> None:
    """From 60 % lost on the ad is paused, from 35 % refreshed, from 15 % planned; frequency and price only explain."""
    for percent, driver, words in (
        (100 * PAUSE_FROM, "creative", "Pause and replace"),
        (100 * PAUSE_FROM, "audience", "Pause it for this audience"),
        (100 * PAUSE_FROM, "algorithm", "Pause it, or lower the bid"),
        (40.0, "audience", "Cap the frequency"),
        (40.0, "algorithm", "Check bid"),
        (25.0, "creative", "Plan a new creative"),
        (25.0, "audience", "Plan a wider audience"),
        (25.0, "algorithm", "Watch the price"),
    ):
        with subtests.test(percent=percent, driver=driver, words=words):
            assert recommend(_score(percent, driver=driver), SETTINGS).action.startswith(words)
    assert recommend(_score(5.0, audience=100.0, total=60.0, driver="audience"), SETTINGS).action == "Nothing to do."
    dearer = _score(40.0, creative=10.0, audience=0.0, algorithm=80.0, driver=None)
    assert recommend(dearer, SETTINGS).action.startswith("Check bid")


def test_the_loss_is_said_in_words(subtests: pytest.Subtests) -> None:
    """Fewer, more or as many clicks; for the same money only where the price is known; nothing while pending."""
    free = {name: value for name, value in FIGURES.items() if name != "recent_cpm"}
    for score, text in (
        (_score(38.2), "gives 38% fewer clicks for the same money than in its good weeks"),
        (_score(-5.0), "gives 5% more clicks for the same money than in its good weeks"),
        (_score(0.3), "gives as many clicks for the same money as in its good weeks"),
        (_score(20.0, baseline=free), "gives 20% fewer clicks than in its good weeks"),
        (_score(None), ""),
    ):
        with subtests.test(text=text):
            assert describe_loss(score) == text


def test_a_warning_that_becomes_critical_soon_is_prepared_for() -> None:
    """Within a week the replacement is prepared, with the days that are left; later it is only planned."""
    action = recommend(_soon(6.2, 4.6, 8.4, driver="creative"), SETTINGS).action
    assert action == "Prepare a new creative now: at this pace it is critical in 4 to 9 days."
    later = _soon(SOON_DAYS + 1.0, 5.0, 12.0, driver="creative")
    assert recommend(later, SETTINGS).action.startswith("Plan")


def test_an_alarm_on_a_healthy_ad_asks_for_a_creative_and_says_why_both_hold() -> None:
    """Score and alarm disagree: the action follows the alarm, and the note says what each compares."""
    score = _score(10.0, alarm="alarm", onset=DAY - timedelta(days=6), baseline={**FIGURES, "month_ctr": 0.015})
    result = recommend(score, SETTINGS)
    assert result.action.startswith("Prepare a new creative today")
    assert "good weeks" in result.note
    assert result.reasons[-2:] == (
        "click-through rate falling since about Feb 25, 33% below the month before",
        OUTCOMES,
    )


def test_a_critical_ad_without_an_alarm_says_why_there_is_none(subtests: pytest.Subtests) -> None:
    """An alarm watches clicks only; a score of clicks may also be chance."""
    for driver, words in (("creative", "chance may explain"), ("algorithm", "its price")):
        with subtests.test(driver=driver, words=words):
            parts = {"creative": 10.0, "algorithm": 10.0, driver: 80.0}
            assert words in recommend(_score(40.0, **parts), SETTINGS).note
            assert recommend(_score(40.0, alarm="alarm", **parts), SETTINGS).note == ""


def test_no_number_of_days_stands_beside_an_alarm() -> None:
    """What is said is how such alarms turned out; a watch is a first sign."""
    text = "; ".join(describe_alarm(_score(25.0, alarm="alarm")))
    assert "15 of 17 such alarms held: a rate at least 5 % lower" in text
    assert "chance" not in text
    assert describe_alarm(_score(25.0, alarm="watch")) == ("first signs of a falling click-through rate",)
    assert describe_alarm(_score(25.0)) == ()


def test_a_healthy_ad_needs_nothing() -> None:
    """A healthy ad is left alone; a watch is looked at again."""
    assert recommend(_score(10.0), SETTINGS).action == "Nothing to do."
    assert recommend(_score(10.0, alarm="watch"), SETTINGS).action.startswith("Look again tomorrow")


def test_cost_per_result_is_compared_as_meta_does(subtests: pytest.Subtests) -> None:
    """Above 1 times the past Meta calls a creative limited, from 2 times on fatigued."""
    for ratio, words in ((1.0, "not above its past"), (1.01, "limited above 1"), (2.0, "fatigue from 2")):
        with subtests.test(ratio=ratio, words=words):
            assert any(words in reason for reason in recommend(_score(25.0, cost_ratio=ratio), SETTINGS).reasons)


def test_a_changed_budget_or_audience_is_a_caution() -> None:
    """Both can look like fatigue, so the advice says so; a healthy ad without an alarm needs no such word."""
    figures = {**FIGURES, "flags": ["audience_changed", "budget_changed"]}
    caution = recommend(_score(25.0, baseline=figures), SETTINGS).caution
    assert "the budget changed and the audience changed" in caution
    assert recommend(_score(10.0, baseline=figures), SETTINGS).caution == ""
    assert recommend(_score(10.0, baseline=figures, alarm="alarm"), SETTINGS).caution


def test_an_ad_that_is_off_needs_nothing() -> None:
    """Seven days without impressions are no fatigue."""
    score = _score(None, baseline={**FIGURES, "flags": ["suspended"]})
    assert recommend(score, SETTINGS).action == "Nothing to do while it is off."


def test_how_sure_an_alarm_is_are_its_outcomes_alone() -> None:
    """Where few alarms held, nothing calls the next one likely; without an alarm, chance is named."""
    score = _score(40.0, creative=90.0, driver="creative", alarm="alarm", alarm_since=date(2026, 2, 27))
    few = f"5 of 20 such alarms here {OUTCOMES.partition('such alarms ')[2]}"
    assert recommend(score, SETTINGS, few).certainty == "alarm since Feb 27; 5 of 20 such alarms held"
    assert "chance" in recommend(_score(40.0, creative=90.0, driver="creative"), SETTINGS).certainty


def test_the_outcomes_of_alarms_are_those_that_were_measured() -> None:
    """The sentence has the counts of the record of the benchmark, with each account left out, and its base rate."""
    record = Path(__file__).parents[3] / "docs/reference_pages/records/fatigue-worlds.json"
    real = json.loads(record.read_text(encoding="utf-8"))["real"][0]
    assert real["what"] == "each account left out"
    assert OUTCOMES.startswith(f"{real['followed']} of {real['known']} such alarms held")
    assert OUTCOMES.endswith(f"any day: 1 of {round(1 / real['any day'])}")


def test_missing_history_is_fetched() -> None:
    """An ad that is pending because days are not stored says which DAG fetches them."""
    score = _score(None, baseline={**FIGURES, "flags": ["history_missing"]})
    assert "the DAG adwarm_daily_insights" in recommend(score, SETTINGS).action


def test_a_pending_ad_says_what_it_lacks(subtests: pytest.Subtests) -> None:
    """Days, impressions, or something to compare."""
    for figures, needs in (
        ({"age_days": 4, "impressions": 400.0, "recent_impressions": 300.0}, ("needs 3 more days",)),
        (
            {"age_days": 6, "impressions": 99.5, "recent_impressions": None},
            ("needs 1 more day", "needs 401 more impre"),
        ),
        ({"age_days": 20, "impressions": 9_000.0, "recent_impressions": 0.0}, ("needs delivery in the recent days",)),
        ({"flags": ["history_missing", "impressions_missing"]}, ("needs rows with impressions",)),
    ):
        with subtests.test(figures=figures, needs=needs):
            result = recommend(_score(None, baseline=figures), SETTINGS)
            assert result.action.startswith("Wait")
            assert len(result.reasons) == len(needs)
            for reason, need in zip(result.reasons, needs, strict=True):
                assert reason.startswith(need)


def test_an_alarm_on_a_pending_ad_is_looked_at() -> None:
    """An alarm counts although there is no score yet."""
    assert recommend(_score(None, alarm="alarm"), SETTINGS).action.startswith("Look at it today")


def test_a_doubtful_score_says_so() -> None:
    """A low quality comes with what was missing, also for a flag that this version does not know."""
    score = _score(40.0, data_quality=0.3, baseline={**FIGURES, "flags": ["spend_missing", "new_flag"]})
    assert recommend(score, SETTINGS).caution == (
        "Check the data first: its quality is 30% (some days have no spend, new flag)."
    )
    assert describe_flags(score) == ["some days have no spend", "new flag"]
