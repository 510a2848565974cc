"""Stored scores: replaced as a whole, never by older data, read newest first."""

from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Engine

from adwarm.fatigue import score_account
from adwarm.model import FatigueScore, FatigueStatus
from adwarm.settings import FatigueSettings
from adwarm.store import scores
from adwarm.store.scores import StoredScore

DAY = date(2026, 11, 24)
AT = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


def _score(
    ad_id: str = "1", total: float | None = 20.0, status: FatigueStatus = "healthy", **values: Any
) -> FatigueScore:
    score = FatigueScore(
        account_id="act_1",
        ad_id=ad_id,
        as_of=DAY,
        ad_name="an ad",
        status=status,
        total=total,
        creative=10.0,
        audience=None,
        algorithm=30.0,
        data_quality=0.8,
        trend_per_day=1.5,
        days_to_critical=12.0,
        baseline={"ctr": 0.01, "flags": []},
        calculator_version="v1",
    )
    return replace(score, **values)


def test_scores_survive_the_table(engine: Engine) -> None:
    """Every value comes back, missing ones as None."""
    assert scores.publish(engine, [_score()], 3, True, AT) == 1
    (row,) = scores.list_latest(engine, "act_1")
    assert row == StoredScore(_score(), 3, True, AT)
    stamp = {"data_version": 3, "settled": True, "calculated_at": AT, "input_hash": ""}
    assert row.to_dict() == {**asdict(_score()), **stamp}


def test_a_real_score_fits(engine: Engine) -> None:
    """A score of the calculator is stored unchanged, except that its name is cut to the column."""
    rows = [
        {
            "account_id": "act_1",
            "ad_id": "7",
            "ad_name": "n" * 900,
            "date_start": f"2026-11-{day:02}",
            "impressions": "5000",
            "clicks": "50",
            "spend": "20.5",
        }
        for day in range(1, 25)
    ]
    found = score_account(rows, [], DAY, FatigueSettings())
    scores.publish(engine, found, 1, False, AT)
    (row,) = scores.list_latest(engine, "act_1")
    assert (row.score.total, row.score.status, row.score.ad_name) == (found[0].total, "healthy", "n" * 400)


def test_newer_data_replaces_the_scores_of_a_day_whole(engine: Engine) -> None:
    """An ad that is no longer scored is deleted; other days and accounts do not change."""
    scores.publish(engine, [_score("1"), _score("2"), _score("1", as_of=date(2026, 11, 23))], 1, False, AT)
    scores.publish(engine, [_score("1", account_id="act_2")], 1, False, AT)
    assert scores.publish(engine, [_score("2", 70.0, "critical")], 2, True, AT) == 1
    assert [(row.score.ad_id, row.score.total) for row in scores.list_latest(engine, "act_1")] == [("2", 70.0)]
    assert len(scores.list_latest(engine, "act_1", date(2026, 11, 23))) == 1
    assert len(scores.list_latest(engine, "act_2")) == 1


def test_older_data_replaces_nothing(engine: Engine) -> None:
    """A late run with an older version stores nothing, and an empty list deletes nothing."""
    scores.publish(engine, [_score(total=50.0)], 5, False, AT)
    assert scores.publish(engine, [_score(total=1.0)], 4, False, AT) == 0
    assert scores.publish(engine, [], 6, False, AT) == 0
    assert scores.list_latest(engine, "act_1")[0].score.total == 50.0


def test_the_data_version_can_be_read(engine: Engine) -> None:
    """It is None without scores, and optionally for one calculator only."""
    assert scores.find_data_version(engine, "act_1", DAY) is None
    scores.publish(engine, [_score()], 7, False, AT)
    assert scores.find_data_version(engine, "act_1", DAY) == 7
    assert scores.find_data_version(engine, "act_1", DAY, "v1") == 7
    assert scores.find_data_version(engine, "act_1", DAY, "v2") is None
    assert scores.find_data_version(engine, "act_1", date(2026, 11, 23)) is None
    assert scores.find_data_version(engine, "act_2", DAY) is None


def test_the_latest_scores_are_those_of_one_day_worst_first(engine: Engine) -> None:
    """The newest day up to `as_of`, the most fatigued ad first, pending ones last."""
    scores.publish(engine, [_score("9", 90.0, as_of=date(2026, 11, 22))], 1, False, AT)
    scores.publish(
        engine, [_score("1", 5.0), _score("2", None, "pending"), _score("3", 65.0, "critical")], 1, False, AT
    )
    assert [row.score.ad_id for row in scores.list_latest(engine, "act_1")] == ["3", "1", "2"]
    assert [row.score.ad_id for row in scores.list_latest(engine, "act_1", date(2026, 11, 23))] == ["9"]
    assert scores.list_latest(engine, "act_1", date(2026, 11, 1)) == []


def test_statuses_are_counted_over_all_accounts(engine: Engine) -> None:
    """Every status is in the result, with 0 when no ad has it."""
    scores.publish(
        engine,
        [_score("1"), _score("2", 70.0, "critical"), _score("1", account_id="act_2"), _score("3", None, "pending")],
        1,
        False,
        AT,
    )
    assert scores.count_by_status(engine, DAY) == {"healthy": 2, "warning": 0, "critical": 1, "pending": 1}
    assert sum(scores.count_by_status(engine, date(2026, 1, 1)).values()) == 0
