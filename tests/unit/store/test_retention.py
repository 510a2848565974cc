"""Old rows go in small transactions, young ones stay, and tokens of leases only grow."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select, update

from adwarm.store import leases, read_transaction, retention, write_transaction
from adwarm.store.capacity import capacity_grant
from adwarm.store.database import database_time
from adwarm.store.error_events import error_event
from adwarm.store.leases import table as lease
from adwarm.store.partitions import table as partition
from adwarm.store.read_traffic import table as traffic_hour
from adwarm.store.snapshots import delete_unused, forecast_snapshot, policy, policy_review
from adwarm.store.strategies import states as strategy_state

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def _hours(engine: Engine, *ages: int) -> None:
    rows = [{"hour": NOW - age * DAY, "account_id": f"act_{n}", "actor": "human"} for age in ages for n in range(3)]
    with write_transaction(engine) as connection:
        connection.execute(traffic_hour.insert(), rows)


def _count(engine: Engine, table: object) -> int:
    with read_transaction(engine) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


def test_old_rows_go_batch_by_batch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction deletes more than a batch; what is as old as the age stays."""
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    _hours(engine, 0, 10, 11, 30)
    counts = list(retention.delete_older(engine, traffic_hour.c.hour, 10 * DAY, NOW))
    assert (sum(counts), max(counts)) == (6, 2)
    assert _count(engine, traffic_hour) == 6
    assert list(retention.delete_older(engine, traffic_hour.c.hour, 10 * DAY, NOW)) == [0]


def test_ages_count_from_the_newest_row(engine: Engine) -> None:
    """A machine whose clock is years ahead deletes nothing young; one that is behind neither."""
    _hours(engine, 0, 30)
    for wrong in (NOW + 3_000 * DAY, NOW - 3_000 * DAY):
        assert sum(retention.delete_older(engine, traffic_hour.c.hour, 40 * DAY, wrong)) == 0
    assert sum(retention.delete_older(engine, traffic_hour.c.hour, 10 * DAY, NOW + 3_000 * DAY)) == 3
    assert list(retention.delete_older(engine, error_event.c.at, DAY, NOW)) == []


