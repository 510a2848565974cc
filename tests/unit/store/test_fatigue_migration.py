"""A filled database gets the tables and columns of alarms; its earlier scores stay until new ones replace them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, text

from adwarm.fatigue.account_scores import score_accounts
from adwarm.fatigue.score import CALCULATOR_VERSION
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, scores
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.schema import downgrade, upgrade
from adwarm.store.tables import fatigue_score
from tests import fatigue_scores
from tests.unit.fatigue.stored_ads import ACCOUNT, LAST_DAY, NOW, make_score, store_rows

ACCOUNTS = (ACCOUNT, "act_2", "act_3")
LONG_ID = "7" * 40


@pytest.fixture
def earlier(engine: Engine) -> Iterator[Engine]:
    """A database of the revision before, with a score of each of three accounts by an earlier calculator."""
    downgrade(engine, "7")
    at = NOW.replace(tzinfo=None) if engine.dialect.name == "sqlite" else NOW
    values = "'healthy', 12.5, 12.5, NULL, NULL, 0.9, NULL, '{}', 'canonical-2', 1, :settled, :at"
    names = (
        "account_id, ad_id, as_of, ad_name, status, total, creative, audience, algorithm, data_quality, trend_per_day, "
        "baseline, calculator_version, data_version, settled, calculated_at"
    )
    with write_transaction(engine) as connection:
        for account in ACCOUNTS:
            row = {"account": account, "day": str(LAST_DAY), "settled": True, "at": at}
            connection.execute(
                text(f"INSERT INTO fatigue_score ({names}) VALUES (:account, '1', :day, 'ad', {values})"), row
            )
    yield engine
    upgrade(engine)


def test_earlier_scores_are_read_and_replaced_some_at_a_time(earlier: Engine, objects: ObjectStore) -> None:
    """Earlier scores are read without an alarm; the account that is scored again gets new ones, the others wait."""
    upgrade(earlier)
    context = Context(earlier, objects, Settings())
    for number in range(40):
        day = LAST_DAY - timedelta(days=number)
        store_rows(context, day, [{"ad_id": "1", "impressions": "5000", "clicks": "60", "spend": "25"}])

    [before] = scores.list_latest(earlier, ACCOUNT)
    assert (before.score.total, before.score.alarm, before.score.calculator_version) == (12.5, "none", "canonical-2")
    turns = {tuple(scores.list_outdated(earlier, CALCULATOR_VERSION, 1, str(turn))) for turn in range(20)}
    assert turns == {((account, LAST_DAY),) for account in ACCOUNTS}
    result = score_accounts(context, scores.list_outdated(earlier, CALCULATOR_VERSION, 10), NOW)

    assert (result.accounts, result.without_data, result.errors) == (1, 2, [])
    versions = {name: scores.list_latest(earlier, name)[0].score.calculator_version for name in ACCOUNTS}
    assert versions == {ACCOUNT: CALCULATOR_VERSION, "act_2": "canonical-2", "act_3": "canonical-2"}


def test_going_back_keeps_what_there_is_room_for(earlier: Engine) -> None:
    """The earlier revision keeps all scores but those of ads whose ids are longer than it has room for."""
    upgrade(earlier)
    fatigue_scores.publish(earlier, [replace(make_score("1"), ad_id=LONG_ID)], 1, True, NOW)
    assert [item.score.ad_id for item in scores.list_latest(earlier, ACCOUNT)] == [LONG_ID]
    downgrade(earlier, "7")
    with read_transaction(earlier) as connection:
        left = connection.execute(select(fatigue_score.c.account_id, fatigue_score.c.ad_id)).all()
    assert sorted(map(tuple, left)) == [("act_2", "1"), ("act_3", "1")]
