"""Stored scores are read by page, by ad and by day, each ad once and in one order."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.fatigue.report import list_changes
from adwarm.model import Account, FatigueScore
from adwarm.queries import fatigue_ads, fatigue_overview
from adwarm.queries.fatigue_ads import AccountFilter, AdQuery
from adwarm.store import accounts, creatives, scores
from adwarm.store.database import open_engine
from adwarm.store.schema import upgrade
from adwarm.store.scores import ScorePosition, ScoreQuery
from tests.support import fatigue_scores

DAY = date(2026, 11, 24)
AT = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
FIGURE = st.none() | st.sampled_from([0.0, 0.1, 0.3]) | st.floats(-1, 1)


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
    _score("1", 50.0, loss=0.1, recent_spend=100.0),
    _score("2", 80.0, loss=0.5, recent_spend=20.0),
    _score("3", None, recent_spend=900.0),
    _score("4", 80.0, loss=0.5, alarm="watch"),
    _score("5", 10.0, loss=0.02, recent_spend=3_000.0, alarm="alarm"),
    _score("6", None, alarm="alarm"),
    _score("7", 80.0, loss=0.6),
    _score("8", None, loss=-0.4, recent_spend=50.0),
    _score("9", 70.0, loss=0.5, recent_spend=20.0),
]
RANKED = list("529174836")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_hold_each_score_once(engine: Engine, size: int) -> None:
    """Pages of any size give the whole list: most spend times loss first, equal ones by id, without a loss last."""
    fatigue_scores.publish(engine, MIXED, 1, False, AT)
    found: list[str] = []
    after = None
    while page := scores.list_page(engine, ScoreQuery("act_1"), size, after):
        found += [item.score.ad_id for item in page]
        after = ScorePosition(page[-1].score.as_of, page[-1].score.rank)
    assert found == RANKED
    assert [item.score.ad_id for item in scores.list_day(engine, "act_1", DAY)] == RANKED


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(FIGURE, FIGURE), min_size=1, max_size=10))
def test_every_list_has_one_order(figures: list[tuple[float | None, float | None]]) -> None:
    """The order of the database is that of `rank`, whatever is lost and spent, in each list of ads."""
    engine = open_engine("sqlite://")
    upgrade(engine)
    accounts.save(engine, [Account("act_1", "UTC", "UTC", "EUR", name="")], AT)
    rows = [
        _score(f"{ad}", 70.0, loss=loss, recent_spend=spend and abs(spend)) for ad, (loss, spend) in enumerate(figures)
    ]
    fatigue_scores.publish(engine, rows, 1, False, AT)
    ranked = [score.ad_id for score in sorted(rows, key=lambda score: score.rank)]
    listed = {
        "day": [item.score for item in scores.list_day(engine, "act_1", DAY)],
        "worst": scores.list_worst(engine, "act_1", DAY, ["critical"]),
        "page": [ad.stored.score for ad in fatigue_ads.list_ads(engine, AdQuery())[0]],
        "due": [ad.stored.score for ad in fatigue_overview.list_due(engine, AccountFilter())],
        "changes": [item.score for item in list_changes([], scores.list_day(engine, "act_1", DAY))],
    }
    assert {name: [score.ad_id for score in found] for name, found in listed.items()} == dict.fromkeys(listed, ranked)
    assert creatives.list_due(engine, DAY, AT) == {"act_1": ranked}


def test_filters_select(engine: Engine) -> None:
    """Status, alarm and ad each leave the others out, and together."""
    fatigue_scores.publish(engine, MIXED, 1, False, AT)

    def ads(**filters: Any) -> list[str]:
        return [item.score.ad_id for item in scores.list_page(engine, ScoreQuery("act_1", **filters), 100)]

    assert ads(status="critical") == ["2", "9", "7", "4"]
    assert ads(alarm="alarm") == ["5", "6"]
    assert ads(alarm="watch", status="critical", ad_id="4") == ["4"]
    assert ads(ad_id="99") == []


def test_newest_days(engine: Engine) -> None:
    """The newest day up to a day; None before the first one and for other accounts."""
    for back in (0, 3):
        fatigue_scores.publish(engine, [_score("1", as_of=DAY - timedelta(days=back))], 1, False, AT)
    assert scores.find_newest_day(engine, "act_1") == DAY
    assert scores.find_newest_day(engine, "act_1", DAY - timedelta(days=1)) == DAY - timedelta(days=3)
    assert scores.find_newest_day(engine, "act_1", DAY - timedelta(days=4)) is None
    assert scores.find_newest_days(engine, ["act_1", "act_2"]) == {"act_1": DAY}


def test_one_ad_over_time(engine: Engine) -> None:
    """The newest scores of an ad up to a day, oldest first."""
    for back in range(5):
        day = DAY - timedelta(days=back)
        fatigue_scores.publish(
            engine, [_score("1", 10.0 + back, as_of=day), _score("2", None, as_of=day)], 1, False, AT
        )
    for until, totals in ((None, [12.0, 11.0, 10.0]), (DAY - timedelta(days=1), [13.0, 12.0, 11.0])):
        history = scores.list_ad_history(engine, "act_1", "1", 3, until)
        assert [item.score.total for item in history] == totals


def test_earlier_scores(engine: Engine) -> None:
    """Each ad has its newest score before the day and within the span."""
    for back, total in ((1, 70.0), (2, 10.0)):
        fatigue_scores.publish(engine, [_score("1", total, as_of=DAY - timedelta(days=back))], 1, False, AT)
    fatigue_scores.publish(engine, [_score("2", as_of=DAY - timedelta(days=9))], 1, False, AT)
    found = scores.find_earlier(engine, {"act_1": ["1", "2"]}, DAY - timedelta(days=7), DAY)
    assert {key: (item.as_of, item.status) for key, item in found.items()} == {
        ("act_1", "1"): (DAY - timedelta(days=1), "critical")
    }
