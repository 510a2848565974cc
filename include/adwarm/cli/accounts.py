"""`adwarm accounts`: lists, discovers and sets accounts, and says when the tokens that read them end."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import JsonOption, print_fields, print_json, print_table
from adwarm.model import NO_CURRENCY

if TYPE_CHECKING:
    from adwarm.maintenance.account_changes import AccountChange, DiscoveryResult
    from adwarm.model import AccountRecord

app = typer.Typer(
    help="Accounts: list what is stored, discover what the connections can read, set zone, country and status; when "
    "their tokens end.",
    no_args_is_help=True,
)
_COLUMNS = ("account", "name", "zone", "status", "connection")
_COLUMN_OF = {
    "reader-zone": "user_reader_zone",
    "holiday-country": "holiday_country",
    "status": "user_status",
    "connection": "user_connection",
    "opens-from": "opens_from",
}
_LOGS = ("user", "adwarm", "both")
_STATUSES = ("active", "closed", "denied")
_MAX_SHOWN = 20
_MAX_CONNECTION = 250


@app.command("list")
def list_accounts(
    accounts: Annotated[list[str] | None, typer.Argument(help="Only these accounts; default: all.")] = None,
    *,
    status: Annotated[str | None, typer.Option(help="Only accounts that are active, closed or denied.")] = None,
    connection: Annotated[str | None, typer.Option(help="Only accounts that this connection reads.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the stored accounts: zone, and that of the readers when it differs, status and why, connection.

    A star marks what was set by hand. `--json` also has currency, holiday country, and when discovery last saw it.
    """
    from adwarm.foundation.errors import BadRequest
    from adwarm.runtime import Runtime
    from adwarm.sources.factory import find_noun
    from adwarm.store import accounts as account_table

    if status is not None and status not in _STATUSES:
        raise BadRequest(f"--status {status[:40]!r} is not one of {', '.join(_STATUSES)}")
    runtime = Runtime()
    ids = {account_table.find_id(runtime.context, text) for text in accounts or ()}
    stored = account_table.list_records(runtime.engine, runtime.clock.now())
    records = [
        record
        for name, record in stored.items()
        if (not ids or name in ids)
        and status in {None, record.account.status}
        and connection in {None, record.account.connection}
    ]
    if as_json:
        print_json([_record_fields(record) for record in records])
        return
    names = f"{find_noun(runtime.settings)}s".capitalize()
    empty = "none matches" if stored else "none yet; `adwarm accounts discover` asks the connections"
    print_table(
        f"{names}: {len(records):,} of {len(stored):,}" if records else names,
        _COLUMNS,
        [_record_row(record) for record in records],
        empty,
    )


