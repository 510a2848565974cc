"""Denials: which connection may not read which account, with a digest of the denied credential.

A denial is valid for a day. It does not apply once the connection's credential has changed, and a human may lift it at
any time; an automatic retry never does.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, null, select, update

from adwarm.store.accounts import DENIAL_PERIOD, table
from adwarm.store.database import read_transaction, write_transaction

_MAX_REASON = 500
_IDS_PER_QUERY = 500


def record(engine: Engine, account_id: str, connection: str, credential: str, reason: str, at: datetime) -> None:
    """Record that `credential` of `connection` may not read a stored account, in place of its earlier denial."""
    with write_transaction(engine) as transaction:
        denials = dict(_get_denials(transaction, account_id))
        denials[connection] = {"credential": credential, "at": at.isoformat(), "reason": reason[:_MAX_REASON]}
        transaction.execute(update(table).where(table.c.id == account_id).values(denials=denials))


def find_active(engine: Engine, account_id: str, at: datetime) -> dict[str, str]:
    """Return the connections that may not read the account at `at`, with the denied credential of each."""
    return {name: denial["credential"] for name, denial in _get_active(engine, account_id, at).items()}


def find_reason(engine: Engine, account_id: str, at: datetime) -> str | None:
    """Return the reason of the latest denial of the account that is valid at `at`; None without one."""
    active = sorted(_get_active(engine, account_id, at).values(), key=lambda denial: str(denial["at"]))
    return str(active[-1]["reason"]) if active else None


def lift(engine: Engine, account_ids: Iterable[str]) -> list[str]:
    """Delete every denial of the accounts because a human asked for it; return the accounts that had one."""
    ids, lifted = list(account_ids), list[str]()
    with write_transaction(engine) as transaction:
        for start in range(0, len(ids), _IDS_PER_QUERY):
            denied = (table.c.status == "denied") | table.c.denials.is_not(None)
            chosen = table.c.id.in_(ids[start : start + _IDS_PER_QUERY]) & denied
            lifted += transaction.execute(select(table.c.id).where(chosen).order_by(table.c.id)).scalars().all()
        _reactivate(transaction, lifted)
    return lifted


def lift_outdated(engine: Engine, connection: str, credential: str) -> list[str]:
    """Delete denials of other credentials of `connection`; return the accounts concerned.

    Such an account is active again and is tried when it is needed next.
    """
    if not _has_outdated(engine, connection, credential):
        return []
    with write_transaction(engine) as transaction:
        query = select(table.c.id, table.c.denials).where(table.c.denials.is_not(None)).order_by(table.c.id)
        rows = transaction.execute(query.with_for_update()).all()
        lifted = [row.id for row in rows if _is_outdated(row.denials, connection, credential)]
        _reactivate(transaction, lifted, {row.id: row.denials for row in rows}, connection)
    return lifted


def _get_active(engine: Engine, account_id: str, at: datetime) -> dict[str, dict[str, Any]]:
    """Return the denials of the account that are valid at `at`, by connection."""
    with read_transaction(engine) as transaction:
        denials = _get_denials(transaction, account_id)
    return {
        connection: denial
        for connection, denial in denials.items()
        if at - datetime.fromisoformat(denial["at"]) < DENIAL_PERIOD
    }


def _has_outdated(engine: Engine, connection: str, credential: str) -> bool:
    with read_transaction(engine) as transaction:
        stored = transaction.execute(select(table.c.denials).where(table.c.denials.is_not(None))).scalars()
        return any(_is_outdated(denials, connection, credential) for denials in stored)


def _is_outdated(denials: dict[str, Any] | None, connection: str, credential: str) -> bool:
    denial = (denials or {}).get(connection)
    return denial is not None and denial["credential"] != credential


def _get_denials(transaction: Connection, account_id: str) -> dict[str, Any]:
    query = select(table.c.denials).where(table.c.id == account_id).with_for_update()
    return transaction.execute(query).scalar_one_or_none() or {}


def _reactivate(
    transaction: Connection,
    account_ids: Iterable[str],
    before: dict[str, dict[str, Any]] | None = None,
    connection: str = "",
) -> None:
    """Set denied accounts back to active and delete their denials: all, or those of `connection` only.

    Args:
        before: the denials of each account, of which those of `connection` are deleted.
    """
    for name in account_ids:
        left = {key: value for key, value in (before or {}).get(name, {}).items() if key != connection}
        transaction.execute(update(table).where(table.c.id == name).values(denials=left or null()))
        transaction.execute(
            update(table)
            .where((table.c.id == name) & (table.c.status == "denied"))
            .values(status="active", status_reason=None)
        )
