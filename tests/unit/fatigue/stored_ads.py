"""An account with ads that wear out: its days in partitions, and scores of its last days."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from adwarm.model import Account, FatigueScore, FatigueStatus
from adwarm.store import Context, accounts, partitions
from adwarm.store.database import write_transaction
from adwarm.store.partition_rows import content_hash, pack_rows
from adwarm.store.partitions import PartitionState
from tests.support import fatigue_scores

ACCOUNT = "act_1"
LAST_DAY = date(2026, 11, 24)
DAYS = 20
NOW = datetime(2026, 11, 25, 5, 0, tzinfo=UTC)
EVIL = '=1+1 </script><img src=x onerror="alert(1)"> <b>ad</b>'
"""A name that is a formula, ends a script, and has markup."""


SCORED = ("total", "loss", "creative", "audience")
"""What a pending score lacks."""


def status_of(loss: float | None) -> FatigueStatus:
    """Return the documented status of a share of clicks lost: a warning from 15 %, critical from 35 %."""
    if loss is None:
        return "pending"
    return "healthy" if loss < 0.15 else "warning" if loss < 0.35 else "critical"


def store_rows(context: Context, day: date, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store the rows of a day of the account."""
    store_days(context, {day: rows})


def store_days(context: Context, days: Mapping[date, Sequence[Mapping[str, Any]]]) -> None:
    """Store the rows of days of the account in one transaction."""
    states = []
    for day, rows in days.items():
        listed = [{"account_id": ACCOUNT, "date_start": str(day), "date_stop": str(day), **row} for row in rows]
        digest = context.objects.put(pack_rows(listed))
        states.append(PartitionState(day, digest, len(listed), content_hash(listed), NOW, True, True, 1, "v26.0"))
    with write_transaction(context.engine) as connection:
        partitions.publish(connection, ACCOUNT, context.settings.spec("default").hash, states, 1)


def make_score(ad_id: str, day: date = LAST_DAY, **values: Any) -> FatigueScore:
    """Return a healthy score of an ad, with other values where they are given."""
    score = fatigue_scores.make_score(
        account_id=ACCOUNT,
        ad_id=ad_id,
        as_of=day,
        status="healthy",
        total=10.0,
        loss=0.05,
        creative=12.0,
        audience=8.0,
        data_quality=0.9,
        trend_per_day=1.0,
        baseline={"ctr": 0.01, "recent_ctr": 0.009, "frequency": 1.5, "flags": []},
        recent_spend=100.0,
    )
    return replace(score, **values)


def store_account(context: Context) -> None:
    """Store 20 days of three ads: one that wears out and gets an alarm, a healthy one, and one that is pending."""
    accounts.save(context.engine, [Account(ACCOUNT, currency="EUR", name="Harbor <Coffee>")], NOW)
    days = [LAST_DAY - timedelta(days=DAYS - 1 - number) for number in range(DAYS)]
    figures = {"impressions": "10000", "clicks": "100", "spend": "50"}
    healthy = {"ad_id": "2", "ad_name": "ad 2", **figures}
    worn = [{**figures, "ad_id": "1", "ad_name": EVIL, "clicks": "40" if n >= 10 else "100"} for n in range(DAYS)]
    store_days(context, {day: [row, healthy] for day, row in zip(days, worn, strict=True)})
    for number, day in enumerate(days):
        fatigued = number >= 14
        published = [
            make_score(
                "1",
                day,
                ad_name=EVIL,
                status="critical" if fatigued else "healthy",
                total=85.0 if fatigued else 10.0,
                loss=0.62 if fatigued else 0.05,
                creative=95.0 if fatigued else 10.0,
                driver="creative" if fatigued else None,
                alarm="alarm" if number >= 13 else "none",
                alarm_since=LAST_DAY - timedelta(days=6) if number >= 13 else None,
                onset=LAST_DAY - timedelta(days=9) if number >= 13 else None,
                days_to_critical=0.0 if fatigued else None,
            ),
            make_score("2", day, recent_spend=300.0),
            make_score(
                "3", day, status="pending", total=None, loss=None, creative=None, audience=None, recent_spend=None
            ),
        ]
        at = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=5)
        fatigue_scores.publish(context.engine, published, number + 1, True, at)
