"""What scores said, day by day, without the rest of them."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import FatigueScore
from adwarm.store.score_signals import ScoreSignal, list_signals
from tests import fatigue_scores

DAY = date(2026, 11, 24)
SCORE = FatigueScore(
    "act_1", "7", DAY, "an ad", "warning", 40.0, 40.0, None, None, 0.9, None, None, {}, "v1", alarm="watch"
)


def test_signals_since_a_day(engine: Engine) -> None:
    """Band, total and alarm come back by ad and day; earlier days and other accounts are left out."""
    earlier = replace(SCORE, as_of=DAY - timedelta(days=1), status="pending", total=None, alarm="none")
    old = replace(SCORE, as_of=DAY - timedelta(days=9))
    for score in (SCORE, earlier, old, replace(SCORE, account_id="act_2")):
        fatigue_scores.publish(engine, [score], 1, True, datetime(2026, 11, 25, tzinfo=UTC))
    assert list_signals(engine, "act_1", DAY - timedelta(days=3)) == [
        ScoreSignal("7", earlier.as_of, "pending", None, "none"),
        ScoreSignal("7", DAY, "warning", 40.0, "watch"),
    ]
