"""A day is complete only when every active account has it stored after its end, and scored."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine

from adwarm.fatigue.day_completeness import check_day
from adwarm.model import Account
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, accounts, data_arrivals, partitions, scores
from adwarm.store.database import write_transaction
from adwarm.store.partitions import PartitionState
from tests.support import fatigue_scores

DAY = date(2026, 11, 24)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SPEC = Settings().spec("default").hash


def _store(engine: Engine, account: str, fetched_at: datetime = NOW, rows: int = 1) -> None:
    state = PartitionState(DAY, "o" * 64, rows, "c" * 64, fetched_at, True, False, 1, "v25.0")
    with write_transaction(engine) as connection:
        partitions.publish(connection, account, SPEC, [state], 1)


def _score(engine: Engine, account: str) -> None:
    score = fatigue_scores.make_score(
        account_id=account,
        ad_id="1",
        as_of=DAY,
        ad_name="ad",
        status="healthy",
        total=1.0,
        creative=1.0,
        audience=1.0,
        algorithm=1.0,
    )
    fatigue_scores.publish(engine, [score], 1, settled=False, at=NOW)


def test_every_account_must_be_complete_and_scored(engine: Engine, objects: ObjectStore) -> None:
    """Missing, fetched too early, not scored, restated, or not ended: each keeps the day open, and is named."""
    context = Context(engine, objects, Settings())
    assert not check_day(context, DAY, NOW).is_complete
    names = ("act_1", "act_2", "act_3", "act_4", "act_5", "act_6")
    accounts.save(engine, [Account(name, "UTC", "UTC", "EUR") for name in names], NOW)
    west = Account("act_7", "Pacific/Honolulu", "UTC", "EUR")
    accounts.save(engine, [west, Account("act_8", status="closed")], NOW)
    for name in names[1:]:
        early = datetime(2026, 11, 24, 20, tzinfo=UTC)
        _store(engine, name, early if name == "act_2" else NOW - timedelta(hours=1), rows=0 if name == "act_6" else 1)
        if name not in {"act_3", "act_6"}:
            _score(engine, name)
    with write_transaction(engine) as connection:
        data_arrivals.save(connection, "act_4", [DAY], NOW, "test", [SPEC])

    result = check_day(context, DAY, NOW)

    assert (result.accounts, result.complete) == (7, 2)
    assert result.waiting == ("act_1", "act_2", "act_3", "act_4", "act_7")
    assert "2 of 7 active accounts" in str(result)
    assert result.to_dict() == {"day": "2026-11-24", "accounts": 7, "complete": 2}


def test_a_day_without_open_ends_is_complete(engine: Engine, objects: ObjectStore) -> None:
    """One account that is stored and scored is enough when it is the only active one; outdated scores are listed."""
    accounts.save(engine, [Account("act_1", "UTC", "UTC", "EUR")], NOW)
    _store(engine, "act_1")
    _score(engine, "act_1")

    assert check_day(Context(engine, objects, Settings()), DAY, NOW).is_complete
    assert scores.list_outdated(engine, "2", 10) == [("act_1", DAY)]
    assert scores.list_outdated(engine, "1", 10) == []
    assert replace(check_day(Context(engine, objects, Settings()), DAY, NOW), accounts=2).is_complete is False
