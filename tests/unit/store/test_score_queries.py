"""Stored scores are read by page, by ad and by day, each ad once and in one order."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import pytest
from sqlalchemy import Engine

from adwarm.model import FatigueScore
from adwarm.store import scores
from adwarm.store.scores import ScoreOrder, ScorePosition, ScoreQuery
from tests.support import fatigue_scores

DAY = date(2026, 11, 24)
AT = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


def _score(ad_id: str, total: float | None = 20.0, **values: Any) -> FatigueScore:
    status: Any = "pending" if total is None else "critical" if total > 60 else "healthy"
    score = fatigue_scores.make_score(
        ad_id=ad_id,
        as_of=DAY,
        status=status,
        total=total,
        creative=total,
    )
    return replace(score, **values)


MIXED = [
    _score("1", 50.0),
    _score("2", 80.0),
    _score("3", None),
    _score("4", 80.0, alarm="watch"),
    _score("5", 10.0, alarm="alarm"),
    _score("6", None, alarm="alarm"),
    _score("7", 80.0),
    _score("8", None),
]


@pytest.mark.parametrize(
    ("order", "expected"), [("total", ["2", "4", "7", "1", "5", "3", "6", "8"]), ("action", list("56427138"))]
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_hold_each_score_once(engine: Engine, order: ScoreOrder, expected: list[str], size: int) -> None:
    """Pages of any size give the whole list in its order, also with equal totals and without totals."""
    fatigue_scores.publish(engine, MIXED, 1, False, AT)
    found: list[str] = []
    after = None
    while page := scores.list_page(engine, ScoreQuery("act_1", order=order), size, after):
        found += [item.score.ad_id for item in page]
        last = page[-1].score
        after = ScorePosition(last.as_of, last.total, last.ad_id, last.alarm)
    assert found == expected
    assert [item.score.ad_id for item in scores.list_day(engine, "act_1", DAY)] == list("56427138")


def test_filters_select(engine: Engine) -> None:
    """Status, alarm and ad each leave the others out, and together."""
    fatigue_scores.publish(engine, MIXED, 1, False, AT)

    def ads(**filters: Any) -> list[str]:
        return [item.score.ad_id for item in scores.list_page(engine, ScoreQuery("act_1", **filters), 100)]

    assert ads(status="critical") == ["2", "4", "7"]
    assert ads(alarm="alarm") == ["5", "6"]
    assert ads(alarm="watch", status="critical", ad_id="4") == ["4"]
    assert ads(ad_id="9") == []
    assert set(get_args(ScoreOrder)) == {"total", "action"}


def test_newest_days(engine: Engine) -> None:
    """The newest day up to a day; None before the first one and for other accounts."""
    for back in (0, 3):
        fatigue_scores.publish(engine, [_score("1", as_of=DAY - timedelta(days=back))], 1, False, AT)
    assert scores.find_newest_day(engine, "act_1") == DAY
    assert scores.find_newest_day(engine, "act_1", DAY - timedelta(days=1)) == DAY - timedelta(days=3)
    assert scores.find_newest_day(engine, "act_1", DAY - timedelta(days=4)) is None
    assert scores.find_newest_days(engine, ["act_1", "act_2"]) == {"act_1": DAY}


def test_one_ad_over_time(engine: Engine) -> None:
    """The scores of an ad within a span, oldest first."""
    for back in range(5):
        day = DAY - timedelta(days=back)
        fatigue_scores.publish(
            engine, [_score("1", 10.0 + back, as_of=day), _score("2", None, as_of=day)], 1, False, AT
        )
    span = (DAY - timedelta(days=2), DAY)
    assert [item.score.total for item in scores.list_ad_history(engine, "act_1", "1", *span)] == [
        12.0,
        11.0,
        10.0,
    ]


def test_earlier_scores(engine: Engine) -> None:
    """Each ad has its newest score before the day and within the span."""
    for back, total in ((1, 70.0), (2, 10.0)):
        fatigue_scores.publish(engine, [_score("1", total, as_of=DAY - timedelta(days=back))], 1, False, AT)
    fatigue_scores.publish(engine, [_score("2", as_of=DAY - timedelta(days=9))], 1, False, AT)
    found = scores.find_earlier(engine, {"act_1": ["1", "2"]}, DAY - timedelta(days=7), DAY)
    assert {key: (item.as_of, item.status) for key, item in found.items()} == {
        ("act_1", "1"): (DAY - timedelta(days=1), "critical")
    }
