"""Accounts: time zones, currency, connection and status, read once from the upstream.

An account is `denied` once every configured connection was denied; `denials` records which ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, select, update

from adwarm.model import Account, normalize_account_id
from adwarm.store.database import insert_new, read_transaction, upsert, write_transaction
from adwarm.store.tables import account as table

DENIAL_PERIOD = timedelta(days=1)
"""A denied account is tried again after this long, because its owner may have granted access."""


def get(engine: Engine, account_id: str) -> Account | None:
    """Return the account, or None when it is not stored."""
    return get_many(engine, [account_id]).get(account_id)


def get_many(engine: Engine, ids: Sequence[str] | None = None) -> dict[str, Account]:
    """Return stored accounts by id: those in `ids`, or all."""
    query = select(table).order_by(table.c.id)
    if ids is None:
        with read_transaction(engine) as connection:
            return {row.id: _account(row) for row in connection.execute(query)}
    accounts: dict[str, Account] = {}
    with read_transaction(engine) as connection:
        for start in range(0, len(ids), 500):
            some = query.where(table.c.id.in_(ids[start : start + 500]))
            accounts.update({row.id: _account(row) for row in connection.execute(some)})
    return accounts


def list_as_of(engine: Engine, at: datetime) -> dict[str, Account]:
    """Return all accounts by id with their status at `at`: a denial older than `DENIAL_PERIOD` has expired."""
    query = select(table).order_by(table.c.id)
    with read_transaction(engine) as connection:
        rows = connection.execute(query).all()
    return {
        row.id: _with_expired_denial(row) if row.updated_at <= at - DENIAL_PERIOD else _account(row) for row in rows
    }


def list_selected(engine: Engine, selected: Sequence[str], at: datetime, default_zone: str) -> list[Account]:
    """Return the accounts with the ids `selected`, or all active ones when it is empty.

    An account that is not stored yet gets the default zone until the upstream reports its own.

    Raises:
        BadRequest: an id is not valid.
    """
    stored = list_as_of(engine, at)
    if not selected:
        return [account for account in stored.values() if account.status == "active"]
    ids = [normalize_account_id(text) for text in selected]
    return [stored.get(name) or Account(name, default_zone, default_zone, currency="") for name in ids]


def list_denied(engine: Engine, at: datetime) -> dict[str, str]:
    """Return the accounts that are denied at `at`, with the reason of each."""
    query = select(table.c.id, table.c.status_reason).where(
        table.c.status == "denied", table.c.updated_at > at - DENIAL_PERIOD
    )
    with read_transaction(engine) as connection:
        return {
            row.id: row.status_reason or "no reason given" for row in connection.execute(query.order_by(table.c.id))
        }


def save(engine: Engine, accounts: Iterable[Account], at: datetime) -> None:
    """Store accounts as the upstream reports them. The stored reader zone is kept."""
    rows = [_row(item, at) for item in accounts]
    with write_transaction(engine) as connection:
        upsert(connection, table, rows, preserve=("reader_zone",))


def insert_discovered(engine: Engine, accounts: Iterable[Account], at: datetime) -> None:
    """Store accounts that the access log names, without a currency. Accounts that are stored already do not change."""
    rows = [_row(item, at) for item in accounts]
    with write_transaction(engine) as connection:
        insert_new(connection, table, rows)


def set_status(engine: Engine, account_id: str, status: str, reason: str, at: datetime) -> None:
    """Set an account's status (`active`, `denied` or `closed`) and the reason."""
    with write_transaction(engine) as connection:
        connection.execute(
            update(table)
            .where(table.c.id == account_id)
            .values(status=status, status_reason=reason[:500], updated_at=at)
        )


def _with_expired_denial(row: Row[Any]) -> Account:
    account = _account(row)
    return replace(account, status="active") if account.status == "denied" else account


def _account(row: Row[Any]) -> Account:
    return Account(row.id, row.data_zone, row.reader_zone, row.currency, row.connection, row.status)


def _row(item: Account, at: datetime) -> dict[str, Any]:
    return {
        "id": item.id,
        "connection": item.connection,
        "data_zone": item.data_zone,
        "reader_zone": item.reader_zone,
        "currency": item.currency,
        "status": item.status,
        "updated_at": at,
    }