def test_days_of_insights_go_by_account(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each account the days that are too old go, counted from its own newest day."""
    monkeypatch.setattr(retention, "_BATCH_ACCOUNTS", 2)
    newest = {f"act_{number}": NOW.date() - number * 100 * DAY for number in range(5)}
    rows = [
        {"account_id": account_id, "day": day - age * DAY, "spec_hash": spec}
        | {"object_hash": "o", "rows": 1, "content_hash": "c", "fetched_at": NOW}
        for account_id, day in newest.items()
        for age in (0, 50, 51)
        for spec in ("a", "b")
    ]
    with write_transaction(engine) as connection:
        connection.execute(partition.insert(), rows)
    assert sum(retention.delete_partitions(engine, 50 * DAY, NOW)) == 10
    with read_transaction(engine) as connection:
        left = connection.execute(select(partition.c.account_id, func.min(partition.c.day)).group_by("account_id"))
        assert dict(left.all()) == {account_id: day - 50 * DAY for account_id, day in newest.items()}


def _age(engine: Engine, *names: str) -> None:
    """Let leases have ended 40 days ago."""
    with write_transaction(engine) as connection:
        old = datetime.fromtimestamp(database_time(connection), UTC) - 40 * DAY
        connection.execute(update(lease).where(lease.c.name.in_(names)).values(expires_at=old))


def test_only_leases_that_ended_long_ago_go(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Released and expired leases go once they are old; held ones and those released just now stay."""
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    taken = {name: leases.acquire(engine, name, "me", 60) for name in ("a", "b", "c", "d")}
    for name in ("a", "c"):
        held = taken[name]
        assert held is not None
        leases.release(engine, held)
    _age(engine, "a", "b")
    assert sum(retention.delete_leases(engine, 30 * DAY)) == 2
    with read_transaction(engine) as connection:
        assert sorted(connection.execute(select(lease.c.name)).scalars()) == [leases.FLOOR, "c", "d"]


def test_an_owner_that_slept_through_the_deletion_cannot_write(engine: Engine) -> None:
    """Its row is gone, or belongs to a greater token; so its late write is refused in both cases."""
    first = leases.acquire(engine, "span", "sleeper", 60)
    assert first is not None
    _age(engine, "span")
    assert sum(retention.delete_leases(engine, 30 * DAY)) == 1
    with write_transaction(engine) as connection:
        assert not leases.is_current(connection, first)
    assert not leases.renew(engine, first, 60)
    successor = leases.acquire(engine, "span", "other", 60)
    assert successor is not None
    assert successor.token > first.token
    with write_transaction(engine) as connection:
        assert (leases.is_current(connection, first), leases.is_current(connection, successor)) == (False, True)


@given(st.lists(st.tuples(st.sampled_from(["acquire", "release", "delete"]), st.integers(0, 3)), max_size=25))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tokens_of_a_name_only_grow(engine: Engine, events: list[tuple[str, int]]) -> None:
    """Whatever is acquired, released and deleted in between, a later token of a name exceeds every earlier one."""
    with write_transaction(engine) as connection:
        connection.execute(lease.delete())
    tokens: dict[str, int] = {}
    held: dict[str, leases.Lease] = {}
    for event, number in events:
        name = f"n{number}"
        if event == "acquire":
            acquired = leases.acquire(engine, name, "me", 60)
            assert acquired is not None
            assert acquired.token > tokens.get(name, 0)
            tokens[name], held[name] = acquired.token, acquired
        elif event == "release" and name in held:
            leases.release(engine, held.pop(name))
        elif event == "delete":
            _age(engine, name)
            list(retention.delete_leases(engine, 30 * DAY))


@pytest.mark.slow
def test_tokens_are_unique_while_rows_are_deleted(engine: Engine) -> None:
    """Workers that acquire one name while its row is deleted again and again never get the same token twice."""
    tokens: list[int] = []
    errors: list[BaseException] = []

    def acquire(owner: str) -> None:
        try:
            for _ in range(15):
                acquired = leases.acquire(engine, "span", owner, 60)
                if acquired is not None:
                    tokens.append(acquired.token)
                    leases.release(engine, acquired)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=acquire, args=(f"w{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        list(retention.delete_leases(engine, timedelta(0)))
    assert errors == []
    assert len(tokens) >= 15
    assert len(set(tokens)) == len(tokens)


def test_grants_that_still_count_stay(engine: Engine) -> None:
    """An expired grant goes once its slots were returned and a day has passed."""
    with write_transaction(engine) as connection:
        now = database_time(connection)
        for name, counted, expires_at in (
            ("a", False, now - 90_000),
            ("b", True, now - 90_000),
            ("c", False, now - 60),
        ):
            row = {"id": name, "counted": counted, "expires_at": expires_at, "priority": 1, "cost": 1.0, "source": "m"}
            row |= {"probe": False, "owner": "x", "granted_at": now}
            connection.execute(capacity_grant.insert().values(**row))
    assert sum(retention.delete_grants(engine)) == 1
    with read_transaction(engine) as connection:
        assert sorted(connection.execute(select(capacity_grant.c.id)).scalars()) == ["b", "c"]


def test_removed_defaults_stay(engine: Engine) -> None:
    """The state of a removed strategy goes, unless it would then be created again, or it is young."""
    rows = {"mine": NOW - 90 * DAY, "default": NOW - 90 * DAY, "young": NOW - DAY, "used": None}
    with write_transaction(engine) as connection:
        connection.execute(strategy_state.insert(), [{"name": name, "removed_at": at} for name, at in rows.items()])
    assert sum(retention.delete_removed_strategies(engine, NOW - 60 * DAY, {"default"})) == 1
    with read_transaction(engine) as connection:
        assert sorted(connection.execute(select(strategy_state.c.name)).scalars()) == ["default", "used", "young"]


@pytest.fixture
def snapshots(engine: Engine) -> None:
    """Six old snapshots of two kinds, the oldest of them live, the next proposed."""
    with write_transaction(engine) as connection:
        for number in range(6):
            at = NOW - timedelta(days=200 - number)
            values = {"id": f"s{number}", "kind": "boosted" if number < 5 else "hours", "version": "1", "keys": 1}
            values |= {
                "features": [],
                "metrics": {},
                "object_hash": "o",
                "trained_from": at,
                "trained_until": at,
                "created_at": at,
            }
            connection.execute(forecast_snapshot.insert().values(**values))
        connection.execute(policy.insert().values(name="live", mode="live", snapshot_id="s0", updated_at=NOW))
        review = {"run_id": "r", "at": NOW, "result": "proposed", "proposed_snapshot": "s1", "figures": {}}
        connection.execute(policy_review.insert().values(review))


@pytest.mark.usefixtures("snapshots")
def test_snapshots_in_use_stay(engine: Engine) -> None:
    """The live one, a proposed one and the newest two of each kind stay however old they are."""
    assert delete_unused(engine, NOW - 60 * DAY) == 1
    with read_transaction(engine) as connection:
        assert sorted(connection.execute(select(forecast_snapshot.c.id)).scalars()) == ["s0", "s1", "s3", "s4", "s5"]
    assert delete_unused(engine, NOW - 300 * DAY) == 0
