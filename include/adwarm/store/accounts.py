"""Accounts: which exist, and their zones, currency, connection and status, as the upstream and the user have set them.

An account exists when it has a row, and gets one in three ways only: a connection lists it or answers for it
(`save_listed`, `save`), somebody names it in a command, a form, a strategy or the list of a token (`add_named`), or the
user's own log opens it (`add_logged`). A read creates none. Whoever has to know asks this table: `get`, `get_as_of`,
`list_as_of`, or the statement of the hit route that joins it.

What the user has set is stored in columns of its own (`user_...`) and replaces what the upstream says whenever an
account is read, so nothing that comes from the upstream can overwrite it. An account is `denied` once every configured
connection was denied; the gates of the rule `denial` record which ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Engine, Row, String, Table, Text, func, select, update

from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.foundation.gate import Rule
from adwarm.model import Account, AccountRecord, normalize_account_id
from adwarm.store.columns import UtcDateTime, key_column, metadata, value_column
from adwarm.store.database import insert_new, read_transaction, upsert, write_transaction
from adwarm.store.gates import read_row
from adwarm.store.gates import table as gate

# One row per ad account.
table = Table(
    "account",
    metadata,
    key_column("id", String(24)),
    value_column("connection", String(250), "default"),
    value_column("data_zone", String(64)),
    value_column("reader_zone", String(64)),
    value_column("currency", String(8), "USD"),
    value_column("status", String(16), "active"),
    Column("status_reason", Text),
    value_column("updated_at", UtcDateTime()),
    Column("name", String(255)),
    Column("last_seen_at", UtcDateTime()),
    Column("user_reader_zone", String(64)),
    Column("user_status", String(16)),
    Column("user_connection", String(250)),
    Column("holiday_country", String(2)),
    Column("opens_from", String(8)),
)


DENIAL_PERIOD = timedelta(days=1)
"""A denied account is tried again after this long, because its owner may have granted access."""
USER_SETTINGS = ("user_reader_zone", "user_status", "user_connection", "holiday_country", "opens_from")
"""Columns that only the user sets."""
_MAX_REASON = 500
_MAX_NAME = 255


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


def get_as_of(engine: Engine, account_id: str, at: datetime) -> Account | None:
    """Return the account with its status at `at`, like `list_as_of`; None when it is not stored."""
    with read_transaction(engine) as connection:
        row = connection.execute(select(table).where(table.c.id == account_id)).one_or_none()
    if row is None:
        return None
    return _with_expired_denial(row) if row.updated_at <= at - DENIAL_PERIOD else _account(row)


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


def list_records(engine: Engine, at: datetime) -> dict[str, AccountRecord]:
    """Return all accounts by id with what their user has set, without denials that have expired at `at`."""
    with read_transaction(engine) as connection:
        return read_records(connection, at)


def read_records(connection: Connection, at: datetime, *, lock: bool = False) -> dict[str, AccountRecord]:
    """Return all accounts by id, like `list_records`.

    Args:
        connection: the transaction to read in.
        at: the time at which denials are judged.
        lock: keep others from changing the rows until the transaction ends.
    """
    query = select(table).order_by(table.c.id)
    rows = connection.execute(query.with_for_update() if lock else query).all()
    denials = _read_denials(connection, at)
    return {row.id: _record(row, at, denials.get(row.id, {})) for row in rows}


def _read_denials(connection: Connection, at: datetime) -> dict[str, dict[str, str]]:
    """Return the denied credential of each connection, by account, of the denials that are valid at `at`."""
    query = select(gate).where(gate.c.rule == Rule.DENIAL, gate.c.kept_until > at.timestamp())
    denials: dict[str, dict[str, str]] = {}
    for item in map(read_row, connection.execute(query).mappings()):
        name = item.scope.rpartition(" ")[0].removeprefix("connection:")
        denials.setdefault(str(item.account_id), {})[name] = item.data["credential"]
    return denials


def get_user_zones(engine: Engine) -> dict[str, str]:
    """Return the reader zones that users have set, by account id."""
    return _get_set_column(engine, "user_reader_zone")


def get_holiday_countries(engine: Engine) -> dict[str, str]:
    """Return the holiday countries that users have set, by account id."""
    return _get_set_column(engine, "holiday_country")


def get_opens_from(engine: Engine) -> dict[str, str]:
    """Return whose log counts the opens of an account, by account id, where users have set it."""
    return _get_set_column(engine, "opens_from")


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
    """Store accounts as the upstream reports them. What the log said about the reader zone is kept."""
    rows = [_row(item, at) for item in accounts]
    with write_transaction(engine) as connection:
        upsert(connection, table, rows, preserve=("reader_zone",))


def list_connections(engine: Engine) -> list[str]:
    """Return the names of the connections that accounts belong to, the user's choice before the platform's."""
    query = select(func.coalesce(func.nullif(table.c.user_connection, ""), table.c.connection)).distinct()
    with read_transaction(engine) as connection:
        return sorted(connection.execute(query).scalars())


def save_listed(connection: Connection, accounts: Iterable[Account], at: datetime) -> None:
    """Store accounts that a connection lists, and that they were seen at `at`; otherwise like `save`."""
    rows = [{**_row(item, at), "last_seen_at": at} for item in accounts]
    upsert(connection, table, rows, preserve=("reader_zone",))


def save_listed_denied(connection: Connection, accounts: Iterable[Account], at: datetime) -> None:
    """Store name, zone and currency of listed accounts whose data is denied; the denial stays as old as it is."""
    for item in accounts:
        values = {name: _row(item, at)[name] for name in ("name", "data_zone", "currency")}
        connection.execute(update(table).where(table.c.id == item.id).values(**values, last_seen_at=at))


def mark_seen(connection: Connection, ids: Sequence[str], at: datetime) -> None:
    """Record that discovery has seen accounts whose row needs no other change."""
    for start in range(0, len(ids), 500):
        some = table.c.id.in_(ids[start : start + 500])
        connection.execute(update(table).where(some).values(last_seen_at=at))


def add_named(engine: Engine, ids: Iterable[str], default_zone: str, at: datetime) -> None:
    """Store accounts that somebody names, in the default zone until the upstream returns theirs.

    Accounts that are stored already do not change.

    Raises:
        BadRequest: an id is not valid.
    """
    names = dict.fromkeys(map(normalize_account_id, ids))
    known = get_many(engine, list(names))
    if new := {name: "" for name in names if name not in known}:
        with write_transaction(engine) as connection:
            add_logged(connection, new, default_zone, at)


def add_logged(connection: Connection, zones: Mapping[str, str], default_zone: str, at: datetime) -> None:
    """Store accounts that the user's log opens. Accounts that are stored already do not change.

    Args:
        connection: the transaction to write in.
        zones: by account id the reader zone in the log; empty: it names none, and it is the data zone, once known.
        default_zone: the data zone where the log names none, until the upstream returns it.
        at: the time of the change.
    """
    new = [
        Account(name, zone or default_zone, "" if zone == default_zone else zone, currency="")
        for name, zone in zones.items()
    ]
    insert_new(connection, table, [_row(item, at) for item in new])


def set_by_user(engine: Engine, account_id: str, values: Mapping[str, str | None]) -> None:
    """Store what the user sets for an account.

    Args:
        engine: the database.
        account_id: a stored account.
        values: columns in `USER_SETTINGS`, each with its value; None clears it.

    Raises:
        NotFound: no such account is stored.
        BadRequest: a column is not one that users set.
    """
    unknown = sorted(set(values) - set(USER_SETTINGS))
    if unknown:
        raise BadRequest(f"{', '.join(unknown)} cannot be set; choose from {', '.join(USER_SETTINGS)}")
    with write_transaction(engine) as connection:
        changed = connection.execute(update(table).where(table.c.id == account_id).values(**values))
        if changed.rowcount == 0:
            raise NotFound(
                f"{account_id} is not a stored account; `adwarm accounts discover` lists those of the connections, and "
                "`adwarm accounts list` shows what is stored"
            )


def set_status(engine: Engine, account_id: str, status: str, reason: str, at: datetime) -> None:
    """Set an account's status (`active`, `denied` or `closed`) and the reason."""
    with write_transaction(engine) as connection:
        connection.execute(
            update(table)
            .where(table.c.id == account_id)
            .values(status=status, status_reason=reason[:_MAX_REASON], updated_at=at)
        )


