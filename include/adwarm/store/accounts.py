"""Accounts: which exist, and their zones, currency, connection and status, as the upstream and the user have set them.

An account exists when it has a row, and gets one in three ways only: a connection lists it or answers for it
(`save_listed`, `save`), somebody names it in a command, a form, a strategy or the list of a token (`add_named`), or the
user's own log opens it (`add_logged`). A read creates none. Whoever has to know asks this table: `get`, `get_as_of`,
`list_as_of`, or the statement of the hit route that joins it.

What the user has set is stored in columns of its own (`user_...`) and replaces what the upstream says whenever an
account is read, so nothing that comes from the upstream can overwrite it. An account is `denied` while its gate of the
rule `denial` is closed (`adwarm.store.denials`); the status that is stored is `active` or `closed`.
The last attempt to list the accounts of each connection is stored beside them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Join,
    Row,
    Select,
    String,
    Table,
    Text,
    func,
    literal,
    select,
    update,
)

from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.foundation.gate import Rule
from adwarm.model import Account, AccountRecord, check_account_id, normalize_account_id
from adwarm.store import denials
from adwarm.store.columns import ACCOUNT_ID, UtcDateTime, from_row, key_column, metadata, table_of, to_row, value_column
from adwarm.store.database import insert_new, read_transaction, upsert, write_transaction
from adwarm.store.gates import table as gate
from adwarm.store.objects import Context

# One row per ad account.
table = Table(
    "account",
    metadata,
    key_column("id", ACCOUNT_ID),
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

_denial = gate.alias("denial")
_denied_until, _denied_why = _denial.c.closed_until.label("denied_until"), _denial.c.why.label("denied_why")
COLUMNS = (*table.c, _denied_until, _denied_why)
"""What `read` makes an account of."""
CONNECTION = func.coalesce(func.nullif(table.c.user_connection, ""), table.c.connection)
"""The connection that an account is read by."""
USER_SETTINGS = ("user_reader_zone", "user_status", "user_connection", "holiday_country", "opens_from")
"""Columns that only the user sets."""
_MAX_REASON = 500
_MAX_NAME = 255


def get(engine: Engine, account_id: str) -> Account | None:
    """Return the account, or None when it is not stored."""
    return get_many(engine, [account_id]).get(account_id)


def get_many(engine: Engine, ids: Sequence[str] | None = None) -> dict[str, Account]:
    """Return stored accounts by id: those in `ids`, or all."""
    query = _select().order_by(table.c.id)
    if ids is None:
        with read_transaction(engine) as connection:
            return {row.id: read(row) for row in connection.execute(query)}
    accounts: dict[str, Account] = {}
    with read_transaction(engine) as connection:
        for start in range(0, len(ids), 500):
            some = query.where(table.c.id.in_(ids[start : start + 500]))
            accounts.update({row.id: read(row) for row in connection.execute(some)})
    return accounts


def list_names(engine: Engine, limit: int) -> list[tuple[str, str]]:
    """Return id and name of up to `limit` accounts, by id."""
    query = select(table.c.id, table.c.name).order_by(table.c.id).limit(limit)
    with read_transaction(engine) as connection:
        return [(row.id, row.name) for row in connection.execute(query)]


def list_as_of(engine: Engine, at: datetime) -> dict[str, Account]:
    """Return all accounts by id with their status at `at`, so without denials that have expired."""
    query = _select(at).order_by(table.c.id)
    with read_transaction(engine) as connection:
        return {row.id: read(row) for row in connection.execute(query)}


def get_as_of(engine: Engine, account_id: str, at: datetime) -> Account | None:
    """Return the account with its status at `at`, like `list_as_of`; None when it is not stored."""
    with read_transaction(engine) as connection:
        row = connection.execute(_select(at).where(table.c.id == account_id)).one_or_none()
    return None if row is None else read(row)


def find_id(context: Context, text: str) -> str:
    """Return the canonical id of the account that somebody names.

    Bare digits are the stored account with this id, else the one of Meta's with these digits; without Meta as the
    source they stay, unless that one is stored.

    Raises:
        BadRequest: the id is not valid.
    """
    names = [check_account_id(text), normalize_account_id(text)]
    stored = get_many(context.engine, names) if names[0] != names[1] else ()
    return normalize_account_id(text, stored, is_meta=context.settings.source.has_meta_ids)


def list_selected(context: Context, selected: Sequence[str], at: datetime) -> list[Account]:
    """Return the accounts with the ids `selected`, or all active ones when it is empty.

    An account that is not stored yet gets the default zone until the upstream reports its own.

    Raises:
        BadRequest: an id is not valid.
    """
    stored, default_zone = list_as_of(context.engine, at), context.settings.default_zone
    if not selected:
        return [account for account in stored.values() if account.status == "active"]
    ids = [find_id(context, text) for text in selected]
    return [stored.get(name) or Account(name, default_zone, default_zone, currency="") for name in ids]


def list_records(engine: Engine, at: datetime) -> dict[str, AccountRecord]:
    """Return all accounts by id with what their user has set, without denials that have expired at `at`."""
    with read_transaction(engine) as connection:
        return read_records(connection, at)


def read_records(connection: Connection, at: datetime, *, lock: bool = False) -> dict[str, AccountRecord]:
    """Return all accounts by id, like `list_records`.

    Args:
        at: the time at which denials are judged.
        lock: keep others from changing the rows until the transaction ends.
    """
    query = _select(at).order_by(table.c.id)
    rows = connection.execute(query.with_for_update(of=table) if lock else query).all()
    credentials = denials.read_credentials(connection, at)
    return {row.id: _record(row, credentials.get(row.id, {})) for row in rows}


def get_user_zones(engine: Engine) -> dict[str, str]:
    """Return the reader zones that users have set, by account id."""
    return _get_set_column(engine, "user_reader_zone")


def get_holiday_countries(engine: Engine) -> dict[str, str]:
    """Return the holiday countries that users have set, by account id."""
    return _get_set_column(engine, "holiday_country")


def get_opens_from(engine: Engine) -> dict[str, str]:
    """Return whose log counts the opens of an account, by account id, where users have set it."""
    return _get_set_column(engine, "opens_from")


def save(engine: Engine, accounts: Iterable[Account], at: datetime) -> None:
    """Store accounts as the upstream reports them. What the log said about the reader zone is kept.

    They are not denied any more.
    """
    rows = [_row(item, at) for item in accounts]
    with write_transaction(engine) as connection:
        _save(connection, rows)


def list_connections(engine: Engine) -> list[str]:
    """Return the names of the connections that accounts belong to, the user's choice before the platform's."""
    query = select(CONNECTION).distinct()
    with read_transaction(engine) as connection:
        return sorted(connection.execute(query).scalars())


def save_listed(connection: Connection, accounts: Iterable[Account], at: datetime) -> None:
    """Store accounts that a connection lists, and that they were seen at `at`; otherwise like `save`."""
    rows = [{**_row(item, at), "last_seen_at": at} for item in accounts]
    _save(connection, rows)


def _save(connection: Connection, rows: list[dict[str, Any]]) -> None:
    upsert(connection, table, rows, preserve=("reader_zone",))
    denials.open_accounts(connection, [row["id"] for row in rows])


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


def add_named(context: Context, ids: Iterable[str], at: datetime) -> None:
    """Store accounts that somebody names, in the default zone until the upstream returns theirs.

    Accounts that are stored already do not change.

    Raises:
        BadRequest: an id is not valid.
    """
    names = dict.fromkeys(find_id(context, text) for text in ids)
    stored = get_many(context.engine, list(names))
    if new := {name: "" for name in names if name not in stored}:
        with write_transaction(context.engine) as connection:
            add_logged(connection, new, context.settings.default_zone, at)


def add_logged(connection: Connection, zones: Mapping[str, str], default_zone: str, at: datetime) -> None:
    """Store accounts that the user's log opens. Accounts that are stored already do not change.

    Args:
        zones: by account id the reader zone in the log; empty: it names none, and it is the data zone, once known.
        default_zone: the data zone where the log names none, until the upstream returns it.
    """
    new = [
        Account(name, zone or default_zone, "" if zone == default_zone else zone, currency="")
        for name, zone in zones.items()
    ]
    insert_new(connection, table, [_row(item, at) for item in new])


def set_by_user(engine: Engine, account_id: str, values: Mapping[str, str | None]) -> None:
    """Store what the user sets for an account.

    Args:
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


