"""Rows as connectors and exports deliver them, through the store: what is equal in meaning gets the same score."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.fatigue.account_scores import score_accounts
from adwarm.model import FatigueScore
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore
from tests.support import fatigue_scores
from tests.unit.fatigue.stored_ads import ACCOUNT, LAST_DAY, NOW, store_days, store_rows

Rows = Sequence[Mapping[str, Any]]
AD = "120210000000000001"
PLAIN = {"ad_id": AD, "ad_name": "Spring", "impressions": "5000", "clicks": "60", "spend": "25.50"}
PURCHASES = [{"action_type": "link_click", "value": "40"}, {"action_type": "purchase", "value": "3"}]


def _score(engine: Engine, objects: ObjectStore, rows: Rows, days: int = 40) -> tuple[list[FatigueScore], list[str]]:
    """Store the same rows on each of the last days, and return the scores and errors."""
    context = Context(engine, objects, Settings())
    store_days(context, {LAST_DAY - timedelta(days=number): rows for number in range(days)})
    result = score_accounts(context, [(ACCOUNT, LAST_DAY)], NOW)
    return [item.score for item in fatigue_scores.list_latest(engine, ACCOUNT)], result.errors


@pytest.mark.parametrize(
    "rows",
    [
        [PLAIN],
        [PLAIN | {"ad_id": int(AD), "impressions": 5000, "clicks": 60.0, "spend": 25.5}],
        [PLAIN | {"impressions": "5000.0", "clicks": "60.0", "spend": "25.5"}],
        [PLAIN | {"account_id": ACCOUNT.removeprefix("act_"), "ad_name": "Spring\0"}],
        [
            PLAIN | {"age": age, "gender": gender, "impressions": "500", "clicks": "6", "spend": "2.55"}
            for age in ("18-24", "25-34", "35-44", "45-54", "55+")
            for gender in ("female", "male")
        ],
    ],
)
def test_types_and_breakdowns_change_nothing(sqlite_engine: Engine, objects: ObjectStore, rows: Rows) -> None:
    """Numbers of any type, and rows by age and gender that add up to the ad's, give the ad's score."""
    [score], errors = _score(sqlite_engine, objects, rows)
    assert errors == []
    assert (score.ad_id, score.ad_name, score.status, score.total) == (AD, "Spring", "healthy", 0.0)
    figures = score.recent_spend, score.baseline["ctr"], score.baseline["impressions"]
    assert figures == (178.5, 0.0115414, 165_000.0)
    assert score.baseline["flags"] == ["frequency_missing"]


@pytest.mark.parametrize(
    "fields",
    [
        {"results": '[{"indicator": "actions:purchase", "values": [{"value": "3"}]}]', "actions": PURCHASES},
        {
            "results": [
                {"indicator": "actions:purchase", "values": [{"value": "3", "attribution_windows": ["default"]}]}
            ]
        },
        {"conversions": "3.0"},
    ],
)
def test_results_in_every_form(sqlite_engine: Engine, objects: ObjectStore, fields: dict[str, Any]) -> None:
    """Three purchases a day at a steady price are one time the past cost, in whichever field they are."""
    [score], errors = _score(sqlite_engine, objects, [PLAIN | fields])
    assert (score.cost_ratio, errors) == (1.0, [])


@pytest.mark.parametrize(
    ("row", "flags"),
    [
        ({"ad_id": "1", "impressions": "4233", "inline_link_clicks": "10", "spend": "76.53"}, "link_clicks_used"),
        (PLAIN | {"clicks": "6000"}, "ctr_implausible"),
        (PLAIN | {"impressions": "9" * 15, "clicks": "9" * 13, "spend": f"{'9' * 14}.99"}, "frequency_missing"),
    ],
)
def test_unusual_ads_have_scores(sqlite_engine: Engine, objects: ObjectStore, row: dict[str, Any], flags: str) -> None:
    """Link clicks alone, more clicks than impressions, and huge numbers."""
    [score], errors = _score(sqlite_engine, objects, [row])
    assert (errors, score.status, score.alarm) == ([], "healthy", "none")
    assert flags in score.baseline["flags"]


@pytest.mark.parametrize(
    "row",
    [
        {"ad_id": "1", "impressions": "5000", "spend": "20", "video_play_actions": PURCHASES},
        PLAIN | {"clicks": "0"},
    ],
)
def test_ads_without_clicks_are_pending(sqlite_engine: Engine, objects: ObjectStore, row: dict[str, Any]) -> None:
    """Video ads without a figure of clicks, and ads that nobody clicks, lose nothing that can be counted."""
    [score], errors = _score(sqlite_engine, objects, [row])
    assert (errors, score.status, score.total, score.loss) == ([], "pending", None, None)


@pytest.mark.parametrize("ad_id", ["x" * 64, "{{ad.id}}", "120210000000000001_video", "ид-7"])
def test_ids_of_other_systems(sqlite_engine: Engine, objects: ObjectStore, ad_id: str) -> None:
    """Ids of one's own, up to the length that a row may have, and long names with emoji, are stored and read."""
    [score], errors = _score(
        sqlite_engine, objects, [PLAIN | {"ad_id": ad_id, "ad_name": "\N{GRINNING FACE}\u202e" * 250}]
    )
    assert (score.ad_id, len(score.ad_name), errors) == (ad_id, 400, [])


def test_a_number_that_cannot_be_read_is_named(
    sqlite_engine: Engine, objects: ObjectStore, subtests: pytest.Subtests
) -> None:
    """The reason names the ad, the field and the value; nothing is guessed, and other ads have their scores."""
    context = Context(sqlite_engine, objects, Settings())
    store_days(context, {LAST_DAY - timedelta(days=number): [PLAIN, PLAIN | {"ad_id": "8"}] for number in range(40)})
    for field, value in (
        ("spend", "25,50"),
        ("spend", "25.50 EUR"),
        ("spend", "-3.50"),
        ("impressions", "5,000"),
        ("impressions", "1e400"),
        ("clicks", "NaN"),
        ("clicks", "null"),
        ("conversions", "abc"),
    ):
        with subtests.test(field=field, value=value):
            store_rows(context, LAST_DAY - timedelta(days=3), [PLAIN | {field: value}, PLAIN | {"ad_id": "8"}])
            result = score_accounts(context, [(ACCOUNT, LAST_DAY)], NOW)
            assert result.errors == []
            reason = f"{LAST_DAY - timedelta(days=3)}: ad {AD}: {field} is '{value}', not a number of 0 or more"
            assert result.left_out == [f"{ACCOUNT} {reason}"]
            assert f"left out 1 row, such as {ACCOUNT} {reason}" in str(result)
            found = {item.score.ad_id: item.score for item in fatigue_scores.list_latest(sqlite_engine, ACCOUNT)}
            assert "impressions_missing" in found[AD].baseline["flags"]
            assert found["8"].baseline["flags"] == ["frequency_missing"]


def test_rows_without_delivery_score_nothing(sqlite_engine: Engine, objects: ObjectStore) -> None:
    """An ad whose rows are all zero has no score, and the account is not an error."""
    assert _score(sqlite_engine, objects, [PLAIN | {"impressions": "0", "clicks": "0", "spend": "0"}]) == ([], [])
