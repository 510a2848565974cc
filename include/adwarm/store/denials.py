"""Denials: which connection may not read which account, or which of its fields, and which accounts none may read.

| scope                    | rule     | when                                      | data                              |
|--------------------------|----------|-------------------------------------------|-----------------------------------|
| `connection:C account:A` | `denial` | the platform denies A to C's credential   | a digest of the denied credential |
| `account:A`              | `denial` | every connection was denied: it is not    | -                                 |
|                          |          | planned                                   |                                   |
| `connection:C account:A` | `field`  | the platform refuses fields of A's query  | the same, `@` and the version of  |
|                          |          |                                           | the API; the reason of each field |

A denial is valid for a day, a refused field for a week. Neither applies once the connection's credential has changed,
and a field's not once the version has. A human may lift them at any time; an automatic retry never does.
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
FIELD_PERIOD = timedelta(days=7)
"""A refused field is asked for again after this long: a permission may have been granted, or the platform mended."""
_RULES = (Rule.DENIAL, Rule.FIELD)
_MAX_REASON = 500
_IDS_PER_QUERY = 500


def refuse_fields(
    engine: Engine, account_id: str, connection: str, credential: str, fields: Mapping[str, str], at: datetime
) -> bool:
    """Record fields that the platform refuses, each with its reason, beside those that it refused before.

    Args:
        credential: its digest, `@` and the version of the API.

    Returns:
        Whether the version refuses one of them for the first time, whatever the account.
    """
    scope, version = _scope(account_id, connection), credential.rpartition("@")[2]
    with write_transaction(engine) as transaction:
        refused = _read(transaction, gate.c.kept_until > at.timestamp(), rules=[Rule.FIELD])
        names_before = {
            name for item in refused if item.data["credential"].endswith(f"@{version}") for name in item.data["fields"]
        }
        own = next((item for item in refused if item.scope == scope and item.data["credential"] == credential), None)
        before, since = (own.data["fields"], own.since) if own else ({}, at.timestamp())
        new = {name: why[:_MAX_REASON] for name, why in fields.items()}
        changed = Gate(
            scope=scope,
            rule=Rule.FIELD,
            since=since,
            lifted_by=Lift.TIME,
            kept_until=since + FIELD_PERIOD.total_seconds(),
            data={"credential": credential, "fields": {**before, **new}},
        )
        save_gates(transaction, [changed])
    return not names_before.issuperset(fields)


def list_refused_fields(engine: Engine, at: datetime) -> list[Gate]:
    """Return the gates of refused fields that are valid at `at`, by scope; their `data` has the fields."""
    with read_transaction(engine) as transaction:
        return _read(transaction, gate.c.kept_until > at.timestamp(), rules=[Rule.FIELD])


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
    """Return the denials and the refused fields of the account that are valid at `at`, by scope."""
    with read_transaction(engine) as transaction:
        own = of_account(account_id, _RULES) & (gate.c.kept_until > at.timestamp())
        return _read(transaction, own, rules=_RULES)


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


def select_denials(denials: Iterable[Gate], connection: str, credential: str, rule: Rule = Rule.DENIAL) -> list[Gate]:
    """Return the denials, or the refused fields, of one account that are those of a credential of a connection."""
    of_connection = (
        item for item in denials if item.rule is rule and item.scope.startswith(f"connection:{connection} ")
    )
    return [item for item in of_connection if item.data["credential"] == credential]


def lift(engine: Engine, account_ids: Iterable[str]) -> list[str]:
    """Delete every denial and refused field of the accounts, as a human asked; return the accounts that had one."""
    ids = set(account_ids)
    with write_transaction(engine) as transaction:
        denials = [item for item in _read(transaction, rules=_RULES) if item.account_id in ids]
        _delete(transaction, [item.scope for item in denials], _RULES)
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


def of_account(account_id: str, rules: Sequence[Rule] = (Rule.DENIAL,)) -> ColumnElement[bool]:
    """Return the condition on `gate` that selects the denials of an account."""
    whole = gate.c.scope == _scope(account_id)
    return gate.c.rule.in_(rules) & or_(whole, gate.c.scope.endswith(f" {_scope(account_id)}", autoescape=True))


def _scope(account_id: str, connection: str | None = None) -> str:
    return f"account:{account_id}" if connection is None else f"connection:{connection} account:{account_id}"


def _read(
    transaction: Connection, *conditions: ColumnElement[bool], rules: Sequence[Rule] = (Rule.DENIAL,)
) -> list[Gate]:
    query = select(gate).where(gate.c.rule.in_(rules), *conditions).order_by(gate.c.scope)
    return [read_row(row) for row in transaction.execute(query).mappings()]


def _delete(transaction: Connection, scopes: Sequence[str], rules: Sequence[Rule] = (Rule.DENIAL,)) -> None:
    for start in range(0, len(scopes), _IDS_PER_QUERY):
        some = gate.c.scope.in_(scopes[start : start + _IDS_PER_QUERY])
        transaction.execute(delete(gate).where(gate.c.rule.in_(rules), some))
