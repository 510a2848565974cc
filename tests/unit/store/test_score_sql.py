"""The queries that the documentation offers to BI tools run on both databases and say what their text promises."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore
from adwarm.store.database import read_transaction
from adwarm.store.scores import table as fatigue_score
from tests.support import fatigue_scores
from tests.unit.fatigue.stored_ads import LAST_DAY, NOW, make_score, store_account

PAGE = (Path(__file__).resolve().parents[3] / "docs/how-to/fatigue.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def stored(engine: Engine, objects: ObjectStore) -> Engine:
    """A database with two accounts, the first with an alarm since a week ago."""
    store_account(Context(engine, objects, Settings()))
    fatigue_scores.publish(engine, [make_score("9", account_id="act_2", recent_spend=0.0)], 1, True, NOW)
    return engine


def _run(engine: Engine, query: str) -> list[dict[str, Any]]:
    with read_transaction(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(text(query))]


def test_there_are_three_queries() -> None:
    """The page has the newest scores, spend by account, and alarms of a week."""
    assert len(QUERIES) == 3


def test_the_newest_score_of_each_ad(stored: Engine) -> None:
    """One row per creative, that of the account's newest day, most spend times loss first."""
    rows = _run(stored, QUERIES[0])
    assert (rows[0]["account_id"], rows[0]["ad_id"], rows[0]["alarm"]) == ("act_1", "1", "alarm")
    assert sorted((row["account_id"], row["ad_id"]) for row in rows) == [
        ("act_1", "1"), ("act_1", "2"), ("act_1", "3"), ("act_2", "9"),
    ]  # fmt: skip
    assert {str(row["as_of"]) for row in rows} == {str(LAST_DAY)}


def test_spend_in_fatigued_ads(stored: Engine) -> None:
    """Sums and share of each account; an account without spend has no share."""
    first, second = _run(stored, QUERIES[1])
    assert (first["account_id"], first["creatives"], first["fatigued_spend"], first["spend"]) == (
        "act_1",
        3,
        100.0,
        400.0,
    )
    assert first["fatigued_share"] == pytest.approx(0.25)
    assert first["score"] == pytest.approx(28.75)
    assert (second["fatigued_share"], second["score"]) == (None, None)


def test_alarms_of_a_week(stored: Engine) -> None:
    """Each alarm once, with its day and onset, however many days it lasts."""
    (row,) = _run(stored, QUERIES[2])
    assert (row["ad_id"], str(row["alarm_since"]), str(row["onset"]), row["highest_score"]) == (
        "1", "2026-11-18", "2026-11-15", 85.0,
    )  # fmt: skip


def test_the_page_names_columns_that_exist() -> None:
    """The first column of the page's table names columns of the table; the reference has all of them."""
    table = PAGE[PAGE.index("| column | use |") : PAGE.index("```sql")]
    first = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = {name for cell in first for name in re.findall(r"`([a-z_]+)`", cell)}

    assert named
    assert named <= {column.name for column in fatigue_score.columns}