def _get_set_column(engine: Engine, name: str) -> dict[str, str]:
    column = table.c[name]
    with read_transaction(engine) as connection:
        rows = connection.execute(select(table.c.id, column).where(column.is_not(None))).all()
    return {row[0]: row[1] for row in rows}


def _select(at: datetime | None = None) -> Select[Any]:
    """Return the query of accounts with the denial of each, if it is valid at `at`; None: also one that has expired."""
    of_account = (_denial.c.scope == literal("account:") + table.c.id) & (_denial.c.rule == Rule.DENIAL)
    is_valid = of_account if at is None else of_account & (_denial.c.closed_until > at.timestamp())
    return select(table, _denied_until, _denied_why).select_from(table.outerjoin(_denial, is_valid))


def join_account(rows: FromClause, account_id: ColumnElement[str]) -> Join:
    """Return `rows` joined with the account of an id and its denial, valid or expired: the columns `COLUMNS`."""
    of_account = (_denial.c.scope == literal("account:") + account_id) & (_denial.c.rule == Rule.DENIAL)
    return rows.outerjoin(table, table.c.id == account_id).outerjoin(_denial, of_account)


def _platform_status(row: Row[Any]) -> tuple[str, str]:
    """Return the status without what the user has set, and its reason."""
    if row.denied_until is not None:
        return "denied", row.denied_why
    return row.status, row.status_reason or ""


