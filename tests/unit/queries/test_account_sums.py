"""The sums of one account, as the command line and the read API show them."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import Account
from adwarm.queries.fatigue_overview import sum_account
from adwarm.store import accounts
from tests.support.fatigue_scores import make_score, publish

DAY = date(2026, 3, 3)
NOW = datetime(2026, 3, 4, tzinfo=UTC)


def test_score_and_share_weigh_by_spend(engine: Engine) -> None:
    """Each creative counts by its spend, its ads not again; without a total or known spend it has no weight.

    An earlier day has its own sums.
    """
    accounts.save(engine, [Account("act_1", currency="EUR")], NOW)
    ads = [
        make_score("1", DAY, status="critical", total=80.0, recent_spend=300.0),
        make_score("2", DAY, total=20.0, recent_spend=100.0),
        make_score("3", DAY, status="pending", total=None, recent_spend=100.0),
        make_score("creative-4", DAY, total=10.0, alarm="alarm", recent_spend=None),
        make_score("4", DAY, total=50.0, alarm="alarm", recent_spend=70.0, part_of="creative-4"),
    ]
    before = DAY - timedelta(days=2)
    publish(engine, [make_score("1", before, total=30.0, alarm="watch", recent_spend=None)], 1, True, NOW)
    publish(engine, ads, 1, True, NOW)
    now = sum_account(engine, "act_1")
    assert now.to_dict() == {
        "creatives": 4, "statuses": {"healthy": 2, "warning": 0, "critical": 1, "pending": 1}, "alarms": 1,
        "watches": 0, "fatigued": 2, "score": 65.0, "recent_spend": 500.0, "fatigued_spend": 300.0,
        "fatigued_share": 0.6, "unknown_spend": 1,
    }  # fmt: skip
    assert now.describe("EUR") == (
        "4 creatives (1 critical, 0 warning, 2 healthy, 1 pending); 1 alarm; score 65 weighted by spend; 60% of the "
        "last seven days' spend (500 EUR) is in fatigued ones; spend of 1 creative unknown"
    )
    older = sum_account(engine, "act_1", DAY - timedelta(days=1))
    assert (older.score, older.spend, older.fatigued_share, older.watches) == (30.0, None, None, 1)
    assert older.describe() == (
        "1 creative (0 critical, 0 warning, 1 healthy, 0 pending); 0 alarms; score 30; spend of 1 creative unknown"
    )
    assert sum_account(engine, "act_1", before - timedelta(days=1)).to_dict()["creatives"] == 0
