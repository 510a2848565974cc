"""Denials: which connection may not read which account. Each is a gate, with a digest of the denied credential.

A denial is valid for a day. It does not apply once the connection's credential has changed, and a human may lift it at
any time; an automatic retry never does.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, delete, select, update

from adwarm.foundation.gate import Gate, Lift, Rule
from adwarm.store.accounts import DENIAL_PERIOD
from adwarm.store.accounts import table as account
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.gates import read_row, save_gates
from adwarm.store.gates import table as gate

_MAX_REASON = 500
_IDS_PER_QUERY = 500


def record(engine: Engine, account_id: str, connection: str, credential: str, reason: str, at: datetime) -> None:
    """Record that `credential` of `connection` may not read an account, in place of its earlier denial."""
    since, end = at.timestamp(), (at + DENIAL_PERIOD).timestamp()
    scope, data = f"connection:{connection} account:{account_id}", {"credential": credential}
    denial = Gate(
        scope=scope,
        rule=Rule.DENIAL,
        since=since,
        closed_until=end,
        why=reason[:_MAX_REASON],
        lifted_by=Lift.CREDENTIAL,
        kept_until=end,
        data=data,
    )
    with write_transaction(engine) as transaction:
        save_gates(transaction, [denial])


def find_active(engine: Engine, account_id: str, at: datetime) -> dict[str, str]:
    """Return the connections that may not read the account at `at`, with the denied credential of each."""
    return {get_connection(item): item.data["credential"] for item in _get_active(engine, account_id, at)}


def find_reason(engine: Engine, account_id: str, at: datetime) -> str | None:
    """Return the reason of the latest denial of the account that is valid at `at`; None without one."""
    active = _get_active(engine, account_id, at)
    return max(active, key=lambda item: item.since).why if active else None


def lift(engine: Engine, account_ids: Iterable[str]) -> list[str]:
    """Delete every denial of the accounts because a human asked for it; return the accounts that had one."""
    ids, denied = list(account_ids), set[str]()
    with write_transaction(engine) as transaction:
        denials = [item for item in _read(transaction) if item.account_id in set(ids)]
        for start in range(0, len(ids), _IDS_PER_QUERY):
            some = account.c.id.in_(ids[start : start + _IDS_PER_QUERY])
            denied |= set(transaction.execute(select(account.c.id).where(some, account.c.status == "denied")).scalars())
        _delete(transaction, denials)
        lifted = sorted(denied | {str(item.account_id) for item in denials})
        _reactivate(transaction, lifted)
    return lifted


def lift_outdated(engine: Engine, connection: str, credential: str) -> list[str]:
    """Delete denials of other credentials of `connection`; return the accounts concerned.

    Such an account is active again and is tried when it is needed next.
    """

    def list_outdated(transaction: Connection) -> list[Gate]:
        of_connection = gate.c.scope.startswith(f"connection:{connection} ", autoescape=True)
        return [item for item in _read(transaction, of_connection) if item.data["credential"] != credential]

    with read_transaction(engine) as transaction:
        if not list_outdated(transaction):
            return []
    with write_transaction(engine) as transaction:
        denials = list_outdated(transaction)
        _delete(transaction, denials)
        lifted = sorted(str(item.account_id) for item in denials)
        _reactivate(transaction, lifted)
    return lifted


def get_connection(denial: Gate) -> str:
    """Return the connection that was denied."""
    return denial.scope.rpartition(" ")[0].removeprefix("connection:")


def _get_active(engine: Engine, account_id: str, at: datetime) -> list[Gate]:
    """Return the denials of the account that are valid at `at`."""
    of_account = gate.c.scope.endswith(f" account:{account_id}", autoescape=True)
    with read_transaction(engine) as transaction:
        return _read(transaction, of_account, gate.c.kept_until > at.timestamp())


def _read(transaction: Connection, *conditions: ColumnElement[bool]) -> list[Gate]:
    query = select(gate).where(gate.c.rule == Rule.DENIAL, *conditions).order_by(gate.c.scope)
    return [read_row(row) for row in transaction.execute(query).mappings()]


def _delete(transaction: Connection, denials: Sequence[Gate]) -> None:
    names = [item.scope for item in denials]
    for start in range(0, len(names), _IDS_PER_QUERY):
        some = gate.c.scope.in_(names[start : start + _IDS_PER_QUERY])
        transaction.execute(delete(gate).where(gate.c.rule == Rule.DENIAL, some))


def _reactivate(transaction: Connection, account_ids: Sequence[str]) -> None:
    """Set denied accounts back to active."""
    for start in range(0, len(account_ids), _IDS_PER_QUERY):
        some = account.c.id.in_(account_ids[start : start + _IDS_PER_QUERY])
        transaction.execute(
            update(account).where(some, account.c.status == "denied").values(status="active", status_reason=None)
        )
