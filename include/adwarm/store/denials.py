"""Denials: which connection may not read which account, and which accounts none may read. Each is a gate.

| scope                  | closed when                                     | data                               |
|------------------------|-------------------------------------------------|------------------------------------|
| `connection:C account:A` | the platform denies A to C's credential       | a digest of the denied credential  |
| `account:A`            | every connection was denied: A is not planned   | -                                  |

A denial is valid for a day. It does not apply once the connection's credential has changed, and a human may lift it at
any time; an automatic retry never does.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, delete, or_, select

from adwarm.foundation.gate import Gate, Lift, Rule
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.gates import read_row, save_gates
from adwarm.store.gates import table as gate

DENIAL_PERIOD = timedelta(days=1)
"""A denied account is tried again after this long, because its owner may have granted access."""
_MAX_REASON = 500
_IDS_PER_QUERY = 500


def record(engine: Engine, account_id: str, connection: str, credential: str, reason: str, at: datetime) -> None:
    """Record that `credential` of `connection` may not read an account, in place of its earlier denial."""
    _close(engine, _scope(account_id, connection), reason, at, {"credential": credential})


def close_account(engine: Engine, account_id: str, reason: str, at: datetime) -> None:
    """Record that no connection may read an account: it is `denied` until a denial is lifted, or a day is over."""
    _close(engine, _scope(account_id), reason, at, {})


def _close(engine: Engine, scope: str, reason: str, at: datetime, data: Mapping[str, Any]) -> None:
    since, end = at.timestamp(), (at + DENIAL_PERIOD).timestamp()
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


def list_active(engine: Engine, account_id: str, at: datetime) -> list[Gate]:
    """Return the denials of the account that are valid at `at`, by scope."""
    with read_transaction(engine) as transaction:
        return _read(transaction, of_account(account_id), gate.c.kept_until > at.timestamp())


def list_denied(engine: Engine, at: datetime) -> dict[str, str]:
    """Return the accounts that no connection may read at `at`, with the reason of each."""
    with read_transaction(engine) as transaction:
        whole = gate.c.scope.startswith("account:")
        denied = _read(transaction, whole, gate.c.kept_until > at.timestamp())
    return {str(item.account_id): item.why or "no reason given" for item in denied}


def read_credentials(transaction: Connection, at: datetime) -> dict[str, dict[str, str]]:
    """Return the denied credential of each connection, by account, of the denials that are valid at `at`."""
    credentials: dict[str, dict[str, str]] = {}
    for item in _read(transaction, gate.c.scope.startswith("connection:"), gate.c.kept_until > at.timestamp()):
        name = item.scope.rpartition(" ")[0].removeprefix("connection:")
        credentials.setdefault(str(item.account_id), {})[name] = item.data["credential"]
    return credentials


def select_denials(denials: Iterable[Gate], connection: str, credential: str) -> list[Gate]:
    """Return the denials of one account that are those of a credential of a connection."""
    own = f"connection:{connection} "
    return [item for item in denials if item.scope.startswith(own) and item.data["credential"] == credential]


def lift(engine: Engine, account_ids: Iterable[str]) -> list[str]:
    """Delete every denial of the accounts because a human asked for it; return the accounts that had one."""
    ids = set(account_ids)
    with write_transaction(engine) as transaction:
        denials = [item for item in _read(transaction) if item.account_id in ids]
        _delete(transaction, [item.scope for item in denials])
    return sorted({str(item.account_id) for item in denials})


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
        lifted = sorted(str(item.account_id) for item in denials)
        _delete(transaction, [item.scope for item in denials])
        open_accounts(transaction, lifted)
    return lifted


def open_accounts(transaction: Connection, account_ids: Iterable[str]) -> None:
    """Let accounts be read again, because a connection may read them or may have become able to."""
    _delete(transaction, [_scope(name) for name in account_ids])


def of_account(account_id: str) -> ColumnElement[bool]:
    """Return the condition on `gate` that selects the denials of an account."""
    whole = gate.c.scope == _scope(account_id)
    return (gate.c.rule == Rule.DENIAL) & or_(whole, gate.c.scope.endswith(f" {_scope(account_id)}", autoescape=True))


def _scope(account_id: str, connection: str | None = None) -> str:
    return f"account:{account_id}" if connection is None else f"connection:{connection} account:{account_id}"


def _read(transaction: Connection, *conditions: ColumnElement[bool]) -> list[Gate]:
    query = select(gate).where(gate.c.rule == Rule.DENIAL, *conditions).order_by(gate.c.scope)
    return [read_row(row) for row in transaction.execute(query).mappings()]


def _delete(transaction: Connection, scopes: Sequence[str]) -> None:
    for start in range(0, len(scopes), _IDS_PER_QUERY):
        some = gate.c.scope.in_(scopes[start : start + _IDS_PER_QUERY])
        transaction.execute(delete(gate).where(gate.c.rule == Rule.DENIAL, some))
