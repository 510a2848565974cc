"""Stored scores: replaced as a whole, never by older data, read newest first."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from adwarm.model import FatigueScore, FatigueStatus
from adwarm.settings import FatigueSettings
from adwarm.store import fatigue_days, scores
from adwarm.store.fatigue_days import ScoreInputs
from adwarm.store.scores import DayScores, StoredScore
from tests.support import fatigue_scores

DAY = date(2026, 11, 24)
AT = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


def _score(
    ad_id: str = "1", total: float | None = 20.0, status: FatigueStatus = "healthy", **values: Any
) -> FatigueScore:
    score = fatigue_scores.make_score(
        ad_id=ad_id,
        as_of=DAY,
        ad_name="an ad",
        status=status,
        total=total,
        creative=10.0,
        algorithm=30.0,
        data_quality=0.8,
        trend_per_day=1.5,
        days_to_critical=12.0,
        baseline={"ctr": 0.01, "flags": []},
    )
    return replace(score, **values)


def test_scores_survive_the_table(engine: Engine) -> None:
    """Every value comes back, missing ones as None."""
    assert fatigue_scores.publish(engine, [_score()], 3, True, AT) == 1
    (row,) = fatigue_scores.list_latest(engine, "act_1")
    assert row == StoredScore(_score(), "1", 3, True, AT)
    stamp = {"calculator_version": "1", "data_version": 3, "settled": True, "calculated_at": AT, "input_hash": ""}
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
    found = fatigue_scores.score_rows(rows, [], DAY, FatigueSettings())
    fatigue_scores.publish(engine, found, 1, False, AT)
    (row,) = fatigue_scores.list_latest(engine, "act_1")
    assert (row.score.total, row.score.status, row.score.ad_name) == (found[0].total, "healthy", "n" * 400)


def test_newer_data_replaces_the_scores_of_a_day_whole(engine: Engine) -> None:
    """An ad that is no longer scored is deleted; other days and accounts do not change."""
    fatigue_scores.publish(engine, [_score("1"), _score("2"), _score("1", as_of=date(2026, 11, 23))], 1, False, AT)
    fatigue_scores.publish(engine, [_score("1", account_id="act_2")], 1, False, AT)
    assert fatigue_scores.publish(engine, [_score("2", 70.0, "critical")], 2, True, AT) == 1
    assert [(row.score.ad_id, row.score.total) for row in fatigue_scores.list_latest(engine, "act_1")] == [("2", 70.0)]
    assert len(fatigue_scores.list_latest(engine, "act_1", date(2026, 11, 23))) == 1
    assert len(fatigue_scores.list_latest(engine, "act_2")) == 1


def test_older_data_replaces_nothing(engine: Engine) -> None:
    """A late run with an older version stores nothing, and an empty list deletes nothing."""
    fatigue_scores.publish(engine, [_score(total=50.0)], 5, False, AT)
    assert fatigue_scores.publish(engine, [_score(total=1.0)], 4, False, AT) == 0
    assert fatigue_scores.publish(engine, [], 6, False, AT) == 0
    assert fatigue_scores.list_latest(engine, "act_1")[0].score.total == 50.0


def _day(total: float, version: int, input_hash: str, replaces: str | None = None, ads: int = 1) -> DayScores:
    listed = [_score(str(number), total) for number in range(ads)]
    columns = fatigue_scores.to_columns(listed) if listed else {}
    inputs = ScoreInputs(input_hash, "data", version, 5, "s", "f", "v1")
    return DayScores("act_1", DAY, columns, 0, ads, inputs, replaces=replaces)


def test_a_day_that_was_published_meanwhile_stays_unless_the_data_is_newer(engine: Engine) -> None:
    """A run replaces what it has read before, or older data; what another run made of newer data stays."""
    key = ("act_1", DAY)
    assert scores.publish_days(engine, [_day(10.0, 5, "a")], AT) == {key}
    assert scores.publish_days(engine, [_day(20.0, 4, "b")], AT) == set()
    assert scores.publish_days(engine, [_day(30.0, 4, "c", replaces="x")], AT) == set()
    assert scores.publish_days(engine, [_day(40.0, 4, "d", replaces="a")], AT) == {key}
    assert scores.publish_days(engine, [_day(50.0, 4, "e", replaces="a")], AT) == {key}
    (row,) = fatigue_scores.list_latest(engine, "act_1")
    assert (row.score.total, row.data_version, row.input_hash) == (50.0, 4, "e")


def test_a_day_without_ads_is_remembered_and_deletes_earlier_scores(engine: Engine) -> None:
    """A day on which no ad is scored any more has no scores, counts as scored, and says what it was computed from."""
    scores.publish_days(engine, [_day(10.0, 1, "a", ads=2)], AT)
    scores.publish_days(engine, [_day(10.0, 1, "b", replaces="a", ads=0)], AT)
    assert fatigue_scores.list_latest(engine, "act_1") == []
    assert scores.list_scored_accounts(engine, ["act_1", "act_2"], DAY) == {"act_1"}
    assert fatigue_days.list_inputs(engine, ["act_1", "act_2"]) == {
        "act_1": {DAY: ScoreInputs("b", "data", 1, 5, "s", "f", "v1")}
    }


def test_nothing_is_stored_when_one_day_cannot_be(engine: Engine) -> None:
    """Days are published all or none: an error in the middle leaves neither scores nor their inputs."""
    twice = replace(_day(10.0, 1, "a"), columns=fatigue_scores.to_columns([_score("1"), _score("1")]), last=2)
    with pytest.raises(IntegrityError):
        scores.publish_days(engine, [replace(_day(10.0, 1, "b"), as_of=date(2026, 11, 20)), twice], AT)
    assert fatigue_scores.list_latest(engine, "act_1") == []
    assert fatigue_days.list_inputs(engine, ["act_1"]) == {}


HOSTILE = "tab\t newline\n return\r back\\slash \\N \\. quote\" ' \u2028 \U0001f600 nul\0"


def test_hostile_names_are_stored_as_they_are(engine: Engine) -> None:
    """Control characters, escapes and quotes of a name come back; only NUL, which PostgreSQL cannot store, is gone."""
    score = _score(
        ad_name=HOSTILE, baseline={"note": HOSTILE.replace("\0", ""), "flags": []}, onset=DAY, trend_per_day=1e300
    )
    fatigue_scores.publish(engine, [score, _score("2", ad_name="", trend_per_day=-0.0)], 1, False, AT)
    first, second = (row.score for row in fatigue_scores.list_latest(engine, "act_1"))
    assert first == replace(score, ad_name=HOSTILE.replace("\0", ""))
    assert (second.ad_name, second.onset) == ("", None)


def test_the_frequencies_behind_stored_scores_can_be_read(engine: Engine) -> None:
    """They stand in for the document they came from, once it is gone; ads without one are left out."""
    listed = [_score("1", baseline={"frequency": 2.5}), _score("2", baseline={"frequency": None}), _score("3")]
    fatigue_scores.publish(engine, listed, 1, False, AT)
    assert scores.list_frequencies(engine, "act_1", [DAY]) == {DAY: {"1": 2.5}}
    assert scores.list_frequencies(engine, "act_1", []) == {}


@pytest.mark.parametrize("rounds", [6])
def test_two_publishers_of_the_same_days_do_not_block_each_other(engine: Engine, rounds: int) -> None:
    """Runs that publish the same accounts and days at once, in opposite orders, all finish, and each day is whole."""
    days = [DAY - timedelta(days=number) for number in range(8)]

    def publish(number: int) -> None:
        listed = [
            DayScores(
                name,
                day,
                fatigue_scores.to_columns([_score("1", float(number), account_id=name, as_of=day)]),
                0,
                1,
                _inputs(number),
            )
            for name in ("act_1", "act_2")
            for day in days
        ]
        scores.publish_days(engine, listed[::-1] if number % 2 else listed, AT)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(rounds * 2)))
    for name in ("act_1", "act_2"):
        stored = fatigue_days.list_inputs(engine, [name])[name]
        for day in days:
            (row,) = fatigue_scores.list_latest(engine, name, day)
            assert (row.score.as_of, row.input_hash) == (day, stored[day].input_hash)
            assert row.input_hash == f"h{row.score.total:.0f}"


def _inputs(number: int) -> ScoreInputs:
    return ScoreInputs(f"h{number}", "data", 1)


def test_the_latest_scores_are_those_of_one_day_worst_first(engine: Engine) -> None:
    """The newest day up to `as_of`, most spend times loss first, pending ones last."""
    fatigue_scores.publish(engine, [_score("9", 90.0, as_of=date(2026, 11, 22))], 1, False, AT)
    fatigue_scores.publish(
        engine, [_score("1", 5.0, loss=0.1), _score("2", None, "pending"), _score("3", 65.0, loss=0.5)], 1, False, AT
    )
    assert [row.score.ad_id for row in fatigue_scores.list_latest(engine, "act_1")] == ["3", "1", "2"]
    assert [row.score.ad_id for row in fatigue_scores.list_latest(engine, "act_1", date(2026, 11, 23))] == ["9"]
    assert fatigue_scores.list_latest(engine, "act_1", date(2026, 11, 1)) == []


def test_statuses_are_counted_over_all_accounts(engine: Engine) -> None:
    """Every status is in the result, with 0 when no ad has it."""
    fatigue_scores.publish(
        engine,
        [_score("1"), _score("2", 70.0, "critical"), _score("1", account_id="act_2"), _score("3", None, "pending")],
        1,
        False,
        AT,
    )
    assert scores.count_by_status(engine) == {"healthy": 2, "warning": 0, "critical": 1, "pending": 1}
