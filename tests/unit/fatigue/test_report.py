"""The summary of an account, what changed, and exports."""

import csv
import io
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.report import describe_document, format_scores_csv, list_changes
from adwarm.model import FatigueScore
from adwarm.settings import FatigueSettings
from adwarm.store.scores import StoredScore

from .stored_ads import EVIL, LAST_DAY, NOW, make_score

SETTINGS = FatigueSettings()


def _stored(*listed: FatigueScore, days_ago: int = 0) -> list[StoredScore]:
    return [StoredScore(score, "1", 3, True, NOW - timedelta(days=days_ago)) for score in listed]


CHANGES = [
    ({"loss": -0.004}, {"status": "warning", "loss": 0.2}, "worse", "healthy (0% lost) → warning (20% lost)"),
    ({"status": "warning", "loss": 0.2}, {"loss": -0.05}, "better", "warning (20% lost) → healthy (5% gained)"),
    ({}, {"alarm": "alarm"}, "alarm", "new alarm, healthy (5% lost) → healthy (5% lost)"),
    (
        {"alarm": "watch"},
        {"alarm": "alarm", "status": "critical", "loss": 0.4},
        "alarm",
        "new alarm, healthy (5% lost) → critical (40% lost)",
    ),
    ({"alarm": "alarm"}, {"alarm": "watch"}, "recovered", "alarm ended, healthy (5% lost) → healthy (5% lost)"),
    ({"alarm": "alarm"}, {"status": "warning", "loss": 0.2}, "worse", "healthy (5% lost) → warning (20% lost)"),
    ({}, {"status": "pending", "total": None, "loss": None}, "pending", "healthy (5% lost) → pending"),
    (
        {"alarm": "alarm"},
        {"status": "pending", "total": None, "loss": None},
        "recovered",
        "alarm ended, healthy (5% lost) → pending",
    ),
    ({"status": "pending", "total": None, "loss": None}, {}, "scored", "pending → healthy (5% lost)"),
    ({}, {"loss": 0.14}, None, ""),
    ({"status": "pending", "total": None, "loss": None}, {"status": "pending", "total": None, "loss": None}, None, ""),
    (None, {}, "new", "new ad, healthy (5% lost)"),
    (None, {"alarm": "alarm"}, "alarm", "new alarm, healthy (5% lost)"),
    ({"status": "critical", "loss": 0.5}, None, "gone", "no delivery any more; it was critical (50% lost)"),
]


def test_changes(subtests: pytest.Subtests) -> None:
    """Each crossing, alarm, beginning and end is one change in words."""
    for before, after, kind, text in CHANGES:
        with subtests.test(before=before, after=after, kind=kind, text=text):
            old = [] if before is None else _stored(make_score("1", **before), days_ago=1)
            new = [] if after is None else _stored(make_score("1", **after))
            changes = list_changes(old, new)
            assert [(item.kind, item.text) for item in changes] == ([] if kind is None else [(kind, text)])


def test_changes_that_compare_with_a_score_made_again_say_so() -> None:
    """An earlier day that was scored again with or after the later one is marked."""
    worse = _stored(make_score("1", status="warning", total=40.0))
    assert [item.restated for item in list_changes(_stored(make_score("1"), days_ago=1), worse)] == [False]
    assert [item.restated for item in list_changes(_stored(make_score("1")), worse)] == [True]


SCORES = st.lists(
    st.builds(
        lambda ad, status, alarm: make_score(
            str(ad), status=status, total=None if status == "pending" else 50.0, alarm=alarm
        ),
        st.integers(0, 6),
        st.sampled_from(["healthy", "warning", "critical", "pending"]),
        st.sampled_from(["none", "watch", "alarm"]),
    ),
    unique_by=lambda score: score.ad_id,
)


@given(old=SCORES, new=SCORES)
def test_every_ad_changes_at_most_once(old: Sequence[FatigueScore], new: Sequence[FatigueScore]) -> None:
    """No ad has two changes, equal days have none, and every ad that began or ended has one."""
    changes = list_changes(_stored(*old), _stored(*new))
    ids = [item.score.ad_id for item in changes]
    assert len(ids) == len(set(ids))
    assert list_changes(_stored(*old), _stored(*old)) == []
    assert {score.ad_id for score in old} ^ {score.ad_id for score in new} <= set(ids)


def test_csv_has_words_and_no_formula() -> None:
    """Names that begin as formulas get an apostrophe; numbers stay numbers; the recommendation is there."""
    score = make_score("1", ad_name=EVIL, trend_per_day=-2.5)
    text = format_scores_csv(_stored(score), SETTINGS)
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["ad_name"] == f"'{EVIL}"
    assert (row["trend_per_day"], row["total"], row["as_of"], row["settled"]) == ("-2.5", "10.0", str(LAST_DAY), "true")
    assert row["recommendation"] == describe_document(_stored(score)[0], SETTINGS)["recommendation"]