def read(row: Row[Any]) -> Account:
    """Return the account with what its user has set. A denial outranks a status `active` of the user."""
    status, reason = _platform_status(row)
    if row.user_status == "closed" or (row.user_status and status != "denied"):
        status, reason = row.user_status, _user_reason(row.user_status, status, reason)
    return Account(
        row.id,
        row.data_zone,
        reader_zone=row.user_reader_zone or row.reader_zone or row.data_zone,
        currency=row.currency,
        connection=row.user_connection or row.connection,
        status=status,
        name=row.name or "",
        status_reason=reason,
        confirmed_at=max(row.updated_at, row.last_seen_at or row.updated_at),
    )


def _user_reason(user_status: str, status: str, reason: str) -> str:
    if user_status == status:
        return reason
    return f"set by hand; without that: {status}" + (f" ({reason})" if reason else "")


def _record(row: Row[Any], credentials: dict[str, str]) -> AccountRecord:
    status, reason = _platform_status(row)
    return AccountRecord(
        read(row),
        platform_status=status,
        platform_reason=reason,
        platform_connection=row.connection,
        updated_at=row.updated_at,
        last_seen=row.last_seen_at,
        user_reader_zone=row.user_reader_zone or "",
        user_status=row.user_status or "",
        user_connection=row.user_connection or "",
        holiday_country=row.holiday_country or "",
        opens_from=row.opens_from or "",
        denials=credentials,
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


@dataclass(frozen=True, slots=True)
class Discovery:
    """The last attempt to list the accounts of a connection."""

    connection: Annotated[str, 250, "Name of the connection."]
    credential: Annotated[
        str, 64, "Digest of the credential that was used; empty without one. A new one is tried at once."
    ]
    attempted_at: Annotated[datetime, "When the list was last tried."]
    completed_at: Annotated[datetime | None, "When a list was last read to its end."]
    listed: Annotated[int, "Accounts in that list."]
    error: Annotated[str | None, "Why the last attempt failed; None when it did not."] = None
    is_temporary: Annotated[
        bool, "Whether the same attempt may succeed soon; it is then repeated after an hour instead of a day."
    ] = False


account_discovery = table_of(
    Discovery, "account_discovery", key=("connection",), grows="connections", bound="number of connections"
)


def list_discoveries(engine: Engine) -> dict[str, Discovery]:
    """Return the last attempt of each connection by name."""
    with read_transaction(engine) as connection:
        rows = connection.execute(select(account_discovery).order_by(account_discovery.c.connection)).all()
    return {row.connection: from_row(Discovery, row) for row in rows}


def save_discovery(connection: Connection, name: str, credential: str, listed: int, at: datetime) -> None:
    """Record that the accounts of a connection were listed."""
    attempt = Discovery(name, credential, attempted_at=at, completed_at=at, listed=listed)
    upsert(connection, account_discovery, [to_row(attempt)])


def save_failed_discovery(connection: Connection, attempt: Discovery) -> None:
    """Record that the accounts of a connection could not be listed; the last complete list stays known."""
    row = {**to_row(attempt), "error": attempt.error and attempt.error[:1_000]}
    upsert(connection, account_discovery, [row], preserve=("completed_at", "listed"))
