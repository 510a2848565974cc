"""Deletes old rows in small transactions, whatever their table.

Ages count from the newest row of a table, or from now where that is earlier: a machine whose clock is wrong deletes
nothing that is young, and neither does a run over data of the past.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, Table, and_, delete, func, or_, select, tuple_, update

from adwarm.store.capacity import capacity_grant
from adwarm.store.database import BATCH_ROWS, database_time, insert_new, read_transaction, write_transaction
from adwarm.store.leases import FLOOR
from adwarm.store.leases import table as lease
from adwarm.store.partitions import table as partition
from adwarm.store.strategies import states as strategy_state
from adwarm.store.strategies import table as strategy

_BATCH_ACCOUNTS = 20
_EXPIRED_GRANT = timedelta(days=1)
_NEVER = datetime.fromtimestamp(0, UTC)


def delete_older(
    engine: Engine,
    column: ColumnElement[Any],
    age: timedelta,
    now: datetime,
    condition: ColumnElement[bool] | None = None,
) -> Iterator[int]:
    """Delete the rows of a table that are older than `age`, batch by batch; yield how many each batch deleted.

    Args:
        column: the indexed column of the table that says how old a row is: a UTC datetime, or a day.
    """
    table: Table = column.table
    with read_transaction(engine) as connection:
        newest = connection.execute(select(func.max(column))).scalar_one_or_none()
    if newest is None:
        return
    is_old = column < _cutoff(newest, age, now)
    keys = list(table.primary_key.columns)
    chosen = select(*keys).where(is_old if condition is None else and_(is_old, condition))
    yield from _delete_batches(engine, table, chosen.order_by(column).limit(BATCH_ROWS))


def delete_partitions(engine: Engine, age: timedelta, now: datetime) -> Iterator[int]:
    """Delete the days of insights that are older than `age`, counted from the newest day of each account.

    Their objects are deleted by garbage collection once no day refers to them.
    """
    after = ""
    while True:
        query = (
            select(partition.c.account_id, func.max(partition.c.day))
            .where(partition.c.account_id > after)
            .group_by(partition.c.account_id)
            .order_by(partition.c.account_id)
            .limit(_BATCH_ACCOUNTS)
        )
        with read_transaction(engine) as connection:
            newest = list(connection.execute(query))
        if not newest:
            return
        cutoffs = [(account_id, _cutoff(day, age, now)) for account_id, day in newest]
        is_old = or_(*(and_(partition.c.account_id == id_, partition.c.day < day) for id_, day in cutoffs))
        chosen = select(*partition.primary_key.columns).where(is_old).limit(BATCH_ROWS)
        yield from _delete_batches(engine, partition, chosen)
        after = newest[-1][0]


def delete_leases(engine: Engine, age: timedelta) -> Iterator[int]:
    """Delete leases that were released or expired more than `age` ago by the database's clock.

    The greatest token of the deleted rows becomes the floor of all later ones, in the same transaction. So the tokens
    of a name still only grow, and an owner that slept through all of it cannot write: its row is gone, or has a greater
    token.
    """
    after = ""
    while True:
        with write_transaction(engine) as connection:
            insert_new(connection, lease, [{"name": FLOOR, "owner": "", "token": 0, "expires_at": _NEVER}])
            locked_floor = select(lease.c.token).where(lease.c.name == FLOOR).with_for_update()
            floor = int(connection.execute(locked_floor).scalar_one())
            before = datetime.fromtimestamp(database_time(connection), UTC) - age
            page = connection.execute(
                select(lease.c.name, lease.c.token, lease.c.expires_at)
                .where(lease.c.name > after, lease.c.name != FLOOR)
                .order_by(lease.c.name)
                .limit(BATCH_ROWS)
            ).all()
            names = [row.name for row in page if row.expires_at < before]
            locked = connection.execute(
                select(lease.c.name, lease.c.token)
                .where(lease.c.name.in_(names), lease.c.expires_at < before)
                .order_by(lease.c.name)
                .with_for_update(skip_locked=True)
            ).all()
            if locked:
                floor = max(floor, *(row.token for row in locked))
                connection.execute(update(lease).where(lease.c.name == FLOOR).values(token=floor))
                connection.execute(delete(lease).where(lease.c.name.in_([row.name for row in locked])))
        if not page:
            return
        yield len(locked)
        after = page[-1].name


def delete_grants(engine: Engine) -> Iterator[int]:
    """Delete grants that expired more than a day ago and no longer count.

    The next admission returns the slots of an expired grant and deletes it later; rows stay where none follows.
    """
    with read_transaction(engine) as connection:
        before = database_time(connection) - _EXPIRED_GRANT.total_seconds()
    is_old = and_(capacity_grant.c.expires_at < before, capacity_grant.c.counted.is_(False))
    yield from _delete_batches(engine, capacity_grant, select(capacity_grant.c.id).where(is_old).limit(BATCH_ROWS))


def delete_removed_strategies(engine: Engine, before: datetime, defaults: set[str]) -> Iterator[int]:
    """Delete what is recorded of strategies that were removed before `before`.

    Args:
        before: their warms are gone by then.
        defaults: names that stay, because a removed default is not created again.
    """
    is_gone = and_(
        strategy_state.c.removed_at < before,
        strategy_state.c.name.not_in(sorted(defaults)),
        strategy_state.c.name.not_in(select(strategy.c.name)),
    )
    chosen = select(strategy_state.c.name).where(is_gone).limit(BATCH_ROWS)
    yield from _delete_batches(engine, strategy_state, chosen)


def _delete_batches(engine: Engine, table: Table, chosen: Any) -> Iterator[int]:
    keys = list(table.primary_key.columns)
    target = keys[0] if len(keys) == 1 else tuple_(*keys)
    statement = delete(table).where(target.in_(chosen))
    while True:
        with write_transaction(engine) as connection:
            count = int(connection.execute(statement).rowcount)
        yield count
        if count < BATCH_ROWS:
            return


def _cutoff(newest: datetime | date, age: timedelta, now: datetime) -> datetime | date:
    if isinstance(newest, datetime):
        return min(newest, now) - age
    return min(newest, now.date()) - age
