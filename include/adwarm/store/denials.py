"""Denials: which connection may not read which account, or which of its fields, and which accounts none may read.

Also which version of its API the platform no longer takes from a connection.

| scope                    | rule     | when                                      | data                              |
|--------------------------|----------|-------------------------------------------|-----------------------------------|
| `connection:C account:A` | `denial` | the platform denies A to C's credential   | a digest of the denied credential |
| `account:A`              | `denial` | every connection was denied: it is not    | -                                 |
|                          |          | planned                                   |                                   |
| `connection:C`           | `field`  | the platform refuses fields of a query    | the same, `@` and the version of  |
|                          |          |                                           | the API; of each field the reason |
|                          |          |                                           | and the accounts                  |
| `version:V connection:C` | `version`| the platform takes no call by version V   | the class of its error             |

A denial and an ended version are valid for a day, a refused field for a week: for the accounts that met it, and for
every account of the connection once `EVERY_ACCOUNT` have. Neither a denial nor a field applies once the connection's
credential has changed, and a field or version not once the version has. A human may lift them at any time; an automatic
retry never does.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, bindparam, delete, literal_column, or_, select

from adwarm.foundation.errors import VersionEnded
from adwarm.foundation.gate import Gate, OpenedBy, Rule
from adwarm.store.database import read_statement, read_transaction, write_transaction
from adwarm.store.gates import SqlGates, read_row, save_gates
from adwarm.store.gates import table as gate

DENIAL_PERIOD = timedelta(days=1)
"""A denied account is tried again after this long, because its owner may have granted access."""
FIELD_PERIOD = timedelta(days=7)
"""A refused field is asked for again after this long: a permission may have been granted, or the platform mended."""
EVERY_ACCOUNT = 3
"""A field that so many accounts of a connection met is not requested for the others, whose requests would fail too."""
_MAX_REASON = 500
_ESCAPED = r"/\g<0>"
_IDS_PER_QUERY = 500
# Not `like` with a value alone: SQLite would plan the statement anew at each execution.
_IS_OF_ACCOUNT = or_(gate.c.scope == bindparam("whole"), gate.c.scope.endswith(bindparam("by_connection"), escape="/"))
_FIELD: ColumnElement[str] = literal_column(f"'{Rule.FIELD}'")
IS_ACTIVE = and_(
    gate.c.rule.in_([literal_column(f"'{Rule.DENIAL}'"), _FIELD]),
    or_(_IS_OF_ACCOUNT, gate.c.rule == _FIELD),
    gate.c.kept_until > bindparam("now"),
)
"""Selects the denials of an account and the refused fields of every connection that are valid."""
_ACTIVE = select(gate).where(IS_ACTIVE).order_by(gate.c.scope)


def refuse_fields(
    engine: Engine, account_id: str, connection: str, credential: str, fields: Mapping[str, str], at: datetime
) -> bool:
    """Record fields that the platform refuses for an account, each with its reason.

    Args:
        credential: its digest, `@` and the version of the API.

    Returns:
        Whether one of them was not refused before.
    """
    new_names: set[str] = set()

    def change(before: Gate) -> Gate:
        is_valid = before.data.get("credential") == credential and (before.kept_until or 0.0) > at.timestamp()
        since, data = (before.since, before.data) if is_valid else (at.timestamp(), {"fields": {}, "accounts": {}})
        new_names.update(fields.keys() - data["fields"].keys())
        met = {name: sorted({*data["accounts"].get(name, ()), account_id}) for name in fields}
        reasons = {name: why[:_MAX_REASON] for name, why in fields.items()}
        return replace(
            before,
            since=since,
            opened_by=OpenedBy.TIME,
            kept_until=since + FIELD_PERIOD.total_seconds(),
            data={
                "credential": credential,
                "fields": {**data["fields"], **reasons},
                "accounts": {**data["accounts"], **met},
            },
        )

    SqlGates(engine).change(f"connection:{connection}", Rule.FIELD, change)
    return bool(new_names)


def list_refused_fields(engine: Engine, at: datetime) -> list[Gate]:
    """Return the gates of refused fields that are valid at `at`, by scope; their `data` has fields and accounts."""
    with read_transaction(engine) as transaction:
        return _read(transaction, gate.c.kept_until > at.timestamp(), rules=[Rule.FIELD])


def select_fields(gates: Iterable[Gate], account_id: str, connection: str, credential: str) -> dict[str, str]:
    """Return the fields that are not requested for an account, with their reasons."""
    own = next((item for item in gates if (item.rule, item.scope) == (Rule.FIELD, f"connection:{connection}")), None)
    if own is None or own.data["credential"] != credential:
        return {}
    accounts = own.data["accounts"]
    return {
        name: why
        for name, why in own.data["fields"].items()
        if account_id in accounts[name] or len(accounts[name]) >= EVERY_ACCOUNT
    }


def record(engine: Engine, account_id: str, connection: str, credential: str, reason: str, at: datetime) -> None:
    """Record that `credential` of `connection` may not read an account, in place of its earlier denial."""
    _close(engine, _scope(account_id, connection), reason, at, {"credential": credential})


def close_account(engine: Engine, account_id: str, reason: str, at: datetime) -> None:
    """Record that no connection may read an account: it is `denied` until a denial is lifted, or a day is over."""
    _close(engine, _scope(account_id), reason, at, {})


def make_version_scope(connection: str, version: str) -> str:
    """Return the scope of a version of the API that a connection calls by."""
    return f"version:{version} connection:{connection}"


def make_ended(scope: str, reason: str, at: datetime) -> Gate:
    """Return the gate of a version of the API that the platform takes no call by."""
    gate = _make_gate(scope, reason, at, {"kind": VersionEnded.__name__})
    return replace(gate, rule=Rule.VERSION, opened_by=OpenedBy.VERSION)


def open_versions(engine: Engine, scopes: Sequence[str]) -> None:
    """Let calls be made by ended versions, because a human asks for it."""
    with write_transaction(engine) as transaction:
        _delete(transaction, scopes, Rule.VERSION)


def _close(engine: Engine, scope: str, reason: str, at: datetime, data: Mapping[str, Any]) -> None:
    with write_transaction(engine) as transaction:
        save_gates(transaction, [_make_gate(scope, reason, at, data)])


def _make_gate(scope: str, reason: str, at: datetime, data: Mapping[str, Any]) -> Gate:
    since, end = at.timestamp(), (at + DENIAL_PERIOD).timestamp()
    return Gate(
        scope=scope,
        rule=Rule.DENIAL,
        since=since,
        closed_until=end,
        why=reason[:_MAX_REASON],
        opened_by=OpenedBy.CREDENTIAL,
        kept_until=end,
        data=data,
    )


def list_active(engine: Engine, account_id: str, at: datetime) -> list[Gate]:
    """Return the denials of the account, and the refused fields of every connection, that are valid at `at`."""
    with read_statement(engine) as transaction:
        return read_active(transaction, account_id, at)


def read_active(transaction: Connection, account_id: str, at: datetime) -> list[Gate]:
    """Return what `list_active` does, with a connection of the caller."""
    return [read_row(row) for row in transaction.execute(_ACTIVE, active_values(account_id, at)).mappings()]


def active_values(account_id: str, at: datetime) -> dict[str, Any]:
    """Return the values with which `IS_ACTIVE` selects what `list_active` returns."""
    whole = _scope(account_id)
    return {"whole": whole, "by_connection": f" {re.sub('[/%_]', _ESCAPED, whole)}", "now": at.timestamp()}


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
    """Delete every denial of the accounts because a human asked for it, and the refused fields that they met.

    Returns:
        The accounts that had a denial.
    """
    ids = set(account_ids)
    with write_transaction(engine) as transaction:
        denials = [item for item in _read(transaction) if item.account_id in ids]
        _delete(transaction, [item.scope for item in denials])
        fields = [item for item in _read(transaction, rules=[Rule.FIELD]) if ids & list_accounts(item)]
        _delete(transaction, [item.scope for item in fields], Rule.FIELD)
    return sorted({str(item.account_id) for item in denials})


def list_accounts(refused: Gate) -> set[str]:
    """Return the accounts that met one of the refused fields."""
    return {account_id for ids in refused.data["accounts"].values() for account_id in ids}


def lift_outdated(engine: Engine, connection: str, credential: str, version: str) -> list[str]:
    """Delete denials of other credentials of `connection`, and its other versions; return the accounts concerned.

    Such an account is active again and is tried when it is needed next.
    """

    current = make_version_scope(connection, version)
    of_connection = or_(
        gate.c.scope.startswith(f"connection:{connection} ", autoescape=True),
        gate.c.scope.endswith(f" connection:{connection}", autoescape=True),
    )

    def list_outdated(transaction: Connection) -> list[Gate]:
        gates = _read(transaction, of_connection, rules=[Rule.DENIAL, Rule.VERSION])
        return [item for item in gates if item.scope != current and item.data.get("credential") != credential]

    with read_statement(engine) as transaction:
        if not list_outdated(transaction):
            return []
    with write_transaction(engine) as transaction:
        outdated = list_outdated(transaction)
        lifted = sorted(item.account_id for item in outdated if item.account_id)
        for rule in (Rule.DENIAL, Rule.VERSION):
            _delete(transaction, [item.scope for item in outdated if item.rule is rule], rule)
        open_accounts(transaction, lifted)
    return lifted


def open_accounts(transaction: Connection, account_ids: Iterable[str]) -> None:
    """Let accounts be read again, because a connection may read them or may have become able to."""
    _delete(transaction, [_scope(name) for name in account_ids])


def _scope(account_id: str, connection: str | None = None) -> str:
    return f"account:{account_id}" if connection is None else f"connection:{connection} account:{account_id}"


def _read(
    transaction: Connection, *conditions: ColumnElement[bool], rules: Sequence[Rule] = (Rule.DENIAL,)
) -> list[Gate]:
    query = select(gate).where(gate.c.rule.in_(rules), *conditions).order_by(gate.c.scope)
    return [read_row(row) for row in transaction.execute(query).mappings()]


def _delete(transaction: Connection, scopes: Sequence[str], rule: Rule = Rule.DENIAL) -> None:
    for start in range(0, len(scopes), _IDS_PER_QUERY):
        some = gate.c.scope.in_(scopes[start : start + _IDS_PER_QUERY])
        transaction.execute(delete(gate).where(gate.c.rule == rule, some))
