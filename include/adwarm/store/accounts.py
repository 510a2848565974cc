"""Accounts: zone, currency, connection and standing, read once from the upstream and kept.

Who was denied is in `denials`; an account stands as denied once every connection at hand was.
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
"""An account that was denied is asked about again after this long: its owner may have given access."""


def get(engine: Engine, account_id: str) -> Account | None:
    """Return the account, or None when it has never been seen."""
    return get_many(engine, [account_id]).get(account_id)


def get_many(engine: Engine, ids: Sequence[str] | None = None) -> dict[str, Account]:
    """Return accounts by id: those in `ids` that are known, or all of them."""
    query = select(table).order_by(table.c.id)
    if ids is None:
        with read_transaction(engine) as connection:
            return {row.id: _account(row) for row in connection.execute(query)}
    found: dict[str, Account] = {}
    with read_transaction(engine) as connection:
        for start in range(0, len(ids), 500):
            part = query.where(table.c.id.in_(ids[start : start + 500]))
            found.update({row.id: _account(row) for row in connection.execute(part)})
    return found


def list_as_of(engine: Engine, at: datetime) -> dict[str, Account]:
    """Return all accounts by id as they count at `at`: a denial older than `DENIED_FOR` no longer does."""
    query = select(table).order_by(table.c.id)
    with read_transaction(engine) as connection:
        rows = connection.execute(query).all()
    return {
        row.id: _with_expired_denial(row) if row.updated_at <= at - DENIAL_PERIOD else _account(row) for row in rows
    }


def list_selected(engine: Engine, selected: Sequence[str], at: datetime, default_zone: str) -> list[Account]:
    """Return the accounts that `asked` names, or all active ones when it names none.

    One that is not known yet stands in the default zone until the upstream tells its own.

    Raises:
        BadRequest: a name is no account id.
    """
    known = list_as_of(engine, at)
    if not selected:
        return [found for found in known.values() if found.status == "active"]
    ids = [normalize_account_id(text) for text in selected]
    return [known.get(name) or Account(name, default_zone, default_zone, currency="") for name in ids]


def save(engine: Engine, accounts: Iterable[Account], at: datetime) -> None:
    """Store what the upstream says of accounts; the newest word wins."""
    rows = [_row(item, at) for item in accounts]
    with write_transaction(engine) as connection:
        upsert(connection, table, rows, preserve=("reader_zone",))


def insert_discovered(engine: Engine, accounts: Iterable[Account], at: datetime) -> None:
    """Store accounts seen in the access log, without a currency; those that are known stay as they are."""
    rows = [_row(item, at) for item in accounts]
    with write_transaction(engine) as connection:
        insert_new(connection, table, rows)


def set_status(engine: Engine, account_id: str, status: str, reason: str, at: datetime) -> None:
    """Set an account's standing: `active`, `denied` or `closed`, and why."""
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