def _get_set_column(engine: Engine, name: str) -> dict[str, str]:
    column = table.c[name]
    with read_transaction(engine) as connection:
        rows = connection.execute(select(table.c.id, column).where(column.is_not(None))).all()
    return {row[0]: row[1] for row in rows}


def _with_expired_denial(row: Row[Any]) -> Account:
    account = _account(row)
    return replace(account, status="active", status_reason="") if account.status == "denied" else account


def _account(row: Row[Any]) -> Account:
    """Return the account with what its user has set. A denial outranks a status `active` of the user."""
    status, reason = row.status, row.status_reason or ""
    if row.user_status == "closed" or (row.user_status and status != "denied"):
        status, reason = row.user_status, _user_reason(row)
    return Account(
        row.id,
        row.data_zone,
        reader_zone=row.user_reader_zone or row.reader_zone or row.data_zone,
        currency=row.currency,
        connection=row.user_connection or row.connection,
        status=status,
        name=row.name or "",
        status_reason=reason,
    )


def _user_reason(row: Row[Any]) -> str:
    if row.user_status == row.status:
        return row.status_reason or ""
    return f"set by hand; without that: {row.status}" + (f" ({row.status_reason})" if row.status_reason else "")


def _record(row: Row[Any], at: datetime, denials: dict[str, str]) -> AccountRecord:
    is_expired = row.status == "denied" and row.updated_at <= at - DENIAL_PERIOD
    account = _with_expired_denial(row) if is_expired else _account(row)
    return AccountRecord(
        account,
        platform_status="active" if is_expired else row.status,
        platform_reason="" if is_expired else row.status_reason or "",
        platform_connection=row.connection,
        updated_at=row.updated_at,
        last_seen=row.last_seen_at,
        user_reader_zone=row.user_reader_zone or "",
        user_status=row.user_status or "",
        user_connection=row.user_connection or "",
        holiday_country=row.holiday_country or "",
        opens_from=row.opens_from or "",
        denials=denials,
    )


def _row(item: Account, at: datetime) -> dict[str, Any]:
    return {
        "id": item.id,
        "connection": item.connection,
        "data_zone": item.data_zone,
        "reader_zone": "" if item.is_verified and item.reader_zone == item.data_zone else item.reader_zone,
        "currency": item.currency,
        "status": item.status,
        "status_reason": item.status_reason[:_MAX_REASON] or None,
        "name": item.name[:_MAX_NAME] or None,
        "updated_at": at,
    }