@app.command("discover")
def discover(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask the connections, store nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask every connection of the settings which accounts it can read, and store them.

    What was set by hand stays. Exits with 1 when a connection could not be read; the others are stored. In Airflow the
    DAG adwarm_maintenance does this daily for its own connections.
    """
    from adwarm.runtime import Runtime

    runtime = Runtime()
    result = runtime.account_discovery().run(runtime.source_factories(), dry_run=dry_run)
    if as_json:
        print_json(_result_fields(result, dry_run=dry_run))
    else:
        _print_result(result, dry_run=dry_run)
    if result.errors:
        raise typer.Exit(1)


@app.command("token")
def token(
    connection: Annotated[str, typer.Argument(help="Name of the connection, such as default.")] = "default",
    *,
    extend: Annotated[
        Path | None, typer.Option("--extend", help="New file that takes a longer token, which nobody else can read.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the platform when the token of a connection ends; with --extend, exchange it for one that lives longer.

    The longer token is written to the file and is not shown. adwarm cannot write connections: put it into the
    connection, or where the settings have it, and delete the file. The token so far is valid until its own end.
    """
    from adwarm.foundation.errors import BadRequest
    from adwarm.runtime import Runtime
    from adwarm.sources.meta.source import MetaSource

    factories = Runtime().source_factories()
    if connection not in factories:
        raise BadRequest(f"there is no connection {connection[:80]!r} in these settings, but {', '.join(factories)}")
    source = factories[connection]()
    if not isinstance(source, MetaSource):
        raise BadRequest(f"connection {connection} is a {source.name} source, which has no token that ends")
    life = source.read_token_life()
    fields: dict[str, Any] = {"connection": connection, "kind": life.kind, "never_ends": life.expires_at is None}
    if extend is not None:
        fields["ended_at"] = life.expires_at
        try:  # before the exchange, so that a token that was given is never lost
            descriptor = os.open(extend, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise BadRequest(f"{extend} cannot be made ({error.strerror}); name a new file") from None
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            try:
                secret, life = source.extend_token()
            except BaseException:
                extend.unlink()
                raise
            file.write(secret.get_secret_value())
        fields["written_to"] = str(extend)
    fields |= {"expires_at": life.expires_at, "data_access_until": life.data_access_until}
    print_fields(f"Token of {connection}", fields, as_json=as_json)


@app.command("set")
def set_account(
    account: Annotated[str, typer.Argument(help="Account id, such as act_1234.")],
    *,
    reader_zone: Annotated[str | None, typer.Option(help="Time zone of its readers, such as Europe/Berlin.")] = None,
    holiday_country: Annotated[str | None, typer.Option(help="Country of its holidays, such as DE.")] = None,
    status: Annotated[str | None, typer.Option(help="active or closed, whatever the platform says.")] = None,
    connection: Annotated[str | None, typer.Option(help="Name of the connection that reads it.")] = None,
    opens_from: Annotated[
        str | None, typer.Option(help="Whose log counts its opens: user, adwarm (that of its read API) or both.")
    ] = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(
            help="Forget what was set: reader-zone, holiday-country, status, connection or opens-from; repeat for "
            "several."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Set what discovery cannot know or should not decide; discovery never changes it.

    Status, connection and holiday country apply from the next plan on. A reader zone applies to patterns at once and to
    the forecast after its next daily training; no log is read again. The choice of a log applies to what is read from
    then on.
    """
    from adwarm.runtime import Runtime
    from adwarm.store import accounts as account_table

    given = {
        "reader-zone": reader_zone,
        "holiday-country": holiday_country,
        "status": status,
        "connection": connection,
        "opens-from": opens_from,
    }
    values = _collect_values(given, clear or ())
    runtime = Runtime()
    account_id = account_table.find_id(runtime.context, account)
    account_table.set_by_user(runtime.engine, account_id, values)
    record = account_table.list_records(runtime.engine, runtime.clock.now())[account_id]
    fields = _record_fields(record)
    print_fields(
        account_id,
        fields if as_json else {**fields, "set_by_hand": ", ".join(fields["set_by_hand"]) or None},
        as_json=as_json,
    )
    if values.get("user_connection") and connection not in {"default", *runtime.settings.connections}:
        typer.echo(
            f"{connection} is not a connection of these settings; the parameter `connection` of the DAGs must name it",
            err=True,
        )


def _collect_values(given: dict[str, str | None], clear: Sequence[str]) -> dict[str, str | None]:
    """Return what to store by column; None clears it."""
    from adwarm.foundation.errors import BadRequest

    values: dict[str, str | None] = {
        _COLUMN_OF[name]: _check(name, text.strip()) for name, text in given.items() if text is not None
    }
    for name in clear:
        if name not in _COLUMN_OF:
            raise BadRequest(f"--clear {name[:40]!r} is not one of {', '.join(_COLUMN_OF)}")
        if _COLUMN_OF[name] in values:
            raise BadRequest(f"{name} is set and cleared at once; leave one of them out")
        values[_COLUMN_OF[name]] = None
    if not values:
        raise BadRequest(f"nothing to set; give one of --{', --'.join(_COLUMN_OF)}, or --clear with one of their names")
    return values


def _check(name: str, text: str) -> str:
    """Return the value as it is stored."""
    from adwarm.foundation.errors import BadRequest
    from adwarm.foundation.local_time import zone

    if name == "reader-zone":
        return zone(text).key
    if name == "holiday-country":
        from adwarm.forecast.features.public_holidays import check_country

        return check_country(text)
    if name == "status" and text not in {"active", "closed"}:
        raise BadRequest(f"--status {text[:40]!r} cannot be set; write active or closed")
    if name == "opens-from" and text not in _LOGS:
        raise BadRequest(f"--opens-from {text[:40]!r} is not one of {', '.join(_LOGS)}")
    if name == "connection" and not 0 < len(text) <= _MAX_CONNECTION:
        raise BadRequest(f"--connection must be a name of up to {_MAX_CONNECTION} characters")
    return text


def _record_fields(record: "AccountRecord") -> dict[str, Any]:
    account = record.account
    return {
        "id": account.id,
        "name": account.name or None,
        "data_zone": account.data_zone,
        "reader_zone": account.reader_zone,
        "currency": account.currency if account.currency not in {"", NO_CURRENCY} else None,
        "status": account.status,
        "status_reason": account.status_reason or None,
        "connection": account.connection,
        "holiday_country": record.holiday_country or None,
        "opens_from": record.opens_from or None,
        "last_seen": record.last_seen,
        "set_by_hand": _set_by_hand(record),
    }


def _set_by_hand(record: "AccountRecord") -> list[str]:
    return [name for name, column in _COLUMN_OF.items() if getattr(record, column)]


def _record_row(record: "AccountRecord") -> tuple[Any, ...]:
    account, by_hand = record.account, _set_by_hand(record)

    def mark(name: str, text: str) -> str:
        return f"{text} *" if name in by_hand else text

    zone = account.data_zone if account.is_verified else f"{account.data_zone} (a guess)"
    if account.reader_zone != account.data_zone or "reader-zone" in by_hand:
        zone += f"; readers {mark('reader-zone', account.reader_zone)}"
    status = mark("status", account.status) + (f": {account.status_reason}" if account.status_reason else "")
    return (account.id, account.name or None, zone, status, mark("connection", account.connection))


def _result_fields(result: "DiscoveryResult", *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "connections": [item.to_dict() for item in result.connections],
        "accounts": [
            {"id": item.account.id, "name": item.account.name or None, "kind": item.kind, "changes": item.changes}
            for item in result.changes
        ],
    }


def _print_result(result: "DiscoveryResult", *, dry_run: bool) -> None:
    from adwarm.maintenance.account_changes import ChangeKind

    print_table(
        "Discovery, nothing stored" if dry_run else "Discovery",
        ("connection", "listed", "new", "changed", "unchanged", "denied", "no longer listed", "error"),
        [
            (c.connection, c.listed, c.new, c.changed, c.unchanged, c.denied, len(c.gone), c.error or None)
            for c in result.connections
        ],
    )
    shown = [item for item in result.changes if item.kind is not ChangeKind.UNCHANGED]
    if shown:
        more = f": the first {_MAX_SHOWN} of {len(shown):,}; --json shows all" if len(shown) > _MAX_SHOWN else ""
        rows = [(item.account.id, item.account.name or None, _describe(item)) for item in shown[:_MAX_SHOWN]]
        print_table(f"Accounts{more}", ("account", "name", "what"), rows)
    for item in result.connections:
        for problem in item.problems[:_MAX_SHOWN]:
            typer.echo(f"{item.connection}: {problem}", err=True)
        if item.gone:
            typer.echo(
                f"{item.connection} no longer lists {', '.join(item.gone[:_MAX_SHOWN])}; they stay as they are",
                err=True,
            )


def _describe(item: "AccountChange") -> str:
    from adwarm.maintenance.account_changes import ChangeKind

    account = item.account
    if item.kind is ChangeKind.CHANGED:
        return "; ".join(f"{name}: {old or 'none'} -> {new or 'none'}" for name, (old, new) in item.changes.items())
    if item.kind is ChangeKind.DENIED:
        return "its data was denied less than a day ago; `adwarm gate open account:ID` tries again at once"
    reason = f" ({account.status_reason})" if account.status_reason else ""
    currency = f"{account.currency}, " if account.currency != NO_CURRENCY else ""
    return f"new: {account.data_zone}, {currency}{account.status}{reason}"
