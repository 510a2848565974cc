"""Scores as of a day do not depend on the order in which days are scored or arrive."""

import multiprocessing
import random
import traceback
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select

from adwarm.fatigue import account_scores
from adwarm.fatigue.account_scores import ScoringResult, score_accounts, score_block
from adwarm.model import Row
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, partitions
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.fatigue_days import fatigue_prior
from adwarm.store.fatigue_days import table as fatigue_day
from adwarm.store.partition_rows import content_hash, pack_rows
from adwarm.store.partitions import PartitionState
from adwarm.store.partitions import table as partition
from adwarm.store.scores import select_scores
from adwarm.store.scores import table as fatigue_score

FIRST, LAST = date(2025, 11, 1), date(2026, 3, 31)
SCORED = [LAST - timedelta(days=59 - number) for number in range(60)]
RECENT = SCORED[-24:]
NOW = datetime(2026, 7, 1, tzinfo=UTC)
ACCOUNTS = ("act_1", "act_2")
SPEC = Settings().spec("default").hash


def _rows(account_id: str, day: date, seed: int = 0) -> list[Row]:
    """Return a day's rows: one ad that starts late, one that pauses, one that is renamed, and days without clicks."""
    draw = np.random.default_rng([int(account_id[4:]), day.toordinal(), seed])
    rows: list[Row] = []
    for ad in range(4):
        if (ad == 1 and day < date(2026, 2, 12)) or (ad == 2 and day.day % 9 < 4 and day.month == 2):
            continue
        impressions = int(draw.lognormal(8.0, 0.5))
        wear = 1.0 if ad else float(np.exp(-0.02 * max(0, (day - date(2026, 2, 5)).days)))
        row: Row = {
            "account_id": account_id[4:],
            "ad_id": str(70 + ad),
            "ad_name": f"ad {ad}" + (" new" if ad == 3 and day >= date(2026, 3, 5) else ""),
            "date_start": day.isoformat(),
            "date_stop": day.isoformat(),
            "impressions": str(impressions),
            "spend": f"{impressions * draw.lognormal(-5.0, 0.1):.2f}",
            "actions": [{"action_type": "purchase", "value": str(int(draw.poisson(3)))}],
        }
        clicks = int(draw.binomial(impressions, 0.012 * wear))
        rows.append(row | ({} if day.day == 17 else {"clicks": str(clicks), "inline_link_clicks": str(clicks // 2)}))
    return rows


def _store(context: Context, account_id: str, days: Sequence[date], seed: int = 0, version: int = 1) -> None:
    _publish(context, account_id, [row for day in days for row in _rows(account_id, day, seed)], version)


def _publish(context: Context, account_id: str, rows: Sequence[Row], version: int = 1) -> None:
    digest, days = context.objects.put(pack_rows(rows)), defaultdict[str, list[Row]](list)
    for row in rows:
        days[row["date_start"]].append(row)
    states = [
        PartitionState(
            date.fromisoformat(day), digest, len(listed), content_hash(listed), NOW, True, True, version, "v26.0"
        )
        for day, listed in days.items()
    ]
    with write_transaction(context.engine) as connection:
        partitions.publish(connection, account_id, SPEC, states, 1)


def _days(since: date = FIRST, until: date = LAST) -> list[date]:
    return [since + timedelta(days=number) for number in range((until - since).days + 1)]


def _score(context: Context, days: Sequence[date], accounts: Sequence[str] = ACCOUNTS) -> ScoringResult:
    result = score_accounts(context, [(name, day) for name in accounts for day in days], NOW)
    assert result.errors == []
    return result


def _stored(engine: Engine) -> list[dict[str, Any]]:
    """Return all columns of all scores but the time of the calculation."""
    query = select_scores().order_by(*fatigue_score.primary_key.columns)
    with read_transaction(engine) as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [{name: value for name, value in row.items() if name != "calculated_at"} for row in rows]


def _clear(engine: Engine, *, partitions_too: bool = False) -> None:
    with write_transaction(engine) as connection:
        for table in (fatigue_score, fatigue_day, fatigue_prior, *([partition] if partitions_too else [])):
            connection.execute(table.delete())


def _work(url: str, folder: str, days: Sequence[date], start: Any, failures: Any, stores: bool) -> None:
    """Score days one by one, as a process of its own; with `stores`, each day arrives just before it is scored."""
    try:
        context = Context(open_engine(url), ObjectStore(folder), Settings())
        start.wait(60)
        for day in days:
            for name in ACCOUNTS if stores else ():
                _store(context, name, [day])
            _score(context, [day])
    except BaseException:
        failures.put(traceback.format_exc())
        raise


def _score_at_once(context: Context, shares: Sequence[Sequence[date]], *, stores: bool = False) -> None:
    """Score each share of the days in a process of its own, all at the same time."""
    fork = multiprocessing.get_context("fork")
    start, failures = fork.Barrier(len(shares)), fork.SimpleQueue()
    place = context.engine.url.render_as_string(hide_password=False), context.objects.url
    workers = [fork.Process(target=_work, args=(*place, days, start, failures, stores)) for days in shares]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert failures.empty(), failures.get()
    assert [worker.exitcode for worker in workers] == [0] * len(shares)


def _store_accounts(engine: Engine, objects: ObjectStore) -> Context:
    context = Context(engine, objects, Settings())
    for name in ACCOUNTS:
        _store(context, name, _days())
    return context


@pytest.fixture
def on_any(engine: Engine, objects: ObjectStore) -> Context:
    """Two accounts with five months of settled days, on each database."""
    return _store_accounts(engine, objects)


@pytest.fixture
def context(sqlite_engine: Engine, objects: ObjectStore) -> Context:
    """Two accounts with five months of settled days."""
    return _store_accounts(sqlite_engine, objects)


@pytest.mark.slow
def test_a_backfill_in_any_order_equals_daily_runs(context: Context) -> None:
    """Sixty daily runs in order, all days at once, and random groups in random order store the same bytes."""
    for day in SCORED:
        _score(context, [day])
    daily = _stored(context.engine)
    assert {row["status"] for row in daily} >= {"healthy", "pending"}
    assert any(row["alarm"] != "none" for row in daily)
    assert {row["ad_name"] for row in daily if row["ad_id"] == "73"} == {"ad 3", "ad 3 new"}
    assert min(row["as_of"] for row in daily if row["ad_id"] == "71") == date(2026, 2, 12)

    _clear(context.engine)
    _score(context, SCORED)
    assert _stored(context.engine) == daily

    _clear(context.engine)
    draw = random.Random(16)
    left = [(name, day) for name in ACCOUNTS for day in SCORED]
    draw.shuffle(left)
    while left:
        size = draw.randint(1, 25)
        group, left = left[:size], left[size:]
        score_accounts(context, group, NOW)
    assert _stored(context.engine) == daily


def test_an_alarm_lasts_from_one_month_into_the_next(
    sqlite_engine: Engine, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change of the month alone ends no stored alarm, and moves next to no first day."""
    monkeypatch.setattr("adwarm.fatigue.as_of.SCAN_DAYS", 40)
    context = Context(sqlite_engine, objects, Settings())
    decline = date(2026, 2, 4)
    rows: list[Row] = []
    for day in _days(date(2025, 12, 10), date(2026, 3, 1)):
        draw = np.random.default_rng(day.toordinal())
        for ad in range(12):
            # Six ads lose clicks; by itself the scan of March has a baseline of two weeks, that of February of six.
            lost = 0.78 if ad < 6 and day >= decline else 1.0
            clicks = draw.poisson(100 * lost * np.exp(draw.normal(0, 0.1)))
            figures = {"impressions": "10000", "clicks": str(clicks), "spend": "50"}
            rows.append({"account_id": "1", "ad_id": str(ad), "date_start": str(day), "date_stop": str(day), **figures})
    _publish(context, "act_1", rows)
    _score(context, [date(2026, 2, 28), date(2026, 3, 1)], ["act_1"])
    alarms: dict[date, dict[str, date]] = {}
    for row in _stored(sqlite_engine):
        if row["alarm"] == "alarm":
            alarms.setdefault(row["as_of"], {})[row["ad_id"]] = row["alarm_since"]
    last, first = alarms[date(2026, 2, 28)], alarms[date(2026, 3, 1)]
    assert len(last) >= 3
    assert first.keys() >= last.keys()
    moved = [abs(first[ad] - since) for ad, since in last.items() if first[ad] != since]
    assert len(moved) <= 2  # the next scan begins a month later
    assert max(moved, default=timedelta()) <= timedelta(days=1)


def test_days_may_arrive_in_any_order(context: Context) -> None:
    """Scores made while history was missing become those that whole history gives, by the run that completes it."""
    _score(context, RECENT)
    expected = _stored(context.engine)
    _clear(context.engine, partitions_too=True)
    spans = [_days()[start : start + 19] for start in range(0, len(_days()), 19)]
    random.Random(4).shuffle(spans)
    rescored = 0
    for number, span in enumerate(spans):
        for name in ACCOUNTS:
            _store(context, name, span)
        rescored += _score(context, [day for day in RECENT if day in span] or [RECENT[0]]).rescored_days
        if number == 0:
            assert {row["status"] for row in _stored(context.engine)} <= {"pending", "healthy"}
    _score(context, RECENT)
    assert rescored > 0
    assert _stored(context.engine) == expected


def test_a_restatement_rescores_only_the_days_that_see_it(context: Context) -> None:
    """A restated day changes later days whose scan includes it; no earlier one, no other account, nothing twice."""
    _score(context, RECENT)
    before = {(row["account_id"], row["ad_id"], row["as_of"]): row for row in _stored(context.engine)}
    restated = date(2026, 3, 10)
    _store(context, "act_1", [restated], seed=1, version=2)

    result = _score(context, [LAST])

    after = {(row["account_id"], row["ad_id"], row["as_of"]): row for row in _stored(context.engine)}
    changed = {key for key in after if after[key] != before.get(key)}
    assert {key[2] for key in changed} == {day for day in RECENT if day >= restated}
    assert {key[0] for key in changed} == {"act_1"}
    assert (result.accounts, result.unchanged, result.rescored_days) == (1, 1, len(_days(restated, LAST)) - 1)
    assert _score(context, [LAST]).unchanged == 2

    _clear(context.engine)
    draw = random.Random(5)
    for day in draw.sample(RECENT, 6):
        _score(context, [day])
    _score(context, RECENT)
    assert {(row["account_id"], row["ad_id"], row["as_of"]): row for row in _stored(context.engine)} == after


def test_a_restated_prior_gets_a_new_version_and_rescores_its_month(context: Context) -> None:
    """A settled day behind a month's prior makes the next version of it, and all scores of the month are made again."""
    _score(context, RECENT)
    before = {(row["account_id"], row["ad_id"], row["as_of"]): row for row in _stored(context.engine)}
    _store(context, "act_2", [date(2025, 12, 20)], seed=1, version=2)  # before every scan of March, not of its prior
    _score(context, [LAST])
    after = {(row["account_id"], row["ad_id"], row["as_of"]): row for row in _stored(context.engine)}
    changed = {key for key in after if after[key]["input_hash"] != before[key]["input_hash"]}
    assert {key[0] for key in changed} == {"act_2"}
    assert {key[2] for key in changed} == set(RECENT)
    with read_transaction(context.engine) as connection:
        query = select(fatigue_prior.c.account_id, fatigue_prior.c.month, fatigue_prior.c.version)
        versions = {(row[0], row[1]): row[2] for row in connection.execute(query.order_by(fatigue_prior.c.version))}
    march = date(2026, 3, 1)
    assert (versions["act_1", march], versions["act_2", march]) == (1, 2)


def test_other_settings_apply_from_the_next_score_on(context: Context) -> None:
    """Other weights rescore the day that is asked for; earlier days keep their scores until their data changes."""
    _score(context, RECENT)
    fatigue = context.settings.fatigue.model_copy(update={"weights": (0.4, 0.3, 0.3)})
    changed = Context(context.engine, context.objects, context.settings.model_copy(update={"fatigue": fatigue}))
    result = _score(changed, [LAST])
    assert (result.accounts, result.rescored_days) == (2, 0)


def test_days_that_are_gone_rewrite_nothing_but_what_is_asked_for(context: Context) -> None:
    """When old days are deleted, earlier scores stay as they were made from whole data."""
    _score(context, RECENT)
    before = _stored(context.engine)
    with write_transaction(context.engine) as connection:
        connection.execute(partition.delete().where(partition.c.day < date(2026, 2, 1)))
    result = _score(context, [LAST])
    assert (result.accounts, result.rescored_days) == (2, 0)
    kept = [row for row in _stored(context.engine) if row["as_of"] != LAST]
    assert kept == [row for row in before if row["as_of"] != LAST]


@pytest.mark.slow
def test_runs_at_once_equal_daily_runs(on_any: Context) -> None:
    """Processes that score the same accounts at the same time, also the same days, store the bytes of runs in order."""
    days = SCORED[::3]
    for day in days:
        _score(on_any, [day])
    daily = _stored(on_any.engine)
    _clear(on_any.engine)
    _score_at_once(on_any, [days[::2], days[1::2], days[::-1]])
    assert _stored(on_any.engine) == daily
    assert _score(on_any, days).unchanged == len(ACCOUNTS)


def test_a_day_that_arrives_during_a_run_is_in_its_scores(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another run stores a day between reading and publishing, the later days are scored again by this run."""
    days = _days(LAST - timedelta(days=9))
    late, others = days[3], [day for day in days if day != days[3]]
    _score(context, days)
    expected = [row for row in _stored(context.engine) if row["as_of"] != late]
    _clear(context.engine)
    with write_transaction(context.engine) as connection:
        connection.execute(partition.delete().where(partition.c.day == late))
    arriving = list(ACCOUNTS)

    def score_while_a_day_arrives(*arguments: Any) -> Any:
        done = score_block(*arguments)
        while arriving:
            _store(context, arriving.pop(), [late])
        return done

    monkeypatch.setattr(account_scores, "score_block", score_while_a_day_arrives)
    result = _score(context, others)
    assert _stored(context.engine) == expected
    assert (result.accounts, result.unchanged, result.rescored_days) == (2, 0, 2 * len(days[4:]))


@pytest.mark.slow
def test_days_may_arrive_at_once(on_any: Context) -> None:
    """Runs that fetch and score different days at the same time leave no score that lacks a day of another run."""
    days = _days(LAST - timedelta(days=29))
    _score(on_any, days)
    expected = _stored(on_any.engine)
    _clear(on_any.engine)
    with write_transaction(on_any.engine) as connection:
        connection.execute(partition.delete().where(partition.c.day >= days[0]))
    _score_at_once(on_any, [days[number::3] for number in range(3)], stores=True)
    assert _stored(on_any.engine) == expected
